//! One connection: the driver of the core, as the core's front page has it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use smtp_proto::server::{Event, Session, Ticket, Verdict};
use smtp_proto::{Step, Want};

use crate::event_loop::TICK;
use crate::handler::{Answer, Deferral, Handler, Peer};
use crate::link::{Link, Read};

/// Reads of one connection before others get their turn.
const ROUNDS: usize = 8;
/// For a peer to close after the last reply.
pub(crate) const LINGER_TICKS: u64 = 4;
const LINGER_OCTETS: usize = 256 << 10;

#[derive(Debug)]
pub(crate) struct Connection<H> {
    pub(crate) link: Link,
    pub(crate) session: Session,
    pub(crate) handler: H,
    pub(crate) address: SocketAddr,
    pub(crate) deferral: Deferral,
    /// The ticket of a decision that was put off.
    pub(crate) parked: Option<Ticket>,
    /// What the session left over: the beginning of a line.
    pub(crate) held: Vec<u8>,
    pub(crate) phase: Phase,
    pub(crate) progress: u64,
    /// The tick at which `session.timeout()` is over.
    pub(crate) deadline: u64,
    /// The earliest tick at which the wheel comes round to it.
    pub(crate) scheduled: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Talk,
    Handshake,
    /// FIN is sent: wait for the peer's.
    Linger {
        left: usize,
    },
    Gone,
}
impl<H: Handler> Connection<H> {
    /// Does all that can be done without waiting; true when there may be more to read at once.
    pub(crate) fn turn(&mut self, scratch: &mut [u8], tls: Option<&Arc<ServerConfig>>) -> bool {
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

    pub(crate) fn restart_clock(&mut self, now: u64) {
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
