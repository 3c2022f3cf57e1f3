//! How many may be connected at once, in all and of one address.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use smtp_proto::net::ConnectionsByHost;

/// How many connections there may be at once, and how long some of them may take.
///
/// ```
/// use smtp_smol::{Limits, Server};
/// use smtp_proto::{server::Config, tls::Policy};
///
/// let mut limits = Limits::default();
/// limits.connections = 200;
/// limits.per_address = 10;
/// let server = Server::new(Config::new("mx.example.net")?.tls(Policy::Off).shared()).limits(limits);
/// # drop(server);
/// # Ok::<(), smtp_proto::server::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Connections in all: 1,000.
    pub connections: usize,
    /// Connections of one address, or of one IPv6 network of 64 bits, which is what one host is given: 100.
    pub per_address: usize,
    /// Connections of a loopback address, where proxies and tests on this machine come from: 1,000.
    pub loopback: usize,
    /// Time for the PROXY header, on listeners where it comes first: 5 s.
    pub proxy_time: Duration,
    /// How long the server waits for connections to end when it has been told to end itself, whatever their peers do;
    /// then it cuts them off: 60 s.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1_000,
            per_address: 100,
            loopback: 1_000,
            proxy_time: Duration::from_secs(5),
            drain: Duration::from_secs(60),
        }
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
    by_address: ConnectionsByHost,
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
        let limits = &self.places.limits;
        let most = if address.to_canonical().is_loopback() { limits.loopback } else { limits.per_address };
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        if !self.places.counts.lock().unwrap_or_else(PoisonError::into_inner).by_address.enter(address, most) {
            return None;
        }
        self.address = Some(address);
        Some(self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.places.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        if let Some(address) = self.address {
            counts.by_address.leave(address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(places: &Arc<Places>, addresses: &[&str]) -> Vec<bool> {
        let address = |text: &&str| text.parse().expect("an address");
        let taken: Vec<_> =
            addresses.iter().map(|text| places.place().and_then(|place| place.of(address(text)))).collect();
        taken.iter().map(Option::is_some).collect()
    }

    #[test]
    fn places_are_counted_by_host_and_given_back() {
        let limits = Limits { connections: 4, per_address: 2, loopback: 3, ..Limits::default() };
        let places = Arc::new(Places::new(limits));
        for _ in 0..2 {
            assert_eq!(
                counted(&places, &["192.0.2.1", "192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"]),
                [true, true, false, true]
            );
            assert_eq!(
                counted(&places, &["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::"]),
                [true, true, false, true]
            );
            assert_eq!(
                counted(&places, &["127.0.0.1", "127.0.0.1", "127.0.0.1", "127.0.0.1"]),
                [true, true, true, false]
            );
            assert_eq!(
                counted(&places, &["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"]),
                [true, true, true, true, false]
            );
        }
        assert!(places.counts.lock().expect("counts").by_address.is_empty());
    }
}
