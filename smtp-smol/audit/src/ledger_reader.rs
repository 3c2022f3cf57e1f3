//! Ledger files, as `serve --ledger` writes them.

use crate::ledger::Line as Entry;

use super::blocks::{Line, Lines};
use super::desk::Desk;
use super::postfix::failed;
use super::source::Source;

pub(super) fn read(lines: &mut Lines<'_>, source: &Source, desk: &mut Desk) {
    while let Some(line) = lines.next() {
        let wrong = match line {
            Line::TooLong => "a line too long for a ledger".to_owned(),
            Line::Line(b"") => continue,
            Line::Line(line) => match Entry::parse(line) {
                Err(wrong) => wrong,
                Ok(entry) => match entry.with(|record| desk.take_record(record)) {
                    None => "a line without a time".into(),
                    Some(()) => continue,
                },
            },
        };
        desk.broken.add(&source.path, lines.number, &wrong);
    }
    failed(lines, &source.path, desk);
}
