//! Writing text: dots doubled (RFC 5321 4.5.2), nothing bare let out.

use alloc::vec::Vec;

use super::find::{Stop, WALK, stop, walk};
use super::{TextFlaw, append, take};

/// Octets of a line with its dot that a walk finds, at most, and some more.
const SHORT: usize = 8;
const _: () = assert!(WALK + 2 < SHORT);

/// What is done with line ends other than CRLF in a text that is to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Newlines {
    /// They are flaws: a text is sent as it is, or not at all.
    #[default]
    Strict,
    /// A bare CR or a bare LF becomes CRLF. NUL stays a flaw.
    Convert,
}

/// Turns a text into what goes over the wire, in pieces of any size and with the same result whatever the pieces.
///
/// Every line end is CRLF before a dot is doubled, so that what the caller gives can neither end the text nor begin a
/// command (RFC 5321 2.3.8). After a flaw nothing more is let out: close the connection, without
/// [`finish`](Self::finish).
///
/// ```
/// use smtp_proto::text::{Newlines, TextFlaw, Writer};
///
/// let mut wire = Vec::new();
/// let mut writer = Writer::new(Newlines::Strict);
/// writer.write(b"Hello\r\n.world", &mut wire)?;
/// wire.extend_from_slice(writer.finish()?);
/// assert_eq!(wire, b"Hello\r\n..world\r\n.\r\n");
/// # Ok::<(), TextFlaw>(())
/// ```
#[derive(Clone, Debug)]
pub struct Writer {
    newlines: Newlines,
    /// DATA, not BDAT.
    stuffed: bool,
    /// Whether the next octet begins a line.
    line_start: bool,
    /// The last octet given was a CR, which has not gone out.
    cr: bool,
    octets: u64,
    flaw: Option<(TextFlaw, u64)>,
}

impl Writer {
    /// For DATA: dots are doubled, and the end is CRLF . CRLF.
    #[must_use]
    pub const fn new(newlines: Newlines) -> Self {
        Self { newlines, stuffed: true, line_start: true, cr: false, octets: 0, flaw: None }
    }

    /// For BDAT without BINARYMIME (RFC 3030 3): the text is checked, but no dots are doubled and no end is written. A
    /// CR at the end of a piece goes out with the next piece, so count what was written, not what was given.
    #[must_use]
    pub const fn unstuffed(newlines: Newlines) -> Self {
        Self { newlines, stuffed: false, line_start: true, cr: false, octets: 0, flaw: None }
    }

    /// Appends to `out` what `text` becomes.
    ///
    /// # Errors
    /// If the text has a flaw; then and ever after. What comes before it is in `out`.
    pub fn write(&mut self, mut text: &[u8], out: &mut Vec<u8>) -> Result<(), TextFlaw> {
        loop {
            let before = text;
            let Some(slice) = self.next(&mut text)? else { return Ok(()) };
            append(out, slice, before);
            if slice.len() <= SHORT && self.stuffed && !self.line_start && text.first() == Some(&b'.') {
                self.write_short(&mut text, out);
            }
        }
    }

    /// Short lines that begin with dots, one behind the other, from within the first of them: gathered, and appended at once.
    fn write_short(&mut self, text: &mut &[u8], out: &mut Vec<u8>) {
        let (mut gathered, mut filled, mut rest) = ([0; 8 * SHORT], 0, *text);
        while let Err(Stop::Dot(n)) = walk::<true, true>(rest, 0, WALK)
            && let Some(line) = rest.first_chunk::<SHORT>()
            && let Some(room) = gathered.get_mut(filled..).and_then(<[u8]>::first_chunk_mut)
        {
            // More than the line, whose length is no constant; what is too much is written over.
            *room = *line;
            filled += n + 1;
            rest = rest.get(n..).unwrap_or_default();
        }
        out.extend_from_slice(gathered.get(..filled).unwrap_or_default());
        self.take(text, text.len() - rest.len());
    }

    /// The same without a copy, for a driver that writes vectors: takes the next piece off the front of `text`, and
    /// gives the slice to be written for it, which is never empty. `None` when all of `text` is taken. A dot that is
    /// doubled ends one slice, and stays in `text` to begin the next.
    ///
    /// # Errors
    /// If the text, of which the good part has been taken, now begins with a flaw; then and ever after.
    #[inline]
    pub fn next<'t>(&mut self, text: &mut &'t [u8]) -> Result<Option<&'t [u8]>, TextFlaw> {
        // Where dots are dense, most calls end here.
        if self.stuffed
            && !self.line_start
            && !self.cr
            && self.flaw.is_none()
            && let Err(Stop::Dot(n)) = walk::<true, true>(text, 0, WALK)
        {
            return Ok(self.up_to_dot(text, n));
        }
        self.any(text)
    }

    #[inline(never)]
    fn any<'t>(&mut self, text: &mut &'t [u8]) -> Result<Option<&'t [u8]>, TextFlaw> {
        if let Some((flaw, _)) = self.flaw {
            return Err(flaw);
        }
        if self.cr {
            return match **text {
                [] => Ok(None),
                [b'\n', ..] => Ok(Some(self.line_end(text, 1))),
                _ => self.bare(TextFlaw::BareCr, text, 0).map(Some),
            };
        }
        if self.line_start && self.stuffed && text.first() == Some(&b'.') {
            self.line_start = false;
            return Ok(text.get(..1));
        }
        let stop = if self.stuffed { stop::<true, true>(text) } else { stop::<true, false>(text) };
        let n = match stop {
            Stop::End(_) if text.is_empty() => return Ok(None),
            Stop::LastCr(0) => {
                self.take(text, 1);
                self.cr = true;
                return Ok(None);
            }
            Stop::Flaw(flaw, 0) => return self.bare(flaw, text, 1).map(Some),
            Stop::End(line_end) => {
                self.line_start = line_end;
                text.len()
            }
            Stop::Dot(n) => return Ok(self.up_to_dot(text, n)),
            Stop::Flaw(_, n) | Stop::LastCr(n) => {
                self.line_start = false;
                n
            }
        };
        Ok(Some(self.take(text, n)))
    }

    /// What ends the text: `.` CRLF, after a CRLF if the text did not end in one (RFC 5321 4.1.1.4). For BDAT nothing,
    /// for there a text may end without a CRLF.
    ///
    /// # Errors
    /// If the text had a flaw, or its last octet is a CR.
    pub fn finish(self) -> Result<&'static [u8], TextFlaw> {
        match (self.flaw, self.newlines, self.stuffed) {
            (Some((flaw, _)), _, _) => Err(flaw),
            (_, Newlines::Strict, _) if self.cr => Err(TextFlaw::BareCr),
            (_, _, false) if self.cr => Ok(b"\r\n"),
            (_, _, false) => Ok(b""),
            (_, _, true) if self.line_start && !self.cr => Ok(b".\r\n"),
            (_, _, true) => Ok(b"\r\n.\r\n"),
        }
    }

    /// The flaw of the text, and the octets given before it.
    #[must_use]
    pub const fn flaw(&self) -> Option<(TextFlaw, u64)> {
        self.flaw
    }

    /// A flaw at the front of `text`, `n` octets of which are part of it: converted or refused.
    fn bare<'t>(&mut self, flaw: TextFlaw, text: &mut &'t [u8], n: usize) -> Result<&'t [u8], TextFlaw> {
        if self.newlines == Newlines::Convert && flaw != TextFlaw::Nul {
            return Ok(self.line_end(text, n));
        }
        self.flaw = Some((flaw, self.octets - u64::from(self.cr)));
        Err(flaw)
    }

    /// The octets before a dot that begins a line, and the dot; which stays, to go out once more.
    #[inline]
    fn up_to_dot<'t>(&mut self, text: &mut &'t [u8], n: usize) -> Option<&'t [u8]> {
        self.line_start = false;
        let slice = text.get(..=n);
        self.take(text, n);
        slice
    }

    fn line_end(&mut self, text: &mut &[u8], n: usize) -> &'static [u8] {
        self.take(text, n);
        self.cr = false;
        self.line_start = true;
        b"\r\n"
    }

    #[inline]
    fn take<'t>(&mut self, text: &mut &'t [u8], n: usize) -> &'t [u8] {
        self.octets += n as u64;
        take(text, n)
    }
}

#[cfg(test)]
mod tests {
    use super::{Newlines, TextFlaw, Writer};
    use alloc::vec::Vec;

    type Flaw = Option<(TextFlaw, u64)>;

    fn written(mut writer: Writer, pieces: &[&[u8]]) -> (Vec<u8>, Flaw) {
        let mut out = Vec::new();
        for piece in pieces {
            if writer.write(piece, &mut out).is_err() {
                return (out, writer.flaw());
            }
        }
        let octets = pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        match writer.finish() {
            Ok(end) => out.extend_from_slice(end),
            Err(flaw) => return (out, Some((flaw, octets - 1))),
        }
        (out, None)
    }

    /// RFC 5321 4.5.2 and 2.3.8; whole and at every split in two.
    #[test]
    fn what_goes_over_the_wire() {
        let strict = Newlines::Strict;
        let convert = Newlines::Convert;
        let cases: [(&[u8], Newlines, &[u8], Flaw); 24] = [
            (b"", strict, b".\r\n", None),
            (b"a", strict, b"a\r\n.\r\n", None),
            (b"a\r\n", strict, b"a\r\n.\r\n", None),
            (b".", strict, b"..\r\n.\r\n", None),
            (b".\r\n", strict, b"..\r\n.\r\n", None),
            (b"\r\n.\r\n", strict, b"\r\n..\r\n.\r\n", None),
            (b"a.b\r\n.c\r\n..\r\n", strict, b"a.b\r\n..c\r\n...\r\n.\r\n", None),
            (b"a\n.\nb", strict, b"a", Some((TextFlaw::BareLf, 1))),
            (b"\n", strict, b"", Some((TextFlaw::BareLf, 0))),
            (b"a\r.\r\n", strict, b"a", Some((TextFlaw::BareCr, 1))),
            (b"a\r\r\n", strict, b"a", Some((TextFlaw::BareCr, 1))),
            (b"a\r\n\r", strict, b"a\r\n", Some((TextFlaw::BareCr, 3))),
            (b"a\0b", strict, b"a", Some((TextFlaw::Nul, 1))),
            (b"a\r\0", strict, b"a", Some((TextFlaw::BareCr, 1))),
            (b"a\n.\nb", convert, b"a\r\n..\r\nb\r\n.\r\n", None),
            (b"a\r.\rb\r", convert, b"a\r\n..\r\nb\r\n.\r\n", None),
            (b"\r\r\n\n", convert, b"\r\n\r\n\r\n.\r\n", None),
            (b"\r.\r\n.\n", convert, b"\r\n..\r\n..\r\n.\r\n", None),
            (b"\n.\r\n", convert, b"\r\n..\r\n.\r\n", None),
            (b"a\r\0", convert, b"a\r\n", Some((TextFlaw::Nul, 2))),
            (b"\r", strict, b"", Some((TextFlaw::BareCr, 0))),
            (b"\r", convert, b"\r\n.\r\n", None),
            (b".\r\n.", convert, b"..\r\n..\r\n.\r\n", None),
            (b"\n\n.", convert, b"\r\n\r\n..\r\n.\r\n", None),
        ];
        for (text, newlines, wire, flaw) in cases {
            for cut in 0..=text.len() {
                let (a, b) = text.split_at(cut);
                let seen = written(Writer::new(newlines), &[a, b]);
                assert_eq!(seen, (wire.to_vec(), flaw), "{:?} {newlines:?} cut at {cut}", text.escape_ascii());
            }
        }
    }

    /// RFC 3030 2: nothing is special in a chunk; bare CR and LF are as bad there.
    #[test]
    fn chunks_are_checked_and_left_as_they_are() {
        let cases: [(&[u8], Newlines, &[u8], Flaw); 6] = [
            (b"", Newlines::Strict, b"", None),
            (b".\r\n.\r\n..", Newlines::Strict, b".\r\n.\r\n..", None),
            (b"a\r\n.\n", Newlines::Strict, b"a\r\n.", Some((TextFlaw::BareLf, 4))),
            (b"a\r\n\r", Newlines::Strict, b"a\r\n", Some((TextFlaw::BareCr, 3))),
            (b"a\n.\r", Newlines::Convert, b"a\r\n.\r\n", None),
            (b"a\0", Newlines::Convert, b"a", Some((TextFlaw::Nul, 1))),
        ];
        for (text, newlines, wire, flaw) in cases {
            for cut in 0..=text.len() {
                let (a, b) = text.split_at(cut);
                let seen = written(Writer::unstuffed(newlines), &[a, b]);
                assert_eq!(seen, (wire.to_vec(), flaw), "{:?} {newlines:?} cut at {cut}", text.escape_ascii());
            }
        }
    }

    #[test]
    fn nothing_follows_a_flaw() {
        let (mut writer, mut out) = (Writer::new(Newlines::Strict), Vec::new());
        assert_eq!(writer.write(b"a\nb", &mut out), Err(TextFlaw::BareLf));
        assert_eq!(writer.write(b"c", &mut out), Err(TextFlaw::BareLf));
        assert_eq!(out, b"a");
        assert_eq!(writer.finish(), Err(TextFlaw::BareLf));
    }

    /// RFC 5321 4.5.2, where short lines are gathered: any number of them, of any length up to what a walk finds and beyond.
    #[test]
    fn many_short_lines_are_written_as_each_by_itself() {
        for length in 0..12 {
            let lines: Vec<&[u8]> =
                [&b".23456789ab"[..], b".", b"x", b"..", b""].map(|line| &line[..length.min(line.len())]).into();
            for number in 0..40 {
                let (mut text, mut expected) = (Vec::new(), Vec::new());
                // Dots alone, and one line in so many that is another.
                for at in 0..number {
                    let line = if at % 17 == 16 { lines[at % 5] } else { lines[0] };
                    text.extend_from_slice(line);
                    text.extend_from_slice(b"\r\n");
                    expected.extend_from_slice(if line.starts_with(b".") { b"." } else { b"" });
                    expected.extend_from_slice(line);
                    expected.extend_from_slice(b"\r\n");
                }
                for cut in [0, text.len() / 3, text.len().saturating_sub(2), text.len()] {
                    let (mut writer, mut written) = (Writer::new(Newlines::Strict), Vec::new());
                    let (a, b) = text.split_at(cut);
                    writer.write(a, &mut written).expect("good text");
                    writer.write(b, &mut written).expect("good text");
                    assert_eq!(written, expected, "{number} lines of {length}, cut at {cut}");
                    assert_eq!(writer.octets, text.len() as u64);
                }
            }
        }
    }
}
