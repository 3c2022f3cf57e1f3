//! Where every reader hands in what it read: one place that decides what counts, and keeps account of what does not.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

use smtp_proto::tls::{
    Bounds, Cell, Condition, Direction, Disposition, Exceptions, Hop, Ledger, Record, Retries, Scope, Wanted,
};

use super::arrivals::{Arrival, Arrivals};
use super::aside::{Aside, Broken, LedgerLines, Lines};
use super::cells::{Head, Table};
use super::clients::Clients;
use super::held::Held;
use super::names::{Domains, Name, Names, Sender, SenderNumber, Senders, lowered};
use super::rows::Rows;
use super::seal::Seal;
use super::seen::{Seen, Untold};
use super::sessions::Reports;
use super::silenced::Parties;
use crate::ledger::{Entry, Row, Withheld, utf8};

/// What files of cells tell beside the counts.
#[derive(Debug, Default)]
pub(crate) struct Elsewhere {
    /// Of the first file.
    head: Option<Head>,
    pub(crate) untold: BTreeMap<String, u64>,
    pub(crate) ledger_lines: LedgerLines,
    pub(crate) outside: u64,
    /// Kind and path.
    pub(crate) sources: BTreeSet<(String, String)>,
    /// Ids of files of cells.
    pub(crate) files: BTreeSet<String>,
}

/// Counts what is to be counted.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) ledger: Ledger,
    bounds: Bounds,
    retries: Retries,
    /// Where each record goes as a row, before retries are folded.
    pub(crate) rows: Option<Rows>,
    /// Where what is counted is summed as well.
    pub(crate) cells: Option<Table>,
    /// Of hosts in cells.
    pub(crate) seal: Option<Seal>,
    /// What ledgers alone know of clients.
    pub(crate) clients: Clients,
    /// Who would be silenced, if that is asked.
    pub(crate) parties: Option<Parties>,
    /// Of whom what is not required.
    pub(crate) except: Option<(Exceptions, Condition)>,
    arrivals: Arrivals,
    ledger_lines: LedgerLines,
    pub(crate) elsewhere: Elsewhere,
    since: Option<i64>,
    /// Hops within count as well.
    internal: bool,
    pub(crate) aside: Aside,
    /// Messages counted of which it cannot be told, in the order of [`Untold::ALL`].
    pub(crate) untold: [u64; Untold::ALL.len()],
    pub(crate) broken: Broken,
    /// Lines of logs.
    pub(crate) lines: Lines,
    /// What TLS reports tell.
    pub(crate) reports: Reports,
    pub(crate) withheld: Withheld,
    /// First and last year that were inferred, of logs whose times have none.
    years: Option<(i64, i64)>,
    /// What the reader of the report should know of how it came about.
    pub(crate) notes: Vec<String>,
    /// Messages counted or set aside.
    pub(crate) messages: u64,
    /// Of senders, hosts and recipients.
    names: [Names; 3],
    /// Of ledgers.
    domains: Domains,
    senders: Senders,
    /// What is counted elsewhere, where this is the front of a desk.
    held: Option<Held>,
}

impl Desk {
    pub(crate) fn new(scope: Scope, bounds: Bounds, since: Option<i64>, internal: bool) -> Self {
        Self {
            ledger: Ledger::with_bounds(scope, bounds),
            bounds,
            retries: Retries::default(),
            rows: None,
            cells: None,
            seal: None,
            clients: Clients::default(),
            parties: None,
            except: None,
            arrivals: Arrivals::default(),
            ledger_lines: LedgerLines::default(),
            elsewhere: Elsewhere::default(),
            since,
            internal,
            aside: Aside::default(),
            untold: [0; Untold::ALL.len()],
            lines: Lines::default(),
            reports: Reports::default(),
            withheld: Withheld::default(),
            years: None,
            broken: Broken::default(),
            notes: Vec::new(),
            messages: 0,
            names: Default::default(),
            domains: Domains::default(),
            senders: Senders::default(),
            held: None,
        }
    }

    /// The years of a log whose times have none were taken to be these. Where times go back by the greater part of a
    /// year, the file is of more than one, and which is which cannot be known.
    pub(crate) fn years(&mut self, (first, last): (i64, i64), file: &Path, turned: bool) {
        let (before, after) = self.years.unwrap_or((first, last));
        self.years = Some((before.min(first), after.max(last)));
        if turned {
            self.notes.push(format!(
                "{} goes over more than a year without saying which: days in it may be of another year",
                file.display()
            ));
        }
    }

    /// Whether what was then is not asked about.
    pub(crate) fn is_early(&self, time: i64) -> bool {
        self.since.is_some_and(|since| time < since)
    }

    /// Whether this address is one of the inside, which does not count.
    pub(crate) fn is_internal(&self, address: Option<IpAddr>) -> bool {
        !self.internal && address.is_some_and(is_private)
    }

    /// A desk at which a reader on another thread hands in: it keeps account of what does not count, and holds the rest.
    pub(crate) fn front(&self) -> Self {
        let mut front = Self::new(Scope::All, self.bounds, self.since, self.internal);
        front.held = Some(Held::default());
        front
    }

    /// What was handed in there since it was last asked.
    pub(crate) fn hand_over(&mut self) -> Held {
        self.held.replace(Held::default()).unwrap_or_default()
    }

    /// Adds the account that was kept there, when all that it held was taken here.
    pub(crate) fn add_front(&mut self, front: Self) {
        self.messages += front.messages;
        self.aside += front.aside;
        self.lines.append(front.lines);
        self.broken.merge(front.broken);
        self.notes.extend(front.notes);
    }

    /// Takes a message from a log, where attempts at one message follow one another.
    pub(crate) fn take(&mut self, seen: &Seen<'_>) {
        match &mut self.held {
            Some(held) => held.push(seen),
            None => self.count(seen, true),
        }
    }

    /// Takes a message that lies in a mailbox: in no order, and each once.
    pub(crate) fn take_stored(&mut self, seen: &Seen<'_>) {
        self.count(seen, false);
    }

    /// Whether a line of a ledger is the first of its number: else it came twice, and does not count.
    pub(crate) fn arrived(&mut self, stamp: Option<(&[u8], &[u8], u64)>) -> bool {
        match stamp.map(|(node, run, seq)| self.arrivals.add(node, run, seq)) {
            Some(Arrival::Again) => {
                self.ledger_lines.doubled += 1;
                return false;
            }
            Some(Arrival::Late) => self.ledger_lines.late += 1,
            Some(Arrival::InOrder) | None => {}
        }
        true
    }

    /// The sender of a row of a ledger file, while what was read is at hand.
    pub(crate) fn sender(&mut self, domain: &[u8]) -> Option<SenderNumber> {
        self.senders.number(domain)
    }

    /// Takes a row of a ledger file, with its names as they are in its text.
    pub(crate) fn take_row(&mut self, row: &Row, text: &[u8], sender: Option<SenderNumber>) {
        let mut senders = std::mem::take(&mut self.senders);
        let known = sender.and_then(|number| senders.get(number));
        let mut client = known.and_then(|sender| sender.client);
        self.count_row(row, text, known.map(Sender::registrable), &mut client);
        if let Some(sender) = sender.and_then(|number| senders.get_mut(number)) {
            sender.client = client;
        }
        self.senders = senders;
    }

    fn count_row(&mut self, row: &Row, text: &[u8], sender: Option<&str>, client: &mut Option<u32>) {
        self.messages += 1;
        let mut record = row.record();
        if self.since.is_some_and(|since| record.time < since) {
            self.aside.early += 1;
            return;
        }
        let mut domains = std::mem::take(&mut self.domains);
        let domain = || utf8(row.sender_domain(text));
        let found = || Some(domain()).filter(|domain| !domain.is_empty());
        record.sender = sender.or_else(|| found().map(|domain| domains.registrable(domain)));
        // Of most mail nobody asks for other names.
        let all = self.rows.is_some() || matches!(self.ledger.scope(), Scope::Recipients(_));
        let outbound = record.direction == Direction::Outbound;
        if all || outbound || record.sender.is_none() || record.peer.is_none() {
            let host = row.helo(text).map(utf8).filter(|name| !name.is_empty());
            record.host = host.map(|name| domains.registrable(name));
        }
        let (one, mut more);
        if all || outbound {
            let mut names = row.recipient_domains(text).map(|name| domains.registrable(utf8(name)));
            record.recipient_domains = match (names.next(), names.next().filter(|_| all)) {
                (None, _) => &[],
                (Some(first), None) => {
                    one = [first];
                    &one
                }
                (Some(first), Some(second)) => {
                    more = [first, second].into_iter().chain(names).collect::<Vec<_>>();
                    more.dedup();
                    &more
                }
            };
        }
        self.domains = domains;
        let excepted = || {
            let host = row.helo(text).map(utf8);
            is_excepted(self.except.as_ref(), record.hop, record.direction, record.peer, host, domain())
        };
        if row.by_exception() || (self.except.is_some() && excepted()) {
            self.aside.excepted += 1;
            if let Some(parties) = &mut self.parties {
                parties.add(&record);
            }
            return;
        }
        if record.hop == Hop::Unknown {
            note(&mut self.untold, Untold::Line);
        }
        if self.ledger.scope().holds(&record) {
            let seal = self.seal.as_ref();
            let number = |number| seal.map_or(number, |seal| seal.number("sender", number));
            if row.reason(text).is_some() {
                self.withheld.add_as(row.ending, row.reason(text), domain(), number);
            }
            self.clients.add(&record, row.offered, row.group(text), row.lenient, client);
        }
        let entry = self.rows.is_some().then(|| row.entry(text));
        self.sinks().take(&record, entry.as_ref(), true);
    }

    /// A line of a ledger that a later program wrote.
    pub(crate) fn other_version(&mut self) {
        self.ledger_lines.other_version += 1;
    }

    /// Cells follow, of which this holds.
    ///
    /// # Errors
    /// What is wrong with adding them up, and the mend.
    pub(crate) fn cells_begin(&mut self, head: &Head) -> Result<(), (String, &'static str)> {
        let scope = head.scope();
        if self.messages == 0 && self.elsewhere.head.is_none() && *self.ledger.scope() == Scope::All {
            self.ledger = Ledger::with_bounds(scope, self.bounds);
        } else if self.elsewhere.head.is_none() && *self.ledger.scope() != Scope::All {
            let mend = "ask about them when the cells are made";
            return Err(("holds sums, of which senders and recipients cannot be asked any more".into(), mend));
        } else if *self.ledger.scope() != scope {
            return Err(("counts the mail of other senders or recipients".into(), "ask for the same in all cells"));
        } else if (self.messages > 0 || self.elsewhere.head.is_some())
            && self.elsewhere.head.as_ref().and_then(|first| first.key.as_ref()) != head.key.as_ref()
        {
            return Err(("tells hosts by another key".into(), "make all cells with the same --key, or with none"));
        }
        if self.elsewhere.files.contains(&head.id) {
            let mend = "name each file of cells once, and no sum beside its parts";
            return Err((format!("holds cells that were counted already ({})", head.id), mend));
        }
        self.elsewhere.files.insert(head.id.clone());
        if self.elsewhere.head.is_none() {
            self.elsewhere.head = Some(head.clone());
            if let Some(table) = &mut self.cells {
                table.adopt(head);
            }
        }
        Ok(())
    }

    /// Takes a cell, unless all of its day lies before what is asked about.
    pub(crate) fn take_cell(&mut self, cell: &Cell<'_>) {
        if self.since.is_some_and(|since| (i64::from(cell.day) + 1) * 86_400 <= since) {
            self.aside.early += cell.counts.messages;
            return;
        }
        self.ledger.add_cell(cell);
        if let Some(parties) = &mut self.parties {
            parties.add_cell(cell);
        }
        if let Some(table) = &mut self.cells {
            table.add_cell(cell);
        }
    }

    /// Takes key exchanges of a day from a file of cells, unless it lies before what is asked about.
    pub(crate) fn take_group(&mut self, day: i32, group: &str, messages: u64) {
        if self.since.is_none_or(|since| (i64::from(day) + 1) * 86_400 > since) {
            self.clients.add_group(day, group, messages);
        }
    }

    /// Takes a host from a file of cells.
    pub(crate) fn take_host(&mut self, direction: Direction, wanted: Wanted, host: u64, lost: u8) {
        self.ledger.add_host(direction, wanted, host, lost);
        if let Some(table) = &mut self.cells {
            table.add_host(direction, wanted, host, lost);
        }
    }

    /// Lines of ledgers, here and in the cells that were read.
    pub(crate) fn ledger_lines(&self) -> LedgerLines {
        let mut lines = self.ledger_lines;
        lines.missing = self.arrivals.missing();
        lines += self.elsewhere.ledger_lines;
        lines
    }

    /// Messages outside of the scope, here and in the cells that were read.
    pub(crate) fn outside(&self) -> u64 {
        self.ledger.outside() + self.elsewhere.outside
    }

    /// Attempts at one message are made one however many wait, as whoever counts with SQL does.
    pub(crate) fn keep_all_retries(&mut self) {
        self.retries = Retries::new(Retries::WINDOW, usize::MAX);
    }

    /// Nothing more comes from this log: what waits for a further attempt is counted as it is.
    pub(crate) fn finish(&mut self) {
        let Sinks { retries, ledger, cells, parties, seal, .. } = self.sinks();
        let mut counts = Counted { ledger, cells, parties, seal };
        retries.finish(|record| counts.add(record));
        if self.arrivals.full {
            self.notes
                .push("more lines of ledgers are missing than can be remembered: some may be counted twice".into());
        }
        if let Some((first, last)) = self.years.take() {
            let years = if first == last { format!("{first}") } else { format!("{first} to {last}") };
            self.notes.push(format!("times in the log have no year: {years}, by when the file was last written"));
        }
    }

    fn count(&mut self, seen: &Seen<'_>, retries: bool) {
        self.messages += 1;
        if self.is_internal(seen.peer) {
            self.aside.internal += 1;
            return;
        }
        if self.since.is_some_and(|since| seen.time < since) {
            self.aside.early += 1;
            return;
        }
        let [sender, host, to] = &mut self.names;
        // Of most mail nobody asks for other names than the sender's.
        let all = self.rows.is_some() || matches!(self.ledger.scope(), Scope::Recipients(_));
        let outbound = seen.direction == Direction::Outbound;
        let (one, many, more);
        let to: &[&str] = match seen.to {
            _ if !(all || outbound) => &[],
            [] => &[],
            [address] => {
                one = [to.find(address).lower()];
                &one
            }
            addresses => {
                many = addresses.iter().map(|address| lowered(address)).collect::<Vec<_>>();
                more = many.iter().map(String::as_str).collect::<Vec<_>>();
                &more
            }
        };
        let sender = sender.find(seen.sender);
        let asked = sender.lower().is_empty() || seen.peer.is_none() || outbound;
        let host = asked.then(|| host.find(seen.host));
        let name = host.map(Name::lower).or(Some(""));
        let excepted = is_excepted(self.except.as_ref(), seen.hop, seen.direction, seen.peer, name, sender.lower());
        let mut record = Record::new(seen.time, seen.direction);
        record.peer = seen.peer;
        record.host = host.and_then(Name::registrable);
        record.sender = sender.registrable();
        record.recipient_domains = to;
        record.recipients = seen.recipients;
        record.envelope = seen.envelope;
        record.bytes = seen.bytes;
        record.end = seen.end;
        record.wanted = seen.wanted;
        record.hop = seen.hop;
        record.end_to_end = seen.end_to_end;
        if excepted {
            self.aside.excepted += 1;
            if let Some(parties) = &mut self.parties {
                parties.add(&record);
            }
            return;
        }
        if seen.hop == Hop::Unknown {
            note(&mut self.untold, seen.untold);
        }
        if seen.tells_group && seen.end == Disposition::Accepted && self.ledger.scope().holds(&record) {
            self.clients.add_seen(&record, seen.group);
        }
        Sinks {
            rows: self.rows.as_mut(),
            retries: &mut self.retries,
            ledger: &mut self.ledger,
            cells: self.cells.as_mut(),
            parties: self.parties.as_mut(),
            seal: self.seal.as_ref(),
        }
        .take(&record, None, retries);
    }

    /// Where records go.
    const fn sinks(&mut self) -> Sinks<'_> {
        Sinks {
            rows: self.rows.as_mut(),
            retries: &mut self.retries,
            ledger: &mut self.ledger,
            cells: self.cells.as_mut(),
            parties: self.parties.as_mut(),
            seal: self.seal.as_ref(),
        }
    }
}

/// Whether mail that does not meet the policy may come all the same.
fn is_excepted(
    except: Option<&(Exceptions, Condition)>,
    hop: Hop,
    direction: Direction,
    peer: Option<IpAddr>,
    host: Option<&str>,
    sender: &str,
) -> bool {
    except.is_some_and(|(list, require)| {
        direction == Direction::Inbound && require.met(hop, direction) == Some(false) && list.hold(peer, host, sender)
    })
}

/// Of a message it cannot be told.
fn note(counts: &mut [u64; Untold::ALL.len()], untold: Untold) {
    if let Some(at) = Untold::ALL.iter().position(|why| *why == untold) {
        counts[at] += 1;
    }
}

/// Where a record goes: a row first, and once its retries are folded the counts.
struct Sinks<'a> {
    rows: Option<&'a mut Rows>,
    retries: &'a mut Retries,
    ledger: &'a mut Ledger,
    cells: Option<&'a mut Table>,
    parties: Option<&'a mut Parties>,
    seal: Option<&'a Seal>,
}

impl Sinks<'_> {
    /// Attempts at one message are folded, unless each record is a message of its own.
    fn take(self, record: &Record<'_>, entry: Option<&Entry<'_>>, folds: bool) {
        let Self { rows, retries, ledger, cells, parties, seal } = self;
        if let Some(rows) = rows.filter(|_| ledger.scope().holds(record)) {
            rows.add(record, entry, folds);
        }
        let mut counts = Counted { ledger, cells, parties, seal };
        if folds {
            retries.add(record, |record| counts.add(record));
        } else {
            counts.add(record);
        }
    }
}

/// Where a record is counted.
struct Counted<'a> {
    ledger: &'a mut Ledger,
    cells: Option<&'a mut Table>,
    parties: Option<&'a mut Parties>,
    seal: Option<&'a Seal>,
}

impl Counted<'_> {
    fn add(&mut self, record: &Record<'_>) {
        if let Some(table) = self.cells.as_mut().filter(|_| self.ledger.scope().holds(record)) {
            let host = record.host_key().map(|host| self.seal.map_or(host, |seal| seal.number("host", host)));
            table.add(record, host);
        }
        if let Some(parties) = self.parties.as_mut().filter(|_| self.ledger.scope().holds(record)) {
            parties.add(record);
        }
        self.ledger.add(record);
    }
}

fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.is_private() || address.is_link_local(),
        // fc00::/7 (RFC 4193), fe80::/10.
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local(),
    }
}
