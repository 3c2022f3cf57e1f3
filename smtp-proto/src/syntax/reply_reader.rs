//! Replies as they are read (RFC 5321 4.2): bounded, strict in shape, without a copy.

use core::fmt::{self, Write as _};

use super::announced::{Announced, FirstWord};
use super::{Capability, Enhanced};

/// Bounds on a reply that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplyLimits {
    /// Octets of a line, CRLF included. RFC 5321 4.5.3.1.5 allows 512; 2,048, as some servers do not keep to it.
    pub line: usize,
    /// How many lines a reply may have. The default is 128.
    pub lines: usize,
    /// Octets in all, which the caller must be able to hold: 16 KiB.
    pub total: usize,
}

impl Default for ReplyLimits {
    fn default() -> Self {
        Self { line: 2048, lines: 128, total: 16 << 10 }
    }
}

/// Why what was read is no reply. None of them can be recovered from: where the next reply begins is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyFault {
    /// A line does not begin with three digits, 200 to 599 (RFC 5321 4.2).
    #[error("a reply line does not begin with a code from 200 to 599")]
    Code,
    /// Neither SP, `-` nor the end of the line follows the code (RFC 5321 4.2).
    #[error("neither a space, a hyphen nor the end of the line follows the code")]
    Separator,
    /// The lines of one reply have different codes (RFC 5321 4.2.1).
    #[error("the lines of one reply have different codes")]
    CodesDiffer,
    /// CR without LF (RFC 5321 2.3.8).
    #[error("bare CR in a reply")]
    BareCr,
    /// LF without CR (RFC 5321 2.3.8).
    #[error("bare LF in a reply")]
    BareLf,
    /// The octet NUL (0) in a reply.
    #[error("NUL in a reply")]
    Nul,
    /// A line over [`ReplyLimits::line`].
    #[error("a reply line over the limit")]
    LineTooLong,
    /// More lines than [`ReplyLimits::lines`].
    #[error("a reply with more lines than the limit")]
    TooManyLines,
    /// A reply over [`ReplyLimits::total`].
    #[error("a reply over the limit")]
    TooLong,
}

/// Finds replies in an input whose unused end the caller keeps; each octet is looked at once.
///
/// ```
/// use smtp_proto::syntax::{ReplyLimits, ReplyReader};
///
/// let mut reader = ReplyReader::new(ReplyLimits::default());
/// let mut input = &b"250-mx.example.net\r\n250 HELP\r\n35"[..];
/// let reply = reader.next(&mut input)?.expect("a whole reply");
/// assert_eq!((reply.code(), reply.lines().count()), (250, 2));
/// assert!(reader.next(&mut input)?.is_none(), "the rest is kept until more has come");
/// assert_eq!(input, b"35");
/// # Ok::<(), smtp_proto::syntax::ReplyFault>(())
/// ```
#[derive(Clone, Debug)]
pub struct ReplyReader {
    limits: ReplyLimits,
    /// LF without CR ends a line.
    bare_lf: bool,
    /// Where the present line begins in the input, and up to where the line is known to hold nothing special.
    line: usize,
    scanned: usize,
    /// Of the lines before, 0 at the first; how many they are.
    code: u16,
    lines: usize,
}

impl ReplyReader {
    /// A reader that expects the beginning of a reply.
    #[must_use]
    pub const fn new(limits: ReplyLimits) -> Self {
        Self { limits, bare_lf: false, line: 0, scanned: 0, code: 0, lines: 0 }
    }

    /// Whether LF without CR ends a line, against RFC 5321 2.3.8. Off by default;
    /// [`ReplyLines::has_bare_lf`] tells when it was made use of.
    #[must_use]
    pub const fn bare_lf(mut self, passes: bool) -> Self {
        self.bare_lf = passes;
        self
    }

    /// Whether a reply has begun and is not complete: after its first octet.
    #[must_use]
    pub const fn in_reply(&self) -> bool {
        self.line > 0 || self.scanned > 0
    }

    /// Takes a reply off the front of `input`, or nothing while it is not complete.
    ///
    /// # Errors
    /// [`ReplyFault`], the first in the order of the octets, whatever the reads. Nothing can follow it.
    pub fn next<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<ReplyLines<'i>>, ReplyFault> {
        let (octets, mut line, mut lines, mut code) = (*input, self.line, self.lines, self.code);
        let mut scanned = self.scanned;
        loop {
            let rest = octets.get(line..).unwrap_or_default();
            let last = match *rest {
                [a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', separator, ..]
                    if matches!(separator, b' ' | b'-' | b'\r') || self.bare_lf && separator == b'\n' =>
                {
                    let here = u16::from(a) * 100 + u16::from(b) * 10 + u16::from(c) - 111 * u16::from(b'0');
                    if code != here {
                        if lines > 0 {
                            return Err(ReplyFault::CodesDiffer);
                        }
                        code = here;
                    }
                    separator != b'-'
                }
                _ => {
                    beginning(rest, code)?;
                    break;
                }
            };
            let window = self.limits.line.min(self.limits.total.saturating_sub(line));
            let from = scanned.max(3);
            let Some(at) = rest.get(from..rest.len().min(window)).and_then(special) else {
                if rest.len() >= window {
                    return Err(self.over(line));
                }
                scanned = rest.len();
                break;
            };
            let at = from + at;
            let end = match rest.get(at..).unwrap_or_default() {
                [b'\r', b'\n', ..] if at + 2 <= window => 2,
                // Whatever follows: its LF would be over the limit, and whether it is there must not matter.
                [b'\r', ..] if at + 2 > window => return Err(self.over(line)),
                [b'\r'] => {
                    scanned = at;
                    break;
                }
                [b'\r', ..] => return Err(ReplyFault::BareCr),
                [b'\n', ..] if self.bare_lf => 1,
                [b'\n', ..] => return Err(ReplyFault::BareLf),
                _ => return Err(ReplyFault::Nul),
            };
            line += at + end;
            lines += 1;
            scanned = 0;
            if last {
                let (raw, after) = octets.split_at_checked(line).unwrap_or((octets, &[]));
                *input = after;
                *self = Self::new(self.limits).bare_lf(self.bare_lf);
                return Ok(Some(ReplyLines { raw, code, lines }));
            }
            if lines >= self.limits.lines {
                return Err(ReplyFault::TooManyLines);
            }
            // No room for even the shortest line.
            if self.limits.total.saturating_sub(line) < 5 {
                return Err(ReplyFault::TooLong);
            }
            (line, lines) = self.usual(octets, line, lines);
        }
        (self.line, self.lines, self.code, self.scanned) =
            (line, lines, code, scanned.max(usize::from(octets.len() > line)));
        Ok(None)
    }

    /// Goes on behind a line over those like it: whole, with its code and its hyphen, and well within the limits. What they do
    /// not say is looked at as any other line. Out of the way of replies of one line, which most are.
    #[inline(never)]
    fn usual(&self, octets: &[u8], mut line: usize, mut lines: usize) -> (usize, usize) {
        let most = self.limits.total.saturating_sub(5);
        let rest = |from: usize| octets.get(from..).unwrap_or_default();
        let Some(start) = octets.first_chunk::<4>() else { return (line, lines) };
        while let Some((here, text)) = rest(line).split_first_chunk()
            && here == start
            && let Some(at) = special(text)
            && let Some([b'\r', b'\n', ..]) = text.get(at..)
            && at + 6 <= self.limits.line
            && line + at + 6 <= most
            && lines + 1 < self.limits.lines
        {
            line += at + 6;
            lines += 1;
        }
        (line, lines)
    }

    /// Which limit a line that began at `line` has hit.
    const fn over(&self, line: usize) -> ReplyFault {
        if self.limits.line <= self.limits.total.saturating_sub(line) {
            ReplyFault::LineTooLong
        } else {
            ReplyFault::TooLong
        }
    }
}

/// A line whose first four octets are not there, or wrong.
#[cold]
fn beginning(rest: &[u8], code: u16) -> Result<(), ReplyFault> {
    let mut here = 0;
    for (at, octet) in rest.iter().take(3).enumerate() {
        match octet {
            b'2'..=b'5' if at == 0 => {}
            b'0'..=b'9' if at > 0 => {}
            _ => return Err(ReplyFault::Code),
        }
        here = here * 10 + u16::from(octet - b'0');
    }
    if rest.len() >= 3 && code != 0 && here != code {
        return Err(ReplyFault::CodesDiffer);
    }
    if rest.len() >= 4 { Err(ReplyFault::Separator) } else { Ok(()) }
}

/// Where the first CR, LF or NUL stands. Lines of a reply are short: eight octets at a time cost less here than a call of
/// a search that is made for long ones.
fn special(octets: &[u8]) -> Option<usize> {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let mut at = 0;
    while let Some(eight) = octets.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*eight);
        // The high bit of each octet below 14, exact for the first of them.
        let low = word.wrapping_sub(EACH * 14) & !word & (EACH << 7);
        if low != 0 {
            at += (low.trailing_zeros() / 8) as usize;
            if matches!(octets.get(at), Some(b'\r' | b'\n' | 0)) {
                return Some(at);
            }
            at += 1;
        } else {
            at += 8;
        }
    }
    let rest = octets.get(at..)?;
    rest.iter().position(|octet| matches!(octet, b'\r' | b'\n' | 0)).map(|found| at + found)
}

/// A reply as it was received: at least one line, all with one code. Its text is what the peer sent, any octet but CR,
/// LF and NUL: never shown raw.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ReplyLines<'i> {
    raw: &'i [u8],
    code: u16,
    lines: usize,
}

impl<'i> ReplyLines<'i> {
    /// Reads exactly one reply.
    ///
    /// # Errors
    /// `None` when octets are missing or left over, [`ReplyFault`] when it is no reply.
    pub fn parse(octets: &'i [u8]) -> Result<Option<Self>, ReplyFault> {
        let mut input = octets;
        let reply = ReplyReader::new(ReplyLimits::default()).next(&mut input)?;
        Ok(reply.filter(|_| input.is_empty()))
    }

    /// What has been one reply before.
    pub(crate) fn of_checked(raw: &'i [u8]) -> Self {
        let digit = |at: usize| raw.get(at).map_or(0, |octet| u16::from(octet & 0xf));
        let code = digit(0) * 100 + digit(1) * 10 + digit(2);
        Self { raw, code, lines: memchr::memchr_iter(b'\n', raw).count() }
    }

    /// The reply code, 200 to 599. The second digit may be one that RFC 5321 4.2.1 does not define: a client acts on
    /// the first (4.3.2).
    #[must_use]
    pub const fn code(&self) -> u16 {
        self.code
    }

    /// 2 success, 3 go on, 4 not now, 5 no (RFC 5321 4.2.1).
    #[must_use]
    pub const fn class(&self) -> u16 {
        self.code / 100
    }

    /// The enhanced code of the first line.
    #[must_use]
    pub fn enhanced(&self) -> Option<Enhanced> {
        self.first().enhanced()
    }

    /// The lines of the reply in order, each with its text without the code.
    #[must_use]
    pub fn lines(&self) -> ReplyLineIter<'i> {
        ReplyLineIter { rest: self.raw, class: u8::try_from(self.code / 100).unwrap_or(0), left: self.lines }
    }

    /// The first line of the reply. A reply has at least one.
    #[must_use]
    pub fn first(&self) -> ReplyLine<'i> {
        self.lines().next().unwrap_or(ReplyLine { text: &[], class: 0 })
    }

    /// What the lines behind the first announce, each with its whole text.
    pub(crate) fn announced(&self) -> impl Iterator<Item = Announced<'i>> + use<'i> {
        let mut lines = self.lines();
        lines.next();
        let mut rest = lines.rest;
        core::iter::from_fn(move || {
            let behind = rest.get(4..)?;
            let word = FirstWord::of(behind);
            // Most lines are a word alone, whose end is the line's.
            let end = match behind.get(word.len) {
                Some(b'\r' | b'\n') => word.len,
                _ => word.len + special(behind.get(word.len..)?)?,
            };
            let (line, after) = behind.split_at_checked(end)?;
            rest = after.get(if after.starts_with(b"\r") { 2 } else { 1 }..)?;
            Some(Announced::new(line, word))
        })
    }

    /// The extensions that this reply to EHLO announces; lines that announce nothing are left out.
    pub fn capabilities(&self) -> impl Iterator<Item = Capability<'i>> + use<'i> {
        self.announced().filter_map(Capability::of)
    }

    /// Whether a line ends in LF without CR, which [`ReplyReader::bare_lf`] lets pass.
    #[must_use]
    pub fn has_bare_lf(&self) -> bool {
        memchr::memchr_iter(b'\n', self.raw).any(|at| at == 0 || self.raw.get(at - 1) != Some(&b'\r'))
    }

    /// The octets of the reply as they came, CRLFs included.
    #[must_use]
    pub const fn raw(&self) -> &'i [u8] {
        self.raw
    }
}

impl fmt::Debug for ReplyLines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplyLines({})", self.raw.trim_ascii_end().escape_ascii())
    }
}

/// On one line, in printable ASCII whatever the peer sent.
impl fmt::Display for ReplyLines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        for (at, line) in self.lines().enumerate() {
            let text = if at == 0 { line.text } else { line.words() };
            if !text.is_empty() {
                f.write_str(" ")?;
            }
            for octet in text {
                match octet {
                    b' '..=b'~' => f.write_char(char::from(*octet))?,
                    _ => write!(f, "\\x{octet:02x}")?,
                }
            }
        }
        Ok(())
    }
}

/// A line of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyLine<'i> {
    text: &'i [u8],
    class: u8,
}

impl<'i> ReplyLine<'i> {
    /// What stands behind the code, any octet but CR, LF and NUL.
    #[must_use]
    pub const fn text(&self) -> &'i [u8] {
        self.text
    }

    /// The enhanced code, if the line has one of the class of its code (RFC 2034 4).
    #[must_use]
    pub fn enhanced(&self) -> Option<Enhanced> {
        Enhanced::parse(self.text, self.class).map(|(enhanced, _)| enhanced)
    }

    /// What stands behind the enhanced code, or behind the code where there is none.
    #[must_use]
    pub fn words(&self) -> &'i [u8] {
        Enhanced::parse(self.text, self.class).map_or(self.text, |(_, words)| words)
    }
}

/// The lines of a reply, in order.
#[derive(Clone, Debug)]
pub struct ReplyLineIter<'i> {
    rest: &'i [u8],
    class: u8,
    left: usize,
}

impl<'i> Iterator for ReplyLineIter<'i> {
    type Item = ReplyLine<'i>;

    fn next(&mut self) -> Option<ReplyLine<'i>> {
        // The reader has seen that each line ends in CRLF, or in LF where that is let pass, and holds no other CR, LF or NUL.
        let behind = self.rest.get(3..)?;
        let (line, rest) = behind.split_at_checked(special(behind)?)?;
        let end = if rest.starts_with(b"\r") { 2 } else { 1 };
        self.rest = rest.get(end..).unwrap_or_default();
        self.left = self.left.saturating_sub(1);
        Some(ReplyLine { text: line.get(1..).unwrap_or_default(), class: self.class })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for ReplyLineIter<'_> {}

#[cfg(test)]
mod tests {
    use super::{ReplyFault, ReplyLimits, ReplyReader};

    /// Read whole, and octet by octet, when no line is there whole before it is looked at.
    fn read(reply: &[u8], limits: ReplyLimits, whole: bool) -> Result<Option<(usize, usize)>, ReplyFault> {
        let mut reader = ReplyReader::new(limits);
        for end in if whole { reply.len() } else { 0 }..=reply.len() {
            let mut input = &reply[..end];
            if let Some(lines) = reader.next(&mut input)? {
                return Ok(Some((lines.raw().len(), lines.lines().count())));
            }
        }
        Ok(None)
    }

    /// RFC 5321 4.2: lines of any length, with any flaw at any place, within and beyond each limit.
    #[test]
    fn many_lines_are_read_as_each_by_itself() {
        for length in 0..70 {
            let line = [b"250-", &b"x".repeat(length)[..], b"\r\n"].concat();
            let good = [&line[..], &line, &line, b"250 x\r\n"].concat();
            let total = good.len();
            for limits in [
                ReplyLimits::default(),
                ReplyLimits { line: length + 5, ..ReplyLimits::default() },
                ReplyLimits { line: length + 6, ..ReplyLimits::default() },
                ReplyLimits { lines: 2, ..ReplyLimits::default() },
                ReplyLimits { lines: 3, ..ReplyLimits::default() },
                ReplyLimits { lines: 4, ..ReplyLimits::default() },
                ReplyLimits { total: total - 8, ..ReplyLimits::default() },
                ReplyLimits { total: total - 3, ..ReplyLimits::default() },
                ReplyLimits { total: total - 2, ..ReplyLimits::default() },
                ReplyLimits { total: total - 1, ..ReplyLimits::default() },
                ReplyLimits { total, ..ReplyLimits::default() },
            ] {
                for end in (0..=total).rev().take(length + 16) {
                    let reply = &good[..end];
                    assert_eq!(read(reply, limits, true), read(reply, limits, false), "{length} {limits:?}, {end}");
                }
            }
            let limits = ReplyLimits::default();
            assert_eq!(read(&good, limits, true), Ok(Some((total, 4))));
            let mut reply = good.clone();
            for at in 0..total {
                for flaw in *b"\0\r\n\t\x0b 1-\xff" {
                    reply[at] = flaw;
                    assert_eq!(read(&reply, limits, true), read(&reply, limits, false), "{}", reply.escape_ascii());
                }
                reply[at] = good[at];
                assert_eq!(read(&good[..at], limits, true), Ok(None));
            }
        }
    }
}
