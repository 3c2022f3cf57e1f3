//! How far chance goes: an interval for a share of messages, where messages of one sender stand or fall together.
//!
//! The senders are taken as a sample, not the messages. By how much the share would vary from one such sample to the
//! next is told in two ways.
//!
//! *What was seen*: each sender is left out in turn, and the share taken again (the jackknife). It supposes nothing, but
//! where the tails are heavy few senders decide it, and a sample in which the heavy ones all use TLS knows of no other.
//!
//! *What would be if the heavy were like the light*: the variance follows from how uneven the senders are in size, and
//! from how far the messages of one sender go the same way (the intraclass correlation, which is 1 when each loses all
//! or nothing; Kish, 1965).
//!
//! The first is believed as far as it has degrees of freedom (those of a sum of squares of unequal size: Satterthwaite,
//! 1946), with Student's t in place of the normal distribution for what is left of chance in it; the second for the
//! rest. Together they say how many independent messages the sample is worth, and with that number the interval is
//! Wilson's (1927).
//!
//! What other intervals hold of what they promise, percentiles of a bootstrap by sender, bootstrap-t, and the jackknife
//! alone among them, and what this one does, `.ci/coverage.py` measures; the test below does so for this one.

/// Of the normal distribution, two-sided 95 %.
const Z: f64 = 1.959_963_984_540_054;
/// So many degrees of freedom of what was seen weigh as much as what is supposed.
const SUPPOSED: f64 = 15.0;
/// Degrees of freedom of Student's t for each of a sum of squares with heavy tails: as simulation has it.
const STUDENT: f64 = 6.0;

/// Bounds between which the share lies with a confidence of 95 %.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Interval {
    /// The lower bound of the share, between 0 and 1.
    pub low: f64,
    /// The upper bound of the share, between 0 and 1.
    pub high: f64,
}

/// Gathers how the senders differ.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spread {
    lost: u64,
    total: u64,
    /// Senders.
    senders: f64,
    /// Sum of the squares of the senders' messages.
    squares: f64,
    /// Sums of the second and fourth powers of what each sender, left out, changes.
    second: f64,
    fourth: f64,
    /// Of the senders with two messages or more: their number,
    several: f64,
    /// the sum of their shares,
    shares: f64,
    /// and the sum of the variances between the messages of each.
    within: f64,
}

impl Spread {
    /// For so many messages lost of so many. The senders of them follow, by [`add`](Self::add).
    pub(super) const fn new(lost: u64, total: u64) -> Self {
        Self {
            lost,
            total,
            senders: 0.0,
            squares: 0.0,
            second: 0.0,
            fourth: 0.0,
            several: 0.0,
            shares: 0.0,
            within: 0.0,
        }
    }

    /// Adds a sender, who stands for `weight` senders.
    #[expect(clippy::cast_precision_loss, reason = "a statistic")]
    pub(super) fn add(&mut self, lost: u64, total: u64, weight: f64) {
        let (all, share) = (self.total as f64, self.lost as f64 / self.total as f64);
        let (lost, total) = (lost as f64, total as f64);
        if total < 1.0 {
            return;
        }
        self.senders += weight;
        self.squares += weight * total * total;
        if total < all {
            // (all lost - lost) / (all - total) - share
            let change = weight * square((lost - share * total) / (all - total));
            self.second += change;
            self.fourth += square(change);
        }
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
        if self.several > 1.0 && all > 0.0 { (1.0 - self.within / self.several / all).clamp(0.0, 1.0) } else { 1.0 }
    }

    /// The interval of 95 % for the share.
    #[expect(clippy::cast_precision_loss, reason = "a statistic")]
    pub(super) fn interval(&self) -> Option<Interval> {
        if self.total == 0 {
            return None;
        }
        let all = self.total as f64;
        let share = self.lost as f64 / all;
        // Where a sender once seen says it all: the number of senders, less when they are uneven.
        let senders = all * all / self.squares.max(all);
        if self.lost == 0 {
            // (1 - x)^n = 0.05 at about 3 / n.
            return Some(Interval { low: 0.0, high: (3.0 / senders).min(1.0) });
        }
        if self.lost >= self.total {
            return Some(Interval { low: (1.0 - 3.0 / senders).max(0.0), high: 1.0 });
        }
        let binomial = share * (1.0 - share);
        let supposed = binomial * (all + (self.squares - all).max(0.0) * self.correlation()) / (all * all);
        let seen = self.second * (self.senders - 1.0).max(0.0) / self.senders.max(1.0);
        let freedom = if self.fourth > 0.0 { square(self.second) / self.fourth } else { 0.0 };
        let belief = freedom / (freedom + SUPPOSED);
        let n = binomial / (belief * seen + (1.0 - belief) * supposed);
        let z = belief * student(STUDENT * freedom) + (1.0 - belief) * Z;
        let zz = z * z / n;
        let middle = (share + zz / 2.0) / (1.0 + zz);
        let half = z / (1.0 + zz) * sqrt(binomial / n + zz / (4.0 * n));
        Some(Interval { low: (middle - half).max(0.0), high: (middle + half).min(1.0) })
    }
}

impl Interval {
    /// The interval of 95 % for a share of whatever comes in clusters that stand or fall together, of each of which it is
    /// given how many are lost and how many there are. They are gone through twice. `None` without any.
    #[must_use]
    pub fn of<I: IntoIterator<Item = (u64, u64), IntoIter: Clone>>(clusters: I) -> Option<Self> {
        let clusters = clusters.into_iter();
        let (lost, total) = clusters.clone().fold((0_u64, 0_u64), |(lost, total), (one, of)| {
            (lost.saturating_add(one.min(of)), total.saturating_add(of))
        });
        let mut spread = Spread::new(lost, total);
        for (lost, total) in clusters {
            spread.add(lost.min(total), total, 1.0);
        }
        spread.interval()
    }
}

/// Of Student's t, two-sided 95 %: Fisher's expansion about the normal distribution, to 0.001 for 4 degrees of freedom
/// and more.
fn student(freedom: f64) -> f64 {
    let r = 1.0 / freedom.max(4.0);
    Z + r * (2.372_271 + r * (2.822_499 + r * (2.555_850 + r * 1.589_534)))
}

fn square(x: f64) -> f64 {
    x * x
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
#[path = "interval_tests.rs"]
mod tests;
