//! What there is to read: a file, perhaps compressed, a folder of mail, or standard input; and what it is.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use clap::ValueEnum;
use indicatif::ProgressBar;

use super::blocks::Blocks;
use super::{exim, postfix};
use crate::failure::Failure;

/// What a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum Kind {
    /// Postfix's log, as syslog or Postfix itself writes it
    Postfix,
    /// Exim's main log
    Exim,
    /// A folder of mail, those below it included
    Maildir,
    /// Messages in one file
    Mbox,
    /// A ledger of `serve --ledger`
    Ledger,
}

impl Kind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Postfix => "Postfix log",
            Self::Exim => "Exim log",
            Self::Maildir => "Maildir",
            Self::Mbox => "mbox",
            Self::Ledger => "ledger",
        }
    }
}

/// A source that was looked at.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
    /// Octets on disk; 0 where that is not known.
    pub(super) size: u64,
    /// When it was last written, in seconds since 1970: the year of a log that does not tell one.
    pub(super) written: i64,
    /// The first time in it, of a log.
    pub(super) first: Option<i64>,
}

/// So much of a file is looked at to tell what it is.
pub(super) const PEEK: usize = 64 << 10;

impl Source {
    /// Looks at a source. Standard input cannot be looked at twice: it must be said what it is, or it is looked at when
    /// it is read, and then `None` is what it is not.
    pub(super) fn look(path: &Path, kind: Option<Kind>, now: i64) -> Result<Self, Failure> {
        let wrong = |wrong: &dyn std::fmt::Display, mend: &str| Failure::option("SOURCE", path.display(), wrong, mend);
        let mut source = Self { path: path.into(), kind: Kind::Maildir, size: 0, written: now, first: None };
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
        let mut blocks =
            open(path, &ProgressBar::hidden()).map_err(|error| wrong(&error, "name a file that can be read"))?;
        let start = blocks.at_least(PEEK);
        source.kind = kind.or_else(|| guess(start)).ok_or_else(|| {
            let what = if start.is_empty() { "is empty" } else { "is nothing that is known by sight" };
            wrong(&what, "say what it is with --as, or leave it out")
        })?;
        source.first = first(source.kind, start, source.written);
        Ok(source)
    }
}

/// Opens a file; gzip and Zstandard are told by their first octets, not by the file's name.
pub(super) fn open<'r>(path: &Path, progress: &ProgressBar) -> io::Result<Blocks<'r>> {
    decompressed(progress.wrap_read(File::open(path)?))
}

pub(super) fn decompressed<'r>(mut from: impl Read + 'r) -> io::Result<Blocks<'r>> {
    let mut magic = [0; 6];
    let mut length = 0;
    while length < magic.len() {
        match from.read(&mut magic[length..])? {
            0 => break,
            n => length += n,
        }
    }
    let magic = magic[..length].to_vec();
    let compressed = match magic.as_slice() {
        [0x1f, 0x8b, ..] => 'g',
        // RFC 8878 3.1.1; a skippable frame may come first (3.1.2).
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => 'z',
        [b'B', b'Z', b'h', ..] | [0xfd, b'7', b'z', b'X', b'Z', 0] => {
            return Err(io::Error::other("is compressed in a way that is not read here: decompress it first"));
        }
        _ => ' ',
    };
    let whole = Cursor::new(magic).chain(from);
    Ok(match compressed {
        'g' => Blocks::new(flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(256 << 10, whole))),
        'z' => Blocks::new(Zstd::Between(BufReader::with_capacity(256 << 10, whole))),
        _ => Blocks::new(whole),
    })
}

/// Zstandard frames, one after another.
enum Zstd<R: BufRead> {
    Between(R),
    Within(Box<ruzstd::decoding::StreamingDecoder<R, ruzstd::decoding::FrameDecoder>>),
    Ended,
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        loop {
            match std::mem::replace(self, Self::Ended) {
                Self::Ended => return Ok(0),
                Self::Between(mut from) => {
                    if from.fill_buf()?.is_empty() {
                        return Ok(0);
                    }
                    let decoder = ruzstd::decoding::StreamingDecoder::new(from)
                        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
                    *self = Self::Within(Box::new(decoder));
                }
                Self::Within(mut decoder) => match decoder.read(space)? {
                    0 => *self = Self::Between(decoder.into_inner()),
                    octets => {
                        *self = Self::Within(decoder);
                        return Ok(octets);
                    }
                },
            }
        }
    }
}

/// What begins like this, if that is clear.
pub(super) fn guess(start: &[u8]) -> Option<Kind> {
    if start.starts_with(b"From ") {
        return Some(Kind::Mbox);
    }
    if start.starts_with(b"{\"") {
        return Some(Kind::Ledger);
    }
    let mut lines = start.split(|octet| *octet == b'\n').take(500);
    lines.find_map(|line| {
        if postfix::is_line(line) {
            Some(Kind::Postfix)
        } else if exim::is_line(line) {
            Some(Kind::Exim)
        } else {
            None
        }
    })
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
