//! xtext (RFC 3461 4) and the encodings of internationalized addresses (RFC 6533 3).

use alloc::string::String;

use super::class::{XCHAR, is, xchar_span};

/// xtext that has been checked, and that stands for printable ASCII (RFC 3461 4.2 and 4.4 ask for that): a control
/// character never hides in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Xtext<'a>(&'a str);

impl<'a> Xtext<'a> {
    /// Checks the whole text; `None` when it is no xtext, or stands for anything but printable ASCII.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        Self::fits(text.as_bytes()).then_some(Self(text))
    }

    /// Whether that is `Some`.
    pub(super) fn fits(octets: &[u8]) -> bool {
        // Most xtext has nothing to decode.
        if xchar_span(octets) == octets.len() {
            return !octets.is_empty();
        }
        let mut rest = octets;
        while let Some((octet, after)) = next(rest) {
            if !matches!(octet, b' '..=b'~') {
                return false;
            }
            rest = after;
        }
        rest.is_empty()
    }

    /// The xtext as it was written, still encoded.
    #[must_use]
    pub const fn as_str(&self) -> &'a str {
        self.0
    }

    /// What it stands for, a character at a time.
    pub fn chars(&self) -> impl Iterator<Item = char> + use<'a> {
        let mut rest = self.0.as_bytes();
        core::iter::from_fn(move || {
            let (octet, after) = next(rest)?;
            rest = after;
            Some(char::from(octet))
        })
    }

    /// The text that it stands for, decoded.
    #[must_use]
    pub fn decode(&self) -> String {
        self.chars().collect()
    }

    /// Appends printable ASCII as xtext; `None`, and nothing appended, when it holds anything else, or nothing.
    #[must_use]
    pub fn encode(text: &str, out: &mut String) -> Option<()> {
        const HEX: &[u8; 16] = b"0123456789ABCDEF";
        if text.is_empty() || !text.bytes().all(|octet| matches!(octet, b' '..=b'~')) {
            return None;
        }
        for octet in text.bytes() {
            if is(octet, XCHAR) {
                out.push(char::from(octet));
            } else {
                let hex = |digit: u8| HEX.get(usize::from(digit)).copied().map_or('0', char::from);
                out.extend(['+', hex(octet >> 4), hex(octet & 15)]);
            }
        }
        Some(())
    }
}

/// The first octet that xtext stands for, and the rest of it.
fn next(octets: &[u8]) -> Option<(u8, &[u8])> {
    match octets {
        // RFC 3461 4: hexchar is "+" and two capital hexadecimal digits.
        [b'+', high, low, rest @ ..] => Some((hex(*high)? << 4 | hex(*low)?, rest)),
        [octet, rest @ ..] if is(*octet, XCHAR) => Some((*octet, rest)),
        _ => None,
    }
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// The first character of a utf-8-addr-xtext, or utf-8-addr-unitext with `utf8` (RFC 6533 3), and the rest.
pub(super) fn next_unitext(text: &str, utf8: bool) -> Option<(char, &str)> {
    if let Some(embedded) = text.strip_prefix("\\x{") {
        let (point, rest) = embedded.split_once('}')?;
        let digits = point.bytes().all(|digit| hex(digit).is_some()) && matches!(point.len(), 2..=6);
        let char = u32::from_str_radix(point, 16).ok().and_then(char::from_u32)?;
        // Shortest form only: "00" is no HEXPOINT.
        let shortest = !point.starts_with('0');
        return (digits && shortest && !char.is_control()).then_some((char, rest));
    }
    let char = text.chars().next()?;
    let fits = match char {
        '\\' => false,
        '!'..='~' => !matches!(char, '+' | '='),
        _ => utf8 && !char.is_ascii() && !char.is_control(),
    };
    fits.then_some((char, text.get(char.len_utf8()..)?))
}
