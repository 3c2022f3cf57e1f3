//! Parameters of MAIL and RCPT (RFC 5321 4.1.1.11).

use core::fmt;

use super::class::{HIGH, LDH, VALUE, is_quiet, same, span, value_span};
use super::registry::RegisteredParam;
use super::values::{self, AuthParam, Body, By, Mtrk, Notify, Orcpt, Ret, Rrvs};
use super::{Keyword, KeywordSet, SyntaxError, SyntaxErrorKind, Verb, Xtext};

/// The most unknown parameters that a command may have. To find duplicates, each is compared with each other.
const MAX_UNKNOWN: usize = 8;

/// The parameters of a command, checked. Each is well-formed and none occurs twice; those that are known belong to the
/// command and have a valid value. Unknown ones are kept as they are.
///
/// A client makes them with [`ParamsBuilder`](super::ParamsBuilder).
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Params<'a> {
    /// ASCII, or UTF-8: each value has been looked at.
    raw: &'a [u8],
    known: KeywordSet,
    unknown: u8,
}

/// One parameter of MAIL or RCPT: a keyword, perhaps with a value (RFC 5321 4.1.1.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Param<'a> {
    /// The keyword as it was written.
    pub keyword: &'a str,
    /// Which it is, if it is in the registry.
    pub known: Option<Keyword>,
    /// The value behind `=`, as it was written.
    pub value: Option<&'a str>,
}

impl<'a> Params<'a> {
    /// An empty list: the command has no parameters.
    pub const NONE: Params<'static> = Params { raw: b"", known: KeywordSet::EMPTY, unknown: 0 };

    /// Parses what stands behind the path of `verb`, without the space between; empty is none. With `utf8`, values may
    /// be UTF-8 (RFC 6531 3.3).
    ///
    /// # Errors
    /// [`SyntaxError`] at the parameter that is at fault.
    pub fn parse(raw: &'a str, verb: Verb, utf8: bool) -> Result<Self, SyntaxError> {
        Self::of(raw.as_bytes(), verb, utf8)
    }

    /// The same of octets: with `utf8`, what is no UTF-8 is malformed.
    pub(super) fn of(raw: &'a [u8], verb: Verb, utf8: bool) -> Result<Self, SyntaxError> {
        let mut params = Params::NONE;
        let mut rest = raw;
        let mut start = 0;
        while start < raw.len() {
            let error = |kind| SyntaxError::new(kind, start);
            let malformed = error(SyntaxErrorKind::BadParameter);
            // RFC 5321 4.1.2: esmtp-keyword is letters, digits and hyphens, and begins with none of these last.
            let (keyword, behind) = rest.split_at_checked(span(rest, LDH)).ok_or(malformed)?;
            if matches!(keyword, [] | [b'-', ..]) {
                return Err(malformed);
            }
            let (value, after) = match behind {
                [b'=', value @ ..] => {
                    let length = if utf8 { span(value, VALUE | HIGH) } else { value_span(value) };
                    match value.split_at_checked(length) {
                        Some((value, after)) if length > 0 => (Some(value), after),
                        _ => (None, behind),
                    }
                }
                _ => (None, behind),
            };
            if utf8 && value.is_some_and(|value| !core::str::from_utf8(value).is_ok_and(is_quiet)) {
                return Err(malformed);
            }
            params.add(keyword, value, raw, start, verb, utf8).map_err(error)?;
            start = raw.len() - after.len();
            match after {
                [] => break,
                // Something follows the space: a line does not end in one.
                [b' ', next @ ..] if !next.is_empty() => rest = next,
                _ => return Err(SyntaxError::new(SyntaxErrorKind::BadParameter, start)),
            }
            start += 1;
        }
        params.raw = raw;
        Ok(params)
    }

    /// One more, which begins at `start` of `raw`.
    #[inline]
    fn add(
        &mut self,
        keyword: &[u8],
        value: Option<&[u8]>,
        raw: &[u8],
        start: usize,
        verb: Verb,
        utf8: bool,
    ) -> Result<(), SyntaxErrorKind> {
        let Some(entry) = RegisteredParam::find(keyword) else {
            return self.add_unknown(keyword, raw.get(..start).unwrap_or_default());
        };
        if entry.verb != verb {
            return Err(SyntaxErrorKind::MisplacedParameter);
        }
        // RFC 4865 4: one of HOLDFOR and HOLDUNTIL.
        const HOLD: KeywordSet = KeywordSet::EMPTY.with(Keyword::HoldFor).with(Keyword::HoldUntil);
        let one = KeywordSet::EMPTY.with(entry.keyword);
        let excludes = if HOLD.contains_all(one) { HOLD } else { one };
        if self.known.has_any_of(excludes) {
            return Err(SyntaxErrorKind::DuplicateParameter);
        }
        (entry.check)(value, utf8)?;
        self.known = self.known.union(one);
        Ok(())
    }

    /// One that the registry does not have, `before` being the text of those that are there.
    fn add_unknown(&mut self, keyword: &[u8], before: &[u8]) -> Result<(), SyntaxErrorKind> {
        if usize::from(self.unknown) >= MAX_UNKNOWN {
            return Err(SyntaxErrorKind::TooManyParameters);
        }
        let same = |word: &[u8]| {
            word.get(..keyword.len()).is_some_and(|start| start.eq_ignore_ascii_case(keyword))
                && matches!(word.get(keyword.len()), None | Some(b'='))
        };
        if self.unknown > 0 && before.split(|octet| *octet == b' ').any(same) {
            return Err(SyntaxErrorKind::DuplicateParameter);
        }
        self.unknown += 1;
        Ok(())
    }

    pub(super) const fn from_checked(raw: &'a str, known: KeywordSet, unknown: u8) -> Self {
        Self { raw: raw.as_bytes(), known, unknown }
    }

    pub(super) const fn unknown(&self) -> u8 {
        self.unknown
    }

    /// As they were written, a space between.
    #[must_use]
    pub const fn as_str(&self) -> &'a str {
        match core::str::from_utf8(self.raw) {
            Ok(text) => text,
            Err(_) => "",
        }
    }

    /// Whether the command has no parameters.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// Each parameter, in order.
    pub fn iter(&self) -> impl Iterator<Item = Param<'a>> + use<'a> {
        let raw = self.as_str();
        raw.split(' ').filter(move |_| !raw.is_empty()).map(|word| {
            let (keyword, value) = word.split_once('=').map_or((word, None), |(keyword, value)| (keyword, Some(value)));
            Param { keyword, known: Keyword::from_name(keyword), value }
        })
    }

    /// The keywords of the registry that are there.
    #[must_use]
    pub const fn known(&self) -> KeywordSet {
        self.known
    }

    /// The first keyword that is not in the set, be it known or not.
    #[must_use]
    pub fn first_not_in(&self, set: KeywordSet) -> Option<&'a str> {
        if self.unknown == 0 && set.contains_all(self.known) {
            return None;
        }
        self.iter().find(|param| param.known.is_none_or(|known| !set.contains(known))).map(|param| param.keyword)
    }

    /// The value of a known parameter, as it was written.
    #[must_use]
    #[inline]
    pub fn value(&self, keyword: Keyword) -> Option<&'a str> {
        if self.known.contains(keyword) { self.known_value(keyword) } else { None }
    }

    fn known_value(&self, keyword: Keyword) -> Option<&'a str> {
        let name = keyword.as_str().as_bytes();
        let mut words = self.raw.split(|octet| *octet == b' ').map(|word| word.split_at_checked(name.len()));
        // The value of another that begins alike is told apart by what stands before it.
        let value = words.find_map(|word| match word {
            Some((word, [] | [b'=', ..])) if !same(word, name) => None,
            Some((_, [b'=', value @ ..])) => Some(Some(value)),
            Some((_, [])) => Some(None),
            _ => None,
        });
        core::str::from_utf8(value??).ok()
    }

    /// The declared size of the message in octets (RFC 1870); a hint.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        values::decimal(self.value(Keyword::Size)?.as_bytes(), 20)
    }

    /// What the text is made of; `7BIT` when nothing is said (RFC 6152).
    #[must_use]
    pub fn body(&self) -> Body {
        self.value(Keyword::Body).and_then(|value| Body::parse(value.as_bytes())).unwrap_or_default()
    }

    /// Whether the message is internationalized (RFC 6531).
    #[must_use]
    pub const fn smtputf8(&self) -> bool {
        self.known.contains(Keyword::SmtpUtf8)
    }

    /// How much a notification returns (RFC 3461 4.3).
    #[must_use]
    pub fn ret(&self) -> Option<Ret> {
        self.value(Keyword::Ret).and_then(|value| Ret::parse(value.as_bytes()))
    }

    /// The sender's name for this transaction (RFC 3461 4.4).
    #[must_use]
    pub fn envid(&self) -> Option<Xtext<'a>> {
        self.value(Keyword::Envid).and_then(Xtext::parse)
    }

    /// What the sender wants to be told (RFC 3461 4.1).
    #[must_use]
    pub fn notify(&self) -> Option<Notify> {
        self.value(Keyword::Notify).and_then(|value| Notify::parse(value.as_bytes()))
    }

    /// The recipient as the sender wrote it (RFC 3461 4.2).
    #[must_use]
    pub fn orcpt(&self) -> Option<Orcpt<'a>> {
        self.value(Keyword::Orcpt).and_then(|value| Orcpt::parse(value, true))
    }

    /// Who handed in the message (RFC 4954 5).
    #[must_use]
    pub fn auth(&self) -> Option<AuthParam<'a>> {
        self.value(Keyword::Auth).and_then(AuthParam::parse)
    }

    /// By when to deliver (RFC 2852).
    #[must_use]
    pub fn by(&self) -> Option<By> {
        self.value(Keyword::By).and_then(By::parse)
    }

    /// Seconds to hold the message back (RFC 4865).
    #[must_use]
    pub fn hold_for(&self) -> Option<u32> {
        u32::try_from(values::decimal(self.value(Keyword::HoldFor)?.as_bytes(), 9)?).ok()
    }

    /// The date and time, as RFC 3339 writes it, until which to hold the message back (RFC 4865).
    #[must_use]
    pub fn hold_until(&self) -> Option<&'a str> {
        self.value(Keyword::HoldUntil)
    }

    /// -9 to 9 (RFC 6710).
    #[must_use]
    pub fn mt_priority(&self) -> Option<i8> {
        self.value(Keyword::MtPriority).and_then(|value| values::priority(value.as_bytes()))
    }

    /// Since when the recipient must have had the mailbox (RFC 7293).
    #[must_use]
    pub fn rrvs(&self) -> Option<Rrvs<'a>> {
        self.value(Keyword::Rrvs).and_then(Rrvs::parse)
    }

    /// Whether every further hop must be by TLS, its server authenticated (RFC 8689).
    #[must_use]
    pub const fn requiretls(&self) -> bool {
        self.known.contains(Keyword::RequireTls)
    }

    /// That the message is to be tracked (RFC 3885).
    #[must_use]
    pub fn mtrk(&self) -> Option<Mtrk<'a>> {
        self.value(Keyword::Mtrk).and_then(Mtrk::parse)
    }

    /// The classes of solicitation that the message belongs to (RFC 3865); none without SOLICIT.
    pub fn solicit(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.value(Keyword::Solicit).into_iter().flat_map(|value| value.split(','))
    }

    /// Whether the content may be converted (RFC 4141).
    #[must_use]
    pub const fn conperm(&self) -> bool {
        self.known.contains(Keyword::ConPerm)
    }

    /// Whether the client asks what the recipient can take (RFC 4141).
    #[must_use]
    pub const fn conneg(&self) -> bool {
        self.known.contains(Keyword::ConNeg)
    }

    /// The name of a transaction that can be resumed (RFC 1845), brackets included.
    #[must_use]
    pub fn transid(&self) -> Option<&'a str> {
        self.value(Keyword::TransId)
    }

    /// Who is responsible for the message (RFC 4405).
    #[must_use]
    pub fn submitter(&self) -> Option<Xtext<'a>> {
        self.value(Keyword::Submitter).and_then(Xtext::parse)
    }
}

impl fmt::Debug for Params<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { raw: _, known, unknown } = self;
        f.debug_struct("Params").field("raw", &self.as_str()).field("known", known).field("unknown", unknown).finish()
    }
}
