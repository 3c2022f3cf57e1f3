//! One connection: the driver of the core, as the core's front page has it.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smtp_proto::proxy::Network;
use smtp_proto::server::{AuthTicket, Config, Event, Reason, Session, Spare, State, Ticket};
use smtp_proto::tls::TlsFailure;
use smtp_proto::{Channel, Step, Want};
use smtp_rustls::{ServerEnd, ServerTls};

use super::limits::Counters;
use crate::handler::{Answer, AuthAnswer, Given, Handler, Mailroom, Name, Peer, Question};
use crate::link::{Link, Read};
use crate::wheel::ticks;

/// Reads of one connection before others get their turn.
const ROUNDS: usize = 8;
/// Octets of a read while commands are waited for.
const COMMANDS: usize = 16 << 10;

/// For a peer to close after the last reply.
pub(crate) const LINGER_TICKS: u32 = 4;

pub(crate) type ServerLink = Link<ServerEnd>;

/// While it waits it holds no buffer, unless half a line or half a TLS record has come.
#[derive(Debug)]
pub(crate) struct Connection<H> {
    pub(crate) link: ServerLink,
    pub(crate) session: Session,
    pub(crate) address: Option<SocketAddr>,
    /// Which connection it is, of those that have its key one after the other.
    generation: u64,
    /// Counts its events.
    serial: u32,
    aside: Option<Box<Aside>>,
    pub(crate) phase: Phase,
    /// The last turn ended for want of input alone, and nothing has been said to the session since.
    hungry: bool,
    farewell: Farewell,
    progress: u64,
    /// The tick at which the peer's time is over.
    pub(crate) deadline: u32,
    /// The earliest tick at which the wheel comes round to it.
    pub(crate) scheduled: u32,
    handler: H,
}

/// What few connections hold while they wait.
#[derive(Debug, Default)]
struct Aside {
    parked: Option<Parked>,
    /// What the session left over: the beginning of a line, or what lies behind a decision.
    held: Box<[u8]>,
}

/// A decision that was put off, and if so until when.
#[derive(Debug)]
struct Parked {
    ticket: Owing,
    after: Option<(Instant, Given)>,
}

#[derive(Debug)]
enum Owing {
    Verdict(Ticket),
    Login(AuthTicket),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Talk,
    Handshake,
    /// FIN is sent: wait for the peer's.
    Linger,
    Gone,
}

/// How to part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Farewell {
    /// The last words must arrive: wait for the peer to end, too.
    Wait,
    /// The peer has said QUIT: it sends nothing more that could make a reset of our end.
    Quit,
    /// The peer has ended.
    Ended,
    /// At once, without a word.
    HangUp,
}

/// What the connections of a loop share.
#[derive(Debug)]
pub(crate) struct Common {
    /// What is read goes here, and stays only as far as a session leaves it over.
    pub(crate) plain: Vec<u8>,
    /// The same before it is decrypted.
    pub(crate) wire: Vec<u8>,
    /// What sessions need only in their turn.
    pub(crate) spare: Spare,
    pub(crate) office: Office,
}

#[derive(Debug)]
pub(crate) struct Office {
    pub(crate) config: Arc<Config>,
    pub(crate) tls: Option<ServerTls>,
    /// Who may speak for others.
    pub(crate) trusted: Arc<[Network]>,
    pub(crate) mailroom: Mailroom,
    pub(crate) counters: Arc<Counters>,
}

impl Office {
    pub(crate) fn session(&self, address: Option<SocketAddr>, channel: Channel) -> Session {
        let mut session = Session::new(self.config.clone(), channel);
        if address.is_some_and(|address| self.trusted.iter().any(|network| network.contains(address.ip()))) {
            session.trust();
        }
        session
    }
}

impl<H: Handler> Connection<H> {
    pub(crate) fn new(
        link: ServerLink,
        address: Option<SocketAddr>,
        generation: u64,
        handler: H,
        session: Session,
    ) -> Self {
        Self {
            link,
            session,
            address,
            generation,
            serial: 0,
            aside: None,
            hungry: false,
            phase: Phase::Talk,
            farewell: Farewell::Wait,
            progress: u64::MAX,
            deadline: 0,
            scheduled: u32::MAX,
            handler,
        }
    }

    /// TLS comes first (RFC 8314 3.3).
    pub(crate) fn start_with_tls(&mut self, office: &Office) {
        match self.start_tls(office) {
            Ok(()) => self.phase = Phase::Handshake,
            Err(_) => self.phase = Phase::Gone,
        }
    }

    /// Does all that can be done without waiting; true when there may be more to read at once.
    pub(crate) fn turn(&mut self, key: usize, common: &mut Common) -> bool {
        self.hungry = false;
        self.heard(key, common)
    }

    /// The same when nothing but the socket has something new.
    pub(crate) fn heard(&mut self, key: usize, common: &mut Common) -> bool {
        self.try_turn(key, common).unwrap_or_else(|error| {
            tracing::debug!(session = self.handler.session(), %error, peer = %Name(self.address), "connection lost");
            self.abandon(key, &common.office);
            false
        })
    }

    /// Ends without a word; the handler hears of it.
    fn abandon(&mut self, key: usize, office: &Office) {
        self.session.lost();
        let _ = self.step(key, &mut &[][..], office);
        self.phase = Phase::Gone;
    }

    /// Ends the session; the next turn closes the connection without a word.
    pub(crate) fn hang_up(&mut self) {
        self.farewell = Farewell::HangUp;
        self.session.eof();
    }

    fn try_turn(&mut self, key: usize, common: &mut Common) -> io::Result<bool> {
        let Common { plain, wire, spare, office } = common;
        match self.phase {
            Phase::Handshake => {
                if !self.handshake(wire, office) {
                    return Ok(false);
                }
            }
            Phase::Linger => {
                self.linger(wire);
                return Ok(false);
            }
            Phase::Gone => return Ok(false),
            Phase::Talk => {}
        }
        if self.link.is_full() && !self.link.flush()? {
            return Ok(false);
        }
        let mut filled = 0;
        if let Some(aside) = &self.aside {
            filled = aside.held.len();
            plain[..filled].copy_from_slice(&aside.held);
        }
        // Whoever talks before the greeting is found out only by looking there.
        if self.session.state() == State::Connected && !self.is_parked() {
            self.link.look();
            self.hungry = false;
            if let Read::Octets(n) = self.link.read(&mut plain[filled..], wire)? {
                filled += n;
            }
        }
        self.session.lend(spare);
        let mut reads = 0;
        let more = loop {
            let mut want = Want::Input;
            if !mem::take(&mut self.hungry) {
                let mut input = &plain[..filled];
                want = self.step(key, &mut input, office);
                let left = input.len();
                plain.copy_within(filled - left..filled, 0);
                filled = left;
                if want == Want::Close {
                    filled = 0;
                    self.part(wire);
                    break false;
                }
                // Flush before acting on a want; and while output waits, nothing is read.
                let taken = self.link.write(self.session.output())?;
                self.session.sent(taken);
                if self.link.is_full() {
                    break false;
                }
            }
            match want {
                Want::Input if reads >= ROUNDS => break true,
                Want::Input => {
                    reads += 1;
                    let room = self.room(filled, plain.len());
                    match self.link.read(&mut plain[filled..room], wire)? {
                        Read::Octets(n) => filled += n,
                        Read::Blocked => {
                            self.hungry = true;
                            break false;
                        }
                        Read::End => self.session.eof(),
                    }
                }
                Want::Tls => match self.start_tls(office) {
                    Ok(()) => {
                        self.phase = Phase::Handshake;
                        if !self.handshake(wire, office) {
                            break false;
                        }
                    }
                    Err(failure) => self.session.tls_failed(failure),
                },
                Want::Decision => break false,
                Want::Output | Want::Close => {}
            }
        };
        if filled > 0 {
            self.aside.get_or_insert_default().held = plain[..filled].into();
        } else if let Some(aside) = &mut self.aside {
            aside.held = Box::default();
            if aside.parked.is_none() {
                self.aside = None;
            }
        }
        self.session.release_to(spare);
        Ok(more)
    }

    fn start_tls(&mut self, office: &Office) -> Result<(), TlsFailure> {
        let tls = office.tls.as_ref().ok_or(TlsFailure::Refused("no certificate".into()))?;
        self.link.start_tls(tls.begin()?);
        Ok(())
    }

    /// True when the handshake has ended, one way or the other, and the session can go on.
    fn handshake(&mut self, wire: &mut [u8], office: &Office) -> bool {
        let done = match self.link.handshake(wire) {
            Ok(None) => return false,
            Ok(Some(info)) => Ok(info),
            Err(failure) => Err(failure),
        };
        self.phase = Phase::Talk;
        office.counters.handshake(done.is_ok(), self.link.is_resumed());
        // Before the greeting there is no session that could tell of it.
        let implicit = self.session.state() == State::Connected;
        let offered = self.link.offered();
        if let Err(failure) = &done {
            let (peer, offered) = (Name(self.address), offered.map(|offered| offered.version.as_str()));
            let session = self.handler.session();
            if self.link.has_begun() {
                tracing::info!(session, %peer, %failure, offered, "the TLS handshake failed");
            } else {
                // Such as a load balancer that looks whether the server is there.
                tracing::debug!(session, %peer, %failure, "no TLS handshake was begun");
            }
        }
        let tell = |session: &mut Session| offered.into_iter().for_each(|offered| session.tls_offered(offered));
        tell(&mut self.session);
        match done {
            Ok(info) if implicit => {
                self.session = office.session(self.address, Channel::Tls(info));
                tell(&mut self.session);
            }
            Ok(info) => self.session.tls_established(info),
            Err(_) if implicit => {
                self.part(wire);
                return false;
            }
            Err(failure) => self.session.tls_failed(failure),
        }
        true
    }

    /// The peer's time for the handshake is over.
    pub(crate) fn handshake_timed_out(&mut self, key: usize, common: &mut Common) -> bool {
        let (session, peer) = (self.handler.session(), Name(self.address));
        tracing::info!(session, %peer, failure = %TlsFailure::TimedOut, "the TLS handshake failed");
        if self.session.state() != State::StartTls {
            // Before the greeting there is no session that could tell of it.
            self.phase = Phase::Gone;
            return false;
        }
        self.session.timed_out();
        self.phase = Phase::Talk;
        self.turn(key, common)
    }

    /// Writes the last words, and closes: at once where nothing can be lost by it.
    fn part(&mut self, wire: &mut [u8]) {
        if self.farewell == Farewell::HangUp {
            self.phase = Phase::Gone;
            return;
        }
        match self.link.finish(self.session.output()) {
            Ok(taken) => self.session.sent(taken),
            // After a failed handshake: the alert has been its last word.
            Err(error) => {
                tracing::debug!(session = self.handler.session(), %error, peer = %Name(self.address), "no last words");
            }
        }
        if self.link.is_full() {
            return;
        }
        // Behind close_notify there may be more, and to leave that unread would reset the connection, and the last words too.
        let ended = self.farewell == Farewell::Ended && !self.link.is_tls();
        if ended || (self.farewell == Farewell::Quit && self.link.is_drained()) {
            self.phase = Phase::Gone;
            return;
        }
        self.link.shut_down();
        self.linger(wire);
    }

    fn linger(&mut self, wire: &mut [u8]) {
        self.phase = if self.link.drain(wire) { Phase::Gone } else { Phase::Linger };
    }

    /// Commands are read in small pieces: what a peer that does not read its replies leaves over is held for it.
    fn room(&self, filled: usize, all: usize) -> usize {
        let text = matches!(self.session.state(), State::Data | State::Chunk);
        if text || self.link.is_tls() { all } else { all.min(filled + COMMANDS) }
    }

    fn step<'i>(&mut self, key: usize, input: &mut &'i [u8], office: &Office) -> Want {
        let mut said: &'i [u8] = &[];
        loop {
            let before: &'i [u8] = input;
            let event = match self.session.step(input) {
                Step::Want(want) => return want,
                Step::Event(event) => event,
            };
            let taken = before.get(..before.len() - input.len()).unwrap_or_default();
            said = if taken.is_empty() { said } else { taken };
            self.serial = self.serial.wrapping_add(1);
            let peer = Peer {
                address: self.session.client_address().or(self.address),
                said,
                session: &self.session,
                question: Question { key, generation: self.generation, serial: self.serial },
                mailroom: &office.mailroom,
            };
            let mut message = None;
            let (ticket, answer) = match event {
                Event::Chunk(text) => {
                    self.handler.chunk(text);
                    continue;
                }
                Event::Xclient(client, ticket) => (ticket, self.handler.xclient(&peer, &client)),
                Event::Xforward(client, ticket) => (ticket, self.handler.xforward(&peer, &client)),
                Event::Connect(ticket) => (ticket, self.handler.connect(&peer)),
                Event::Hello(host, ticket) => (ticket, self.handler.hello(&peer, &host)),
                Event::StartTls(ticket) => (ticket, self.handler.start_tls(&peer)),
                Event::Auth(question, ticket) => {
                    match self.handler.authenticate(&peer, question) {
                        AuthAnswer::Now(login) => self.session.authenticate(ticket, login),
                        AuthAnswer::After(time, login) => {
                            self.park(Owing::Login(ticket), Some((time, Given::Login(login))));
                        }
                        AuthAnswer::Later(_) => self.park(Owing::Login(ticket), None),
                        AuthAnswer::HangUp => self.hang_up(),
                    }
                    continue;
                }
                Event::Command(verb, ticket) => (ticket, self.handler.command(&peer, verb)),
                Event::Mail(mail, ticket) => (ticket, self.handler.mail(&peer, &mail)),
                Event::Rcpt(rcpt, ticket) => (ticket, self.handler.rcpt(&peer, &rcpt)),
                Event::Data(ticket) => (ticket, self.handler.data(&peer)),
                Event::Message(end, ticket) => {
                    // LMTP asks for each recipient: one message all the same.
                    message = (end.recipient.unwrap_or(0) == 0).then_some(end.octets);
                    (ticket, self.handler.message(&peer, end))
                }
                Event::Reset => {
                    self.handler.reset(&peer);
                    continue;
                }
                Event::Fault(fault) => {
                    office.counters.fault();
                    self.handler.fault(&peer, fault);
                    continue;
                }
                Event::Closed(reason) => {
                    self.farewell = match (self.farewell, &reason) {
                        (Farewell::HangUp, _) => Farewell::HangUp,
                        (_, Reason::Quit) => Farewell::Quit,
                        (_, Reason::Eof) => Farewell::Ended,
                        _ => Farewell::Wait,
                    };
                    self.handler.closed(&peer, reason);
                    continue;
                }
                _ => continue,
            };
            if let Some(octets) = message {
                office.counters.message(octets);
            }
            match answer {
                Answer::Now(verdict) => self.session.answer(ticket, verdict),
                Answer::After(time, verdict) => {
                    self.park(Owing::Verdict(ticket), Some((time, Given::Verdict(verdict))));
                }
                Answer::Later(_) => self.park(Owing::Verdict(ticket), None),
                Answer::HangUp => self.hang_up(),
            }
        }
    }

    fn park(&mut self, ticket: Owing, after: Option<(Duration, Given)>) {
        let after = after.map(|(time, given)| (Instant::now() + time, given));
        self.aside.get_or_insert_default().parked = Some(Parked { ticket, after });
    }

    /// Whether a decision was put off.
    pub(crate) fn is_parked(&self) -> bool {
        self.aside.as_ref().is_some_and(|aside| aside.parked.is_some())
    }

    /// The answer to the decision that was put off, and when it is to be given; once, and if it is known.
    pub(crate) fn put_off(&mut self) -> Option<(Instant, Given)> {
        self.aside.as_mut()?.parked.as_mut()?.after.take()
    }

    /// Names the event that is being answered.
    pub(crate) const fn question(&self, key: usize) -> Question {
        Question { key, generation: self.generation, serial: self.serial }
    }

    /// The answer to the decision that was put off.
    pub(crate) fn answered(&mut self, given: Given) {
        let Some(parked) = self.aside.as_mut().and_then(|aside| aside.parked.take()) else { return };
        match (parked.ticket, given) {
            (Owing::Verdict(ticket), Given::Verdict(verdict)) => match verdict.as_verdict() {
                Some(verdict) => self.session.answer(ticket, verdict),
                None => self.hang_up(),
            },
            (Owing::Login(ticket), Given::Login(Some(login))) => self.session.authenticate(ticket, login),
            (Owing::Login(_), Given::Login(None)) => self.hang_up(),
            // The types of the handler's answers see to it that this does not happen.
            (Owing::Verdict(_), Given::Login(_)) | (Owing::Login(_), Given::Verdict(_)) => self.hang_up(),
        }
    }

    /// A new period begins when the session got on.
    pub(crate) fn restart_clock(&mut self, now: u32, office: &Office) {
        let (progress, time) = match self.phase {
            Phase::Talk if self.session.state() != State::Closed => {
                (self.session.progress(), ticks(self.session.timeout()))
            }
            Phase::Handshake => (u64::MAX - 2, ticks(office.config.handshake_timeout())),
            Phase::Talk | Phase::Linger | Phase::Gone => (u64::MAX - 1, LINGER_TICKS),
        };
        if self.progress != progress {
            self.progress = progress;
            self.deadline = now.saturating_add(time);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Connection;
    use crate::link::Socket;

    /// Most of what an idle connection costs: thousands wait at once.
    #[test]
    #[cfg(target_pointer_width = "64")]
    fn a_connection_that_waits_is_small() {
        // A socket has more in builds with debug assertions.
        let size = size_of::<Connection<()>>() - size_of::<Socket>();
        assert!(size <= 304, "{size} octets, without handler and socket");
    }
}
