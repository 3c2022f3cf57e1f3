//! Who may write the text of a message to a connection: a transaction, or whoever sends by commands; and what stops them.

use std::fmt;

use smtp_proto::client::{MessageTicket, NotNow, Reason, Session, TextError, Transaction};
use smtp_proto::syntax::OwnedReply;
use smtp_proto::text::TextFlaw;

/// Why there is no reply to go on with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stopped {
    /// It was not sent, for this. The connection can be gone on with.
    NotSent(NotNow),
    /// The server refused a piece of the text (BDAT). The transaction is over, the connection can be gone on with.
    Refused(OwnedReply),
    /// The text must not be sent as it is. The transaction is over; after DATA so is the connection.
    Text(TextFlaw),
    /// No text has been begun, or it has ended already.
    NoText,
    /// The session has ended, and the server does not have the message.
    Ended(Reason),
    /// The session ended after the whole text had been sent: the server has the message, or has not (RFC 1047).
    Unknown(Reason),
}

impl Stopped {
    /// Whether the same may go well later (RFC 5321 4.2.1).
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::NotSent(why) => matches!(why, NotNow::Limit | NotNow::State(_) | NotNow::Busy),
            Self::Refused(reply) => reply.code() < 500,
            Self::Text(_) | Self::NoText => false,
            Self::Ended(reason) | Self::Unknown(reason) => reason.is_temporary(),
        }
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(why) => write!(f, "not sent: {why}"),
            Self::Refused(reply) => write!(f, "refused: {reply}"),
            Self::Text(flaw) => write!(f, "not sent: the text has {flaw}"),
            Self::NoText => f.write_str("no text has been begun"),
            Self::Ended(reason) => reason.fmt(f),
            Self::Unknown(reason) => write!(f, "the whole text was sent, and then {reason}"),
        }
    }
}

impl std::error::Error for Stopped {}

/// What makes the octets to be sent of a text: it has the session's leave to.
pub(super) trait TextWriter {
    fn piece<'t>(&mut self, session: &mut Session, text: &mut &'t [u8]) -> Result<Option<&'t [u8]>, TextError>;
    fn finish_with(&mut self, session: &mut Session, text: &[u8]) -> Result<(), TextError>;
}

impl TextWriter for Transaction<'_> {
    fn piece<'t>(&mut self, session: &mut Session, text: &mut &'t [u8]) -> Result<Option<&'t [u8]>, TextError> {
        Transaction::piece(self, session, text)
    }

    fn finish_with(&mut self, session: &mut Session, text: &[u8]) -> Result<(), TextError> {
        Transaction::finish_with(self, session, text)
    }
}

/// How far a message that is sent by its commands has come.
#[derive(Debug, Default)]
pub(super) struct Steps {
    pub(super) ticket: Option<MessageTicket>,
    /// Why the text is not gone on with.
    pub(super) stopped: Option<Stopped>,
    /// Why the session ended.
    pub(super) closed: Option<Reason>,
}

impl TextWriter for Steps {
    fn piece<'t>(&mut self, session: &mut Session, text: &mut &'t [u8]) -> Result<Option<&'t [u8]>, TextError> {
        let ticket = self.ticket.as_ref().ok_or(TextError::Gone)?;
        let piece = session.piece(ticket, text);
        self.checked(piece)
    }

    fn finish_with(&mut self, session: &mut Session, text: &[u8]) -> Result<(), TextError> {
        let ticket = self.ticket.take().ok_or(TextError::Gone)?;
        let finished = session.finish_with(ticket, text);
        self.checked(finished)
    }
}

impl Steps {
    fn checked<T>(&mut self, result: Result<T, TextError>) -> Result<T, TextError> {
        if let Err(TextError::Flaw(flaw)) = result {
            self.ticket = None;
            self.stopped = Some(Stopped::Text(flaw));
        }
        result
    }
}
