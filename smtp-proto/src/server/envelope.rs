//! Whole messages with their envelopes, gathered from a session's events within bounds.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::syntax::{Mail, Rcpt, Reply};

const TOO_BIG: Reply<'static> = Reply::fixed(552, (5, 3, 4), "The message is larger than this server holds in memory");
const NO_ROOM: Reply<'static> = Reply::fixed(452, (4, 3, 1), "No room for the message; try again later");

/// A message as a server has received it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Envelope {
    /// The reverse-path; empty for the null reverse-path, `<>` (RFC 5321 4.5.5).
    pub from: String,
    /// The recipients that were accepted, in order.
    pub to: Vec<String>,
    /// The text, header and body, dots removed.
    pub text: Vec<u8>,
}

/// How much text may be in memory at once: of one message, and of all that share this.
#[derive(Debug)]
pub struct Room {
    message: usize,
    all: usize,
    used: AtomicUsize,
}

impl Room {
    /// So many octets of one message, and of all messages together.
    #[must_use]
    pub const fn new(message: usize, all: usize) -> Self {
        Self { message, all, used: AtomicUsize::new(0) }
    }

    /// Octets of text that are in memory now.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn take(&self, octets: usize) -> bool {
        let more = |used: usize| used.checked_add(octets).filter(|used| *used <= self.all);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }
}

/// 25 MiB of one message, 256 MiB of all.
impl Default for Room {
    fn default() -> Self {
        Self::new(25 << 20, 256 << 20)
    }
}

/// Gathers the messages of one connection. Drivers tell it of events; it never holds more than its [`Room`] allows.
///
/// ```
/// use std::sync::Arc;
/// use smtp_proto::server::{Gather, Room};
/// use smtp_proto::syntax::{ForwardPath, Params, Rcpt, Mail, ReversePath};
///
/// let mut gather = Gather::new(Arc::new(Room::new(100, 1000)));
/// gather.mail(&Mail { path: ReversePath::parse("ann@example.org", false)?, params: Params::default() });
/// gather.rcpt(&Rcpt { path: ForwardPath::parse("ben@example.net", false)?, params: Params::default() });
/// gather.chunk(b"Subject: Hi\r\n");
/// gather.chunk(b"\r\nHello.\r\n");
/// let envelope = gather.finish().expect("it fits");
/// assert_eq!(envelope.to, ["ben@example.net"]);
/// assert_eq!(envelope.text, b"Subject: Hi\r\n\r\nHello.\r\n");
/// # Ok::<(), smtp_proto::syntax::SyntaxError>(())
/// ```
#[derive(Debug)]
pub struct Gather {
    room: Arc<Room>,
    envelope: Envelope,
    /// Octets of the room that this message has.
    taken: usize,
    /// Why the text is not held.
    refused: Option<Reply<'static>>,
}

impl Gather {
    /// Nothing yet.
    #[must_use]
    pub fn new(room: Arc<Room>) -> Self {
        Self { room, envelope: Envelope::default(), taken: 0, refused: None }
    }

    /// MAIL was accepted: a transaction begins, and nothing of an earlier one stays.
    pub fn mail(&mut self, mail: &Mail<'_>) {
        self.clear();
        self.envelope.from.push_str(mail.path.as_str());
    }

    /// RCPT was accepted.
    pub fn rcpt(&mut self, rcpt: &Rcpt<'_>) {
        self.envelope.to.push(rcpt.path.as_str().into());
    }

    /// A piece of text. Where there is no room for it, what was held is let go, and [`Gather::finish`] says why.
    pub fn chunk(&mut self, text: &[u8]) {
        if self.refused.is_some() {
            return;
        }
        let refused = match self.taken.checked_add(text.len()) {
            Some(all) if all <= self.room.message => {
                if self.room.take(text.len()) {
                    self.taken = all;
                    self.envelope.text.extend_from_slice(text);
                    return;
                }
                NO_ROOM
            }
            _ => TOO_BIG,
        };
        self.envelope.text = Vec::new();
        self.give_back();
        self.refused = Some(refused);
    }

    /// The text is complete: the message, once. Its octets count until [`Gather::clear`] or the next MAIL.
    ///
    /// # Errors
    /// The reply to refuse the message with, when there was no room for it.
    pub fn finish(&mut self) -> Result<Envelope, Reply<'static>> {
        match self.refused.take() {
            None => Ok(mem::take(&mut self.envelope)),
            Some(reply) => {
                self.clear();
                Err(reply)
            }
        }
    }

    /// The transaction is gone, or its message has been answered: forgets it.
    pub fn clear(&mut self) {
        self.envelope = Envelope::default();
        self.refused = None;
        self.give_back();
    }

    fn give_back(&mut self) {
        self.room.used.fetch_sub(mem::take(&mut self.taken), Ordering::Relaxed);
    }
}

impl Drop for Gather {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::{ForwardPath, Params, ReversePath};

    fn begin(gather: &mut Gather, from: &str, to: &[&str]) {
        let path = ReversePath::parse(from, false).expect("a path");
        gather.mail(&Mail { path, params: Params::default() });
        for to in to {
            let path = ForwardPath::parse(to, false).expect("a path");
            gather.rcpt(&Rcpt { path, params: Params::default() });
        }
    }

    /// Two messages of one connection never share recipients, whether or not the first is told to be gone.
    #[test]
    fn envelopes_do_not_run_together() {
        let mut gather = Gather::new(Arc::new(Room::default()));
        begin(&mut gather, "a@example.org", &["b@example.net", "c@example.net"]);
        gather.chunk(b"one");
        let first = gather.finish().expect("room");
        assert_eq!((first.from.as_str(), first.to.len(), &*first.text), ("a@example.org", 2, &b"one"[..]));
        begin(&mut gather, "", &["d@example.net"]);
        let second = gather.finish().expect("room");
        assert_eq!((second.from.as_str(), &*second.to, &*second.text), ("", &["d@example.net".into()][..], &b""[..]));
        // One that was broken off.
        begin(&mut gather, "a@example.org", &["b@example.net"]);
        gather.chunk(b"half");
        begin(&mut gather, "a@example.org", &["d@example.net"]);
        gather.chunk(b"whole");
        let third = gather.finish().expect("room");
        assert_eq!((&*third.to, &*third.text), (&["d@example.net".into()][..], &b"whole"[..]));
    }

    #[test]
    fn no_more_is_held_than_there_is_room_for() {
        let room = Arc::new(Room::new(10, 15));
        let (mut one, mut other) = (Gather::new(room.clone()), Gather::new(room.clone()));
        begin(&mut one, "", &["b@example.net"]);
        one.chunk(&[b'x'; 10]);
        begin(&mut other, "", &["b@example.net"]);
        other.chunk(b"12345");
        assert_eq!(room.used(), 15);
        other.chunk(b"6");
        assert_eq!((other.envelope.text.capacity(), room.used()), (0, 10), "let go at once");
        other.chunk(b"7");
        assert_eq!(other.finish(), Err(NO_ROOM));
        one.chunk(b"y");
        assert_eq!((one.finish(), room.used()), (Err(TOO_BIG), 0));
        // And both can go on.
        for gather in [&mut one, &mut other] {
            begin(gather, "", &["b@example.net"]);
            gather.chunk(b"1234567");
            assert_eq!(gather.finish().expect("room").text, b"1234567");
        }
        assert_eq!(room.used(), 14, "until they are answered");
        one.clear();
        drop(other);
        assert_eq!(room.used(), 0);
    }
}
