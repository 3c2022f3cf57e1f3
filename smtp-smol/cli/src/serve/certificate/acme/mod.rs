//! Certificates from an authority by ACME (RFC 8555): ordered, kept in a folder, and renewed in time. Whatever goes wrong, the
//! certificate that there is stays in use.

mod challenges;
mod options;
mod shelf;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::ClientConfig;
use rustls_acme::acme::{Auth, Identifier};
use rustls_acme::{AcmeConfig, EventError, EventOk, OrderError};
use smol::future::or;
use smol::stream::StreamExt as _;
use smol::{Async, Timer};

use super::pairs::Pair;
use crate::failure::Failure;
use challenges::Challenges;
use shelf::Shelf;

pub(crate) use options::AcmeOptions;

/// After an order that failed, the next one, then after twice as long, up to `LONGEST_PAUSE`.
const PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// After one by which the authority found that the names are not ours: authorities count these, and some take five an hour.
const REJECTED: Duration = Duration::from_secs(15 * 60);
/// So often an order is made anew at once because the authority did not take a nonce.
const NONCES: usize = 5;
/// For an order to come to its end.
const TIME: Duration = Duration::from_secs(600);
/// Between looks at the clock, which may be set.
const LOOK: Duration = Duration::from_secs(3600);

/// An authority, and what it is asked for.
#[derive(Debug)]
pub(crate) struct Acme {
    directory: String,
    domains: Vec<String>,
    contacts: Vec<String>,
    client: Arc<ClientConfig>,
    listen: Vec<SocketAddr>,
    cache: Option<PathBuf>,
}

/// Why there is no certificate.
struct NotIssued {
    why: String,
    /// The authority does not take the names for ours.
    rejected: bool,
}

impl Acme {
    /// Where the authority will connect.
    pub(in crate::serve) fn bind(&self) -> Result<Vec<TcpListener>, Failure> {
        self.listen.iter().map(|address| challenges::bind(*address)).collect()
    }

    /// The file of key and certificate, whether there is one yet or not.
    pub(super) fn file(&self, state: impl FnOnce() -> Result<PathBuf, Failure>) -> Result<PathBuf, Failure> {
        Ok(self.shelf(state)?.certificate().to_owned())
    }

    /// One for each authority, since what a trial gives must not be taken for the real thing.
    fn shelf(&self, state: impl FnOnce() -> Result<PathBuf, Failure>) -> Result<Shelf, Failure> {
        let cache = match &self.cache {
            Some(folder) => folder.clone(),
            None => state()?.join("acme"),
        };
        let authority = options::host_of(&self.directory).replace(':', "_");
        Ok(Shelf::new(&cache.join(authority), self.domains.first().map_or("", String::as_str)))
    }

    /// Whether this certificate is what would be ordered.
    pub(super) fn covers(&self, pair: &Pair) -> bool {
        self.domains.iter().all(|domain| pair.is_named(domain))
    }

    /// Orders and renews, for as long as the program runs.
    pub(in crate::serve) fn start(
        self: &Arc<Self>,
        listeners: Vec<TcpListener>,
        state: impl FnOnce() -> Result<PathBuf, Failure>,
    ) -> Result<(), Failure> {
        let (challenges, shelf) = (Challenges::default(), self.shelf(state)?);
        for listener in listeners {
            let failed = |error: io::Error| Failure::running(format!("--tls-acme-listen: {error}"));
            let listener = Async::new(listener).map_err(failed)?;
            smol::spawn(challenges::answer(listener, challenges.clone())).detach();
        }
        let acme = self.clone();
        smol::spawn(async move {
            let mut failures = 0;
            loop {
                acme.is_due(shelf.certificate()).await;
                let done = match or(acme.order(&shelf, &challenges), late()).await {
                    Ok(()) if acme.due_in(shelf.certificate()).is_some() => Ok(()),
                    Ok(()) => Err(NotIssued::because("what has come does not last, or not for all names; is the clock right?")),
                    Err(failed) => Err(failed),
                };
                challenges.are_of(None);
                let domains = acme.domains.join(", ");
                match done {
                    Ok(()) => {
                        failures = 0;
                        tracing::info!("a certificate for {domains} has come from {}", acme.directory);
                    }
                    Err(NotIssued { why, rejected }) => {
                        let pause = pause(failures, rejected);
                        failures += 1;
                        tracing::error!(
                            "no certificate for {domains} from {}: {why}; the old one stays, and the next try is in {} s",
                            acme.directory,
                            pause.as_secs()
                        );
                        Timer::after(pause).await;
                    }
                }
            }
        })
        .detach();
        Ok(())
    }

    /// Waits until a certificate is to be ordered.
    async fn is_due(&self, file: &Path) {
        while let Some(left) = self.due_in(file) {
            Timer::after(left.min(LOOK)).await;
        }
    }

    /// How long the certificate is good for yet; `None` if it is to be ordered now. A third of its life is left for that.
    fn due_in(&self, file: &Path) -> Option<Duration> {
        let pair = Pair::read(file, file).ok().filter(|pair| self.covers(pair))?;
        let due = pair.expires() - (pair.expires() - pair.begins()) / 3;
        let left = due.saturating_sub(Timestamp::now().as_second());
        u64::try_from(left).ok().filter(|left| *left > 0).map(Duration::from_secs)
    }

    /// RFC 8555 6.5: a request whose nonce was not taken is made again with a fresh one. The library does not do so, so that it
    /// is the order that is made again.
    async fn order(&self, shelf: &Shelf, challenges: &Challenges) -> Result<(), NotIssued> {
        for _ in 0..NONCES {
            match self.order_once(shelf, challenges).await {
                Err(failed) if failed.is_bad_nonce() => tracing::debug!("{}", failed.why),
                done => return done,
            }
        }
        self.order_once(shelf, challenges).await
    }

    async fn order_once(&self, shelf: &Shelf, challenges: &Challenges) -> Result<(), NotIssued> {
        let config = AcmeConfig::new_with_client_config(&self.domains, self.client.clone());
        let mut order = config.directory(&self.directory).contact(&self.contacts).cache(shelf.clone()).state();
        challenges.are_of(Some(order.resolver()));
        loop {
            match order.next().await {
                Some(Ok(EventOk::CertCacheStore)) => return Ok(()),
                Some(Ok(_)) => {}
                Some(Err(EventError::Order(OrderError::BadAuth(auth)))) => return Err(rejected(&auth)),
                Some(Err(EventError::Order(error @ OrderError::TooManyAttemptsAuth(_)))) => {
                    return Err(NotIssued { why: error.to_string(), rejected: true });
                }
                Some(Err(error)) => return Err(NotIssued::because(&error.to_string())),
                None => return Err(NotIssued::because("the order has no end")),
            }
        }
    }
}

impl NotIssued {
    fn because(why: &str) -> Self {
        Self { why: why.to_owned(), rejected: false }
    }

    fn is_bad_nonce(&self) -> bool {
        self.why.contains("urn:ietf:params:acme:error:badNonce")
    }
}

/// What the authority says of a name that it does not take for ours.
fn rejected(auth: &Auth) -> NotIssued {
    let Identifier::Dns(name) = &auth.identifier;
    let said = auth.challenges.iter().find_map(|challenge| challenge.error.as_ref()?.detail.as_deref());
    NotIssued { why: format!("{name} is not taken for ours: {:?}", said.unwrap_or_default()), rejected: true }
}

async fn late() -> Result<(), NotIssued> {
    Timer::after(TIME).await;
    Err(NotIssued::because("it takes too long"))
}

fn pause(failures: u32, rejected: bool) -> Duration {
    let pause = PAUSE.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX)).min(LONGEST_PAUSE);
    if rejected { pause.max(REJECTED) } else { pause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_tried_again_ever_more_seldom() {
        let seconds = |failures, rejected| pause(failures, rejected).as_secs();
        assert_eq!([0, 1, 5, 10, 100].map(|failures| seconds(failures, false)), [5, 10, 160, 3600, 3600]);
        assert_eq!([0, 1, 10].map(|failures| seconds(failures, true)), [900, 900, 3600]);
    }
}
