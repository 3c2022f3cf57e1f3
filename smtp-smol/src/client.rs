//! The client: how connections are made, and with what.

use std::fmt;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use smol::Async;
use smtp_proto::Channel;
use smtp_proto::auth::{Nonce, client::Credentials};
use smtp_proto::client::{Config, Session, Tls};
use smtp_proto::tls::TlsInfo;

use crate::certificates::ClientTls;
use crate::connect::connect;
use crate::connection::Connection;
use crate::link::Socket;
use crate::target::{Place, Target};

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
pub struct Client {
    pub(crate) config: Arc<Config>,
    pub(crate) tls: Option<ClientTls>,
    credentials: Option<Credentials>,
    pub(crate) connect_time: Duration,
    observer: Option<Observer>,
}

/// Told what goes over the wire, inside TLS if there is any.
pub type Observer = Arc<dyn Fn(Said<'_>) + Send + Sync>;

/// What goes over the wire.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Said<'a> {
    /// Octets of the client's. Those that may hold credentials are not told.
    Client(&'a [u8]),
    /// So many octets that may hold credentials.
    Secret(usize),
    /// Octets of the server's, as they were read.
    Server(&'a [u8]),
    /// The hop is TLS from here on.
    Tls(&'a TlsInfo),
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("config", &self.config).field("tls", &self.tls).finish_non_exhaustive()
    }
}

impl Client {
    /// A client without TLS; its configuration must say [`Tls::Never`], or [`Client::tls`] must follow.
    #[must_use]
    pub const fn new(config: Arc<Config>) -> Self {
        Self { config, tls: None, credentials: None, connect_time: CONNECT_TIME, observer: None }
    }

    /// Whom to trust.
    #[must_use]
    pub fn tls(mut self, tls: ClientTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Authenticates with these.
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// How long to try to connect, in all: 30 seconds.
    #[must_use]
    pub const fn connect_time(mut self, time: Duration) -> Self {
        self.connect_time = time;
        self
    }

    /// Is told what goes over the wire.
    #[must_use]
    pub fn observe(mut self, observer: Observer) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Connects, and does the handshake where TLS comes first. The greeting is read with the first message.
    ///
    /// # Errors
    /// Those of the operating system; [`io::ErrorKind::InvalidInput`] when TLS is wanted and [`Client::tls`] was not
    /// said; [`io::ErrorKind::InvalidData`] when the handshake failed.
    pub async fn connect(&self, target: &Target) -> io::Result<Connection> {
        if self.tls.is_none() && (target.implicit_tls || self.config.tls_policy() != Tls::Never) {
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
                let (socket, address) = connect(&addresses, self.connect_time).await?;
                (Socket::Tcp(socket), Some(address))
            }
            Place::Addresses(addresses) => {
                let (socket, address) = connect(addresses, self.connect_time).await?;
                (Socket::Tcp(socket), Some(address))
            }
        };
        let session = Session::new(self.config.clone(), Channel::Plain);
        let mut connection = Connection::new(socket, session, self.clone(), target.clone(), peer);
        if target.implicit_tls {
            let info = connection.handshake(self.config.handshake_timeout()).await.map_err(|failure| {
                io::Error::new(io::ErrorKind::InvalidData, format!("the TLS handshake failed: {failure}"))
            })?;
            connection.session = Session::new(self.config.clone(), Channel::Tls(info));
        }
        if let Some(credentials) = &self.credentials {
            let mut random = [0; 18];
            rustls::crypto::ring::default_provider()
                .secure_random
                .fill(&mut random)
                .map_err(|_| io::Error::other("no random numbers"))?;
            connection.session.authenticate(credentials.clone(), Nonce::new(&random));
        }
        Ok(connection)
    }

    pub(crate) fn tell(&self, said: Said<'_>) {
        if let Some(observer) = &self.observer {
            observer(said);
        }
    }
}
