//! The report: worked out once, and shown as text, as a page and as JSON.

mod html;
mod json;
mod plots;
mod report;
mod sessions;
mod text;
mod tlsrpt;
mod values;
mod words;

pub use report::Report;
pub use words::Style;

impl Report {
    /// For a terminal, 80 columns wide.
    #[must_use]
    pub fn text(&self, style: Style) -> String {
        text::screen(self, style)
    }

    /// As one page for a browser, which needs nothing else.
    #[must_use]
    pub fn html(&self) -> String {
        html::page(self)
    }

    /// For programs. `docs/question.md` explains the fields.
    #[must_use]
    pub fn json(&self) -> String {
        json::text(self)
    }
}
