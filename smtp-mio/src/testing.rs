//! A server for tests of programs that send mail.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use smtp_proto::auth::server::Question;
use smtp_proto::server::{MessageEnd, Verdict};
use smtp_proto::syntax::{self, Host, Mail, Rcpt};
use smtp_testing::{Act, Certificate, Decision, Inbox, Recorder};
pub use smtp_testing::{Message, Rule, Settings, TooFew, Verb};

use crate::handler::{Answer, AuthAnswer, Handler, OwnedVerdict, Peer};
use crate::server::{Handle, Server};

/// How long [`Sink::wait_for`] waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server on a free port of this machine that keeps the mail it is sent in memory, and misbehaves on request. It ends
/// when it is dropped.
///
/// ```
/// use smtp_mio::testing::Sink;
///
/// let sink = Sink::start()?;
/// // Here the program under test sends two messages to sink.address().
/// # use std::io::{Read, Write};
/// # let mut socket = std::net::TcpStream::connect(sink.address())?;
/// # socket.read(&mut [0; 100])?;
/// # let mail = "MAIL FROM:<ann@example.org>\r\nRCPT TO:<ben@example.net>\r\nDATA\r\nSubject: Hi\r\n\r\nHello.\r\n.\r\n";
/// # write!(socket, "EHLO client.example\r\n{mail}{mail}QUIT\r\n")?;
/// let messages = sink.wait_for(2)?;
/// assert_eq!(messages[0].from, "ann@example.org");
/// assert_eq!(messages[0].header("Subject").as_deref(), Some("Hi"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Rules make it misbehave, either by [`Rule`] or in the words of a script of `smtp-mio sink`:
///
/// ```
/// use smtp_mio::testing::{Rule, Settings, Sink, Verb};
///
/// let mut settings = Settings::default();
/// settings.rules.add(Rule::refuse(Verb::Rcpt, "450 4.2.1 Busy")?.first(1));
/// settings.script("MESSAGE every 10 drop")?;
/// let sink = Sink::start_with(settings)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Sink {
    address: SocketAddr,
    tls_address: SocketAddr,
    certificate: Certificate,
    inbox: Arc<Inbox>,
    handle: Handle,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Sink {
    /// Starts one that takes everything, and offers STARTTLS.
    ///
    /// # Errors
    /// Those of the operating system: no free port, or no thread.
    pub fn start() -> io::Result<Self> {
        Self::start_with(Settings::default())
    }

    /// Starts one with settings of its own.
    ///
    /// # Errors
    /// As [`Sink::start`]; and [`io::ErrorKind::InvalidInput`] for a setting that cannot be.
    pub fn start_with(settings: Settings) -> io::Result<Self> {
        let certificate = Certificate::new(&settings.hostname)?;
        let mut server = Server::with_threads(settings.config()?, 1).tls(certificate.server.clone());
        let address = server.listen(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let tls_address = server.listen_tls(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let ((inbox, room), handle) = (settings.inbox(), server.handle());
        let (rules, of_server) = (Arc::new(settings.rules), inbox.clone());
        let make = move |_| Swallow(Recorder::new(&rules, &of_server, &room));
        let thread = std::thread::Builder::new().name("sink".into()).spawn(move || server.run(make))?;
        Ok(Self { address, tls_address, certificate, inbox, handle, thread: Some(thread) })
    }

    /// The address and port that it listens on.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens for connections on which TLS comes first.
    #[must_use]
    pub const fn tls_address(&self) -> SocketAddr {
        self.tls_address
    }

    /// Its certificate as PEM, for clients that read a file of authorities. It is for `localhost`, too.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate.pem
    }

    /// Its certificate as the only authority, for [`ClientTls`](crate::ClientTls).
    ///
    /// # Errors
    /// None that is known of.
    pub fn authorities(&self) -> io::Result<rustls::RootCertStore> {
        self.certificate.authorities()
    }

    /// The messages that have come.
    #[must_use]
    pub fn messages(&self) -> Vec<Message> {
        self.inbox.messages()
    }

    /// Takes out the messages that have come.
    #[must_use]
    pub fn take(&self) -> Vec<Message> {
        self.inbox.take()
    }

    /// Waits until there are `n` messages, 10 seconds at most, and gives all that are there.
    ///
    /// # Errors
    /// [`TooFew`], with those that came.
    pub fn wait_for(&self, n: usize) -> Result<Vec<Message>, TooFew> {
        self.inbox.wait_for(n, PATIENCE)
    }

    /// The same with a time of one's own.
    ///
    /// # Errors
    /// As [`Sink::wait_for`].
    pub fn wait_for_within(&self, n: usize, time: Duration) -> Result<Vec<Message>, TooFew> {
        self.inbox.wait_for(n, time)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.handle.shut_down();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The handler of a connection.
struct Swallow(Recorder);

fn answer(Decision { delay, act }: Decision) -> Answer<'static> {
    let verdict = match act {
        Act::Accept if delay.is_zero() => return Verdict::Accept.into(),
        Act::HangUp if delay.is_zero() => return Answer::HangUp,
        Act::Accept => OwnedVerdict::Accept,
        Act::Refuse(code, enhanced, text) => OwnedVerdict::Refuse(code, enhanced, text),
        Act::HangUp => OwnedVerdict::HangUp,
    };
    Answer::After(delay, verdict)
}

impl Handler for Swallow {
    fn connect(&mut self, peer: &Peer<'_>) -> Answer<'_> {
        let name = || peer.address.map_or_else(|| "unix".into(), |address| address.to_string());
        answer(self.0.on(Verb::Connect, name))
    }
    fn hello(&mut self, _: &Peer<'_>, host: &Host<'_>) -> Answer<'_> {
        answer(self.0.on(Verb::Ehlo, || host.as_str().to_owned()))
    }
    fn start_tls(&mut self, _: &Peer<'_>) -> Answer<'_> {
        answer(self.0.on(Verb::StartTls, String::new))
    }
    fn authenticate(&mut self, _: &Peer<'_>, question: Question) -> AuthAnswer {
        let (delay, login) = self.0.authenticate(question);
        AuthAnswer::After(delay, login)
    }
    fn command(&mut self, _: &Peer<'_>, verb: syntax::Verb) -> Answer<'_> {
        answer(self.0.command(verb))
    }
    fn mail(&mut self, _: &Peer<'_>, mail: &Mail<'_>) -> Answer<'_> {
        answer(self.0.mail(mail))
    }
    fn rcpt(&mut self, peer: &Peer<'_>, rcpt: &Rcpt<'_>) -> Answer<'_> {
        answer(self.0.rcpt(peer.session, rcpt))
    }
    fn data(&mut self, peer: &Peer<'_>) -> Answer<'_> {
        answer(self.0.data(peer.session))
    }
    fn chunk(&mut self, text: &[u8]) {
        self.0.chunk(text);
    }
    fn message(&mut self, peer: &Peer<'_>, end: MessageEnd) -> Answer<'_> {
        answer(self.0.message(peer.session, peer.address, end))
    }
    fn reset(&mut self, _: &Peer<'_>) {
        self.0.reset();
    }
}
