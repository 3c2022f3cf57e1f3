//! Making parameters from what a client has.

use alloc::string::String;
use core::fmt::{self, Write as _};

use super::values::{Body, By, Notify, Ret};
use super::{Keyword, KeywordSet, Mailbox, Params, SyntaxError, SyntaxErrorKind, Verb, Xtext};

/// Makes [`Params`] for MAIL or RCPT. Each is checked as it is added, by the grammar that reads it: nothing that is in
/// a value can become a second parameter or a second line. It can be used again after [`clear`](Self::clear).
///
/// ```
/// use smtp_proto::syntax::{Body, Command, Mail, ParamsBuilder, ReversePath};
///
/// let mut params = ParamsBuilder::mail();
/// params.size(1200)?.body(Body::EightBitMime)?.envid("order 66")?;
/// let mail = Mail { path: ReversePath::parse("a@b.example", false)?, params: params.params() };
/// let mut out = Vec::new();
/// Command::Mail(mail).write(&mut out)?;
/// assert_eq!(out, b"MAIL FROM:<a@b.example> SIZE=1200 BODY=8BITMIME ENVID=order+2066\r\n");
/// assert!(params.size(1).is_err(), "twice");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamsBuilder {
    verb: Verb,
    text: String,
    known: KeywordSet,
    unknown: u8,
}

impl ParamsBuilder {
    /// An empty list of parameters for MAIL.
    #[must_use]
    pub const fn mail() -> Self {
        Self { verb: Verb::Mail, text: String::new(), known: KeywordSet::EMPTY, unknown: 0 }
    }

    /// An empty list of parameters for RCPT.
    #[must_use]
    pub const fn rcpt() -> Self {
        Self { verb: Verb::Rcpt, text: String::new(), known: KeywordSet::EMPTY, unknown: 0 }
    }

    /// The parameters that were added so far, in that order.
    #[must_use]
    pub fn params(&self) -> Params<'_> {
        Params::from_checked(&self.text, self.known, self.unknown)
    }

    /// Takes all away, and keeps the memory.
    pub fn clear(&mut self) {
        *self = Self {
            text: core::mem::take(&mut self.text),
            ..if self.verb == Verb::Mail { Self::mail() } else { Self::rcpt() }
        };
        self.text.clear();
    }

    /// Any parameter, its value as it goes on the wire.
    ///
    /// # Errors
    /// [`SyntaxError`] as from [`Params::parse`]; nothing is added then.
    pub fn add(&mut self, keyword: &str, value: Option<&str>) -> Result<&mut Self, SyntaxError> {
        self.written(|out| {
            out.push_str(keyword);
            if let Some(value) = value {
                out.push('=');
                out.push_str(value);
            }
            Some(())
        })
    }

    /// SIZE, in octets (RFC 1870).
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn size(&mut self, octets: u64) -> Result<&mut Self, SyntaxError> {
        self.formatted(Keyword::Size, format_args!("{octets}"))
    }

    /// BODY (RFC 6152, RFC 3030).
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn body(&mut self, body: Body) -> Result<&mut Self, SyntaxError> {
        self.add(Keyword::Body.as_str(), Some(body.as_str()))
    }

    /// SMTPUTF8 (RFC 6531).
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn smtputf8(&mut self) -> Result<&mut Self, SyntaxError> {
        self.add(Keyword::SmtpUtf8.as_str(), None)
    }

    /// REQUIRETLS (RFC 8689).
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn requiretls(&mut self) -> Result<&mut Self, SyntaxError> {
        self.add(Keyword::RequireTls.as_str(), None)
    }

    /// RET (RFC 3461 4.3).
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn ret(&mut self, ret: Ret) -> Result<&mut Self, SyntaxError> {
        self.add(Keyword::Ret.as_str(), Some(ret.as_str()))
    }

    /// ENVID (RFC 3461 4.4): printable ASCII, encoded here.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn envid(&mut self, envid: &str) -> Result<&mut Self, SyntaxError> {
        self.written(|out| {
            out.push_str("ENVID=");
            Xtext::encode(envid, out)
        })
    }

    /// NOTIFY (RFC 3461 4.1).
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn notify(&mut self, notify: Notify) -> Result<&mut Self, SyntaxError> {
        let words = [(notify.success, "SUCCESS"), (notify.failure, "FAILURE"), (notify.delay, "DELAY")];
        self.written(|out| {
            let mut separator = "NOTIFY=";
            for (_, word) in words.iter().filter(|(wanted, _)| *wanted) {
                out.push_str(separator);
                out.push_str(word);
                separator = ",";
            }
            if notify == Notify::NEVER {
                out.push_str("NOTIFY=NEVER");
            }
            Some(())
        })
    }

    /// ORCPT of type `rfc822` (RFC 3461 4.2), or of type `utf-8` when the address is not ASCII (RFC 6533 3); encoded
    /// here, so that any server with DSN takes it.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn orcpt(&mut self, address: &str) -> Result<&mut Self, SyntaxError> {
        self.written(|out| {
            if address.is_ascii() {
                out.push_str("ORCPT=rfc822;");
                return Xtext::encode(address, out);
            }
            out.push_str("ORCPT=utf-8;");
            for char in address.chars() {
                match char {
                    '!'..='~' if !matches!(char, '+' | '=' | '\\') => out.push(char),
                    _ => write!(out, "\\x{{{:X}}}", u32::from(char)).ok()?,
                }
            }
            Some(())
        })
    }

    /// AUTH (RFC 4954 5); `None` is `<>`.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn auth(&mut self, mailbox: Option<&Mailbox<'_>>) -> Result<&mut Self, SyntaxError> {
        self.written(|out| {
            out.push_str("AUTH=");
            match mailbox {
                Some(mailbox) => Xtext::encode(mailbox.as_str(), out),
                None => {
                    out.push_str("<>");
                    Some(())
                }
            }
        })
    }

    /// BY (RFC 2852).
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn by(&mut self, by: By) -> Result<&mut Self, SyntaxError> {
        let mode = if by.or_return { "R" } else { "N" };
        let trace = if by.trace { "T" } else { "" };
        self.formatted(Keyword::By, format_args!("{};{mode}{trace}", by.seconds))
    }

    /// HOLDFOR, in seconds (RFC 4865).
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn hold_for(&mut self, seconds: u32) -> Result<&mut Self, SyntaxError> {
        self.formatted(Keyword::HoldFor, format_args!("{seconds}"))
    }

    /// MT-PRIORITY, -9 to 9 (RFC 6710).
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn mt_priority(&mut self, priority: i8) -> Result<&mut Self, SyntaxError> {
        self.formatted(Keyword::MtPriority, format_args!("{priority}"))
    }

    fn formatted(&mut self, keyword: Keyword, value: fmt::Arguments<'_>) -> Result<&mut Self, SyntaxError> {
        self.written(|out| write!(out, "{}={value}", keyword.as_str()).ok())
    }

    /// Appends what `write` writes, if it is one parameter that may be there.
    fn written(&mut self, write: impl FnOnce(&mut String) -> Option<()>) -> Result<&mut Self, SyntaxError> {
        let before = self.text.len();
        if before > 0 {
            self.text.push(' ');
        }
        let start = self.text.len();
        let written = write(&mut self.text);
        let bad = SyntaxError::new(SyntaxErrorKind::BadParameter, start);
        let one = self.text.get(start..).is_some_and(|text| !text.is_empty() && !text.contains(' '));
        let checked = match written {
            Some(()) if one => Params::parse(&self.text, self.verb, true),
            _ => Err(bad),
        };
        match checked {
            Ok(params) => {
                (self.known, self.unknown) = (params.known(), params.unknown());
                Ok(self)
            }
            Err(error) => {
                self.text.truncate(before);
                Err(error)
            }
        }
    }
}
