//! A piece of a ledger's lines, on its way to the desk. What they say stays where it was read, however long they are held
//! back: nothing is copied of a line without escapes. The room that a batch took is used again.

use std::io;

use jiff::Timestamp;

use crate::ledger::{Entry, Reader, Row, Wrong};
use crate::read::blocks::{self, Lines, Piece};

/// Lines that were read.
#[derive(Debug, Default)]
pub(super) struct Batch {
    piece: Piece,
    lines: Vec<Line>,
    rows: Vec<(Text, Row)>,
    /// Of those whose texts do not stand in their line as they are.
    apart: Vec<u8>,
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

/// Where a row's text stands.
#[derive(Clone, Copy, Debug)]
struct Text {
    start: usize,
    end: usize,
    apart: bool,
}

impl Batch {
    /// The next piece of a file, or why there is none; in the room of one that is no longer needed.
    pub(super) fn next(from: &mut Lines<'_>, room: Self) -> Option<io::Result<Self>> {
        let Self { piece, mut lines, mut rows, mut apart } = room;
        let Some(piece) = from.piece(piece.into_room()) else { return from.failed().map(Err) };
        lines.clear();
        rows.clear();
        apart.clear();
        let mut batch = Self { piece, lines, rows, apart };
        batch.read();
        Some(Ok(batch))
    }

    fn read(&mut self) {
        let Self { piece, lines, rows, apart } = self;
        let octets = piece.octets();
        let mut reader = Reader::default();
        for line in piece.lines() {
            let line = match line {
                blocks::Line::Line(line) => line,
                blocks::Line::TooLong => {
                    lines.push(Line::Wrong("a line too long for a ledger".into()));
                    continue;
                }
            };
            if line.is_empty() {
                lines.push(Line::Empty);
                continue;
            }
            let start = line.as_ptr().addr() - octets.as_ptr().addr();
            rows.push((Text { start, end: start + line.len(), apart: false }, Row::EMPTY));
            if let Some((_, row)) = rows.last_mut()
                && reader.read_into(line, row).is_some()
            {
                lines.push(Line::Row(rows.len() - 1));
                continue;
            }
            rows.pop();
            lines.push(match Entry::parse(line) {
                Ok(entry) => {
                    let start = apart.len();
                    match Row::of(&entry, apart) {
                        Some(row) => {
                            rows.push((Text { start, end: apart.len(), apart: true }, row));
                            Line::Row(rows.len() - 1)
                        }
                        None => Line::Wrong("a line too long for a ledger".into()),
                    }
                }
                Err(Wrong::Version(_)) => Line::OtherVersion,
                Err(wrong) => Line::Wrong(wrong.to_string()),
            });
        }
    }

    /// What this line is, of those that are here.
    pub(super) fn line(&self, at: usize) -> Option<&Line> {
        self.lines.get(at)
    }

    /// A row, and the text in which its places are.
    pub(super) fn row(&self, number: usize) -> Option<(&Row, &[u8])> {
        let (text, row) = self.rows.get(number)?;
        let octets = if text.apart { &self.apart } else { self.piece.octets() };
        Some((row, octets.get(text.start..text.end)?))
    }

    /// When this row's transaction ended.
    pub(super) fn time(&self, number: usize) -> Option<Timestamp> {
        self.rows.get(number).map(|(_, row)| row.time)
    }

    /// A batch of this row alone.
    pub(super) fn alone(&self, number: usize) -> Option<Self> {
        let (row, text) = self.row(number)?;
        let whole = Text { start: 0, end: text.len(), apart: true };
        Some(Self { rows: vec![(whole, row.clone())], apart: text.into(), ..Self::default() })
    }

    /// So many were read for it.
    pub(super) fn octets(&self) -> usize {
        self.piece.octets().len()
    }

    /// Whether its room is no more than ledgers need that are none of somebody's jokes.
    pub(super) const fn is_usual(&self) -> bool {
        self.lines.capacity() <= MANY && self.rows.capacity() <= MANY && self.apart.capacity() <= MANY << 6
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
        let mut room = Batch::default();
        for spoilt in [&b""[..], b"\xff\n", b""] {
            let octets = [lines.join("\n").as_bytes(), b"\n", spoilt].concat();
            let batch = Batch::next(&mut Lines::new(Blocks::new(&*octets)), room).expect("a piece").expect("read");
            for (at, line) in octets.trim_ascii_end().split(|octet| *octet == b'\n').enumerate() {
                let told = batch.line(at).expect("a line");
                match Entry::parse(line) {
                    Ok(entry) => {
                        let Line::Row(number) = told else { panic!("{at}: {told:?}") };
                        let (row, text) = batch.row(*number).expect("a row");
                        assert_eq!(row.entry(text), entry, "{at}");
                        let alone = batch.alone(*number).expect("a row");
                        let (row, text) = alone.row(0).expect("a row");
                        assert_eq!(row.entry(text), entry, "{at}");
                        let (time, stamp) = (batch.time(*number), row.stamp(text));
                        assert_eq!((time, stamp.is_some()), (Some(entry.time), entry.stamp.is_some()));
                        // Only of what has escapes, or is of another form, the texts are copied.
                        assert_eq!(batch.rows[*number].0.apart, [1, 3, 7].contains(&at), "{at}");
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
            let batch = Batch::next(&mut Lines::new(Blocks::new(octets.as_bytes())), Batch::default());
            assert_eq!(batch.expect("a piece").expect("read").is_usual(), usual);
        }
    }
}
