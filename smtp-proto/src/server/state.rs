//! The states of a server session and every transition between them. Nothing else assigns a state.
//!
//! Two rules: a move that has no row in [`TRANSITIONS`] is refused with 503 and changes nothing (RFC 5321 4.1.4); and
//! a command moves the session when it is *accepted*, not when it arrives. `docs/state-machine.md` is drawn from this
//! table, and a test fails when it is stale.

use crate::session::transitions;

/// Where a server session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// Connected; the greeting waits for the application (RFC 5321 3.1).
    Connected,
    /// 220 was sent, or TLS has just begun: the client has yet to name itself.
    Greeted,
    /// EHLO, HELO or LHLO was accepted; no transaction.
    Ready,
    /// An AUTH exchange: lines are responses, not commands (RFC 4954 4).
    Auth,
    /// MAIL was accepted (RFC 5321 3.3).
    Mail,
    /// At least one RCPT was accepted.
    Rcpt,
    /// 354 was sent: everything up to CRLF . CRLF is text.
    Data,
    /// Inside a chunk: so many octets are text (RFC 3030 2).
    Chunk,
    /// Between chunks: the last one has yet to come.
    Chunks,
    /// The text is complete, and waits for the application to take it.
    Message,
    /// 220 was sent for STARTTLS: only TLS or the end may follow (RFC 3207 4).
    StartTls,
    /// The last reply is written: the connection is to be closed.
    Closed,
}

/// What moves a session from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Move {
    /// The application accepted the connection.
    Greet,
    /// EHLO, HELO or LHLO.
    Hello,
    /// STARTTLS was accepted: 220 goes out, and the handshake follows (RFC 3207 4).
    StartTls,
    /// The handshake is done.
    TlsEstablished,
    /// AUTH, of a mechanism that is offered.
    Auth,
    /// The exchange has ended, one way or the other.
    AuthEnd,
    /// XCLIENT, of a peer that is trusted.
    Xclient,
    /// XFORWARD, of a peer that is trusted.
    Xforward,
    /// MAIL was accepted: a transaction begins (RFC 5321 4.1.1.2).
    Mail,
    /// RCPT was accepted: the transaction has one recipient more (RFC 5321 4.1.1.3).
    Rcpt,
    /// DATA was accepted: 354 goes out, and the text follows (RFC 5321 4.1.1.4).
    Data,
    /// BDAT came where it may stand: the octets of its chunk follow (RFC 3030 2).
    Bdat,
    /// The end of a chunk that is not the last.
    ChunkEnd,
    /// CRLF . CRLF, or the end of the last chunk, of a text that kept the rules.
    TextEnd,
    /// The message was accepted or refused, for all recipients.
    Delivered,
    /// CRLF . CRLF, or the end of a chunk, of a text that broke them; or a chunk was refused.
    TextRefused,
    /// RSET was accepted: the transaction, if there is one, is over (RFC 5321 4.1.1.5).
    Rset,
    /// NOOP, VRFY, EXPN, HELP.
    Noop,
    /// QUIT, a refused connection, a fatal fault, a timeout, the end of the connection.
    End,
}

use Move as M;
use State as S;

/// Every transition of the server's side.
#[rustfmt::skip]
pub(super) const TRANSITIONS: &[(State, Move, State)] = &[
    (S::Connected, M::Greet,          S::Greeted),
    (S::Connected, M::End,            S::Closed),

    (S::Greeted,   M::Hello,          S::Ready),
    (S::Greeted,   M::Rset,           S::Greeted),   // RFC 5321 4.1.4: may come before EHLO
    (S::Greeted,   M::Noop,           S::Greeted),   // likewise
    (S::Greeted,   M::End,            S::Closed),

    (S::Ready,     M::Hello,          S::Ready),
    (S::Ready,     M::StartTls,       S::StartTls),
    (S::Ready,     M::Auth,           S::Auth),      // RFC 4954 4: not inside a transaction
    (S::Ready,     M::Xclient,        S::Greeted),   // the session begins anew, for another client
    (S::Ready,     M::Xforward,       S::Ready),
    (S::Ready,     M::Mail,           S::Mail),
    (S::Ready,     M::Rset,           S::Ready),
    (S::Ready,     M::Noop,           S::Ready),
    (S::Ready,     M::End,            S::Closed),

    (S::Auth,      M::AuthEnd,        S::Ready),
    (S::Auth,      M::End,            S::Closed),

    (S::Mail,      M::Hello,          S::Ready),     // RFC 5321 4.1.4: EHLO resets
    (S::Mail,      M::Rcpt,           S::Rcpt),
    (S::Mail,      M::Rset,           S::Ready),
    (S::Mail,      M::Noop,           S::Mail),
    (S::Mail,      M::End,            S::Closed),

    (S::Rcpt,      M::Hello,          S::Ready),
    (S::Rcpt,      M::Rcpt,           S::Rcpt),
    (S::Rcpt,      M::Data,           S::Data),
    (S::Rcpt,      M::Bdat,           S::Chunk),
    (S::Rcpt,      M::TextRefused,    S::Ready),     // RFC 3030 2: a refused chunk fails the transaction
    (S::Rcpt,      M::Rset,           S::Ready),
    (S::Rcpt,      M::Noop,           S::Rcpt),
    (S::Rcpt,      M::End,            S::Closed),

    (S::Data,      M::TextEnd,        S::Message),
    (S::Data,      M::TextRefused,    S::Ready),     // RFC 5321 4.1.1.4: the buffers are cleared
    (S::Data,      M::End,            S::Closed),

    (S::Chunk,     M::ChunkEnd,       S::Chunks),
    (S::Chunk,     M::TextEnd,        S::Message),
    (S::Chunk,     M::TextRefused,    S::Ready),
    (S::Chunk,     M::End,            S::Closed),

    (S::Chunks,    M::Bdat,           S::Chunk),     // RFC 3030 2: nothing but chunks until LAST
    (S::Chunks,    M::TextRefused,    S::Ready),
    (S::Chunks,    M::Hello,          S::Ready),
    (S::Chunks,    M::Rset,           S::Ready),
    (S::Chunks,    M::Noop,           S::Chunks),
    (S::Chunks,    M::End,            S::Closed),

    (S::Message,   M::Delivered,      S::Ready),
    (S::Message,   M::End,            S::Closed),

    (S::StartTls,  M::TlsEstablished, S::Greeted),   // RFC 3207 4.2: all that was learnt is forgotten
    (S::StartTls,  M::End,            S::Closed),
];

transitions!(TRANSITIONS: State, Move);

impl State {
    /// Whether a transaction is open (RFC 5321 3.3).
    #[must_use]
    pub const fn in_transaction(self) -> bool {
        matches!(self, S::Mail | S::Rcpt | S::Data | S::Chunk | S::Chunks | S::Message)
    }
}
