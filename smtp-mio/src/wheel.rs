//! Deadlines without work per byte: a wheel of buckets, in which each connection stands once.

use std::time::Duration;

pub(crate) const TICK: Duration = Duration::from_millis(500);
const A_SECOND: u64 = 2;
/// Buckets, one a tick.
const SIZE: u32 = 1024;

/// Ticks in so much time; at least one. There are numbers for 68 years of them.
pub(crate) fn ticks(time: Duration) -> u32 {
    gone_by(time).max(1)
}

/// Ticks that have ended in so much time. It is asked at each turn, so without the wide division of milliseconds.
pub(crate) fn gone_by(time: Duration) -> u32 {
    const { assert!(TICK.as_nanos() * A_SECOND as u128 == 1_000_000_000) };
    let whole = u32::try_from(time.as_secs().saturating_mul(A_SECOND)).unwrap_or(u32::MAX);
    whole.saturating_add(time.subsec_nanos() / TICK.subsec_nanos())
}

#[derive(Debug)]
pub(crate) struct Wheel {
    buckets: Vec<Vec<usize>>,
    now: u32,
}

impl Wheel {
    pub(crate) fn new(now: u32) -> Self {
        Self { buckets: vec![Vec::new(); SIZE as usize], now }
    }

    /// Looks at `key` again at `tick`, or earlier if that lies beyond the wheel. Gives the tick at which it will be: by that
    /// its owner tells a place that is its own from one that it has given up, or that had its key before.
    pub(crate) fn put(&mut self, key: usize, tick: u32) -> u32 {
        let tick = tick.clamp(self.now + 1, self.now + SIZE - 1);
        self.buckets[(tick % SIZE) as usize].push(key);
        tick
    }

    /// Moves on to `now`, and gives everything that was to be looked at on the way.
    pub(crate) fn advance(&mut self, now: u32, due: &mut Vec<usize>) {
        for tick in self.now + 1..=now.min(self.now + SIZE) {
            due.append(&mut self.buckets[(tick % SIZE) as usize]);
        }
        self.now = self.now.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::Wheel;

    #[test]
    fn everything_comes_once_and_in_time() {
        let mut wheel = Wheel::new(5);
        let (mut due, mut seen) = (Vec::new(), Vec::new());
        for (key, tick) in [(1, 6), (2, 900), (3, 5000), (4, 0)] {
            wheel.put(key, tick);
        }
        for now in 6..6000 {
            wheel.advance(now, &mut due);
            for key in due.drain(..) {
                // Beyond the wheel: put back by its owner.
                if key == 3 && now < 5000 {
                    wheel.put(3, 5000);
                } else {
                    seen.push((key, now));
                }
            }
        }
        assert_eq!(seen, [(1, 6), (4, 6), (2, 900), (3, 5000)]);
    }
}
