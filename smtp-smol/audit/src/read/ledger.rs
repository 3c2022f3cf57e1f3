//! Ledger files, as `serve --ledger` writes them.

use crate::ledger::Entry;

use crate::count::desk::Desk;
use crate::read::blocks::{Line, Lines};
use crate::source::Source;

/// Whether this is the beginning of a ledger.
pub(crate) fn is(start: &[u8]) -> bool {
    start.starts_with(b"{\"")
}

pub(crate) fn read(lines: &mut Lines<'_>, source: &Source, desk: &mut Desk) {
    while let Some(line) = lines.next() {
        let wrong = match line {
            Line::TooLong => "a line too long for a ledger".to_owned(),
            Line::Line(b"") => continue,
            Line::Line(line) => match Entry::parse(line) {
                Err(wrong) => wrong.to_string(),
                Ok(entry) => {
                    entry.with(|record| desk.take_record(record));
                    continue;
                }
            },
        };
        desk.broken.add(&source.path, lines.number, &wrong);
    }
    if let Some(error) = lines.failed() {
        desk.broken.cut_short(&source.path, lines.number, &error);
    }
}
