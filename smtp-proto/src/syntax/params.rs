//! Parameters of MAIL and RCPT (RFC 5321 4.1.1.11).

use super::{SyntaxError, SyntaxErrorKind};

/// A set of known keywords.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeywordSet(u32);

impl KeywordSet {
    /// None.
    pub const EMPTY: Self = Self(0);

    /// And SIZE (RFC 1870).
    #[must_use]
    pub const fn with_size(self) -> Self {
        Self(self.0 | 1)
    }

    /// And BODY (RFC 6152).
    #[must_use]
    pub const fn with_body(self) -> Self {
        Self(self.0 | 2)
    }

    fn holds(self, keyword: &str) -> bool {
        (self.0 & 1 != 0 && keyword.eq_ignore_ascii_case("SIZE"))
            || (self.0 & 2 != 0 && keyword.eq_ignore_ascii_case("BODY"))
    }
}

/// The parameters of a command, checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Params<'a> {
    raw: &'a str,
}

/// One parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param<'a> {
    /// The keyword as it was written.
    pub keyword: &'a str,
    /// The value behind `=`.
    pub value: Option<&'a str>,
}

impl<'a> Params<'a> {
    pub(super) fn parse(raw: &'a str, at: usize) -> Result<Self, SyntaxError> {
        let params = Self { raw };
        let error = |kind| Err(SyntaxError::new(kind, at));
        if raw.is_empty() {
            return Ok(params);
        }
        for (index, param) in params.iter().enumerate() {
            let keyword_ok = param
                .keyword
                .bytes()
                .enumerate()
                .all(|(at, octet)| octet.is_ascii_alphanumeric() || (at > 0 && octet == b'-'));
            let value_ok = param.value.is_none_or(|value| {
                !value.is_empty() && value.bytes().all(|octet| matches!(octet, 33..=60 | 62..=126))
            });
            if param.keyword.is_empty() || !keyword_ok || !value_ok {
                return error(SyntaxErrorKind::BadParameter);
            }
            if params.iter().take(index).any(|earlier| earlier.keyword.eq_ignore_ascii_case(param.keyword)) {
                return error(SyntaxErrorKind::DuplicateParameter);
            }
            let value = param.value.unwrap_or_default();
            let ok = if param.keyword.eq_ignore_ascii_case("SIZE") {
                value.bytes().all(|octet| octet.is_ascii_digit()) && value.len() <= 20 && value.parse::<u64>().is_ok()
            } else if param.keyword.eq_ignore_ascii_case("BODY") {
                value.eq_ignore_ascii_case("7BIT") || value.eq_ignore_ascii_case("8BITMIME")
            } else {
                true
            };
            if !ok {
                return error(SyntaxErrorKind::BadParameter);
            }
        }
        Ok(params)
    }

    /// Each parameter, in order.
    pub fn iter(&self) -> impl Iterator<Item = Param<'a>> + use<'a> {
        let raw = self.raw;
        raw.split(' ').filter(move |_| !raw.is_empty()).map(|word| match word.split_once('=') {
            Some((keyword, value)) => Param { keyword, value: Some(value) },
            None => Param { keyword: word, value: None },
        })
    }

    /// The declared size (RFC 1870).
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.iter().find(|param| param.keyword.eq_ignore_ascii_case("SIZE"))?.value?.parse().ok()
    }

    /// The first keyword that is not in the set.
    #[must_use]
    pub fn first_not_in(&self, set: KeywordSet) -> Option<&'a str> {
        self.iter().map(|param| param.keyword).find(|keyword| !set.holds(keyword))
    }
}
