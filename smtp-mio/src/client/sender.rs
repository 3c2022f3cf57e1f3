//! What an application writes: a sender, and what it is told.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use smtp_proto::client::{Awaited, Envelope, Reason, Session, Transaction};
use smtp_proto::syntax::ReplyLines;
use smtp_proto::tls::TlsFailure;

/// What is to be sent, and what became of it: one for all connections of a [`Client`](super::Client).
///
/// What is sent is borrowed for as long as the client is used: `'e`. Nothing here may block for long, as it would hold up
/// the other connections.
///
/// ```
/// use smtp_mio::{Line, Next, Sender};
/// use smtp_proto::client::{Envelope, Transaction};
///
/// /// Sends one text as often as it is asked to.
/// struct Again<'e> {
///     envelope: Envelope<'e>,
///     text: &'e [u8],
///     left: u32,
/// }
///
/// impl<'e> Sender<'e> for Again<'e> {
///     fn ready(&mut self, _: &Line<'_>) -> Next<'e> {
///         match self.left.checked_sub(1) {
///             Some(left) => {
///                 self.left = left;
///                 Next::Send(self.envelope, self.text.into())
///             }
///             None => Next::Quit,
///         }
///     }
///     fn done(&mut self, line: &Line<'_>, transaction: &Transaction<'e>) {
///         println!("{}: {:?}", line.address, transaction.outcomes().collect::<Vec<_>>());
///     }
/// }
/// ```
pub trait Sender<'e> {
    /// A connection can take a message: its session is ready, or its last message is done.
    fn ready(&mut self, line: &Line<'_>) -> Next<'e>;
    /// A message is done: each recipient has its outcome, in the order of the envelope.
    fn done(&mut self, line: &Line<'_>, transaction: &Transaction<'e>);
    /// The TCP connection is made, so much later than it was begun.
    fn connected(&mut self, _line: &Line<'_>, _time: Duration) {}
    /// A TLS handshake is done, so much later than it was begun.
    fn encrypted(&mut self, _line: &Line<'_>, _time: Duration) {}
    /// A reply has come, so much later than what it answers was given to be sent.
    fn reply(&mut self, _key: Key, _to: Awaited, _reply: &ReplyLines<'_>, _time: Duration) {}
    /// The connection is no more. A message that was on its way has been told to be done before.
    fn closed(&mut self, _line: &Line<'_>, _end: &Closed) {}
}

/// What a connection does next.
#[derive(Debug)]
#[must_use]
pub enum Next<'e> {
    /// Send this message to the recipients of this envelope.
    Send(Envelope<'e>, Text<'e>),
    /// Wait for [`Client::send`](super::Client::send) or [`Client::quit`](super::Client::quit).
    Wait,
    /// Say QUIT, and close the connection.
    Quit,
}

/// The text of a message, with CRLF at its line ends.
pub enum Text<'e> {
    /// At hand as a whole.
    Whole(&'e [u8]),
    /// To be read as it is sent; reading should not wait for anything but a disk.
    Read(Box<dyn io::BufRead + 'e>),
}

impl<'e> From<&'e [u8]> for Text<'e> {
    fn from(text: &'e [u8]) -> Self {
        Self::Whole(text)
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if let Self::Whole(_) = self { "Whole" } else { "Read" })
    }
}

/// One of a client's connections, and what is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Line<'s> {
    /// Which of the connections it is.
    pub key: Key,
    /// The server's address, or while it is being connected to the one that was tried last.
    pub address: SocketAddr,
    /// The session: what the server offers, and what became of TLS.
    pub session: &'s Session,
    /// The TLS handshake took up an earlier session.
    pub resumed: bool,
}

/// Names a connection of a [`Client`](super::Client); never again another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub(super) slot: usize,
    pub(super) generation: u64,
}

impl Key {
    /// A small number, unique among the connections that are open.
    #[must_use]
    pub const fn slot(self) -> usize {
        self.slot
    }
}

/// Why a connection is no more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Closed {
    /// The session has ended; or it never began, as there was [no connection](Reason::NotConnected).
    #[error("{0}")]
    Session(Reason),
    /// The connection was lost: a read or a write gave this error.
    #[error("{0}")]
    Io(io::Error),
    /// There was no handshake where TLS comes first.
    #[error("TLS: {0}")]
    Tls(TlsFailure),
}
