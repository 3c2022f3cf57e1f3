//! How many connections there may be, and how many there are.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Bounds on connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Connections in all: 10,000.
    pub connections: usize,
    /// Connections of one address: 1,000.
    pub per_address: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 10_000, per_address: 1_000 }
    }
}
/// Connections, in all and by address; shared by the loops.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    all: AtomicUsize,
    by_address: Mutex<HashMap<IpAddr, u32>>,
}

impl Counts {
    pub(crate) fn enter(&self, address: IpAddr, limits: Limits) -> bool {
        if self.all.fetch_add(1, Ordering::Relaxed) >= limits.connections {
            self.all.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let count = by_address.entry(address).or_default();
        if *count >= limits.per_address {
            self.all.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        *count += 1;
        true
    }

    pub(crate) fn leave(&self, address: IpAddr) {
        self.all.fetch_sub(1, Ordering::Relaxed);
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&address);
            }
        }
    }
}
