//! Attributes of XCLIENT and XFORWARD, by which a proxy tells a server whom it speaks for.
//!
//! No RFC defines them: <https://www.postfix.org/XCLIENT_README.html>, <https://www.postfix.org/XFORWARD_README.html>.

use alloc::string::String;
use core::fmt::Write as _;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

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
    /// The value itself, encoded as xtext (RFC 3461 4).
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

    /// The attributes as they were written, with spaces between them.
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

impl Attributes<'_> {
    /// The client's address and port, by ADDR and PORT: `None` without ADDR. An address that the peer does not know is
    /// 0.0.0.0, and a port 0.
    ///
    /// # Errors
    /// [`SyntaxErrorKind::BadArgument`] for an ADDR that is neither an IPv4 address nor `IPV6:` and an IPv6 address, and
    /// for a PORT that is no port.
    pub fn address(&self) -> Result<Option<SocketAddr>, SyntaxError> {
        let bad = || SyntaxError::new(SyntaxErrorKind::BadArgument, 0);
        let text = |value| if let AttributeValue::Text(text) = value { Some(text) } else { None };
        let address = match self.get("ADDR") {
            None => return Ok(None),
            Some(value) => text(value).map_or(Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), |text| {
                let words = text.as_str();
                match words.get(..5) {
                    Some(tag) if tag.eq_ignore_ascii_case("IPV6:") => {
                        words.get(5..).and_then(|v6| v6.parse().ok()).map(IpAddr::V6)
                    }
                    _ => words.parse().ok().map(IpAddr::V4),
                }
                .ok_or_else(bad)
            })?,
        };
        let digits = |words: &str| words.bytes().all(|octet| octet.is_ascii_digit());
        let port = match self.get("PORT").and_then(text) {
            None => 0,
            Some(text) => Some(text.as_str())
                .filter(|words| digits(words))
                .and_then(|words| words.parse().ok())
                .ok_or_else(bad)?,
        };
        Ok(Some(SocketAddr::new(address, port)))
    }
}

/// Makes [`Attributes`]: names are checked and values encoded as they are added, so that nothing that is in a value can
/// become a second attribute or a second line.
///
/// ```
/// use smtp_proto::syntax::AttributesBuilder;
///
/// let mut client = AttributesBuilder::new();
/// client.address("[2001:db8::7]:40000".parse().unwrap())?.add("HELO", Some("a host"))?.add("NAME", None)?;
/// let attributes = client.attributes().expect("some");
/// assert_eq!(attributes.as_str(), "ADDR=IPV6:2001:db8::7 PORT=40000 HELO=a+20host NAME=[UNAVAILABLE]");
/// # Ok::<(), smtp_proto::syntax::SyntaxError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttributesBuilder(String);

impl AttributesBuilder {
    /// Begins without any attribute.
    #[must_use]
    pub const fn new() -> Self {
        Self(String::new())
    }

    /// `name=value`, the value in xtext; `None` is `[UNAVAILABLE]`.
    ///
    /// # Errors
    /// [`SyntaxErrorKind::BadArgument`] for a name that is not of letters, digits and hyphens or was given before, and
    /// for a value that is empty or not printable ASCII. Nothing is added then.
    pub fn add(&mut self, name: &str, value: Option<&str>) -> Result<&mut Self, SyntaxError> {
        let before = self.0.len();
        let twice = pairs(&self.0).any(|(other, _)| other.eq_ignore_ascii_case(name));
        if before > 0 {
            self.0.push(' ');
        }
        let start = self.0.len();
        self.0.push_str(name);
        self.0.push('=');
        let encoded = match value {
            // A value in brackets would be read as a word of the protocol's.
            Some(value) if value.starts_with('[') => {
                self.0.push_str("+5B");
                Xtext::encode(value.get(1..).unwrap_or_default(), &mut self.0)
            }
            Some(value) => Xtext::encode(value, &mut self.0),
            None => {
                self.0.push_str("[UNAVAILABLE]");
                Some(())
            }
        };
        let one = self.0.get(start..).is_some_and(|added| !added.contains(' ') && Attributes::parse(added).is_ok());
        if twice || encoded.is_none() || !one {
            self.0.truncate(before);
            return Err(SyntaxError::new(SyntaxErrorKind::BadArgument, before));
        }
        Ok(self)
    }

    /// ADDR and PORT: whom the proxy speaks for.
    ///
    /// # Errors
    /// When either was given before.
    pub fn address(&mut self, client: SocketAddr) -> Result<&mut Self, SyntaxError> {
        let mut address = String::new();
        // Writing into a String does not fail.
        let _ = match client.ip().to_canonical() {
            IpAddr::V4(v4) => write!(address, "{v4}"),
            IpAddr::V6(v6) => write!(address, "IPV6:{v6}"),
        };
        self.add("ADDR", Some(&address))?;
        address.clear();
        let _ = write!(address, "{}", client.port());
        self.add("PORT", Some(&address))
    }

    /// All of them; `None` when there is none.
    #[must_use]
    pub fn attributes(&self) -> Option<Attributes<'_>> {
        (!self.0.is_empty()).then_some(Attributes(&self.0))
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
