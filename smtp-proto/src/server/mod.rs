//! The server's side of a session (RFC 5321), as a state machine without I/O.

mod config;
mod event;
mod replies;
mod state;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use core::time::Duration;

pub use config::{Config, ConfigError, Limits, Timeouts};
pub use event::{Event, Fault, FaultKind, MessageEnd, Reason, Ticket, Verdict};
pub use state::{Move, State};

use crate::framing::{Framed, Framing};
use crate::syntax::{Command, KeywordSet, Mail, Options, Params, Rcpt, Reply, SyntaxError, Verb};
use crate::text::{Scan, Scanner};
use crate::tls::{Channel, Outcome, Policy, TlsFailure, TlsInfo};
use crate::trace::Protocol;
use crate::{Step, Want};

/// One SMTP session, seen from the server.
///
/// **Driving it**: [`step`](Self::step) until it returns a [`Want`], write out [`output`](Self::output) and say
/// [`sent`](Self::sent), then do what is wanted. See the [crate's front page](crate) for the whole loop.
///
/// **Deciding**: events carry a [`Ticket`]; give each back by [`answer`](Self::answer), at once or later. One answer
/// a command, in order; while a ticket is out nothing further is parsed.
///
/// **Time**: the driver keeps the clock. Whenever [`progress`](Self::progress) changes it starts a new period of
/// [`timeout`](Self::timeout), and at its end it calls [`timed_out`](Self::timed_out).
///
/// **Endings**: [`eof`](Self::eof), [`tls_failed`](Self::tls_failed), [`shut_down`](Self::shut_down). All lead to
/// [`Event::Closed`] and [`Want::Close`] by way of `step`.
#[derive(Debug)]
pub struct Session {
    config: Arc<Config>,
    id: u64,
    serial: u64,
    state: State,
    pending: Option<Pending>,
    tls: Option<Box<TlsInfo>>,
    tls_failure: Option<TlsFailure>,
    hello: String,
    /// The name in an EHLO that waits for its answer.
    candidate: String,
    /// EHLO rather than HELO.
    extended: bool,
    recipients: u32,
    framing: Framing,
    text: Scanner,
    text_octets: u64,
    /// Octets of text since progress was last made.
    text_drip: u64,
    text_fault: Option<(FaultKind, u64)>,
    /// The offset at which the text began.
    text_base: u64,
    output: Vec<u8>,
    written: usize,
    offset: u64,
    progress: u64,
    faults: u32,
    idle_commands: u32,
    shutting_down: bool,
    greeted: bool,
    due: Due,
}

/// Which answer is waited for; nothing else is parsed before it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pending {
    Connect,
    Hello { extended: bool },
    StartTls,
    Mail,
    Rcpt,
    Data,
    Message,
}

/// Events that are told before anything further is parsed, in this order.
#[derive(Debug, Default)]
struct Due {
    fault: Option<Fault>,
    too_many: Option<Fault>,
    reset: bool,
    closed: Option<Reason>,
}

impl Session {
    /// A session on a connection that has just been made; `channel` says whether TLS is up already.
    #[must_use]
    pub fn new(config: Arc<Config>, channel: Channel) -> Self {
        let id = config.sessions.fetch_add(1, Ordering::Relaxed);
        let tls = match channel {
            Channel::Plain => None,
            Channel::Tls(info) => Some(Box::new(info)),
        };
        Self {
            text: Scanner::new(config.text),
            config,
            id,
            serial: 0,
            state: State::Connected,
            pending: None,
            tls,
            tls_failure: None,
            hello: String::new(),
            candidate: String::new(),
            extended: false,
            recipients: 0,
            framing: Framing::default(),
            text_octets: 0,
            text_drip: 0,
            text_fault: None,
            text_base: 0,
            output: Vec::new(),
            written: 0,
            offset: 0,
            progress: 0,
            faults: 0,
            idle_commands: 0,
            shutting_down: false,
            greeted: false,
            due: Due::default(),
        }
    }

    /// Takes what it can use off the front of `input`, and says what happened or what is needed. The caller keeps the
    /// rest, appends to it what it reads next, and never reorders it. It must be able to hold [`Limits::line`] octets.
    pub fn step<'i>(&mut self, input: &mut &'i [u8]) -> Step<Event<'i>> {
        loop {
            if let Some(event) = self.due.next() {
                return Step::Event(event);
            }
            if self.state == State::Closed {
                *input = &[];
                return Step::Want(Want::Close);
            }
            if self.pending.is_some() {
                return Step::Want(Want::Decision);
            }
            let step = match self.state {
                State::Connected => Some(Step::Event(Event::Connect(self.ticket(Pending::Connect)))),
                State::StartTls => self.step_start_tls(input),
                State::Data => self.step_text(input),
                State::Message => {
                    let end = MessageEnd { octets: self.text_octets };
                    Some(Step::Event(Event::Message(end, self.ticket(Pending::Message))))
                }
                _ if self.shutting_down => self.end(input, Reason::ShutDown, &replies::SHUTTING_DOWN),
                _ if self.output().len() > self.config.limits.output => Some(Step::Want(Want::Output)),
                _ => self.step_command(input),
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    /// Answers the command that the ticket came with. A ticket that is not the one awaited, as of another session,
    /// ends this session with 421: an answer must never reach the wrong command.
    pub fn answer(&mut self, ticket: impl Into<Ticket>, verdict: Verdict<'_>) {
        let ticket = ticket.into();
        let expected = ticket.config == self.config_id() && ticket.session == self.id && ticket.serial == self.serial;
        let Some(pending) = self.pending.take_if(|_| expected) else {
            self.misused();
            return;
        };
        match verdict {
            Verdict::Accept => self.accept(pending, None),
            Verdict::AcceptWith(words) => self.accept(pending, Some(words)),
            Verdict::Refuse(reply) => self.refuse(pending, reply),
        }
    }

    /// What is to be written to the peer.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        self.output.get(self.written..).unwrap_or_default()
    }

    /// Says that the first `n` octets of [`output`](Self::output) have been written.
    pub fn sent(&mut self, n: usize) {
        self.written = self.output.len().min(self.written.saturating_add(n));
        if self.written == self.output.len() {
            self.output.clear();
            self.written = 0;
        }
    }

    /// Gives back the memory of the output when nothing waits in it. For sessions that wait long.
    pub fn release(&mut self) {
        if self.output.is_empty() {
            self.output = Vec::new();
        }
    }

    /// The handshake is done: the session begins anew, inside TLS (RFC 3207 4.2). Only what restricts the peer stays.
    /// Called at any other time it ends the session.
    pub fn tls_established(&mut self, tls: TlsInfo) {
        if self.state != State::StartTls {
            self.misused();
            return;
        }
        self.go(Move::TlsEstablished);
        self.tls = Some(Box::new(tls));
        self.hello = String::new();
        self.extended = false;
        self.recipients = 0;
        self.framing = Framing::default();
        self.offset = 0;
        self.progress += 1;
    }

    /// The handshake failed: the session is over, and nothing more is written (RFC 3207 4.1).
    pub fn tls_failed(&mut self, failure: TlsFailure) {
        self.tls_failure = Some(failure.clone());
        self.output.clear();
        self.written = 0;
        self.close(Reason::TlsFailed(failure));
    }

    /// How long to wait for the peer from the last change of [`progress`](Self::progress) (RFC 5321 4.5.3.2).
    #[must_use]
    pub fn timeout(&self) -> Duration {
        match self.state {
            State::Data => self.config.timeouts.text,
            State::StartTls => self.config.timeouts.handshake,
            _ => self.config.timeouts.command,
        }
    }

    /// Changes when the peer got on: with each command, and in text with every [`Timeouts::text_octets`] octets.
    #[must_use]
    pub fn progress(&self) -> u64 {
        self.progress
    }

    /// Nothing came in [`timeout`](Self::timeout).
    pub fn timed_out(&mut self) {
        if self.state == State::StartTls {
            self.tls_failed(TlsFailure::TimedOut);
        } else if self.state != State::Closed {
            self.reply(&replies::TIMED_OUT);
            self.close(Reason::TimedOut);
        }
    }

    /// The peer's octets have ended. Text that has not come to its end is not a message.
    pub fn eof(&mut self) {
        if self.state == State::StartTls {
            self.tls_failed(TlsFailure::Closed);
        } else {
            self.close(Reason::Eof);
        }
    }

    /// Ends the session with 421 as soon as no text is in flight (RFC 5321 3.8).
    pub fn shut_down(&mut self) {
        self.shutting_down = true;
    }

    /// Where the session stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether a transaction is open.
    #[must_use]
    pub fn in_transaction(&self) -> bool {
        self.state.in_transaction()
    }

    /// The name the client gave in EHLO or HELO, in this channel. Its own claim.
    #[must_use]
    pub fn hello(&self) -> Option<&str> {
        if self.hello.is_empty() { None } else { Some(&self.hello) }
    }

    /// What is known of the TLS connection, if the hop is encrypted.
    #[must_use]
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.tls.as_deref()
    }

    /// What became of TLS on this hop, so far.
    #[must_use]
    pub fn tls_outcome(&self) -> Outcome {
        match (&self.tls, &self.tls_failure) {
            (Some(info), _) => Outcome::Used((**info).clone()),
            (None, Some(failure)) => Outcome::Failed(failure.clone()),
            (None, None) if self.config.tls.offers() => Outcome::NotTried,
            (None, None) => Outcome::NotOffered,
        }
    }

    /// The protocol type for the Received field (RFC 3848).
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        match (self.extended, self.tls.is_some()) {
            (false, _) => Protocol::Smtp,
            (true, false) => Protocol::Esmtp,
            (true, true) => Protocol::Esmtps,
        }
    }

    // ---- input, by state. `None` is: done, look again at what is due.

    fn step_command<'i>(&mut self, input: &mut &'i [u8]) -> Option<Step<Event<'i>>> {
        if !self.greeted {
            self.greeted = true;
            // RFC 5321 3.1: the client waits for the greeting.
            if !input.is_empty() {
                if !self.config.early_talkers {
                    return self.fatal(input, FaultKind::EarlyTalker, self.offset, &replies::EARLY_TALKER);
                }
                self.fault(FaultKind::EarlyTalker, self.offset, None);
                return None;
            }
        }
        // A TLS ClientHello (RFC 8446 5.1: record type 22, version 3.x) need not hold a CRLF: look first.
        if let [22, 3, ..] = input {
            return self.fatal(input, FaultKind::CrossProtocol, self.offset, &replies::NOT_SMTP);
        }
        let start = self.offset;
        let before = input.len();
        let framed = self.framing.next(input, self.config.limits.line);
        self.offset += (before - input.len()) as u64;
        let line = match framed {
            Framed::Line(line) => line,
            Framed::Partial => return Some(Step::Want(Want::Input)),
            Framed::TooLong { earlier } => {
                self.progress += 1;
                self.fault(FaultKind::LineTooLong, start - earlier, Some(&replies::LINE_TOO_LONG));
                return None;
            }
            Framed::Endless { earlier } => {
                return self.fatal(input, FaultKind::LineTooLong, start - earlier, &replies::LINE_TOO_LONG_CLOSING);
            }
        };
        self.progress += 1;
        self.idle_commands += 1;
        if self.idle_commands > self.config.limits.idle_commands {
            return self.fatal(input, FaultKind::TooManyCommands, start, &replies::TOO_MANY_COMMANDS);
        }
        match Command::parse(line, &Options::new().lenient(self.config.lenient)) {
            Ok(parsed) => {
                if !parsed.used.is_strict() {
                    self.due.fault = Some(Fault { kind: FaultKind::Lenient, offset: start, code: 0 });
                }
                self.command(parsed.command, start, input)
            }
            Err(error) => self.unparsed(line, error, start, input),
        }
    }

    fn step_start_tls<'i>(&mut self, input: &mut &'i [u8]) -> Option<Step<Event<'i>>> {
        if input.is_empty() {
            return Some(Step::Want(Want::Tls));
        }
        // RFC 3207 4: what came before the handshake cannot be trusted to be the client's. Never parsed.
        *input = &[];
        self.fault(FaultKind::PlaintextBehindStartTls, self.offset, None);
        self.close(Reason::Fault(FaultKind::PlaintextBehindStartTls));
        None
    }

    fn step_text<'i>(&mut self, input: &mut &'i [u8]) -> Option<Step<Event<'i>>> {
        let before = input.len();
        let scan = self.text.next(input);
        let used = (before - input.len()) as u64;
        self.offset += used;
        self.text_drip += used;
        if self.text_drip >= self.config.timeouts.text_octets {
            self.text_drip = 0;
            self.progress += 1;
        }
        match scan {
            Scan::Chunk(chunk) => {
                self.text_octets += chunk.len() as u64;
                let limit = self.config.limits.message;
                if self.text_fault.is_none() && limit != 0 && self.text_octets > limit {
                    self.text_fault = Some((FaultKind::MessageTooBig, self.offset));
                }
                if self.text_fault.is_some() || self.text.refused().is_some() {
                    return None;
                }
                Some(Step::Event(Event::Chunk(chunk)))
            }
            Scan::Need => Some(Step::Want(Want::Input)),
            Scan::End => {
                self.progress += 1;
                self.text_end();
                None
            }
        }
    }

    /// CRLF . CRLF has come. A text that broke a rule is refused here, once, and not before (RFC 5321 4.1.1.4).
    fn text_end(&mut self) {
        self.recipients = 0;
        self.idle_commands = 0;
        let flaw = self.text.refused().map(|(flaw, offset)| (FaultKind::Text(flaw), self.text_base + offset));
        let fault = match (self.text_fault.take(), flaw) {
            (Some(big), Some(flaw)) => Some(if flaw.1 < big.1 { flaw } else { big }),
            (big, flaw) => big.or(flaw),
        };
        if let Some((kind, offset)) = fault {
            self.go(Move::TextRefused);
            let reply = if kind == FaultKind::MessageTooBig { &replies::TOO_BIG } else { &replies::BAD_TEXT };
            self.fault(kind, offset, Some(reply));
            self.due.reset = true;
            return;
        }
        if self.text.tolerated() {
            self.due.fault = Some(Fault { kind: FaultKind::Lenient, offset: self.text_base, code: 0 });
        }
        self.go(Move::TextEnd);
    }

    // ---- commands

    fn command<'i>(&mut self, command: Command<'i>, start: u64, input: &mut &'i [u8]) -> Option<Step<Event<'i>>> {
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

    fn mail<'i>(&mut self, mail: Mail<'i>, start: u64) -> Option<Step<Event<'i>>> {
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

    fn rcpt<'i>(&mut self, rcpt: Rcpt<'i>, start: u64) -> Option<Step<Event<'i>>> {
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
    fn not_offered(&self, params: &Params<'_>) -> Option<&'static Reply<'static>> {
        let offered = if self.extended { replies::OFFERED } else { KeywordSet::EMPTY };
        params.first_not_in(offered).map(|_| &replies::PARAMETER_NOT_OFFERED)
    }

    /// A line that is no command of ours.
    fn unparsed<'i>(
        &mut self,
        line: &[u8],
        error: SyntaxError,
        start: u64,
        input: &mut &'i [u8],
    ) -> Option<Step<Event<'i>>> {
        if is_cross_protocol(line) {
            return self.fatal(input, FaultKind::CrossProtocol, start, &replies::NOT_SMTP);
        }
        if self.tls_required(error.verb()) {
            self.fault(FaultKind::TlsRequired, start, Some(&replies::TLS_REQUIRED));
            return None;
        }
        let enhanced = error.enhanced();
        let reply = Reply::new(error.code(), Some(enhanced), error.text()).unwrap_or(replies::SYNTAX);
        self.fault(FaultKind::Syntax(error.kind()), start + error.offset() as u64, Some(&reply));
        None
    }

    /// RFC 3207 4: with TLS required, 530 to everything but NOOP, EHLO, STARTTLS and QUIT; HELO and RSET do no harm.
    fn tls_required(&self, verb: Option<Verb>) -> bool {
        self.config.tls == Policy::Require
            && self.tls.is_none()
            && !matches!(verb, Some(Verb::Noop | Verb::Ehlo | Verb::Helo | Verb::StartTls | Verb::Rset | Verb::Quit))
    }

    fn out_of_order(&self, by: Move) -> &'static Reply<'static> {
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

    // ---- answers

    fn accept(&mut self, pending: Pending, words: Option<&str>) {
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

    fn refuse(&mut self, pending: Pending, reply: Reply<'_>) {
        let reply = if matches!(reply.code(), 400..=599) { reply } else { replies::LOCAL_ERROR };
        self.reply(&reply);
        if pending == Pending::Message {
            self.go(Move::Delivered);
        }
        if pending == Pending::Connect || reply.code() == 421 {
            self.close(Reason::Refused);
        }
    }

    // ---- the small things that everything above is made of

    fn ticket(&mut self, pending: Pending) -> Ticket {
        self.pending = Some(pending);
        self.serial += 1;
        Ticket { config: self.config_id(), session: self.id, serial: self.serial }
    }

    /// The address of the shared configuration: unique among those in use, as this session keeps it alive.
    fn config_id(&self) -> usize {
        Arc::as_ptr(&self.config).addr()
    }

    /// The only place where the state is assigned.
    fn go(&mut self, by: Move) {
        match self.state.after(by) {
            Some(next) => self.state = next,
            None => debug_assert!(false, "{:?} in {:?} has no row in the table", by, self.state),
        }
    }

    fn reply(&mut self, reply: &Reply<'_>) {
        reply.write(&mut self.output);
    }

    fn reply_in(&mut self, words: Option<&str>, usual: &Reply<'_>) {
        match words {
            None => usual.write(&mut self.output),
            Some(words) => replies::in_words(&mut self.output, usual, words),
        }
    }

    fn fault(&mut self, kind: FaultKind, offset: u64, reply: Option<&Reply<'_>>) {
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
    fn fatal<'i>(
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

    fn end<'i>(&mut self, input: &mut &'i [u8], reason: Reason, reply: &Reply<'_>) -> Option<Step<Event<'i>>> {
        *input = &[];
        self.reply(reply);
        self.close(reason);
        None
    }

    fn close(&mut self, reason: Reason) {
        if self.state == State::Closed {
            return;
        }
        self.go(Move::End);
        self.pending = None;
        self.due.closed = Some(reason);
    }

    fn misused(&mut self) {
        if self.state != State::Closed {
            self.reply(&replies::LOCAL_ERROR_CLOSING);
            self.due.fault = Some(Fault { kind: FaultKind::ForeignTicket, offset: self.offset, code: 421 });
            self.close(Reason::Fault(FaultKind::ForeignTicket));
        }
    }
}

impl Due {
    fn next<'i>(&mut self) -> Option<Event<'i>> {
        if let Some(fault) = self.fault.take().or_else(|| self.too_many.take()) {
            return Some(Event::Fault(fault));
        }
        if core::mem::take(&mut self.reset) {
            return Some(Event::Reset);
        }
        self.closed.take().map(Event::Closed)
    }
}

/// Lines that only another protocol, or a message that has lost its way, begins with: an HTTP request line (RFC 9112
/// 3), a header field (RFC 5322 2.2), a mail server's own greeting.
fn is_cross_protocol(line: &[u8]) -> bool {
    const HTTP: [&[u8]; 9] =
        [b"GET ", b"POST ", b"PUT ", b"HEAD ", b"DELETE ", b"OPTIONS ", b"CONNECT ", b"TRACE ", b"PATCH "];
    if HTTP.iter().any(|verb| line.starts_with(verb)) || line.starts_with(b"PRI * HTTP/2") {
        return true;
    }
    let word = line.split(|&octet| octet == b' ').next().unwrap_or_default();
    let header = word.len() > 1 && word.ends_with(b":") && word.iter().all(|&octet| octet.is_ascii_graphic());
    header || line.starts_with(b"220 ") || line.starts_with(b"SSH-")
}
