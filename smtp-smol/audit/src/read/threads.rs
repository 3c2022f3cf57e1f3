//! A source is read piece by piece, and several threads work on the pieces: each takes up whatever can be done. What must be done
//! in order is done in order, so that the result is that of one thread.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::count::desk::Desk;

/// As many as there are cores, but no more than can have something to do: what is done in order is done by one at a time.
pub(crate) fn default() -> usize {
    const MOST: usize = 8;
    thread::available_parallelism().map_or(1, |cores| cores.get().min(MOST))
}

/// Takes all pieces through four steps, on so many threads. `parse` is done of several pieces at once; each of the others of one
/// at a time, and in the order in which the pieces were read. `read` ends it with `None`.
pub(crate) fn work<P: Send, Q: Send, R: Send>(
    threads: usize,
    read: impl FnMut() -> Option<P> + Send,
    parse: impl Fn(P) -> Q + Sync,
    join: impl FnMut(Q) -> R + Send,
    count: impl FnMut(R) + Send,
) {
    let steps = Steps { read: Mutex::new(read), parse, join: Mutex::new(join), count: Mutex::new(count) };
    let board = Board::new(threads + 2);
    thread::scope(|scope| {
        for _ in 1..threads {
            // With fewer threads it takes longer.
            let _ = thread::Builder::new().spawn_scoped(scope, || board.work(&steps));
        }
        board.work(&steps);
    });
}

/// The same of a source whose messages are handed in at the desk when they are joined, and counted there in a step of its own.
pub(crate) fn hand_in<P: Send, Q: Send>(
    threads: usize,
    read: impl FnMut() -> Option<P> + Send,
    parse: impl Fn(P) -> Q + Sync,
    mut join: impl FnMut(Q, &mut Desk) + Send,
    desk: &mut Desk,
) {
    let mut front = desk.front();
    let join = |piece| {
        join(piece, &mut front);
        front.hand_over()
    };
    work(threads, read, parse, join, |held| held.each(|seen| desk.take(seen)));
    desk.add_front(front);
}

/// The same of a source that is read to its end, or until `join` fails.
///
/// # Errors
/// The first of `join`'s.
pub(crate) fn until<P: Send, Q: Send, E: Send>(
    threads: usize,
    mut read: impl FnMut() -> Option<P> + Send,
    parse: impl Fn(P) -> Q + Sync,
    mut join: impl FnMut(Q) -> Result<(), E> + Send,
) -> Result<(), E> {
    let mut result = Ok(());
    let given_up = AtomicBool::new(false);
    work(
        threads,
        || if given_up.load(Ordering::Relaxed) { None } else { read() },
        parse,
        |piece| {
            if result.is_ok() {
                result = join(piece);
                given_up.store(result.is_err(), Ordering::Relaxed);
            }
        },
        |()| {},
    );
    result
}

/// Room that pieces took, for those that follow.
#[derive(Debug, Default)]
pub(crate) struct Spare<T>(Mutex<Vec<T>>);

impl<T: Default> Spare<T> {
    pub(crate) fn take(&self) -> T {
        lock(&self.0).pop().unwrap_or_default()
    }

    pub(crate) fn give(&self, room: T) {
        lock(&self.0).push(room);
    }
}

struct Steps<Read, Parse, Join, Count> {
    read: Mutex<Read>,
    parse: Parse,
    join: Mutex<Join>,
    count: Mutex<Count>,
}

/// Where the threads see what is to be done.
struct Board<Q, R> {
    state: Mutex<State<Q, R>>,
    changed: Condvar,
    /// So many pieces are under way at most.
    most: usize,
}

struct State<Q, R> {
    /// In order; `None` while it is being parsed.
    parsed: VecDeque<Option<Q>>,
    /// The number of the first of these.
    first: usize,
    joined: VecDeque<R>,
    reading: bool,
    joining: bool,
    counting: bool,
    under_way: usize,
    /// There are no more, or a thread has failed.
    ended: bool,
    failed: bool,
}

impl<Q, R> Board<Q, R> {
    const fn new(most: usize) -> Self {
        let state = State {
            parsed: VecDeque::new(),
            first: 0,
            joined: VecDeque::new(),
            reading: false,
            joining: false,
            counting: false,
            under_way: 0,
            ended: false,
            failed: false,
        };
        Self { state: Mutex::new(state), changed: Condvar::new(), most }
    }

    fn work<P>(&self, steps: &Steps<impl FnMut() -> Option<P>, impl Fn(P) -> Q, impl FnMut(Q) -> R, impl FnMut(R)>) {
        let _guard = Failing(self);
        let mut state = self.state();
        // What is nearest to its end comes first, so that little waits.
        loop {
            if state.failed {
                return;
            }
            if !state.counting
                && let Some(piece) = state.joined.pop_front()
            {
                state.counting = true;
                drop(state);
                lock(&steps.count)(piece);
                state = self.state();
                state.counting = false;
                state.under_way -= 1;
            } else if !state.joining
                && let Some(piece) = state.parsed.front_mut().and_then(Option::take)
            {
                state.parsed.pop_front();
                state.first += 1;
                state.joining = true;
                drop(state);
                let joined = lock(&steps.join)(piece);
                state = self.state();
                state.joined.push_back(joined);
                state.joining = false;
            } else if !state.reading && !state.ended && state.under_way < self.most {
                state.reading = true;
                drop(state);
                let piece = lock(&steps.read)();
                state = self.state();
                state.reading = false;
                let Some(piece) = piece else {
                    state.ended = true;
                    self.changed.notify_all();
                    continue;
                };
                let number = state.first + state.parsed.len();
                state.parsed.push_back(None);
                state.under_way += 1;
                self.changed.notify_all();
                drop(state);
                let parsed = (steps.parse)(piece);
                state = self.state();
                let at = number - state.first;
                state.parsed[at] = Some(parsed);
            } else if state.ended && state.under_way == 0 {
                return;
            } else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            self.changed.notify_all();
        }
    }

    fn state(&self) -> MutexGuard<'_, State<Q, R>> {
        lock(&self.state)
    }
}

/// Where a thread fails the others end, too, and do not wait for what it had.
struct Failing<'a, Q, R>(&'a Board<Q, R>);

impl<Q, R> Drop for Failing<'_, Q, R> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.state().failed = true;
            self.0.changed.notify_all();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::work;

    #[test]
    fn what_is_done_in_order_is_done_in_order() {
        for threads in [1, 2, 3, 8] {
            for pieces in [0, 1, 2, 1000] {
                let (mut read, mut joined, mut counted) = (0, Vec::new(), Vec::new());
                work(
                    threads,
                    || (read < pieces).then(|| read += 1).map(|()| read),
                    |piece: usize| {
                        // Some take longer.
                        (0..piece % 7 * 1000).fold(piece, |sum, add| std::hint::black_box(sum ^ add ^ add))
                    },
                    |piece| {
                        joined.push(piece);
                        piece
                    },
                    |piece| counted.push(piece),
                );
                let all: Vec<usize> = (1..=pieces).collect();
                assert_eq!((&joined, &counted), (&all, &all), "{threads}");
            }
        }
    }

    #[test]
    fn a_step_that_fails_ends_it() {
        for failing in 0..4 {
            let mut read = 0;
            let fails = |step| assert!(step != failing, "meant to fail");
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                work(
                    4,
                    || {
                        read += 1;
                        if read == 20 {
                            fails(0);
                        }
                        Some(read)
                    },
                    |piece| {
                        if piece == 30 {
                            fails(1);
                        }
                    },
                    |()| fails(2),
                    |()| fails(3),
                );
            }));
            assert!(ended.is_err(), "{failing}");
        }
    }
}
