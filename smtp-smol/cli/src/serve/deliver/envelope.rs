//! A message as it comes in, and what is said of it.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use smtp_proto::Leniencies;
use smtp_proto::server::Verdict;
use smtp_proto::syntax::Reply;
use smtp_proto::tls::Rehearsed;
use smtp_proto::trace::{Date, Received};
use smtp_smol::Peer;

use crate::serve::head;
use crate::serve::letter::{Letter, hold};
use crate::serve::maildir::unique;
use crate::serve::next_hop::{Answer, Passage};

#[derive(Debug)]
pub(super) struct Envelope {
    pub(super) from: String,
    pub(super) to: Vec<String>,
    /// Recipients that were asked to come again.
    pub(super) asked: Vec<String>,
    /// Recipients that were refused.
    pub(super) turned_away: Vec<String>,
    /// The code by which recipients were refused last: those of domains that are not ours, and by the next hop.
    pub(super) refused_by: Option<u16>,
    pub(super) rehearsed: Option<Rehearsed>,
    /// Its sender is one of whom TLS is not required,
    pub(super) exempt: bool,
    /// and that is why it was let in.
    pub(super) excepted: bool,
    /// What was let pass in it.
    pub(super) lenient: Leniencies,
    pub(super) id: Arc<str>,
    pub(super) size: u64,
    /// The first octets of the text.
    pub(super) head: Vec<u8>,
    pub(super) refused: bool,
    /// The next hop did not want the text, before it came.
    pub(super) text_refused: bool,
    pub(super) letter: Letter,
    /// On the way through. Large, and not there where mail is kept.
    pub(super) passage: Option<Box<Passage>>,
}

impl Envelope {
    pub(super) fn new(from: &str) -> Self {
        Self {
            from: from.into(),
            to: Vec::new(),
            asked: Vec::new(),
            turned_away: Vec::new(),
            refused_by: None,
            rehearsed: None,
            exempt: false,
            excepted: false,
            lenient: Leniencies::STRICT,
            id: unique(),
            size: 0,
            head: Vec::new(),
            refused: false,
            text_refused: false,
            letter: Letter::default(),
            passage: None,
        }
    }

    /// Holds the beginning of the text, which comes piece by piece.
    pub(super) fn look_at(&mut self, text: &[u8]) {
        if self.head.capacity() == 0 {
            self.head = SPARE.take();
        }
        let room = head::LOOKED_AT.saturating_sub(self.head.len());
        hold(&mut self.head, text.get(..room.min(text.len())).unwrap_or_default());
    }

    /// Our own trace field (RFC 5321 4.4).
    pub(super) fn received(&self, peer: &Peer<'_>, by: &str) -> Vec<u8> {
        let mut field = Vec::with_capacity(512);
        Received {
            hello: peer.session.hello(),
            peer: peer.address.map(|address| address.ip().to_canonical()),
            by,
            protocol: peer.session.protocol(),
            tls: peer.session.tls(),
            id: &self.id,
            // RFC 5321 7.2: more than one would tell them of each other.
            recipient: if let [only] = self.to.as_slice() { Some(only) } else { None },
            date: &date(),
        }
        .write(&mut field);
        field
    }

    /// What is said of one that is taken.
    pub(super) fn taken(&self) -> Said {
        Said::Taken(["Ok: taken as ", &self.id].concat())
    }
}

thread_local! {
    /// What the last message was held in serves the next of this thread.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl Drop for Envelope {
    fn drop(&mut self) {
        let mut held = std::mem::take(&mut self.head);
        if held.capacity() > 0 {
            held.clear();
            // Where the thread ends there is no next.
            let _ = SPARE.try_with(|spare| spare.set(held));
        }
    }
}

/// What is said to the client.
#[derive(Debug)]
pub(super) enum Said {
    /// It was taken here.
    Taken(String),
    /// It was not.
    Refused(Reply<'static>),
    /// What the next hop says.
    Hop(Answer),
}

impl Said {
    pub(super) fn verdict(&self) -> Verdict<'_> {
        match self {
            Self::Taken(words) => Verdict::AcceptWith(words),
            Self::Refused(reply) => Verdict::Refuse(*reply),
            Self::Hop(answer) => answer.verdict(),
        }
    }
}

/// For fields.
fn date() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Date::from_unix(now.as_secs()).to_string()
}
