//! The states of a client session, every transition between them, and the queue of replies that are awaited.
//!
//! Three rules: a move that has no row in [`TRANSITIONS`] is refused here before a byte is sent; a command moves the
//! session when its *reply* has come and says so; and what may be sent behind commands that are still unanswered
//! (RFC 2920) is judged as if all of them were accepted. `docs/state-machine.md` is drawn from this table, and a test
//! fails when it is stale.

use alloc::collections::VecDeque;
use core::fmt;

use crate::session::transitions;

/// Where a client session stands, by the replies that have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// Connected; the greeting has not come (RFC 5321 3.1).
    Connected,
    /// Greeted, or TLS has just begun: EHLO is next.
    Greeted,
    /// EHLO or HELO was accepted; no transaction.
    Ready,
    /// 220 came for STARTTLS: only TLS or the end may follow (RFC 3207 4).
    StartTls,
    /// MAIL was accepted (RFC 5321 3.3).
    Mail,
    /// At least one RCPT was accepted.
    Rcpt,
    /// 354 came: what is sent is text.
    Data,
    /// A BDAT chunk that is not the last was accepted (RFC 3030 2).
    Chunks,
    /// The end of the text is sent; whether it was accepted is not known.
    Sent,
    /// Nothing more is sent or read.
    Closed,
}

/// What moves a session: a reply that accepts, unless it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Move {
    /// The server greeted with 220.
    Greeting,
    /// EHLO, LHLO or HELO.
    Hello,
    /// STARTTLS was accepted: the handshake follows (RFC 3207 4).
    StartTls,
    /// The handshake is done.
    TlsEstablished,
    /// AUTH succeeded: 235 (RFC 4954 4).
    Auth,
    /// MAIL was accepted: the transaction has begun.
    Mail,
    /// RCPT was accepted: the transaction has a recipient.
    Rcpt,
    /// DATA was answered 354: the text follows.
    Data,
    /// 354, although no recipient was accepted: answered by an empty text (RFC 2920 3.1).
    DataForNobody,
    /// A BDAT chunk that is not the last was answered, or one was refused (RFC 3030 2).
    Chunk,
    /// CRLF . CRLF, or BDAT LAST, has been put out.
    TextEnd,
    /// Every reply to the text has come, whatever it says.
    Delivered,
    /// RSET was accepted: the transaction is over.
    Rset,
    /// XCLIENT: the session begins anew, for another client.
    Xclient,
    /// XFORWARD was accepted: the log of the server names the original client.
    Xforward,
    /// NOOP and others that change nothing.
    Noop,
    /// QUIT, 421, a fault, a timeout, the end of the connection.
    End,
}

use Move as M;
use State as S;

/// Every transition of the client's side.
#[rustfmt::skip]
pub(super) const TRANSITIONS: &[(State, Move, State)] = &[
    (S::Connected, M::Greeting,       S::Greeted),
    (S::Connected, M::End,            S::Closed),

    (S::Greeted,   M::Hello,          S::Ready),
    (S::Greeted,   M::End,            S::Closed),

    (S::Ready,     M::StartTls,       S::StartTls),
    (S::Ready,     M::Auth,           S::Ready),
    (S::Ready,     M::Mail,           S::Mail),
    (S::Ready,     M::DataForNobody,  S::Data),      // MAIL was refused, and all that followed in its group
    (S::Ready,     M::Rset,           S::Ready),
    (S::Ready,     M::Xclient,        S::Greeted),   // the session begins anew, for another client
    (S::Ready,     M::Xforward,       S::Ready),
    (S::Ready,     M::Noop,           S::Ready),
    (S::Ready,     M::End,            S::Closed),

    (S::StartTls,  M::TlsEstablished, S::Greeted),   // RFC 3207 4.2: all that was learnt is forgotten
    (S::StartTls,  M::End,            S::Closed),

    (S::Mail,      M::Rcpt,           S::Rcpt),
    (S::Mail,      M::DataForNobody,  S::Data),
    (S::Mail,      M::Rset,           S::Ready),
    (S::Mail,      M::Noop,           S::Mail),
    (S::Mail,      M::End,            S::Closed),

    (S::Rcpt,      M::Rcpt,           S::Rcpt),
    (S::Rcpt,      M::Data,           S::Data),
    (S::Rcpt,      M::Chunk,          S::Chunks),
    (S::Rcpt,      M::TextEnd,        S::Sent),
    (S::Rcpt,      M::Rset,           S::Ready),
    (S::Rcpt,      M::Noop,           S::Rcpt),
    (S::Rcpt,      M::End,            S::Closed),

    (S::Data,      M::TextEnd,        S::Sent),
    (S::Data,      M::End,            S::Closed),

    (S::Chunks,    M::Chunk,          S::Chunks),
    (S::Chunks,    M::TextEnd,        S::Sent),
    (S::Chunks,    M::Rset,           S::Ready),     // RFC 3030 2: a failed chunk leaves nothing but RSET
    (S::Chunks,    M::End,            S::Closed),

    (S::Sent,      M::Delivered,      S::Ready),
    (S::Sent,      M::End,            S::Closed),
];

transitions!(TRANSITIONS: State, Move);

impl State {
    /// Whether a transaction is open (RFC 5321 3.3).
    #[must_use]
    pub const fn in_transaction(self) -> bool {
        matches!(self, S::Mail | S::Rcpt | S::Data | S::Chunks | S::Sent)
    }
}

/// As in "the session is ...".
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            S::Connected => "not greeted yet",
            S::Greeted => "before EHLO",
            S::Ready => "outside a transaction",
            S::StartTls => "about to begin TLS",
            S::Mail => "in a transaction without recipients",
            S::Rcpt => "in a transaction",
            S::Data => "in the text of a message",
            S::Chunks => "between the chunks of a message",
            S::Sent => "waiting for the answer to a message",
            S::Closed => "over",
        })
    }
}

/// What a reply is the reply to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Awaited {
    /// The connection itself: the greeting.
    Greeting,
    /// EHLO, or in LMTP LHLO: the reply lists the extensions.
    Ehlo,
    /// HELO, after a server refused EHLO (RFC 5321 3.2).
    Helo,
    /// STARTTLS: 220 is asked for (RFC 3207 4).
    StartTls,
    /// AUTH, or a response within its exchange.
    Auth,
    /// MAIL, which begins a transaction.
    Mail,
    /// RCPT, for one recipient of the transaction.
    Rcpt,
    /// DATA: 354 is asked for.
    Data,
    /// A BDAT chunk that is not the last.
    Chunk,
    /// The whole text: CRLF . CRLF, or BDAT LAST. In LMTP one reply comes for each accepted recipient (RFC 2033 4.2).
    Text,
    /// RSET, which ends a transaction.
    Rset,
    /// XCLIENT: 220 is asked for, and EHLO follows.
    Xclient,
    /// XFORWARD, which names the original client to the server's log.
    Xforward,
    /// A command that changes nothing here: NOOP, VRFY, EXPN, HELP and others.
    Other,
    /// QUIT: 221 is asked for, and the connection ends.
    Quit,
    /// Nothing: 421 out of the blue (RFC 5321 3.8).
    Nothing,
}

impl Awaited {
    /// How the command moves the session when it is accepted.
    pub(super) const fn moves(self) -> Move {
        match self {
            Self::Greeting => M::Greeting,
            Self::Ehlo | Self::Helo => M::Hello,
            Self::StartTls => M::StartTls,
            Self::Auth => M::Auth,
            Self::Mail => M::Mail,
            Self::Rcpt => M::Rcpt,
            Self::Data => M::Data,
            Self::Chunk => M::Chunk,
            Self::Text => M::TextEnd,
            Self::Rset => M::Rset,
            Self::Xclient => M::Xclient,
            Self::Xforward => M::Xforward,
            Self::Other | Self::Nothing => M::Noop,
            Self::Quit => M::End,
        }
    }

    /// Whether RFC 5321 4.3.2 lists the code for it, or the code is a refusal. 251 is listed for RCPT (3.4).
    pub(super) const fn lists(self, code: u16) -> bool {
        match self {
            _ if code >= 400 => true,
            Self::Greeting => code == 220,
            Self::Rcpt => matches!(code, 250 | 251),
            Self::Data => code == 354,
            Self::Ehlo | Self::Helo | Self::Mail | Self::Chunk | Self::Text | Self::Rset | Self::Xforward => {
                code == 250
            }
            // Exact already, or of no consequence.
            Self::StartTls | Self::Auth | Self::Xclient | Self::Other | Self::Quit | Self::Nothing => true,
        }
    }

    /// Whether `next` may not be sent behind it before its reply has come (RFC 2920 3.1, RFC 3207 4, RFC 4954 4).
    pub(super) const fn ends_group(self, next: Self) -> bool {
        match self {
            Self::Mail | Self::Rcpt | Self::Rset | Self::Chunk => false,
            // RFC 2920 3.1: the text may be the first of a group, and MAIL of the next message follow it.
            Self::Text => !matches!(next, Self::Mail),
            _ => true,
        }
    }
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Greeting => "the connection",
            Self::Ehlo => "EHLO",
            Self::Helo => "HELO",
            Self::StartTls => "STARTTLS",
            Self::Auth => "AUTH",
            Self::Mail => "MAIL",
            Self::Rcpt => "RCPT",
            Self::Data => "DATA",
            Self::Chunk => "BDAT",
            Self::Text => "the text",
            Self::Rset => "RSET",
            Self::Xclient => "XCLIENT",
            Self::Xforward => "XFORWARD",
            Self::Other => "a command",
            Self::Quit => "QUIT",
            Self::Nothing => "no command",
        })
    }
}

/// The replies that are awaited, in order, each with the octet of the output at which its command ends.
#[derive(Debug)]
pub(super) struct Queue(VecDeque<(Awaited, u64)>);

impl Queue {
    pub(super) const fn new() -> Self {
        Self(VecDeque::new())
    }

    pub(super) fn push(&mut self, awaited: Awaited, end: u64) {
        self.0.push_back((awaited, end));
    }

    pub(super) fn pop(&mut self) {
        self.0.pop_front();
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// What the next reply is to, and where its command ends.
    pub(super) fn first(&self) -> Option<(Awaited, u64)> {
        self.0.front().copied()
    }

    pub(super) fn last(&self) -> Option<Awaited> {
        self.0.back().map(|(awaited, _)| *awaited)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Where the session will stand if every command is accepted.
    pub(super) fn ahead(&self, state: State) -> State {
        self.0.iter().fold(state, |state, (awaited, _)| {
            let moved = state.after(awaited.moves()).unwrap_or(state);
            match awaited {
                Awaited::Text => moved.after(M::Delivered).unwrap_or(moved),
                _ => moved,
            }
        })
    }
}
