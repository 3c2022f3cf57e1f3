//! What a client is told: the next hop's own words, or ours where there are none.

use smtp_proto::client::{NotNow, Reason};
use smtp_proto::server::Verdict;
use smtp_proto::syntax::{OwnedReply, Reply};
use smtp_smol::Stopped;

/// What a client is told.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Hop(OwnedReply),
    Ours(Reply<'static>),
}

/// RFC 3463 3.5: X.4.1 no answer from host, X.4.2 bad connection.
pub(super) const UNREACHABLE: Answer =
    Answer::Ours(Reply::fixed(451, (4, 4, 1), "The mail server behind this one cannot be reached; try again later"));
pub(super) const BUSY: Answer =
    Answer::Ours(Reply::fixed(451, (4, 4, 5), "The mail server behind this one is busy; try again later"));
pub(super) const LOST: Answer = Answer::Ours(Reply::fixed(
    451,
    (4, 4, 2),
    "The connection to the mail server behind this one was lost; try again later",
));
/// RFC 5321 4.5.3.2.6, RFC 1047: whether the next hop has the message is not known, so it is asked for again.
const UNKNOWN: Answer =
    Answer::Ours(Reply::fixed(451, (4, 4, 2), "The mail server behind this one did not answer; try again later"));
const CHANGED: Answer = Answer::Ours(Reply::fixed(
    451,
    (4, 3, 0),
    "The mail server behind this one does not offer that any more; try again later",
));
/// RFC 5321 4.2.1: 3yz asks for more, and takes nothing.
pub(super) const OUT_OF_STEP: Answer = Answer::Ours(Reply::fixed(
    451,
    (4, 4, 2),
    "The mail server behind this one answers what it was not asked; try again later",
));
/// RFC 5321 6.3, RFC 3463 3.5.
pub(super) const LOOP: Answer = Answer::Ours(Reply::fixed(554, (5, 4, 6), "The message goes in circles"));
/// RFC 6152 3: it must not be handed on as it is. RFC 3463 3.7: X.6.3 conversion required but not supported.
pub(super) const EIGHT_BIT: Answer =
    Answer::Ours(Reply::fixed(554, (5, 6, 3), "The mail server behind this one takes 7-bit text alone"));
/// RFC 1870 6.1.
const TOO_BIG: Answer = Answer::Ours(Reply::fixed(552, (5, 3, 4), "Message too big"));
/// RFC 8689 4.2.1.
const NO_TLS: Answer =
    Answer::Ours(Reply::fixed(550, (5, 7, 30), "REQUIRETLS cannot be kept on the way behind this server"));
const TOO_LONG: Answer = Answer::Ours(Reply::fixed(554, (5, 5, 2), "The command cannot be handed on"));
const BAD_TEXT: Answer = Answer::Ours(Reply::fixed(554, (5, 6, 0), "The text cannot be handed on"));

/// Whether the next hop waits for something else than it was told. Nothing more can be said over that connection.
pub(super) fn is_out_of_step(reply: &OwnedReply) -> bool {
    reply.code() / 100 == 3
}

impl Answer {
    /// What is said. That the next hop closes its connection (421) is no reason to close the client's.
    pub(crate) fn reply(&self) -> Reply<'_> {
        match self {
            Self::Ours(reply) => *reply,
            Self::Hop(reply) => {
                let reply = reply.as_reply();
                match reply.code() {
                    421 => Reply::new(451, reply.enhanced(), reply.text()).unwrap_or(reply),
                    _ => reply,
                }
            }
        }
    }

    /// Whether something was taken; 354 is that of DATA.
    pub(crate) fn is_positive(&self) -> bool {
        self.reply().code() < 400
    }

    /// A reply to anything but DATA, where 3yz would be taken for a success.
    pub(super) fn to_command(reply: OwnedReply) -> Self {
        if is_out_of_step(&reply) { OUT_OF_STEP } else { Self::Hop(reply) }
    }

    /// For a session to say.
    pub(crate) fn verdict(&self) -> Verdict<'_> {
        if self.is_positive() { Verdict::AcceptAs(self.reply()) } else { Verdict::Refuse(self.reply()) }
    }

    /// What is said when there is no reply to hand on.
    pub(super) fn of(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Refused(reply) | Stopped::Ended(Reason::ServerClosing(reply)) => Self::Hop(reply),
            Stopped::NotSent(NotNow::TooBig(_)) => TOO_BIG,
            Stopped::NotSent(NotNow::TlsRequired) => NO_TLS,
            Stopped::NotSent(NotNow::NotOffered(_) | NotNow::UnknownParameter) => CHANGED,
            Stopped::NotSent(NotNow::Forbidden) => TOO_LONG,
            Stopped::Text(_) => BAD_TEXT,
            Stopped::Unknown(_) => UNKNOWN,
            _ => LOST,
        }
    }
}
