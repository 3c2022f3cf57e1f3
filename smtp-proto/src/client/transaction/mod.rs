//! One envelope sent, and one outcome for each recipient.

mod replied;
mod sending;

use alloc::vec::Vec;

use super::Session;
use super::envelope::Envelope;
use super::event::{Event, Fault, MessageTicket, Reason, TextError};
use super::outcome::{Fate, Outcome, Slot};
use super::state::{Awaited, State};
use crate::syntax::{Body, KeywordSet};
use crate::tls::{Direction, Disposition, Hop, Record};
use crate::{Step, Want};

/// Sends one envelope over a [`Session`], and knows what became of each recipient.
///
/// Step it instead of the session: it gives the commands, pipelined where that is offered, and says when the text is
/// to be written. A session can carry one transaction after the other; [`next`](Self::next) uses the memory again, and
/// [`lead`](Self::lead) saves a wait between two of them.
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
    /// The envelope of another follows the text.
    leads: bool,
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
        Self::in_memory(envelope, Vec::new(), Vec::new())
    }

    /// Another transaction, in the memory of this one.
    #[must_use]
    pub fn next(mut self, envelope: Envelope<'_>) -> Transaction<'_> {
        self.slots.clear();
        self.replies.clear();
        Transaction::in_memory(envelope, self.slots, self.replies)
    }

    fn in_memory(envelope: Envelope<'e>, mut slots: Vec<Slot>, replies: Vec<u8>) -> Self {
        slots.resize(envelope.to.len(), Slot::Waiting);
        Self {
            envelope,
            slots,
            replies,
            phase: Phase::Mail,
            answered: 0,
            ticket: None,
            text_end: None,
            octets: 0,
            closed: None,
            leads: false,
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
                    self.stop_before_next(session);
                }
                Step::Want(Want::Decision) if self.ticket.is_some() => return Progress::Text,
                Step::Want(Want::Decision) => self.turn(session),
                Step::Want(Want::Close) => {
                    self.closed.get_or_insert_with(|| match session.ended() {
                        // Another one's.
                        None | Some(Reason::Text(_)) => Reason::Eof,
                        Some(reason) => reason.clone(),
                    });
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
            self.text_end = Some(session.output.end());
        } else {
            self.text_end = None;
        }
        self.checked(finished)
    }

    /// Lets the envelope of `next` follow the end of this text, in one write, which saves the wait for the reply to the text
    /// (RFC 2920 3.1). To be called when the text has been finished. Then go on with this transaction until it is done, and
    /// only then step `next`, for the replies come in this order. False, and nothing is put out: the server does not offer
    /// PIPELINING, or this is sent by BDAT, where the envelope of a small message goes out with its text anyway, or what
    /// `next` needs cannot be had now.
    ///
    /// ```
    /// # use smtp_proto::client::{Config, Envelope, Progress, Session, Tls, Transaction};
    /// # use smtp_proto::syntax::{ForwardPath, Params, Rcpt, ReversePath};
    /// # use smtp_proto::Channel;
    /// # let path = ForwardPath::parse("b@example.net", false)?;
    /// # let to = [Rcpt { path, params: Params::default() }];
    /// # let envelope = Envelope::new(ReversePath::Null, &to);
    /// # let config = Config::new("client.example").expect("a name").tls(Tls::Never).shared();
    /// # let mut session = Session::new(config, Channel::Plain);
    /// # let mut server = ["220 mx\r\n", "250-mx\r\n250 PIPELINING\r\n", "250 ok\r\n250 ok\r\n354 go on\r\n"].into_iter();
    /// let (mut first, mut second) = (Transaction::new(envelope), Transaction::new(envelope));
    /// # let mut input = &b""[..];
    /// # while first.step(&mut session, &mut input) != Progress::Text {
    /// #     session.sent(session.output().len());
    /// #     input = server.next().expect("to be read from a socket").as_bytes();
    /// # }
    /// // Upon `Progress::Text` of the first:
    /// first.finish_with(&mut session, b"Hello.\r\n")?;
    /// assert!(first.lead(&mut session, &mut second));
    /// let written = b"Hello.\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n";
    /// assert_eq!(session.output(), written);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lead(&mut self, session: &mut Session, next: &mut Transaction<'_>) -> bool {
        let finished = self.phase == Phase::Text && self.ticket.is_none() && self.text_end.is_some();
        // A text by BDAT ends in no such state, and BINARYMIME wants BDAT.
        let by_data = session.state() == State::Sent && next.envelope.body != Some(Body::BinaryMime);
        if !finished || !by_data || session.awaited.last() != Some(Awaited::Text) || next.phase != Phase::Mail {
            return false;
        }
        next.advance(session);
        self.leads = session.awaited.last() != Some(Awaited::Text);
        self.leads
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
}
