//! The server: listeners, and one task a connection.

mod connection;
mod drive;
mod limits;
mod listener;
mod proxy;
mod workers;

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::num::NonZero;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use smol::channel::{Receiver, Sender};
use smol::future::{FutureExt as _, or};
use smol::{Async, Executor, Timer};
use smtp_proto::Channel;
use smtp_proto::auth::Mechanism;
use smtp_proto::proxy::Network;
use smtp_proto::server::Config;
use smtp_rustls::{ClientCertificates, ServerTls};

use crate::handler::{Handler, Name};
use crate::link::Link;
use crate::reactor::Loop;
use crate::socket::{Fresh, Socket};
use connection::{Connection, Opening, Shared, cut_off, open};
pub use limits::Limits;
use limits::{Place, Places};
pub use listener::Listener;
use listener::{Choice, First, Watch};
use workers::{Seat, Worker};

const NO_CERTIFICATE: &str = if cfg!(feature = "tls") {
    "TLS is offered but there is no certificate: give one with Server::tls, or say Policy::Off"
} else {
    "TLS is offered but this is built without it: enable the feature `tls` of the crate, or say Policy::Off"
};

/// A server that is not yet running: a configuration, listeners, and bounds.
///
/// ```no_run
/// use std::sync::Arc;
/// use smtp_proto::server::{Config, Envelope, Room, Verdict};
/// use smtp_smol::{Limits, MessageHandler, Messages, Peer, Server};
///
/// struct Accept;
///
/// impl MessageHandler for Accept {
///     async fn message(&mut self, _: &Peer<'_>, _: Envelope) -> Verdict<'_> {
///         Verdict::Accept
///     }
/// }
///
/// let mut limits = Limits::default();
/// limits.connections = 500;
/// let mut server = Server::new(Config::new("mx.example.net")?.shared())
///     .limits(limits)
///     .tls_from_pem("mx.crt".as_ref(), "mx.key".as_ref())?; // STARTTLS is offered with it
/// server.listen("0.0.0.0:25".parse()?)?;
/// server.listen_tls("0.0.0.0:465".parse()?)?;
///
/// // From a signal handler, or wherever the end is known: messages in flight complete.
/// let handle = server.handle();
/// std::thread::spawn(move || {
///     std::thread::park();
///     handle.shut_down();
/// });
///
/// let room = Arc::new(Room::default());
/// server.run(move |_| Messages::new(Accept, &room))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Server {
    config: Arc<Config>,
    tls: Option<ServerTls>,
    certificates: Option<Arc<ClientCertificates>>,
    trusted: Arc<[Network]>,
    limits: Limits,
    /// For [`Server::run`]; none is as many as there are cores.
    threads: Option<NonZero<usize>>,
    listeners: Vec<Listener>,
    stop: (Sender<()>, Receiver<()>),
}

/// Ends a running server.
///
/// ```
/// use smtp_proto::server::{Config, MessageEnd, Verdict};
/// use smtp_proto::tls::Policy;
/// use smtp_smol::{Handler, Peer, Server};
///
/// struct TakeAll;
///
/// impl Handler for TakeAll {
///     async fn message(&mut self, _: &Peer<'_>, _: MessageEnd) -> Verdict<'_> {
///         Verdict::Accept
///     }
/// }
///
/// let mut server = Server::new(Config::new("mx.example.net")?.tls(Policy::Off).shared());
/// server.listen("127.0.0.1:0".parse()?)?;
/// let handle = server.handle(); // may go to another thread, such as that of a signal
/// handle.shut_down();
/// server.run(|_| TakeAll)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Handle(Sender<()>);

impl Handle {
    /// No new connections; messages in flight complete; 421 to the rest. The server ends when all have ended, or after
    /// [`Limits::drain`].
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
            trusted: Arc::default(),
            limits: Limits::default(),
            threads: None,
            listeners: Vec::new(),
            stop: smol::channel::bounded(1),
        }
    }

    /// The certificate and key, for STARTTLS and implicit TLS.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: Arc<rustls::ServerConfig>) -> Self {
        self.tls = Some(ServerTls::new(tls));
        self
    }

    /// The same from PEM files: the certificate, with the chain behind it, and its key.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`]; it names the file, what is wrong with it, and what it has to be.
    #[cfg(feature = "tls")]
    pub fn tls_from_pem(self, certificate: &Path, key: &Path) -> io::Result<Self> {
        Ok(self.tls(smtp_rustls::server_from_pem(certificate, key)?))
    }

    /// Sorts the certificates that clients show into classes. The configuration for TLS must have the same
    /// [`ClientCertificates`] as its verifier, so that they are asked for.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn client_certificates(mut self, certificates: Arc<ClientCertificates>) -> Self {
        self.certificates = Some(certificates);
        self
    }

    /// Peers of these networks may speak for others: XCLIENT and XFORWARD are announced to them, and the handler decides
    /// on each. Whoever is trusted so can claim to be anyone; nobody is by default. Behind a load balancer it is the
    /// address in the PROXY header that counts.
    #[must_use]
    pub fn trust(mut self, networks: &[Network]) -> Self {
        self.trusted = networks.into();
        self
    }

    /// Bounds how many connections there may be at once.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// On how many threads [`run`](Self::run) serves: as many as there are cores, where this is not said.
    #[must_use]
    pub const fn threads(mut self, threads: NonZero<usize>) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Listens on an address; port 0 becomes a real one, which is returned.
    ///
    /// # Errors
    /// Those of the operating system: an address in use, or not ours.
    pub fn listen(&mut self, address: SocketAddr) -> io::Result<SocketAddr> {
        self.bind(address, |listener| listener)
    }

    /// Listens on an address where TLS comes first (RFC 8314 3.3).
    ///
    /// # Errors
    /// As [`Server::listen`].
    pub fn listen_tls(&mut self, address: SocketAddr) -> io::Result<SocketAddr> {
        self.bind(address, Listener::tls_first)
    }

    /// Listens on an address for load balancers, which begin with a PROXY header that says who the client is. A connection
    /// is closed without a word if no well-formed header comes in time, or if it does not come `from` these networks.
    ///
    /// # Errors
    /// As [`Server::listen`].
    pub fn listen_proxy(&mut self, address: SocketAddr, from: &[Network]) -> io::Result<SocketAddr> {
        self.bind(address, |listener| listener.proxy(from))
    }

    /// The same, where TLS with the client follows the header.
    ///
    /// # Errors
    /// As [`Server::listen`].
    pub fn listen_proxy_tls(&mut self, address: SocketAddr, from: &[Network]) -> io::Result<SocketAddr> {
        self.bind(address, |listener| listener.proxy(from).tls_first())
    }

    fn bind(&mut self, address: SocketAddr, dress: impl FnOnce(Listener) -> Listener) -> io::Result<SocketAddr> {
        let listener = Listener::tcp(address)?;
        let address = listener.address().ok_or(io::ErrorKind::AddrNotAvailable)?;
        self.add(dress(listener));
        Ok(address)
    }

    /// Adds a listener, which may have settings of its own. Returns its number, which [`Peer::listener`] has for whoever
    /// connects there; listeners that the other methods made are counted, too.
    ///
    /// [`Peer::listener`]: crate::Peer::listener
    pub fn add(&mut self, listener: Listener) -> usize {
        self.listeners.push(listener);
        self.listeners.len() - 1
    }

    /// Listens on a Unix socket, as is usual for LMTP. Its file is made here and removed at the end; one that was left
    /// behind by a server that was killed is replaced.
    ///
    /// # Errors
    /// Those of the operating system: something else is there, or somebody listens on it; no such folder.
    pub fn listen_unix(&mut self, path: &Path) -> io::Result<()> {
        self.add(Listener::unix(path)?);
        Ok(())
    }

    /// A handle that ends the server from elsewhere, such as upon a signal.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle(self.stop.0.clone())
    }

    /// Serves on [so many threads](Self::threads), until [`Handle::shut_down`]. `make` gives each connection its
    /// handler; it is told the peer's address, which is `None` for a Unix socket. A connection stays on the thread that had the
    /// fewest when it came: a handler that blocks holds up the others there, and should use `smol::unblock`.
    ///
    /// # Errors
    /// As [`Server::serve`].
    pub fn run<H: Handler>(
        self,
        make: impl Fn(Option<SocketAddr>) -> H + Clone + Send + Sync + 'static,
    ) -> io::Result<()> {
        let threads = self.threads.or_else(|| thread::available_parallelism().ok()).map_or(1, Into::into);
        let workers: Arc<[Worker]> = (0..threads).map(|_| Worker::of(Arc::default())).collect();
        let (first_loop, loops) = (Loop::new()?, (1..threads).map(|_| Loop::new()).collect::<io::Result<Vec<_>>>()?);
        let (finished, finish) = smol::channel::bounded::<()>(1);
        thread::scope(|scope| {
            let mut others = workers.iter();
            let first = others.next().map(Worker::executor).unwrap_or_default();
            for (worker, its) in others.zip(loops) {
                let (executor, finish, handle) = (worker.executor(), finish.clone(), self.handle());
                scope.spawn(move || {
                    if let Err(error) = its.run(executor.run(finish.recv())) {
                        tracing::error!(%error, "a thread cannot wait for its connections: the server ends");
                        handle.shut_down();
                    }
                });
            }
            let result = first_loop.run(first.run(self.serve_on(workers.clone(), make)));
            drop(finished);
            result.flatten()
        })
    }

    /// The same on an executor of one's own.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] when TLS is offered or implied and there is no certificate.
    pub async fn serve<H: Handler>(
        self,
        executor: Arc<Executor<'static>>,
        make: impl Fn(Option<SocketAddr>) -> H + Clone + Send + Sync + 'static,
    ) -> io::Result<()> {
        self.serve_on([Worker::of(executor)].into(), make).await
    }

    async fn serve_on<H: Handler>(
        self,
        workers: Arc<[Worker]>,
        make: impl Fn(Option<SocketAddr>) -> H + Clone + Send + Sync + 'static,
    ) -> io::Result<()> {
        let needs_tls = |listener: &Listener| {
            let offered = listener.config.as_ref().unwrap_or(&self.config).tls_policy().offers();
            (offered || listener.first.tls) && self.tls.is_none() && listener.tls.is_none()
        };
        let offered = self.listeners.is_empty() && self.tls.is_none() && self.config.tls_policy().offers();
        if offered || self.listeners.iter().any(needs_tls) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, NO_CERTIFICATE));
        }
        // Every connection holds a sender: when the last is dropped, all have ended.
        let (alive, ended) = smol::channel::bounded::<()>(1);
        let (cut, cut_off) = smol::channel::bounded::<()>(1);
        let places = Arc::new(Places::new(self.limits));
        let spare = Arc::default();
        for (number, listener) in self.listeners.into_iter().enumerate() {
            let config = listener.config.unwrap_or_else(|| self.config.clone());
            // SCRAM-PLUS alone wants to know what only the handshake knows.
            let binding = listener.choice.is_some() || config.mechanisms().iter().any(Mechanism::binds_channel);
            let tls = listener.tls.or_else(|| self.tls.clone()).map(|tls| tls.channel_binding(binding));
            let shared = Shared {
                listener: number,
                config,
                tls: match &self.certificates {
                    Some(certificates) => tls.map(|tls| tls.client_certificates(certificates.clone())),
                    None => tls,
                },
                trusted: self.trusted.clone(),
                places: places.clone(),
                stop: self.stop.1.clone(),
                cut_off: cut_off.clone(),
                spare: Arc::clone(&spare),
            };
            let connections = Connections {
                workers: workers.clone(),
                shared: Arc::new(shared),
                first: listener.first,
                choice: listener.choice,
                alive: alive.clone(),
                make: make.clone(),
            };
            if let Some(first) = workers.first() {
                first.executor().spawn(connections.accept(Watch::new(listener.door)?)).detach();
            }
        }
        drop(alive);
        let all_ended = async {
            let _ = ended.recv().await;
        };
        let patience = self.limits.drain;
        let out_of_time = async {
            let _ = self.stop.1.recv().await;
            Timer::after(patience).await;
            tracing::warn!(after = ?patience, "connections that did not end in time are cut off");
            drop(cut);
            let _ = ended.recv().await;
        };
        or(all_ended, out_of_time).await;
        Ok(())
    }
}

/// The connections of one listener.
struct Connections<M> {
    workers: Arc<[Worker]>,
    shared: Arc<Shared>,
    first: First,
    choice: Option<Choice>,
    alive: Sender<()>,
    make: M,
}

impl<H: Handler, M: Fn(Option<SocketAddr>) -> H + Clone + Send + Sync + 'static> Connections<M> {
    async fn accept(self, door: Watch) {
        let mut failed = None::<Instant>;
        let mut stopping = pin!(self.shared.stop.recv());
        loop {
            let accepted = or(async { Some(door.accept().await) }, async {
                let _ = stopping.as_mut().await;
                None
            });
            match accepted.await {
                None => return,
                Some(Ok((socket, address))) => {
                    self.welcome(socket, address);
                }
                Some(Err(error)) => {
                    // Such as no descriptors left. Those that are connected must not suffer by a busy loop, nor the log.
                    // Where one is let in for each that ends it fails again and again: one trouble, until a minute went well.
                    if failed.replace(Instant::now()).is_none_or(|at| at.elapsed() > Duration::from_secs(60)) {
                        tracing::warn!(%error, "connections cannot be accepted; trying again");
                    }
                    Timer::after(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn welcome(&self, socket: Fresh, address: Option<SocketAddr>) {
        let may = |from: &[Network]| address.is_some_and(|a| from.iter().any(|network| network.contains(a.ip())));
        if self.first.proxy.as_ref().is_some_and(|from| !may(from)) {
            tracing::warn!(peer = %Name(address), "not one of the load balancers that may connect here");
            return;
        }
        let behind_proxy = self.first.proxy.is_some();
        // Who it is will be told; or it comes by a Unix socket, and is on this machine.
        let counted = address.filter(|_| !behind_proxy);
        let place = self.shared.places.place();
        let place = place.and_then(|place| match counted {
            Some(address) => place.of(address.ip()),
            None => Some(place),
        });
        let Some(place) = place else {
            tracing::debug!(peer = %Name(address), "too many connections");
            turn_away(&socket, !self.first.tls);
            return;
        };
        let seat = Seat::of(&self.workers);
        let Some(executor) = seat.worker().map(Worker::executor) else { return };
        let (shared, first) = (self.shared.clone(), self.first.clone());
        // A block of its own, since it is over when the session begins.
        let coming =
            Box::pin(come(shared.clone(), first, self.choice.clone(), self.make.clone(), socket, address, place));
        // Made here: what is made of it inside would have room beside it.
        let held = (Panics(address), self.alive.clone(), seat);
        let connection = async move {
            let Some((mut connection, _place)) = coming.await else { return };
            // What becomes of it, it tells itself.
            let _ = connection.run().await;
            drop(held);
        };
        let connection = or(connection, cut_off(shared));
        // A handler that panics ends its own connection and no other.
        executor.spawn(AssertUnwindSafe(connection).catch_unwind()).detach();
    }
}

/// Whatever comes before the session: who the client is, whether it may be here, and how it is served. `None`: it has been
/// turned away.
async fn come<H: Handler>(
    shared: Arc<Shared>,
    first: First,
    choice: Option<Choice>,
    make: impl FnOnce(Option<SocketAddr>) -> H,
    mut socket: Fresh,
    mut address: Option<SocketAddr>,
    mut place: Place,
) -> Option<(Connection<H>, Place)> {
    let mut channel = Channel::Plain;
    if let (Some(_), Some(from)) = (&first.proxy, address) {
        let unwatched = |error: &io::Error| tracing::warn!(peer = %from, %error, "cannot watch a connection");
        let balancer = match socket {
            Fresh::Tcp(socket) => Async::new_nonblocking(socket.into()).inspect_err(unwatched).ok()?,
            Fresh::Socket(Socket::Tcp(socket)) => socket,
            // They have no address.
            Fresh::Socket(Socket::Unix(_)) | Fresh::Unix(_) => return None,
        };
        let (client, told) = client(&shared, &balancer, from, first.tls_before).await?;
        channel = told;
        socket = Fresh::Socket(balancer.into());
        let Some(counted) = place.of(client.ip()) else {
            tracing::debug!(peer = %client, "too many connections of one address");
            turn_away(&socket, !first.tls);
            return None;
        };
        (place, address) = (counted, Some(client));
    }
    let chosen = choice.and_then(|choice| choice.of(address));
    let config = chosen.unwrap_or_else(|| shared.config.clone());
    let opening = if first.tls { Opening::Tls } else { Opening::Session(channel) };
    let unwatched = |error: &io::Error| tracing::warn!(peer = %Name(address), %error, "cannot watch a connection");
    let link = Link::new(socket).inspect_err(unwatched).ok()?;
    let connection = open(shared, config, link, || make(address), address, opening).await?;
    Some((connection, place))
}

/// Tells of a handler that panics.
struct Panics(Option<SocketAddr>);

impl Drop for Panics {
    fn drop(&mut self) {
        if thread::panicking() {
            tracing::error!(peer = %Name(self.0), "a handler panicked; its connection is closed");
        }
    }
}

/// For a connection that has no place.
fn turn_away(socket: &Fresh, tell: bool) {
    if tell {
        // RFC 5321 3.8. The socket's buffer is empty: this does not block.
        let _ = socket.say(b"421 4.7.0 Too many connections; try again later\r\n");
    }
    let _ = socket.shutdown();
}

/// Who the client is by the PROXY header (the balancer itself, where that says so or does not know), and what the session
/// runs over. `None`: there was no header, and the connection is to be closed without a word.
async fn client(
    shared: &Shared,
    socket: &Async<TcpStream>,
    balancer: SocketAddr,
    tls_before: bool,
) -> Option<(SocketAddr, Channel)> {
    let late = async {
        Timer::after(shared.places.limits().proxy_time).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    let stopping = async {
        let _ = shared.stop.recv().await;
        Err(io::ErrorKind::Interrupted.into())
    };
    match or(proxy::read(socket, tls_before), or(late, stopping)).await {
        Ok((client, channel)) => Some((client.unwrap_or(balancer), channel)),
        Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {
            tracing::debug!(peer = %balancer, "closed without a word");
            None
        }
        Err(error) => {
            tracing::warn!(peer = %balancer, %error, "no PROXY header from a load balancer");
            None
        }
    }
}
