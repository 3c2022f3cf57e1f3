//! Whom a message is from and for.

use crate::syntax::{Params, Rcpt, ReversePath};

/// Whom a message is from and for, and what is known of its text. SIZE, BODY and SMTPUTF8 are added to MAIL from it, as
/// the server offers them.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Envelope<'e> {
    /// Who is told of failures.
    pub from: ReversePath<'e>,
    /// The recipients, with their parameters.
    pub to: &'e [Rcpt<'e>],
    /// Further parameters of MAIL.
    pub params: Params<'e>,
    /// Octets of the text, if they are known beforehand.
    pub size: Option<u64>,
    /// What octets the text holds.
    pub body: Body,
    /// The header fields hold UTF-8 (RFC 6532); with an address beyond ASCII SMTPUTF8 is asked for anyway.
    pub utf8: bool,
}

impl<'e> Envelope<'e> {
    /// A 7-bit text of unknown size.
    #[must_use]
    pub fn new(from: ReversePath<'e>, to: &'e [Rcpt<'e>]) -> Self {
        Self { from, to, params: Params::default(), size: None, body: Body::SevenBit, utf8: false }
    }

    /// How many octets the text has.
    #[must_use]
    pub const fn size(mut self, octets: u64) -> Self {
        self.size = Some(octets);
        self
    }

    /// What octets it holds.
    #[must_use]
    pub const fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    /// Whether anything in it asks for SMTPUTF8 (RFC 6531 3.4).
    pub(super) fn needs_utf8(&self) -> bool {
        self.utf8 || !self.from.as_str().is_ascii() || self.to.iter().any(|rcpt| !rcpt.path.as_str().is_ascii())
    }
}

/// What octets a text holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Body {
    /// ASCII alone.
    #[default]
    SevenBit,
    /// Others too, in lines: BODY=8BITMIME (RFC 6152).
    EightBitMime,
    /// Any octets, by BDAT alone: BODY=BINARYMIME (RFC 3030 3).
    BinaryMime,
}
