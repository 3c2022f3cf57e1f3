//! How far chance goes: an interval for a share of messages, where messages of one sender stand or fall together.
//!
//! The senders are taken as a sample, not the messages. What the share would vary by from one such sample to the next
//! follows from how uneven the senders are in size, and from how far the messages of one sender go the same way
//! (the intraclass correlation, which is 1 when each sender loses all or nothing). Together they say how many
//! independent messages the sample is worth (Kish, 1965), and with that number the interval is Wilson's (1927).
//!
//! Resampling the senders (the bootstrap) was tried first. It is right when there are many senders of like size. With
//! the heavy tails that mail has its intervals are too short, for a sample in which the heavy senders all use TLS knows
//! of no other: where 95 intervals in 100 should hold the truth, 75 to 92 did, and no more with Student's t (bootstrap-t). So did those from the variance between
//! the senders (linearised), also with effective degrees of freedom. What this one holds is measured
//! in the test below.

use super::loss::Interval;

/// Of the normal distribution, two-sided 95 %.
const Z: f64 = 1.959_963_985;

/// Gathers how the senders differ.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spread {
    /// Sum of the squares of the senders' messages.
    squares: f64,
    /// Of the senders with two messages or more: their number,
    several: f64,
    /// the sum of their shares,
    shares: f64,
    /// and the sum of the variances between the messages of each.
    within: f64,
}

impl Spread {
    /// Adds a sender, who stands for `weight` senders.
    #[expect(clippy::cast_precision_loss, reason = "a statistic")]
    pub(super) fn add(&mut self, lost: u64, total: u64, weight: f64) {
        let (lost, total) = (lost as f64, total as f64);
        self.squares += weight * total * total;
        if total >= 2.0 {
            self.several += 1.0;
            self.shares += lost / total;
            self.within += lost * (total - lost) / (total * (total - 1.0));
        }
    }

    /// How far the messages of one sender go the same way: 0 not at all, 1 all or nothing. Each sender weighs the same,
    /// lest the heaviest decide it alone. 1, the careful choice, where the sample does not tell.
    fn correlation(&self) -> f64 {
        let share = self.shares / self.several.max(1.0);
        let all = share * (1.0 - share);
        if all > 0.0 { (1.0 - self.within / self.several / all).clamp(0.0, 1.0) } else { 1.0 }
    }

    /// The interval of 95 % for this share.
    #[expect(clippy::cast_precision_loss, reason = "a statistic")]
    pub(super) fn interval(&self, lost: u64, total: u64) -> Option<Interval> {
        if total == 0 {
            return None;
        }
        let all = total as f64;
        let share = lost as f64 / all;
        // Where a sender once seen says it all: the number of senders, less when they are uneven.
        let senders = all * all / self.squares.max(all);
        if lost == 0 {
            // (1 - x)^n = 0.05 at about 3 / n.
            return Some(Interval { low: 0.0, high: (3.0 / senders).min(1.0) });
        }
        if lost >= total {
            return Some(Interval { low: (1.0 - 3.0 / senders).max(0.0), high: 1.0 });
        }
        let n = all * all / (all + (self.squares - all).max(0.0) * self.correlation());
        let zz = Z * Z / n;
        let middle = (share + zz / 2.0) / (1.0 + zz);
        let half = Z / (1.0 + zz) * sqrt(share * (1.0 - share) / n + zz / (4.0 * n));
        Some(Interval { low: (middle - half).max(0.0), high: (middle + half).min(1.0) })
    }
}

/// Newton's iteration; `core` has no square root yet. For numbers from 0 to a few.
fn sqrt(x: f64) -> f64 {
    let mut root = x.max(1.0);
    for _ in 0..64 {
        let next = f64::midpoint(root, x / root);
        if next >= root {
            return root;
        }
        root = next;
    }
    root
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::println;

    use super::*;

    #[test]
    fn square_roots_are_those_of_std() {
        for n in 0..1_000_u32 {
            let x = f64::from(n).powi(3) / 1e8;
            assert!((sqrt(x) - x.sqrt()).abs() <= 1e-15 + x.sqrt() * 1e-15, "{x}");
        }
    }

    #[test]
    fn with_one_message_a_sender_it_is_wilsons() {
        let mut spread = Spread::default();
        for n in 0..300 {
            spread.add(u64::from(n < 15), 1, 1.0);
        }
        // From R: prop.test(15, 300, correct = FALSE).
        let interval = spread.interval(15, 300).expect("something was counted");
        assert!((interval.low - 0.030_534).abs() < 1e-5 && (interval.high - 0.080_841).abs() < 1e-5, "{interval:?}");
    }

    #[test]
    fn where_nothing_was_seen_three_over_the_number_of_senders_bounds_it() {
        let mut spread = Spread::default();
        for _ in 0..300 {
            spread.add(0, 7, 1.0);
        }
        assert_eq!(spread.interval(0, 2100), Some(Interval { low: 0.0, high: 0.01 }));
        assert_eq!(spread.interval(2100, 2100), Some(Interval { low: 0.99, high: 1.0 }));
        assert_eq!(Spread::default().interval(0, 0), None);
        // One sender says nothing of others, however much it sends.
        let mut one = Spread::default();
        one.add(0, 1_000_000, 1.0);
        assert_eq!(one.interval(0, 1_000_000), Some(Interval { low: 0.0, high: 1.0 }));
    }

    /// SplitMix64: the same numbers each time.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> f64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
        }

        fn normal(&mut self) -> f64 {
            (-2.0 * (1.0 - self.next()).ln()).sqrt() * (core::f64::consts::TAU * self.next()).cos()
        }

        /// How many messages a sender sends.
        fn size(&mut self, tail: Tail) -> f64 {
            match tail {
                Tail::Even => 1.0 + (self.next() * 11.0).floor(),
                Tail::LogNormal(sigma) => (sigma * self.normal()).exp().ceil(),
                // Pareto, cut off, as popularity is: many send once, a few in a thousand send thousands.
                Tail::Zipf => (1.0 - self.next() * (1.0 - 3000_f64.powf(-1.2))).powf(-1.0 / 1.2).floor(),
            }
        }

        fn lost(&mut self, size: f64, losing: Losing) -> f64 {
            match losing {
                Losing::Whole(share) => {
                    if self.next() < share {
                        size
                    } else {
                        0.0
                    }
                }
                Losing::Each(share) => (0..whole(size)).filter(|_| self.next() < share).count() as f64,
                Losing::Mixed(share) => {
                    // Some never use TLS, some always, and every fifth does as it happens.
                    let half = self.next() < 0.2;
                    let all = self.next() < share;
                    let part = if half { self.next() * 0.5 } else { f64::from(all) };
                    (0..whole(size)).filter(|_| self.next() < part).count() as f64
                }
                Losing::Small(share) => {
                    if self.next() < share * size.powf(-0.3) {
                        size
                    } else {
                        0.0
                    }
                }
            }
        }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    fn whole(x: f64) -> u64 {
        x as u64
    }

    #[derive(Clone, Copy, Debug)]
    enum Tail {
        Even,
        LogNormal(f64),
        Zipf,
    }

    #[derive(Clone, Copy, Debug)]
    enum Losing {
        /// A sender loses all its mail, or none.
        Whole(f64),
        /// Each message for itself.
        Each(f64),
        Mixed(f64),
        /// As `Whole`, and the smaller the sender, the more likely.
        Small(f64),
    }

    /// Of a thousand samples, how often (in percent) the interval held the truth.
    fn coverage(senders: usize, tail: Tail, losing: Losing) -> f64 {
        let mut random = Random(7);
        let (mut lost, mut all) = (0.0, 0.0);
        for _ in 0..1_000_000 {
            let size = random.size(tail);
            all += size;
            // Its expectation, where that is known, is exact sooner.
            lost += match losing {
                Losing::Whole(share) | Losing::Each(share) => size * share,
                Losing::Mixed(share) => size * (0.2 * 0.25 + 0.8 * share),
                Losing::Small(share) => size * share * size.powf(-0.3),
            };
        }
        let truth = lost / all;
        let mut held = 0;
        for _ in 0..1000 {
            let (mut spread, mut lost, mut all) = (Spread::default(), 0, 0);
            for _ in 0..senders {
                let size = random.size(tail);
                let gone = random.lost(size, losing);
                let (gone, size) = (whole(gone), whole(size));
                spread.add(gone, size, 1.0);
                lost += gone;
                all += size;
            }
            let interval = spread.interval(lost, all).expect("something was counted");
            held += u32::from((interval.low..=interval.high).contains(&truth));
        }
        f64::from(held) / 10.0
    }

    #[test]
    fn the_interval_holds_the_truth_95_times_in_100() {
        use Losing::{Each, Mixed, Small, Whole};
        use Tail::{Even, LogNormal, Zipf};
        for (senders, tail, losing) in [
            (400, Even, Whole(0.1)),
            (100, Even, Whole(0.5)),
            (15, Even, Whole(0.2)),
            (500, LogNormal(1.0), Whole(0.1)),
            (500, LogNormal(1.0), Whole(0.95)),
            (30, LogNormal(1.0), Whole(0.2)),
            (2000, LogNormal(1.0), Whole(0.005)),
            (1000, LogNormal(2.0), Whole(0.1)),
            (1000, Zipf, Whole(0.1)),
            (500, LogNormal(1.0), Each(0.1)),
            (500, LogNormal(1.0), Mixed(0.05)),
            (1000, Zipf, Mixed(0.05)),
            (500, LogNormal(1.0), Small(0.2)),
        ] {
            let percent = coverage(senders, tail, losing);
            println!("{senders} senders, {tail:?}, {losing:?}: {percent} %");
            assert!((93.0..=97.0).contains(&percent), "{senders} senders, {tail:?}, {losing:?}: {percent} %");
        }
    }

    /// Where it cannot be right it is too wide, when losses are rare and rarer among the heavy; and it is a little too
    /// narrow when a handful of senders sends nearly everything. So much is known of the limits.
    #[test]
    fn where_the_sample_tells_little_the_interval_is_not_far_off() {
        for (senders, tail, losing, held) in [
            (1000, Tail::Zipf, Losing::Small(0.2), 95.0..=98.0),
            (3000, Tail::Zipf, Losing::Small(0.005), 97.0..=100.0),
            (200, Tail::LogNormal(2.0), Losing::Whole(0.1), 91.5..=97.0),
        ] {
            let percent = coverage(senders, tail, losing);
            println!("{senders} senders, {tail:?}, {losing:?}: {percent} %");
            assert!(held.contains(&percent), "{senders} senders, {tail:?}, {losing:?}: {percent} %");
        }
    }
}
