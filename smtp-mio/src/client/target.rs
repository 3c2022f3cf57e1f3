//! Where a server is, and the name that its certificate must bear.

use std::net::SocketAddr;
use std::sync::Arc;

use smtp_proto::net::{PeerName, in_turn};

/// Where a server is, and the name that its certificate must bear.
///
/// Addresses alone: to look up names may take long, and would hold up the other connections.
///
/// ```
/// use smtp_mio::Target;
///
/// let address = "192.0.2.25:25".parse()?;
/// let hop = Target::addresses(&[address]).named("mx.example.net"); // the certificate must bear this name
/// let submission = Target::addresses(&["192.0.2.26:465".parse()?]).named("mail.example.net").implicit_tls(true);
/// assert_ne!(hop, submission);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub(super) addresses: Arc<[SocketAddr]>,
    pub(super) name: PeerName,
    implicit_tls: bool,
}

impl Target {
    /// These addresses, the first that answers (RFC 8305).
    #[must_use]
    pub fn addresses(addresses: &[SocketAddr]) -> Self {
        Self { addresses: in_turn(addresses).into(), name: PeerName::default(), implicit_tls: false }
    }

    /// The name that the certificate must bear: a configured one, never one learnt from the server or from plain DNS.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.name = PeerName::sure(name);
        self
    }

    /// The name that it is asked for by (SNI), learnt from plain DNS: a certificate for it proves nothing.
    #[must_use]
    pub fn called(mut self, name: &str) -> Self {
        self.name = PeerName::learnt(name);
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
}
