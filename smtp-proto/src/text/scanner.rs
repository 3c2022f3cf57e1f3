//! Reading the text of DATA (RFC 5321 4.5.2): its end found and dots removed, as slices of the input.

use super::find::{Stop, WALK, fly, stop, walk};
use super::{Scan, TextFlaw, TextLeniency, take};

/// Finds the end of DATA: CRLF . CRLF over the octet stream, whatever the reads, and nothing else.
///
/// The caller keeps what is left of the input and appends to it.
///
/// ```
/// use smtp_proto::text::{Scan, Scanner, TextLeniency};
///
/// let mut scanner = Scanner::new(TextLeniency::default());
/// let mut input = &b"Hello\r\n..\r\n.\r\nQUIT\r\n"[..];
/// assert_eq!(scanner.next(&mut input), Scan::Chunk(b"Hello\r\n"));
/// assert_eq!(scanner.next(&mut input), Scan::Chunk(b".\r\n"));
/// assert_eq!(scanner.next(&mut input), Scan::End);
/// assert_eq!(input, b"QUIT\r\n");
/// assert_eq!(scanner.refused(), None);
/// ```
#[derive(Clone, Debug)]
pub struct Scanner {
    lenient: TextLeniency,
    /// Whether the next octet begins a line: it follows a true CRLF, or DATA's own.
    line_start: bool,
    octets: u64,
    refused: Option<(TextFlaw, u64)>,
    tolerated: TextLeniency,
    /// No further flaw would change what is reported.
    blind: bool,
}

impl Scanner {
    /// A scanner that is at the start of a text.
    #[must_use]
    pub const fn new(lenient: TextLeniency) -> Self {
        Self { lenient, line_start: true, octets: 0, refused: None, tolerated: TextLeniency::NONE, blind: false }
    }

    /// The first flaw that is not let pass, and the octets of the wire before it. What comes before the flaw has been
    /// handed out in chunks of its own.
    #[must_use]
    pub const fn refused(&self) -> Option<(TextFlaw, u64)> {
        self.refused
    }

    /// Whether a flaw was let pass, before any that was not.
    #[must_use]
    pub const fn tolerated(&self) -> bool {
        !self.tolerated.is_none()
    }

    /// Which flaws were let pass, before any that was not.
    #[must_use]
    pub const fn used(&self) -> TextLeniency {
        self.tolerated
    }

    /// Takes the next piece off the front of `input`.
    #[inline]
    pub fn next<'i>(&mut self, input: &mut &'i [u8]) -> Scan<'i> {
        // RFC 5321 4.5.2, where dots are densest: a line that is a dot alone, doubled, before another that begins with one. No
        // search then, and no call.
        if let [b'.', b'.', b'\r', b'\n', b'.', ..] = **input
            && self.line_start
            && !self.blind
        {
            self.take(input, 1);
            return Scan::Chunk(self.take(input, 3));
        }
        self.search(input)
    }

    /// The same for whom a call more would cost more than lines of dots.
    #[inline(never)]
    pub(crate) fn search<'i>(&mut self, input: &mut &'i [u8]) -> Scan<'i> {
        let (mut text, mut dot) = (*input, 0);
        if self.line_start {
            text = match *text {
                // RFC 5321 4.1.1.4: the end.
                [b'.', b'\r', b'\n', ref rest @ ..] => {
                    *input = rest;
                    self.octets += 3;
                    return Scan::End;
                }
                [] | [b'.'] | [b'.', b'\r'] => return Scan::Need,
                // RFC 5321 4.5.2: a leading dot goes, when other octets follow on the line.
                [b'.', ref rest @ ..] => {
                    dot = 1;
                    rest
                }
                _ => text,
            };
        }
        *input = text;
        self.octets += dot;
        // Where dots are dense, most calls end here.
        let walked = walk::<true, true>(text, 0, WALK);
        if let Err(Stop::Dot(n)) = walked
            && !self.blind
        {
            self.line_start = true;
            return Scan::Chunk(self.take(input, n));
        }
        self.line_start = false;
        self.beyond(walked, input)
    }

    /// What follows the octets that were walked.
    #[inline(never)]
    fn beyond<'i>(&mut self, walked: Result<usize, Stop>, input: &mut &'i [u8]) -> Scan<'i> {
        let stop = match walked {
            _ if self.blind => stop::<false, true>(input),
            Ok(at) => fly::<true, true>(input, at),
            Err(stop) => stop,
        };
        self.stopped(stop, input)
    }

    /// What to do with a stop.
    fn stopped<'i>(&mut self, mut found: Stop, input: &mut &'i [u8]) -> Scan<'i> {
        let mut at = 0;
        loop {
            match found {
                Stop::Dot(n) => {
                    self.line_start = true;
                    return Scan::Chunk(self.take(input, at + n));
                }
                Stop::Flaw(flaw, n) => {
                    at += n;
                    if self.lenient.lets_pass(flaw) {
                        self.tolerated = self.tolerated.with(flaw);
                        self.blind = self.tolerated == TextLeniency::ALL;
                    } else if at > 0 {
                        // What comes before is told apart, so that it is told whatever the reads.
                        return Scan::Chunk(self.take(input, at));
                    } else {
                        self.refused = Some((flaw, self.octets));
                        self.blind = true;
                    }
                    at += 1;
                }
                Stop::LastCr(n) => {
                    let n = at + n;
                    return if n == 0 { Scan::Need } else { Scan::Chunk(self.take(input, n)) };
                }
                Stop::End(line_end) => {
                    self.line_start = line_end;
                    return if input.is_empty() { Scan::Need } else { Scan::Chunk(self.take(input, input.len())) };
                }
            }
            let rest = input.get(at..).unwrap_or_default();
            found = if self.blind { stop::<false, true>(rest) } else { stop::<true, true>(rest) };
        }
    }

    #[inline]
    fn take<'i>(&mut self, input: &mut &'i [u8], n: usize) -> &'i [u8] {
        self.octets += n as u64;
        take(input, n)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::{Scan, Scanner, TextLeniency};

    /// RFC 5321 4.5.2: lines that are a dot alone, any number of them, with any octet in the place of any other.
    #[test]
    fn lines_of_dots_are_read_as_any_other() {
        let read = |mut input: &[u8], searched: bool, lenient| {
            let (mut scanner, mut text, mut ended) = (Scanner::new(lenient), Vec::new(), false);
            loop {
                match if searched { scanner.search(&mut input) } else { scanner.next(&mut input) } {
                    Scan::Chunk(chunk) => text.push(chunk),
                    Scan::Need => break,
                    Scan::End => {
                        ended = true;
                        break;
                    }
                }
            }
            (text.concat(), ended, input.to_vec(), scanner.octets, scanner.refused(), scanner.used())
        };
        for number in 0..50 {
            let mut wire = b"..\r\n".repeat(number);
            wire.extend_from_slice(b".\r\nQUIT\r\n");
            let read_back = read(&wire, false, TextLeniency::NONE);
            assert_eq!((read_back.0, read_back.1, read_back.2), (b".\r\n".repeat(number), true, b"QUIT\r\n".to_vec()));
            for at in 0..wire.len() {
                let was = wire[at];
                for octet in *b".\r\n\0x" {
                    wire[at] = octet;
                    for lenient in [TextLeniency::NONE, TextLeniency::ALL] {
                        assert_eq!(read(&wire, false, lenient), read(&wire, true, lenient), "{}", wire.escape_ascii());
                    }
                }
                wire[at] = was;
                assert_eq!(read(&wire[..at], false, TextLeniency::NONE), read(&wire[..at], true, TextLeniency::NONE));
            }
        }
    }
}
