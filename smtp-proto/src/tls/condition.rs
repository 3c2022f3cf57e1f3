//! Conditions that might be made before mail is taken, and which hops meet them.

use super::record::{Direction, Hop};
use super::{ClientCertificate, TlsVersion};

/// A condition that might be made before mail is taken, or handed over: what a report counts the cost of. What a server
/// does is its [`Policy`](super::Policy).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Condition {
    /// TLS, of whatever version.
    Tls,
    /// TLS 1.2 or later.
    Tls12,
    /// TLS 1.3 or later.
    Tls13,
    /// A client certificate, also a self-signed one. For inbound mail.
    Certificate,
    /// A client certificate that verifies. For inbound mail.
    VerifiedCertificate,
}

impl Condition {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 5] = [Self::Tls, Self::Tls12, Self::Tls13, Self::Certificate, Self::VerifiedCertificate];

    /// The word used on command lines and in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Tls12 => "tls1.2",
            Self::Tls13 => "tls1.3",
            Self::Certificate => "certificate",
            Self::VerifiedCertificate => "verified-certificate",
        }
    }

    /// Whether a hop like this meets it; `None` where that cannot be told, because a log does not say, the client was
    /// not asked for a certificate, or we did not offer STARTTLS.
    #[must_use]
    pub fn met(self, hop: Hop, direction: Direction) -> Option<bool> {
        let (version, certificate) = match hop {
            Hop::Unknown => return None,
            // A client that is not offered STARTTLS might have used it.
            Hop::NotOffered if direction == Direction::Inbound => return None,
            Hop::NotOffered | Hop::NotTried | Hop::Failed | Hop::FailedThenPlaintext => return Some(false),
            Hop::Used { version, certificate } => (version, certificate),
        };
        match (self, certificate) {
            (Self::Tls, _) => Some(true),
            (Self::Tls12, _) => version.map(|version| version >= TlsVersion::Tls12),
            (Self::Tls13, _) => version.map(|version| version >= TlsVersion::Tls13),
            (_, ClientCertificate::Unknown) => None,
            (Self::Certificate, certificate) => Some(certificate != ClientCertificate::None),
            (Self::VerifiedCertificate, certificate) => Some(certificate == ClientCertificate::Verified),
        }
    }

    /// The policies that such a hop does not meet, as bits in the order of [`ALL`](Self::ALL).
    #[must_use]
    pub fn lost_by(hop: Hop, direction: Direction) -> u8 {
        Self::ALL.into_iter().filter(|condition| condition.met(hop, direction) == Some(false)).map(Self::bit).sum()
    }

    pub(super) const fn bit(self) -> u8 {
        1 << self as u8
    }
}

#[cfg(test)]
mod tests {
    use super::Condition;

    /// Command lines and reports of others depend on them.
    #[test]
    fn the_words_are_these() {
        let words = ["tls", "tls1.2", "tls1.3", "certificate", "verified-certificate"];
        assert_eq!(Condition::ALL.map(Condition::as_str), words);
    }
}
