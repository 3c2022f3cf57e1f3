//! The TCP connection to whichever of a server's addresses answers first (RFC 8305, "happy eyeballs").

use std::io;
use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::target::Target;

/// Attempts to connect to a target: another begins when all before it have failed, or have been alone for a tick.
#[derive(Debug)]
pub(super) struct Attempts {
    under_way: Vec<(TcpStream, SocketAddr)>,
    /// Addresses that have been tried.
    tried: usize,
    error: io::Error,
}

impl Attempts {
    pub(super) fn new() -> Self {
        let error = io::ErrorKind::AddrNotAvailable.into();
        Self { under_way: Vec::new(), tried: 0, error }
    }

    /// Begins the next attempt. An error says that all have failed.
    pub(super) fn next(&mut self, target: &Target, registry: &Registry, token: Token) -> io::Result<()> {
        while let Some(address) = target.addresses.get(self.tried).copied() {
            self.tried += 1;
            match begin(address, registry, token) {
                Ok(socket) => {
                    self.under_way.push((socket, address));
                    return Ok(());
                }
                Err(error) => self.error = error,
            }
        }
        if self.under_way.is_empty() { Err(self.take_error()) } else { Ok(()) }
    }

    /// Whether there are addresses left to be tried.
    pub(super) fn has_more(&self, target: &Target) -> bool {
        self.tried < target.addresses.len()
    }

    /// Which has been connected to, if any; nothing is sent to the others. An error says that all have failed.
    pub(super) fn connected(
        &mut self,
        target: &Target,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Option<(TcpStream, SocketAddr)>> {
        let mut at = 0;
        while let Some((socket, _)) = self.under_way.get(at) {
            match is_connected(socket) {
                Ok(true) => return Ok(Some(self.under_way.swap_remove(at))),
                Ok(false) => at += 1,
                Err(error) => {
                    self.error = error;
                    self.under_way.swap_remove(at);
                }
            }
        }
        if self.under_way.is_empty() {
            self.next(target, registry, token)?;
        }
        Ok(None)
    }

    fn take_error(&mut self) -> io::Error {
        std::mem::replace(&mut self.error, io::ErrorKind::AddrNotAvailable.into())
    }
}

fn begin(address: SocketAddr, registry: &Registry, token: Token) -> io::Result<TcpStream> {
    let mut socket = TcpStream::connect(address)?;
    // A group of commands is one write; it must not wait for the acknowledgement of the one before.
    socket.set_nodelay(true)?;
    registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
    Ok(socket)
}

fn is_connected(socket: &TcpStream) -> io::Result<bool> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    match socket.peer_addr() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}
