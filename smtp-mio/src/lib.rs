//! The [`smtp_proto`] core over mio: one event loop a core, synchronous handlers.
//!
//! ```no_run
//! use smtp_mio::{Answer, Handler, Server};
//! use smtp_proto::{server::{Config, MessageEnd, Verdict}, tls::Policy};
//!
//! #[derive(Default)]
//! struct Count(u64);
//!
//! impl Handler for Count {
//!     fn chunk(&mut self, text: &[u8]) {
//!         self.0 += text.len() as u64;
//!     }
//!     fn message(&mut self, _: &smtp_mio::Peer<'_>, _: MessageEnd) -> Answer<'_> {
//!         Verdict::Accept.into()
//!     }
//! }
//!
//! let config = Config::new("mx.example.net")?.tls(Policy::Off).shared();
//! let mut server = Server::new(config);
//! server.listen("127.0.0.1:2525".parse()?)?;
//! server.run(|_| Count::default())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What requiring TLS would cost is counted in the core's [`Ledger`](smtp_proto::tls::Ledger), by a handler that says
//! whether mail was wanted:
//!
//! ```
//! use std::sync::{Arc, Mutex, PoisonError};
//! use std::time::UNIX_EPOCH;
//! use smtp_mio::{Answer, Handler, Peer};
//! use smtp_proto::server::{MessageEnd, Verdict};
//! use smtp_proto::syntax::Mail;
//! use smtp_proto::tls::{Direction, Hop, Ledger, Record, Wanted};
//!
//! struct Filter {
//!     ledger: Arc<Mutex<Ledger>>,
//!     sender: String,
//!     spam: bool,
//! }
//!
//! impl Handler for Filter {
//!     fn mail(&mut self, _: &Peer<'_>, mail: &Mail<'_>) -> Answer<'_> {
//!         let domain = mail.path.as_str().rsplit_once('@').map_or("", |(_, domain)| domain);
//!         self.sender = domain.to_ascii_lowercase();
//!         self.spam = false;
//!         Verdict::Accept.into()
//!     }
//!     fn chunk(&mut self, text: &[u8]) {
//!         self.spam |= text.windows(7).any(|word| word == b"lottery"); // or what your filter says
//!     }
//!     fn message(&mut self, peer: &Peer<'_>, _: MessageEnd) -> Answer<'_> {
//!         let now = UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
//!         let mut record = Record::new(now.cast_signed(), Direction::Inbound);
//!         record.peer = peer.address.map(|address| address.ip());
//!         record.sender = Some(&self.sender).map(String::as_str).filter(|domain| !domain.is_empty());
//!         record.hop = Hop::from(&peer.session.tls_outcome());
//!         record.wanted = if self.spam { Wanted::No } else { Wanted::Yes };
//!         self.ledger.lock().unwrap_or_else(PoisonError::into_inner).add(&record);
//!         Verdict::Accept.into()
//!     }
//! }
//! ```

mod client;
mod handler;
mod link;
mod messages;
mod server;
#[cfg(feature = "testing")]
pub mod testing;
mod users;
mod wheel;

pub use client::{Client, Closed, Key, Line, Next, Sender, Target, Text};
pub use handler::{Answer, AuthAnswer, Deferred, DeferredAuth, Handler, Later, LaterAuth, OwnedVerdict, Peer};
pub use messages::{MessageHandler, Messages};
pub use server::{Handle, Limits, Server, Stats};
#[cfg(feature = "tls")]
pub use smtp_rustls::{ClientCertificates, ClientTls};
pub use users::Users;
