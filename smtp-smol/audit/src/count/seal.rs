//! Hashes that mean something only to those who have the key: HMAC-SHA-256 (RFC 2104), cut to what is needed.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

#[derive(Clone)]
pub(crate) struct Seal(Hmac<Sha256>);

impl Seal {
    pub(crate) fn new(key: &[u8]) -> Self {
        // RFC 2104 3: a key of any length will do.
        Self(Hmac::new_from_slice(key).unwrap_or_else(|_| unreachable!("HMAC takes keys of any length")))
    }

    /// 32 hexadecimal digits. What is hashed for one purpose cannot be compared with what is hashed for another.
    pub(crate) fn text(&self, purpose: &str, of: u64) -> String {
        const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
        let mut text = String::with_capacity(32);
        for octet in self.octets(purpose, of).into_iter().take(16) {
            text.push(DIGITS[usize::from(octet >> 4)]);
            text.push(DIGITS[usize::from(octet & 15)]);
        }
        text
    }

    /// The same as a number of 64 bits.
    pub(crate) fn number(&self, purpose: &str, of: u64) -> u64 {
        self.octets(purpose, of).iter().take(8).fold(0, |number, octet| number << 8 | u64::from(*octet))
    }

    fn octets(&self, purpose: &str, of: u64) -> [u8; 32] {
        let mut hmac = self.0.clone();
        hmac.update(purpose.as_bytes());
        hmac.update(&[0]);
        hmac.update(&of.to_be_bytes());
        hmac.finalize().into_bytes().into()
    }
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Seal([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::Seal;

    /// Computed by Python's `hmac.new(key, purpose + b"\0" + number.to_bytes(8), "sha256")`.
    #[test]
    fn text_and_number_are_the_beginning_of_the_hash() {
        let seal = Seal::new(b"a key of some length");
        assert_eq!(seal.text("host", 4711), "a8de7b5b619dc8dc0203d07d71a4bf6b");
        assert_eq!(seal.number("host", 4711), 0xa8de_7b5b_619d_c8dc);
    }
}
