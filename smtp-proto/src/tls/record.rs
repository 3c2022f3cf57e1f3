//! What is known of one transaction when it has ended: the fact that live servers, log readers and clients all tell.

use core::net::IpAddr;

use super::hash::hash;
use super::{ClientCertificate, TlsOutcome, TlsVersion};

/// One transaction, or a session that had none because of TLS. It borrows its names: a ledger keeps counts of it alone.
///
/// ```
/// use smtp_proto::tls::{ClientCertificate, Direction, Hop, Record, TlsVersion, Wanted};
///
/// let mut record = Record::new(1_795_000_000, Direction::Inbound);
/// record.sender = Some("example.org");
/// record.recipients = 1;
/// record.bytes = 4_711;
/// record.wanted = Wanted::Yes;
/// record.hop = Hop::Used { version: Some(TlsVersion::Tls13), certificate: ClientCertificate::None };
/// assert_eq!(record.party(), Some("example.org"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record<'a> {
    /// When it ended: seconds since 1970-01-01 00:00 UTC.
    pub time: i64,
    /// Whether the mail came in or went out.
    pub direction: Direction,
    /// The other side's address.
    pub peer: Option<IpAddr>,
    /// The other side's name, by EHLO or by DNS: best its registrable domain. Its own claim.
    pub host: Option<&'a str>,
    /// The sender's domain, lower case: best the registrable one (public suffix list), so that the hosts of one
    /// organisation are one sender. `None` where the reverse-path is null, or not known.
    pub sender: Option<&'a str>,
    /// The recipients' domains, lower case, as far as known.
    pub recipient_domains: &'a [&'a str],
    /// How many recipients were accepted.
    pub recipients: u32,
    /// A hash of sender and recipients, by which a retry is known again; 0 where not known.
    pub envelope: u64,
    /// The size of the text, in octets.
    pub bytes: u64,
    /// How the transaction ended.
    pub end: Disposition,
    /// Whether the mail was wanted.
    pub wanted: Wanted,
    /// What became of TLS on the hop.
    pub hop: Hop,
    /// Protection of the message itself, seen from the outside.
    pub end_to_end: EndToEnd,
    /// What a rehearsal did, or found out.
    pub rehearsed: Option<Rehearsed>,
}

impl<'a> Record<'a> {
    /// A transaction that was accepted and of which nothing else is known.
    #[must_use]
    pub const fn new(time: i64, direction: Direction) -> Self {
        Self {
            time,
            direction,
            peer: None,
            host: None,
            sender: None,
            recipient_domains: &[],
            recipients: 0,
            envelope: 0,
            bytes: 0,
            end: Disposition::Accepted,
            wanted: Wanted::Unknown,
            hop: Hop::Unknown,
            end_to_end: EndToEnd::Unknown,
            rehearsed: None,
        }
    }

    /// Whose mail stands or falls together: the sender of inbound mail, the recipient's domain of outbound mail.
    /// A notice with a null reverse-path counts as its host's.
    #[must_use]
    pub fn party(&self) -> Option<&'a str> {
        match self.direction {
            Direction::Inbound => self.sender.or(self.host),
            Direction::Outbound => self.recipient_domains.first().copied().or(self.host),
        }
    }

    /// By which hosts are told apart: a hash of the address, or where that is not known of the name. The same on every
    /// machine. Whoever has it can find the address by trying all of them.
    #[must_use]
    pub fn host_key(&self) -> Option<u64> {
        match (self.peer.map(|peer| peer.to_canonical()), self.host) {
            (Some(IpAddr::V4(address)), _) => Some(hash(&address.octets())),
            (Some(IpAddr::V6(address)), _) => Some(hash(&address.octets())),
            (None, Some(name)) => Some(hash(name.as_bytes())),
            (None, None) => None,
        }
    }
}

/// Whether mail comes in or goes out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Mail comes in: the other side opened the connection.
    #[default]
    Inbound,
    /// Mail goes out: this side opened the connection.
    Outbound,
}

impl Direction {
    /// The word used in ledger files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Disposition {
    /// 2yz: the message has been taken over.
    #[default]
    Accepted,
    /// 5yz: the message was refused for good.
    Refused,
    /// 4yz: the client was told to try again later.
    Deferred,
    /// Given up by the client, or cut off; it may come again.
    Abandoned,
}

impl Disposition {
    /// Whether the same message may still come again.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Accepted | Self::Refused)
    }

    /// The word used in ledger files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Deferred => "deferred",
            Self::Abandoned => "abandoned",
        }
    }
}

/// The verdict on the mail. Requiring TLS is not protection against spam: what counts is the wanted mail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wanted {
    /// Wanted, or accepted where nothing better is known.
    Yes,
    /// Spam, or refused where nothing better is known.
    No,
    /// Whether it was wanted is not known.
    #[default]
    Unknown,
}

impl Wanted {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 3] = [Self::Yes, Self::No, Self::Unknown];

    /// The word used in ledger files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "wanted",
            Self::No => "unwanted",
            Self::Unknown => "unknown",
        }
    }
}

/// What became of TLS on a hop, in what counts for policies. The hop was encrypted, not the message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Hop {
    /// Encrypted. `None` and [`ClientCertificate::Unknown`] where a log does not tell.
    Used {
        /// The version of TLS, if it is known.
        version: Option<TlsVersion>,
        /// What the client showed.
        certificate: ClientCertificate,
    },
    /// STARTTLS was offered, the client did not try.
    NotTried,
    /// The handshake failed, and that was all that was heard of it.
    Failed,
    /// The handshake failed, and the mail then came in plaintext.
    FailedThenPlaintext,
    /// STARTTLS was not offered.
    NotOffered,
    /// What became of TLS is not known.
    #[default]
    Unknown,
}

impl Hop {
    /// Whether the message crossed the hop unencrypted; `None` where that cannot be told or where no message did.
    #[must_use]
    pub const fn plaintext(self) -> Option<bool> {
        match self {
            Self::Used { .. } => Some(false),
            Self::NotTried | Self::FailedThenPlaintext | Self::NotOffered => Some(true),
            Self::Failed | Self::Unknown => None,
        }
    }

    /// The word used in ledger files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Used { .. } => "used",
            Self::NotTried => "not-tried",
            Self::Failed => "failed",
            Self::FailedThenPlaintext => "failed-then-plaintext",
            Self::NotOffered => "not-offered",
            Self::Unknown => "unknown",
        }
    }
}

impl From<&TlsOutcome> for Hop {
    fn from(outcome: &TlsOutcome) -> Self {
        match outcome {
            TlsOutcome::Used(info) => Self::Used { version: info.version, certificate: info.client_certificate },
            TlsOutcome::NotTried => Self::NotTried,
            TlsOutcome::Failed(_) => Self::Failed,
            TlsOutcome::NotOffered => Self::NotOffered,
        }
    }
}

/// Protection from end to end, as far as it shows in the fields and the first octets of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum EndToEnd {
    /// The message was looked at, and shows no protection.
    None,
    /// PGP/MIME: `multipart/encrypted` (RFC 3156 section 4).
    PgpMime,
    /// S/MIME: `application/pkcs7-mime` with enveloped data (RFC 8551 section 3.2).
    Smime,
    /// A PGP message as text (RFC 9580 section 6.2).
    PgpInline,
    /// The message was not looked at.
    #[default]
    Unknown,
}

impl EndToEnd {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 5] = [Self::PgpMime, Self::Smime, Self::PgpInline, Self::None, Self::Unknown];

    /// The word used in ledger files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::PgpMime => "pgp-mime",
            Self::Smime => "s-mime",
            Self::PgpInline => "pgp-inline",
            Self::Unknown => "unknown",
        }
    }
}

/// What a rehearsal of `require` did, or found out, with this transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Rehearsed {
    /// Asked to come back: it was in plaintext, and the first time.
    Asked,
    /// It came back, with TLS: it would have adapted.
    CameWithTls,
    /// It came back in plaintext, and was accepted: this is what `require` would have lost.
    CameInPlaintext,
}

impl Rehearsed {
    /// The word used in ledger files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::CameWithTls => "came-with-tls",
            Self::CameInPlaintext => "came-in-plaintext",
        }
    }
}
