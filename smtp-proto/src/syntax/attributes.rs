//! Attributes of XCLIENT and XFORWARD, by which a proxy tells a server whom it speaks for.
//!
//! No RFC defines them: <https://www.postfix.org/XCLIENT_README.html>, <https://www.postfix.org/XFORWARD_README.html>.

use nom::bytes::complete::tag;
use nom::multi::fold_many0;
use nom::sequence::{preceded, separated_pair};
use nom::{IResult, Parser};

use super::class::{LDH, VALUE, run};
use super::{SyntaxError, SyntaxErrorKind, Xtext};

/// `NAME=value` pairs, checked: at least one, names of letters, digits and hyphens, values xtext of printable ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes<'a>(&'a str);

/// What an attribute says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttributeValue<'a> {
    /// `[UNAVAILABLE]`: not known, and will not be.
    Unavailable,
    /// `[TEMPUNAVAIL]`: not known for now.
    TemporarilyUnavailable,
    /// A value.
    Text(Xtext<'a>),
}

impl<'a> Attributes<'a> {
    /// Parses what stands behind the verb and its space.
    ///
    /// # Errors
    /// [`SyntaxErrorKind::BadArgument`].
    pub fn parse(text: &'a str) -> Result<Self, SyntaxError> {
        let error = |at| SyntaxError::new(SyntaxErrorKind::BadArgument, at);
        let octets = text.as_bytes();
        let all = (attribute, fold_many0(preceded(tag(" "), attribute), || (), |(), _| ())).parse(octets);
        let left = all.map_or(octets.len(), |(rest, _)| rest.len());
        if left > 0 || !pairs(text).all(|(_, value)| value.is_some()) {
            return Err(error(text.len() - left));
        }
        Ok(Self(text))
    }

    /// As they were written.
    #[must_use]
    pub const fn as_str(&self) -> &'a str {
        self.0
    }

    /// Name, as it was written, and value of each.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, AttributeValue<'a>)> + use<'a> {
        pairs(self.0).filter_map(|(name, value)| Some((name, value?)))
    }

    /// The value of the attribute of this name, in any case; the first, should there be several.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<AttributeValue<'a>> {
        self.iter().find(|(each, _)| each.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

impl<'a> AttributeValue<'a> {
    fn parse(value: &'a str) -> Option<Self> {
        if value.eq_ignore_ascii_case("[UNAVAILABLE]") {
            Some(Self::Unavailable)
        } else if value.eq_ignore_ascii_case("[TEMPUNAVAIL]") {
            Some(Self::TemporarilyUnavailable)
        } else {
            Xtext::parse(value).map(Self::Text)
        }
    }
}

fn pairs(text: &str) -> impl Iterator<Item = (&str, Option<AttributeValue<'_>>)> {
    text.split(' ').map(|word| {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        (name, AttributeValue::parse(value))
    })
}

fn attribute(octets: &[u8]) -> IResult<&[u8], (&[u8], &[u8])> {
    separated_pair(run(LDH), tag("="), run(VALUE)).parse(octets)
}
