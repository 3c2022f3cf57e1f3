//! The client: how connections are made, and with what.

mod attempts;
mod connection;
mod pool;
mod settings;
mod steps;
mod target;
mod writing;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use smol::future::or;
use smol::io::{AsyncBufRead, AsyncWriteExt as _};
use smol::{Async, Timer};
use smtp_proto::Channel;
use smtp_proto::auth::{Nonce, client::Credentials};
use smtp_proto::client::{Config, Envelope, NoConnection, Reason, Session, Tls, Transaction};

use crate::link::Link;
use crate::socket::Socket;
use attempts::connect;
pub use connection::Connection;
pub use pool::{Lent, Pool, PoolLimits};
use settings::Settings;
pub use settings::{Observer, Said};
use target::Place;
pub use target::Target;
pub use writing::Stopped;

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

    /// Does TLS by this: whom to trust, and which certificate to show, if any.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: smtp_rustls::ClientTls) -> Self {
        self.0.tls = Some(tls);
        self
    }

    /// Authenticates each connection with these, by the strongest mechanism that both sides know.
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

    /// Connects, says the PROXY header that the target may have, and does the handshake where TLS comes first. The greeting
    /// is read with the first message.
    ///
    /// # Errors
    /// [`Reason::NotConnected`], and [`Reason::TlsFailed`] where TLS comes first: the same words in which a session ends,
    /// for [`Transaction::fail`].
    pub async fn connect(&self, target: &Target) -> Result<Connection, Reason> {
        if self.0.tls.is_none() && (target.implicit_tls || self.0.config.tls_policy() != Tls::Never) {
            let words = "TLS is wanted but nobody is trusted: say so with Client::tls, or say Tls::Never";
            return Err(Reason::NotConnected(NoConnection::NotSetUp(words.into())));
        }
        let (socket, peer) = self.socket(target).await.map_err(Reason::NotConnected)?;
        let session = Session::new(self.0.config.clone(), Channel::Plain);
        let link = Link::new(socket.into()).map_err(|error| Reason::NotConnected((&error).into()))?;
        let mut connection = Connection::new(link, session, self.0.clone(), target.clone(), peer);
        if target.implicit_tls {
            let info = connection.handshake(self.0.config.handshake_timeout()).await.map_err(Reason::TlsFailed)?;
            connection.session = Session::new(self.0.config.clone(), Channel::Tls(info));
        }
        if let Some(credentials) = &self.0.credentials {
            let mut random = [0; 18];
            getrandom::fill(&mut random)
                .map_err(|_| Reason::NotConnected(NoConnection::Other("no random numbers".into())))?;
            connection.session.authenticate(credentials.clone(), Nonce::new(&random));
        }
        Ok(connection)
    }

    /// Connects, sends one message, and says QUIT. That there is no connection is an outcome like any other.
    ///
    /// # Errors
    /// Only those of reading `text`.
    pub async fn send<'e>(
        &self,
        target: &Target,
        envelope: Envelope<'e>,
        text: &mut (impl AsyncBufRead + Unpin),
    ) -> io::Result<Transaction<'e>> {
        match self.connect(target).await {
            Ok(mut connection) => {
                let transaction = connection.send(envelope, text).await?;
                connection.quit().await;
                Ok(transaction)
            }
            Err(reason) => Ok(failed(envelope, reason)),
        }
    }

    async fn socket(&self, target: &Target) -> Result<(Socket, Option<SocketAddr>), NoConnection> {
        let (mut socket, peer) = match &target.place {
            Place::Unix(path) => {
                let socket = Async::<UnixStream>::connect(path).await.map_err(|error| NoConnection::from(&error))?;
                (Socket::Unix(socket), None)
            }
            Place::Host(host, port) => {
                let host = host.trim_matches(['[', ']']);
                let addresses = smol::net::resolve((host, *port)).await;
                let addresses = addresses.map_err(|error| NoConnection::NoAddress(error.to_string().into()))?;
                self.tcp(&addresses).await?
            }
            Place::Addresses(addresses) => self.tcp(addresses).await?,
        };
        // What comes before everything else on the connection, TLS included.
        let said = async {
            match &mut socket {
                Socket::Tcp(socket) => socket.write_all(&target.header).await,
                Socket::Unix(socket) => socket.write_all(&target.header).await,
            }
        };
        let late = async {
            Timer::after(self.0.connect_time).await;
            Err(io::ErrorKind::TimedOut.into())
        };
        or(said, late).await.map_err(|error| NoConnection::from(&error))?;
        Ok((socket, peer))
    }

    async fn tcp(&self, addresses: &[SocketAddr]) -> Result<(Socket, Option<SocketAddr>), NoConnection> {
        match connect(addresses, self.0.connect_time).await {
            Ok((socket, address)) => Ok((Socket::Tcp(socket), Some(address))),
            Err(error) => Err((&error).into()),
        }
    }
}

/// A transaction that never began: each recipient has this reason.
fn failed(envelope: Envelope<'_>, reason: Reason) -> Transaction<'_> {
    let mut transaction = Transaction::new(envelope);
    transaction.fail(reason);
    transaction
}
