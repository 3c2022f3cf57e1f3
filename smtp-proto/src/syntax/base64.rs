//! Base64 (RFC 4648 4), as AUTH uses it (RFC 4954 4).

use alloc::vec::Vec;
use core::fmt;

use base64ct::Encoding as _;

use super::class::{BASE64, span};
use super::{SyntaxError, SyntaxErrorKind};

/// Base64 that has been checked: padded (RFC 4648 3.2), nothing foreign in it (3.3), the bits behind the last octet
/// zero (3.5), so that a secret has one spelling only.
///
/// What is in it may be a secret: `Debug` shows its length alone.
///
/// ```
/// use smtp_proto::syntax::Base64;
///
/// let mut plain = Vec::new();
/// Base64::encode(b"\0tim\0tanstaaftanstaaf", &mut plain);
/// let base64 = Base64::parse(core::str::from_utf8(&plain)?)?;
/// let mut room = [0; 32];
/// assert_eq!(base64.decode(&mut room), Some(&b"\0tim\0tanstaaftanstaaf"[..]));
/// assert_eq!(format!("{base64:?}"), "Base64(<21 octets>)");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Base64<'a>(&'a [u8]);

impl<'a> Base64<'a> {
    /// Base64 of no octets: the empty text.
    pub const EMPTY: Base64<'static> = Base64(b"");

    /// Checks the whole text.
    ///
    /// # Errors
    /// [`SyntaxErrorKind::BadBase64`] at the first octet that does not fit.
    pub fn parse(text: &'a str) -> Result<Self, SyntaxError> {
        Self::of(text.as_bytes())
    }

    pub(super) fn of(octets: &'a [u8]) -> Result<Self, SyntaxError> {
        let digits = match octets {
            [digits @ .., b'=', b'='] | [digits @ .., b'='] => digits,
            digits => digits,
        };
        let error = |at| Err(SyntaxError::new(SyntaxErrorKind::BadBase64, at));
        let at = span(digits, BASE64);
        if at < digits.len() {
            return error(at);
        }
        let padding = octets.len() - digits.len();
        let expected = match digits.len() % 4 {
            0 => 0,
            2 => 2,
            3 => 1,
            _ => return error(digits.len()),
        };
        // RFC 4648 3.5: the last digit's bits that stand for nothing, four of them or two, are zero.
        let canonical = match (expected, digits.last()) {
            (2, Some(last)) => matches!(last, b'A' | b'Q' | b'g' | b'w'),
            (1, Some(last)) => b"AEIMQUYcgkosw048".contains(last),
            _ => true,
        };
        if padding != expected || !canonical {
            return error(digits.len());
        }
        Ok(Self(octets))
    }

    /// The base64 text as it was written.
    #[must_use]
    pub const fn as_str(&self) -> &'a str {
        // Checked by `parse`: all of it is ASCII.
        match core::str::from_utf8(self.0) {
            Ok(text) => text,
            Err(_) => "",
        }
    }

    /// How many octets the text stands for once it is decoded.
    #[must_use]
    pub fn decoded_len(&self) -> usize {
        // Checked by `parse`: a multiple of four, at most two paddings.
        let padding = self.0.iter().rev().take_while(|&&octet| octet == b'=').count();
        (self.0.len() / 4 * 3).saturating_sub(padding)
    }

    /// Decodes to the start of `out`; `None`, and nothing written, when there is less room than
    /// [`decoded_len`](Self::decoded_len).
    #[must_use]
    pub fn decode<'o>(&self, out: &'o mut [u8]) -> Option<&'o [u8]> {
        base64ct::Base64::decode(self.0, out.get_mut(..self.decoded_len())?).ok()
    }

    /// Encodes `octets` to the end of `out`.
    pub fn encode(octets: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + base64ct::Base64::encoded_len(octets), b'=');
        let encoded = base64ct::Base64::encode(octets, out.get_mut(start..).unwrap_or_default());
        debug_assert!(encoded.is_ok(), "there is room for it");
    }
}

impl fmt::Debug for Base64<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Base64(<{} octets>)", self.decoded_len())
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::*;

    /// RFC 4648 10.
    #[test]
    fn the_vectors_of_the_rfc() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            let mut out = Vec::new();
            Base64::encode(plain.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).as_deref(), Ok(coded));
            let base64 = Base64::parse(coded).expect(coded);
            assert_eq!(base64.decode(&mut [0; 6]), Some(plain.as_bytes()));
            assert_eq!(base64.decoded_len(), plain.len());
            if !plain.is_empty() {
                assert_eq!(base64.decode(&mut [0; 6][..plain.len() - 1]), None);
            }
        }
    }

    /// RFC 4648 3.2, 3.3, 3.5.
    #[test]
    fn what_is_not_canonical_is_refused() {
        for wrong in
            ["Z", "Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "=", "====", "Zm9v=", "Zm 9", "Zm9-", "Zg==Zg==", "Z=g="]
        {
            assert_eq!(Base64::parse(wrong).map_err(|error| error.kind()), Err(SyntaxErrorKind::BadBase64), "{wrong}");
        }
    }
}
