//! The time of a line, as it is written.

use jiff::Timestamp;

/// Reads `2026-11-24T09:00:00.250Z`, with or without a fraction. Of any other form there is none, though it may be a time as
/// good: reading those takes several times as long.
pub(super) fn read(text: &[u8]) -> Option<Timestamp> {
    let (date, rest) = text.split_first_chunk::<8>()?;
    let (clock, rest) = rest.split_first_chunk::<8>()?;
    let [b':', tens, ones, rest @ ..] = rest else { return None };
    let [century, _, year, _, _, month, ..] = pairs(*date, *b"0000-00-")?;
    let [day, _, _, hour, _, _, minute, _] = pairs(*clock, *b"00T00:00")?;
    let (year, month, day) = (i64::from(century) * 100 + i64::from(year), i64::from(month), i64::from(day));
    let (hour, minute) = (i64::from(hour), i64::from(minute));
    let second = i64::from(digit(*tens)?) * 10 + i64::from(digit(*ones)?);
    // A second 60 is left to others, and so is what came before there were seconds to count.
    if year < 1970 || day < 1 || day > days_in(year, month)? || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Timestamp::new(days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second, nanoseconds(rest)?).ok()
}

/// What two digits say that stand beside each other, at the place of the first: in text of this form, where `0` stands for any
/// digit.
fn pairs(text: [u8; 8], form: [u8; 8]) -> Option<[u8; 8]> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let (text, form) = (u64::from_le_bytes(text), u64::from_le_bytes(form));
    // Of a digit its value, of anything else that is as it should be nothing.
    let values = text ^ form;
    // No octet is more than 9, and none at all where no digit is to be: there the form has no `0`.
    let digits = ((form ^ (ONES * u64::from(b'0'))).wrapping_sub(ONES) & !form & (ONES << 7)) >> 7;
    if (values | values.wrapping_add(ONES * 6)) & (ONES * 0xf0) != 0 || values & !(digits * 0x0f) != 0 {
        return None;
    }
    Some((values * 10 + (values >> 8)).to_le_bytes())
}

/// The rest, up to the Z.
fn nanoseconds(rest: &[u8]) -> Option<i32> {
    let digits = match rest {
        b"Z" => return Some(0),
        // As it is written here.
        [b'.', a, b, c, b'Z'] => {
            let thousandths = i32::from(digit(*a)?) * 100 + i32::from(digit(*b)?) * 10 + i32::from(digit(*c)?);
            return Some(thousandths * 1_000_000);
        }
        [b'.', digits @ .., b'Z'] if (1..=9).contains(&digits.len()) => digits,
        _ => return None,
    };
    let (mut sum, mut unit) = (0, 100_000_000);
    for octet in digits {
        sum += i32::from(digit(*octet)?) * unit;
        unit /= 10;
    }
    Some(sum)
}

fn digit(octet: u8) -> Option<u8> {
    Some(octet.wrapping_sub(b'0')).filter(|digit| *digit < 10)
}

fn days_in(year: i64, month: i64) -> Option<i64> {
    Some(match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => return None,
    })
}

/// Days since 1970, of a year that begins in March, so that the day that is not in every year is its last.
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_day_is_the_one_that_it_is() {
        for day in 0..(9999 - 1970) * 365 {
            let time = Timestamp::from_second(day * 86_400 + 86_399).expect("a time");
            assert_eq!(read(time.to_string().as_bytes()), Some(time));
        }
    }

    #[test]
    fn what_is_no_time_or_of_another_form_is_left_to_others() {
        for other in [
            "",
            "Z",
            "2026-11-24",
            "2026-11-24T09:00:00",
            "2026-11-24T09:00:00.Z",
            "2026-11-24T09:00:00.0123456789Z",
            "2026-11-24T09:00:00+01:00",
            "2026-11-24T24:00:00Z",
            "2026-11-24T09:60:00Z",
            "2026-11-24T09:00:60Z",
            "2026-02-29T09:00:00Z",
            "2100-02-29T09:00:00Z",
            "2026-04-31T09:00:00Z",
            "2026-00-10T09:00:00Z",
            "2026-13-10T09:00:00Z",
            "2026-10-00T09:00:00Z",
            "1969-12-31T23:59:59Z",
            "9999-12-31T23:59:59Z",
            "2026-11-24t09:00:00Z",
            "2026-11-24T09:00:00.1a1Z",
            "2026-1:-24T09:00:00Z",
        ] {
            assert_eq!(read(other.as_bytes()), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_whole_parser(
            second in 0..=253_402_207_199_i64,
            nanosecond in 0..1_000_000_000_i32,
            digits in 0..=9_usize,
            at in 0..24_usize,
            with in prop::option::of(prop::sample::select(vec![' ', '0', '1', '9', ':', '.', '-', 'T', 'Z', '+'])),
        ) {
            let time = Timestamp::new(second, nanosecond).expect("a time");
            let mut text = format!("{time:.digits$}");
            if let Some(with) = with && at < text.len() {
                text.replace_range(at..=at, &with.to_string());
            }
            let here = read(text.as_bytes());
            prop_assert!(here.is_some() || with.is_some(), "{}", text);
            if here.is_some() {
                prop_assert_eq!(here, text.parse().ok(), "{}", text);
            }
        }
    }
}
