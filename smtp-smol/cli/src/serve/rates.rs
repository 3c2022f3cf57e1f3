//! How often something may happen in a network: connections, messages, failed logins. Bounded memory, whoever comes.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::options::time;

/// Networks that are remembered at once.
const REMEMBERED: usize = 1 << 16;

/// So many in so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    many: u32,
    time: Duration,
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "give a number and a time, such as 30/1m or 10/1h".to_owned();
        let (many, per) = text.split_once('/').ok_or_else(wrong)?;
        let many = many.parse().ok().filter(|many| *many > 0).ok_or_else(wrong)?;
        Ok(Self { many, time: time(per).map_err(|_| wrong())? })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}s", self.many, self.time.as_secs())
    }
}

/// What happens in each network: a bucket that runs empty with time.
#[derive(Debug)]
pub(crate) struct Rates {
    rate: Rate,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// How full it was.
    level: f64,
    when: Instant,
}

impl Rates {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, buckets: Mutex::default() }
    }

    /// Counts one of this network; tells whether that was one too many.
    pub(crate) fn count(&self, address: IpAddr, now: Instant) -> bool {
        self.look(address, now, 1.0) > f64::from(self.rate.many)
    }

    /// Whether one more would be too many.
    pub(crate) fn is_full(&self, address: IpAddr, now: Instant) -> bool {
        self.look(address, now, 0.0) + 1.0 > f64::from(self.rate.many)
    }

    fn look(&self, address: IpAddr, now: Instant, add: f64) -> f64 {
        // Proxies and tests on this machine, whose clients are others.
        if address.to_canonical().is_loopback() {
            return 0.0;
        }
        let network = network(address);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let level = buckets.get(&network).map_or(0.0, |bucket| self.level(*bucket, now));
        if add == 0.0 {
            return level;
        }
        if buckets.len() >= REMEMBERED && !buckets.contains_key(&network) {
            buckets.retain(|_, bucket| self.level(*bucket, now) > 0.0);
            // Where that does not help, somebody is forgotten.
            if let (true, Some(somebody)) = (buckets.len() >= REMEMBERED, buckets.keys().next().copied()) {
                buckets.remove(&somebody);
            }
        }
        // What is refused fills it no further: whoever waits is let in again.
        let kept = (level + add).min(f64::from(self.rate.many));
        buckets.insert(network, Bucket { level: kept, when: now });
        level + add
    }

    fn level(&self, bucket: Bucket, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(bucket.when).as_secs_f64() / self.rate.time.as_secs_f64();
        (bucket.level - passed * f64::from(self.rate.many)).max(0.0)
    }
}

/// Whom an address stands for: all of an IPv6 network of 64 bits are one (RFC 4291 2.5.4).
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn so_many_are_let_in_and_time_makes_room() {
        let rates = Rates::new("3/1m".parse().expect("a rate"));
        let (a, b, begin) = (address("192.0.2.1"), address("192.0.2.2"), Instant::now());
        assert_eq!([0; 5].map(|_| rates.count(a, begin)), [false, false, false, true, true]);
        assert!(rates.is_full(a, begin) && !rates.is_full(b, begin));
        let later = begin + Duration::from_secs(21);
        assert!(!rates.is_full(a, later));
        assert_eq!([rates.count(a, later), rates.count(a, later)], [false, true]);
        assert!(!rates.count(b, begin));
    }

    #[test]
    fn a_network_of_ipv6_is_one_and_this_machine_is_let_go() {
        let rates = Rates::new("1/1h".parse().expect("a rate"));
        let now = Instant::now();
        assert!(!rates.count(address("2001:db8::1"), now) && rates.count(address("2001:db8::2"), now));
        assert!(!rates.count(address("2001:db8:0:1::2"), now));
        assert!((0..10).all(|_| !rates.count(address("127.0.0.1"), now) && !rates.count(address("::1"), now)));
    }

    #[test]
    fn memory_is_bounded() {
        let rates = Rates::new("10/1h".parse().expect("a rate"));
        let now = Instant::now();
        for n in 0..u32::try_from(REMEMBERED).expect("a small number") + 1000 {
            rates.count(IpAddr::V4(std::net::Ipv4Addr::from_bits(0x0100_0000 + n)), now);
        }
        assert_eq!(rates.buckets.lock().expect("whole").len(), REMEMBERED);
        rates.count(address("192.0.2.1"), now + Duration::from_secs(4000));
        assert_eq!(rates.buckets.lock().expect("whole").len(), 1, "what is outdated is forgotten first");
    }

    #[test]
    fn rates() {
        assert_eq!("30/1m".parse::<Rate>().expect("a rate").to_string(), "30/60s");
        for wrong in ["", "30", "0/1m", "30/", "/1m", "30/1x", "-1/1m"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }
}
