//! What a client's connections share: how they are made, and who is told of them.

use std::sync::Arc;
use std::time::Duration;

use smtp_proto::auth::client::Credentials;
use smtp_proto::client::Config;
use smtp_proto::tls::TlsInfo;
use smtp_rustls::ClientTls;

#[derive(Clone)]
pub(crate) struct Settings {
    pub(super) config: Arc<Config>,
    pub(super) tls: Option<ClientTls>,
    pub(super) credentials: Option<Credentials>,
    pub(super) connect_time: Duration,
    pub(super) observer: Option<Observer>,
}

impl Settings {
    pub(super) fn tell(&self, said: Said<'_>) {
        if let Some(observer) = &self.observer {
            observer(said);
        }
    }
}

/// Told what goes over the wire, inside TLS if there is any.
pub type Observer = Arc<dyn Fn(Said<'_>) + Send + Sync>;

/// What goes over the wire.
///
/// ```
/// use std::sync::Arc;
/// use smtp_proto::client::Config;
/// use smtp_smol::{Client, Said};
///
/// let client = Client::new(Config::new("client.example.org")?.shared()).observe(Arc::new(|said| match said {
///     Said::Client(octets) => print!("> {}", octets.escape_ascii()),
///     Said::Server(octets) => print!("< {}", octets.escape_ascii()),
///     other => println!("{other:?}"),
/// }));
/// # drop(client);
/// # Ok::<(), smtp_proto::client::ConfigError>(())
/// ```
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
