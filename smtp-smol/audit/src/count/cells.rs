//! Records summed into cells: an ordinary table, and the whole partial state of an audit. Any cells of any hosts may be
//! added up in any order, here or by whoever has SQL.
//!
//! A file of cells is JSON lines. The first says what is counted and which file this is, each further one is a cell, a host
//! or what ledgers alone know of clients, and the last is the account of what was not counted: a file without it was cut short.

use std::borrow::Cow;
use std::io::{self, BufWriter, Write};

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use smtp_proto::tls::{
    Cell, ClientCertificate, Condition, Counts, Direction, EndToEnd, Hop, Record, Rehearsed, Scope, Wanted,
};

use super::clients::{Clients, Question};
use super::day;
use crate::ledger::{certificate, rehearsed, version};

/// Of the format.
pub(crate) const VERSION: u32 = 1;

/// So many cells are held; with more they are written, and begun anew: what has the same key is added up by whoever
/// reads them.
const HELD: usize = 1 << 20;

/// A line. Of a cell and of a host all is there that belongs to it, and nothing else.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Line<'a> {
    /// The first line: version of the format.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cells: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) head: Option<Head>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(crate) day: Option<Cow<'a, str>>,
    /// 16 hexadecimal digits.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(crate) host: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(crate) direction: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(crate) verdict: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(crate) sender: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(crate) hop: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(crate) end_to_end: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(crate) rehearsed: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) messages: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) recipients: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes: Option<u64>,
    /// Of a host: the policies that mail of it did not meet, as bits, the first of `Condition::ALL` the lowest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lost: Option<u8>,
    /// What is known of the clients of this sender's mail alone, or on this day of key exchanges by this group.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(crate) asked: Option<Cow<'a, str>>,
    /// Messages that would be lost, of which it is known, and of which it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) told: Option<[u64; 3]>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(crate) on: Option<Cow<'a, str>>,
    /// The last line: what was not counted, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) account: Option<serde_json::Value>,
}

/// What must be the same in cells that are added up, and what must not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    /// Which file: no two have the same.
    pub(crate) id: String,
    /// Only mail from, or to, these domains is counted.
    pub(crate) senders: Vec<String>,
    pub(crate) recipients: Vec<String>,
    /// By which it is known whether hosts are hashed with the same key; without one with none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
}

impl Head {
    pub(crate) fn scope(&self) -> Scope {
        match (self.senders.as_slice(), self.recipients.as_slice()) {
            ([], []) => Scope::All,
            (senders, []) => Scope::Senders(senders.into()),
            (_, recipients) => Scope::Recipients(recipients.into()),
        }
    }
}

/// Sums, until they are written.
#[derive(Debug)]
pub(crate) struct Table {
    to: Writer,
    head: Head,
    begun: bool,
    names: FxHashMap<Box<str>, u32>,
    cells: FxHashMap<Key, Counts>,
    hosts: FxHashMap<(Direction, Wanted, u64), u8>,
    failed: Option<io::Error>,
}

/// All but the sender's name, of which the number is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Key {
    day: i32,
    direction: Direction,
    wanted: Wanted,
    sender: u32,
    hop: Hop,
    end_to_end: EndToEnd,
    rehearsed: Option<Rehearsed>,
}

struct Writer(BufWriter<Box<dyn Write + Send>>);

impl std::fmt::Debug for Writer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Writer")
    }
}

impl Table {
    pub(crate) fn new(to: Box<dyn Write + Send>, head: Head) -> Self {
        Self {
            to: Writer(BufWriter::with_capacity(256 << 10, to)),
            head,
            begun: false,
            names: FxHashMap::default(),
            cells: FxHashMap::default(),
            hosts: FxHashMap::default(),
            failed: None,
        }
    }

    /// What the cells that were read say of themselves holds for their sum.
    pub(crate) fn adopt(&mut self, head: &Head) {
        self.head = Head { id: std::mem::take(&mut self.head.id), ..head.clone() };
    }

    pub(crate) fn add(&mut self, record: &Record<'_>, host: Option<u64>) {
        self.add_cell(&Cell::of(record));
        if let Some(host) = host {
            self.add_host(record.direction, record.wanted, host, Condition::lost_by(record.hop, record.direction));
        }
    }

    pub(crate) fn add_cell(&mut self, cell: &Cell<'_>) {
        let Cell { day, direction, wanted, party, hop, end_to_end, rehearsed, counts, .. } = *cell;
        let sender = match self.names.get(party) {
            Some(number) => *number,
            None => {
                let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
                self.names.insert(party.into(), number);
                number
            }
        };
        *self.cells.entry(Key { day, direction, wanted, sender, hop, end_to_end, rehearsed }).or_default() += counts;
        self.spill();
    }

    pub(crate) fn add_host(&mut self, direction: Direction, wanted: Wanted, host: u64, lost: u8) {
        *self.hosts.entry((direction, wanted, host)).or_default() |= lost;
        self.spill();
    }

    fn spill(&mut self) {
        if self.cells.len() + self.hosts.len() >= HELD && self.failed.is_none() {
            self.failed = self.write().err();
        }
    }

    pub(crate) fn finish(&mut self, clients: &Clients, account: serde_json::Value) -> io::Result<()> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        self.write()?;
        for (sender, question, told) in clients.counts() {
            let (client, asked) = (Some(sender.into()), Some(question.name().into()));
            self.line(&Line { client, asked, told: Some(told), ..Line::default() })?;
        }
        for (day, group, messages) in clients.days() {
            let (group, on) = (Some(group.into()), Some(day::day(day.into()).into()));
            self.line(&Line { group, on, messages: Some(messages), ..Line::default() })?;
        }
        self.line(&Line { account: Some(account), ..Line::default() })?;
        self.to.0.flush()
    }

    /// In an order that depends on nothing but what is written, so that equal tables make equal files.
    fn write(&mut self) -> io::Result<()> {
        if !std::mem::replace(&mut self.begun, true) {
            let head = Some(self.head.clone());
            self.line(&Line { cells: Some(VERSION), head, ..Line::default() })?;
        }
        let names = std::mem::take(&mut self.names);
        let mut by_number = vec![""; names.len()];
        for (name, number) in &names {
            by_number[*number as usize] = name;
        }
        let mut cells: Vec<(Key, Counts)> = std::mem::take(&mut self.cells).into_iter().collect();
        let name = |key: &Key| by_number[key.sender as usize];
        cells.sort_unstable_by(|(a, _), (b, _)| {
            let rest = |key: &Key| Key { sender: 0, ..*key };
            (a.day, name(a), rest(a)).cmp(&(b.day, name(b), rest(b)))
        });
        for (key, counts) in &cells {
            self.line(&Line::of(key, name(key), *counts))?;
        }
        let mut hosts: Vec<_> = std::mem::take(&mut self.hosts).into_iter().collect();
        hosts.sort_unstable();
        for ((direction, wanted, host), lost) in hosts {
            self.line(&Line {
                host: Some(format!("{host:016x}").into()),
                direction: Some(direction.as_str().into()),
                verdict: Some(wanted.as_str().into()),
                lost: Some(lost),
                ..Line::default()
            })?;
        }
        Ok(())
    }

    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        serde_json::to_writer(&mut self.to.0, line)?;
        self.to.0.write_all(b"\n")
    }
}

impl<'a> Line<'a> {
    fn of(key: &Key, sender: &'a str, counts: Counts) -> Self {
        let (version, class) = match key.hop {
            Hop::Used { version, certificate } => (version, Some(certificate)),
            _ => (None, None),
        };
        Self {
            day: Some(day::day(key.day.into()).into()),
            direction: Some(key.direction.as_str().into()),
            verdict: Some(key.wanted.as_str().into()),
            sender: Some(sender.into()),
            hop: Some(key.hop.as_str().into()),
            version: version.map(|version| version.as_str().into()),
            certificate: class.map(|class| class.as_str().into()),
            end_to_end: Some(key.end_to_end.as_str().into()),
            rehearsed: key.rehearsed.map(|found| found.as_str().into()),
            messages: Some(counts.messages),
            recipients: Some(counts.recipients),
            bytes: Some(counts.bytes),
            ..Self::default()
        }
    }

    /// The cell, if this is one.
    pub(crate) fn cell(&self, days: &mut Days) -> Option<Cell<'_>> {
        let hop = match self.hop.as_deref()? {
            "used" => Hop::Used {
                version: match self.version.as_deref() {
                    None => None,
                    Some(word) => Some(version(word)?),
                },
                certificate: self.certificate.as_deref().map_or(ClientCertificate::Unknown, certificate),
            },
            word => [Hop::NotTried, Hop::Failed, Hop::FailedThenPlaintext, Hop::NotOffered, Hop::Unknown]
                .into_iter()
                .find(|hop| hop.as_str() == word)?,
        };
        let mut cell = Cell::new(days.number(self.day.as_deref()?)?, self.direction()?, self.sender.as_deref()?);
        cell.wanted = self.wanted()?;
        cell.hop = hop;
        let kind = self.end_to_end.as_deref()?;
        cell.end_to_end = EndToEnd::ALL.into_iter().find(|known| known.as_str() == kind)?;
        cell.rehearsed = match self.rehearsed.as_deref() {
            None => None,
            Some(word) => Some(rehearsed(word)?),
        };
        cell.counts = Counts::new(self.messages?, self.recipients?, self.bytes?);
        Some(cell)
    }

    /// The host, if this is one.
    pub(crate) fn host(&self) -> Option<(Direction, Wanted, u64, u8)> {
        let host = self.host.as_deref().filter(|digits| digits.len() == 16)?;
        Some((self.direction()?, self.wanted()?, u64::from_str_radix(host, 16).ok()?, self.lost?))
    }

    /// What is known of the clients of a sender, if this is that.
    pub(crate) fn client(&self) -> Option<(&str, Question, [u64; 3])> {
        Some((self.client.as_deref()?, Question::from_name(self.asked.as_deref()?)?, self.told?))
    }

    /// Key exchanges of a day, if this is that.
    pub(crate) fn group(&self, days: &mut Days) -> Option<(i32, &str, u64)> {
        Some((days.number(self.on.as_deref()?)?, self.group.as_deref()?, self.messages?))
    }

    fn direction(&self) -> Option<Direction> {
        let word = self.direction.as_deref()?;
        [Direction::Inbound, Direction::Outbound].into_iter().find(|direction| direction.as_str() == word)
    }

    fn wanted(&self) -> Option<Wanted> {
        let word = self.verdict.as_deref()?;
        Wanted::ALL.into_iter().find(|wanted| wanted.as_str() == word)
    }
}

/// The day that came last: most cells are of the same as the one before.
#[derive(Debug, Default)]
pub(crate) struct Days(Option<(String, i32)>);

impl Days {
    fn number(&mut self, name: &str) -> Option<i32> {
        match &self.0 {
            Some((last, number)) if last == name => Some(*number),
            _ => {
                let number = day::number(name)?;
                self.0 = Some((name.into(), number));
                Some(number)
            }
        }
    }
}

/// The domains of a scope: of senders, and of recipients.
pub(crate) fn domains(scope: &Scope) -> (Vec<String>, Vec<String>) {
    match scope {
        Scope::Senders(domains) => (domains.clone(), Vec::new()),
        Scope::Recipients(domains) => (Vec::new(), domains.clone()),
        _ => (Vec::new(), Vec::new()),
    }
}
