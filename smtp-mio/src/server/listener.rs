//! Where connections come in, and what comes before SMTP on them.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mio::event::Source;
use mio::net::{TcpListener, UnixListener};
use smtp_proto::proxy::Network;

use crate::link::Socket;

/// A listener of one loop.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) door: Door,
    pub(crate) first: First,
}

/// Where connections come in.
#[derive(Debug)]
pub(crate) enum Door {
    Tcp(TcpListener),
    /// The file is removed when the last loop has ended.
    Unix {
        listener: UnixListener,
        _file: Arc<SocketFile>,
    },
}

/// The file of a Unix socket.
#[derive(Debug)]
pub(crate) struct SocketFile(PathBuf);

impl Door {
    /// Who comes in next, and from where.
    pub(crate) fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => listener.accept().map(|(socket, address)| (socket.into(), Some(address))),
            Self::Unix { listener, .. } => listener.accept().map(|(socket, _)| (socket.into(), None)),
        }
    }

    pub(crate) fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(listener) => listener,
            Self::Unix { listener, .. } => listener,
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A Unix socket that listens; a file that a server has left there which was killed is replaced.
pub(crate) fn listen_unix(path: &Path) -> io::Result<(std::os::unix::net::UnixListener, SocketFile)> {
    let is_socket = path.symlink_metadata().is_ok_and(|file| file.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    if is_socket && UnixStream::connect(path).is_err_and(refused) {
        std::fs::remove_file(path)?;
    }
    let listener = std::os::unix::net::UnixListener::bind(path)?;
    let file = SocketFile(path.to_owned());
    listener.set_nonblocking(true)?;
    Ok((listener, file))
}

/// What comes before SMTP on the connections of a listener.
#[derive(Clone, Debug, Default)]
pub(crate) struct First {
    /// A PROXY header, from these; nobody else may connect.
    pub(crate) proxy: Option<Arc<[Network]>>,
    /// TLS.
    pub(crate) tls: bool,
    /// TLS ended at the load balancer, whether or not that tells.
    pub(crate) tls_before: bool,
}

/// A socket that listens; shared by the loops (SO_REUSEPORT), if so wanted.
pub(crate) fn listen(address: SocketAddr, share: bool) -> io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if share {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        // So that 0.0.0.0 and [::] can be listened on at the same port.
        socket.set_only_v6(true)?;
    }
    // Accepted sockets inherit it, on Linux and the BSDs: a call less for each connection.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}
