//! Where the program writes what others read: standard output, the log, the ledger. Whoever does not read must not stop
//! mail, so what is written waits in a bounded queue for a thread of its own; what finds no room is dropped, counted, and
//! spoken of. Of the log and the ledger each line is written at once, for it is to outlive a crash.

use std::fmt;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

use crate::lines::Lines;

/// Things that may wait.
pub(crate) const PLACES: usize = 10_000;
/// What they may weigh together, in octets.
pub(crate) const WEIGHT: usize = 8 << 20;

/// A queue before something that is written to.
pub(crate) struct Outlet<T> {
    queue: SyncSender<T>,
    weigh: fn(&T) -> usize,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    /// For messages; none where complaints themselves go, which cannot be complained of.
    name: Option<&'static str>,
    /// Those that wait, and the one that is being written.
    waiting: AtomicUsize,
    weight: AtomicUsize,
    /// Dropped since the last that was written.
    lost: AtomicU64,
    lost_in_all: AtomicU64,
}

impl<T> fmt::Debug for Outlet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.fmt(f)
    }
}

impl<T: Send + 'static> Outlet<T> {
    /// `write` is called on a thread of its own, with how many were lost before this one.
    pub(crate) fn new(
        name: Option<&'static str>,
        weigh: fn(&T) -> usize,
        write: impl FnMut(T, u64) + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, taken) = sync_channel(PLACES);
        let (waiting, weight) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let state = State { name, waiting, weight, lost: AtomicU64::new(0), lost_in_all: AtomicU64::new(0) };
        let state = Arc::new(state);
        let theirs = state.clone();
        thread::Builder::new()
            .name(name.unwrap_or("log").into())
            .spawn(move || drain(&taken, &theirs, weigh, write))?;
        Ok(Self { queue, weigh, state })
    }

    /// Hands it over, or drops it. Never waits.
    pub(crate) fn put(&self, thing: T) {
        let (state, weight) = (&self.state, (self.weigh)(&thing));
        let before = state.weight.fetch_add(weight, Ordering::AcqRel);
        state.waiting.fetch_add(1, Ordering::AcqRel);
        if before + weight <= WEIGHT && self.queue.try_send(thing).is_ok() {
            return;
        }
        state.weight.fetch_sub(weight, Ordering::AcqRel);
        state.waiting.fetch_sub(1, Ordering::AcqRel);
        state.lost_in_all.fetch_add(1, Ordering::AcqRel);
        if state.lost.fetch_add(1, Ordering::AcqRel) == 0
            && let Some(name) = state.name
        {
            tracing::error!("{name} is not read: lines for it are dropped; mail goes on");
        }
    }

    /// Hands over something that may as well be left out when there is no room.
    pub(crate) fn nudge(&self, thing: T) {
        let (state, weight) = (&self.state, (self.weigh)(&thing));
        state.weight.fetch_add(weight, Ordering::AcqRel);
        state.waiting.fetch_add(1, Ordering::AcqRel);
        if self.queue.try_send(thing).is_err() {
            state.weight.fetch_sub(weight, Ordering::AcqRel);
            state.waiting.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Waits until all is written, but not for longer than this.
    pub(crate) fn finish(&self, time: Duration) {
        let end = Instant::now() + time;
        while self.state.waiting.load(Ordering::Acquire) > 0 && Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// How many were dropped.
    pub(crate) fn lost(&self) -> u64 {
        self.state.lost_in_all.load(Ordering::Acquire)
    }
}

fn drain<T>(taken: &Receiver<T>, state: &State, weigh: fn(&T) -> usize, mut write: impl FnMut(T, u64)) {
    while let Ok(thing) = taken.recv() {
        let weight = weigh(&thing);
        let lost = state.lost.swap(0, Ordering::AcqRel);
        if let (Some(name), true) = (state.name, lost > 0) {
            tracing::error!(lost, "{name} is read again; so many lines for it were dropped");
        }
        write(thing, lost);
        state.weight.fetch_sub(weight, Ordering::AcqRel);
        state.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Lines for standard output.
static STDOUT: OnceLock<Arc<Lines>> = OnceLock::new();
/// The log, and what else is said on standard error.
static STDERR: OnceLock<Outlet<Vec<u8>>> = OnceLock::new();

/// Makes the outlets for standard output and standard error.
pub(crate) fn open() -> io::Result<()> {
    let stdout = Lines::new("standard output", |lines| {
        // That nobody reads it any more is no reason to stop taking mail.
        let mut out = io::stdout().lock();
        let _ = out.write_all(lines).and_then(|()| out.flush());
    })?;
    let stderr = Outlet::new(None, Vec::len, |line: Vec<u8>, lost| {
        let mut out = io::stderr().lock();
        if lost > 0 {
            let _ = writeln!(out, "the log was not read: {lost} lines of it were dropped");
        }
        let _ = out.write_all(&line);
    })?;
    let _ = STDOUT.set(stdout);
    let _ = STDERR.set(stderr);
    Ok(())
}

/// Prints a line on standard output: `line` writes it behind the others, with its line end.
pub(crate) fn print(line: impl FnOnce(&mut Vec<u8>)) {
    if let Some(out) = STDOUT.get() {
        out.put(line);
    } else {
        let mut alone = Vec::new();
        line(&mut alone);
        let _ = io::stdout().write_all(&alone);
    }
}

/// Says something on standard error.
pub(crate) fn say(words: &str) {
    match STDERR.get() {
        Some(out) => out.put(words.into()),
        None => drop(io::stderr().write_all(words.as_bytes())),
    }
}

/// Waits until both are written, but not for longer than this.
pub(crate) fn finish(time: Duration) {
    STDOUT.get().iter().for_each(|out| out.finish(time));
    STDERR.get().iter().for_each(|out| out.finish(time));
}

/// Lines that standard output and the log have lost.
pub(crate) fn lost() -> (u64, u64) {
    (STDOUT.get().map_or(0, |out| out.lost()), STDERR.get().map_or(0, Outlet::lost))
}

/// The log's way to standard error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Log;

impl io::Write for Log {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match STDERR.get() {
            Some(out) => out.put(octets.into()),
            None => io::stderr().write_all(octets)?,
        }
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn what_finds_no_room_is_dropped_and_counted_and_nothing_waits() {
        let (go, wait) = channel::<()>();
        let written: Arc<Mutex<Vec<(usize, u64)>>> = Arc::default();
        let theirs = written.clone();
        let outlet = Outlet::new(
            Some("x"),
            |_: &usize| 1,
            move |n, lost| {
                let _ = wait.recv();
                theirs.lock().expect("whole").push((n, lost));
            },
        )
        .expect("a thread");
        let many = PLACES + 100;
        (0..many).for_each(|n| outlet.put(n));
        let lost = outlet.lost();
        assert!((99..=100).contains(&lost), "{lost}: one may be in the hands of the thread");
        outlet.finish(Duration::from_millis(20));
        drop(go);
        outlet.finish(Duration::from_secs(30));
        outlet.put(many);
        outlet.finish(Duration::from_secs(30));
        let written = written.lock().expect("whole");
        assert_eq!(written.len() as u64, many as u64 - lost + 1);
        assert_eq!(written.iter().map(|(_, lost)| lost).sum::<u64>(), lost);
    }

    #[test]
    fn what_is_heavy_finds_no_room_either() {
        let (go, wait) = channel::<()>();
        let outlet = Outlet::new(None, Vec::len, move |_: Vec<u8>, _| {
            let _ = wait.recv();
        })
        .expect("a thread");
        for _ in 0..10 {
            outlet.put(vec![0; WEIGHT / 4]);
        }
        assert_eq!(outlet.lost(), 6);
        drop(go);
        outlet.finish(Duration::from_secs(30));
        outlet.put(vec![0; WEIGHT / 4]);
        assert_eq!(outlet.lost(), 6);
    }
}
