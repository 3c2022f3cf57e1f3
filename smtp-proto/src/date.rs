//! The date-time of fields (RFC 5322 3.3), from a count of seconds: the core knows no clock.

use core::fmt;

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A moment, shown as Received and Date fields want it (RFC 5322 3.3), in UTC.
///
/// ```
/// use smtp_proto::trace::Date;
///
/// assert_eq!(Date::from_unix(1_795_435_200).to_string(), "Mon, 23 Nov 2026 12:00:00 +0000");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(u64);

impl Date {
    /// The last second of the year 9999: RFC 5322 3.3 allows more digits, but few programs read them.
    const LAST: u64 = 253_402_300_799;

    /// The moment `seconds` after the beginning of 1970, in UTC. Later times than the year 9999 become its last second.
    #[must_use]
    pub const fn from_unix(seconds: u64) -> Self {
        Self(if seconds < Self::LAST { seconds } else { Self::LAST })
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, second) = (self.0 / 86_400, self.0 % 86_400);
        let (year, month, day) = civil(days);
        // The first day of 1970 was a Thursday.
        let weekday = name(&DAYS, (days + 3) % 7);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let month = name(&MONTHS, month - 1);
        write!(f, "{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} +0000")
    }
}

fn name(names: &[&'static str], index: u64) -> &'static str {
    usize::try_from(index).ok().and_then(|index| names.get(index).copied()).unwrap_or_default()
}

/// Year, month and day, from the days since 1970. Years are counted from March, so that a leap day is the last of its
/// year; 400 years are 146,097 days, and always the same.
const fn civil(days: u64) -> (u64, u64, u64) {
    // 719,468 days lie between the first of March of the year 0 and the beginning of 1970.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Five months from March on have 153 days, and so have the next five.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + (month <= 2) as u64, month, day)
}

#[cfg(test)]
mod tests {
    use super::{Date, MONTHS, civil};
    use alloc::string::ToString as _;

    /// RFC 5322 3.3. The moments are those of `date -u -R -d @N`.
    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 +0000"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59 +0000"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 +0000"),
            (1_077_926_399, "Fri, 27 Feb 2004 23:59:59 +0000"),
            (1_704_067_199, "Sun, 31 Dec 2023 23:59:59 +0000"),
            (1_795_435_200, "Mon, 23 Nov 2026 12:00:00 +0000"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 +0000"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 +0000"),
            (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 +0000"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 +0000"),
        ] {
            assert_eq!(Date::from_unix(seconds).to_string(), text);
        }
    }

    /// Against a calendar that counts day by day.
    #[test]
    fn every_day_follows_the_one_before() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..400 * 366 {
            assert_eq!(civil(days), (year, month, day));
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let last = match month {
                2 if leap => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day += 1;
            if day > last {
                (day, month) = (1, month + 1);
            }
            if month > MONTHS.len() as u64 {
                (month, year) = (1, year + 1);
            }
        }
    }
}
