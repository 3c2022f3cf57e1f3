//! Command lines: cut at CRLF and nowhere else, bounded, scanned once.

use crate::line_end::line_end;

/// How much of an overlong line is skipped before the session gives up on it.
const SKIP_LIMIT: u64 = 64 << 10;

/// What the input begins with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Framed<'i> {
    /// A line, without its CRLF; taken off the input.
    Line(&'i [u8]),
    /// The same for a line that ended in LF alone, where a leniency allows that.
    LfLine(&'i [u8]),
    /// A line up to a bare LF in it, and with it: to be refused at once. The rest, up to its CRLF, is skipped.
    BareLf(&'i [u8]),
    /// A second bare LF in a line that was refused for its first: a peer that does not end lines in CRLF.
    BareLfAgain,
    /// The rest of a line that was refused has been taken off.
    Skipped,
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
/// alone ends a line; bare CR is left in the line for the grammar to refuse).
///
/// A peer that ends its lines in LF waits for an answer after each. So a bare LF is told at once, and a second one ends
/// all doubt. Where LF may end lines, the first line decides whether it does: for a peer that knows CRLF a bare LF in a
/// later line is no end, and cannot make two commands of one.
#[derive(Debug, Default)]
pub(crate) struct Framing {
    /// Octets at the front of the input known to hold no end of a line.
    scanned: usize,
    /// Octets already skipped of a line that is overlong, or has been refused.
    skipped: u32,
    /// The line that is skipped has been refused for a bare LF.
    refused: bool,
    ends: Ends,
}

/// How the peer ends its lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Ends {
    /// Its first line has not ended.
    #[default]
    Unknown,
    CrLf,
    Lf,
}

impl Framing {
    /// Whether what comes next is the rest of a line of which no more is looked at.
    pub(crate) const fn is_skipping(&self) -> bool {
        self.skipped > 0
    }

    /// The next line where nothing is peculiar about it, which is most lines: it lies there whole, ends as those before it in
    /// CRLF, and is within the least `limit` that there is, which counts its CRLF. Otherwise nothing, and nothing has changed.
    #[inline]
    pub(crate) fn usual<'i>(&self, input: &mut &'i [u8], limit: usize) -> Option<&'i [u8]> {
        if self.scanned > 0 || self.skipped > 0 || self.ends != Ends::CrLf {
            return None;
        }
        let (line, rest) = input.split_at_checked(line_end(input)? + 1)?;
        let [content @ .., b'\r', b'\n'] = line else { return None };
        if line.len() > limit || limit as u64 > SKIP_LIMIT {
            return None;
        }
        *input = rest;
        Some(content)
    }

    /// The next line; `limit` counts its CRLF (RFC 5321 4.5.3.1.4). `lf`: LF alone may end it.
    pub(crate) fn next<'i>(&mut self, input: &mut &'i [u8], limit: usize, lf: bool) -> Framed<'i> {
        while let Some(found) = input.get(self.scanned..).and_then(line_end) {
            let end = self.scanned + found;
            self.scanned = end + 1;
            let bare = end == 0 || input.get(end - 1) != Some(&b'\r');
            if bare && !(lf && self.ends != Ends::CrLf) {
                // Beyond the limit the line is refused at its end, as too long.
                if !self.refused && (self.skipped > 0 || end >= limit) {
                    continue;
                }
                let line = self.take(input, end + 1);
                if self.refused {
                    return Framed::BareLfAgain;
                }
                self.refused = true;
                self.skipped = count(line.len());
                return Framed::BareLf(line);
            }
            if self.ends == Ends::Unknown {
                self.ends = if bare { Ends::Lf } else { Ends::CrLf };
            }
            let ending = if bare { 1 } else { 2 };
            let line = self.take(input, end + 1);
            let line = line.get(..line.len() - ending).unwrap_or_default();
            let earlier = u64::from(core::mem::take(&mut self.skipped));
            let refused = core::mem::take(&mut self.refused);
            return if earlier + line.len() as u64 > SKIP_LIMIT {
                Framed::Endless { earlier }
            } else if refused {
                Framed::Skipped
            } else if earlier > 0 || line.len() + ending > limit {
                Framed::TooLong { earlier }
            } else if bare {
                Framed::LfLine(line)
            } else {
                Framed::Line(line)
            };
        }
        self.scanned = input.len();
        if self.skipped > 0 || input.len() >= limit {
            // A last CR is kept: its LF may be the next octet.
            let keep = usize::from(input.last() == Some(&b'\r'));
            let skip = input.len() - keep;
            let earlier = u64::from(self.skipped);
            self.skipped = self.skipped.saturating_add(count(skip));
            *input = input.get(skip..).unwrap_or_default();
            self.scanned = keep;
            if u64::from(self.skipped) > SKIP_LIMIT {
                return Framed::Endless { earlier };
            }
        }
        Framed::Partial
    }

    /// Takes so many octets off the front of the input.
    fn take<'i>(&mut self, input: &mut &'i [u8], n: usize) -> &'i [u8] {
        let (taken, rest) = input.split_at_checked(n).unwrap_or((input, &[]));
        *input = rest;
        self.scanned = 0;
        taken
    }
}

/// Octets that are skipped: a session does not outlive more of them than there are numbers here.
fn count(octets: usize) -> u32 {
    u32::try_from(octets).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Framed, Framing};
    use alloc::vec::Vec;

    fn cut(mut pieces: &[&[u8]], limit: usize, lf: bool) -> (Vec<alloc::string::String>, usize) {
        let (mut framing, mut held, mut seen) = (Framing::default(), Vec::new(), Vec::new());
        while let Some((first, rest)) = pieces.split_first() {
            pieces = rest;
            held.extend_from_slice(first);
            let mut input = &held[..];
            loop {
                let framed = match framing.usual(&mut input, limit) {
                    Some(line) => Framed::Line(line),
                    None => framing.next(&mut input, limit, lf),
                };
                match framed {
                    Framed::Partial => break,
                    Framed::Skipped => {}
                    Framed::TooLong { .. } => seen.push("too long".into()),
                    framed => seen.push(alloc::format!("{framed:?}")),
                }
            }
            held = input.to_vec();
        }
        (seen, held.len())
    }

    fn at_every_split(stream: &[u8], lf: bool) -> (Vec<alloc::string::String>, usize) {
        let whole = cut(&[stream], 12, lf);
        for a in 0..stream.len() {
            for b in a..stream.len() {
                let pieces = [&stream[..a], &stream[a..b], &stream[b..]];
                assert_eq!(cut(&pieces, 12, lf), whole, "split at {a} and {b}");
            }
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(cut(&bytes, 12, lf), whole);
        whole
    }

    #[test]
    fn every_split_gives_the_same_lines() {
        let stream = b"NOOP\r\nNO\nOP\r\r\n\r\nthis line is far too long\r\nQUIT\r\nx";
        for lf in [false, true] {
            let (whole, left) = at_every_split(stream, lf);
            assert_eq!((whole.len(), left), (5, 1), "{whole:?}");
        }
    }

    /// RFC 5321 2.3.8. A line is answered once: at its first bare LF; at a second one the session is to end.
    #[test]
    fn a_bare_lf_is_told_at_once_and_once_a_line() {
        for (stream, expected) in [
            (&b"HELO a\n"[..], &["BareLf([72, 69, 76, 79, 32, 97, 10])"][..]),
            (b"a\nb\r\nc\r\n", &["BareLf([97, 10])", "Line([99])"]),
            (b"a\nb\nc\r\n", &["BareLf([97, 10])", "BareLfAgain"]),
            (b"\n\r\nc\r\n", &["BareLf([10])", "Line([99])"]),
            (b"this line is\n too long\n\r\n", &["too long"]),
            (b"this line i\ns\r\n", &["BareLf([116, 104, 105, 115, 32, 108, 105, 110, 101, 32, 105, 10])"]),
        ] {
            let (seen, _) = at_every_split(stream, false);
            assert!(seen.iter().zip(expected).all(|(seen, expected)| seen == expected), "{seen:?}");
            assert!(seen.len() >= expected.len());
        }
    }

    /// Where LF is let pass, the first line decides for all.
    #[test]
    fn the_first_line_decides_how_lines_end() {
        for (stream, expected) in [
            (&b"a\nb\r\nc\n\n"[..], &["LfLine([97])", "Line([98])", "LfLine([99])", "LfLine([])"][..]),
            (b"a\r\nb\nc\r\nd\r\n", &["Line([97])", "BareLf([98, 10])", "Line([100])"]),
            (b"this line is far too long\na\n", &["too long", "LfLine([97])"]),
        ] {
            assert_eq!(at_every_split(stream, true).0, expected);
        }
    }

    /// Also within a limit that is higher, and where the line lies there whole.
    #[test]
    fn a_line_of_more_than_is_skipped_is_endless() {
        let stream = [b"NOOP\r\n", &[b'x'; 70_000][..], b"\r\n"].concat();
        let (seen, left) = cut(&[&stream], 100_000, false);
        assert_eq!((seen.len(), left), (2, 0));
        assert_eq!(seen, ["Line([78, 79, 79, 80])", "Endless { earlier: 0 }"]);
    }

    #[test]
    fn an_endless_line_is_given_up() {
        let mut framing = Framing::default();
        let block = [b'x'; 4096];
        let mut total = 0;
        loop {
            let mut input = &block[..];
            match framing.next(&mut input, 512, false) {
                Framed::Partial => total += block.len() - input.len(),
                Framed::Endless { .. } => break,
                other => panic!("{other:?}"),
            }
            assert!(total < 100_000);
        }
        assert!(total > 60_000);
    }
}
