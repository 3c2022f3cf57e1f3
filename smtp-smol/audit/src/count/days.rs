//! Key exchanges by day.

use std::collections::VecDeque;

/// So many days, and so many groups of a day, are told apart.
const DAYS: usize = 1 << 12;
const GROUPS: usize = 16;

/// Names of groups and messages of each.
type Groups = Vec<(Box<str>, u64)>;

/// Messages by day and by the name of the group.
#[derive(Clone, Debug, Default)]
pub(super) struct Days {
    /// In order, and the groups of each as well.
    days: VecDeque<(i32, Groups)>,
    /// Which was the last: the next message is mostly of the same.
    last: usize,
}

impl Days {
    pub(super) fn add(&mut self, day: i32, name: &[u8], messages: u64) {
        if self.days.get(self.last).is_none_or(|(last, _)| *last != day) {
            self.last = match self.days.binary_search_by_key(&day, |(day, _)| *day) {
                Ok(at) => at,
                // It would be the first to be forgotten.
                Err(0) if self.days.len() >= DAYS => return,
                Err(at) => {
                    self.days.insert(at, (day, Vec::new()));
                    at
                }
            };
            if self.days.len() > DAYS {
                self.days.pop_front();
                self.last -= 1;
            }
        }
        let Some((_, groups)) = self.days.get_mut(self.last) else { return };
        if let Some((_, sum)) = groups.iter_mut().find(|(known, _)| known.as_bytes() == name) {
            *sum = sum.saturating_add(messages);
            return;
        }
        let name = if groups.len() < GROUPS { std::str::from_utf8(name).unwrap_or_default() } else { "other" };
        match groups.binary_search_by(|(known, _)| (**known).cmp(name)) {
            Ok(at) => groups[at].1 = groups[at].1.saturating_add(messages),
            Err(at) => groups.insert(at, (name.into(), messages)),
        }
    }

    /// In the order of days and of names.
    pub(super) fn iter(&self) -> impl Iterator<Item = (i32, &str, u64)> {
        self.days.iter().flat_map(|(day, groups)| groups.iter().map(|(group, messages)| (*day, &**group, *messages)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// As whoever takes no short cut counts.
        #[test]
        fn days_and_groups_are_those_that_were_added(
            added in prop::collection::vec((-3_i32..8, 0_usize..20, 1_u64..3), 0..300),
            many in prop::option::of(4_090_i32..4_100),
        ) {
            let (mut days, mut plain) = (Days::default(), BTreeMap::<i32, BTreeMap<String, u64>>::new());
            let many = many.into_iter().flat_map(|days| (0..days).map(|day| (day, 0, 1)));
            for (day, name, messages) in many.chain(added) {
                let name = format!("group {name}");
                days.add(day, name.as_bytes(), messages);
                let groups = plain.entry(day).or_default();
                let name = if groups.len() < GROUPS || groups.contains_key(&name) { name } else { "other".into() };
                *groups.entry(name).or_default() += messages;
                while plain.len() > DAYS {
                    plain.pop_first();
                }
            }
            let told = plain.iter().flat_map(|(day, groups)| groups.iter().map(|(name, sum)| (*day, name.as_str(), *sum)));
            prop_assert!(days.iter().eq(told));
        }
    }
}
