//! The lines of the reply to EHLO (RFC 5321 4.1.1.1) by their first words, which are looked up.

use super::Extension;
use super::capabilities::KEYWORDS;

/// A line of the reply to EHLO, looked up.
#[derive(Clone, Copy)]
pub(crate) struct Announced<'a> {
    pub(crate) line: &'a [u8],
    /// If its first word is a keyword of the registry.
    pub(crate) extension: Option<Extension>,
    /// What stands behind the first word, from the blank on.
    pub(crate) params: &'a [u8],
}

impl<'a> Announced<'a> {
    #[inline]
    pub(super) fn new(line: &'a [u8], word: FirstWord) -> Self {
        let (keyword, params) = line.split_at_checked(word.len).unwrap_or((line, &[]));
        // A word that ends in another control than the line is none.
        let fits = matches!(params, [] | [b' ', ..]);
        let extension = if fits { look_up(word.folded, keyword) } else { None };
        Self { line, extension, params }
    }
}

/// What a text begins with, up to a blank or a control.
#[derive(Clone, Copy)]
pub(super) struct FirstWord {
    pub(super) len: usize,
    /// Its first eight octets, folded.
    folded: u64,
}

impl FirstWord {
    /// Eight octets at a time.
    #[inline]
    pub(super) fn of(text: &[u8]) -> Self {
        const EACH: u64 = 0x0101_0101_0101_0101;
        // The high bit of each octet up to the blank, exact for the first of them.
        let ends = |word: u64| word.wrapping_sub(EACH * 0x21) & !word & (EACH << 7);
        let mut eight = [b' '; 8];
        match text.first_chunk::<8>() {
            Some(first) => eight = *first,
            None => eight.iter_mut().zip(text).for_each(|(to, from)| *to = *from),
        }
        let word = u64::from_le_bytes(eight);
        let end = ends(word);
        if end != 0 {
            let len = end.trailing_zeros() / 8;
            return Self { len: len as usize, folded: upper(word & !(u64::MAX << (8 * len))) };
        }
        let mut len = 8;
        while let Some(eight) = text.get(len..).and_then(<[u8]>::first_chunk) {
            let end = ends(u64::from_le_bytes(*eight));
            len += (end.trailing_zeros() / 8) as usize;
            if end != 0 {
                return Self { len, folded: upper(word) };
            }
        }
        let rest = text.get(len..).unwrap_or_default();
        len += rest.iter().position(|&octet| octet <= b' ').unwrap_or(rest.len());
        Self { len, folded: upper(word) }
    }
}

/// The extension of a keyword, of which the first eight octets are folded: from a table of 256 places, these octets times a
/// number being its place.
#[inline]
pub(super) fn look_up(folded: u64, keyword: &[u8]) -> Option<Extension> {
    let slot = SLOTS.get(slot(folded, MULTIPLIER)).copied().unwrap_or(EMPTY);
    let (extension, known) = KEYWORDS.get(usize::from(slot))?;
    let same = FOLDED.get(usize::from(slot)) == Some(&folded) && known.len() == keyword.len();
    let tail = |text| <[u8]>::get(text, 8..).unwrap_or_default();
    // Most are short, and the others in capitals.
    let alike = |a: &[u8], b: &[u8]| a == b || a.eq_ignore_ascii_case(b);
    (same && (known.len() <= 8 || alike(tail(known.as_bytes()), tail(keyword)))).then_some(*extension)
}

const EMPTY: u8 = u8::MAX;

/// A number that gives each keyword a place of its own.
const MULTIPLIER: u64 = {
    let mut multiplier: u64 = 0x9e37_79b9_7f4a_7c15;
    while table(multiplier).is_none() {
        multiplier = multiplier.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(2);
    }
    multiplier
};

const SLOTS: [u8; 256] = match table(MULTIPLIER) {
    Some(slots) => slots,
    None => [EMPTY; 256],
};

const fn table(multiplier: u64) -> Option<[u8; 256]> {
    let mut slots = [EMPTY; 256];
    let mut at = 0;
    while at < KEYWORDS.len() {
        assert!(KEYWORDS[at].0 as usize == at, "in the order of the enum");
        let slot = slot(fold(KEYWORDS[at].1.as_bytes()), multiplier);
        if slots[slot] != EMPTY {
            return None;
        }
        slots[slot] = KEYWORDS[at].0 as u8;
        at += 1;
    }
    Some(slots)
}

const fn slot(folded: u64, multiplier: u64) -> usize {
    (folded.wrapping_mul(multiplier) >> 56) as usize
}

/// [`fold`] of each keyword.
const FOLDED: [u64; KEYWORDS.len()] = {
    let mut folded = [0; KEYWORDS.len()];
    let mut at = 0;
    while at < KEYWORDS.len() {
        folded[at] = fold(KEYWORDS[at].1.as_bytes());
        at += 1;
    }
    folded
};

/// The first eight octets as a number, letters in upper case.
pub(super) const fn fold(keyword: &[u8]) -> u64 {
    let mut number = 0;
    let mut at = 0;
    while at < 8 && at < keyword.len() {
        number |= (keyword[at] as u64) << (8 * at);
        at += 1;
    }
    upper(number)
}

/// Clears 0x20 where 0x40 is set: letters become upper case, digits and hyphens stay.
const fn upper(number: u64) -> u64 {
    number & !((number & 0x4040_4040_4040_4040) >> 1)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::super::{Capability, ReplyLines};
    use super::KEYWORDS;

    /// RFC 5321 4.1.1.1: a keyword in any case, up to a blank or the end of the line; nothing that is like one. Against the lines
    /// as the reader gives them, and names that are compared one by one; where the last line is short, too.
    #[test]
    fn lines_are_looked_up_as_if_by_name() {
        let behind = [
            &b""[..],
            b" ",
            b" 1",
            b" A B=C",
            b"\t",
            b"\t1",
            b"\x01",
            b"-",
            b"=",
            b"=1",
            b"x",
            b".",
            b"\x7f",
            b"\xc3\x89",
        ];
        for (_, keyword) in KEYWORDS {
            let mut words = Vec::from([keyword.as_bytes().to_vec(), keyword.to_lowercase().into_bytes()]);
            for at in 0..keyword.len() {
                let mut word = keyword.as_bytes().to_vec();
                words.push(word[..at].to_vec());
                for other in [word[at] ^ 0x20, word[at] ^ 0x40, word[at] ^ 1, b'\t', 0x80] {
                    word[at] = other;
                    if other & 0x7f > 13 || other == b'\t' {
                        words.push(word.clone());
                    }
                }
            }
            for line in words.iter().flat_map(|word| behind.map(|behind| [word, behind].concat())) {
                let raw = [b"250-a\r\n250-", &line[..], b"\r\n250 ", &line[..], b"\r\n"].concat();
                let reply = ReplyLines::parse(&raw).expect("a good reply").expect("a whole one");
                let seen: Vec<_> = reply.announced().map(|line| (line.line, line.extension, line.params)).collect();
                let word = line.split(|octet| *octet == b' ').next().unwrap_or_default();
                let known = KEYWORDS.iter().find(|(_, keyword)| keyword.as_bytes().eq_ignore_ascii_case(word));
                let shown = line.escape_ascii();
                assert_eq!(seen.len(), 2, "{shown}");
                for (text, extension, params) in seen {
                    assert_eq!((text, extension), (&line[..], known.map(|(extension, _)| *extension)), "{shown}");
                    assert!(extension.is_none() || params == &line[word.len()..], "{shown}");
                }
                let parsed = Capability::parse(&line);
                assert!(reply.capabilities().eq(parsed.into_iter().chain(parsed)), "{shown}");
                let parsed = parsed.and_then(|capability| capability.extension());
                assert!(parsed.is_none() || parsed == known.map(|(extension, _)| *extension), "{shown}");
            }
        }
    }

    /// As many lines as the reader gives, each where it ends, whatever their lengths.
    #[test]
    fn lines_of_any_length_end_where_they_end() {
        for (word, length) in (0..20).flat_map(|word| (0..200).map(move |length| (word, length))) {
            let line = [&b"A".repeat(word.min(length))[..], b" ", &b"b".repeat(length)].concat();
            let raw = [b"250-a\r\n250-", &line[..length], b"\r\n250-NOOP\r\n250 ", &line[..length], b"\r\n"].concat();
            let reply = ReplyLines::parse(&raw).expect("a good reply").expect("a whole one");
            let lines: Vec<_> = reply.lines().skip(1).map(|line| line.text()).collect();
            assert_eq!(reply.announced().map(|line| line.line).collect::<Vec<_>>(), lines);
            assert_eq!(lines, [&line[..length], b"NOOP", &line[..length]]);
            assert!(reply.capabilities().eq(lines.into_iter().filter_map(Capability::parse)));
        }
    }
}
