//! What a server session reports, and how it is answered: events, tickets, verdicts, faults.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::auth::server::{Failure, Question};
use crate::session::Stamp;
use crate::syntax::{Attributes, Command, Host, Mail, Options, Rcpt, Reply, SyntaxErrorKind, Verb};
use crate::text::TextFlaw;
use crate::{Leniencies, Leniency};

/// Something that happened. Borrows only from the input that was given to `step`.
///
/// An event with a ticket must be answered by [`Session::answer`](super::Session::answer), now or later.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'i> {
    /// The peer has connected. Accept to greet it; a refusal is sent instead of the greeting (RFC 5321 3.1: 554, or 421).
    Connect(Ticket),
    /// EHLO, HELO (or LHLO): the name the client goes by.
    Hello(Host<'i>, Ticket),
    /// STARTTLS. When accepted, [`Want::Tls`](crate::Want::Tls) follows.
    StartTls(Ticket),
    /// AUTH: what the mechanism asks of the application; answer by
    /// [`Session::authenticate`](super::Session::authenticate).
    Auth(Question, AuthTicket),
    /// MAIL: the reverse-path and its parameters.
    Mail(Mail<'i>, Ticket),
    /// RCPT: a forward-path and its parameters.
    Rcpt(Rcpt<'i>, Ticket),
    /// DATA, or the first BDAT: the client wants to send the text. Recipients have been accepted.
    Data(Ticket),
    /// A piece of the message text, dots removed. Its pieces joined are the text; never empty.
    Chunk(&'i [u8]),
    /// The text is complete. Accepting it takes over the responsibility for the message (RFC 5321 6.1): 250 is
    /// written after the answer, so answer when the message is safe. In LMTP it comes once for each recipient.
    Message(MessageEnd, Ticket),
    /// XCLIENT, from a peer that [is trusted](super::Session::trust): the attributes of the client that it speaks for. When
    /// accepted, the session begins anew with the greeting, the rights that the peer had are gone, and
    /// [`Session::client_address`](super::Session::client_address) tells the client's address.
    Xclient(Attributes<'i>, Ticket),
    /// XFORWARD, from a peer that is trusted: the attributes of the original client, for the log alone.
    Xforward(Attributes<'i>, Ticket),
    /// RSET, NOOP, VRFY, HELP or QUIT, where the application [is asked](super::Config::ask_about_all) about them. If
    /// accepted, the command is carried out; if refused, it changes nothing.
    Command(Verb, Ticket),
    /// The transaction is over: forget its sender, its recipients and its text. It comes once for each transaction that
    /// was begun: after the answer to [`Event::Message`] (in LMTP to the last one), and after RSET, EHLO, a refused chunk
    /// or a fault in the text. A session that ends inside a transaction says [`Event::Closed`] instead.
    Reset,
    /// The peer broke a rule; it has been answered already.
    Fault(Fault),
    /// The session is over, for this reason; no event follows. Text for which no [`Event::Message`] came was not received.
    Closed(Reason),
}

/// What is known at the end of a message's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MessageEnd {
    /// Octets of text handed out in [`Event::Chunk`]s.
    pub octets: u64,
    /// In LMTP, the recipient that the verdict is on: the first that was accepted is 0. Otherwise it is on all of them.
    pub recipient: Option<u32>,
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
pub struct Ticket(pub(super) Stamp);

/// The right, and the duty, to answer the question of an AUTH exchange.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a ticket that is dropped leaves the peer without a reply and the session in Want::Decision"]
pub struct AuthTicket(pub(super) Ticket);

/// The answer to a ticket.
///
/// ```
/// use smtp_proto::server::Verdict;
/// use smtp_proto::syntax::Reply;
///
/// fn about(recipient: &str) -> Verdict<'static> {
///     if recipient.ends_with("@example.net") {
///         Verdict::Accept
///     } else {
///         Verdict::Refuse(const { Reply::fixed(550, (5, 7, 1), "No mail for that domain here") })
///     }
/// }
/// # assert!(matches!(about("ann@example.net"), Verdict::Accept));
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Verdict<'r> {
    /// Yes, with the usual reply to this command.
    Accept,
    /// Yes, with the usual code and this text: one line of printable ASCII. Any other octet in it is replaced by `?`.
    AcceptWith(&'r str),
    /// Yes, with the reply of another server, as a relay passes it on for MAIL, RCPT and the text: its code, such as 251,
    /// and its text. If the code is not 2yz, or the command is another, only the text is used.
    AcceptAs(Reply<'r>),
    /// No. A reply that is not 4yz or 5yz is replaced by 451 4.3.0; 421 also ends the session (RFC 5321 3.8).
    Refuse(Reply<'r>),
}

/// A rule that the peer broke, and what it was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// Which rule was broken.
    pub kind: FaultKind,
    /// How many octets the peer had sent, in this channel (plaintext, or TLS), before the one at fault.
    pub offset: u64,
    /// The code of the reply; 0 where none was sent.
    pub code: u16,
}

/// Which rule was broken.
///
/// ```
/// use smtp_proto::server::{Fault, FaultKind};
///
/// fn log(fault: &Fault) {
///     match fault.kind {
///         FaultKind::Lenient(leniency) => println!("let pass: {leniency}"),
///         kind => println!("refused with {}: {kind:?}, at octet {}", fault.code, fault.offset),
///     }
/// }
/// # let _ = log;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// The line is not a valid command (RFC 5321 4.1), for this reason.
    Syntax(SyntaxErrorKind),
    /// A command line over the limit (RFC 5321 4.5.3.1.4); skipped to its CRLF.
    LineTooLong,
    /// A command at the wrong moment (RFC 5321 4.1.4).
    OutOfOrder,
    /// A command that TLS is required for (RFC 3207 4).
    TlsRequired,
    /// MAIL without AUTH on a submission server (RFC 6409 4.3).
    AuthRequired,
    /// AUTH in plaintext (RFC 4954 6).
    EncryptionNeeded,
    /// AUTH by a mechanism that is not offered (RFC 4954 4).
    MechanismNotOffered,
    /// A message of an AUTH exchange that is no base64 (RFC 4954 4).
    AuthMalformed,
    /// The client cancelled an AUTH exchange (RFC 4954 4).
    AuthCancelled,
    /// An AUTH exchange that failed: wrong credentials, or a message that the mechanism does not have.
    AuthFailed(Failure),
    /// A parameter whose extension was not announced (RFC 5321 4.1.1.11).
    ParameterNotOffered,
    /// A parameter beyond what was announced: a longer hold (RFC 4865), or an earlier deadline (RFC 2852).
    ParameterBeyondLimit,
    /// An address in UTF-8 in a transaction that did not ask for SMTPUTF8 (RFC 6531 3.5).
    Utf8NotAskedFor,
    /// The declared, or the real, size is over the limit (RFC 1870 6).
    MessageTooBig,
    /// More recipients than the limit (RFC 5321 4.5.3.1.10).
    TooManyRecipients,
    /// More transactions on one connection than the limit (RFC 9422 3.1); the session ends.
    TooManyTransactions,
    /// More refused text and chunks than [`Limits::discard`](super::Limits::discard) allows; the session ends.
    TooMuchDiscarded,
    /// A line of text over the limit (RFC 5321 4.5.3.1.6).
    TextLineTooLong,
    /// A line that is no command, right behind a DATA that was refused: plainly text. The session ends.
    TextAsCommands,
    /// A bare CR, bare LF or NUL in the text (RFC 5321 2.3.8).
    Text(TextFlaw),
    /// No fault: a leniency that is switched on was made use of. The line, or the text, was taken.
    Lenient(Leniency),
    /// Bytes before the greeting (RFC 5321 3.1). Behind a [pause](super::Timeouts::greet_pause) the session ends; without
    /// one they are served, and whether they are seen depends on the reads.
    EarlyTalker,
    /// Bytes behind STARTTLS, before the handshake (RFC 3207 4): never parsed, the session ends.
    PlaintextBehindStartTls,
    /// Bytes that came together with a command that must end its group, or to a client that was not offered
    /// PIPELINING (RFC 2920 3.1). Told once a channel, and only if they came together: it depends on the reads.
    Pipelining,
    /// An HTTP request, a TLS ClientHello or a header line instead of a command: the session ends.
    CrossProtocol,
    /// More faults than the limit; the session ends with 421.
    TooManyFaults,
    /// More commands that further no transaction than the limit; the session ends with 421.
    TooManyCommands,
    /// A ticket of another session was given to `answer`: the application is at fault; the session ends.
    ForeignTicket,
}

impl FaultKind {
    /// What would have had to be let pass for this not to be refused, where that is enough. `line` is what was said, perhaps
    /// with its line end.
    ///
    /// ```
    /// use smtp_proto::Leniency::{BareBrackets, UnderscoreInDomain};
    /// use smtp_proto::{server::FaultKind, syntax::SyntaxErrorKind};
    ///
    /// let refused = FaultKind::Syntax(SyntaxErrorKind::BadAddress);
    /// let would_pass = refused.leniencies(b"MAIL FROM:a@b_c.example\r\n");
    /// assert!(would_pass.iter().eq([BareBrackets, UnderscoreInDomain]));
    /// assert!(refused.leniencies(b"MAIL FROM:<a@>\r\n").is_strict());
    /// ```
    #[must_use]
    pub fn leniencies(self, line: &[u8]) -> Leniencies {
        let only = |leniency| Leniencies::STRICT.with(leniency);
        match self {
            Self::Text(TextFlaw::BareLf) => only(Leniency::BareLfText),
            Self::Text(TextFlaw::BareCr) => only(Leniency::BareCrText),
            Self::Text(TextFlaw::Nul) => only(Leniency::NulText),
            Self::TextLineTooLong => only(Leniency::LongLines),
            Self::EarlyTalker => only(Leniency::EarlyTalkers),
            Self::Syntax(SyntaxErrorKind::BareLf) => only(Leniency::BareLfCommands),
            Self::Utf8NotAskedFor => only(Leniency::Utf8WithoutSmtpUtf8),
            Self::Syntax(_) => {
                let line = line.strip_suffix(b"\n").unwrap_or(line);
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                let options = Options::new().lenient(Leniencies::ALL);
                Command::parse(line, &options).map_or(Leniencies::STRICT, |parsed| parsed.used)
            }
            _ => Leniencies::STRICT,
        }
    }

    /// What an operator can do about what was refused, as a hint for a log; `None` where that is up to the client alone.
    /// Leniencies are called `--lenient NAME`, and the limit of a message's size `--max-size`, as in the programs that come
    /// with this library. `line` is what was said, perhaps with its line end.
    ///
    /// ```
    /// use smtp_proto::{server::FaultKind, syntax::SyntaxErrorKind};
    ///
    /// let hint = FaultKind::Syntax(SyntaxErrorKind::BadArgument).mend(b"HELO my_printer\r\n");
    /// assert_eq!(hint.as_deref(), Some("it would pass with --lenient helo-name"));
    /// assert_eq!(FaultKind::OutOfOrder.mend(b"DATA\r\n"), None);
    /// ```
    #[must_use]
    pub fn mend(self, line: &[u8]) -> Option<String> {
        Some(match self {
            Self::Text(TextFlaw::BareLf) => {
                "lines must end in CRLF: have the client send them so (curl: --crlf), or give --lenient bare-lf-text"
                    .into()
            }
            Self::MessageTooBig => "--max-size allows larger messages".into(),
            _ => {
                let leniencies = self.leniencies(line);
                let names: Vec<_> = leniencies.iter().map(|leniency| format!("--lenient {leniency}")).collect();
                return (!names.is_empty()).then(|| format!("it would pass with {}", names.join(" and ")));
            }
        })
    }
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The client said QUIT (RFC 5321 4.1.1.10).
    Quit,
    /// The connection ended without QUIT.
    Eof,
    /// The peer sent nothing in time; it was told 421 4.4.2.
    TimedOut,
    /// The TLS handshake did not complete, for this reason.
    TlsFailed(crate::tls::TlsFailure),
    /// The driver called [`Session::shut_down`](super::Session::shut_down); the client is told 421 4.3.2.
    ShutDown,
    /// The application refused with 421, or refused the connection.
    Refused,
    /// A fault that ends the session.
    Fault(FaultKind),
}

#[cfg(test)]
mod tests {
    use crate::syntax::SyntaxErrorKind::{BadAddress, BadArgument, BareLf, UnknownCommand};

    use super::*;

    #[test]
    fn what_can_be_let_pass_is_told_by_name() {
        for (kind, said, told) in [
            (FaultKind::Text(TextFlaw::BareLf), "", Some("curl: --crlf")),
            (FaultKind::Text(TextFlaw::BareCr), "", Some("--lenient bare-cr-text")),
            (FaultKind::Text(TextFlaw::Nul), "", Some("--lenient nul-text")),
            (FaultKind::MessageTooBig, "", Some("--max-size")),
            (FaultKind::Syntax(BareLf), "HELO dev\n", Some("--lenient bare-lf-commands")),
            (FaultKind::Syntax(BadArgument), "HELO my_printer\r\n", Some("--lenient helo-name")),
            (
                FaultKind::Syntax(BadAddress),
                "MAIL FROM: a@b_c.example\r\n",
                Some("--lenient space-after-colon and --lenient bare-brackets and --lenient underscore-in-domain"),
            ),
            (FaultKind::Syntax(UnknownCommand), "HELLO\r\n", None),
            (FaultKind::OutOfOrder, "DATA\r\n", None),
        ] {
            let mend = kind.mend(said.as_bytes());
            let fits = told.map_or(mend.is_none(), |told| mend.as_ref().is_some_and(|mend| mend.contains(told)));
            assert!(fits, "{kind:?} {said:?}: {mend:?}");
        }
    }
}
