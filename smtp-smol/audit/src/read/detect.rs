//! What a source is, by its look.

use std::fmt::Display;
use std::io;
use std::path::Path;
use std::time::UNIX_EPOCH;

use super::{exim, input, ledger, postfix, stored};
use crate::error::Error;
use crate::source::{Kind, Source};

/// So much of a file is looked at to tell what it is.
pub(crate) const PEEK: usize = 64 << 10;

/// Looks at a file or a folder.
pub(crate) fn look(path: &Path, kind: Option<Kind>, now: i64) -> Result<Source, Error> {
    let wrong = |wrong: &dyn Display, mend: &str| Error::source(path.display(), wrong, mend);
    let mut source = Source { path: path.into(), kind: Kind::Maildir, size: 0, written: now, first: None };
    let metadata = std::fs::metadata(path)
        .map_err(|error| wrong(&error, "name a log file, an mbox, a Maildir or a ledger that can be read"))?;
    if let Ok(Ok(written)) = metadata.modified().map(|time| time.duration_since(UNIX_EPOCH)) {
        source.written = i64::try_from(written.as_secs()).unwrap_or(now);
    }
    if metadata.is_dir() {
        if kind.is_some_and(|kind| kind != Kind::Maildir) {
            return Err(wrong(&"is a folder", "name the files in it"));
        }
        std::fs::read_dir(path).map_err(|error| wrong(&error, "name a folder that can be read"))?;
        return Ok(source);
    }
    if kind == Some(Kind::Maildir) {
        return Err(wrong(&"is no folder", "name the Maildir itself"));
    }
    if !metadata.is_file() {
        // What was looked at would be gone.
        return Err(wrong(&"is no file", "give a pipe to standard input, and name it -"));
    }
    source.size = metadata.len();
    let mut blocks = input::open(path, &()).map_err(|error| wrong(&error, "name a file that can be read"))?;
    let start = blocks.at_least(PEEK);
    source.kind = kind.or_else(|| guess(start)).ok_or_else(|| {
        let what = if start.is_empty() { "is empty" } else { "is nothing that is known by sight" };
        wrong(&what, "say what it is with --as, or leave it out")
    })?;
    source.first = first(source.kind, start, source.written);
    Ok(source)
}

/// What begins like this, if that is clear.
pub(crate) fn guess(start: &[u8]) -> Option<Kind> {
    if stored::mbox::is(start) {
        Some(Kind::Mbox)
    } else if ledger::is(start) {
        Some(Kind::Ledger)
    } else {
        start.split(|octet| *octet == b'\n').take(500).find_map(|line| {
            if postfix::is_line(line) {
                Some(Kind::Postfix)
            } else if exim::is_line(line) {
                Some(Kind::Exim)
            } else {
                None
            }
        })
    }
}

/// The first time in a log, so that rotated files can be read in the order in which they were written.
fn first(kind: Kind, start: &[u8], written: i64) -> Option<i64> {
    let mut lines = start.split(|octet| *octet == b'\n').take(500);
    match kind {
        Kind::Postfix => lines.find_map(|line| postfix::time_of(line, written)),
        Kind::Exim => lines.find_map(exim::time_of),
        _ => None,
    }
}

/// Standard input cannot be looked at twice: it is opened, and looked at while it is read.
pub(crate) fn open_stream<'r>(
    name: &Path,
    from: impl io::Read + 'r,
    kind: Option<Kind>,
    now: i64,
) -> Result<(Source, super::blocks::Blocks<'r>), Error> {
    let wrong = |wrong: &str| Error::source(name.display(), wrong, "say what it is with --as");
    let mut blocks = input::decompressed(from).map_err(|error| wrong(&error.to_string()))?;
    let kind = kind
        .filter(|kind| *kind != Kind::Maildir)
        .or_else(|| guess(blocks.at_least(PEEK)))
        .ok_or_else(|| wrong("is nothing that is known by sight"))?;
    Ok((Source { path: name.into(), kind, size: 0, written: now, first: None }, blocks))
}
