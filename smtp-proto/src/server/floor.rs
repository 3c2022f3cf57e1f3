//! What the other files of a session share: the one place that assigns the state, replies, faults, the end.

use super::phase::RefusedText;
use super::replies::{self, Fixed};
use super::{EndKind, Event, Fault, FaultKind, Move, Pending, Session, State, Ticket};
use crate::Step;
use crate::syntax::{Reply, SyntaxError};

impl Session {
    pub(super) fn ticket(&mut self, pending: Pending) -> Ticket {
        self.pending = Some(pending);
        Ticket(self.tickets.issue(&self.config))
    }

    /// Which command a ticket stands for, if it is the one that is out.
    pub(super) fn redeem(&mut self, Ticket(stamp): &Ticket) -> Option<Pending> {
        let ours = self.tickets.is_latest(stamp, &self.config);
        let pending = self.pending.take_if(|_| ours);
        // From its answer on it is the peer's turn: a new period begins, the one behind the greeting among them.
        self.progress += u64::from(pending.is_some());
        pending
    }

    /// The only place where the state is assigned.
    pub(super) fn go(&mut self, by: Move) {
        match self.state.after(by) {
            Some(next) => self.state = next,
            None => debug_assert!(false, "{:?} in {:?} has no row in the table", by, self.state),
        }
    }

    pub(super) fn reply(&mut self, reply: &Fixed) {
        reply.write(self.output.tail(), self.config.has_enhanced_codes());
    }

    pub(super) fn reply_in(&mut self, words: Option<&str>, usual: &Fixed) {
        match words {
            None => self.reply(usual),
            Some(words) => usual.write_in(words, self.output.tail(), self.config.has_enhanced_codes()),
        }
    }

    /// The last reply of a session, in place of one that was held back.
    pub(super) fn last_words(&mut self, reply: &Fixed) {
        self.output.withdraw();
        self.reply(reply);
    }

    /// A fault that counts.
    pub(super) fn fault(&mut self, kind: FaultKind, offset: u64, reply: Option<&Fixed>) {
        if let Some(reply) = reply {
            self.reply(reply);
        }
        self.count_fault(Fault { kind, offset, code: reply.map_or(0, Fixed::code) });
    }

    /// A line that is no command, answered in the grammar's words.
    pub(super) fn syntax_fault(&mut self, error: &SyntaxError, kind: FaultKind, offset: u64) {
        let code = error.code();
        if let Ok(reply) = Reply::new(code, Some(error.enhanced()), error.text()) {
            replies::write(&reply, self.output.tail(), self.config.has_enhanced_codes());
        }
        self.count_fault(Fault { kind, offset, code });
    }

    fn count_fault(&mut self, fault: Fault) {
        self.due.fault(fault);
        self.faults += 1;
        if self.faults > self.config.limits.faults && self.state != State::Closed {
            self.last_words(&replies::TOO_MANY_FAULTS);
            let code = replies::TOO_MANY_FAULTS.code();
            self.due.fault(Fault { kind: FaultKind::TooManyFaults, offset: fault.offset, code });
            self.close(EndKind::Fault(FaultKind::TooManyFaults));
        }
    }

    /// A refusal that is told, and does not count as a fault: honest clients learn a rule this way.
    pub(super) fn refuse_rule(&mut self, kind: FaultKind, offset: u64, reply: &Fixed) {
        self.reply(reply);
        self.due.fault(Fault { kind, offset, code: reply.code() });
    }

    /// A fault that ends the session.
    pub(super) fn fatal<'i>(
        &mut self,
        input: &mut &'i [u8],
        kind: FaultKind,
        offset: u64,
        reply: &Fixed,
    ) -> Option<Step<Event<'i>>> {
        self.due.fault(Fault { kind, offset, code: reply.code() });
        self.end(input, EndKind::Fault(kind), reply)
    }

    pub(super) fn end<'i>(&mut self, input: &mut &'i [u8], end: EndKind, reply: &Fixed) -> Option<Step<Event<'i>>> {
        *input = &[];
        self.last_words(reply);
        self.close(end);
        None
    }

    pub(super) fn close(&mut self, end: EndKind) {
        if self.state == State::Closed {
            return;
        }
        self.output.withdraw();
        self.phase.refused = RefusedText::None;
        self.go(Move::End);
        self.pending = None;
        self.due.end(end);
    }

    pub(super) fn misused(&mut self) {
        if self.state != State::Closed {
            self.last_words(&replies::LOCAL_ERROR_CLOSING);
            let code = replies::LOCAL_ERROR_CLOSING.code();
            self.due.fault(Fault { kind: FaultKind::ForeignTicket, offset: self.offset, code });
            self.close(EndKind::Fault(FaultKind::ForeignTicket));
        }
    }
}
