//! The messages that came to a sink, kept in memory.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use smtp_proto::TlsInfo;

/// A message, and how it came.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// The reverse-path; empty for `<>`.
    pub from: String,
    /// The recipients that were accepted; in LMTP always one.
    pub to: Vec<String>,
    /// The text, header and body, dots removed.
    pub text: Vec<u8>,
    /// From where it came; a Unix socket has no address.
    pub peer: Option<SocketAddr>,
    /// The name that the client gave.
    pub hello: Option<String>,
    /// As whom the client authenticated, if it did.
    pub user: Option<String>,
    /// TLS on the hop; none in plaintext.
    pub tls: Option<TlsInfo>,
    /// What a Received field would say, such as `ESMTPS`.
    pub protocol: &'static str,
}

impl Message {
    /// What a field says, the first of its name, unfolded: the name is compared without regard to case. What is no UTF-8
    /// is replaced.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers().into_iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// All fields in order, unfolded (RFC 5322 2.2.3).
    #[must_use]
    pub fn headers(&self) -> Vec<(String, String)> {
        let mut fields: Vec<(String, String)> = Vec::new();
        for line in lines(&self.text).map(|(line, _)| String::from_utf8_lossy(line)) {
            match fields.last_mut() {
                _ if line.is_empty() => break,
                Some((_, value)) if line.starts_with([' ', '\t']) => value.push_str(&line),
                _ => {
                    let Some((name, value)) = line.split_once(':') else { break };
                    fields.push((name.trim_end().to_owned(), value.to_owned()));
                }
            }
        }
        fields.iter_mut().for_each(|(_, value)| *value = value.trim().to_owned());
        fields
    }

    /// What follows the header's empty line.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        let end = lines(&self.text).find(|(line, _)| line.is_empty()).map_or(self.text.len(), |(_, end)| end);
        self.text.get(end..).unwrap_or_default()
    }
}

/// Lines without their ends, and where the next one begins.
fn lines(text: &[u8]) -> impl Iterator<Item = (&[u8], usize)> {
    let mut at = 0;
    text.split_inclusive(|octet| *octet == b'\n').map(move |line| {
        at += line.len();
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        (line.strip_suffix(b"\r").unwrap_or(line), at)
    })
}

/// Messages in the order in which they were accepted.
#[derive(Debug)]
pub struct Inbox {
    most: usize,
    messages: Mutex<Vec<Message>>,
    came: Condvar,
}

/// Fewer messages came than were waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooFew {
    /// How many were waited for.
    pub wanted: usize,
    /// For how long they were waited for.
    pub time: Duration,
    /// The messages that came in that time.
    pub came: Vec<Message>,
}

impl fmt::Display for TooFew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} messages came within {:?}", self.came.len(), self.wanted, self.time)
    }
}

impl std::error::Error for TooFew {}

impl Inbox {
    /// An inbox for so many messages.
    #[must_use]
    pub const fn new(most: usize) -> Self {
        Self { most, messages: Mutex::new(Vec::new()), came: Condvar::new() }
    }

    /// The messages that are there, the oldest first.
    #[must_use]
    pub fn messages(&self) -> Vec<Message> {
        self.lock().clone()
    }

    /// Waits until there are `n` messages, and gives all that are there.
    ///
    /// # Errors
    /// [`TooFew`] when the time is over before.
    pub fn wait_for(&self, n: usize, time: Duration) -> Result<Vec<Message>, TooFew> {
        let end = Instant::now() + time;
        let mut messages = self.lock();
        while messages.len() < n {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(TooFew { wanted: n, time, came: messages.clone() });
            }
            messages = self.came.wait_timeout(messages, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(messages.clone())
    }

    /// Takes out all that are there.
    pub fn take(&self) -> Vec<Message> {
        std::mem::take(&mut *self.lock())
    }

    /// Adds one; false when it is full.
    pub fn add(&self, message: Message) -> bool {
        let mut messages = self.lock();
        let room = messages.len() < self.most;
        if room {
            messages.push(message);
            self.came.notify_all();
        }
        room
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Message>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Message {
        Message {
            from: String::new(),
            to: vec!["b@example.net".into()],
            text: text.as_bytes().to_vec(),
            peer: None,
            hello: None,
            user: None,
            tls: None,
            protocol: "ESMTP",
        }
    }

    /// RFC 5322 2.2.3.
    #[test]
    fn fields_are_unfolded_and_found_in_any_case() {
        let message = message("Subject: one\r\n two\r\nX-A:b\r\nsubject: other\r\n\r\nTo: body\r\n\r\nmore");
        assert_eq!(message.header("SUBJECT").as_deref(), Some("one two"));
        assert_eq!(message.header("x-a").as_deref(), Some("b"));
        assert_eq!((message.header("To"), message.headers().len()), (None, 3));
        assert_eq!(message.body(), b"To: body\r\n\r\nmore");
        for (text, body) in [("", ""), ("no header", ""), ("\r\nbody", "body"), ("A: b\n\nc", "c")] {
            assert_eq!(self::message(text).body(), body.as_bytes(), "{text:?}");
        }
    }

    #[test]
    fn a_wait_ends_with_the_messages_or_in_time() {
        let inbox = Inbox::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert!(inbox.add(message("1")) && inbox.add(message("2")));
            });
            assert_eq!(inbox.wait_for(2, Duration::from_secs(20)).expect("they come").len(), 2);
        });
        assert!(!inbox.add(message("3")), "it is full");
        let error = inbox.wait_for(3, Duration::from_millis(20)).expect_err("no third");
        assert_eq!((error.came.len(), error.to_string().as_str()), (2, "2 of 3 messages came within 20ms"));
        assert_eq!((inbox.take().len(), inbox.messages().len()), (2, 0));
    }
}
