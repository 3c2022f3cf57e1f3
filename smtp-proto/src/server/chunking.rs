//! BDAT (RFC 3030): text in chunks, and the octets of chunks that were refused.

use super::intake::{Intake, Reader};
use super::phase::RefusedText;
use super::replies::{self, Fixed};
use super::{Event, Fault, FaultKind, Move, Pending, Session, State};
use crate::syntax::Reply;
use crate::text::{Counted, Scan};
use crate::{Step, Want};

impl Session {
    /// BDAT. Whatever becomes of it, the octets that it announces are its own, and never commands.
    pub(super) fn bdat<'i>(
        &mut self,
        octets: u64,
        last: bool,
        start: u64,
        input: &mut &'i [u8],
    ) -> Option<Step<Event<'i>>> {
        if octets > 0 {
            self.idle_commands = 0;
        }
        let limit = self.config.limits.message;
        let text = self.text.as_deref_mut().filter(|_| self.state == State::Chunks);
        let before = text.as_ref().map_or(0, |text| text.octets());
        if limit != 0 && octets > limit - before.min(limit) {
            // RFC 1870 6.2 and RFC 3030 2: refused, and then so is the message.
            for _ in 1..if last { self.answers_to_text() } else { 1 } {
                self.output.hold();
                self.reply(&replies::TOO_BIG);
            }
            return self.refuse_chunk(octets, FaultKind::MessageTooBig, start, &replies::TOO_BIG, true, input);
        }
        if let Some(text) = text {
            text.next_chunk(octets, last);
            self.go(Move::Bdat);
            return None;
        }
        self.begin_text(Intake::chunks(self.config.lenient, self.phase.binary, self.offset, octets, last));
        Some(Step::Event(Event::Data(self.ticket(Pending::Bdat))))
    }

    /// A BDAT that is refused: its reply waits until its octets have been thrown away (RFC 3030 2).
    pub(super) fn refuse_chunk<'i>(
        &mut self,
        octets: u64,
        kind: FaultKind,
        start: u64,
        reply: &Fixed,
        failed: bool,
        input: &mut &'i [u8],
    ) -> Option<Step<Event<'i>>> {
        if octets > self.config.limits.discard.saturating_sub(self.discarded()) {
            self.output.withdraw();
            return self.fatal(input, FaultKind::TooMuchDiscarded, start, &replies::TOO_MUCH_DISCARDED);
        }
        if failed {
            self.go(Move::TextRefused);
            self.due.reset();
        }
        self.output.hold();
        self.fault(kind, start, Some(reply));
        self.discard(octets);
        None
    }

    /// The application will not have the text: the chunk is thrown away, the transaction is over.
    pub(super) fn refuse_first_chunk(&mut self, reply: &Reply<'_>) {
        let Some(text) = &self.text else { return };
        let Reader::Chunks { chunk, last, .. } = &text.reader else { return };
        let (octets, last, base) = (chunk.left(), *last, text.base());
        self.output.hold();
        for _ in 0..if last { self.answers_to_text() } else { 1 } {
            replies::write(reply, self.output.tail(), self.config.has_enhanced_codes());
        }
        self.go(Move::TextRefused);
        self.due.reset();
        if octets > self.config.limits.discard.saturating_sub(self.discarded()) {
            self.last_words(&replies::TOO_MUCH_DISCARDED);
            let fault =
                Fault { kind: FaultKind::TooMuchDiscarded, offset: base, code: replies::TOO_MUCH_DISCARDED.code() };
            self.due.fault(fault);
            self.close(super::EndKind::Fault(FaultKind::TooMuchDiscarded));
            return;
        }
        self.discard(octets);
    }

    fn discard(&mut self, octets: u64) {
        self.throw_away(octets);
        if octets == 0 || self.state == State::Closed {
            self.output.show();
            return;
        }
        self.begin_text(Intake::chunks(self.config.lenient, true, self.offset, octets, false));
        self.phase.refused = RefusedText::Chunk;
    }

    pub(super) fn step_discard<'i>(&mut self, input: &mut &'i [u8]) -> Option<Step<Event<'i>>> {
        match self.next_octets(input) {
            Scan::Need => return Some(Step::Want(Want::Input)),
            Scan::Chunk(_) => {}
            Scan::End => {
                self.phase.refused = RefusedText::None;
                self.progress += 1;
                self.output.show();
            }
        }
        None
    }

    pub(super) fn step_chunk<'i>(&mut self, input: &mut &'i [u8]) -> Option<Step<Event<'i>>> {
        if self.discarded() > self.config.limits.discard {
            return self.too_much_discarded(input);
        }
        match self.next_octets(input) {
            Scan::Need => Some(Step::Want(Want::Input)),
            Scan::Chunk(piece) => {
                let Some(text) = &mut self.text else { return self.no_text(input) };
                let following = match &text.reader {
                    Reader::Chunks { chunk, .. } if chunk.left() > 0 => input.get(..1).unwrap_or_default(),
                    _ => &[],
                };
                let admitted = text.admit_chunk(piece, following, self.offset - piece.len() as u64);
                self.throw_away((piece.len() - admitted.len()) as u64);
                if admitted.is_empty() { None } else { Some(Step::Event(Event::Chunk(admitted))) }
            }
            Scan::End => {
                self.progress += 1;
                let Some(text) = &self.text else { return self.no_text(input) };
                if matches!(text.reader, Reader::Chunks { last: true, .. }) {
                    self.text_end();
                } else if let Some((kind, offset)) = text.fault() {
                    self.go(Move::TextRefused);
                    self.fault(kind, offset, Some(&replies::BAD_TEXT));
                    self.due.reset();
                } else {
                    self.go(Move::ChunkEnd);
                    self.reply(&replies::CHUNK_OK);
                }
                None
            }
        }
    }

    /// The next octets of the chunk.
    fn next_octets<'i>(&mut self, input: &mut &'i [u8]) -> Scan<'i> {
        let Some(text) = &mut self.text else { return no_chunk() };
        let Reader::Chunks { chunk, check, .. } = &mut text.reader else { return no_chunk() };
        let scan = next_octets(chunk, check.is_some(), input);
        if let Scan::Chunk(piece) = scan {
            self.offset += piece.len() as u64;
            if text.progressed(piece.len() as u64, self.config.timeouts.text_octets) {
                self.progress += 1;
            }
        }
        scan
    }
}

/// What the table of states keeps from happening.
fn no_chunk() -> Scan<'static> {
    debug_assert!(false, "a chunk is counted");
    Scan::End
}

/// Where CR and LF matter, a CR stays in the input until its LF has come, so that what is handed on does not depend on
/// the reads; unless the chunk ends with it.
fn next_octets<'i>(chunk: &mut Counted, lines: bool, input: &mut &'i [u8]) -> Scan<'i> {
    match input.split_last() {
        Some((b'\r', before)) if lines && chunk.left() > input.len() as u64 => {
            let mut before = before;
            let scan = chunk.next(&mut before);
            if let Scan::Chunk(piece) = scan {
                *input = input.get(piece.len()..).unwrap_or_default();
            }
            scan
        }
        _ => chunk.next(input),
    }
}
