//! How many connections each host has.

use alloc::collections::BTreeMap;
use core::net::{IpAddr, Ipv6Addr};

/// Counts the connections of each host, so that no host takes all that the server allows.
///
/// ```
/// use smtp_proto::net::ConnectionsByHost;
///
/// let mut hosts = ConnectionsByHost::default();
/// let address = "192.0.2.1".parse()?;
/// assert!(hosts.enter(address, 1));
/// assert!(!hosts.enter(address, 1));
/// hosts.leave(address);
/// assert!(hosts.is_empty());
/// # Ok::<(), core::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct ConnectionsByHost {
    counts: BTreeMap<IpAddr, u32>,
}

impl ConnectionsByHost {
    /// Counts a connection, unless its host has `most` already: then it gives false, and nothing is counted.
    pub fn enter(&mut self, address: IpAddr, most: u32) -> bool {
        let host = host(address);
        let here = self.counts.get(&host).copied().unwrap_or_default();
        let room = here < most;
        if room {
            self.counts.insert(host, here + 1);
        }
        room
    }

    /// A connection that was counted has ended.
    pub fn leave(&mut self, address: IpAddr) {
        let host = host(address);
        if let Some(here) = self.counts.get_mut(&host) {
            *here = here.saturating_sub(1);
            if *here == 0 {
                self.counts.remove(&host);
            }
        }
    }

    /// Whether no host has a connection.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

/// The host that an address stands for. A network of IPv6 with 64 bits is one host, since that is what one host is given
/// (RFC 4291 section 2.5.4). An IPv4 address that is written in IPv6 is the IPv4 address.
#[must_use]
pub fn host(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_by_host_and_given_back() {
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let mut hosts = ConnectionsByHost::default();
        for group in [["192.0.2.1", "192.0.2.1", "::ffff:192.0.2.1"], ["2001:db8::1", "2001:db8::2", "2001:db8::3"]] {
            assert_eq!(group.map(|of| hosts.enter(address(of), 2)), [true, true, false], "{group:?}");
        }
        assert!(hosts.enter(address("192.0.2.2"), 2) && hosts.enter(address("2001:db8:0:1::"), 2));
        for of in ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::3", "2001:db8::1", "192.0.2.2", "2001:db8:0:1::9"] {
            assert!(!hosts.is_empty());
            hosts.leave(address(of));
        }
        assert!(hosts.is_empty());
        // One that was never counted changes nothing.
        hosts.leave(address("192.0.2.1"));
        assert!(hosts.enter(address("192.0.2.1"), 1) && !hosts.enter(address("192.0.2.1"), 1));
    }
}
