//! The server: one event loop a core, each with a listener of its own (SO_REUSEPORT).

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use rustls::ServerConfig;
use slab::Slab;
use smtp_proto::server::{Config, Event, Fault, MessageEnd, Reason, Session, State, Ticket, Verdict};
use smtp_proto::syntax::{Enhanced, Host, Mail, Rcpt, Reply};
use smtp_proto::{Channel, Step, Want};

use crate::link::{Link, Read};
use crate::wheel::Wheel;

const WAKER: Token = Token(usize::MAX);
const LISTENERS: usize = usize::MAX - 1024;
/// Read buffer of a loop, shared by its connections.
const SCRATCH: usize = 256 << 10;
/// Reads of one connection before others get their turn.
const ROUNDS: usize = 8;
const TICK: Duration = Duration::from_millis(500);
/// For a peer to close after the last reply.
const LINGER_TICKS: u64 = 4;
const LINGER_OCTETS: usize = 256 << 10;

/// What a server does with what it hears: the return value is the answer.
///
/// One handler a connection. The names are those of `smtp-smol`'s; here nothing may block for long, as it would hold up
/// the other connections of the loop: what takes time is answered [`Answer::Later`].
pub trait Handler: Send + 'static {
    /// The peer has connected.
    fn connect(&mut self, _peer: &Peer<'_>) -> Answer<'_> {
        Verdict::Accept.into()
    }
    /// EHLO or HELO.
    fn hello(&mut self, _peer: &Peer<'_>, _host: &Host<'_>) -> Answer<'_> {
        Verdict::Accept.into()
    }
    /// MAIL.
    fn mail(&mut self, _peer: &Peer<'_>, _mail: &Mail<'_>) -> Answer<'_> {
        Verdict::Accept.into()
    }
    /// RCPT.
    fn rcpt(&mut self, _peer: &Peer<'_>, _rcpt: &Rcpt<'_>) -> Answer<'_> {
        Verdict::Accept.into()
    }
    /// DATA.
    fn data(&mut self, _peer: &Peer<'_>) -> Answer<'_> {
        Verdict::Accept.into()
    }
    /// A piece of text.
    fn chunk(&mut self, _text: &[u8]) {}
    /// The text is complete; accepting it takes over the responsibility (RFC 5321 6.1).
    fn message(&mut self, _peer: &Peer<'_>, _end: MessageEnd) -> Answer<'_>;
    /// The transaction is gone: forget envelope and text.
    fn reset(&mut self, _peer: &Peer<'_>) {}
    /// The peer broke a rule, and has been answered.
    fn fault(&mut self, _peer: &Peer<'_>, _fault: Fault) {}
    /// The end.
    fn closed(&mut self, _peer: &Peer<'_>, _reason: Reason) {}
}

/// Who is at the other end, and what is known of the session.
#[derive(Clone, Copy, Debug)]
pub struct Peer<'s> {
    /// Its address.
    pub address: SocketAddr,
    /// The session: name, TLS, protocol type.
    pub session: &'s Session,
    deferral: &'s Deferral,
}

impl Peer<'_> {
    /// The right to answer the present event later, from any thread. Return it as [`Answer::Later`]'s companion: the
    /// connection waits, nothing further is read from it.
    pub fn defer(&self) -> Deferred {
        Deferred { question: Some(self.deferral.question), to: self.deferral.to.clone() }
    }
}

#[derive(Debug)]
struct Deferral {
    question: Question,
    to: Mailroom,
}

/// Which event of which connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Question {
    key: usize,
    generation: u64,
    serial: u64,
}

/// A handler's answer.
#[derive(Debug)]
#[must_use]
pub enum Answer<'r> {
    /// At once.
    Now(Verdict<'r>),
    /// By the [`Deferred`] that [`Peer::defer`] gave.
    Later,
}

impl<'r> From<Verdict<'r>> for Answer<'r> {
    fn from(verdict: Verdict<'r>) -> Self {
        Self::Now(verdict)
    }
}

impl<'r> From<Reply<'r>> for Answer<'r> {
    fn from(reply: Reply<'r>) -> Self {
        Self::Now(Verdict::Refuse(reply))
    }
}

/// A verdict that owns its words, to travel between threads.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OwnedVerdict {
    /// Yes.
    Accept,
    /// Yes, in these words.
    AcceptWith(String),
    /// No: code, enhanced code, text. What makes no valid reply is answered 451 4.3.0.
    Refuse(u16, (u8, u16, u16), String),
}

/// An answer that is still owed. Dropped without one, the command is answered 451 4.3.0.
#[derive(Debug)]
#[must_use = "dropped, it answers 451 4.3.0"]
pub struct Deferred {
    question: Option<Question>,
    to: Mailroom,
}

impl Deferred {
    /// Gives the answer.
    pub fn answer(mut self, verdict: OwnedVerdict) {
        self.send(verdict);
    }

    fn send(&mut self, verdict: OwnedVerdict) {
        if let Some(question) = self.question.take() {
            let _ = self.to.sender.send((question, verdict));
            let _ = self.to.waker.wake();
        }
    }
}

impl Drop for Deferred {
    fn drop(&mut self) {
        self.send(OwnedVerdict::Refuse(451, (4, 3, 0), "Local error; try again later".into()));
    }
}

#[derive(Clone, Debug)]
struct Mailroom {
    sender: Sender<(Question, OwnedVerdict)>,
    waker: Arc<Waker>,
}

/// Bounds on connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Connections in all: 10,000.
    pub connections: usize,
    /// Connections of one address: 1,000.
    pub per_address: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 10_000, per_address: 1_000 }
    }
}

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
    shared: Arc<Stop>,
}

#[derive(Debug, Default)]
struct Stop {
    stop: AtomicBool,
    wakers: Mutex<Vec<Arc<Waker>>>,
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

/// Connections, in all and by address; shared by the loops.
#[derive(Debug, Default)]
struct Counts {
    all: AtomicUsize,
    by_address: Mutex<HashMap<IpAddr, u32>>,
}

impl Counts {
    fn enter(&self, address: IpAddr, limits: Limits) -> bool {
        if self.all.fetch_add(1, Ordering::Relaxed) >= limits.connections {
            self.all.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let count = by_address.entry(address).or_default();
        if *count >= limits.per_address {
            self.all.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        *count += 1;
        true
    }

    fn leave(&self, address: IpAddr) {
        self.all.fetch_sub(1, Ordering::Relaxed);
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&address);
            }
        }
    }
}

#[derive(Debug)]
struct Connection<H> {
    link: Link,
    session: Session,
    handler: H,
    address: SocketAddr,
    deferral: Deferral,
    /// The ticket of a decision that was put off.
    parked: Option<Ticket>,
    /// What the session left over: the beginning of a line.
    held: Vec<u8>,
    phase: Phase,
    progress: u64,
    /// The tick at which `session.timeout()` is over.
    deadline: u64,
    /// The earliest tick at which the wheel comes round to it.
    scheduled: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Talk,
    Handshake,
    /// FIN is sent: wait for the peer's.
    Linger {
        left: usize,
    },
    Gone,
}

struct Loop<H, F> {
    poll: Poll,
    listeners: Vec<TcpListener>,
    config: Arc<Config>,
    tls: Option<Arc<ServerConfig>>,
    limits: Limits,
    counts: Arc<Counts>,
    handle: Handle,
    make: F,
    connections: Slab<Box<Connection<H>>>,
    wheel: Wheel,
    begun: Instant,
    generation: u64,
    mail: Receiver<(Question, OwnedVerdict)>,
    mailroom: Mailroom,
    scratch: Vec<u8>,
    /// Connections that may have more to read, but had their turn.
    again: Vec<usize>,
}

impl<H: Handler, F: Fn(SocketAddr) -> H> Loop<H, F> {
    fn new(
        listeners: Vec<std::net::TcpListener>,
        config: &Arc<Config>,
        tls: &Option<Arc<ServerConfig>>,
        limits: Limits,
        counts: &Arc<Counts>,
        handle: &Handle,
        make: F,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        handle.shared.wakers.lock().unwrap_or_else(PoisonError::into_inner).push(waker.clone());
        let mut listeners: Vec<_> = listeners.into_iter().map(TcpListener::from_std).collect();
        for (index, listener) in listeners.iter_mut().enumerate() {
            poll.registry().register(listener, Token(LISTENERS + index), Interest::READABLE)?;
        }
        let (sender, mail) = mpsc::channel();
        Ok(Self {
            poll,
            listeners,
            config: config.clone(),
            tls: tls.clone(),
            limits,
            counts: counts.clone(),
            handle: handle.clone(),
            make,
            connections: Slab::new(),
            wheel: Wheel::new(0),
            begun: Instant::now(),
            generation: 0,
            mail,
            mailroom: Mailroom { sender, waker },
            scratch: vec![0; SCRATCH],
            again: Vec::new(),
        })
    }

    fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut due = Vec::new();
        let mut stopping = false;
        loop {
            if self.handle.shared.stop.load(Ordering::Acquire) && !stopping {
                stopping = true;
                self.listeners.clear();
                let keys: Vec<usize> = self.connections.iter().map(|(key, _)| key).collect();
                for key in keys {
                    self.connections[key].session.shut_down();
                    self.turn(key);
                }
            }
            if stopping && self.connections.is_empty() {
                return Ok(());
            }
            let wait = if self.again.is_empty() { Some(TICK) } else { Some(Duration::ZERO) };
            let wait = if self.connections.is_empty() { None } else { wait };
            match self.poll.poll(&mut events, wait) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            for event in &events {
                match event.token() {
                    WAKER => {}
                    Token(token) if token >= LISTENERS => self.accept(token - LISTENERS),
                    Token(key) => self.turn(key),
                }
            }
            for key in std::mem::take(&mut self.again) {
                self.turn(key);
            }
            while let Ok((question, verdict)) = self.mail.try_recv() {
                self.answered(question, &verdict);
            }
            self.wheel.advance(self.now(), &mut due);
            for (key, generation) in due.drain(..) {
                self.tick(key, generation);
            }
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis() / TICK.as_millis()).unwrap_or(u64::MAX)
    }

    fn accept(&mut self, listener: usize) {
        loop {
            let Some(listener) = self.listeners.get(listener) else { return };
            match listener.accept() {
                Ok((socket, address)) => self.welcome(socket, address),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // Such as a peer that is gone already, or no descriptors left: the others must not suffer.
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    return;
                }
            }
        }
    }

    fn welcome(&mut self, mut socket: TcpStream, address: SocketAddr) {
        if !self.counts.enter(address.ip(), self.limits) {
            // RFC 5321 3.8: 421, and the end. The socket's buffer is empty: this does not block.
            let _ = io::Write::write(&mut socket, b"421 4.7.0 Too many connections; try again later\r\n");
            let _ = socket.shutdown(std::net::Shutdown::Write);
            return;
        }
        let _ = socket.set_nodelay(true);
        let entry = self.connections.vacant_entry();
        let key = entry.key();
        self.generation += 1;
        if let Err(error) =
            self.poll.registry().register(&mut socket, Token(key), Interest::READABLE | Interest::WRITABLE)
        {
            tracing::warn!(%error, "cannot watch a connection");
            self.counts.leave(address.ip());
            return;
        }
        let session = Session::new(self.config.clone(), Channel::Plain);
        entry.insert(Box::new(Connection {
            link: Link::new(socket),
            session,
            handler: (self.make)(address),
            address,
            deferral: Deferral {
                question: Question { key, generation: self.generation, serial: 0 },
                to: self.mailroom.clone(),
            },
            parked: None,
            held: Vec::new(),
            phase: Phase::Talk,
            progress: u64::MAX,
            deadline: 0,
            scheduled: u64::MAX,
        }));
        self.turn(key);
    }

    /// A connection has something to do.
    fn turn(&mut self, key: usize) {
        let now = self.now();
        let Some(connection) = self.connections.get_mut(key) else { return };
        let more = connection.turn(&mut self.scratch, self.tls.as_ref());
        connection.restart_clock(now);
        if connection.phase == Phase::Gone {
            self.leave(key);
            return;
        }
        if more {
            self.again.push(key);
        }
        self.schedule(key);
    }

    /// A later deadline waits for the wheel to come round to the earlier one; an earlier one gets a place of its own.
    fn schedule(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.deadline < connection.scheduled {
            connection.scheduled = self.wheel.put(key, connection.deferral.question.generation, connection.deadline);
        }
    }

    fn leave(&mut self, key: usize) {
        let mut connection = self.connections.remove(key);
        let _ = self.poll.registry().deregister(connection.link.socket());
        self.counts.leave(connection.address.ip());
    }

    fn answered(&mut self, question: Question, verdict: &OwnedVerdict) {
        let key = question.key;
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.deferral.question != question {
            return;
        }
        let Some(ticket) = connection.parked.take() else { return };
        match verdict {
            OwnedVerdict::Accept => connection.session.answer(ticket, Verdict::Accept),
            OwnedVerdict::AcceptWith(words) => connection.session.answer(ticket, Verdict::AcceptWith(words)),
            OwnedVerdict::Refuse(code, (class, subject, detail), text) => {
                let reply = Reply::new(*code, Some(Enhanced::new(*class, *subject, *detail)), text)
                    .unwrap_or(Reply::fixed(451, (4, 3, 0), "Local error; try again later"));
                connection.session.answer(ticket, Verdict::Refuse(reply));
            }
        }
        self.turn(key);
    }

    /// The wheel has come round to a connection: its time may be over, or have been put off since.
    fn tick(&mut self, key: usize, generation: u64) {
        let now = self.now();
        let Some(connection) = self.connections.get_mut(key) else { return };
        // Someone else by now, or a place in the wheel that an earlier one has replaced.
        if connection.deferral.question.generation != generation || connection.scheduled > now {
            return;
        }
        connection.scheduled = u64::MAX;
        if connection.deadline <= now {
            match connection.phase {
                // The application's time is not the peer's.
                Phase::Talk if connection.parked.is_some() => connection.deadline = now + 10,
                Phase::Talk | Phase::Handshake if connection.session.state() != State::Closed => {
                    connection.session.timed_out();
                    connection.phase = Phase::Talk;
                    connection.deadline = now + LINGER_TICKS;
                    self.turn(key);
                }
                // It does not even read its last reply, or does not close.
                _ => {
                    self.leave(key);
                    return;
                }
            }
        }
        self.schedule(key);
    }
}

impl<H: Handler> Connection<H> {
    /// Does all that can be done without waiting; true when there may be more to read at once.
    fn turn(&mut self, scratch: &mut [u8], tls: Option<&Arc<ServerConfig>>) -> bool {
        match self.try_turn(scratch, tls) {
            Ok(more) => more,
            Err(error) => {
                tracing::debug!(%error, peer = %self.address, "connection lost");
                self.session.eof();
                self.tell_the_rest();
                self.phase = Phase::Gone;
                false
            }
        }
    }

    fn try_turn(&mut self, scratch: &mut [u8], tls: Option<&Arc<ServerConfig>>) -> io::Result<bool> {
        if self.phase == Phase::Handshake && !self.handshake() {
            return Ok(false);
        }
        if let Phase::Linger { mut left } = self.phase {
            let gone = self.link.drain(scratch, &mut left);
            self.phase = if gone { Phase::Gone } else { Phase::Linger { left } };
            return Ok(false);
        }
        if !self.link.flush()? {
            return Ok(false);
        }
        let mut filled = self.held.len();
        scratch.get_mut(..filled).unwrap_or_default().copy_from_slice(&self.held);
        let mut reads = 0;
        let mut drained = false;
        let more = loop {
            let mut input = scratch.get(..filled).unwrap_or_default();
            let want = self.step(&mut input);
            let left = input.len();
            scratch.copy_within(filled - left..filled, 0);
            filled = left;
            // Flush before acting on a want; and while output waits, nothing is read.
            let taken = self.link.write(self.session.output())?;
            self.session.sent(taken);
            if !self.session.output().is_empty() || !self.link.flush()? {
                break false;
            }
            match want {
                Want::Output => {}
                Want::Decision => break false,
                Want::Input if drained => break false,
                Want::Input if reads >= ROUNDS => break true,
                Want::Input => {
                    reads += 1;
                    match self.link.read(scratch.get_mut(filled..).unwrap_or_default())? {
                        Read::Octets(n, more) => {
                            filled += n;
                            drained = !more;
                        }
                        Read::Blocked => break false,
                        Read::End => self.session.eof(),
                    }
                }
                Want::Tls => {
                    let config = tls.ok_or_else(|| io::Error::other("no certificate"))?;
                    if let Err(failure) = self.link.start_tls(config.clone()) {
                        self.session.tls_failed(failure);
                        continue;
                    }
                    self.phase = Phase::Handshake;
                    drained = false;
                    if !self.handshake() {
                        break false;
                    }
                }
                Want::Close => {
                    self.link.finish();
                    let mut left = LINGER_OCTETS;
                    let gone = self.link.drain(scratch, &mut left);
                    self.phase = if gone { Phase::Gone } else { Phase::Linger { left } };
                    filled = 0;
                    break false;
                }
            }
        };
        self.held.clear();
        if filled > 0 {
            self.held.extend_from_slice(scratch.get(..filled).unwrap_or_default());
        } else if self.held.capacity() > 0 {
            self.held = Vec::new();
        }
        Ok(more)
    }

    /// True when the handshake has ended, one way or the other.
    fn handshake(&mut self) -> bool {
        match self.link.handshake() {
            Ok(None) => return false,
            Ok(Some(info)) => self.session.tls_established(info),
            Err(failure) => self.session.tls_failed(failure),
        }
        self.phase = Phase::Talk;
        true
    }

    fn step(&mut self, input: &mut &[u8]) -> Want {
        loop {
            let event = match self.session.step(input) {
                Step::Want(want) => return want,
                Step::Event(event) => event,
            };
            self.deferral.question.serial += 1;
            let peer = Peer { address: self.address, session: &self.session, deferral: &self.deferral };
            let (ticket, answer) = match event {
                Event::Chunk(text) => {
                    self.handler.chunk(text);
                    continue;
                }
                Event::Connect(ticket) => (ticket, self.handler.connect(&peer)),
                Event::Hello(host, ticket) => (ticket, self.handler.hello(&peer, &host)),
                Event::StartTls(ticket) => (ticket, Verdict::Accept.into()),
                Event::Mail(mail, ticket) => (ticket, self.handler.mail(&peer, &mail)),
                Event::Rcpt(rcpt, ticket) => (ticket, self.handler.rcpt(&peer, &rcpt)),
                Event::Data(ticket) => (ticket, self.handler.data(&peer)),
                Event::Message(end, ticket) => (ticket, self.handler.message(&peer, end)),
                Event::Reset => {
                    self.handler.reset(&peer);
                    continue;
                }
                Event::Fault(fault) => {
                    self.handler.fault(&peer, fault);
                    continue;
                }
                Event::Closed(reason) => {
                    self.handler.closed(&peer, reason);
                    continue;
                }
                _ => continue,
            };
            match answer {
                Answer::Now(verdict) => self.session.answer(ticket, verdict),
                Answer::Later => self.parked = Some(ticket),
            }
        }
    }

    /// The connection is gone: the handler hears of it all the same.
    fn tell_the_rest(&mut self) {
        let _ = self.step(&mut &[][..]);
    }

    fn restart_clock(&mut self, now: u64) {
        let ticks = |time: Duration| u64::try_from(time.as_millis() / TICK.as_millis()).unwrap_or(u64::MAX).max(1);
        match self.phase {
            Phase::Linger { .. } | Phase::Gone => {
                if self.progress != u64::MAX - 1 {
                    self.progress = u64::MAX - 1;
                    self.deadline = now + LINGER_TICKS;
                }
            }
            Phase::Talk | Phase::Handshake => {
                if self.progress != self.session.progress() {
                    self.progress = self.session.progress();
                    self.deadline = now.saturating_add(ticks(self.session.timeout()));
                }
            }
        }
    }
}
