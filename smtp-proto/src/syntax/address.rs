//! Addresses (RFC 5321 4.1.2, 4.1.3).

use core::net::{Ipv4Addr, Ipv6Addr};

use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::{tag, take_while1};
use nom::combinator::{recognize, verify};
use nom::multi::fold_many0;
use nom::sequence::{delimited, preceded};

use super::{SyntaxError, SyntaxErrorKind};

/// The name in EHLO or HELO: a domain or an address literal (RFC 5321 4.1.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host<'a>(&'a str);

impl<'a> Host<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        host(text).then_some(Self(text))
    }

    /// As it was written.
    #[must_use]
    pub const fn as_str(&self) -> &'a str {
        self.0
    }
}

/// `local-part@domain` (RFC 5321 4.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mailbox<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Mailbox<'a> {
    /// Parses a mailbox; `utf8` is not understood yet and must be false.
    ///
    /// # Errors
    /// [`SyntaxError`] at the first octet that does not fit.
    pub fn parse(text: &'a str, utf8: bool) -> Result<Self, SyntaxError> {
        let error = |at| SyntaxError::new(SyntaxErrorKind::BadAddress, at);
        let (rest, local) = local_part(text).map_err(|_| error(0))?;
        let domain = rest.strip_prefix('@').ok_or(error(local.len()))?;
        // RFC 5321 4.5.3.1.1 to 4.5.3.1.3.
        if utf8 || local.len() > 64 || text.len() > 254 || !host(domain) {
            return Err(error(local.len() + 1));
        }
        Ok(Self { text, at: local.len() })
    }

    /// As it was written.
    #[must_use]
    pub const fn as_str(&self) -> &'a str {
        self.text
    }

    /// Before the `@`, quotes kept.
    #[must_use]
    pub fn local_part(&self) -> &'a str {
        self.text.get(..self.at).unwrap_or_default()
    }

    /// Behind the `@`.
    #[must_use]
    pub fn domain(&self) -> &'a str {
        self.text.get(self.at + 1..).unwrap_or_default()
    }
}

/// Where failures are reported to (RFC 5321 4.1.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReversePath<'a> {
    /// `<>`: a notification; nobody is told of its failure (RFC 5321 4.5.5).
    Null,
    /// A mailbox.
    Mailbox(Mailbox<'a>),
}

impl<'a> ReversePath<'a> {
    /// Without the brackets; empty for the null path.
    #[must_use]
    pub const fn as_str(&self) -> &'a str {
        match self {
            Self::Null => "",
            Self::Mailbox(mailbox) => mailbox.as_str(),
        }
    }
}

/// Where mail is to go (RFC 5321 4.1.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardPath<'a> {
    /// `<Postmaster>` without a domain (RFC 5321 4.5.1), as it was written.
    Postmaster(&'a str),
    /// A mailbox.
    Mailbox(Mailbox<'a>),
}

impl<'a> ForwardPath<'a> {
    /// Without the brackets.
    #[must_use]
    pub const fn as_str(&self) -> &'a str {
        match self {
            Self::Postmaster(text) => text,
            Self::Mailbox(mailbox) => mailbox.as_str(),
        }
    }
}

type Parsed<'a> = nom::IResult<&'a str, &'a str>;

const fn is_atext(char: char) -> bool {
    char.is_ascii_alphanumeric()
        || matches!(
            char,
            '!' | '#'
                | '$'
                | '%'
                | '&'
                | '\''
                | '*'
                | '+'
                | '-'
                | '/'
                | '='
                | '?'
                | '^'
                | '_'
                | '`'
                | '{'
                | '|'
                | '}'
                | '~'
        )
}

/// Dot-string / Quoted-string (RFC 5321 4.1.2).
fn local_part(text: &str) -> Parsed<'_> {
    let quoted = delimited(
        tag("\""),
        fold_many0(
            alt((
                recognize(take_while1(|char: char| matches!(char, ' '..='~') && char != '"' && char != '\\')),
                recognize(preceded(
                    tag("\\"),
                    verify(nom::character::complete::anychar, |char| matches!(char, ' '..='~')),
                )),
            )),
            || (),
            |(), _| (),
        ),
        tag("\""),
    );
    alt((recognize(quoted), dot_string)).parse(text)
}

fn dot_string(text: &str) -> Parsed<'_> {
    let (mut rest, _) = take_while1(is_atext)(text)?;
    while let Some(after) = rest.strip_prefix('.') {
        (rest, _) = take_while1(is_atext)(after)?;
    }
    Ok((rest, text.get(..text.len() - rest.len()).unwrap_or_default()))
}

fn host(text: &str) -> bool {
    match text.strip_prefix('[') {
        Some(literal) => literal.strip_suffix(']').is_some_and(address_literal),
        None => domain(text),
    }
}

/// RFC 5321 4.1.2 and 4.5.3.1.2: labels of letters, digits and inner hyphens.
pub(super) fn domain(text: &str) -> bool {
    let label = |label: &str| {
        matches!(label.len(), 1..=63)
            && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 255 && text.split('.').all(label)
}

/// RFC 5321 4.1.3.
fn address_literal(text: &str) -> bool {
    match text.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => {
            text.get(5..).is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
        }
        _ => text.parse::<Ipv4Addr>().is_ok(),
    }
}

/// `@a,@b:` in front of a mailbox (RFC 5321 4.1.2, appendix C): parsed, ignored.
pub(super) fn without_source_route(text: &str) -> &str {
    if !text.starts_with('@') {
        return text;
    }
    let at_domain = || {
        preceded(
            tag("@"),
            verify(take_while1(|char: char| !matches!(char, ',' | ':' | ' ')), |name: &str| domain(name)),
        )
    };
    let more = fold_many0(preceded(tag(","), at_domain()), || (), |(), _| ());
    let route: nom::IResult<&str, _> = (at_domain(), more, tag(":")).parse(text);
    route.map_or(text, |(rest, _)| rest)
}
