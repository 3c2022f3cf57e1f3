//! An object in JSON as the journal and Docker write it: its values are text, or nothing. Most lines are such, and reading JSON
//! of any form takes several times as long.

use std::borrow::Cow;

use crate::read::scan::near;

/// Hands out the members in order, each with the place where its text begins, until that says false. `None` where this is no
/// such object, though it may be JSON as good. It is known to have no control characters, and to be UTF-8.
pub(super) fn members<'a>(object: &'a [u8], mut take: impl FnMut(&'a [u8], Value<'a>, usize) -> bool) -> Option<()> {
    let mut rest = after(object, b'{')?;
    loop {
        // A name with an escape in it may be any.
        let (key, false, behind) = text(after(rest, b'"')?)? else { return None };
        let value;
        (value, rest) = match behind {
            [b':', b'"', behind @ ..] => Value::read(behind)?,
            _ => {
                let behind = after(behind, b':')?.trim_ascii_start();
                match behind.strip_prefix(b"null") {
                    Some(rest) => (Value::Null, rest),
                    None => Value::read(behind.strip_prefix(b"\"")?)?,
                }
            }
        };
        // Behind a text is its quote.
        let length = if let Value::Text(text, _) = value { text.len() } else { 0 };
        if !take(key, value, (object.len() - rest.len()).saturating_sub(length + 1)) {
            return None;
        }
        rest = match rest {
            [b',', rest @ ..] => rest,
            _ => {
                let rest = rest.trim_ascii_start();
                match rest.first()? {
                    b',' => &rest[1..],
                    b'}' => return rest[1..].trim_ascii().is_empty().then_some(()),
                    _ => return None,
                }
            }
        }
    }
}

/// What a member is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Null,
    /// What stands between its quotes, and whether escapes are in it.
    Text(&'a [u8], bool),
}

impl<'a> Value<'a> {
    /// Text behind its first quote, and what comes behind it.
    #[inline]
    fn read(from: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (raw, escaped, rest) = text(from)?;
        Some((Self::Text(raw, escaped), rest))
    }

    /// Whether it is a value at all, of one that is not needed: escapes may be wrong.
    #[inline]
    pub(super) fn is_good(self) -> bool {
        !matches!(self, Self::Text(_, true)) || self.octets().is_some()
    }

    /// The text itself; `None` where it has escapes that are not of one letter.
    pub(super) fn octets(self) -> Option<Cow<'a, [u8]>> {
        let (raw, escaped) = match self {
            Self::Null => (&[][..], false),
            Self::Text(raw, escaped) => (raw, escaped),
        };
        if !escaped {
            return Some(Cow::Borrowed(raw));
        }
        let mut octets = Vec::with_capacity(raw.len());
        let mut rest = raw;
        while let Some(at) = memchr::memchr(b'\\', rest) {
            octets.extend_from_slice(&rest[..at]);
            octets.push(match rest.get(at + 1)? {
                plain @ (b'"' | b'\\' | b'/') => *plain,
                b'n' => b'\n',
                b't' => b'\t',
                b'r' => b'\r',
                b'b' => 8,
                b'f' => 12,
                _ => return None,
            });
            rest = &rest[at + 2..];
        }
        octets.extend_from_slice(rest);
        Some(Cow::Owned(octets))
    }
}

/// What comes behind this octet; space may stand before it.
#[inline]
fn after(text: &[u8], octet: u8) -> Option<&[u8]> {
    match text.split_first() {
        Some((first, rest)) if *first == octet => Some(rest),
        Some((b' ' | b'\t' | b'\n' | b'\r', _)) => text.trim_ascii_start().strip_prefix(&[octet]),
        _ => None,
    }
}

/// Text up to the quote that ends it, whether escapes are in it, and what comes behind it.
#[inline]
pub(super) fn text(from: &[u8]) -> Option<(&[u8], bool, &[u8])> {
    let mut at = special(from)?;
    if from[at] == b'"' {
        return Some((&from[..at], false, &from[at + 1..]));
    }
    loop {
        at += 2;
        at += special(from.get(at..)?)?;
        if from[at] == b'"' {
            return Some((&from[..at], true, &from[at + 1..]));
        }
    }
}

/// Text up to the quote that ends it, where no backslash is in the object.
#[inline]
pub(super) fn plain(from: &[u8]) -> Option<&[u8]> {
    let at = match near(from.get(..NEAR).unwrap_or(from), b'"') {
        None => NEAR + memchr::memchr(b'"', from.get(NEAR..)?)?,
        Some(at) => at,
    };
    Some(&from[..at])
}

/// So many octets are searched by eight, as most values are no longer.
const NEAR: usize = 24;

/// Where the first quote or backslash is: eight octets at a time where it is near, as it mostly is.
#[inline]
fn special(text: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let zero = |eight: u64| eight.wrapping_sub(ONES) & !eight;
    let mut at = 0;
    let mut rest = text;
    while at < NEAR
        && let Some((eight, after)) = rest.split_first_chunk()
    {
        let eight = u64::from_le_bytes(*eight);
        let found = zero(eight ^ (ONES * u64::from(b'"'))) | zero(eight ^ (ONES * u64::from(b'\\')));
        // Of each the lowest octet that is found is right.
        let found = found & (ONES << 7);
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        (at, rest) = (at + 8, after);
    }
    memchr::memchr2(b'"', b'\\', rest).map(|found| at + found)
}

#[cfg(test)]
mod tests {
    use super::{plain, special};

    #[test]
    fn the_first_that_is_special_is_found() {
        let text: Vec<u8> =
            (0..=255).rev().chain(*b" \x1f!\"#[\\]\x7f\x80\xa2\xdc\x00 ").chain(32..92).chain(0..99).collect();
        for start in 0..text.len() {
            for end in start..(start + 48).min(text.len()) {
                let text = &text[start..end];
                let first = text.iter().position(|octet| matches!(octet, b'"' | b'\\'));
                assert_eq!(special(text), first, "{text:?}");
                let quote = text.iter().position(|octet| *octet == b'"');
                assert_eq!(plain(text).map(<[u8]>::len), quote, "{text:?}");
            }
        }
    }
}
