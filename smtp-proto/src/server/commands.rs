//! What each command does before the application is asked.

use super::{Event, Fault, FaultKind, Move, Pending, Reason, Session, State, replies};
use crate::Step;
use crate::syntax::{Command, KeywordSet, Mail, Params, Rcpt, Reply, Verb};
use crate::tls::Policy;

impl Session {
    pub(super) fn command<'i>(
        &mut self,
        command: Command<'i>,
        start: u64,
        input: &mut &'i [u8],
    ) -> Option<Step<Event<'i>>> {
        let verb = command.verb();
        if self.tls_required(Some(verb)) {
            self.fault(FaultKind::TlsRequired, start, Some(&replies::TLS_REQUIRED));
            return None;
        }
        let by = match command {
            Command::Ehlo(_) | Command::Helo(_) => Move::Hello,
            Command::Mail(_) => Move::Mail,
            Command::Rcpt(_) => Move::Rcpt,
            Command::Data => Move::Data,
            Command::Rset => Move::Rset,
            Command::Noop(_) | Command::Vrfy(_) | Command::Help(_) => Move::Noop,
            Command::Quit => Move::End,
            Command::StartTls if self.tls.is_some() => {
                self.fault(FaultKind::OutOfOrder, start, Some(&replies::TLS_ALREADY));
                return None;
            }
            Command::StartTls if self.config.tls.offers() => Move::StartTls,
            // RFC 5321 4.2.4: recognised, and not implemented.
            _ => {
                self.fault(FaultKind::OutOfOrder, start, Some(&replies::NOT_IMPLEMENTED));
                return None;
            }
        };
        // STARTTLS is known only to those who read the EHLO reply (RFC 3207 4).
        if self.state.after(by).is_none() || (by == Move::StartTls && !self.extended) {
            let reply = self.out_of_order(by);
            self.fault(FaultKind::OutOfOrder, start, Some(reply));
            return None;
        }
        match command {
            Command::Ehlo(host) | Command::Helo(host) => {
                self.candidate.clear();
                self.candidate.push_str(host.as_str());
                let pending = Pending::Hello { extended: verb == Verb::Ehlo };
                Some(Step::Event(Event::Hello(host, self.ticket(pending))))
            }
            Command::Mail(mail) => self.mail(mail, start),
            Command::Rcpt(rcpt) => self.rcpt(rcpt, start),
            Command::Data => Some(Step::Event(Event::Data(self.ticket(Pending::Data)))),
            Command::StartTls => Some(Step::Event(Event::StartTls(self.ticket(Pending::StartTls)))),
            Command::Quit => self.end(input, Reason::Quit, &replies::BYE),
            Command::Rset => {
                self.due.reset = self.in_transaction();
                self.go(Move::Rset);
                self.recipients = 0;
                self.reply(&replies::OK);
                None
            }
            Command::Vrfy(_) => {
                // RFC 5321 3.5.3, 7.3: 252 tells nothing about who exists.
                self.reply(&replies::CANNOT_VRFY);
                None
            }
            Command::Help(_) => {
                self.reply(&replies::HELP);
                None
            }
            _ => {
                self.reply(&replies::OK);
                None
            }
        }
    }

    pub(super) fn mail<'i>(&mut self, mail: Mail<'i>, start: u64) -> Option<Step<Event<'i>>> {
        if let Some(refusal) = self.not_offered(&mail.params) {
            self.fault(FaultKind::ParameterNotOffered, start, Some(refusal));
            return None;
        }
        // RFC 1870 6.1: a declared size over the limit is refused at once.
        let limit = self.config.limits.message;
        if limit != 0 && mail.params.size().is_some_and(|size| size > limit) {
            self.fault(FaultKind::MessageTooBig, start, Some(&replies::TOO_BIG));
            return None;
        }
        Some(Step::Event(Event::Mail(mail, self.ticket(Pending::Mail))))
    }

    pub(super) fn rcpt<'i>(&mut self, rcpt: Rcpt<'i>, start: u64) -> Option<Step<Event<'i>>> {
        if let Some(refusal) = self.not_offered(&rcpt.params) {
            self.fault(FaultKind::ParameterNotOffered, start, Some(refusal));
            return None;
        }
        // RFC 5321 4.5.3.1.10; not counted as a fault: clients learn the limit this way.
        if self.recipients >= self.config.limits.recipients {
            self.reply(&replies::TOO_MANY_RECIPIENTS);
            self.due.fault = Some(Fault { kind: FaultKind::TooManyRecipients, offset: start, code: 452 });
            return None;
        }
        Some(Step::Event(Event::Rcpt(rcpt, self.ticket(Pending::Rcpt))))
    }

    /// RFC 5321 4.1.1.11: parameters belong to extensions that were announced, in reply to EHLO.
    pub(super) fn not_offered(&self, params: &Params<'_>) -> Option<&'static Reply<'static>> {
        let offered = if self.extended { replies::OFFERED } else { KeywordSet::EMPTY };
        params.first_not_in(offered).map(|_| &replies::PARAMETER_NOT_OFFERED)
    }

    /// RFC 3207 4: with TLS required, 530 to everything but NOOP, EHLO, STARTTLS and QUIT; HELO and RSET do no harm.
    pub(super) fn tls_required(&self, verb: Option<Verb>) -> bool {
        self.config.tls == Policy::Require
            && self.tls.is_none()
            && !matches!(verb, Some(Verb::Noop | Verb::Ehlo | Verb::Helo | Verb::StartTls | Verb::Rset | Verb::Quit))
    }

    pub(super) fn out_of_order(&self, by: Move) -> &'static Reply<'static> {
        match (self.state, by) {
            (State::Greeted, _) => &replies::HELLO_FIRST,
            (State::Ready, Move::StartTls) => &replies::EHLO_FIRST,
            // RFC 5321 3.3: DATA when no recipient was accepted.
            (State::Mail, Move::Data) => &replies::NO_RECIPIENTS,
            (State::Ready, _) => &replies::MAIL_FIRST,
            (_, Move::Mail) => &replies::NESTED_MAIL,
            _ => &replies::NOT_NOW,
        }
    }
}
