//! A server for tests of programs that send mail.

use std::future::pending;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use smol::channel::{Receiver, Sender};
use smol::future::or;
use smol::{Async, Executor, Timer};

use smtp_proto::auth::server::{Answer, Question};
use smtp_proto::server::{MessageEnd, Room, Verdict};
use smtp_proto::syntax::{self, Host, Mail, Rcpt, Reply};
use smtp_testing::{Act, Certificate, Decision, Inbox, Recorder, Rules};
pub use smtp_testing::{Message, Rule, Settings, TooFew, Verb};

use crate::handler::{Handler, Peer};
use crate::server::Server;

/// How long [`Sink::wait_for`] waits.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections at once; further ones are closed.
const CONNECTIONS: usize = 1000;

/// A server on a free port of this machine that keeps the mail it is sent in memory, and misbehaves on request. It ends
/// when it is dropped.
///
/// ```
/// use smtp_smol::testing::Sink;
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
/// use smtp_smol::testing::{Rule, Settings, Sink, Verb};
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
    stop: Sender<()>,
    thread: Option<JoinHandle<()>>,
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
        let server = Server::new(settings.config()?).tls(certificate.server.clone());
        let bind = || Async::<TcpListener>::bind(SocketAddr::from(([127, 0, 0, 1], 0)));
        let (plain, tls) = (bind()?, bind()?);
        let (address, tls_address) = (plain.get_ref().local_addr()?, tls.get_ref().local_addr()?);
        let (inbox, room) = settings.inbox();
        let (stop, stopped) = smol::channel::bounded(1);
        let office = Arc::new(Office { server, rules: Arc::new(settings.rules), inbox: inbox.clone(), room });
        let thread = std::thread::Builder::new().name("sink".into()).spawn(move || {
            let executor = Executor::new();
            executor.spawn(office.clone().accept(plain, false)).detach();
            executor.spawn(office.accept(tls, true)).detach();
            let _ = smol::block_on(executor.run(stopped.recv()));
        })?;
        Ok(Self { address, tls_address, certificate, inbox, stop, thread: Some(thread) })
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
        self.stop.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What all connections share.
struct Office {
    server: Server,
    rules: Arc<Rules>,
    inbox: Arc<Inbox>,
    room: Arc<Room>,
}

impl Office {
    async fn accept(self: Arc<Self>, listener: Async<TcpListener>, tls: bool) {
        let connections = Executor::new();
        let accepting = async {
            let alive = Arc::new(());
            loop {
                let Ok((socket, peer)) = listener.accept().await else {
                    Timer::after(Duration::from_millis(50)).await;
                    continue;
                };
                if Arc::strong_count(&alive) <= CONNECTIONS {
                    let (office, alive) = (self.clone(), alive.clone());
                    connections.spawn(async move { (office.serve(socket, peer, tls).await, drop(alive)) }).detach();
                }
            }
        };
        connections.run(accepting).await;
    }

    async fn serve(&self, socket: Async<std::net::TcpStream>, peer: SocketAddr, tls: bool) {
        let (hang_up, hung_up) = smol::channel::bounded(1);
        let handler = Swallow { recorder: Recorder::new(&self.rules, &self.inbox, &self.room), hang_up, said: None };
        let conversation = async {
            let _ = match tls {
                true => self.server.drive_tls(socket, Some(peer), handler).await,
                false => self.server.drive(socket, Some(peer), handler).await,
            };
        };
        or(conversation, gone(hung_up)).await;
    }
}

async fn gone(hung_up: Receiver<()>) {
    // That the handler is dropped is no reason to hang up.
    if hung_up.recv().await.is_err() {
        pending::<()>().await;
    }
}

/// The handler of a connection.
struct Swallow {
    recorder: Recorder,
    /// Closes the connection, without a word.
    hang_up: Sender<()>,
    /// The words of the last refusal.
    said: Option<String>,
}

impl Swallow {
    async fn answer(&mut self, Decision { delay, act }: Decision) -> Verdict<'_> {
        if !delay.is_zero() {
            Timer::after(delay).await;
        }
        match act {
            Act::Accept => Verdict::Accept,
            Act::Refuse(code, enhanced, text) => match Reply::new(code, enhanced, self.said.insert(text)) {
                Ok(reply) => Verdict::Refuse(reply),
                Err(_) => Verdict::Refuse(const { Reply::fixed(451, (4, 3, 0), "Refused on request") }),
            },
            Act::HangUp => self.close().await,
        }
    }

    async fn close<T>(&self) -> T {
        let _ = self.hang_up.try_send(());
        pending().await
    }
}

impl Handler for Swallow {
    async fn connect(&mut self, peer: &Peer<'_>) -> Verdict<'_> {
        let name = || peer.address.map_or_else(|| "unix".into(), |address| address.to_string());
        self.answer(self.recorder.on(Verb::Connect, name)).await
    }
    async fn hello(&mut self, _: &Peer<'_>, host: &Host<'_>) -> Verdict<'_> {
        self.answer(self.recorder.on(Verb::Ehlo, || host.as_str().to_owned())).await
    }
    async fn start_tls(&mut self, _: &Peer<'_>) -> Verdict<'_> {
        self.answer(self.recorder.on(Verb::StartTls, String::new)).await
    }
    async fn authenticate(&mut self, _: &Peer<'_>, question: Question) -> Answer {
        let (delay, login) = self.recorder.authenticate(question);
        Timer::after(delay).await;
        match login {
            Some(login) => login,
            None => self.close().await,
        }
    }
    async fn command(&mut self, _: &Peer<'_>, verb: syntax::Verb) -> Verdict<'_> {
        self.answer(self.recorder.command(verb)).await
    }
    async fn mail(&mut self, _: &Peer<'_>, mail: &Mail<'_>) -> Verdict<'_> {
        let decision = self.recorder.mail(mail);
        self.answer(decision).await
    }
    async fn rcpt(&mut self, peer: &Peer<'_>, rcpt: &Rcpt<'_>) -> Verdict<'_> {
        let decision = self.recorder.rcpt(peer.session, rcpt);
        self.answer(decision).await
    }
    async fn data(&mut self, peer: &Peer<'_>) -> Verdict<'_> {
        let decision = self.recorder.data(peer.session);
        self.answer(decision).await
    }
    async fn chunk(&mut self, text: &[u8]) {
        self.recorder.chunk(text);
    }
    async fn message(&mut self, peer: &Peer<'_>, end: MessageEnd) -> Verdict<'_> {
        let decision = self.recorder.message(peer.session, peer.address, end);
        self.answer(decision).await
    }
    fn reset(&mut self, _: &Peer<'_>) {
        self.recorder.reset();
    }
}
