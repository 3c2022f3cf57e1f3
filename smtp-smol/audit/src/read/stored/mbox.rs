//! Messages in one file, each behind a line that begins with `From ` (RFC 4155; mboxrd: such lines within a message are
//! quoted). Only heads are looked at; from there it is one search to the next message.

use std::path::Path;

use memchr::memmem;

use super::head::{BEGINNING, LONGEST, Reader, is_field, report};
use crate::count::desk::Desk;
use crate::error::Error;
use crate::read::blocks::Blocks;
use crate::read::tlsrpt;

/// Whether this is the beginning of an mbox.
pub(crate) fn is(start: &[u8]) -> bool {
    start.starts_with(b"From ")
}

pub(crate) fn read(blocks: &mut Blocks<'_>, path: &Path, reader: &mut Reader, desk: &mut Desk) -> Result<(), Error> {
    let next = memmem::Finder::new(b"\nFrom ");
    let mut mbox = Mbox { blocks, path, line: 1, head: Vec::new() };
    // What stands before the first message is none; an empty line is common.
    if !mbox.blocks.at_least(5).starts_with(b"From ") {
        let before = mbox.skip(&next, None);
        if before > 2 {
            desk.broken.add(path, 1, &format!("{before} octets before the first message"));
        }
    }
    while !mbox.blocks.at_least(5).is_empty() {
        mbox.message(&next, reader, desk)?;
    }
    if let Some(error) = mbox.blocks.failed() {
        desk.broken.cut_short(path, mbox.line, &error);
    }
    Ok(())
}

struct Mbox<'b, 'r, 's> {
    blocks: &'b mut Blocks<'r>,
    path: &'s Path,
    line: u64,
    head: Vec<u8>,
}

impl Mbox<'_, '_, '_> {
    /// One message; we stand on its `From ` line.
    fn message(&mut self, next: &memmem::Finder<'_>, reader: &mut Reader, desk: &mut Desk) -> Result<(), Error> {
        let line = self.line;
        let from = self.until(|filled| memchr::memchr(b'\n', filled).map(|at| at + 1));
        let postmark = from.unwrap_or(self.blocks.filled().len());
        let windows = self.blocks.filled()[..postmark].ends_with(b"\r\n");
        self.used(postmark);
        // A message may have no head, and a head no text.
        let blank: &[u8] = if windows { b"\r\n\r\n" } else { b"\n\n" };
        let end = self.until(|filled| {
            if filled.first() == Some(&b'\n') || filled.starts_with(b"\r\n") {
                return Some(0);
            }
            memmem::find(filled, blank).map(|at| at + blank.len())
        });
        let filled = self.blocks.filled();
        let mut end = end.unwrap_or(filled.len().min(LONGEST)).min(filled.len());
        if let Some(early) = next.find(&filled[..end]) {
            end = early + 1;
        }
        self.head.clear();
        self.head.extend_from_slice(&filled[..end]);
        let whole = end;
        // The line end before the text may be the one before the next message.
        let start = end.saturating_sub(1);
        self.used(start);
        let beginning = self.blocks.at_least(BEGINNING + 6);
        let beginning = beginning.get(whole - start..).unwrap_or_default();
        let beginning = &beginning[..beginning.len().min(BEGINNING)];
        let beginning = beginning[..next.find(beginning).unwrap_or(beginning.len())].to_vec();
        let is_report = tlsrpt::mail::is(&self.head);
        let mut body = Vec::new();
        let bytes = (start as u64) + self.skip(next, is_report.then_some(&mut body));
        if is_report {
            // The line end before the text was left for the search.
            let mut whole = self.head[..start].to_vec();
            whole.extend_from_slice(&body);
            report(self.path, line, &whole, desk);
            return Ok(());
        }
        if !is_field(&self.head) {
            desk.broken.add(self.path, line, "a line that begins with \"From \", and no message behind it");
            return Ok(());
        }
        reader.message(&self.head, &beginning, bytes, desk)
    }

    /// Goes on to the next message; says how far it was. What is passed may be kept.
    fn skip(&mut self, next: &memmem::Finder<'_>, mut into: Option<&mut Vec<u8>>) -> u64 {
        let mut keep = |passed: &[u8]| {
            if let Some(into) = into.as_deref_mut() {
                let room = tlsrpt::LONGEST.saturating_sub(into.len()).min(passed.len());
                into.extend_from_slice(&passed[..room]);
            }
        };
        let mut octets = 0_u64;
        loop {
            let filled = self.blocks.filled();
            if let Some(at) = next.find(filled) {
                keep(&filled[..=at]);
                self.used(at + 1);
                return octets + at as u64 + 1;
            }
            // What was found may be its first octets.
            let searched = filled.len().saturating_sub(5);
            keep(&filled[..searched]);
            self.used(searched);
            octets += searched as u64;
            if !self.blocks.more() {
                let rest = self.blocks.filled().len();
                keep(self.blocks.filled());
                self.used(rest);
                return octets + rest as u64;
            }
        }
    }

    /// Reads on until something is found, for as long as a head may be.
    fn until(&mut self, find: impl Fn(&[u8]) -> Option<usize>) -> Option<usize> {
        loop {
            let filled = self.blocks.filled();
            if let Some(at) = find(filled) {
                return Some(at);
            }
            if filled.len() > LONGEST || !self.blocks.more() {
                return None;
            }
        }
    }

    fn used(&mut self, octets: usize) {
        let filled = self.blocks.filled();
        self.line += memchr::memchr_iter(b'\n', &filled[..octets.min(filled.len())]).count() as u64;
        self.blocks.used(octets);
    }
}
