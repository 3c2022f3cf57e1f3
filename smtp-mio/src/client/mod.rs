//! The client: many connections, driven by one thread.

mod attempts;
mod connection;
mod sender;
mod settings;
mod target;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use slab::Slab;
use smtp_proto::auth::client::Credentials;
use smtp_proto::client::{Config, Envelope, NoConnection, Reason, Tls};

use crate::wheel::{TICK, Wheel, gone_by, ticks};
use connection::{Connection, Phase};
pub use sender::{Closed, Key, Line, Next, Sender, Text};
use settings::{Scratch, Settings};
pub use target::Target;

/// What connections share to read into: plaintext, and what is yet to be decrypted.
const PLAIN: usize = 256 << 10;
const WIRE: usize = 128 << 10;
/// To be connected to a server.
const CONNECT_TIME: Duration = Duration::from_secs(30);

/// Sends messages over many connections, all driven by the thread that calls [`poll`](Self::poll) or [`run`](Self::run).
///
/// A connection costs a session, and while a message goes out 64 KiB of its text; waiting, it holds no buffer.
///
/// ```no_run
/// use smtp_mio::{Client, ClientTls, Line, Next, Sender, Target};
/// use smtp_proto::client::{Config, Envelope, Tls, Transaction};
/// use smtp_proto::syntax::{ForwardPath, Mailbox, Params, Rcpt, ReversePath};
///
/// /// Sends a text to each of the recipients.
/// struct Mailing<'e> {
///     from: ReversePath<'e>,
///     to: std::slice::Iter<'e, Rcpt<'e>>,
/// }
///
/// impl<'e> Sender<'e> for Mailing<'e> {
///     fn ready(&mut self, _: &Line<'_>) -> Next<'e> {
///         match self.to.next() {
///             Some(to) => {
///                 let text = &b"Subject: Hi\r\n\r\nHello.\r\n"[..];
///                 Next::Send(Envelope::new(self.from, std::slice::from_ref(to)).size(text.len() as u64), text.into())
///             }
///             None => Next::Quit,
///         }
///     }
///     fn done(&mut self, _: &Line<'_>, transaction: &Transaction<'e>) {
///         println!("{:?}", transaction.outcomes().collect::<Vec<_>>());
///     }
/// }
///
/// let from = ReversePath::Mailbox(Mailbox::parse("a@example.org", false)?);
/// let to = ["b@example.net", "c@example.net"].map(|to| Mailbox::parse(to, false).map(ForwardPath::Mailbox));
/// let to: Vec<_> =
///     to.into_iter().map(|path| path.map(|path| Rcpt { path, params: Params::default() })).collect::<Result<_, _>>()?;
///
/// let tls = ClientTls::new(rustls::RootCertStore::empty())?;
/// let mut client = Client::new(Config::new("client.example")?.tls(Tls::Opportunistic).shared())?.tls(&tls);
/// let target = Target::addresses(&["192.0.2.1:25".parse()?]).called("mx.example.net");
/// for _ in 0..2 {
///     client.connect(&target)?;
/// }
/// client.run(&mut Mailing { from, to: to.iter() })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Client<'e> {
    settings: Settings,
    poll: Poll,
    events: Events,
    connections: Slab<Box<Connection<'e>>>,
    scratch: Scratch,
    wheel: Wheel,
    begun: Instant,
    now: u32,
    generation: u64,
    /// Connections that have something to do at once.
    again: Vec<Key>,
}

impl fmt::Debug for Client<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("connections", &self.connections.len()).finish_non_exhaustive()
    }
}

impl<'e> Client<'e> {
    /// A client without TLS and without connections; its configuration must say [`Tls::Never`], or [`Client::tls`] must
    /// follow.
    ///
    /// # Errors
    /// Those of the operating system's polling.
    pub fn new(config: Arc<Config>) -> io::Result<Self> {
        Ok(Self {
            settings: Settings { config, tls: None, credentials: None, connect_time: CONNECT_TIME },
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            connections: Slab::new(),
            scratch: Scratch { plain: vec![0; PLAIN], wire: vec![0; WIRE] },
            wheel: Wheel::new(0),
            begun: Instant::now(),
            now: 0,
            generation: 0,
            again: Vec::new(),
        })
    }

    /// Does TLS by this: whom to trust, and which certificate to show, if any.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: &smtp_rustls::ClientTls) -> Self {
        self.settings.tls = Some(tls.clone());
        self
    }

    /// Authenticates each connection with these, by the strongest mechanism that both sides know.
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.settings.credentials = Some(credentials);
        self
    }

    /// How long to try to connect, in all addresses: 30 seconds.
    #[must_use]
    pub const fn connect_time(mut self, time: Duration) -> Self {
        self.settings.connect_time = time;
        self
    }

    /// Begins to connect. [`Sender::ready`] is called when the session is ready, or [`Sender::closed`] when there is no
    /// connection.
    ///
    /// # Errors
    /// [`Reason::NotConnected`], when no address can even be tried, or when TLS is wanted without [`Client::tls`]:
    /// the same words in which a session ends, for [`Transaction::fail`](smtp_proto::client::Transaction::fail).
    pub fn connect(&mut self, target: &Target) -> Result<Key, Reason> {
        let wanted = target.is_implicit_tls() || self.settings.config.tls_policy() != Tls::Never;
        if self.settings.tls.is_none() && wanted {
            let words = "TLS is wanted but nobody is trusted: say so with Client::tls, or say Tls::Never";
            return Err(Reason::NotConnected(NoConnection::NotSetUp(words.into())));
        }
        self.turn_of_the_clock();
        self.generation += 1;
        let entry = self.connections.vacant_entry();
        let key = Key { slot: entry.key(), generation: self.generation };
        let mut connection = Connection::new(target.clone(), key, &self.settings);
        let deadline = self.now.saturating_add(ticks(self.settings.connect_time));
        connection.try_next(self.poll.registry()).map_err(Reason::NotConnected)?;
        connection.set_clock(self.now, deadline);
        connection.scheduled = self.wheel.put(key.slot, connection.deadline);
        entry.insert(Box::new(connection));
        Ok(key)
    }

    /// Sends a message over a connection that [waits](Next::Wait). Returns false, and sends nothing, if it does not.
    pub fn send(&mut self, key: Key, envelope: Envelope<'e>, text: Text<'e>) -> bool {
        let Some(connection) = self.connection(key).filter(|connection| connection.is_waiting()) else { return false };
        connection.begin(envelope, text);
        self.again.push(key);
        true
    }

    /// Says QUIT on a connection, when its message is done.
    pub fn quit(&mut self, key: Key) {
        if let Some(connection) = self.connection(key) {
            connection.quitting = true;
            self.again.push(key);
        }
    }

    /// Messages on their way complete, and then each connection says QUIT; those that are not ready yet are closed.
    pub fn shut_down(&mut self) {
        let keys: Vec<Key> = self.connections.iter().map(|(_, connection)| connection.key).collect();
        keys.into_iter().for_each(|key| self.quit(key));
    }

    /// How many connections there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether no connection is open, or being made.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Drives all connections until there is none.
    ///
    /// # Errors
    /// Those of the operating system's polling.
    pub fn run(&mut self, sender: &mut impl Sender<'e>) -> io::Result<()> {
        while !self.is_empty() {
            self.poll(None, sender)?;
        }
        Ok(())
    }

    /// Waits until something happens on a connection, no longer than `time`, and does what can be done.
    ///
    /// # Errors
    /// Those of the operating system's polling.
    pub fn poll(&mut self, time: Option<Duration>, sender: &mut impl Sender<'e>) -> io::Result<()> {
        let clock = (!self.connections.is_empty()).then_some(TICK);
        let wait = if self.again.is_empty() { clock.into_iter().chain(time).min() } else { Some(Duration::ZERO) };
        match self.poll.poll(&mut self.events, wait) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        self.turn_of_the_clock();
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            let Token(slot) = event.token();
            if let Some(connection) = self.connections.get_mut(slot) {
                connection.told(event);
                let key = connection.key;
                self.turn(key, sender);
            }
        }
        self.events = events;
        for key in std::mem::take(&mut self.again) {
            self.turn(key, sender);
        }
        let mut due = Vec::new();
        self.wheel.advance(self.now, &mut due);
        for slot in due {
            self.tick(slot, sender);
        }
        Ok(())
    }

    fn connection(&mut self, key: Key) -> Option<&mut Connection<'e>> {
        self.connections.get_mut(key.slot).map(|connection| &mut **connection).filter(|found| found.key == key)
    }

    fn turn_of_the_clock(&mut self) {
        self.now = gone_by(self.begun.elapsed());
    }

    /// A connection has something to do.
    fn turn(&mut self, key: Key, sender: &mut impl Sender<'e>) {
        let Some(connection) = self.connections.get_mut(key.slot).filter(|found| found.key == key) else { return };
        let more = connection.turn(&self.settings, self.poll.registry(), &mut self.scratch, sender);
        if connection.phase == Phase::Gone {
            // Closing the socket takes it out of the poll.
            self.connections.remove(key.slot);
            return;
        }
        if more {
            self.again.push(key);
        }
        connection.restart_clock(self.now, &self.settings);
        self.schedule(key);
    }

    /// A later deadline waits for the wheel to come round to the earlier one; an earlier one gets a place of its own.
    fn schedule(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key.slot) else { return };
        if connection.deadline < connection.scheduled {
            connection.scheduled = self.wheel.put(key.slot, connection.deadline);
        }
    }

    /// The wheel has come round to a connection: its time may be over, or have been put off since.
    fn tick(&mut self, slot: usize, sender: &mut impl Sender<'e>) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(slot) else { return };
        // A place in the wheel that an earlier one has replaced, or that had the slot before.
        if connection.scheduled > now {
            return;
        }
        let key = connection.key;
        connection.scheduled = u32::MAX;
        if connection.deadline <= now {
            connection.timed_out(now, self.poll.registry());
            self.turn(key, sender);
        } else {
            self.schedule(key);
        }
    }
}
