//! The next hop: a mail server behind this one. Mail is handed on to it while it comes, command by command, and nothing is
//! acknowledged that it has not taken.

mod answer;
mod offers;
mod options;
mod passage;
mod place;
mod places;
mod watch;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use smol::Timer;
use smol::channel::{Receiver, Sender};
use smol::future::or;
use smtp_proto::client::{Config, Reason, Timeouts, Tls};
use smtp_proto::proxy::{Addresses, Transport};
use smtp_proto::syntax::{Extension, Mail, Params, ReversePath, Verb};
use smtp_proto::tls::TlsFailure;
use smtp_smol::{Client, ClientTls, Lent, Pool, PoolLimits, Stopped, Target};

use crate::failure::Failure;
use crate::serve::id::Id;
pub(crate) use answer::Answer;
pub(crate) use offers::Offered;
pub(crate) use options::{Announce, NextHopOptions};
pub(crate) use passage::{Passage, Who};
pub(crate) use place::Place;
use places::{Places, Taken};

/// So many connections in a row that come to nothing, and the next hop is taken to be down.
const FAILURES: u32 = 3;
/// While it is down, it is asked whether it is back after so long, then after twice as long, up to `LONGEST_PAUSE`.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// While it is up, what it offers is looked at so often, and idle connections are closed.
const LOOK: Duration = Duration::from_secs(300);
const TIDY: Duration = Duration::from_secs(10);
/// After a handshake that failed mail goes in plaintext for so long, where TLS is opportunistic.
const PLAINLY: Duration = Duration::from_secs(600);
/// To be met before anybody connects here.
const FIRST: Duration = Duration::from_secs(5);

/// The next hop, shared by all connections.
#[derive(Debug)]
pub(crate) struct NextHop {
    place: Place,
    announce: Option<Announce>,
    pool: Pool,
    /// Without TLS, for when it fails where it is opportunistic.
    plain: Option<Pool>,
    places: Places,
    state: Mutex<State>,
    wait: Duration,
    retry: Duration,
    /// A message for the watch: something has gone wrong.
    trouble: (Sender<()>, Receiver<()>),
}

#[derive(Debug, Default)]
struct State {
    /// Failures in a row.
    failures: u32,
    /// When it answered MAIL last.
    answered: Option<Instant>,
    /// Why nobody is sent to it, until the watch has found it back.
    down: Option<String>,
    /// So long it is spoken to in plaintext, since a handshake has failed.
    plain_until: Option<Instant>,
    /// What it offers, once that is known.
    offered: Option<Offered>,
}

impl NextHop {
    /// Nothing is connected yet: see [`watch`](Self::watch).
    pub(crate) fn new(place: Place, options: &NextHopOptions, hostname: &str) -> Result<Self, Failure> {
        let wait = options.next_hop_wait;
        let mut times = Timeouts::default();
        // Each is less than what a client waits by RFC 5321 4.5.3.2, so that it hears of it.
        times.greeting = wait;
        times.handshake = wait;
        times.command = Duration::from_secs(240);
        times.data = Duration::from_secs(100);
        times.text = Duration::from_secs(150);
        times.text_end = Duration::from_secs(570);
        let config = |tls| {
            let config = Config::new(hostname).map_err(|error| Failure::running(error.to_string()))?;
            // What a client's text is like is for the next hop to judge; what it must not get is seen to by `watch`.
            let config = config.send_eight_bit_anyway(true).send_long_lines(true);
            Ok::<_, Failure>(config.protocol(place.protocol).timeouts(times).tls(tls).shared())
        };
        let mut client = Client::new(config(place.tls)?).connect_time(wait);
        if place.tls != Tls::Never {
            let tls = ClientTls::new(authorities(options.next_hop_ca.as_deref())?);
            client = client.tls(tls.map_err(|error| Failure::running(format!("TLS cannot be set up: {error}")))?);
        } else if let Some(file) = &options.next_hop_ca {
            let mend = "leave it out, or put ?tls=verify behind the next hop";
            return Err(Failure::option("--next-hop-ca", file.display(), "no TLS is used to the next hop", mend));
        }
        let connections = usize::from(options.next_hop_connections);
        let mut limits = PoolLimits::default();
        (limits.idle_per_target, limits.idle, limits.messages) = (connections, connections, u32::MAX);
        let plain = match place.tls {
            Tls::Opportunistic => Some(Client::new(config(Tls::Never)?).connect_time(wait)),
            _ => None,
        };
        Ok(Self {
            plain: plain.map(|client| Pool::new(client, limits)),
            place,
            announce: options.announce,
            pool: Pool::new(client, limits),
            places: Places::new(options.next_hop_connections),
            state: Mutex::default(),
            wait,
            retry: options.next_hop_retry,
            trouble: smol::channel::bounded(1),
        })
    }

    pub(crate) const fn place(&self) -> &Place {
        &self.place
    }

    /// What it offers; `None` before that is known.
    pub(crate) fn offered(&self) -> Option<Offered> {
        self.state().offered
    }

    /// Why no mail goes there now, if that is so.
    pub(crate) fn trouble(&self) -> Option<String> {
        let state = self.state();
        let why = match (&state.down, state.offered) {
            (Some(why), _) => why,
            (None, None) => "it has not answered yet",
            (None, Some(_)) => return None,
        };
        Some(format!("the next hop {} is down: {why}", self.place))
    }

    /// Asks it what it offers, before anybody else can ask. It need not be there yet.
    pub(crate) fn meet(&self) {
        let met = smol::block_on(or(self.probe(false), async {
            wait(FIRST).await;
            Err(format!("no answer within {} s", FIRST.as_secs()))
        }));
        if let Err(why) = met {
            self.is_down(&why);
        }
    }

    /// Asks it what it offers, from time to time; and while it is down, whether it is back.
    pub(crate) fn watch(self: &Arc<Self>) {
        let (hop, tidying) = (self.clone(), self.clone());
        smol::spawn(async move {
            let mut pause = PAUSE;
            loop {
                if hop.is_known_down() {
                    wait(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                } else {
                    or(wait(LOOK), hop.heard_of_trouble()).await;
                    pause = PAUSE;
                }
                let (down, began) = (hop.is_known_down(), Instant::now());
                match hop.probe(down).await {
                    Ok(()) if down => hop.is_up(),
                    // It may have gone down meanwhile, of which this knows nothing.
                    Ok(()) => {}
                    // Such as one that takes no more connections, while mail goes on over those that there are.
                    Err(_) if !down && hop.has_answered_since(began) => {}
                    Err(why) => hop.is_down(&why),
                }
            }
        })
        .detach();
        smol::spawn(async move {
            loop {
                wait(TIDY).await;
                tidying.pool.close_idle(false).await;
                if let Some(plain) = &tidying.plain {
                    plain.close_idle(false).await;
                }
            }
        })
        .detach();
    }

    async fn heard_of_trouble(&self) {
        let _ = self.trouble.1.recv().await;
    }

    /// Connects, and looks at what is offered. Of one that is down it is not enough that it greets: what it failed at may
    /// have been XCLIENT or MAIL.
    async fn probe(&self, down: bool) -> Result<(), String> {
        let target = self.target(None);
        let hop = self.ready(&target, false).await.map_err(|stopped| stopped.to_string())?;
        let offers = hop.session().offers();
        let needs = match self.announce {
            Some(Announce::Xclient) => Some(Extension::XClient),
            Some(Announce::Xforward) => Some(Extension::XForward),
            Some(Announce::Proxy) | None => None,
        };
        if let Some(needs) = needs.filter(|needs| !offers.has(*needs)) {
            let keyword = needs.keyword();
            return Err(format!("it does not offer {keyword} to this machine, which --announce asks for"));
        }
        let offered = Offered::of(hop.session());
        if down {
            self.try_mail(hop).await?;
        } else {
            self.give_back(hop).await;
        }
        self.learn(offered);
        Ok(())
    }

    /// A transaction that comes to nothing, for a client on this machine. Any answer is one, such as that there is no room now.
    async fn try_mail(&self, mut hop: Lent) -> Result<(), String> {
        let failed = |stopped: Stopped| stopped.to_string();
        let (here, nobody) = (std::net::SocketAddr::from(([127, 0, 0, 1], 25)), Id::EMPTY);
        let who = Who {
            address: Some(here),
            helo: None,
            extended: true,
            login: None,
            name: None,
            session: &nobody,
            id: &nobody,
        };
        let (verb, reply) = match self.introduce(&mut hop, who).await.map_err(failed)? {
            Some(refused) => refused,
            None => {
                let mail = Mail { path: ReversePath::Null, params: Params::default() };
                (Verb::Mail, self.say_mail(&mut hop, &mail).await.map_err(failed)?)
            }
        };
        if let Some(mend) = answer::mend(verb, &reply) {
            return Err(format!("{reply}; {mend}"));
        }
        if answer::is_out_of_step(&reply) || reply.code() == 421 {
            return Err(format!("it answers {reply}"));
        }
        if reply.is_positive() {
            hop.reset().await.map_err(failed)?;
            self.give_back(hop).await;
        }
        Ok(())
    }

    /// A connection that is ready for a message; an idle one if there is one and if it may be. Where TLS is opportunistic
    /// and the handshake fails, in plaintext, then and for a while (RFC 7435 4.1).
    async fn ready(&self, target: &Target, idle: bool) -> Result<Lent, Stopped> {
        let connected = async |pool: &Pool| {
            let lent = if idle { pool.connection(target).await } else { pool.new_connection(target).await };
            let mut lent = lent.map_err(Stopped::Ended)?;
            // Until MAIL: greeting and EHLO need no more than that, whatever its lists of senders and recipients do later.
            let longest = if lent.is_used() { self.retry } else { self.wait };
            lent.wait_at_most(Some(longest));
            lent.ready().await?;
            Ok(lent)
        };
        match (connected(self.pool()).await, &self.plain) {
            (Err(Stopped::Ended(Reason::TlsFailed(failure))), Some(plain)) => {
                self.tls_failed(&failure);
                connected(plain).await
            }
            (connected, _) => connected,
        }
    }

    fn pool(&self) -> &Pool {
        let plainly = self.state().plain_until.is_some_and(|until| Instant::now() < until);
        self.plain.as_ref().filter(|_| plainly).unwrap_or(&self.pool)
    }

    /// Keeps the connection for the next message, unless it stands for one client alone.
    async fn give_back(&self, lent: Lent) {
        if self.announce == Some(Announce::Proxy) {
            return;
        }
        // Each to its own.
        let plain = self.plain.as_ref().filter(|_| lent.session().config().tls_policy() == Tls::Never);
        plain.unwrap_or(&self.pool).give_back(lent).await;
    }

    fn tls_failed(&self, failure: &TlsFailure) {
        let now = Instant::now();
        let until = self.state().plain_until.replace(now + PLAINLY);
        // Others may have found it out meanwhile.
        if until.is_none_or(|until| until <= now) {
            let minutes = PLAINLY.as_secs() / 60;
            tracing::error!(
                next_hop = %self.place,
                "the TLS handshake with the next hop failed ({failure}); mail goes on in plaintext, as ?tls=offer says, and TLS \
                 is tried again every {minutes} minutes"
            );
        }
    }

    /// A place among the connections to it, or what a client is told that gets none.
    async fn admit(&self, client: Option<std::net::SocketAddr>) -> Result<Taken, Answer> {
        if self.is_known_down() {
            return Err(answer::UNREACHABLE);
        }
        let place = self.places.take(client).await?;
        // While it waited, others may have found out.
        if self.is_known_down() { Err(answer::UNREACHABLE) } else { Ok(place) }
    }

    fn is_known_down(&self) -> bool {
        self.state().down.is_some()
    }

    /// Where to connect for this client.
    fn target(&self, client: Option<std::net::SocketAddr>) -> Target {
        let target = self.place.target();
        if self.announce != Some(Announce::Proxy) {
            return target;
        }
        let between = client.map_or(Addresses::Local, |client| {
            let source = std::net::SocketAddr::new(client.ip().to_canonical(), client.port());
            let any: std::net::IpAddr = match source {
                std::net::SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
                std::net::SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
            };
            Addresses::Ip { transport: Transport::Stream, source, destination: (any, 25).into() }
        });
        // Addresses without TLVs always fit.
        target.clone().proxy_v2(&between, &[]).unwrap_or(target)
    }

    fn learn(&self, offered: Offered) {
        let before = self.state().offered.replace(offered);
        if before != Some(offered) {
            tracing::info!(next_hop = %self.place, %offered, "what the next hop offers");
        }
    }

    fn succeeded(&self) {
        let mut state = self.state();
        (state.failures, state.answered) = (0, Some(Instant::now()));
    }

    fn has_answered_since(&self, began: Instant) -> bool {
        self.state().answered.is_some_and(|answered| answered >= began)
    }

    /// A connection came to nothing. After some of them nobody is sent there any more; after one, if it waited in vain, from
    /// `silent` on, and nobody else had an answer meanwhile.
    fn failed(&self, why: &dyn fmt::Display, silent: Option<Instant>, session: &str, id: &str) {
        let hangs = silent.is_some_and(|began| !self.has_answered_since(began));
        let mut state = self.state();
        state.failures = if hangs { FAILURES } else { state.failures.saturating_add(1) };
        let now_down = state.failures >= FAILURES && state.down.replace(why.to_string()).is_none();
        drop(state);
        tracing::warn!(session, id, next_hop = %self.place, "the next hop failed: {why}");
        if now_down {
            tracing::error!(next_hop = %self.place, "the next hop is down; mail is put off");
        }
        // The watch may have been told already.
        let _ = self.trouble.0.try_send(());
    }

    fn is_up(&self) {
        let mut state = self.state();
        if state.down.take().is_some() {
            // One answer is not much: the next that fails is enough.
            state.failures = FAILURES - 1;
            drop(state);
            tracing::warn!(next_hop = %self.place, "the next hop is up again");
        }
    }

    fn is_down(&self, why: &str) {
        let news = self.state().down.replace(why.to_owned()).is_none();
        if news {
            tracing::error!(next_hop = %self.place, "the next hop is down; mail is put off: {why}");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn wait(time: Duration) {
    Timer::after(time).await;
}

/// The authorities in this file, or those that the system trusts.
fn authorities(file: Option<&Path>) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    let Some(file) = file else { return Ok(smtp_rustls::authorities_of_system().unwrap_or(roots)) };
    let wrong = |wrong: &dyn fmt::Display| {
        Failure::option("--next-hop-ca", file.display(), wrong, "it must be a readable PEM file with certificates")
    };
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| wrong(&error))? {
        let certificate = certificate.map_err(|error| wrong(&error))?;
        roots.add(certificate).map_err(|error| wrong(&error))?;
    }
    if roots.is_empty() { Err(wrong(&"no certificate in it")) } else { Ok(roots) }
}
