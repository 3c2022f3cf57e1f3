//! What an application writes: a handler, whose return values are the answers, now or later.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, UNIX_EPOCH};

use mio::Waker;
use smtp_proto::auth::server::{Answer as Login, Question as AuthQuestion};
use smtp_proto::server::{Fault, MessageEnd, Reason, Session, Verdict};
use smtp_proto::syntax::{Attributes, Enhanced, Host, Mail, Rcpt, Reply, Verb};
use smtp_proto::trace::Date;

/// What a server does with what it hears: the return value is the answer.
///
/// One handler a connection. The names are those of `smtp-smol`'s; here nothing may block for long, as it would hold up
/// the other connections of the loop: what takes time is answered [`Answer::Later`].
///
/// ```
/// use std::time::Duration;
/// use smtp_mio::{Answer, Handler, OwnedVerdict, Peer};
/// use smtp_proto::server::{Fault, MessageEnd, Verdict};
///
/// /// Counts what is in a message while it comes in, holds none of it, and greets late.
/// #[derive(Default)]
/// struct Count {
///     lines: u64,
/// }
///
/// impl Handler for Count {
///     fn connect(&mut self, _: &Peer<'_>) -> Answer<'_> {
///         Answer::After(Duration::from_millis(500), OwnedVerdict::Accept)
///     }
///     fn chunk(&mut self, text: &[u8]) {
///         self.lines += text.iter().filter(|octet| **octet == b'\n').count() as u64;
///     }
///     fn message(&mut self, _: &Peer<'_>, end: MessageEnd) -> Answer<'_> {
///         println!("{} octets on {} lines", end.octets, self.lines);
///         Verdict::Accept.into() // now it is ours
///     }
///     fn reset(&mut self, _: &Peer<'_>) {
///         self.lines = 0;
///     }
///     fn fault(&mut self, peer: &Peer<'_>, fault: Fault) {
///         eprintln!("{:?} broke a rule: {:?}", peer.address, fault.kind);
///     }
/// }
/// ```
pub trait Handler: Send + 'static {
    /// By which name the log calls the session, if it has one: it stands in the adapter's lines about it. Of a handler that
    /// has panicked it is not asked.
    fn session(&self) -> Option<&str> {
        None
    }
    /// The peer has connected.
    fn connect(&mut self, _peer: &Peer<'_>) -> Answer<'_> {
        Verdict::Accept.into()
    }
    /// The peer has given its name, by EHLO, HELO or LHLO. It is the peer's own claim.
    fn hello(&mut self, _peer: &Peer<'_>, _host: &Host<'_>) -> Answer<'_> {
        Verdict::Accept.into()
    }
    /// The peer wants to encrypt the connection, by STARTTLS. When that is accepted, the handshake follows (RFC 3207 4).
    fn start_tls(&mut self, _peer: &Peer<'_>) -> Answer<'_> {
        Verdict::Accept.into()
    }
    /// The peer wants to authenticate, and this is what its mechanism asks; [`Users`](crate::Users) has answers. By
    /// default nobody is known here.
    fn authenticate(&mut self, _peer: &Peer<'_>, _question: AuthQuestion) -> AuthAnswer {
        Login::Reject.into()
    }
    /// RSET, NOOP, VRFY, HELP or QUIT, where the configuration
    /// [has them asked about](smtp_proto::server::Config::ask_about_all).
    fn command(&mut self, _peer: &Peer<'_>, _verb: Verb) -> Answer<'_> {
        Verdict::Accept.into()
    }
    /// XCLIENT, of a peer that [is trusted](crate::Server::trust): who its client is. When accepted, [`Peer::address`] is
    /// the client's from then on.
    fn xclient(&mut self, _peer: &Peer<'_>, _client: &Attributes<'_>) -> Answer<'_> {
        Verdict::Accept.into()
    }
    /// XFORWARD, of a peer that is trusted likewise: who its client is, for the log alone.
    fn xforward(&mut self, _peer: &Peer<'_>, _client: &Attributes<'_>) -> Answer<'_> {
        Verdict::Accept.into()
    }
    /// MAIL begins a transaction: the sender, and what is asked of the message.
    fn mail(&mut self, _peer: &Peer<'_>, _mail: &Mail<'_>) -> Answer<'_> {
        Verdict::Accept.into()
    }
    /// RCPT adds a recipient to the transaction. A refusal concerns this one alone.
    fn rcpt(&mut self, _peer: &Peer<'_>, _rcpt: &Rcpt<'_>) -> Answer<'_> {
        Verdict::Accept.into()
    }
    /// The peer wants to send the text, by DATA or a first BDAT. Recipients have been accepted.
    fn data(&mut self, _peer: &Peer<'_>) -> Answer<'_> {
        Verdict::Accept.into()
    }
    /// A piece of the message's text, dots removed. Joined, the pieces are the text.
    fn chunk(&mut self, _text: &[u8]) {}
    /// The text is complete. Accepting it takes over the responsibility for the message (RFC 5321 6.1), so answer when it is
    /// safe. In LMTP this is called for each recipient (RFC 2033 4.2).
    fn message(&mut self, _peer: &Peer<'_>, _end: MessageEnd) -> Answer<'_>;
    /// The transaction is over: forget its sender, its recipients and its text. Called once for each transaction, after
    /// the answer to [`message`](Self::message) (in LMTP to the last one) or what else ended it; a connection that ends
    /// inside one calls [`closed`](Self::closed) instead.
    fn reset(&mut self, _peer: &Peer<'_>) {}
    /// The peer broke a rule, and has been answered.
    fn fault(&mut self, _peer: &Peer<'_>, _fault: Fault) {}
    /// The connection has ended, and this says how. A text that had no [`message`](Self::message) was not received.
    fn closed(&mut self, _peer: &Peer<'_>, _reason: Reason) {}
}

/// Who is at the other end, and what is known of the session.
///
/// ```
/// use smtp_mio::{Answer, Handler, Peer};
/// use smtp_proto::server::{MessageEnd, Verdict};
///
/// struct Log;
///
/// impl Handler for Log {
///     fn message(&mut self, peer: &Peer<'_>, end: MessageEnd) -> Answer<'_> {
///         let (hello, encrypted) = (peer.session.hello(), peer.session.tls().is_some());
///         println!("{} octets from {:?}, who says to be {hello:?}; TLS: {encrypted}", end.octets, peer.address);
///         let field = peer.received("42", &["ben@example.net".into()]); // goes on top of the message
///         # drop(field);
///         Verdict::Accept.into()
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Peer<'s> {
    /// The peer's address; behind a load balancer, the one that the PROXY header gives; behind an accepted XCLIENT, the
    /// client's, which is 0.0.0.0:0 where the peer does not know it. A Unix socket has none.
    pub address: Option<SocketAddr>,
    /// What the peer said last, as it came: of a fault, the line. For logs, which must escape it, and may find secrets in
    /// it.
    pub said: &'s [u8],
    /// The session: name, TLS, protocol type.
    pub session: &'s Session,
    pub(crate) question: Question,
    pub(crate) mailroom: &'s Mailroom,
}

impl Peer<'_> {
    /// The Received field that goes on top of a message of this session (RFC 5321 4.4), with its CRLF and the present
    /// date. `id` is your name for the message, and `to` are its recipients.
    #[must_use]
    pub fn received(&self, id: &str, to: &[String]) -> Vec<u8> {
        let now = UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
        let address = self.address.map(|address| address.ip().to_canonical());
        let mut field = Vec::new();
        self.session.received(address, id, to, &Date::from_unix(now).to_string()).write(&mut field);
        field
    }

    /// Puts the present answer off: the handler returns [`Answer::Later`] with the first, and the second gives the
    /// answer, from any thread. Meanwhile the connection waits, and nothing further is read from it.
    pub fn defer(&self) -> (Later, Deferred) {
        (Later(()), Deferred(self.owed()))
    }

    /// Puts the answer to AUTH off: [`Handler::authenticate`] returns [`AuthAnswer::Later`] with the first, and the second
    /// gives the answer, from any thread.
    pub fn defer_auth(&self) -> (LaterAuth, DeferredAuth) {
        (LaterAuth(()), DeferredAuth(self.owed()))
    }

    fn owed(&self) -> Owed {
        Owed { question: Some(self.question), to: self.mailroom.clone() }
    }
}

/// The peer as logs name it: its address, or `unix`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name(pub(crate) Option<SocketAddr>);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("unix"),
        }
    }
}

/// Which event of which connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Question {
    pub(crate) key: usize,
    pub(crate) generation: u64,
    /// It comes round; an answer that is owed is never so late.
    pub(crate) serial: u32,
}

/// A handler's answer to a command: a verdict, at once or later.
///
/// ```
/// use std::thread;
/// use smtp_mio::{Answer, Handler, OwnedVerdict, Peer};
/// use smtp_proto::server::MessageEnd;
///
/// struct Store;
///
/// impl Handler for Store {
///     fn message(&mut self, peer: &Peer<'_>, _: MessageEnd) -> Answer<'_> {
///         let (later, deferred) = peer.defer();
///         // What takes time is done elsewhere, and answered from there.
///         thread::spawn(move || deferred.answer(OwnedVerdict::Accept));
///         Answer::Later(later)
///     }
/// }
/// ```
#[derive(Debug)]
#[must_use]
pub enum Answer<'r> {
    /// This verdict, at once.
    Now(Verdict<'r>),
    /// This, when so much time has gone by. For tarpits and for tests of clients.
    After(Duration, OwnedVerdict),
    /// By the [`Deferred`] that [`Peer::defer`] gave.
    Later(Later),
    /// None: the connection is closed at once, without a word.
    HangUp,
}

impl<'r> From<Verdict<'r>> for Answer<'r> {
    fn from(verdict: Verdict<'r>) -> Self {
        Self::Now(verdict)
    }
}

impl<'r> From<Reply<'r>> for Answer<'r> {
    fn from(reply: Reply<'r>) -> Self {
        Self::Now(Verdict::Refuse(reply))
    }
}

/// A handler's answer to AUTH.
#[derive(Debug)]
#[must_use]
pub enum AuthAnswer {
    /// This answer, at once.
    Now(Login),
    /// This, when so much time has gone by; `None` is to hang up then.
    After(Duration, Option<Login>),
    /// By the [`DeferredAuth`] that [`Peer::defer_auth`] gave.
    Later(LaterAuth),
    /// None: the connection is closed at once, without a word.
    HangUp,
}

impl From<Login> for AuthAnswer {
    fn from(login: Login) -> Self {
        Self::Now(login)
    }
}

/// Proof that an answer is on its way: [`Peer::defer`] gives it together with the [`Deferred`] that answers.
#[derive(Debug)]
pub struct Later(());

/// Proof that an answer to AUTH is on its way: [`Peer::defer_auth`] gives it together with the [`DeferredAuth`].
#[derive(Debug)]
pub struct LaterAuth(());

/// A verdict that owns its words, to travel between threads.
///
/// ```
/// use smtp_mio::OwnedVerdict;
/// use smtp_proto::syntax::Enhanced;
///
/// let full = OwnedVerdict::Refuse(452, Some(Enhanced::new(4, 2, 2)), "The mailbox is full".into());
/// # drop(full);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OwnedVerdict {
    /// The command is accepted, in the words of the protocol.
    Accept,
    /// The command is accepted, with the usual code and this text.
    AcceptWith(String),
    /// The command is refused: code, enhanced code, text. What makes no valid reply is answered 451 4.3.0.
    Refuse(u16, Option<Enhanced>, String),
    /// No answer: the connection is closed, without a word.
    HangUp,
}

impl OwnedVerdict {
    /// As the core wants it; `None` is to hang up.
    pub(crate) fn as_verdict(&self) -> Option<Verdict<'_>> {
        Some(match self {
            Self::Accept => Verdict::Accept,
            Self::AcceptWith(words) => Verdict::AcceptWith(words),
            Self::Refuse(code, enhanced, text) => {
                let local = Reply::fixed(451, (4, 3, 0), "Local error; try again later");
                Verdict::Refuse(Reply::new(*code, *enhanced, text).unwrap_or(local))
            }
            Self::HangUp => return None,
        })
    }
}

/// An answer that is still owed. Dropped without one, the command is answered 451 4.3.0.
#[derive(Debug)]
#[must_use = "dropped, it answers 451 4.3.0"]
pub struct Deferred(Owed);

impl Deferred {
    /// Gives the answer; it may be called from any thread.
    pub fn answer(mut self, verdict: OwnedVerdict) {
        self.0.send(Given::Verdict(verdict));
    }
}

impl Drop for Deferred {
    fn drop(&mut self) {
        let words = "Local error; try again later".into();
        self.0.send(Given::Verdict(OwnedVerdict::Refuse(451, Some(Enhanced::new(4, 3, 0)), words)));
    }
}

/// An answer to AUTH that is still owed. Dropped without one, the client is answered 454 4.7.0.
#[derive(Debug)]
#[must_use = "dropped, it answers 454 4.7.0"]
pub struct DeferredAuth(Owed);

impl DeferredAuth {
    /// Gives the answer to AUTH; it may be called from any thread.
    pub fn answer(mut self, login: Login) {
        self.0.send(Given::Login(Some(login)));
    }
}

impl Drop for DeferredAuth {
    fn drop(&mut self) {
        self.0.send(Given::Login(Some(Login::TemporaryFailure)));
    }
}

/// To whom an answer goes; the first is the only one.
#[derive(Debug)]
struct Owed {
    question: Option<Question>,
    to: Mailroom,
}

impl Owed {
    fn send(&mut self, given: Given) {
        if let Some(question) = self.question.take() {
            let _ = self.to.sender.send((question, given));
            let _ = self.to.waker.wake();
        }
    }
}

/// An answer that came later.
#[derive(Debug)]
pub(crate) enum Given {
    Verdict(OwnedVerdict),
    Login(Option<Login>),
}

#[derive(Clone, Debug)]
pub(crate) struct Mailroom {
    pub(crate) sender: Sender<(Question, Given)>,
    pub(crate) waker: Arc<Waker>,
}
