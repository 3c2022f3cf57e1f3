//! Which configuration a client is served by: what is announced to it depends on the next hop, and on how TLS has gone.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use smtp_proto::proxy::Network;
use smtp_proto::server::{Config, Limits};
use smtp_proto::tls::Policy;

use super::check::CheckedListener;
use super::deliver::MailGoes;
use super::next_hop::{NextHop, Offered};
use super::options::Tls;
use super::role::Role;
use super::withheld::Withheld;

/// Chooses by what the next hop offers now, and by whether the client can do with STARTTLS.
pub(super) struct Choice {
    base: Arc<Config>,
    hop: Option<Arc<NextHop>>,
    limits: Limits,
    /// In LMTP recipients have an answer each, and in SMTP one for all: they come one at a time.
    one_recipient: bool,
    withheld: Option<Arc<Withheld>>,
    /// Networks to which STARTTLS is not offered.
    off_for: Vec<Network>,
    made: Mutex<Option<Made>>,
}

/// What was made of what the next hop offered last.
#[derive(Clone)]
struct Made {
    of: Option<Offered>,
    usual: Arc<Config>,
    without_tls: Arc<Config>,
}

impl Choice {
    /// That of a listener; `None` where there is nothing to choose.
    pub(super) fn of(
        mail_goes: &MailGoes,
        listener: &CheckedListener,
        withheld: Option<&Arc<Withheld>>,
    ) -> Option<Self> {
        let hop = if let MailGoes::Through(hop) = mail_goes { Some(hop.clone()) } else { None };
        let options = &listener.options;
        // Where TLS is required, mail without it would be refused all the same.
        let offers = listener.config.tls_policy() == Policy::Offer && options.tls != Tls::Require;
        let withheld = withheld.filter(|_| offers && options.role == Role::Mx).cloned();
        let off_for = if offers { options.starttls_off_for.clone() } else { Vec::new() };
        if hop.is_none() && withheld.is_none() && off_for.is_empty() {
            return None;
        }
        let mut limits = Limits::default();
        limits.message = options.max_size;
        let one_recipient = hop.as_ref().is_some_and(|hop| hop.place().is_lmtp()) && options.role != Role::Lmtp;
        let (base, made) = (listener.config.clone(), Mutex::default());
        Some(Self { base, hop, limits, one_recipient, withheld, off_for, made })
    }

    /// The configuration for a client; `None` is the listener's own.
    pub(super) fn config_for(&self, client: Option<SocketAddr>) -> Option<Arc<Config>> {
        let made = self.made();
        let without_tls = client.is_some_and(|client| {
            let host = client.ip().to_canonical();
            self.off_for.iter().any(|network| network.contains(host))
                || self.withheld.as_ref().is_some_and(|withheld| withheld.is_from(host, Instant::now()))
        });
        Some(if without_tls { made.without_tls } else { made.usual })
    }

    fn made(&self) -> Made {
        let offered = self.hop.as_ref().and_then(|hop| hop.offered());
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = made.as_ref().filter(|made| made.of == offered) {
            return made.clone();
        }
        let usual = match offered {
            Some(offered) => offered.configure(&self.base, self.limits, self.one_recipient).shared(),
            None => self.base.clone(),
        };
        let without_tls = (*usual).clone().tls(Policy::Off).shared();
        made.insert(Made { of: offered, usual, without_tls }).clone()
    }
}

impl fmt::Debug for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hop = self.hop.as_ref().map(|hop| hop.place());
        f.debug_struct("Choice").field("hop", &hop).finish_non_exhaustive()
    }
}
