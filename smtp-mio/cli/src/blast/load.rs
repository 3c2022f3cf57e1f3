//! What a blast sends, when each message is due, and what becomes of it.

use std::time::{Duration, Instant};

use smtp_mio::{Closed, Key, Line, Next, Sender};
use smtp_proto::client::{Awaited, Body, Envelope, Outcome, Reason, Transaction};
use smtp_proto::syntax::{Extension, Rcpt, ReplyLines, ReversePath};

use super::report::{Report, name};

/// After so many connections in a row that came to nothing there is nobody to be measured.
const IN_VAIN: u32 = 1000;

/// What is the same for all messages.
pub(crate) struct Message<'p> {
    pub(crate) from: ReversePath<'p>,
    pub(crate) to: Vec<Rcpt<'p>>,
    pub(crate) text: Vec<u8>,
}

impl Message<'_> {
    pub(crate) fn envelope(&self) -> Envelope<'_> {
        let body = if self.text.is_ascii() { Body::SevenBit } else { Body::EightBitMime };
        Envelope::new(self.from, &self.to).size(self.text.len() as u64).body(body)
    }
}

pub(crate) struct Load<'p> {
    pub(crate) message: &'p Message<'p>,
    pub(crate) envelope: Envelope<'p>,
    pub(crate) report: Report,
    pub(crate) begun: Instant,
    /// Messages that have been given to a connection, or counted as failed without one.
    pub(crate) issued: u64,
    pub(crate) messages: u64,
    pub(crate) rate: Option<f64>,
    pub(crate) until: Option<Duration>,
    pub(crate) per_connection: u64,
    pub(crate) bdat: bool,
    /// Connections in a row that came to nothing.
    in_vain: u32,
    /// No message is begun any more.
    pub(crate) stopped: bool,
    /// Connections that wait for a message; some may have closed since.
    pub(crate) idle: Vec<Key>,
    /// Connections that have a message under way.
    pub(crate) busy: usize,
    /// By the slot of their keys.
    lanes: Vec<Lane>,
}

/// What there is to know of a connection.
#[derive(Clone, Copy, Default)]
struct Lane {
    messages: u64,
    /// When its present message was due: its time runs from here, whatever held it up (no coordinated omission).
    due: Option<Instant>,
}

impl<'p> Load<'p> {
    pub(crate) fn new(message: &'p Message<'p>) -> Self {
        Self {
            message,
            envelope: message.envelope(),
            report: Report::new(),
            begun: Instant::now(),
            issued: 0,
            messages: u64::MAX,
            rate: None,
            until: None,
            per_connection: u64::MAX,
            bdat: false,
            in_vain: 0,
            stopped: false,
            idle: Vec::new(),
            busy: 0,
            lanes: Vec::new(),
        }
    }

    /// When the next message is due: at once, or by the clock.
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    pub(crate) fn next_due(&self) -> Option<Instant> {
        match self.rate {
            None => Some(Instant::now()),
            Some(rate) => self.begun.checked_add(Duration::from_secs_f64(self.issued as f64 / rate)),
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.stopped || self.issued >= self.messages || self.until.is_some_and(|until| self.begun.elapsed() >= until)
    }

    /// The next message, over this connection, if one is due.
    pub(crate) fn take(&mut self, key: Key) -> bool {
        let Some(due) = self.next_due().filter(|due| self.rate.is_none() || *due <= Instant::now()) else {
            return false;
        };
        self.issued += 1;
        self.busy += 1;
        self.lane(key).due = Some(due);
        true
    }

    /// A connection that comes to nothing costs a message: the blast is bounded. After many in a row it ends.
    pub(crate) fn count_as_failed(&mut self) {
        self.issued += 1;
        self.report.failed += 1;
        self.in_vain += 1;
        if self.in_vain == IN_VAIN && !self.stopped {
            self.stopped = true;
            self.report.error(format!("gave up: {IN_VAIN} connections in a row came to nothing"));
        }
    }

    fn lane(&mut self, key: Key) -> &mut Lane {
        if self.lanes.len() <= key.slot() {
            self.lanes.resize(key.slot() + 1, Lane::default());
        }
        &mut self.lanes[key.slot()]
    }
}

impl<'p> Sender<'p> for Load<'p> {
    fn ready(&mut self, line: &Line<'_>) -> Next<'p> {
        // RFC 9422 5.1: as many as the server takes on a connection.
        let announced = line.session.offers().mail_max().map_or(u64::MAX, Into::into);
        let most = self.per_connection.min(announced);
        if self.is_over() || self.lane(line.key).messages >= most {
            return Next::Quit;
        }
        if self.bdat && !line.session.offers().has(Extension::Chunking) {
            self.report.error("BDAT: the server does not offer CHUNKING");
            return Next::Quit;
        }
        if !self.take(line.key) {
            self.idle.push(line.key);
            return Next::Wait;
        }
        Next::Send(self.envelope, self.message.text.as_slice().into())
    }

    fn done(&mut self, line: &Line<'_>, transaction: &Transaction<'p>) {
        self.busy -= 1;
        self.in_vain = 0;
        let lane = self.lane(line.key);
        lane.messages += 1;
        let due = lane.due.take();
        let accepted = transaction.outcomes().filter(Outcome::is_accepted).count();
        if accepted > 0 {
            self.report.accepted += 1;
            // Of a message that was taken for others.
            self.report.recipients_refused += (transaction.outcomes().len() - accepted) as u64;
            self.report.octets += self.message.text.len() as u64;
            self.report.took("message", due.map_or(Duration::ZERO, |due| due.elapsed()));
        } else if transaction.closed().is_some() {
            self.report.failed += 1;
        } else {
            self.report.refused += 1;
        }
    }

    fn connected(&mut self, line: &Line<'_>, time: Duration) {
        *self.lane(line.key) = Lane::default();
        self.report.connections += 1;
        self.report.took("connect", time);
    }

    fn encrypted(&mut self, line: &Line<'_>, time: Duration) {
        self.report.took("handshake", time);
        *(if line.resumed { &mut self.report.resumed } else { &mut self.report.full }) += 1;
    }

    fn reply(&mut self, _: Key, to: Awaited, reply: &ReplyLines<'_>, time: Duration) {
        self.report.took(name(to), time);
        if reply.code() >= 400 {
            self.report.error(format!("{} {}", name(to), reply.code()));
        }
    }

    fn closed(&mut self, line: &Line<'_>, end: &Closed) {
        let unused = std::mem::take(self.lane(line.key)).messages == 0;
        let in_order = matches!(end, Closed::Session(Reason::Quit | Reason::Abandoned));
        if !in_order {
            self.report.error(format!("connection: {end}"));
        }
        // Turned away, or not even connected: counted, so that there is an end to it.
        if unused && !self.is_over() {
            self.count_as_failed();
        }
    }
}
