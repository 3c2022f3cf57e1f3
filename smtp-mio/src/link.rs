//! A socket, perhaps with TLS on it. Nothing of SMTP.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;

use mio::event::{Event, Source};
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use smtp_proto::tls::{TlsFailure, TlsInfo, TlsOffer, TlsVersion};
use smtp_rustls::{End, Stream};

/// Octets of a read while the handshake lasts.
const HANDSHAKE_READ: usize = 16 << 10;
/// Octets that are thrown away behind the last words, before the connection is closed whatever comes.
const PATIENCE: u32 = 256 << 10;

/// Readiness is edge-triggered: it is told once, and lasts until a read comes back short or empty.
pub(crate) struct Link<E> {
    socket: Socket,
    tls: Option<Box<Stream<E>>>,
    /// The socket was read empty since it was last said to be readable.
    drained: bool,
    /// The peer's end was told: it lies behind what a short read brings.
    ending: bool,
    /// The socket took no more when last written to.
    full: bool,
    /// Octets that are still thrown away for the sake of the last words.
    patience: u32,
}

impl<E: End> fmt::Debug for Link<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("socket", &self.socket).field("tls", &self.tls.is_some()).finish_non_exhaustive()
    }
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// So many octets.
    Octets(usize),
    /// Nothing yet.
    Blocked,
    /// The end; within TLS also its own end (close_notify).
    End,
}

impl<E: End> Link<E> {
    /// A socket that is watched already: what is there to be read will be told.
    pub(crate) fn new(socket: impl Into<Socket>) -> Self {
        Self { socket: socket.into(), tls: None, drained: true, ending: false, full: false, patience: PATIENCE }
    }

    pub(crate) fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }

    /// The poll says that something happened.
    pub(crate) fn told(&mut self, event: &Event) {
        if event.is_readable() {
            self.drained = false;
        }
        if event.is_read_closed() || event.is_error() {
            self.drained = false;
            self.ending = true;
        }
    }

    /// There may be something to be read, though nothing was told.
    pub(crate) const fn look(&mut self) {
        self.drained = false;
    }

    pub(crate) const fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether the socket is known to hold nothing unread.
    pub(crate) const fn is_drained(&self) -> bool {
        self.drained
    }

    /// Whether it took no more when last written to: nothing is read meanwhile.
    pub(crate) const fn is_full(&self) -> bool {
        self.full
    }

    /// Reads plaintext (of the channel) into `space`. `wire` is scratch.
    pub(crate) fn read(&mut self, space: &mut [u8], wire: &mut [u8]) -> io::Result<Read> {
        let Some(tls) = &mut self.tls else {
            return read_socket(&mut self.socket, space, &mut self.drained, self.ending);
        };
        loop {
            if tls.has_ended() && !tls.has_plaintext() {
                return Ok(Read::End);
            }
            let held = tls.recall(wire);
            // What came before the end counts: the socket may have ended while it waited here.
            let fresh = match tls.has_plaintext() {
                true => 0,
                false => match read_socket(&mut self.socket, &mut wire[held..], &mut self.drained, self.ending) {
                    Ok(Read::Octets(n)) => n,
                    // Nothing yet, or the end without close_notify: what is held is no whole record.
                    nothing => {
                        tls.keep(&wire[..held]);
                        return nothing;
                    }
                },
            };
            match tls.decrypt(&mut wire[..held + fresh], space) {
                Ok(0) if fresh == 0 => return Ok(Read::Blocked),
                Ok(0) => {}
                Ok(n) => return Ok(Read::Octets(n)),
                Err(error) => {
                    // The alert that says why.
                    let _ = self.flush();
                    return Err(error);
                }
            }
        }
    }

    /// Writes `output`, or as much as the socket takes; says how much that was. Within TLS all is taken, and may wait
    /// encrypted: write no more while the link [is full](Self::is_full).
    pub(crate) fn write(&mut self, output: &[u8]) -> io::Result<usize> {
        if output.is_empty() {
            return Ok(0);
        }
        let Some(tls) = &mut self.tls else {
            let taken = write_socket(&mut self.socket, output)?;
            self.full = taken < output.len();
            return Ok(taken);
        };
        tls.encrypt(output)?;
        self.flush()?;
        Ok(output.len())
    }

    /// Writes out what waits encrypted; true when nothing waits any more.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        self.full = false;
        if let Some(tls) = &mut self.tls
            && !tls.outgoing().is_empty()
        {
            let n = write_socket(&mut self.socket, tls.outgoing())?;
            tls.sent(n);
            self.full = !tls.outgoing().is_empty();
        }
        Ok(!self.full)
    }

    /// Begins TLS: what comes next on the socket is TLS's.
    pub(crate) fn start_tls(&mut self, tls: Stream<E>) {
        self.tls = Some(Box::new(tls));
    }

    /// A client begins the handshake.
    pub(crate) fn speak_first(&mut self) -> Result<(), TlsFailure> {
        self.tls.as_mut().map_or(Ok(false), |tls| tls.handshake(&mut [], 0)).map(|_| ())
    }

    /// Goes on with the handshake: `Ok(None)` when more must come first.
    pub(crate) fn handshake(&mut self, wire: &mut [u8]) -> Result<Option<TlsInfo>, TlsFailure> {
        let closed = |_| TlsFailure::Closed;
        loop {
            if !self.flush().map_err(closed)? {
                return Ok(None);
            }
            let Some(tls) = &mut self.tls else { return Err(TlsFailure::Closed) };
            let held = tls.recall(wire);
            let space = &mut wire[held..][..HANDSHAKE_READ];
            let fresh = match read_socket(&mut self.socket, space, &mut self.drained, self.ending) {
                Ok(Read::Octets(n)) => n,
                Ok(Read::Blocked) => {
                    tls.keep(&wire[..held]);
                    return Ok(None);
                }
                Ok(Read::End) | Err(_) => {
                    tls.give_up();
                    return Err(TlsFailure::Closed);
                }
            };
            match tls.handshake(&mut wire[..held + fresh], fresh) {
                Ok(true) => {
                    let info = tls.describe();
                    // The tickets of TLS 1.3 can wait, and go out with what the session says next.
                    if info.version == Some(TlsVersion::Tls12) {
                        self.flush().map_err(closed)?;
                    }
                    return Ok(Some(info));
                }
                Ok(false) => {}
                Err(failure) => {
                    // The alert that says why.
                    let _ = self.flush();
                    return Err(failure);
                }
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

    /// Whether the handshake took up an earlier session.
    pub(crate) fn is_resumed(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_resumed())
    }

    /// The last words, then close_notify, in one write if the socket takes it; says how much of the words was taken.
    pub(crate) fn finish(&mut self, output: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.write(output) };
        tls.encrypt(output)?;
        tls.close_notify()?;
        self.flush()?;
        Ok(output.len())
    }

    /// Says that nothing more will be written (FIN). The peer may still be reading.
    pub(crate) fn shut_down(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Throws away what still comes, so that a reset does not eat the last reply; true when the peer has ended too, or
    /// sends without end.
    pub(crate) fn drain(&mut self, wire: &mut [u8]) -> bool {
        loop {
            match read_socket(&mut self.socket, wire, &mut self.drained, self.ending) {
                Ok(Read::Octets(n)) => match u32::try_from(n).ok().and_then(|n| self.patience.checked_sub(n)) {
                    Some(rest) => self.patience = rest,
                    None => return true,
                },
                Ok(Read::Blocked) => return false,
                Ok(Read::End) | Err(_) => return true,
            }
        }
    }
}

/// A stream of octets.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    /// As LMTP servers listen on.
    Unix(UnixStream),
}

impl Socket {
    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.shutdown(how),
            Self::Unix(socket) => socket.shutdown(how),
        }
    }
}

impl From<TcpStream> for Socket {
    fn from(socket: TcpStream) -> Self {
        Self::Tcp(socket)
    }
}

impl From<UnixStream> for Socket {
    fn from(socket: UnixStream) -> Self {
        Self::Unix(socket)
    }
}

impl io::Read for Socket {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read(space),
            Self::Unix(socket) => socket.read(space),
        }
    }
}

impl io::Write for Socket {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.write(octets),
            Self::Unix(socket) => socket.write(octets),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source for Socket {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.register(registry, token, interests),
            Self::Unix(socket) => socket.register(registry, token, interests),
        }
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.reregister(registry, token, interests),
            Self::Unix(socket) => socket.reregister(registry, token, interests),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.deregister(registry),
            Self::Unix(socket) => socket.deregister(registry),
        }
    }
}

fn read_socket(socket: &mut Socket, space: &mut [u8], drained: &mut bool, ending: bool) -> io::Result<Read> {
    if *drained {
        return Ok(Read::Blocked);
    }
    loop {
        return match socket.read(space) {
            Ok(0) => Ok(Read::End),
            Ok(n) => {
                // A short read has emptied the socket; of more the poll will tell. Not so when the end was told already.
                *drained = n < space.len() && !ending;
                Ok(Read::Octets(n))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                *drained = true;
                Ok(Read::Blocked)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
    }
}

fn write_socket(socket: &mut Socket, mut output: &[u8]) -> io::Result<usize> {
    let all = output.len();
    while !output.is_empty() {
        match socket.write(output) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => output = output.get(n..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all - output.len())
}
