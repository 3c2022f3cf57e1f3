//! The text of one message as it comes in: what of it may be handed on, and what is wrong with it.

use memchr::memchr_iter;

use super::{FaultKind, Limits};
use crate::text::{Check, Counted, Scanner};
use crate::{Leniencies, Leniency};

/// RFC 5321 4.5.3.1.6.
const LINE: usize = 1000;

/// A text on its way in.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) reader: Reader,
    /// Octets handed on.
    octets: u64,
    /// Octets since progress was last made.
    drip: u64,
    /// Octets of the present line, without those of its end.
    line: usize,
    /// Whether lines over the limit are let pass, and whether one was.
    lets_long: bool,
    long: bool,
    /// The first rule that was broken, and where. Nothing is handed on from there.
    fault: Option<(FaultKind, u64)>,
    /// Where the text began.
    base: u64,
    /// In LMTP, how many recipients have had their answer to it.
    pub(super) answered: u32,
}

/// How the end of the text is known.
#[derive(Debug)]
pub(super) enum Reader {
    /// DATA.
    Lines(Scanner),
    /// BDAT. Without a check the text is BINARYMIME.
    Chunks { chunk: Counted, last: bool, check: Option<Check> },
}

impl Intake {
    pub(super) const fn lines(lenient: Leniencies, base: u64) -> Self {
        Self::new(Reader::Lines(Scanner::new(lenient.text())), lenient, base)
    }

    /// With its first chunk.
    pub(super) fn chunks(lenient: Leniencies, binary: bool, base: u64, octets: u64, last: bool) -> Self {
        let check = if binary { None } else { Some(Check::new(lenient.text())) };
        let reader = Reader::Chunks { chunk: Counted::new(octets), last, check };
        Self::new(reader, lenient, base)
    }

    const fn new(reader: Reader, lenient: Leniencies, base: u64) -> Self {
        let lets_long = lenient.contains(Leniency::LongLines);
        Self { reader, octets: 0, drip: 0, line: 0, lets_long, long: false, fault: None, base, answered: 0 }
    }

    /// The next chunk of the same text.
    pub(super) fn next_chunk(&mut self, octets: u64, is_last: bool) {
        if let Reader::Chunks { chunk, last, .. } = &mut self.reader {
            *chunk = Counted::new(octets);
            *last = is_last;
        }
    }

    /// Octets handed on.
    pub(super) const fn octets(&self) -> u64 {
        self.octets
    }

    /// Where the text began.
    pub(super) const fn base(&self) -> u64 {
        self.base
    }

    /// The first rule that was broken, and where.
    pub(super) const fn fault(&self) -> Option<(FaultKind, u64)> {
        self.fault
    }

    /// Notes a rule that was broken, unless one was before.
    pub(super) fn broken(&mut self, kind: FaultKind, at: u64) {
        self.fault.get_or_insert((kind, at));
    }

    /// Whether a slow drip has come to `most` octets since it last had.
    pub(super) fn progressed(&mut self, octets: u64, most: u64) -> bool {
        self.drip += octets;
        let progressed = self.drip >= most;
        if progressed {
            self.drip = 0;
        }
        progressed
    }

    /// What of the next piece of a text in lines, which came `at` this offset, is handed on: what comes before the
    /// octet that breaks a limit, so that it is the same whatever the reads.
    pub(super) fn admit<'i>(&mut self, piece: &'i [u8], at: u64, limits: &Limits) -> &'i [u8] {
        if let Reader::Lines(scanner) = &self.reader
            && let Some((flaw, offset)) = scanner.refused()
        {
            self.broken(FaultKind::Text(flaw), self.base + offset);
        }
        if self.fault.is_some() {
            return &[];
        }
        let mut admitted = piece.len();
        let room = usize::try_from(limits.message.saturating_sub(self.octets)).unwrap_or(usize::MAX);
        if limits.message != 0 && admitted > room {
            admitted = room;
            self.broken(FaultKind::MessageTooBig, at + room as u64);
        }
        let most = if limits.text_line == 0 && self.lets_long { LINE } else { limits.text_line };
        if most != 0
            && !self.long
            && let Some(long) = self.long_line(piece, most).filter(|long| *long < admitted)
        {
            if self.lets_long {
                self.long = true;
            } else {
                admitted = long;
                self.fault = Some((FaultKind::TextLineTooLong, at + long as u64));
            }
        }
        self.octets += admitted as u64;
        piece.get(..admitted).unwrap_or_default()
    }

    /// What of the next octets of a chunk is handed on; `following` is what is known to come after them in the same
    /// chunk. Their number is within the limit already.
    pub(super) fn admit_chunk<'i>(&mut self, piece: &'i [u8], following: &[u8], at: u64) -> &'i [u8] {
        if self.fault.is_some() {
            return &[];
        }
        let mut admitted = piece.len();
        if let Reader::Chunks { check: Some(check), .. } = &mut self.reader {
            check.see(piece);
            let mut ahead = check.clone();
            if piece.last() == Some(&b'\r') {
                ahead.see(following);
            }
            if let Some((flaw, offset)) = ahead.refused() {
                let before = offset.saturating_sub(self.octets);
                admitted = usize::try_from(before).unwrap_or(0).min(admitted);
                self.fault = Some((FaultKind::Text(flaw), at + before));
            }
        }
        self.octets += admitted as u64;
        piece.get(..admitted).unwrap_or_default()
    }

    /// The end of the text: a CR that ends the last chunk is bare.
    pub(super) fn finish(&mut self, at: u64) {
        match &mut self.reader {
            Reader::Chunks { check: Some(check), .. } => {
                check.end();
                if let Some((flaw, _)) = check.refused() {
                    self.fault.get_or_insert((FaultKind::Text(flaw), at));
                }
            }
            // A flaw in lines was noted with the octets that hold it.
            Reader::Lines(_) | Reader::Chunks { check: None, .. } => {}
        }
    }

    /// What was let pass.
    pub(super) fn used(&self) -> Leniencies {
        let text = match &self.reader {
            Reader::Lines(scanner) => scanner.used().into(),
            Reader::Chunks { check: Some(check), .. } => check.used().into(),
            Reader::Chunks { check: None, .. } => Leniencies::STRICT,
        };
        if self.long { text.with(Leniency::LongLines) } else { text }
    }

    /// Where the first line over the limit breaks it. A line ends at CRLF, which is never in two pieces.
    fn long_line(&mut self, piece: &[u8], most: usize) -> Option<usize> {
        let mut start = 0;
        for end in memchr_iter(b'\n', piece).filter(|end| *end > 0 && piece.get(end - 1) == Some(&b'\r')) {
            let length = self.line + (end - 1 - start);
            if length + 2 > most {
                return Some(start + (most - 2).saturating_sub(self.line));
            }
            self.line = 0;
            start = end + 1;
        }
        let length = self.line + (piece.len() - start);
        if length + 2 > most {
            return Some(start + (most - 2).saturating_sub(self.line));
        }
        self.line = length;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::Intake;
    use crate::Leniencies;
    use crate::server::Limits;
    use alloc::vec::Vec;

    /// RFC 5321 4.5.3.1.6, whatever the pieces.
    #[test]
    fn a_long_line_is_found_at_the_same_octet_in_any_pieces() {
        let limits = Limits { text_line: 6, ..Limits::default() };
        for (text, admitted) in [
            (&b"1234\r\n12\r\n1234"[..], 14),
            (b"12345\r\n", 4),
            (b"1234\r\n12345\r\n", 10),
            (b"1\r\n\r\n\r\n123456", 11),
            (b"", 0),
        ] {
            // CRLF is never in two pieces: that is the scanner's promise.
            let cuts = (0..=text.len()).filter(|cut| text.get(cut - usize::from(*cut > 0)) != Some(&b'\r'));
            for cut in cuts {
                let mut intake = Intake::lines(Leniencies::STRICT, 0);
                let (a, b) = text.split_at(cut);
                let mut seen = Vec::from(intake.admit(a, 0, &limits));
                seen.extend_from_slice(intake.admit(b, cut as u64, &limits));
                assert_eq!(seen, text[..admitted], "{:?} cut at {cut}", text.escape_ascii());
                let fault = (admitted < text.len()).then_some(admitted as u64);
                assert_eq!(intake.fault().map(|(_, at)| at), fault);
            }
        }
    }
}
