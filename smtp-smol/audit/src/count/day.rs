//! Days by their names.

use jiff::{ToSpan as _, civil::Date};

const EPOCH: Date = jiff::civil::date(1970, 1, 1);

/// `2026-11-24` of a day counted from 1970-01-01.
pub(crate) fn day(days: i64) -> String {
    i32::try_from(days).ok().and_then(|days| EPOCH.checked_add(days.days()).ok()).unwrap_or(EPOCH).to_string()
}

/// The day of a time in seconds since 1970.
pub(crate) fn of(time: i64) -> i32 {
    i32::try_from(time.div_euclid(86_400)).unwrap_or_default()
}

/// The other way round.
pub(crate) fn number(day: &str) -> Option<i32> {
    EPOCH.until(day.parse::<Date>().ok()?).ok().map(|span| span.get_days())
}

#[cfg(test)]
mod tests {
    #[test]
    fn days_have_names() {
        for (number, name) in [(0, "1970-01-01"), (-1, "1969-12-31"), (20_781, "2026-11-24")] {
            assert_eq!(super::day(number.into()), name);
            assert_eq!(super::number(name), Some(number));
        }
        assert_eq!(super::number("2026-13-01"), None);
    }
}
