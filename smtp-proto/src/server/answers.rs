//! What the application's answers do; and the small things that everything in a session is made of.

use alloc::sync::Arc;

use super::auth::Authentication;
use super::ehlo::Audience;
use super::intake::Intake;
use super::replies::{self, Fixed};
use super::{End, Event, Fault, FaultKind, Move, Pending, Role, Session, State, Ticket};
use crate::Step;
use crate::syntax::{Reply, SyntaxError};

impl Session {
    pub(super) fn accept(&mut self, pending: Pending, words: Option<&str>) {
        match pending {
            Pending::Connect => {
                self.go(Move::Greet);
                let lmtp = self.config.role == Role::Lmtp;
                replies::greeting(&mut self.output, &self.config.hostname, lmtp, words);
            }
            Pending::Hello { extended } => {
                // RFC 5321 4.1.4: EHLO clears what was begun.
                if self.in_transaction() {
                    self.due.reset();
                }
                self.go(Move::Hello);
                self.forget_transaction();
                self.flags.extended = extended;
                self.names.drain(..self.hello);
                self.hello = self.names.len();
                if extended {
                    let audience = self.audience();
                    self.config.write_ehlo(&mut self.output, audience, words);
                } else {
                    replies::helo(&mut self.output, &self.config.hostname, words);
                }
            }
            Pending::StartTls => {
                self.go(Move::StartTls);
                self.reply_in(words, &replies::READY_FOR_TLS);
            }
            Pending::Mail { utf8, binary } => {
                self.go(Move::Mail);
                self.flags.utf8 = utf8;
                self.flags.binary = binary;
                self.recipients = 0;
                self.transactions += 1;
                self.reply_in(words, &replies::SENDER_OK);
            }
            Pending::Rcpt => {
                self.go(Move::Rcpt);
                self.recipients += 1;
                self.idle_commands = 0;
                self.reply_in(words, &replies::RECIPIENT_OK);
            }
            Pending::Data => {
                self.go(Move::Data);
                self.text = Intake::lines(self.config.lenient, self.offset);
                self.reply_in(words, &replies::SEND_TEXT);
            }
            Pending::Bdat => self.go(Move::Bdat),
            Pending::Xclient => {
                self.go(Move::Xclient);
                self.begin_anew();
                if let Some(rare) = &mut self.rare {
                    rare.client = rare.claimed.take().or(rare.client);
                }
                let lmtp = self.config.role == Role::Lmtp;
                replies::greeting(&mut self.output, &self.config.hostname, lmtp, words);
            }
            Pending::Command(verb) => self.housekeeping(verb, words),
            Pending::Xforward => {
                self.go(Move::Xforward);
                self.reply_in(words, &replies::OK);
            }
            // Has tickets of its own kind, and does not come here.
            Pending::Auth => self.misused(),
            Pending::Message => {
                self.reply_in(words, &replies::MESSAGE_OK);
                self.delivered();
            }
        }
    }

    /// Accepts in the reply of another server's.
    pub(super) fn accept_as(&mut self, pending: Pending, reply: &Reply<'_>) {
        let start = self.output.len();
        let own_code = matches!(pending, Pending::Mail { .. } | Pending::Rcpt | Pending::Message);
        self.accept(pending, Some(reply.text()));
        // RFC 5321 4.3.2: these may be answered 251 or 252 as well as 250.
        if own_code && matches!(reply.code(), 200..=299) {
            self.output.truncate(start);
            replies::write(reply, &mut self.output, self.config.has_enhanced_codes());
        }
    }

    pub(super) fn refuse(&mut self, pending: Pending, reply: &Reply<'_>) {
        const LOCAL_ERROR: Reply<'static> = Reply::fixed(451, (4, 3, 0), "Local error; try again later");
        let reply = if matches!(reply.code(), 400..=599) { reply } else { &LOCAL_ERROR };
        let last = pending == Pending::Connect || reply.code() == 421;
        if pending == Pending::Bdat && !last {
            self.refuse_first_chunk(reply);
            return;
        }
        replies::write(reply, &mut self.output, self.config.has_enhanced_codes());
        match pending {
            Pending::Hello { .. } => self.names.truncate(self.hello),
            Pending::Data => self.flags.data_refused = true,
            Pending::Message => self.delivered(),
            _ => {}
        }
        if last {
            self.close(End::Refused);
        }
    }

    /// The message was accepted or refused: for all, or in LMTP for one more of its recipients (RFC 2033 4.2).
    fn delivered(&mut self) {
        self.answered += 1;
        if self.config.role != Role::Lmtp || self.answered >= self.recipients {
            self.go(Move::Delivered);
            self.forget_transaction();
            // Told for every end of a transaction, so that no envelope runs into the next.
            self.due.reset();
        }
    }

    /// The envelope is gone.
    pub(super) fn forget_transaction(&mut self) {
        self.recipients = 0;
        self.surplus = 0;
        self.flags.utf8 = false;
        self.flags.binary = false;
    }

    /// The client is a new one, or the same behind TLS: what was learnt of it is forgotten (RFC 3207 4.2). What
    /// restricts it stays.
    pub(super) fn begin_anew(&mut self) {
        self.names.clear();
        self.hello = 0;
        self.forget_transaction();
        if let Some(rare) = &mut self.rare {
            rare.authentication = Authentication::default();
        }
        self.flags.extended = false;
        self.flags.trusted = false;
        self.flags.data_refused = false;
        self.flags.must_wait = false;
        self.flags.pipelining_reported = false;
    }

    pub(super) fn audience(&self) -> Audience {
        Audience { tls: self.tls.is_some(), trusted: self.flags.trusted, mechanisms: self.mechanisms() }
    }

    // ---- the small things

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
            self.close(End::Fault(FaultKind::TooManyFaults));
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
        self.end(input, End::Fault(kind), reply)
    }

    pub(super) fn end<'i>(&mut self, input: &mut &'i [u8], end: End, reply: &Fixed) -> Option<Step<Event<'i>>> {
        *input = &[];
        self.last_words(reply);
        self.close(end);
        None
    }

    pub(super) fn close(&mut self, end: End) {
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
            self.close(End::Fault(FaultKind::ForeignTicket));
        }
    }
}
