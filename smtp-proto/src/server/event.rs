//! What a server session tells its driver, and what it is told.

use crate::syntax::{Host, Mail, Rcpt, Reply};

/// Something that happened. Borrows only from the input that was given to `step`.
///
/// An event with a ticket must be answered by [`Session::answer`](super::Session::answer), now or later.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'i> {
    /// The peer has connected; a refusal is sent instead of the greeting (RFC 5321 3.1: 554, or 421).
    Connect(Ticket),
    /// EHLO, HELO (or LHLO): the name the client goes by.
    Hello(Host<'i>, Ticket),
    /// STARTTLS. When accepted, [`Want::Tls`](crate::Want::Tls) follows.
    StartTls(Ticket),
    /// MAIL: the reverse-path and its parameters.
    Mail(Mail<'i>, Ticket),
    /// RCPT: a forward-path and its parameters.
    Rcpt(Rcpt<'i>, Ticket),
    /// DATA: the client wants to send the text. Recipients have been accepted.
    Data(Ticket),
    /// A piece of the message text, dots removed. Its pieces joined are the text; never empty.
    Chunk(&'i [u8]),
    /// The text is complete. Accepting it takes over the responsibility for the message (RFC 5321 6.1): 250 is
    /// written after the answer, so answer when the message is safe.
    Message(MessageEnd, Ticket),
    /// The transaction is gone (RSET, EHLO, a fault in the text, TLS): forget envelope and text.
    Reset,
    /// The peer broke a rule; it has been answered already.
    Fault(Fault),
    /// The last event. Text without a [`Event::Message`] was not received.
    Closed(Reason),
}

/// What is known at the end of a message's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MessageEnd {
    /// Octets of text handed out in [`Event::Chunk`]s.
    pub octets: u64,
}

/// The right, and the duty, to answer one command.
///
/// Neither `Clone` nor `Copy`: answering twice does not compile. A ticket given to another session ends that session.
///
/// ```compile_fail,E0382
/// use smtp_proto::server::{Session, Ticket, Verdict};
/// fn twice(session: &mut Session, ticket: Ticket) {
///     session.answer(ticket, Verdict::Accept);
///     session.answer(ticket, Verdict::Accept);
/// }
/// ```
///
/// Nor can an event, or a piece of text, outlive the input that it borrows from:
///
/// ```compile_fail,E0597
/// use smtp_proto::{Step, server::{Event, Session}};
/// fn outlive(session: &mut Session) -> usize {
///     let step;
///     {
///         let bytes = vec![0; 512];
///         step = session.step(&mut &bytes[..]);
///     }
///     match step { Step::Event(Event::Chunk(text)) => text.len(), _ => 0 }
/// }
/// ```
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a ticket that is dropped leaves the peer without a reply and the session in Want::Decision"]
pub struct Ticket {
    pub(super) config: usize,
    pub(super) session: u64,
    pub(super) serial: u64,
}

/// The answer to a ticket.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Verdict<'r> {
    /// Yes, in the words of the protocol.
    Accept,
    /// Yes, in these words: one line of printable ASCII. Anything else in it is replaced by `?`.
    AcceptWith(&'r str),
    /// No. A reply that is not 4yz or 5yz is replaced by 451 4.3.0; 421 also ends the session (RFC 5321 3.8).
    Refuse(Reply<'r>),
}

/// A rule that the peer broke, and what it was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// Which rule.
    pub kind: FaultKind,
    /// How many octets the peer had sent, in this channel (plaintext, or TLS), before the one at fault.
    pub offset: u64,
    /// The code of the reply; 0 where none was sent.
    pub code: u16,
}

/// Which rule was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// The line is no command (RFC 5321 4.1), by this error.
    Syntax(crate::syntax::SyntaxErrorKind),
    /// A command line over the limit (RFC 5321 4.5.3.1.4); skipped to its CRLF.
    LineTooLong,
    /// A command line that ended in a bare LF, or held a bare CR.
    BareLineEnd,
    /// A command at the wrong moment (RFC 5321 4.1.4).
    OutOfOrder,
    /// A command that TLS is required for (RFC 3207 4).
    TlsRequired,
    /// A parameter whose extension was not announced (RFC 5321 4.1.1.11).
    ParameterNotOffered,
    /// The declared, or the real, size is over the limit (RFC 1870 6).
    MessageTooBig,
    /// More recipients than the limit (RFC 5321 4.5.3.1.10).
    TooManyRecipients,
    /// A bare CR, bare LF or NUL in the text (RFC 5321 2.3.8).
    Text(crate::text::TextFlaw),
    /// A leniency that is switched on was made use of; the line, or text, was accepted.
    Lenient,
    /// Bytes before the greeting (RFC 5321 3.1).
    EarlyTalker,
    /// Bytes behind STARTTLS, before the handshake (RFC 3207 4): never parsed, the session ends.
    PlaintextBehindStartTls,
    /// Bytes behind a command that must end its group (RFC 2920 3.1).
    Pipelining,
    /// An HTTP request, a TLS ClientHello or a header line instead of a command: the session ends.
    CrossProtocol,
    /// More faults than the limit: 421.
    TooManyFaults,
    /// More commands without a transaction than the limit: 421.
    TooManyCommands,
    /// The peer does not read its replies.
    OutputNotRead,
    /// A ticket of another session was given to `answer`: the application is at fault; the session ends.
    ForeignTicket,
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// QUIT.
    Quit,
    /// The connection ended without QUIT.
    Eof,
    /// Nothing came in time: 421 4.4.2.
    TimedOut,
    /// The handshake failed.
    TlsFailed(crate::tls::TlsFailure),
    /// [`Session::shut_down`](super::Session::shut_down): 421 4.3.2.
    ShutDown,
    /// The application refused with 421, or refused the connection.
    Refused,
    /// A fault that ends the session.
    Fault(FaultKind),
}
