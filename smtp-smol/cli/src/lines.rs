//! Lines for standard output. They wait one behind the other, within bounds, for a thread of their own: whoever does not
//! read must not stop mail.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{io, thread};

use crate::outlet::{PLACES, WEIGHT};

/// Lines that come in so much time are written together: to wake a thread costs more than a line does.
const PAUSE: Duration = Duration::from_millis(5);
/// Whole lines are written in pieces of so much at most, unless a line is longer: a pipe takes so much at once, and nobody
/// else's words come between (pipe(7), `PIPE_BUF`).
const PIECE: usize = 4096;
/// Memory beyond this is given back when it was written.
const KEPT: usize = 64 << 10;

/// Lines that wait to be written.
#[derive(Debug)]
pub(crate) struct Lines {
    name: &'static str,
    waiting: Mutex<Waiting>,
    came: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    text: Vec<u8>,
    lines: usize,
    /// Of those that are being written: how many, and how many octets.
    in_hand: (usize, usize),
    /// The thread waits for a line.
    idle: bool,
    /// Dropped since the last that was written, and in all.
    lost_of_late: u64,
    lost: u64,
}

impl Lines {
    /// `write` is called on a thread of its own, with whole lines.
    pub(crate) fn new(name: &'static str, write: impl FnMut(&[u8]) + Send + 'static) -> io::Result<Arc<Self>> {
        let lines = Arc::new(Self { name, waiting: Mutex::default(), came: Condvar::new() });
        let theirs = lines.clone();
        thread::Builder::new().name(name.into()).spawn(move || theirs.drain(write))?;
        Ok(lines)
    }

    /// Has a line written behind the others, with its line end, or drops it. Never waits for whoever reads.
    pub(crate) fn put(&self, line: impl FnOnce(&mut Vec<u8>)) {
        let mut waiting = self.lock();
        let before = waiting.text.len();
        line(&mut waiting.text);
        let (lines, octets) = waiting.in_hand;
        if waiting.lines + lines < PLACES && waiting.text.len() + octets <= WEIGHT {
            waiting.lines += 1;
            if std::mem::take(&mut waiting.idle) {
                drop(waiting);
                self.came.notify_one();
            }
            return;
        }
        waiting.text.truncate(before);
        (waiting.lost, waiting.lost_of_late) = (waiting.lost + 1, waiting.lost_of_late + 1);
        let first = waiting.lost_of_late == 1;
        drop(waiting);
        if first {
            tracing::error!("{} is not read: lines for it are dropped; mail goes on", self.name);
        }
    }

    /// Waits until all is written, but not for longer than this.
    pub(crate) fn finish(&self, time: Duration) {
        let end = Instant::now() + time;
        let waits = |waiting: &Waiting| waiting.lines + waiting.in_hand.0 > 0;
        while waits(&self.lock()) && Instant::now() < end {
            thread::sleep(PAUSE);
        }
    }

    /// How many were dropped.
    pub(crate) fn lost(&self) -> u64 {
        self.lock().lost
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn drain(&self, mut write: impl FnMut(&[u8])) {
        let mut text = Vec::new();
        loop {
            let lost = self.next(&mut text);
            if lost > 0 {
                tracing::error!(lost, "{} is read again; so many lines for it were dropped", self.name);
            }
            let mut rest = &text[..];
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(piece(rest));
                write(piece);
                let written = piece.iter().filter(|octet| **octet == b'\n').count();
                let mut waiting = self.lock();
                waiting.in_hand = (waiting.in_hand.0.saturating_sub(written), after.len());
                drop(waiting);
                rest = after;
            }
            self.lock().in_hand = (0, 0);
            text.clear();
            text.shrink_to(KEPT);
            thread::sleep(PAUSE);
        }
    }

    /// Takes what waits, once there is something; tells how many lines were lost before.
    fn next(&self, text: &mut Vec<u8>) -> u64 {
        let mut waiting = self.lock();
        while waiting.text.is_empty() {
            waiting.idle = true;
            waiting = self.came.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(&mut waiting.text, text);
        waiting.in_hand = (std::mem::take(&mut waiting.lines), text.len());
        std::mem::take(&mut waiting.lost_of_late)
    }
}

/// As many whole lines as go into a piece, but one at least.
fn piece(text: &[u8]) -> usize {
    let within = text.get(..PIECE).unwrap_or(text);
    let end = within.iter().rposition(|octet| *octet == b'\n');
    let end = end.or_else(|| text.iter().position(|octet| *octet == b'\n'));
    end.map_or(text.len(), |end| end + 1)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    fn number(n: usize) -> impl FnOnce(&mut Vec<u8>) {
        move |line| line.extend_from_slice(format!("{n}\n").as_bytes())
    }

    #[test]
    fn what_finds_no_room_is_dropped_and_counted_and_nothing_waits() {
        let (go, wait) = channel::<()>();
        let (written, read) = channel();
        let lines = Lines::new("x", move |text| {
            let _ = wait.recv();
            let _ = written.send(text.to_vec());
        })
        .expect("a thread");
        let many = PLACES + 100;
        (0..many).for_each(|n| lines.put(number(n)));
        assert_eq!(lines.lost(), 100);
        lines.finish(Duration::from_millis(20));
        drop(go);
        lines.finish(Duration::from_secs(30));
        lines.put(number(many));
        lines.finish(Duration::from_secs(30));
        let pieces: Vec<Vec<u8>> = read.try_iter().collect();
        assert!(pieces.iter().all(|piece| piece.ends_with(b"\n") && piece.len() <= PIECE));
        let expected: Vec<u8> = (0..PLACES).chain([many]).flat_map(|n| format!("{n}\n").into_bytes()).collect();
        assert_eq!(pieces.concat(), expected);
        assert_eq!(lines.lost(), 100);
    }

    #[test]
    fn what_is_heavy_finds_no_room_either() {
        let (go, wait) = channel::<()>();
        let lines = Lines::new("x", move |_| {
            let _ = wait.recv();
        })
        .expect("a thread");
        let heavy = |line: &mut Vec<u8>| line.extend([vec![b'x'; WEIGHT / 4 - 1], vec![b'\n']].concat());
        (0..10).for_each(|_| lines.put(heavy));
        assert_eq!(lines.lost(), 6);
        drop(go);
        lines.finish(Duration::from_secs(30));
        lines.put(heavy);
        assert_eq!(lines.lost(), 6);
    }

    #[test]
    fn a_piece_has_whole_lines_alone() {
        assert_eq!(piece(b"a\nbc\n"), 5);
        let long = [vec![b'x'; PIECE], b"\ny\n".to_vec()].concat();
        assert_eq!(piece(&long), PIECE + 1);
        assert_eq!(piece(&[b"a\n", &long[..]].concat()), 2);
    }
}
