//! What must not be seen, and what must not be guessed.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::base64;

/// Octets that must not be seen: a password, a token, a message that holds one. Wiped when dropped, redacted in Debug,
/// compared in constant time (their length is no secret).
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    pub(crate) fn from_bytes(octets: &[u8]) -> Self {
        Self(Zeroizing::new(octets.to_vec()))
    }

    /// One buffer of the right size, so that none is left behind unwiped by growing.
    pub(super) fn join(parts: &[&[u8]]) -> Self {
        let mut octets = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.len()).sum()));
        for part in parts {
            octets.extend_from_slice(part);
        }
        Self(octets)
    }

    /// The secret's octets, in the clear.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The text, which a password or a token always is; empty if this is none.
    #[must_use]
    pub fn expose_str(&self) -> &str {
        core::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::from_bytes(text.as_bytes())
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A value that nobody could foresee, and that is used once (RFC 5802 5.1).
///
/// ```
/// use smtp_proto::auth::Nonce;
///
/// let mut random = [0; 18];
/// // getrandom::fill(&mut random)?;
/// # random[0] = 1;
/// let nonce = Nonce::new(&random);
/// # drop(nonce);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Nonce(String);

impl Nonce {
    /// Made of 18 octets from a cryptographic random number generator, such as the system's; fresh ones each time.
    #[must_use]
    pub fn new(random: &[u8; 18]) -> Self {
        Self(base64::encode(random))
    }

    /// One for another exchange after this.
    pub(crate) fn next(&self) -> Self {
        let mut next = self.0.clone();
        next.push('n');
        Self(next)
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// For the RFC's examples, which are not made of 18 octets.
    #[cfg(test)]
    pub(super) fn of_example(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonce(..)")
    }
}
