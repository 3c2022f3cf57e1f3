//! Sockets, and who says when they are ready: smol's reactor, or that of the thread that serves them.

use std::fmt;
use std::io::{self, IoSlice, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use mio::Interest;
use smol::future::Future as _;
use smol::{Async, Timer};

use crate::reactor::{self, Watched};

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

/// A socket that has been accepted, and is not watched yet where that is for the thread that will serve it.
pub(crate) enum Fresh {
    Socket(Socket),
    Tcp(mio::net::TcpStream),
    Unix(mio::net::UnixStream),
}

impl Fresh {
    pub(crate) fn shutdown(&self) -> io::Result<()> {
        match self {
            Self::Socket(socket) => socket.shutdown(),
            Self::Tcp(socket) => socket.shutdown(Shutdown::Write),
            Self::Unix(socket) => socket.shutdown(Shutdown::Write),
        }
    }

    /// Writes what it can at once.
    pub(crate) fn say(&self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Self::Socket(Socket::Tcp(socket)) => socket.get_ref().write(octets),
            Self::Socket(Socket::Unix(socket)) => socket.get_ref().write(octets),
            Self::Tcp(socket) => (&mut &*socket).write(octets),
            Self::Unix(socket) => (&mut &*socket).write(octets),
        }
    }
}

impl From<Socket> for Fresh {
    fn from(socket: Socket) -> Self {
        Self::Socket(socket)
    }
}

const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// A socket that somebody watches.
pub(crate) enum Wire {
    /// In a block of its own: it is larger than the others.
    Given(Box<Given>),
    Tcp(Watched<mio::net::TcpStream>),
    Unix(Watched<mio::net::UnixStream>),
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(given) => given.socket.fmt(f),
            Self::Tcp(watched) => watched.socket().fmt(f),
            Self::Unix(watched) => watched.socket().fmt(f),
        }
    }
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// To be read.
    Read,
    /// To be written.
    Write,
}

impl Wire {
    /// # Errors
    /// Those of the operating system: the socket cannot be watched.
    pub(crate) fn new(socket: Fresh) -> io::Result<Self> {
        let Some(reactor) = reactor::here() else {
            return Ok(Self::given(match socket {
                Fresh::Socket(socket) => socket,
                Fresh::Tcp(socket) => Socket::Tcp(Async::new_nonblocking(socket.into())?),
                Fresh::Unix(socket) => Socket::Unix(Async::new_nonblocking(socket.into())?),
            }));
        };
        let socket = match socket {
            Fresh::Socket(Socket::Tcp(socket)) => Fresh::Tcp(mio::net::TcpStream::from_std(socket.into_inner()?)),
            Fresh::Socket(Socket::Unix(socket)) => Fresh::Unix(mio::net::UnixStream::from_std(socket.into_inner()?)),
            socket => socket,
        };
        Ok(match socket {
            Fresh::Tcp(socket) => Self::Tcp(Watched::new(socket, BOTH, reactor)?),
            Fresh::Unix(socket) => Self::Unix(Watched::new(socket, BOTH, reactor)?),
            Fresh::Socket(socket) => Self::given(socket),
        })
    }

    /// Left to smol's reactor.
    pub(crate) fn given(socket: Socket) -> Self {
        let alarm = Alarm { timer: Timer::never(), goes_off: None };
        Self::Given(Box::new(Given { socket, alarm, asked: false }))
    }

    /// Whether it is ready, or may be, after something was tried that would block: false when the deadline came first.
    pub(crate) fn poll(
        &mut self,
        ready: Ready,
        deadline: Instant,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<bool>> {
        if let Self::Given(given) = &*self
            && let Some(reactor) = reactor::here()
        {
            // By a descriptor of its own, since what smol's reactor watches cannot be taken out of here. The other is closed.
            *self = match &given.socket {
                Socket::Tcp(socket) => {
                    let socket = mio::net::TcpStream::from_std(socket.get_ref().try_clone()?);
                    Self::Tcp(Watched::new(socket, BOTH, reactor)?)
                }
                Socket::Unix(socket) => {
                    let socket = mio::net::UnixStream::from_std(socket.get_ref().try_clone()?);
                    Self::Unix(Watched::new(socket, BOTH, reactor)?)
                }
            };
        }
        match self {
            Self::Given(given) => given.poll(ready, deadline, context),
            Self::Tcp(watched) => {
                watched.follow(BOTH)?;
                watched.poll(ready, Some(deadline), context)
            }
            Self::Unix(watched) => {
                watched.follow(BOTH)?;
                watched.poll(ready, Some(deadline), context)
            }
        }
    }

    /// Whether all that comes is told, even if nobody was waiting when it came: a loop remembers it, and that the peer has ended.
    /// smol's reactor is asked anew for each wait.
    pub(crate) const fn tells_all(&self) -> bool {
        !matches!(self, Self::Given(_))
    }

    pub(crate) fn shutdown(&self) -> io::Result<()> {
        match self {
            Self::Given(given) => given.socket.shutdown(),
            Self::Tcp(watched) => watched.socket().shutdown(Shutdown::Write),
            Self::Unix(watched) => watched.socket().shutdown(Shutdown::Write),
        }
    }
}

impl io::Read for &Wire {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Given(given) => match &given.socket {
                Socket::Tcp(socket) => socket.get_ref().read(space),
                Socket::Unix(socket) => socket.get_ref().read(space),
            },
            Wire::Tcp(watched) => watched.socket().read(space),
            Wire::Unix(watched) => watched.socket().read(space),
        }
    }
}

impl io::Write for &Wire {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Given(given) => match &given.socket {
                Socket::Tcp(socket) => socket.get_ref().write(octets),
                Socket::Unix(socket) => socket.get_ref().write(octets),
            },
            Wire::Tcp(watched) => watched.socket().write(octets),
            Wire::Unix(watched) => watched.socket().write(octets),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Wire::Given(given) => match &given.socket {
                Socket::Tcp(socket) => socket.get_ref().write_vectored(slices),
                Socket::Unix(socket) => socket.get_ref().write_vectored(slices),
            },
            Wire::Tcp(watched) => watched.socket().write_vectored(slices),
            Wire::Unix(watched) => watched.socket().write_vectored(slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A socket that smol's reactor watches.
pub(crate) struct Given {
    socket: Socket,
    alarm: Alarm,
    /// What is waited for was asked of the reactor: whoever wakes the connection now brings it, most likely.
    asked: bool,
}

impl Given {
    /// The reactor takes what it hears on one thread, while a socket is asked about on another, for news from before it was
    /// asked, and has to be asked again, and again. So whatever wakes the connection is a reason to try once more.
    fn poll(&mut self, ready: Ready, deadline: Instant, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
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

impl Socket {
    fn poll(&self, ready: Ready, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match (self, ready) {
            (Self::Tcp(socket), Ready::Read) => socket.poll_readable(context),
            (Self::Tcp(socket), Ready::Write) => socket.poll_writable(context),
            (Self::Unix(socket), Ready::Read) => socket.poll_readable(context),
            (Self::Unix(socket), Ready::Write) => socket.poll_writable(context),
        }
    }

    fn shutdown(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.get_ref().shutdown(Shutdown::Write),
            Self::Unix(socket) => socket.get_ref().shutdown(Shutdown::Write),
        }
    }
}
