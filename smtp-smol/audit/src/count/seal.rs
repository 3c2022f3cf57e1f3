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
        self.octets(purpose, of).iter().take(16).map(|octet| format!("{octet:02x}")).collect()
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
