//! A file that is one message, as mail programs export them (`.eml`).

use super::head::{BEGINNING, LONGEST, Reader, head_end, report};
use crate::count::desk::Desk;
use crate::error::Error;
use crate::read::blocks::Blocks;
use crate::read::tlsrpt;
use crate::source::Source;

pub(crate) fn read(
    blocks: &mut Blocks<'_>,
    source: &Source,
    reader: &mut Reader,
    desk: &mut Desk,
) -> Result<(), Error> {
    let filled = blocks.at_least(LONGEST + BEGINNING);
    let end = head_end(filled).unwrap_or(filled.len().min(LONGEST));
    if tlsrpt::mail::is(&filled[..end]) {
        report(&source.path, 0, blocks.at_least(tlsrpt::LONGEST), desk);
        if let Some(error) = blocks.failed() {
            desk.broken.cut_short(&source.path, 0, &error);
        }
        return Ok(());
    }
    let (head, text) = filled.split_at(end);
    let beginning = &text[..text.len().min(BEGINNING)];
    reader.message(head, beginning, source.size.max(filled.len() as u64), desk)?;
    if let Some(error) = blocks.failed() {
        desk.broken.cut_short(&source.path, 0, &error);
    }
    Ok(())
}
