//! A piece of a ledger's lines, on its way to the desk. Of what they say there is kept what may be asked for, so that all that is
//! held back is little, and the block into which was read is read into again while it is in the cache. The room that a batch took
//! is used again, too.

use std::io;
use std::ops::Range;

use jiff::Timestamp;

use crate::ledger::{Entry, Reader, Row, Wrong};
use crate::read::blocks::{self, Lines};

/// Lines that were read.
#[derive(Debug, Default)]
pub(super) struct Batch {
    octets: usize,
    lines: Vec<Line>,
    /// Each with where its text is among these.
    rows: Vec<(Range<usize>, Row)>,
    texts: Vec<u8>,
}

/// What a line is.
#[derive(Debug)]
pub(super) enum Line {
    /// The number of its row here.
    Row(usize),
    OtherVersion,
    Wrong(String),
    Empty,
}

impl Batch {
    /// The next piece of a file, or why there is none; in the room of a batch that is no longer needed, and read into this
    /// block.
    pub(super) fn next(from: &mut Lines<'_>, block: &mut Vec<u8>, room: Self) -> Option<io::Result<Self>> {
        let Some(piece) = from.piece(std::mem::take(block)) else { return from.failed().map(Err) };
        let mut batch = room;
        batch.lines.clear();
        batch.rows.clear();
        batch.texts.clear();
        batch.octets = piece.octets().len();
        let mut reader = Reader::default();
        for line in piece.lines() {
            let line = batch.read(line, &mut reader);
            batch.lines.push(line);
        }
        *block = piece.into_room();
        Some(Ok(batch))
    }

    fn read<'l>(&mut self, line: blocks::Line<'l>, reader: &mut Reader<'l>) -> Line {
        let too_long = || Line::Wrong("a line too long for a ledger".into());
        let line = match line {
            blocks::Line::TooLong => return too_long(),
            blocks::Line::Line(b"") => return Line::Empty,
            blocks::Line::Line(line) => line,
        };
        let (number, start) = (self.rows.len(), self.texts.len());
        self.rows.push((0..0, Row::EMPTY));
        if let Some((place, row)) = self.rows.last_mut()
            && reader.read_into(line, row).is_some()
            && row.leave(line, &mut self.texts).is_some()
        {
            *place = start..self.texts.len();
            return Line::Row(number);
        }
        self.rows.pop();
        self.texts.truncate(start);
        match Entry::parse(line) {
            Ok(entry) => match Row::of(&entry, &mut self.texts) {
                Some(row) => {
                    self.rows.push((start..self.texts.len(), row));
                    Line::Row(number)
                }
                None => too_long(),
            },
            Err(Wrong::Version(_)) => Line::OtherVersion,
            Err(wrong) => Line::Wrong(wrong.to_string()),
        }
    }

    /// What this line is, of those that are here.
    pub(super) fn line(&self, at: usize) -> Option<&Line> {
        self.lines.get(at)
    }

    /// A row, and the text in which its places are.
    pub(super) fn row(&self, number: usize) -> Option<(&Row, &[u8])> {
        let (place, row) = self.rows.get(number)?;
        Some((row, self.texts.get(place.clone())?))
    }

    /// When this row's transaction ended.
    pub(super) fn time(&self, number: usize) -> Option<Timestamp> {
        self.rows.get(number).map(|(_, row)| row.time)
    }

    /// A batch of this row alone.
    pub(super) fn alone(&self, number: usize) -> Option<Self> {
        let (row, text) = self.row(number)?;
        let (rows, texts) = (vec![(0..text.len(), row.clone())], text.into());
        Some(Self { octets: 0, lines: Vec::new(), rows, texts })
    }

    /// So many were read for it.
    pub(super) const fn octets(&self) -> usize {
        self.octets
    }

    /// Whether its room is no more than ledgers need that are none of somebody's jokes.
    pub(super) const fn is_usual(&self) -> bool {
        self.lines.capacity() <= MANY && self.rows.capacity() <= MANY && self.texts.capacity() <= MANY << 6
    }
}

/// So many lines has a piece at most, where each has 32 octets or more.
const MANY: usize = 1 << 14;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::blocks::Blocks;

    const WHOLE: &str = concat!(
        r#"{"v":2,"node":"mx1","run":"6a1","seq":7,"id":"x","time":"2026-11-24T09:00:00.250Z","direction":"inbound","#,
        r#""peer":"192.0.2.1","helo":"a","sender_domain":"","recipient_domains":["b","c"],"recipients":2,"envelope":"ff","#,
        r#""bytes":17,"outcome":"accepted","code":251,"verdict":"unwanted","tls":{"outcome":"used","version":"TLS1.2","#,
        r#""cipher":"X","client_certificate":"none","group":"x25519","offered_version":"TLS1.3","post_quantum":true,"#,
        r#""told_by":"proxy","reason":"r"},"end_to_end":"pgp-mime","rehearsal":"asked","excepted":true,"lenient":["helo-name"]}"#
    );

    /// What comes out is what each line says, with escapes in it or without, and whatever stands between; in new room and in
    /// room that was used.
    #[test]
    fn entries_come_out_as_they_are_read_alone() {
        let bare = r#"{"time":"2026-11-24T09:00:00Z","outcome":"refused"}"#;
        let escaped = WHOLE.replace(r#""helo":"a""#, r#""helo":"\u0061b\u00e4""#);
        let quoted = WHOLE.replace(r#"["b","c"]"#, r#"["b\",\"d","","c"]"#);
        let umlaut = WHOLE.replace(r#""helo":"a""#, "\"helo\":\"b\u{e4}\"");
        let none = WHOLE.replace(r#"["b","c"]"#, "[]");
        let empty = WHOLE.replace(r#"["b","c"]"#, r#"["",""]"#);
        let later = WHOLE.replace("\"v\":2", "\"v\":9");
        let lines = [WHOLE, bare, "", &escaped, "{", &umlaut, &later, &quoted, &none, &empty, WHOLE];
        let (mut room, mut block) = (Batch::default(), Vec::new());
        for spoilt in [&b""[..], b"\xff\n", b""] {
            let octets = [lines.join("\n").as_bytes(), b"\n", spoilt].concat();
            let batch =
                Batch::next(&mut Lines::new(Blocks::new(&*octets)), &mut block, room).expect("a piece").expect("read");
            for (at, line) in octets.trim_ascii_end().split(|octet| *octet == b'\n').enumerate() {
                let told = batch.line(at).expect("a line");
                match Entry::parse(line) {
                    Ok(mut entry) => {
                        let Line::Row(number) = told else { panic!("{at}: {told:?}") };
                        let (row, text) = batch.row(*number).expect("a row");
                        // Nobody asks for it.
                        entry.tls.cipher = row.entry(text).tls.cipher;
                        assert_eq!(row.entry(text), entry, "{at}");
                        let alone = batch.alone(*number).expect("a row");
                        let (row, text) = alone.row(0).expect("a row");
                        assert_eq!(row.entry(text), entry, "{at}");
                        let (time, stamp) = (batch.time(*number), row.stamp(text));
                        assert_eq!((time, stamp.is_some()), (Some(entry.time), entry.stamp.is_some()));
                    }
                    Err(Wrong::Version(_)) => assert!(matches!(told, Line::OtherVersion)),
                    Err(_) if line.is_empty() => assert!(matches!(told, Line::Empty)),
                    Err(wrong) => assert!(matches!(told, Line::Wrong(why) if *why == wrong.to_string())),
                }
            }
            assert!(batch.line(lines.len() + usize::from(!spoilt.is_empty())).is_none());
            room = batch;
        }
    }

    #[test]
    fn room_for_more_lines_than_any_ledger_has_is_given_back() {
        for (octets, usual) in [("\n".repeat(200_000), false), (format!("{WHOLE}\n").repeat(500), true)] {
            let batch = Batch::next(&mut Lines::new(Blocks::new(octets.as_bytes())), &mut Vec::new(), Batch::default());
            assert_eq!(batch.expect("a piece").expect("read").is_usual(), usual);
        }
    }
}
