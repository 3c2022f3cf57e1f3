//! Chunks of text that are counted, not ended (BDAT, RFC 3030 2).

use super::find::{Stop, stop};
use super::{Scan, TextFlaw, TextLeniency, take};

/// Counts the octets of one BDAT chunk, whether they are wanted or only to be swallowed: nothing in them is special,
/// and what follows them is the next command.
///
/// ```
/// use smtp_proto::text::{Counted, Scan};
///
/// let mut chunk = Counted::new(5);
/// let mut input = &b"\r\n.\r\nQUIT\r\n"[..];
/// assert_eq!(chunk.next(&mut input), Scan::Chunk(b"\r\n.\r\n"));
/// assert_eq!(chunk.next(&mut input), Scan::End);
/// assert_eq!(input, b"QUIT\r\n");
/// ```
#[derive(Clone, Debug)]
pub struct Counted {
    left: u64,
}

impl Counted {
    /// A chunk of `octets`, which may be 0 (as in `BDAT 0 LAST`).
    #[must_use]
    pub const fn new(octets: u64) -> Self {
        Self { left: octets }
    }

    /// The octets that are still to come.
    #[must_use]
    pub const fn left(&self) -> u64 {
        self.left
    }

    /// Takes what belongs to the chunk off the front of `input`. `Need` leaves none of the input.
    pub fn next<'i>(&mut self, input: &mut &'i [u8]) -> Scan<'i> {
        if self.left == 0 {
            return Scan::End;
        }
        if input.is_empty() {
            return Scan::Need;
        }
        let n = usize::try_from(self.left).map_or(input.len(), |left| left.min(input.len()));
        self.left -= n as u64;
        Scan::Chunk(take(input, n))
    }
}

/// Looks for flaws in text that is counted: in every chunk of a message that is not BINARYMIME (RFC 3030 3), CR, LF and
/// NUL are as restricted as in DATA. One for a message, for CR and LF may come in different chunks.
#[derive(Clone, Debug, Default)]
pub struct Check {
    lenient: TextLeniency,
    /// The last octet was CR.
    cr: bool,
    octets: u64,
    refused: Option<(TextFlaw, u64)>,
    tolerated: TextLeniency,
}

impl Check {
    /// A check that is at the start of a message.
    #[must_use]
    pub const fn new(lenient: TextLeniency) -> Self {
        Self { lenient, cr: false, octets: 0, refused: None, tolerated: TextLeniency::NONE }
    }

    /// Looks through the next octets of the message.
    pub fn see(&mut self, mut octets: &[u8]) {
        match *octets {
            [] => return,
            [b'\n', ..] if self.cr => {
                take(&mut octets, 1);
                self.octets += 1;
            }
            _ if self.cr => self.flaw(TextFlaw::BareCr, self.octets - 1),
            _ => {}
        }
        self.cr = false;
        let mut at = 0;
        while self.refused.is_none() {
            match stop::<true, false>(octets.get(at..).unwrap_or_default()) {
                Stop::Flaw(flaw, n) => {
                    at += n;
                    self.flaw(flaw, self.octets + at as u64);
                    at += 1;
                }
                Stop::LastCr(_) => {
                    self.cr = true;
                    break;
                }
                Stop::Dot(_) | Stop::End(_) => break,
            }
        }
        self.octets += octets.len() as u64;
    }

    /// The message is over: a CR at its end is bare.
    pub fn end(&mut self) {
        if core::mem::take(&mut self.cr) {
            self.flaw(TextFlaw::BareCr, self.octets - 1);
        }
    }

    /// The first flaw that is not let pass, and the octets of the message before it.
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

    fn flaw(&mut self, flaw: TextFlaw, at: u64) {
        if self.refused.is_some() {
        } else if self.lenient.lets_pass(flaw) {
            self.tolerated = self.tolerated.with(flaw);
        } else {
            self.refused = Some((flaw, at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Check, Counted};
    use crate::text::{Scan, TextFlaw, TextLeniency};

    type Refused = Option<(TextFlaw, u64)>;

    /// RFC 3030 2: exactly so many octets.
    #[test]
    fn a_chunk_takes_its_octets_and_no_more() {
        let stream = b"abcdefgh";
        for size in 0..=10_u64 {
            for cut in 0..=stream.len() {
                let (mut chunk, mut taken) = (Counted::new(size), 0);
                let (mut a, mut b) = stream.split_at(cut);
                for input in [&mut a, &mut b] {
                    while let Scan::Chunk(octets) = chunk.next(input) {
                        assert_eq!(octets, &stream[taken..taken + octets.len()]);
                        taken += octets.len();
                    }
                }
                assert_eq!(taken as u64, size.min(8));
                assert_eq!(chunk.left(), size - taken as u64);
                assert_eq!(a.len() + b.len(), stream.len() - taken);
                assert_eq!(chunk.next(&mut b) == Scan::End, size <= 8);
            }
        }
    }

    #[test]
    fn the_largest_chunk_is_counted_without_wrapping() {
        let mut chunk = Counted::new(u64::MAX);
        let mut input = &b"abc"[..];
        assert_eq!(chunk.next(&mut input), Scan::Chunk(b"abc"));
        assert_eq!(chunk.next(&mut input), Scan::Need);
        assert_eq!(chunk.left(), u64::MAX - 3);
    }

    /// RFC 5321 2.3.8, also over the border of two chunks.
    #[test]
    fn flaws_are_found_wherever_chunks_end() {
        let lf = TextLeniency { bare_lf: true, ..TextLeniency::default() };
        let cases: [(&[u8], TextLeniency, Refused, bool); 9] = [
            (b"a\r\n.\r\n", TextLeniency::default(), None, false),
            (b"a\r\n\n\0", TextLeniency::default(), Some((TextFlaw::BareLf, 3)), false),
            (b"a\r\n\n\0", lf, Some((TextFlaw::Nul, 4)), true),
            (b"a\r\r\n\n", lf, Some((TextFlaw::BareCr, 1)), false),
            (b"\r", TextLeniency::default(), Some((TextFlaw::BareCr, 0)), false),
            (b"\n\r", lf, Some((TextFlaw::BareCr, 1)), true),
            (b"\r.", TextLeniency::default(), Some((TextFlaw::BareCr, 0)), false),
            (b"\n\n\r\n\n", lf, None, true),
            (b"", TextLeniency::default(), None, false),
        ];
        for (text, lenient, refused, tolerated) in cases {
            for cut in 0..=text.len() {
                let mut check = Check::new(lenient);
                let (a, b) = text.split_at(cut);
                check.see(a);
                check.see(b);
                check.end();
                assert_eq!((check.refused(), check.tolerated()), (refused, tolerated), "{text:?} cut at {cut}");
            }
        }
    }
}
