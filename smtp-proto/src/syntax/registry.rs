//! The registry: every parameter of MAIL and RCPT that is known here, in one table.
//!
//! A new parameter is a row, its [`Keyword`], and, if none of the value grammars fits, one in `values.rs`.

use super::Verb;
use super::class::{LDH, is, same};
use super::values::{self, Fit};

/// A parameter of MAIL or RCPT that the registry knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each is its own name; the registry says more")]
pub enum Keyword {
    Size,
    Body,
    SmtpUtf8,
    Ret,
    Envid,
    Notify,
    Orcpt,
    Auth,
    By,
    HoldFor,
    HoldUntil,
    MtPriority,
    Rrvs,
    RequireTls,
    Mtrk,
    Solicit,
    ConPerm,
    ConNeg,
    TransId,
    Submitter,
}

/// A row of the registry.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RegisteredParam {
    /// The parameter that this row describes.
    pub keyword: Keyword,
    /// The keyword as it is written, in capitals.
    pub name: &'static str,
    /// The command that it belongs to: MAIL or RCPT.
    pub verb: Verb,
    /// The EHLO keyword that announces it (RFC 5321 4.1.1.1).
    pub announced_by: &'static str,
    /// The RFC, or other document, that defines the parameter.
    pub rfc: &'static str,
    /// Its value: none, or what the grammar of the RFC calls it.
    pub value: &'static str,
    /// Whether a value fits.
    pub(super) check: fn(Option<&[u8]>, bool) -> Fit,
}

macro_rules! registry {
    ($(($keyword:ident, $name:literal, $verb:ident, $announced:literal, $rfc:literal, $value:literal, $check:path),)*) => {
        &[$(RegisteredParam {
            keyword: Keyword::$keyword, name: $name, verb: Verb::$verb, announced_by: $announced, rfc: $rfc,
            value: $value, check: $check,
        },)*]
    };
}

#[rustfmt::skip]
const REGISTRY: &[RegisteredParam] = registry![
    // keyword,   name,          verb, announced by,     defined in,           value,                   its check
    (Size,        "SIZE",        Mail, "SIZE",           "RFC 1870 3",         "size-value",            values::size),
    (Body,        "BODY",        Mail, "8BITMIME",       "RFC 6152 2, 3030 3", "body-value",            values::body),
    (SmtpUtf8,    "SMTPUTF8",    Mail, "SMTPUTF8",       "RFC 6531 3.4",       "",                      values::none),
    (Ret,         "RET",         Mail, "DSN",            "RFC 3461 4.3",       "ret-value",             values::ret),
    (Envid,       "ENVID",       Mail, "DSN",            "RFC 3461 4.4",       "xtext",                 values::envid),
    (Notify,      "NOTIFY",      Rcpt, "DSN",            "RFC 3461 4.1",       "notify-esmtp-value",    values::notify),
    (Orcpt,       "ORCPT",       Rcpt, "DSN",            "RFC 3461 4.2, 6533", "original-recipient",    values::orcpt),
    (Auth,        "AUTH",        Mail, "AUTH",           "RFC 4954 5",         "<> or xtext",           values::auth),
    (By,          "BY",          Mail, "DELIVERBY",      "RFC 2852 4",         "by-value",              values::by),
    (HoldFor,     "HOLDFOR",     Mail, "FUTURERELEASE",  "RFC 4865 3",         "interval",              values::hold_for),
    (HoldUntil,   "HOLDUNTIL",   Mail, "FUTURERELEASE",  "RFC 4865 3",         "date-time",             values::hold_until),
    (MtPriority,  "MT-PRIORITY", Mail, "MT-PRIORITY",    "RFC 6710",         "priority-value",        values::mt_priority),
    (Rrvs,        "RRVS",        Rcpt, "RRVS",           "RFC 7293",         "rrvs-value",            values::rrvs),
    (RequireTls,  "REQUIRETLS",  Mail, "REQUIRETLS",     "RFC 8689 2",         "",                      values::none),
    (Mtrk,        "MTRK",        Mail, "MTRK",           "RFC 3885",         "mtrk-value",            values::mtrk),
    (Solicit,     "SOLICIT",     Mail, "NO-SOLICITING",  "RFC 3865",         "solicitation-keywords", values::solicit),
    (ConPerm,     "CONPERM",     Mail, "CONPERM",        "RFC 4141",         "",                      values::none),
    (ConNeg,      "CONNEG",      Rcpt, "CONNEG",         "RFC 4141",         "",                      values::none),
    (TransId,     "TRANSID",     Mail, "CHECKPOINT",     "RFC 1845",         "<transid>",             values::trans_id),
    (Submitter,   "SUBMITTER",   Mail, "SUBMITTER",      "RFC 4405",         "xtext",                 values::submitter),
];

/// Longest name of a known keyword.
const LONGEST: usize = 11;

/// Row of a keyword by its first letter and its length, which no two share: filled from the table, and not compiled
/// when two do share them.
const INDEX: [[Option<&'static RegisteredParam>; LONGEST + 1]; 32] = {
    let mut index: [[Option<&'static RegisteredParam>; LONGEST + 1]; 32] = [[None; LONGEST + 1]; 32];
    let mut row = 0;
    while row < REGISTRY.len() {
        let entry = &REGISTRY[row];
        assert!(entry.keyword as usize == row, "the table in the order of the enum");
        let cell = &mut index[(entry.name.as_bytes()[0] & 31) as usize][entry.name.len()];
        assert!(cell.is_none(), "two keywords with the same first letter and length");
        *cell = Some(entry);
        row += 1;
    }
    index
};

impl Keyword {
    /// The keyword of this name, in any case (RFC 5321 2.4).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        RegisteredParam::find(name.as_bytes())
            .filter(|_| name.bytes().all(|octet| is(octet, LDH)))
            .map(|entry| entry.keyword)
    }

    /// The row of the registry that describes this parameter.
    #[must_use]
    pub const fn entry(self) -> &'static RegisteredParam {
        &REGISTRY[self as usize]
    }

    /// The keyword as it is written, in capitals.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.entry().name
    }

    /// Every parameter that the registry knows.
    pub fn all() -> impl Iterator<Item = Self> {
        REGISTRY.iter().map(|entry| entry.keyword)
    }
}

impl RegisteredParam {
    /// The row of a word of letters, digits and hyphens.
    #[inline]
    pub(super) fn find(name: &[u8]) -> Option<&'static Self> {
        let first = name.first()?;
        let entry = INDEX.get(usize::from(first & 31))?.get(name.len()).copied().flatten()?;
        same(name, entry.name.as_bytes()).then_some(entry)
    }
}

/// A set of known keywords.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct KeywordSet(u32);

impl KeywordSet {
    /// The set without any keyword.
    pub const EMPTY: Self = Self(0);

    /// This set and `keyword`.
    #[must_use]
    pub const fn with(self, keyword: Keyword) -> Self {
        Self(self.0 | 1 << keyword as u32)
    }

    /// The keywords that are in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the set has no keyword.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `keyword` is in the set.
    #[must_use]
    pub const fn contains(self, keyword: Keyword) -> bool {
        self.0 & 1 << keyword as u32 != 0
    }

    pub(super) const fn has_any_of(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether all of the other set is in this one.
    #[must_use]
    pub const fn contains_all(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::{Keyword, KeywordSet};

    #[test]
    fn what_is_put_in_twice_is_in() {
        let set = KeywordSet::EMPTY.with(Keyword::Size).with(Keyword::Body).with(Keyword::Size);
        assert!(set.contains(Keyword::Size) && set.contains(Keyword::Body) && !set.contains(Keyword::Auth));
        assert!(set.contains_all(KeywordSet::EMPTY.with(Keyword::Size)) && !set.is_empty());
        assert_eq!(set, set.union(KeywordSet::EMPTY.with(Keyword::Body)));
        assert!(!KeywordSet::EMPTY.with(Keyword::Body).contains_all(set) && KeywordSet::EMPTY.is_empty());
    }
}
