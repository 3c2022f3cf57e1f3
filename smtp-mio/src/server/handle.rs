//! What ends a running server, and knows what it does.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mio::Waker;

use super::limits::{Counters, Stats};

/// Ends a running server, and knows what it does.
///
/// ```
/// use smtp_mio::{Answer, Handler, Peer, Server};
/// use smtp_proto::server::{Config, MessageEnd, Verdict};
/// use smtp_proto::tls::Policy;
///
/// struct TakeAll;
///
/// impl Handler for TakeAll {
///     fn message(&mut self, _: &Peer<'_>, _: MessageEnd) -> Answer<'_> {
///         Verdict::Accept.into()
///     }
/// }
///
/// let mut server = Server::new(Config::new("mx.example.net")?.tls(Policy::Off).shared());
/// server.listen("127.0.0.1:0".parse()?)?;
/// let handle = server.handle(); // may go to another thread, such as that of a signal
/// handle.shut_down();
/// server.run(|_| TakeAll)?;
/// assert_eq!(handle.stats().connections, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Handle {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    loops: Mutex<Vec<Of>>,
    /// Which loop is next to be handed a connection.
    turn: AtomicUsize,
}

/// What is known of a loop.
#[derive(Debug)]
pub(crate) struct Of {
    pub(crate) waker: Arc<Waker>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) door: Sender<Accepted>,
}

/// A connection that was accepted elsewhere.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) socket: TcpStream,
    pub(crate) address: SocketAddr,
    pub(crate) tls: bool,
}

impl Handle {
    /// No new connections; messages in flight complete; 421 to the rest. `run` returns when all have ended, or after
    /// [`Limits::drain`](super::Limits::drain).
    pub fn shut_down(&self) {
        self.shared.stop.store(true, Ordering::Release);
        for of in self.loops().iter() {
            let _ = of.waker.wake();
        }
    }

    /// What the server has done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        self.loops().iter().for_each(|of| of.counters.add_to(&mut stats));
        stats
    }

    /// Serves a connection that was accepted elsewhere, such as by a listener that the system has opened. `address` is
    /// the peer's, and counts for [`Limits`](super::Limits).
    ///
    /// # Errors
    /// [`io::ErrorKind::NotConnected`] before [`Server::run`](super::Server::run) and after its end.
    pub fn drive(&self, socket: TcpStream, address: SocketAddr) -> io::Result<()> {
        self.hand_over(Accepted { socket, address, tls: false })
    }

    /// The same, where TLS comes first (RFC 8314 3.3).
    ///
    /// # Errors
    /// As [`Handle::drive`].
    pub fn drive_tls(&self, socket: TcpStream, address: SocketAddr) -> io::Result<()> {
        self.hand_over(Accepted { socket, address, tls: true })
    }

    fn hand_over(&self, accepted: Accepted) -> io::Result<()> {
        let not_running = || io::Error::new(io::ErrorKind::NotConnected, "the server does not run: call Server::run");
        accepted.socket.set_nonblocking(true)?;
        let loops = self.loops();
        let next = self.shared.turn.fetch_add(1, Ordering::Relaxed) % loops.len().max(1);
        let of = loops.get(next).filter(|_| !self.is_stopped()).ok_or_else(not_running)?;
        of.door.send(accepted).map_err(|_| not_running())?;
        of.waker.wake()
    }

    pub(crate) fn join(&self, of: Of) {
        self.loops().push(of);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.shared.stop.load(Ordering::Acquire)
    }

    fn loops(&self) -> MutexGuard<'_, Vec<Of>> {
        self.shared.loops.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
