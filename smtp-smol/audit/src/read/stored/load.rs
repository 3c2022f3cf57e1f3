//! Files of messages, some at a time, as far as they are looked at: with three system calls each where one read reaches the end.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::head::{BEGINNING, LONGEST, head_end, is_field};
use crate::read::input::{decompressed, is_compressed, open};
use crate::read::tlsrpt;

/// So much is read at first: few heads are longer.
const FIRST: usize = 16 << 10;
/// Room that is kept for the next batch.
const KEPT: usize = 1 << 20;

/// What a folder holds.
#[derive(Debug)]
pub(super) enum Found {
    /// In `cur` or `new`.
    Message(PathBuf),
    /// Outside of these.
    Loose(PathBuf),
    /// What cannot be looked at, and why.
    Broken(PathBuf, String),
}

/// What a file is.
#[derive(Debug)]
pub(super) enum Loaded {
    /// A head, its length, and the beginning of the text, within the batch; and how long the whole message is.
    Message {
        octets: Range<usize>,
        head: usize,
        bytes: u64,
    },
    /// Nothing that looks like a message.
    Other,
    Failed(io::Error),
}

/// Some files.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) found: Vec<Found>,
    /// Of each of them.
    pub(super) loaded: Vec<Loaded>,
    pub(super) octets: Vec<u8>,
    /// So many of the octets are in use.
    used: usize,
}

impl Batch {
    pub(super) const FILES: usize = 32;

    /// Loads all that was found; says how long the messages are together.
    pub(super) fn load(&mut self) -> u64 {
        let mut bytes = 0;
        for found in std::mem::take(&mut self.found) {
            let start = self.used;
            let loaded = match &found {
                Found::Message(path) => self.file(path, false),
                Found::Loose(path) => self.file(path, true),
                Found::Broken(..) => Ok(Loaded::Other),
            };
            let loaded = loaded.unwrap_or_else(Loaded::Failed);
            if let Loaded::Message { octets, bytes: long, .. } = &loaded {
                bytes += long;
                self.used = octets.end;
            } else {
                self.used = start;
            }
            self.found.push(found);
            self.loaded.push(loaded);
        }
        bytes
    }

    /// Makes room for the next.
    pub(super) fn clear(&mut self) {
        self.found.clear();
        self.loaded.clear();
        self.used = 0;
        self.octets.truncate(KEPT);
        self.octets.shrink_to(KEPT);
    }

    /// Reads a file until its head is whole.
    fn file(&mut self, path: &Path, loose: bool) -> io::Result<Loaded> {
        let mut file = File::open(path)?;
        let start = self.used;
        // Of a file less is read than was asked for only at its end.
        let mut ended = self.more(&mut file, FIRST)? < FIRST;
        if is_compressed(&self.octets[start..self.used]) {
            return self.compressed(file, start, loose);
        }
        if loose && !may_be_message(&self.octets[start..self.used]) {
            return Ok(Loaded::Other);
        }
        let head = loop {
            let message = &self.octets[start..self.used];
            if let Some(end) = head_end(message) {
                // Text enough to look at.
                let lacking = (end + BEGINNING).saturating_sub(message.len());
                if !ended && lacking > 0 {
                    ended = self.more(&mut file, lacking)? < lacking;
                }
                break end;
            }
            if message.len() >= LONGEST {
                break LONGEST;
            }
            // A head that ends with its file is not taken to be whole before it is certain.
            let read = self.more(&mut file, 4 * FIRST)?;
            ended = read < 4 * FIRST;
            if read == 0 {
                break self.used - start;
            }
        };
        let bytes = if ended { (self.used - start) as u64 } else { file.metadata()?.len() };
        Ok(self.message(start, head, bytes))
    }

    /// The same of a file that is compressed, whose first octets were read.
    fn compressed(&mut self, file: File, start: usize, loose: bool) -> io::Result<Loaded> {
        // How long the message is only the end would tell; what it takes on disk is near.
        let bytes = file.metadata()?.len();
        let begun = self.octets[start..self.used].to_vec();
        let mut whole = decompressed(io::Cursor::new(begun).chain(file))?;
        let message = whole.at_least(LONGEST);
        let head = head_end(message).unwrap_or(message.len());
        let octets = &message[..message.len().min(head + BEGINNING)];
        self.octets.truncate(start);
        self.octets.extend_from_slice(octets);
        self.used = self.octets.len();
        match whole.failed() {
            Some(error) if self.used == start => Err(error),
            _ if loose && !may_be_message(&self.octets[start..]) => Ok(Loaded::Other),
            _ => Ok(self.message(start, head, bytes)),
        }
    }

    fn message(&self, start: usize, head: usize, bytes: u64) -> Loaded {
        Loaded::Message { octets: start..self.used.min(start + head + BEGINNING), head, bytes }
    }

    /// Reads so much more, once.
    fn more(&mut self, file: &mut File, octets: usize) -> io::Result<usize> {
        let end = self.used + octets;
        if self.octets.len() < end {
            self.octets.resize(end, 0);
        }
        loop {
            match file.read(&mut self.octets[self.used..end]) {
                Ok(read) => {
                    self.used += read;
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// All of a message, as far as reports go.
pub(super) fn whole(path: &Path) -> io::Result<Vec<u8>> {
    let mut blocks = open(path, &())?;
    let octets = blocks.at_least(tlsrpt::LONGEST).to_vec();
    match blocks.failed() {
        Some(error) => Err(error),
        None => Ok(octets),
    }
}

/// Whether this begins with a field, and is not JSON.
fn may_be_message(start: &[u8]) -> bool {
    is_field(start) && start.first() != Some(&b'{')
}
