//! Days, shares and names, fit to be shown.

use serde::Serialize;

pub(crate) use crate::count::day::day;

/// First and last day, and how many that is.
#[derive(Debug, Serialize)]
pub(crate) struct Period {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) days: i64,
}

/// A piece of a trend.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Point {
    pub(crate) from: String,
    pub(crate) lost: u64,
    pub(crate) of: u64,
}

/// The days between two times.
pub(crate) fn period((first, last): (i64, i64)) -> Period {
    let (first, last) = (first.div_euclid(86_400), last.div_euclid(86_400));
    Period { from: day(first), to: day(last), days: last.saturating_sub(first).saturating_add(1) }
}

/// What others wrote, fit to be shown: no controls, nothing that turns the direction of writing, not too long.
pub(crate) fn clean(text: &str, longest: usize) -> String {
    let hidden = |char: char| {
        char.is_control()
            || matches!(char, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let mut clean: String = text.chars().filter(|char| !hidden(*char)).take(longest + 1).collect();
    if clean.chars().count() > longest {
        clean = clean.chars().take(longest - 1).chain(['…']).collect();
    }
    clean
}

#[expect(clippy::cast_precision_loss, reason = "a share")]
pub(crate) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
