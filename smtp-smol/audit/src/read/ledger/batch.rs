//! A piece of a ledger's lines, on its way to the desk. What they say stays where it was read, however long they are held
//! back: nothing is copied of a line without escapes.

use std::borrow::Cow;
use std::net::IpAddr;
use std::ops::Range;

use jiff::Timestamp;
use smtp_proto::Leniencies;
use smtp_proto::tls::{Direction, EndToEnd, Hop, Rehearsed, TlsOffer, Wanted};

use crate::ledger::{Ending, Entry, Stamp, Tls, Wrong};
use crate::read::blocks::{self, Piece};

/// Lines that were read.
#[derive(Debug, Default)]
pub(super) struct Batch {
    text: String,
    lines: Vec<Line>,
    entries: Vec<Parts>,
    /// Of recipients.
    domains: Vec<Place>,
}

/// What a line is.
#[derive(Debug)]
pub(super) enum Line {
    /// The number of its entry here.
    Entry(usize),
    /// One of which something does not stand in the text as it is.
    Whole(Box<Entry<'static>>),
    OtherVersion,
    Wrong(String),
    Empty,
}

/// Where a text stands.
#[derive(Clone, Copy, Debug)]
struct Place {
    start: u32,
    end: u32,
}

/// An [`Entry`] with places for what it borrows.
#[derive(Debug)]
struct Parts {
    /// Node and run.
    stamp: Option<([Place; 2], u64)>,
    id: Option<Place>,
    time: Timestamp,
    direction: Direction,
    peer: Option<IpAddr>,
    helo: Option<Place>,
    sender_domain: Option<Place>,
    recipient_domains: Range<usize>,
    recipients: u32,
    envelope: u64,
    bytes: u64,
    ending: Ending,
    code: Option<u16>,
    verdict: Option<Wanted>,
    hop: Hop,
    cipher: Option<Place>,
    group: Option<Place>,
    offered: Option<TlsOffer>,
    by_proxy: bool,
    reason: Option<Place>,
    end_to_end: EndToEnd,
    rehearsed: Option<Rehearsed>,
    excepted: bool,
    lenient: Leniencies,
}

impl Batch {
    pub(super) fn of(piece: Piece) -> Self {
        let (octets, too_long) = piece.into_octets();
        let mut batch = Self::default();
        let text = match String::from_utf8(octets) {
            Ok(text) => text,
            Err(error) => {
                for line in blocks::lines(error.as_bytes(), too_long) {
                    batch.push(line, Entry::parse, |_, _| None);
                }
                return batch;
            }
        };
        for line in blocks::lines(text.as_bytes(), too_long) {
            let parse = |line| within(&text, line).map_or_else(|| Entry::parse(line), Entry::parse_text);
            batch.push(line, parse, |entry, domains| Parts::of(entry, &text, domains));
        }
        batch.text = text;
        batch
    }

    /// What this line is, of those that are here.
    pub(super) fn line(&self, at: usize) -> Option<&Line> {
        self.lines.get(at)
    }

    /// When this entry's transaction ended.
    pub(super) fn time(&self, at: usize) -> Option<Timestamp> {
        Some(match self.lines.get(at)? {
            Line::Entry(number) => self.entries.get(*number)?.time,
            Line::Whole(entry) => entry.time,
            _ => return None,
        })
    }

    /// Which line this entry is of.
    pub(super) fn stamp(&self, at: usize) -> Option<Stamp<'_>> {
        match self.lines.get(at)? {
            Line::Entry(number) => {
                let ([node, run], seq) = self.entries.get(*number)?.stamp?;
                Some(Stamp::new(self.text(node), self.text(run), seq))
            }
            Line::Whole(entry) => entry.stamp.as_ref().map(|stamp| Stamp::new(&*stamp.node, &*stamp.run, stamp.seq)),
            _ => None,
        }
    }

    /// Hands out the entry.
    pub(super) fn entry<T>(&self, at: usize, then: impl FnOnce(&Entry<'_>) -> T) -> Option<T> {
        match self.lines.get(at)? {
            Line::Entry(number) => self.entries.get(*number).map(|parts| then(&self.join(parts, at))),
            Line::Whole(entry) => Some(then(entry)),
            _ => None,
        }
    }

    /// A batch of this entry alone.
    pub(super) fn alone(&self, at: usize) -> Option<Self> {
        let entry = self.entry(at, |entry| entry.clone().into_owned())?;
        Some(Self { lines: vec![Line::Whole(Box::new(entry))], ..Self::default() })
    }

    /// So many were read for it.
    pub(super) fn octets(&self) -> usize {
        self.text.len()
    }

    fn join(&self, parts: &Parts, at: usize) -> Entry<'_> {
        let text = |place: Option<Place>| place.map(|place| Cow::Borrowed(self.text(place)));
        let domains = self.domains.get(parts.recipient_domains.clone()).unwrap_or_default();
        Entry {
            stamp: self.stamp(at),
            id: text(parts.id),
            time: parts.time,
            direction: parts.direction,
            peer: parts.peer,
            helo: text(parts.helo),
            sender_domain: text(parts.sender_domain),
            recipient_domains: domains.iter().map(|place| Cow::Borrowed(self.text(*place))).collect(),
            recipients: parts.recipients,
            envelope: parts.envelope,
            bytes: parts.bytes,
            ending: parts.ending,
            code: parts.code,
            verdict: parts.verdict,
            tls: Tls {
                hop: parts.hop,
                cipher: text(parts.cipher),
                group: text(parts.group),
                offered: parts.offered,
                by_proxy: parts.by_proxy,
                reason: text(parts.reason),
            },
            end_to_end: parts.end_to_end,
            rehearsed: parts.rehearsed,
            excepted: parts.excepted,
            lenient: parts.lenient,
        }
    }

    fn text(&self, place: Place) -> &str {
        self.text.get(place.start as usize..place.end as usize).unwrap_or_default()
    }

    fn push<'t>(
        &mut self,
        line: blocks::Line<'t>,
        parse: impl FnOnce(&'t [u8]) -> Result<Entry<'t>, Wrong>,
        parts: impl FnOnce(&Entry<'t>, &mut Vec<Place>) -> Option<Parts>,
    ) {
        let line = match line {
            blocks::Line::TooLong => Line::Wrong("a line too long for a ledger".into()),
            blocks::Line::Line(b"") => Line::Empty,
            blocks::Line::Line(line) => match parse(line) {
                Ok(entry) => match parts(&entry, &mut self.domains) {
                    Some(parts) => {
                        self.entries.push(parts);
                        Line::Entry(self.entries.len() - 1)
                    }
                    None => Line::Whole(Box::new(entry.into_owned())),
                },
                Err(Wrong::Version(_)) => Line::OtherVersion,
                Err(wrong) => Line::Wrong(wrong.to_string()),
            },
        };
        self.lines.push(line);
    }
}

impl Parts {
    /// `None` where something does not stand in the text.
    fn of(entry: &Entry<'_>, text: &str, domains: &mut Vec<Place>) -> Option<Self> {
        let place = |part: &Cow<'_, str>| Place::of(part, text);
        let maybe = |part: &Option<Cow<'_, str>>| part.as_ref().map_or(Some(None), |part| place(part).map(Some));
        let stamp = match &entry.stamp {
            Some(Stamp { node, run, seq }) => Some(([place(node)?, place(run)?], *seq)),
            None => None,
        };
        let first = domains.len();
        for domain in &entry.recipient_domains {
            domains.push(place(domain)?);
        }
        Some(Self {
            stamp,
            id: maybe(&entry.id)?,
            time: entry.time,
            direction: entry.direction,
            peer: entry.peer,
            helo: maybe(&entry.helo)?,
            sender_domain: maybe(&entry.sender_domain)?,
            recipient_domains: first..domains.len(),
            recipients: entry.recipients,
            envelope: entry.envelope,
            bytes: entry.bytes,
            ending: entry.ending,
            code: entry.code,
            verdict: entry.verdict,
            hop: entry.tls.hop,
            cipher: maybe(&entry.tls.cipher)?,
            group: maybe(&entry.tls.group)?,
            offered: entry.tls.offered,
            by_proxy: entry.tls.by_proxy,
            reason: maybe(&entry.tls.reason)?,
            end_to_end: entry.end_to_end,
            rehearsed: entry.rehearsed,
            excepted: entry.excepted,
            lenient: entry.lenient,
        })
    }
}

/// A line of this text, as text.
fn within<'t>(text: &'t str, line: &[u8]) -> Option<&'t str> {
    let start = line.as_ptr().addr().checked_sub(text.as_ptr().addr())?;
    text.get(start..start.checked_add(line.len())?)
}

impl Place {
    fn of(part: &str, text: &str) -> Option<Self> {
        let start = part.as_ptr().addr().checked_sub(text.as_ptr().addr())?;
        let end = start.checked_add(part.len()).filter(|end| *end <= text.len())?;
        Some(Self { start: start.try_into().ok()?, end: end.try_into().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::blocks::{Blocks, Lines};

    const WHOLE: &str = concat!(
        r#"{"v":2,"node":"mx1","run":"6a1","seq":7,"id":"x","time":"2026-11-24T09:00:00.250Z","direction":"inbound","#,
        r#""peer":"192.0.2.1","helo":"a","sender_domain":"","recipient_domains":["b","c"],"recipients":2,"envelope":"ff","#,
        r#""bytes":17,"outcome":"accepted","code":251,"verdict":"unwanted","tls":{"outcome":"used","version":"TLS1.2","#,
        r#""cipher":"X","client_certificate":"none","group":"x25519","offered_version":"TLS1.3","post_quantum":true,"#,
        r#""told_by":"proxy","reason":"r"},"end_to_end":"pgp-mime","rehearsal":"asked","excepted":true,"lenient":["helo-name"]}"#
    );

    /// What comes out is what each line says, with escapes in it or without, and whatever stands between.
    #[test]
    fn entries_come_out_as_they_are_read_alone() {
        let bare = r#"{"time":"2026-11-24T09:00:00Z","outcome":"refused"}"#;
        let escaped = WHOLE.replace(r#""helo":"a""#, r#""helo":"\u0061b\u00e4""#);
        let umlaut = WHOLE.replace(r#""helo":"a""#, "\"helo\":\"b\u{e4}\"");
        let later = WHOLE.replace("\"v\":2", "\"v\":9");
        let lines = [WHOLE, bare, "", &escaped, "{", &umlaut, &later, WHOLE];
        for spoilt in [&b""[..], b"\xff\n"] {
            let octets = [lines.join("\n").as_bytes(), b"\n", spoilt].concat();
            let piece = Lines::new(Blocks::new(&*octets)).piece(Vec::new()).expect("a piece");
            let batch = Batch::of(piece);
            for (at, line) in octets.trim_ascii_end().split(|octet| *octet == b'\n').enumerate() {
                let told = batch.line(at).expect("a line");
                match Entry::parse(line) {
                    Ok(entry) => {
                        assert_eq!(batch.entry(at, |told| *told == entry), Some(true), "{at}");
                        assert_eq!((batch.time(at), batch.stamp(at)), (Some(entry.time), entry.stamp));
                        // Of text that is UTF-8 only what has escapes is copied.
                        let whole = matches!(told, Line::Whole(_));
                        assert_eq!(whole, !spoilt.is_empty() || at == 3, "{at}");
                    }
                    Err(Wrong::Version(_)) => assert!(matches!(told, Line::OtherVersion)),
                    Err(_) if line.is_empty() => assert!(matches!(told, Line::Empty)),
                    Err(wrong) => assert!(matches!(told, Line::Wrong(why) if *why == wrong.to_string())),
                }
            }
            assert!(batch.line(lines.len() + usize::from(!spoilt.is_empty())).is_none());
        }
    }
}
