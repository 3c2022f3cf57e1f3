//! The report: worked out once, and shown as text, as a page and as JSON.

mod clients;
mod exceptions;
mod html;
mod json;
mod plots;
mod report;
mod sessions;
mod stacked;
mod text;
mod tlsrpt;
mod values;
mod words;

use jiff::Timestamp;
use smtp_proto::tls::{Condition, Ledger};

use crate::count::account::Account;
use crate::count::clients::Clients;
use crate::count::silenced::Parties;
use crate::ledger::Withheld;
pub use report::Report;
pub use words::Style;

impl Report {
    /// Of what was counted already, such as by a running server.
    #[must_use]
    pub fn of(ledger: &Ledger, withheld: &Withheld, require: Condition) -> Self {
        let account = Account { withheld: withheld.clone(), ..Account::default() };
        Self::new(ledger, &account, require, Timestamp::now())
    }

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
