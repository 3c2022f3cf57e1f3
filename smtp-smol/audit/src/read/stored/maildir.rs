//! A folder of mail. A Maildir, and every one below it, those of Maildir++ included, has its messages in folders called
//! `cur` and `new`. Elsewhere a file is a message, or an mbox, that looks like one: exported mail, a list's archive.
//!
//! Files are loaded by several threads, and looked at in the order in which the folders name them.

use std::io;
use std::path::{Path, PathBuf};

use super::head::{BEGINNING, Reader, is_field, is_message, report};
use super::load::{Batch, Found, Loaded, whole};
use super::mbox;
use crate::count::desk::Desk;
use crate::error::Error;
use crate::progress::Progress;
use crate::read::input::open;
use crate::read::threads::{self, Spare};
use crate::read::tlsrpt;

/// So much of a file outside of `cur` and `new` tells what it is.
const START: usize = 16 << 10;

/// Reads all messages below a folder on so many threads; says how many files there were.
pub(crate) fn read(
    root: &Path,
    reader: &mut Reader,
    jobs: usize,
    desk: &mut Desk,
    progress: &dyn Progress,
) -> Result<u64, Error> {
    let mut walk = Walk { folders: vec![root.to_path_buf()], found: Vec::new().into_iter() };
    let mut files = 0;
    let spare: Spare<Batch> = Spare::default();
    threads::until(
        jobs,
        || {
            let mut batch = spare.take();
            walk.fill(&mut batch.found);
            (!batch.found.is_empty()).then_some(batch)
        },
        |mut batch| {
            progress.read(batch.load());
            batch
        },
        |mut batch| {
            for at in 0..batch.found.len() {
                files += u64::from(take(&batch, at, reader, desk, progress)?);
            }
            batch.clear();
            spare.give(batch);
            Ok(())
        },
    )?;
    Ok(files)
}

/// Goes through folders.
struct Walk {
    /// Those to come, the next one last.
    folders: Vec<PathBuf>,
    /// What the last one holds.
    found: std::vec::IntoIter<Found>,
}

impl Walk {
    /// As many of the next files as are loaded at once; none at the end.
    fn fill(&mut self, batch: &mut Vec<Found>) {
        while batch.len() < Batch::FILES {
            match self.found.next() {
                Some(found) => batch.push(found),
                None => match self.folders.pop() {
                    Some(folder) => self.found = self.folder(&folder).into_iter(),
                    None => return,
                },
            }
        }
    }

    /// What is in a folder; those below it come next.
    fn folder(&mut self, folder: &Path) -> Vec<Found> {
        let broken = |error: &io::Error| Found::Broken(folder.into(), error.to_string());
        let holds_mail = folder.file_name().is_some_and(|name| name == "cur" || name == "new");
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => return vec![broken(&error)],
        };
        let (mut found, mut below, mut loose) = (Vec::new(), Vec::new(), Vec::new());
        for entry in entries {
            match entry.and_then(|entry| Ok((entry.file_type()?, entry.path()))) {
                // Links are not followed: they may lead in a circle.
                Ok((kind, path)) if kind.is_dir() => below.push(path),
                Ok((kind, path)) if kind.is_file() && holds_mail => found.push(Found::Message(path)),
                Ok((kind, path)) if kind.is_file() => loose.push(path),
                Ok(_) => {}
                Err(error) => found.push(broken(&error)),
            }
        }
        let named =
            |path: &PathBuf, names: &[&str]| path.file_name().is_some_and(|name| names.iter().any(|n| name == *n));
        // What lies beside `cur` and `new` are indices of the mail server.
        if !below.iter().any(|path| named(path, &["cur", "new"])) {
            loose.sort_unstable();
            found.extend(loose.into_iter().map(Found::Loose));
        }
        // What is being written in tmp is no message yet.
        below.retain(|path: &PathBuf| path.file_name().is_some_and(|name| name != "tmp"));
        below.sort_unstable_by(|a, b| b.cmp(a));
        self.folders.append(&mut below);
        found
    }
}

/// Takes what was loaded; says whether it is a file of mail.
fn take(
    batch: &Batch,
    at: usize,
    reader: &mut Reader,
    desk: &mut Desk,
    progress: &dyn Progress,
) -> Result<bool, Error> {
    let (found, loaded) = (&batch.found[at], &batch.loaded[at]);
    let loose = matches!(found, Found::Loose(_));
    let (path, octets, head, bytes) = match (found, loaded) {
        (Found::Broken(path, why), _) => {
            desk.broken.add(path, 0, why);
            return Ok(false);
        }
        (Found::Loose(path), Loaded::Other) => return other(path, reader, desk, progress),
        (Found::Message(path) | Found::Loose(path), Loaded::Message { octets, head, bytes }) => {
            (path, &batch.octets[octets.clone()], *head, *bytes)
        }
        (Found::Message(path) | Found::Loose(path), Loaded::Failed(error)) => {
            // Mail that is read, moved or deleted meanwhile is not broken.
            if loose || error.kind() != io::ErrorKind::NotFound {
                desk.broken.add(path, 0, &error.to_string());
            }
            return Ok(!loose);
        }
        (Found::Message(_), Loaded::Other) => return Ok(true),
    };
    if loose && !is_message(octets) {
        return Ok(false);
    }
    if !is_field(octets) {
        desk.broken.add(path, 1, "no message: it does not begin with a field");
    } else if tlsrpt::mail::is(&octets[..head]) {
        match whole(path) {
            Ok(whole) => report(path, 0, &whole, desk),
            Err(error) => desk.broken.add(path, 0, &error.to_string()),
        }
    } else {
        let (head, text) = octets.split_at(head);
        reader.message(head, &text[..text.len().min(BEGINNING)], bytes, desk)?;
    }
    Ok(true)
}

/// A file outside of `cur` and `new` that is no message as it lies there.
fn other(path: &Path, reader: &mut Reader, desk: &mut Desk, progress: &dyn Progress) -> Result<bool, Error> {
    let mut blocks = match open(path, progress) {
        Ok(blocks) => blocks,
        Err(error) => {
            desk.broken.add(path, 0, &error.to_string());
            return Ok(false);
        }
    };
    let start = blocks.at_least(START);
    if mbox::is(start) {
        mbox::read(&mut blocks, path, reader, desk)?;
    } else if tlsrpt::is(start) {
        tlsrpt::read(&mut blocks, path, desk);
    } else {
        return Ok(false);
    }
    Ok(true)
}
