//! Base64 (RFC 4648 4) of what may be a password: decoded in constant time, and wiped. The wire's form, and the tests of
//! the vectors, are [`syntax::Base64`](crate::syntax::Base64)'s, which rests on the same crate.

use alloc::string::String;

use base64ct::{Base64, Encoding};
use zeroize::Zeroize;

use super::Secret;

/// Padded, without blanks and without stray bits (RFC 4954 4; RFC 4648 3.5); or `None`.
pub(crate) fn decode(text: &[u8]) -> Option<Secret> {
    // The decoder takes any buffer that is large enough; its own `decode_vec` would leave one unwiped on an error.
    let mut buffer = alloc::vec![0; text.len() / 4 * 3 + 3];
    let decoded = Base64::decode(text, &mut buffer).ok().map(Secret::from_bytes);
    buffer.zeroize();
    decoded
}

pub(crate) fn encode(octets: &[u8]) -> String {
    Base64::encode_string(octets)
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn whatever_is_not_canonical_is_refused() {
        // No padding, too much, in the middle; stray bits; blanks; the URL alphabet; line ends; NUL.
        for bad in [
            "Zg", "Zg=", "Zg===", "Zm8", "Zg==Zm9v", "=", "====", "Z===", "Zh==", "Zm9=", " Zm9v", "Zm9v ", "Zm 9v",
            "Zm9_", "Zm9-", "Zm9v\r\n", "Zm9v\n", "Zm9\0", "*", "Zm9vY",
        ] {
            assert!(decode(bad.as_bytes()).is_none(), "{bad:?}");
        }
        assert!(decode(b"Zm9\xff").is_none());
    }
}
