//! How many may be connected at once, in all and of one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Bounds on connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Connections in all: 1,000.
    pub connections: usize,
    /// Connections of one address: 100.
    pub per_address: usize,
    /// Time for the PROXY header, on listeners where it comes first: 5 s.
    pub proxy_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 1_000, per_address: 100, proxy_time: Duration::from_secs(5) }
    }
}

/// The connections that there may be.
#[derive(Debug)]
pub(crate) struct Places {
    limits: Limits,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A place among them; given back when dropped, however the connection ends.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    /// Once it is known.
    address: Option<IpAddr>,
}

impl Places {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, counts: Mutex::default() }
    }

    pub(crate) const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A place, as yet of no address.
    pub(crate) fn place(self: &Arc<Self>) -> Option<Place> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.all >= self.limits.connections {
            return None;
        }
        counts.all += 1;
        Some(Place { places: self.clone(), address: None })
    }
}

impl Place {
    /// Counts it as one of this address; `None`, and the place is given back, when that has too many.
    pub(crate) fn of(mut self, address: IpAddr) -> Option<Self> {
        let mut counts = self.places.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let here = counts.by_address.get(&address).copied().unwrap_or_default();
        if here >= self.places.limits.per_address {
            drop(counts);
            return None;
        }
        counts.by_address.insert(address, here + 1);
        drop(counts);
        self.address = Some(address);
        Some(self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.places.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        let Some(address) = self.address else { return };
        if let Some(here) = counts.by_address.get_mut(&address) {
            *here -= 1;
            if *here == 0 {
                counts.by_address.remove(&address);
            }
        }
    }
}
