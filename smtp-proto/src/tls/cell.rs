//! Many records that a ledger counts alike, as one: the partial state that several hosts hand in.

use super::ledger::{DAY, Ledger};
use super::record::{Direction, EndToEnd, Hop, Record, Rehearsed, Wanted};
use super::senders::Counts;

/// Records of one day that differ in nothing that a [`Ledger`] counts by, summed.
///
/// A ledger that is given cells tells the same as one that was given the records, in whatever order and however often
/// they were summed in between; only hosts it has to be told apart, by [`Ledger::add_host`].
///
/// ```
/// use smtp_proto::tls::{Cell, Direction, Hop, Ledger, Record, Condition, Scope};
///
/// let mut record = Record::new(1_795_000_000, Direction::Inbound);
/// (record.sender, record.hop) = (Some("a.example"), Hop::NotTried);
/// let mut cell = Cell::of(&record);
/// cell.counts += Cell::of(&record).counts;
///
/// let (mut whole, mut parts) = (Ledger::new(Scope::All), Ledger::new(Scope::All));
/// whole.add(&record);
/// whole.add(&record);
/// parts.add_cell(&cell);
/// let loss = |ledger: &Ledger| ledger.loss(Direction::Inbound, Condition::Tls, 1);
/// assert_eq!(loss(&whole), loss(&parts));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cell<'a> {
    /// The day, in days since 1970-01-01, UTC.
    pub day: i32,
    /// Whether the mail came in or went out.
    pub direction: Direction,
    /// Whether the mail was wanted.
    pub wanted: Wanted,
    /// Whose mail stands or falls together, as [`Record::party`] says; empty where that is not known.
    pub party: &'a str,
    /// What became of TLS on the hop.
    pub hop: Hop,
    /// Protection of the message itself.
    pub end_to_end: EndToEnd,
    /// What a rehearsal did, or found out.
    pub rehearsed: Option<Rehearsed>,
    /// How many messages, recipients and octets these are.
    pub counts: Counts,
}

impl<'a> Cell<'a> {
    /// One of which nothing is summed yet.
    #[must_use]
    pub fn new(day: i32, direction: Direction, party: &'a str) -> Self {
        Self {
            day,
            direction,
            wanted: Wanted::Unknown,
            party,
            hop: Hop::Unknown,
            end_to_end: EndToEnd::Unknown,
            rehearsed: None,
            counts: Counts::default(),
        }
    }

    /// The cell that one record belongs to, with the counts of that record alone.
    #[must_use]
    pub fn of(record: &Record<'a>) -> Self {
        Self {
            day: i32::try_from(record.time.div_euclid(DAY)).unwrap_or_default(),
            direction: record.direction,
            wanted: record.wanted,
            party: record.party().unwrap_or_default(),
            hop: record.hop,
            end_to_end: record.end_to_end,
            rehearsed: record.rehearsed,
            counts: Counts::one(record.recipients, record.bytes),
        }
    }
}

impl Ledger {
    /// Counts what was counted elsewhere, in the same scope. The [period](Self::period) then goes by days.
    pub fn add_cell(&mut self, cell: &Cell<'_>) {
        let time = i64::from(cell.day) * DAY;
        self.spans(time, time);
        let days = self.bounds.days;
        self.book_mut(cell.direction, cell.wanted).add(cell, days);
    }

    /// Counts a host, by its [key](Record::host_key), of which mail that does not meet these policies came: bits in the
    /// order of [`Condition::ALL`](super::Condition::ALL).
    pub fn add_host(&mut self, direction: Direction, wanted: Wanted, host: u64, lost: u8) {
        self.book_mut(direction, wanted).hosts.add(host, lost);
    }
}
