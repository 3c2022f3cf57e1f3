//! Lines by their numbers: which came twice, which came late, and how many are missing.

use std::collections::HashMap;

/// How a line came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Behind those before it.
    InOrder,
    /// Behind one that was written after it.
    Late,
    /// A second time.
    Again,
}

/// First and last numbers of what came without a hole, in order.
type Ranges = Vec<(u64, u64)>;

/// Of a node or a run.
type Name = Box<[u8]>;

#[derive(Debug)]
struct Run {
    node: Name,
    run: Name,
    seen: Ranges,
}

/// Which numbers of which runs were seen. Where lines come in order that is one range a run, whatever its length.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    runs: Vec<Run>,
    /// Which of them it is, by node and run.
    numbers: HashMap<Name, HashMap<Name, usize>>,
    /// Whose the last line was: the next is mostly of the same, and need not be looked for.
    last: usize,
    ranges: usize,
    /// More than can be remembered: some that came again are taken for new.
    pub(crate) full: bool,
}

impl Arrivals {
    /// Ranges that are remembered, at 16 octets each: with more holes than that lines are not shipped but spilled.
    const BOUND: usize = 1 << 20;

    /// A line's node and run, and its number.
    pub(crate) fn add(&mut self, node: &[u8], run: &[u8], seq: u64) -> Arrival {
        if self.ranges >= Self::BOUND {
            self.full = true;
            return Arrival::InOrder;
        }
        let is_same = |last: &Run| *last.run == *run && *last.node == *node;
        if !self.runs.get(self.last).is_some_and(is_same) {
            self.last = self.number(node, run);
        }
        let Some(Run { seen: ranges, .. }) = self.runs.get_mut(self.last) else { return Arrival::InOrder };
        // The first range that ends at this number or later, or right before it.
        let at = ranges.partition_point(|(_, last)| last.saturating_add(1) < seq);
        let late = ranges.last().is_some_and(|(_, last)| seq < *last);
        match ranges.get_mut(at) {
            Some((first, last)) if (*first..=*last).contains(&seq) => return Arrival::Again,
            Some((_, last)) if *last + 1 == seq => {
                *last = seq;
                // It may have closed the hole before the next.
                if let Some((next, end)) = ranges.get(at + 1).copied()
                    && next == seq + 1
                {
                    ranges[at].1 = end;
                    ranges.remove(at + 1);
                    self.ranges -= 1;
                }
            }
            Some((first, _)) if seq + 1 == *first => *first = seq,
            _ => {
                ranges.insert(at, (seq, seq));
                self.ranges += 1;
            }
        }
        if late { Arrival::Late } else { Arrival::InOrder }
    }

    fn number(&mut self, node: &[u8], run: &[u8]) -> usize {
        if let Some(number) = self.numbers.get(node).and_then(|runs| runs.get(run)) {
            return *number;
        }
        let (node, run): (Name, Name) = (node.into(), run.into());
        self.numbers.entry(node.clone()).or_default().insert(run.clone(), self.runs.len());
        self.runs.push(Run { node, run, seen: Vec::new() });
        self.runs.len() - 1
    }

    /// Lines that are missing between the first and the last of each run.
    pub(crate) fn missing(&self) -> u64 {
        let holes = |ranges: &Ranges| -> u64 {
            ranges.windows(2).map(|pair| if let [(_, end), (next, _)] = pair { next - end - 1 } else { 0 }).sum()
        };
        self.runs.iter().map(|run| holes(&run.seen)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::Arrival::{Again, InOrder, Late};
    use super::*;

    #[test]
    fn each_number_counts_once() {
        let mut arrivals = Arrivals::default();
        let mut add = |run: &str, seq| (arrivals.add(b"mx1", run.as_bytes(), seq), arrivals.missing(), arrivals.ranges);
        for (seq, expected) in [
            (3, (InOrder, 0, 1)),
            (4, (InOrder, 0, 1)),
            (4, (Again, 0, 1)),
            (3, (Again, 0, 1)),
            (2, (Late, 0, 1)),
            (9, (InOrder, 4, 2)),
            (7, (Late, 3, 3)),
            (6, (Late, 2, 3)),
            (7, (Again, 2, 3)),
            (5, (Late, 1, 2)),
            (8, (Late, 0, 1)),
            (8, (Again, 0, 1)),
            (10, (InOrder, 0, 1)),
        ] {
            assert_eq!(add("a", seq), expected, "{seq}");
        }
        assert_eq!(add("b", 3), (InOrder, 0, 2), "another run counts for itself");
        assert_eq!(add("a", u64::MAX).0, InOrder);
        assert_eq!(add("a", u64::MAX).0, Again);
    }

    #[test]
    fn runs_of_one_name_on_two_nodes_are_two_however_they_alternate() {
        let mut arrivals = Arrivals::default();
        let runs = [("mx1", "a"), ("mx2", "a"), ("mx1", "b"), ("mx2", "b")];
        for seq in 1..=3 {
            for (node, run) in runs {
                assert_eq!(arrivals.add(node.as_bytes(), run.as_bytes(), seq), InOrder, "{node} {run} {seq}");
                assert_eq!(arrivals.add(node.as_bytes(), run.as_bytes(), seq), Again, "{node} {run} {seq}");
            }
        }
        assert_eq!((arrivals.missing(), arrivals.ranges), (0, 4));
    }
}
