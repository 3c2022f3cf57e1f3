//! Octets: comparing, finding, numbers and addresses. Everything that is read here is other people's.

use std::net::{IpAddr, Ipv4Addr};

/// Equal but for the case of ASCII letters.
pub(crate) fn eq(left: &[u8], right: &[u8]) -> bool {
    left.eq_ignore_ascii_case(right)
}

pub(crate) fn starts_no_case(text: &[u8], start: &[u8]) -> bool {
    text.get(..start.len()).is_some_and(|text| eq(text, start))
}

/// By the octet of `what` that is rarest in logs: they are short, and a better search takes longer to prepare than to
/// make. `what` is not empty.
#[inline]
pub(crate) fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    let rare = rare(what);
    let mut from = rare;
    loop {
        let at = from + memchr::memchr(what[rare], text.get(from..)?)? - rare;
        if text[at..].starts_with(what) {
            return Some(at);
        }
        from = at + rare + 1;
    }
}

/// The last.
#[inline]
pub(crate) fn find_last(text: &[u8], what: &[u8]) -> Option<usize> {
    let rare = rare(what);
    let mut to = text.len();
    loop {
        let at = memchr::memrchr(what[rare], &text[..to])?;
        if at >= rare && text[at - rare..].starts_with(what) {
            return Some(at - rare);
        }
        to = at;
    }
}

/// Where in it the octet stands that is rarest in logs.
#[inline]
fn rare(what: &[u8]) -> usize {
    let is_rare = |octet: &u8| !octet.is_ascii_alphanumeric() && !matches!(octet, b' ' | b'-' | b'.');
    what.iter().position(is_rare).unwrap_or_default()
}

/// The lowest bit of each of eight octets, and the highest.
const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHEST: u64 = ONES << 7;

/// Where an octet first stands, of a short text: eight at a time.
#[inline]
pub(crate) fn near(text: &[u8], what: u8) -> Option<usize> {
    let pattern = ONES * u64::from(what);
    let mut at = 0;
    let mut rest = text;
    while let Some((eight, after)) = rest.split_first_chunk() {
        let differs = u64::from_le_bytes(*eight) ^ pattern;
        // The lowest octet that is zero has the lowest bit that is set.
        let zero = differs.wrapping_sub(ONES) & !differs & HIGHEST;
        if zero != 0 {
            return Some(at + zero.trailing_zeros() as usize / 8);
        }
        (at, rest) = (at + 8, after);
    }
    rest.iter().position(|octet| *octet == what).map(|found| at + found)
}

/// Whether all are ASCII letters and digits, of a short text: eight at a time.
#[inline]
pub(crate) fn alphanumeric(text: &[u8]) -> bool {
    let (eights, rest) = text.as_chunks();
    // Where there are eight, what is left over is looked at with the octets before it.
    let last = if rest.is_empty() { None } else { text.last_chunk() };
    if last.is_none() && !rest.is_empty() {
        return rest.iter().all(u8::is_ascii_alphanumeric);
    }
    eights.iter().chain(last).all(|eight| {
        let octets = u64::from_le_bytes(*eight);
        // Sums of octets that are ASCII do not go beyond these; others are none.
        let (ascii, lower) = (octets & !HIGHEST, octets & !HIGHEST | (ONES << 5));
        let digit = (ascii + ONES * (0x80 - u64::from(b'0'))) & !(ascii + ONES * (0x7f - u64::from(b'9')));
        let letter = (lower + ONES * (0x80 - u64::from(b'a'))) & !(lower + ONES * (0x7f - u64::from(b'z')));
        (digit | letter) & !octets & HIGHEST == HIGHEST
    })
}

/// Where an octet last stands, of a short text: eight at a time.
#[inline]
pub(crate) fn near_end(text: &[u8], what: u8) -> Option<usize> {
    let pattern = ONES * u64::from(what);
    let mut rest = text;
    while let Some((before, eight)) = rest.split_last_chunk() {
        let differs = u64::from_be_bytes(*eight) ^ pattern;
        // As above: the last octet is the lowest here.
        let zero = differs.wrapping_sub(ONES) & !differs & HIGHEST;
        if zero != 0 {
            return Some(before.len() + 7 - zero.trailing_zeros() as usize / 8);
        }
        rest = before;
    }
    rest.iter().rposition(|octet| *octet == what)
}

pub(crate) fn find_no_case(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| eq(window, what))
}

/// What stands before the `>` that closes an address, and what comes behind it. Within quotes a `>` is one of its octets
/// (RFC 5321 4.1.2).
pub(crate) fn bracketed(text: &[u8]) -> Option<(&[u8], &[u8])> {
    if text.first() != Some(&b'"') {
        let end = memchr::memchr(b'>', text)?;
        return Some((&text[..end], &text[end + 1..]));
    }
    let (mut at, mut quoted) = (0, false);
    while let Some(&octet) = text.get(at) {
        match octet {
            b'\\' if quoted => at += 1,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some((&text[..at], &text[at + 1..])),
            _ => {}
        }
        at += 1;
    }
    None
}

/// Decimal digits at the start, and what comes after. `None` without any, or where they are too many.
pub(crate) fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    let mut at = 0;
    // So many are never too many.
    while let Some(digit) = text.get(at).map(|octet| octet.wrapping_sub(b'0')).filter(|digit| at < 18 && *digit < 10) {
        value = value * 10 + u64::from(digit);
        at += 1;
    }
    while let Some(digit) = text.get(at).filter(|octet| octet.is_ascii_digit()) {
        value = value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
        at += 1;
    }
    (at > 0).then(|| (value, &text[at..]))
}

/// Exactly eight digits, all at a time.
#[inline]
pub(crate) fn eight(text: &[u8; 8]) -> Option<u32> {
    let digits = u64::from_le_bytes(*text) ^ (ONES * u64::from(b'0'));
    // Of a digit the octet is 0 to 9 now: any other has its highest bit set, or gets it.
    if (digits | digits.wrapping_add(ONES * 0x76)) & HIGHEST != 0 {
        return None;
    }
    // The first digit is the lowest octet. Neighbours are joined to 0 to 99, these to 0 to 9999, and these to the number.
    let pairs = (digits * 10 + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    u32::try_from((fours * 10_000 + (fours >> 32)) & 0xffff_ffff).ok()
}

/// Exactly two digits; a space may stand for a leading zero, as syslog writes days.
#[inline]
pub(crate) fn two(text: &[u8; 2]) -> Option<i64> {
    let [tens, ones] = *text;
    let tens = if tens == b' ' { b'0' } else { tens };
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| i64::from(tens * 10 + ones))
}

/// An address as text; `IPv6:` may stand before it (RFC 5321 4.1.3).
pub(crate) fn text_ip(text: &[u8]) -> Option<IpAddr> {
    // The usual case by hand: a log has an address in most of its lines.
    if let Some(address) = text_ipv4(text) {
        return Some(IpAddr::V4(address));
    }
    let text = if starts_no_case(text, b"ipv6:") { &text[5..] } else { text };
    if text.len() > 45 || memchr::memchr(b':', text).is_none() {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok().map(|address: IpAddr| address.to_canonical())
}

fn text_ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut rest = text;
    for (at, octet) in octets.iter_mut().enumerate() {
        let digit = |at: usize| rest.get(at).map(|octet| octet.wrapping_sub(b'0')).filter(|digit| *digit < 10);
        let (value, digits) = match (digit(0)?, digit(1), digit(2)) {
            (a, None, _) => (a, 1),
            (a, Some(b), None) => (a * 10 + b, 2),
            (a, Some(b), Some(c)) => (u8::try_from(u16::from(a) * 100 + u16::from(b * 10 + c)).ok()?, 3),
        };
        *octet = value;
        rest = &rest[digits..];
        if at < 3 {
            rest = rest.strip_prefix(b".")?;
        }
    }
    rest.is_empty().then_some(octets.into())
}

/// Days since 1970-01-01 of a day in the Gregorian calendar; `None` where there is no such day.
pub(crate) fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    const LENGTHS: [i64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let length = LENGTHS.get(usize::try_from(month - 1).ok()?)?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if !(1970..=9999).contains(&year) || day < 1 || day > length + i64::from(leap && month == 2) {
        return None;
    }
    // Years begin in March here, so that the leap day is the last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_year = (153 * month + 2) / 5 + day - 1;
    Some(year * 365 + year / 4 - year / 100 + year / 400 + of_year - 719_468)
}

/// `Jan` to 1.
pub(crate) fn month(name: &[u8]) -> Option<i64> {
    Some(match name {
        b"Jan" => 1,
        b"Feb" => 2,
        b"Mar" => 3,
        b"Apr" => 4,
        b"May" => 5,
        b"Jun" => 6,
        b"Jul" => 7,
        b"Aug" => 8,
        b"Sep" => 9,
        b"Oct" => 10,
        b"Nov" => 11,
        b"Dec" => 12,
        _ => return None,
    })
}

/// `HH:MM:SS` at the start, in seconds.
pub(crate) fn clock(text: &[u8]) -> Option<i64> {
    match *text.first_chunk::<8>()? {
        [h1, h2, b':', m1, m2, b':', s1, s2] => {
            let (hour, minute, second) = (two(&[h1, h2])?, two(&[m1, m2])?, two(&[s1, s2])?);
            (hour < 24 && minute < 60 && second < 61).then_some(hour * 3600 + minute * 60 + second)
        }
        _ => None,
    }
}

/// `+0100`, `+01:00`, `+01`, `Z`: seconds east of Greenwich. Anything else is taken for none.
pub(crate) fn zone(text: &[u8]) -> i64 {
    let east = match text {
        [b'+' | b'-', h1, h2, rest @ ..] if !matches!(rest.first(), Some(b':' | b'0'..=b'9')) => {
            two(&[*h1, *h2]).map_or(0, |hours| hours * 3600)
        }
        [b'+' | b'-', h1, h2, b':', m1, m2, ..] | [b'+' | b'-', h1, h2, m1, m2, ..] => {
            two(&[*h1, *h2]).zip(two(&[*m1, *m2])).map_or(0, |(hours, minutes)| hours * 3600 + minutes * 60)
        }
        _ => 0,
    };
    if text.first() == Some(&b'-') { -east } else { east }
}

/// `2026-11-24T08:00:00.123456+01:00`, the `T` possibly a space: seconds since 1970, UTC, and what comes after the
/// seconds' fraction and zone.
pub(crate) fn iso(text: &[u8]) -> Option<(i64, &[u8])> {
    let (date, rest) = text.split_first_chunk::<10>()?;
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *date else { return None };
    let year = match (two(&[y1, y2]), two(&[y3, y4])) {
        (Some(century), Some(year)) if y1 != b' ' && y3 != b' ' => century * 100 + year,
        // Fewer digits are a year as well, of which there are no days.
        _ => return None,
    };
    let [b'T' | b't' | b' ', rest @ ..] = rest else { return None };
    let day = days(year, two(&[m1, m2])?, two(&[d1, d2])?)?;
    let time = day * 86_400 + clock(rest)?;
    let mut rest = &rest[8..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        rest = &fraction[fraction.iter().position(|octet| !octet.is_ascii_digit()).unwrap_or(fraction.len())..];
    }
    // Exim puts a space before the zone.
    let at = usize::from(matches!(rest, [b' ', b'+' | b'-', b'0'..=b'9', ..]));
    match rest.get(at) {
        Some(b'Z') => Some((time, &rest[at + 1..])),
        Some(b'+' | b'-') => {
            let zoned = &rest[at..];
            let length = if zoned.get(3) == Some(&b':') { 6 } else { 5 };
            Some((time - zone(zoned), zoned.get(length..)?))
        }
        _ => Some((time, rest)),
    }
}

/// A date-time of RFC 5322 3.3, the name of the day left out or not: seconds since 1970, UTC.
pub(crate) fn rfc5322(text: &[u8]) -> Option<i64> {
    let mut words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let mut word = words.next()?;
    if word.first()?.is_ascii_alphabetic() {
        word = words.next()?;
    }
    let (day, _) = number(word)?;
    let month = month(words.next()?)?;
    let year = words.next()?;
    let year = match (year.len(), number(year)?.0) {
        // RFC 5322 4.3: years of two digits, and of three.
        (2, year @ 0..50) => year + 2000,
        (2 | 3, year) => year + 1900,
        (_, year) => year,
    };
    let time = words.next()?;
    let clock = match time.len() {
        5 => clock(&[time, b":00"].concat())?,
        _ => clock(time)?,
    };
    let zone = words.next().map_or(0, zone);
    Some(days(i64::try_from(year).ok()?, month, i64::try_from(day).ok()?)? * 86_400 + clock - zone)
}

#[cfg(test)]
mod tests {
    use super::{alphanumeric, eight, find, find_last, iso, near, near_end, rfc5322, text_ip, zone};

    #[test]
    fn what_is_found_is_what_a_plain_search_finds() {
        let text = b"a<b from=<x> from=<y>; =<from= <, \x80\xff\x00from=<z from=";
        for length in 0..text.len() {
            for text in [&text[..length], &text[length..]] {
                for what in [&b" from=<"[..], b"<", b"from", b">; ", b"\x80\xff", b"\x00"] {
                    let mut all = (0..text.len()).filter(|at| text[*at..].starts_with(what));
                    assert_eq!(find(text, what), all.next(), "{what:?} in {text:?}");
                    let mut all = (0..text.len()).rev().filter(|at| text[*at..].starts_with(what));
                    assert_eq!(find_last(text, what), all.next(), "{what:?} in {text:?}");
                }
                for octet in 0..=255 {
                    assert_eq!(near(text, octet), text.iter().position(|other| *other == octet));
                    assert_eq!(near_end(text, octet), text.iter().rposition(|other| *other == octet));
                }
            }
        }
    }

    #[test]
    fn eight_digits_are_a_number() {
        for at in 0..8 {
            for octet in 0..=255_u8 {
                let mut text = *b"12345678";
                text[at] = octet;
                let number = text.iter().all(u8::is_ascii_digit).then(|| String::from_utf8_lossy(&text).parse().ok());
                assert_eq!(eight(&text), number.flatten(), "{text:?}");
            }
        }
    }

    #[test]
    fn letters_and_digits_are_told_from_all_else() {
        for length in 0..20 {
            assert!(alphanumeric(&b"Az09aZ5mAz09aZ5mQqXx"[..length]));
            for at in 0..length {
                for octet in 0..=255_u8 {
                    let mut text = *b"Az09aZ5mAz09aZ5mQqXx";
                    text[at] = octet;
                    assert_eq!(
                        alphanumeric(&text[..length]),
                        octet.is_ascii_alphanumeric(),
                        "{octet} at {at} of {length}"
                    );
                }
            }
        }
    }

    #[test]
    fn times() {
        assert_eq!(iso(b"1970-01-01T00:00:00Z x"), Some((0, &b" x"[..])));
        assert_eq!(iso(b"2026-11-24T08:00:00.123456+01:00 mx"), Some((1_795_503_600, &b" mx"[..])));
        assert_eq!(iso(b"2026-11-24 08:00:00 +0100 x"), Some((1_795_503_600, &b" x"[..])));
        assert_eq!(iso(b"2024-02-29 23:59:60 x").map(|(time, _)| time), Some(1_709_251_200));
        assert_eq!(iso(b"2023-02-29T00:00:00Z"), None, "no such day");
        assert_eq!(iso(b"2026-13-01T00:00:00Z"), None);
        assert_eq!(rfc5322(b" Tue, 24 Nov 2026 08:00:00 +0100 (CET)"), Some(1_795_503_600));
        assert_eq!(rfc5322(b"4 Nov 2026 08:00 -0330"), Some(1_793_791_800));
        assert_eq!(rfc5322(b"Thu, 3 Oct 91 13:04:09 -0700"), rfc5322(b"3 Oct 1991 20:04:09 +0000"));
        assert_eq!(rfc5322(b"24 Nov 26 08:00:00 +0100"), Some(1_795_503_600));
        assert_eq!(rfc5322(b"24 Nov 126 08:00:00 +0100"), rfc5322(b"24 Nov 2026 08:00:00 +0100"));
        assert_eq!(rfc5322(b"yesterday"), None);
        assert_eq!(zone(b"-08:00"), -28_800);
    }

    #[test]
    fn addresses() {
        assert_eq!(text_ip(b"192.0.2.1"), Some([192, 0, 2, 1].into()));
        assert_eq!(text_ip(b"IPv6:2001:db8::1"), "2001:db8::1".parse().ok());
        assert_eq!(text_ip(b"::ffff:192.0.2.1"), Some([192, 0, 2, 1].into()));
        for wrong in [
            "",
            "192.0.2",
            "192.0.2.256",
            "192.0.2.1.",
            "1.2.3.4.5",
            "unknown",
            "0192.0.2.1",
            "192..2.1",
            ".0.2.1",
            "1.2.3.4294967297",
        ] {
            assert_eq!(text_ip(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
