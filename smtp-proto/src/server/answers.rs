//! What the application's answers do; and the small things that everything in a session is made of.

use alloc::sync::Arc;

use super::{Event, Fault, FaultKind, Move, Pending, Reason, Session, State, Ticket, replies};
use crate::Step;
use crate::syntax::Reply;
use crate::text::Scanner;

impl Session {
    pub(super) fn accept(&mut self, pending: Pending, words: Option<&str>) {
        match pending {
            Pending::Connect => {
                self.go(Move::Greet);
                replies::greeting(&mut self.output, &self.config.hostname, words);
            }
            Pending::Hello { extended } => {
                // RFC 5321 4.1.4: EHLO clears what was begun.
                self.due.reset = self.in_transaction();
                self.go(Move::Hello);
                self.recipients = 0;
                self.extended = extended;
                core::mem::swap(&mut self.hello, &mut self.candidate);
                if extended {
                    replies::ehlo(&mut self.output, &self.config, self.tls.is_none(), words);
                } else {
                    replies::helo(&mut self.output, &self.config.hostname, words);
                }
            }
            Pending::StartTls => {
                self.go(Move::StartTls);
                self.reply_in(words, &replies::READY_FOR_TLS);
                self.progress += 1;
            }
            Pending::Mail => {
                self.go(Move::Mail);
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
                self.text = Scanner::new(self.config.text);
                self.text_octets = 0;
                self.text_drip = 0;
                self.text_base = self.offset;
                self.reply_in(words, &replies::SEND_TEXT);
                self.progress += 1;
            }
            Pending::Message => {
                self.go(Move::Delivered);
                self.reply_in(words, &replies::MESSAGE_OK);
            }
        }
    }

    pub(super) fn refuse(&mut self, pending: Pending, reply: Reply<'_>) {
        let reply = if matches!(reply.code(), 400..=599) { reply } else { replies::LOCAL_ERROR };
        self.reply(&reply);
        if pending == Pending::Message {
            self.go(Move::Delivered);
        }
        if pending == Pending::Connect || reply.code() == 421 {
            self.close(Reason::Refused);
        }
    }

    pub(super) fn ticket(&mut self, pending: Pending) -> Ticket {
        self.pending = Some(pending);
        self.serial += 1;
        Ticket { config: self.config_id(), session: self.id, serial: self.serial }
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

    pub(super) fn reply(&mut self, reply: &Reply<'_>) {
        reply.write(&mut self.output);
    }

    pub(super) fn reply_in(&mut self, words: Option<&str>, usual: &Reply<'_>) {
        match words {
            None => usual.write(&mut self.output),
            Some(words) => replies::in_words(&mut self.output, usual, words),
        }
    }

    pub(super) fn fault(&mut self, kind: FaultKind, offset: u64, reply: Option<&Reply<'_>>) {
        if let Some(reply) = reply {
            self.reply(reply);
        }
        self.due.fault = Some(Fault { kind, offset, code: reply.map_or(0, Reply::code) });
        self.faults += 1;
        if self.faults > self.config.limits.faults && self.state.after(Move::End).is_some() {
            self.reply(&replies::TOO_MANY_FAULTS);
            self.due.too_many = Some(Fault { kind: FaultKind::TooManyFaults, offset, code: 421 });
            self.close(Reason::Fault(FaultKind::TooManyFaults));
        }
    }

    /// A fault that ends the session.
    pub(super) fn fatal<'i>(
        &mut self,
        input: &mut &'i [u8],
        kind: FaultKind,
        offset: u64,
        reply: &Reply<'_>,
    ) -> Option<Step<Event<'i>>> {
        *input = &[];
        self.reply(reply);
        self.due.fault = Some(Fault { kind, offset, code: reply.code() });
        self.close(Reason::Fault(kind));
        None
    }

    pub(super) fn end<'i>(
        &mut self,
        input: &mut &'i [u8],
        reason: Reason,
        reply: &Reply<'_>,
    ) -> Option<Step<Event<'i>>> {
        *input = &[];
        self.reply(reply);
        self.close(reason);
        None
    }

    pub(super) fn close(&mut self, reason: Reason) {
        if self.state == State::Closed {
            return;
        }
        self.go(Move::End);
        self.pending = None;
        self.due.closed = Some(reason);
    }

    pub(super) fn misused(&mut self) {
        if self.state != State::Closed {
            self.reply(&replies::LOCAL_ERROR_CLOSING);
            self.due.fault = Some(Fault { kind: FaultKind::ForeignTicket, offset: self.offset, code: 421 });
            self.close(Reason::Fault(FaultKind::ForeignTicket));
        }
    }
}
