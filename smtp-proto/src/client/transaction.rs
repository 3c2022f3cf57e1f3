//! One envelope sent, and one outcome for each recipient.

use alloc::vec::Vec;
use core::ops::Range;

use super::envelope::Envelope;
use super::event::{Event, Fault, MessageTicket, NotNow, Reason, TextError};
use super::outcome::{Fate, Outcome, Slot};
use super::state::{Awaited, State};
use super::{Protocol, Session};
use crate::syntax::{Body, Command, Extension, KeywordSet, ReplyLines};
use crate::tls::{Direction, Disposition, Hop, Record};
use crate::{Step, Want};

/// A text of at most so many octets goes out with its envelope in one write, by BDAT, where PIPELINING is offered too.
const EAGER: u64 = 64 << 10;
/// So many rules that the server broke are told.
const TOLERATED: usize = 8;

/// Sends one envelope over a [`Session`], and knows what became of each recipient.
///
/// Step it instead of the session: it gives the commands, pipelined where that is offered, and says when the text is
/// to be written. A session can carry one transaction after the other; [`next`](Self::next) uses the memory again.
///
/// ```
/// # extern crate std;
/// use smtp_proto::client::{Config, Envelope, Outcome, Progress, Session, Tls, Transaction};
/// use smtp_proto::syntax::{ForwardPath, Mailbox, Params, Rcpt, ReversePath};
/// use smtp_proto::{Channel, Want};
/// # let mut server = [
/// #     "220 mx\r\n", "250-mx\r\n250 PIPELINING\r\n", "250 ok\r\n250 ok\r\n550 5.1.1 who?\r\n354 go on\r\n", "250 2.0.0 taken\r\n",
/// # ].into_iter();
///
/// let from = ReversePath::Mailbox(Mailbox::parse("a@example.org", false)?);
/// let to = ["b@example.net", "c@example.net"].map(|to| Mailbox::parse(to, false).map(ForwardPath::Mailbox));
/// let to = to.map(|path| Ok(Rcpt { path: path?, params: Params::default() }));
/// let [b, c]: [Result<_, smtp_proto::syntax::SyntaxError>; 2] = to;
/// let to = [b?, c?];
///
/// let config = Config::new("client.example").expect("a domain").tls(Tls::Never).shared();
/// let mut session = Session::new(config, Channel::Plain);
/// let mut transaction = Transaction::new(Envelope::new(from, &to));
/// let mut input = &b""[..];
/// loop {
///     match transaction.step(&mut session, &mut input) {
///         Progress::Text => transaction.finish_with(&mut session, b"Subject: Hi\r\n\r\nHello.\r\n")?,
///         Progress::Want(want) => {
///             session.sent(session.output().len()); // Write it out, of course.
///             match want {
///                 Want::Input => input = server.next().expect("to be read from a socket").as_bytes(),
///                 other => unreachable!("{other:?}"),
///             }
///         }
///         Progress::Done => break,
///     }
/// }
/// let outcomes: Vec<_> = transaction.outcomes().collect();
/// assert!(matches!(outcomes[0], Outcome::Accepted(reply) if reply.code() == 250));
/// assert!(matches!(outcomes[1], Outcome::Never(_)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Transaction<'e> {
    envelope: Envelope<'e>,
    slots: Vec<Slot>,
    /// The replies that slots refer to.
    replies: Vec<u8>,
    phase: Phase,
    /// Replies to RCPT that have come are those to the recipients before this one.
    answered: usize,
    ticket: Option<MessageTicket>,
    /// Where the text ends in what the session puts out.
    text_end: Option<u64>,
    octets: u64,
    closed: Option<Reason>,
    /// The first few rules that the server broke, and that were let pass.
    tolerated: Vec<Fault>,
    /// Parameters that the server did not get.
    left_out: KeywordSet,
}

/// What a transaction needs before it can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a want unseen is a session that stands still"]
pub enum Progress {
    /// As of the session; first write out its output. [`Want::Decision`] and [`Want::Output`] do not occur.
    Want(Want),
    /// Write a piece of the text, or its end. First write out what is in the session's output, if it is much.
    Text,
    /// Each recipient has its outcome. The session can go on to another transaction if it
    /// [is idle](Session::is_idle).
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Mail,
    /// This recipient is next.
    Rcpt(usize),
    /// All are named: DATA or BDAT.
    Data,
    /// The text is being written, or waits for its replies.
    Text,
    Done,
}

impl<'e> Transaction<'e> {
    /// To be stepped with a session that is at its very beginning, or idle.
    #[must_use]
    pub fn new(envelope: Envelope<'e>) -> Self {
        let mut transaction = Self {
            envelope,
            slots: Vec::new(),
            replies: Vec::new(),
            phase: Phase::Mail,
            answered: 0,
            ticket: None,
            text_end: None,
            octets: 0,
            closed: None,
            tolerated: Vec::new(),
            left_out: KeywordSet::EMPTY,
        };
        transaction.slots.resize(envelope.to.len(), Slot::Waiting);
        transaction
    }

    /// Another transaction, in the memory of this one.
    #[must_use]
    pub fn next(mut self, envelope: Envelope<'_>) -> Transaction<'_> {
        self.slots.clear();
        self.replies.clear();
        self.slots.resize(envelope.to.len(), Slot::Waiting);
        Transaction {
            envelope,
            slots: self.slots,
            replies: self.replies,
            phase: Phase::Mail,
            answered: 0,
            ticket: None,
            text_end: None,
            octets: 0,
            closed: None,
            tolerated: Vec::new(),
            left_out: KeywordSet::EMPTY,
        }
    }

    /// Steps the session, gives it commands, and says what is needed.
    pub fn step(&mut self, session: &mut Session, input: &mut &[u8]) -> Progress {
        self.step_with(session, input, |_| {})
    }

    /// The same; `seen` is shown each event of the session first, such as a reply.
    pub fn step_with(
        &mut self,
        session: &mut Session,
        input: &mut &[u8],
        mut seen: impl FnMut(&Event<'_>),
    ) -> Progress {
        loop {
            if self.phase == Phase::Done {
                return Progress::Done;
            }
            match session.step(input) {
                Step::Event(event) => {
                    seen(&event);
                    self.event(session, event);
                }
                Step::Want(Want::Decision) if self.ticket.is_some() => return Progress::Text,
                Step::Want(Want::Decision) => self.turn(session),
                Step::Want(Want::Close) => {
                    self.closed.get_or_insert(Reason::Eof);
                    self.lost(session);
                }
                Step::Want(want) => {
                    // There may be room in the group for more.
                    if want == Want::Input && self.phase != Phase::Mail && self.ticket.is_none() {
                        self.advance(session);
                        if self.ticket.is_some() {
                            continue;
                        }
                    }
                    return Progress::Want(want);
                }
            }
        }
    }

    /// Puts the next piece of the text into the session's output, dots doubled where that is needed. See
    /// [`Session::write`].
    ///
    /// # Errors
    /// [`TextError`]; step on, all the same.
    pub fn write(&mut self, session: &mut Session, text: &[u8]) -> Result<(), TextError> {
        let ticket = self.ticket.as_ref().ok_or(TextError::Gone)?;
        let written = session.write(ticket, text);
        if written.is_ok() {
            self.octets += text.len() as u64;
        }
        self.checked(written)
    }

    /// The same without a copy. See [`Session::piece`].
    ///
    /// # Errors
    /// [`TextError`]; step on, all the same.
    pub fn piece<'t>(&mut self, session: &mut Session, text: &mut &'t [u8]) -> Result<Option<&'t [u8]>, TextError> {
        let ticket = self.ticket.as_ref().ok_or(TextError::Gone)?;
        let before = text.len();
        let piece = session.piece(ticket, text);
        self.octets += (before - text.len()) as u64;
        self.checked(piece)
    }

    /// There is no session, for this reason, such as [`Reason::NotConnected`]: that is the outcome of every recipient.
    pub fn fail(&mut self, reason: Reason) {
        let fate = if reason.is_temporary() { Fate::Later } else { Fate::Never };
        self.set(0..self.slots.len(), &Slot::Session(fate));
        self.closed.get_or_insert(reason);
        self.ticket = None;
        self.phase = Phase::Done;
    }

    /// Ends the text.
    ///
    /// # Errors
    /// [`TextError`]; step on, all the same.
    pub fn finish(&mut self, session: &mut Session) -> Result<(), TextError> {
        self.finish_with(session, b"")
    }

    /// The last piece, and the end. For a text that is at hand as a whole this is all there is to do.
    ///
    /// # Errors
    /// [`TextError`]; step on, all the same.
    pub fn finish_with(&mut self, session: &mut Session, text: &[u8]) -> Result<(), TextError> {
        let ticket = self.ticket.take().ok_or(TextError::Gone)?;
        let finished = session.finish_with(ticket, text);
        if finished.is_ok() {
            self.octets += text.len() as u64;
            self.text_end = Some(session.end());
        } else {
            self.text_end = None;
        }
        self.checked(finished)
    }

    /// What became of each recipient, in the order of the envelope; those that are still open are to be tried again.
    #[must_use]
    pub fn outcomes(&self) -> impl ExactSizeIterator<Item = Outcome<'_>> {
        self.slots.iter().map(|slot| slot.outcome(&self.replies, self.closed.as_ref()))
    }

    /// Why the session ended, if it did so within this transaction.
    #[must_use]
    pub const fn closed(&self) -> Option<&Reason> {
        self.closed.as_ref()
    }

    /// Rules that the server broke and that did no harm, such as a success by a code that RFC 5321 does not list: the first
    /// eight.
    #[must_use]
    pub fn tolerated(&self) -> &[Fault] {
        &self.tolerated
    }

    /// Parameters that only ask for something, such as NOTIFY, and that were left out since the server does not offer them.
    #[must_use]
    pub const fn left_out(&self) -> KeywordSet {
        self.left_out
    }

    /// The fact for the ledger, at this time (seconds since 1970); names are the caller's to fill in.
    #[must_use]
    pub fn record(&self, session: &Session, time: i64) -> Record<'static> {
        let accepted = self.outcomes().filter(Outcome::is_accepted).count();
        let mut record = Record::new(time, Direction::Outbound);
        record.recipients = u32::try_from(accepted).unwrap_or(u32::MAX);
        record.bytes = self.octets;
        record.hop = Hop::from(&session.tls_outcome());
        record.end = if accepted > 0 {
            Disposition::Accepted
        } else if self.outcomes().any(|outcome| matches!(outcome, Outcome::Unknown(_))) {
            Disposition::Abandoned
        } else if self.outcomes().any(|outcome| outcome.is_temporary()) {
            Disposition::Deferred
        } else {
            Disposition::Refused
        };
        record
    }

    // ---- what has come

    fn event(&mut self, session: &mut Session, event: Event<'_>) {
        match event {
            Event::Reply(to, reply) => self.reply(session, to, &reply),
            Event::Message(ticket) => self.ticket = Some(ticket),
            Event::Tolerated(fault) if self.tolerated.len() < TOLERATED => self.tolerated.push(fault),
            Event::Ready | Event::Fault(_) | Event::Tolerated(_) => {}
            Event::Closed(reason) => {
                self.closed = Some(reason);
                self.lost(session);
            }
        }
    }

    fn reply(&mut self, session: &mut Session, to: Awaited, reply: &ReplyLines<'_>) {
        let fate = match reply.code() {
            400..500 => Fate::Later,
            500.. => Fate::Never,
            _ => Fate::Accepted,
        };
        let refused = fate != Fate::Accepted;
        // A success that the session does not take for one is none.
        if !refused && session.state() == State::Closed {
            return;
        }
        // Replies come in order: with 421 to one of these the server never came to the text behind them.
        if reply.code() == 421 && matches!(to, Awaited::Mail | Awaited::Rcpt | Awaited::Chunk) {
            self.text_end = None;
        }
        match to {
            Awaited::Rcpt => {
                let next = self.slots.iter().skip(self.answered).position(|slot| *slot == Slot::Waiting);
                let Some(at) = next.map(|skipped| self.answered + skipped) else { return };
                self.answered = at + 1;
                let slot = if refused { self.keep(fate, reply) } else { Slot::Named };
                self.set(at..at + 1, &slot);
            }
            Awaited::Text => {
                let slot = self.keep(fate, reply);
                let first = self.slots.iter().position(|slot| *slot == Slot::Named);
                match (first, session.config().protocol) {
                    (Some(first), Protocol::Lmtp) => self.set(first..first + 1, &slot),
                    _ => self.set(0..self.slots.len(), &slot),
                }
            }
            // Before MAIL the reason for which the session ends says more.
            Awaited::Mail | Awaited::Data | Awaited::Chunk | Awaited::Nothing
                if refused && self.phase != Phase::Mail =>
            {
                let slot = self.keep(fate, reply);
                self.set(0..self.slots.len(), &slot);
                if to == Awaited::Chunk
                    && let Some(ticket) = self.ticket.take()
                {
                    session.drop_chunks(ticket);
                }
            }
            _ => {}
        }
    }

    /// Keeps a reply for outcomes.
    fn keep(&mut self, fate: Fate, reply: &ReplyLines<'_>) -> Slot {
        let start = self.replies.len();
        self.replies.extend_from_slice(reply.raw());
        Slot::Reply(fate, start..self.replies.len())
    }

    /// Sets those of the slots that are still open.
    fn set(&mut self, range: Range<usize>, to: &Slot) {
        for slot in self.slots.get_mut(range).unwrap_or_default() {
            if matches!(slot, Slot::Waiting | Slot::Named) {
                slot.clone_from(to);
            }
        }
    }

    /// The session is over. What was sent as a whole may have arrived.
    fn lost(&mut self, session: &Session) {
        let arrived = self.text_end.is_some_and(|end| session.gone_out() >= end);
        let fate = match &self.closed {
            _ if arrived => Fate::Unknown,
            Some(reason) if !reason.is_temporary() => Fate::Never,
            _ => Fate::Later,
        };
        self.set(0..self.slots.len(), &Slot::Session(fate));
        self.ticket = None;
        self.phase = Phase::Done;
    }

    fn checked<T>(&mut self, result: Result<T, TextError>) -> Result<T, TextError> {
        if let Err(TextError::Flaw(flaw)) = result {
            self.ticket = None;
            self.set(0..self.slots.len(), &Slot::Text(flaw));
        }
        result
    }

    // ---- what is to be sent

    /// Gives what commands it can. That nothing at all can be done does not happen while the session is the
    /// transaction's alone; if it does, that is the end.
    fn turn(&mut self, session: &mut Session) {
        let before = (self.phase, session.awaited.len());
        self.advance(session);
        if self.ticket.is_none() && before == (self.phase, session.awaited.len()) {
            self.set(0..self.slots.len(), &Slot::NotSent(NotNow::State(session.state())));
            self.phase = Phase::Done;
        }
    }

    fn advance(&mut self, session: &mut Session) {
        loop {
            let open = self.slots.iter().any(|slot| matches!(slot, Slot::Waiting | Slot::Named));
            match self.phase {
                Phase::Mail => match self.mail(session) {
                    Ok(()) => {
                        self.left_out = session.left_out();
                        self.phase = Phase::Rcpt(0);
                    }
                    Err(NotNow::Busy) => return,
                    Err(why) => {
                        self.set(0..self.slots.len(), &Slot::NotSent(why));
                        self.phase = Phase::Done;
                        return;
                    }
                },
                _ if !open && self.ticket.is_none() => {
                    self.settle(session);
                    return;
                }
                Phase::Rcpt(at) => match self.envelope.to.get(at) {
                    None => self.phase = Phase::Data,
                    Some(rcpt) => {
                        match self.within_domains(session, at).and_then(|()| session.send(&Command::Rcpt(*rcpt))) {
                            Ok(()) => self.left_out = session.left_out(),
                            Err(NotNow::Busy) => return,
                            Err(why) => self.set(at..at + 1, &Slot::NotSent(why)),
                        }
                        self.phase = Phase::Rcpt(at + 1);
                    }
                },
                Phase::Data => {
                    if !self.data(session) {
                        return;
                    }
                    self.phase = Phase::Text;
                }
                Phase::Text | Phase::Done => return,
            }
        }
    }

    fn mail(&self, session: &mut Session) -> Result<(), NotNow> {
        let offers = session.offers();
        let need = |extension| if offers.has(extension) { Ok(()) } else { Err(NotNow::NotOffered(extension)) };
        let body = match self.envelope.body {
            Some(Body::SevenBit) => "",
            None | Some(Body::EightBitMime) if offers.has(Extension::EightBitMime) => " BODY=8BITMIME",
            // An octet beyond ASCII is found out when it comes.
            None => "",
            Some(Body::EightBitMime) if session.config().eight_bit_anyway => "",
            // RFC 6152 3: it must not be sent then.
            Some(Body::EightBitMime) => return Err(NotNow::NotOffered(Extension::EightBitMime)),
            Some(Body::BinaryMime) => {
                need(Extension::BinaryMime)?;
                need(Extension::Chunking)?;
                if !session.config().chunking {
                    return Err(NotNow::NotOffered(Extension::Chunking));
                }
                " BODY=BINARYMIME"
            }
        };
        // RFC 6531 3.2, 3.4.
        let utf8 = self.envelope.needs_utf8();
        if utf8 {
            need(Extension::SmtpUtf8)?;
        }
        let params = &self.envelope.params;
        let said = |keyword| params.iter().any(|param| param.keyword.eq_ignore_ascii_case(keyword));
        let utf8 = if utf8 && !said("SMTPUTF8") { " SMTPUTF8" } else { "" };
        let body = if said("BODY") { "" } else { body };
        session.mail(self.envelope.from.as_str(), self.envelope.size, &[body, utf8], params)
    }

    /// DATA or BDAT, when its time has come.
    fn data(&mut self, session: &mut Session) -> bool {
        let binary = self.envelope.body == Some(Body::BinaryMime);
        let waiting = self.slots.contains(&Slot::Waiting);
        let chunks = session.offers().has(Extension::Chunking)
            && session.config().chunking
            && (binary || session.config().protocol == Protocol::Smtp || session.config().lmtp_chunking);
        let sent = if !chunks {
            session.send(&Command::Data)
        } else if waiting && self.envelope.size.is_none_or(|size| size > EAGER) {
            Err(NotNow::Busy)
        } else {
            session.begin_chunks(binary).map(|ticket| self.ticket = Some(ticket))
        };
        match sent {
            Ok(()) => true,
            Err(NotNow::Busy) => false,
            Err(why) => {
                self.set(0..self.slots.len(), &Slot::NotSent(why));
                false
            }
        }
    }

    /// All outcomes are known: the session is to be left as it was found.
    fn settle(&mut self, session: &mut Session) {
        if session.is_idle() || session.state() == State::Closed {
            self.phase = Phase::Done;
        } else if session.awaited.ahead(session.state()).in_transaction() {
            let _ = session.send(&Command::Rset);
        }
    }

    /// RFC 9422 5.3.
    fn within_domains(&self, session: &Session, at: usize) -> Result<(), NotNow> {
        let Some(most) = session.offers().rcpt_domain_max() else { return Ok(()) };
        let domain = |at: usize| {
            let path = self.envelope.to.get(at).map_or("", |rcpt| rcpt.path.as_str());
            path.rsplit_once('@').map_or("", |(_, domain)| domain)
        };
        let sent = |at: &usize| !matches!(self.slots.get(*at), Some(Slot::NotSent(_)));
        let (mut others, mut known) = (0, false);
        for before in (0..at).filter(sent) {
            let same = |earlier: usize| domain(earlier).eq_ignore_ascii_case(domain(before));
            known |= domain(before).eq_ignore_ascii_case(domain(at));
            others += u32::from(!(0..before).filter(sent).any(same));
        }
        if known || others < most { Ok(()) } else { Err(NotNow::Limit) }
    }
}
