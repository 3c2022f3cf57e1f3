//! Where a server is, and the name that its certificate must bear.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use smtp_proto::net::PeerName;
use smtp_proto::proxy::{Addresses, ProxyError, Tlv};

/// Where a server is, and the name that its certificate must bear.
///
/// ```
/// use smtp_smol::Target;
///
/// let by_name = Target::host("mx.example.net", 25);
/// // Addresses that were looked up elsewhere, and the name that the certificate must bear.
/// let by_address = Target::addresses(vec!["192.0.2.25:25".parse()?]).named("mx.example.net");
/// let lmtp = Target::unix("/run/lmtp".into());
/// # let _ = [by_name, by_address, lmtp];
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    pub(crate) place: Place,
    pub(crate) name: PeerName,
    pub(crate) implicit_tls: bool,
    /// A PROXY header, said before anything else.
    pub(crate) header: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Host(String, u16),
    Addresses(Vec<SocketAddr>),
    Unix(PathBuf),
}

impl Target {
    /// A host, by a name that the system's resolver knows, or an address. Its certificate must bear that name.
    #[must_use]
    pub fn host(host: &str, port: u16) -> Self {
        Self { name: PeerName::sure(host), ..Self::at(Place::Host(host.to_owned(), port)) }
    }

    /// These addresses, the first that answers (RFC 8305).
    #[must_use]
    pub fn addresses(addresses: Vec<SocketAddr>) -> Self {
        Self::at(Place::Addresses(addresses))
    }

    /// A Unix socket, as LMTP servers have.
    #[must_use]
    pub fn unix(path: PathBuf) -> Self {
        Self::at(Place::Unix(path))
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

    /// Says a PROXY header, version 1, before anything else: for a server that is set up to believe it. A connection that
    /// speaks for one client is not used again for another.
    ///
    /// # Errors
    /// [`ProxyError::NotInVersion1`], for all but two TCP addresses of one family and [`Addresses::Unknown`].
    pub fn proxy_v1(mut self, between: &Addresses<'_>) -> Result<Self, ProxyError> {
        self.header.clear();
        between.write_v1(&mut self.header)?;
        Ok(self)
    }

    /// The same by version 2, with these TLVs.
    ///
    /// # Errors
    /// [`ProxyError::TooLong`], and [`ProxyError::Tlv`] for a TLV that is not valid.
    pub fn proxy_v2(mut self, between: &Addresses<'_>, tlvs: &[Tlv<'_>]) -> Result<Self, ProxyError> {
        self.header.clear();
        between.write_v2(tlvs, &mut self.header)?;
        Ok(self)
    }

    fn at(place: Place) -> Self {
        Self { place, name: PeerName::default(), implicit_tls: false, header: Vec::new() }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Host(host, port) => write!(f, "{host}:{port}"),
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
            Place::Addresses(addresses) => {
                let name = self.name.as_str().unwrap_or("addresses");
                write!(f, "{name} {addresses:?}")
            }
        }
    }
}
