//! Mail of hosts that are not offered STARTTLS, since their handshakes have failed: a line of its own in every report.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use smtp_proto::tls::Retries;

use super::{Ending, Entry};

/// What a server writes into its ledger as the reason, where it does not offer STARTTLS to a host as handshakes failed.
pub const NOT_OFFERED_AGAIN: &str = "not offered again: earlier handshakes failed";

/// Senders that are told apart at most.
const MOST: usize = 10_000;

/// Messages that were taken from hosts which were not offered STARTTLS, since their handshakes had failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withheld {
    messages: u64,
    /// Numbers in place of names.
    senders: BTreeSet<u64>,
}

impl Withheld {
    /// Counts an entry, if it is one of these.
    pub fn add(&mut self, entry: &Entry<'_>) {
        let sender = entry.sender_domain.as_deref().unwrap_or_default();
        self.add_as(entry.ending, entry.tls.reason.as_deref().map(str::as_bytes), sender, |number| number);
    }

    /// With other numbers for senders.
    pub(crate) fn add_as(
        &mut self,
        ending: Ending,
        reason: Option<&[u8]>,
        sender: &str,
        number: impl FnOnce(u64) -> u64,
    ) {
        if ending != Ending::Accepted || reason != Some(NOT_OFFERED_AGAIN.as_bytes()) {
            return;
        }
        self.messages += 1;
        if self.senders.len() < MOST {
            self.senders.insert(number(Retries::envelope(sender, [])));
        }
    }

    /// Adds another's counts to these.
    pub(crate) fn merge(&mut self, other: Self) {
        self.messages += other.messages;
        self.senders.extend(other.senders.into_iter().take(MOST.saturating_sub(self.senders.len())));
    }

    /// How many messages.
    #[must_use]
    pub const fn messages(&self) -> u64 {
        self.messages
    }

    /// Of how many senders; of 10,000 at least that many.
    #[must_use]
    pub fn senders(&self) -> usize {
        self.senders.len()
    }
}
