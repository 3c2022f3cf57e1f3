//! Commands (RFC 5321 4.1).

use super::address::{self, Path};
use super::class::{DCONTENT, cut, is, is_quiet, same};
use super::values::decimal;
use super::{
    Attributes, Base64, ForwardPath, Host, Params, ReversePath, SyntaxError, SyntaxErrorKind as Kind, Verb, class,
    lenient,
};
use crate::{Leniencies, Leniency};

/// What the parser of commands accepts beyond the strict ASCII grammar. The default is nothing.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Options {
    /// Which departures from the grammar are tolerated.
    pub lenient: Leniencies,
    /// Whether UTF-8 may stand where RFC 6531 3.3 allows it: addresses, values of parameters, VRFY and EXPN. MAIL,
    /// VRFY and EXPN must still carry SMTPUTF8 themselves; for RCPT the transaction must have it, which the caller knows.
    pub smtputf8: bool,
}

impl Options {
    /// The strict grammar in ASCII: no leniencies, no SMTPUTF8.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets which departures from the grammar are tolerated.
    #[must_use]
    pub const fn lenient(mut self, lenient: Leniencies) -> Self {
        self.lenient = lenient;
        self
    }

    /// Whether UTF-8 may stand where RFC 6531 3.3 allows it.
    #[must_use]
    pub const fn smtputf8(mut self, smtputf8: bool) -> Self {
        self.smtputf8 = smtputf8;
        self
    }
}

/// A command, and the leniencies without which it would have been refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed<'a> {
    /// The command that the line holds.
    pub command: Command<'a>,
    /// The leniencies that were used.
    pub used: Leniencies,
}

/// A command, borrowed from its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command<'a> {
    /// EHLO (RFC 5321 4.1.1.1).
    Ehlo(Host<'a>),
    /// HELO and the client's name (RFC 5321 4.1.1.1).
    Helo(Host<'a>),
    /// LHLO (RFC 2033 4.1).
    Lhlo(Host<'a>),
    /// MAIL with its reverse-path and parameters (RFC 5321 4.1.1.2).
    Mail(Mail<'a>),
    /// RCPT with its forward-path and parameters (RFC 5321 4.1.1.3).
    Rcpt(Rcpt<'a>),
    /// DATA (RFC 5321 4.1.1.4).
    Data,
    /// BDAT (RFC 3030 2). Its octets follow, whatever becomes of it.
    Bdat {
        /// Octets of the chunk.
        size: u64,
        /// Whether it is the last.
        last: bool,
    },
    /// RSET (RFC 5321 4.1.1.5).
    Rset,
    /// NOOP and what stands behind it (RFC 5321 4.1.1.9).
    Noop(&'a str),
    /// VRFY and what stands behind it: a name, or an address (RFC 5321 4.1.1.6, RFC 6531 3.7.4.2).
    Vrfy(&'a str),
    /// EXPN and what stands behind it (RFC 5321 4.1.1.7).
    Expn(&'a str),
    /// HELP and what stands behind it (RFC 5321 4.1.1.8).
    Help(&'a str),
    /// QUIT (RFC 5321 4.1.1.10).
    Quit,
    /// STARTTLS (RFC 3207 4).
    StartTls,
    /// AUTH (RFC 4954 4).
    Auth {
        /// The mechanism (RFC 4422 3.1), in the case that it was written in.
        mechanism: &'a str,
        /// The initial response; that of no octets goes on the wire as `=`.
        initial: Option<Base64<'a>>,
    },
    /// ETRN: asks the server to send the mail that it holds for a host (RFC 1985).
    Etrn(Etrn<'a>),
    /// ATRN: asks the server to send mail over this connection, with the roles exchanged (RFC 2645).
    Atrn(Atrn<'a>),
    /// BURL: the next part of the text is to be fetched from this URL (RFC 4468).
    Burl {
        /// An absolute URI: its scheme and octets are checked, the rest is its scheme's.
        url: &'a str,
        /// Whether it is the last part.
        last: bool,
    },
    /// XCLIENT: attributes of the client that a trusted proxy speaks for.
    Xclient(Attributes<'a>),
    /// XFORWARD: attributes of the original client, for the log alone.
    Xforward(Attributes<'a>),
    /// A command of RFC 821 that RFC 5321 appendix F gave up: SEND, SOML, SAML, TURN. Its argument is not kept.
    Historic(Verb),
}

/// MAIL (RFC 5321 4.1.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mail<'a> {
    /// The reverse-path: where failures are reported to.
    pub path: ReversePath<'a>,
    /// The parameters behind the path (RFC 5321 4.1.1.11); [`Params::NONE`] if there are none.
    pub params: Params<'a>,
}

/// RCPT (RFC 5321 4.1.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rcpt<'a> {
    /// The forward-path: where the message is to go.
    pub path: ForwardPath<'a>,
    /// The parameters behind the path (RFC 5321 4.1.1.11); [`Params::NONE`] if there are none.
    pub params: Params<'a>,
}

/// What ETRN asks for (RFC 1985 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Etrn<'a> {
    /// Mail for this host.
    Host(Host<'a>),
    /// `@`: mail for this domain and all below it.
    Subdomains(Host<'a>),
    /// `#`: a queue of this name.
    Queue(&'a str),
}

/// What ATRN asks for (RFC 2645 5): mail for these domains, or, without any, for all that the client may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Atrn<'a>(&'a str);

impl<'a> Atrn<'a> {
    /// Parses domains with commas between; an empty text is none.
    ///
    /// # Errors
    /// [`Kind::BadArgument`].
    pub fn parse(text: &'a str) -> Result<Self, SyntaxError> {
        let atrn = Self(text);
        let domain = |name: &str| !name.starts_with('[') && Host::parse(name).is_ok();
        if atrn.domains().all(domain) { Ok(atrn) } else { Err(SyntaxError::new(Kind::BadArgument, 0)) }
    }

    /// The domains asked for, in the order of the command; none if it named none.
    pub fn domains(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let text = self.0;
        text.split(',').filter(move |_| !text.is_empty())
    }

    pub(super) const fn as_str(&self) -> &'a str {
        self.0
    }
}

impl<'a> Command<'a> {
    /// The verb of this command.
    #[must_use]
    pub const fn verb(&self) -> Verb {
        match self {
            Self::Ehlo(_) => Verb::Ehlo,
            Self::Helo(_) => Verb::Helo,
            Self::Lhlo(_) => Verb::Lhlo,
            Self::Mail(_) => Verb::Mail,
            Self::Rcpt(_) => Verb::Rcpt,
            Self::Data => Verb::Data,
            Self::Bdat { .. } => Verb::Bdat,
            Self::Rset => Verb::Rset,
            Self::Noop(_) => Verb::Noop,
            Self::Vrfy(_) => Verb::Vrfy,
            Self::Expn(_) => Verb::Expn,
            Self::Help(_) => Verb::Help,
            Self::Quit => Verb::Quit,
            Self::StartTls => Verb::StartTls,
            Self::Auth { .. } => Verb::Auth,
            Self::Etrn(_) => Verb::Etrn,
            Self::Atrn(_) => Verb::Atrn,
            Self::Burl { .. } => Verb::Burl,
            Self::Xclient(_) => Verb::Xclient,
            Self::Xforward(_) => Verb::Xforward,
            Self::Historic(verb) => *verb,
        }
    }

    /// Parses a line, its CRLF cut off.
    ///
    /// ```
    /// use smtp_proto::syntax::{Command, Options, SyntaxErrorKind};
    ///
    /// let parsed = Command::parse(b"RCPT TO:<b@example.org> NOTIFY=FAILURE,DELAY", &Options::new())?;
    /// let Command::Rcpt(rcpt) = parsed.command else { unreachable!() };
    /// assert_eq!(rcpt.path.as_str(), "b@example.org");
    /// assert!(rcpt.params.notify().is_some_and(|notify| notify.delay && !notify.success));
    ///
    /// let error = Command::parse(b"RCPT TO:<b@example.org> SIZE=1", &Options::new()).unwrap_err();
    /// assert_eq!((error.kind(), error.code(), error.offset()), (SyntaxErrorKind::MisplacedParameter, 555, 24));
    /// # Ok::<(), smtp_proto::syntax::SyntaxError>(())
    /// ```
    ///
    /// # Errors
    /// [`SyntaxError`], which knows the reply.
    pub fn parse(line: &'a [u8], options: &Options) -> Result<Parsed<'a>, SyntaxError> {
        let mut used = Leniencies::STRICT;
        let mut rest = line;
        if let [.., b' ' | b'\t'] = line {
            rest = without_trailing_spaces(line);
            used = used.with(Leniency::TrailingSpace);
        }
        let (verb, argument) = match Verb::split(rest) {
            Some(split) => split,
            None => return Err(diagnose(line, SyntaxError::new(Kind::UnknownCommand, 0))),
        };
        if !used.is_strict() && !options.lenient.contains(Leniency::TrailingSpace) {
            return Err(diagnose(line, SyntaxError::new(Kind::TrailingSpace, rest.len()).in_line(verb, 0)));
        }
        match Self::of(verb, argument, options, &mut used) {
            Ok(command) => Ok(Parsed { command, used }),
            Err(error) => {
                let at = rest.len() - argument.map_or(0, <[u8]>::len);
                Err(diagnose(line, error.in_line(verb, at)))
            }
        }
    }

    #[inline]
    fn of(
        verb: Verb,
        argument: Option<&'a [u8]>,
        options: &Options,
        used: &mut Leniencies,
    ) -> Result<Self, SyntaxError> {
        let error = |kind| Err(SyntaxError::new(kind, 0));
        let Some(argument) = argument else {
            return Ok(match verb {
                Verb::Data => Self::Data,
                Verb::Rset => Self::Rset,
                Verb::Quit => Self::Quit,
                Verb::StartTls => Self::StartTls,
                Verb::Noop => Self::Noop(""),
                Verb::Help => Self::Help(""),
                Verb::Atrn => Self::Atrn(Atrn("")),
                Verb::Send | Verb::Soml | Verb::Saml | Verb::Turn => Self::Historic(verb),
                Verb::Ehlo => Self::Ehlo(hello("", options, used)?),
                Verb::Helo => Self::Helo(hello("", options, used)?),
                Verb::Lhlo => Self::Lhlo(hello("", options, used)?),
                _ => return error(Kind::BadArgument),
            });
        };
        let Ok(text) = core::str::from_utf8(argument) else { return error(Kind::EightBit) };
        Ok(match verb {
            Verb::Mail => Self::Mail(mail(text, options, used)?),
            Verb::Rcpt => Self::Rcpt(rcpt(text, options, used)?),
            Verb::Ehlo => Self::Ehlo(hello(text, options, used)?),
            Verb::Helo => Self::Helo(hello(text, options, used)?),
            Verb::Lhlo => Self::Lhlo(hello(text, options, used)?),
            Verb::Bdat => {
                let (size, last) = with_last(text)?;
                // RFC 3030 2: chunk-size is 1*DIGIT; what 64 bits cannot hold cannot come.
                let Some(size) = decimal(size, 20) else { return error(Kind::BadArgument) };
                Self::Bdat { size, last }
            }
            Verb::Auth => auth(text)?,
            Verb::Noop => Self::Noop(printable(text)?),
            Verb::Help => Self::Help(printable(text)?),
            Verb::Vrfy => Self::Vrfy(verifiable(text, options)?),
            Verb::Expn => Self::Expn(verifiable(text, options)?),
            Verb::Etrn => Self::Etrn(etrn(text)?),
            Verb::Atrn if text.is_empty() => return error(Kind::BadArgument),
            Verb::Atrn => Self::Atrn(Atrn::parse(text)?),
            Verb::Burl => {
                let (url, last) = with_last(text)?;
                if !is_absolute_uri(url) {
                    return error(Kind::BadArgument);
                }
                Self::Burl { url, last }
            }
            Verb::Xclient => Self::Xclient(Attributes::parse(text)?),
            Verb::Xforward => Self::Xforward(Attributes::parse(text)?),
            Verb::Send | Verb::Soml | Verb::Saml | Verb::Turn => {
                printable(text)?;
                Self::Historic(verb)
            }
            Verb::Data | Verb::Rset | Verb::Quit | Verb::StartTls => return error(Kind::UnexpectedArgument),
        })
    }
}

/// RFC 5321 4.1.1.1. ASCII always: nothing has been announced yet (RFC 6531 3.7.1).
fn hello<'a>(text: &'a str, options: &Options, used: &mut Leniencies) -> Result<Host<'a>, SyntaxError> {
    let strict = Host::parse(text).map_err(|error| SyntaxError::new(Kind::BadArgument, error.offset()));
    if strict.is_err()
        && options.lenient.contains(Leniency::HeloName)
        && let Some(host) = lenient::hello(text)
    {
        *used = used.with(Leniency::HeloName);
        return Ok(host);
    }
    strict
}

#[inline]
fn mail<'a>(text: &'a str, options: &Options, used: &mut Leniencies) -> Result<Mail<'a>, SyntaxError> {
    let (path, params) = path_and_params(text, Verb::Mail, options, used)?;
    let path = match path {
        Path::Null => ReversePath::Null,
        Path::Mailbox(mailbox) => ReversePath::Mailbox(mailbox),
        Path::Postmaster(_) => return Err(SyntaxError::new(Kind::BadAddress, "FROM:".len())),
    };
    // RFC 6531 3.4: the parameter is part of the very command that needs it.
    if !(text.is_ascii() || options.smtputf8 && params.smtputf8()) {
        if options.lenient.contains(Leniency::Utf8WithoutSmtpUtf8) {
            *used = used.with(Leniency::Utf8WithoutSmtpUtf8);
            return Ok(Mail { path, params });
        }
        let at = text.bytes().position(|octet| octet > 127).unwrap_or(0);
        return Err(SyntaxError::new(Kind::Utf8WithoutSmtpUtf8, at));
    }
    Ok(Mail { path, params })
}

#[inline]
fn rcpt<'a>(text: &'a str, options: &Options, used: &mut Leniencies) -> Result<Rcpt<'a>, SyntaxError> {
    let (path, params) = path_and_params(text, Verb::Rcpt, options, used)?;
    if !options.smtputf8 && !text.is_ascii() {
        *used = used.with(Leniency::Utf8WithoutSmtpUtf8);
    }
    let path = match path {
        Path::Mailbox(mailbox) => ForwardPath::Mailbox(mailbox),
        Path::Postmaster(text) => ForwardPath::Postmaster(text),
        Path::Null => return Err(SyntaxError::new(Kind::BadAddress, "TO:".len())),
    };
    Ok(Rcpt { path, params })
}

/// `FROM:` or `TO:`, a path, and behind a space its parameters.
#[inline]
fn path_and_params<'a>(
    text: &'a str,
    verb: Verb,
    options: &Options,
    used: &mut Leniencies,
) -> Result<(Path<'a>, Params<'a>), SyntaxError> {
    let prefix = if verb == Verb::Mail { "FROM:" } else { "TO:" };
    let mut rest = match text.split_at_checked(prefix.len()) {
        // A control cannot pass for a letter here, and what differs from the colon only in bit 5 is one.
        Some((start, rest)) if same(start.as_bytes(), prefix.as_bytes()) && start.ends_with(':') => rest,
        _ => return Err(SyntaxError::new(Kind::BadArgument, 0)),
    };
    if rest.starts_with(' ') && options.lenient.contains(Leniency::SpaceAfterColon) {
        rest = rest.trim_start_matches(' ');
        *used = used.with(Leniency::SpaceAfterColon);
    }
    let utf8 = options.smtputf8 || options.lenient.contains(Leniency::Utf8WithoutSmtpUtf8);
    let at = text.len() - rest.len();
    let later = |by: usize| move |error: SyntaxError| SyntaxError::new(error.kind(), error.offset() + by);
    let (path, length) = match address::path(rest, utf8) {
        Ok(found) => found,
        Err(error) => match lenient::path(rest, utf8, options.lenient) {
            Some((path, length, more)) => {
                *used = used.union(more);
                (path, length)
            }
            None => return Err(later(at)(error)),
        },
    };
    let at = at + length;
    let params = match rest.as_bytes().get(length) {
        None => Params::NONE,
        Some(b' ') => {
            let raw = rest.get(length + 1..).unwrap_or_default();
            Params::parse(raw, verb, utf8).map_err(later(at + 1))?
        }
        Some(_) => return Err(SyntaxError::new(Kind::BadParameter, at)),
    };
    Ok((path, params))
}

/// RFC 4954 4, RFC 4422 3.1.
fn auth(text: &str) -> Result<Command<'_>, SyntaxError> {
    let (mechanism, initial) = match cut(text, b' ') {
        None => (text, None),
        Some((mechanism, initial)) => (mechanism, Some(initial)),
    };
    let fits = |octet: u8| is(octet, class::LDH) || octet == b'_';
    if !matches!(mechanism.len(), 1..=20) || !mechanism.bytes().all(fits) {
        return Err(SyntaxError::new(Kind::BadArgument, 0));
    }
    let at = mechanism.len() + 1;
    let initial = match initial {
        None => None,
        // An initial response of no octets, told from none.
        Some("=") => Some(Base64::EMPTY),
        Some("") => return Err(SyntaxError::new(Kind::BadBase64, at)),
        Some(text) => Some(Base64::parse(text).map_err(|error| SyntaxError::new(error.kind(), error.offset() + at))?),
    };
    Ok(Command::Auth { mechanism, initial })
}

/// RFC 1985 5.1.
fn etrn(text: &str) -> Result<Etrn<'_>, SyntaxError> {
    let bad = |_| SyntaxError::new(Kind::BadArgument, 0);
    if let Some(queue) = text.strip_prefix('#') {
        let fits = !queue.is_empty() && queue.bytes().all(|octet| octet.is_ascii_graphic());
        return if fits { Ok(Etrn::Queue(queue)) } else { Err(SyntaxError::new(Kind::BadArgument, 0)) };
    }
    match text.strip_prefix('@') {
        Some(domain) => Host::parse(domain).map(Etrn::Subdomains).map_err(bad),
        None => Host::parse(text).map(Etrn::Host).map_err(bad),
    }
}

/// What stands before ` LAST`, if that is there (RFC 3030 2, RFC 4468 3).
fn with_last(text: &str) -> Result<(&str, bool), SyntaxError> {
    match cut(text, b' ') {
        None => Ok((text, false)),
        Some((first, last)) if last.eq_ignore_ascii_case("LAST") => Ok((first, true)),
        Some((first, _)) => Err(SyntaxError::new(Kind::BadArgument, first.len() + 1)),
    }
}

/// RFC 3986 4.3: a scheme, a colon, and octets that a URI may hold.
fn is_absolute_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let octet = |octet: u8| is(octet, DCONTENT) || matches!(octet, b'[' | b']');
    let forbidden = |octet: u8| matches!(octet, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | b'#');
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'-' | b'.'))
        && !rest.is_empty()
        && rest.bytes().all(|each| octet(each) && !forbidden(each))
}

/// An argument of printable ASCII; not none, as a space announced one.
fn printable(text: &str) -> Result<&str, SyntaxError> {
    match text.bytes().position(|octet| !matches!(octet, b' '..=b'~')) {
        None if text.is_empty() => Err(SyntaxError::new(Kind::BadArgument, 0)),
        None => Ok(text),
        Some(at) => Err(SyntaxError::new(if text.is_ascii() { Kind::Control } else { Kind::EightBit }, at)),
    }
}

/// The argument of VRFY and EXPN: UTF-8 only with SMTPUTF8 at its end (RFC 6531 3.7.4.2).
fn verifiable<'a>(text: &'a str, options: &Options) -> Result<&'a str, SyntaxError> {
    if !options.smtputf8 || text.is_ascii() {
        return printable(text);
    }
    let flagged = text.len().checked_sub(" SMTPUTF8".len()).and_then(|at| text.get(at..));
    if !flagged.is_some_and(|flag| flag.eq_ignore_ascii_case(" SMTPUTF8")) {
        return Err(SyntaxError::new(Kind::Utf8WithoutSmtpUtf8, 0));
    }
    if text.chars().any(|char| char.is_ascii_control()) || !is_quiet(text) {
        return Err(SyntaxError::new(Kind::Control, 0));
    }
    Ok(text)
}

/// What is most to blame: a line with a control in it is not looked at further.
#[cold]
fn diagnose(line: &[u8], error: SyntaxError) -> SyntaxError {
    let utf8 = core::str::from_utf8(line);
    // Where the grammar itself has judged UTF-8, its word stands.
    let judged = matches!(error.kind(), Kind::Utf8WithoutSmtpUtf8);
    let bad = line.iter().position(|octet| matches!(octet, 0..=31 | 127)).or_else(|| match utf8 {
        Err(utf8) => Some(utf8.valid_up_to()),
        Ok(_) if judged => None,
        Ok(_) => line.iter().position(|octet| *octet > 127),
    });
    let kind = match bad.and_then(|at| line.get(at)) {
        None if line.is_empty() => Kind::EmptyLine,
        None => return error,
        Some(b'\r') => Kind::BareCr,
        Some(b'\n') => Kind::BareLf,
        Some(0) => Kind::Nul,
        Some(128..) => Kind::EightBit,
        Some(_) => Kind::Control,
    };
    let at = bad.unwrap_or(0);
    match error.verb() {
        Some(verb) => SyntaxError::new(kind, at).in_line(verb, 0),
        None => SyntaxError::new(kind, at),
    }
}

/// RFC 5321 4.1.1: white space, which is spaces and tabs.
fn without_trailing_spaces(mut line: &[u8]) -> &[u8] {
    while let [before @ .., b' ' | b'\t'] = line {
        line = before;
    }
    line
}
