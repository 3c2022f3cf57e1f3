//! Networks, of which an operator says that they are to be trusted.

use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

/// The addresses that begin with the same bits, such as `192.0.2.0/24`, `2001:db8::/32` or `192.0.2.7` alone. An IPv4
/// address is the same in whichever family's socket it shows (`::ffff:192.0.2.7`).
///
/// ```
/// use smtp_proto::proxy::Network;
///
/// let network: Network = "192.0.2.0/24".parse()?;
/// assert!(network.contains("192.0.2.7".parse()?) && !network.contains("198.51.100.7".parse()?));
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// The text is not a network such as `192.0.2.0/24`, nor an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a network: an address, or an address, a slash and a number of bits beyond which the address is all zeros")]
pub struct NotANetwork;

impl Network {
    /// Whether `address` belongs to this network.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (size, own) = number(self.address);
        let (other_size, other) = number(address.to_canonical());
        size == other_size && beyond(own ^ other, size, self.bits) == own ^ other
    }
}

/// The size of an address in bits, and the address as a number.
fn number(address: IpAddr) -> (u8, u128) {
    match address {
        IpAddr::V4(address) => (32, u128::from(address.to_bits())),
        IpAddr::V6(address) => (128, address.to_bits()),
    }
}

/// What of a number is beyond its first bits.
fn beyond(number: u128, size: u8, bits: u8) -> u128 {
    let rest = u32::from(size.saturating_sub(bits));
    number & u128::MAX.checked_shr(128 - rest).unwrap_or_default()
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NotANetwork)?;
        let (size, value) = number(address);
        let bits = match bits {
            None => size,
            Some(digits) if digits.bytes().all(|octet| octet.is_ascii_digit()) => {
                digits.parse().ok().filter(|bits| *bits <= size).ok_or(NotANetwork)?
            }
            Some(_) => return Err(NotANetwork),
        };
        if beyond(value, size, bits) != 0 {
            return Err(NotANetwork);
        }
        // A network within ::ffff:0:0/96 is one of IPv4.
        Ok(match address.to_canonical() {
            canonical if canonical != address && bits >= 96 => Self { address: canonical, bits: bits - 96 },
            _ => Self { address, bits },
        })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::{Network, NotANetwork};
    use alloc::string::ToString as _;

    #[test]
    fn networks_hold_what_begins_with_their_bits() {
        for (network, within, without) in [
            ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            ("192.0.2.128/25", "::ffff:192.0.2.128", "192.0.2.127"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::1", "::1", "::"),
            ("::/0", "ffff::", "::ffff:1.2.3.4"),
            ("::ffff:192.0.2.0/120", "192.0.2.9", "192.0.3.9"),
        ] {
            let network: Network = network.parse().expect("a network");
            assert!(network.contains(within.parse().expect("an address")), "{network} {within}");
            assert!(!network.contains(without.parse().expect("an address")), "{network} {without}");
            assert_eq!(network.to_string().parse(), Ok(network));
        }
        for wrong in
            ["", "/", "192.0.2.0/33", "192.0.2.1/24", "192.0.2.0/", "192.0.2.0/+8", "192.0.2/24", "::/129", "a"]
        {
            assert_eq!(wrong.parse::<Network>(), Err(NotANetwork), "{wrong}");
        }
    }
}
