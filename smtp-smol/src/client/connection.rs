//! One connection to a server, and the session over it.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use smol::Timer;
use smol::future::or;
use smol::io::{AsyncBufRead, AsyncBufReadExt as _};
use smtp_proto::client::{Envelope, Progress, Session, TextError, Tls, Transaction};
use smtp_proto::tls::{TlsFailure, TlsInfo};
use smtp_proto::{Buffer, Step, Want};
use smtp_rustls::ClientEnd;

use super::settings::{Said, Settings};
use super::target::Target;
use super::writing::{Steps, TextWriter};
use crate::link::Link;
use crate::socket::Ready;

/// Of a read buffer: whole replies fit in.
const BUFFER: usize = 16 << 10;
/// Small pieces of text are gathered up to here: a text that is not larger goes out in one write with its end, and by
/// BDAT with its envelope.
const STAGE: usize = 64 << 10;
/// So much of a larger text is looked at, and then written while it is still in the processor's cache.
const CUT: usize = 256 << 10;
/// Slices of the text, and the dots between them, in one write.
const SLICES: usize = 64;
/// For the server to close after QUIT.
const LINGER: Duration = Duration::from_secs(2);

type ClientLink = Link<ClientEnd>;

/// A connection to a server, which carries one message after the other.
///
/// ```no_run
/// use smtp_proto::client::{Config, Envelope, Tls};
/// use smtp_proto::syntax::{ForwardPath, Params, Rcpt, ReversePath};
/// use smtp_smol::{Client, Target};
///
/// smol::block_on(async {
///     let client = Client::new(Config::new("client.example")?.tls(Tls::Never).shared());
///     let from = ReversePath::parse("a@example.org", false)?;
///     let to = [Rcpt { path: ForwardPath::parse("b@example.net", false)?, params: Params::default() }];
///     let mut connection = client.connect(&Target::host("mx.example.net", 25)).await?;
///     for text in ["Subject: One\r\n\r\n1\r\n", "Subject: Two\r\n\r\n2\r\n"] {
///         let transaction = connection.send(Envelope::new(from, &to), &mut text.as_bytes()).await?;
///         transaction.outcomes().for_each(|outcome| println!("{outcome}"));
///     }
///     connection.quit().await;
///     Ok::<_, Box<dyn std::error::Error>>(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Connection {
    link: ClientLink,
    pub(crate) session: Session,
    settings: Settings,
    target: Target,
    peer: Option<SocketAddr>,
    pub(super) buffer: Buffer,
    /// The last read left no room: there may be more, of which nothing will be told anew.
    more: bool,
    /// Small pieces of text are gathered here.
    pub(super) stage: Vec<u8>,
    clock: Clock,
    /// Whatever the session's timeouts say.
    longest: Option<Duration>,
    /// Of a message that is sent by its commands.
    pub(super) steps: Steps,
}

/// When the present wait is over: it begins anew when the session got on.
struct Clock {
    progress: u64,
    deadline: Instant,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer)
            .field("state", &self.session.state())
            .finish_non_exhaustive()
    }
}

impl Connection {
    pub(super) fn new(
        link: ClientLink,
        session: Session,
        settings: Settings,
        target: Target,
        peer: Option<SocketAddr>,
    ) -> Self {
        let clock = Clock { progress: u64::MAX, deadline: Instant::now() };
        let buffer = Buffer::with_capacity(BUFFER);
        let (stage, longest, steps) = (Vec::new(), None, Steps::default());
        Self { link, session, settings, target, peer, buffer, more: false, stage, clock, longest, steps }
    }

    /// Sends one message, and says what became of each recipient.
    ///
    /// `text` is best a slice, or buffered in large pieces: those of 64 KiB and more are written without a copy. When the
    /// connection is lost that is an outcome, not an error.
    ///
    /// # Errors
    /// Only those of reading `text`; the connection is of no use afterwards, and the message was not sent.
    pub async fn send<'e>(
        &mut self,
        envelope: Envelope<'e>,
        text: &mut (impl AsyncBufRead + Unpin),
    ) -> io::Result<Transaction<'e>> {
        let mut transaction = Transaction::new(envelope);
        self.carry(&mut transaction, None, text).await?;
        Ok(transaction)
    }

    /// Sends one message after the other; `each` hears what became of every one, in order. Where the server offers
    /// PIPELINING, and takes no BDAT, an envelope goes out with the end of the text before it, which saves one of two waits
    /// for the server (RFC 2920 3.1).
    ///
    /// # Errors
    /// Only those of reading a text; the connection is of no use afterwards, and that message and those after it were not
    /// sent.
    pub async fn send_each<'e, T: AsyncBufRead + Unpin>(
        &mut self,
        messages: impl IntoIterator<Item = (Envelope<'e>, T)>,
        mut each: impl FnMut(&Transaction<'e>),
    ) -> io::Result<()> {
        let mut messages = messages.into_iter().map(|(envelope, text)| (Transaction::new(envelope), text));
        let mut present = messages.next();
        while let Some((mut transaction, mut text)) = present {
            let mut next = messages.next();
            self.carry(&mut transaction, next.as_mut().map(|(next, _)| next), &mut text).await?;
            each(&transaction);
            present = next;
        }
        Ok(())
    }

    /// Sends one message to its end, and with the end of its text the envelope of `next`, if that may be.
    async fn carry<'e>(
        &mut self,
        transaction: &mut Transaction<'e>,
        mut next: Option<&mut Transaction<'e>>,
        text: &mut (impl AsyncBufRead + Unpin),
    ) -> io::Result<()> {
        self.stage.clear();
        loop {
            let mut input = self.buffer.filled();
            let progress = transaction.step(&mut self.session, &mut input);
            let left = input.len();
            self.buffer.keep_last(left);
            let lost = match progress {
                Progress::Done => {
                    // Such as a RSET. What fails now concerns the next message.
                    let _ = self.write_out().await;
                    return Ok(());
                }
                Progress::Want(want) => self.serve(want).await,
                Progress::Text => match text.fill_buf().await {
                    Ok(piece) => match self.put(transaction, piece).await {
                        Ok(taken) => {
                            text.consume(taken);
                            // Nothing comes of it before the text has ended.
                            next.as_mut().map(|next| transaction.lead(&mut self.session, next));
                            Ok(())
                        }
                        Err(error) => Err(error),
                    },
                    Err(error) => {
                        self.session.abandon();
                        return Err(error);
                    }
                },
            };
            // The server's last words, such as 421, may be there to be read.
            if lost.is_err() && !matches!(self.read(), Ok(true)) {
                self.session.eof();
            }
        }
    }

    /// Says QUIT, and closes in order.
    pub async fn quit(mut self) {
        self.session.quit();
        let time = self.settings.connect_time;
        let _ = or(self.end(), async {
            Timer::after(time).await;
            Ok(())
        })
        .await;
    }

    /// No wait for the server is longer than this from now on, whatever the
    /// [timeouts](smtp_proto::client::Timeouts) say; with `None`, as they say. For a relay that would rather try another
    /// connection than wait long for the first answer of one that lay idle. TLS handshakes keep their own time.
    pub const fn wait_at_most(&mut self, time: Option<Duration>) {
        self.longest = time;
        // The next wait is a new one.
        self.clock.progress = u64::MAX;
    }

    /// Whether another message can be sent.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.session.is_idle() && self.buffer.is_empty()
    }

    /// The session: what the server offers, and what became of TLS.
    #[must_use]
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// The server's address; none for a Unix socket.
    #[must_use]
    pub const fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Whether the server has said or done something while nothing was awaited of it, such as closed the connection.
    pub(crate) fn is_stale(&mut self) -> bool {
        !self.is_idle() || !matches!(self.link.read(self.buffer.space()), Ok(None))
    }

    async fn end(&mut self) -> io::Result<()> {
        loop {
            let mut input = self.buffer.filled();
            let want = match self.session.step(&mut input) {
                Step::Event(_) => None,
                Step::Want(want) => Some(want),
            };
            let left = input.len();
            self.buffer.keep_last(left);
            match want {
                None => {}
                Some(Want::Close) => {
                    self.link.finish();
                    self.link.drain(BUFFER, LINGER).await;
                    return Ok(());
                }
                Some(want) => self.serve(want).await?,
            }
        }
    }

    /// Does what is wanted. First write out, whatever it is.
    pub(super) async fn serve(&mut self, want: Want) -> io::Result<()> {
        // The answer to what has just been written is not there yet; but within TLS octets may wait in the library.
        let mut ask = !self.write_out().await? || self.more || self.link.is_tls();
        match want {
            Want::Input => {
                while !(ask && self.read()?) {
                    self.wait(Ready::Read).await?;
                    ask = true;
                }
            }
            Want::Tls => match Box::pin(self.handshake(self.session.timeout())).await {
                Ok(info) => self.session.tls_established(info),
                Err(failure) => self.session.tls_failed(failure),
            },
            Want::Close => {
                self.link.finish();
            }
            // Nobody serves these.
            Want::Decision | Want::Output => {}
        }
        Ok(())
    }

    /// The next piece of text, or if it is empty the end. Gives how much of it was taken.
    pub(super) async fn put(&mut self, writer: &mut impl TextWriter, piece: &[u8]) -> io::Result<usize> {
        let piece = piece.get(..CUT).unwrap_or(piece);
        if !piece.is_empty() && self.stage.len() + piece.len() <= STAGE {
            self.stage.extend_from_slice(piece);
            return Ok(piece.len());
        }
        if self.stage.is_empty() && !piece.is_empty() {
            return Box::pin(self.put_slices(writer, piece)).await;
        }
        let mut stage = std::mem::take(&mut self.stage);
        if !piece.is_empty() {
            let taken = Box::pin(self.put_slices(writer, &stage)).await?;
            stage.drain(..taken);
        } else if writer.finish_with(&mut self.session, &stage) != Err(TextError::Busy) {
            // It is written out with what comes next. What else goes wrong here is an outcome.
            stage.clear();
        }
        self.stage = stage;
        Ok(0)
    }

    /// Writes text as it is, and the dots that it needs between, without a copy where the slices are large. Gives how much
    /// of it was taken. Its slices have a block of their own: else whatever may come to write has room for them.
    async fn put_slices(&mut self, writer: &mut impl TextWriter, text: &[u8]) -> io::Result<usize> {
        let (mut rest, mut dense) = (text, Vec::new());
        loop {
            let (mut slices, mut count, mut octets): ([&[u8]; SLICES], _, _) = ([&[]; SLICES], 0, 0);
            let more = loop {
                let Some(slot) = slices.get_mut(count) else { break true };
                match writer.piece(&mut self.session, &mut rest) {
                    Ok(Some(slice)) => *slot = slice,
                    // A reply must come first.
                    Ok(None) | Err(TextError::Busy) => break false,
                    // An outcome; nothing is to be written any more.
                    Err(_) => return Ok(text.len()),
                }
                octets += slot.len();
                count += 1;
            };
            let slices = slices.get(..count).unwrap_or_default();
            // What the session has to say comes before the text: the command of a chunk.
            if !self.session.output().is_empty() {
                dense.extend_from_slice(self.session.output());
                self.session.sent(self.session.output().len());
            }
            if more && octets < STAGE / 2 && dense.len() < STAGE {
                slices.iter().for_each(|slice| dense.extend_from_slice(slice));
                continue;
            }
            let mut parts = [IoSlice::new(&[]); SLICES + 1];
            for (part, slice) in parts.iter_mut().zip([&*dense].iter().chain(slices)) {
                *part = IoSlice::new(slice);
            }
            self.write_all(parts.get_mut(..=count).unwrap_or_default()).await?;
            dense.clear();
            if !more {
                return Ok(text.len() - rest.len());
            }
        }
    }

    /// Reads what is there; false when nothing is.
    pub(super) fn read(&mut self) -> io::Result<bool> {
        let space = self.buffer.space();
        let room = space.len();
        let read = self.link.read(space)?;
        self.more = read == Some(room);
        match read {
            None => return Ok(false),
            Some(0) => self.session.eof(),
            Some(n) => {
                let before = self.buffer.filled().len();
                self.buffer.add(n);
                let all = self.buffer.filled();
                self.settings.tell(Said::Server(all.get(before..).unwrap_or_default()));
            }
        }
        Ok(true)
    }

    /// Says whether there was anything to write.
    async fn write_out(&mut self) -> io::Result<bool> {
        let output = self.session.output();
        if output.is_empty() && self.link.flush()? {
            return Ok(false);
        }
        if !output.is_empty() {
            let secret = self.session.is_secret();
            self.settings.tell(if secret { Said::Secret(output.len()) } else { Said::Client(output) });
        }
        loop {
            let output = self.session.output();
            if !output.is_empty() {
                let taken = self.link.write(output)?;
                self.session.sent(taken);
            }
            if self.session.output().is_empty() && self.link.flush()? {
                return Ok(true);
            }
            self.wait(Ready::Write).await?;
        }
    }

    /// Writes octets that the session has counted already.
    async fn write_all(&mut self, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        parts.iter().filter(|part| !part.is_empty()).for_each(|part| self.settings.tell(Said::Client(part)));
        // Those that are empty go.
        IoSlice::advance_slices(&mut parts, 0);
        loop {
            let (taken, more) = self.link.write_slices(parts)?;
            IoSlice::advance_slices(&mut parts, taken);
            if parts.is_empty() && self.link.flush()? {
                return Ok(());
            }
            if !more {
                self.clock.progress = if taken > 0 { u64::MAX } else { self.clock.progress };
                self.wait(Ready::Write).await?;
            }
        }
    }

    pub(crate) async fn handshake(&mut self, time: Duration) -> Result<TlsInfo, TlsFailure> {
        let Some(tls) = &self.settings.tls else { return Err(TlsFailure::Refused("nobody is trusted".into())) };
        let verify = self.settings.config.tls_policy() == Tls::Verify;
        // Who is reached by a Unix socket is on this machine.
        let address = self.peer.map_or(Ipv4Addr::LOCALHOST.into(), |peer| peer.ip());
        let begun = tls.begin(verify, &self.target.name, address);
        let info = self.link.handshake(begun, time).await?;
        self.settings.tell(Said::Tls(&info));
        Ok(info)
    }

    /// Waits for the socket, or for the session's time to be over, which the session is told.
    async fn wait(&mut self, ready: Ready) -> io::Result<()> {
        if self.clock.progress != self.session.progress() {
            let (progress, time) = (self.session.progress(), self.session.timeout());
            let deadline = Instant::now() + self.longest.map_or(time, |longest| longest.min(time));
            self.clock = Clock { progress, deadline };
        }
        let (link, deadline) = (&mut self.link, self.clock.deadline);
        if poll_fn(|context| link.poll(ready, deadline, context)).await? {
            return Ok(());
        }
        self.session.timed_out();
        Err(io::ErrorKind::TimedOut.into())
    }
}
