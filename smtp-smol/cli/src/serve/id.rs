//! Ids of messages and of sessions.

use std::cell::Cell;
use std::fmt;
use std::ops::Deref;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Behind these words a client is told the id of its message.
const TAKEN: &[u8] = b"Ok: taken as ";
/// For the words, the second and the count, which may have 20 digits each, the process, which may have 10, and the rest.
const ROOM: usize = 80;

/// An id that no other message has: the time, this process, and a count. In place, with the words by which its message is
/// taken: nothing is allocated for it.
#[derive(Clone, Copy)]
pub(crate) struct Id {
    words: [u8; ROOM],
    length: usize,
}

/// What all ids of a second begin with.
#[derive(Clone, Copy)]
struct Start {
    second: u64,
    /// Up to the count. The microsecond is that of the first.
    id: Id,
    /// Where the microsecond stands.
    fraction: usize,
}

impl Id {
    pub(crate) fn unique() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        thread_local! {
            static LAST: Cell<Start> = const { Cell::new(Start { second: u64::MAX, id: Id::EMPTY, fraction: 0 }) };
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut start = LAST.get();
        if start.second != now.as_secs() {
            start = Start::of(now.as_secs());
            LAST.set(start);
        }
        let mut id = start.id;
        id.put(start.fraction, now.subsec_micros().into(), 6);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let digits = count.checked_ilog10().map_or(1, |log| log as usize + 1);
        id.put(id.length, count, digits);
        id.length += digits;
        id
    }

    /// Nobody's.
    pub(crate) const EMPTY: Self = Self { words: [0; ROOM], length: 0 };

    /// What a client is told whose message is taken.
    pub(crate) fn taken(&self) -> &str {
        str::from_utf8(self.words.get(..self.length).unwrap_or_default()).unwrap_or_default()
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.words.get(TAKEN.len()..self.length).unwrap_or_default()
    }

    fn push(&mut self, text: &[u8]) {
        for (to, from) in self.words.iter_mut().skip(self.length).zip(text) {
            *to = *from;
        }
        self.length += text.len();
    }

    /// Writes the last so many digits of a number.
    fn put(&mut self, at: usize, mut number: u64, digits: usize) {
        for digit in self.words.get_mut(at..at + digits).unwrap_or_default().iter_mut().rev() {
            *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
            number /= 10;
        }
    }
}

impl Start {
    fn of(second: u64) -> Self {
        // It does not change, and the system would be asked each time.
        static PROCESS: LazyLock<u32> = LazyLock::new(std::process::id);
        let mut id = Id::EMPTY;
        id.push(TAKEN);
        id.push(format!("{second}.M").as_bytes());
        let fraction = id.length;
        id.push(format!("000000P{}Q", *PROCESS).as_bytes());
        Self { second, id, fraction }
    }
}

impl Deref for Id {
    type Target = str;

    fn deref(&self) -> &str {
        str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique() {
        let mut ids: Vec<String> = (0..1000).map(|_| Id::unique().to_string()).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 1000);
    }

    #[test]
    fn an_id_tells_the_time_the_process_and_a_count() {
        let before = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_micros();
        for _ in 0..200 {
            let id = Id::unique();
            assert_eq!(id.taken(), format!("Ok: taken as {}", &*id));
            let (time, rest) = id.split_once('P').expect("a process");
            let (second, micros) = time.split_once(".M").expect("a fraction");
            assert_eq!(micros.len(), 6);
            let told: u128 = format!("{second}{micros}").parse().expect("a time");
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_micros();
            assert!((before..=now).contains(&told), "{before} {told} {now}");
            let (process, count) = rest.split_once('Q').expect("a count");
            assert_eq!(process, std::process::id().to_string());
            assert_eq!(count.parse::<u64>().map(|count| count.to_string()).as_deref(), Ok(count));
        }
    }

    #[test]
    fn the_longest_finds_room() {
        let mut id = Start::of(u64::MAX).id;
        id.push(&[b'9'; 10 + 20]);
        assert!(id.length <= ROOM, "{}", id.length);
    }
}
