//! What the core knows of TLS: the policy, what became of TLS on each hop, and what another policy would have cost. No TLS
//! library.

mod cell;
mod condition;
mod exceptions;
mod hash;
mod hello;
mod interval;
mod kept;
mod ledger;
mod loss;
mod policy;
mod record;
mod rehearsal;
mod required_domains;
mod retries;
mod senders;

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

pub use cell::Cell;
pub use condition::Condition;
pub use exceptions::{Exception, Exceptions, NotAnException};
pub use hello::{ClientHello, CodePoints, HelloError, HelloReader, MOST_OCTETS as MOST_HELLO_OCTETS, ProtocolNames};
pub use interval::Interval;
pub use ledger::{Bounds, Ledger, OtherScope, RehearsalCounts, Scope};
pub use loss::{Heavy, Loss, Point, Share, Tally};
pub use policy::Policy;
pub use record::{Direction, Disposition, EndToEnd, Hop, Record, Rehearsed, Wanted};
pub use rehearsal::{RcptAnswer, Rehearsal, Triplet};
pub use required_domains::RequiredDomains;
pub use retries::Retries;
pub use senders::Counts;

/// Whether a session begins in plaintext or inside TLS.
#[derive(Clone, Debug)]
pub enum Channel {
    /// Plaintext: STARTTLS may follow (RFC 3207).
    Plain,
    /// TLS from the first byte (RFC 8314 section 3).
    Tls(TlsInfo),
}

/// The version of TLS in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TlsVersion {
    /// SSL 2 or 3 (RFC 6176, RFC 7568): never accepted here, but seen in logs.
    Ssl,
    /// TLS 1.0, RFC 2246: never accepted here (RFC 8996), but seen in logs.
    Tls10,
    /// TLS 1.1, RFC 4346: never accepted here (RFC 8996), but seen in logs.
    Tls11,
    /// TLS 1.2, RFC 5246; the oldest that is accepted (RFC 8996).
    Tls12,
    /// TLS 1.3, RFC 8446.
    Tls13,
}

impl TlsVersion {
    /// The name as it is written in trace fields and ledgers: `TLS1.2`, `TLS1.3`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ssl => "SSL",
            Self::Tls10 => "TLS1.0",
            Self::Tls11 => "TLS1.1",
            Self::Tls12 => "TLS1.2",
            Self::Tls13 => "TLS1.3",
        }
    }
}

/// What kind of certificate the client showed in the handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ClientCertificate {
    /// No certificate: as most mail servers do.
    #[default]
    None,
    /// A certificate signed by its own key.
    SelfSigned,
    /// A certificate from an authority that is not trusted here, or that does not verify.
    Untrusted,
    /// A certificate that verifies.
    Verified,
    /// It was not asked for one, or a log does not tell.
    Unknown,
}

impl ClientCertificate {
    /// The name used in the ledger.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::SelfSigned => "self-signed",
            Self::Untrusted => "untrusted",
            Self::Verified => "verified",
            Self::Unknown => "unknown",
        }
    }
}

/// What is known of an established TLS connection. The driver fills it in; the hop is encrypted, not the message.
///
/// ```
/// use smtp_proto::{Channel, TlsInfo};
/// use smtp_proto::tls::TlsVersion;
///
/// let mut info = TlsInfo::new(TlsVersion::Tls13, "TLS13_AES_128_GCM_SHA256".into());
/// info.server_verified = true; // of a client whose library says so
/// let channel = Channel::Tls(info); // for a session that begins inside TLS
/// # drop(channel);
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsInfo {
    /// The version. `None` where TLS ended at a proxy that does not tell.
    pub version: Option<TlsVersion>,
    /// The cipher suite by its IANA name, such as `TLS_AES_128_GCM_SHA256`, or by the name that a proxy has for it. Empty
    /// where it is not known.
    pub cipher: Cow<'static, str>,
    /// The group of the key exchange by its IANA name, such as `x25519` or `X25519MLKEM768`, if it is known.
    pub group: Option<Cow<'static, str>>,
    /// The application protocol that was agreed on (ALPN, RFC 7301), if any.
    pub alpn: Option<Box<[u8]>>,
    /// The kind of certificate that the client showed.
    pub client_certificate: ClientCertificate,
    /// The name in the client's certificate (the Common Name of its subject), where a proxy tells it. Input from the peer
    /// unless the certificate is verified: never logged raw.
    pub client_name: Option<Box<str>>,
    /// Seen from a client: the server's certificate verifies, for a name that did not come from the server.
    pub server_verified: bool,
    /// The name the client asked for (SNI, RFC 6066), if any. Input from the peer: never logged raw.
    pub server_name: Option<Box<str>>,
    /// The `tls-exporter` channel binding (RFC 9266), for SCRAM-PLUS; 32 octets.
    pub channel_binding: Option<Vec<u8>>,
    /// TLS ended at a proxy before this server, which is trusted to tell of it.
    pub by_proxy: bool,
}

impl TlsInfo {
    /// A connection with this version and cipher suite; the other fields can be set afterwards.
    #[must_use]
    pub const fn new(version: TlsVersion, cipher: Cow<'static, str>) -> Self {
        Self {
            version: Some(version),
            cipher,
            group: None,
            alpn: None,
            client_certificate: ClientCertificate::None,
            client_name: None,
            server_verified: false,
            server_name: None,
            channel_binding: None,
            by_proxy: false,
        }
    }

    /// A connection whose TLS ended at a proxy. The other fields can be set afterwards, as far as the proxy tells them.
    #[must_use]
    pub const fn by_proxy() -> Self {
        let mut info = Self::new(TlsVersion::Tls13, Cow::Borrowed(""));
        info.version = None;
        info.client_certificate = ClientCertificate::Unknown;
        info.by_proxy = true;
        info
    }
}

/// What a client offers in its ClientHello, as far as policies care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct TlsOffer {
    /// The highest version of TLS that the client offers.
    pub version: TlsVersion,
    /// Whether a group with post-quantum key exchange is among the groups.
    pub post_quantum: bool,
}

impl TlsOffer {
    /// An offer of `version` at most, with or without post-quantum key exchange.
    #[must_use]
    pub const fn new(version: TlsVersion, post_quantum: bool) -> Self {
        Self { version, post_quantum }
    }
}

impl fmt::Debug for TlsInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsInfo")
            .field("version", &self.version)
            .field("cipher", &self.cipher)
            .field("group", &self.group)
            .field("alpn", &self.alpn)
            .field("client_certificate", &self.client_certificate)
            .field("client_name", &self.client_name)
            .field("server_verified", &self.server_verified)
            .field("server_name", &self.server_name)
            .field("channel_binding", &self.channel_binding.as_ref().map(|_| "[redacted]"))
            .field("by_proxy", &self.by_proxy)
            .finish()
    }
}

/// Why a handshake did not complete, as the ledger records it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsFailure {
    /// The peer closed, or reset, before the handshake was done.
    Closed,
    /// The peer took too long.
    TimedOut,
    /// The peer sent an alert; its description, such as `unknown_ca`.
    Alert(Cow<'static, str>),
    /// The peer was refused here; why, in one line, such as `offers TLS 1.0 at most`.
    Refused(Cow<'static, str>),
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed"),
            Self::TimedOut => f.write_str("timed out"),
            Self::Alert(alert) => match of_certificate(alert) {
                Some(why) => write!(f, "refused our certificate: {why} (alert {alert})"),
                None => write!(f, "alert {alert}"),
            },
            Self::Refused(why) => write!(f, "refused: {why}"),
        }
    }
}

/// What is wrong with the certificate that the peer was shown, where an alert says so (RFC 8446 6.2).
fn of_certificate(alert: &str) -> Option<&'static str> {
    match alert {
        "bad_certificate" => Some("it is broken"),
        "unsupported_certificate" => Some("of a kind that is not known"),
        "certificate_revoked" => Some("it was revoked"),
        "certificate_expired" => Some("it has expired"),
        "certificate_unknown" => Some("it is not acceptable"),
        "unknown_ca" => Some("unknown CA"),
        _ => None,
    }
}

/// What became of TLS on one hop. Ledgers count these.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsOutcome {
    /// The hop was encrypted.
    Used(TlsInfo),
    /// STARTTLS was announced, the client did not try.
    NotTried,
    /// The client tried, and the handshake failed.
    Failed(TlsFailure),
    /// STARTTLS was not announced.
    NotOffered,
}

impl TlsOutcome {
    /// The word used in the ledger.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Used(_) => "used",
            Self::NotTried => "not-tried",
            Self::Failed(_) => "failed",
            Self::NotOffered => "not-offered",
        }
    }
}
