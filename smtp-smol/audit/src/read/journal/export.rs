//! The journal's export format (`journalctl -o export`): a field a line, an empty line between entries. A value with
//! line ends in it has its length before it, in eight octets, the lowest first.

use crate::read::blocks::Blocks;
use crate::read::syslog::Line;

use super::json::microseconds;

/// A value longer than this is none of a log.
const LONGEST: usize = 64 << 10;

/// Whether this is the beginning of an export.
pub(crate) fn is(start: &[u8]) -> bool {
    start.starts_with(b"__CURSOR=") || start.starts_with(b"__REALTIME_TIMESTAMP=")
}

/// What is needed of an entry.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    microseconds: Vec<u8>,
    host: Vec<u8>,
    tag: Vec<u8>,
    process: Vec<u8>,
    own_process: Vec<u8>,
    message: Vec<u8>,
    /// A field was read.
    any: bool,
}

impl Entry {
    /// Reads the next entry; false where there is none. Fields that are too long are left out.
    pub(crate) fn read(&mut self, blocks: &mut Blocks<'_>, lines: &mut u64) -> bool {
        for value in [
            &mut self.microseconds,
            &mut self.host,
            &mut self.tag,
            &mut self.process,
            &mut self.own_process,
            &mut self.message,
        ] {
            value.clear();
        }
        self.any = false;
        loop {
            let Some(end) = line_end(blocks) else { return self.any };
            *lines += 1;
            let line = &blocks.filled()[..end];
            if line.is_empty() {
                blocks.used(1);
                if self.any {
                    return true;
                }
                continue;
            }
            self.any = true;
            if let Some(equals) = memchr::memchr(b'=', line) {
                if let Some(value) = self.field(&blocks.filled()[..equals]) {
                    value.extend_from_slice(&blocks.filled()[equals + 1..end]);
                }
                blocks.used(end + 1);
                continue;
            }
            let name: Vec<u8> = line.iter().copied().take(64).collect();
            blocks.used(end + 1);
            let Some(length) = blocks.at_least(8).first_chunk().map(|length| u64::from_le_bytes(*length)) else {
                return true;
            };
            blocks.used(8);
            let value = self.field(&name);
            skip(blocks, length, value);
        }
    }

    /// The line that it is.
    pub(crate) fn line(&self) -> Option<Line<'_>> {
        let process = if self.own_process.is_empty() { &self.process } else { &self.own_process };
        if self.tag.is_empty() {
            return None;
        }
        Some(Line::new(microseconds(&self.microseconds)?, &self.host, &self.tag, process, &self.message))
    }

    /// Whether it has a time.
    pub(crate) const fn is_timed(&self) -> bool {
        !self.microseconds.is_empty()
    }

    fn field(&mut self, name: &[u8]) -> Option<&mut Vec<u8>> {
        let field = match name {
            b"__REALTIME_TIMESTAMP" => &mut self.microseconds,
            b"_HOSTNAME" => &mut self.host,
            b"SYSLOG_IDENTIFIER" => &mut self.tag,
            b"_PID" => &mut self.process,
            b"SYSLOG_PID" => &mut self.own_process,
            b"MESSAGE" => &mut self.message,
            _ => return None,
        };
        field.is_empty().then_some(field)
    }
}

/// Where the line ends on which we stand; the end of what is there, where it has none. `None` at the end.
fn line_end(blocks: &mut Blocks<'_>) -> Option<usize> {
    let mut searched = 0;
    loop {
        let filled = blocks.filled();
        if let Some(end) = memchr::memchr(b'\n', &filled[searched..]) {
            return Some(searched + end);
        }
        searched = filled.len();
        if searched > LONGEST {
            // A field without an end: only its end is wanted.
            blocks.used(searched - 1);
            searched = 1;
        }
        if !blocks.more() {
            let left = blocks.filled().len();
            return (left > 0).then_some(left);
        }
    }
}

/// Goes beyond a value and its line end; keeps it where it is wanted and not too long.
fn skip(blocks: &mut Blocks<'_>, length: u64, mut into: Option<&mut Vec<u8>>) {
    let mut left = length.saturating_add(1);
    while left > 0 {
        let filled = blocks.at_least(1);
        if filled.is_empty() {
            return;
        }
        let octets = usize::try_from(left).unwrap_or(usize::MAX).min(filled.len());
        if let Some(into) = into.as_deref_mut() {
            let room = LONGEST.saturating_sub(into.len()).min(octets);
            into.extend_from_slice(&filled[..room]);
        }
        blocks.used(octets);
        left -= octets as u64;
    }
    if let Some(into) = into {
        into.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, is};
    use crate::read::blocks::Blocks;

    #[test]
    fn entries_are_lines_whatever_is_in_them() {
        let mut octets =
            b"__CURSOR=s=1\n__REALTIME_TIMESTAMP=1795507200000000\n_HOSTNAME=mx\nSYSLOG_IDENTIFIER=postfix/smtpd\n\
            _PID=11\nMESSAGE=connect from a=b\n\n__CURSOR=s=2\n__REALTIME_TIMESTAMP=1795507200000000\nCOREDUMP\n"
                .to_vec();
        octets.extend(325_000_u64.to_le_bytes());
        octets.extend(b"\n\nMESSAGE=no\n".repeat(25_000));
        octets.extend(b"\n_HOSTNAME=mx\nSYSLOG_IDENTIFIER=exim\nMESSAGE\n");
        octets.extend(9_u64.to_le_bytes());
        octets.extend(b"two\nlines\n");
        assert!(is(&octets));
        let mut blocks = Blocks::new(&octets[..]);
        let (mut entry, mut lines) = (Entry::default(), 0);
        assert!(entry.read(&mut blocks, &mut lines));
        let line = entry.line().expect("a line");
        assert_eq!((line.program, line.process, line.text), (&b"smtpd"[..], &b"11"[..], &b"connect from a=b"[..]));
        assert!(entry.read(&mut blocks, &mut lines));
        let line = entry.line().expect("a line");
        assert_eq!((line.program, line.process, line.text), (&b"exim"[..], &b""[..], &b"two\nlines"[..]));
        assert!(!entry.read(&mut blocks, &mut lines));
    }
}
