//! The line as it is written: an entry's view in JSON. `docs/fleet/ledger.schema.json` describes it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use smtp_proto::Leniency;
use smtp_proto::tls::{ClientCertificate, Direction, EndToEnd, Hop, Rehearsed, TlsOffer, Wanted};

use super::{Ending, Entry, Stamp, VERSION, Wrong, certificate, flat, version};

/// Who told of TLS that ended before the server.
pub(super) const PROXY: &str = "proxy";
/// Octets of a name: many more than a domain may have (RFC 5321 4.5.3.1.2), and than a command line lets in.
pub(super) const NAME: usize = 1024;

/// The members in the order in which they are written.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Line<'a> {
    /// 0, as in the first lines ever written, means 1.
    pub(super) v: u32,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) node: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) run: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seq: Option<u64>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) time: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) direction: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) peer: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) helo: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) sender_domain: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) recipient_domains: Vec<Cow<'a, str>>,
    pub(super) recipients: u32,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) envelope: Option<Cow<'a, str>>,
    pub(super) bytes: u64,
    #[serde(borrow)]
    pub(super) outcome: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<u16>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) verdict: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) tls: Tls<'a>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) end_to_end: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) rehearsal: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) excepted: bool,
    #[serde(borrow, skip_serializing_if = "Vec::is_empty")]
    pub(super) lenient: Vec<Cow<'a, str>>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Tls<'a> {
    #[serde(borrow)]
    pub(super) outcome: Cow<'a, str>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) cipher: Option<Cow<'a, str>>,
    /// Absent where the client was not asked for one.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) client_certificate: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) group: Option<Cow<'a, str>>,
    /// The highest version in the ClientHello.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) offered_version: Option<Cow<'a, str>>,
    /// Whether the ClientHello has a group with post-quantum key exchange.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) post_quantum: Option<bool>,
    /// Where TLS ended before the server: `proxy`.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) told_by: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<Cow<'a, str>>,
}

pub(super) fn write(entry: &Entry<'_>) -> Vec<u8> {
    let known = |kind: &EndToEnd| *kind != EndToEnd::Unknown;
    let line = Line {
        v: VERSION,
        node: entry.stamp.as_ref().map(|stamp| (&*stamp.node).into()),
        run: entry.stamp.as_ref().map(|stamp| (&*stamp.run).into()),
        seq: entry.stamp.as_ref().map(|stamp| stamp.seq),
        id: entry.id.as_deref().map(Into::into),
        time: format!("{:.3}", entry.time).into(),
        direction: entry.direction.as_str().into(),
        peer: entry.peer.map_or("unix".into(), |peer| peer.to_canonical().to_string().into()),
        helo: entry.helo.as_deref().map(Into::into),
        sender_domain: entry.sender_domain.as_deref().map(Into::into),
        recipient_domains: entry.recipient_domains.iter().map(|domain| (&**domain).into()).collect(),
        recipients: entry.recipients,
        envelope: (entry.envelope != 0).then(|| format!("{:016x}", entry.envelope).into()),
        bytes: entry.bytes,
        outcome: entry.ending.as_str().into(),
        code: entry.code,
        verdict: entry.verdict.map(|verdict| verdict.as_str().into()),
        tls: Tls::from(&entry.tls),
        end_to_end: Some(entry.end_to_end).filter(known).map(|kind| kind.as_str().into()),
        rehearsal: entry.rehearsed.map(|found| found.as_str().into()),
        excepted: entry.excepted,
        lenient: entry.lenient.iter().map(|leniency| leniency.as_str().into()).collect(),
    };
    // Maps with keys that are no strings, and numbers that are none, would be errors: there are neither.
    let mut octets = serde_json::to_vec(&line).unwrap_or_default();
    octets.push(b'\n');
    octets
}

pub(super) fn parse(line: &[u8]) -> Result<Entry<'_>, Wrong> {
    flat::Reader::default().read(line).map_or_else(|| parse_json(line), |row| Ok(row.entry(line)))
}

/// Reads a line of any form that JSON may have.
pub(super) fn parse_json(line: &[u8]) -> Result<Entry<'_>, Wrong> {
    entry(serde_json::from_slice(line).map_err(|error| Wrong::Broken(error.to_string()))?)
}

fn entry(line: Line<'_>) -> Result<Entry<'_>, Wrong> {
    let broken = |why: &str| Wrong::Broken(why.into());
    if line.v > VERSION {
        return Err(Wrong::Version(line.v));
    }
    if line.outcome.is_empty() {
        return Err(broken("not a line of a ledger: it has no outcome"));
    }
    let ending = Ending::from_word(line.outcome.as_bytes())
        .ok_or_else(|| broken("not a line of a ledger: its outcome is none"))?;
    let direction = match &*line.direction {
        // The first lines told of mail that came in, and of no other.
        "" | "inbound" => Direction::Inbound,
        "outbound" => Direction::Outbound,
        _ => return Err(broken("not a line of a ledger: its direction is none")),
    };
    let names = [&line.node, &line.run, &line.id, &line.helo, &line.sender_domain].into_iter().flatten();
    if names.chain(&line.recipient_domains).any(|name| !is_name(name)) {
        return Err(broken("not written by a server: a name in it is none"));
    }
    let time = super::time::read(line.time.as_bytes()).or_else(|| line.time.parse().ok());
    let time = time.ok_or_else(|| broken("a line without a time"))?;
    let hop = line.tls.hop();
    let stamp = match (line.node, line.run, line.seq) {
        (Some(node), Some(run), Some(seq)) => Some(Stamp { node, run, seq }),
        _ => None,
    };
    let mut entry = Entry::new(time, direction, ending);
    entry.stamp = stamp;
    entry.id = line.id;
    entry.peer = line.peer.parse().ok();
    entry.helo = line.helo;
    entry.sender_domain = line.sender_domain;
    entry.recipient_domains = line.recipient_domains;
    entry.recipients = line.recipients;
    entry.envelope = line.envelope.and_then(|hash| u64::from_str_radix(&hash, 16).ok()).unwrap_or_default();
    entry.bytes = line.bytes;
    entry.code = line.code;
    entry.verdict = match line.verdict.as_deref() {
        Some("wanted") => Some(Wanted::Yes),
        Some("unwanted") => Some(Wanted::No),
        Some("unknown") => Some(Wanted::Unknown),
        _ => None,
    };
    entry.tls = super::Tls {
        hop,
        offered: line.tls.offered(),
        by_proxy: line.tls.told_by.as_deref() == Some(PROXY),
        cipher: line.tls.cipher,
        group: line.tls.group,
        reason: line.tls.reason,
    };
    entry.end_to_end = line.end_to_end.as_deref().map_or(EndToEnd::Unknown, |word| end_to_end(word.as_bytes()));
    entry.rehearsed = line.rehearsal.as_deref().and_then(rehearsed);
    entry.excepted = line.excepted;
    // Names that a later program has are none here.
    entry.lenient = line.lenient.iter().filter_map(|name| name.parse::<Leniency>().ok()).collect();
    Ok(entry)
}

impl Tls<'_> {
    fn hop(&self) -> Hop {
        match &*self.outcome {
            "used" => Hop::Used {
                version: self.version.as_deref().and_then(version),
                certificate: self.client_certificate.as_deref().map_or(ClientCertificate::Unknown, certificate),
            },
            word => plaintext(word.as_bytes()),
        }
    }

    fn offered(&self) -> Option<TlsOffer> {
        let highest = self.offered_version.as_deref().and_then(version)?;
        Some(TlsOffer::new(highest, self.post_quantum.unwrap_or_default()))
    }
}

impl<'a> From<&'a super::Tls<'_>> for Tls<'a> {
    fn from(tls: &'a super::Tls<'_>) -> Self {
        let known = |class: &ClientCertificate| *class != ClientCertificate::Unknown;
        let (version, certificate) = match tls.hop {
            Hop::Used { version, certificate } => (version, Some(certificate).filter(known)),
            _ => (None, None),
        };
        Self {
            outcome: tls.hop.as_str().into(),
            version: version.map(|version| version.as_str().into()),
            cipher: tls.cipher.as_deref().map(Into::into),
            client_certificate: certificate.map(|class| class.as_str().into()),
            group: tls.group.as_deref().map(Into::into),
            offered_version: tls.offered.map(|offered| offered.version.as_str().into()),
            post_quantum: tls.offered.map(|offered| offered.post_quantum),
            told_by: tls.by_proxy.then(|| PROXY.into()),
            reason: tls.reason.as_deref().map(Into::into),
        }
    }
}

/// What a rehearsal did or found out, by its name in ledgers.
pub(crate) fn rehearsed(word: &str) -> Option<Rehearsed> {
    [Rehearsed::Asked, Rehearsed::CameWithTls, Rehearsed::CameInPlaintext]
        .into_iter()
        .find(|rehearsed| rehearsed.as_str() == word)
}

/// What became of TLS where none was used.
pub(super) fn plaintext(word: &[u8]) -> Hop {
    match word {
        b"not-tried" => Hop::NotTried,
        b"failed" => Hop::Failed,
        b"failed-then-plaintext" => Hop::FailedThenPlaintext,
        b"not-offered" => Hop::NotOffered,
        _ => Hop::Unknown,
    }
}

/// What protects the message, by its name in ledgers.
pub(super) fn end_to_end(word: &[u8]) -> EndToEnd {
    EndToEnd::ALL.into_iter().find(|kind| kind.as_str().as_bytes() == word).unwrap_or_default()
}

fn is_name(name: &str) -> bool {
    name.len() <= NAME && !name.chars().any(moves_the_cursor)
}

/// Controls, and what turns the direction of writing: a report is read on a terminal.
pub(super) fn moves_the_cursor(char: char) -> bool {
    char.is_control() || matches!(char, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::Timestamp;
    use smtp_proto::tls::{Disposition, TlsVersion};

    use super::*;

    fn entry() -> Entry<'static> {
        let time = Timestamp::from_millisecond(1_795_510_800_250).expect("a time");
        let mut entry = Entry::new(time, Direction::Inbound, Ending::Accepted);
        entry.stamp = Some(Stamp::new("mx1.example.net", "6a1", 7));
        entry.id = Some("1795510800.M000250P17Q3".into());
        entry.peer = "192.0.2.1".parse().ok();
        entry.helo = Some("mx7.mail.example.co.uk".into());
        entry.sender_domain = Some("news.example.co.uk".into());
        entry.recipient_domains = vec!["mx.example.net".into()];
        (entry.recipients, entry.envelope, entry.bytes) = (2, 255, 17);
        entry.code = Some(251);
        entry.verdict = Some(Wanted::No);
        let (version, certificate) = (Some(TlsVersion::Tls12), ClientCertificate::SelfSigned);
        entry.tls.hop = Hop::Used { version, certificate };
        entry.tls.cipher = Some("TLS_AES_128_GCM_SHA256".into());
        entry.tls.group = Some("x25519".into());
        entry.tls.offered = Some(TlsOffer::new(TlsVersion::Tls13, true));
        entry.tls.by_proxy = true;
        entry.end_to_end = EndToEnd::PgpMime;
        entry.rehearsed = Some(Rehearsed::CameWithTls);
        entry.excepted = true;
        entry.lenient = [Leniency::BareLfText, Leniency::HeloName].into_iter().collect();
        entry
    }

    #[test]
    fn what_is_written_reads_back_as_it_was() {
        assert_eq!(parse(&write(&entry())), Ok(entry()));
        assert_eq!(parse(&write(&entry())).map(Entry::into_owned), Ok(entry()));
        let bare = Entry::new(Timestamp::UNIX_EPOCH, Direction::Outbound, Ending::HandshakeFailed);
        assert_eq!(parse(&write(&bare)), Ok(bare));
        for hop in [Hop::NotTried, Hop::Failed, Hop::FailedThenPlaintext, Hop::NotOffered, Hop::Unknown] {
            let mut entry = entry();
            (entry.tls.hop, entry.tls.cipher) = (hop, None);
            assert_eq!(parse(&write(&entry)), Ok(entry));
        }
    }

    /// What other programs read, and `docs/fleet/ledger.schema.json` says.
    #[test]
    fn a_line_is_written_like_this() {
        let line = concat!(
            r#"{"v":2,"node":"mx1.example.net","run":"6a1","seq":7,"id":"1795510800.M000250P17Q3","#,
            r#""time":"2026-11-24T09:00:00.250Z","direction":"inbound","peer":"192.0.2.1","#,
            r#""helo":"mx7.mail.example.co.uk","sender_domain":"news.example.co.uk","#,
            r#""recipient_domains":["mx.example.net"],"recipients":2,"envelope":"00000000000000ff","bytes":17,"#,
            r#""outcome":"accepted","code":251,"verdict":"unwanted","tls":{"outcome":"used","version":"TLS1.2","#,
            r#""cipher":"TLS_AES_128_GCM_SHA256","client_certificate":"self-signed","group":"x25519","#,
            r#""offered_version":"TLS1.3","post_quantum":true,"told_by":"proxy"},"end_to_end":"pgp-mime","#,
            r#""rehearsal":"came-with-tls","excepted":true,"lenient":["bare-lf-text","helo-name"]}"#,
            "\n"
        );
        assert_eq!(String::from_utf8(write(&entry())).expect("UTF-8"), line);
    }

    /// The schema knows every member, and requires none that may be absent.
    #[test]
    fn the_schema_is_of_these_lines() {
        let schema = include_str!("../../../../docs/fleet/ledger.schema.json");
        let schema: serde_json::Value = serde_json::from_str(schema).expect("JSON");
        let members = |octets: Vec<u8>| match serde_json::from_slice(&octets).expect("JSON") {
            serde_json::Value::Object(line) => line,
            other => panic!("{other}"),
        };
        for (name, value) in members(write(&entry())) {
            let known = &schema["properties"][&name];
            assert!(known.is_object(), "{name} is not in the schema");
            for inner in value.as_object().into_iter().flat_map(|tls| tls.keys()) {
                assert!(known["properties"][inner].is_object(), "{name}.{inner} is not in the schema");
            }
        }
        let mut bare = Entry::new(Timestamp::UNIX_EPOCH, Direction::Inbound, Ending::Abandoned);
        // As a ledger file sees to it.
        (bare.stamp, bare.id) = (Some(Stamp::new("mx1", "6a1", 1)), Some("1".into()));
        let written: BTreeSet<String> = members(write(&bare)).into_iter().map(|(name, _)| name).collect();
        let required = serde_json::from_value::<BTreeSet<String>>(schema["required"].clone()).expect("names");
        assert_eq!(written, required);
        for ending in Ending::ALL {
            assert!(
                schema["properties"]["outcome"]["enum"].as_array().expect("a list").contains(&ending.as_str().into())
            );
        }
    }

    /// A line of each version, as it was written then.
    #[test]
    fn lines_of_each_version_are_still_read() {
        let zero = br#"{"time":"2026-11-24T09:00:00.250Z","peer":"::1","helo":null,"sender_domain":null,"recipients":0,"bytes":0,"outcome":"handshake-failed","tls":{"outcome":"failed","reason":"closed"}}"#;
        let entry = parse(zero).expect("parsed");
        assert_eq!(
            (entry.ending, entry.tls.hop, entry.sender_domain.clone()),
            (Ending::HandshakeFailed, Hop::Failed, None)
        );
        assert_eq!(
            (entry.tls.reason.as_deref(), entry.stamp.is_none(), entry.wanted()),
            (Some("closed"), true, Wanted::Unknown)
        );
        assert_eq!(entry.with(|record| (record.end, record.time)), (Disposition::Abandoned, 1_795_510_800));
        let one = br#"{"v":1,"time":"2026-11-24T09:00:00.250Z","direction":"outbound","peer":"unix","helo":"a.example","sender_domain":"","recipient_domains":["b.example","c.example"],"recipients":2,"envelope":"00000000000000ff","bytes":17,"outcome":"accepted","verdict":"wanted","tls":{"outcome":"used","version":"TLS1.3","cipher":"TLS_AES_128_GCM_SHA256","client_certificate":"none"},"end_to_end":"none","rehearsal":"asked","id":"x"}"#;
        let entry = parse(one).expect("parsed");
        assert_eq!(
            (entry.direction, entry.peer, entry.sender_domain.as_deref()),
            (Direction::Outbound, None, Some(""))
        );
        assert_eq!((entry.recipients, entry.envelope, entry.bytes, entry.id.as_deref()), (2, 255, 17, Some("x")));
        assert_eq!((entry.tls.version(), entry.rehearsed), (Some(TlsVersion::Tls13), Some(Rehearsed::Asked)));
        // The last part of the stamp is missing, so there is none; and a member that is not known is no fault.
        let two = br#"{"v":2,"node":"mx1","run":"1","time":"2026-11-24T09:00:00Z","outcome":"accepted","tls":{"outcome":"used"},"later":1}"#;
        assert_eq!(parse(two).map(|entry| entry.stamp), Ok(None));
        assert_eq!(parse(br#"{"v":3,"outcome":"accepted"}"#), Err(Wrong::Version(3)));
    }

    #[test]
    fn what_is_no_line_is_told() {
        let good = r#"{"time":"2026-11-24T09:00:00Z","direction":"inbound","outcome":"accepted"}"#;
        assert!(parse(good.as_bytes()).is_ok());
        for (word, other) in [("inbound", "sideways"), ("accepted", "taken"), ("2026-11-24", "yesterday")] {
            assert!(matches!(parse(good.replace(word, other).as_bytes()), Err(Wrong::Broken(_))), "{other}");
        }
        for wrong in [&b""[..], b"{", b"[]", b"{}", b"null", b"\xff", &good.as_bytes()[..40]] {
            assert!(matches!(parse(wrong), Err(Wrong::Broken(_))), "{wrong:?}");
        }
    }

    #[test]
    fn names_that_would_do_harm_in_a_report_are_no_names() {
        let of =
            |name: &str| format!(r#"{{"time":"2026-11-24T09:00:00Z","sender_domain":"{name}","outcome":"accepted"}}"#);
        for good in ["a.example", "ex\u{e4}mple.example", "[IPv6:2001:db8::1]", ""] {
            assert!(parse(of(good).as_bytes()).is_ok(), "{good}");
        }
        for wrong in ["a\\n.example", "\\u001b[2J", "\\u0000", "a\\u202eb", &"a".repeat(1025)] {
            let line = of(wrong);
            for name in ["sender_domain", "helo", "node", "run", "id"] {
                assert!(parse(line.replace("sender_domain", name).as_bytes()).is_err(), "{name} {wrong}");
            }
        }
    }
}
