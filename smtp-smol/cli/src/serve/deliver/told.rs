//! What the log is told of refusals: what its operator can do about them, and who failed to log in.

use std::time::Instant;

use smtp_proto::auth::server::Failure;
use smtp_proto::server::FaultKind;

use super::Clerk;
use crate::serve::faults::is_private;
use crate::serve::record::peer_name;
use crate::shown::{Line, Shown};

impl Clerk {
    /// Says what its operator can do about what was refused: of a message always, and of commands once a session, and no
    /// louder than `info` where anybody can connect from.
    pub(super) fn advise(&mut self, kind: FaultKind, said: &[u8]) {
        let Some(mend) = kind.mend(said) else { return };
        let (session, peer) = (&*self.id, peer_name(self.address()));
        let what = match kind {
            FaultKind::Text(flaw) => flaw.to_string(),
            FaultKind::TextLineTooLong => "a line that is too long".into(),
            FaultKind::MessageTooBig => "too large".into(),
            _ => {
                let line = Line(said);
                if is_private(self.address()) && !std::mem::replace(&mut self.advised, true) {
                    tracing::warn!(session, peer, "command refused: {line}; {mend}");
                } else {
                    tracing::info!(session, peer, "command refused: {line}; {mend}");
                }
                return;
            }
        };
        tracing::warn!(session, peer, "message refused: {what}; {mend}");
    }

    /// One line of a form that does not change: others watch for it.
    pub(super) fn login_failed(&self, why: Failure) {
        if !matches!(why, Failure::Rejected | Failure::ChannelBinding) {
            return;
        }
        if let (Some(address), Some(rates)) = (self.address(), &self.office.limits.failed_logins) {
            rates.count(address, Instant::now());
        }
        let (address, user) = (peer_name(self.address()), self.login.as_deref().unwrap_or_default());
        self.office.metrics.failed_login();
        tracing::warn!(session = &*self.id, "failed login: address={address} user=<{}>", Shown(user));
    }
}
