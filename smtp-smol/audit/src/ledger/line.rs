//! A line of the ledger, and the record that it tells of.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use smtp_proto::tls::{
    ClientCertificate, Direction, End, EndToEnd, Hop, Outcome, Record, Rehearsed, TlsVersion, Wanted,
};

/// Of the format. A reader refuses lines of a later one; fields that it does not know it skips.
const VERSION: u32 = 1;
/// Octets of a name: many more than a domain may have (RFC 5321 4.5.3.1.2), and than a command line lets in.
const NAME: usize = 1024;

/// One line: a transaction, or a session that came to none for the sake of TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Line<'a> {
    /// Version of the format; 0, as in the first lines ever written, means 1.
    pub v: u32,
    /// RFC 3339, UTC: when the transaction ended.
    #[serde(borrow)]
    pub time: Cow<'a, str>,
    /// inbound or outbound.
    #[serde(borrow)]
    pub direction: Cow<'a, str>,
    /// Address of the other side.
    #[serde(borrow)]
    pub peer: Cow<'a, str>,
    /// As the other side named itself; its own claim.
    #[serde(borrow)]
    pub helo: Option<Cow<'a, str>>,
    /// Empty for a null reverse-path; null before MAIL.
    #[serde(borrow)]
    pub sender_domain: Option<Cow<'a, str>>,
    /// Each once.
    #[serde(borrow)]
    pub recipient_domains: Vec<Cow<'a, str>>,
    /// How many were accepted.
    pub recipients: u32,
    /// By which a retry is known again: a hash of sender and recipients, in hexadecimal.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub envelope: Option<Cow<'a, str>>,
    /// Octets of text.
    pub bytes: u64,
    /// accepted, refused, deferred, abandoned; and without a transaction handshake-failed, tls-required.
    #[serde(borrow)]
    pub outcome: Cow<'a, str>,
    /// wanted or unwanted, where there is a verdict; else what was accepted counts as wanted, what was refused not.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Cow<'a, str>>,
    /// What became of TLS on the hop.
    #[serde(borrow)]
    pub tls: Tls<'a>,
    /// none, pgp-mime, s-mime, pgp-inline; where anyone looked.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub end_to_end: Option<Cow<'a, str>>,
    /// asked, came-with-tls, came-in-plaintext.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub rehearsal: Option<Cow<'a, str>>,
    /// Of the message, as in its Received field.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub id: Option<Cow<'a, str>>,
}

/// What became of TLS on the hop.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Tls<'a> {
    /// used, not-tried, failed, not-offered.
    #[serde(borrow)]
    pub outcome: Cow<'a, str>,
    /// `TLS1.3` and so on.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub version: Option<Cow<'a, str>>,
    /// The suite by its IANA name.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub cipher: Option<Cow<'a, str>>,
    /// none, self-signed, untrusted, verified; absent where it was not asked for.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<Cow<'a, str>>,
    /// Why the handshake failed.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Cow<'a, str>>,
}

impl<'a> Line<'a> {
    /// An empty line of today's version.
    #[must_use]
    pub fn new(time: String, direction: Direction) -> Self {
        Self { v: VERSION, time: time.into(), direction: direction.as_str().into(), ..Self::default() }
    }

    /// Reads a line, which may be without its line end.
    ///
    /// # Errors
    /// In words: no JSON, cut off, not of a ledger, of a later version of the format, or with names that no session can
    /// have written and that would do harm in a report: control characters, or of more than 1,024 octets.
    pub fn parse(line: &'a [u8]) -> Result<Self, String> {
        let parsed: Self = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        if parsed.v > VERSION {
            return Err(format!("written in version {} of the format; this program knows {VERSION}", parsed.v));
        }
        if parsed.outcome.is_empty() {
            return Err("not a line of a ledger: it has no outcome".into());
        }
        let names = parsed.helo.iter().chain(&parsed.sender_domain).chain(&parsed.recipient_domains);
        if names.into_iter().any(|name| name.len() > NAME || name.chars().any(moves_the_cursor)) {
            return Err("not written by a server: a name in it is none".into());
        }
        Ok(parsed)
    }

    /// The record that it tells of, with registrable domains; `None` where its time cannot be read.
    pub fn with<T>(&self, then: impl FnOnce(&Record<'_>) -> T) -> Option<T> {
        let time: Timestamp = self.time.parse().ok()?;
        let mut domains: Vec<&str> = self.recipient_domains.iter().map(|domain| registrable(domain)).collect();
        domains.dedup();
        let direction = if self.direction == "outbound" { Direction::Outbound } else { Direction::Inbound };
        let mut record = Record::new(time.as_second(), direction);
        record.peer = self.peer.parse().ok();
        record.host = self.helo.as_deref().filter(|name| !name.is_empty()).map(registrable);
        record.sender = self.sender_domain.as_deref().filter(|domain| !domain.is_empty()).map(registrable);
        record.recipient_domains = &domains;
        record.recipients = self.recipients;
        record.envelope =
            self.envelope.as_deref().and_then(|hash| u64::from_str_radix(hash, 16).ok()).unwrap_or_default();
        record.bytes = self.bytes;
        record.end = match &*self.outcome {
            "accepted" => End::Accepted,
            "refused" => End::Refused,
            "deferred" => End::Deferred,
            // Also handshake-failed and tls-required: the client may come again, another way.
            _ => End::Abandoned,
        };
        record.wanted = match (self.verdict.as_deref(), record.end) {
            (Some("wanted"), _) | (None, End::Accepted) => Wanted::Yes,
            (Some("unwanted"), _) | (None, End::Refused) => Wanted::No,
            _ => Wanted::Unknown,
        };
        record.hop = self.tls.hop();
        let kind = |word: &str| EndToEnd::ALL.into_iter().find(|kind| kind.as_str() == word);
        record.end_to_end = self.end_to_end.as_deref().and_then(kind).unwrap_or_default();
        record.rehearsed = self.rehearsal.as_deref().and_then(|word| {
            [Rehearsed::Asked, Rehearsed::CameWithTls, Rehearsed::CameInPlaintext]
                .into_iter()
                .find(|rehearsed| rehearsed.as_str() == word)
        });
        Some(then(&record))
    }
}

impl Tls<'_> {
    fn hop(&self) -> Hop {
        match &*self.outcome {
            "used" => Hop::Used {
                version: self.version.as_deref().and_then(version),
                certificate: self.client_certificate.as_deref().map_or(ClientCertificate::Unknown, certificate),
            },
            "not-tried" => Hop::NotTried,
            "failed" => Hop::Failed,
            "failed-then-plaintext" => Hop::FailedThenPlaintext,
            "not-offered" => Hop::NotOffered,
            _ => Hop::Unknown,
        }
    }
}

impl From<&Outcome> for Tls<'static> {
    fn from(outcome: &Outcome) -> Self {
        let mut tls = Self { outcome: outcome.as_str().into(), ..Self::default() };
        match outcome {
            Outcome::Used(info) => {
                tls.version = Some(info.version.as_str().into());
                tls.cipher = Some(info.cipher.clone());
                let class = info.client_certificate;
                tls.client_certificate = (class != ClientCertificate::Unknown).then(|| class.as_str().into());
            }
            Outcome::Failed(failure) => tls.reason = Some(failure.to_string().into()),
            _ => {}
        }
        tls
    }
}

/// The version of TLS by its name in ledgers.
#[must_use]
pub fn version(word: &str) -> Option<TlsVersion> {
    [TlsVersion::Ssl, TlsVersion::Tls10, TlsVersion::Tls11, TlsVersion::Tls12, TlsVersion::Tls13]
        .into_iter()
        .find(|version| version.as_str() == word)
}

fn certificate(word: &str) -> ClientCertificate {
    use ClientCertificate::{None, SelfSigned, Unknown, Untrusted, Verified};
    [None, SelfSigned, Untrusted, Verified].into_iter().find(|class| class.as_str() == word).unwrap_or(Unknown)
}

/// Controls, and what turns the direction of writing: a report is read on a terminal.
fn moves_the_cursor(char: char) -> bool {
    char.is_control() || matches!(char, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The domain that somebody registered, by the public suffix list: whose mail stands or falls together. An address
/// literal, or a name without a known suffix, stands for itself.
#[must_use]
pub fn registrable(domain: &str) -> &str {
    if domain.starts_with('[') {
        return domain;
    }
    psl::domain_str(domain).unwrap_or(domain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::LedgerFile;

    fn line() -> Line<'static> {
        let mut line = Line::new("2026-11-24T09:00:00.250Z".into(), Direction::Inbound);
        line.peer = "192.0.2.1".into();
        line.helo = Some("mx7.mail.example.co.uk".into());
        line.sender_domain = Some("news.example.co.uk".into());
        line.recipient_domains = vec!["mx.example.net".into()];
        line.recipients = 2;
        line.envelope = Some("00000000000000ff".into());
        line.bytes = 17;
        line.outcome = "accepted".into();
        line.tls.outcome = "used".into();
        line.tls.version = Some("TLS1.2".into());
        line.tls.client_certificate = Some("self-signed".into());
        line.end_to_end = Some("pgp-mime".into());
        line.rehearsal = Some("came-with-tls".into());
        line
    }

    #[test]
    fn what_is_written_reads_back_as_the_record_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ledger");
        let file = LedgerFile::open(&path).expect("opened");
        file.write(&line());
        let octets = std::fs::read(&path).expect("read");
        let read = Line::parse(&octets).expect("parsed");
        assert_eq!(read, line());
        read.with(|record| {
            assert_eq!(
                (record.time, record.sender, record.host),
                (1_795_510_800, Some("example.co.uk"), Some("example.co.uk"))
            );
            assert_eq!(record.recipient_domains, ["example.net"]);
            assert_eq!((record.recipients, record.envelope, record.bytes, record.end), (2, 255, 17, End::Accepted));
            assert_eq!((record.wanted, record.end_to_end), (Wanted::Yes, EndToEnd::PgpMime));
            let (version, certificate) = (Some(TlsVersion::Tls12), ClientCertificate::SelfSigned);
            assert_eq!(record.hop, Hop::Used { version, certificate });
            assert_eq!(record.rehearsed, Some(Rehearsed::CameWithTls));
            assert_eq!(record.peer, "192.0.2.1".parse().ok());
        })
        .expect("its time is read");
    }

    #[test]
    fn names_that_would_do_harm_in_a_report_are_no_names() {
        let of =
            |name: &str| format!(r#"{{"sender_domain":"{name}","outcome":"accepted","tls":{{"outcome":"used"}}}}"#);
        for good in ["a.example", "ex\u{e4}mple.example", "[IPv6:2001:db8::1]", ""] {
            assert!(Line::parse(of(good).as_bytes()).is_ok(), "{good}");
        }
        for wrong in ["a\\n.example", "\\u001b[2J", "\\u0000", "a\\u202eb", &"a".repeat(1025)] {
            let line = of(wrong);
            assert!(Line::parse(line.as_bytes()).is_err(), "{wrong}");
            let elsewhere = line.replace("sender_domain", "helo");
            assert!(Line::parse(elsewhere.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_first_lines_ever_written_are_still_read_and_later_ones_are_refused() {
        let first = br#"{"time":"2026-11-24T09:00:00.250Z","peer":"::1","helo":null,"sender_domain":null,"recipients":0,"bytes":0,"outcome":"handshake-failed","tls":{"outcome":"failed","reason":"closed"}}"#;
        let line = Line::parse(first).expect("parsed");
        let seen = line.with(|record| (record.hop, record.end, record.wanted, record.sender.is_none()));
        assert_eq!(seen, Some((Hop::Failed, End::Abandoned, Wanted::Unknown, true)));
        assert!(Line::parse(br#"{"v":2,"outcome":"accepted"}"#).is_err());
        for wrong in [&b""[..], b"{", b"[]", b"{}", b"null", b"\xff"] {
            assert!(Line::parse(wrong).is_err(), "{wrong:?}");
        }
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
