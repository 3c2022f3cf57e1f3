//! One connection of a blast: the driver of the core's client, and the messages that go over it.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::sync::Arc;
use std::time::Instant;

use mio::net::TcpStream;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind};
use smtp_proto::client::{Awaited, Config, Event, NotNow, Session};
use smtp_proto::syntax::{Command, Mail, Params, Rcpt, ReversePath};
use smtp_proto::tls::{TlsFailure, TlsInfo, TlsVersion};
use smtp_proto::{Buffer, Channel, Step, Want};

use super::report::{Report, name};

/// Holds a whole reply, and what comes of others meanwhile.
const BUFFER: usize = 128 << 10;

/// What is the same for all connections.
pub(crate) struct Plan<'p> {
    pub(crate) config: Arc<Config>,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) server_name: ServerName<'static>,
    pub(crate) implicit_tls: bool,
    pub(crate) from: ReversePath<'p>,
    pub(crate) to: Vec<Rcpt<'p>>,
    pub(crate) text: Vec<u8>,
    pub(crate) pipeline: bool,
    pub(crate) bdat: bool,
}

pub(crate) struct Connection {
    pub(crate) socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    session: Session,
    buffer: Buffer,
    job: Option<Job>,
    /// Messages that it has carried.
    pub(crate) messages: u64,
    /// When the commands went out whose replies are still to come.
    sent: VecDeque<Instant>,
    /// When the present wait began, for what the session says by itself.
    since: Instant,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting,
    Handshake,
    Talk,
}

/// A message on its way.
struct Job {
    /// When it was due: its time runs from here, whatever held it up (no coordinated omission).
    due: Instant,
    /// Commands given: MAIL, one for each recipient, DATA.
    given: usize,
    refused: bool,
    /// Replies to the text that accepted it.
    taken: bool,
}

/// What a connection has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Now {
    /// Something must come.
    Waiting,
    /// It can take a message, or quit.
    Idle,
    Closed,
}

impl Connection {
    pub(crate) fn new(socket: TcpStream, plan: &Plan<'_>) -> Self {
        Self {
            socket,
            tls: None,
            session: Session::new(plan.config.clone(), Channel::Plain),
            buffer: Buffer::with_capacity(BUFFER),
            job: None,
            messages: 0,
            sent: VecDeque::new(),
            since: Instant::now(),
            phase: Phase::Connecting,
        }
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.job.is_some()
    }

    pub(crate) fn take(&mut self, due: Instant) {
        self.job = Some(Job { due, given: 0, refused: false, taken: false });
    }

    pub(crate) fn quit(&mut self) {
        self.since = Instant::now();
        self.session.quit();
    }

    /// Goes as far as it goes.
    pub(crate) fn drive(&mut self, plan: &Plan<'_>, report: &mut Report) -> io::Result<Now> {
        if self.phase == Phase::Connecting {
            if let Some(error) = self.socket.take_error()? {
                return Err(error);
            }
            match self.socket.peer_addr() {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(Now::Waiting),
                Err(error) => return Err(error),
            }
            self.lap("connect", report);
            report.connections += 1;
            self.phase = Phase::Talk;
            if plan.implicit_tls {
                self.start_tls(plan)?;
            }
        }
        loop {
            if self.phase == Phase::Handshake && !self.handshake(plan, report)? {
                return Ok(Now::Waiting);
            }
            let want = self.step(plan, report)?;
            if !self.write_out()? {
                return Ok(Now::Waiting);
            }
            match want {
                Want::Input => match self.read()? {
                    None => return Ok(Now::Waiting),
                    Some(0) => self.session.eof(),
                    Some(n) => self.buffer.add(n),
                },
                Want::Output => {}
                Want::Decision => {
                    if !self.go_on(plan, report)? {
                        return Ok(Now::Idle);
                    }
                }
                Want::Tls => self.start_tls(plan)?,
                Want::Close => {
                    return if self.job.is_some() { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(Now::Closed) };
                }
            }
        }
    }

    fn step(&mut self, plan: &Plan<'_>, report: &mut Report) -> io::Result<Want> {
        let mut input = self.buffer.filled();
        let want = loop {
            match self.session.step(&mut input) {
                Step::Want(want) => break want,
                Step::Event(Event::Reply(to, reply)) => {
                    let now = Instant::now();
                    let own =
                        matches!(to, Awaited::Mail | Awaited::Rcpt | Awaited::Data | Awaited::Text | Awaited::Rset);
                    // LMTP has several replies to one text; each is timed from its end.
                    let text_goes_on = to == Awaited::Text && self.sent.is_empty();
                    let began = if own && !text_goes_on { self.sent.pop_front() } else { None };
                    report.took(name(to), now - began.unwrap_or(self.since));
                    self.since = began.filter(|_| to == Awaited::Text).unwrap_or(now);
                    let code = reply.code();
                    if code >= 400 {
                        report.error(format!("{} {code}", name(to)));
                    }
                    if let Some(job) = &mut self.job {
                        job.refused |= code >= 400;
                        job.taken |= to == Awaited::Text && code < 300;
                    }
                }
                Step::Event(Event::Message(ticket)) => {
                    // By BDAT this is one command, by DATA the answer to 354.
                    self.session.finish_with(ticket, &plan.text).map_err(io::Error::other)?;
                    self.sent.push_back(Instant::now());
                }
                Step::Event(Event::Fault(fault)) => return Err(io::Error::other(fault.kind)),
                Step::Event(_) => {}
            }
        };
        let left = input.len();
        self.buffer.keep_last(left);
        Ok(want)
    }

    /// Gives as many commands as the session takes; false when there is nothing to do.
    fn go_on(&mut self, plan: &Plan<'_>, report: &mut Report) -> io::Result<bool> {
        let Some(job) = &mut self.job else { return Ok(false) };
        let all = plan.to.len() + 2;
        // In one: only when nothing is awaited is there a decision to be made.
        let given = job.given;
        while job.given < all {
            let gave = match job.given {
                0 => self.session.send(&Command::Mail(Mail { path: plan.from, params: Params::default() })),
                n if n <= plan.to.len() => self.session.send(&Command::Rcpt(plan.to[n - 1])),
                _ if plan.bdat => match self.session.begin_chunks(false) {
                    Ok(ticket) => {
                        self.session.finish_with(ticket, &plan.text).map_err(io::Error::other)?;
                        Ok(())
                    }
                    Err(not_now) => Err(not_now),
                },
                _ => self.session.send(&Command::Data),
            };
            match gave {
                Ok(()) => {
                    job.given += 1;
                    self.sent.push_back(Instant::now());
                }
                Err(NotNow::Busy) if job.given > given => return Ok(true),
                // What came before it was refused.
                Err(NotNow::State(_)) if job.refused => job.given = all,
                Err(not_now) => return Err(io::Error::other(not_now)),
            }
            if !plan.pipeline && job.given < all {
                return Ok(true);
            }
        }
        if job.given > given && !job.refused {
            return Ok(true);
        }
        if !self.session.is_idle() {
            // Accepted in part, and then given up.
            self.session.send(&Command::Rset).map_err(io::Error::other)?;
            self.sent.push_back(Instant::now());
            return Ok(true);
        }
        if job.taken {
            report.accepted += 1;
            report.octets += plan.text.len() as u64;
            report.took("message", job.due.elapsed());
        } else {
            report.refused += 1;
        }
        self.job = None;
        self.messages += 1;
        Ok(false)
    }

    fn start_tls(&mut self, plan: &Plan<'_>) -> io::Result<()> {
        let Some(config) = &plan.tls else { return Err(io::Error::other("no TLS")) };
        let tls = ClientConnection::new(config.clone(), plan.server_name.clone()).map_err(io::Error::other)?;
        self.tls = Some(Box::new(tls));
        self.phase = Phase::Handshake;
        self.since = Instant::now();
        Ok(())
    }

    /// True when it is done.
    fn handshake(&mut self, plan: &Plan<'_>, report: &mut Report) -> io::Result<bool> {
        loop {
            if !self.flush()? {
                return Ok(false);
            }
            let Some(tls) = &mut self.tls else { return Err(io::Error::other("no TLS")) };
            if !tls.is_handshaking() {
                break;
            }
            match tls.read_tls(&mut self.socket) {
                Ok(0) => return Err(io::Error::other("TLS: the server closed in the handshake")),
                Ok(_) => {
                    if let Err(error) = tls.process_new_packets() {
                        self.session.tls_failed(TlsFailure::Refused(error.to_string().into()));
                        return Err(io::Error::other(format!("TLS: {error}")));
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.lap("handshake", report);
        self.phase = Phase::Talk;
        if let Some(tls) = &self.tls {
            match tls.handshake_kind() {
                Some(HandshakeKind::Resumed) => report.resumed += 1,
                _ => report.full += 1,
            }
            let version = match tls.protocol_version() {
                Some(rustls::ProtocolVersion::TLSv1_2) => TlsVersion::Tls12,
                _ => TlsVersion::Tls13,
            };
            let info = TlsInfo::new(version, "unknown".into());
            if plan.implicit_tls {
                self.session = Session::new(plan.config.clone(), Channel::Tls(info));
            } else {
                self.session.tls_established(info);
            }
        }
        Ok(true)
    }

    fn lap(&mut self, what: &'static str, report: &mut Report) {
        let now = Instant::now();
        report.took(what, now - self.since);
        self.since = now;
    }

    /// False when the socket takes no more for now.
    fn write_out(&mut self) -> io::Result<bool> {
        loop {
            if !self.flush()? {
                return Ok(false);
            }
            let output = self.session.output();
            if output.is_empty() {
                return Ok(true);
            }
            let taken = match &mut self.tls {
                Some(tls) if self.phase == Phase::Talk => tls.writer().write(output),
                _ => self.socket.write(output),
            };
            match taken {
                Ok(n) => self.session.sent(n),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn flush(&mut self) -> io::Result<bool> {
        let Some(tls) = &mut self.tls else { return Ok(true) };
        while tls.wants_write() {
            match tls.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn read(&mut self) -> io::Result<Option<usize>> {
        let read = loop {
            let read = match &mut self.tls {
                None => self.socket.read(self.buffer.space()),
                Some(tls) => match tls.reader().read(self.buffer.space()) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => match tls.read_tls(&mut self.socket) {
                        Ok(0) => Ok(0),
                        Ok(_) => {
                            tls.process_new_packets().map_err(io::Error::other)?;
                            continue;
                        }
                        Err(error) => Err(error),
                    },
                    Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(0),
                    other => other,
                },
            };
            match read {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        match read {
            Ok(n) => Ok(Some(n)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}
