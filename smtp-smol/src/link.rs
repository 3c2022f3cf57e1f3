//! A socket, perhaps with TLS on it. Nothing of SMTP.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use smol::future::Future as _;
use smol::{Async, Timer};
use smtp_proto::tls::{TlsFailure, TlsInfo, TlsOffer, TlsVersion};
use smtp_rustls::{End, Stream};

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
    socket: Socket,
    tls: Option<Box<Stream<E>>>,
    alarm: Alarm,
    /// What is waited for was asked of the reactor: whoever wakes the connection now brings it, most likely.
    asked: bool,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// To be read.
    Read,
    /// To be written.
    Write,
}

/// Goes off at the deadline or before: to set it anew is dear, and few waits last so long.
struct Alarm {
    timer: Timer,
    goes_off: Option<Instant>,
}

impl Alarm {
    fn poll(&mut self, deadline: Instant, context: &mut Context<'_>) -> Poll<()> {
        if self.goes_off.is_none_or(|early| early > deadline) {
            self.set(deadline);
        }
        while Pin::new(&mut self.timer).poll(context).is_ready() {
            if Instant::now() >= deadline {
                self.goes_off = None;
                return Poll::Ready(());
            }
            self.set(deadline);
        }
        Poll::Pending
    }

    fn set(&mut self, deadline: Instant) {
        self.timer.set_at(deadline);
        self.goes_off = Some(deadline);
    }
}

impl<E: End> fmt::Debug for Link<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("socket", &self.socket).field("tls", &self.tls.is_some()).finish()
    }
}

/// A connection that was accepted elsewhere, for [`Server::drive`](crate::Server::drive).
#[derive(Debug)]
#[non_exhaustive]
pub enum Socket {
    /// Over TCP.
    Tcp(Async<TcpStream>),
    /// Over a Unix socket, as LMTP servers listen on.
    Unix(Async<UnixStream>),
}

impl From<Async<TcpStream>> for Socket {
    fn from(socket: Async<TcpStream>) -> Self {
        Self::Tcp(socket)
    }
}

impl From<Async<UnixStream>> for Socket {
    fn from(socket: Async<UnixStream>) -> Self {
        Self::Unix(socket)
    }
}

impl<E: End> Link<E> {
    pub(crate) fn new(socket: Socket) -> Self {
        Self { socket, tls: None, alarm: Alarm { timer: Timer::never(), goes_off: None }, asked: false }
    }

    /// Whether it is ready, or may be, after something was tried that would block: false when the deadline came first.
    ///
    /// The reactor takes what it hears on one thread, while a socket is asked about on another, for news from before it was
    /// asked, and has to be asked again, and again. So whatever wakes the connection is a reason to try once more.
    pub(crate) fn poll(
        &mut self,
        ready: Ready,
        deadline: Instant,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<bool>> {
        // Also when the time is over by now: what came in time counts, and the next wait finds out.
        if std::mem::take(&mut self.asked) {
            return Poll::Ready(Ok(true));
        }
        let socket = &self.socket;
        // What was heard of it before is old: it has been tried since. The second call asks, whatever the first has said.
        let mut asked = socket.poll(ready, context);
        if let Poll::Ready(Ok(())) = asked {
            asked = socket.poll(ready, context);
        }
        if let Poll::Ready(result) = asked {
            return Poll::Ready(result.map(|()| true));
        }
        let late = self.alarm.poll(deadline, context);
        self.asked = late.is_pending();
        late.map(|()| Ok(false))
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
        let mut socket = &self.socket;
        let Some(tls) = &mut self.tls else { return unless_blocked(|| socket.read(space)) };
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
                        Ok(Some(n)) if n > 0 => n,
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
        // A client speaks first.
        tls.handshake(&mut [], 0)?;
        loop {
            while !self.flush().map_err(closed)? {
                self.in_time(Ready::Write, deadline).await?;
            }
            if let Some(info) = self.go_on()? {
                // The tickets of TLS 1.3 can wait, and go out with what the session says next.
                if info.version == Some(TlsVersion::Tls12) {
                    self.flush().map_err(closed)?;
                }
                return Ok(info);
            }
            if self.tls.as_ref().is_some_and(|tls| tls.outgoing().is_empty()) {
                self.in_time(Ready::Read, deadline).await?;
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

    /// Goes on with the handshake as far as it goes without waiting.
    fn go_on(&mut self) -> Result<Option<TlsInfo>, TlsFailure> {
        let mut socket = &self.socket;
        let Some(tls) = &mut self.tls else { return Err(TlsFailure::Closed) };
        with_scratch(|wire| {
            let held = tls.recall(wire);
            let unread = wire.get_mut(held..held + HANDSHAKE_READ).unwrap_or_default();
            let fresh = match unless_blocked(|| socket.read(unread)) {
                Ok(Some(n)) if n > 0 => n,
                Ok(None) => {
                    tls.keep(wire.get(..held).unwrap_or_default());
                    return Ok(None);
                }
                Ok(Some(_)) | Err(_) => {
                    tls.give_up();
                    return Err(TlsFailure::Closed);
                }
            };
            match tls.handshake(wire.get_mut(..held + fresh).unwrap_or_default(), fresh) {
                Ok(true) => Ok(Some(tls.describe())),
                Ok(false) => Ok(None),
                Err(failure) => {
                    // The alert that says why.
                    let _ = flush_tls(tls, socket);
                    Err(failure)
                }
            }
        })
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
            match with_scratch(|scratch| unless_blocked(|| socket.read(scratch))) {
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

impl Socket {
    fn poll(&self, ready: Ready, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match (self, ready) {
            (Self::Tcp(socket), Ready::Read) => socket.poll_readable(context),
            (Self::Tcp(socket), Ready::Write) => socket.poll_writable(context),
            (Self::Unix(socket), Ready::Read) => socket.poll_readable(context),
            (Self::Unix(socket), Ready::Write) => socket.poll_writable(context),
        }
    }

    pub(crate) fn shutdown(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.get_ref().shutdown(Shutdown::Write),
            Self::Unix(socket) => socket.get_ref().shutdown(Shutdown::Write),
        }
    }
}

impl io::Read for &Socket {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => socket.get_ref().read(space),
            Socket::Unix(socket) => socket.get_ref().read(space),
        }
    }
}

impl io::Write for &Socket {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => socket.get_ref().write(octets),
            Socket::Unix(socket) => socket.get_ref().write(octets),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => socket.get_ref().write_vectored(slices),
            Socket::Unix(socket) => socket.get_ref().write_vectored(slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn flush_tls<E: End>(tls: &mut Stream<E>, mut socket: &Socket) -> io::Result<bool> {
    while !tls.outgoing().is_empty() {
        match unless_blocked(|| socket.write(tls.outgoing()))? {
            Some(0) => return Err(io::ErrorKind::WriteZero.into()),
            Some(n) => tls.sent(n),
            None => return Ok(false),
        }
    }
    Ok(true)
}
