//! Answers the authority that connects to see whose a name is (tls-alpn-01, RFC 8737). Nobody else is told anything there.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_acme::acme::ACME_TLS_ALPN_NAME;
use rustls_acme::futures_rustls::TlsAcceptor;
use rustls_acme::{ResolvesServerCertAcme, is_tls_alpn_challenge};
use smol::Async;
use smol::io::AsyncWriteExt as _;
use socket2::{Domain, Protocol, Socket, Type};

use crate::failure::Failure;
use crate::serve::callers;

/// For a whole connection.
const TIME: Duration = Duration::from_secs(10);
/// Connections at once.
const MOST: usize = 32;

/// What is answered now: that of the order in progress.
#[derive(Clone, Debug, Default)]
pub(super) struct Challenges(Arc<Mutex<Option<Arc<ResolvesServerCertAcme>>>>);

impl Challenges {
    pub(super) fn are_of(&self, order: Option<Arc<ResolvesServerCertAcme>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = order;
    }
}

impl ResolvesServerCert for Challenges {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if !is_tls_alpn_challenge(&hello) {
            return None;
        }
        let order = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        order.resolve(hello)
    }
}

/// Binds an address, IPv6 without IPv4 as everywhere.
pub(super) fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    let listen = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(128)?;
        Ok::<_, std::io::Error>(TcpListener::from(socket))
    };
    listen().map_err(|error| {
        let mend = "name an address of this machine and a port that is free and allowed";
        Failure::option("--tls-acme-listen", address, error, mend)
    })
}

/// Answers for as long as the program runs.
pub(super) async fn answer(listener: Async<TcpListener>, challenges: Challenges) -> Result<(), rustls::Error> {
    let config = ServerConfig::builder_with_provider(smtp_rustls::provider()).with_safe_default_protocol_versions()?;
    let mut config = config.with_no_client_auth().with_cert_resolver(Arc::new(challenges));
    config.alpn_protocols = vec![ACME_TLS_ALPN_NAME.to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    callers::each(listener, MOST, TIME, move |socket| {
        let acceptor = acceptor.clone();
        // RFC 8737 3: nothing is said in it.
        async move { acceptor.accept(socket).await?.close().await }
    })
    .await;
    Ok(())
}
