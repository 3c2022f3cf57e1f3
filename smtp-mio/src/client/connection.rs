//! One connection of a client: the driver of the core, and the message that goes over it.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Registry, Token};
use smtp_proto::auth::Nonce;
use smtp_proto::client::{
    Awaited, Envelope, Event as Told, NoConnection, Progress, Reason, Session, State, Tls, Transaction,
};
use smtp_proto::tls::TlsFailure;
use smtp_proto::{Channel, Step, Want};
use smtp_rustls::ClientEnd;

use super::attempts::Attempts;
use super::sender::{Closed, Key, Line, Next, Sender, Text};
use super::settings::{Scratch, Settings};
use super::target::Target;
use crate::link::{Link, Read};
use crate::wheel::ticks;

/// Reads of one connection before others get their turn.
const ROUNDS: usize = 8;
/// A text of at most so many octets goes out in one piece with its end; of a longer one, so many at a time wait in memory.
const PIECE: usize = 64 << 10;

/// While it waits it holds no buffer, unless half a reply or half a TLS record has come.
pub(super) struct Connection<'e> {
    pub(super) key: Key,
    target: Target,
    address: SocketAddr,
    attempts: Attempts,
    /// Once it is connected.
    link: Option<Link<ClientEnd>>,
    session: Session,
    /// What the session left over: the beginning of a reply.
    held: Vec<u8>,
    pub(super) phase: Phase,
    job: Option<Job<'e>>,
    /// Of the last message, for its memory.
    spare: Option<Transaction<'e>>,
    /// The sender said to wait.
    waiting: bool,
    /// QUIT is to be said when the message is done.
    pub(super) quitting: bool,
    /// Nothing more can be written; what the server said last may be there to be read.
    broken: Option<io::Error>,
    end: Option<Closed>,
    /// When the commands were given whose replies are still to come.
    given: VecDeque<Instant>,
    /// When what goes on now began: the connection, the handshake.
    since: Instant,
    progress: u64,
    /// The tick at which the server's time is over.
    pub(super) deadline: u32,
    /// The tick at which that of connecting is.
    connect_deadline: u32,
    /// The earliest tick at which the wheel comes round to it.
    pub(super) scheduled: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Connect,
    Handshake,
    Talk,
    Gone,
}

/// A message on its way.
struct Job<'e> {
    transaction: Transaction<'e>,
    text: Text<'e>,
}

/// What a connection needs.
enum Needs {
    Session(Want),
    /// The next piece of the text.
    Text,
    /// Something to do.
    Job,
}

impl<'e> Connection<'e> {
    pub(super) fn new(target: Target, key: Key, settings: &Settings) -> Self {
        Self {
            key,
            target,
            address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            attempts: Attempts::new(),
            link: None,
            session: Session::new(settings.config.clone(), Channel::Plain),
            held: Vec::new(),
            phase: Phase::Connect,
            job: None,
            spare: None,
            waiting: false,
            quitting: false,
            broken: None,
            end: None,
            given: VecDeque::new(),
            since: Instant::now(),
            progress: u64::MAX,
            deadline: u32::MAX,
            connect_deadline: u32::MAX,
            scheduled: u32::MAX,
        }
    }

    /// Begins to connect to the next address.
    pub(super) fn try_next(&mut self, registry: &Registry) -> Result<(), NoConnection> {
        self.attempts.next(&self.target, registry, Token(self.key.slot)).map_err(|error| NoConnection::from(&error))
    }

    pub(super) const fn is_waiting(&self) -> bool {
        self.waiting && !self.quitting
    }

    /// Something happened on its socket.
    pub(super) fn told(&mut self, event: &Event) {
        if let Some(link) = &mut self.link {
            link.told(event);
        }
    }

    pub(super) fn begin(&mut self, envelope: Envelope<'e>, text: Text<'e>) {
        self.waiting = false;
        let transaction = match self.spare.take() {
            Some(spare) => spare.next(envelope),
            None => Transaction::new(envelope),
        };
        self.job = Some(Job { transaction, text });
    }

    /// Does all that can be done without waiting; true when there may be more to do at once.
    pub(super) fn turn(
        &mut self,
        settings: &Settings,
        registry: &Registry,
        scratch: &mut Scratch,
        sender: &mut impl Sender<'e>,
    ) -> bool {
        if self.quitting && self.is_before_ready() && self.end.is_none() {
            self.end = Some(Closed::Session(Reason::Abandoned));
        }
        if self.phase == Phase::Connect && self.end.is_none() {
            match self.attempts.connected(&self.target, registry, Token(self.key.slot)) {
                Ok(None) => return false,
                Ok(Some((socket, address))) => self.connected(settings, Link::new(socket), address, sender),
                Err(error) => self.end = Some(not_connected((&error).into())),
            }
        }
        let more = self.end.is_none() && self.drive(settings, scratch, sender);
        if let Some(end) = self.end.take() {
            if let Some(link) = self.link.as_mut().filter(|_| self.broken.is_none()) {
                let _ = link.finish(self.session.output());
            }
            sender.closed(&self.line(), &end);
            self.phase = Phase::Gone;
        }
        more
    }

    /// The server's time, or that of connecting, is over.
    pub(super) fn timed_out(&mut self, now: u32, registry: &Registry) {
        match self.phase {
            Phase::Connect if self.connect_deadline <= now => {
                self.end = Some(not_connected(NoConnection::TimedOut));
            }
            Phase::Connect => self.end = self.try_next(registry).err().map(not_connected),
            Phase::Handshake if self.is_before_session() => self.end = Some(Closed::Tls(TlsFailure::TimedOut)),
            Phase::Handshake | Phase::Talk => {
                self.session.timed_out();
                self.phase = Phase::Talk;
            }
            Phase::Gone => {}
        }
    }

    /// Connecting is over at the tick `deadline`.
    pub(super) fn set_clock(&mut self, now: u32, deadline: u32) {
        self.connect_deadline = deadline;
        self.deadline = if self.attempts.has_more(&self.target) { deadline.min(now + 1) } else { deadline };
    }

    /// A new period begins when the session got on.
    pub(super) fn restart_clock(&mut self, now: u32, settings: &Settings) {
        let (progress, time) = match self.phase {
            Phase::Connect => {
                self.set_clock(now, self.connect_deadline);
                return;
            }
            Phase::Handshake => (u64::MAX - 2, ticks(settings.config.handshake_timeout())),
            Phase::Talk if self.waiting => (u64::MAX - 1, u32::MAX),
            Phase::Talk | Phase::Gone => (self.session.progress(), ticks(self.session.timeout())),
        };
        if self.progress != progress {
            self.progress = progress;
            self.deadline = now.saturating_add(time);
        }
    }

    fn connected(
        &mut self,
        settings: &Settings,
        link: Link<ClientEnd>,
        address: SocketAddr,
        sender: &mut impl Sender<'e>,
    ) {
        self.address = address;
        self.phase = Phase::Talk;
        sender.connected(&self.line(), self.since.elapsed());
        // What came with the connection has been told already.
        self.link.insert(link).look();
        if self.target.is_implicit_tls() {
            self.start_tls(settings);
        } else {
            self.authenticate(settings);
        }
    }

    /// Goes as far as it goes.
    fn drive(&mut self, settings: &Settings, scratch: &mut Scratch, sender: &mut impl Sender<'e>) -> bool {
        if self.phase == Phase::Handshake && !self.handshake(settings, scratch, sender) {
            return false;
        }
        let mut filled = self.held.len();
        scratch.plain[..filled].copy_from_slice(&self.held);
        let mut rounds = 0;
        let more = loop {
            let mut input = &scratch.plain[..filled];
            let needs = self.step(&mut input, sender);
            let left = input.len();
            scratch.plain.copy_within(filled - left..filled, 0);
            filled = left;
            if matches!(needs, Needs::Session(Want::Close)) {
                let lost = self.broken.take().map(Closed::Io);
                self.end = lost.or(self.end.take()).or(Some(Closed::Session(Reason::Eof)));
                return false;
            }
            // Flush before acting on a want; and while output waits, nothing is read.
            if self.broken.is_none() {
                match self.write_out() {
                    Ok(true) => {}
                    Ok(false) => break false,
                    Err(error) => self.broken = Some(error),
                }
            }
            let mut read = false;
            match needs {
                // The server's last words, such as 421, may be there to be read.
                _ if self.broken.is_some() => read = true,
                Needs::Text => self.write_text(),
                Needs::Job if self.quitting => self.session.quit(),
                // The server may have said or done something meanwhile, such as closed.
                Needs::Job if self.waiting => read = true,
                Needs::Job => match sender.ready(&self.line()) {
                    Next::Send(envelope, text) => self.begin(envelope, text),
                    Next::Wait => self.waiting = true,
                    Next::Quit => self.session.quit(),
                },
                Needs::Session(Want::Tls) => {
                    self.start_tls(settings);
                    if self.phase == Phase::Handshake && !self.handshake(settings, scratch, sender) {
                        break false;
                    }
                }
                Needs::Session(_) => read = true,
            }
            if read {
                match self.read(scratch, filled) {
                    Read::Octets(n) => filled += n,
                    Read::Blocked if self.broken.is_none() => break false,
                    Read::Blocked | Read::End => self.session.eof(),
                }
            }
            // The others get their turn.
            rounds += 1;
            if rounds >= ROUNDS {
                break true;
            }
        };
        if filled > 0 {
            self.held.clear();
            self.held.extend_from_slice(&scratch.plain[..filled]);
        } else if self.held.capacity() > 0 {
            self.held = Vec::new();
        }
        if self.waiting {
            self.session.release();
        }
        more
    }

    /// Steps until something is needed.
    fn step(&mut self, input: &mut &[u8], sender: &mut impl Sender<'e>) -> Needs {
        loop {
            let (key, given) = (self.key, &mut self.given);
            let mut seen = |told: &Told<'_>| {
                if let Told::Reply(to, reply) = told {
                    let began = match to {
                        Awaited::Nothing => None,
                        // LMTP has several replies to one text, each timed from its end.
                        Awaited::Text => given.front().copied(),
                        _ => given.pop_front(),
                    };
                    sender.reply(key, *to, reply, began.map_or(Duration::ZERO, |began| began.elapsed()));
                }
            };
            let needs = match &mut self.job {
                Some(job) => match job.transaction.step_with(&mut self.session, input, seen) {
                    Progress::Want(want) => Some(Needs::Session(want)),
                    Progress::Text => Some(Needs::Text),
                    Progress::Done => None,
                },
                None => match self.session.step(input) {
                    Step::Want(Want::Decision) => Some(Needs::Job),
                    Step::Want(want) => Some(Needs::Session(want)),
                    Step::Event(told) => {
                        seen(&told);
                        if let Told::Closed(reason) = told {
                            self.end = Some(Closed::Session(reason));
                        }
                        None
                    }
                },
            };
            self.keep_times();
            if let Some(needs) = needs {
                return needs;
            }
            if let Some(Job { transaction, .. }) = self.job.take() {
                self.end = transaction.closed().cloned().map(Closed::Session);
                sender.done(&self.line(), &transaction);
                self.spare = Some(transaction);
            }
        }
    }

    /// As many times as there are replies to come.
    fn keep_times(&mut self) {
        let awaited = self.session.awaited();
        while self.given.len() > awaited {
            self.given.pop_front();
        }
        if self.given.len() < awaited {
            self.given.resize(awaited, Instant::now());
        }
    }

    /// The next piece of the text, and if it is the last the end. What goes wrong is an outcome; what was not taken, since
    /// a reply must come first, stays for the next time.
    fn write_text(&mut self) {
        let Some(Job { transaction, text }) = &mut self.job else { return };
        let session = &mut self.session;
        match text {
            Text::Whole(text) => match text.split_at_checked(PIECE) {
                Some((piece, rest)) if !rest.is_empty() => {
                    if transaction.write(session, piece).is_ok() {
                        *text = rest;
                    }
                }
                _ => {
                    let _ = transaction.finish_with(session, text);
                }
            },
            Text::Read(reader) => match reader.fill_buf() {
                Ok([]) => {
                    let _ = transaction.finish(session);
                }
                Ok(piece) => {
                    let piece = piece.get(..PIECE).unwrap_or(piece);
                    let taken = transaction.write(session, piece).map_or(0, |()| piece.len());
                    reader.consume(taken);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::warn!(%error, "a text cannot be read");
                    session.abandon();
                }
            },
        }
    }

    /// True when nothing waits to be written any more.
    fn write_out(&mut self) -> io::Result<bool> {
        let Some(link) = &mut self.link else { return Ok(true) };
        let output = self.session.output();
        // The end of a handshake goes out with what the session says behind it.
        if (link.is_full() || output.is_empty()) && !link.flush()? {
            return Ok(false);
        }
        let taken = link.write(output)?;
        self.session.sent(taken);
        Ok(!link.is_full())
    }

    fn read(&mut self, scratch: &mut Scratch, filled: usize) -> Read {
        let Some(link) = &mut self.link else { return Read::End };
        let Scratch { plain, wire } = scratch;
        // What is decrypted always finds room behind what a session leaves over.
        if plain.len() < filled + wire.len() {
            plain.resize(filled + wire.len(), 0);
        }
        link.read(&mut plain[filled..], wire).unwrap_or_else(|error| {
            self.broken.get_or_insert(error);
            Read::End
        })
    }

    fn start_tls(&mut self, settings: &Settings) {
        self.since = Instant::now();
        let verify = settings.config.tls_policy() == Tls::Verify;
        let begun = match &settings.tls {
            Some(tls) => tls.begin(verify, &self.target.name, self.address.ip()),
            None => Err(TlsFailure::Refused("nobody is trusted".into())),
        };
        let Some(link) = &mut self.link else { return };
        let begun = begun.and_then(|tls| {
            link.start_tls(tls);
            link.speak_first()
        });
        match begun {
            Ok(()) => self.phase = Phase::Handshake,
            Err(failure) => self.no_handshake(failure),
        }
    }

    /// True when it has ended, one way or the other, and the session can go on.
    fn handshake(&mut self, settings: &Settings, scratch: &mut Scratch, sender: &mut impl Sender<'e>) -> bool {
        let Some(link) = &mut self.link else { return false };
        match link.handshake(&mut scratch.wire) {
            Ok(None) => return false,
            Ok(Some(info)) => {
                self.phase = Phase::Talk;
                let time = self.since.elapsed();
                if self.is_before_session() {
                    self.session = Session::new(settings.config.clone(), Channel::Tls(info));
                    self.authenticate(settings);
                    self.given.clear();
                } else {
                    self.session.tls_established(info);
                }
                sender.encrypted(&self.line(), time);
            }
            Err(failure) => {
                self.phase = Phase::Talk;
                self.no_handshake(failure);
            }
        }
        self.end.is_none()
    }

    fn no_handshake(&mut self, failure: TlsFailure) {
        if self.is_before_session() {
            self.end = Some(Closed::Tls(failure));
        } else {
            self.session.tls_failed(failure);
        }
    }

    /// The server has yet to say who it is: no QUIT is owed to it.
    fn is_before_ready(&self) -> bool {
        matches!(self.session.state(), State::Connected | State::Greeted | State::StartTls)
    }

    /// TLS comes first, and has not come.
    fn is_before_session(&self) -> bool {
        self.target.is_implicit_tls() && self.session.tls().is_none()
    }

    fn authenticate(&mut self, settings: &Settings) {
        let Some(credentials) = &settings.credentials else { return };
        let mut random = [0; 18];
        match getrandom::fill(&mut random) {
            Ok(()) => self.session.authenticate(credentials.clone(), Nonce::new(&random)),
            Err(_) => self.end = Some(not_connected(NoConnection::Other("no random numbers".into()))),
        }
    }

    fn line(&self) -> Line<'_> {
        let resumed = self.link.as_ref().is_some_and(Link::is_resumed);
        Line { key: self.key, address: self.address, session: &self.session, resumed }
    }
}

const fn not_connected(why: NoConnection) -> Closed {
    Closed::Session(Reason::NotConnected(why))
}
