//! Replies (RFC 5321 4.2) with enhanced status codes (RFC 2034, RFC 3463): written here, read in `reply_reader.rs`.

use alloc::vec::Vec;
use core::fmt;

/// An enhanced status code (RFC 3463 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Enhanced {
    class: u8,
    subject: u16,
    detail: u16,
}

impl Enhanced {
    /// The code `class.subject.detail`. It is not checked here; [`Reply::new`] does that.
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

    /// The detail: what happened, within the subject (RFC 3463 3).
    #[must_use]
    pub const fn detail(self) -> u16 {
        self.detail
    }

    /// Reads the code that a reply line of `class` begins with (RFC 2034 4: a code of another class is text), and what
    /// follows it. Without leading zeros (RFC 3463 2).
    pub(super) fn parse(text: &[u8], class: u8) -> Option<(Self, &[u8])> {
        let rest = match text {
            [digit, b'.', rest @ ..] if *digit == b'0' + class && matches!(class, 2 | 4 | 5) => rest,
            _ => return None,
        };
        let (subject, rest) = part(rest)?;
        let (detail, rest) = part(rest.strip_prefix(b".")?)?;
        match rest {
            [] => Some((Self::new(class, subject, detail), rest)),
            [b' ', rest @ ..] => Some((Self::new(class, subject, detail), rest)),
            _ => None,
        }
    }

    /// Whether it may stand behind `code`: RFC 2034 4, RFC 3463 2. None stands behind 3yz.
    const fn fits(self, code: u16) -> bool {
        self.class as u16 == code / 100 && code / 100 != 3 && self.subject <= 999 && self.detail <= 999
    }

    fn write(self, out: &mut Vec<u8>) {
        number(out, u16::from(self.class));
        out.push(b'.');
        number(out, self.subject);
        out.push(b'.');
        number(out, self.detail);
        out.push(b' ');
    }
}

impl fmt::Display for Enhanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// One to three digits, without leading zeros.
fn part(text: &[u8]) -> Option<(u16, &[u8])> {
    let digits = text.iter().take(4).take_while(|octet| octet.is_ascii_digit()).count();
    let (number, rest) = text.split_at_checked(digits)?;
    if digits == 0 || digits > 3 || (digits > 1 && number.first() == Some(&b'0')) {
        return None;
    }
    Some((number.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0')), rest))
}

/// Why a reply may not be sent.
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

/// A reply of one line: a code, perhaps an enhanced code, and text (RFC 5321 4.2, RFC 2034).
///
/// ```
/// use smtp_proto::syntax::Reply;
///
/// const FULL: Reply<'static> = Reply::fixed(452, (4, 2, 2), "The mailbox is full");
/// let mut out = Vec::new();
/// FULL.write(&mut out);
/// assert_eq!(out, b"452 4.2.2 The mailbox is full\r\n");
/// ```
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
        if let Err(invalid) = codes(code, enhanced) {
            return Err(invalid);
        }
        if let Err(invalid) = line(text) {
            return Err(invalid);
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

    /// Of parts that are known to make a reply.
    pub(super) const fn of_checked(code: u16, enhanced: Option<Enhanced>, text: &'a str) -> Self {
        Self { code, enhanced, text }
    }

    /// The reply code, such as 250 (RFC 5321 4.2).
    #[must_use]
    pub const fn code(&self) -> u16 {
        self.code
    }

    /// The enhanced status code, if the reply has one (RFC 2034).
    #[must_use]
    pub const fn enhanced(&self) -> Option<Enhanced> {
        self.enhanced
    }

    /// The text behind the codes, without CRLF.
    #[must_use]
    pub const fn text(&self) -> &'a str {
        self.text
    }

    /// Writes the reply, CRLF included.
    pub fn write(&self, out: &mut Vec<u8>) {
        number(out, self.code);
        out.push(b' ');
        if let Some(enhanced) = self.enhanced {
            enhanced.write(out);
        }
        out.extend_from_slice(self.text.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

impl fmt::Display for Reply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.enhanced {
            Some(enhanced) => write!(f, "{} {enhanced} {}", self.code, self.text),
            None => write!(f, "{} {}", self.code, self.text),
        }
    }
}

/// Writes a reply of many lines, a line at a time (RFC 5321 4.2.1); the last one is known when it is finished.
///
/// ```
/// use smtp_proto::syntax::{Capability, Extension, ReplyWriter};
///
/// let mut out = Vec::new();
/// let mut reply = ReplyWriter::new(&mut out, 250, None)?;
/// reply.line("mx.example.net")?;
/// reply.capability(&Capability::Plain(Extension::Pipelining))?;
/// reply.capability(&Capability::Size(Some(1_000_000)))?;
/// reply.finish();
/// assert_eq!(out, b"250-mx.example.net\r\n250-PIPELINING\r\n250 SIZE 1000000\r\n");
/// # Ok::<(), smtp_proto::syntax::InvalidReply>(())
/// ```
#[derive(Debug)]
#[must_use = "a reply that is not finished has no last line"]
pub struct ReplyWriter<'o> {
    out: &'o mut Vec<u8>,
    code: u16,
    enhanced: Option<Enhanced>,
    /// Where the separator of the latest line stands.
    separator: Option<usize>,
}

impl<'o> ReplyWriter<'o> {
    /// A reply with this code, and with this enhanced code on every line (RFC 2034 4).
    ///
    /// # Errors
    /// [`InvalidReply`] when the two do not fit.
    pub fn new(out: &'o mut Vec<u8>, code: u16, enhanced: Option<Enhanced>) -> Result<Self, InvalidReply> {
        codes(code, enhanced)?;
        Ok(Self { out, code, enhanced, separator: None })
    }

    /// Adds a line of printable ASCII.
    ///
    /// # Errors
    /// [`InvalidReply`] for any other text, and nothing is added.
    pub fn line(&mut self, text: &str) -> Result<(), InvalidReply> {
        line(text)?;
        self.begin();
        self.out.extend_from_slice(text.as_bytes());
        self.out.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// Adds a line that announces an extension (RFC 5321 4.1.1.1).
    ///
    /// # Errors
    /// [`InvalidReply`] when its parameters are no printable ASCII or too long, and nothing is added.
    pub fn capability(&mut self, capability: &super::Capability<'_>) -> Result<(), InvalidReply> {
        let (before, separator) = (self.out.len(), self.separator);
        self.begin();
        let start = self.out.len();
        capability.write(self.out);
        let text = self.out.get(start..).unwrap_or_default();
        if let Err(invalid) = printable(text) {
            self.out.truncate(before);
            self.separator = separator;
            return Err(invalid);
        }
        self.out.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// Makes the latest line the last one. A reply without a line gets an empty one.
    pub fn finish(mut self) {
        if self.separator.is_none() {
            self.begin();
            self.out.extend_from_slice(b"\r\n");
        }
        if let Some(octet) = self.separator.and_then(|at| self.out.get_mut(at)) {
            *octet = b' ';
        }
    }

    fn begin(&mut self) {
        number(self.out, self.code);
        self.separator = Some(self.out.len());
        self.out.push(b'-');
        if let Some(enhanced) = self.enhanced {
            enhanced.write(self.out);
        }
    }
}

const fn codes(code: u16, enhanced: Option<Enhanced>) -> Result<(), InvalidReply> {
    if code < 200 || code > 599 {
        return Err(InvalidReply::Code);
    }
    match enhanced {
        Some(enhanced) if !enhanced.fits(code) => Err(InvalidReply::Enhanced),
        _ => Ok(()),
    }
}

const fn line(text: &str) -> Result<(), InvalidReply> {
    printable(text.as_bytes())
}

/// The gate that no CR or LF passes. The length leaves room for the codes, and the CRLF (RFC 5321 4.5.3.1.5).
const fn printable(octets: &[u8]) -> Result<(), InvalidReply> {
    if octets.len() > 512 - 4 - 10 - 2 {
        return Err(InvalidReply::TooLong);
    }
    let mut at = 0;
    while at < octets.len() {
        if octets[at] < b' ' || octets[at] > b'~' {
            return Err(InvalidReply::Text);
        }
        at += 1;
    }
    Ok(())
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
