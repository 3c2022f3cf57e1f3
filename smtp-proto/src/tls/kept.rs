//! Senders with their counts, in little memory each: there may be a million.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use super::record::Hop;
use super::senders::Counts;

/// Senders by the hashes of their names.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    senders: BTreeMap<u64, Sender>,
    names: Names,
}

impl Kept {
    pub(super) fn len(&self) -> usize {
        self.senders.len()
    }

    /// The largest hash.
    pub(super) fn largest(&self) -> Option<u64> {
        self.senders.last_key_value().map(|(hash, _)| *hash)
    }

    /// Adds to a sender that is there; false where it is not.
    pub(super) fn add(&mut self, hash: u64, hop: Hop, counts: Counts) -> bool {
        let sender = self.senders.get_mut(&hash);
        sender.map(|sender| sender.add(hop, counts)).is_some()
    }

    /// Adds a sender that is not there yet.
    pub(super) fn insert(&mut self, hash: u64, name: &str, hop: Hop, counts: Counts) {
        let name = self.names.add(name);
        self.senders.insert(hash, Sender::new(name, hop, counts));
    }

    /// Takes out the sender with the largest hash, and says of it what is not forgotten.
    pub(super) fn pop_last(&mut self, mut told: impl FnMut(u64, &str, Hop, Counts)) {
        let Some((hash, sender)) = self.senders.pop_last() else { return };
        let name = self.names.get(sender.name());
        sender.counts().for_each(|(hop, counts)| told(hash, name, hop, counts));
        self.names.unused += name.len();
        if self.names.is_wasteful() {
            let mut names = Names::default();
            for sender in self.senders.values_mut() {
                let name = names.add(self.names.get(sender.name()));
                sender.rename(name);
            }
            self.names = names;
        }
    }

    /// All senders by their hashes: hash, name, and counts by what became of TLS, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &str, impl Iterator<Item = (Hop, Counts)> + '_)> {
        self.senders.iter().map(|(hash, sender)| (*hash, self.names.get(sender.name()), sender.counts()))
    }
}

/// What is told of the senders is the same, in whatever order they came.
impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        let same = |((hash, name, mine), (other, its, theirs)): ((u64, &str, _), (u64, &str, _))| {
            (hash, name) == (other, its) && Iterator::eq(mine, theirs)
        };
        self.len() == other.len() && self.iter().zip(other.iter()).all(same)
    }
}

impl Eq for Kept {}

/// The mail of most senders fared alike, and is not so much that it needs numbers of 64 bits: of these what is counted lies
/// here, and of others alone elsewhere.
#[derive(Clone, Debug)]
enum Sender {
    One { name: Name, hop: Hop, messages: u32, recipients: u32, bytes: u64 },
    More { name: Name, counts: Box<[(Hop, Counts)]> },
}

const _: () = assert!(size_of::<Sender>() <= 24, "a sender takes more than was reckoned with");

impl Sender {
    fn new(name: Name, hop: Hop, counts: Counts) -> Self {
        match (u32::try_from(counts.messages), u32::try_from(counts.recipients)) {
            (Ok(messages), Ok(recipients)) => Self::One { name, hop, messages, recipients, bytes: counts.bytes },
            _ => Self::More { name, counts: [(hop, counts)].into() },
        }
    }

    fn add(&mut self, hop: Hop, counts: Counts) {
        let name = self.name();
        match self {
            Self::One { hop: only, messages, recipients, bytes, .. } => {
                let mut here = Counts::new((*messages).into(), (*recipients).into(), *bytes);
                if *only == hop {
                    here += counts;
                    *self = Self::new(name, hop, here);
                } else {
                    let (one, other) = ((*only, here), (hop, counts));
                    let both = if one.0 < hop { [one, other] } else { [other, one] };
                    *self = Self::More { name, counts: both.into() };
                }
            }
            Self::More { counts: cells, .. } => match cells.binary_search_by_key(&hop, |(hop, _)| *hop) {
                Ok(at) => {
                    if let Some((_, here)) = cells.get_mut(at) {
                        *here += counts;
                    }
                }
                Err(at) => {
                    let mut more: Vec<_> = core::mem::take(cells).into();
                    more.reserve_exact(1);
                    more.insert(at, (hop, counts));
                    *cells = more.into();
                }
            },
        }
    }

    fn counts(&self) -> impl Iterator<Item = (Hop, Counts)> + '_ {
        let (one, more) = match self {
            Self::One { hop, messages, recipients, bytes, .. } => {
                (Some((*hop, Counts::new((*messages).into(), (*recipients).into(), *bytes))), &[][..])
            }
            Self::More { counts, .. } => (None, &counts[..]),
        };
        one.into_iter().chain(more.iter().copied())
    }

    const fn name(&self) -> Name {
        match self {
            Self::One { name, .. } | Self::More { name, .. } => *name,
        }
    }

    const fn rename(&mut self, to: Name) {
        match self {
            Self::One { name, .. } | Self::More { name, .. } => *name = to,
        }
    }
}

/// Where a name stands among the [`Names`]. In octets, so that it needs no alignment.
#[derive(Clone, Copy, Debug)]
struct Name {
    start: [u8; 4],
    length: u8,
}

/// Names, one behind the other.
#[derive(Clone, Debug, Default)]
struct Names {
    text: String,
    /// Octets of names that nobody has any more.
    unused: usize,
}

impl Names {
    /// Of a name no more than 255 octets are kept, which no domain has more of (RFC 5321 4.5.3.1.2), and of those beyond four
    /// gigabytes of names nothing: what is counted goes by hashes.
    fn add(&mut self, name: &str) -> Name {
        let mut length = u8::try_from(name.len()).unwrap_or(u8::MAX);
        while !name.is_char_boundary(length.into()) {
            length -= 1;
        }
        let (start, length) = match u32::try_from(self.text.len()) {
            Ok(start) => (start, length),
            Err(_) => (0, 0),
        };
        self.text.push_str(name.get(..length.into()).unwrap_or_default());
        Name { start: start.to_ne_bytes(), length }
    }

    fn get(&self, name: Name) -> &str {
        let start = usize::try_from(u32::from_ne_bytes(name.start)).unwrap_or(usize::MAX);
        let end = start.saturating_add(name.length.into());
        self.text.get(start..end).unwrap_or_default()
    }

    /// Whether the greater part of much is unused.
    const fn is_wasteful(&self) -> bool {
        self.unused > 1 << 16 && self.unused > self.text.len() / 2
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;

    use super::*;

    fn told(kept: &Kept) -> String {
        kept.iter().map(|(hash, name, counts)| format!("{hash} {name} {:?}\n", counts.collect::<Vec<_>>())).collect()
    }

    #[test]
    fn names_are_put_together_where_the_greater_part_of_much_is_unused() {
        for (unused, octets, wasteful) in [
            (1 << 16, 100_000, false),
            ((1 << 16) + 1, 100_000, true),
            ((1 << 16) + 1, 2 * ((1 << 16) + 1), false),
            ((1 << 16) + 1, 1 << 17, true),
            (70_000, 200_000, false),
            (3, 4, false),
        ] {
            let names = Names { text: "x".repeat(octets), unused };
            assert_eq!(names.is_wasteful(), wasteful, "{unused} of {octets}");
        }
    }

    #[test]
    fn a_sender_has_what_was_added_however_much_that_is() {
        let (plain, failed) = (Hop::NotTried, Hop::Failed);
        let much = Counts::new(u64::from(u32::MAX), 3, u64::MAX);
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]] {
            let adds = [(plain, Counts::new(1, 2, 3)), (plain, much), (failed, Counts::new(4, 5, 6)), (plain, much)];
            let mut kept = Kept::default();
            for at in order {
                let (hop, counts) = adds[at];
                if !kept.add(7, hop, counts) {
                    kept.insert(7, "a.example", hop, counts);
                }
            }
            let (_, _, counts) = kept.iter().next().expect("a sender");
            let counts: Vec<_> = counts.collect();
            let sum = Counts::new(2 * u64::from(u32::MAX) + 1, 8, u64::MAX);
            assert_eq!(counts.len(), 2);
            assert!(counts.contains(&(plain, sum)) && counts.contains(&(failed, Counts::new(4, 5, 6))), "{counts:?}");
            assert!(counts[0].0 < counts[1].0);
        }
    }

    /// Those that came and went leave nothing behind, and the names of the others are still theirs.
    #[test]
    fn names_stay_with_their_senders() {
        let mut kept = Kept::default();
        let name = |hash: u64| format!("sender-{hash}.example");
        let (mut popped, one) = (0, Counts::new(1, 1, 1));
        for hash in (0..20_000).rev() {
            kept.insert(hash, &name(hash), Hop::NotTried, one);
            while kept.len() > 100 {
                kept.pop_last(|hash, told, hop, counts| {
                    assert_eq!((told, hop, counts), (name(hash).as_str(), Hop::NotTried, one));
                    popped += 1;
                });
            }
        }
        assert_eq!((kept.len(), popped), (100, 19_900));
        assert!(kept.iter().all(|(hash, told, _)| told == name(hash)));
        assert!(kept.names.text.len() < 200_000, "{}", kept.names.text.len());
        let mut fresh = Kept::default();
        (0..100).for_each(|hash| fresh.insert(hash, &name(hash), Hop::NotTried, one));
        assert_eq!(kept, fresh);
        assert_eq!(told(&kept), told(&fresh));
        fresh.add(99, Hop::NotTried, one);
        assert_ne!(kept, fresh);
    }

    #[test]
    fn a_name_without_end_is_cut_between_characters() {
        let mut names = Names::default();
        let long = "\u{e4}".repeat(200);
        let (name, other) = (names.add(&long), names.add("a.example"));
        assert_eq!(names.get(name), "\u{e4}".repeat(127));
        assert_eq!(names.get(other).to_string(), "a.example");
    }
}
