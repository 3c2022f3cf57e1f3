//! Objects that look like those before them. Who writes a journal writes the same names in the same order, and many of the
//! values again: then it is enough to compare, and what stands between the quotes need not be searched.

use std::borrow::Cow;

use super::flat::{self, Value};
use super::json::{Entry, Field};

/// Shapes of objects that came before.
#[derive(Debug, Default)]
pub(crate) struct Shapes {
    known: Vec<Shape>,
    /// That which was right last.
    last: usize,
    /// Objects in a row that were of none of them.
    missed: u32,
}

/// The members of an object, in their order.
#[derive(Debug)]
struct Shape {
    members: Vec<Member>,
    /// What follows the last value, its quote included.
    end: Box<[u8]>,
}

#[derive(Debug)]
struct Member {
    /// From the quote that ends the value before it to the one that ends its own.
    whole: Box<[u8]>,
    /// Its value begins here,
    value: usize,
    /// and has an escape in it.
    escaped: bool,
    /// Every object had this value so far.
    steady: bool,
    field: Option<Field>,
}

impl Shapes {
    /// So many are known.
    const MOST: usize = 8;
    /// After so many objects in a row that are of none, no more are learnt: no two are alike.
    const PATIENCE: u32 = 256;

    /// Reads an object whose values are text, or nothing. It is known to have no control characters, and to be UTF-8. False
    /// where this is no such object, though it may be JSON as good; then parts of it may have been read.
    pub(super) fn read<'a>(&mut self, object: &'a [u8], entry: &mut Entry<'a>) -> bool {
        let last = self.last;
        let escapes = memchr::memchr(b'\\', object).is_some();
        if self.known.get_mut(last).is_some_and(|shape| shape.read(object, escapes, entry).is_some()) {
            self.missed = 0;
            return true;
        }
        for (at, shape) in self.known.iter_mut().enumerate().filter(|(at, _)| *at != last) {
            *entry = Entry::default();
            if shape.read(object, escapes, entry).is_some() {
                (self.last, self.missed) = (at, 0);
                return true;
            }
        }
        *entry = Entry::default();
        let Some(shape) = learn(object, entry) else { return false };
        self.missed += 1;
        if self.missed >= Self::PATIENCE {
            self.known.clear();
        } else if let Some(shape) = shape {
            self.last = if self.known.len() < Self::MOST { self.known.len() } else { (last + 1) % Self::MOST };
            self.known.truncate(Self::MOST);
            if let Some(old) = self.known.get_mut(self.last) {
                *old = shape;
            } else {
                self.known.push(shape);
            }
        }
        true
    }
}

impl Shape {
    /// `None` where the object is not of this shape; `escapes` says whether a backslash is anywhere in it.
    fn read<'a>(&mut self, object: &'a [u8], escapes: bool, entry: &mut Entry<'a>) -> Option<()> {
        let mut rest = object;
        for member in &mut self.members {
            member.steady = member.steady && rest.starts_with(&member.whole);
            let (text, escaped);
            if member.steady {
                (text, escaped) = (&rest[member.value..member.whole.len() - 1], member.escaped);
            } else {
                let from = rest.strip_prefix(&member.whole[..member.value])?;
                (text, escaped) = if escapes {
                    flat::text(from).map(|(text, escaped, _)| (text, escaped))
                } else {
                    flat::plain(from).map(|text| (text, false))
                }?;
            }
            rest = &rest[member.value + text.len()..];
            match member.field {
                Some(field) if escaped => entry.set(field, Value::Text(text, true).octets()?),
                Some(field) => entry.set(field, Cow::Borrowed(text)),
                None if member.steady || Value::Text(text, escaped).is_good() => {}
                None => return None,
            }
        }
        (*rest == *self.end).then_some(())
    }
}

/// Reads an object of any shape, and tells which it is; one with a value that is nothing has none.
fn learn<'a>(object: &'a [u8], entry: &mut Entry<'a>) -> Option<Option<Shape>> {
    let mut seen = 0_u8;
    let (mut members, mut begin, mut all_text) = (Vec::new(), 0, true);
    flat::members(object, |name, value, start| {
        let field = Field::of(name);
        if let Value::Text(text, escaped) = value {
            let end = start + text.len();
            let whole = object[begin..=end].into();
            members.push(Member { whole, value: start - begin, escaped, steady: true, field });
            begin = end;
        } else {
            all_text = false;
        }
        let Some(field) = field else { return value.is_good() };
        // What is there twice is no object for the other reader either.
        let first = seen & (1 << field as u8) == 0;
        seen |= 1 << field as u8;
        match value.octets() {
            Some(octets) if first => entry.set(field, octets),
            _ => return false,
        }
        true
    })?;
    Some((all_text && !members.is_empty()).then(|| Shape { members, end: object[begin..].into() }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However many came before, and whatever they were, an object is what JSON says.
        #[test]
        fn objects_are_read_as_json(objects in prop::collection::vec(
            (
                prop::collection::vec((
                    prop::sample::select(vec!["_PID", "MESSAGE", "log", "_BOOT_ID", "_HOSTNAME", "x", "x\\\"", "time"]),
                    prop::sample::select(vec!["1", "", "a b", "\\n", "\\\\", "\\\"", "\\u0041", "\\x", "\u{e4}", "\",\"log\":\""]),
                ), 0..5),
                prop::sample::select(vec![("{\"", "\":\"", "\",\"", "\"}"), ("{ \"", "\": \"", "\", \"", "\"} "), ("{\"", "\" :null,\"y\":\"", "\",\"", "\"}")]),
            ),
            1..24,
        )) {
            let mut shapes = Shapes::default();
            for (members, (open, between, comma, close)) in objects {
                let members: Vec<String> = members.iter().map(|(name, value)| format!("{name}{between}{value}")).collect();
                let object = format!("{open}{}{close}", members.join(comma));
                let json = serde_json::from_str::<Entry<'_>>(&object).map(|entry| format!("{entry:?}"));
                for _ in 0..2 {
                    let mut entry = Entry::default();
                    if shapes.read(object.as_bytes(), &mut entry) {
                        prop_assert_eq!(Some(format!("{entry:?}")), json.as_ref().ok().cloned(), "{}", object);
                    }
                }
            }
        }
    }
}
