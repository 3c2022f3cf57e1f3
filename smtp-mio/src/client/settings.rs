//! What the connections of a client share.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use smtp_proto::auth::client::Credentials;
use smtp_proto::client::Config;

use crate::certificates::ClientTls;

/// What is the same for all connections.
pub(super) struct Settings {
    pub(super) config: Arc<Config>,
    pub(super) tls: Option<Trust>,
    pub(super) credentials: Option<Credentials>,
    pub(super) connect_time: Duration,
}

/// Whom to trust.
pub(super) struct Trust {
    pub(super) tls: ClientTls,
    pub(super) strict: Arc<ClientConfig>,
    pub(super) opportunistic: Arc<ClientConfig>,
}

impl Trust {
    pub(super) fn config(&self, verify: bool) -> Arc<ClientConfig> {
        if verify { self.strict.clone() } else { self.opportunistic.clone() }
    }

    pub(super) fn is_trusted(&self, chain: &[CertificateDer<'_>], name: &ServerName<'_>) -> bool {
        self.tls.is_trusted(chain, name)
    }
}

/// What connections read into, one at a time.
pub(super) struct Scratch {
    pub(super) plain: Vec<u8>,
    pub(super) wire: Vec<u8>,
}
