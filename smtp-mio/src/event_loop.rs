//! One event loop: a listener, its connections, their deadlines, and the answers that come later.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use rustls::ServerConfig;
use slab::Slab;
use smtp_proto::Channel;
use smtp_proto::server::{Config, Session, State, Verdict};
use smtp_proto::syntax::{Enhanced, Reply};

use crate::connection::{Connection, LINGER_TICKS, Phase};
use crate::handler::{Deferral, Handler, Mailroom, OwnedVerdict, Question};
use crate::limits::{Counts, Limits};
use crate::link::Link;
use crate::server::Handle;
use crate::wheel::Wheel;

const WAKER: Token = Token(usize::MAX);
const LISTENERS: usize = usize::MAX - 1024;
/// Read buffer of a loop, shared by its connections.
const SCRATCH: usize = 256 << 10;
pub(crate) const TICK: Duration = Duration::from_millis(500);

pub(crate) struct Loop<H, F> {
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
    pub(crate) fn new(
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

    pub(crate) fn run(mut self) -> io::Result<()> {
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
