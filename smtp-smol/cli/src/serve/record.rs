//! The line that is printed for each message taken.

use std::fmt::Write as _;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use smtp_audit::ledger::Tls;
use smtp_proto::tls::{Hop, TlsVersion};

use crate::shown::Shown;

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
        let mut line = format!("{:.3} {} ", self.time, peer_name(self.peer));
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
            let _ = write!(line, "{}<{}>", if index == 0 { " to=" } else { "," }, Shown(recipient));
        }
        let _ = write!(line, " size={} id={}", self.size, self.id);
        line
    }
}

/// Who comes by a Unix socket has no address.
pub(crate) fn peer_name(peer: Option<IpAddr>) -> String {
    peer.map_or_else(|| "unix".into(), |address| address.to_string())
}

/// RFC 3339, to the millisecond.
fn time<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.3}"))
}

#[expect(clippy::ref_option, reason = "serde asks so")]
fn peer<S: Serializer>(peer: &Option<IpAddr>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&peer_name(*peer))
}
