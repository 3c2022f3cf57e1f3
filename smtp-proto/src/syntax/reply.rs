//! Replies (RFC 5321 4.2) with enhanced status codes (RFC 2034, RFC 3463).

use alloc::vec::Vec;

/// An enhanced status code (RFC 3463 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Enhanced {
    class: u8,
    subject: u16,
    detail: u16,
}

impl Enhanced {
    /// `class.subject.detail`.
    #[must_use]
    pub const fn new(class: u8, subject: u16, detail: u16) -> Self {
        Self { class, subject, detail }
    }

    /// 2 success, 4 transient failure, 5 permanent failure.
    #[must_use]
    pub const fn class(self) -> u8 {
        self.class
    }

    /// What it is about (RFC 3463 3).
    #[must_use]
    pub const fn subject(self) -> u16 {
        self.subject
    }

    /// More precisely.
    #[must_use]
    pub const fn detail(self) -> u16 {
        self.detail
    }
}

/// A reply that cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidReply {
    /// Not a code of RFC 5321 4.2.1.
    #[error("a reply code is 200 to 599")]
    Code,
    /// Its class is not that of the code, or a part is over 999 (RFC 3463 2).
    #[error("the enhanced status code does not fit the reply code")]
    Enhanced,
    /// An octet that is not printable ASCII.
    #[error("a reply's text is printable ASCII on one line")]
    Text,
    /// Over 512 octets with CRLF (RFC 5321 4.5.3.1.5).
    #[error("a reply line is at most 512 octets")]
    TooLong,
}

/// A reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    code: u16,
    enhanced: Option<Enhanced>,
    text: &'a str,
}

impl<'a> Reply<'a> {
    /// A reply of one line.
    ///
    /// # Errors
    /// [`InvalidReply`] when code, enhanced code and text do not make a reply that may be sent.
    pub const fn new(code: u16, enhanced: Option<Enhanced>, text: &'a str) -> Result<Self, InvalidReply> {
        if code < 200 || code > 599 {
            return Err(InvalidReply::Code);
        }
        if let Some(enhanced) = enhanced
            && (enhanced.class as u16 != code / 100
                || enhanced.subject > 999
                || enhanced.detail > 999
                || code / 100 == 3)
        {
            return Err(InvalidReply::Enhanced);
        }
        if text.len() > 512 - 4 - 10 - 2 {
            return Err(InvalidReply::TooLong);
        }
        let octets = text.as_bytes();
        let mut at = 0;
        while at < octets.len() {
            if octets[at] < b' ' || octets[at] > b'~' {
                return Err(InvalidReply::Text);
            }
            at += 1;
        }
        Ok(Self { code, enhanced, text })
    }

    /// A reply known when compiling: a wrong one does not compile.
    ///
    /// # Panics
    /// When the reply is not valid, which in a constant is an error of the compiler.
    #[must_use]
    pub const fn fixed(code: u16, enhanced: (u8, u16, u16), text: &'static str) -> Reply<'static> {
        match Reply::new(code, Some(Enhanced::new(enhanced.0, enhanced.1, enhanced.2)), text) {
            Ok(reply) => reply,
            Err(_) => panic!("not a reply"),
        }
    }

    /// The same without an enhanced code.
    ///
    /// # Panics
    /// When the reply is not valid, which in a constant is an error of the compiler.
    #[must_use]
    pub const fn plain(code: u16, text: &'static str) -> Reply<'static> {
        match Reply::new(code, None, text) {
            Ok(reply) => reply,
            Err(_) => panic!("not a reply"),
        }
    }

    /// The reply code.
    #[must_use]
    pub const fn code(&self) -> u16 {
        self.code
    }

    /// The enhanced code.
    #[must_use]
    pub const fn enhanced(&self) -> Option<Enhanced> {
        self.enhanced
    }

    /// The text.
    #[must_use]
    pub const fn text(&self) -> &'a str {
        self.text
    }

    /// Writes the reply, CRLF included.
    pub fn write(&self, out: &mut Vec<u8>) {
        number(out, self.code);
        out.push(b' ');
        if let Some(enhanced) = self.enhanced {
            number(out, u16::from(enhanced.class));
            out.push(b'.');
            number(out, enhanced.subject);
            out.push(b'.');
            number(out, enhanced.detail);
            out.push(b' ');
        }
        out.extend_from_slice(self.text.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// At most three digits: what the constructors let in.
fn number(out: &mut Vec<u8>, number: u16) {
    const DIGITS: &[u8; 10] = b"0123456789";
    let digit = |n: u16| DIGITS.get(usize::from(n % 10)).copied().unwrap_or(b'0');
    if number >= 100 {
        out.push(digit(number / 100));
    }
    if number >= 10 {
        out.push(digit(number / 10));
    }
    out.push(digit(number));
}
