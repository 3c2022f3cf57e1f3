//! The server: one task a connection.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::UnixTime;
use rustls::{ServerConfig, ServerConnection};
use smol::channel::{Receiver, Sender};
use smol::future::{FutureExt as _, or, yield_now};
use smol::{Async, Executor, Timer};
use smtp_proto::auth::server::{Answer, Question};
use smtp_proto::server::{Config, Event, Fault, MessageEnd, Reason, Session, State, Verdict};
use smtp_proto::syntax::{Host, Mail, Rcpt};
use smtp_proto::tls::{ClientCertificate, TlsFailure, TlsInfo};
use smtp_proto::{Buffer, Channel, Step, Want};

use crate::client_certificates::ClientCertificates;
use crate::link::{Link, Socket};

/// Of a read buffer; a connection has one only while it has something to say.
const BUFFER: usize = 64 << 10;
/// Buffers kept for reuse.
const SPARE_BUFFERS: usize = 64;
/// Reads of one connection before others get their turn.
const ROUNDS: u32 = 16;
/// For a peer to close after the last reply.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_OCTETS: usize = 256 << 10;

/// What a server does with what it hears: the return value is the answer.
///
/// One handler a connection. A slow answer slows its own peer, and nobody else.
pub trait Handler: Send + 'static {
    /// The peer has connected.
    fn connect(&mut self, _peer: &Peer<'_>) -> impl Future<Output = Verdict<'_>> + Send {
        async { Verdict::Accept }
    }
    /// EHLO or HELO.
    fn hello(&mut self, _peer: &Peer<'_>, _host: &Host<'_>) -> impl Future<Output = Verdict<'_>> + Send {
        async { Verdict::Accept }
    }
    /// AUTH: what the mechanism asks. By default nobody is known here.
    fn authenticate(&mut self, _peer: &Peer<'_>, _question: Question) -> impl Future<Output = Answer> + Send {
        async { Answer::Reject }
    }
    /// MAIL.
    fn mail(&mut self, _peer: &Peer<'_>, _mail: &Mail<'_>) -> impl Future<Output = Verdict<'_>> + Send {
        async { Verdict::Accept }
    }
    /// RCPT.
    fn rcpt(&mut self, _peer: &Peer<'_>, _rcpt: &Rcpt<'_>) -> impl Future<Output = Verdict<'_>> + Send {
        async { Verdict::Accept }
    }
    /// DATA, or the first BDAT.
    fn data(&mut self, _peer: &Peer<'_>) -> impl Future<Output = Verdict<'_>> + Send {
        async { Verdict::Accept }
    }
    /// A piece of text. While it is being dealt with, nothing further is read from the peer.
    fn chunk(&mut self, _text: &[u8]) -> impl Future<Output = ()> + Send {
        async {}
    }
    /// The text is complete; accepting it takes over the responsibility (RFC 5321 6.1). In LMTP it is
    /// asked for each recipient.
    fn message(&mut self, peer: &Peer<'_>, end: MessageEnd) -> impl Future<Output = Verdict<'_>> + Send;
    /// The transaction is gone: forget envelope and text.
    fn reset(&mut self, _peer: &Peer<'_>) {}
    /// The peer broke a rule, and has been answered.
    fn fault(&mut self, _peer: &Peer<'_>, _fault: Fault) {}
    /// The end.
    fn closed(&mut self, _peer: &Peer<'_>, _reason: Reason) {}
}

/// Who is at the other end, and what is known of the session.
#[derive(Clone, Copy, Debug)]
pub struct Peer<'s> {
    /// Its address.
    pub address: SocketAddr,
    /// The session: name, TLS, protocol type.
    pub session: &'s Session,
}

/// Bounds on connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Connections in all: 1,000.
    pub connections: usize,
    /// Connections of one address: 100.
    pub per_address: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 1_000, per_address: 100 }
    }
}

/// A server, bound and not yet running.
#[derive(Debug)]
pub struct Server {
    config: Arc<Config>,
    tls: Option<Arc<ServerConfig>>,
    certificates: Option<Arc<ClientCertificates>>,
    limits: Limits,
    listeners: Vec<Listener>,
    stop: (Sender<()>, Receiver<()>),
}

#[derive(Debug)]
struct Listener {
    socket: Async<TcpListener>,
    implicit_tls: bool,
}

/// Ends a running server.
#[derive(Clone, Debug)]
pub struct Handle(Sender<()>);

impl Handle {
    /// No new connections; messages in flight complete; 421 to the rest. The server ends when all have ended.
    pub fn shut_down(&self) {
        self.0.close();
    }
}

impl Server {
    /// A server that listens nowhere yet.
    #[must_use]
    pub fn new(config: Arc<Config>) -> Self {
        Self {
            config,
            tls: None,
            certificates: None,
            limits: Limits::default(),
            listeners: Vec::new(),
            stop: smol::channel::bounded(1),
        }
    }

    /// The certificate and key, for STARTTLS and implicit TLS.
    #[must_use]
    pub fn tls(mut self, tls: Arc<ServerConfig>) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Tells of which class clients' certificates are. The configuration for TLS must have the same as its verifier.
    #[must_use]
    pub fn client_certificates(mut self, certificates: Arc<ClientCertificates>) -> Self {
        self.certificates = Some(certificates);
        self
    }

    /// Bounds on connections.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Listens on an address; port 0 becomes a real one, which is returned.
    ///
    /// # Errors
    /// Those of the operating system: an address in use, or not ours.
    pub fn listen(&mut self, address: SocketAddr) -> io::Result<SocketAddr> {
        self.bind(address, false)
    }

    /// Listens on an address where TLS comes first (RFC 8314 3.3).
    ///
    /// # Errors
    /// As [`Server::listen`].
    pub fn listen_tls(&mut self, address: SocketAddr) -> io::Result<SocketAddr> {
        self.bind(address, true)
    }

    fn bind(&mut self, address: SocketAddr, implicit_tls: bool) -> io::Result<SocketAddr> {
        let socket = Async::<TcpListener>::bind(address)?;
        let address = socket.get_ref().local_addr()?;
        self.listeners.push(Listener { socket, implicit_tls });
        Ok(address)
    }

    /// What ends it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle(self.stop.0.clone())
    }

    /// Serves on as many threads as there are cores, until [`Handle::shut_down`]. `make` gives each connection its
    /// handler.
    ///
    /// # Errors
    /// As [`Server::serve`].
    pub fn run<H: Handler>(self, make: impl Fn(SocketAddr) -> H + Clone + Send + Sync + 'static) -> io::Result<()> {
        let executor = Arc::new(Executor::new());
        let (finished, finish) = smol::channel::bounded::<()>(1);
        thread::scope(|scope| {
            for _ in 1..thread::available_parallelism().map_or(1, Into::into) {
                let (executor, finish) = (&executor, finish.clone());
                scope.spawn(move || smol::block_on(executor.run(finish.recv())));
            }
            let result = smol::block_on(executor.run(self.serve(executor.clone(), make)));
            drop(finished);
            result
        })
    }

    /// The same on an executor of one's own.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] when TLS is offered or implied and there is no certificate.
    pub async fn serve<H: Handler>(
        self,
        executor: Arc<Executor<'static>>,
        make: impl Fn(SocketAddr) -> H + Clone + Send + Sync + 'static,
    ) -> io::Result<()> {
        let implied = self.listeners.iter().any(|listener| listener.implicit_tls);
        if self.tls.is_none() && (implied || self.config.tls_policy().offers()) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "TLS is offered but there is no certificate: give one with Server::tls, or say Policy::Off",
            ));
        }
        // Every connection holds a sender: when the last is dropped, all have ended.
        let (alive, ended) = smol::channel::bounded::<()>(1);
        let shared = Arc::new(Shared {
            config: self.config,
            tls: self.tls,
            certificates: self.certificates,
            limits: self.limits,
            stop: self.stop.1,
            counts: Mutex::default(),
            spare: Mutex::default(),
        });
        for listener in self.listeners {
            let connections = Connections {
                executor: executor.clone(),
                shared: shared.clone(),
                implicit_tls: listener.implicit_tls,
                alive: alive.clone(),
                make: make.clone(),
            };
            executor.spawn(connections.accept(listener.socket)).detach();
        }
        drop(alive);
        let _ = ended.recv().await;
        Ok(())
    }
}

/// What all connections of a server share.
#[derive(Debug)]
struct Shared {
    config: Arc<Config>,
    tls: Option<Arc<ServerConfig>>,
    certificates: Option<Arc<ClientCertificates>>,
    limits: Limits,
    stop: Receiver<()>,
    counts: Mutex<Counts>,
    spare: Mutex<Vec<Buffer>>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A place among the connections; given back when dropped, however the connection ends.
struct Place {
    shared: Arc<Shared>,
    address: IpAddr,
}

impl Shared {
    fn place(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let here = counts.by_address.get(&address).copied().unwrap_or_default();
        if counts.all >= self.limits.connections || here >= self.limits.per_address {
            return None;
        }
        counts.all += 1;
        counts.by_address.insert(address, here + 1);
        Some(Place { shared: self.clone(), address })
    }

    /// With the class of the client's certificate; unknown where it may not have been asked for one.
    fn sorted(&self, mut info: TlsInfo, link: &Link) -> TlsInfo {
        match &self.certificates {
            Some(certificates) => {
                info.client_certificate = certificates.class(link.certificates(), UnixTime::now());
            }
            None if link.certificates().is_empty() => info.client_certificate = ClientCertificate::Unknown,
            None => {}
        }
        info
    }

    fn buffer(&self) -> Buffer {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| Buffer::with_capacity(BUFFER))
    }

    fn put_back(&self, buffer: Buffer) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE_BUFFERS {
            spare.push(buffer);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        if let Some(here) = counts.by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                counts.by_address.remove(&self.address);
            }
        }
    }
}

/// The connections of one listener.
struct Connections<M> {
    executor: Arc<Executor<'static>>,
    shared: Arc<Shared>,
    implicit_tls: bool,
    alive: Sender<()>,
    make: M,
}

impl<H: Handler, M: Fn(SocketAddr) -> H + Send + Sync + 'static> Connections<M> {
    async fn accept(self, listener: Async<TcpListener>) {
        loop {
            let accepted = or(async { Some(listener.accept().await) }, async {
                let _ = self.shared.stop.recv().await;
                None
            });
            match accepted.await {
                None => return,
                Some(Ok((socket, address))) => self.welcome(socket, address),
                Some(Err(error)) => {
                    // Such as no descriptors left. Those that are connected must not suffer by a busy loop.
                    tracing::warn!(%error, "accept failed");
                    Timer::after(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn welcome(&self, socket: Async<TcpStream>, address: SocketAddr) {
        let Some(place) = self.shared.place(address.ip()) else {
            tracing::debug!(peer = %address, "too many connections");
            if !self.implicit_tls {
                // RFC 5321 3.8. The socket's buffer is empty: this does not block.
                let _ = io::Write::write(&mut socket.get_ref(), b"421 4.7.0 Too many connections; try again later\r\n");
            }
            let _ = socket.get_ref().shutdown(std::net::Shutdown::Write);
            return;
        };
        let _ = socket.get_ref().set_nodelay(true);
        let (shared, alive, handler) = (self.shared.clone(), self.alive.clone(), (self.make)(address));
        let implicit_tls = self.implicit_tls;
        let connection = async move {
            if let Err(error) = converse(&shared, Link::new(Socket::Tcp(socket)), handler, address, implicit_tls).await
            {
                tracing::debug!(%error, peer = %address, "connection lost");
            }
        };
        self.executor
            .spawn(async move {
                // A handler that panics ends its own connection and no other.
                if AssertUnwindSafe(connection).catch_unwind().await.is_err() {
                    tracing::error!(peer = %address, "a handler panicked; its connection is closed");
                }
                drop((place, alive));
            })
            .detach();
    }
}

/// A whole connection.
async fn converse<H: Handler>(
    shared: &Shared,
    mut link: Link,
    handler: H,
    address: SocketAddr,
    implicit_tls: bool,
) -> io::Result<()> {
    let channel = match &shared.tls {
        Some(tls) if implicit_tls => {
            let time = shared.config.handshake_timeout();
            match or(link.handshake(ServerConnection::new(tls.clone())), expired(time)).await {
                Ok(info) => Channel::Tls(shared.sorted(info, &link)),
                Err(failure) => {
                    tracing::info!(peer = %address, %failure, "no handshake on a port where TLS comes first");
                    link.finish();
                    return Ok(());
                }
            }
        }
        _ => Channel::Plain,
    };
    let session = Session::new(shared.config.clone(), channel);
    let clock = Clock { progress: u64::MAX, deadline: Instant::now() };
    let mut connection = Connection { shared, link, session, handler, address, clock, stopping: false };
    let result = connection.run().await;
    if result.is_err() {
        // The handler hears of the end all the same.
        connection.session.eof();
        let _ = connection.step(&mut &[][..]).await;
    }
    result
}

async fn expired<T>(time: Duration) -> Result<T, TlsFailure> {
    Timer::after(time).await;
    Err(TlsFailure::TimedOut)
}

struct Connection<'s, H> {
    shared: &'s Shared,
    link: Link,
    session: Session,
    handler: H,
    address: SocketAddr,
    clock: Clock,
    /// The session has been told that the server is stopping.
    stopping: bool,
}

/// When the present wait is over: it begins anew when the session got on.
struct Clock {
    progress: u64,
    deadline: Instant,
}

/// What ended a wait.
enum Woken {
    Ready(io::Result<()>),
    TimedOut,
    Stopping,
}

impl<H: Handler> Connection<'_, H> {
    /// The driver: see the front page of the core.
    async fn run(&mut self) -> io::Result<()> {
        let mut buffer = self.shared.buffer();
        let mut rounds = 0;
        loop {
            let mut input = buffer.filled();
            let want = self.step(&mut input).await;
            let left = input.len();
            buffer.keep_last(left);
            // First write out; and while output waits, nothing is read.
            self.write_out().await?;
            match want {
                Want::Input => {
                    rounds += 1;
                    if rounds % ROUNDS == 0 {
                        yield_now().await;
                    }
                    match self.link.read(buffer.space())? {
                        Some(0) => self.session.eof(),
                        Some(n) => buffer.add(n),
                        None => {
                            // While it waits a connection has no buffer, unless half a line is in it.
                            if buffer.is_empty() {
                                self.shared.put_back(std::mem::take(&mut buffer));
                                self.session.release();
                            }
                            match self.wait(Link::readable).await {
                                Woken::Ready(result) => result?,
                                Woken::TimedOut => self.session.timed_out(),
                                Woken::Stopping => self.session.shut_down(),
                            }
                            if buffer.is_empty() {
                                buffer = self.shared.buffer();
                            }
                        }
                    }
                }
                Want::Output => {}
                // Every event is answered in `step`.
                Want::Decision => return Err(io::Error::other("an event without an answer")),
                Want::Tls => match &self.shared.tls {
                    None => self.session.tls_failed(TlsFailure::Refused("no certificate".into())),
                    Some(tls) => match or(
                        self.link.handshake(ServerConnection::new(tls.clone())),
                        expired(self.session.timeout()),
                    )
                    .await
                    {
                        Ok(info) => self.session.tls_established(self.shared.sorted(info, &self.link)),
                        Err(failure) => self.session.tls_failed(failure),
                    },
                },
                Want::Close => {
                    if buffer.is_empty() {
                        self.shared.put_back(buffer);
                    }
                    self.link.finish();
                    or(self.link.drain(LINGER_OCTETS), async {
                        Timer::after(LINGER).await;
                    })
                    .await;
                    return Ok(());
                }
            }
        }
    }

    /// Steps until something is wanted; the handler's return values are the answers.
    async fn step(&mut self, input: &mut &[u8]) -> Want {
        loop {
            let event = match self.session.step(input) {
                Step::Want(want) => return want,
                Step::Event(event) => event,
            };
            let peer = Peer { address: self.address, session: &self.session };
            let (ticket, verdict) = match event {
                Event::Chunk(text) => {
                    self.handler.chunk(text).await;
                    continue;
                }
                Event::Connect(ticket) => (ticket, self.handler.connect(&peer).await),
                Event::Hello(host, ticket) => (ticket, self.handler.hello(&peer, &host).await),
                Event::StartTls(ticket) => (ticket, Verdict::Accept),
                Event::Auth(question, ticket) => {
                    let answer = self.handler.authenticate(&peer, question).await;
                    self.session.authenticate(ticket, answer);
                    continue;
                }
                Event::Mail(mail, ticket) => (ticket, self.handler.mail(&peer, &mail).await),
                Event::Rcpt(rcpt, ticket) => (ticket, self.handler.rcpt(&peer, &rcpt).await),
                Event::Data(ticket) => (ticket, self.handler.data(&peer).await),
                Event::Message(end, ticket) => (ticket, self.handler.message(&peer, end).await),
                Event::Reset => {
                    self.handler.reset(&peer);
                    continue;
                }
                Event::Fault(fault) => {
                    self.handler.fault(&peer, fault);
                    continue;
                }
                Event::Closed(reason) => {
                    self.handler.closed(&peer, reason);
                    continue;
                }
                _ => continue,
            };
            self.session.answer(ticket, verdict);
        }
    }

    async fn write_out(&mut self) -> io::Result<()> {
        loop {
            let output = self.session.output();
            if output.is_empty() && self.link.flush()? {
                return Ok(());
            }
            let taken = self.link.write(output)?;
            self.session.sent(taken);
            if self.session.output().is_empty() && self.link.flush()? {
                return Ok(());
            }
            match self.wait(Link::writable).await {
                Woken::Ready(result) => result?,
                // It does not read: there is nothing more to say to it.
                Woken::TimedOut => return Err(io::ErrorKind::TimedOut.into()),
                Woken::Stopping => self.session.shut_down(),
            }
        }
    }

    /// Waits for the socket, the session's time, or the end of the server; the last is told once.
    async fn wait(&mut self, ready: impl AsyncFn(&Link) -> io::Result<()>) -> Woken {
        let (progress, time) = (self.session.progress(), self.session.timeout());
        if self.clock.progress != progress {
            self.clock = Clock { progress, deadline: Instant::now() + time };
        }
        // What is being closed has no time left for long farewells.
        if self.session.state() == State::Closed {
            self.clock.deadline = self.clock.deadline.min(Instant::now() + LINGER);
        }
        let deadline = self.clock.deadline;
        let waited = or(async { Woken::Ready(ready(&self.link).await) }, async {
            Timer::at(deadline).await;
            Woken::TimedOut
        });
        if self.stopping {
            return waited.await;
        }
        let woken = or(waited, async {
            let _ = self.shared.stop.recv().await;
            Woken::Stopping
        })
        .await;
        self.stopping = matches!(woken, Woken::Stopping);
        woken
    }
}
