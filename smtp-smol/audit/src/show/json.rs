//! The report for programs. `docs/question.md` explains its fields.

use super::report::Report;

pub(crate) fn text(report: &Report) -> String {
    let mut text = serde_json::to_string_pretty(report).unwrap_or_default();
    text.push('\n');
    text
}
