//! A reply of a server's that outlives the buffer that it was read into.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use super::reply_reader::ReplyLines;
use super::{Enhanced, Reply};

/// A reply of a server's, kept: for an outcome that is told later, or for a relay that hands it on to its own client.
///
/// ```
/// use smtp_proto::syntax::{OwnedReply, ReplyLines};
///
/// let read = ReplyLines::parse(b"550-5.1.1 No such user,\r\n550 5.1.1 see https://example.net/\r\n")?.expect("one reply");
/// let kept = OwnedReply::from(read);
/// assert_eq!((kept.code(), kept.lines().lines().count()), (550, 2));
/// // On one line, to be handed on.
/// assert_eq!(kept.as_reply().to_string(), "550 5.1.1 No such user, see https://example.net/");
/// # Ok::<(), smtp_proto::syntax::ReplyFault>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct OwnedReply {
    raw: Box<[u8]>,
    /// All lines as one, printable ASCII, short enough for a reply of one line.
    text: Box<str>,
}

/// What a reply of one line holds beside its codes ([`Reply::new`]).
const TEXT: usize = 512 - 4 - 10 - 2;

impl OwnedReply {
    /// The reply code: three digits, 200 to 599 (RFC 5321 4.2).
    #[must_use]
    pub fn code(&self) -> u16 {
        self.lines().code()
    }

    /// The enhanced code of the first line.
    #[must_use]
    pub fn enhanced(&self) -> Option<Enhanced> {
        self.lines().enhanced()
    }

    /// Whether it is a success (2yz).
    #[must_use]
    pub fn is_positive(&self) -> bool {
        self.lines().class() == 2
    }

    /// The reply as it was read.
    #[must_use]
    pub fn lines(&self) -> ReplyLines<'_> {
        ReplyLines::of_checked(&self.raw)
    }

    /// The same on one line, to be said to another peer: lines are joined by a space, octets that are no printable ASCII
    /// become `?`, and what is too long for one line is cut (RFC 5321 4.5.3.1.5).
    #[must_use]
    pub fn as_reply(&self) -> Reply<'_> {
        Reply::of_checked(self.code(), self.enhanced(), &self.text)
    }
}

impl From<ReplyLines<'_>> for OwnedReply {
    fn from(reply: ReplyLines<'_>) -> Self {
        let mut text = String::new();
        for line in reply.lines() {
            let space = if text.is_empty() || line.words().is_empty() { "" } else { " " };
            text.push_str(space);
            let shown = |octet: &u8| if matches!(octet, b' '..=b'~') { char::from(*octet) } else { '?' };
            text.extend(line.words().iter().map(shown));
            if text.len() >= TEXT {
                text.truncate(TEXT);
                break;
            }
        }
        Self { raw: reply.raw().into(), text: text.into() }
    }
}

/// As Display: on one line, in printable ASCII whatever the peer sent.
impl fmt::Debug for OwnedReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// On one line, in printable ASCII whatever the peer sent.
impl fmt::Display for OwnedReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.lines(), f)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;
    use alloc::vec::Vec;

    use super::*;

    /// RFC 5321 4.5.3.1.5: what a relay hands on is one valid line, whatever the next hop said.
    #[test]
    fn whatever_was_read_can_be_handed_on() {
        let long = alloc::format!("250 {}\r\n", "x".repeat(505));
        for (read, handed_on) in [
            (&b"250 ok\r\n"[..], "250 ok"),
            (b"250\r\n", "250 "),
            (b"354 2.0.0 go on\r\n", "354 2.0.0 go on"),
            (b"554-5.7.1 \xe2\x80\xae\tno\r\n554-\r\n554 5.7.1 way\r\n", "554 5.7.1 ????no way"),
            (long.as_bytes(), &long[..500]),
        ] {
            let kept = OwnedReply::from(ReplyLines::parse(read).expect("a reply").expect("a whole one"));
            let reply = kept.as_reply();
            assert_eq!(reply.to_string(), handed_on);
            assert_eq!(Reply::new(reply.code(), reply.enhanced(), reply.text()), Ok(reply));
            let mut line = Vec::new();
            reply.write(&mut line);
            assert!(line.len() <= 512 && line.ends_with(b"\r\n"), "{} octets", line.len());
        }
    }
}
