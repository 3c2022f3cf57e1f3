//! A folder of mail. A Maildir, and every one below it, those of Maildir++ included, has its messages in folders called
//! `cur` and `new`. Elsewhere a file is a message, or an mbox, that looks like one: exported mail, a list's archive.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::head::{BEGINNING, LONGEST, Reader, head_end, is_field, is_message, report};
use super::mbox;
use crate::count::desk::Desk;
use crate::error::Error;
use crate::progress::Progress;
use crate::read::input::{decompressed, is_compressed, open};
use crate::read::tlsrpt;

/// So much is read at first: few heads are longer.
const FIRST: usize = 16 << 10;

/// Reads all messages below a folder; says how many files there were.
pub(crate) fn read(root: &Path, reader: &mut Reader, desk: &mut Desk, progress: &dyn Progress) -> Result<u64, Error> {
    let mut folders = vec![root.to_path_buf()];
    let mut files = 0;
    let mut message = Vec::new();
    while let Some(folder) = folders.pop() {
        let holds_mail = folder.file_name().is_some_and(|name| name == "cur" || name == "new");
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) => {
                desk.broken.add(&folder, 0, &error.to_string());
                continue;
            }
        };
        let mut below = Vec::new();
        let mut loose = Vec::new();
        for entry in entries {
            let entry = match entry.and_then(|entry| Ok((entry.file_type()?, entry.path()))) {
                Ok(entry) => entry,
                Err(error) => {
                    desk.broken.add(&folder, 0, &error.to_string());
                    continue;
                }
            };
            match entry {
                // Links are not followed: they may lead in a circle.
                (kind, path) if kind.is_dir() => below.push(path),
                (kind, path) if kind.is_file() && holds_mail => {
                    files += 1;
                    one(&path, &mut message, reader, desk, progress)?;
                }
                (kind, path) if kind.is_file() => loose.push(path),
                _ => {}
            }
        }
        let named =
            |path: &PathBuf, names: &[&str]| path.file_name().is_some_and(|name| names.iter().any(|n| name == *n));
        // What lies beside `cur` and `new` are indices of the mail server.
        if !below.iter().any(|path| named(path, &["cur", "new"])) {
            loose.sort_unstable();
            for path in &loose {
                files += u64::from(file(path, &mut message, reader, desk, progress)?);
            }
        }
        // What is being written in tmp is no message yet.
        below.retain(|path: &PathBuf| path.file_name().is_some_and(|name| name != "tmp"));
        below.sort_unstable_by(|a, b| b.cmp(a));
        folders.append(&mut below);
    }
    Ok(files)
}

/// A file outside of `cur` and `new`; says whether it is mail.
fn file(
    path: &Path,
    message: &mut Vec<u8>,
    reader: &mut Reader,
    desk: &mut Desk,
    progress: &dyn Progress,
) -> Result<bool, Error> {
    let mut blocks = match open(path, progress) {
        Ok(blocks) => blocks,
        Err(error) => {
            desk.broken.add(path, 0, &error.to_string());
            return Ok(false);
        }
    };
    let start = blocks.at_least(FIRST);
    if mbox::is(start) {
        mbox::read(&mut blocks, path, reader, desk)?;
    } else if tlsrpt::is(start) {
        tlsrpt::read(&mut blocks, path, desk);
    } else if is_message(start) {
        one(path, message, reader, desk, progress)?;
    } else {
        return Ok(false);
    }
    Ok(true)
}

fn one(
    path: &Path,
    message: &mut Vec<u8>,
    reader: &mut Reader,
    desk: &mut Desk,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let (head, bytes) = match load(path, message) {
        Ok(loaded) => loaded,
        // Mail that is read, moved or deleted meanwhile is not broken.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            desk.broken.add(path, 0, &error.to_string());
            return Ok(());
        }
    };
    progress.read(bytes);
    if !is_field(message) {
        desk.broken.add(path, 1, "no message: it does not begin with a field");
        return Ok(());
    }
    if tlsrpt::mail::is(&message[..head]) {
        match whole(path) {
            Ok(whole) => report(path, 0, &whole, desk),
            Err(error) => desk.broken.add(path, 0, &error.to_string()),
        }
        return Ok(());
    }
    let (head, text) = message.split_at(head);
    reader.message(head, &text[..text.len().min(BEGINNING)], bytes, desk)
}

/// All of a message, as far as reports go.
fn whole(path: &Path) -> io::Result<Vec<u8>> {
    let mut blocks = open(path, &())?;
    let octets = blocks.at_least(tlsrpt::LONGEST).to_vec();
    match blocks.failed() {
        Some(error) => Err(error),
        None => Ok(octets),
    }
}

/// Reads a file until its head is whole; gives the length of the head, and that of the message.
fn load(path: &Path, message: &mut Vec<u8>) -> io::Result<(usize, u64)> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    message.clear();
    more(&mut file, message, FIRST)?;
    let compressed = is_compressed(message);
    if compressed {
        let mut whole = decompressed(io::Cursor::new(std::mem::take(message)).chain(file))?;
        message.extend_from_slice(whole.at_least(LONGEST));
        return match whole.failed() {
            Some(error) if message.is_empty() => Err(error),
            // How long it is only the end would tell; what it takes on disk is near.
            _ => Ok((head_end(message).unwrap_or(message.len()), size)),
        };
    }
    loop {
        if let Some(end) = head_end(message) {
            // Text enough to look at.
            more(&mut file, message, (end + BEGINNING).saturating_sub(message.len()))?;
            return Ok((end, size));
        }
        if message.len() >= LONGEST || more(&mut file, message, 4 * FIRST)? == 0 {
            return Ok((message.len().min(LONGEST), size));
        }
    }
}

fn more(file: &mut File, message: &mut Vec<u8>, octets: usize) -> io::Result<usize> {
    file.take(octets as u64).read_to_end(message)
}
