//! One connection: the driver of the core, as the core's front page has it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use smol::channel::Receiver;
use smol::future::yield_now;
use smtp_proto::proxy::Network;
use smtp_proto::server::{Config, Event, Reason, Session, Spare, State};
use smtp_proto::tls::TlsFailure;
use smtp_proto::{Buffer, Channel, Step, Want};
use smtp_rustls::{ServerEnd, ServerTls};

use super::limits::Places;
use crate::handler::{Handler, Name, Peer};
use crate::link::Link;
use crate::socket::Ready;

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

thread_local! {
    /// Memory that the sessions of a thread need in their turn, and give back before they wait for input.
    static SPARE: RefCell<Spare> = RefCell::default();
}

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
    /// Closed when the server has waited long enough.
    pub(crate) cut_off: Receiver<()>,
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

/// How a connection begins.
#[derive(Debug)]
pub(crate) enum Opening {
    /// With a TLS handshake (RFC 8314 3.3).
    Tls,
    /// With the session.
    Session(Channel),
}

/// Resolves when the server has waited long enough. Beside a connection, in one task: as soon as the server stops, the
/// connection is polled once more, and sees that. So it need not listen for it by itself.
pub(crate) async fn cut_off(shared: Arc<Shared>) {
    let _ = shared.stop.recv().await;
    yield_now().await;
    let _ = shared.cut_off.recv().await;
}

/// What comes before the session. `None`: it has come to nothing, and that has been told.
///
/// This is dropped before the session begins, if it has a block of its own, and all that it needs is moved into it: what a
/// task was made with keeps its room there to the end.
pub(crate) async fn open<H: Handler>(
    shared: Arc<Shared>,
    config: Arc<Config>,
    mut link: ServerLink,
    make: impl FnOnce() -> H,
    address: Option<SocketAddr>,
    opening: Opening,
) -> Option<Connection<H>> {
    let mut handshake = None;
    let channel = match (opening, &shared.tls) {
        (Opening::Session(channel), _) => channel,
        (Opening::Tls, None) => {
            tracing::error!(peer = %Name(address), "TLS comes first here, and there is no certificate");
            return None;
        }
        (Opening::Tls, Some(tls)) => {
            let began = Instant::now();
            match link.handshake(tls.begin(), config.handshake_timeout()).await {
                Ok(info) => {
                    handshake = Some(began.elapsed());
                    Channel::Tls(info)
                }
                Err(failure) => {
                    // Made for its name: what is not made before the handshake takes no room while that lasts.
                    no_handshake(&link, make().session(), address, &failure);
                    link.finish();
                    return None;
                }
            }
        }
    };
    let mut session = Session::new(config, channel);
    if let Some(offered) = link.offered() {
        session.tls_offered(offered);
    }
    let trusted = |address: SocketAddr| shared.trusted.iter().any(|network| network.contains(address.ip()));
    if address.is_some_and(trusted) {
        session.trust();
    }
    let clock = Clock { progress: u64::MAX, deadline: Instant::now() };
    let (buffer, handler) = (Buffer::default(), make());
    Some(Connection {
        shared,
        link,
        session,
        handler,
        address,
        clock,
        buffer,
        handshake,
        told_to_stop: false,
        farewell: Farewell::Wait,
    })
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

/// A connection whose session begins.
pub(crate) struct Connection<H> {
    shared: Arc<Shared>,
    link: ServerLink,
    session: Session,
    handler: H,
    address: Option<SocketAddr>,
    clock: Clock,
    /// What was read and is not used up.
    buffer: Buffer,
    handshake: Option<Duration>,
    /// That the server is stopping.
    told_to_stop: bool,
    farewell: Farewell,
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

impl<H: Handler> Connection<H> {
    /// To its end. With it [`cut_off`] must be polled.
    pub(crate) async fn run(&mut self) -> io::Result<()> {
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
        SPARE.with_borrow_mut(|spare| self.session.lend(spare));
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
            if matches!(want, Want::Close) {
                let taken = self.link.last_words(self.session.output())?;
                self.session.sent(taken);
            }
            // First write out; and while output waits, nothing is read.
            self.write_out().await?;
            match want {
                Want::Input => {
                    rounds += 1;
                    if rounds % ROUNDS == 0 {
                        yield_now().await;
                    }
                    let read = match self.link.is_drained() {
                        true => None,
                        false => self.link.read(self.buffer.space())?,
                    };
                    match read {
                        Some(0) => self.session.eof(),
                        Some(n) => self.buffer.add(n),
                        None => {
                            SPARE.with_borrow_mut(|spare| self.session.release_to(spare));
                            let woken = self.wait(Ready::Read).await;
                            SPARE.with_borrow_mut(|spare| self.session.lend(spare));
                            match woken {
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
                    if !self.may_close() {
                        self.link.finish();
                        Box::pin(self.link.drain(LINGER_OCTETS, LINGER)).await;
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Whether nothing can be lost by closing at once. Behind close_notify there may be more, and to leave that unread would reset
    /// the connection, and the last words too.
    fn may_close(&self) -> bool {
        match self.farewell {
            Farewell::Quit => self.link.is_drained(),
            Farewell::Ended => !self.link.is_tls(),
            Farewell::Wait => false,
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

    /// Steps until something is wanted.
    async fn step<'i>(&mut self, input: &mut &'i [u8]) -> Want {
        let before: &'i [u8] = input;
        match self.session.step(input) {
            Step::Want(want) => want,
            Step::Event(event) => {
                let said = before.get(..before.len() - input.len()).unwrap_or_default();
                // In a block of its own while it lasts: else every idle connection would have room for the largest.
                Box::pin(self.answer_events(event, said, input)).await
            }
        }
    }

    async fn answer_events<'i>(&mut self, mut event: Event<'i>, mut said: &'i [u8], input: &mut &'i [u8]) -> Want {
        loop {
            self.handle(event, said).await;
            let before: &'i [u8] = input;
            event = match self.session.step(input) {
                Step::Want(want) => return want,
                Step::Event(event) => event,
            };
            let taken = before.get(..before.len() - input.len()).unwrap_or_default();
            said = if taken.is_empty() { said } else { taken };
        }
    }

    /// The handler's return value is the answer.
    async fn handle(&mut self, event: Event<'_>, said: &[u8]) {
        let address = self.session.client_address().or(self.address);
        let (listener, handshake) = (self.shared.listener, self.handshake);
        let peer = Peer { address, listener, handshake, said, session: &self.session };
        let (ticket, verdict) = match event {
            Event::Chunk(text) => {
                self.handler.chunk(text).await;
                return;
            }
            Event::Xclient(client, ticket) => (ticket, self.handler.xclient(&peer, &client).await),
            Event::Xforward(client, ticket) => (ticket, self.handler.xforward(&peer, &client).await),
            Event::Command(verb, ticket) => (ticket, self.handler.command(&peer, verb).await),
            Event::Connect(ticket) => (ticket, self.handler.connect(&peer).await),
            Event::Hello(host, ticket) => (ticket, self.handler.hello(&peer, &host).await),
            Event::StartTls(ticket) => (ticket, self.handler.start_tls(&peer).await),
            Event::Auth(question, ticket) => {
                let answer = self.handler.authenticate(&peer, question).await;
                self.session.authenticate(ticket, answer);
                return;
            }
            Event::Mail(mail, ticket) => (ticket, self.handler.mail(&peer, &mail).await),
            Event::Rcpt(rcpt, ticket) => (ticket, self.handler.rcpt(&peer, &rcpt).await),
            Event::Data(ticket) => (ticket, self.handler.data(&peer).await),
            Event::Message(end, ticket) => (ticket, self.handler.message(&peer, end).await),
            Event::Reset => {
                self.handler.reset(&peer);
                return;
            }
            Event::Fault(fault) => {
                self.handler.fault(&peer, fault);
                return;
            }
            Event::Closed(reason) => {
                self.farewell = match reason {
                    Reason::Quit => Farewell::Quit,
                    Reason::Eof => Farewell::Ended,
                    _ => Farewell::Wait,
                };
                self.handler.closed(&peer, reason);
                return;
            }
            _ => return,
        };
        self.session.answer(ticket, verdict);
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
        let (deadline, link, stop) = (self.clock.deadline, &mut self.link, &self.shared.stop);
        let told_to_stop = &mut self.told_to_stop;
        let woken = poll_fn(|context| {
            if let Poll::Ready(waited) = link.poll(ready, deadline, context) {
                return Poll::Ready(match waited {
                    Ok(true) => Woken::Ready(Ok(())),
                    Ok(false) => Woken::TimedOut,
                    Err(error) => Woken::Ready(Err(error)),
                });
            }
            // What is polled beside this wakes the task when it is closed.
            if stop.is_closed() && !std::mem::replace(told_to_stop, true) {
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
