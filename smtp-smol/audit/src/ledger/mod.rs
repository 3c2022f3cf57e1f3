//! The ledger file: one JSON line a transaction, written by `serve` and `send`, read by `audit`.
//!
//! An [`Entry`] is what happened, in types. The line is only how it is written down: a server counts the entry itself,
//! and never reads its own words back.
//!
//! ```
//! use smtp_audit::ledger::Entry;
//! use smtp_proto::tls::{Direction, Ledger, Retries, Wanted};
//!
//! let file = concat!(
//!     r#"{"time":"2026-11-24T09:00:00Z","sender_domain":"a.example","outcome":"accepted","tls":{"outcome":"not-tried"}}"#,
//!     "\n",
//!     r#"{"time":"2026-11-24T09:00:01Z","sender_domain":"#, // the power failed here
//! );
//! let (mut ledger, mut retries, mut broken) = (Ledger::default(), Retries::default(), 0);
//! for line in file.lines() {
//!     match Entry::parse(line.as_bytes()) {
//!         Ok(entry) => entry.with(|record| retries.add(record, |record| ledger.add(record))),
//!         Err(_) => broken += 1,
//!     }
//! }
//! retries.finish(|record| ledger.add(record));
//! assert_eq!((ledger.hops(Direction::Inbound, Wanted::Yes).count(), broken), (1, 1));
//! ```
//!
//! Whether mail was wanted, the handler knows best. Here it takes spam all the same, and says that it was spam. Without a
//! verdict what was accepted counts as wanted, and what was refused as unwanted.
//!
//! ```
//! use smtp_audit::ledger::{Ending, Entry, LedgerFile};
//! use smtp_proto::server::Session;
//! use smtp_proto::tls::{Direction, Wanted};
//!
//! /// To be called when a message is complete, for instance by a `Handler`'s `message`.
//! fn taken(ledger: &LedgerFile, session: &Session, sender_domain: &str, bytes: u64, spam: bool) {
//!     let mut entry = Entry::new(jiff::Timestamp::now(), Direction::Inbound, Ending::Accepted);
//!     entry.sender_domain = Some(sender_domain.into());
//!     entry.bytes = bytes;
//!     entry.verdict = Some(if spam { Wanted::No } else { Wanted::Yes });
//!     entry.tls = session.into();
//!     ledger.write(&entry); // `entry.with` counts it in memory
//! }
//! ```
//!
//! Lines are only ever appended, each in one piece: a crash leaves at worst a last line that is cut, and the next start
//! ends that line, so that it costs itself and no other. Domains stand there as they were given; addresses do not.

mod file;
mod flat;
mod line;
mod row;
mod time;
mod withheld;

use std::borrow::Cow;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use smtp_proto::Leniencies;
use smtp_proto::server::Session;
use smtp_proto::tls::{
    ClientCertificate, Direction, Disposition, EndToEnd, Hop, Record, Rehearsed, TlsOffer, TlsOutcome, TlsVersion,
    Wanted,
};

pub use file::LedgerFile;
pub(crate) use flat::Reader;
pub(crate) use line::rehearsed;
pub(crate) use row::{Row, utf8};
pub use withheld::{NOT_OFFERED_AGAIN, Withheld};

/// Of the format: what is written. Lines of versions 0 and 1 are read as well, and lines of later ones are refused.
/// Fields that a reader does not know it skips, so that a new field alone makes no new version.
pub const VERSION: u32 = 2;

/// A transaction, or a session that came to none for the sake of TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry<'a> {
    /// Which line this is. `None` before it is written, and in lines of version 1.
    pub stamp: Option<Stamp<'a>>,
    /// Of the transaction, as in the Received field of its message. Where it has none its line gets an id of its own.
    pub id: Option<Cow<'a, str>>,
    /// When the transaction ended.
    pub time: Timestamp,
    /// Who was the client.
    pub direction: Direction,
    /// Address of the other side; `None` for a Unix socket.
    pub peer: Option<IpAddr>,
    /// As the other side named itself; its own claim.
    pub helo: Option<Cow<'a, str>>,
    /// Empty for a null reverse-path; `None` before MAIL.
    pub sender_domain: Option<Cow<'a, str>>,
    /// Each once.
    pub recipient_domains: Vec<Cow<'a, str>>,
    /// How many were accepted.
    pub recipients: u32,
    /// By which a retry is known again: a hash of sender and recipients (see [`Retries`](smtp_proto::tls::Retries)); 0
    /// where there is none.
    pub envelope: u64,
    /// Octets of text.
    pub bytes: u64,
    /// How it ended.
    pub ending: Ending,
    /// The reply code by which it was refused or put off, where that was not this server's own decision alone: that of a
    /// server behind it, or of a rule about recipients.
    pub code: Option<u16>,
    /// Where there is a verdict; else what was accepted counts as wanted, and what was refused as unwanted.
    pub verdict: Option<Wanted>,
    /// What became of TLS on the hop.
    pub tls: Tls<'a>,
    /// Protection of the message itself; [`EndToEnd::Unknown`] where nobody looked.
    pub end_to_end: EndToEnd,
    /// What a rehearsal did, or found out.
    pub rehearsed: Option<Rehearsed>,
    /// It came in plaintext where TLS is required, as that is not required of its sender.
    pub excepted: bool,
    /// Departures from the standards that were let pass: without these leniencies it would have been refused.
    pub lenient: Leniencies,
}

/// Which line of which writer: no two lines have the same, so a line that was shipped twice is known again, and one that
/// is missing is missed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Stamp<'a> {
    /// The host that wrote it, by the name that its operator gave it.
    pub node: Cow<'a, str>,
    /// Which program of that host's wrote it, and since when: begins with the time at which the ledger was opened.
    pub run: Cow<'a, str>,
    /// The number of the line in that run, from 1.
    pub seq: u64,
}

/// How a transaction ended, or a session without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ending {
    /// 2yz: the message has been taken over.
    Accepted,
    /// 5yz: it never will be.
    Refused,
    /// 4yz: it is expected again.
    Deferred,
    /// Given up by the client, or cut off.
    Abandoned,
    /// The handshake failed, and no transaction followed.
    HandshakeFailed,
    /// Mail was refused because it came in plaintext, and no transaction followed.
    TlsRequired,
}

/// What became of TLS on the hop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tls<'a> {
    /// What counts for policies.
    pub hop: Hop,
    /// The suite by its IANA name.
    pub cipher: Option<Cow<'a, str>>,
    /// The group of the key exchange by its IANA name.
    pub group: Option<Cow<'a, str>>,
    /// What the client offered, if its ClientHello was read.
    pub offered: Option<TlsOffer>,
    /// TLS ended at a proxy before the server, which told of it.
    pub by_proxy: bool,
    /// Why the handshake failed.
    pub reason: Option<Cow<'a, str>>,
}

/// Why a line does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Wrong {
    /// No JSON, cut off, not of a ledger, or with a name that no session can have written and that would do harm in a
    /// report: with control characters, or of more than 1,024 octets.
    #[error("{0}")]
    Broken(String),
    /// Written by a later program.
    #[error("written in version {0} of the format; this program knows {VERSION}")]
    Version(u32),
}

impl<'a> Entry<'a> {
    /// One of which nothing else is known.
    #[must_use]
    pub const fn new(time: Timestamp, direction: Direction, ending: Ending) -> Self {
        Self {
            stamp: None,
            id: None,
            time,
            direction,
            peer: None,
            helo: None,
            sender_domain: None,
            recipient_domains: Vec::new(),
            recipients: 0,
            envelope: 0,
            bytes: 0,
            ending,
            code: None,
            verdict: None,
            tls: Tls { hop: Hop::Unknown, cipher: None, group: None, offered: None, by_proxy: false, reason: None },
            end_to_end: EndToEnd::Unknown,
            rehearsed: None,
            excepted: false,
            lenient: Leniencies::STRICT,
        }
    }

    /// Reads a line, which may be without its line end.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(line: &'a [u8]) -> Result<Self, Wrong> {
        line::parse(line)
    }

    /// The line, with its line end.
    #[must_use]
    pub fn line(&self) -> Vec<u8> {
        line::write(self)
    }

    /// Whether the mail was wanted: by the verdict, and without one by how the transaction ended.
    #[must_use]
    pub const fn wanted(&self) -> Wanted {
        self.ending.wanted(self.verdict)
    }

    /// Whether it came in plaintext by an exception: then it is not counted among what is required to have TLS.
    pub(crate) fn by_exception(&self) -> bool {
        self.excepted && self.tls.hop.plaintext() == Some(true)
    }

    /// What the core counts by, with registrable domains.
    pub fn with<T>(&self, then: impl FnOnce(&Record<'_>) -> T) -> T {
        let (one, mut more);
        let domains: &[&str] = match &self.recipient_domains[..] {
            // As nearly always: nothing is allocated for it.
            [domain] => {
                one = [registrable(domain)];
                &one
            }
            domains => {
                more = domains.iter().map(|domain| registrable(domain)).collect::<Vec<_>>();
                more.dedup();
                &more
            }
        };
        let mut record = self.record();
        record.host = self.helo.as_deref().filter(|name| !name.is_empty()).map(registrable);
        record.sender = self.sender_domain.as_deref().filter(|domain| !domain.is_empty()).map(registrable);
        record.recipient_domains = domains;
        then(&record)
    }

    /// The same, without names that change nothing in what is counted of all mail: those of recipients where a sender is
    /// counted, and of a host that is known by its address. Somebody else may know which part of the sender's is registrable.
    pub(crate) fn with_counted<'e, T>(
        &'e self,
        registrable: impl FnOnce(&'e str) -> &'e str,
        then: impl FnOnce(&Record<'_>) -> T,
    ) -> T {
        let named = self.sender_domain.as_deref().is_some_and(|domain| !domain.is_empty());
        if self.direction == Direction::Inbound && named && self.peer.is_some() {
            let mut record = self.record();
            record.sender = self.sender_domain.as_deref().map(registrable);
            return then(&record);
        }
        self.with(then)
    }

    /// Without names.
    fn record(&self) -> Record<'_> {
        let mut record = Record::new(self.time.as_second(), self.direction);
        record.peer = self.peer;
        record.recipients = self.recipients;
        record.envelope = self.envelope;
        record.bytes = self.bytes;
        record.end = self.ending.end();
        record.wanted = self.wanted();
        record.hop = self.tls.hop;
        record.end_to_end = self.end_to_end;
        record.rehearsed = self.rehearsed;
        record
    }

    /// The same, and nothing of it borrowed.
    #[must_use]
    pub fn into_owned(self) -> Entry<'static> {
        let owned = |text: Cow<'a, str>| Cow::Owned(text.into_owned());
        Entry {
            stamp: self.stamp.map(Stamp::into_owned),
            id: self.id.map(owned),
            time: self.time,
            direction: self.direction,
            peer: self.peer,
            helo: self.helo.map(owned),
            sender_domain: self.sender_domain.map(owned),
            recipient_domains: self.recipient_domains.into_iter().map(owned).collect(),
            recipients: self.recipients,
            envelope: self.envelope,
            bytes: self.bytes,
            ending: self.ending,
            code: self.code,
            verdict: self.verdict,
            tls: Tls {
                hop: self.tls.hop,
                cipher: self.tls.cipher.map(owned),
                group: self.tls.group.map(owned),
                offered: self.tls.offered,
                by_proxy: self.tls.by_proxy,
                reason: self.tls.reason.map(owned),
            },
            end_to_end: self.end_to_end,
            rehearsed: self.rehearsed,
            excepted: self.excepted,
            lenient: self.lenient,
        }
    }
}

impl<'a> Stamp<'a> {
    /// The line with this number.
    #[must_use]
    pub fn new(node: impl Into<Cow<'a, str>>, run: impl Into<Cow<'a, str>>, seq: u64) -> Self {
        Self { node: node.into(), run: run.into(), seq }
    }

    /// The same, and nothing of it borrowed.
    #[must_use]
    pub fn into_owned(self) -> Stamp<'static> {
        Stamp { node: self.node.into_owned().into(), run: self.run.into_owned().into(), seq: self.seq }
    }
}

impl Ending {
    #[cfg(test)]
    const ALL: [Self; 6] =
        [Self::Accepted, Self::Refused, Self::Deferred, Self::Abandoned, Self::HandshakeFailed, Self::TlsRequired];

    /// The word used in the line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Deferred => "deferred",
            Self::Abandoned => "abandoned",
            Self::HandshakeFailed => "handshake-failed",
            Self::TlsRequired => "tls-required",
        }
    }

    fn from_word(word: &[u8]) -> Option<Self> {
        Some(match word {
            b"accepted" => Self::Accepted,
            b"refused" => Self::Refused,
            b"deferred" => Self::Deferred,
            b"abandoned" => Self::Abandoned,
            b"handshake-failed" => Self::HandshakeFailed,
            b"tls-required" => Self::TlsRequired,
            _ => return None,
        })
    }

    /// Whether mail that ended so was wanted: by the verdict, if there is one.
    const fn wanted(self, verdict: Option<Wanted>) -> Wanted {
        match (verdict, self) {
            (Some(verdict), _) => verdict,
            (None, Self::Accepted) => Wanted::Yes,
            (None, Self::Refused) => Wanted::No,
            (None, _) => Wanted::Unknown,
        }
    }

    /// What it means for the message: after a handshake that failed, or mail refused in plaintext, the client may come
    /// again another way.
    #[must_use]
    pub const fn end(self) -> Disposition {
        match self {
            Self::Accepted => Disposition::Accepted,
            Self::Refused => Disposition::Refused,
            Self::Deferred => Disposition::Deferred,
            Self::Abandoned | Self::HandshakeFailed | Self::TlsRequired => Disposition::Abandoned,
        }
    }
}

impl From<Disposition> for Ending {
    fn from(end: Disposition) -> Self {
        match end {
            Disposition::Accepted => Self::Accepted,
            Disposition::Refused => Self::Refused,
            Disposition::Deferred => Self::Deferred,
            _ => Self::Abandoned,
        }
    }
}

impl Tls<'_> {
    /// The version, where the hop was encrypted and it is known.
    #[must_use]
    pub const fn version(&self) -> Option<TlsVersion> {
        if let Hop::Used { version, .. } = self.hop { version } else { None }
    }
}

impl From<&TlsOutcome> for Tls<'static> {
    fn from(outcome: &TlsOutcome) -> Self {
        let mut tls = Self { hop: outcome.into(), ..Self::default() };
        match outcome {
            TlsOutcome::Used(info) => {
                tls.cipher = Some(info.cipher.clone()).filter(|name| !name.is_empty());
                tls.group = info.group.clone();
                tls.by_proxy = info.by_proxy;
            }
            TlsOutcome::Failed(failure) => tls.reason = Some(failure.to_string().into()),
            _ => {}
        }
        tls
    }
}

impl From<&Session> for Tls<'static> {
    fn from(session: &Session) -> Self {
        Self { offered: session.offered(), ..Self::from(&session.tls_outcome()) }
    }
}

/// As in the line.
impl Serialize for Tls<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        line::Tls::from(self).serialize(serializer)
    }
}

/// The version of TLS by its name in ledgers.
#[must_use]
pub fn version(word: &str) -> Option<TlsVersion> {
    [TlsVersion::Ssl, TlsVersion::Tls10, TlsVersion::Tls11, TlsVersion::Tls12, TlsVersion::Tls13]
        .into_iter()
        .find(|version| version.as_str() == word)
}

/// The class of client certificate by its name in ledgers.
#[must_use]
pub fn certificate(word: &str) -> ClientCertificate {
    use ClientCertificate::{None, SelfSigned, Unknown, Untrusted, Verified};
    [None, SelfSigned, Untrusted, Verified].into_iter().find(|class| class.as_str() == word).unwrap_or(Unknown)
}

/// The domain that somebody registered, by the public suffix list: whose mail stands or falls together. An address
/// literal, or a name without a known suffix, stands for itself.
#[must_use]
#[inline(never)] // the list is a million octets of code, inlined wherever it is asked: three copies took a minute to compile
pub fn registrable(domain: &str) -> &str {
    if domain.starts_with('[') {
        return domain;
    }
    psl::domain_str(domain).unwrap_or(domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_counted_by_registrable_domains() {
        let mut entry = Entry::new(Timestamp::UNIX_EPOCH, Direction::Inbound, Ending::Deferred);
        entry.helo = Some("mx7.mail.example.co.uk".into());
        entry.sender_domain = Some("news.example.co.uk".into());
        entry.recipient_domains = vec!["a.example.net".into(), "b.example.net".into()];
        let seen = entry.with(|record| {
            assert_eq!(record.recipient_domains, ["example.net"]);
            (record.sender == Some("example.co.uk"), record.host == Some("example.co.uk"), record.end, record.wanted)
        });
        assert_eq!(seen, (true, true, Disposition::Deferred, Wanted::Unknown));
        entry.verdict = Some(Wanted::No);
        assert_eq!(entry.with(|record| record.wanted), Wanted::No);
    }

    #[test]
    fn a_domain_is_the_one_that_somebody_registered() {
        for (domain, expected) in [
            ("a.b.example.co.uk", "example.co.uk"),
            ("mail.example.com", "example.com"),
            ("example.com", "example.com"),
            ("someone.github.io", "someone.github.io"),
            ("co.uk", "co.uk"),
            ("localhost", "localhost"),
            ("[192.0.2.1]", "[192.0.2.1]"),
        ] {
            assert_eq!(registrable(domain), expected);
        }
    }
}
