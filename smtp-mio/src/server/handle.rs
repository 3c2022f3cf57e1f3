//! What ends a running server, and knows what it does.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mio::Waker;

use super::limits::{Counters, Stats};

/// Ends a running server, and knows what it does.
#[derive(Clone, Debug, Default)]
pub struct Handle {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    loops: Mutex<Vec<(Arc<Waker>, Arc<Counters>)>>,
}

impl Handle {
    /// No new connections; messages in flight complete; 421 to the rest. `run` returns when all have ended.
    pub fn shut_down(&self) {
        self.shared.stop.store(true, Ordering::Release);
        for (waker, _) in self.loops().iter() {
            let _ = waker.wake();
        }
    }

    /// What the server has done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        self.loops().iter().for_each(|(_, counters)| counters.add_to(&mut stats));
        stats
    }

    pub(crate) fn join(&self, waker: Arc<Waker>, counters: Arc<Counters>) {
        self.loops().push((waker, counters));
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.shared.stop.load(Ordering::Acquire)
    }

    fn loops(&self) -> MutexGuard<'_, Vec<(Arc<Waker>, Arc<Counters>)>> {
        self.shared.loops.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
