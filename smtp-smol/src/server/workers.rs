//! Who runs connections: a thread each, with an executor of its own. A task that any thread may take up wakes two of them at
//! each step, and the reactor besides.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use smol::Executor;

/// A thread, or whatever runs this executor.
#[derive(Debug)]
pub(super) struct Worker {
    executor: Arc<Executor<'static>>,
    /// Connections that it has.
    connections: AtomicUsize,
}

impl Worker {
    pub(super) const fn of(executor: Arc<Executor<'static>>) -> Self {
        Self { executor, connections: AtomicUsize::new(0) }
    }

    pub(super) fn executor(&self) -> Arc<Executor<'static>> {
        self.executor.clone()
    }
}

/// A connection's place with the worker of this number.
#[derive(Debug)]
pub(super) struct Seat(Arc<[Worker]>, usize);

impl Seat {
    /// With the one that has the fewest; of several with the first, so that few connections keep few threads awake.
    pub(super) fn of(workers: &Arc<[Worker]>) -> Self {
        let count = |worker: &Worker| worker.connections.load(Ordering::Relaxed);
        let fewest = workers.iter().enumerate().min_by_key(|(_, worker)| count(worker));
        let seat = Self(workers.clone(), fewest.map_or(0, |(number, _)| number));
        if let Some(worker) = seat.worker() {
            worker.connections.fetch_add(1, Ordering::Relaxed);
        }
        seat
    }

    pub(super) fn worker(&self) -> Option<&Worker> {
        self.0.get(self.1)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(worker) = self.worker() {
            worker.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_goes_to_whom_has_the_fewest() {
        let workers: Arc<[Worker]> = (0..3).map(|_| Worker::of(Arc::default())).collect();
        let mut seats: Vec<_> = (0..4).map(|_| Seat::of(&workers)).collect();
        assert_eq!(seats.iter().map(|seat| seat.1).collect::<Vec<_>>(), [0, 1, 2, 0]);
        seats.remove(1);
        assert_eq!(Seat::of(&workers).1, 1, "and it is given up again");
        assert_eq!(Seat::of(&workers).1, 1);
        seats.clear();
        assert_eq!(Seat::of(&workers).1, 0);
    }
}
