//! What the other files of a session share: tickets, the one place that assigns the state, replies, faults, the end.

use alloc::sync::Arc;

use super::replies::{self, Fixed};
use super::{EndKind, Event, Fault, FaultKind, Move, Pending, Session, State, Ticket};
use crate::Step;
use crate::syntax::{Reply, SyntaxError};

impl Session {
    pub(super) fn ticket(&mut self, pending: Pending) -> Ticket {
        self.pending = Some(pending);
        self.serial += 1;
        Ticket { config: self.config_id(), session: self.id, serial: self.serial }
    }

    /// Which command a ticket stands for, if it is the one that is out.
    pub(super) fn redeem(&mut self, ticket: &Ticket) -> Option<Pending> {
        let ours = ticket.config == self.config_id() && ticket.session == self.id && ticket.serial == self.serial;
        let pending = self.pending.take_if(|_| ours);
        // From its answer on it is the peer's turn: a new period begins, the one behind the greeting among them.
        self.progress += u64::from(pending.is_some());
        pending
    }

    /// The address of the shared configuration: unique among those in use, as this session keeps it alive.
    pub(super) fn config_id(&self) -> usize {
        Arc::as_ptr(&self.config).addr()
    }

    /// The only place where the state is assigned.
    pub(super) fn go(&mut self, by: Move) {
        match self.state.after(by) {
            Some(next) => self.state = next,
            None => debug_assert!(false, "{:?} in {:?} has no row in the table", by, self.state),
        }
    }

    pub(super) fn reply(&mut self, reply: &Fixed) {
        reply.write(&mut self.output, self.config.has_enhanced_codes());
    }

    pub(super) fn reply_in(&mut self, words: Option<&str>, usual: &Fixed) {
        match words {
            None => self.reply(usual),
            Some(words) => usual.write_in(words, &mut self.output, self.config.has_enhanced_codes()),
        }
    }

    /// What is written from here on is not to be seen yet.
    pub(super) fn replies_held(&mut self) {
        self.visible = self.visible.min(self.output.len());
    }

    pub(super) fn replies_shown(&mut self) {
        self.visible = usize::MAX;
    }

    /// What was not to be seen yet never will be.
    pub(super) fn replies_withdrawn(&mut self) {
        self.output.truncate(self.visible);
        self.visible = usize::MAX;
    }

    /// The last reply of a session, in place of one that was held back.
    pub(super) fn last_words(&mut self, reply: &Fixed) {
        self.replies_withdrawn();
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
            replies::write(&reply, &mut self.output, self.config.has_enhanced_codes());
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
        self.replies_withdrawn();
        self.flags.discarding = false;
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
