//! AUTH (RFC 4954): the exchange on the wire. What the messages mean is `crate::auth`'s.

use super::replies::{self, Fixed};
use super::{AuthTicket, Event, Fault, FaultKind, Move, Pending, Session};
use crate::auth::server::{Answer, Exchange, Failure, Identity, Turn};
use crate::auth::{Mechanism, MechanismSet, Secret, base64};
use crate::framing::Framed;
use crate::syntax::Base64;
use crate::{Leniency, Step, Want};

/// What only a session has that came to AUTH.
#[derive(Debug, Default)]
pub(super) struct Authentication {
    exchange: Option<Exchange>,
    /// Who the client has proved to be.
    pub(super) identity: Option<Identity>,
}

impl Session {
    /// Answers the question that the ticket came with; what the client is told follows from it. A ticket that is not
    /// the one awaited ends the session, as in [`answer`](Self::answer).
    pub fn authenticate(&mut self, ticket: AuthTicket, answer: Answer) {
        let AuthTicket(ticket) = ticket;
        if self.redeem(&ticket) != Some(Pending::Auth) {
            self.misused();
            return;
        }
        let turn = self.exchange().map_or(Turn::Failure(Failure::Misused), |exchange| exchange.answer(answer));
        if self.take_turn(turn, self.offset).is_some() {
            // No mechanism asks twice.
            self.misused();
        }
    }

    /// Who the client has proved to be by AUTH, in this channel.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.rare.as_ref()?.authentication.identity.as_ref()
    }

    /// The mechanisms that the client may use now. Empty in plaintext, unless that is allowed, and after AUTH has succeeded.
    pub(super) fn mechanisms(&self) -> MechanismSet {
        match &self.tls {
            _ if self.identity().is_some() => MechanismSet::EMPTY,
            Some(tls) => self.config.auth.on(Some(tls)),
            None if self.config.plaintext_auth => self.config.auth.without(Mechanism::ScramSha256Plus),
            None => MechanismSet::EMPTY,
        }
    }

    pub(super) fn auth<'i>(&mut self, name: &str, initial: Option<Base64<'_>>, start: u64) -> Option<Step<Event<'i>>> {
        let offered = self.mechanisms();
        let Some(mechanism) = Mechanism::from_name(name).filter(|mechanism| offered.contains(*mechanism)) else {
            self.fault(FaultKind::MechanismNotOffered, start, Some(&replies::MECHANISM_NOT_OFFERED));
            return None;
        };
        let initial = initial.and_then(|text| base64::decode(text.as_str().as_bytes()));
        self.go(Move::Auth);
        let mut exchange = Exchange::new(mechanism, offered, self.tls.as_deref());
        let turn = exchange.start(initial.as_ref().map(Secret::expose));
        self.rare.get_or_insert_default().authentication.exchange = Some(exchange);
        self.take_turn(turn, start)
    }

    /// A line of the exchange: a response, whatever it looks like.
    pub(super) fn step_auth<'i>(&mut self, input: &mut &'i [u8]) -> Option<Step<Event<'i>>> {
        let start = self.offset;
        let before = input.len();
        let lf = self.config.lenient.contains(Leniency::BareLfCommands);
        let framed = self.framing.next(input, self.config.limits.auth_line, lf);
        self.offset += (before - input.len()) as u64;
        let line = match framed {
            Framed::Partial => return Some(Step::Want(Want::Input)),
            // A LF in it is no base64.
            Framed::Line(line) | Framed::BareLf(line) => line,
            Framed::LfLine(line) => {
                self.due.lenient(Leniency::BareLfCommands, start);
                line
            }
            // What follows a bare LF up to CRLF is skipped as a command is: the exchange is over by then.
            Framed::Skipped | Framed::BareLfAgain => return None,
            Framed::TooLong { earlier } => {
                self.progress += 1;
                // RFC 4954 4: the exchange fails.
                self.end_exchange();
                self.fault(FaultKind::LineTooLong, start - earlier, Some(&replies::AUTH_LINE_TOO_LONG));
                return None;
            }
            Framed::Endless { earlier } => {
                return self.fatal(input, FaultKind::LineTooLong, start - earlier, &replies::LINE_TOO_LONG_CLOSING);
            }
        };
        self.progress += 1;
        // RFC 4954 4: the client cancels.
        if line == b"*" {
            self.end_exchange();
            self.fault(FaultKind::AuthCancelled, start, Some(&replies::AUTH_CANCELLED));
            return None;
        }
        let Some(message) = base64::decode(line) else {
            self.end_exchange();
            self.fault(FaultKind::AuthMalformed, start, Some(&replies::NOT_BASE64));
            return None;
        };
        let turn = match self.exchange() {
            Some(exchange) => exchange.respond(message.expose()),
            None => Turn::Failure(Failure::Misused),
        };
        self.take_turn(turn, start)
    }

    fn take_turn<'i>(&mut self, turn: Turn, start: u64) -> Option<Step<Event<'i>>> {
        match turn {
            Turn::Challenge(challenge) => {
                self.output.tail().extend_from_slice(b"334 ");
                self.output.tail().extend_from_slice(base64::encode(&challenge).as_bytes());
                self.output.tail().extend_from_slice(b"\r\n");
            }
            Turn::Ask(question) => {
                let ticket = AuthTicket(self.ticket(Pending::Auth));
                return Some(Step::Event(Event::Auth(question, ticket)));
            }
            Turn::Success(identity) => {
                self.end_exchange();
                self.rare.get_or_insert_default().authentication.identity = Some(identity);
                self.idle_commands = 0;
                self.reply(&replies::AUTHENTICATED);
            }
            Turn::Failure(failure) => {
                self.end_exchange();
                let (reply, counts): (&Fixed, bool) = match failure {
                    Failure::Temporary | Failure::Misused => (&replies::AUTH_TEMPORARY, false),
                    Failure::Malformed => (&replies::AUTH_MALFORMED, true),
                    Failure::Rejected | Failure::ChannelBinding => (&replies::AUTH_REJECTED, true),
                };
                let kind = FaultKind::AuthFailed(failure);
                if counts {
                    self.fault(kind, start, Some(reply));
                } else {
                    self.reply(reply);
                    self.due.fault(Fault { kind, offset: start, code: reply.code() });
                }
            }
        }
        None
    }

    fn exchange(&mut self) -> Option<&mut Exchange> {
        self.rare.as_mut()?.authentication.exchange.as_mut()
    }

    /// A fresh one for each attempt.
    fn end_exchange(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.authentication.exchange = None;
        }
        self.go(Move::AuthEnd);
    }
}
