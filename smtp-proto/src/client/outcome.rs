//! What became of a recipient, and why.

use core::fmt;
use core::ops::Range;

use super::event::{NotNow, Reason};
use crate::syntax::ReplyLines;
use crate::text::TextFlaw;

/// What became of one recipient of a transaction.
///
/// ```
/// use smtp_proto::client::Outcome;
///
/// fn tell(outcome: &Outcome<'_>) -> &'static str {
///     match outcome {
///         Outcome::Accepted(_) => "delivered",
///         other if other.is_temporary() => "to be tried again later",
///         _ => "returned to the sender",
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome<'t> {
    /// The server has taken over the responsibility (RFC 5321 4.2.5).
    Accepted(ReplyLines<'t>),
    /// Not accepted now; the same message can be tried again later.
    Later(Because<'t>),
    /// Refused for good: the same message is not to be tried again.
    Never(Because<'t>),
    /// The whole text was sent, and no reply came: the server has the message, or has not. To be tried again, at the
    /// risk of sending it twice (RFC 5321 4.5.4.1, RFC 1047).
    Unknown(Because<'t>),
}

impl Outcome<'_> {
    /// Whether the recipient should be tried again: [`Outcome::Later`] and [`Outcome::Unknown`].
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        matches!(self, Self::Later(_) | Self::Unknown(_))
    }

    /// Whether the server has taken over the message for this recipient.
    #[must_use]
    pub const fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted(_))
    }
}

/// Why a recipient was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Because<'t> {
    /// The server said so, to RCPT or to another command of the transaction.
    Reply(ReplyLines<'t>),
    /// The command, or the text, was not sent, for this reason.
    NotSent(NotNow),
    /// The text has this flaw, and must not be sent.
    Text(TextFlaw),
    /// The session ended before the recipient was accepted, for this reason.
    Session(&'t Reason),
}

/// A line for a person: the outcome in a word, and why.
impl fmt::Display for Outcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted(reply) => write!(f, "accepted: {reply}"),
            Self::Later(because) => write!(f, "not now: {because}"),
            Self::Never(because) => write!(f, "refused: {because}"),
            Self::Unknown(because) => write!(f, "unknown: the whole text was sent, and then {because}"),
        }
    }
}

impl fmt::Display for Because<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply(reply) => reply.fmt(f),
            Self::NotSent(why) => write!(f, "not sent: {why}"),
            Self::Text(flaw) => write!(f, "not sent: the text has {flaw}"),
            Self::Session(reason) => reason.fmt(f),
        }
    }
}

/// What a transaction knows of a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// RCPT is not answered.
    Waiting,
    /// RCPT was accepted; the text is not answered.
    Named,
    Reply(Fate, Range<usize>),
    NotSent(NotNow),
    Text(TextFlaw),
    Session(Fate),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Accepted,
    Later,
    Never,
    Unknown,
}

impl Slot {
    /// In the words of the caller; what is still open is to be tried again.
    pub(super) fn outcome<'t>(&self, replies: &'t [u8], closed: Option<&'t Reason>) -> Outcome<'t> {
        let because = Because::Session(closed.unwrap_or(&Reason::Eof));
        match self {
            Self::Reply(fate, range) => {
                let raw = replies.get(range.clone()).unwrap_or_default();
                let reply = ReplyLines::of_checked(raw);
                match fate {
                    Fate::Accepted => Outcome::Accepted(reply),
                    Fate::Never => Outcome::Never(Because::Reply(reply)),
                    Fate::Later | Fate::Unknown => Outcome::Later(Because::Reply(reply)),
                }
            }
            Self::NotSent(why @ (NotNow::Limit | NotNow::State(_) | NotNow::Busy)) => {
                Outcome::Later(Because::NotSent(*why))
            }
            Self::NotSent(why) => Outcome::Never(Because::NotSent(*why)),
            Self::Waiting | Self::Named => Outcome::Later(Because::NotSent(NotNow::Busy)),
            Self::Text(flaw) => Outcome::Never(Because::Text(*flaw)),
            Self::Session(Fate::Never) => Outcome::Never(because),
            Self::Session(Fate::Unknown) => Outcome::Unknown(because),
            Self::Session(Fate::Accepted | Fate::Later) => Outcome::Later(because),
        }
    }
}
