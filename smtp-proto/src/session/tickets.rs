//! What makes a ticket good for one question of one session.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};

/// What a ticket is made of. Neither `Clone` nor `Copy`, so that no ticket is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The address of the shared configuration.
    config: usize,
    /// The session, among those of its configuration.
    session: usize,
    /// The question, among those of its session.
    serial: u64,
}

/// Gives out the tickets of a session, and knows them again. The latest alone is good.
#[derive(Debug)]
pub(crate) struct Tickets {
    session: usize,
    serial: u64,
}

impl Tickets {
    /// Those of a new session; `sessions` counts the sessions of its configuration.
    pub(crate) fn new(sessions: &AtomicUsize) -> Self {
        Self { session: sessions.fetch_add(1, Ordering::Relaxed), serial: 0 }
    }

    /// A new one; those before it are good no longer.
    pub(crate) fn issue<C>(&mut self, config: &Arc<C>) -> Stamp {
        self.serial += 1;
        Stamp { config: address(config), session: self.session, serial: self.serial }
    }

    /// Whether it is one of this session, of whatever age.
    pub(crate) fn is_ours<C>(&self, stamp: &Stamp, config: &Arc<C>) -> bool {
        stamp.config == address(config) && stamp.session == self.session
    }

    /// Whether it is the latest of this session.
    pub(crate) fn is_latest<C>(&self, stamp: &Stamp, config: &Arc<C>) -> bool {
        self.is_ours(stamp, config) && stamp.serial == self.serial
    }
}

/// The address of a shared configuration: unique among those in use, as each session keeps its own alive.
fn address<C>(config: &Arc<C>) -> usize {
    Arc::as_ptr(config).addr()
}
