//! Addresses (RFC 5321 4.1.2, 4.1.3; RFC 6531 3.3).

use core::net::{Ipv4Addr, Ipv6Addr};

use nom::branch::alt;
use nom::bytes::complete::{tag, take};
use nom::combinator::{recognize, verify};
use nom::error::{Error, ErrorKind};
use nom::multi::fold_many0;
use nom::sequence::{delimited, preceded, terminated};
use nom::{IResult, Parser};

use super::class::{ATEXT, DCONTENT, HIGH, LDH, QTEXT, is, is_quiet, run, span};
use super::{SyntaxError, SyntaxErrorKind, usual};

/// RFC 5321 4.5.3.1.1 to 4.5.3.1.3, in octets; a path counts its brackets and its source route.
pub(super) const MAX_LOCAL_PART: usize = 64;
pub(super) const MAX_DOMAIN: usize = 255;
const MAX_PATH: usize = 256;
/// RFC 1035 2.3.4.
pub(super) const MAX_LABEL: usize = 63;

/// A domain or an address literal: the name in EHLO or HELO (RFC 5321 4.1.1.1), the right side of a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host<'a>(&'a str);

/// What a [`Host`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostKind<'a> {
    /// A domain name, no dot at its end; U-labels as they are.
    Domain(&'a str),
    /// An IPv4 address literal, such as `[192.0.2.1]` (RFC 5321 4.1.3).
    Ipv4(Ipv4Addr),
    /// An IPv6 address literal, such as `[IPv6:2001:db8::1]` (RFC 5321 4.1.3).
    Ipv6(Ipv6Addr),
    /// `[tag:content]`, for families to come (RFC 5321 4.1.3).
    General(&'a str, &'a str),
}

impl<'a> Host<'a> {
    /// Parses a domain of ASCII or an address literal; nothing else may be in the text.
    ///
    /// # Errors
    /// [`SyntaxErrorKind::BadAddress`], or `AddressTooLong`.
    pub fn parse(text: &'a str) -> Result<Self, SyntaxError> {
        Self::parse_with(text, LDH)
    }

    pub(super) fn parse_with(text: &'a str, label: u16) -> Result<Self, SyntaxError> {
        if usual::domain(text.as_bytes()) == Some(text.len()) {
            return Ok(Self(text));
        }
        match host(label)(text.as_bytes()) {
            Ok(([], _)) if text.len() <= MAX_DOMAIN => Ok(Self(text)),
            Ok(([], _)) => Err(SyntaxError::new(SyntaxErrorKind::AddressTooLong, MAX_DOMAIN)),
            Ok((rest, _)) => Err(bad(text.as_bytes(), rest)),
            Err(error) => Err(bad(text.as_bytes(), stopped(&error))),
        }
    }

    /// A text that a leniency accepts as a name although it is not one.
    pub(super) const fn let_pass(text: &'a str) -> Self {
        Self(text)
    }

    /// The name or literal as it was written. Empty where a leniency accepted a client without a name, or an address
    /// without a domain.
    #[must_use]
    pub const fn as_str(&self) -> &'a str {
        self.0
    }

    /// Whether this is a domain name or an address literal, and its value.
    #[must_use]
    pub fn kind(&self) -> HostKind<'a> {
        let Some(literal) = self.0.strip_prefix('[').and_then(|text| text.strip_suffix(']')) else {
            return HostKind::Domain(self.0);
        };
        // Without a tag only where a leniency accepted it.
        if let Ok(address) = literal.parse() {
            return HostKind::Ipv6(address);
        }
        match literal.split_once(':') {
            None => literal.parse().map_or(HostKind::Domain(self.0), HostKind::Ipv4),
            Some((tag, content)) if tag.eq_ignore_ascii_case("IPv6") => {
                content.parse().map_or(HostKind::General(tag, content), HostKind::Ipv6)
            }
            Some((tag, content)) => HostKind::General(tag, content),
        }
    }
}

/// `local-part@domain` (RFC 5321 4.1.2).
///
/// ```
/// use smtp_proto::syntax::Mailbox;
///
/// let mailbox = Mailbox::parse("ann@example.org", false)?; // true: UTF-8 is let in (RFC 6531)
/// assert_eq!((mailbox.local_part(), mailbox.domain()), ("ann", "example.org"));
/// assert!(Mailbox::parse("ann@", false).is_err());
/// # Ok::<(), smtp_proto::syntax::SyntaxError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mailbox<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Mailbox<'a> {
    /// Parses a mailbox. With `utf8`, the local part may be UTF-8 and the domain may have U-labels (RFC 6531 3.3).
    ///
    /// # Errors
    /// [`SyntaxErrorKind::BadAddress`], or `AddressTooLong`.
    ///
    /// ```
    /// use smtp_proto::syntax::Mailbox;
    ///
    /// let mailbox = Mailbox::parse(r#""a b"@example.org"#, false)?;
    /// assert_eq!((mailbox.local_part(), mailbox.domain()), (r#""a b""#, "example.org"));
    /// assert!(Mailbox::parse("a@b\r\nRSET", false).is_err());
    /// # Ok::<(), smtp_proto::syntax::SyntaxError>(())
    /// ```
    pub fn parse(text: &'a str, utf8: bool) -> Result<Self, SyntaxError> {
        let octets = text.as_bytes();
        match mailbox(utf8)(octets) {
            Ok(([], local)) => Self::checked(text, local.len(), utf8),
            Ok((rest, _)) => Err(bad(text.as_bytes(), rest)),
            Err(error) => Err(bad(text.as_bytes(), stopped(&error))),
        }
    }

    /// The same, for an address that is no mailbox by the grammar and is meant all the same:
    /// [`Leniency::DotsInLocalPart`](crate::Leniency::DotsInLocalPart),
    /// [`UnderscoreInDomain`](crate::Leniency::UnderscoreInDomain), [`NoDomain`](crate::Leniency::NoDomain).
    ///
    /// # Errors
    /// As [`parse`](Self::parse), where no leniency that is on helps.
    ///
    /// ```
    /// use smtp_proto::syntax::Mailbox;
    /// use smtp_proto::{Leniencies, Leniency};
    ///
    /// let dots = Leniencies::STRICT.with(Leniency::DotsInLocalPart);
    /// assert_eq!(Mailbox::parse_with("a..b.@example.net", false, dots)?.local_part(), "a..b.");
    /// assert!(Mailbox::parse_with("a..b@exam_ple.net", false, dots).is_err());
    /// assert!(Mailbox::parse_with("a..b@c>\r\nRSET", false, Leniencies::ALL).is_err());
    /// # Ok::<(), smtp_proto::syntax::SyntaxError>(())
    /// ```
    pub fn parse_with(text: &'a str, utf8: bool, lenient: crate::Leniencies) -> Result<Self, SyntaxError> {
        Self::parse(text, utf8).or_else(|error| super::lenient::whole_mailbox(text, utf8, lenient).ok_or(error))
    }

    /// The limits, and what no table of octets can say.
    pub(super) fn checked(text: &'a str, at: usize, utf8: bool) -> Result<Self, SyntaxError> {
        let error = |kind, at| Err(SyntaxError::new(kind, at));
        if at > MAX_LOCAL_PART {
            return error(SyntaxErrorKind::AddressTooLong, 0);
        }
        // No domain is over its limit within a path that is not (RFC 5321 4.5.3.1.2, 4.5.3.1.3).
        if text.len() > MAX_PATH - 2 {
            return error(SyntaxErrorKind::AddressTooLong, at + 1);
        }
        if utf8 && !is_quiet(text) {
            return error(SyntaxErrorKind::BadAddress, 0);
        }
        Ok(Self { text, at })
    }

    /// The mailbox as it was written.
    #[must_use]
    pub const fn as_str(&self) -> &'a str {
        self.text
    }

    /// The part before the `@`, with its quotes if it has them.
    #[must_use]
    pub fn local_part(&self) -> &'a str {
        self.text.get(..self.at).unwrap_or_default()
    }

    /// The part behind the `@`. Empty for an address without a domain, which only
    /// [`Leniency::NoDomain`](crate::Leniency::NoDomain) accepts.
    #[must_use]
    pub fn domain(&self) -> &'a str {
        self.text.get(self.at + 1..).unwrap_or_default()
    }

    /// The part behind the `@`, as a host: a domain name or an address literal.
    #[must_use]
    pub fn host(&self) -> Host<'a> {
        Host(self.domain())
    }
}

/// Where failures are reported to (RFC 5321 4.1.1.2).
///
/// ```
/// use smtp_proto::syntax::ReversePath;
///
/// assert_eq!(ReversePath::parse("ann@example.org", false)?.as_str(), "ann@example.org");
/// assert!(matches!(ReversePath::parse("", false)?, ReversePath::Null)); // <>, of notifications
/// # Ok::<(), smtp_proto::syntax::SyntaxError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReversePath<'a> {
    /// `<>`: a notification; nobody is told of its failure (RFC 5321 4.5.5).
    Null,
    /// A mailbox, such as `a@example.org`.
    Mailbox(Mailbox<'a>),
}

impl<'a> ReversePath<'a> {
    /// Parses what stands between the brackets: nothing, or a mailbox (see [`Mailbox::parse`]).
    ///
    /// # Errors
    /// As [`Mailbox::parse`].
    pub fn parse(text: &'a str, utf8: bool) -> Result<Self, SyntaxError> {
        if text.is_empty() { Ok(Self::Null) } else { Mailbox::parse(text, utf8).map(Self::Mailbox) }
    }

    /// Without the brackets; empty for the null path.
    #[must_use]
    pub const fn as_str(&self) -> &'a str {
        match self {
            Self::Null => "",
            Self::Mailbox(mailbox) => mailbox.as_str(),
        }
    }
}

/// As [`Mailbox::parse`], with UTF-8 where the text has any.
impl<'a> TryFrom<&'a str> for Mailbox<'a> {
    type Error = SyntaxError;

    fn try_from(text: &'a str) -> Result<Self, SyntaxError> {
        Self::parse(text, !text.is_ascii())
    }
}

/// As [`ReversePath::parse`], with UTF-8 where the text has any.
impl<'a> TryFrom<&'a str> for ReversePath<'a> {
    type Error = SyntaxError;

    fn try_from(text: &'a str) -> Result<Self, SyntaxError> {
        Self::parse(text, !text.is_ascii())
    }
}

/// As [`ForwardPath::parse`], with UTF-8 where the text has any.
impl<'a> TryFrom<&'a str> for ForwardPath<'a> {
    type Error = SyntaxError;

    fn try_from(text: &'a str) -> Result<Self, SyntaxError> {
        Self::parse(text, !text.is_ascii())
    }
}

/// Where mail is to go (RFC 5321 4.1.1.3).
///
/// ```
/// use smtp_proto::syntax::ForwardPath;
///
/// let path = ForwardPath::parse("ben@example.net", false)?;
/// assert!(matches!(path, ForwardPath::Mailbox(_)));
/// // RFC 5321 4.5.1: the one that has no domain.
/// assert!(matches!(ForwardPath::parse("Postmaster", false)?, ForwardPath::Postmaster(_)));
/// # Ok::<(), smtp_proto::syntax::SyntaxError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardPath<'a> {
    /// `<Postmaster>` without a domain (RFC 5321 4.5.1), as it was written.
    Postmaster(&'a str),
    /// A mailbox, such as `a@example.org`.
    Mailbox(Mailbox<'a>),
}

impl<'a> ForwardPath<'a> {
    /// Parses what stands between the brackets: `Postmaster` in any case, or a mailbox (see [`Mailbox::parse`]).
    ///
    /// # Errors
    /// As [`Mailbox::parse`].
    pub fn parse(text: &'a str, utf8: bool) -> Result<Self, SyntaxError> {
        if text.eq_ignore_ascii_case("postmaster") {
            Ok(Self::Postmaster(text))
        } else {
            Mailbox::parse(text, utf8).map(Self::Mailbox)
        }
    }

    /// The path as text, without the angle brackets around it.
    #[must_use]
    pub const fn as_str(&self) -> &'a str {
        match self {
            Self::Postmaster(text) => text,
            Self::Mailbox(mailbox) => mailbox.as_str(),
        }
    }
}

/// A path as it stands in a line.
pub(super) enum Path<'a> {
    Null,
    Postmaster(&'a str),
    Mailbox(Mailbox<'a>),
}

/// Reads a path off the front of a text; also says how long it is, brackets and source route included. It lets no UTF-8 pass
/// that is none.
#[inline]
pub(super) fn path(octets: &[u8], utf8: bool) -> Result<(Path<'_>, usize), SyntaxError> {
    match octets {
        [b'<', b'>', ..] => return Ok((Path::Null, 2)),
        [b'<', inside @ ..] => {
            if let Some((text, at)) = usual::mailbox(inside) {
                return Ok((Path::Mailbox(Mailbox { text, at }), text.len() + 2));
            }
        }
        _ => {}
    }
    any_path(octets, utf8)
}

/// The same, whatever it looks like.
#[inline(never)]
pub(super) fn any_path(octets: &[u8], utf8: bool) -> Result<(Path<'_>, usize), SyntaxError> {
    match octets {
        // RFC 5321 4.1.1.3: in any case.
        [b'<', word @ ..] if word.get(10) == Some(&b'>') => {
            let word = word.get(..10).filter(|word| word.eq_ignore_ascii_case(b"postmaster"));
            if let Some(Ok(word)) = word.map(core::str::from_utf8) {
                return Ok((Path::Postmaster(word), 12));
            }
        }
        _ => {}
    }
    // RFC 5321 4.1.2, appendix C: a source route is read, and ignored.
    let open = match octets {
        [b'<', b'@', ..] => terminated(recognize((tag("<"), route)), tag(":")).parse(octets).map(|(rest, _)| rest),
        _ => tag("<")(octets).map(|(rest, _)| rest),
    };
    let start = match &open {
        Ok(rest) => octets.len() - rest.len(),
        Err(error) => return Err(bad(octets, stopped(error))),
    };
    match open.and_then(|rest| terminated(mailbox(utf8), tag(">")).parse(rest)) {
        Ok((rest, local)) => {
            let used = octets.len() - rest.len();
            if used > MAX_PATH {
                return Err(SyntaxError::new(SyntaxErrorKind::AddressTooLong, 0));
            }
            let Ok(inside) = core::str::from_utf8(octets.get(start..used - 1).unwrap_or_default()) else {
                return Err(SyntaxError::new(SyntaxErrorKind::EightBit, start));
            };
            match Mailbox::checked(inside, local.len(), utf8) {
                Ok(mailbox) => Ok((Path::Mailbox(mailbox), used)),
                Err(error) => Err(SyntaxError::new(error.kind(), error.offset() + start)),
            }
        }
        Err(error) => Err(bad(octets, stopped(&error))),
    }
}

type Parsed<'a> = IResult<&'a [u8], &'a [u8]>;

/// Local-part "@" ( Domain / address-literal ); gives the local part.
#[inline]
fn mailbox<'a>(utf8: bool) -> impl FnMut(&'a [u8]) -> Parsed<'a> {
    let high = if utf8 { HIGH } else { 0 };
    move |octets| terminated(local_part(high), (tag("@"), host(LDH | high))).parse(octets)
}

/// Dot-string / Quoted-string (RFC 5321 4.1.2).
#[inline]
fn local_part<'a>(high: u16) -> impl FnMut(&'a [u8]) -> Parsed<'a> {
    move |octets| match octets {
        [b'"', ..] => quoted_string(octets, QTEXT | high),
        _ => dotted(octets, ATEXT | high, |_| true),
    }
}

/// Whether all of the text is one (RFC 5321 4.1.2, RFC 6531 3.3).
pub(super) fn is_quoted_string(text: &str, utf8: bool) -> bool {
    let qtext = if utf8 { QTEXT | HIGH } else { QTEXT };
    matches!(quoted_string(text.as_bytes(), qtext), Ok(([], _)))
}

/// RFC 5321 4.1.2: `DQUOTE *QcontentSMTP DQUOTE`.
fn quoted_string(octets: &[u8], qtext: u16) -> Parsed<'_> {
    let pair = recognize(preceded(tag("\\"), verify(take(1_usize), |octet: &[u8]| matches!(octet, [b' '..=b'~']))));
    let content = alt((run(qtext), pair));
    recognize(delimited(tag("\""), fold_many0(content, || (), |(), _| ()), tag("\""))).parse(octets)
}

/// `part *( "." part )`
#[inline(always)]
fn dotted(octets: &[u8], class: u16, fits: impl Fn(&[u8]) -> bool) -> Parsed<'_> {
    let mut rest = octets;
    loop {
        match rest.split_at_checked(span(rest, class)) {
            Some((part, [b'.', after @ ..])) if !part.is_empty() && fits(part) => rest = after,
            Some((part, after)) if !part.is_empty() && fits(part) => {
                return Ok((after, octets.get(..octets.len() - after.len()).unwrap_or_default()));
            }
            _ => return Err(nom::Err::Error(Error { input: rest, code: ErrorKind::Verify })),
        }
    }
}

/// Domain / address-literal (RFC 5321 4.1.2).
#[inline]
fn host<'a>(label: u16) -> impl FnMut(&'a [u8]) -> Parsed<'a> {
    move |octets| match octets {
        [b'[', ..] => recognize(delimited(tag("["), address_literal, tag("]"))).parse(octets),
        _ => domain(octets, label),
    }
}

/// Labels of letters, digits and inner hyphens (RFC 5321 4.1.2), or of UTF-8 (RFC 6531 3.3), whose length in the DNS
/// only an encoder could tell.
#[inline]
fn domain(octets: &[u8], label: u16) -> Parsed<'_> {
    dotted(octets, label, |label| {
        !matches!(label, [b'-', ..] | [.., b'-']) && (label.len() <= MAX_LABEL || !label.is_ascii())
    })
}

/// RFC 5321 4.1.3.
fn address_literal(octets: &[u8]) -> Parsed<'_> {
    verify(run(DCONTENT), |literal: &[u8]| {
        let Ok(literal) = core::str::from_utf8(literal) else { return false };
        match literal.split_once(':') {
            None => literal.parse::<Ipv4Addr>().is_ok(),
            Some((tag, content)) if tag.eq_ignore_ascii_case("IPv6") => ipv6(content),
            // Standardized-tag is an Ldh-str: its last octet is a letter or digit. An IPv6 address without its tag would
            // pass for one, but its first group is no tag of the registry.
            Some((tag, content)) => {
                !content.is_empty()
                    && !tag.ends_with('-')
                    && !tag.is_empty()
                    && tag.bytes().all(|octet| is(octet, LDH))
                    && literal.parse::<Ipv6Addr>().is_err()
            }
        }
    })
    .parse(octets)
}

/// RFC 5321 4.1.3: as RFC 4291 2.2, but `::` stands for at least two groups.
fn ipv6(text: &str) -> bool {
    let groups: usize =
        text.split(':').filter(|group| !group.is_empty()).map(|group| 1 + usize::from(group.contains('.'))).sum();
    text.parse::<Ipv6Addr>().is_ok() && (groups <= 6 || !text.contains("::"))
}

/// `@a,@b` in front of a mailbox (RFC 5321 4.1.2, appendix C).
fn route(octets: &[u8]) -> Parsed<'_> {
    let at_domain = |octets| preceded(tag("@"), |octets| domain(octets, LDH)).parse(octets);
    let more = fold_many0(preceded(tag(","), at_domain), || (), |(), _| ());
    recognize((at_domain, more)).parse(octets)
}

/// Where a parser stopped.
fn stopped<'e, 'a>(error: &'e nom::Err<Error<&'a [u8]>>) -> &'e &'a [u8] {
    match error {
        nom::Err::Error(error) | nom::Err::Failure(error) => &error.input,
        nom::Err::Incomplete(_) => &(&[] as &[u8]),
    }
}

fn bad(text: &[u8], rest: &[u8]) -> SyntaxError {
    SyntaxError::new(SyntaxErrorKind::BadAddress, text.len().saturating_sub(rest.len()))
}
