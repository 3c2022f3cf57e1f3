//! Command lines: cut at CRLF and nowhere else, bounded, scanned once.

use memchr::memchr;

/// How much of an overlong line is skipped before the session gives up on it.
const SKIP_LIMIT: u64 = 64 << 10;

/// What the input begins with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Framed<'i> {
    /// A line, without its CRLF; taken off the input.
    Line(&'i [u8]),
    /// A line over the limit, now skipped to its CRLF; `earlier` octets of it by calls before this one.
    TooLong {
        /// See above.
        earlier: u64,
    },
    /// An overlong line without an end in sight.
    Endless {
        /// See above.
        earlier: u64,
    },
    /// The line is not complete.
    Partial,
}

/// Finds lines in an input whose unused end the caller keeps: only new octets are looked at (RFC 5321 2.3.8: CRLF
/// alone ends a line; bare CR and LF are left in the line for the grammar to refuse).
#[derive(Debug, Default)]
pub(crate) struct Framing {
    /// Octets at the front of the input known to hold no CRLF.
    scanned: usize,
    /// Octets already skipped of an overlong line.
    skipped: u64,
}

impl Framing {
    /// The next line; `limit` counts its CRLF (RFC 5321 4.5.3.1.4).
    pub(crate) fn next<'i>(&mut self, input: &mut &'i [u8], limit: usize) -> Framed<'i> {
        while let Some(found) = input.get(self.scanned..).and_then(|rest| memchr(b'\n', rest)) {
            let end = self.scanned + found;
            self.scanned = end + 1;
            if end == 0 || input.get(end - 1) != Some(&b'\r') {
                continue;
            }
            let line = input.get(..end - 1).unwrap_or_default();
            *input = input.get(end + 1..).unwrap_or_default();
            self.scanned = 0;
            let earlier = core::mem::take(&mut self.skipped);
            return if earlier + line.len() as u64 > SKIP_LIMIT {
                Framed::Endless { earlier }
            } else if earlier > 0 || line.len() + 2 > limit {
                Framed::TooLong { earlier }
            } else {
                Framed::Line(line)
            };
        }
        self.scanned = input.len();
        if self.skipped > 0 || input.len() >= limit {
            // A last CR is kept: its LF may be the next octet.
            let keep = usize::from(input.last() == Some(&b'\r'));
            let skip = input.len() - keep;
            let earlier = self.skipped;
            self.skipped += skip as u64;
            *input = input.get(skip..).unwrap_or_default();
            self.scanned = keep;
            if self.skipped > SKIP_LIMIT {
                return Framed::Endless { earlier };
            }
        }
        Framed::Partial
    }
}

#[cfg(test)]
mod tests {
    use super::{Framed, Framing};
    use alloc::vec::Vec;

    fn cut(mut pieces: &[&[u8]], limit: usize) -> (Vec<alloc::string::String>, usize) {
        let (mut framing, mut held, mut seen) = (Framing::default(), Vec::new(), Vec::new());
        while let Some((first, rest)) = pieces.split_first() {
            pieces = rest;
            held.extend_from_slice(first);
            let mut input = &held[..];
            loop {
                match framing.next(&mut input, limit) {
                    Framed::Partial => break,
                    Framed::TooLong { .. } => seen.push("too long".into()),
                    framed => seen.push(alloc::format!("{framed:?}")),
                }
            }
            held = input.to_vec();
        }
        (seen, held.len())
    }

    #[test]
    fn every_split_gives_the_same_lines() {
        let stream = b"NOOP\r\nNO\nOP\r\r\n\r\nthis line is far too long\r\nQUIT\r\nx";
        let (whole, left) = cut(&[stream], 12);
        assert_eq!(whole.len(), 5);
        assert_eq!(left, 1);
        for a in 0..stream.len() {
            for b in a..stream.len() {
                let pieces = [&stream[..a], &stream[a..b], &stream[b..]];
                assert_eq!(cut(&pieces, 12), (whole.clone(), left), "split at {a} and {b}");
            }
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(cut(&bytes, 12), (whole, left));
    }

    #[test]
    fn an_endless_line_is_given_up() {
        let mut framing = Framing::default();
        let block = [b'x'; 4096];
        let mut total = 0;
        loop {
            let mut input = &block[..];
            match framing.next(&mut input, 512) {
                Framed::Partial => total += block.len() - input.len(),
                Framed::Endless { .. } => break,
                other => panic!("{other:?}"),
            }
            assert!(total < 100_000);
        }
        assert!(total > 60_000);
    }
}
