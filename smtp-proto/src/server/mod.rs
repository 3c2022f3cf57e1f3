//! The server's side of a session (RFC 5321), as a state machine without I/O.

mod answers;
mod auth;
mod chunking;
mod commands;
mod config;
mod due;
mod ehlo;
mod envelope;
mod event;
mod extensions;
mod floor;
mod input;
mod intake;
mod phase;
mod replies;
mod setters;
mod spare;
mod state;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

pub use config::{Config, ConfigError, Limits, Role, Timeouts};
pub use envelope::{Envelope, Gather, Room};
pub use event::{AuthTicket, Event, Fault, FaultKind, MessageEnd, Reason, Ticket, Verdict};
pub use extensions::{Extensions, FutureRelease};
pub use spare::Spare;
pub use state::{Move, State};

use due::{Due, EndKind};
use intake::Intake;
use phase::{Phase, RefusedText};

use crate::framing::Framing;
use crate::session::{Output, Tickets, established, outcome};
use crate::syntax::Verb;
use crate::tls::{Channel, TlsFailure, TlsInfo, TlsOffer, TlsOutcome};
use crate::trace::{Received, WithProtocol};
use crate::{Step, Want};

/// One SMTP session, seen from the server.
///
/// **Driving it**: [`step`](Self::step) until it returns a [`Want`], write out [`output`](Self::output) and say
/// [`sent`](Self::sent), then do what is wanted. See the [crate's front page](crate) for the whole loop.
///
/// **Deciding**: events that need an answer carry a [`Ticket`]. Give it to [`answer`](Self::answer), at once or later. Until
/// then nothing further is parsed, so that answers keep the order of the commands.
///
/// **Time**: the driver keeps the clock. Whenever [`progress`](Self::progress) changes, the driver starts a new period
/// of [`timeout`](Self::timeout). When a period ends, it calls [`timed_out`](Self::timed_out).
///
/// **Endings**: [`eof`](Self::eof), [`tls_failed`](Self::tls_failed), [`shut_down`](Self::shut_down). All lead to
/// [`Event::Closed`] and [`Want::Close`] by way of `step`.
#[derive(Debug)]
pub struct Session {
    config: Arc<Config>,
    tickets: Tickets,
    /// Octets taken in this channel.
    offset: u64,
    progress: u64,
    framing: Framing,
    /// The reply to a refused chunk is held back in it until the end of the chunk.
    output: Output,
    /// The name the client goes by; behind it the one in an EHLO that waits for its answer.
    names: String,
    hello: usize,
    /// What comes in, or has last come.
    text: Option<Box<Intake>>,
    tls: Option<Box<TlsInfo>>,
    /// What the client offered in its ClientHello.
    offered: Option<TlsOffer>,
    /// What few sessions have.
    rare: Option<Box<Rare>>,
    due: Due,
    faults: u32,
    idle_commands: u32,
    transactions: u32,
    recipients: u32,
    state: State,
    pending: Option<Pending>,
    phase: Phase,
}

/// Which answer is waited for; nothing else is parsed before it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pending {
    Connect,
    Hello { extended: bool },
    StartTls,
    Auth,
    Mail { utf8: bool, binary: bool },
    Rcpt,
    Data,
    Bdat,
    Message,
    Xclient,
    Xforward,
    Command(Verb),
}

#[derive(Debug, Default)]
struct Rare {
    tls_failure: Option<TlsFailure>,
    /// The address that the last accepted XCLIENT gave.
    client: Option<SocketAddr>,
    /// The one in an XCLIENT that waits for its answer.
    claimed: Option<SocketAddr>,
    authentication: auth::Authentication,
    /// Octets that were thrown away so far.
    discarded: u64,
    /// Recipients of the transaction that were refused as too many.
    surplus: u32,
}

impl Session {
    /// A session on a connection that has just been made; `channel` says whether TLS is up already.
    #[must_use]
    pub fn new(config: Arc<Config>, channel: Channel) -> Self {
        Self {
            tickets: Tickets::new(&config.sessions),
            config,
            offset: 0,
            progress: 0,
            framing: Framing::default(),
            output: Output::new(),
            names: String::new(),
            hello: 0,
            text: None,
            tls: established(channel),
            offered: None,
            rare: None,
            due: Due::default(),
            faults: 0,
            idle_commands: 0,
            transactions: 0,
            recipients: 0,
            state: State::Connected,
            pending: None,
            phase: Phase::default(),
        }
    }

    /// Takes what it can use off the front of `input`, and says what happened or what is needed. The caller keeps the
    /// rest, appends to it what it reads next, and never reorders it. It must be able to hold as many octets as
    /// [`Limits::line`] and, where AUTH is offered, [`Limits::auth_line`].
    ///
    /// To find clients that do not wait for the greeting, a driver may look at the socket once before the first step:
    /// whatever is in `input` then, or comes during [`Timeouts::greet_pause`], came too early.
    pub fn step<'i>(&mut self, input: &mut &'i [u8]) -> Step<Event<'i>> {
        loop {
            if self.due.any()
                && let Some(event) = self.due.next(self.rare.as_ref().and_then(|rare| rare.tls_failure.as_ref()))
            {
                return Step::Event(event);
            }
            if self.pending.is_some() {
                return Step::Want(Want::Decision);
            }
            let step = match self.state {
                State::Closed => {
                    *input = &[];
                    return Step::Want(Want::Close);
                }
                _ if self.phase.refused == RefusedText::Chunk => self.step_discard(input),
                State::Connected => self.step_connected(input),
                State::Data => self.step_text(input),
                State::Chunk => self.step_chunk(input),
                State::StartTls => self.step_start_tls(input),
                _ if self.output().len() > self.config.limits.output => Some(Step::Want(Want::Output)),
                State::Message => Some(self.step_message()),
                _ if self.phase.shutting_down => self.end(input, EndKind::ShutDown, &replies::SHUTTING_DOWN),
                State::Auth => self.step_auth(input),
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
        let Some(pending) = self.redeem(&ticket.into()) else {
            self.misused();
            return;
        };
        match verdict {
            Verdict::Accept => self.accept(pending, None),
            Verdict::AcceptWith(words) => self.accept(pending, Some(words)),
            Verdict::AcceptAs(reply) => self.accept_as(pending, &reply),
            Verdict::Refuse(reply) => self.refuse(pending, &reply),
        }
    }

    /// The octets that the driver is to write to the peer now. Say how many went out by [`sent`](Self::sent).
    #[must_use]
    pub fn output(&self) -> &[u8] {
        self.output.waiting()
    }

    /// Says that the first `n` octets of [`output`](Self::output) have been written.
    pub fn sent(&mut self, n: usize) {
        self.output.sent(n);
    }

    /// Says that the peer is trusted to speak for others: XCLIENT and XFORWARD are announced to it, and honoured.
    /// Whoever is trusted so can claim to be anyone. Trust ends with the first XCLIENT, and with TLS.
    pub fn trust(&mut self) {
        self.phase.trusted = true;
    }

    /// The client's ClientHello has been read, and offers this: for a driver to say before it tells how the handshake ended.
    pub fn tls_offered(&mut self, offered: TlsOffer) {
        self.offered = Some(offered);
    }

    /// Says that the handshake is done: the session begins anew inside TLS (RFC 3207 4.2). Only counters that restrict the
    /// peer are kept. A call at any other time ends the session.
    pub fn tls_established(&mut self, tls: TlsInfo) {
        if self.state != State::StartTls {
            self.misused();
            return;
        }
        self.go(Move::TlsEstablished);
        self.tls = Some(Box::new(tls));
        self.begin_anew();
        self.framing = Framing::default();
        self.offset = 0;
        self.progress += 1;
    }

    /// Says that the handshake failed: the session is over, and nothing more is written (RFC 3207 4.1).
    pub fn tls_failed(&mut self, failure: TlsFailure) {
        self.rare.get_or_insert_default().tls_failure = Some(failure);
        self.output.drop_all();
        self.close(EndKind::TlsFailed);
    }

    /// How long to wait for the peer from the last change of [`progress`](Self::progress) (RFC 5321 4.5.3.2).
    #[must_use]
    pub fn timeout(&self) -> Duration {
        match self.state {
            State::Data | State::Chunk => self.config.timeouts.text,
            State::StartTls => self.config.timeouts.handshake,
            State::Connected if self.in_greet_pause() => self.config.timeouts.greet_pause,
            _ if self.phase.refused == RefusedText::Chunk => self.config.timeouts.text,
            _ => self.config.timeouts.command,
        }
    }

    /// A number that changes when the peer makes progress: with each command, with each answer to one, with the greeting, and in text with
    /// every [`Timeouts::text_octets`] octets. [`timeout`](Self::timeout) never changes alone.
    #[must_use]
    pub fn progress(&self) -> u64 {
        self.progress
    }

    /// Says that [`timeout`](Self::timeout) has passed without progress. That ends the session, except that after
    /// [`Timeouts::greet_pause`] the greeting follows.
    pub fn timed_out(&mut self) {
        if self.state == State::StartTls {
            self.tls_failed(TlsFailure::TimedOut);
        } else if self.in_greet_pause() {
            self.end_greet_pause();
        } else if self.state != State::Closed {
            self.last_words(&replies::TIMED_OUT);
            self.close(EndKind::TimedOut);
        }
    }

    /// Says that the peer has closed its side. A text that is not complete is then no message.
    pub fn eof(&mut self) {
        if self.state == State::StartTls {
            self.tls_failed(TlsFailure::Closed);
        } else {
            self.close(EndKind::Eof);
        }
    }

    /// Says that the connection has failed: a read or a write gave an error. As [`eof`](Self::eof), and what still waits
    /// to be written is dropped, so that a driver that cannot write comes to the end too.
    pub fn lost(&mut self) {
        self.eof();
        self.output.drop_all();
    }

    /// Ends the session with 421 as soon as no text is in flight (RFC 5321 3.8).
    pub fn shut_down(&mut self) {
        self.phase.shutting_down = true;
    }

    /// The state that the session is in, as in the transition table.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether a transaction is open: MAIL was accepted, and its text has not been answered.
    #[must_use]
    pub fn in_transaction(&self) -> bool {
        self.state.in_transaction()
    }

    /// How many recipients the open transaction has, of those that were accepted.
    #[must_use]
    pub fn recipients(&self) -> u32 {
        self.recipients
    }

    /// Whether the text that is asked about, or comes in, is by BDAT rather than DATA.
    #[must_use]
    pub fn is_by_chunks(&self) -> bool {
        self.pending == Some(Pending::Bdat) || matches!(self.state, State::Chunk | State::Chunks)
    }

    /// The name the client gave in EHLO, HELO or LHLO, in this channel. Its own claim.
    #[must_use]
    pub fn hello(&self) -> Option<&str> {
        self.names.get(..self.hello).filter(|name| !name.is_empty())
    }

    /// The client's address, where a [trusted](Self::trust) peer gave one by XCLIENT that was accepted: it stands in for
    /// the peer's own until the connection ends, behind STARTTLS too. `0.0.0.0:0` says that the peer does not know it.
    #[must_use]
    pub fn client_address(&self) -> Option<SocketAddr> {
        self.rare.as_ref()?.client
    }

    /// What is known of the TLS connection, if the hop is encrypted.
    #[must_use]
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.tls.as_deref()
    }

    /// What the client offered in its ClientHello, if it came to one and the driver tells.
    #[must_use]
    pub const fn offered(&self) -> Option<TlsOffer> {
        self.offered
    }

    /// What became of TLS on this hop, so far.
    #[must_use]
    pub fn tls_outcome(&self) -> TlsOutcome {
        let failure = self.rare.as_ref().and_then(|rare| rare.tls_failure.as_ref());
        outcome(self.tls(), failure, self.config.tls.offers())
    }

    /// The protocol type for the Received field (RFC 3848, RFC 6531 4.3).
    #[must_use]
    pub fn protocol(&self) -> WithProtocol {
        WithProtocol {
            lmtp: self.config.role == Role::Lmtp,
            extended: self.phase.extended,
            utf8: self.phase.utf8,
            tls: self.tls.is_some(),
            authenticated: self.identity().is_some(),
        }
    }

    /// The Received field of a message of this session (RFC 5321 4.4), ready to be written. `to` are its recipients: a
    /// single one is named, several are not, because each would learn of the others (RFC 5321 7.2).
    #[must_use]
    pub fn received<'a>(&'a self, peer: Option<IpAddr>, id: &'a str, to: &'a [String], date: &'a str) -> Received<'a> {
        Received {
            hello: self.hello(),
            peer,
            by: &self.config.hostname,
            protocol: self.protocol(),
            tls: self.tls(),
            id,
            recipient: if let [only] = to { Some(only) } else { None },
            date,
        }
    }
}
