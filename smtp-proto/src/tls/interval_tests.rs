extern crate std;

use std::println;
use std::vec::Vec;

use super::*;

#[test]
fn square_roots_are_those_of_std() {
    for n in 0..1_000_u32 {
        let x = f64::from(n).powi(3) / 1e8;
        assert!((sqrt(x) - x.sqrt()).abs() <= 1e-15 + x.sqrt() * 1e-15, "{x}");
    }
}

#[test]
fn students_t_is_that_of_the_tables() {
    for (freedom, expected) in [(4.0, 2.776), (5.0, 2.571), (8.0, 2.306), (30.0, 2.042), (1e9, 1.960)] {
        assert!((student(freedom) - expected).abs() < 0.0015, "{freedom}: {}", student(freedom));
    }
}

fn interval(senders: &[(u64, u64)]) -> Option<Interval> {
    let mut spread = Spread::new(senders.iter().map(|s| s.0).sum(), senders.iter().map(|s| s.1).sum());
    senders.iter().for_each(|(lost, total)| spread.add(*lost, *total, 1.0));
    spread.interval()
}

#[test]
fn with_one_message_a_sender_it_is_nearly_wilsons() {
    let senders: Vec<_> = (0..3000).map(|n| (u64::from(n < 150), 1)).collect();
    let interval = interval(&senders).expect("something was counted");
    // From R: prop.test(150, 3000, correct = FALSE).
    assert!((interval.low - 0.042_75).abs() < 1e-4 && (interval.high - 0.058_41).abs() < 1e-4, "{interval:?}");
}

#[test]
fn as_many_messages_of_each_sender_change_nothing_where_it_loses_all_or_nothing() {
    let of = |messages| (0..300).map(|n| (u64::from(n < 15) * messages, messages)).collect::<Vec<_>>();
    let (two, many) = (interval(&of(2)).expect("counted"), interval(&of(1000)).expect("counted"));
    assert!((two.low - many.low).abs() < 1e-12 && (two.high - many.high).abs() < 1e-12, "{two:?} {many:?}");
}

#[test]
fn where_nothing_was_seen_three_over_the_number_of_senders_bounds_it() {
    assert_eq!(interval(&[(0, 7); 300]), Some(Interval { low: 0.0, high: 0.01 }));
    assert_eq!(interval(&[(7, 7); 300]), Some(Interval { low: 0.99, high: 1.0 }));
    assert_eq!(interval(&[]), None);
    // One sender says nothing of others, however much it sends.
    assert_eq!(interval(&[(0, 1_000_000)]), Some(Interval { low: 0.0, high: 1.0 }));
    let one = interval(&[(400_000, 1_000_000)]).expect("counted");
    assert!(one.low < 0.1 && one.high > 0.85, "{one:?}");
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

    /// Jöhnk's, for small a and b.
    fn beta(&mut self, a: f64, b: f64) -> f64 {
        loop {
            let (x, y) = (self.next().powf(1.0 / a), self.next().powf(1.0 / b));
            if x + y <= 1.0 && x + y > 0.0 {
                return x / (x + y);
            }
        }
    }

    fn times(&mut self, size: u64, share: f64) -> u64 {
        (0..size).filter(|_| self.next() < share).count() as u64
    }

    /// How many messages a sender sends.
    fn size(&mut self, tail: Tail) -> u64 {
        whole(match tail {
            Tail::Even => 1.0 + (self.next() * 11.0).floor(),
            Tail::LogNormal(sigma) => (sigma * self.normal()).exp().ceil(),
            // Cut off at 3,000, as popularity is somewhere.
            Tail::Pareto(alpha) => (1.0 - self.next() * (1.0 - 3000_f64.powf(-alpha))).powf(-1.0 / alpha).floor(),
        })
    }

    fn lost(&mut self, size: u64, losing: Losing) -> u64 {
        match losing {
            Losing::Whole(share) => size * u64::from(self.next() < share),
            Losing::Each(share) => self.times(size, share),
            Losing::Beta(share, sum) => {
                let part = self.beta(share * sum, (1.0 - share) * sum);
                self.times(size, part)
            }
            Losing::Mixed(share) => {
                let half = self.next() < 0.2;
                let all = self.next() < share;
                let part = if half { self.next() * 0.5 } else { f64::from(all) };
                self.times(size, part)
            }
            Losing::BySize(..) => size * u64::from(self.next() < losing.expected(size as f64)),
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
fn whole(x: f64) -> u64 {
    x as u64
}

/// How unequal senders are.
#[derive(Clone, Copy, Debug)]
enum Tail {
    Even,
    LogNormal(f64),
    /// Many send once, a few in a thousand send thousands.
    Pareto(f64),
}

#[derive(Clone, Copy, Debug)]
enum Losing {
    /// A sender loses all its mail, or none.
    Whole(f64),
    /// Each message for itself.
    Each(f64),
    /// Each sender has a share of its own, from a beta distribution of this mean and sum of parameters.
    Beta(f64, f64),
    /// Some never use TLS, some always, and every fifth does as it happens.
    Mixed(f64),
    /// As `Whole`, but times size to this power.
    BySize(f64, f64),
}

impl Losing {
    /// The share that a sender of this size is expected to lose.
    fn expected(self, size: f64) -> f64 {
        match self {
            Self::Whole(share) | Self::Each(share) | Self::Beta(share, _) => share,
            Self::Mixed(share) => 0.2 * 0.25 + 0.8 * share,
            Self::BySize(share, power) => (share * size.powf(power)).min(1.0),
        }
    }
}

/// Of so many samples, how often (in percent) the interval held the truth.
fn coverage(senders: usize, tail: Tail, losing: Losing) -> f64 {
    const SAMPLES: u32 = 2000;
    let mut random = Random(7);
    let mut truth = losing.expected(1.0);
    if let Losing::BySize(..) = losing {
        let (mut lost, mut all) = (0.0, 0.0);
        for _ in 0..1_000_000 {
            let size = random.size(tail) as f64;
            all += size;
            lost += size * losing.expected(size);
        }
        truth = lost / all;
    }
    let mut held = 0;
    let mut sample = Vec::new();
    for _ in 0..SAMPLES {
        sample.clear();
        sample.extend((0..senders).map(|_| {
            let size = random.size(tail);
            (random.lost(size, losing), size)
        }));
        let interval = interval(&sample).expect("something was counted");
        held += u32::from((interval.low..=interval.high).contains(&truth));
    }
    let percent = 100.0 * f64::from(held) / f64::from(SAMPLES);
    println!("{senders} senders, {tail:?}, {losing:?}: {percent} %");
    percent
}

#[test]
fn the_interval_holds_the_truth_95_times_in_100() {
    use Losing::{Beta, BySize, Each, Mixed, Whole};
    use Tail::{Even, LogNormal, Pareto};
    for (senders, tail, losing) in [
        (400, Even, Whole(0.1)),
        (100, Even, Whole(0.5)),
        (40, Even, Whole(0.2)),
        (500, LogNormal(1.0), Whole(0.1)),
        (500, LogNormal(1.0), Whole(0.95)),
        (30, LogNormal(1.0), Whole(0.2)),
        (2000, LogNormal(1.0), Whole(0.005)),
        (300, LogNormal(1.5), Whole(0.05)),
        (200, LogNormal(2.0), Whole(0.1)),
        (1000, LogNormal(2.0), Whole(0.1)),
        (1000, Pareto(1.2), Whole(0.1)),
        (1000, Pareto(1.2), Whole(0.02)),
        (300, Pareto(0.9), Whole(0.05)),
        (500, LogNormal(1.0), Each(0.1)),
        (500, LogNormal(2.0), Beta(0.1, 1.0)),
        (500, Pareto(1.2), Beta(0.1, 1.0)),
        (500, LogNormal(1.0), Mixed(0.05)),
        (1000, Pareto(1.2), Mixed(0.05)),
        (500, LogNormal(1.0), BySize(0.2, -0.3)),
        (1000, Pareto(1.2), BySize(0.2, -0.3)),
        (1000, LogNormal(1.5), BySize(0.1, -0.2)),
        (1000, LogNormal(1.5), BySize(0.02, 0.15)),
    ] {
        let percent = coverage(senders, tail, losing);
        assert!((93.0..=97.0).contains(&percent), "{senders} senders, {tail:?}, {losing:?}: {percent} %");
    }
}

/// Where losses are rare and by far rarer among the heavy it is too wide, and a little too narrow where they are more
/// frequent among the heaviest: of those a sample has too few to tell. Of a handful of senders the number that loses goes
/// by steps. So much is known of the limits.
#[test]
fn where_the_sample_tells_little_the_interval_is_not_far_off() {
    for (senders, tail, losing, held) in [
        (15, Tail::Even, Losing::Whole(0.2), 96.0..=98.0),
        (3000, Tail::Pareto(1.2), Losing::BySize(0.005, -0.3), 97.0..=100.0),
        (3000, Tail::Pareto(1.2), Losing::BySize(0.03, -0.6), 97.0..=100.0),
        (1000, Tail::Pareto(1.2), Losing::BySize(0.02, 0.2), 91.0..=94.0),
    ] {
        let percent = coverage(senders, tail, losing);
        assert!(held.contains(&percent), "{senders} senders, {tail:?}, {losing:?}: {percent} %");
    }
}
