//! What an application writes: a handler, whose return values are the answers.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;
use std::time::UNIX_EPOCH;

use smtp_proto::auth::server::{Answer, Question};
use smtp_proto::server::{Fault, MessageEnd, Reason, Session, Verdict};
use smtp_proto::syntax::{Attributes, Host, Mail, Rcpt, Verb};
use smtp_proto::trace::Date;

/// What a server does with what it hears: the return value is the answer.
///
/// One handler a connection. A slow answer slows its own peer, and nobody else.
///
/// ```
/// use smtp_proto::server::{Fault, MessageEnd, Verdict};
/// use smtp_proto::syntax::{Mail, Reply};
/// use smtp_smol::{Handler, Peer};
///
/// /// Counts what is in a message while it comes in, and holds none of it.
/// #[derive(Default)]
/// struct Count {
///     lines: u64,
/// }
///
/// impl Handler for Count {
///     async fn mail(&mut self, peer: &Peer<'_>, mail: &Mail<'_>) -> Verdict<'_> {
///         match mail.params.size() {
///             Some(size) if size > 1_000_000 && peer.session.tls().is_none() => {
///                 Verdict::Refuse(const { Reply::fixed(552, (5, 3, 4), "Large messages come encrypted") })
///             }
///             _ => Verdict::Accept,
///         }
///     }
///     async fn chunk(&mut self, text: &[u8]) {
///         self.lines += text.iter().filter(|octet| **octet == b'\n').count() as u64;
///     }
///     async fn message(&mut self, _: &Peer<'_>, end: MessageEnd) -> Verdict<'_> {
///         println!("{} octets on {} lines", end.octets, self.lines);
///         Verdict::Accept // now it is ours
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
    fn connect(&mut self, _peer: &Peer<'_>) -> impl Future<Output = Verdict<'_>> + Send {
        async { Verdict::Accept }
    }
    /// The peer has given its name, by EHLO, HELO or LHLO. It is the peer's own claim.
    fn hello(&mut self, _peer: &Peer<'_>, _host: &Host<'_>) -> impl Future<Output = Verdict<'_>> + Send {
        async { Verdict::Accept }
    }
    /// The peer wants to encrypt the connection, by STARTTLS. When that is accepted, the handshake follows (RFC 3207 4).
    fn start_tls(&mut self, _peer: &Peer<'_>) -> impl Future<Output = Verdict<'_>> + Send {
        async { Verdict::Accept }
    }
    /// The peer wants to authenticate, and this is what its mechanism asks; [`Users`](crate::Users) has answers. By
    /// default nobody is known here.
    fn authenticate(&mut self, _peer: &Peer<'_>, _question: Question) -> impl Future<Output = Answer> + Send {
        async { Answer::Reject }
    }
    /// RSET, NOOP, VRFY, HELP or QUIT, where the configuration
    /// [has them asked about](smtp_proto::server::Config::ask_about_all).
    fn command(&mut self, _peer: &Peer<'_>, _verb: Verb) -> impl Future<Output = Verdict<'_>> + Send {
        async { Verdict::Accept }
    }
    /// XCLIENT, of a peer that [is trusted](crate::Server::trust): who its client is. When accepted, [`Peer::address`] is
    /// the client's from then on.
    fn xclient(&mut self, _peer: &Peer<'_>, _client: &Attributes<'_>) -> impl Future<Output = Verdict<'_>> + Send {
        async { Verdict::Accept }
    }
    /// XFORWARD, of a peer that is trusted likewise: who its client is, for the log alone.
    fn xforward(&mut self, _peer: &Peer<'_>, _client: &Attributes<'_>) -> impl Future<Output = Verdict<'_>> + Send {
        async { Verdict::Accept }
    }
    /// MAIL begins a transaction: the sender, and what is asked of the message.
    fn mail(&mut self, _peer: &Peer<'_>, _mail: &Mail<'_>) -> impl Future<Output = Verdict<'_>> + Send {
        async { Verdict::Accept }
    }
    /// RCPT adds a recipient to the transaction. A refusal concerns this one alone.
    fn rcpt(&mut self, _peer: &Peer<'_>, _rcpt: &Rcpt<'_>) -> impl Future<Output = Verdict<'_>> + Send {
        async { Verdict::Accept }
    }
    /// The peer wants to send the text, by DATA or a first BDAT. Recipients have been accepted.
    fn data(&mut self, _peer: &Peer<'_>) -> impl Future<Output = Verdict<'_>> + Send {
        async { Verdict::Accept }
    }
    /// A piece of the message's text, dots removed. Joined, the pieces are the text. While this one is being dealt with,
    /// nothing further is read from the peer.
    fn chunk(&mut self, _text: &[u8]) -> impl Future<Output = ()> + Send {
        async {}
    }
    /// The text is complete. Accepting it takes over the responsibility for the message (RFC 5321 6.1), so answer when it is
    /// safe. In LMTP this is called for each recipient (RFC 2033 4.2).
    fn message(&mut self, peer: &Peer<'_>, end: MessageEnd) -> impl Future<Output = Verdict<'_>> + Send;
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
/// use smtp_proto::server::{MessageEnd, Verdict};
/// use smtp_smol::{Handler, Peer};
///
/// struct Log;
///
/// impl Handler for Log {
///     async fn message(&mut self, peer: &Peer<'_>, end: MessageEnd) -> Verdict<'_> {
///         let (hello, encrypted) = (peer.session.hello(), peer.session.tls().is_some());
///         println!("{} octets from {:?}, who says to be {hello:?}; TLS: {encrypted}", end.octets, peer.address);
///         let field = peer.received("42", &["ben@example.net".into()]); // goes on top of the message
///         # drop(field);
///         Verdict::Accept
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Peer<'s> {
    /// The peer's address; behind a load balancer, the one that the PROXY header gives; behind an accepted XCLIENT, the
    /// client's, which is 0.0.0.0:0 where the peer does not know it. A Unix socket has none.
    pub address: Option<SocketAddr>,
    /// By which listener it came: the number that [`Server::add`](crate::Server::add) gave; the first has 0.
    pub listener: usize,
    /// How long the TLS handshake took, whether it succeeded or not; none if there was none.
    pub handshake: Option<Duration>,
    /// What the peer said last, as it came: of a fault, the line. For logs, which must escape it, and may find secrets in
    /// it.
    pub said: &'s [u8],
    /// The session: name, TLS, protocol type.
    pub session: &'s Session,
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
