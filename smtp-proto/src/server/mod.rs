//! The server's side of a session (RFC 5321), as a state machine without I/O.

mod answers;
mod commands;
mod config;
mod due;
mod event;
mod input;
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

use due::Due;

use crate::framing::Framing;
use crate::text::Scanner;
use crate::tls::{Channel, Outcome, TlsFailure, TlsInfo};
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
}
