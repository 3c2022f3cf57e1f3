//! The server: one task a connection.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
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
use smtp_proto::proxy::Network;
use smtp_proto::server::{Config, Event, Fault, MessageEnd, Reason, Session, State, Verdict};
use smtp_proto::syntax::{Host, Mail, Rcpt, Reply};
use smtp_proto::tls::{ClientCertificate, TlsFailure, TlsInfo};
use smtp_proto::{Buffer, Channel, Step, Want};

use crate::client_certificates::ClientCertificates;
use crate::link::{Link, Socket};
use crate::places::{Limits, Places};
use crate::proxy;

/// Of a read buffer; a connection has one only while it has something to say.
const BUFFER: usize = 64 << 10;
/// To XCLIENT and XFORWARD.
const NOT_TRUSTED: Reply<'static> = Reply::fixed(550, (5, 7, 0), "Not trusted to speak for others");

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
    /// Its address; behind a load balancer, the one that this tells of.
    pub address: SocketAddr,
    /// The session: name, TLS, protocol type.
    pub session: &'s Session,
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
    first: First,
}

/// What comes before SMTP on the connections of a listener.
#[derive(Clone, Debug)]
struct First {
    /// A PROXY header, from these; nobody else may connect.
    proxy: Option<Arc<[Network]>>,
    /// TLS.
    tls: bool,
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
        self.bind(address, First { proxy: None, tls: false })
    }

    /// Listens on an address where TLS comes first (RFC 8314 3.3).
    ///
    /// # Errors
    /// As [`Server::listen`].
    pub fn listen_tls(&mut self, address: SocketAddr) -> io::Result<SocketAddr> {
        self.bind(address, First { proxy: None, tls: true })
    }

    /// Listens on an address for load balancers, which begin with a PROXY header that says who the client is. Without
    /// one, in time and well formed, a connection is closed without a word; and so is one that comes not `from` here.
    ///
    /// # Errors
    /// As [`Server::listen`].
    pub fn listen_proxy(&mut self, address: SocketAddr, from: &[Network]) -> io::Result<SocketAddr> {
        self.bind(address, First { proxy: Some(from.into()), tls: false })
    }

    /// The same, where TLS with the client follows the header.
    ///
    /// # Errors
    /// As [`Server::listen`].
    pub fn listen_proxy_tls(&mut self, address: SocketAddr, from: &[Network]) -> io::Result<SocketAddr> {
        self.bind(address, First { proxy: Some(from.into()), tls: true })
    }

    fn bind(&mut self, address: SocketAddr, first: First) -> io::Result<SocketAddr> {
        let socket = Async::<TcpListener>::bind(address)?;
        let address = socket.get_ref().local_addr()?;
        self.listeners.push(Listener { socket, first });
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
        let implied = self.listeners.iter().any(|listener| listener.first.tls);
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
            places: Arc::new(Places::new(self.limits)),
            stop: self.stop.1,
            spare: Mutex::default(),
        });
        for listener in self.listeners {
            let connections = Connections {
                executor: executor.clone(),
                shared: shared.clone(),
                first: listener.first,
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
    places: Arc<Places>,
    stop: Receiver<()>,
    spare: Mutex<Vec<Buffer>>,
}

impl Shared {
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

/// The connections of one listener.
struct Connections<M> {
    executor: Arc<Executor<'static>>,
    shared: Arc<Shared>,
    first: First,
    alive: Sender<()>,
    make: M,
}

impl<H: Handler, M: Fn(SocketAddr) -> H + Clone + Send + Sync + 'static> Connections<M> {
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
        if self.first.proxy.as_ref().is_some_and(|from| !from.iter().any(|network| network.contains(address.ip()))) {
            tracing::warn!(peer = %address, "not one of the load balancers that may connect here");
            return;
        }
        let behind_proxy = self.first.proxy.is_some();
        let place = self
            .shared
            .places
            .place()
            .and_then(|place| if behind_proxy { Some(place) } else { place.of(address.ip()) });
        let Some(place) = place else {
            tracing::debug!(peer = %address, "too many connections");
            turn_away(&socket, !self.first.tls);
            return;
        };
        let _ = socket.get_ref().set_nodelay(true);
        let (shared, alive, make) = (self.shared.clone(), self.alive.clone(), self.make.clone());
        let implicit_tls = self.first.tls;
        let connection = async move {
            let _alive = alive;
            let (mut place, mut address) = (place, address);
            if behind_proxy {
                let Some(client) = client(&shared, &socket, address).await else { return };
                let Some(counted) = place.of(client.ip()) else {
                    tracing::debug!(peer = %client, "too many connections of one address");
                    turn_away(&socket, !implicit_tls);
                    return;
                };
                (place, address) = (counted, client);
            }
            let handler = make(address);
            if let Err(error) = converse(&shared, Link::new(Socket::Tcp(socket)), handler, address, implicit_tls).await
            {
                tracing::debug!(%error, peer = %address, "connection lost");
            }
            drop(place);
        };
        self.executor
            .spawn(async move {
                // A handler that panics ends its own connection and no other.
                if AssertUnwindSafe(connection).catch_unwind().await.is_err() {
                    tracing::error!(peer = %address, "a handler panicked; its connection is closed");
                }
            })
            .detach();
    }
}

/// For a connection that has no place.
fn turn_away(socket: &Async<TcpStream>, tell: bool) {
    if tell {
        // RFC 5321 3.8. The socket's buffer is empty: this does not block.
        let _ = io::Write::write(&mut socket.get_ref(), b"421 4.7.0 Too many connections; try again later\r\n");
    }
    let _ = socket.get_ref().shutdown(std::net::Shutdown::Write);
}

/// Who the client is by the PROXY header: the balancer itself, where that says so or does not know. `None`: there was
/// no header, and the connection is to be closed without a word.
async fn client(shared: &Shared, socket: &Async<TcpStream>, balancer: SocketAddr) -> Option<SocketAddr> {
    let late = async {
        Timer::after(shared.places.limits().proxy_time).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    let stopping = async {
        let _ = shared.stop.recv().await;
        Err(io::ErrorKind::Interrupted.into())
    };
    match or(proxy::peer(socket), or(late, stopping)).await {
        Ok(client) => Some(client.unwrap_or(balancer)),
        Err(error) => {
            tracing::warn!(peer = %balancer, %error, "no PROXY header from a load balancer");
            None
        }
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
                // Nobody is trusted to speak for others: they are not announced.
                Event::Xclient(_, ticket) | Event::Xforward(_, ticket) => (ticket, Verdict::Refuse(NOT_TRUSTED)),
                Event::Command(_, ticket) => (ticket, Verdict::Accept),
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
