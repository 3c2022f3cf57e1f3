//! One connection: the driver of the core, as the core's front page has it.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use smol::channel::Receiver;
use smol::future::yield_now;
use smol::stream::Stream as _;
use smtp_proto::proxy::Network;
use smtp_proto::server::{Config, Event, Session, State};
use smtp_proto::tls::TlsFailure;
use smtp_proto::{Buffer, Channel, Step, Want};
use smtp_rustls::{ServerEnd, ServerTls};

use super::limits::Places;
use crate::handler::{Handler, Name, Peer};
use crate::link::{Link, Ready};

/// Of a read buffer; a connection has one only while it has something to say.
const BUFFER: usize = 64 << 10;

/// Buffers kept for reuse.
const SPARE_BUFFERS: usize = 64;
/// Reads of one connection before others get their turn.
const ROUNDS: u32 = 16;
/// For a peer to close after the last reply.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_OCTETS: usize = 256 << 10;

pub(crate) type ServerLink = Link<ServerEnd>;

/// What all connections of a listener share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Which listener it is.
    pub(crate) listener: usize,
    pub(crate) config: Arc<Config>,
    pub(crate) tls: Option<ServerTls>,
    /// Who may speak for others.
    pub(crate) trusted: Arc<[Network]>,
    pub(crate) places: Arc<Places>,
    pub(crate) stop: Receiver<()>,
    pub(crate) spare: Arc<Mutex<Vec<Buffer>>>,
}

impl Shared {
    fn buffer(&self) -> Buffer {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| Buffer::with_capacity(BUFFER))
    }

    fn put_back(&self, buffer: Buffer) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE_BUFFERS {
            spare.push(buffer);
        }
    }
}

/// What a handler does has a block of its own while it lasts: else every idle connection would have room for the largest.
fn aside<F: Future>(handled: F) -> Pin<Box<F>> {
    Box::pin(handled)
}

/// How a connection begins.
#[derive(Debug)]
pub(crate) enum Opening {
    /// With a TLS handshake (RFC 8314 3.3).
    Tls,
    /// With the session.
    Session(Channel),
}

/// A whole connection. Nothing large is moved into what is made here: it would have its place there twice.
pub(crate) async fn converse<H: Handler>(
    shared: &Shared,
    config: Arc<Config>,
    mut link: ServerLink,
    make: impl FnOnce() -> H,
    address: Option<SocketAddr>,
    opening: Opening,
) -> io::Result<()> {
    let mut handshake = None;
    let channel = match (opening, &shared.tls) {
        (Opening::Session(channel), _) => channel,
        (Opening::Tls, None) => {
            tracing::error!(peer = %Name(address), "TLS comes first here, and there is no certificate");
            return Ok(());
        }
        (Opening::Tls, Some(tls)) => {
            let began = Instant::now();
            match Box::pin(link.handshake(tls.begin(), config.handshake_timeout())).await {
                Ok(info) => {
                    handshake = Some(began.elapsed());
                    Channel::Tls(info)
                }
                Err(failure) => {
                    // Made for its name: what is not made before the handshake takes no room while that lasts.
                    no_handshake(&link, make().session(), address, &failure);
                    link.finish();
                    return Ok(());
                }
            }
        }
    };
    let mut connection = Connection {
        shared,
        link,
        session: Session::new(config, channel),
        handler: make(),
        address,
        clock: Clock { progress: u64::MAX, deadline: Instant::now() },
        buffer: Buffer::default(),
        handshake,
        stop: Some(Box::pin(shared.stop.clone())),
    };
    connection.run().await
}

fn no_handshake(link: &ServerLink, session: Option<&str>, address: Option<SocketAddr>, failure: &TlsFailure) {
    let (peer, offered) = (Name(address), link.offered().map(|offered| offered.version.as_str()));
    if link.has_begun() {
        tracing::info!(session, %peer, %failure, offered, "the TLS handshake failed");
    } else {
        // Such as a load balancer that looks whether the server is there.
        tracing::debug!(session, %peer, %failure, "no TLS handshake was begun");
    }
}

struct Connection<'s, H> {
    shared: &'s Shared,
    link: ServerLink,
    session: Session,
    handler: H,
    address: Option<SocketAddr>,
    clock: Clock,
    /// What was read and is not used up.
    buffer: Buffer,
    handshake: Option<Duration>,
    /// Tells once that the server is stopping.
    stop: Option<Pin<Box<Receiver<()>>>>,
}

/// When the present wait is over: it begins anew when the session got on.
struct Clock {
    progress: u64,
    deadline: Instant,
}

/// What ended a wait.
enum Woken {
    Ready(io::Result<()>),
    TimedOut,
    Stopping,
}

impl<H: Handler> Connection<'_, H> {
    async fn run(&mut self) -> io::Result<()> {
        if let Some(offered) = self.link.offered() {
            self.session.tls_offered(offered);
        }
        let trusted = |address: SocketAddr| self.shared.trusted.iter().any(|network| network.contains(address.ip()));
        if self.address.is_some_and(trusted) {
            self.session.trust();
        }
        let result = self.talk().await;
        if let Err(error) = &result {
            tracing::debug!(session = self.handler.session(), peer = %Name(self.address), %error, "connection lost");
            // The handler hears of the end all the same.
            self.session.lost();
            let _ = self.step(&mut &[][..]).await;
        }
        if self.buffer.is_empty() {
            self.shared.put_back(std::mem::take(&mut self.buffer));
        }
        result
    }

    /// The driver: see the front page of the core.
    async fn talk(&mut self) -> io::Result<()> {
        // Whoever talks before the greeting is found out only by looking there.
        self.buffer = self.shared.buffer();
        if let Some(n) = self.link.read(self.buffer.space())? {
            self.buffer.add(n);
        }
        let mut rounds = 0;
        loop {
            let want = {
                let buffer = std::mem::take(&mut self.buffer);
                let mut input = buffer.filled();
                let want = self.step(&mut input).await;
                let left = input.len();
                self.buffer = buffer;
                self.buffer.keep_last(left);
                want
            };
            // First write out; and while output waits, nothing is read.
            self.write_out().await?;
            match want {
                Want::Input => {
                    rounds += 1;
                    if rounds % ROUNDS == 0 {
                        yield_now().await;
                    }
                    match self.link.read(self.buffer.space())? {
                        Some(0) => self.session.eof(),
                        Some(n) => self.buffer.add(n),
                        None => {
                            self.session.release();
                            match self.wait(Ready::Read).await {
                                Woken::Ready(result) => result?,
                                Woken::TimedOut => self.session.timed_out(),
                                Woken::Stopping => self.session.shut_down(),
                            }
                        }
                    }
                }
                Want::Output => {}
                // Every event is answered in `step`.
                Want::Decision => return Err(io::Error::other("an event without an answer")),
                Want::Tls => Box::pin(self.start_tls()).await,
                Want::Close => {
                    self.link.finish();
                    self.link.drain(LINGER_OCTETS, LINGER).await;
                    return Ok(());
                }
            }
        }
    }

    async fn start_tls(&mut self) {
        let Some(tls) = &self.shared.tls else {
            self.session.tls_failed(TlsFailure::Refused("no certificate".into()));
            return;
        };
        let began = Instant::now();
        let done = self.link.handshake(tls.begin(), self.session.timeout()).await;
        self.handshake = Some(began.elapsed());
        if let Some(offered) = self.link.offered() {
            self.session.tls_offered(offered);
        }
        match done {
            Ok(info) => self.session.tls_established(info),
            Err(failure) => {
                no_handshake(&self.link, self.handler.session(), self.address, &failure);
                self.session.tls_failed(failure);
            }
        }
    }

    /// Steps until something is wanted; the handler's return values are the answers.
    async fn step<'i>(&mut self, input: &mut &'i [u8]) -> Want {
        let mut said: &'i [u8] = &[];
        loop {
            let before: &'i [u8] = input;
            let event = match self.session.step(input) {
                Step::Want(want) => return want,
                Step::Event(event) => event,
            };
            let taken = before.get(..before.len() - input.len()).unwrap_or_default();
            said = if taken.is_empty() { said } else { taken };
            let address = self.session.client_address().or(self.address);
            let (listener, handshake) = (self.shared.listener, self.handshake);
            let peer = Peer { address, listener, handshake, said, session: &self.session };
            let (ticket, verdict) = match event {
                Event::Chunk(text) => {
                    aside(self.handler.chunk(text)).await;
                    continue;
                }
                Event::Xclient(client, ticket) => (ticket, aside(self.handler.xclient(&peer, &client)).await),
                Event::Xforward(client, ticket) => (ticket, aside(self.handler.xforward(&peer, &client)).await),
                Event::Command(verb, ticket) => (ticket, aside(self.handler.command(&peer, verb)).await),
                Event::Connect(ticket) => (ticket, aside(self.handler.connect(&peer)).await),
                Event::Hello(host, ticket) => (ticket, aside(self.handler.hello(&peer, &host)).await),
                Event::StartTls(ticket) => (ticket, aside(self.handler.start_tls(&peer)).await),
                Event::Auth(question, ticket) => {
                    let answer = aside(self.handler.authenticate(&peer, question)).await;
                    self.session.authenticate(ticket, answer);
                    continue;
                }
                Event::Mail(mail, ticket) => (ticket, aside(self.handler.mail(&peer, &mail)).await),
                Event::Rcpt(rcpt, ticket) => (ticket, aside(self.handler.rcpt(&peer, &rcpt)).await),
                Event::Data(ticket) => (ticket, aside(self.handler.data(&peer)).await),
                Event::Message(end, ticket) => (ticket, aside(self.handler.message(&peer, end)).await),
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
            self.session.answer(ticket, verdict);
        }
    }

    async fn write_out(&mut self) -> io::Result<()> {
        loop {
            let output = self.session.output();
            if output.is_empty() && self.link.flush()? {
                return Ok(());
            }
            let taken = self.link.write(output)?;
            self.session.sent(taken);
            if self.session.output().is_empty() && self.link.flush()? {
                return Ok(());
            }
            match self.wait(Ready::Write).await {
                Woken::Ready(result) => result?,
                // It does not read: there is nothing more to say to it.
                Woken::TimedOut => return Err(io::ErrorKind::TimedOut.into()),
                Woken::Stopping => self.session.shut_down(),
            }
        }
    }

    /// Waits for the socket, the session's time, or the end of the server; the last is told once.
    ///
    /// While it waits a connection has no buffer, only the half line that was in it: else every peer that leaves one
    /// unfinished would cost a whole buffer.
    async fn wait(&mut self, ready: Ready) -> Woken {
        let (progress, time) = (self.session.progress(), self.session.timeout());
        if self.clock.progress != progress {
            self.clock = Clock { progress, deadline: Instant::now() + time };
        }
        // What is being closed has no time left for long farewells.
        if self.session.state() == State::Closed {
            self.clock.deadline = self.clock.deadline.min(Instant::now() + LINGER);
        }
        let half: Box<[u8]> = self.buffer.filled().into();
        self.buffer.keep_last(0);
        self.shared.put_back(std::mem::take(&mut self.buffer));
        let (deadline, link, stop) = (self.clock.deadline, &mut self.link, &mut self.stop);
        let woken = poll_fn(|context| {
            if let Poll::Ready(waited) = link.poll(ready, deadline, context) {
                return Poll::Ready(match waited {
                    Ok(true) => Woken::Ready(Ok(())),
                    Ok(false) => Woken::TimedOut,
                    Err(error) => Woken::Ready(Err(error)),
                });
            }
            // Nobody sends anything: it is closed.
            if stop.as_mut().is_some_and(|stop| stop.as_mut().poll_next(context).is_ready()) {
                *stop = None;
                return Poll::Ready(Woken::Stopping);
            }
            Poll::Pending
        })
        .await;
        self.buffer = self.shared.buffer();
        self.buffer.extend(&half);
        woken
    }
}
