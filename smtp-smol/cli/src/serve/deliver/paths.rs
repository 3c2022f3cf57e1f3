//! The paths of an envelope.

use serde::{Serialize, Serializer};

/// Paths, one behind the other: so an envelope leaves its memory to the next, whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paths {
    text: String,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Paths {
    pub(crate) const EMPTY: Self = Self { text: String::new(), ends: Vec::new() };

    pub(crate) fn push(&mut self, path: &str) {
        self.text.push_str(path);
        self.ends.push(self.text.len());
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> + Clone {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let path = self.text.get(start..*end).unwrap_or_default();
            start = *end;
            path
        })
    }

    pub(crate) const fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The one that there is, if there is one alone.
    pub(crate) fn only(&self) -> Option<&str> {
        (self.len() == 1).then_some(&self.text)
    }

    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    /// What is held for them, in octets.
    pub(crate) const fn held(&self) -> usize {
        self.text.capacity() + self.ends.capacity() * size_of::<usize>()
    }
}

impl Serialize for Paths {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_those_that_were_pushed() {
        let mut paths = Paths::default();
        assert_eq!((paths.only(), paths.is_empty()), (None, true));
        for all in [&["ben@b.example"][..], &["", "jörg@b.example", "", "\"x y\"@c.example"], &[""]] {
            paths.clear();
            all.iter().for_each(|path| paths.push(path));
            assert_eq!((paths.iter().collect::<Vec<_>>(), paths.len()), (all.to_vec(), all.len()));
            assert_eq!(paths.only(), if let [only] = all { Some(*only) } else { None });
            assert_eq!(serde_json::to_string(&paths).ok(), serde_json::to_string(all).ok());
        }
    }
}
