//! The [`smtp_proto`] core over smol: async handlers, one task a connection.
//!
//! ```no_run
//! use smtp_proto::{server::{Config, MessageEnd, Verdict}, tls::Policy};
//! use smtp_smol::{Handler, Peer, Server};
//!
//! #[derive(Default)]
//! struct Count(u64);
//!
//! impl Handler for Count {
//!     async fn chunk(&mut self, text: &[u8]) {
//!         self.0 += text.len() as u64;
//!     }
//!     async fn message(&mut self, _: &Peer<'_>, _: MessageEnd) -> Verdict<'_> {
//!         Verdict::Accept // now it is ours
//!     }
//! }
//!
//! let config = Config::new("mx.example.net")?.tls(Policy::Off).shared();
//! let mut server = Server::new(config);
//! server.listen("127.0.0.1:2525".parse()?)?;
//! server.run(|_| Count::default())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod client;
mod handler;
mod link;
mod messages;
mod server;
#[cfg(feature = "testing")]
pub mod testing;
mod users;

pub use client::{Client, Connection, Lent, Observer, Pool, PoolLimits, Said, Stopped, Target};
pub use handler::{Handler, Peer};
pub use link::Socket;
pub use messages::{MessageHandler, Messages};
pub use server::{Handle, Limits, Listener, Server};
#[cfg(feature = "tls")]
pub use smtp_rustls::{ClientCertificates, ClientTls};
pub use users::Users;
