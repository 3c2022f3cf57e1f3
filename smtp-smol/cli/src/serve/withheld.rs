//! Who is not offered STARTTLS for a while: hosts whose handshakes fail.
//!
//! This server speaks TLS 1.2 and 1.3 alone. A client that has less, or cannot agree for another reason, and does not go on
//! in plaintext by itself, would never get its mail through; without STARTTLS it does.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One handshake may fail for any reason, such as a line that is lost.
const FAILURES: u32 = 2;
/// Hosts that are remembered at most.
const MOST: usize = 10_000;

/// Remembers hosts whose handshakes fail. A host is an IPv4 address, or an IPv6 network of 64 bits.
#[derive(Debug)]
pub(crate) struct Withheld {
    time: Duration,
    /// This machine itself is remembered too.
    here: bool,
    hosts: Mutex<HashMap<IpAddr, Failed>>,
}

#[derive(Clone, Copy, Debug)]
struct Failed {
    times: u32,
    last: Instant,
}

impl Withheld {
    /// Each failure is remembered for this time.
    pub(crate) fn new(time: Duration) -> Self {
        Self { time, here: true, hosts: Mutex::default() }
    }

    /// This machine itself is offered STARTTLS whatever fails: who tries the server out from here wants to see it.
    pub(crate) fn but_not_here(self) -> Self {
        Self { here: false, ..self }
    }

    /// A handshake with this host has failed.
    pub(crate) fn failed(&self, host: IpAddr, now: Instant) {
        if !self.here && host.to_canonical().is_loopback() {
            return;
        }
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let host = network(host);
        if hosts.len() >= MOST && !hosts.contains_key(&host) {
            hosts.retain(|_, failed| now.duration_since(failed.last) < self.time);
            if hosts.len() >= MOST {
                // Whoever makes so many hosts fail has no say about others.
                return;
            }
        }
        let failed = hosts.entry(host).or_insert(Failed { times: 0, last: now });
        if now.duration_since(failed.last) >= self.time {
            failed.times = 0;
        }
        (failed.times, failed.last) = (failed.times.saturating_add(1), now);
        if failed.times == FAILURES {
            let minutes = self.time.as_secs() / 60;
            tracing::warn!(%host, "handshakes fail; STARTTLS is not offered to this host for {minutes} minutes");
        }
    }

    /// A handshake with this host has succeeded.
    pub(crate) fn succeeded(&self, host: IpAddr) {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner).remove(&network(host));
    }

    /// Whether this host is not offered STARTTLS now.
    pub(crate) fn is_from(&self, host: IpAddr, now: Instant) -> bool {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = hosts.get(&network(host));
        failed.is_some_and(|failed| failed.times >= FAILURES && now.duration_since(failed.last) < self.time)
    }

    /// Our certificate is another one: what failed for its sake may succeed.
    pub(crate) fn forget(&self) {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn network(host: IpAddr) -> IpAddr {
    match host.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn two_failures_withhold_it_for_a_while_and_a_success_clears() {
        let (withheld, start) = (Withheld::new(Duration::from_secs(100)), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let (a, b) = (host("192.0.2.1"), host("192.0.2.2"));
        withheld.failed(a, at(0));
        assert!(!withheld.is_from(a, at(1)));
        withheld.failed(a, at(50));
        assert!(withheld.is_from(a, at(149)) && !withheld.is_from(a, at(150)), "from the last failure on");
        assert!(withheld.is_from(host("::ffff:192.0.2.1"), at(60)) && !withheld.is_from(b, at(60)));
        // What is outdated does not count with what is new.
        withheld.failed(a, at(200));
        assert!(!withheld.is_from(a, at(201)));
        withheld.failed(a, at(202));
        assert!(withheld.is_from(a, at(203)));
        withheld.succeeded(a);
        assert!(!withheld.is_from(a, at(204)));
        withheld.failed(b, at(300));
        withheld.failed(b, at(301));
        withheld.forget();
        assert!(!withheld.is_from(b, at(302)));
    }

    #[test]
    fn this_machine_may_be_left_out() {
        let now = Instant::now();
        for (withheld, is) in [
            (Withheld::new(Duration::from_secs(100)), true),
            (Withheld::new(Duration::from_secs(100)).but_not_here(), false),
        ] {
            for here in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
                withheld.failed(host(here), now);
                withheld.failed(host(here), now);
                assert_eq!(withheld.is_from(host(here), now), is, "{here}");
            }
        }
    }

    #[test]
    fn a_network_of_64_bits_is_one_host() {
        let (withheld, now) = (Withheld::new(Duration::from_secs(100)), Instant::now());
        withheld.failed(host("2001:db8::1"), now);
        withheld.failed(host("2001:db8::2"), now);
        assert!(withheld.is_from(host("2001:db8::3"), now) && !withheld.is_from(host("2001:db8:0:1::1"), now));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (withheld, now) = (Withheld::new(Duration::from_secs(100)), Instant::now());
        let many = |first: u32| (0..20_000_u32).map(move |at| IpAddr::from((first + at).to_be_bytes()));
        for host in many(1 << 24) {
            withheld.failed(host, now);
        }
        assert_eq!(withheld.hosts.lock().expect("hosts").len(), MOST);
        let later = now + Duration::from_secs(100);
        withheld.failed(host("192.0.2.1"), later);
        withheld.failed(host("192.0.2.1"), later);
        assert!(withheld.is_from(host("192.0.2.1"), later), "those that are outdated make room");
    }
}
