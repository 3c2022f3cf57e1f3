//! What a server announces in its reply to EHLO (RFC 5321 4.1.1.1), read and written.

use alloc::vec::Vec;
use core::fmt;

use super::announced::{Announced, FirstWord, fold, look_up};
use super::class::printable_span;

/// An extension of the registry, by its EHLO keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Extension {
    /// PIPELINING (RFC 2920): commands may be sent before the replies to earlier ones have come.
    Pipelining,
    /// SIZE (RFC 1870): MAIL may declare the size of the message, and the server names its limit.
    Size,
    /// 8BITMIME (RFC 6152): text may have octets over 127.
    EightBitMime,
    /// SMTPUTF8 (RFC 6531): addresses and header fields may be UTF-8.
    SmtpUtf8,
    /// STARTTLS (RFC 3207): the connection can change to TLS.
    StartTls,
    /// AUTH (RFC 4954): clients can authenticate, by the SASL mechanisms that are listed.
    Auth,
    /// ENHANCEDSTATUSCODES (RFC 2034): replies carry codes of the form 2.1.5.
    EnhancedStatusCodes,
    /// DSN (RFC 3461): the client can ask for delivery status notifications.
    Dsn,
    /// CHUNKING (RFC 3030): text can be sent by BDAT, in counted chunks.
    Chunking,
    /// BINARYMIME (RFC 3030): text sent by BDAT need not be lines.
    BinaryMime,
    /// DELIVERBY (RFC 2852): the client can say by when a message must be delivered.
    DeliverBy,
    /// FUTURERELEASE (RFC 4865): the client can ask that a message be held for a time.
    FutureRelease,
    /// MT-PRIORITY (RFC 6710): messages can have priorities.
    MtPriority,
    /// RRVS (RFC 7293): deliver only if the mailbox has not changed its owner since a given time.
    Rrvs,
    /// REQUIRETLS (RFC 8689): the client can demand TLS on all further hops.
    RequireTls,
    /// LIMITS (RFC 9422): the server announces limits on transactions and recipients.
    Limits,
    /// ETRN (RFC 1985): the client can ask for the queue of a host to be started.
    Etrn,
    /// ATRN (RFC 2645): the client can fetch its mail over the same connection.
    Atrn,
    /// BURL (RFC 4468): the server can fetch text from a URL.
    Burl,
    /// NO-SOLICITING (RFC 3865): the server names the classes of solicitation that it does not want.
    NoSoliciting,
    /// MTRK (RFC 3885): messages can be tracked.
    Mtrk,
    /// CHECKPOINT (RFC 1845): an interrupted transaction can be taken up again.
    Checkpoint,
    /// CONPERM (RFC 4141): the client can permit the content to be converted.
    ConPerm,
    /// CONNEG (RFC 4141): the server can tell what a recipient's device can show.
    ConNeg,
    /// SUBMITTER (RFC 4405, experimental): MAIL can name who is responsible for the message.
    Submitter,
    /// VRFY, RFC 5321 3.5.
    Vrfy,
    /// EXPN, RFC 5321 3.5.
    Expn,
    /// HELP, RFC 5321 4.1.1.8.
    Help,
    /// XCLIENT: not of an RFC; a trusted proxy hands on who its client is.
    XClient,
    /// XFORWARD: not of an RFC; likewise, for the log.
    XForward,
}

use Extension as E;

/// Keywords, in the order of [`Extension`].
pub(super) const KEYWORDS: [(Extension, &str); 30] = [
    (E::Pipelining, "PIPELINING"),
    (E::Size, "SIZE"),
    (E::EightBitMime, "8BITMIME"),
    (E::SmtpUtf8, "SMTPUTF8"),
    (E::StartTls, "STARTTLS"),
    (E::Auth, "AUTH"),
    (E::EnhancedStatusCodes, "ENHANCEDSTATUSCODES"),
    (E::Dsn, "DSN"),
    (E::Chunking, "CHUNKING"),
    (E::BinaryMime, "BINARYMIME"),
    (E::DeliverBy, "DELIVERBY"),
    (E::FutureRelease, "FUTURERELEASE"),
    (E::MtPriority, "MT-PRIORITY"),
    (E::Rrvs, "RRVS"),
    (E::RequireTls, "REQUIRETLS"),
    (E::Limits, "LIMITS"),
    (E::Etrn, "ETRN"),
    (E::Atrn, "ATRN"),
    (E::Burl, "BURL"),
    (E::NoSoliciting, "NO-SOLICITING"),
    (E::Mtrk, "MTRK"),
    (E::Checkpoint, "CHECKPOINT"),
    (E::ConPerm, "CONPERM"),
    (E::ConNeg, "CONNEG"),
    (E::Submitter, "SUBMITTER"),
    (E::Vrfy, "VRFY"),
    (E::Expn, "EXPN"),
    (E::Help, "HELP"),
    (E::XClient, "XCLIENT"),
    (E::XForward, "XFORWARD"),
];

impl Extension {
    /// The keyword, in upper case.
    #[must_use]
    pub const fn keyword(self) -> &'static str {
        KEYWORDS[self as usize].1
    }

    /// The extension with this keyword, in any case.
    #[must_use]
    pub fn from_keyword(keyword: &[u8]) -> Option<Self> {
        look_up(fold(keyword), keyword)
    }
}

/// A set of extensions.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct ExtensionSet(u32);

impl ExtensionSet {
    /// The set without any extension.
    pub const EMPTY: Self = Self(0);

    /// Adds `extension`; nothing changes if it is in the set already.
    pub const fn insert(&mut self, extension: Extension) {
        self.0 |= 1 << extension as u32;
    }

    /// Takes `extension` out; nothing changes if it is not in the set.
    pub const fn remove(&mut self, extension: Extension) {
        self.0 &= !(1 << extension as u32);
    }

    /// Whether `extension` is in the set.
    #[must_use]
    pub const fn contains(self, extension: Extension) -> bool {
        self.0 & 1 << extension as u32 != 0
    }

    /// The extensions that are in the set.
    pub fn iter(self) -> impl Iterator<Item = Extension> {
        KEYWORDS.iter().map(|(extension, _)| *extension).filter(move |extension| self.contains(*extension))
    }
}

impl FromIterator<Extension> for ExtensionSet {
    fn from_iter<I: IntoIterator<Item = Extension>>(extensions: I) -> Self {
        extensions.into_iter().fold(Self::EMPTY, |mut set, extension| {
            set.insert(extension);
            set
        })
    }
}

impl fmt::Debug for ExtensionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// One line of the reply to EHLO: an extension and its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Capability<'a> {
    /// An extension that takes no parameter.
    Plain(Extension),
    /// SIZE: the most octets that a message may have; 0 is no fixed limit, `None` is unsaid (RFC 1870 4).
    Size(Option<u64>),
    /// AUTH: the names of mechanisms (RFC 4954 3).
    Auth(Words<'a>),
    /// DELIVERBY: the shortest time in seconds (RFC 2852 2).
    DeliverBy(Option<u32>),
    /// FUTURERELEASE (RFC 4865 4).
    FutureRelease {
        /// The longest time that a message is held, in seconds (RFC 4865 4).
        interval: u32,
        /// Until when at most, a date-time of RFC 3339.
        until: &'a str,
    },
    /// MT-PRIORITY: the profile, if it is said (RFC 6710 4.1).
    MtPriority(Option<&'a str>),
    /// LIMITS, each `NAME=value` (RFC 9422 4).
    Limits(Words<'a>),
    /// BURL: how URLs are resolved (RFC 4468 3.3).
    Burl(Words<'a>),
    /// NO-SOLICITING: the class keywords that are not wanted (RFC 3865 2).
    NoSoliciting(Option<&'a str>),
    /// XCLIENT: the names of attributes.
    XClient(Words<'a>),
    /// XFORWARD: the names of attributes.
    XForward(Words<'a>),
    /// Anything else: an unknown keyword, or a known one with parameters that it does not take.
    Other {
        /// The keyword as the server wrote it.
        keyword: &'a str,
        /// What stands behind it, as it was written.
        params: Words<'a>,
    },
}

impl<'a> Capability<'a> {
    /// Reads a line of the reply, its code cut off. `None` when it is no `ehlo-line` of RFC 5321 4.1.1.1. Blanks at
    /// the end, and more than one between words, are let pass.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        Self::of(Announced::new(line, FirstWord::of(line)))
    }

    /// What a line announces.
    #[inline]
    pub(super) fn of(line: Announced<'a>) -> Option<Self> {
        match line.extension.and_then(|extension| Self::announced(extension, line.params)) {
            Some(known) => Some(known),
            None => Self::other(line.line),
        }
    }

    /// An unknown keyword, or a known one with parameters that it does not take.
    fn other(line: &'a [u8]) -> Option<Self> {
        let (keyword, rest) = line.split_at_checked(FirstWord::of(line).len)?;
        if !matches!(rest, [] | [b' ', ..]) {
            return None;
        }
        let params = Words::parse(rest)?;
        // RFC 5321 4.1.1.1: ehlo-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-"). `AUTH=LOGIN` is an old habit.
        let keyword = str::from_utf8(keyword).ok()?;
        let (first, more) = keyword.as_bytes().split_first()?;
        let fits = first.is_ascii_alphanumeric() && more.iter().all(u8::is_ascii_graphic);
        fits.then_some(Self::Other { keyword, params })
    }

    /// What an extension of the registry announces by what stands behind its keyword.
    pub(crate) fn announced(extension: Extension, params: &'a [u8]) -> Option<Self> {
        if !params.is_empty() {
            return match (extension, params.trim_ascii()) {
                (E::Size, []) => Some(Self::Size(None)),
                (E::Size, size) => digits(size, 20).map(|size| Self::Size(Some(size))),
                (extension, params) => Self::with_params(extension, Words::parse(params)?),
            };
        }
        Some(match extension {
            E::Size => Self::Size(None),
            E::DeliverBy => Self::DeliverBy(None),
            E::MtPriority => Self::MtPriority(None),
            E::NoSoliciting => Self::NoSoliciting(None),
            E::Burl => Self::Burl(Words("")),
            E::Auth => Self::Auth(Words("")),
            // They say nothing without parameters.
            E::Limits | E::FutureRelease | E::XClient | E::XForward => return None,
            extension => Self::Plain(extension),
        })
    }

    fn with_params(extension: Extension, params: Words<'a>) -> Option<Self> {
        Some(match extension {
            E::Auth => Self::Auth(params),
            E::DeliverBy => match params.one() {
                Some(seconds) => Self::DeliverBy(Some(u32::try_from(digits(seconds.as_bytes(), 9)?).ok()?)),
                None if params.is_empty() => Self::DeliverBy(None),
                None => return None,
            },
            E::FutureRelease => {
                let mut words = params.iter();
                let (interval, until, None) = (words.next()?, words.next()?, words.next()) else { return None };
                Self::FutureRelease { interval: u32::try_from(digits(interval.as_bytes(), 9)?).ok()?, until }
            }
            E::MtPriority if params.iter().nth(1).is_none() => Self::MtPriority(params.one()),
            E::NoSoliciting if params.iter().nth(1).is_none() => Self::NoSoliciting(params.one()),
            E::Limits if !params.is_empty() => Self::Limits(params),
            E::Burl => Self::Burl(params),
            E::XClient if !params.is_empty() => Self::XClient(params),
            E::XForward if !params.is_empty() => Self::XForward(params),
            // RFC 6531 3.1: a client must ignore parameters of SMTPUTF8.
            E::SmtpUtf8 => Self::Plain(extension),
            E::MtPriority | E::NoSoliciting | E::Limits | E::XClient | E::XForward => return None,
            // Blanks at the end.
            extension if params.is_empty() => Self::Plain(extension),
            _ => return None,
        })
    }

    /// The extension, if it is known and well announced.
    #[must_use]
    pub const fn extension(&self) -> Option<Extension> {
        Some(match self {
            Self::Plain(extension) => *extension,
            Self::Size(_) => E::Size,
            Self::Auth(_) => E::Auth,
            Self::DeliverBy(_) => E::DeliverBy,
            Self::FutureRelease { .. } => E::FutureRelease,
            Self::MtPriority(_) => E::MtPriority,
            Self::Limits(_) => E::Limits,
            Self::Burl(_) => E::Burl,
            Self::NoSoliciting(_) => E::NoSoliciting,
            Self::XClient(_) => E::XClient,
            Self::XForward(_) => E::XForward,
            Self::Other { .. } => return None,
        })
    }

    /// Writes the line without code and CRLF; [`ReplyWriter::capability`](super::ReplyWriter::capability) adds them,
    /// and checks what the application gave.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Other { keyword, .. } => out.extend_from_slice(keyword.as_bytes()),
            known => out.extend_from_slice(known.extension().map_or("", E::keyword).as_bytes()),
        }
        match self {
            Self::Plain(_) => {}
            Self::Size(size) => size.iter().for_each(|size| number(out, *size)),
            Self::DeliverBy(seconds) => seconds.iter().for_each(|seconds| number(out, u64::from(*seconds))),
            Self::FutureRelease { interval, until } => {
                number(out, u64::from(*interval));
                word(out, until);
            }
            Self::MtPriority(text) | Self::NoSoliciting(text) => text.iter().for_each(|text| word(out, text)),
            Self::Auth(words)
            | Self::Limits(words)
            | Self::Burl(words)
            | Self::XClient(words)
            | Self::XForward(words)
            | Self::Other { params: words, .. } => words.iter().for_each(|text| word(out, text)),
        }
    }
}

/// Words with blanks between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    /// These words, separated by blanks.
    #[must_use]
    pub const fn new(words: &'a str) -> Self {
        Self(words)
    }

    /// Each word in turn, from the left; empty ones are left out.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            while let Some(more) = rest.strip_prefix(' ') {
                rest = more;
            }
            let end = rest.bytes().position(|octet| octet == b' ').unwrap_or(rest.len());
            let (word, more) = rest.split_at_checked(end)?;
            rest = more;
            Some(word).filter(|word| !word.is_empty())
        })
    }

    /// Whether `word` is among them, in any case.
    #[must_use]
    pub fn contains(&self, word: &str) -> bool {
        self.iter().any(|each| each.eq_ignore_ascii_case(word))
    }

    /// The value behind `name=`, the name in any case.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&'a str> {
        self.iter()
            .filter_map(|word| word.split_once('='))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, v)| v)
    }

    /// Whether there is no word.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// RFC 5321 4.1.1.1: ehlo-param is of %d33-126. Blanks around them go.
    fn parse(text: &'a [u8]) -> Option<Self> {
        str::from_utf8(printable(text)?).ok().map(Self)
    }

    /// The words of a line that [`parse`](Self::parse) takes, and empty ones where blanks stand side by side.
    pub(crate) fn of(text: &'a [u8]) -> Option<impl Iterator<Item = &'a [u8]>> {
        Some(printable(text)?.split(|&octet| octet == b' '))
    }

    fn one(self) -> Option<&'a str> {
        (!self.0.is_empty() && !self.0.as_bytes().contains(&b' ')).then_some(self.0)
    }
}

fn printable(text: &[u8]) -> Option<&[u8]> {
    let text = text.trim_ascii();
    (printable_span::<32, 0, 0>(text) == text.len()).then_some(text)
}

/// So many digits at most, and one at least, that 64 bits hold.
fn digits(text: &[u8], most: usize) -> Option<u64> {
    if text.is_empty() || text.len() > most {
        return None;
    }
    text.iter().try_fold(0_u64, |number, octet| {
        let digit = u64::from(octet.wrapping_sub(b'0'));
        if digit > 9 { None } else { number.checked_mul(10)?.checked_add(digit) }
    })
}

fn word(out: &mut Vec<u8>, text: &str) {
    out.push(b' ');
    out.extend_from_slice(text.as_bytes());
}

fn number(out: &mut Vec<u8>, mut number: u64) {
    let mut text = [0_u8; 20];
    let mut start = text.len();
    for digit in text.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        start -= 1;
        if number == 0 {
            break;
        }
    }
    out.push(b' ');
    out.extend_from_slice(text.get(start..).unwrap_or_default());
}
