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

use jiff::Timestamp;
use smtp_proto::tls::{Condition, Ledger};

use crate::count::account::Account;
pub use report::Report;
pub use words::Style;

impl Report {
    /// Of what was counted already, such as by a running server.
    #[must_use]
    pub fn of(ledger: &Ledger, require: Condition) -> Self {
        Self::new(ledger, &Account::default(), require, Timestamp::now())
    }

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
