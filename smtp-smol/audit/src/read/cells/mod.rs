//! Files of cells, as `audit --cells` writes them.

mod plain;

use std::ops::Range;
use std::path::Path;

use smtp_proto::tls::{Cell, Direction, Wanted};

use crate::count::account::Account;
use crate::count::cells::{Days, Line as Entry, VERSION};
use crate::count::desk::Desk;
use crate::error::Error;
use crate::read::blocks::{Line, Lines, Piece};
use crate::read::threads::{self, Spare};
use crate::source::Source;

/// Whether this is the beginning of a file of cells.
pub(crate) fn is(start: &[u8]) -> bool {
    start.starts_with(b"{\"cells\":")
}

/// Reads one; with several threads some read cells and hosts, and one adds them up.
///
/// # Errors
/// Where its cells cannot be added to what was read before: the figures would mean nothing.
pub(crate) fn read(lines: &mut Lines<'_>, source: &Source, threads: usize, desk: &mut Desk) -> Result<(), Error> {
    let mut file = File::new(&source.path);
    if threads > 1 {
        let spare: Spare<Told> = Spare::default();
        threads::until(
            threads,
            || {
                let mut told = spare.take();
                told.piece = lines.piece(std::mem::take(&mut told.piece).into_room())?;
                Some(told)
            },
            Told::tell,
            |told| {
                told.each(|one| file.take(one, desk))?;
                spare.give(told);
                Ok(())
            },
        )?;
    } else {
        while let Some(line) = lines.next() {
            file.take(One::Line(line), desk)?;
        }
    }
    if let Some(error) = lines.failed() {
        desk.broken.cut_short(file.path, file.number, &error);
    }
    file.end(desk)
}

/// One that is being read.
struct File<'s> {
    path: &'s Path,
    days: Days,
    account: Option<Account>,
    name: Option<String>,
    /// The number of the line that came last.
    number: u64,
}

impl<'s> File<'s> {
    fn new(path: &'s Path) -> Self {
        Self { path, days: Days::default(), account: None, name: None, number: 0 }
    }

    fn take(&mut self, one: One<'_>, desk: &mut Desk) -> Result<(), Error> {
        self.number += 1;
        let line = match one {
            One::Cell(cell) => {
                desk.take_cell(&cell);
                return Ok(());
            }
            One::Host((direction, wanted, host, lost)) => {
                desk.take_host(direction, wanted, host, lost);
                return Ok(());
            }
            One::Line(line) => line,
        };
        let entry: Result<Entry<'_>, _> = match line {
            Line::TooLong => Err("a line too long for cells".to_owned()),
            Line::Line(b"") => return Ok(()),
            Line::Line(line) => {
                plain::read(line).map_or_else(|| serde_json::from_slice(line).map_err(|error| error.to_string()), Ok)
            }
        };
        let entry = match entry {
            Ok(entry) => entry,
            Err(wrong) => {
                desk.broken.add(self.path, self.number, &wrong);
                return Ok(());
            }
        };
        if let Some(cell) = entry.cell(&mut self.days) {
            desk.take_cell(&cell);
        } else if let Some((direction, wanted, host, lost)) = entry.host() {
            desk.take_host(direction, wanted, host, lost);
        } else if let Some((sender, question, told)) = entry.client() {
            desk.clients.add_counts(sender, question, told);
        } else if let Some((day, group, messages)) = entry.group(&mut self.days) {
            desk.take_group(day, group, messages);
        } else if let (Some(version), Some(head)) = (entry.cells, &entry.head) {
            if version > VERSION {
                let wrong = format!("is of version {version} of cells; this program knows {VERSION}");
                return Err(Error::source(self.path.display(), wrong, "read it with a later program"));
            }
            self.name = Some(head.id.clone());
            desk.cells_begin(head).map_err(|(wrong, mend)| Error::source(self.path.display(), wrong, mend))?;
        } else if let Some(value) = entry.account {
            match serde_json::from_value::<Account>(value) {
                Ok(told) => self.account = Some(told),
                Err(error) => desk.broken.add(self.path, self.number, &error.to_string()),
            }
        } else {
            desk.broken.add(self.path, self.number, "neither a cell, a host nor a client");
        }
        Ok(())
    }

    /// Nothing more comes.
    fn end(self, desk: &mut Desk) -> Result<(), Error> {
        if self.name.is_none() {
            desk.broken.add(self.path, 1, "cells without their first line");
        }
        let Some(account) = self.account else {
            desk.broken.add(self.path, self.number, "cut short here: cells without their account");
            return Ok(());
        };
        let known = |id: &&String| Some(*id) != self.name.as_ref() && desk.elsewhere.files.contains(*id);
        if let Some(id) = account.files.iter().find(known) {
            let wrong = format!("holds cells that were counted already ({id})");
            let mend = "name each file of cells once, and no sum beside its parts";
            return Err(Error::source(self.path.display(), wrong, mend));
        }
        account.add_to(desk);
        Ok(())
    }
}

type Host = (Direction, Wanted, u64, u8);

/// A line.
#[derive(Clone, Copy)]
enum One<'a> {
    Cell(Cell<'a>),
    Host(Host),
    /// Perhaps one of these, and not read yet.
    Line(Line<'a>),
}

/// What the lines of a piece say, on their way to another thread.
#[derive(Default)]
struct Told {
    piece: Piece,
    lines: Vec<Kept>,
}

/// What [`One`] says, with a place for the name.
enum Kept {
    /// The cell lacks its party, which stands there.
    Cell(Cell<'static>, Range<usize>),
    Host(Host),
    Line,
}

impl Told {
    fn tell(mut self) -> Self {
        self.lines.clear();
        let start = self.piece.octets().as_ptr().addr();
        let mut days = Days::default();
        for line in self.piece.lines() {
            let entry = if let Line::Line(line) = line { plain::read(line) } else { None };
            self.lines.push(entry.and_then(|entry| Kept::of(&entry, start, &mut days)).unwrap_or(Kept::Line));
        }
        self
    }

    fn each(&self, mut then: impl FnMut(One<'_>) -> Result<(), Error>) -> Result<(), Error> {
        let octets = self.piece.octets();
        let party = |place: &Range<usize>| {
            octets.get(place.clone()).and_then(|octets| str::from_utf8(octets).ok()).unwrap_or_default()
        };
        for (line, kept) in self.piece.lines().zip(&self.lines) {
            then(match kept {
                Kept::Cell(cell, place) => {
                    let mut cell: Cell<'_> = *cell;
                    cell.party = party(place);
                    One::Cell(cell)
                }
                Kept::Host(host) => One::Host(*host),
                Kept::Line => One::Line(line),
            })?;
        }
        Ok(())
    }
}

impl Kept {
    /// Of octets that begin there.
    fn of(entry: &Entry<'_>, start: usize, days: &mut Days) -> Option<Self> {
        let Some(cell) = entry.cell(days) else { return entry.host().map(Self::Host) };
        let first = cell.party.as_ptr().addr() - start;
        let place = first..first + cell.party.len();
        let mut kept = Cell::new(cell.day, cell.direction, "");
        (kept.wanted, kept.hop, kept.end_to_end) = (cell.wanted, cell.hop, cell.end_to_end);
        (kept.rehearsed, kept.counts) = (cell.rehearsed, cell.counts);
        Some(Self::Cell(kept, place))
    }
}
