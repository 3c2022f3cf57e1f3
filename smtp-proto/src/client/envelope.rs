//! Whom a message is from and for.

use crate::syntax::{Body, Params, Rcpt, ReversePath};

/// Whom a message is from and for, and what is known of its text. SIZE, BODY and SMTPUTF8 are added to MAIL from it, as
/// the server offers them.
///
/// ```
/// use smtp_proto::client::Envelope;
/// use smtp_proto::syntax::{ForwardPath, Params, Rcpt, ReversePath};
///
/// let from = ReversePath::parse("ann@example.org", false)?; // "" is the path of notifications, <>
/// let to = [Rcpt { path: ForwardPath::parse("ben@example.net", false)?, params: Params::default() }];
/// let text = b"Subject: Hi\r\n\r\nHello.\r\n";
/// let envelope = Envelope::new(from, &to).text(text); // its size, and whether it is ASCII
/// assert_eq!(envelope.size, Some(text.len() as u64));
/// # Ok::<(), smtp_proto::syntax::SyntaxError>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Envelope<'e> {
    /// The reverse-path: the mailbox that is told of failures, or `<>`.
    pub from: ReversePath<'e>,
    /// The recipients, each with its parameters of RCPT.
    pub to: &'e [Rcpt<'e>],
    /// Parameters of MAIL other than SIZE, BODY and SMTPUTF8.
    pub params: Params<'e>,
    /// Octets of the text, if they are known beforehand.
    pub size: Option<u64>,
    /// What octets the text holds, if that is known beforehand. If it is not, BODY=8BITMIME is said wherever the server
    /// offers 8BITMIME, and elsewhere the text is refused when an octet beyond ASCII comes (RFC 6152 3).
    pub body: Option<Body>,
    /// The header fields hold UTF-8 (RFC 6532); with an address beyond ASCII SMTPUTF8 is asked for anyway.
    pub utf8: bool,
}

impl<'e> Envelope<'e> {
    /// A text of which nothing is known.
    #[must_use]
    pub fn new(from: ReversePath<'e>, to: &'e [Rcpt<'e>]) -> Self {
        Self { from, to, params: Params::default(), size: None, body: None, utf8: false }
    }

    /// Declares the size of the text, in octets (SIZE, RFC 1870).
    #[must_use]
    pub const fn size(mut self, octets: u64) -> Self {
        self.size = Some(octets);
        self
    }

    /// Declares what octets the text holds (BODY, RFC 6152).
    #[must_use]
    pub const fn body(mut self, body: Body) -> Self {
        self.body = Some(body);
        self
    }

    /// For a text that is at hand as a whole: looks at it, and says its size and what octets it holds.
    #[must_use]
    pub fn text(self, text: &[u8]) -> Self {
        let body = if text.is_ascii() { Body::SevenBit } else { Body::EightBitMime };
        self.size(text.len() as u64).body(body)
    }

    /// Whether anything in it asks for SMTPUTF8 (RFC 6531 3.4).
    pub(super) fn needs_utf8(&self) -> bool {
        self.utf8 || !self.from.as_str().is_ascii() || self.to.iter().any(|rcpt| !rcpt.path.as_str().is_ascii())
    }
}
