//! One event loop: listeners, their connections, their deadlines, and the answers that come later.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;
use smtp_proto::proxy::Network;
use smtp_proto::server::{Config, Spare, State};
use smtp_proto::tls::Channel;
use smtp_rustls::ServerTls;

use super::connection::{Common, Connection, Office, Phase};
use super::handle::{Accepted, Handle, Of};
use super::limits::{Counters, Counts, Limits};
use super::listener::{First, Listener};
use super::proxy::Antechamber;
use crate::handler::{Given, Handler, Mailroom, Name, Question};
use crate::link::{Link, Socket};
use crate::wheel::{TICK, Wheel, gone_by, ticks};

const WAKER: Token = Token(usize::MAX);
const LISTENERS: usize = usize::MAX - 1024;
/// Those who have yet to send their PROXY header.
const ANTECHAMBER: usize = usize::MAX / 2;
/// What connections share to read into: plaintext, and what is yet to be decrypted. The first is larger by more than a
/// session leaves over, so that what was decrypted always finds room.
const PLAIN: usize = 256 << 10;
const WIRE: usize = 128 << 10;

pub(crate) struct Loop<H, F> {
    poll: Poll,
    listeners: Vec<Listener>,
    limits: Limits,
    counts: Arc<Counts>,
    handle: Handle,
    make: F,
    connections: Slab<Box<Connection<H>>>,
    antechamber: Antechamber,
    common: Common,
    wheel: Wheel,
    begun: Instant,
    /// The tick it is.
    now: u32,
    generation: u64,
    mail: Receiver<(Question, Given)>,
    /// Connections that were accepted elsewhere.
    accepted: Receiver<Accepted>,
    /// Answers that wait for their time.
    delayed: BTreeMap<(Instant, Question), Given>,
    /// Connections that may have more to read, but had their turn.
    again: Vec<usize>,
    /// Descriptors ran out: there may be connections that wait to be accepted.
    accept_again: bool,
}

impl<H: Handler, F: Fn(Option<SocketAddr>) -> H> Loop<H, F> {
    pub(crate) fn new(
        mut listeners: Vec<Listener>,
        config: Arc<Config>,
        (tls, trusted): (Option<ServerTls>, Arc<[Network]>),
        limits: Limits,
        counts: Arc<Counts>,
        handle: Handle,
        make: F,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        for (index, listener) in listeners.iter_mut().enumerate() {
            poll.registry().register(listener.door.source(), Token(LISTENERS + index), Interest::READABLE)?;
        }
        let counters = Arc::new(Counters::default());
        let (door, accepted) = mpsc::channel();
        handle.join(Of { waker: waker.clone(), counters: counters.clone(), door });
        let (sender, mail) = mpsc::channel();
        let mailroom = Mailroom { sender, waker };
        Ok(Self {
            poll,
            listeners,
            limits,
            counts,
            handle,
            make,
            connections: Slab::new(),
            antechamber: Antechamber::default(),
            common: Common {
                plain: vec![0; PLAIN],
                wire: vec![0; WIRE],
                spare: Spare::default(),
                office: Office { config, tls, trusted, mailroom, counters },
            },
            wheel: Wheel::new(0),
            begun: Instant::now(),
            now: 0,
            generation: 0,
            mail,
            accepted,
            delayed: BTreeMap::new(),
            again: Vec::new(),
            accept_again: false,
        })
    }

    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut due = Vec::new();
        let mut stopping = false;
        let mut deadline = None;
        loop {
            if self.handle.is_stopped() && !stopping {
                stopping = true;
                deadline = Instant::now().checked_add(self.limits.drain);
                self.listeners.clear();
                (0..self.antechamber.clear()).for_each(|_| self.counts.leave(None));
                let keys: Vec<usize> = self.connections.iter().map(|(key, _)| key).collect();
                for key in keys {
                    self.connections[key].session.shut_down();
                    self.turn(key);
                }
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                self.cut_off();
            }
            if stopping && self.connections.is_empty() {
                return Ok(());
            }
            match self.poll.poll(&mut events, self.wait()) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            self.now = gone_by(self.begun.elapsed());
            let mut woken = false;
            for event in &events {
                match event.token() {
                    WAKER => woken = true,
                    Token(token) if token >= LISTENERS => self.accept(token - LISTENERS),
                    Token(token) if token >= ANTECHAMBER => self.announced(token - ANTECHAMBER),
                    Token(key) => {
                        if let Some(connection) = self.connections.get_mut(key) {
                            connection.link.told(event);
                            self.act(key, |connection, common| connection.heard(key, common));
                        }
                    }
                }
            }
            for key in std::mem::take(&mut self.again) {
                self.turn(key);
            }
            // Whoever sends something wakes the loop behind it.
            if woken {
                while let Ok((question, given)) = self.mail.try_recv() {
                    self.answered(question, given);
                }
                while let Ok(Accepted { socket, address, tls }) = self.accepted.try_recv() {
                    self.let_in(TcpStream::from_std(socket).into(), Some(address), tls, stopping);
                }
            }
            self.answer_delayed();
            while let Some(late) = self.antechamber.late(self.now) {
                tracing::warn!(peer = %late.balancer, "no PROXY header from a load balancer in time");
                self.counts.leave(None);
            }
            self.wheel.advance(self.now, &mut due);
            for key in due.drain(..) {
                self.tick(key);
            }
            if self.accept_again {
                self.accept_again = false;
                (0..self.listeners.len()).for_each(|listener| self.accept(listener));
            }
        }
    }

    /// How long to wait for something to happen.
    fn wait(&self) -> Option<Duration> {
        if !self.again.is_empty() {
            return Some(Duration::ZERO);
        }
        let idle = self.connections.is_empty() && self.antechamber.is_empty() && !self.accept_again;
        let tick = (!idle).then_some(TICK);
        let delayed = self.delayed.first_key_value().map(|((at, _), _)| at.saturating_duration_since(Instant::now()));
        match (tick, delayed) {
            // Polling counts milliseconds: not a little too early, again and again.
            (Some(tick), Some(delayed)) => Some(tick.min(delayed + Duration::from_millis(1))),
            (tick, _) => tick,
        }
    }

    fn accept(&mut self, index: usize) {
        loop {
            let Some(listener) = self.listeners.get(index) else { return };
            match listener.door.accept() {
                Ok((socket, address)) => self.welcome(socket, address, index),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // Such as a peer that is gone already.
                Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted) => {
                }
                // Such as no descriptors left: the others must not suffer. This edge will not be told again.
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    self.accept_again = true;
                    return;
                }
            }
        }
    }

    fn welcome(&mut self, socket: Socket, address: Option<SocketAddr>, listener: usize) {
        let Some(Listener { first, .. }) = self.listeners.get(listener) else { return };
        let First { proxy, tls, tls_before } = first;
        let (tls, tls_before) = (*tls, *tls_before);
        let (Some(from), Socket::Tcp(_)) = (proxy, &socket) else {
            self.let_in(socket, address, tls, false);
            return;
        };
        let (Socket::Tcp(mut socket), Some(address)) = (socket, address) else { return };
        if !from.iter().any(|network| network.contains(address.ip())) {
            tracing::warn!(peer = %address, "not one of the load balancers that may connect here");
            return;
        }
        if !self.counts.enter(self.limits) {
            self.turn_away(&mut socket.into(), !tls);
            return;
        }
        let token = Token(ANTECHAMBER + self.antechamber.next_key());
        if let Err(error) = self.poll.registry().register(&mut socket, token, Interest::READABLE) {
            tracing::warn!(%error, "cannot watch a connection");
            self.counts.leave(None);
            return;
        }
        self.generation += 1;
        let deadline = self.now.saturating_add(ticks(self.limits.proxy_time));
        self.antechamber.add(socket, address, (tls, tls_before), self.generation, deadline);
    }

    /// A connection of a client that is known, if there is a place for it.
    fn let_in(&mut self, mut socket: Socket, address: Option<SocketAddr>, tls: bool, stopping: bool) {
        if stopping {
            let _ = socket.shutdown(std::net::Shutdown::Both);
        } else if self.counts.enter(self.limits) {
            self.take_in(socket, address, (tls, Channel::Plain), false);
        } else {
            self.turn_away(&mut socket, !tls);
        }
    }

    /// Something of a PROXY header has come.
    fn announced(&mut self, key: usize) {
        match self.antechamber.turn(key) {
            None => {}
            Some((waiting, Ok((client, channel)))) => {
                self.take_in(waiting.socket.into(), Some(client), (waiting.implicit_tls, channel), true);
            }
            Some((waiting, Err(error))) if error.kind() == io::ErrorKind::ConnectionAborted => {
                tracing::debug!(peer = %waiting.balancer, "closed without a word");
                self.counts.leave(None);
            }
            Some((waiting, Err(error))) => {
                tracing::warn!(peer = %waiting.balancer, %error, "no PROXY header from a load balancer");
                self.counts.leave(None);
            }
        }
    }

    /// For a connection that has no place.
    fn turn_away(&self, socket: &mut Socket, tell: bool) {
        self.common.office.counters.turned_away();
        if tell {
            // RFC 5321 3.8: 421, and the end. The socket's buffer is empty: this does not block.
            let _ = io::Write::write(socket, b"421 4.7.0 Too many connections; try again later\r\n");
        }
        let _ = socket.shutdown(std::net::Shutdown::Write);
    }

    /// A connection that has a place, of a client that is known now.
    fn take_in(
        &mut self,
        mut socket: Socket,
        address: Option<SocketAddr>,
        (implicit_tls, channel): (bool, Channel),
        watched: bool,
    ) {
        let ip = address.map(|address| address.ip());
        if ip.is_some_and(|ip| !self.counts.enter_as(ip, self.limits)) {
            self.counts.leave(None);
            self.turn_away(&mut socket, !implicit_tls);
            return;
        }
        let entry = self.connections.vacant_entry();
        let (key, registry) = (entry.key(), self.poll.registry());
        let result = match watched {
            true => registry.reregister(&mut socket, Token(key), Interest::READABLE),
            false => registry.register(&mut socket, Token(key), Interest::READABLE),
        };
        if let Err(error) = result {
            tracing::warn!(%error, "cannot watch a connection");
            self.counts.leave(ip);
            return;
        }
        let office = &self.common.office;
        office.counters.connected();
        self.generation += 1;
        let mut connection = Connection::new(
            Link::new(socket),
            address,
            self.generation,
            (self.make)(address),
            office.session(address, channel),
        );
        if implicit_tls {
            connection.start_with_tls(office);
        }
        entry.insert(Box::new(connection));
        self.turn(key);
    }

    /// A connection has something to do.
    fn turn(&mut self, key: usize) {
        self.act(key, |connection, common| connection.turn(key, common));
    }

    fn act(&mut self, key: usize, act: impl FnOnce(&mut Connection<H>, &mut Common) -> bool) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let was_full = connection.link.is_full();
        let Ok(more) = catch_unwind(AssertUnwindSafe(|| act(connection, &mut self.common))) else {
            // A handler that panics ends its own connection and no other.
            tracing::error!(peer = %Name(connection.address), "a handler panicked; its connection is closed");
            self.leave(key);
            return;
        };
        connection.restart_clock(self.now, &self.common.office);
        if connection.phase == Phase::Gone {
            self.leave(key);
            return;
        }
        if more {
            self.again.push(key);
        }
        if connection.link.is_full() != was_full {
            let interest = if was_full { Interest::READABLE } else { Interest::READABLE | Interest::WRITABLE };
            if let Err(error) = self.poll.registry().reregister(connection.link.socket(), Token(key), interest) {
                tracing::warn!(%error, "cannot watch a connection");
                self.leave(key);
                return;
            }
        }
        if let Some((at, given)) = connection.put_off() {
            self.delayed.insert((at, connection.question(key)), given);
        }
        self.schedule(key);
    }

    /// A later deadline waits for the wheel to come round to the earlier one; an earlier one gets a place of its own.
    fn schedule(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.deadline < connection.scheduled {
            connection.scheduled = self.wheel.put(key, connection.deadline);
        }
    }

    /// Ends all connections, whatever their peers do. Each handler hears of it.
    fn cut_off(&mut self) {
        let keys: Vec<usize> = self.connections.iter().map(|(key, _)| key).collect();
        if !keys.is_empty() {
            tracing::warn!(connections = keys.len(), "the time to end is over: connections are cut off");
        }
        for key in keys {
            self.connections[key].session.lost();
            self.turn(key);
            if self.connections.contains(key) {
                self.leave(key);
            }
        }
    }

    fn leave(&mut self, key: usize) {
        let connection = self.connections.remove(key);
        // Closing the socket takes it out of the poll.
        self.counts.leave(connection.address.map(|address| address.ip()));
        self.common.office.counters.closed();
    }

    fn answer_delayed(&mut self) {
        if self.delayed.is_empty() {
            return;
        }
        let now = Instant::now();
        while let Some(entry) = self.delayed.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((_, question), given) = entry.remove_entry();
            self.answered(question, given);
        }
    }

    fn answered(&mut self, question: Question, given: Given) {
        let Some(connection) = self.connections.get_mut(question.key) else { return };
        if connection.question(question.key) != question || !connection.is_parked() {
            return;
        }
        connection.answered(given);
        self.turn(question.key);
    }

    /// The wheel has come round to a connection: its time may be over, or have been put off since.
    fn tick(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        // A place in the wheel that an earlier one has replaced, or of somebody who had the key before.
        if connection.scheduled > self.now {
            return;
        }
        connection.scheduled = u32::MAX;
        if connection.deadline <= self.now {
            match connection.phase {
                // The application's time is not the peer's.
                Phase::Talk if connection.is_parked() => connection.deadline = self.now + 10,
                Phase::Talk if connection.session.state() != State::Closed => {
                    connection.session.timed_out();
                    self.turn(key);
                    return;
                }
                Phase::Handshake => {
                    self.act(key, |connection, common| connection.handshake_timed_out(key, common));
                    return;
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
