//! Why a line is no command, and what to answer (RFC 5321 4.2.4, 4.3.2; RFC 3463).

use super::{Enhanced, Verb};

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SyntaxErrorKind {
    /// The line does not begin with a verb that is known here.
    UnknownCommand,
    /// The line is empty.
    EmptyLine,
    /// CR inside the line.
    BareCr,
    /// LF inside the line.
    BareLf,
    /// The octet NUL (0) in the line.
    Nul,
    /// A control character other than CR, LF and NUL.
    Control,
    /// Octets over 127 where none may be, or that are not UTF-8 (RFC 3629).
    EightBit,
    /// A space at the end of the line.
    TrailingSpace,
    /// A command that takes no argument has one.
    UnexpectedArgument,
    /// The argument is missing, or does not have the form that the command needs.
    BadArgument,
    /// Not base64 (RFC 4648 4), or not in its one canonical form (3.5).
    BadBase64,
    /// The argument is no path: neither a mailbox in angle brackets nor `<>` or `<Postmaster>` where they may be.
    BadAddress,
    /// A part of a path over its limit (RFC 5321 4.5.3.1.1 to 4.5.3.1.3).
    AddressTooLong,
    /// UTF-8 in MAIL that does not carry SMTPUTF8 (RFC 6531 3.4).
    Utf8WithoutSmtpUtf8,
    /// Not a parameter, or a value of the wrong form.
    BadParameter,
    /// A value of the right form that stands for nothing known, as in `BODY=9BIT`.
    UnknownValue,
    /// SIZE beyond 64 bits (RFC 1870 allows 20 digits).
    SizeTooBig,
    /// A parameter twice, or two that exclude each other (RFC 4865 4).
    DuplicateParameter,
    /// A known parameter on a command that it does not belong to.
    MisplacedParameter,
    /// More unknown parameters than are kept.
    TooManyParameters,
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

    /// The same, the text having stood `by` octets into a line of this verb.
    pub(super) const fn in_line(self, verb: Verb, by: usize) -> Self {
        Self { kind: self.kind, offset: self.offset + by, verb: Some(verb) }
    }

    /// What is wrong with the line or the text.
    #[must_use]
    pub const fn kind(&self) -> SyntaxErrorKind {
        self.kind
    }

    /// Where in the line, or in the text that was to be parsed: at the octet at fault, or at the start of the part
    /// that is.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// The verb, if it was recognised.
    #[must_use]
    pub const fn verb(&self) -> Option<Verb> {
        self.verb
    }

    /// The reply code (RFC 5321 4.2.2, 4.3.2).
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self.kind {
            SyntaxErrorKind::UnknownCommand
            | SyntaxErrorKind::EmptyLine
            | SyntaxErrorKind::BareCr
            | SyntaxErrorKind::BareLf
            | SyntaxErrorKind::Nul
            | SyntaxErrorKind::Control
            | SyntaxErrorKind::EightBit => 500,
            SyntaxErrorKind::TrailingSpace
            | SyntaxErrorKind::UnexpectedArgument
            | SyntaxErrorKind::BadArgument
            | SyntaxErrorKind::BadBase64
            | SyntaxErrorKind::BadAddress
            | SyntaxErrorKind::AddressTooLong
            | SyntaxErrorKind::BadParameter
            | SyntaxErrorKind::DuplicateParameter
            | SyntaxErrorKind::TooManyParameters => 501,
            SyntaxErrorKind::UnknownValue => 504,
            SyntaxErrorKind::SizeTooBig => 552,
            // RFC 6531 3.5: 550 or 553.
            SyntaxErrorKind::Utf8WithoutSmtpUtf8 => 553,
            // RFC 5321 4.1.1.11: not recognised on this command.
            SyntaxErrorKind::MisplacedParameter => 555,
        }
    }

    /// The enhanced status code (RFC 3463; RFC 5248 registers X.6.7 of RFC 6531).
    #[must_use]
    pub const fn enhanced(&self) -> Enhanced {
        match self.kind {
            SyntaxErrorKind::UnknownCommand => Enhanced::new(5, 5, 1),
            SyntaxErrorKind::BadAddress | SyntaxErrorKind::AddressTooLong => match self.verb {
                Some(Verb::Mail) => Enhanced::new(5, 1, 7),
                _ => Enhanced::new(5, 1, 3),
            },
            SyntaxErrorKind::Utf8WithoutSmtpUtf8 => Enhanced::new(5, 6, 7),
            SyntaxErrorKind::SizeTooBig => Enhanced::new(5, 3, 4),
            SyntaxErrorKind::TrailingSpace
            | SyntaxErrorKind::UnexpectedArgument
            | SyntaxErrorKind::BadArgument
            | SyntaxErrorKind::BadParameter
            | SyntaxErrorKind::UnknownValue
            | SyntaxErrorKind::DuplicateParameter
            | SyntaxErrorKind::MisplacedParameter
            | SyntaxErrorKind::TooManyParameters => Enhanced::new(5, 5, 4),
            // RFC 4954 4 gives 5.5.2 to what is not base64.
            SyntaxErrorKind::EmptyLine
            | SyntaxErrorKind::BareCr
            | SyntaxErrorKind::BareLf
            | SyntaxErrorKind::Nul
            | SyntaxErrorKind::Control
            | SyntaxErrorKind::EightBit
            | SyntaxErrorKind::BadBase64 => Enhanced::new(5, 5, 2),
        }
    }

    /// The reply's words. They quote nothing from the line.
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
            SyntaxErrorKind::TrailingSpace => "Space at the end of a command",
            SyntaxErrorKind::UnexpectedArgument => "Command takes no argument",
            SyntaxErrorKind::BadArgument => "Argument missing or malformed",
            SyntaxErrorKind::BadBase64 => "Malformed base64",
            SyntaxErrorKind::BadAddress => "Malformed address",
            SyntaxErrorKind::AddressTooLong => "Address too long",
            SyntaxErrorKind::Utf8WithoutSmtpUtf8 => "UTF-8 needs the parameter SMTPUTF8",
            SyntaxErrorKind::BadParameter => "Malformed parameter",
            SyntaxErrorKind::UnknownValue => "Parameter value not implemented",
            SyntaxErrorKind::SizeTooBig => "Message too big",
            SyntaxErrorKind::DuplicateParameter => "Duplicate parameter",
            SyntaxErrorKind::MisplacedParameter => "Parameter does not belong to this command",
            SyntaxErrorKind::TooManyParameters => "Too many parameters",
        }
    }
}
