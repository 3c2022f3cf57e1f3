//! Classes of octets, one table for the whole grammar.

use nom::IResult;
use nom::error::{Error, ErrorKind};

/// RFC 5322 3.2.3 by way of RFC 5321 4.1.2.
pub(super) const ATEXT: u16 = 1;
/// RFC 5321 4.1.2: Let-dig and the hyphen.
pub(super) const LDH: u16 = 2;
/// RFC 5321 4.1.2: qtextSMTP.
pub(super) const QTEXT: u16 = 4;
/// RFC 5321 4.1.2: esmtp-value.
pub(super) const VALUE: u16 = 8;
/// RFC 5321 4.1.3: dcontent.
pub(super) const DCONTENT: u16 = 16;
/// RFC 3461 4: xchar.
pub(super) const XCHAR: u16 = 32;
/// RFC 4648 4.
pub(super) const BASE64: u16 = 64;
/// A part of what RFC 6531 3.3 lets in, UTF-8 being checked elsewhere.
pub(super) const HIGH: u16 = 128;
/// RFC 5321 4.1.2: what a Dot-string is made of.
pub(super) const DOTTED_ATEXT: u16 = 256;
/// RFC 5321 4.1.2: what a Domain is made of.
pub(super) const DOTTED_LDH: u16 = 512;

const TABLE: [u16; 256] = {
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
        if class & ATEXT != 0 || octet == b'.' {
            class |= DOTTED_ATEXT;
        }
        if class & LDH != 0 || octet == b'.' {
            class |= DOTTED_LDH;
        }
        table[at] = class;
        at += 1;
    }
    table
};

/// Whether the octet is in one of the classes.
#[inline]
pub(super) const fn is(octet: u8, classes: u16) -> bool {
    // An index of a u8 is always inside 256.
    TABLE[octet as usize] & classes != 0
}

/// How many octets at the start are all in one of the classes. Four at a time: the loop itself costs as much as a look.
#[inline]
pub(super) fn span(octets: &[u8], classes: u16) -> usize {
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

/// One in each of eight octets.
pub(super) const EACH: u64 = 0x0101_0101_0101_0101;

/// How many octets at the start are from `LOW` to 126 and neither `A` nor `B`, eight at a time, the last eight overlapping.
#[inline]
pub(super) fn printable_span<const LOW: u8, const A: u8, const B: u8>(octets: &[u8]) -> usize {
    let foreign = |eight: &[u8; 8]| {
        let word = u64::from_le_bytes(*eight);
        let is = |mark: u8| (word ^ (EACH * u64::from(mark))).wrapping_sub(EACH);
        // The high bit of each octet that is foreign, exact for the first of them: only a foreign one carries or borrows.
        let flags = word.wrapping_sub(EACH * u64::from(LOW)) | word.wrapping_add(EACH) | word | is(A) | is(B);
        flags & (EACH << 7)
    };
    let mut rest = octets;
    while let Some((eight, after)) = rest.split_first_chunk() {
        let foreign = foreign(eight);
        if foreign != 0 {
            return octets.len() - rest.len() + (foreign.trailing_zeros() / 8) as usize;
        }
        rest = after;
    }
    if let Some(eight) = octets.last_chunk() {
        // Past the end where none is foreign: 64 bits are 8 octets.
        return octets.len() - 8 + (foreign(eight).trailing_zeros() / 8) as usize;
    }
    let fits = |octet: u8| (LOW..=126).contains(&octet) && octet != A && octet != B;
    rest.iter().position(|&octet| !fits(octet)).unwrap_or(rest.len())
}

/// How many octets at the start are esmtp-value (RFC 5321 4.1.2).
#[inline]
pub(super) fn value_span(octets: &[u8]) -> usize {
    printable_span::<33, b'=', b'='>(octets)
}

/// How many octets at the start are xchar (RFC 3461 4).
#[inline]
pub(super) fn xchar_span(octets: &[u8]) -> usize {
    printable_span::<33, b'=', b'+'>(octets)
}

/// One or more octets in one of the classes, as a parser of nom's.
#[inline]
pub(super) fn run<'a>(classes: u16) -> impl Fn(&'a [u8]) -> IResult<&'a [u8], &'a [u8]> {
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
pub(super) fn cut(octets: &[u8], mark: u8) -> Option<(&[u8], &[u8])> {
    let at = octets.iter().position(|&octet| octet == mark)?;
    Some((octets.get(..at)?, octets.get(at + 1..)?))
}

/// What RFC 6531 3.3 allows beyond ASCII, less what would act as a control or as the end of a line in a log or a
/// terminal: C1 controls (NEL among them), LS and PS. There we are stricter.
pub(super) fn is_quiet(text: &str) -> bool {
    text.is_ascii() || !text.chars().any(|char| matches!(char, '\u{80}'..='\u{9f}' | '\u{2028}' | '\u{2029}'))
}

#[cfg(test)]
mod tests {
    use super::{VALUE, XCHAR, printable_span, span, value_span, xchar_span};

    /// Each octet at each place of each length: by eight as by the table.
    #[test]
    fn eight_at_a_time_find_what_one_at_a_time_does() {
        for length in 0..28 {
            for filler in [b'!', b'~', b'a', b'<', b'>', b'*', b','] {
                for at in 0..=length {
                    for octet in 0..=255 {
                        // Behind it one that may take or give a bit.
                        for behind in [filler, 0, b'=', b'~', 0xff] {
                            let mut room = [filler; 32];
                            (room[at], room[at + 1]) = (octet, behind);
                            let octets = &room[..length];
                            let printable = octets.iter().position(|octet| !matches!(octet, b' '..=b'~'));
                            assert_eq!(value_span(octets), span(octets, VALUE), "{octets:?}");
                            assert_eq!(xchar_span(octets), span(octets, XCHAR), "{octets:?}");
                            assert_eq!(printable_span::<32, 0, 0>(octets), printable.unwrap_or(length), "{octets:?}");
                        }
                    }
                }
            }
        }
    }
}
