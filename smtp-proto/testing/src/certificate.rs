//! A certificate for as long as a test lives.

use std::io;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{RootCertStore, ServerConfig};

/// A self-signed certificate for `localhost`, 127.0.0.1 and the name of the sink, made on the spot.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The TLS configuration of a server that shows it.
    pub server: Arc<ServerConfig>,
    /// The certificate itself.
    pub der: CertificateDer<'static>,
    /// The same as PEM, for clients that read a file of authorities.
    pub pem: String,
}

impl Certificate {
    /// Makes one.
    ///
    /// # Errors
    /// When no key can be made, such as for want of random numbers.
    pub fn new(hostname: &str) -> io::Result<Self> {
        let names = [hostname, "localhost", "127.0.0.1"].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let der = made.cert.der().clone();
        let mut server = ServerConfig::builder_with_provider(smtp_rustls::provider())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(vec![der.clone()], key.into())
            .map_err(io::Error::other)?;
        server.alpn_protocols = vec![b"smtp".to_vec(), b"esmtp".to_vec()];
        Ok(Self { server: Arc::new(server), der, pem: made.cert.pem() })
    }

    /// A client that trusts it trusts nobody else.
    ///
    /// # Errors
    /// None that is known of: it has been made here.
    pub fn authorities(&self) -> io::Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).map_err(io::Error::other)?;
        Ok(roots)
    }
}
