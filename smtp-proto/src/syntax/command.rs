//! Commands (RFC 5321 4.1).

use super::arguments::{auth, etrn, hello, is_absolute_uri, mail, printable, rcpt, verifiable, with_last};
use super::values::decimal;
use super::{Attributes, Base64, ForwardPath, Host, Params, ReversePath, SyntaxError, SyntaxErrorKind as Kind, Verb};
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
        let used = Leniencies::STRICT;
        match Verb::split(line) {
            Some((verb, None)) => {
                if let Some(command) = Self::alone(verb) {
                    return Ok(Parsed { command, used });
                }
            }
            Some((verb, Some(argument))) if !matches!(argument, [] | [.., b' ' | b'\t']) => {
                return Self::with(verb, argument, options, used, line);
            }
            _ => {}
        }
        Self::any(line, options)
    }

    /// Any line: one with white space at its end, without the argument that it needs, or of no command.
    #[cold]
    fn any(line: &'a [u8], options: &Options) -> Result<Parsed<'a>, SyntaxError> {
        let rest = without_trailing_spaces(line);
        let Some((verb, argument)) = Verb::split(rest) else {
            return Err(diagnose(line, SyntaxError::new(Kind::UnknownCommand, 0)));
        };
        let mut used = Leniencies::STRICT;
        if rest.len() < line.len() {
            if !options.lenient.contains(Leniency::TrailingSpace) {
                return Err(diagnose(line, SyntaxError::new(Kind::TrailingSpace, rest.len()).in_line(verb, 0)));
            }
            used = used.with(Leniency::TrailingSpace);
        }
        let Some(argument) = argument else {
            let command = match verb {
                Verb::Ehlo => hello("", options, &mut used).map(Self::Ehlo),
                Verb::Helo => hello("", options, &mut used).map(Self::Helo),
                Verb::Lhlo => hello("", options, &mut used).map(Self::Lhlo),
                _ => Self::alone(verb).ok_or(SyntaxError::new(Kind::BadArgument, 0)),
            };
            return match command {
                Ok(command) => Ok(Parsed { command, used }),
                Err(error) => Err(diagnose(line, error.in_line(verb, rest.len()))),
            };
        };
        Self::with(verb, argument, options, used, line)
    }

    /// A verb that may stand alone.
    #[inline]
    const fn alone(verb: Verb) -> Option<Self> {
        Some(match verb {
            Verb::Data => Self::Data,
            Verb::Rset => Self::Rset,
            Verb::Quit => Self::Quit,
            Verb::StartTls => Self::StartTls,
            Verb::Noop => Self::Noop(""),
            Verb::Help => Self::Help(""),
            Verb::Atrn => Self::Atrn(Atrn("")),
            Verb::Send | Verb::Soml | Verb::Saml | Verb::Turn => Self::Historic(verb),
            _ => return None,
        })
    }

    /// A verb with its argument, which stand in this line.
    #[inline(never)]
    fn with(
        verb: Verb,
        argument: &'a [u8],
        options: &Options,
        mut used: Leniencies,
        line: &[u8],
    ) -> Result<Parsed<'a>, SyntaxError> {
        match Self::of(verb, argument, options, &mut used) {
            Ok(command) => Ok(Parsed { command, used }),
            Err(error) => Err(diagnose(line, error.in_line(verb, verb.as_str().len() + 1))),
        }
    }

    #[inline]
    fn of(verb: Verb, argument: &'a [u8], options: &Options, used: &mut Leniencies) -> Result<Self, SyntaxError> {
        let error = |kind| Err(SyntaxError::new(kind, 0));
        Ok(match verb {
            Verb::Mail => Self::Mail(mail(argument, options, used)?),
            Verb::Rcpt => Self::Rcpt(rcpt(argument, options, used)?),
            Verb::Ehlo => Self::Ehlo(hello(text(argument)?, options, used)?),
            Verb::Helo => Self::Helo(hello(text(argument)?, options, used)?),
            Verb::Lhlo => Self::Lhlo(hello(text(argument)?, options, used)?),
            Verb::Bdat => {
                let (size, last) = with_last(argument)?;
                // RFC 3030 2: chunk-size is 1*DIGIT; what 64 bits cannot hold cannot come.
                let Some(size) = decimal(size, 20) else { return error(Kind::BadArgument) };
                Self::Bdat { size, last }
            }
            Verb::Auth => auth(argument)?,
            Verb::Noop => Self::Noop(printable(text(argument)?)?),
            Verb::Help => Self::Help(printable(text(argument)?)?),
            Verb::Vrfy => Self::Vrfy(verifiable(text(argument)?, options)?),
            Verb::Expn => Self::Expn(verifiable(text(argument)?, options)?),
            Verb::Etrn => Self::Etrn(etrn(text(argument)?)?),
            Verb::Atrn if argument.is_empty() => return error(Kind::BadArgument),
            Verb::Atrn => Self::Atrn(Atrn::parse(text(argument)?)?),
            Verb::Burl => {
                let (url, last) = with_last(argument)?;
                let url = text(url)?;
                if !is_absolute_uri(url) {
                    return error(Kind::BadArgument);
                }
                Self::Burl { url, last }
            }
            Verb::Xclient => Self::Xclient(Attributes::parse(text(argument)?)?),
            Verb::Xforward => Self::Xforward(Attributes::parse(text(argument)?)?),
            Verb::Send | Verb::Soml | Verb::Saml | Verb::Turn => {
                printable(text(argument)?)?;
                Self::Historic(verb)
            }
            Verb::Data | Verb::Rset | Verb::Quit | Verb::StartTls => return error(Kind::UnexpectedArgument),
        })
    }
}

/// Arguments whose grammar lets in ASCII alone need no such look.
#[inline]
fn text(argument: &[u8]) -> Result<&str, SyntaxError> {
    core::str::from_utf8(argument).map_err(|_| SyntaxError::new(Kind::EightBit, 0))
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
