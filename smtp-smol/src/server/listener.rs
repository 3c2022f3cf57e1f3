//! Where connections come in, and what comes before SMTP on them.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Poll, ready};

use mio::Interest;
use mio::event::Source;
use smol::Async;
use smtp_proto::proxy::Network;
use smtp_proto::server::Config;
use smtp_rustls::ServerTls;
use socket2::{Domain, Socket as Socket2, Type};

use crate::reactor::{self, Watched};
use crate::socket::{Fresh, Ready, Socket};

/// Clients that may wait to be accepted. The system may have a lower limit (on Linux net.core.somaxconn).
const BACKLOG: i32 = 4096;

/// A place where a [`Server`](crate::Server) listens. What it is not told it takes from the server.
///
/// ```no_run
/// use smtp_proto::{server::{Config, Role}, tls::Policy};
/// use smtp_smol::{Listener, Server};
///
/// let mx = Config::new("mx.example.net")?.tls(Policy::Off).shared();
/// let lmtp = Config::new("mx.example.net")?.tls(Policy::Off).role(Role::Lmtp).shared();
/// let mut server = Server::new(mx);
/// server.listen("127.0.0.1:2525".parse()?)?;
/// server.add(Listener::unix("/run/lmtp".as_ref())?.config(lmtp));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Listener {
    pub(super) door: Door,
    pub(super) first: First,
    pub(super) config: Option<Arc<Config>>,
    pub(super) tls: Option<ServerTls>,
    pub(super) choice: Option<Choice>,
}

/// What comes before SMTP.
#[derive(Clone, Debug, Default)]
pub(super) struct First {
    /// A PROXY header, from these; nobody else may connect.
    pub(super) proxy: Option<Arc<[Network]>>,
    /// TLS.
    pub(super) tls: bool,
    /// TLS ended at the load balancer, whether or not that tells.
    pub(super) tls_before: bool,
}

/// The configuration for a client.
#[derive(Clone)]
pub(super) struct Choice(Arc<dyn Fn(Option<SocketAddr>) -> Option<Arc<Config>> + Send + Sync>);

impl Choice {
    pub(super) fn of(&self, client: Option<SocketAddr>) -> Option<Arc<Config>> {
        (self.0)(client)
    }
}

impl fmt::Debug for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Choice")
    }
}

impl Listener {
    /// On an address; port 0 becomes a real one. `[::]` is every address of IPv6, and none of IPv4: for both, listen on
    /// `0.0.0.0` as well.
    ///
    /// # Errors
    /// Those of the operating system: an address in use, or not ours.
    pub fn tcp(address: SocketAddr) -> io::Result<Self> {
        Ok(Self::new(Door::tcp(address)?))
    }

    /// On a Unix socket, as is usual for LMTP. Its file is made here and removed at the end; one that a server has left
    /// there which was killed is replaced.
    ///
    /// # Errors
    /// Those of the operating system: something else is there, or somebody listens on it; no such folder.
    pub fn unix(path: &Path) -> io::Result<Self> {
        Ok(Self::new(Door::unix(path)?))
    }

    /// By a socket that listens already, such as one that a supervisor has passed.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn passed_tcp(listener: TcpListener) -> io::Result<Self> {
        Ok(Self::new(Door::Tcp(Async::new(listener)?)))
    }

    /// By a Unix socket that listens already; its file is left where it is.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn passed_unix(listener: UnixListener) -> io::Result<Self> {
        Ok(Self::new(Door::Unix { listener: Async::new(listener)?, file: None }))
    }

    fn new(door: Door) -> Self {
        Self { door, first: First::default(), config: None, tls: None, choice: None }
    }

    /// Its address; a Unix socket has none.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.door.address()
    }

    /// A configuration of its own.
    #[must_use]
    pub fn config(mut self, config: Arc<Config>) -> Self {
        self.config = Some(config);
        self
    }

    /// A configuration of TLS of its own.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: Arc<rustls::ServerConfig>) -> Self {
        self.tls = Some(ServerTls::new(tls));
        self
    }

    /// TLS comes first (RFC 8314 3.3).
    #[must_use]
    pub fn tls_first(mut self) -> Self {
        self.first.tls = true;
        self
    }

    /// A PROXY header comes first, from these load balancers; nobody else may connect. Without a header, in time and well
    /// formed, a connection is closed without a word.
    #[must_use]
    pub fn proxy(mut self, from: &[Network]) -> Self {
        self.first.proxy = Some(from.into());
        self
    }

    /// TLS ends at the load balancer of [`proxy`](Self::proxy), also where its header does not tell: the session is one
    /// inside TLS. Where the header tells (PP2_TYPE_SSL of version 2) it is believed in any case.
    #[must_use]
    pub fn tls_before(mut self) -> Self {
        self.first.tls_before = true;
        self
    }

    /// Chooses the configuration by the client's address, which is known when this is asked; `None` is the listener's
    /// own. No choice may offer TLS where the listener has no certificate.
    #[must_use]
    pub fn config_for(
        mut self,
        choose: impl Fn(Option<SocketAddr>) -> Option<Arc<Config>> + Send + Sync + 'static,
    ) -> Self {
        self.choice = Some(Choice(Arc::new(choose)));
        self
    }
}

/// Where connections come in.
#[derive(Debug)]
pub(super) enum Door {
    Tcp(Async<TcpListener>),
    Unix { listener: Async<UnixListener>, file: Option<SocketFile> },
}

/// The file of a Unix socket; removed at the end.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

impl Door {
    pub(super) fn tcp(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket2::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            // So that 0.0.0.0 and [::] can be listened on at the same port.
            socket.set_only_v6(true)?;
        }
        // Accepted sockets inherit it, on Linux and the BSDs: a call less for each connection.
        socket.set_tcp_nodelay(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(Self::Tcp(Async::new(socket.into())?))
    }

    pub(super) fn unix(path: &Path) -> io::Result<Self> {
        let is_socket = path.symlink_metadata().is_ok_and(|file| file.file_type().is_socket());
        let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
        if is_socket && UnixStream::connect(path).is_err_and(refused) {
            std::fs::remove_file(path)?;
        }
        Ok(Self::Unix { listener: Async::<UnixListener>::bind(path)?, file: Some(SocketFile(path.to_owned())) })
    }

    /// Its address, port 0 made a real one; a Unix socket has none.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.get_ref().local_addr().ok(),
            Self::Unix { .. } => None,
        }
    }
}

/// A door that somebody watches.
pub(super) enum Watch {
    Smol(Door),
    Tcp(Watched<mio::net::TcpListener>),
    Unix { listener: Watched<mio::net::UnixListener>, _file: Option<SocketFile> },
}

impl Watch {
    /// By the reactor of this thread, or if it has none by smol's.
    ///
    /// # Errors
    /// Those of the operating system.
    pub(super) fn new(door: Door) -> io::Result<Self> {
        let Some(reactor) = reactor::here() else { return Ok(Self::Smol(door)) };
        Ok(match door {
            Door::Tcp(listener) => {
                let listener = mio::net::TcpListener::from_std(listener.into_inner()?);
                Self::Tcp(Watched::new(listener, Interest::READABLE, reactor)?)
            }
            Door::Unix { listener, file } => {
                let listener = mio::net::UnixListener::from_std(listener.into_inner()?);
                Self::Unix { listener: Watched::new(listener, Interest::READABLE, reactor)?, _file: file }
            }
        })
    }

    pub(super) async fn accept(&self) -> io::Result<(Fresh, Option<SocketAddr>)> {
        match self {
            Self::Smol(Door::Tcp(listener)) => {
                let (socket, address) = listener.accept().await?;
                Ok((Socket::Tcp(socket).into(), Some(address)))
            }
            Self::Smol(Door::Unix { listener, .. }) => Ok((Socket::Unix(listener.accept().await?.0).into(), None)),
            Self::Tcp(listener) => {
                let (socket, address) = accept(listener, mio::net::TcpListener::accept).await?;
                Ok((Fresh::Tcp(socket), Some(address)))
            }
            Self::Unix { listener, .. } => {
                Ok((Fresh::Unix(accept(listener, mio::net::UnixListener::accept).await?.0), None))
            }
        }
    }
}

async fn accept<S: Source, T>(listener: &Watched<S>, accept: impl Fn(&S) -> io::Result<T>) -> io::Result<T> {
    poll_fn(|context| {
        loop {
            match accept(listener.socket()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                accepted => return Poll::Ready(accepted),
            }
            ready!(listener.poll(Ready::Read, None, context))?;
        }
    })
    .await
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
