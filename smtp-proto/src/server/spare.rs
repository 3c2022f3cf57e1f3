//! Memory that is needed for a moment, and that sessions lend each other.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::intake::Intake;
use super::phase::RefusedText;
use super::{Pending, Session, State};

/// Memory that the sessions of a driver lend each other, where one thread drives many: a session that waits holds none then,
/// and one that has something to say need not ask the allocator for it.
///
/// ```
/// use smtp_proto::server::{Session, Spare};
///
/// fn turn(session: &mut Session, spare: &mut Spare) {
///     session.lend(spare);
///     // step, write out, read
///     session.release_to(spare);
/// }
/// # let _ = turn;
/// ```
#[derive(Debug, Default)]
pub struct Spare {
    output: Vec<u8>,
    text: Option<Box<Intake>>,
}

impl Session {
    /// Lends the session what `spare` has, as far as it has no such memory itself. [`release_to`](Self::release_to) gives
    /// it back.
    pub fn lend(&mut self, spare: &mut Spare) {
        self.output.lend(&mut spare.output);
        if self.text.is_none() {
            self.text = spare.text.take();
        }
    }

    /// Gives back the memory of output and text when nothing is in it. For sessions that wait long.
    pub fn release(&mut self) {
        self.release_to(&mut Spare::default());
    }

    /// The same, into `spare`, for the session that has its turn next.
    pub fn release_to(&mut self, spare: &mut Spare) {
        self.output.release_to(&mut spare.output);
        self.due.release();
        if self.text.is_some() && !self.is_in_text() {
            spare.text = self.text.take();
        }
    }

    /// A text begins: what is known of it is written over what was known of the last.
    pub(super) fn begin_text(&mut self, text: Intake) {
        match &mut self.text {
            Some(last) => **last = text,
            none => *none = Some(Box::new(text)),
        }
    }

    /// Whether what is known of the text is still asked for.
    fn is_in_text(&self) -> bool {
        matches!(self.state, State::Data | State::Chunk | State::Chunks | State::Message)
            || self.pending == Some(Pending::Bdat)
            || self.phase.refused == RefusedText::Chunk
    }
}
