//! What was read and is not in the counts, and why, as it is written behind cells: it adds up as they do.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::aside::{Aside, Broken, LedgerLines, Lines};
use super::desk::Desk;
use super::seen::Untold;
use super::sessions::Reports;
use crate::ledger::Withheld;

/// Of everything that a report tells beside the counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Account {
    /// Messages that were read, counted or set aside.
    pub(crate) read: u64,
    pub(crate) aside: Aside,
    /// Messages counted of which it cannot be told, by reason.
    pub(crate) untold: BTreeMap<String, u64>,
    /// Of logs.
    pub(crate) lines: Lines,
    pub(crate) ledger_lines: LedgerLines,
    pub(crate) broken: Broken,
    pub(crate) tls_reports: Reports,
    pub(crate) withheld: Withheld,
    /// Messages of which it is known what the client offered.
    pub(crate) offers: u64,
    /// Messages outside of the scope.
    pub(crate) outside: u64,
    pub(crate) notes: BTreeSet<String>,
    /// What was read: kind and path.
    pub(crate) sources: BTreeSet<(String, String)>,
    /// Files of cells that are part of this.
    pub(crate) files: BTreeSet<String>,
}

/// Sources, and files of cells, that an account names: with more its own are not named one by one.
const NAMED: usize = 10_000;

impl Account {
    pub(crate) fn of(desk: &Desk) -> Self {
        let own = Untold::ALL.into_iter().zip(desk.untold).map(|(why, messages)| (why.why().to_owned(), messages));
        let mut untold = desk.elsewhere.untold.clone();
        for (why, messages) in own.filter(|(_, messages)| *messages > 0) {
            *untold.entry(why).or_default() += messages;
        }
        Self {
            read: desk.messages,
            aside: desk.aside,
            untold,
            lines: desk.lines.clone(),
            ledger_lines: desk.ledger_lines(),
            broken: desk.broken.clone(),
            tls_reports: desk.reports.clone(),
            withheld: desk.withheld.clone(),
            offers: desk.clients.offers,
            outside: desk.outside(),
            notes: desk.notes.iter().cloned().collect(),
            sources: desk.elsewhere.sources.clone(),
            files: desk.elsewhere.files.clone(),
        }
    }

    /// Adds it to what the desk knows.
    pub(crate) fn add_to(self, desk: &mut Desk) {
        desk.messages += self.read;
        desk.aside += self.aside;
        for (why, messages) in self.untold {
            *desk.elsewhere.untold.entry(why).or_default() += messages;
        }
        desk.lines += self.lines;
        desk.elsewhere.ledger_lines += self.ledger_lines;
        desk.broken.merge(self.broken);
        desk.reports += self.tls_reports;
        desk.withheld.merge(self.withheld);
        desk.clients.offers = desk.clients.offers.saturating_add(self.offers);
        desk.elsewhere.outside += self.outside;
        for note in self.notes {
            if !desk.notes.contains(&note) {
                desk.notes.push(note);
            }
        }
        let room = |named: usize| NAMED.saturating_sub(named);
        let (sources, files) = (room(desk.elsewhere.sources.len()), room(desk.elsewhere.files.len()));
        desk.elsewhere.sources.extend(self.sources.into_iter().take(sources));
        desk.elsewhere.files.extend(self.files.into_iter().take(files));
    }
}
