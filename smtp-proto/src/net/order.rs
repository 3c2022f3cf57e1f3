//! In which order the addresses of a server are tried.

use alloc::vec::Vec;
use core::net::SocketAddr;

/// The addresses with the families in turn, beginning with the first address's, and otherwise in the order that the
/// resolver gave (RFC 8305 section 4).
#[must_use]
pub fn in_turn(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut one, mut other): (Vec<_>, Vec<_>) =
        addresses.iter().rev().copied().partition(|address| address.is_ipv6() == first_is_v6);
    let mut order = Vec::with_capacity(addresses.len());
    while order.len() < addresses.len() {
        order.extend(one.pop());
        order.extend(other.pop());
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|address| address.parse().expect("an address")).collect()
    }

    // RFC 8305 4.
    #[test]
    fn families_take_turns() {
        let given =
            addresses(&["[2001:db8::1]:25", "[2001:db8::2]:25", "192.0.2.1:25", "192.0.2.2:25", "192.0.2.3:25"]);
        let expected =
            addresses(&["[2001:db8::1]:25", "192.0.2.1:25", "[2001:db8::2]:25", "192.0.2.2:25", "192.0.2.3:25"]);
        assert_eq!(in_turn(&given), expected);
        let given = addresses(&["192.0.2.1:25", "192.0.2.2:25", "[2001:db8::1]:25"]);
        assert_eq!(in_turn(&given), addresses(&["192.0.2.1:25", "[2001:db8::1]:25", "192.0.2.2:25"]));
        assert!(in_turn(&[]).is_empty());
    }
}
