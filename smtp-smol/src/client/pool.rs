//! Connections kept for the next message to the same server.

use std::collections::HashMap;
use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use smtp_proto::client::{Envelope, Outcome, Reason, Transaction};

use super::{Client, Connection, Target, failed};

/// Bounds on a [`Pool`].
///
/// ```
/// use smtp_smol::PoolLimits;
///
/// let mut limits = PoolLimits::default();
/// limits.idle_per_target = 10;
/// assert_eq!(limits.messages, 100);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolLimits {
    /// Idle connections to one server: 2.
    pub idle_per_target: usize,
    /// Idle connections in all: 100.
    pub idle: usize,
    /// How long a connection may be idle: 30 seconds. Servers wait 5 minutes, but a place of theirs is not ours to keep.
    pub idle_time: Duration,
    /// Messages over one connection: 100.
    pub messages: u32,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self { idle_per_target: 2, idle: 100, idle_time: Duration::from_secs(30), messages: 100 }
    }
}

/// Sends messages over connections that it keeps for the next one. It can be shared by tasks and threads.
///
/// ```no_run
/// use smtp_proto::client::{Config, Envelope, Outcome, Tls};
/// use smtp_proto::syntax::{ForwardPath, Params, Rcpt, ReversePath};
/// use smtp_smol::{Client, Pool, PoolLimits, Target};
///
/// let client = Client::new(Config::new("client.example.org")?.tls(Tls::Never).shared());
/// let (pool, target) = (Pool::new(client, PoolLimits::default()), Target::host("mx.example.net", 25));
/// let from = ReversePath::parse("ann@example.org", false)?;
/// let to = [Rcpt { path: ForwardPath::parse("ben@example.net", false)?, params: Params::default() }];
/// smol::block_on(async {
///     for text in ["Subject: One\r\n\r\n", "Subject: Two\r\n\r\n"] {
///         let sent = pool.send(&target, Envelope::new(from, &to), text.as_bytes()).await;
///         let to_try_again = sent.outcomes().filter(Outcome::is_temporary).count();
///         println!("{to_try_again} of {} recipients to be tried again", sent.outcomes().len());
///     }
///     pool.close_idle(true).await;
/// });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Pool {
    client: Client,
    limits: PoolLimits,
    idle: Mutex<HashMap<Target, Vec<Idle>>>,
}

/// A connection of a pool's, in use.
#[derive(Debug)]
pub struct Lent {
    kept: Idle,
    target: Target,
}

impl Lent {
    /// Whether it has carried a message before.
    #[must_use]
    pub const fn is_used(&self) -> bool {
        self.kept.messages > 0
    }
}

impl Deref for Lent {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.kept.connection
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.kept.connection
    }
}

#[derive(Debug)]
struct Idle {
    /// In a block of its own: it is handed from one to the other.
    connection: Box<Connection>,
    since: Instant,
    messages: u32,
}

impl Pool {
    /// Connections as this client makes them.
    #[must_use]
    pub fn new(client: Client, limits: PoolLimits) -> Self {
        Self { client, limits, idle: Mutex::default() }
    }

    /// Sends a message, over an idle connection if there is one. A connection that turns out to have ended before it took
    /// the envelope is replaced by a new one. That there is no connection is an outcome like any other.
    pub async fn send<'e>(&self, target: &Target, envelope: Envelope<'e>, text: &[u8]) -> Transaction<'e> {
        let envelope = looked_at(envelope, text);
        if let Some(kept) = self.take(target) {
            let mut lent = Lent { kept, target: target.clone() };
            let transaction = text_of_memory(lent.send(envelope, &mut &*text).await, envelope);
            if !ended_before(&transaction) {
                self.give_back(lent).await;
                return transaction;
            }
        }
        match self.new_connection(target).await {
            Ok(mut lent) => {
                let transaction = text_of_memory(lent.send(envelope, &mut &*text).await, envelope);
                self.give_back(lent).await;
                transaction
            }
            Err(reason) => failed(envelope, reason),
        }
    }

    /// A connection to send messages over, an idle one if there is one: [`give_back`](Self::give_back) keeps it for the
    /// next. One that was idle has been looked at, and may end all the same before its next reply; whoever sends by
    /// commands then tries once more with [`new_connection`](Self::new_connection).
    ///
    /// # Errors
    /// Those of [`Client::connect`].
    pub async fn connection(&self, target: &Target) -> Result<Lent, Reason> {
        match self.take(target) {
            Some(kept) => Ok(Lent { kept, target: target.clone() }),
            None => self.new_connection(target).await,
        }
    }

    /// A new connection.
    ///
    /// # Errors
    /// Those of [`Client::connect`].
    pub async fn new_connection(&self, target: &Target) -> Result<Lent, Reason> {
        // Few messages need one: the others should not have room for it.
        let connection = Box::new(Box::pin(self.client.connect(target)).await?);
        let kept = Idle { connection, since: Instant::now(), messages: 0 };
        Ok(Lent { kept, target: target.clone() })
    }

    /// Keeps a connection for the next message if it can be used again; otherwise it is closed.
    pub async fn give_back(&self, lent: Lent) {
        let Lent { kept, target } = lent;
        self.keep(&target, kept).await;
    }

    /// Ends the connections that have been idle for too long; all of them with `everything`.
    pub async fn close_idle(&self, everything: bool) {
        let mut ended = Vec::new();
        {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            for kept in idle.values_mut() {
                let old = |kept: &mut Idle| everything || kept.since.elapsed() > self.limits.idle_time;
                ended.extend(kept.extract_if(.., old));
            }
            idle.retain(|_, kept| !kept.is_empty());
        }
        for kept in ended {
            kept.connection.quit().await;
        }
    }

    fn take(&self, target: &Target) -> Option<Idle> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let here = idle.get_mut(target)?;
        while let Some(mut kept) = here.pop() {
            if kept.since.elapsed() <= self.limits.idle_time && !kept.connection.is_stale() {
                return Some(kept);
            }
        }
        idle.remove(target);
        None
    }

    async fn keep(&self, target: &Target, mut kept: Idle) {
        kept.messages += 1;
        kept.since = Instant::now();
        if !kept.connection.is_idle() {
            return;
        }
        let kept = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            let in_all: usize = idle.values().map(Vec::len).sum();
            let here = idle.entry(target.clone()).or_default();
            let room = here.len() < self.limits.idle_per_target && in_all < self.limits.idle;
            if room && kept.messages < self.limits.messages {
                here.push(kept);
                return;
            }
            kept
        };
        kept.connection.quit().await;
    }
}

/// What nobody has said of a text that is at hand.
fn looked_at<'e>(envelope: Envelope<'e>, text: &[u8]) -> Envelope<'e> {
    let looked_at = envelope.text(text);
    match envelope.body {
        Some(body) => looked_at.body(body),
        None => looked_at,
    }
}

/// To read a text from memory does not fail.
fn text_of_memory<'e>(sent: io::Result<Transaction<'e>>, envelope: Envelope<'e>) -> Transaction<'e> {
    sent.unwrap_or_else(|_| failed(envelope, Reason::Abandoned))
}

/// The server had closed an idle connection, or said 421 to MAIL: nothing was taken, and a new connection may do.
fn ended_before(transaction: &Transaction<'_>) -> bool {
    let closed = matches!(transaction.closed(), Some(Reason::Eof | Reason::ServerClosing(_)));
    closed && transaction.outcomes().all(|outcome| matches!(outcome, Outcome::Later(_)))
}
