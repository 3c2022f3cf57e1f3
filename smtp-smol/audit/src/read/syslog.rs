//! A line of a log as syslog writes it: when, on which host, by which program. Four forms are read, and mixed at will:
//!
//! ```text
//! Nov 24 08:00:00 mx postfix/smtpd[4711]: text                              RFC 3164, and Postfix's own maillog_file
//! 2026-11-24T08:00:00.123456+01:00 mx postfix/smtpd[4711]: text             as many a syslog server writes today
//! <22>1 2026-11-24T08:00:00.123456+01:00 mx postfix/smtpd 4711 - - text     RFC 5424
//! <22>Nov 24 08:00:00 mx postfix/smtpd[4711]: text                          with its priority
//! ```

use memchr::memchr;

use crate::read::scan::{self, near};

/// A line in its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    pub(crate) stamp: Stamp<'a>,
    pub(crate) host: &'a [u8],
    /// The whole name before the program's: `postfix`, `postfix/submission`.
    pub(crate) instance: &'a [u8],
    /// What comes after the last slash: `smtpd`.
    pub(crate) program: &'a [u8],
    /// Its number, in digits; empty where there is none.
    pub(crate) process: &'a [u8],
    pub(crate) text: &'a [u8],
}

/// When, not yet read: of most lines nobody asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stamp<'a> {
    /// `Nov 24 08:00:00`, local time and no year.
    Old(&'a [u8; 15]),
    /// RFC 3339.
    Full(&'a [u8]),
}

impl<'a> Line<'a> {
    /// `None` where it is no such line, or where the program's name has no slash in it.
    #[inline]
    pub(crate) fn parse(line: &'a [u8]) -> Option<Self> {
        let mut rest = line;
        let mut fields = false;
        if rest.first() == Some(&b'<') {
            rest = &rest[memchr(b'>', rest.get(..5)?)? + 1..];
            if let Some(modern) = rest.strip_prefix(b"1 ") {
                (rest, fields) = (modern, true);
            }
        }
        let stamp;
        if rest.first()?.is_ascii_digit() {
            let end = memchr(b' ', rest.get(..48.min(rest.len()))?)?;
            if end < 19 {
                return None;
            }
            stamp = Stamp::Full(&rest[..end]);
            rest = &rest[end + 1..];
        } else {
            let (old, after) = rest.split_first_chunk()?;
            stamp = Stamp::Old(old);
            rest = after.strip_prefix(b" ")?;
        }
        let space = near(rest, b' ')?;
        let (host, mut rest) = (&rest[..space], &rest[space + 1..]);
        let space = near(rest, b' ')?;
        let mut tag = &rest[..space];
        rest = &rest[space + 1..];
        let mut process = &[][..];
        if fields {
            let space = near(rest, b' ')?;
            process = &rest[..space];
            rest = &rest[space + 1..];
            // The message's identity, and structured data, which Postfix does not have.
            rest = &rest[near(rest, b' ')? + 1..];
            rest = rest.strip_prefix(b"- ")?;
            rest = rest.strip_prefix(b"\xef\xbb\xbf").unwrap_or(rest);
        } else {
            tag = tag.strip_suffix(b":")?;
            if let [name @ .., b']'] = tag
                && let Some(open) = name.iter().rposition(|octet| *octet == b'[')
            {
                (tag, process) = (&name[..open], &name[open + 1..]);
            }
            // Solaris: a number that stands for the message's text.
            if rest.starts_with(b"[ID ") {
                rest = rest[memchr(b']', rest)? + 1..].strip_prefix(b" ")?;
            }
        }
        let slash = tag.iter().rposition(|octet| *octet == b'/')?;
        let rest = rest.strip_suffix(b"\r").unwrap_or(rest);
        Some(Self { stamp, host, instance: &tag[..slash], program: &tag[slash + 1..], process, text: rest })
    }
}

/// Finds the year of a stamp that has none: the latest that does not lie after the file was last written.
#[derive(Clone, Debug)]
pub(crate) struct Calendar {
    latest: i64,
    known: [u8; 6],
    day: i64,
}

impl Calendar {
    /// Of a file that was last written then, in seconds since 1970.
    pub(crate) const fn new(written: i64) -> Self {
        // Local time may be up to a day ahead.
        Self { latest: written + 86_400, known: [0; 6], day: 0 }
    }

    /// Seconds since 1970. Stamps without a zone are taken as UTC: the day may be one off, the order is right.
    pub(crate) fn time(&mut self, stamp: Stamp<'_>) -> Option<i64> {
        match stamp {
            Stamp::Full(text) => scan::iso(text).map(|(time, _)| time),
            Stamp::Old(text) => {
                let (date, clock) = text.split_at(6);
                if date != self.known {
                    self.day = self.day_of(date)?;
                    self.known.copy_from_slice(date);
                }
                Some(self.day * 86_400 + scan::clock(clock.strip_prefix(b" ")?)?)
            }
        }
    }

    fn day_of(&self, date: &[u8]) -> Option<i64> {
        let [m1, m2, m3, b' ', d1, d2] = *date else { return None };
        let (month, day) = (scan::month(&[m1, m2, m3])?, scan::two(&[d1, d2])?);
        // A year has 365.2425 days; one later, to be sure.
        let year = 1970 + self.latest / 31_556_952 + 1;
        // The 29th of February may be eight years back.
        (0..10).filter_map(|back| scan::days(year - back, month, day)).find(|day| day * 86_400 <= self.latest)
    }
}

#[cfg(test)]
mod tests {
    use super::{Calendar, Line, Stamp};

    #[test]
    fn four_forms_say_the_same() {
        let forms = [
            "Nov 24 08:00:00 mx postfix/submission/smtpd[4711]: connect from x",
            "<22>Nov 24 08:00:00 mx postfix/submission/smtpd[4711]: connect from x\r",
            "2026-11-24T09:00:00.123456+01:00 mx postfix/submission/smtpd[4711]: connect from x",
            "2026-11-24T08:00:00+0000 mx postfix/submission/smtpd[4711]: connect from x",
            "<22>1 2026-11-24T08:00:00Z mx postfix/submission/smtpd 4711 - - connect from x",
            "Nov 24 08:00:00 mx postfix/submission/smtpd[4711]: [ID 197553 mail.info] connect from x",
        ];
        for form in forms {
            let line = Line::parse(form.as_bytes()).expect(form);
            assert_eq!(Calendar::new(1_795_600_000).time(line.stamp), Some(1_795_507_200), "{form}");
            let parts = (line.host, line.instance, line.program, line.process, line.text);
            assert_eq!(
                parts,
                (&b"mx"[..], &b"postfix/submission"[..], &b"smtpd"[..], &b"4711"[..], &b"connect from x"[..])
            );
        }
        for other in ["", "Nov", "Nov 24 08:00:00 mx dovecot: imap-login", "Nov 24 08:00:00 mx", "-- Boot 1 --", "<22>"]
        {
            assert_eq!(Line::parse(other.as_bytes()), None, "{other}");
        }
    }

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
}
