//! Whole messages with their envelopes, gathered from a session's events within bounds.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::sync::atomic::{AtomicUsize, Ordering};

use super::MessageEnd;
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
///
/// ```
/// use smtp_proto::server::Room;
///
/// let room = Room::new(10 << 20, 100 << 20); // octets of a message, and of all at once
/// assert_eq!(room.used(), 0);
/// ```
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

/// Gathers the messages of one connection. A driver tells it of events as they come, before they are answered; it never
/// holds more text than its [`Room`] allows.
///
/// ```
/// # use std::sync::Arc;
/// use smtp_proto::server::{Config, Event, Gather, Room, Session, Verdict};
/// use smtp_proto::{Channel, Step};
///
/// let mut session = Session::new(Config::new("mx.example.net")?.shared(), Channel::Plain);
/// let mut gather = Gather::new(Arc::new(Room::new(1_000, 10_000)));
/// # let mut input = &b"EHLO a.example\r\nMAIL FROM:<ann@example.org>\r\nRCPT TO:<ben@example.net>\r\n\
/// #     RCPT TO:<cyd@example.net>\r\nDATA\r\nSubject: Hi\r\n\r\nHello.\r\n.\r\n"[..];
/// # let mut envelopes = Vec::new();
/// # if let Step::Event(Event::Connect(ticket)) = session.step(&mut &[][..]) {
/// #     session.answer(ticket, Verdict::Accept);
/// # }
/// # let _greeted = session.step(&mut &[][..]);
/// while let Step::Event(event) = session.step(&mut input) {
///     match event {
///         Event::Mail(mail, ticket) => {
///             gather.mail(&mail);
///             session.answer(ticket, Verdict::Accept);
///         }
///         Event::Rcpt(rcpt, ticket) => {
///             gather.rcpt(&rcpt, session.recipients());
///             session.answer(ticket, Verdict::Accept);
///         }
///         Event::Data(ticket) => {
///             gather.data(session.recipients());
///             session.answer(ticket, Verdict::Accept);
///         }
///         Event::Chunk(text) => gather.chunk(text),
///         Event::Message(end, ticket) => {
///             match gather.finish(end) {
///                 Ok(envelope) => {
///                     println!("{} octets from {} to {:?}", envelope.text.len(), envelope.from, envelope.to);
/// #                   envelopes.push(envelope);
///                     session.answer(ticket, Verdict::Accept);
///                 }
///                 Err(reply) => session.answer(ticket, Verdict::Refuse(reply)),
///             }
///             gather.answered(end);
///         }
///         Event::Reset => gather.clear(),
///         Event::Connect(ticket) | Event::Hello(_, ticket) => session.answer(ticket, Verdict::Accept),
///         _ => {}
///     }
/// }
/// # assert_eq!(envelopes.len(), 1);
/// # assert_eq!(envelopes[0].to, ["ben@example.net", "cyd@example.net"]);
/// # Ok::<(), smtp_proto::server::ConfigError>(())
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
    /// Begins with no transaction. The text of its messages takes its memory from `room`.
    #[must_use]
    pub fn new(room: Arc<Room>) -> Self {
        Self { room, envelope: Envelope::default(), taken: 0, refused: None }
    }

    /// MAIL: nothing of an earlier transaction stays.
    pub fn mail(&mut self, mail: &Mail<'_>) {
        self.clear();
        self.envelope.from.push_str(mail.path.as_str());
    }

    /// RCPT. `accepted` is what [`Session::recipients`](super::Session::recipients) says before this one is answered: if
    /// the one before was refused, at once or later, it is forgotten here.
    pub fn rcpt(&mut self, rcpt: &Rcpt<'_>, accepted: u32) {
        self.data(accepted);
        self.envelope.to.push(rcpt.path.as_str().into());
    }

    /// DATA, or the first BDAT; `accepted` as for [`Gather::rcpt`].
    pub fn data(&mut self, accepted: u32) {
        self.envelope.to.truncate(usize::try_from(accepted).unwrap_or(usize::MAX));
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

    /// The text is complete: the message, with all its recipients. In LMTP, which asks about each recipient, with this
    /// one alone; the text is then copied for all but the last.
    ///
    /// # Errors
    /// The reply to refuse the message with, when there was no room for it.
    pub fn finish(&mut self, end: MessageEnd) -> Result<Envelope, Reply<'static>> {
        if let Some(reply) = self.refused {
            return Err(reply);
        }
        let Some(recipient) = end.recipient else { return Ok(mem::take(&mut self.envelope)) };
        let one = usize::try_from(recipient).ok().and_then(|index| self.envelope.to.get_mut(index));
        let to = one.map(mem::take).into_iter().collect();
        let text = if self.is_last(end) { mem::take(&mut self.envelope.text) } else { self.envelope.text.clone() };
        Ok(Envelope { from: self.envelope.from.clone(), to, text })
    }

    /// What [`Gather::finish`] gave has been dealt with: after the last recipient its octets no longer count.
    pub fn answered(&mut self, end: MessageEnd) {
        if self.is_last(end) {
            self.clear();
        }
    }

    /// Forgets the transaction, after [`Event::Reset`](super::Event::Reset), and frees its room.
    pub fn clear(&mut self) {
        self.envelope = Envelope::default();
        self.refused = None;
        self.give_back();
    }

    fn is_last(&self, end: MessageEnd) -> bool {
        end.recipient.is_none_or(|index| u64::from(index) + 1 >= self.envelope.to.len() as u64)
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

    const END: MessageEnd = MessageEnd { octets: 0, recipient: None };

    fn begin(gather: &mut Gather, from: &str, to: &[&str]) {
        let path = ReversePath::parse(from, false).expect("a path");
        gather.mail(&Mail { path, params: Params::default() });
        for (accepted, to) in (0..).zip(to) {
            rcpt(gather, to, accepted);
        }
        gather.data(u32::try_from(to.len()).expect("few"));
    }

    fn rcpt(gather: &mut Gather, to: &str, accepted: u32) {
        let path = ForwardPath::parse(to, false).expect("a path");
        gather.rcpt(&Rcpt { path, params: Params::default() }, accepted);
    }

    /// Two messages of one connection never share recipients, whether or not the first is told to be gone.
    #[test]
    fn envelopes_do_not_run_together() {
        let mut gather = Gather::new(Arc::new(Room::default()));
        begin(&mut gather, "a@example.org", &["b@example.net", "c@example.net"]);
        gather.chunk(b"one");
        let first = gather.finish(END).expect("room");
        assert_eq!((first.from.as_str(), first.to.len(), &*first.text), ("a@example.org", 2, &b"one"[..]));
        begin(&mut gather, "", &["d@example.net"]);
        let second = gather.finish(END).expect("room");
        assert_eq!((second.from.as_str(), &*second.to, &*second.text), ("", &["d@example.net".into()][..], &b""[..]));
        // One that was broken off.
        begin(&mut gather, "a@example.org", &["b@example.net"]);
        gather.chunk(b"half");
        begin(&mut gather, "a@example.org", &["d@example.net"]);
        gather.chunk(b"whole");
        let third = gather.finish(END).expect("room");
        assert_eq!((&*third.to, &*third.text), (&["d@example.net".into()][..], &b"whole"[..]));
    }

    /// Whether a recipient was accepted may be known only when the next one comes.
    #[test]
    fn refused_recipients_are_left_out() {
        let mut gather = Gather::new(Arc::new(Room::default()));
        begin(&mut gather, "", &[]);
        for (to, accepted) in [("a@x.example", 0), ("b@x.example", 0), ("c@x.example", 1), ("d@x.example", 2)] {
            rcpt(&mut gather, to, accepted);
        }
        gather.data(2);
        assert_eq!(gather.finish(END).expect("room").to, ["b@x.example", "c@x.example"]);
    }

    /// RFC 2033 4.2: each recipient is asked about, and has the message for itself.
    #[test]
    fn in_lmtp_each_recipient_has_its_message() {
        let room = Arc::new(Room::default());
        let mut gather = Gather::new(room.clone());
        begin(&mut gather, "a@x.example", &["b@x.example", "c@x.example"]);
        gather.chunk(b"text");
        for (index, to) in [(0, "b@x.example"), (1, "c@x.example")] {
            let end = MessageEnd { octets: 4, recipient: Some(index) };
            let envelope = gather.finish(end).expect("room");
            assert_eq!((envelope.from.as_str(), &*envelope.text, room.used()), ("a@x.example", &b"text"[..], 4));
            assert_eq!(envelope.to, [to]);
            gather.answered(end);
        }
        assert_eq!(room.used(), 0);
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
        assert_eq!(other.finish(END), Err(NO_ROOM));
        one.chunk(b"y");
        assert_eq!((one.finish(END), room.used()), (Err(TOO_BIG), 0));
        // And both can go on.
        for gather in [&mut one, &mut other] {
            begin(gather, "", &["b@example.net"]);
            gather.chunk(b"1234567");
            assert_eq!(gather.finish(END).expect("room").text, b"1234567");
        }
        assert_eq!(room.used(), 14, "until they are answered");
        one.answered(END);
        drop(other);
        assert_eq!(room.used(), 0);
    }
}
