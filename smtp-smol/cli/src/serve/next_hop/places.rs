//! The places among the connections to the next hop, of which no client may take all.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use smol::future::or;
use smol::lock::{Semaphore, SemaphoreGuardArc};
use smtp_proto::net;

use super::answer::{self, Answer};
use super::wait;

/// For a place to become free.
const QUEUE: Duration = Duration::from_secs(5);

type Hosts = Mutex<HashMap<IpAddr, Arc<Semaphore>>>;

/// So many messages may be on their way at once.
#[derive(Debug)]
pub(super) struct Places {
    all: Arc<Semaphore>,
    /// Of these, of one host: whoever says MAIL and nothing more must leave room for others.
    most_of_one: usize,
    /// Those that have places, or wait for some.
    hosts: Arc<Hosts>,
}

impl Places {
    pub(super) fn new(many: u16) -> Self {
        let many = usize::from(many);
        Self { all: Arc::new(Semaphore::new(many)), most_of_one: (many / 2).max(1), hosts: Arc::default() }
    }

    /// A place for this client; or what it is told.
    pub(super) async fn take(&self, client: Option<SocketAddr>) -> Result<Taken, Answer> {
        let host = self.host(client);
        let of_host = match &host {
            Some(host) => Some(acquire(&host.places).await.ok_or(answer::TOO_MANY)?),
            None => None,
        };
        let of_all = acquire(&self.all).await.ok_or(answer::BUSY)?;
        Ok(Taken { _of_all: of_all, _of_host: of_host, _host: host })
    }

    /// Whose places are counted, beside those of all: of this machine itself there may be any number.
    fn host(&self, client: Option<SocketAddr>) -> Option<Host> {
        let address = client.map(|client| client.ip().to_canonical()).filter(|address| !address.is_loopback())?;
        let address = net::host(address);
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let places = hosts.entry(address).or_insert_with(|| Arc::new(Semaphore::new(self.most_of_one)));
        Some(Host { address, places: places.clone(), hosts: self.hosts.clone() })
    }
}

async fn acquire(places: &Arc<Semaphore>) -> Option<SemaphoreGuardArc> {
    or(async { Some(places.acquire_arc().await) }, async {
        wait(QUEUE).await;
        None
    })
    .await
}

/// A place; given back when it is dropped, in this order.
#[derive(Debug)]
pub(super) struct Taken {
    _of_all: SemaphoreGuardArc,
    _of_host: Option<SemaphoreGuardArc>,
    _host: Option<Host>,
}

/// A host that has a place or waits for one. It is forgotten with the last of them.
#[derive(Debug)]
struct Host {
    address: IpAddr,
    places: Arc<Semaphore>,
    hosts: Arc<Hosts>,
}

impl Drop for Host {
    fn drop(&mut self) {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        // One is held by the table, the other here; others come by only under the lock.
        if Arc::strong_count(&self.places) == 2 {
            hosts.remove(&self.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Places, QUEUE};

    /// Whoever comes when its host has all that it may have waits for the next, and nothing is kept of hosts that have gone.
    #[test]
    fn a_host_waits_for_a_place_of_its_own_and_is_forgotten() {
        let places = Places::new(4);
        let client = |address: &str| Some(address.parse().expect("an address"));
        let known = || places.hosts.lock().expect("lock").len();
        smol::block_on(async {
            let one = places.take(client("[2001:db8::1]:1")).await.expect("a place");
            let two = places.take(client("[2001:db8::2]:1")).await.expect("a place");
            let other = places.take(client("192.0.2.1:1")).await.expect("a place");
            assert_eq!(known(), 2);
            let third = async { places.take(client("[2001:db8::3]:1")).await };
            let given_back = async {
                smol::Timer::after(QUEUE / 50).await;
                drop(one);
            };
            let (third, ()) = smol::future::zip(third, given_back).await;
            drop((two, third.expect("a place, once there is one")));
            assert_eq!(known(), 1);
            drop(other);
            let here = places.take(client("127.0.0.1:1")).await.expect("a place");
            assert_eq!(known(), 0);
            drop(here);
        });
    }
}
