//! The line that is printed for each message taken.

use std::cell::RefCell;
use std::io::Write as _;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use smtp_audit::ledger::Tls;
use smtp_proto::tls::{Hop, TlsVersion};

use super::deliver::Paths;
use super::id::Id;
use crate::shown::{Shown, push_number};

/// A message that was taken, for the line that is printed.
#[derive(Debug, Serialize)]
pub(crate) struct Taken<'a> {
    #[serde(serialize_with = "time")]
    pub(crate) time: Timestamp,
    #[serde(serialize_with = "peer")]
    pub(crate) peer: Option<IpAddr>,
    /// The session, as the log names it.
    #[serde(serialize_with = "id")]
    pub(crate) session: &'a Id,
    pub(crate) helo: Option<&'a str>,
    /// Who has authenticated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<&'a str>,
    pub(crate) tls: &'a Tls<'a>,
    pub(crate) from: &'a str,
    pub(crate) to: &'a Paths,
    pub(crate) size: u64,
    #[serde(serialize_with = "id")]
    pub(crate) id: &'a Id,
}

impl Taken<'_> {
    /// Writes it behind others, with its line end.
    pub(crate) fn write(&self, json: bool, line: &mut Vec<u8>) {
        if json {
            // Writing to a vector does not fail.
            let _ = serde_json::to_writer(&mut *line, self);
        } else {
            self.words(line);
        }
        line.push(b'\n');
    }

    fn words(&self, line: &mut Vec<u8>) {
        push_time(line, self.time);
        line.push(b' ');
        push_peer(line, self.peer);
        match self.tls.hop {
            Hop::Used { version, .. } => {
                line.push(b' ');
                // A proxy before the server may not tell.
                line.extend_from_slice(version.map_or("TLS", TlsVersion::as_str).as_bytes());
                if let Some(cipher) = &self.tls.cipher {
                    line.push(b' ');
                    line.extend_from_slice(cipher.as_bytes());
                }
            }
            _ => line.extend_from_slice(b" plaintext"),
        }
        if let Some(user) = self.user {
            line.extend_from_slice(b" user=<");
            Shown(user).push(line);
            line.push(b'>');
        }
        line.extend_from_slice(b" from=<");
        Shown(self.from).push(line);
        line.push(b'>');
        for (index, recipient) in self.to.iter().enumerate() {
            line.extend_from_slice(if index == 0 { b" to=<" } else { b",<" });
            Shown(recipient).push(line);
            line.push(b'>');
        }
        line.extend_from_slice(b" size=");
        push_number(line, self.size, 1);
        line.extend_from_slice(b" id=");
        line.extend_from_slice(self.id.as_bytes());
    }
}

/// Who comes by a Unix socket has no address.
pub(crate) fn peer_name(peer: Option<IpAddr>) -> String {
    peer.map_or_else(|| "unix".into(), |address| address.to_string())
}

/// RFC 3339, to the millisecond. The second is worked out once for all messages that came in it.
fn push_time(line: &mut Vec<u8>, time: Timestamp) {
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
        line.extend_from_slice(words.as_bytes());
    });
    let digit = |of: u64| b'0' + u8::try_from(nanosecond / of % 10).unwrap_or_default();
    line.extend_from_slice(&[b'.', digit(100_000_000), digit(10_000_000), digit(1_000_000), b'Z']);
}

fn push_peer(line: &mut Vec<u8>, peer: Option<IpAddr>) {
    let Some(IpAddr::V4(address)) = peer else {
        line.extend_from_slice(peer_name(peer).as_bytes());
        return;
    };
    // A dot before each, and at most three digits.
    let (mut text, mut end) = ([b'.'; 16], 0);
    let mut push = |digit| {
        text[end % 16] = digit;
        end += 1;
    };
    for octet in address.octets() {
        push(b'.');
        if octet >= 100 {
            push(b'0' + octet / 100);
        }
        if octet >= 10 {
            push(b'0' + octet / 10 % 10);
        }
        push(b'0' + octet % 10);
    }
    line.extend_from_slice(text.get(1..end).unwrap_or_default());
}

fn time<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    let mut line = Vec::with_capacity(24);
    push_time(&mut line, *time);
    serializer.serialize_str(str::from_utf8(&line).unwrap_or_default())
}

#[expect(clippy::ref_option, reason = "serde asks so")]
fn peer<S: Serializer>(peer: &Option<IpAddr>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut line = Vec::with_capacity(40);
    push_peer(&mut line, *peer);
    serializer.serialize_str(str::from_utf8(&line).unwrap_or_default())
}

fn id<S: Serializer>(id: &Id, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(id)
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
                let mut line = Vec::new();
                push_time(&mut line, time);
                assert_eq!(line, format!("{time:.3}").as_bytes());
            }
        }
        for address in
            ["127.0.0.1", "255.10.0.99", "9.10.99.100", "200.109.250.11", "::1", "2001:db8::7", "::ffff:192.0.2.1"]
        {
            let mut line = Vec::new();
            push_peer(&mut line, address.parse().ok());
            assert_eq!(line, address.as_bytes());
        }
    }
}
