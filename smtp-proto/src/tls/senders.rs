//! Counts by sender in bounded memory.
//!
//! Each sender has a hash. Of all senders those with the smallest hashes are kept, up to a bound, with exact counts:
//! a sender that is among the smallest of the whole was so at every moment before, in every part. So what is kept
//! depends neither on the order of records nor on that of merges, it is everything until the bound is reached, and a
//! fair sample of the senders after that. The heaviest of the rest are kept by weight (Misra and Gries, 1982), too
//! low by a known amount at most.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::AddAssign;

use super::hash::hash;
use super::kept::Kept;
use super::record::Hop;

/// Numbers of messages, of their recipients, and of their octets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// How many messages were counted.
    pub messages: u64,
    /// How many recipients these messages had, added up.
    pub recipients: u64,
    /// The size of the texts of these messages, in octets, added up.
    pub bytes: u64,
}

impl Counts {
    /// Counts with these numbers of messages, recipients and octets.
    #[must_use]
    pub const fn new(messages: u64, recipients: u64, bytes: u64) -> Self {
        Self { messages, recipients, bytes }
    }

    pub(super) const fn one(recipients: u32, bytes: u64) -> Self {
        Self { messages: 1, recipients: recipients as u64, bytes }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.messages = self.messages.saturating_add(other.messages);
        self.recipients = self.recipients.saturating_add(other.recipients);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// Counts by what became of TLS: a handful of entries, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cells(Vec<(Hop, Counts)>);

impl Cells {
    pub(super) fn add(&mut self, hop: Hop, counts: Counts) {
        // They are few, and to say that two are equal takes less than which comes first.
        match self.0.iter_mut().find(|(known, _)| *known == hop) {
            Some((_, here)) => *here += counts,
            None => self.0.insert(self.0.partition_point(|(known, _)| *known < hop), (hop, counts)),
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (hop, counts) in other.iter() {
            self.add(hop, counts);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Hop, Counts)> + '_ {
        self.0.iter().copied()
    }
}

/// Counts by sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Senders {
    pub(super) kept: Kept,
    pub(super) rest: Rest,
    bound: usize,
}

impl Senders {
    pub(super) fn new(bound: usize, heavy: usize) -> Self {
        Self { kept: Kept::default(), rest: Rest::new(heavy.max(1)), bound: bound.max(2) }
    }

    pub(super) fn add(&mut self, name: &str, hop: Hop, counts: Counts) {
        let hash = hash(name.as_bytes());
        if self.kept.add(hash, hop, counts) {
        } else if self.is_full() && self.kept.largest().is_some_and(|largest| hash > largest) {
            self.rest.add(hash, name, hop, counts.messages);
        } else {
            self.kept.insert(hash, name, hop, counts);
            self.shrink();
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.bound = self.bound.min(other.bound);
        self.rest.merge(&other.rest);
        for (hash, name, counts) in other.kept.iter() {
            for (hop, counts) in counts {
                if !self.kept.add(hash, hop, counts) {
                    self.kept.insert(hash, name, hop, counts);
                }
            }
        }
        self.shrink();
    }

    /// Whether every sender is kept, and so everything is exact.
    pub(super) const fn is_exact(&self) -> bool {
        self.rest.total == 0
    }

    /// How many senders there are for each that is kept, 1 when all are.
    pub(super) fn scale(&self) -> f64 {
        scale(self.is_exact(), self.kept.len(), self.kept.largest())
    }

    fn is_full(&self) -> bool {
        self.kept.len() >= self.bound
    }

    fn shrink(&mut self) {
        while self.kept.len() > self.bound {
            self.kept.pop_last(|hash, name, hop, counts| self.rest.add(hash, name, hop, counts.messages));
        }
    }
}

/// The senders that are not kept: their messages, and the heaviest of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rest {
    pub(super) heavy: BTreeMap<(u64, Hop), (Box<str>, u64)>,
    /// Messages of all of them.
    pub(super) total: u64,
    /// Each count of `heavy` is too low by this at most, and who is not there has no more.
    pub(super) error: u64,
    bound: usize,
}

impl Rest {
    const fn new(bound: usize) -> Self {
        Self { heavy: BTreeMap::new(), total: 0, error: 0, bound }
    }

    fn add(&mut self, hash: u64, name: &str, hop: Hop, messages: u64) {
        self.total = self.total.saturating_add(messages);
        match self.heavy.get_mut(&(hash, hop)) {
            Some((_, count)) => *count = count.saturating_add(messages),
            None => {
                self.heavy.insert((hash, hop), (name.into(), messages));
                // Twice as many as are wanted, so that the work of pruning is spread.
                if self.heavy.len() >= self.bound.saturating_mul(2) {
                    self.prune();
                }
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        self.bound = self.bound.min(other.bound);
        self.total = self.total.saturating_add(other.total);
        self.error = self.error.saturating_add(other.error);
        for (key, (name, messages)) in &other.heavy {
            match self.heavy.get_mut(key) {
                Some((_, count)) => *count = count.saturating_add(*messages),
                None => drop(self.heavy.insert(*key, (name.clone(), *messages))),
            }
        }
        if self.heavy.len() >= self.bound.saturating_mul(2) {
            self.prune();
        }
    }

    /// Takes from each what the heaviest that has no place has: at least `bound + 1` times that much leaves, so the
    /// error is never more than `total / (bound + 1)`.
    fn prune(&mut self) {
        let mut counts: Vec<u64> = self.heavy.values().map(|(_, count)| *count).collect();
        if counts.len() <= self.bound {
            return;
        }
        let (_, &mut cut, _) = counts.select_nth_unstable_by(self.bound, |a, b| b.cmp(a));
        self.error = self.error.saturating_add(cut);
        self.heavy.retain(|_, (_, count)| {
            *count = count.saturating_sub(cut);
            *count > 0
        });
    }
}

/// Hosts, by hash, each with its marks; the smallest hashes only, as with senders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hosts {
    pub(super) kept: BTreeMap<u64, u8>,
    exact: bool,
    bound: usize,
}

impl Hosts {
    pub(super) fn new(bound: usize) -> Self {
        Self { kept: BTreeMap::new(), exact: true, bound: bound.max(2) }
    }

    pub(super) fn add(&mut self, host: u64, marks: u8) {
        *self.kept.entry(host).or_default() |= marks;
        self.shrink();
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.bound = self.bound.min(other.bound);
        self.exact &= other.exact;
        for (host, marks) in &other.kept {
            *self.kept.entry(*host).or_default() |= marks;
        }
        self.shrink();
    }

    pub(super) const fn is_exact(&self) -> bool {
        self.exact
    }

    pub(super) fn scale(&self) -> f64 {
        scale(self.exact, self.kept.len(), self.kept.last_key_value().map(|(largest, _)| *largest))
    }

    fn shrink(&mut self) {
        while self.kept.len() > self.bound {
            self.kept.pop_last();
            self.exact = false;
        }
    }
}

/// Distinct values for each that is kept, from the largest hash kept (Bar-Yossef et al., 2002). The relative standard
/// error is about 1 / sqrt(kept - 2).
#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn scale(exact: bool, kept: usize, largest: Option<u64>) -> f64 {
    match largest {
        Some(largest) if !exact && kept > 1 && largest > 0 => {
            let share = largest as f64 / u64::MAX as f64;
            (kept - 1) as f64 / share / kept as f64
        }
        _ => 1.0,
    }
}
