//! The client: one connection a session.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use smol::future::or;
use smol::io::{AsyncBufRead, AsyncBufReadExt as _};
use smol::{Async, Timer};
use smtp_proto::auth::{Nonce, client::Credentials};
use smtp_proto::client::{Config, Envelope, Progress, Session, TextError, Tls, Transaction};
use smtp_proto::tls::{TlsFailure, TlsInfo};
use smtp_proto::{Buffer, Channel, Step, Want};

use crate::certificates::ClientTls;
use crate::connect::connect;
use crate::link::{Link, Socket};

/// Of a read buffer: whole replies fit in.
const BUFFER: usize = 16 << 10;
/// A text of at most so many octets is written in one piece with its end.
const WHOLE: u64 = 64 << 10;
/// Small pieces of text are gathered up to here.
const STAGE: usize = 64 << 10;
/// To be connected to a server.
const CONNECT_TIME: Duration = Duration::from_secs(30);
/// For the server to close after QUIT.
const LINGER: Duration = Duration::from_secs(2);

/// Makes connections to servers, and sends messages over them.
///
/// ```no_run
/// use smtp_proto::client::{Config, Envelope, Tls};
/// use smtp_proto::syntax::{ForwardPath, Mailbox, Params, Rcpt, ReversePath};
/// use smtp_smol::{Client, ClientTls, Target};
///
/// smol::block_on(async {
///     let tls = ClientTls::new(rustls::RootCertStore::empty())?;
///     let client = Client::new(Config::new("client.example")?.tls(Tls::Opportunistic).shared()).tls(tls);
///     let from = ReversePath::Mailbox(Mailbox::parse("a@example.org", false)?);
///     let to = ForwardPath::Mailbox(Mailbox::parse("b@example.net", false)?);
///     let to = [Rcpt { path: to, params: Params::default() }];
///
///     let mut connection = client.connect(&Target::host("mx.example.net", 25)).await?;
///     let transaction = connection.send(Envelope::new(from, &to), &mut &b"Subject: Hi\r\n\r\nHello.\r\n"[..]).await?;
///     for outcome in transaction.outcomes() {
///         println!("{outcome:?}");
///     }
///     connection.quit().await;
///     Ok::<_, Box<dyn std::error::Error>>(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Client {
    config: Arc<Config>,
    tls: Option<ClientTls>,
    credentials: Option<Credentials>,
    connect_time: Duration,
    observer: Option<Observer>,
}

/// Told what goes over the wire, inside TLS if there is any.
pub type Observer = Arc<dyn Fn(Said<'_>) + Send + Sync>;

/// What goes over the wire.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Said<'a> {
    /// Octets of the client's. Those that may hold credentials are not told.
    Client(&'a [u8]),
    /// So many octets that may hold credentials.
    Secret(usize),
    /// Octets of the server's, as they were read.
    Server(&'a [u8]),
    /// The hop is TLS from here on.
    Tls(&'a TlsInfo),
}

/// Where a server is, and the name that its certificate must bear.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    place: Place,
    name: Option<String>,
    /// The name is a configured one, so that a certificate for it proves something.
    sure: bool,
    implicit_tls: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Place {
    Host(String, u16),
    Addresses(Vec<SocketAddr>),
    Unix(PathBuf),
}

impl Target {
    /// A host, by a name that the system's resolver knows, or an address. Its certificate must bear that name.
    #[must_use]
    pub fn host(host: &str, port: u16) -> Self {
        Self { place: Place::Host(host.to_owned(), port), name: Some(host.to_owned()), sure: true, implicit_tls: false }
    }

    /// These addresses, the first that answers (RFC 8305).
    #[must_use]
    pub const fn addresses(addresses: Vec<SocketAddr>) -> Self {
        Self { place: Place::Addresses(addresses), name: None, sure: false, implicit_tls: false }
    }

    /// A Unix socket, as LMTP servers have.
    #[must_use]
    pub const fn unix(path: PathBuf) -> Self {
        Self { place: Place::Unix(path), name: None, sure: false, implicit_tls: false }
    }

    /// The name that the certificate must bear: a configured one, never one learnt from the server or from plain DNS.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self.sure = true;
        self
    }

    /// The name that it is asked for by (SNI), learnt from plain DNS: a certificate for it proves nothing.
    #[must_use]
    pub fn called(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self.sure = false;
        self
    }

    /// TLS comes first (RFC 8314 3), as on port 465.
    #[must_use]
    pub const fn implicit_tls(mut self, implicit: bool) -> Self {
        self.implicit_tls = implicit;
        self
    }

    /// For SNI and for the certificate. Without a name a certificate verifies for nothing.
    fn server_name(&self, address: Option<SocketAddr>) -> Result<ServerName<'static>, rustls::Error> {
        let name = match (&self.name, address) {
            (Some(name), _) => ServerName::try_from(name.trim_matches(['[', ']']).to_owned())
                .map_err(|_| rustls::Error::General(format!("{name:?} is no name for a certificate")))?,
            (None, Some(address)) => ServerName::IpAddress(address.ip().to_canonical().into()),
            (None, None) => ServerName::IpAddress(IpAddr::from([127, 0, 0, 1]).into()),
        };
        Ok(name)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Host(host, port) => write!(f, "{host}:{port}"),
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
            Place::Addresses(addresses) => {
                let name = self.name.as_deref().unwrap_or("addresses");
                write!(f, "{name} {addresses:?}")
            }
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("config", &self.config).field("tls", &self.tls).finish_non_exhaustive()
    }
}

impl Client {
    /// A client without TLS; its configuration must say [`Tls::Never`], or [`Client::tls`] must follow.
    #[must_use]
    pub const fn new(config: Arc<Config>) -> Self {
        Self { config, tls: None, credentials: None, connect_time: CONNECT_TIME, observer: None }
    }

    /// Whom to trust.
    #[must_use]
    pub fn tls(mut self, tls: ClientTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Authenticates with these.
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// How long to try to connect, in all: 30 seconds.
    #[must_use]
    pub const fn connect_time(mut self, time: Duration) -> Self {
        self.connect_time = time;
        self
    }

    /// Is told what goes over the wire.
    #[must_use]
    pub fn observe(mut self, observer: Observer) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Connects, and does the handshake where TLS comes first. The greeting is read with the first message.
    ///
    /// # Errors
    /// Those of the operating system; [`io::ErrorKind::InvalidInput`] when TLS is wanted and [`Client::tls`] was not
    /// said; [`io::ErrorKind::InvalidData`] when the handshake failed.
    pub async fn connect(&self, target: &Target) -> io::Result<Connection> {
        if self.tls.is_none() && (target.implicit_tls || self.config.tls_policy() != Tls::Never) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "TLS is wanted but nobody is trusted: say so with Client::tls, or say Tls::Never",
            ));
        }
        let (socket, peer) = match &target.place {
            Place::Unix(path) => (Socket::Unix(Async::<UnixStream>::connect(path).await?), None),
            Place::Host(host, port) => {
                let host = host.trim_matches(['[', ']']);
                let addresses = smol::net::resolve((host, *port)).await?;
                let (socket, address) = connect(&addresses, self.connect_time).await?;
                (Socket::Tcp(socket), Some(address))
            }
            Place::Addresses(addresses) => {
                let (socket, address) = connect(addresses, self.connect_time).await?;
                (Socket::Tcp(socket), Some(address))
            }
        };
        let mut connection = Connection {
            link: Link::new(socket),
            session: Session::new(self.config.clone(), Channel::Plain),
            client: self.clone(),
            target: target.clone(),
            peer,
            buffer: Buffer::with_capacity(BUFFER),
            clock: Clock { progress: u64::MAX, deadline: Instant::now() },
        };
        if target.implicit_tls {
            let info = connection.handshake(self.config.handshake_timeout()).await.map_err(|failure| {
                io::Error::new(io::ErrorKind::InvalidData, format!("the TLS handshake failed: {failure}"))
            })?;
            connection.session = Session::new(self.config.clone(), Channel::Tls(info));
        }
        if let Some(credentials) = &self.credentials {
            let mut random = [0; 18];
            rustls::crypto::ring::default_provider()
                .secure_random
                .fill(&mut random)
                .map_err(|_| io::Error::other("no random numbers"))?;
            connection.session.authenticate(credentials.clone(), Nonce::new(&random));
        }
        Ok(connection)
    }

    fn tell(&self, said: Said<'_>) {
        if let Some(observer) = &self.observer {
            observer(said);
        }
    }
}

/// A connection to a server.
pub struct Connection {
    link: Link,
    session: Session,
    client: Client,
    target: Target,
    peer: Option<SocketAddr>,
    buffer: Buffer,
    clock: Clock,
}

/// When the present wait is over: it begins anew when the session got on.
struct Clock {
    progress: u64,
    deadline: Instant,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer)
            .field("state", &self.session.state())
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Sends one message, and says what became of each recipient.
    ///
    /// `text` is best a slice, or buffered in pieces of 64 KiB or more; with [`Envelope::size`] a small one goes out with
    /// its envelope. When the connection is lost that is an outcome, not an error.
    ///
    /// # Errors
    /// Only those of reading `text`; the connection is of no use afterwards, and the message was not sent.
    pub async fn send<'e>(
        &mut self,
        envelope: Envelope<'e>,
        text: &mut (impl AsyncBufRead + Unpin),
    ) -> io::Result<Transaction<'e>> {
        let (mut transaction, size) = (Transaction::new(envelope), envelope.size);
        let mut taken = 0;
        loop {
            let mut input = self.buffer.filled();
            let progress = transaction.step(&mut self.session, &mut input);
            let left = input.len();
            self.buffer.keep_last(left);
            let lost = match progress {
                Progress::Done => {
                    // Such as a RSET. What fails now concerns the next message.
                    let _ = self.write_out().await;
                    return Ok(transaction);
                }
                Progress::Want(want) => self.serve(want).await,
                Progress::Text => match text.fill_buf().await {
                    Ok(piece) => {
                        let octets = piece.len();
                        let put = self.put(&mut transaction, piece, &mut taken, size).await;
                        text.consume(octets);
                        put
                    }
                    Err(error) => {
                        self.session.abandon();
                        return Err(error);
                    }
                },
            };
            // The server's last words, such as 421, may be there to be read.
            if lost.is_err() && !matches!(self.read(), Ok(true)) {
                self.session.eof();
            }
        }
    }

    /// Says QUIT, and closes in order.
    pub async fn quit(mut self) {
        self.session.quit();
        let time = self.client.connect_time;
        let _ = or(self.end(), async {
            Timer::after(time).await;
            Ok(())
        })
        .await;
    }

    /// Whether another message can be sent.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.session.is_idle() && self.buffer.is_empty()
    }

    /// The session: what the server offers, and what became of TLS.
    #[must_use]
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// The server's address; none for a Unix socket.
    #[must_use]
    pub const fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Whether the server has said or done something while nothing was awaited of it, such as closed the connection.
    pub(crate) fn is_stale(&mut self) -> bool {
        !self.is_idle() || !matches!(self.link.read(self.buffer.space()), Ok(None))
    }

    async fn end(&mut self) -> io::Result<()> {
        loop {
            let mut input = self.buffer.filled();
            let want = match self.session.step(&mut input) {
                Step::Event(_) => None,
                Step::Want(want) => Some(want),
            };
            let left = input.len();
            self.buffer.keep_last(left);
            match want {
                None => {}
                Some(Want::Close) => {
                    self.link.finish();
                    or(self.link.drain(BUFFER), async {
                        Timer::after(LINGER).await;
                    })
                    .await;
                    return Ok(());
                }
                Some(want) => self.serve(want).await?,
            }
        }
    }

    /// Does what is wanted. First write out, whatever it is.
    async fn serve(&mut self, want: Want) -> io::Result<()> {
        self.write_out().await?;
        match want {
            Want::Input => {
                while !self.read()? {
                    self.wait(Link::readable).await?;
                }
            }
            Want::Tls => match self.handshake(self.session.timeout()).await {
                Ok(info) => self.session.tls_established(info),
                Err(failure) => self.session.tls_failed(failure),
            },
            Want::Close => {
                self.link.finish();
            }
            // A transaction never wants these.
            Want::Decision | Want::Output => {}
        }
        Ok(())
    }

    /// The next piece of text, and if it is the last the end.
    async fn put(
        &mut self,
        transaction: &mut Transaction<'_>,
        mut piece: &[u8],
        taken: &mut u64,
        size: Option<u64>,
    ) -> io::Result<()> {
        *taken += piece.len() as u64;
        let all = size.is_some_and(|size| *taken >= size) && *taken <= WHOLE;
        if piece.is_empty() || all {
            return match transaction.finish_with(&mut self.session, piece) {
                // What goes wrong here is an outcome.
                Ok(()) | Err(TextError::Flaw(_) | TextError::Gone) => Ok(()),
                Err(_) => self.serve(Want::Input).await,
            };
        }
        let mut stage = Vec::with_capacity(STAGE);
        loop {
            match transaction.piece(&mut self.session, &mut piece) {
                Ok(Some(octets)) if stage.len() + octets.len() <= STAGE => stage.extend_from_slice(octets),
                Ok(Some(octets)) => {
                    self.write_out().await?;
                    self.write_all(&stage).await?;
                    stage.clear();
                    self.write_all(octets).await?;
                }
                Ok(None) => {
                    self.write_out().await?;
                    return self.write_all(&stage).await;
                }
                Err(TextError::Busy) => self.serve(Want::Input).await?,
                Err(_) => return Ok(()),
            }
        }
    }

    /// Reads what is there; false when nothing is.
    fn read(&mut self) -> io::Result<bool> {
        let read = self.link.read(self.buffer.space())?;
        match read {
            None => return Ok(false),
            Some(0) => self.session.eof(),
            Some(n) => {
                let before = self.buffer.filled().len();
                self.buffer.add(n);
                let all = self.buffer.filled();
                self.client.tell(Said::Server(all.get(before..).unwrap_or_default()));
            }
        }
        Ok(true)
    }

    async fn write_out(&mut self) -> io::Result<()> {
        let output = self.session.output();
        if !output.is_empty() {
            let secret = self.session.is_secret();
            self.client.tell(if secret { Said::Secret(output.len()) } else { Said::Client(output) });
        }
        loop {
            let output = self.session.output();
            if !output.is_empty() {
                let taken = self.link.write(output)?;
                self.session.sent(taken);
            }
            if self.session.output().is_empty() && self.link.flush()? {
                return Ok(());
            }
            self.wait(Link::writable).await?;
        }
    }

    /// Writes octets that the session has counted already.
    async fn write_all(&mut self, mut octets: &[u8]) -> io::Result<()> {
        if !octets.is_empty() {
            self.client.tell(Said::Client(octets));
        }
        while !octets.is_empty() || !self.link.flush()? {
            let taken = self.link.write(octets)?;
            octets = octets.get(taken..).unwrap_or_default();
            if !octets.is_empty() {
                self.clock.progress = if taken > 0 { u64::MAX } else { self.clock.progress };
                self.wait(Link::writable).await?;
            }
        }
        Ok(())
    }

    async fn handshake(&mut self, time: Duration) -> Result<TlsInfo, TlsFailure> {
        let Some(tls) = &self.client.tls else { return Err(TlsFailure::Refused("nobody is trusted".into())) };
        let refused = |error: rustls::Error| TlsFailure::Refused(error.to_string().into());
        let name = self.target.server_name(self.peer).map_err(refused)?;
        let config = tls.config(self.client.config.tls_policy() == Tls::Verify);
        let begun = ClientConnection::new(config.clone(), name.clone());
        let mut info = or(self.link.handshake(begun), async {
            Timer::after(time).await;
            Err(TlsFailure::TimedOut)
        })
        .await?;
        info.server_verified = self.target.sure && tls.is_trusted(self.link.certificates(), &name);
        self.client.tell(Said::Tls(&info));
        Ok(info)
    }

    /// Waits for the socket, or for the session's time to be over, which the session is told.
    async fn wait(&mut self, ready: impl AsyncFn(&Link) -> io::Result<()>) -> io::Result<()> {
        let (progress, time) = (self.session.progress(), self.session.timeout());
        if self.clock.progress != progress {
            self.clock = Clock { progress, deadline: Instant::now() + time };
        }
        let deadline = self.clock.deadline;
        let in_time = or(async { ready(&self.link).await.map(|()| true) }, async {
            Timer::at(deadline).await;
            Ok(false)
        })
        .await?;
        if in_time {
            return Ok(());
        }
        self.session.timed_out();
        Err(io::ErrorKind::TimedOut.into())
    }
}
