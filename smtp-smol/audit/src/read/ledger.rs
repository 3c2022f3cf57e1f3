//! Ledger files, as `serve --ledger` writes them.

use crate::ledger::Entry;

use crate::count::desk::Desk;
use crate::read::blocks::{Line, Lines};
use crate::source::Source;

/// Whether this is the beginning of a ledger: of its first lines one is, whatever became of the others.
pub(crate) fn is(start: &[u8]) -> bool {
    start.first() == Some(&b'{')
        && start
            .split(|octet| *octet == b'\n')
            .take(16)
            .any(|line| line.first() == Some(&b'{') && Entry::parse(line).is_ok())
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
