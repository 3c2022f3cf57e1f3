//! The line that is printed for each message taken.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use smtp_audit::ledger::Tls;
use smtp_proto::tls::{Hop, TlsVersion};

use crate::shown::{Shown, push_number};

/// A message that was taken, for the line that is printed.
#[derive(Debug, Serialize)]
pub(crate) struct Taken<'a> {
    #[serde(serialize_with = "time")]
    pub(crate) time: Timestamp,
    #[serde(serialize_with = "peer")]
    pub(crate) peer: Option<IpAddr>,
    /// The session, as the log names it.
    pub(crate) session: &'a str,
    pub(crate) helo: Option<&'a str>,
    /// Who has authenticated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<&'a str>,
    pub(crate) tls: &'a Tls<'a>,
    pub(crate) from: &'a str,
    pub(crate) to: &'a [String],
    pub(crate) size: u64,
    pub(crate) id: &'a str,
}

impl Taken<'_> {
    pub(crate) fn line(&self, json: bool) -> String {
        if json {
            return serde_json::to_string(self).unwrap_or_default();
        }
        let mut line = String::with_capacity(256);
        push_time(&mut line, self.time);
        line.push(' ');
        push_peer(&mut line, self.peer);
        line.push(' ');
        match self.tls.hop {
            Hop::Used { version, .. } => {
                // A proxy before the server may not tell.
                line.push_str(version.map_or("TLS", TlsVersion::as_str));
                if let Some(cipher) = &self.tls.cipher {
                    let _ = write!(line, " {cipher}");
                }
            }
            _ => line.push_str("plaintext"),
        }
        if let Some(user) = self.user {
            let _ = write!(line, " user=<{}>", Shown(user));
        }
        let _ = write!(line, " from=<{}>", Shown(self.from));
        for (index, recipient) in self.to.iter().enumerate() {
            line.push_str(if index == 0 { " to=<" } else { ",<" });
            let _ = write!(line, "{}>", Shown(recipient));
        }
        line.push_str(" size=");
        push_number(&mut line, self.size, 1);
        line.push_str(" id=");
        line.push_str(self.id);
        line
    }
}

/// Who comes by a Unix socket has no address.
pub(crate) fn peer_name(peer: Option<IpAddr>) -> String {
    peer.map_or_else(|| "unix".into(), |address| address.to_string())
}

/// RFC 3339, to the millisecond. The second is worked out once for all messages that came in it.
fn push_time(line: &mut String, time: Timestamp) {
    thread_local! {
        static SECOND: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
    }
    let second = time.as_second();
    let Ok(nanosecond) = u64::try_from(time.subsec_nanosecond()) else {
        // Before 1970.
        let _ = write!(line, "{time:.3}");
        return;
    };
    SECOND.with_borrow_mut(|(of, words)| {
        if *of != second {
            // Up to the Z.
            *words = format!("{time:.0}");
            words.pop();
            *of = second;
        }
        line.push_str(words);
    });
    line.push('.');
    push_number(line, nanosecond / 1_000_000, 3);
    line.push('Z');
}

fn push_peer(line: &mut String, peer: Option<IpAddr>) {
    let Some(IpAddr::V4(address)) = peer else {
        line.push_str(&peer_name(peer));
        return;
    };
    for (index, octet) in address.octets().into_iter().enumerate() {
        line.push_str(if index == 0 { "" } else { "." });
        push_number(line, octet.into(), 1);
    }
}

fn time<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    let mut line = String::with_capacity(24);
    push_time(&mut line, *time);
    serializer.serialize_str(&line)
}

#[expect(clippy::ref_option, reason = "serde asks so")]
fn peer<S: Serializer>(peer: &Option<IpAddr>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut line = String::with_capacity(40);
    push_peer(&mut line, *peer);
    serializer.serialize_str(&line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_and_address_are_written_as_their_types_write_them() {
        let seconds = [-1, 0, 1_795_510_800, 1_795_510_801, 1_795_510_800, 253_402_207_200];
        for second in seconds {
            for nanosecond in [0, 1, 999_999, 1_000_000, 250_000_000, 999_999_999] {
                let time = Timestamp::new(second, nanosecond).expect("a time");
                let mut line = String::new();
                push_time(&mut line, time);
                assert_eq!(line, format!("{time:.3}"));
            }
        }
        for address in ["127.0.0.1", "255.10.0.99", "::1", "2001:db8::7", "::ffff:192.0.2.1"] {
            let mut line = String::new();
            push_peer(&mut line, address.parse().ok());
            assert_eq!(line, address);
        }
    }
}
