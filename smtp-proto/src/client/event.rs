//! What a client session tells its driver, and why it may refuse a command.

use alloc::boxed::Box;
#[cfg(feature = "std")]
use alloc::string::ToString as _;

use super::state::{Awaited, State};
use crate::auth::client::{Cancel, NoMechanism};
use crate::session::Stamp;
use crate::syntax::{Extension, OwnedReply, ReplyFault, ReplyLines};
use crate::text::TextFlaw;
use crate::tls::TlsFailure;

/// Something that happened. Borrows only from the input that was given to `step`.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'i> {
    /// A reply has come, and this is what it is the reply to. The greeting is one, too.
    Reply(Awaited, ReplyLines<'i>),
    /// Greeting, EHLO, STARTTLS and AUTH are done, as far as they were asked for: commands may be given.
    Ready,
    /// The server waits for the text: write it.
    Message(MessageTicket),
    /// The server broke a rule; the session ends.
    Fault(Fault),
    /// The server broke a rule, and what it means is clear all the same: the session goes on. Such as a success whose code
    /// RFC 5321 does not list for the command (4.2).
    Tolerated(Fault),
    /// The session is over, for this reason. No event comes after this one.
    Closed(Reason),
}

/// The right to write the text of one message.
///
/// Neither `Clone` nor `Copy`: a text that has been finished cannot be gone on with.
///
/// ```compile_fail,E0382
/// use smtp_proto::client::{MessageTicket, Session};
/// fn twice(session: &mut Session, ticket: MessageTicket) {
///     let _ = session.finish(ticket);
///     let _ = session.finish(ticket);
/// }
/// ```
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a text that is not written leaves the server waiting"]
pub struct MessageTicket(pub(super) Stamp);

/// Why the session does not do what it was asked to. Nothing has been sent, and nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum NotNow {
    /// Not in this state, not even if all that is unanswered is accepted.
    #[error("not possible now: the session is {0}")]
    State(State),
    /// A reply must come first: the server does not offer PIPELINING, or the last command ends its group (RFC 2920 3.1).
    #[error("a reply must come first")]
    Busy,
    /// The server does not offer the extension that this needs.
    #[error("the server does not offer {}", .0.keyword())]
    NotOffered(Extension),
    /// A parameter that this command has by no extension known here, and that the server does not announce.
    #[error("a parameter that this command does not have, or that the server does not offer")]
    UnknownParameter,
    /// It may only be done inside TLS (RFC 8689 4.2.1).
    #[error("not without TLS")]
    TlsRequired,
    /// The message is larger than the server takes (RFC 1870 6).
    #[error("the message is larger than the {0} octets that the server takes")]
    TooBig(u64),
    /// The server takes no more in one session or transaction (RFC 9422 5).
    #[error("over a limit that the server has announced")]
    Limit,
    /// The session does this by itself, or the command is not a client's.
    #[error("the session does this by itself")]
    NotYours,
    /// An octet that must not be in a command, or a line that is too long.
    #[error("the command holds what no command may hold")]
    Forbidden,
}

/// Why a text could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// The text must not be sent as it is (RFC 5321 2.3.8). In DATA the session has ended, since nothing else takes back
    /// the text so far; in BDAT the transaction has been reset.
    #[error("the text has {0}")]
    Flaw(TextFlaw),
    /// A reply must come first: step until the session wants a decision. Nothing of the text was taken.
    #[error("a reply must come first")]
    Busy,
    /// The ticket is not of this session, or the session has ended.
    #[error("the session does not take this text")]
    Gone,
}

/// A rule that the server broke. By [`Event::Fault`] it ends the session, since nothing that follows can be relied upon; by
/// [`Event::Tolerated`] it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// Which rule was broken.
    pub kind: FaultKind,
    /// How many octets the server had sent, in this channel, before the reply at fault.
    pub offset: u64,
}

/// Which rule was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum FaultKind {
    /// What was read is no reply (RFC 5321 4.2).
    #[error("{0}")]
    Reply(ReplyFault),
    /// A reply to nothing, other than 421.
    #[error("a reply to no command")]
    Unsolicited,
    /// A reply that was there before its command had gone out.
    #[error("a reply before its command")]
    OutOfStep,
    /// A code that RFC 5321 4.3.2 does not list for this command. A success by its first digit is tolerated, except where
    /// it would open a door: STARTTLS, AUTH and XCLIENT want the exact code.
    #[error("reply code {code} to {to}")]
    Unexpected {
        /// The command that the reply is to.
        to: Awaited,
        /// The code of the reply.
        code: u16,
    },
    /// Success of a command whose predecessors were refused.
    #[error("{0} was accepted although what it needs was refused")]
    Inconsistent(Awaited),
    /// A reply to the text before its end was sent.
    #[error("a reply in the middle of the text")]
    EarlyReply,
    /// Octets behind the 220 to STARTTLS, before the handshake (RFC 3207 4): never parsed.
    #[error("plaintext behind the 220 to STARTTLS")]
    PlaintextBehindStartTls,
    /// 334 that is no base64, or after the exchange was cancelled.
    #[error("a challenge that is none")]
    Challenge,
    /// 235, and yet the server has not proved itself.
    #[error("authentication was accepted, but {0}")]
    Unproven(Cancel),
    /// A ticket of another session was given: the application is at fault.
    #[error("a ticket of another session")]
    ForeignTicket,
}

impl FaultKind {
    const fn whose(&self) -> &'static str {
        if let Self::ForeignTicket = self { "the application is at fault" } else { "the server broke the protocol" }
    }
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// There was no connection to the server, for this reason.
    #[error("{0}")]
    NotConnected(NoConnection),
    /// The client said QUIT (RFC 5321 4.1.1.10).
    #[error("the session ended by QUIT")]
    Quit,
    /// The connection ended early. A reply that was cut is none.
    #[error("the server closed the connection")]
    Eof,
    /// The server sent nothing in time, or took nothing.
    #[error("the server said nothing in time")]
    TimedOut,
    /// The server closes the connection, and said so with this 421 (RFC 5321 3.8).
    #[error("the server is closing: {0}")]
    ServerClosing(OwnedReply),
    /// The server refused the connection or the client's name, in these words.
    #[error("the server refuses to talk: {0}")]
    Refused(OwnedReply),
    /// TLS is required, and the server does not offer it.
    #[error("TLS is required, and the server does not offer it")]
    TlsNotOffered,
    /// TLS is required, and the server refused STARTTLS, in these words.
    #[error("TLS is required, and the server refuses it: {0}")]
    TlsRefused(OwnedReply),
    /// TLS is up, and the server's certificate does not verify, as it must.
    #[error("the server's certificate does not prove its name, as it must")]
    TlsNotVerified,
    /// The TLS handshake did not complete, for this reason.
    #[error("the TLS handshake failed: {0}")]
    TlsFailed(TlsFailure),
    /// There is no mechanism to authenticate with.
    #[error("cannot authenticate: {0}")]
    NoMechanism(NoMechanism),
    /// The server refused to authenticate, in these words. What it refuses is told by the code (RFC 4954 4, 6).
    #[error("{what}: {0}", what = refused(.0.code()))]
    AuthRefused(OwnedReply),
    /// This client cancelled the AUTH exchange, for this reason.
    #[error("authentication was given up: {0}")]
    AuthCancelled(Cancel),
    /// The text had a flaw that was found after its beginning had been sent.
    #[error("the text has {0}")]
    Text(TextFlaw),
    /// The driver called [`Session::abandon`](super::Session::abandon).
    #[error("the session was abandoned from here")]
    Abandoned,
    /// In LMTP a chunk was refused when BDAT LAST had gone out behind it: how many replies come is not known.
    #[error("the server refused a chunk: how many answers to the text come is not known")]
    Uncounted,
    /// A rule was broken, by the server or by the application: see [`FaultKind`].
    #[error("{whose}: {0}", whose = .0.whose())]
    Fault(FaultKind),
}

/// Why there is no connection to the server, as its driver knows.
///
/// ```
/// use smtp_proto::client::{NoConnection, Reason};
///
/// assert_eq!(NoConnection::Refused.to_string(), "cannot connect: connection refused");
/// assert!(Reason::NotConnected(NoConnection::TimedOut).is_temporary());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoConnection {
    /// Nobody listens at that address and port: the connection was refused.
    #[error("cannot connect: connection refused")]
    Refused,
    /// The connection was not made in time.
    #[error("cannot connect: no answer in time")]
    TimedOut,
    /// There is no way to that host or network.
    #[error("cannot connect: {0}")]
    Unreachable(Box<str>),
    /// The name has no address, or none could be looked up.
    #[error("cannot connect: {0}")]
    NoAddress(Box<str>),
    /// There is no such Unix socket.
    #[error("cannot connect: there is no such socket")]
    NotFound,
    /// The operating system forbids it.
    #[error("cannot connect: permission denied")]
    Denied,
    /// Anything else, in the words of the operating system.
    #[error("cannot connect: {0}")]
    Other(Box<str>),
    /// The client lacks a setting that this connection needs; to try again is of no use.
    #[error("cannot connect: {0}")]
    NotSetUp(Box<str>),
}

/// What an error of the operating system means, for drivers.
#[cfg(feature = "std")]
impl From<&std::io::Error> for NoConnection {
    fn from(error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        match error.kind() {
            ErrorKind::ConnectionRefused => Self::Refused,
            ErrorKind::TimedOut => Self::TimedOut,
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Self::Unreachable(error.to_string().into()),
            ErrorKind::AddrNotAvailable => Self::NoAddress("the host has no address".into()),
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::PermissionDenied => Self::Denied,
            _ => Self::Other(error.to_string().into()),
        }
    }
}

impl Reason {
    /// Whether the same may go well later, as far as one can know (RFC 5321 4.2.1): all but a refusal for good, and what
    /// is wrong on this side.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Refused(reply) | Self::AuthRefused(reply) => reply.code() < 500,
            Self::NotConnected(NoConnection::NotSetUp(_)) | Self::NoMechanism(_) | Self::Text(_) => false,
            _ => true,
        }
    }
}

/// What a reply to AUTH refuses (RFC 4954 4, 6): only some codes are about the credentials.
const fn refused(code: u16) -> &'static str {
    match code {
        400..500 => "the server cannot authenticate now",
        500 | 502 => "the server does not know AUTH",
        501 | 503 => "the server does not take AUTH as it was sent",
        504 => "the server does not know this mechanism",
        534 => "the server wants a stronger mechanism",
        538 => "the server wants TLS before AUTH",
        _ => "the server refuses the credentials",
    }
}
