//! Where connections come in, and what comes before SMTP on them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use mio::net::TcpListener;
use smtp_proto::proxy::Network;

/// A listener of one loop.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) socket: TcpListener,
    pub(crate) first: First,
}

/// What comes before SMTP on the connections of a listener.
#[derive(Clone, Debug)]
pub(crate) struct First {
    /// A PROXY header, from these; nobody else may connect.
    pub(crate) proxy: Option<Arc<[Network]>>,
    /// TLS.
    pub(crate) tls: bool,
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
