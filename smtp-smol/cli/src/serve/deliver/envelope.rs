//! A message as it comes in, and what is said of it.

use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

use smtp_proto::Leniencies;
use smtp_proto::server::Verdict;
use smtp_proto::syntax::Reply;
use smtp_proto::tls::Rehearsed;
use smtp_proto::trace::{Date, Received};
use smtp_smol::Peer;

use super::paths::Paths;
use crate::serve::head::Looking;
use crate::serve::id::Id;
use crate::serve::letter::Letter;
use crate::serve::next_hop::{Answer, Passage};

#[derive(Debug)]
pub(super) struct Envelope {
    pub(super) from: String,
    pub(super) to: Paths,
    /// Recipients that were asked to come again.
    pub(super) asked: Paths,
    /// Recipients that were refused.
    pub(super) turned_away: Paths,
    /// The code by which recipients were refused last: those of domains that are not ours, and by the next hop.
    pub(super) refused_by: Option<u16>,
    pub(super) rehearsed: Option<Rehearsed>,
    /// Its sender is one of whom TLS is not required,
    pub(super) exempt: bool,
    /// and that is why it was let in.
    pub(super) excepted: bool,
    /// What was let pass in it.
    pub(super) lenient: Leniencies,
    pub(super) id: Id,
    pub(super) size: u64,
    /// What is seen of its text.
    pub(super) looking: Looking,
    pub(super) refused: bool,
    /// The next hop did not want the text, before it came.
    pub(super) text_refused: bool,
    pub(super) letter: Letter,
    /// On the way through. Large, and not there where mail is kept.
    pub(super) passage: Option<Box<Passage>>,
}

impl Envelope {
    pub(super) fn new(from: &str) -> Self {
        let mut spare = SPARE.take();
        spare.from.push_str(from);
        Self {
            from: spare.from,
            to: spare.to,
            asked: Paths::default(),
            turned_away: Paths::default(),
            refused_by: None,
            rehearsed: None,
            exempt: false,
            excepted: false,
            lenient: Leniencies::STRICT,
            id: Id::unique(),
            size: 0,
            looking: Looking::within(spare.text),
            refused: false,
            text_refused: false,
            letter: Letter::default(),
            passage: None,
        }
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
            recipient: self.to.only(),
            date: &date(),
        }
        .write(&mut field);
        field
    }
}

/// Memory that an envelope leaves to the next of its thread.
#[derive(Default)]
struct Spare {
    from: String,
    to: Paths,
    text: Vec<u8>,
}

/// More than this is no envelope's but a rare one's.
const SPARED: usize = 4 << 10;

thread_local! {
    static SPARE: Cell<Spare> = const { Cell::new(Spare { from: String::new(), to: Paths::EMPTY, text: Vec::new() }) };
}

impl Drop for Envelope {
    fn drop(&mut self) {
        let (mut from, mut to) = (std::mem::take(&mut self.from), std::mem::take(&mut self.to));
        let text = std::mem::take(&mut self.looking).into_memory();
        from.clear();
        to.clear();
        if from.capacity() + to.held() + text.capacity() <= SPARED {
            // Where the thread ends there is no next.
            let _ = SPARE.try_with(|spare| spare.set(Spare { from, to, text }));
        }
    }
}

/// What is said to the client.
#[derive(Debug)]
pub(super) enum Said {
    /// It was taken here.
    Taken(Id),
    /// It was not.
    Refused(Reply<'static>),
    /// What the next hop says.
    Hop(Answer),
}

impl Said {
    pub(super) fn code(&self) -> u16 {
        match self {
            Self::Taken(_) => 250,
            said => match said.verdict() {
                Verdict::Refuse(reply) => reply.code(),
                _ => 250,
            },
        }
    }

    pub(super) fn verdict(&self) -> Verdict<'_> {
        match self {
            Self::Taken(id) => Verdict::AcceptWith(id.taken()),
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
