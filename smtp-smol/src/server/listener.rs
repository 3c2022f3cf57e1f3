//! Where connections come in, and what comes before SMTP on them.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use smol::Async;
use smtp_proto::proxy::Network;

use crate::link::Socket;

#[derive(Debug)]
pub(super) struct Listener {
    pub(super) door: Door,
    pub(super) first: First,
}

/// Where connections come in.
#[derive(Debug)]
pub(super) enum Door {
    Tcp(Async<TcpListener>),
    Unix { listener: Async<UnixListener>, _file: SocketFile },
}

/// The file of a Unix socket; removed at the end.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

impl Door {
    pub(super) fn unix(path: &Path) -> io::Result<Self> {
        let is_socket = path.symlink_metadata().is_ok_and(|file| file.file_type().is_socket());
        let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
        if is_socket && UnixStream::connect(path).is_err_and(refused) {
            std::fs::remove_file(path)?;
        }
        Ok(Self::Unix { listener: Async::<UnixListener>::bind(path)?, _file: SocketFile(path.to_owned()) })
    }

    pub(super) async fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (socket, address) = listener.accept().await?;
                let _ = socket.get_ref().set_nodelay(true);
                Ok((Socket::Tcp(socket), Some(address)))
            }
            Self::Unix { listener, .. } => Ok((Socket::Unix(listener.accept().await?.0), None)),
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// What comes before SMTP on the connections of a listener.
#[derive(Clone, Debug)]
pub(super) struct First {
    /// A PROXY header, from these; nobody else may connect.
    pub(super) proxy: Option<Arc<[Network]>>,
    /// TLS.
    pub(super) tls: bool,
}
