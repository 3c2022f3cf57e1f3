//! What a source is, by its look.

use std::fmt::Display;
use std::io;
use std::path::Path;
use std::time::UNIX_EPOCH;

use super::blocks::{Blocks, Line, Lines};
use super::journal::export;
use super::log::{self, What};
use super::syslog::{Calendar, FORMS};
use super::{cells, exchange, input, ledger, stored, tlsrpt};
use crate::error::Error;
use crate::source::{Kind, Source};

/// So much of a file is looked at to tell what it is; of a log, as much as it takes to find a mail server's line.
const PEEK: usize = 64 << 10;
/// So much of a stream is looked at, which cannot be read twice.
const KEPT: usize = 16 << 20;

/// What there is at a place.
#[derive(Debug)]
pub(crate) enum Look {
    /// A source.
    Source(Source),
    /// Nothing about mail, and why.
    Quiet(String),
}

/// Looks at a file or a folder.
pub(crate) fn look(path: &Path, kind: Option<Kind>, now: i64) -> Result<Look, Error> {
    let wrong = |wrong: &dyn Display, mend: &str| Error::source(path.display(), wrong, mend);
    let mut source = Source { path: path.into(), kind: Kind::Maildir, size: 0, written: now, first: None };
    let metadata = std::fs::metadata(path)
        .map_err(|error| wrong(&error, "name a log file, an mbox, a folder of mail or a ledger that can be read"))?;
    if let Ok(Ok(written)) = metadata.modified().map(|time| time.duration_since(UNIX_EPOCH)) {
        source.written = i64::try_from(written.as_secs()).unwrap_or(now);
    }
    if metadata.is_dir() {
        if kind.is_some_and(|kind| kind != Kind::Maildir) {
            return Err(wrong(&"is a folder", "name the files in it"));
        }
        std::fs::read_dir(path).map_err(|error| wrong(&error, "name a folder that can be read"))?;
        return Ok(Look::Source(source));
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
    if start.is_empty() {
        return match blocks.failed() {
            Some(error) => Err(wrong(&error, "name a file that can be read")),
            None => Ok(Look::Quiet("is empty".into())),
        };
    }
    source.kind = match kind.or_else(|| by_start(start)) {
        Some(Kind::Ledger) => {
            source.first = start.split(|octet| *octet == b'\n').take(500).find_map(ledger::time_of);
            Kind::Ledger
        }
        Some(kind) if !kind.is_log() => kind,
        None if start.starts_with(b"{\"rows\":") => {
            return Err(wrong(&"holds rows, which are for other programs", "name what they were made of"));
        }
        named => {
            let mut found = Found::default();
            // The start alone says that there are octets of no text.
            let text = !start.contains(&0) || export::is(start);
            let description = describe(start);
            if text || named.is_some() {
                found.search(blocks, source.written);
            }
            source.first = found.first;
            match named.or(found.kind) {
                Some(kind) => kind,
                None if text && found.is_log() => return Ok(Look::Quiet(found.quiet())),
                None => return Err(wrong(&found.unknown(&description), MEND)),
            }
        }
    };
    Ok(Look::Source(source))
}

/// Opens a stream, and looks at what comes first.
pub(crate) fn open_stream<'r>(
    name: &Path,
    from: impl io::Read + Send + 'r,
    kind: Option<Kind>,
    now: i64,
) -> Result<(Look, Blocks<'r>), Error> {
    let wrong = |wrong: &str| Error::source(name.display(), wrong, MEND);
    let mut blocks = input::decompressed(from).map_err(|error| wrong(&error.to_string()))?;
    let source = |kind| Look::Source(Source { path: name.into(), kind, size: 0, written: now, first: None });
    let mut looked = PEEK;
    loop {
        let start = blocks.at_least(looked);
        if start.is_empty() {
            return match blocks.failed() {
                Some(error) => Err(wrong(&error.to_string())),
                None => Ok((Look::Quiet("is empty".into()), blocks)),
            };
        }
        if let Some(kind) = kind.filter(|kind| *kind != Kind::Maildir).or_else(|| by_start(start)) {
            return Ok((source(kind), blocks));
        }
        let mut found = Found::default();
        let text = !start.contains(&0) || export::is(start);
        if text {
            found.search(Blocks::new(start), now);
        }
        if let Some(kind) = found.kind {
            return Ok((source(kind), blocks));
        }
        if start.len() < looked || looked >= KEPT || !text {
            if text && found.is_log() {
                return Ok((Look::Quiet(found.quiet()), blocks));
            }
            return Err(wrong(&found.unknown(&describe(start))));
        }
        looked *= 4;
    }
}

const MEND: &str = "say what it is with --as, or leave it out. Known are logs of Postfix, Exim, Sendmail and OpenSMTPD as \
    files, from syslog or from the journal; protocol and message tracking logs of Exchange; Maildirs, mboxes and files of messages; TLS reports (RFC 8460); \
    ledgers of serve; each as it is or \
    compressed with gzip, Zstandard, xz or bzip2";

/// What begins like this, if that is clear, and where it is no log.
fn by_start(start: &[u8]) -> Option<Kind> {
    if stored::mbox::is(start) {
        Some(Kind::Mbox)
    } else if cells::is(start) {
        Some(Kind::Cells)
    } else if ledger::is(start) {
        Some(Kind::Ledger)
    } else if exchange::is(start) {
        Some(Kind::Exchange)
    } else if tlsrpt::is(start) {
        Some(Kind::Tlsrpt)
    } else if stored::is_message(start) {
        Some(Kind::Message)
    } else {
        None
    }
}

/// What lines there are before the first of a mail server.
#[derive(Debug, Default)]
struct Found {
    kind: Option<Kind>,
    /// The time of that line.
    first: Option<i64>,
    /// Lines of other programs, some of which by name.
    others: u64,
    programs: Vec<String>,
    /// Lines in no form that is read, and the first of them.
    unread: u64,
    quoted: Option<String>,
}

impl Found {
    fn search(&mut self, mut blocks: Blocks<'_>, written: i64) {
        if export::is(blocks.at_least(32)) {
            let (mut entry, mut lines) = (export::Entry::default(), 0);
            while self.kind.is_none() && entry.read(&mut blocks, &mut lines) {
                let line = entry.line();
                self.take(line.as_ref().map_or(What::Other(&[]), log::of), &[], written);
            }
            return;
        }
        let mut lines = Lines::new(blocks);
        while self.kind.is_none()
            && let Some(line) = lines.next()
        {
            match line {
                Line::Line(line) => log::what(line, |what| self.take(what, line, written)),
                Line::TooLong => self.unread += 1,
            }
        }
    }

    fn take(&mut self, what: What<'_>, line: &[u8], written: i64) {
        match what {
            What::Mail(kind, stamp) => (self.kind, self.first) = (Some(kind), Calendar::new(written).time(stamp)),
            What::Other(program) => {
                self.others += 1;
                let program = String::from_utf8_lossy(program);
                if !program.is_empty()
                    && self.programs.len() < 4
                    && !self.programs.iter().any(|known| *known == program)
                {
                    self.programs.push(program.chars().take(32).collect());
                }
            }
            What::Unread => {
                self.unread += 1;
                self.quoted.get_or_insert_with(|| quote(line));
            }
        }
    }

    /// Whether it is a log, though of other programs.
    const fn is_log(&self) -> bool {
        self.others > 0 && self.others >= self.unread
    }

    fn quiet(&self) -> String {
        match self.programs.as_slice() {
            [] => "holds no line of a mail server".into(),
            programs => format!("holds no line of a mail server: it is a log of {}", programs.join(", ")),
        }
    }

    fn unknown(&self, description: &str) -> String {
        match &self.quoted {
            Some(quoted) if description.is_empty() => format!(
                "is nothing that is known by sight: text, of which {} lines are in no form that is read, the first \
                 {quoted:?} (times that are read: {FORMS})",
                self.unread
            ),
            _ if description.is_empty() => "is nothing that is known by sight".into(),
            _ => format!("is nothing that is known by sight: it looks like {description}"),
        }
    }
}

fn quote(line: &[u8]) -> String {
    String::from_utf8_lossy(&line[..line.len().min(320)]).chars().take(80).collect()
}

/// Which export of a mail provider's this is, by the names of its columns or members as the providers publish them. None is
/// read: of most nobody could tell over what the mail came.
fn export_of(text: &[u8]) -> Option<&'static str> {
    const TRACE: &str = "a message trace of Exchange Online, which does not tell of TLS: export the mail itself, whose Received fields do \
         (--by .outlook.com)";
    let first = &text[..memchr::memchr(b'\n', text).unwrap_or(text.len())];
    let names = |name: &[u8]| memchr::memmem::find(first, name).is_some();
    let is_typed = first.starts_with(b"#TYPE Microsoft.Exchange.Management.FfoReporting.MessageTrace");
    if is_typed || names(b"origin_timestamp_utc") || (names(b"MessageTraceId") && names(b"RecipientAddress")) {
        Some(TRACE)
    } else if text.starts_with(b"{") && memchr::memmem::find(text, b"\"smtp_tls_state\"").is_some() {
        Some(
            "Gmail's log as BigQuery exports it, in which plaintext cannot be told from what is not said: export the mail itself, \
             whose Received fields tell of TLS (--by mx.google.com)",
        )
    } else {
        None
    }
}

/// What a file that is none of ours looks like; empty where that is not known.
fn describe(start: &[u8]) -> String {
    const KNOWN: [(&[u8], &str); 16] = [
        (b"LPKSHHRH", "a file of the journal: give what `journalctl -o short-iso` prints of it"),
        (b"\x89PNG", "a picture"),
        (b"\xff\xd8\xff", "a picture"),
        (b"GIF8", "a picture"),
        (b"%PDF", "a PDF"),
        (b"PK\x03\x04", "a ZIP archive: unpack it"),
        (b"7z\xbc\xaf", "a 7z archive: unpack it"),
        (b"Rar!", "a RAR archive: unpack it"),
        (b"\x7fELF", "a program"),
        (b"SQLite format 3", "an SQLite database"),
        (b"ElfFile", "an event log of Windows"),
        (b"!BDN", "a mail store of Outlook: export its messages"),
        (b"\xd0\xcf\x11\xe0", "a message or a document of Microsoft Office: export it as .eml"),
        (b"\xff\xfe", "text in UTF-16: convert it with `iconv -f UTF-16 -t UTF-8`"),
        (b"\xfe\xff", "text in UTF-16: convert it with `iconv -f UTF-16 -t UTF-8`"),
        (b"\x04\x22\x4d\x18", "LZ4, which is not read: decompress it"),
    ];
    if let Some((_, what)) = KNOWN.iter().find(|(magic, _)| start.starts_with(magic)) {
        return (*what).into();
    }
    let text = start.trim_ascii_start();
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    if let Some(export) = export_of(text) {
        return export.into();
    }
    if start.get(257..262) == Some(b"ustar") {
        "a tar archive: unpack it".into()
    } else if text.starts_with(b"<?xml") || text.starts_with(b"<!doctype") || text.starts_with(b"<html") {
        "XML or HTML".into()
    } else if start.contains(&0) {
        "octets that are no text".into()
    } else if text.starts_with(b"{") || text.starts_with(b"[") {
        "JSON, of which it is not known what it means".into()
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::describe;

    #[test]
    fn exports_of_providers_are_known_by_name() {
        for (start, words) in [
            (
                "\u{feff}origin_timestamp_utc,sender_address,recipient_status\n2026-11-24T08:00:00Z,a@b,c\n",
                "Exchange Online",
            ),
            ("#TYPE Microsoft.Exchange.Management.FfoReporting.MessageTrace\n\"Organization\"\n", "Exchange Online"),
            ("\"PSComputerName\",\"MessageId\",\"RecipientAddress\",\"MessageTraceId\"\n", "Exchange Online"),
            (r#"{"event_info":{},"message_info":{"connection_info":{"smtp_tls_state":1}}}"#, "Gmail"),
            (r#"{"a":1}"#, "JSON"),
        ] {
            assert!(describe(start.as_bytes()).contains(words), "{start}");
        }
        assert_eq!(describe(b"a,b\nMessageTraceId,RecipientAddress\n"), "");
    }
}
