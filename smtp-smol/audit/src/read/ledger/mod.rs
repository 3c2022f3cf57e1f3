//! Ledger files, as `serve --ledger` writes them. Those of several hosts are read side by side, in the order of time, so
//! that a message is known again that came to another host first.

mod batch;

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Scope};

use jiff::Timestamp;

use self::batch::{Batch, Line};
use crate::count::desk::Desk;
use crate::count::names::SenderNumber;
use crate::ledger::Entry;
use crate::read::blocks::Lines;
use crate::source::Source;

/// So many lines are held back, in case one of before them comes late.
const HELD: usize = 1 << 14;
/// A line that is held back while so many octets more were read, as its time lies far ahead, no longer keeps the piece of the
/// file in memory with which it came.
const BEHIND: u64 = 16 << 20;

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

/// Reads one; with several threads another reads ahead.
pub(crate) fn read(lines: Lines<'_>, source: &Source, threads: usize, desk: &mut Desk) {
    let mut order = Order::default();
    thread::scope(|scope| {
        let mut file = File::new(Batches::new(lines, threads > 1, &order.rooms, scope), source);
        while let Some(held) = file.next(&mut order.octets, desk) {
            order.push(held, desk);
        }
    });
    order.finish(desk);
}

/// Reads several, which are opened when it is their turn: in the order of the first time in each. Each of as many as there
/// are threads beside this one is read ahead.
pub(crate) fn read_all<'r>(
    sources: &'r [Source],
    threads: usize,
    desk: &mut Desk,
    mut open: impl FnMut(&'r Source, &mut Desk) -> Option<Lines<'r>>,
) {
    let mut order = Order::default();
    let mut coming: VecDeque<&Source> = sources.iter().collect();
    coming.make_contiguous().sort_by_key(|source| source.first);
    let mut files: Vec<File<'_>> = Vec::new();
    thread::scope(|scope| {
        loop {
            let last = files.iter().enumerate().min_by_key(|(_, file)| file.last).map(|(at, file)| (at, file.last));
            // What begins before the file that is furthest back has its turn as well.
            if let Some(next) = coming.front()
                && last.is_none_or(|(_, last)| next.first.is_none_or(|first| first <= last.as_second()))
            {
                if let Some(lines) = open(next, desk) {
                    let ahead = files.iter().filter(|file| matches!(file.batches, Batches::Ahead(_))).count();
                    files.push(File::new(Batches::new(lines, ahead + 1 < threads, &order.rooms, scope), next));
                }
                coming.pop_front();
                continue;
            }
            let Some((at, _)) = last else { break };
            // So long as it is the only one there is nothing to choose from.
            let alone = files.len() == 1 && coming.is_empty();
            loop {
                match files[at].next(&mut order.octets, desk) {
                    Some(held) => order.push(held, desk),
                    None => drop(files.swap_remove(at)),
                }
                if !alone || files.is_empty() {
                    break;
                }
            }
        }
    });
    order.finish(desk);
}

/// One that is being read.
struct File<'r> {
    batches: Batches<'r>,
    source: &'r Source,
    batch: Rc<Batch>,
    /// Of all files so many octets were read when the batch came.
    octets: u64,
    /// The line of the batch that is next.
    at: usize,
    /// The number of the line that came last, from 1.
    number: u64,
    /// The latest time in it so far.
    last: Timestamp,
}

impl<'r> File<'r> {
    fn new(batches: Batches<'r>, source: &'r Source) -> Self {
        Self { batches, source, batch: Rc::default(), octets: 0, at: 0, number: 0, last: Timestamp::MIN }
    }

    /// The next entry; what is none is told at the desk. Counts the octets that were read.
    fn next(&mut self, octets: &mut u64, desk: &mut Desk) -> Option<Held> {
        loop {
            while let Some(line) = self.batch.line(self.at) {
                (self.at, self.number) = (self.at + 1, self.number + 1);
                match line {
                    Line::Row(number) => {
                        let held = Held::new(Rc::clone(&self.batch), self.octets, *number);
                        self.last = self.last.max(held.time);
                        return Some(held);
                    }
                    Line::OtherVersion => desk.other_version(),
                    Line::Wrong(wrong) => desk.broken.add(&self.source.path, self.number, wrong),
                    Line::Empty => {}
                }
            }
            match self.batches.next()? {
                Ok(batch) => {
                    *octets += batch.octets() as u64;
                    (self.batch, self.octets, self.at) = (batch.into(), *octets, 0);
                }
                Err(error) => desk.broken.cut_short(&self.source.path, self.number, &error),
            }
        }
    }
}

/// Where lines come from, piece by piece.
enum Batches<'r> {
    Here(Lines<'r>, Vec<u8>, Arc<Rooms>),
    Ahead(Receiver<io::Result<Batch>>),
}

impl<'r> Batches<'r> {
    /// So many batches wait at most.
    const AHEAD: usize = 2;

    fn new<'s>(lines: Lines<'r>, ahead: bool, rooms: &Arc<Rooms>, scope: &'s Scope<'s, '_>) -> Self
    where
        'r: 's,
    {
        if !ahead {
            return Self::Here(lines, Vec::new(), Arc::clone(rooms));
        }
        let (sender, receiver) = sync_channel(Self::AHEAD);
        let shared = Arc::new(Mutex::new(Some(lines)));
        let take = |shared: &Mutex<Option<Lines<'r>>>| shared.lock().unwrap_or_else(PoisonError::into_inner).take();
        let begin = thread::Builder::new().spawn_scoped(scope, {
            let (shared, rooms) = (Arc::clone(&shared), Arc::clone(rooms));
            move || {
                let Some(mut lines) = take(&shared) else { return };
                let mut block = Vec::new();
                while let Some(batch) = Batch::next(&mut lines, &mut block, rooms.take()) {
                    // Nobody asks any more where another thread has failed.
                    if sender.send(batch).is_err() {
                        return;
                    }
                }
            }
        });
        match begin {
            Ok(_) => Self::Ahead(receiver),
            // Without another thread it takes longer.
            Err(_) => match take(&shared) {
                Some(lines) => Self::Here(lines, Vec::new(), Arc::clone(rooms)),
                None => Self::Ahead(receiver),
            },
        }
    }

    fn next(&mut self) -> Option<io::Result<Batch>> {
        match self {
            Self::Here(lines, block, rooms) => Batch::next(lines, block, rooms.take()),
            Self::Ahead(receiver) => receiver.recv().ok(),
        }
    }
}

/// Batches that are no longer needed, for the sake of their room.
#[derive(Default)]
struct Rooms(Mutex<Vec<Batch>>);

impl Rooms {
    /// So many wait at most.
    const MOST: usize = 4;

    fn take(&self) -> Batch {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn put(&self, batch: Batch) {
        let mut rooms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if rooms.len() < Self::MOST && batch.is_usual() {
            rooms.push(batch);
        }
    }
}

/// A row that is held back, in the batch in which it came.
struct Held {
    batch: Rc<Batch>,
    octets: u64,
    number: usize,
    time: Timestamp,
    millisecond: i64,
    sender: Option<SenderNumber>,
}

impl Held {
    fn new(batch: Rc<Batch>, octets: u64, number: usize) -> Self {
        let time = batch.time(number).unwrap_or_default();
        Self { batch, octets, number, time, millisecond: time.as_millisecond(), sender: None }
    }

    /// No longer needs the batch in which it came.
    fn leave(&mut self) {
        if let Some(alone) = self.batch.alone(self.number) {
            (self.batch, self.octets, self.number) = (alone.into(), u64::MAX, 0);
        }
    }

    /// Node, run and number.
    fn stamp(&self) -> Option<(&[u8], &[u8], u64)> {
        self.batch.row(self.number).and_then(|(row, text)| row.stamp(text))
    }

    fn take(self, desk: &mut Desk, rooms: &Rooms) {
        if let Some((row, text)) = self.batch.row(self.number) {
            desk.take_row(row, text, self.sender);
        }
        if let Some(batch) = Rc::into_inner(self.batch) {
            rooms.put(batch);
        }
    }

    /// Whether it comes before another, or could.
    fn is_before(&self, other: &Self) -> bool {
        let (time, of_other) = (self.millisecond, other.millisecond);
        time < of_other || (time == of_other && self.stamp() <= other.stamp())
    }
}

/// Entries on their way to the desk, in the order of time; at one time by node, run and number, as SQL sorts them.
#[derive(Default)]
struct Order {
    held: VecDeque<Held>,
    /// So many were read,
    octets: u64,
    /// and so many when it was last seen who still needs what was read long before.
    seen: u64,
    rooms: Arc<Rooms>,
}

impl Order {
    fn push(&mut self, mut held: Held, desk: &mut Desk) {
        if !desk.arrived(held.stamp()) {
            return;
        }
        if let Some((row, text)) = held.batch.row(held.number) {
            held.sender = desk.sender(row.sender_domain(text));
        }
        // All but always it is the last.
        match self.held.back() {
            Some(last) if !last.is_before(&held) => {
                self.held.insert(self.held.partition_point(|other| other.is_before(&held)), held);
            }
            _ => self.held.push_back(held),
        }
        if self.octets - self.seen > BEHIND {
            let long_before = self.seen;
            self.held.iter_mut().filter(|held| held.octets <= long_before).for_each(Held::leave);
            self.seen = self.octets;
        }
        if self.held.len() > HELD
            && let Some(first) = self.held.pop_front()
        {
            first.take(desk, &self.rooms);
        }
    }

    fn finish(self, desk: &mut Desk) {
        let Self { held, rooms, .. } = self;
        held.into_iter().for_each(|held| held.take(desk, &rooms));
    }
}

#[cfg(test)]
mod tests {
    use smtp_proto::tls::{Bounds, Condition, Direction, Scope};

    use std::rc::Weak;

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
        for threads in [1, 2, 3] {
            let mut desk = desk();
            read_all(&sources, threads, &mut desk, |source, _| {
                let octets: &[u8] = if source.path.ends_with("one") { &first } else { &second };
                Some(Lines::new(Blocks::new(octets)))
            });
            desk.finish();
            assert_eq!(messages(&desk), 2);
            assert_eq!(desk.ledger_lines(), Default::default());
        }
    }

    /// Lines whose time lies far ahead are held back to the end: no piece of the file stays for their sake, and all count.
    #[test]
    fn what_is_held_back_long_does_not_keep_what_was_read_with_it() {
        let mut desk = desk();
        let mut order = Order::default();
        let mut lines = Vec::new();
        for (seq, second) in (1_u64..=200_000).zip(1..) {
            let second = if seq.is_multiple_of(100) { 9_000_000 + second } else { second };
            lines.extend(line("mx1", seq, second, Ending::Accepted));
        }
        assert!(lines.len() as u64 > 3 * BEHIND);
        let source = source("one", 1);
        let mut pieces: Vec<(Weak<Batch>, usize)> = Vec::new();
        thread::scope(|scope| {
            let mut file =
                File::new(Batches::new(Lines::new(Blocks::new(&*lines)), false, &order.rooms, scope), &source);
            while let Some(held) = file.next(&mut order.octets, &mut desk) {
                if pieces.last().is_none_or(|(last, _)| !std::ptr::eq(last.as_ptr(), &*held.batch)) {
                    pieces.push((Rc::downgrade(&held.batch), held.batch.octets()));
                }
                order.push(held, &mut desk);
            }
        });
        let kept: usize = pieces.iter().filter(|(piece, _)| piece.strong_count() > 0).map(|(_, octets)| octets).sum();
        assert!(kept as u64 <= 2 * BEHIND + (1 << 20), "{kept} of {}", lines.len());
        order.finish(&mut desk);
        desk.finish();
        assert_eq!((messages(&desk), desk.ledger_lines()), (200_000, Default::default()));
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
        for threads in [1, 2] {
            let mut desk = desk();
            read(Lines::new(Blocks::new(&*lines)), &source("one", 1_000), threads, &mut desk);
            desk.finish();
            let told = desk.ledger_lines();
            assert_eq!((told.doubled, told.late, told.missing, told.other_version), (1, 1, 2, 1));
            assert_eq!((messages(&desk), desk.broken.count), (4, 1));
            assert!(desk.broken.places().next().is_some_and(|place| place.starts_with("one:7: ")));
        }
    }
}
