//! A socket, perhaps with TLS on it. Nothing of SMTP.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice, Read as _, Write as _};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use smtp_proto::tls::{TlsFailure, TlsInfo, TlsOffer, TlsVersion};
use smtp_rustls::{End, Stream};

use crate::socket::{Fresh, Ready, Socket, Wire};

/// Octets of a read while the handshake lasts.
const HANDSHAKE_READ: usize = 16 << 10;
/// What is read within TLS, and of what is written so much at a time.
const WIRE: usize = 64 << 10;

thread_local! {
    /// What is yet to be decrypted, or encrypted. It is used up before a connection waits, so that the connections of a
    /// thread share one.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

fn with_scratch<T>(use_it: impl FnOnce(&mut [u8]) -> T) -> T {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.resize(WIRE, 0);
        use_it(scratch)
    })
}

/// Everything here is tried at once; what would block says so, and is tried again after [`Link::poll`]. So no buffer is
/// lent out while a connection waits.
pub(crate) struct Link<E> {
    socket: Wire,
    tls: Option<Box<Stream<E>>>,
    /// The last read came short: there is nothing to be had from the socket before it has news.
    drained: bool,
}

/// How far a handshake went.
enum Went {
    ToTheEnd(TlsInfo),
    On,
    /// There was nothing to read.
    Blocked,
}

impl<E: End> fmt::Debug for Link<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("socket", &self.socket).field("tls", &self.tls.is_some()).finish()
    }
}

impl<E: End> Link<E> {
    /// # Errors
    /// Those of the operating system: the socket cannot be watched.
    pub(crate) fn new(socket: Fresh) -> io::Result<Self> {
        Ok(Self { socket: Wire::new(socket)?, tls: None, drained: false })
    }

    pub(crate) fn given(socket: Socket) -> Self {
        Self { socket: Wire::given(socket), tls: None, drained: false }
    }

    /// Whether it is ready, or may be, after something was tried that would block: false when the deadline came first.
    pub(crate) fn poll(
        &mut self,
        ready: Ready,
        deadline: Instant,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<bool>> {
        self.drained = false;
        self.socket.poll(ready, deadline, context)
    }

    /// Waits until it is ready: false when the deadline came first.
    async fn ready(&mut self, ready: Ready, deadline: Instant) -> io::Result<bool> {
        poll_fn(|context| self.poll(ready, deadline, context)).await
    }

    pub(crate) const fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Reads plaintext (of the channel) into `space`: `None` when nothing is there, 0 at the end, which within TLS is
    /// also its own end (close_notify).
    pub(crate) fn read(&mut self, space: &mut [u8]) -> io::Result<Option<usize>> {
        let (mut socket, drained) = (&self.socket, &mut self.drained);
        let Some(tls) = &mut self.tls else {
            let read = unless_blocked(|| socket.read(space))?;
            *drained = read.unwrap_or(0) < space.len();
            return Ok(read);
        };
        with_scratch(|wire| {
            loop {
                if tls.has_ended() && !tls.has_plaintext() {
                    return Ok(Some(0));
                }
                let held = tls.recall(wire);
                // What is decrypted is no longer than what it came in: no more is read than finds room.
                let room = wire.len().min(space.len().max(held + HANDSHAKE_READ));
                let unread = wire.get_mut(held..room).unwrap_or_default();
                // What came before the end counts: the socket may have ended while it waited here.
                let fresh = match tls.has_plaintext() {
                    true => 0,
                    false => match unless_blocked(|| socket.read(unread)) {
                        Ok(Some(n)) if n > 0 => {
                            *drained = n < unread.len();
                            n
                        }
                        // Nothing yet, or the end without close_notify: what is held is no whole record.
                        nothing => {
                            tls.keep(wire.get(..held).unwrap_or_default());
                            return nothing;
                        }
                    },
                };
                match tls.decrypt(wire.get_mut(..held + fresh).unwrap_or_default(), space) {
                    Ok(0) if fresh == 0 => return Ok(None),
                    Ok(0) => {}
                    Ok(n) => return Ok(Some(n)),
                    Err(error) => {
                        // The alert that says why.
                        let _ = flush_tls(tls, socket);
                        return Err(error);
                    }
                }
            }
        })
    }

    /// Whether there is no use in a read before the socket has news: the last came short, and whatever comes after it is told.
    pub(crate) fn is_drained(&self) -> bool {
        let here = self.tls.as_ref().is_some_and(|tls| tls.has_plaintext() || tls.has_ended());
        self.drained && self.socket.tells_all() && !here
    }

    /// Writes what it can of `output`; says how much was taken. Within TLS all is taken, and may wait encrypted: `flush`.
    pub(crate) fn write(&mut self, output: &[u8]) -> io::Result<usize> {
        let mut socket = &self.socket;
        match &mut self.tls {
            _ if output.is_empty() => Ok(0),
            // A socket that does not take all is full.
            None => match unless_blocked(|| socket.write(output))? {
                Some(0) => Err(io::ErrorKind::WriteZero.into()),
                taken => Ok(taken.unwrap_or(0)),
            },
            Some(tls) => {
                tls.encrypt(output)?;
                flush_tls(tls, socket)?;
                Ok(output.len())
            }
        }
    }

    /// Writes what it can of slices, none of which is empty; says how much was taken, and whether more can be written at
    /// once.
    pub(crate) fn write_slices(&mut self, slices: &[IoSlice<'_>]) -> io::Result<(usize, bool)> {
        let mut socket = &self.socket;
        match &mut self.tls {
            _ if slices.is_empty() => Ok((0, false)),
            None => match unless_blocked(|| socket.write_vectored(slices))? {
                Some(0) => Err(io::ErrorKind::WriteZero.into()),
                taken => Ok((taken.unwrap_or(0), false)),
            },
            Some(tls) => {
                // Of what was written before some may wait: it must not become more and more.
                if !flush_tls(tls, socket)? {
                    return Ok((0, false));
                }
                let taken = with_scratch(|scratch| {
                    let mut taken = 0;
                    for slice in slices {
                        let n = slice.len().min(scratch.len() - taken);
                        scratch[taken..taken + n].copy_from_slice(&slice[..n]);
                        taken += n;
                    }
                    tls.encrypt(&scratch[..taken]).map(|()| taken)
                })?;
                Ok((taken, flush_tls(tls, socket)?))
            }
        }
    }

    /// What the client offered, once its ClientHello has come.
    pub(crate) fn offered(&self) -> Option<TlsOffer> {
        self.tls.as_ref().and_then(|tls| tls.offered())
    }

    /// Whether anything has come for the handshake.
    pub(crate) fn has_begun(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.has_begun())
    }

    /// Writes out what waits encrypted; true when nothing waits any more.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        let socket = &self.socket;
        self.tls.as_mut().map_or(Ok(true), |tls| flush_tls(tls, socket))
    }

    /// The whole handshake of either side, in so much time: what comes next on the socket is TLS.
    pub(crate) async fn handshake(
        &mut self,
        begun: Result<Stream<E>, TlsFailure>,
        time: Duration,
    ) -> Result<TlsInfo, TlsFailure> {
        let closed = |_| TlsFailure::Closed;
        let deadline = Instant::now() + time;
        let tls = self.tls.insert(Box::new(begun?));
        self.drained = false;
        // A client speaks first.
        tls.handshake(&mut [], 0)?;
        loop {
            while !self.flush().map_err(closed)? {
                self.in_time(Ready::Write, deadline).await?;
            }
            match self.go_on()? {
                Went::ToTheEnd(info) => {
                    // The tickets of TLS 1.3 can wait, and go out with what the session says next.
                    if info.version == Some(TlsVersion::Tls12) {
                        self.flush().map_err(closed)?;
                    }
                    return Ok(info);
                }
                // What came together is told once: the socket is waited for when nothing is left of it, not even its end.
                Went::On => {}
                Went::Blocked => self.in_time(Ready::Read, deadline).await?,
            }
        }
    }

    async fn in_time(&mut self, ready: Ready, deadline: Instant) -> Result<(), TlsFailure> {
        match self.ready(ready, deadline).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(TlsFailure::TimedOut),
            Err(_) => Err(TlsFailure::Closed),
        }
    }

    /// Goes on with the handshake by what can be read at once.
    fn go_on(&mut self) -> Result<Went, TlsFailure> {
        let mut socket = &self.socket;
        let Some(tls) = &mut self.tls else { return Err(TlsFailure::Closed) };
        with_scratch(|wire| {
            let held = tls.recall(wire);
            let unread = wire.get_mut(held..held + HANDSHAKE_READ).unwrap_or_default();
            let fresh = match unless_blocked(|| socket.read(unread)) {
                Ok(Some(n)) if n > 0 => n,
                Ok(None) => {
                    tls.keep(wire.get(..held).unwrap_or_default());
                    return Ok(Went::Blocked);
                }
                Ok(Some(_)) | Err(_) => {
                    tls.give_up();
                    return Err(TlsFailure::Closed);
                }
            };
            match tls.handshake(wire.get_mut(..held + fresh).unwrap_or_default(), fresh) {
                Ok(true) => Ok(Went::ToTheEnd(tls.describe())),
                Ok(false) => Ok(Went::On),
                Err(failure) => {
                    // The alert that says why.
                    let _ = flush_tls(tls, socket);
                    Err(failure)
                }
            }
        })
    }

    /// Takes the last words, with close_notify behind them for the same write; says how much was taken. Without TLS that is nothing,
    /// as there is nothing to put behind them.
    pub(crate) fn last_words(&mut self, output: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return Ok(0) };
        tls.encrypt(output)?;
        tls.close_notify()?;
        Ok(output.len())
    }

    /// Says that nothing more will be written (close_notify, FIN). The peer may still be reading.
    pub(crate) fn finish(&mut self) {
        let socket = &self.socket;
        if let Some(tls) = &mut self.tls {
            let _ = tls.close_notify();
            let _ = flush_tls(tls, socket);
        }
        let _ = socket.shutdown();
    }

    /// Throws away what still comes, `limit` octets at most and no longer than this, so that a reset does not eat the last
    /// reply.
    pub(crate) async fn drain(&mut self, mut limit: usize, time: Duration) {
        let deadline = Instant::now() + time;
        loop {
            let mut socket = &self.socket;
            let read = match self.is_drained() {
                true => Ok(None),
                false => with_scratch(|scratch| unless_blocked(|| socket.read(scratch))),
            };
            match read {
                Ok(Some(n)) if n > 0 && n < limit => limit -= n,
                Ok(None) if matches!(self.ready(Ready::Read, deadline).await, Ok(true)) => {}
                _ => return,
            }
        }
    }
}

/// `None` where the socket would block; interruptions are tried again.
fn unless_blocked(mut operation: impl FnMut() -> io::Result<usize>) -> io::Result<Option<usize>> {
    loop {
        match operation() {
            Ok(n) => return Ok(Some(n)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn flush_tls<E: End>(tls: &mut Stream<E>, mut socket: &Wire) -> io::Result<bool> {
    while !tls.outgoing().is_empty() {
        match unless_blocked(|| socket.write(tls.outgoing()))? {
            Some(0) => return Err(io::ErrorKind::WriteZero.into()),
            Some(n) => tls.sent(n),
            None => return Ok(false),
        }
    }
    Ok(true)
}
