//! A few counts for each of many senders, in some 40 octets each.

use std::collections::BTreeMap;
use std::hash::Hasher;

use rustc_hash::{FxHashMap, FxHasher};

/// Messages that would be lost, of which it is known whether they would, and of which it is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) lost: u64,
    pub(crate) told: u64,
    pub(crate) untold: u64,
}

/// Counts that every sender has; most are small.
pub(super) const COMMON: usize = 4;

/// Counts by sender. Each sender has a number, by which all else is found.
#[derive(Clone, Debug, Default)]
pub(super) struct PerSender {
    names: Names,
    /// In the first octet [`WIDE`] where a number is too large for this.
    narrow: Vec<[[u8; 3]; COMMON]>,
    wide: FxHashMap<u32, [Count; COMMON]>,
    /// What few senders have, by the number of the count.
    rare: BTreeMap<(u32, u8), Count>,
}

const WIDE: u8 = u8::MAX;

impl PerSender {
    pub(super) const fn len(&self) -> usize {
        self.narrow.len()
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> + Clone + use<> {
        0..u32::try_from(self.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn find(&self, name: &str) -> Option<u32> {
        self.names.find(name)
    }

    /// The number of a sender that is not there yet; `None` where there is no room for more.
    pub(super) fn add(&mut self, name: &str) -> Option<u32> {
        let number = self.names.add(name)?;
        self.narrow.push([[0; 3]; COMMON]);
        Some(number)
    }

    pub(super) fn name(&self, sender: u32) -> &str {
        self.names.get(sender)
    }

    pub(super) fn common(&self, sender: u32) -> [Count; COMMON] {
        match self.narrow.get(sender as usize) {
            None => [Count::default(); COMMON],
            Some([[WIDE, ..], ..]) => self.wide.get(&sender).copied().unwrap_or_default(),
            Some(narrow) => narrow.map(|count| {
                let [lost, told, untold] = count.map(u64::from);
                Count { lost, told, untold }
            }),
        }
    }

    /// Adds one message: whether it met what each count is about, where that is known.
    pub(super) fn add_one(&mut self, sender: u32, met: [Option<bool>; COMMON]) {
        if let Some(narrow) = self.narrow.get_mut(sender as usize)
            && narrow.as_flattened().iter().fold(0, |most, count| (*count).max(most)) < WIDE - 1
        {
            for ([lost, told, untold], met) in narrow.iter_mut().zip(met) {
                *lost += u8::from(met == Some(false));
                *told += u8::from(met.is_some());
                *untold += u8::from(met.is_none());
            }
            return;
        }
        let mut counts = self.common(sender);
        for (count, met) in counts.iter_mut().zip(met) {
            count.lost += u64::from(met == Some(false));
            count.told += u64::from(met.is_some());
            count.untold += u64::from(met.is_none());
        }
        self.set_common(sender, counts);
    }

    pub(super) fn set_common(&mut self, sender: u32, counts: [Count; COMMON]) {
        let Some(narrow) = self.narrow.get_mut(sender as usize) else { return };
        let small = |count: u64| u8::try_from(count).ok().filter(|count| *count != WIDE);
        for (here, count) in narrow.iter_mut().zip(&counts) {
            let (Some(lost), Some(told), Some(untold)) = (small(count.lost), small(count.told), small(count.untold))
            else {
                narrow[0][0] = WIDE;
                self.wide.insert(sender, counts);
                return;
            };
            *here = [lost, told, untold];
        }
    }

    pub(super) fn rare(&self, sender: u32, which: u8) -> Option<Count> {
        self.rare.get(&(sender, which)).copied()
    }

    pub(super) fn rare_mut(&mut self, sender: u32, which: u8) -> &mut Count {
        self.rare.entry((sender, which)).or_default()
    }
}

/// Names, one behind the other, and a table by which they are found.
#[derive(Clone, Debug, Default)]
struct Names {
    text: String,
    /// Where each ends.
    ends: Vec<u32>,
    /// One more than the number of a name, at the place that its hash says or behind it; 0 where there is none. A power of
    /// two long, and never full.
    table: Vec<u32>,
}

impl Names {
    fn get(&self, number: u32) -> &str {
        let number = number as usize;
        let start = number.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |end| *end as usize);
        self.ends.get(number).and_then(|end| self.text.get(start..*end as usize)).unwrap_or_default()
    }

    fn find(&self, name: &str) -> Option<u32> {
        let place = self.place(name)?;
        self.table[place].checked_sub(1)
    }

    fn add(&mut self, name: &str) -> Option<u32> {
        let end = u32::try_from(self.text.len() + name.len()).ok()?;
        let number = u32::try_from(self.ends.len()).ok().filter(|number| *number < u32::MAX)?;
        if self.ends.len() >= self.table.len() / 4 * 3 {
            self.table = vec![0; (self.table.len() * 2).max(64)];
            for number in 0..number {
                if let Some(place) = self.place(self.get(number)) {
                    self.table[place] = number + 1;
                }
            }
        }
        let place = self.place(name)?;
        self.text.push_str(name);
        self.ends.push(end);
        self.table[place] = number + 1;
        Some(number)
    }

    /// Where the name is in the table, or would be.
    fn place(&self, name: &str) -> Option<usize> {
        let last = self.table.len().checked_sub(1)?;
        let mut hasher = FxHasher::default();
        hasher.write(name.as_bytes());
        let mut place = usize::try_from(hasher.finish() & last as u64).unwrap_or_default();
        loop {
            match self.table[place].checked_sub(1) {
                Some(other) if self.get(other) != name => place = (place + 1) & last,
                _ => return Some(place),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sender_has_its_own_counts_however_many_there_are() {
        let mut senders = PerSender::default();
        let name = |sender: u32| "x".repeat(sender as usize % 7) + &sender.to_string();
        for sender in 0..5_000 {
            assert_eq!(senders.find(&name(sender)), None);
            assert_eq!(senders.add(&name(sender)), Some(sender));
        }
        // In each of the places the least that is too large for an octet, and the most that is not.
        for large in [0, 1, 254, 255, 256, u64::MAX] {
            for at in 0..COMMON * 3 {
                let count = |of: usize| if of == at { large } else { of as u64 };
                let counts: [Count; COMMON] = std::array::from_fn(|which| Count {
                    lost: count(which * 3),
                    told: count(which * 3 + 1),
                    untold: count(which * 3 + 2),
                });
                senders.set_common(77, counts);
                assert_eq!(senders.common(77), counts, "{large} at {at}");
            }
        }
        // One by one it is the same, whatever is too large on the way.
        let mut sum = [Count::default(); COMMON];
        for number in 0..600_u64 {
            let met = [Some(true), Some(number % 2 == 0), None, (number % 3 == 0).then_some(false)];
            for (count, met) in sum.iter_mut().zip(met) {
                count.lost += u64::from(met == Some(false));
                count.told += u64::from(met.is_some());
                count.untold += u64::from(met.is_none());
            }
            senders.add_one(79, met);
            assert_eq!(senders.common(79), sum, "{number}");
        }
        senders.rare_mut(78, 3).lost = 5;
        assert_eq!(senders.common(78), [Count::default(); COMMON]);
        assert_eq!((senders.rare(78, 3).map(|count| count.lost), senders.rare(77, 3)), (Some(5), None));
        for sender in senders.numbers() {
            assert_eq!((senders.find(&name(sender)), senders.name(sender)), (Some(sender), name(sender).as_str()));
        }
        assert_eq!((senders.find("y"), senders.find(""), senders.len()), (None, None, 5_000));
    }
}
