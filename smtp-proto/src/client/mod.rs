//! The client's side of a session (RFC 5321, RFC 2033), as a state machine without I/O.
//!
//! [`Session`] speaks the protocol; [`Transaction`] on top of it sends one envelope and knows what became of each
//! recipient.

mod config;
mod due;
mod envelope;
mod event;
mod floor;
mod message;
mod offers;
mod opening;
mod outcome;
mod owned;
mod phase;
mod replies;
mod send;
mod state;
mod transaction;

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::time::Duration;

pub use crate::syntax::Body;
pub use config::{Config, ConfigError, Limits, Protocol, Timeouts, Tls};
pub use envelope::Envelope;
pub use event::{Event, Fault, FaultKind, MessageTicket, NoConnection, NotNow, Reason, TextError};
pub use offers::Offers;
pub use outcome::{Because, Outcome};
pub use owned::{OwnedBecause, OwnedOutcome, Recipient};
pub use state::{Awaited, Move, State};
pub use transaction::{Progress, Transaction};

use crate::session::{Output, Tickets, established, outcome};
use crate::syntax::{KeywordSet, OwnedReply, ReplyReader};
use crate::tls::{Channel, TlsFailure, TlsInfo, TlsOutcome};
use crate::{Step, Want};
use due::Due;
use message::{Message, TextRules};
use opening::Login;
use phase::Phase;
use state::Queue;

/// One SMTP or LMTP session, seen from the client.
///
/// **Driving it**: [`step`](Self::step) until it returns a [`Want`], write out [`output`](Self::output) and say
/// [`sent`](Self::sent), then do what is wanted: the same loop as the server's (see the [crate's front page](crate)).
/// The session greets, starts TLS and authenticates by itself, as far as its [`Config`] says so.
///
/// **Commanding it**: after [`Event::Ready`] the session wants [`Want::Decision`] whenever nothing is awaited: give
/// commands by [`send`](Self::send), as many as it takes, and step. Upon [`Event::Message`] write the text by
/// [`write`](Self::write) and [`finish`](Self::finish). At last [`quit`](Self::quit). Or leave all of that to a
/// [`Transaction`].
///
/// **Time**: the driver keeps the clock. Whenever [`progress`](Self::progress) changes it starts a new period of
/// [`timeout`](Self::timeout), and at its end it calls [`timed_out`](Self::timed_out). Between transactions, when
/// nothing is awaited, it may wait as long as it likes.
///
/// **Endings**: [`eof`](Self::eof), [`tls_failed`](Self::tls_failed), [`abandon`](Self::abandon). All lead to
/// [`Event::Closed`] and [`Want::Close`] by way of `step`.
///
/// ```
/// # extern crate std;
/// use smtp_proto::client::{Awaited, Config, Event, Session, Tls};
/// use smtp_proto::{Channel, Step, Want};
///
/// let config = Config::new("client.example")?.tls(Tls::Never).shared();
/// let mut session = Session::new(config, Channel::Plain);
/// // What the server says, as it would be read on `Want::Input`.
/// let mut server = ["220 mx.example.net\r\n", "250-mx.example.net\r\n250 SIZE 1000\r\n", "221 Bye\r\n"].into_iter();
/// let (mut input, mut wire) = (&b""[..], Vec::new());
/// loop {
///     let want = match session.step(&mut input) {
///         Step::Event(Event::Ready) => { session.quit(); continue }
///         Step::Event(_) => continue,
///         Step::Want(want) => want,
///     };
///     wire.extend_from_slice(session.output());
///     session.sent(session.output().len());
///     match want {
///         Want::Input => input = server.next().unwrap_or_default().as_bytes(),
///         Want::Close => break,
///         other => unreachable!("{other:?}"),
///     }
/// }
/// assert_eq!(wire, b"EHLO client.example\r\nQUIT\r\n");
/// # Ok::<(), smtp_proto::client::ConfigError>(())
/// ```
pub struct Session {
    config: Arc<Config>,
    tickets: Tickets,
    state: State,
    phase: Phase,
    awaited: Queue,
    reader: ReplyReader,
    offers: Offers,
    tls: Option<Box<TlsInfo>>,
    tls_failure: Option<TlsFailure>,
    /// What the server said to STARTTLS when it refused, and the session went on.
    tls_refusal: Option<OwnedReply>,
    login: Option<Box<Login>>,
    /// By XCLIENT, the name of whom this session speaks for.
    spoken_for: Option<Box<str>>,
    message: Option<Message>,
    text_rules: TextRules,
    /// Parameters of this transaction that were left out.
    left_out: KeywordSet,
    /// Where the text of this transaction ends in all that is put out.
    text_end: Option<u64>,
    /// Recipients accepted in this transaction; LMTP replies to its text that are still to come.
    accepted: u32,
    deliveries: u32,
    /// Transactions begun, recipients named in this one.
    mails: u32,
    named: u32,
    /// MAIL asked for SMTPUTF8.
    utf8: bool,
    output: Output,
    offset: u64,
    progress: u64,
    text_drip: u64,
    due: Due,
    ended: Option<Reason>,
}

impl Session {
    /// A session on a connection that has just been made; `channel` says whether TLS is up already.
    #[must_use]
    pub fn new(config: Arc<Config>, channel: Channel) -> Self {
        let mut awaited = Queue::new();
        awaited.push(Awaited::Greeting, 0);
        let mut session = Self {
            reader: ReplyReader::new(config.limits.reply).bare_lf(config.bare_lf),
            tickets: Tickets::new(&config.sessions),
            config,
            state: State::Connected,
            phase: Phase::default(),
            awaited,
            offers: Offers::default(),
            tls: established(channel),
            tls_failure: None,
            tls_refusal: None,
            login: None,
            spoken_for: None,
            message: None,
            text_rules: TextRules::default(),
            left_out: KeywordSet::EMPTY,
            text_end: None,
            accepted: 0,
            deliveries: 0,
            mails: 0,
            named: 0,
            utf8: false,
            output: Output::new(),
            offset: 0,
            progress: 0,
            text_drip: 0,
            due: Due::default(),
            ended: None,
        };
        session.check_verified();
        session
    }

    /// Takes what it can use off the front of `input`, and says what happened or what is needed. The caller keeps the
    /// rest, appends to it what it reads next, and never reorders it. It must be able to hold
    /// [`ReplyLimits::total`](crate::syntax::ReplyLimits::total) octets.
    ///
    /// The driver reads on [`Want::Input`]. While a text is being written ([`Want::Decision`]) it may read as well, so
    /// that an early 421 is noticed.
    pub fn step<'i>(&mut self, input: &mut &'i [u8]) -> Step<Event<'i>> {
        loop {
            if let Some(event) = self.due.next() {
                return Step::Event(event);
            }
            if self.state == State::Closed {
                *input = &[];
                return Step::Want(Want::Close);
            }
            if self.state == State::StartTls {
                if input.is_empty() {
                    return Step::Want(Want::Tls);
                }
                // RFC 3207 4: what came before the handshake cannot be trusted to be the server's. Never parsed.
                self.fault(FaultKind::PlaintextBehindStartTls, self.offset);
                continue;
            }
            if let Some(step) = self.read(input) {
                return step;
            }
        }
    }

    /// What is to be written to the server.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        self.output.waiting()
    }

    /// Whether [`output`](Self::output) may hold credentials, and is not to be shown.
    #[must_use]
    pub const fn is_secret(&self) -> bool {
        self.output.is_secret()
    }

    /// Says that the first `n` octets of [`output`](Self::output) have been written.
    pub fn sent(&mut self, n: usize) {
        let n = self.output.sent(n);
        self.drip(n);
    }

    /// Gives back the memory of the output when nothing waits in it. For sessions that wait long.
    pub fn release(&mut self) {
        self.output.release();
    }

    /// Says that the handshake is done: the session begins anew inside TLS (RFC 3207 4.2). A call at any other time ends the
    /// session.
    pub fn tls_established(&mut self, tls: TlsInfo) {
        if self.state != State::StartTls {
            self.misused();
            return;
        }
        self.go(Move::TlsEstablished);
        self.tls = Some(Box::new(tls));
        self.offers.forget();
        self.reader = ReplyReader::new(self.config.limits.reply).bare_lf(self.config.bare_lf);
        self.offset = 0;
        self.progress += 1;
        if self.check_verified() {
            self.hello();
        }
    }

    /// Says that the handshake failed: the session is over, and nothing more is written. Whether to try again without TLS is the
    /// caller's to decide, on a new connection.
    pub fn tls_failed(&mut self, failure: TlsFailure) {
        self.tls_failure = Some(failure.clone());
        self.output.drop_all();
        self.close(Reason::TlsFailed(failure));
    }

    /// How long to wait for the server from the last change of [`progress`](Self::progress) (RFC 5321 4.5.3.2).
    #[must_use]
    pub fn timeout(&self) -> Duration {
        let timeouts = &self.config.timeouts;
        if self.state == State::StartTls {
            return timeouts.handshake;
        }
        match self.awaited.first().map(|(awaited, _)| awaited) {
            _ if self.message.is_some() => timeouts.text,
            Some(Awaited::Greeting) => timeouts.greeting,
            Some(Awaited::Data) => timeouts.data,
            // Until the end of the text has gone out it is still the text that is waited for.
            Some(Awaited::Text | Awaited::Chunk) if !self.output().is_empty() => timeouts.text,
            Some(Awaited::Text) => timeouts.text_end,
            Some(Awaited::Quit) => timeouts.quit,
            _ => timeouts.command,
        }
    }

    /// A number that changes when the session gets on: with each whole reply, and while text is sent with each KiB that was
    /// taken.
    #[must_use]
    pub const fn progress(&self) -> u64 {
        self.progress
    }

    /// Says that [`timeout`](Self::timeout) has passed without progress. That ends the session.
    pub fn timed_out(&mut self) {
        match self.state {
            State::StartTls => self.tls_failed(TlsFailure::TimedOut),
            _ => self.cut_off(Reason::TimedOut),
        }
    }

    /// Says that the server has closed the connection. Half a reply is none.
    pub fn eof(&mut self) {
        match self.state {
            State::StartTls => self.tls_failed(TlsFailure::Closed),
            _ => self.cut_off(Reason::Eof),
        }
    }

    /// Ends the session at once, without another byte: the only way to take back a text that has begun.
    pub fn abandon(&mut self) {
        self.output.drop_all();
        self.close(Reason::Abandoned);
    }

    /// Where the session stands, by the replies that have come.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Why the session ended, once it has.
    #[must_use]
    pub const fn ended(&self) -> Option<&Reason> {
        self.ended.as_ref()
    }

    /// Whether nothing is awaited, and a transaction may begin.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.phase.opened && self.state == State::Ready && self.awaited.len() == 0 && !self.reader.in_reply()
    }

    /// Parameters of the latest transaction that only ask for something and were left out, since the server does not offer
    /// them; see [`Config::require_parameters`].
    #[must_use]
    pub const fn left_out(&self) -> KeywordSet {
        self.left_out
    }

    /// Whether greeting, EHLO, STARTTLS and AUTH are done, as far as they were asked for.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.phase.opened
    }

    /// Whether the whole text of the latest transaction that has one has been written to the server, its end included. While its reply
    /// has not come nobody knows whether the server has the message (RFC 1047).
    #[must_use]
    pub fn text_has_gone_out(&self) -> bool {
        self.text_end.is_some_and(|end| end <= self.output.gone_out())
    }

    /// How many replies are awaited; the several replies of LMTP to one text are one.
    #[must_use]
    pub fn awaited(&self) -> usize {
        self.awaited.len()
    }

    /// What the server announced on this channel.
    #[must_use]
    pub const fn offers(&self) -> &Offers {
        &self.offers
    }

    /// The configuration that the session was made with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Whether AUTH has succeeded in this session.
    #[must_use]
    pub const fn is_authenticated(&self) -> bool {
        self.phase.authenticated
    }

    /// What is known of the TLS connection, if the hop is encrypted.
    #[must_use]
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.tls.as_deref()
    }

    /// What the server said to STARTTLS, if it refused and the session went on in plaintext.
    #[must_use]
    pub const fn tls_refusal(&self) -> Option<&OwnedReply> {
        self.tls_refusal.as_ref()
    }

    /// What became of TLS on this hop, so far: the fact for the ledger.
    #[must_use]
    pub fn tls_outcome(&self) -> TlsOutcome {
        outcome(self.tls(), self.tls_failure.as_ref(), self.phase.tls_offered)
    }
}

/// Without the output, which may hold credentials, and without the text.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("state", &self.state)
            .field("awaited", &self.awaited)
            .field("tls", &self.tls)
            .field("phase", &self.phase)
            .field("output", &self.output().len())
            .finish_non_exhaustive()
    }
}
