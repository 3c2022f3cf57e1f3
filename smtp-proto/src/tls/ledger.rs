//! Counts of what became of TLS, in bounded memory; they merge.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use super::cell::Cell;
use super::condition::Condition;
use super::record::{Direction, EndToEnd, Hop, Record, Rehearsed, Wanted};
use super::senders::{Cells, Counts, Hosts, Senders};

pub(super) const DAY: i64 = 86_400;

/// What became of TLS on many hops, counted so that any policy's [`Loss`](super::Loss) can be told afterwards.
///
/// Memory is bounded (see [`Bounds`]). [`merge`](Self::merge) is associative and commutative, so threads and hosts
/// may each count for themselves. Until a bound is reached everything is exact; after that totals still are, and
/// what is not says so.
///
/// Records are taken as they are; retries of one message are made one by [`Retries`](super::Retries) before.
///
/// ```
/// use smtp_proto::tls::{Direction, Hop, Ledger, Record, Condition, Scope, Wanted};
///
/// let mut ledger = Ledger::new(Scope::All);
/// let mut record = Record::new(1_795_000_000, Direction::Inbound);
/// record.wanted = Wanted::Yes;
/// for (sender, hop) in [("a.example", Hop::NotTried), ("b.example", Hop::Used { version: None, certificate: Default::default() })] {
///     record.sender = Some(sender);
///     record.hop = hop;
///     ledger.add(&record);
/// }
/// let loss = ledger.loss(Direction::Inbound, Condition::Tls, 10);
/// assert_eq!((loss.wanted.lost.messages, loss.wanted.total.messages), (1, 2));
/// assert_eq!(loss.wanted.heaviest[0].sender, "a.example");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    scope: Scope,
    pub(super) bounds: Bounds,
    pub(super) books: [[Book; 3]; 2],
    outside: u64,
    period: Option<(i64, i64)>,
}

/// What is counted for one direction and one verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Book {
    pub(super) cells: Cells,
    pub(super) senders: Senders,
    pub(super) hosts: Hosts,
    pub(super) days: BTreeMap<i32, Cells>,
    /// By what protects the message, in the order of [`EndToEnd::ALL`]: on plaintext hops, and on all.
    protected: [[u64; 2]; 5],
    rehearsal: RehearsalCounts,
}

/// Of which mail a ledger keeps account; other mail is only counted as [`outside`](Ledger::outside).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope {
    /// All mail, whatever its sender and recipients.
    #[default]
    All,
    /// That from these domains, in lower case, and those below them.
    Senders(Vec<String>),
    /// That with a recipient in one of these domains, in lower case, or below them.
    Recipients(Vec<String>),
}

impl Scope {
    /// Whether this mail is to be kept account of.
    #[must_use]
    pub fn holds(&self, record: &Record<'_>) -> bool {
        match self {
            Self::All => true,
            Self::Senders(domains) => record.sender.is_some_and(|sender| within(sender, domains)),
            Self::Recipients(domains) => record.recipient_domains.iter().any(|domain| within(domain, domains)),
        }
    }
}

fn within(domain: &str, domains: &[String]) -> bool {
    domains
        .iter()
        .any(|wide| domain.strip_suffix(wide.as_str()).is_some_and(|below| below.is_empty() || below.ends_with('.')))
}

/// Bounds on the memory of a [`Ledger`]; for each direction and verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bounds {
    /// Senders counted exactly, at some 80 octets each: 65,536. With more, those kept are a fair sample, and numbers
    /// of distinct senders are estimates with a relative standard error of 0.4 %.
    pub senders: usize,
    /// Of the senders that are not kept the heaviest: 1,024. Their counts are too low by at most a 1,025th of the
    /// messages of those that are not kept.
    pub heavy: usize,
    /// Hosts counted exactly, at some 20 octets each: 65,536. With more, as with senders.
    pub hosts: usize,
    /// Days of the trend, the latest: 4,096.
    pub days: usize,
}

impl Bounds {
    /// Every sender and every host is kept, so that all figures are exact, whatever memory that takes: for a million
    /// senders that are hosts as well some 90 MB.
    #[must_use]
    pub const fn exact() -> Self {
        Self { senders: usize::MAX, heavy: 1, hosts: usize::MAX, days: usize::MAX }
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self { senders: 1 << 16, heavy: 1 << 10, hosts: 1 << 16, days: 1 << 12 }
    }
}

/// What came of a rehearsal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RehearsalCounts {
    /// Asked to come back, and not seen again within the window.
    pub not_again: u64,
    /// Came back with TLS: these would have adapted.
    pub with_tls: u64,
    /// Came back in plaintext, and were accepted.
    pub in_plaintext: u64,
}

impl Ledger {
    /// A ledger without records that counts the mail in `scope`, within the default [`Bounds`].
    #[must_use]
    pub fn new(scope: Scope) -> Self {
        Self::with_bounds(scope, Bounds::default())
    }

    /// A ledger without records that counts the mail in `scope`, within `bounds`.
    #[must_use]
    pub fn with_bounds(scope: Scope, bounds: Bounds) -> Self {
        let book = || Book {
            cells: Cells::default(),
            senders: Senders::new(bounds.senders, bounds.heavy),
            hosts: Hosts::new(bounds.hosts),
            days: BTreeMap::new(),
            protected: [[0; 2]; 5],
            rehearsal: RehearsalCounts::default(),
        };
        let books = || [book(), book(), book()];
        Self { scope, bounds, books: [books(), books()], outside: 0, period: None }
    }

    /// Counts one transaction; outside of the scope, it adds to [`outside`](Self::outside) alone.
    pub fn add(&mut self, record: &Record<'_>) {
        if !self.scope.holds(record) {
            self.outside += 1;
            return;
        }
        self.spans(record.time, record.time);
        let days = self.bounds.days;
        let book = self.book_mut(record.direction, record.wanted);
        book.add(&Cell::of(record), days);
        if let Some(host) = record.host_key() {
            book.hosts.add(host, Condition::lost_by(record.hop, record.direction));
        }
    }

    /// Adds another's counts to these. The scopes must be the same: with another's scope the sum would mean nothing.
    ///
    /// # Errors
    /// [`OtherScope`], and nothing is changed.
    pub fn merge(&mut self, other: &Self) -> Result<(), OtherScope> {
        if self.scope != other.scope {
            return Err(OtherScope);
        }
        self.bounds.days = self.bounds.days.min(other.bounds.days);
        self.outside = self.outside.saturating_add(other.outside);
        if let Some((first, last)) = other.period {
            self.spans(first, last);
        }
        for (ours, theirs) in self.books.iter_mut().flatten().zip(other.books.iter().flatten()) {
            ours.merge(theirs, self.bounds.days);
        }
        Ok(())
    }

    /// Which mail this ledger counts.
    #[must_use]
    pub const fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Transactions that were not counted, being outside of the scope.
    #[must_use]
    pub const fn outside(&self) -> u64 {
        self.outside
    }

    /// The times of the first and the last record counted, in seconds since 1970.
    #[must_use]
    pub const fn period(&self) -> Option<(i64, i64)> {
        self.period
    }

    /// Counts by what became of TLS.
    pub fn hops(&self, direction: Direction, wanted: Wanted) -> impl Iterator<Item = (Hop, Counts)> + '_ {
        self.book(direction, wanted).cells.iter()
    }

    /// Messages by what protected them from end to end: all, and those of them that crossed the hop in plaintext.
    pub fn protected(&self, direction: Direction, wanted: Wanted) -> impl Iterator<Item = (EndToEnd, u64, u64)> + '_ {
        let counts = &self.book(direction, wanted).protected;
        EndToEnd::ALL.into_iter().zip(counts).map(|(kind, [plaintext, all])| (kind, *all, *plaintext))
    }

    /// What came of a rehearsal, if there was one.
    #[must_use]
    pub fn rehearsal(&self, direction: Direction, wanted: Wanted) -> RehearsalCounts {
        self.book(direction, wanted).rehearsal
    }

    pub(super) const fn book(&self, direction: Direction, wanted: Wanted) -> &Book {
        let [inbound, outbound] = &self.books;
        let [yes, no, unknown] = match direction {
            Direction::Inbound => inbound,
            Direction::Outbound => outbound,
        };
        match wanted {
            Wanted::Yes => yes,
            Wanted::No => no,
            Wanted::Unknown => unknown,
        }
    }

    pub(super) const fn book_mut(&mut self, direction: Direction, wanted: Wanted) -> &mut Book {
        let [inbound, outbound] = &mut self.books;
        let [yes, no, unknown] = match direction {
            Direction::Inbound => inbound,
            Direction::Outbound => outbound,
        };
        match wanted {
            Wanted::Yes => yes,
            Wanted::No => no,
            Wanted::Unknown => unknown,
        }
    }

    pub(super) fn spans(&mut self, first: i64, last: i64) {
        let (from, to) = self.period.unwrap_or((first, last));
        self.period = Some((from.min(first), to.max(last)));
    }
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new(Scope::All)
    }
}

impl Book {
    pub(super) fn add(&mut self, cell: &Cell<'_>, days: usize) {
        self.cells.add(cell.hop, cell.counts);
        self.senders.add(cell.party, cell.hop, cell.counts);
        self.days.entry(cell.day).or_default().add(cell.hop, cell.counts);
        self.forget_days(days);
        let messages = cell.counts.messages;
        let kind = EndToEnd::ALL.iter().position(|kind| *kind == cell.end_to_end);
        if let Some([plaintext, all]) = kind.and_then(|kind| self.protected.get_mut(kind)) {
            *all = all.saturating_add(messages);
            if cell.hop.plaintext() == Some(true) {
                *plaintext = plaintext.saturating_add(messages);
            }
        }
        let found = match cell.rehearsed {
            None => return,
            Some(Rehearsed::Asked) => &mut self.rehearsal.not_again,
            Some(Rehearsed::CameWithTls) => &mut self.rehearsal.with_tls,
            Some(Rehearsed::CameInPlaintext) => &mut self.rehearsal.in_plaintext,
        };
        *found = found.saturating_add(messages);
    }

    fn merge(&mut self, other: &Self, days: usize) {
        self.cells.merge(&other.cells);
        self.senders.merge(&other.senders);
        self.hosts.merge(&other.hosts);
        for (day, cells) in &other.days {
            self.days.entry(*day).or_default().merge(cells);
        }
        self.forget_days(days);
        for (ours, theirs) in self.protected.iter_mut().flatten().zip(other.protected.iter().flatten()) {
            *ours = ours.saturating_add(*theirs);
        }
        self.rehearsal.not_again = self.rehearsal.not_again.saturating_add(other.rehearsal.not_again);
        self.rehearsal.with_tls = self.rehearsal.with_tls.saturating_add(other.rehearsal.with_tls);
        self.rehearsal.in_plaintext = self.rehearsal.in_plaintext.saturating_add(other.rehearsal.in_plaintext);
    }

    /// A day among the latest of the whole was so in every part: what is left does not depend on the order.
    fn forget_days(&mut self, bound: usize) {
        while self.days.len() > bound.max(1) {
            self.days.pop_first();
        }
    }
}

/// Ledgers with different scopes cannot be merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these ledgers do not count the same mail")]
pub struct OtherScope;
