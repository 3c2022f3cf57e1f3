//! Classes of octets, one table for the whole grammar.

use nom::IResult;
use nom::error::{Error, ErrorKind};

/// RFC 5322 3.2.3 by way of RFC 5321 4.1.2.
pub(super) const ATEXT: u8 = 1;
/// RFC 5321 4.1.2: Let-dig and the hyphen.
pub(super) const LDH: u8 = 2;
/// RFC 5321 4.1.2: qtextSMTP.
pub(super) const QTEXT: u8 = 4;
/// RFC 5321 4.1.2: esmtp-value.
pub(super) const VALUE: u8 = 8;
/// RFC 5321 4.1.3: dcontent.
pub(super) const DCONTENT: u8 = 16;
/// RFC 3461 4: xchar.
pub(super) const XCHAR: u8 = 32;
/// RFC 4648 4.
pub(super) const BASE64: u8 = 64;
/// A part of what RFC 6531 3.3 lets in, UTF-8 being checked elsewhere.
pub(super) const HIGH: u8 = 128;

const TABLE: [u8; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        #[allow(clippy::cast_possible_truncation, reason = "at is below 256")]
        let octet = at as u8;
        let alnum = octet.is_ascii_alphanumeric();
        let mut class = 0;
        if alnum
            || matches!(octet, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'/')
            || matches!(octet, b'=' | b'?' | b'^' | b'_' | b'`' | b'{' | b'|' | b'}' | b'~')
        {
            class |= ATEXT;
        }
        if alnum || octet == b'-' {
            class |= LDH;
        }
        if matches!(octet, 32..=33 | 35..=91 | 93..=126) {
            class |= QTEXT;
        }
        if matches!(octet, 33..=60 | 62..=126) {
            class |= VALUE;
        }
        if matches!(octet, 33..=90 | 94..=126) {
            class |= DCONTENT;
        }
        if matches!(octet, 33..=42 | 44..=60 | 62..=126) {
            class |= XCHAR;
        }
        if alnum || matches!(octet, b'+' | b'/') {
            class |= BASE64;
        }
        if octet > 127 {
            class |= HIGH;
        }
        table[at] = class;
        at += 1;
    }
    table
};

/// Whether the octet is in one of the classes.
#[inline]
pub(super) const fn is(octet: u8, classes: u8) -> bool {
    // An index of a u8 is always inside 256.
    TABLE[octet as usize] & classes != 0
}

/// How many octets at the start are all in one of the classes. Four at a time: the loop itself costs as much as a look.
#[inline]
pub(super) fn span(octets: &[u8], classes: u8) -> usize {
    let (fours, rest) = octets.as_chunks::<4>();
    let mut at = 0;
    for [a, b, c, d] in fours {
        if !is(*a, classes) {
            return at;
        }
        if !is(*b, classes) {
            return at + 1;
        }
        if !is(*c, classes) {
            return at + 2;
        }
        if !is(*d, classes) {
            return at + 3;
        }
        at += 4;
    }
    at + rest.iter().position(|&octet| !is(octet, classes)).unwrap_or(rest.len())
}

/// One or more octets in one of the classes, as a parser of nom's.
#[inline]
pub(super) fn run<'a>(classes: u8) -> impl Fn(&'a [u8]) -> IResult<&'a [u8], &'a [u8]> {
    move |octets| match octets.split_at_checked(span(octets, classes)) {
        Some((run, rest)) if !run.is_empty() => Ok((rest, run)),
        _ => Err(nom::Err::Error(Error { input: octets, code: ErrorKind::TakeWhile1 })),
    }
}

/// Whether a word is `name`, which is in capitals, in any case (RFC 5321 2.4). The word holds no controls: bit 5 alone
/// then tells apart the letters, and nothing else becomes one. Four or eight octets at a time, overlapping.
#[inline]
pub(super) fn same(word: &[u8], name: &[u8]) -> bool {
    if word.len() != name.len() {
        return false;
    }
    if let (Some(a), Some(b), Some(c), Some(d)) =
        (word.first_chunk::<8>(), name.first_chunk::<8>(), word.last_chunk::<8>(), name.last_chunk::<8>())
    {
        let different =
            u64::from_ne_bytes(*a) ^ u64::from_ne_bytes(*b) | u64::from_ne_bytes(*c) ^ u64::from_ne_bytes(*d);
        return different & 0xdfdf_dfdf_dfdf_dfdf == 0 && word.len() <= 16;
    }
    if let (Some(a), Some(b), Some(c), Some(d)) =
        (word.first_chunk::<4>(), name.first_chunk::<4>(), word.last_chunk::<4>(), name.last_chunk::<4>())
    {
        let different =
            u32::from_ne_bytes(*a) ^ u32::from_ne_bytes(*b) | u32::from_ne_bytes(*c) ^ u32::from_ne_bytes(*d);
        return different & 0xdfdf_dfdf == 0;
    }
    word.iter().zip(name).all(|(a, b)| (a ^ b) & 0xdf == 0)
}

/// What stands before and behind the first `mark`, an ASCII octet.
#[inline]
pub(super) fn cut(text: &str, mark: u8) -> Option<(&str, &str)> {
    let at = text.bytes().position(|octet| octet == mark)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// What RFC 6531 3.3 allows beyond ASCII, less what would act as a control or as the end of a line in a log or a
/// terminal: C1 controls (NEL among them), LS and PS. There we are stricter.
pub(super) fn is_quiet(text: &str) -> bool {
    text.is_ascii() || !text.chars().any(|char| matches!(char, '\u{80}'..='\u{9f}' | '\u{2028}' | '\u{2029}'))
}
