//! The server: one event loop a core, each with a listener of its own (SO_REUSEPORT).

mod connection;
mod event_loop;
mod handle;
mod limits;
mod listener;
mod proxy;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use mio::net::{TcpListener, UnixListener};
use smtp_proto::auth::Mechanism;
use smtp_proto::proxy::Network;
use smtp_proto::server::Config;
use smtp_rustls::{ClientCertificates, ServerTls};

use crate::handler::Handler;
use event_loop::Loop;
pub use handle::Handle;
use limits::Counts;
pub use limits::{Limits, Stats};
use listener::{Door, First, Listener, listen, listen_unix};

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
/// use smtp_mio::{Answer, Limits, MessageHandler, Messages, Peer, Server};
///
/// struct Accept;
///
/// impl MessageHandler for Accept {
///     fn message(&mut self, _: &Peer<'_>, _: Envelope) -> Answer<'_> {
///         Verdict::Accept.into()
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
///     println!("{} messages", handle.stats().messages);
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
    /// Of each loop.
    listeners: Vec<Vec<Listener>>,
    handle: Handle,
}

impl Server {
    /// A server with as many loops as there are cores, which listens nowhere yet.
    #[must_use]
    pub fn new(config: Arc<Config>) -> Self {
        Self::with_threads(config, thread::available_parallelism().map_or(1, Into::into))
    }

    /// The same with a number of loops: at least one.
    #[must_use]
    pub fn with_threads(config: Arc<Config>, threads: usize) -> Self {
        Self {
            config,
            tls: None,
            certificates: None,
            trusted: Arc::default(),
            limits: Limits::default(),
            listeners: (0..threads.max(1)).map(|_| Vec::new()).collect(),
            handle: Handle::default(),
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

    /// Listens on an address; port 0 becomes a real one, which is returned.
    ///
    /// # Errors
    /// Those of the operating system: an address in use, or not ours.
    pub fn listen(&mut self, address: SocketAddr) -> io::Result<SocketAddr> {
        self.bind(address, &First::default())
    }

    /// Listens on an address where TLS comes first (RFC 8314 3.3).
    ///
    /// # Errors
    /// As [`Server::listen`].
    pub fn listen_tls(&mut self, address: SocketAddr) -> io::Result<SocketAddr> {
        self.bind(address, &First { tls: true, ..First::default() })
    }

    /// Listens on an address for load balancers, which begin with a PROXY header that says who the client is. A connection
    /// is closed without a word if no well-formed header comes in time, or if it does not come `from` these networks.
    ///
    /// # Errors
    /// As [`Server::listen`].
    pub fn listen_proxy(&mut self, address: SocketAddr, from: &[Network]) -> io::Result<SocketAddr> {
        self.bind(address, &First { proxy: Some(from.into()), ..First::default() })
    }

    /// The same, where TLS with the client follows the header.
    ///
    /// # Errors
    /// As [`Server::listen`].
    pub fn listen_proxy_tls(&mut self, address: SocketAddr, from: &[Network]) -> io::Result<SocketAddr> {
        self.bind(address, &First { proxy: Some(from.into()), tls: true, ..First::default() })
    }

    /// The same, where TLS ends at the load balancer, also where its header does not tell: the session is one inside TLS.
    /// Where the header tells (PP2_TYPE_SSL of version 2) it is believed in any case.
    ///
    /// # Errors
    /// As [`Server::listen`].
    pub fn listen_proxy_tls_before(&mut self, address: SocketAddr, from: &[Network]) -> io::Result<SocketAddr> {
        self.bind(address, &First { proxy: Some(from.into()), tls_before: true, ..First::default() })
    }

    fn bind(&mut self, mut address: SocketAddr, first: &First) -> io::Result<SocketAddr> {
        // Someone else's socket with SO_REUSEPORT would share our mail: the first is made without.
        drop(listen(address, false)?);
        for of_loop in &mut self.listeners {
            let socket = listen(address, true)?;
            address = socket.local_addr()?;
            of_loop.push(Listener { door: Door::Tcp(TcpListener::from_std(socket)), first: first.clone() });
        }
        Ok(address)
    }

    /// Listens on a Unix socket, as is usual for LMTP. Its file is made here and removed at the end; one that was left
    /// behind by a server that was killed is replaced.
    ///
    /// # Errors
    /// Those of the operating system: something else is there, or somebody listens on it; no such folder.
    pub fn listen_unix(&mut self, path: &Path) -> io::Result<()> {
        let (listener, file) = listen_unix(path)?;
        let file = Arc::new(file);
        for of_loop in &mut self.listeners {
            let door = Door::Unix { listener: UnixListener::from_std(listener.try_clone()?), _file: file.clone() };
            of_loop.push(Listener { door, first: First::default() });
        }
        Ok(())
    }

    /// A handle that ends the server from elsewhere, and tells what it has done so far.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves until [`Handle::shut_down`]. `make` gives each connection its handler; it is
    /// told the peer's address, which is `None` for a Unix socket.
    ///
    /// # Errors
    /// Those of the operating system's polling; and [`io::ErrorKind::InvalidInput`] when TLS is offered or implied and
    /// there is no certificate.
    pub fn run<H: Handler>(self, make: impl Fn(Option<SocketAddr>) -> H + Clone + Send + 'static) -> io::Result<()> {
        let implied = self.listeners.iter().flatten().any(|listener| listener.first.tls);
        if self.tls.is_none() && (implied || self.config.tls_policy().offers()) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, NO_CERTIFICATE));
        }
        // SCRAM-PLUS alone wants to know what only the handshake knows.
        let binding = self.config.mechanisms().iter().any(Mechanism::binds_channel);
        let tls = self.tls.map(|tls| tls.channel_binding(binding));
        let tls = match self.certificates {
            Some(certificates) => tls.map(|tls| tls.client_certificates(certificates)),
            None => tls,
        };
        let counts = Arc::new(Counts::default());
        let mut loops = Vec::new();
        for listeners in self.listeners {
            loops.push(Loop::new(
                listeners,
                self.config.clone(),
                (tls.clone(), self.trusted.clone()),
                self.limits,
                counts.clone(),
                self.handle.clone(),
                make.clone(),
            )?);
        }
        let Some(mine) = loops.pop() else { return Ok(()) };
        thread::scope(|scope| {
            let others: Vec<_> = loops.into_iter().map(|l| scope.spawn(move || l.run())).collect();
            let result = mine.run();
            others.into_iter().fold(result, |result, other| {
                result.and(other.join().unwrap_or_else(|_| Err(io::Error::other("an event loop panicked"))))
            })
        })
    }
}
