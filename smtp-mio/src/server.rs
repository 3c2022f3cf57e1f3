//! The server: one event loop a core, each with a listener of its own (SO_REUSEPORT).

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use mio::Waker;
use rustls::ServerConfig;
use smtp_proto::server::Config;

use crate::event_loop::Loop;
use crate::handler::Handler;
use crate::limits::{Counts, Limits};

/// A server, bound and not yet running.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<SocketAddr>,
    listeners: Vec<Vec<std::net::TcpListener>>,
    config: Arc<Config>,
    tls: Option<Arc<ServerConfig>>,
    limits: Limits,
    handle: Handle,
}

/// Ends a running server.
#[derive(Clone, Debug, Default)]
pub struct Handle {
    pub(crate) shared: Arc<Stop>,
}

#[derive(Debug, Default)]
pub(crate) struct Stop {
    pub(crate) stop: AtomicBool,
    pub(crate) wakers: Mutex<Vec<Arc<Waker>>>,
}

impl Handle {
    /// No new connections; messages in flight complete; 421 to the rest. `run` returns when all have ended.
    pub fn shut_down(&self) {
        self.shared.stop.store(true, Ordering::Release);
        for waker in self.shared.wakers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let _ = waker.wake();
        }
    }
}

impl Server {
    /// Listens on these addresses with as many loops as there are cores.
    ///
    /// # Errors
    /// Those of the operating system: an address in use, or not ours.
    pub fn bind(addresses: &[SocketAddr], config: Arc<Config>) -> io::Result<Self> {
        Self::bind_threads(addresses, config, thread::available_parallelism().map_or(1, Into::into))
    }

    /// The same with a number of loops.
    ///
    /// # Errors
    /// As [`Server::bind`].
    pub fn bind_threads(addresses: &[SocketAddr], config: Arc<Config>, threads: usize) -> io::Result<Self> {
        let mut bound = Vec::new();
        let mut listeners: Vec<Vec<_>> = (0..threads.max(1)).map(|_| Vec::new()).collect();
        for address in addresses {
            // Someone else's socket with SO_REUSEPORT would share our mail: the first is made without.
            drop(listen(*address, false)?);
            let mut address = *address;
            for of_thread in &mut listeners {
                let listener = listen(address, true)?;
                address = listener.local_addr()?;
                of_thread.push(listener);
            }
            bound.push(address);
        }
        Ok(Self {
            addresses: bound,
            listeners,
            config,
            tls: None,
            limits: Limits::default(),
            handle: Handle::default(),
        })
    }

    /// The certificate and key for STARTTLS. Without it the policy of the core's configuration must be `Off`.
    #[must_use]
    pub fn tls(mut self, tls: Arc<ServerConfig>) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Bounds on connections.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Where it listens; port 0 has become a real one.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What ends it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves until [`Handle::shut_down`]. `make` gives each connection its handler.
    ///
    /// # Errors
    /// Those of the operating system's polling; and [`io::ErrorKind::InvalidInput`] when the policy offers TLS and
    /// there is no certificate.
    pub fn run<H: Handler>(self, make: impl Fn(SocketAddr) -> H + Clone + Send + 'static) -> io::Result<()> {
        if self.tls.is_none() && self.config.tls_policy().offers() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the TLS policy offers STARTTLS but there is no certificate: give one with Server::tls, or say Policy::Off",
            ));
        }
        let counts = Arc::new(Counts::default());
        let mut loops = Vec::new();
        for listeners in self.listeners {
            loops.push(Loop::new(
                listeners,
                &self.config,
                &self.tls,
                self.limits,
                &counts,
                &self.handle,
                make.clone(),
            )?);
        }
        let Some(mine) = loops.pop() else { return Ok(()) };
        thread::scope(|scope| {
            let others: Vec<_> = loops.into_iter().map(|l| scope.spawn(move || l.run())).collect();
            let result = mine.run();
            others.into_iter().fold(result, |result, other| {
                result.and(other.join().unwrap_or_else(|_| Err(io::Error::other("an event loop panicked"))))
            })
        })
    }
}

fn listen(address: SocketAddr, share: bool) -> io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if share {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}
