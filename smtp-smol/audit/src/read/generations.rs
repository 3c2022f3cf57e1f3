//! Messages that are followed, within a bound.

use rustc_hash::FxHashMap;

/// Sessions and messages that are followed at once; beyond that the oldest are counted as they are.
pub(crate) const FOLLOWED: usize = 1 << 18;

/// What is kept of as many as can be, the oldest going first: when the younger half is full, the older half is given
/// up in one go.
#[derive(Debug)]
pub(crate) struct Generations<T> {
    young: FxHashMap<u64, T>,
    old: FxHashMap<u64, T>,
}

impl<T> Default for Generations<T> {
    fn default() -> Self {
        Self { young: FxHashMap::default(), old: FxHashMap::default() }
    }
}

impl<T> Generations<T> {
    /// What had to be given up for it, if anything.
    pub(crate) fn insert(&mut self, key: u64, value: T) -> Option<impl Iterator<Item = T> + use<T>> {
        let mut given_up = None;
        if self.young.len() >= FOLLOWED / 2 {
            let young = std::mem::take(&mut self.young);
            let old = std::mem::replace(&mut self.old, young);
            given_up = Some(old.into_values());
        }
        self.old.remove(&key);
        self.young.insert(key, value);
        given_up
    }

    pub(crate) fn get_mut(&mut self, key: u64) -> Option<&mut T> {
        self.young.get_mut(&key).or_else(|| self.old.get_mut(&key))
    }

    pub(crate) fn remove(&mut self, key: u64) -> Option<T> {
        self.young.remove(&key).or_else(|| self.old.remove(&key))
    }

    /// All of them, the older half first.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = T> + use<T> {
        std::mem::take(&mut self.old).into_values().chain(std::mem::take(&mut self.young).into_values())
    }
}
