//! Ledger files, as `serve --ledger` writes them. Those of several hosts are read side by side, in the order of time, so
//! that a message is known again that came to another host first.

use std::collections::VecDeque;

use jiff::Timestamp;

use crate::count::desk::Desk;
use crate::ledger::{Entry, Wrong};
use crate::read::blocks::{Line, Lines};
use crate::source::Source;

/// So many lines are held back, in case one of before them comes late.
const HELD: usize = 1 << 14;

/// Whether this is the beginning of a ledger: of its first lines one is, whatever became of the others.
pub(crate) fn is(start: &[u8]) -> bool {
    start.first() == Some(&b'{')
        && start
            .split(|octet| *octet == b'\n')
            .take(16)
            .any(|line| line.first() == Some(&b'{') && Entry::parse(line).is_ok())
}

/// The time of a line.
pub(crate) fn time_of(line: &[u8]) -> Option<i64> {
    Entry::parse(line).ok().map(|entry| entry.time.as_second())
}

/// Reads one.
pub(crate) fn read(lines: Lines<'_>, source: &Source, desk: &mut Desk) {
    let mut order = Order::default();
    let mut file = File::new(lines, source);
    while let Some(entry) = file.next(desk) {
        order.push(entry, desk);
    }
    order.finish(desk);
}

/// Reads several, which are opened when it is their turn: in the order of the first time in each.
pub(crate) fn read_all<'r>(
    sources: &'r [Source],
    desk: &mut Desk,
    mut open: impl FnMut(&'r Source, &mut Desk) -> Option<Lines<'r>>,
) {
    let mut order = Order::default();
    let mut coming: VecDeque<&Source> = sources.iter().collect();
    coming.make_contiguous().sort_by_key(|source| source.first);
    let mut files: Vec<File<'_>> = Vec::new();
    loop {
        let last = files.iter().enumerate().min_by_key(|(_, file)| file.last).map(|(at, file)| (at, file.last));
        // What begins before the file that is furthest back has its turn as well.
        if let Some(next) = coming.front()
            && last.is_none_or(|(_, last)| next.first.is_none_or(|first| first <= last.as_second()))
        {
            if let Some(lines) = open(next, desk) {
                files.push(File::new(lines, next));
            }
            coming.pop_front();
            continue;
        }
        let Some((at, _)) = last else { break };
        match files[at].next(desk) {
            Some(entry) => order.push(entry, desk),
            None => drop(files.swap_remove(at)),
        }
    }
    order.finish(desk);
}

/// One that is being read.
struct File<'r> {
    lines: Lines<'r>,
    source: &'r Source,
    /// The latest time in it so far.
    last: Timestamp,
}

impl<'r> File<'r> {
    const fn new(lines: Lines<'r>, source: &'r Source) -> Self {
        Self { lines, source, last: Timestamp::MIN }
    }

    /// The next entry; what is none is told at the desk.
    fn next(&mut self, desk: &mut Desk) -> Option<Box<Entry<'static>>> {
        while let Some(line) = self.lines.next() {
            let wrong = match line {
                Line::TooLong => "a line too long for a ledger".to_owned(),
                Line::Line(b"") => continue,
                Line::Line(line) => match Entry::parse(line) {
                    Ok(entry) => {
                        self.last = self.last.max(entry.time);
                        return Some(Box::new(entry.into_owned()));
                    }
                    Err(Wrong::Version(_)) => {
                        desk.other_version();
                        continue;
                    }
                    Err(wrong) => wrong.to_string(),
                },
            };
            desk.broken.add(&self.source.path, self.lines.number, &wrong);
        }
        if let Some(error) = self.lines.failed() {
            desk.broken.cut_short(&self.source.path, self.lines.number, &error);
        }
        None
    }
}

/// Entries on their way to the desk, in the order of time; at one time by node, run and number, as SQL sorts them.
#[derive(Default)]
struct Order {
    held: VecDeque<Box<Entry<'static>>>,
}

impl Order {
    fn push(&mut self, entry: Box<Entry<'static>>, desk: &mut Desk) {
        if !desk.arrived(&entry) {
            return;
        }
        let before = |other: &Entry<'_>| {
            (other.time.as_millisecond(), &other.stamp) <= (entry.time.as_millisecond(), &entry.stamp)
        };
        // All but always it is the last.
        let at = match self.held.back() {
            Some(last) if !before(last) => self.held.partition_point(|other| before(other)),
            _ => self.held.len(),
        };
        self.held.insert(at, entry);
        if self.held.len() > HELD
            && let Some(first) = self.held.pop_front()
        {
            desk.take_entry(&first);
        }
    }

    fn finish(self, desk: &mut Desk) {
        self.held.iter().for_each(|entry| desk.take_entry(entry));
    }
}

#[cfg(test)]
mod tests {
    use smtp_proto::tls::{Bounds, Condition, Direction, Scope};

    use super::*;
    use crate::ledger::{Ending, Stamp};
    use crate::read::blocks::Blocks;
    use crate::source::Kind;

    fn line(node: &str, seq: u64, second: i64, ending: Ending) -> Vec<u8> {
        let mut entry = Entry::new(Timestamp::from_second(second).expect("a time"), Direction::Inbound, ending);
        entry.stamp = Some(Stamp::new(node, "1", seq));
        entry.peer = "192.0.2.1".parse().ok();
        entry.sender_domain = Some("a.example".into());
        entry.envelope = 7;
        entry.line()
    }

    fn source(name: &str, first: i64) -> Source {
        Source { path: name.into(), kind: Kind::Ledger, size: 0, written: 0, first: Some(first) }
    }

    fn desk() -> Desk {
        Desk::new(Scope::All, Bounds::default(), None, true)
    }

    fn messages(desk: &Desk) -> u64 {
        let loss = desk.ledger.loss(Direction::Inbound, Condition::Tls, 0);
        loss.wanted.untold.messages + loss.unwanted.untold.messages + loss.unknown.untold.messages
    }

    #[test]
    fn a_message_that_came_to_another_host_first_is_known_again() {
        // Deferred by the one, taken by the other half an hour later, while the first went on.
        let first = [line("mx1", 1, 1_000, Ending::Deferred), line("mx1", 2, 90_000, Ending::Accepted)].concat();
        let second = line("mx2", 1, 2_800, Ending::Accepted);
        let sources = [source("two", 2_800), source("one", 1_000)];
        let mut desk = desk();
        read_all(&sources, &mut desk, |source, _| {
            let octets: &[u8] = if source.path.ends_with("one") { &first } else { &second };
            Some(Lines::new(Blocks::new(octets)))
        });
        desk.finish();
        assert_eq!(messages(&desk), 2);
        assert_eq!(desk.ledger_lines(), Default::default());
    }

    #[test]
    fn lines_that_come_twice_or_late_or_from_another_version_are_told() {
        let lines = [
            line("mx1", 1, 1_000, Ending::Accepted),
            line("mx1", 3, 3_000, Ending::Accepted),
            line("mx1", 3, 3_000, Ending::Accepted),
            line("mx1", 2, 2_000, Ending::Accepted),
            line("mx1", 6, 6_000, Ending::Accepted),
            b"{\"v\":9,\"outcome\":\"accepted\"}\n{\"v\":2,\n".to_vec(),
        ]
        .concat();
        let mut desk = desk();
        read(Lines::new(Blocks::new(&*lines)), &source("one", 1_000), &mut desk);
        desk.finish();
        let told = desk.ledger_lines();
        assert_eq!((told.doubled, told.late, told.missing, told.other_version), (1, 1, 2, 1));
        assert_eq!((messages(&desk), desk.broken.count), (4, 1));
        assert!(desk.broken.places().next().is_some_and(|place| place.starts_with("one:7: ")));
    }
}
