//! Files of cells, as `audit --cells` writes them.

mod plain;

use crate::count::account::Account;
use crate::count::cells::{Days, Line as Entry, VERSION};
use crate::count::desk::Desk;
use crate::error::Error;
use crate::read::blocks::{Line, Lines};
use crate::source::Source;

/// Whether this is the beginning of a file of cells.
pub(crate) fn is(start: &[u8]) -> bool {
    start.starts_with(b"{\"cells\":")
}

/// Reads one.
///
/// # Errors
/// Where its cells cannot be added to what was read before: the figures would mean nothing.
pub(crate) fn read(lines: &mut Lines<'_>, source: &Source, desk: &mut Desk) -> Result<(), Error> {
    let mut days = Days::default();
    let mut account = None;
    let mut name = None;
    while let Some(line) = lines.next() {
        let entry: Result<Entry<'_>, _> = match line {
            Line::TooLong => Err("a line too long for cells".to_owned()),
            Line::Line(b"") => continue,
            Line::Line(line) => {
                plain::read(line).map_or_else(|| serde_json::from_slice(line).map_err(|error| error.to_string()), Ok)
            }
        };
        let entry = match entry {
            Ok(entry) => entry,
            Err(wrong) => {
                desk.broken.add(&source.path, lines.number, &wrong);
                continue;
            }
        };
        if let Some(cell) = entry.cell(&mut days) {
            desk.take_cell(&cell);
        } else if let Some((direction, wanted, host, lost)) = entry.host() {
            desk.take_host(direction, wanted, host, lost);
        } else if let Some((sender, question, told)) = entry.client() {
            desk.clients.add_counts(sender, question, told);
        } else if let Some((day, group, messages)) = entry.group(&mut days) {
            desk.take_group(day, group, messages);
        } else if let (Some(version), Some(head)) = (entry.cells, &entry.head) {
            if version > VERSION {
                let wrong = format!("is of version {version} of cells; this program knows {VERSION}");
                return Err(Error::source(source.path.display(), wrong, "read it with a later program"));
            }
            name = Some(head.id.clone());
            desk.cells_begin(head).map_err(|(wrong, mend)| Error::source(source.path.display(), wrong, mend))?;
        } else if let Some(value) = entry.account {
            match serde_json::from_value::<Account>(value) {
                Ok(told) => account = Some(told),
                Err(error) => desk.broken.add(&source.path, lines.number, &error.to_string()),
            }
        } else {
            desk.broken.add(&source.path, lines.number, "neither a cell, a host nor a client");
        }
    }
    if let Some(error) = lines.failed() {
        desk.broken.cut_short(&source.path, lines.number, &error);
    }
    if name.is_none() {
        desk.broken.add(&source.path, 1, "cells without their first line");
    }
    match account {
        None => desk.broken.add(&source.path, lines.number, "cut short here: cells without their account"),
        Some(account) => {
            let known = |id: &&String| Some(*id) != name.as_ref() && desk.elsewhere.files.contains(*id);
            if let Some(id) = account.files.iter().find(known) {
                let wrong = format!("holds cells that were counted already ({id})");
                let mend = "name each file of cells once, and no sum beside its parts";
                return Err(Error::source(source.path.display(), wrong, mend));
            }
            account.add_to(desk);
        }
    }
    Ok(())
}
