//! How many connections there may be, how many there are, and what they have done.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use smtp_proto::net::ConnectionsByHost;

/// How many connections there may be at once, and how long some of them may take.
///
/// ```
/// use smtp_mio::{Limits, Server};
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
    /// Connections in all: 10,000.
    pub connections: usize,
    /// Connections of one address, or of one IPv6 network of 64 bits, which is what one host is given: 1,000.
    pub per_address: u32,
    /// Time for the PROXY header, on listeners where it comes first: 5 s.
    pub proxy_time: Duration,
    /// How long the server waits for connections to end when it has been told to end itself, whatever their peers do;
    /// then it cuts them off: 60 s.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            per_address: 1_000,
            proxy_time: Duration::from_secs(5),
            drain: Duration::from_secs(60),
        }
    }
}

/// Connections, in all and by address; shared by the loops.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    all: AtomicUsize,
    by_address: Mutex<ConnectionsByHost>,
}

impl Counts {
    /// A place, as yet of no address.
    pub(crate) fn enter(&self, limits: Limits) -> bool {
        let room = self.all.fetch_add(1, Ordering::Relaxed) < limits.connections;
        if !room {
            self.leave(None);
        }
        room
    }

    /// Counts a place as one of this address; false when that has too many, and the place is still to be left.
    pub(crate) fn enter_as(&self, address: IpAddr, limits: Limits) -> bool {
        self.by_address.lock().unwrap_or_else(PoisonError::into_inner).enter(address, limits.per_address)
    }

    /// Gives a place back, with the address that it was counted as one of.
    pub(crate) fn leave(&self, address: Option<IpAddr>) {
        self.all.fetch_sub(1, Ordering::Relaxed);
        if let Some(address) = address {
            self.by_address.lock().unwrap_or_else(PoisonError::into_inner).leave(address);
        }
    }
}

/// What a server has done so far, and does; all since its start, but for `open`.
///
/// ```
/// use smtp_mio::Server;
/// use smtp_proto::server::Config;
///
/// let server = Server::new(Config::new("mx.example.net")?.shared());
/// let handle = server.handle(); // for another thread
/// assert_eq!(handle.stats().messages, 0);
/// # Ok::<(), smtp_proto::server::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections that have been made since the server began.
    pub connections: u64,
    /// Connections turned away with 421, for [`Limits`].
    pub turned_away: u64,
    /// Connections that are open at this moment.
    pub open: u64,
    /// Messages whose text has come to its end, whatever was answered.
    pub messages: u64,
    /// Octets of the text of these messages.
    pub octets: u64,
    /// Rules that peers broke.
    pub faults: u64,
    /// TLS handshakes done, those that took up an earlier session among them.
    pub handshakes: u64,
    /// Those that took up an earlier session.
    pub resumed: u64,
    /// TLS handshakes that failed.
    pub handshakes_failed: u64,
}

/// The same, of one loop, which alone writes it.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    connections: AtomicU64,
    turned_away: AtomicU64,
    closed: AtomicU64,
    messages: AtomicU64,
    octets: AtomicU64,
    faults: AtomicU64,
    handshakes: AtomicU64,
    resumed: AtomicU64,
    handshakes_failed: AtomicU64,
}

impl Counters {
    pub(crate) fn connected(&self) {
        add(&self.connections, 1);
    }

    pub(crate) fn turned_away(&self) {
        add(&self.turned_away, 1);
    }

    pub(crate) fn closed(&self) {
        add(&self.closed, 1);
    }

    pub(crate) fn message(&self, octets: u64) {
        add(&self.messages, 1);
        add(&self.octets, octets);
    }

    pub(crate) fn fault(&self) {
        add(&self.faults, 1);
    }

    pub(crate) fn handshake(&self, done: bool, resumed: bool) {
        add(if done { &self.handshakes } else { &self.handshakes_failed }, 1);
        if done && resumed {
            add(&self.resumed, 1);
        }
    }

    pub(crate) fn add_to(&self, stats: &mut Stats) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let closed = read(&self.closed);
        let connections = read(&self.connections);
        stats.connections += connections;
        stats.turned_away += read(&self.turned_away);
        stats.open += connections.saturating_sub(closed);
        stats.messages += read(&self.messages);
        stats.octets += read(&self.octets);
        stats.faults += read(&self.faults);
        stats.handshakes += read(&self.handshakes);
        stats.resumed += read(&self.resumed);
        stats.handshakes_failed += read(&self.handshakes_failed);
    }
}

/// Of one writer: no need of an atomic addition.
fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::{Counts, Limits};

    #[test]
    fn places_are_counted_by_host_and_given_back() {
        let counts = Counts::default();
        let limits = Limits { connections: 4, per_address: 2, ..Limits::default() };
        let address = |text: &str| text.parse().expect("an address");
        for group in [["192.0.2.1", "192.0.2.1", "::ffff:192.0.2.1"], ["2001:db8::1", "2001:db8::2", "2001:db8::3"]] {
            let entered: Vec<bool> =
                group.iter().map(|of| counts.enter(limits) && counts.enter_as(address(of), limits)).collect();
            assert_eq!(entered, [true, true, false], "{group:?}");
            // A fourth place of no address is the last.
            assert_eq!([counts.enter(limits), counts.enter(limits)], [true, false]);
            [Some(group[0]), Some(group[1]), None, None].into_iter().for_each(|of| counts.leave(of.map(address)));
            assert!(counts.by_address.lock().expect("counts").is_empty());
        }
    }
}
