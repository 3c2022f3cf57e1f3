//! The report: worked out once, and shown as text, as a page and as JSON.

mod brief;
mod clients;
mod exceptions;
mod html;
mod json;
mod plots;
mod report;
mod sessions;
mod side;
mod stacked;
mod text;
mod tlsrpt;
mod values;
mod words;

use crate::count::clients::Clients;
use crate::count::silenced::Parties;
pub use report::Report;
pub use words::Style;

impl Report {
    /// Whom the policy would silence, as `serve --except` reads it: a domain or a network a line. `None` unless it was
    /// [asked](crate::Audit::find_silenced).
    #[must_use]
    pub fn exceptions(&self) -> Option<String> {
        self.exceptions.as_ref().map(exceptions::Exceptions::text)
    }

    /// The same for Postfix: a table of networks (`cidr:`), and one of senders' domains (`texthash:`). They will lie in `file`
    /// with `.clients` and `.senders` behind.
    #[must_use]
    pub fn exceptions_for_postfix(&self, file: &str) -> Option<[String; 2]> {
        self.exceptions.as_ref().map(|exceptions| exceptions.postfix(file))
    }

    /// Adds what ledgers alone know of clients.
    pub(crate) fn know(&mut self, clients: &Clients) {
        if let Some(side) = &mut self.inbound {
            side.know(clients);
        }
    }

    pub(crate) fn silenced(&mut self, parties: Option<&Parties>) {
        self.exceptions = parties.map(exceptions::Exceptions::new);
    }

    /// For a terminal, 80 columns wide.
    #[must_use]
    pub fn text(&self, style: Style) -> String {
        text::screen(self, style)
    }

    /// In a few lines: the first sentence, and the figures for every policy.
    #[must_use]
    pub fn brief(&self) -> String {
        brief::lines(self)
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
