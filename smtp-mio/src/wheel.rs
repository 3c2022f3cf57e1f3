//! Deadlines without work per byte: a wheel of buckets, in which each connection stands once.

use std::time::Duration;

pub(crate) const TICK: Duration = Duration::from_millis(500);

/// Ticks in so much time; at least one.
pub(crate) fn ticks(time: Duration) -> u64 {
    u64::try_from(time.as_millis() / TICK.as_millis()).unwrap_or(u64::MAX).max(1)
}

#[derive(Debug)]
pub(crate) struct Wheel {
    buckets: Vec<Vec<(usize, u64)>>,
    now: u64,
}

impl Wheel {
    pub(crate) fn new(now: u64) -> Self {
        Self { buckets: vec![Vec::new(); 1024], now }
    }

    /// Looks at `key` again at `tick`, or earlier if that lies beyond the wheel. `generation` tells reused keys apart.
    /// Gives the tick at which it will be.
    pub(crate) fn put(&mut self, key: usize, generation: u64, tick: u64) -> u64 {
        let size = self.buckets.len() as u64;
        let tick = tick.clamp(self.now + 1, self.now + size - 1);
        let at = usize::try_from(tick % size).unwrap_or(0);
        self.buckets[at].push((key, generation));
        tick
    }

    /// Moves on to `now`, and gives everything that was to be looked at on the way.
    pub(crate) fn advance(&mut self, now: u64, due: &mut Vec<(usize, u64)>) {
        let size = self.buckets.len() as u64;
        for tick in self.now + 1..=now.min(self.now + size) {
            let at = usize::try_from(tick % size).unwrap_or(0);
            due.append(&mut self.buckets[at]);
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
            wheel.put(key, 7, tick);
        }
        for now in 6..6000 {
            wheel.advance(now, &mut due);
            for (key, _) in due.drain(..) {
                // Beyond the wheel: put back by its owner.
                if key == 3 && now < 5000 {
                    wheel.put(3, 7, 5000);
                } else {
                    seen.push((key, now));
                }
            }
        }
        assert_eq!(seen, [(1, 6), (4, 6), (2, 900), (3, 5000)]);
    }
}
