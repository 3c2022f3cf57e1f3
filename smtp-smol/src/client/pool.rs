//! Connections kept for the next message to the same server.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use smtp_proto::client::{Envelope, Outcome, Reason, Transaction};

use super::{Client, Connection, Target};

/// Bounds on a [`Pool`].
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

/// Sends messages over connections that it keeps for the next one.
#[derive(Debug)]
pub struct Pool {
    client: Client,
    limits: PoolLimits,
    idle: Mutex<HashMap<Target, Vec<Idle>>>,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
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
    /// the envelope is replaced by a new one.
    ///
    /// # Errors
    /// Those of [`Client::connect`].
    pub async fn send<'e>(&self, target: &Target, envelope: Envelope<'e>, text: &[u8]) -> io::Result<Transaction<'e>> {
        if let Some(mut kept) = self.take(target) {
            let transaction = kept.connection.send(envelope, &mut &*text).await?;
            if !ended_before(&transaction) {
                self.keep(target, kept).await;
                return Ok(transaction);
            }
        }
        let connection = self.client.connect(target).await?;
        let mut new = Idle { connection, since: Instant::now(), messages: 0 };
        let transaction = new.connection.send(envelope, &mut &*text).await?;
        self.keep(target, new).await;
        Ok(transaction)
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

/// The server had closed an idle connection, or said 421 to MAIL: nothing was taken, and a new connection may do.
fn ended_before(transaction: &Transaction<'_>) -> bool {
    let closed = matches!(transaction.closed(), Some(Reason::Eof | Reason::ServerClosing));
    closed && transaction.outcomes().all(|outcome| matches!(outcome, Outcome::Later(_)))
}
