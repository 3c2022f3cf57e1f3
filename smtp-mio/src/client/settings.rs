//! What the connections of a client share.

use std::sync::Arc;
use std::time::Duration;

use smtp_proto::auth::client::Credentials;
use smtp_proto::client::Config;
use smtp_rustls::ClientTls;

/// What is the same for all connections.
pub(super) struct Settings {
    pub(super) config: Arc<Config>,
    pub(super) tls: Option<ClientTls>,
    pub(super) credentials: Option<Credentials>,
    pub(super) connect_time: Duration,
}

/// What connections read into, one at a time.
pub(super) struct Scratch {
    pub(super) plain: Vec<u8>,
    pub(super) wire: Vec<u8>,
}
