//! Times as logs write them.

use crate::read::scan::{self, clock, days, month, number};

/// The forms that are read, for whoever has another.
pub(crate) const FORMS: &str = "Nov 24 08:00:00, with a year or without; 2026-11-24T08:00:00+01:00, with a space for the \
     T or without a zone; 1795507200.123; RFC 5424; the journal as short, short-iso, short-full, short-unix, json and \
     export";

/// When, perhaps not yet read: of most lines nobody asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stamp<'a> {
    /// `Nov 24 08:00:00`, local time and no year.
    Old(&'a [u8; 15]),
    /// RFC 3339.
    Full(&'a [u8]),
    /// Month, day and second of the day, and no year.
    NoYear(u8, u8, u32),
    /// Seconds since 1970.
    At(i64),
}

impl<'a> Stamp<'a> {
    /// A time in any of the forms, and what comes after it.
    pub(crate) fn read(text: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (text, named) = match weekday(text) {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        match text.first()? {
            b'0'..=b'9' => dated(text, named).or_else(|| since_1970(text)).or_else(|| year_first(text)),
            b'@' => tai64n(text),
            b'A'..=b'Z' => month_first(text),
            _ => None,
        }
    }

    /// Whether the year is in it.
    pub(crate) const fn has_year(self) -> bool {
        matches!(self, Self::Full(_) | Self::At(_))
    }
}

/// `Tue ` or `Tue, `.
fn weekday(text: &[u8]) -> Option<&[u8]> {
    const NAMES: [&[u8]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];
    NAMES.contains(&text.get(..3)?).then_some(())?;
    let rest = &text[3..];
    rest.strip_prefix(b", ").or_else(|| rest.strip_prefix(b" "))
}

/// `2026-11-24T08:00:00.123+01:00`, `2026-11-24 08:00:00,123`, `2026/11/24 08:00:00`; behind the name of a day also a
/// zone by its name, of which UTC alone is known.
fn dated(text: &[u8], named: bool) -> Option<(Stamp<'_>, &[u8])> {
    let mut plain = [0; 19];
    plain.copy_from_slice(text.get(..19)?);
    if plain[4] == b'/' && plain[7] == b'/' {
        (plain[4], plain[7]) = (b'-', b'-');
    }
    let (mut time, _) = scan::iso(&plain)?;
    let mut rest = &text[19..];
    if let [b'.' | b',', fraction @ ..] = rest {
        rest = &fraction[fraction.iter().position(|octet| !octet.is_ascii_digit()).unwrap_or(fraction.len())..];
    }
    let at = usize::from(matches!(rest, [b' ', b'+' | b'-', b'0'..=b'9', b'0'..=b'9', ..]));
    match rest.get(at) {
        Some(b'Z') => rest = &rest[at + 1..],
        Some(b'+' | b'-') => {
            let zoned = &rest[at..];
            time -= scan::zone(zoned);
            // `+01`, `+0100`, `+01:00`.
            let digits = zoned[1..].iter().position(|octet| !octet.is_ascii_digit() && *octet != b':');
            rest = &zoned[1 + digits.unwrap_or(zoned.len() - 1)..];
        }
        _ if named => {
            let zone = rest.strip_prefix(b" ")?;
            let end = zone.iter().position(|octet| !octet.is_ascii_uppercase()).unwrap_or(zone.len());
            if (3..=5).contains(&end) {
                rest = &zone[end..];
            }
        }
        _ => {}
    }
    ends(rest).then_some((Stamp::At(time), rest))
}

/// `1795507200.123456`, and so many seconds alone.
fn since_1970(text: &[u8]) -> Option<(Stamp<'_>, &[u8])> {
    let (time, mut rest) = number(text)?;
    let time = i64::try_from(time).ok().filter(|time| (100_000_000..100_000_000_000).contains(time))?;
    if let Some(fraction) = rest.strip_prefix(b".") {
        rest = number(fraction)?.1;
    }
    ends(rest).then_some((Stamp::At(time), rest))
}

/// `2026 Nov 24 08:00:00`.
fn year_first(text: &[u8]) -> Option<(Stamp<'_>, &[u8])> {
    let (year, rest) = number(text)?;
    let (stamp, rest) = month_first(rest.strip_prefix(b" ")?)?;
    let Stamp::NoYear(month, day, second) = stamp else { return None };
    Some((at(year, month, day, second)?, rest))
}

/// `Nov 24 08:00:00`, `Nov  4 08:00:00`, `Nov 4 08:00:00`, with a fraction of a second or without; `Nov 24 2026
/// 08:00:00`, and with the year behind it where it is four digits and a colon or the end follows.
fn month_first(text: &[u8]) -> Option<(Stamp<'_>, &[u8])> {
    let month = u8::try_from(month(text.get(..3)?)?).ok()?;
    let rest = text[3..].strip_prefix(b" ")?;
    let rest = rest.strip_prefix(b" ").unwrap_or(rest);
    let (day, rest) = number(rest)?;
    let day = u8::try_from(day).ok().filter(|day| (1..=31).contains(day))?;
    let mut rest = rest.strip_prefix(b" ")?;
    let mut year = None;
    if let Some((four, after)) = rest.split_at_checked(4)
        && four.iter().all(u8::is_ascii_digit)
        && let Some(after) = after.strip_prefix(b" ")
    {
        (year, rest) = (Some(number(four)?.0), after);
    }
    let second = u32::try_from(clock(rest)?).ok()?;
    let mut rest = &rest[8..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        rest = number(fraction)?.1;
    }
    let stamp = match year {
        Some(year) => at(year, month, day, second)?,
        None => Stamp::NoYear(month, day, second),
    };
    ends(rest).then_some((stamp, rest))
}

/// `@4000000065…`: seconds from 1970 on TAI's scale, as djb's and s6's loggers write them, who leave leap seconds out.
fn tai64n(text: &[u8]) -> Option<(Stamp<'_>, &[u8])> {
    let label = std::str::from_utf8(text.get(1..17)?).ok()?;
    text.get(17..25)?.iter().all(u8::is_ascii_hexdigit).then_some(())?;
    let seconds = u64::from_str_radix(label, 16).ok()?.checked_sub((1 << 62) + 10)?;
    Some((Stamp::At(i64::try_from(seconds).ok()?), &text[25..])).filter(|(_, rest)| ends(rest))
}

fn at(year: u64, month: u8, day: u8, second: u32) -> Option<Stamp<'static>> {
    let day = days(i64::try_from(year).ok()?, month.into(), day.into())?;
    Some(Stamp::At(day * 86_400 + i64::from(second)))
}

const fn ends(rest: &[u8]) -> bool {
    matches!(rest.first(), None | Some(b' ' | b'\t' | b':'))
}

/// Finds the year of a stamp that has none: the latest that does not lie after the file was last written.
#[derive(Clone, Debug)]
pub(crate) struct Calendar {
    latest: i64,
    known: [u8; 6],
    day: i64,
    /// First and last year that were found so.
    found: Option<(i64, i64)>,
    /// The latest day that was found so.
    newest: i64,
    turned: bool,
}

/// So far back in days, within a file without years, only a further year leads: the clock is never put back so far.
const TURN: i64 = 200;

impl Calendar {
    /// Of a file that was last written then, in seconds since 1970.
    pub(crate) const fn new(written: i64) -> Self {
        // Local time may be up to a day ahead.
        Self { latest: written + 86_400, known: [0; 6], day: 0, found: None, newest: i64::MIN, turned: false }
    }

    /// Seconds since 1970. Stamps without a zone are taken as UTC: the day may be one off, the order is right.
    pub(crate) fn time(&mut self, stamp: Stamp<'_>) -> Option<i64> {
        match stamp {
            Stamp::At(time) => Some(time),
            Stamp::Full(text) => scan::iso(text).map(|(time, _)| time),
            Stamp::NoYear(month, day, second) => {
                Some(self.day_of(month.into(), day.into())? * 86_400 + i64::from(second))
            }
            Stamp::Old(text) => {
                let (date, clock) = text.split_at(6);
                if date != self.known {
                    let [m1, m2, m3, b' ', d1, d2] = *date else { return None };
                    self.day = self.day_of(month(&[m1, m2, m3])?, scan::two(&[d1, d2])?)?;
                    self.known.copy_from_slice(date);
                }
                Some(self.day * 86_400 + scan::clock(clock.strip_prefix(b" ")?)?)
            }
        }
    }

    /// First and last year that stamps without one were taken to be of.
    pub(crate) const fn found(&self) -> Option<(i64, i64)> {
        self.found
    }

    /// Whether stamps without a year go back by so much that the file must be of more than one year.
    pub(crate) const fn turned(&self) -> bool {
        self.turned
    }

    fn day_of(&mut self, month: i64, day: i64) -> Option<i64> {
        // A year has 365.2425 days; one later, to be sure.
        let year = 1970 + self.latest / 31_556_952 + 1;
        // The 29th of February may be eight years back.
        let (year, day) = (0..10)
            .filter_map(|back| Some((year - back, days(year - back, month, day)?)))
            .find(|(_, day)| day * 86_400 <= self.latest)?;
        let (first, last) = self.found.unwrap_or((year, year));
        self.found = Some((first.min(year), last.max(year)));
        self.turned |= day < self.newest.saturating_sub(TURN);
        self.newest = self.newest.max(day);
        Some(day)
    }
}

#[cfg(test)]
mod tests {
    use super::{Calendar, Stamp};

    #[test]
    fn a_year_is_the_latest_that_can_be() {
        let day = |written, stamp: &[u8; 15]| Calendar::new(written).time(Stamp::Old(stamp)).map(|time| time / 86_400);
        // Written on 2026-01-02: December is of the year before, tomorrow's stamp of this one.
        let written = 1_767_312_000;
        assert_eq!(day(written, b"Dec 31 23:59:59"), Some(20_453));
        assert_eq!(day(written, b"Jan  2 00:00:00"), Some(20_455));
        assert_eq!(day(written, b"Jan  3 00:00:00"), Some(20_456));
        assert_eq!(day(written, b"Jan  4 00:00:00"), Some(20_092));
        assert_eq!(day(written, b"Feb 29 00:00:00"), Some(19_782), "2024");
        assert_eq!(day(written, b"Foo 29 00:00:00"), None);
    }

    #[test]
    fn years_that_were_found_are_known_and_a_file_of_more_than_one_shows() {
        let mut calendar = Calendar::new(1_767_312_000);
        for (stamp, found, turned) in [
            (b"Nov 30 00:00:00", (2025, 2025), false),
            (b"Jan  1 00:00:00", (2025, 2026), false),
            (b"Dec 31 23:00:00", (2025, 2026), false),
            (b"Feb  1 00:00:00", (2025, 2026), true),
        ] {
            calendar.time(Stamp::Old(stamp));
            assert_eq!((calendar.found(), calendar.turned()), (Some(found), turned), "{stamp:?}");
        }
    }

    #[test]
    fn times_in_every_form() {
        for (text, time, rest) in [
            ("Nov 24 08:00:00 mx", 1_795_507_200, " mx"),
            ("Nov 24 08:00:00.123456 mx", 1_795_507_200, " mx"),
            ("Nov  4 08:00:00 mx", 1_793_779_200, " mx"),
            ("Nov 4 08:00:00: mx", 1_793_779_200, ": mx"),
            ("Nov 24 2026 08:00:00 mx", 1_795_507_200, " mx"),
            ("2026 Nov 24 08:00:00 mx", 1_795_507_200, " mx"),
            ("Tue Nov 24 08:00:00 mx", 1_795_507_200, " mx"),
            ("Tue 2026-11-24 08:00:00 UTC mx", 1_795_507_200, " mx"),
            ("2026-11-24T08:00:00Z mx", 1_795_507_200, " mx"),
            ("2026-11-24T09:00:00.1+01:00 mx", 1_795_507_200, " mx"),
            ("2026-11-24 09:00:00 +0100 mx", 1_795_507_200, " mx"),
            ("2026-11-24 09:00:00,123+01 mx", 1_795_507_200, " mx"),
            ("2026/11/24 08:00:00 mx", 1_795_507_200, " mx"),
            ("1795507200.123456 mx", 1_795_507_200, " mx"),
            ("1795507200 mx", 1_795_507_200, " mx"),
            ("@400000006b05288a12345678 mx", 1_795_500_160, " mx"),
        ] {
            let (stamp, after) = Stamp::read(text.as_bytes()).expect(text);
            assert_eq!(Calendar::new(1_795_600_000).time(stamp), Some(time), "{text}");
            assert_eq!(std::str::from_utf8(after), Ok(rest), "{text}");
        }
        for wrong in
            ["", "[  12.345] x", "Nov", "Nov 32 08:00:00", "2026-13-01 00:00:00 x", "24.11.2026 08:00", "12345 x"]
        {
            assert_eq!(Stamp::read(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
