//! The client: how connections are made, and with what.

mod attempts;
mod connection;
mod pool;
mod settings;
mod target;

use std::fmt;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use smol::Async;
use smtp_proto::Channel;
use smtp_proto::auth::{Nonce, client::Credentials};
use smtp_proto::client::{Config, Session, Tls};

use crate::certificates::ClientTls;
use crate::link::Socket;
use attempts::connect;
pub use connection::Connection;
pub use pool::{Pool, PoolLimits};
use settings::Settings;
pub use settings::{Observer, Said};
use target::Place;
pub use target::Target;

/// To be connected to a server.
const CONNECT_TIME: Duration = Duration::from_secs(30);

/// Makes connections to servers, and sends messages over them.
///
/// ```no_run
/// use smtp_proto::client::{Config, Envelope, Tls};
/// use smtp_proto::syntax::{ForwardPath, Mailbox, Params, Rcpt, ReversePath};
/// use smtp_smol::{Client, ClientTls, Target};
///
/// smol::block_on(async {
///     let tls = ClientTls::new(rustls::RootCertStore::empty())?;
///     let client = Client::new(Config::new("client.example")?.tls(Tls::Opportunistic).shared()).tls(tls);
///     let from = ReversePath::Mailbox(Mailbox::parse("a@example.org", false)?);
///     let to = ForwardPath::Mailbox(Mailbox::parse("b@example.net", false)?);
///     let to = [Rcpt { path: to, params: Params::default() }];
///
///     let mut connection = client.connect(&Target::host("mx.example.net", 25)).await?;
///     let transaction = connection.send(Envelope::new(from, &to), &mut &b"Subject: Hi\r\n\r\nHello.\r\n"[..]).await?;
///     for outcome in transaction.outcomes() {
///         println!("{outcome:?}");
///     }
///     connection.quit().await;
///     Ok::<_, Box<dyn std::error::Error>>(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Client(Settings);

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("config", &self.0.config).field("tls", &self.0.tls).finish_non_exhaustive()
    }
}

impl Client {
    /// A client without TLS; its configuration must say [`Tls::Never`], or [`Client::tls`] must follow.
    #[must_use]
    pub const fn new(config: Arc<Config>) -> Self {
        Self(Settings { config, tls: None, credentials: None, connect_time: CONNECT_TIME, observer: None })
    }

    /// Whom to trust.
    #[must_use]
    pub fn tls(mut self, tls: ClientTls) -> Self {
        self.0.tls = Some(tls);
        self
    }

    /// Authenticates with these.
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.0.credentials = Some(credentials);
        self
    }

    /// How long to try to connect, in all: 30 seconds.
    #[must_use]
    pub const fn connect_time(mut self, time: Duration) -> Self {
        self.0.connect_time = time;
        self
    }

    /// Is told what goes over the wire.
    #[must_use]
    pub fn observe(mut self, observer: Observer) -> Self {
        self.0.observer = Some(observer);
        self
    }

    /// Connects, and does the handshake where TLS comes first. The greeting is read with the first message.
    ///
    /// # Errors
    /// Those of the operating system; [`io::ErrorKind::InvalidInput`] when TLS is wanted and [`Client::tls`] was not
    /// said; [`io::ErrorKind::InvalidData`] when the handshake failed.
    pub async fn connect(&self, target: &Target) -> io::Result<Connection> {
        if self.0.tls.is_none() && (target.implicit_tls || self.0.config.tls_policy() != Tls::Never) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "TLS is wanted but nobody is trusted: say so with Client::tls, or say Tls::Never",
            ));
        }
        let (socket, peer) = match &target.place {
            Place::Unix(path) => (Socket::Unix(Async::<UnixStream>::connect(path).await?), None),
            Place::Host(host, port) => {
                let host = host.trim_matches(['[', ']']);
                let addresses = smol::net::resolve((host, *port)).await?;
                let (socket, address) = connect(&addresses, self.0.connect_time).await?;
                (Socket::Tcp(socket), Some(address))
            }
            Place::Addresses(addresses) => {
                let (socket, address) = connect(addresses, self.0.connect_time).await?;
                (Socket::Tcp(socket), Some(address))
            }
        };
        let session = Session::new(self.0.config.clone(), Channel::Plain);
        let mut connection = Connection::new(socket, session, self.0.clone(), target.clone(), peer);
        if target.implicit_tls {
            let info = connection.handshake(self.0.config.handshake_timeout()).await.map_err(|failure| {
                io::Error::new(io::ErrorKind::InvalidData, format!("the TLS handshake failed: {failure}"))
            })?;
            connection.session = Session::new(self.0.config.clone(), Channel::Tls(info));
        }
        if let Some(credentials) = &self.0.credentials {
            let mut random = [0; 18];
            rustls::crypto::ring::default_provider()
                .secure_random
                .fill(&mut random)
                .map_err(|_| io::Error::other("no random numbers"))?;
            connection.session.authenticate(credentials.clone(), Nonce::new(&random));
        }
        Ok(connection)
    }
}
