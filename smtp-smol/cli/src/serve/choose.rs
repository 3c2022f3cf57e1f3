//! Which configuration a client is served by: what is announced to it depends on the next hop.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use smtp_proto::server::{Config, Limits};

use super::check::CheckedListener;
use super::deliver::MailGoes;
use super::next_hop::{NextHop, Offered};
use super::role::Role;

/// Chooses by what the next hop offers now.
pub(super) struct Choice {
    hop: Arc<NextHop>,
    base: Arc<Config>,
    limits: Limits,
    /// In LMTP recipients have an answer each, and in SMTP one for all: they come one at a time.
    one_recipient: bool,
    /// What was made of what the next hop offered last.
    made: Mutex<Option<(Offered, Arc<Config>)>>,
}

impl Choice {
    /// That of a listener; `None` where there is nothing to choose.
    pub(super) fn of(mail_goes: &MailGoes, listener: &CheckedListener) -> Option<Self> {
        let MailGoes::Through(hop) = mail_goes else { return None };
        let mut limits = Limits::default();
        limits.message = listener.options.max_size;
        let one_recipient = hop.place().is_lmtp() && listener.options.role != Role::Lmtp;
        Some(Self { hop: hop.clone(), base: listener.config.clone(), limits, one_recipient, made: Mutex::default() })
    }

    /// The configuration for a client; `None` is the listener's own.
    pub(super) fn config_for(&self, _: Option<SocketAddr>) -> Option<Arc<Config>> {
        let offered = self.hop.offered()?;
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, config)) = made.as_ref().filter(|(before, _)| *before == offered) {
            return Some(config.clone());
        }
        let config = offered.configure(&self.base, self.limits, self.one_recipient).shared();
        *made = Some((offered, config.clone()));
        Some(config)
    }
}

impl fmt::Debug for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Choice").field("hop", &self.hop.place()).finish_non_exhaustive()
    }
}
