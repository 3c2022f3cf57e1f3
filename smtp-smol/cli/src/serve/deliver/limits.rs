//! How often something may happen in a network.

use std::time::Instant;

use smtp_proto::syntax::Reply;

use super::Clerk;
use crate::serve::rates::Rates;
use crate::serve::record::peer_name;

const TOO_MANY_CONNECTIONS: Reply<'static> =
    Reply::fixed(421, (4, 7, 0), "Too many connections from your network; try again later");
const TOO_MANY_MESSAGES: Reply<'static> =
    Reply::fixed(421, (4, 7, 0), "Too many messages from your network; try again later");
const TOO_MANY_FAILED_LOGINS: Reply<'static> =
    Reply::fixed(421, (4, 7, 0), "Too many failed logins from your network; try again later");

/// How often something may happen in a network.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    pub(crate) connections: Option<Rates>,
    pub(crate) messages: Option<Rates>,
    pub(crate) failed_logins: Option<Rates>,
}

impl Clerk {
    /// Whether there is too much from this network.
    pub(super) fn limited(&self) -> Option<Reply<'static>> {
        let (address, limits, now) = (self.address()?, &self.office.limits, Instant::now());
        if limits.connections.as_ref().is_some_and(|rates| rates.count(address, now)) {
            tracing::info!(session = &*self.id, peer = %address, "too many connections in a short time");
            self.office.metrics.limited("connections");
            return Some(TOO_MANY_CONNECTIONS);
        }
        if limits.failed_logins.as_ref().is_some_and(|rates| rates.is_full(address, now)) {
            tracing::info!(session = &*self.id, peer = %address, "too many failed logins in a short time");
            self.office.metrics.limited("failed-logins");
            return Some(TOO_MANY_FAILED_LOGINS);
        }
        None
    }

    /// Whether there is too much mail from this network, this message counted.
    pub(super) fn too_many_messages(&self) -> Option<Reply<'static>> {
        let (address, rates) = (self.address()?, self.office.limits.messages.as_ref()?);
        if !rates.count(address, Instant::now()) {
            return None;
        }
        tracing::info!(session = &*self.id, peer = peer_name(self.address()), "too many messages in a short time");
        self.office.metrics.limited("messages");
        Some(TOO_MANY_MESSAGES)
    }

    /// Whether logins from this network have failed too often for another to be looked at.
    pub(super) fn failed_too_often(&self) -> bool {
        let rates = self.office.limits.failed_logins.as_ref();
        let full = |address| rates.is_some_and(|rates| rates.is_full(address, Instant::now()));
        self.address().is_some_and(full)
    }
}
