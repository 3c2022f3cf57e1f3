//! Whole messages with their envelopes, for applications that need no stream.

use std::future::Future;
use std::sync::Arc;

use smtp_proto::auth::server::{Answer, Question};
use smtp_proto::server::{Envelope, Fault, Gather, MessageEnd, Reason, Room, Verdict};
use smtp_proto::syntax::{Attributes, Host, Mail, Rcpt, Verb};

use crate::handler::{Handler, Peer};

/// What a server does with whole messages: the return value is the answer.
///
/// [`Messages`] makes a [`Handler`] of it. That one is for applications that deal with text as it comes, or whose
/// messages are too large for memory.
///
/// ```
/// use smtp_proto::server::{Envelope, Verdict};
/// use smtp_proto::syntax::{Rcpt, Reply};
/// use smtp_smol::{MessageHandler, Peer};
///
/// /// Takes mail for one domain, and says how much came.
/// struct Gateway;
///
/// impl MessageHandler for Gateway {
///     async fn rcpt(&mut self, _: &Peer<'_>, rcpt: &Rcpt<'_>) -> Verdict<'_> {
///         match rcpt.path.as_str().rsplit_once('@') {
///             Some((_, domain)) if domain.eq_ignore_ascii_case("example.net") => Verdict::Accept,
///             _ => Verdict::Refuse(const { Reply::fixed(550, (5, 7, 1), "No mail for that domain here") }),
///         }
///     }
///     async fn message(&mut self, _: &Peer<'_>, envelope: Envelope) -> Verdict<'_> {
///         println!("{} octets from <{}> to {:?}", envelope.text.len(), envelope.from, envelope.to);
///         Verdict::Accept // now it is ours
///     }
/// }
/// ```
pub trait MessageHandler: Send + 'static {
    /// By which name the log calls the session, if it has one: it stands in the adapter's lines about it. Of a handler that
    /// has panicked it is not asked.
    fn session(&self) -> Option<&str> {
        None
    }
    /// The peer has connected.
    fn connect(&mut self, _peer: &Peer<'_>) -> impl Future<Output = Verdict<'_>> + Send {
        async { Verdict::Accept }
    }
    /// The peer has said its name, by EHLO or HELO.
    fn hello(&mut self, _peer: &Peer<'_>, _host: &Host<'_>) -> impl Future<Output = Verdict<'_>> + Send {
        async { Verdict::Accept }
    }
    /// The peer wants to begin TLS, by STARTTLS.
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
    /// XCLIENT, of a peer that [is trusted](crate::Server::trust): who its client is.
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
    /// RCPT names a recipient. Those that are refused are not in the envelope.
    fn rcpt(&mut self, _peer: &Peer<'_>, _rcpt: &Rcpt<'_>) -> impl Future<Output = Verdict<'_>> + Send {
        async { Verdict::Accept }
    }
    /// A message has come. Accepting it takes over the responsibility for it (RFC 5321 6.1), so answer when it is safe.
    /// In LMTP this is called for each recipient, who is then alone in the envelope (RFC 2033 4.2).
    fn message(&mut self, peer: &Peer<'_>, envelope: Envelope) -> impl Future<Output = Verdict<'_>> + Send;
    /// The peer broke a rule, and has been answered.
    fn fault(&mut self, _peer: &Peer<'_>, _fault: Fault) {}
    /// The connection has ended.
    fn closed(&mut self, _peer: &Peer<'_>, _reason: Reason) {}
}

/// The [`Handler`] that gathers whole messages for a [`MessageHandler`], within the bounds of a [`Room`]. A message for
/// which there is no room is refused: 552 when it is too large by itself, 452 when others fill the room.
///
/// ```no_run
/// # use smtp_proto::server::{Envelope, Verdict};
/// # use smtp_smol::{MessageHandler, Peer};
/// # struct Gateway;
/// # impl MessageHandler for Gateway {
/// #     async fn message(&mut self, _: &Peer<'_>, _: Envelope) -> Verdict<'_> { Verdict::Accept }
/// # }
/// use std::sync::Arc;
/// use smtp_proto::{server::{Config, Room}, tls::Policy};
/// use smtp_smol::{Messages, Server};
///
/// let mut server = Server::new(Config::new("mx.example.net")?.tls(Policy::Off).shared());
/// server.listen("127.0.0.1:2525".parse()?)?;
/// let room = Arc::new(Room::default()); // one for all connections
/// server.run(move |_| Messages::new(Gateway, &room))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Messages<H> {
    handler: H,
    gather: Gather,
}

impl<H: MessageHandler> Messages<H> {
    /// The handler of a connection.
    #[must_use]
    pub fn new(handler: H, room: &Arc<Room>) -> Self {
        Self { handler, gather: Gather::new(room.clone()) }
    }
}

impl<H: MessageHandler> Handler for Messages<H> {
    fn session(&self) -> Option<&str> {
        self.handler.session()
    }

    async fn connect(&mut self, peer: &Peer<'_>) -> Verdict<'_> {
        self.handler.connect(peer).await
    }

    async fn hello(&mut self, peer: &Peer<'_>, host: &Host<'_>) -> Verdict<'_> {
        self.handler.hello(peer, host).await
    }

    async fn start_tls(&mut self, peer: &Peer<'_>) -> Verdict<'_> {
        self.handler.start_tls(peer).await
    }

    async fn command(&mut self, peer: &Peer<'_>, verb: Verb) -> Verdict<'_> {
        self.handler.command(peer, verb).await
    }

    async fn xclient(&mut self, peer: &Peer<'_>, client: &Attributes<'_>) -> Verdict<'_> {
        self.handler.xclient(peer, client).await
    }

    async fn xforward(&mut self, peer: &Peer<'_>, client: &Attributes<'_>) -> Verdict<'_> {
        self.handler.xforward(peer, client).await
    }

    async fn authenticate(&mut self, peer: &Peer<'_>, question: Question) -> Answer {
        self.handler.authenticate(peer, question).await
    }

    async fn mail(&mut self, peer: &Peer<'_>, mail: &Mail<'_>) -> Verdict<'_> {
        self.gather.mail(mail);
        self.handler.mail(peer, mail).await
    }

    async fn rcpt(&mut self, peer: &Peer<'_>, rcpt: &Rcpt<'_>) -> Verdict<'_> {
        self.gather.rcpt(rcpt, peer.session.recipients());
        self.handler.rcpt(peer, rcpt).await
    }

    async fn data(&mut self, peer: &Peer<'_>) -> Verdict<'_> {
        self.gather.data(peer.session.recipients());
        Verdict::Accept
    }

    async fn chunk(&mut self, text: &[u8]) {
        self.gather.chunk(text);
    }

    async fn message(&mut self, peer: &Peer<'_>, end: MessageEnd) -> Verdict<'_> {
        let verdict = match self.gather.finish(end) {
            Ok(envelope) => self.handler.message(peer, envelope).await,
            Err(reply) => Verdict::Refuse(reply),
        };
        self.gather.answered(end);
        verdict
    }

    fn reset(&mut self, _: &Peer<'_>) {
        self.gather.clear();
    }

    fn fault(&mut self, peer: &Peer<'_>, fault: Fault) {
        self.handler.fault(peer, fault);
    }

    fn closed(&mut self, peer: &Peer<'_>, reason: Reason) {
        self.handler.closed(peer, reason);
    }
}
