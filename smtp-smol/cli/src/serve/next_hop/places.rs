//! The places among the connections to the next hop, of which no client may take all.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use smol::future::or;
use smol::lock::{Semaphore, SemaphoreGuardArc};
use smtp_proto::net::ConnectionsByHost;

use super::answer::{self, Answer};
use super::wait;

/// For a place to become free.
const QUEUE: Duration = Duration::from_secs(5);

/// So many messages may be on their way at once.
#[derive(Debug)]
pub(super) struct Places {
    gate: Arc<Semaphore>,
    /// Of these, of one host: whoever says MAIL and nothing more must leave room for others.
    most_of_one: u32,
    by_host: Arc<Mutex<ConnectionsByHost>>,
}

impl Places {
    pub(super) fn new(many: u16) -> Self {
        let gate = Arc::new(Semaphore::new(many.into()));
        Self { gate, most_of_one: u32::from(many / 2).max(1), by_host: Arc::default() }
    }

    /// A place for this client; or what it is told.
    pub(super) async fn take(&self, client: Option<SocketAddr>) -> Result<Taken, Answer> {
        let counted = self.count(client).ok_or(answer::TOO_MANY)?;
        let permit = or(async { Some(self.gate.acquire_arc().await) }, async {
            wait(QUEUE).await;
            None
        });
        let permit = permit.await.ok_or(answer::BUSY)?;
        Ok(Taken { _permit: permit, _counted: counted })
    }

    /// Counts one more of its host's, unless that has too many; of this machine itself there may be any number.
    fn count(&self, client: Option<SocketAddr>) -> Option<Counted> {
        let host = client.map(|client| client.ip().to_canonical()).filter(|host| !host.is_loopback());
        let mut by_host = self.by_host.lock().unwrap_or_else(PoisonError::into_inner);
        let room = host.is_none_or(|host| by_host.enter(host, self.most_of_one));
        room.then(|| Counted { host, by_host: self.by_host.clone() })
    }
}

/// A place; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    _permit: SemaphoreGuardArc,
    _counted: Counted,
}

/// One of its host's.
#[derive(Debug)]
struct Counted {
    host: Option<IpAddr>,
    by_host: Arc<Mutex<ConnectionsByHost>>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(host) = self.host {
            self.by_host.lock().unwrap_or_else(PoisonError::into_inner).leave(host);
        }
    }
}
