//! What each command does before the application is asked.

use core::net::SocketAddr;

use super::phase::RefusedText;
use super::replies::{self, Fixed};
use super::{EndKind, Event, FaultKind, Move, Pending, Role, Session, State};
use crate::syntax::{
    Attributes, Body, Command, ForwardPath, Host, Keyword, KeywordSet, Mail, Params, Rcpt, ReversePath,
    SyntaxErrorKind, Verb,
};
use crate::tls::Policy;
use crate::{Leniency, Step};

impl Session {
    pub(super) fn command<'i>(
        &mut self,
        command: Command<'i>,
        start: u64,
        input: &mut &'i [u8],
    ) -> Option<Step<Event<'i>>> {
        let verb = command.verb();
        // RFC 2920 3.1: these end a group; and whoever was not offered PIPELINING waits for each reply.
        self.phase.must_wait = ends_group(verb) || !(self.phase.extended && self.config.has_pipelining());
        let (refusal, kind) = match self.admit(verb) {
            Ok(()) => return self.carry_out(command, start, input),
            Err(refusal) => refusal,
        };
        if let Command::Bdat { size, .. } = command {
            // RFC 3030 2: its octets are not commands, whatever becomes of it.
            return self.refuse_chunk(size, kind, start, refusal, false, input);
        }
        self.phase.refused = if verb == Verb::Data { RefusedText::Data } else { RefusedText::None };
        self.fault(kind, start, Some(refusal));
        None
    }

    /// Whether a command may come now, and if not, what it is answered.
    pub(super) fn admit(&self, verb: Verb) -> Result<(), (&'static Fixed, FaultKind)> {
        if self.tls_required(Some(verb)) {
            return Err((self.tls_refusal(), FaultKind::TlsRequired));
        }
        let lmtp = self.config.role == Role::Lmtp;
        let order = |reply| Err((reply, FaultKind::OutOfOrder));
        let by = match verb {
            // RFC 2033 4.1: LHLO in their place, and only there.
            Verb::Ehlo | Verb::Helo if lmtp => return order(&replies::LHLO_HERE),
            Verb::Lhlo if !lmtp => return order(&replies::NO_LHLO_HERE),
            Verb::Ehlo | Verb::Helo | Verb::Lhlo => Move::Hello,
            Verb::Mail => Move::Mail,
            Verb::Rcpt => Move::Rcpt,
            Verb::Data => Move::Data,
            // Announced in reply to EHLO (RFC 3030 2), as with parameters.
            Verb::Bdat if !self.phase.extended && self.state != State::Greeted => return order(&replies::EHLO_FIRST),
            Verb::Bdat if self.config.extensions.chunking => Move::Bdat,
            Verb::Auth if self.config.auth.is_empty() => return order(&replies::NOT_IMPLEMENTED),
            Verb::Auth if self.identity().is_some() => return order(&replies::AUTH_TWICE),
            // Offered in reply to EHLO (RFC 4954 3).
            Verb::Auth
                if !self.phase.extended
                    && self.state == State::Ready
                    && !self.config.lenient.contains(Leniency::AuthAfterHelo) =>
            {
                return order(&replies::EHLO_FIRST);
            }
            Verb::Auth => Move::Auth,
            // To whom it was not announced it is no command.
            Verb::Xclient if self.phase.trusted => Move::Xclient,
            Verb::Xforward if self.phase.trusted => Move::Xforward,
            Verb::Rset => Move::Rset,
            Verb::Noop | Verb::Vrfy | Verb::Help => Move::Noop,
            Verb::Quit => Move::End,
            Verb::StartTls if self.tls.is_some() => return order(&replies::TLS_ALREADY),
            // STARTTLS is known only to those who read the EHLO reply (RFC 3207 4).
            Verb::StartTls if self.config.tls.offers() => {
                if !self.phase.extended && self.state == State::Ready {
                    return order(&replies::EHLO_FIRST);
                }
                Move::StartTls
            }
            // RFC 5321 4.2.4: recognised, and not implemented.
            _ => return order(&replies::NOT_IMPLEMENTED),
        };
        match self.state.after(by) {
            Some(_) if by == Move::Data && self.phase.binary => order(&replies::BINARY_TAKES_CHUNKS),
            // RFC 4954 4, 6: not looked at, as it came in plaintext.
            Some(_) if by == Move::Auth && self.tls.is_none() && self.mechanisms().is_empty() => {
                Err((&replies::ENCRYPTION_NEEDED, FaultKind::EncryptionNeeded))
            }
            Some(_) => Ok(()),
            None => order(self.out_of_order(by)),
        }
    }

    fn carry_out<'i>(&mut self, command: Command<'i>, start: u64, input: &mut &'i [u8]) -> Option<Step<Event<'i>>> {
        match command {
            Command::Ehlo(host) | Command::Lhlo(host) => Some(self.hello_from(host, true)),
            Command::Helo(host) => Some(self.hello_from(host, false)),
            Command::Mail(mail) => self.mail(mail, start, input),
            Command::Rcpt(rcpt) => self.rcpt(rcpt, start),
            Command::Data => Some(Step::Event(Event::Data(self.ticket(Pending::Data)))),
            Command::Bdat { size, last } => self.bdat(size, last, start, input),
            Command::StartTls => Some(Step::Event(Event::StartTls(self.ticket(Pending::StartTls)))),
            Command::Auth { mechanism, initial } => {
                if !self.phase.extended {
                    self.due.lenient(Leniency::AuthAfterHelo, start);
                }
                self.auth(mechanism, initial, start)
            }
            Command::Xclient(client) => self.xclient(client, start),
            Command::Xforward(client) => {
                self.claimed(&client, start)?;
                Some(Step::Event(Event::Xforward(client, self.ticket(Pending::Xforward))))
            }
            command if self.config.ask_about_all => {
                let verb = command.verb();
                Some(Step::Event(Event::Command(verb, self.ticket(Pending::Command(verb)))))
            }
            Command::Quit => self.end(input, EndKind::Quit, &replies::BYE),
            command => {
                self.housekeeping(command.verb(), None);
                None
            }
        }
    }

    /// Commands that leave nothing to decide; `words` are the application's own, should it have some.
    pub(super) fn housekeeping(&mut self, verb: Verb, words: Option<&str>) {
        match verb {
            Verb::Quit => {
                self.output.withdraw();
                self.reply_in(words, &replies::BYE);
                self.close(EndKind::Quit);
            }
            Verb::Rset => {
                if self.in_transaction() {
                    self.due.reset();
                }
                self.go(Move::Rset);
                self.forget_transaction();
                self.reply_in(words, &replies::OK);
            }
            // RFC 5321 3.5.3, 7.3: 252 tells nothing about who exists.
            Verb::Vrfy => {
                self.go(Move::Noop);
                self.reply_in(words, &replies::CANNOT_VRFY);
            }
            Verb::Help => {
                self.go(Move::Noop);
                let lmtp = self.config.role == Role::Lmtp;
                self.reply_in(words, if lmtp { &replies::HELP_LMTP } else { &replies::HELP });
            }
            _ => {
                self.go(Move::Noop);
                self.reply_in(words, &replies::OK);
            }
        }
    }

    fn hello_from<'i>(&mut self, host: Host<'i>, extended: bool) -> Step<Event<'i>> {
        self.names.truncate(self.hello);
        self.names.push_str(host.as_str());
        Step::Event(Event::Hello(host, self.ticket(Pending::Hello { extended })))
    }

    fn mail<'i>(&mut self, mail: Mail<'i>, start: u64, input: &mut &'i [u8]) -> Option<Step<Event<'i>>> {
        // Most have none.
        let body = if mail.params.is_empty() { Body::SevenBit } else { self.asked_for(&mail.params, start)? };
        // RFC 6409 4.3.
        if self.config.role == Role::Submission && self.identity().is_none() {
            self.fault(FaultKind::AuthRequired, start, Some(&replies::AUTH_REQUIRED));
            return None;
        }
        let domain = match &mail.path {
            ReversePath::Null => "",
            ReversePath::Mailbox(mailbox) => mailbox.domain(),
        };
        if self.tls.is_none() && self.config.tls_for.as_ref().is_some_and(|required| required.of_sender(domain)) {
            self.refuse_rule(FaultKind::TlsRequired, start, self.tls_refusal());
            return None;
        }
        // RFC 1870 6.1: a declared size over the limit is refused at once.
        let limit = self.config.limits.message;
        if limit != 0 && mail.params.size().is_some_and(|size| size > limit) {
            self.fault(FaultKind::MessageTooBig, start, Some(&replies::TOO_BIG));
            return None;
        }
        let most = self.config.limits.transactions;
        if most != 0 && self.transactions >= most {
            return self.fatal(input, FaultKind::TooManyTransactions, start, &replies::TOO_MANY_TRANSACTIONS);
        }
        let pending = Pending::Mail { utf8: mail.params.smtputf8(), binary: body == Body::BinaryMime };
        Some(Step::Event(Event::Mail(mail, self.ticket(pending))))
    }

    /// What a MAIL with parameters asks for, if it may be asked for: gives the kind of text.
    #[inline(never)]
    fn asked_for(&mut self, params: &Params<'_>, start: u64) -> Option<Body> {
        let body = params.body();
        let on = &self.config.extensions;
        // RFC 6152 2, RFC 3030 3: BODY has a value of each extension.
        let body_offered = match body {
            Body::SevenBit => true,
            Body::BinaryMime => self.config.has_binary(),
            _ => on.eight_bit_mime,
        };
        if self.not_offered(params) || !body_offered {
            self.fault(FaultKind::ParameterNotOffered, start, Some(&replies::PARAMETER_NOT_OFFERED));
            return None;
        }
        // RFC 2852 4: less than the least time that was announced. RFC 4865 4: longer than the longest hold.
        let too_soon = params
            .by()
            .is_some_and(|by| by.or_return && i64::from(by.seconds) < on.deliver_by.unwrap_or_default().into());
        let longest = on.future_release.as_ref().map_or(u32::MAX, |release| release.interval);
        if too_soon || params.hold_for().is_some_and(|seconds| seconds > longest) {
            self.fault(FaultKind::ParameterNotOffered, start, Some(&replies::BEYOND_WHAT_IS_OFFERED));
            return None;
        }
        Some(body)
    }

    fn xclient<'i>(&mut self, client: Attributes<'i>, start: u64) -> Option<Step<Event<'i>>> {
        let claimed = self.claimed(&client, start)?;
        self.rare.get_or_insert_default().claimed = claimed;
        Some(Step::Event(Event::Xclient(client, self.ticket(Pending::Xclient))))
    }

    /// The address that the client is said to have, if any; none at all where what is said is no address.
    #[expect(clippy::option_option, reason = "the outer one ends the command, as everywhere here")]
    fn claimed(&mut self, client: &Attributes<'_>, start: u64) -> Option<Option<SocketAddr>> {
        let claimed = client.address();
        if claimed.is_err() {
            self.fault(FaultKind::Syntax(SyntaxErrorKind::BadArgument), start, Some(&replies::NO_ADDRESS));
        }
        claimed.ok()
    }

    fn rcpt<'i>(&mut self, rcpt: Rcpt<'i>, start: u64) -> Option<Step<Event<'i>>> {
        if self.not_offered(&rcpt.params) {
            self.fault(FaultKind::ParameterNotOffered, start, Some(&replies::PARAMETER_NOT_OFFERED));
            return None;
        }
        if self.tls.is_none()
            && let ForwardPath::Mailbox(mailbox) = &rcpt.path
            && self.config.tls_for.as_ref().is_some_and(|required| required.of_recipient(mailbox.domain()))
        {
            self.refuse_rule(FaultKind::TlsRequired, start, self.tls_refusal());
            return None;
        }
        // RFC 5321 4.5.3.1.10. A long list that came in one group must not cost the recipients that were taken: as many
        // again are not counted as idle.
        if self.recipients >= self.config.limits.recipients {
            let rare = self.rare.get_or_insert_default();
            rare.surplus = rare.surplus.saturating_add(1);
            if rare.surplus <= self.config.limits.recipients.max(100) {
                self.idle_commands = self.idle_commands.saturating_sub(1);
            }
            self.refuse_rule(FaultKind::TooManyRecipients, start, &replies::TOO_MANY_RECIPIENTS);
            return None;
        }
        Some(Step::Event(Event::Rcpt(rcpt, self.ticket(Pending::Rcpt))))
    }

    /// RFC 5321 4.1.1.11: parameters belong to extensions that were announced, in reply to EHLO.
    fn not_offered(&self, params: &Params<'_>) -> bool {
        if params.is_empty() {
            return false;
        }
        let mut offered = if self.phase.extended { self.config.offered(self.audience()) } else { KeywordSet::EMPTY };
        // RFC 4954 5: to whom has authenticated AUTH is announced no more, and known all the same.
        if self.identity().is_some() {
            offered = offered.with(Keyword::Auth);
        }
        params.first_not_in(offered).is_some()
    }

    /// RFC 3207 4: with TLS required, refusal to everything but NOOP, EHLO, STARTTLS and QUIT; HELO and RSET do no harm.
    pub(super) fn tls_required(&self, verb: Option<Verb>) -> bool {
        self.config.tls == Policy::Require
            && self.tls.is_none()
            && !matches!(
                verb,
                Some(Verb::Noop | Verb::Ehlo | Verb::Helo | Verb::Lhlo | Verb::StartTls | Verb::Rset | Verb::Quit)
            )
    }

    /// RFC 3207 4, or 4yz if the operator chose so.
    pub(super) fn tls_refusal(&self) -> &'static Fixed {
        if self.config.tls_temporary { &replies::TLS_AWAITED } else { &replies::TLS_REQUIRED }
    }

    fn out_of_order(&self, by: Move) -> &'static Fixed {
        let lmtp = self.config.role == Role::Lmtp;
        match (self.state, by) {
            (State::Greeted, _) if lmtp => &replies::LHLO_FIRST,
            (State::Greeted, _) => &replies::HELLO_FIRST,
            // RFC 5321 3.3, RFC 2033 4.2: DATA when no recipient was accepted.
            (State::Mail, Move::Data | Move::Bdat) if lmtp => &replies::NO_RECIPIENTS_LMTP,
            (State::Mail, Move::Data | Move::Bdat) => &replies::NO_RECIPIENTS,
            (State::Ready, _) => &replies::MAIL_FIRST,
            (State::Chunks, _) => &replies::CHUNKS_ONLY,
            (_, Move::Mail) => &replies::NESTED_MAIL,
            _ => &replies::NOT_NOW,
        }
    }
}

/// RFC 2920 3.1; RFC 4954 4 and RFC 3207 4 for AUTH and STARTTLS.
const fn ends_group(verb: Verb) -> bool {
    matches!(
        verb,
        Verb::Ehlo
            | Verb::Helo
            | Verb::Lhlo
            | Verb::Data
            | Verb::Vrfy
            | Verb::Expn
            | Verb::Noop
            | Verb::Quit
            | Verb::Auth
            | Verb::StartTls
    )
}
