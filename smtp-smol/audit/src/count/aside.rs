//! Account of what was read and does not count.

use std::ops::AddAssign;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// What was read and not counted, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Aside {
    /// Messages before `--since`.
    pub(crate) early: u64,
    /// Mail of users: they had logged in, or came to a port for them.
    pub(crate) submissions: u64,
    /// Hops from or to addresses of this machine or of a private network.
    pub(crate) internal: u64,
    /// Further copies of a message that was counted, for its other recipients.
    pub(crate) copies: u64,
    /// Attempts that were told to come again.
    pub(crate) deferred: u64,
    /// Messages on which no field of the border server was found.
    pub(crate) foreign: u64,
    /// Messages without a date.
    pub(crate) dateless: u64,
    /// Messages that do not meet the policy, of those of whom it is not required.
    pub(crate) excepted: u64,
}

impl AddAssign for Aside {
    fn add_assign(&mut self, other: Self) {
        self.early += other.early;
        self.submissions += other.submissions;
        self.internal += other.internal;
        self.copies += other.copies;
        self.deferred += other.deferred;
        self.foreign += other.foreign;
        self.dateless += other.dateless;
        self.excepted += other.excepted;
    }
}

/// What could not be read: how much, and the first places by file and line, whatever the order in which they are found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Broken {
    pub(crate) count: u64,
    first: Vec<Place>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Place {
    file: String,
    /// 0 where it is about the file.
    line: u64,
    what: String,
}

impl Broken {
    /// So many places are named.
    const NAMED: usize = 5;

    /// Reading ended before the end.
    pub(crate) fn cut_short(&mut self, file: &Path, line: u64, error: &std::io::Error) {
        self.add(file, line, &format!("cut short here: {error}"));
    }

    pub(crate) fn add(&mut self, file: &Path, line: u64, what: &str) {
        self.count += 1;
        self.name(Place { file: file.display().to_string(), line, what: what.into() });
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.count += other.count;
        other.first.into_iter().for_each(|place| self.name(place));
    }

    /// The places that are named.
    pub(crate) fn places(&self) -> impl Iterator<Item = String> + '_ {
        self.first.iter().map(|Place { file, line, what }| match line {
            0 => format!("{file}: {what}"),
            line => format!("{file}:{line}: {what}"),
        })
    }

    fn name(&mut self, place: Place) {
        let at = self.first.partition_point(|other| *other < place);
        if at < Self::NAMED {
            self.first.insert(at, place);
            self.first.truncate(Self::NAMED);
        }
    }
}

/// Lines of logs, by what they are. Their sum is the number of lines that were read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Lines {
    /// Of mail servers.
    pub(crate) mail: u64,
    /// Of other programs, or empty.
    pub(crate) other: u64,
    /// Too long, or without a time.
    pub(crate) broken: u64,
    /// In no form that is read.
    pub(crate) unread: u64,
    /// The first of these, and where it stands.
    pub(crate) first_unread: Option<String>,
}

impl AddAssign for Lines {
    fn add_assign(&mut self, other: Self) {
        self.mail += other.mail;
        self.other += other.other;
        self.broken += other.broken;
        self.unread += other.unread;
        // Whatever the order.
        self.first_unread = self.first_unread.take().into_iter().chain(other.first_unread).min();
    }
}

impl Lines {
    /// Adds those of what was read later.
    pub(super) fn append(&mut self, later: Self) {
        let first = self.first_unread.take().or_else(|| later.first_unread.clone());
        *self += later;
        self.first_unread = first;
    }

    /// A line in no form that is read.
    pub(crate) fn unread(&mut self, file: &Path, number: u64, line: &[u8]) {
        self.unread += 1;
        if self.first_unread.is_none() {
            let quoted: String = String::from_utf8_lossy(&line[..line.len().min(400)]).chars().take(160).collect();
            self.first_unread = Some(format!("{}:{number}: {quoted}", file.display()));
        }
    }
}

/// Lines of ledgers that are good, but not as they were written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct LedgerLines {
    /// Not counted: they came twice.
    pub(crate) doubled: u64,
    /// Not counted: of a later version of the format.
    pub(crate) other_version: u64,
    /// Counted, though they came behind a later one.
    pub(crate) late: u64,
    /// Never seen, though the lines before and behind them were.
    pub(crate) missing: u64,
}

impl AddAssign for LedgerLines {
    fn add_assign(&mut self, other: Self) {
        self.doubled += other.doubled;
        self.other_version += other.other_version;
        self.late += other.late;
        self.missing += other.missing;
    }
}
