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

mod certificates;
mod client;
mod connection;
mod event_loop;
mod handler;
mod limits;
mod link;
mod proxy;
mod server;
mod tls;
mod wheel;
mod witness;

pub use certificates::ClientTls;
pub use client::{Client, Closed, Key, Line, Next, Sender, Target, Text};
pub use handler::{Answer, AuthAnswer, Deferred, DeferredAuth, Handler, Later, LaterAuth, OwnedVerdict, Peer};
pub use limits::{Limits, Stats};
pub use server::{Handle, Server};
