//! Where a server is, and the TCP connection to whichever of its addresses answers first (RFC 8305, "happy eyeballs").

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustls::pki_types::ServerName;

/// Where a server is, and the name that its certificate must bear.
///
/// Addresses alone: to look up names may take long, and would hold up the other connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    addresses: Arc<[SocketAddr]>,
    name: Option<Arc<str>>,
    /// The name is a configured one, so that a certificate for it proves something.
    pub(super) sure: bool,
    implicit_tls: bool,
}

impl Target {
    /// These addresses, the first that answers (RFC 8305).
    #[must_use]
    pub fn addresses(addresses: &[SocketAddr]) -> Self {
        Self { addresses: interleave(addresses).into(), name: None, sure: false, implicit_tls: false }
    }

    /// The name that the certificate must bear: a configured one, never one learnt from the server or from plain DNS.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self.sure = true;
        self
    }

    /// The name that it is asked for by (SNI), learnt from plain DNS: a certificate for it proves nothing.
    #[must_use]
    pub fn called(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self.sure = false;
        self
    }

    /// TLS comes first (RFC 8314 3), as on port 465.
    #[must_use]
    pub const fn implicit_tls(mut self, implicit: bool) -> Self {
        self.implicit_tls = implicit;
        self
    }

    pub(super) const fn is_implicit_tls(&self) -> bool {
        self.implicit_tls
    }

    /// For SNI and for the certificate. Without a name a certificate verifies for nothing.
    pub(super) fn server_name(&self, address: SocketAddr) -> Result<ServerName<'static>, rustls::Error> {
        let address = ServerName::IpAddress(address.ip().to_canonical().into());
        let Some(name) = &self.name else { return Ok(address) };
        match ServerName::try_from(name.trim_matches(['[', ']']).to_owned()) {
            Ok(name) => Ok(name),
            Err(_) if self.sure => Err(rustls::Error::General(format!("{name:?} is no name for a certificate"))),
            Err(_) => Ok(address),
        }
    }
}

/// Families in turn, the first address's first, otherwise as the resolver ordered them (RFC 8305 4).
fn interleave(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut one, mut other): (Vec<_>, Vec<_>) =
        addresses.iter().rev().copied().partition(|address| address.is_ipv6() == first_is_v6);
    let mut order = Vec::with_capacity(addresses.len());
    while order.len() < addresses.len() {
        order.extend(one.pop());
        order.extend(other.pop());
    }
    order
}

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

#[cfg(test)]
mod tests {
    use super::{SocketAddr, interleave};

    #[test]
    fn families_take_turns() {
        let addresses = |list: &[&str]| -> Vec<SocketAddr> {
            list.iter().map(|address| address.parse().expect("an address")).collect()
        };
        let given = addresses(&["[2001:db8::1]:25", "[2001:db8::2]:25", "192.0.2.1:25", "192.0.2.2:25"]);
        let expected = addresses(&["[2001:db8::1]:25", "192.0.2.1:25", "[2001:db8::2]:25", "192.0.2.2:25"]);
        assert_eq!(interleave(&given), expected);
        assert!(interleave(&[]).is_empty());
    }
}
