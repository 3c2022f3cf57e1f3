//! Commands (RFC 5321 4.1).

use super::address::without_source_route;
use super::{Enhanced, ForwardPath, Host, Mailbox, Params, ReversePath};

/// Departures from the grammar that can be let pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leniency {
    /// `MAIL FROM: <a@b>`.
    pub space_after_colon: bool,
}

impl Leniency {
    /// Whether nothing is let pass.
    #[must_use]
    pub const fn is_strict(&self) -> bool {
        !self.space_after_colon
    }
}

/// How to parse.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Options {
    /// What is let pass.
    pub lenient: Leniency,
}

impl Options {
    /// Strict.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What is let pass.
    #[must_use]
    pub const fn lenient(mut self, lenient: Leniency) -> Self {
        self.lenient = lenient;
        self
    }
}

/// A command, and what had to be let pass for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed<'a> {
    /// The command.
    pub command: Command<'a>,
    /// The leniencies that were used.
    pub used: Leniency,
}

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command<'a> {
    /// EHLO.
    Ehlo(Host<'a>),
    /// HELO.
    Helo(Host<'a>),
    /// LHLO (RFC 2033).
    Lhlo(Host<'a>),
    /// MAIL.
    Mail(Mail<'a>),
    /// RCPT.
    Rcpt(Rcpt<'a>),
    /// DATA.
    Data,
    /// BDAT (RFC 3030).
    Bdat {
        /// Octets of the chunk.
        size: u64,
        /// Whether it is the last.
        last: bool,
    },
    /// AUTH (RFC 4954).
    Auth {
        /// The mechanism.
        mechanism: &'a str,
        /// The initial response.
        initial: Option<Base64<'a>>,
    },
    /// RSET.
    Rset,
    /// NOOP and what stands behind it.
    Noop(&'a str),
    /// VRFY.
    Vrfy(&'a str),
    /// EXPN.
    Expn(&'a str),
    /// HELP.
    Help(&'a str),
    /// QUIT.
    Quit,
    /// STARTTLS (RFC 3207).
    StartTls,
}

/// A message of an AUTH exchange, or `=`, which is an empty one (RFC 4954 4).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Base64<'a>(&'a str);

impl<'a> Base64<'a> {
    /// As it was written.
    #[must_use]
    pub const fn as_str(&self) -> &'a str {
        self.0
    }
}

impl core::fmt::Debug for Base64<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Base64([redacted])")
    }
}

/// MAIL (RFC 5321 4.1.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mail<'a> {
    /// The reverse-path.
    pub path: ReversePath<'a>,
    /// Its parameters.
    pub params: Params<'a>,
}

/// RCPT (RFC 5321 4.1.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rcpt<'a> {
    /// The forward-path.
    pub path: ForwardPath<'a>,
    /// Its parameters.
    pub params: Params<'a>,
}

/// The verb of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each is its own name")]
pub enum Verb {
    Ehlo,
    Helo,
    Lhlo,
    Mail,
    Rcpt,
    Data,
    Bdat,
    Auth,
    Rset,
    Noop,
    Vrfy,
    Expn,
    Help,
    Quit,
    StartTls,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SyntaxErrorKind {
    /// No verb known here.
    UnknownCommand,
    /// Nothing in the line.
    EmptyLine,
    /// CR inside the line.
    BareCr,
    /// LF inside the line.
    BareLf,
    /// NUL.
    Nul,
    /// Another control.
    Control,
    /// Octets over 127.
    EightBit,
    /// An argument where none may be.
    UnexpectedArgument,
    /// No argument where one must be.
    BadArgument,
    /// Not a path.
    BadAddress,
    /// Not a parameter.
    BadParameter,
    /// A parameter twice.
    DuplicateParameter,
}

/// Why a line is no command, and what to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct SyntaxError {
    kind: SyntaxErrorKind,
    offset: usize,
    verb: Option<Verb>,
}

impl SyntaxError {
    pub(super) const fn new(kind: SyntaxErrorKind, offset: usize) -> Self {
        Self { kind, offset, verb: None }
    }

    /// What is wrong.
    #[must_use]
    pub const fn kind(&self) -> SyntaxErrorKind {
        self.kind
    }

    /// Where in the line.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// The verb, if it was recognised.
    #[must_use]
    pub const fn verb(&self) -> Option<Verb> {
        self.verb
    }

    /// The reply code.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self.kind {
            SyntaxErrorKind::UnexpectedArgument
            | SyntaxErrorKind::BadArgument
            | SyntaxErrorKind::BadAddress
            | SyntaxErrorKind::BadParameter
            | SyntaxErrorKind::DuplicateParameter => 501,
            _ => 500,
        }
    }

    /// The enhanced status code.
    #[must_use]
    pub const fn enhanced(&self) -> Enhanced {
        match self.kind {
            SyntaxErrorKind::UnknownCommand => Enhanced::new(5, 5, 1),
            SyntaxErrorKind::BadAddress => match self.verb {
                Some(Verb::Mail) => Enhanced::new(5, 1, 7),
                _ => Enhanced::new(5, 1, 3),
            },
            SyntaxErrorKind::UnexpectedArgument
            | SyntaxErrorKind::BadArgument
            | SyntaxErrorKind::BadParameter
            | SyntaxErrorKind::DuplicateParameter => Enhanced::new(5, 5, 4),
            _ => Enhanced::new(5, 5, 2),
        }
    }

    /// The reply's words.
    #[must_use]
    pub const fn text(&self) -> &'static str {
        match self.kind {
            SyntaxErrorKind::UnknownCommand => "Command not recognized",
            SyntaxErrorKind::EmptyLine => "Empty line",
            SyntaxErrorKind::BareCr => "Bare CR in a command",
            SyntaxErrorKind::BareLf => "Bare LF in a command",
            SyntaxErrorKind::Nul => "NUL in a command",
            SyntaxErrorKind::Control => "Control character in a command",
            SyntaxErrorKind::EightBit => "8-bit octet in a command",
            SyntaxErrorKind::UnexpectedArgument => "Command takes no argument",
            SyntaxErrorKind::BadArgument => "Argument missing or malformed",
            SyntaxErrorKind::BadAddress => "Malformed address",
            SyntaxErrorKind::BadParameter => "Malformed parameter",
            SyntaxErrorKind::DuplicateParameter => "Duplicate parameter",
        }
    }
}

impl<'a> Command<'a> {
    /// Its verb.
    #[must_use]
    pub const fn verb(&self) -> Verb {
        match self {
            Self::Ehlo(_) => Verb::Ehlo,
            Self::Helo(_) => Verb::Helo,
            Self::Lhlo(_) => Verb::Lhlo,
            Self::Bdat { .. } => Verb::Bdat,
            Self::Auth { .. } => Verb::Auth,
            Self::Mail(_) => Verb::Mail,
            Self::Rcpt(_) => Verb::Rcpt,
            Self::Data => Verb::Data,
            Self::Rset => Verb::Rset,
            Self::Noop(_) => Verb::Noop,
            Self::Vrfy(_) => Verb::Vrfy,
            Self::Expn(_) => Verb::Expn,
            Self::Help(_) => Verb::Help,
            Self::Quit => Verb::Quit,
            Self::StartTls => Verb::StartTls,
        }
    }

    /// Parses a line, its CRLF cut off.
    ///
    /// # Errors
    /// [`SyntaxError`], which knows the reply.
    pub fn parse(line: &'a [u8], options: &Options) -> Result<Parsed<'a>, SyntaxError> {
        let text = printable(line)?;
        let (word, argument) = match text.split_once(' ') {
            Some((word, argument)) => (word, Some(argument)),
            None => (text, None),
        };
        let Some(verb) = verb(word) else { return Err(SyntaxError::new(SyntaxErrorKind::UnknownCommand, 0)) };
        let error = |kind| SyntaxError { kind, offset: word.len(), verb: Some(verb) };
        let mut used = Leniency::default();
        let host =
            |argument: Option<&'a str>| argument.and_then(Host::parse).ok_or(error(SyntaxErrorKind::BadArgument));
        if argument.is_some() && matches!(verb, Verb::Data | Verb::Rset | Verb::Quit | Verb::StartTls) {
            return Err(error(SyntaxErrorKind::UnexpectedArgument));
        }
        let command = match verb {
            Verb::Ehlo => Command::Ehlo(host(argument)?),
            Verb::Helo => Command::Helo(host(argument)?),
            Verb::Lhlo => Command::Lhlo(host(argument)?),
            Verb::Bdat => {
                let (size, last) = match argument.unwrap_or_default().split_once(' ') {
                    Some((size, last)) if last.eq_ignore_ascii_case("LAST") => (size, true),
                    Some(_) => return Err(error(SyntaxErrorKind::BadArgument)),
                    None => (argument.unwrap_or_default(), false),
                };
                let digits = !size.is_empty() && size.bytes().all(|octet| octet.is_ascii_digit());
                let size = size.parse().ok().filter(|_| digits).ok_or(error(SyntaxErrorKind::BadArgument))?;
                Command::Bdat { size, last }
            }
            Verb::Auth => {
                let argument = argument.filter(|text| !text.is_empty()).ok_or(error(SyntaxErrorKind::BadArgument))?;
                let (mechanism, initial) = match argument.split_once(' ') {
                    Some((_, "")) => return Err(error(SyntaxErrorKind::BadArgument)),
                    Some((mechanism, initial)) => (mechanism, Some(Base64(initial))),
                    None => (argument, None),
                };
                Command::Auth { mechanism, initial }
            }
            Verb::Data => Command::Data,
            Verb::Rset => Command::Rset,
            Verb::Quit => Command::Quit,
            Verb::StartTls => Command::StartTls,
            Verb::Noop => Command::Noop(argument.unwrap_or_default()),
            Verb::Help => Command::Help(argument.unwrap_or_default()),
            Verb::Vrfy => {
                Command::Vrfy(argument.filter(|text| !text.is_empty()).ok_or(error(SyntaxErrorKind::BadArgument))?)
            }
            Verb::Expn => {
                Command::Expn(argument.filter(|text| !text.is_empty()).ok_or(error(SyntaxErrorKind::BadArgument))?)
            }
            Verb::Mail | Verb::Rcpt => {
                let prefix = if verb == Verb::Mail { "FROM:" } else { "TO:" };
                let argument = argument.unwrap_or_default();
                let mut path = match argument.split_at_checked(prefix.len()) {
                    Some((start, path)) if start.eq_ignore_ascii_case(prefix) => path,
                    _ => return Err(error(SyntaxErrorKind::BadArgument)),
                };
                if options.lenient.space_after_colon && path.starts_with(' ') {
                    path = path.trim_start_matches(' ');
                    used.space_after_colon = true;
                }
                let (path, params) = split_path(path).ok_or(error(SyntaxErrorKind::BadAddress))?;
                let at = line.len() - params.len();
                let params = match params {
                    "" => Params::default(),
                    _ => match params.strip_prefix(' ').filter(|params| !params.is_empty()) {
                        Some(params) => Params::parse(params, at).map_err(|e| SyntaxError { verb: Some(verb), ..e })?,
                        None => return Err(error(SyntaxErrorKind::BadParameter)),
                    },
                };
                let mailbox = || {
                    Mailbox::parse(without_source_route(path), false).map_err(|_| error(SyntaxErrorKind::BadAddress))
                };
                if verb == Verb::Mail {
                    let path = if path.is_empty() { ReversePath::Null } else { ReversePath::Mailbox(mailbox()?) };
                    Command::Mail(Mail { path, params })
                } else {
                    let postmaster = path.eq_ignore_ascii_case("postmaster");
                    let path =
                        if postmaster { ForwardPath::Postmaster(path) } else { ForwardPath::Mailbox(mailbox()?) };
                    Command::Rcpt(Rcpt { path, params })
                }
            }
        };
        Ok(Parsed { command, used })
    }
}

fn printable(line: &[u8]) -> Result<&str, SyntaxError> {
    let bad = line.iter().position(|octet| !matches!(octet, b' '..=b'~'));
    if let Some((at, octet)) = bad.and_then(|at| line.get(at).map(|octet| (at, *octet))) {
        let kind = match octet {
            b'\r' => SyntaxErrorKind::BareCr,
            b'\n' => SyntaxErrorKind::BareLf,
            0 => SyntaxErrorKind::Nul,
            128.. => SyntaxErrorKind::EightBit,
            _ => SyntaxErrorKind::Control,
        };
        return Err(SyntaxError::new(kind, at));
    }
    match core::str::from_utf8(line) {
        Ok("") | Err(_) => Err(SyntaxError::new(SyntaxErrorKind::EmptyLine, 0)),
        Ok(text) => Ok(text),
    }
}

fn verb(word: &str) -> Option<Verb> {
    const VERBS: [(&str, Verb); 15] = [
        ("EHLO", Verb::Ehlo),
        ("HELO", Verb::Helo),
        ("LHLO", Verb::Lhlo),
        ("BDAT", Verb::Bdat),
        ("AUTH", Verb::Auth),
        ("MAIL", Verb::Mail),
        ("RCPT", Verb::Rcpt),
        ("DATA", Verb::Data),
        ("RSET", Verb::Rset),
        ("NOOP", Verb::Noop),
        ("VRFY", Verb::Vrfy),
        ("EXPN", Verb::Expn),
        ("HELP", Verb::Help),
        ("QUIT", Verb::Quit),
        ("STARTTLS", Verb::StartTls),
    ];
    VERBS.iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|(_, verb)| *verb)
}

/// Between `<` and the `>` that closes it, quotes respected; and what stands behind.
fn split_path(text: &str) -> Option<(&str, &str)> {
    let inside = text.strip_prefix('<')?;
    let (mut quoted, mut escaped) = (false, false);
    let end = inside.bytes().position(|octet| {
        let end = octet == b'>' && !quoted;
        if !escaped && octet == b'"' {
            quoted = !quoted;
        }
        escaped = quoted && !escaped && octet == b'\\';
        end
    })?;
    Some((inside.get(..end)?, inside.get(end + 1..)?))
}
