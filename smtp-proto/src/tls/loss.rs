//! What a policy would have cost.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::condition::Condition;
use super::interval::{Interval, Spread};
use super::ledger::{Book, Ledger};
use super::record::{Direction, Hop, Wanted};
use super::senders::Counts;

/// How much mail requiring TLS, or more than TLS, would have cost. An upper bound: it assumes that no sender would adapt.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Loss {
    /// Whether this is about inbound or outbound mail.
    pub direction: Direction,
    /// The condition that would have been made.
    pub condition: Condition,
    /// The loss of wanted mail.
    pub wanted: Share,
    /// The loss of unwanted mail.
    pub unwanted: Share,
    /// The loss of mail of which it is not known whether it was wanted.
    pub unknown: Share,
}

impl Loss {
    /// The share for mail with this verdict: one of the three fields.
    #[must_use]
    pub const fn of(&self, wanted: Wanted) -> &Share {
        match wanted {
            Wanted::Yes => &self.wanted,
            Wanted::No => &self.unwanted,
            Wanted::Unknown => &self.unknown,
        }
    }
}

/// How much of some mail would be lost, in messages, senders and hosts.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Share {
    /// The mail that would be lost.
    pub lost: Counts,
    /// All mail of which it is known whether it would be lost.
    pub total: Counts,
    /// Mail of which it cannot be told whether it meets the policy. Not in `total`.
    pub untold: Counts,
    /// Senders of which at least one message would be lost, of all senders with told mail.
    pub senders: Tally,
    /// Senders of which every message would be lost.
    pub silenced: u64,
    /// Hosts of which at least one message would be lost, of all hosts.
    pub hosts: Tally,
    /// The 95 % interval of the share of messages, as far as these senders are a fair sample of those to come. Messages
    /// of one sender stand or fall together, so the number of senders counts, not that of messages. Where nothing is
    /// lost its upper bound is 3/n. `None` where nothing was counted.
    pub interval: Option<Interval>,
    /// Messages in `total` from senders that were seen only once: about the chance that the next message comes from a
    /// sender never seen (Good, 1953), of which the sample knows nothing.
    pub seen_once: u64,
    /// The senders that would lose most messages, the heaviest first.
    pub heaviest: Vec<Heavy>,
}

impl Share {
    /// The share of messages lost, between 0 and 1; `None` of nothing.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    pub fn ratio(&self) -> Option<f64> {
        (self.total.messages > 0).then(|| self.lost.messages as f64 / self.total.messages as f64)
    }
}

/// A number of distinct senders or hosts, of all that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// How many of them would lose at least one message.
    pub lost: u64,
    /// How many there are in all.
    pub total: u64,
    /// Counted; otherwise estimated from a sample (see [`Bounds`](super::Bounds)).
    pub exact: bool,
}

/// A sender that would lose many messages.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Heavy {
    /// The sender's domain; empty where it is not known.
    pub sender: String,
    /// How many messages would be lost.
    pub lost: u64,
    /// How many messages there were, lost or not, of those whose outcome can be told.
    pub total: u64,
    /// By how much `lost` and `total` may each be too low; 0 where they are exact.
    pub error: u64,
}

/// One period of a trend, such as a day or a week.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Point {
    /// Its first day, counted from 1970-01-01.
    pub day: i32,
    /// How many messages would be lost.
    pub lost: u64,
    /// How many messages there were, lost or not, of those whose outcome can be told.
    pub total: u64,
}

impl Ledger {
    /// How much mail it would have cost to insist on `condition`, with the `heaviest` senders that would lose most.
    #[must_use]
    pub fn loss(&self, direction: Direction, condition: Condition, heaviest: usize) -> Loss {
        let share = |wanted| share(self.book(direction, wanted), direction, condition, heaviest);
        Loss {
            direction,
            condition,
            wanted: share(Wanted::Yes),
            unwanted: share(Wanted::No),
            unknown: share(Wanted::Unknown),
        }
    }

    /// The same over time, in periods of `days` days (1: days, 7: weeks from Monday). Periods without mail are left out.
    #[must_use]
    pub fn trend(&self, direction: Direction, wanted: Wanted, condition: Condition, days: u16) -> Vec<Point> {
        let mut points: BTreeMap<i32, Sums> = BTreeMap::new();
        let step = i32::from(days.max(1));
        for (day, cells) in &self.book(direction, wanted).days {
            // 1970-01-01 was a Thursday: day 4 a Monday.
            let first = (day - 4).div_euclid(step) * step + 4;
            points.entry(first).or_default().add(cells.iter(), direction, condition);
        }
        points
            .into_iter()
            .map(|(day, sums)| Point { day, lost: sums.lost.messages, total: sums.total.messages })
            .filter(|point| point.total > 0)
            .collect()
    }
}

/// Counts by what a policy says of them.
#[derive(Clone, Copy, Default)]
pub(super) struct Sums {
    pub(super) lost: Counts,
    pub(super) total: Counts,
    untold: Counts,
}

impl Sums {
    fn of(cells: impl Iterator<Item = (Hop, Counts)>, direction: Direction, condition: Condition) -> Self {
        let mut sums = Self::default();
        sums.add(cells, direction, condition);
        sums
    }

    fn add(&mut self, cells: impl Iterator<Item = (Hop, Counts)>, direction: Direction, condition: Condition) {
        for (hop, counts) in cells {
            match condition.met(hop, direction) {
                None => self.untold += counts,
                Some(met) => {
                    self.total += counts;
                    if !met {
                        self.lost += counts;
                    }
                }
            }
        }
    }
}

fn share(book: &Book, direction: Direction, condition: Condition, heaviest: usize) -> Share {
    let Sums { lost, total, untold } = Sums::of(book.cells.iter(), direction, condition);
    let (mut losing, mut told, mut silenced, mut once) = (0_u64, 0_u64, 0_u64, 0_u64);
    let mut top = Top::new(heaviest);
    let mut spread = Spread::new(lost.messages, total.messages);
    let (scale, error) = (book.senders.scale(), book.senders.rest.error);
    for (_, name, counts) in book.senders.kept.iter() {
        let sums = Sums::of(counts, direction, condition);
        told += u64::from(sums.total.messages > 0);
        once += u64::from(sums.total.messages == 1);
        losing += u64::from(sums.lost.messages > 0);
        silenced += u64::from(sums.lost.messages > 0 && sums.lost.messages == sums.total.messages);
        top.add(name, sums.lost.messages, sums.total.messages, 0);
        // Those so heavy that none like them could have been lost sight of stand for themselves alone.
        let alone = sums.total.messages > error.saturating_mul(2);
        spread.add(sums.lost.messages, sums.total.messages, if alone { 1.0 } else { scale });
    }
    let mut rest: BTreeMap<u64, (&Box<str>, u64, u64)> = BTreeMap::new();
    for ((hash, hop), (name, messages)) in &book.senders.rest.heavy {
        if let Some(met) = condition.met(*hop, direction) {
            let (_, lost, total) = rest.entry(*hash).or_insert((name, 0, 0));
            *total += messages;
            *lost += if met { 0 } else { *messages };
        }
    }
    for (name, lost, total) in rest.values() {
        top.add(name, *lost, *total, error);
        // Who has more than twice the error is here; the others are among those that the sample stands for.
        if *total > error {
            spread.add(*lost, total.saturating_add(error), 1.0);
        }
    }
    let hosts_losing = book.hosts.kept.values().filter(|marks| **marks & condition.bit() != 0).count() as u64;
    Share {
        lost,
        total,
        untold,
        senders: Tally { lost: scaled(losing, scale), total: scaled(told, scale), exact: book.senders.is_exact() },
        silenced: scaled(silenced, scale),
        hosts: Tally {
            lost: scaled(hosts_losing, book.hosts.scale()),
            total: scaled(book.hosts.kept.len() as u64, book.hosts.scale()),
            exact: book.hosts.is_exact(),
        },
        interval: spread.interval(),
        seen_once: scaled(once, scale).min(total.messages),
        heaviest: top.0,
    }
}

#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an estimate")]
fn scaled(count: u64, scale: f64) -> u64 {
    if scale > 1.0 { (count as f64 * scale + 0.5) as u64 } else { count }
}

/// The first of a long list, kept short while it is read.
struct Top(Vec<Heavy>, usize);

impl Top {
    const fn new(bound: usize) -> Self {
        Self(Vec::new(), bound)
    }

    fn add(&mut self, name: &str, lost: u64, total: u64, error: u64) {
        // Equals by name, so that a report is the same every time.
        let place = |heavy: &Heavy| (Reverse(heavy.lost), Reverse(heavy.total), heavy.sender.clone());
        if lost == 0 || (self.0.len() >= self.1 && self.0.last().is_none_or(|last| lost < last.lost)) {
            return;
        }
        let heavy = Heavy { sender: name.into(), lost, total, error };
        let at = self.0.partition_point(|other| place(other) < place(&heavy));
        self.0.insert(at, heavy);
        self.0.truncate(self.1);
    }
}
