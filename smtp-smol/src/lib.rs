//! SMTP over smol: a server with async handlers, a client, and a pool of connections, on the [`smtp_proto`] core.
//!
//! # A tour
//!
//! A server that takes mail for one domain, and a client that sends it a message:
//!
//! ```
//! use std::sync::{Arc, mpsc};
//! use smtp_proto::client::{self, Tls};
//! use smtp_proto::server::{Config, Envelope, Room, Verdict};
//! use smtp_proto::syntax::{ForwardPath, Params, Rcpt, Reply, ReversePath};
//! use smtp_proto::tls::Policy;
//! use smtp_smol::{Client, MessageHandler, Messages, Peer, Server, Target};
//!
//! struct Gateway(mpsc::Sender<Envelope>);
//!
//! // The values that its methods return are the answers.
//! impl MessageHandler for Gateway {
//!     async fn rcpt(&mut self, _: &Peer<'_>, rcpt: &Rcpt<'_>) -> Verdict<'_> {
//!         match rcpt.path.as_str().ends_with("@example.net") {
//!             true => Verdict::Accept,
//!             false => Verdict::Refuse(const { Reply::fixed(550, (5, 7, 1), "No mail for that domain here") }),
//!         }
//!     }
//!     async fn message(&mut self, _: &Peer<'_>, envelope: Envelope) -> Verdict<'_> {
//!         match self.0.send(envelope) {
//!             Ok(()) => Verdict::Accept, // now it is ours
//!             Err(_) => Verdict::Refuse(const { Reply::fixed(451, (4, 3, 0), "Try again later") }),
//!         }
//!     }
//! }
//!
//! // The server. With a certificate it would offer STARTTLS: Server::tls_from_pem.
//! let mut server = Server::new(Config::new("mx.example.net")?.tls(Policy::Off).shared());
//! let address = server.listen("127.0.0.1:0".parse()?)?;
//! let (handle, (sender, messages)) = (server.handle(), mpsc::channel());
//! let room = Arc::new(Room::default()); // bounds what is in memory
//! let running = std::thread::spawn(move || server.run(move |_| Messages::new(Gateway(sender.clone()), &room)));
//!
//! // The client.
//! let client = Client::new(client::Config::new("client.example.org")?.tls(Tls::Never).shared());
//! let from = ReversePath::parse("ann@example.org", false)?;
//! let to = ["ben@example.net", "eve@example.com"].map(|to| ForwardPath::parse(to, false));
//! let to = to.into_iter().map(|path| Ok(Rcpt { path: path?, params: Params::default() }));
//! let to = to.collect::<Result<Vec<_>, smtp_proto::syntax::SyntaxError>>()?;
//! let accepted = smol::block_on(async {
//!     let text = &mut &b"Subject: Hi\r\n\r\nHello.\r\n"[..];
//!     let sent = client.send(&Target::addresses(vec![address]), client::Envelope::new(from, &to), text).await?;
//!     Ok::<_, std::io::Error>(sent.outcomes().map(|outcome| outcome.is_accepted()).collect::<Vec<_>>())
//! })?;
//! assert_eq!(accepted, [true, false]); // each recipient has an outcome of its own
//!
//! assert_eq!(messages.recv()?.to, ["ben@example.net"]);
//! handle.shut_down();
//! running.join().expect("no panic")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where to look
//!
//! - To receive: [`Server`], with a [`MessageHandler`] for whole messages, or a [`Handler`] that sees each command and the
//!   text as it comes. [`Users`] answers AUTH. [`Listener`] and [`Limits`] are how and how many may connect.
//!   [`Server::drive`] serves a connection that was accepted elsewhere.
//! - To send: [`Client`] and its [`Connection`], or a [`Pool`] that keeps connections for the next message. A relay sends
//!   [command by command](Connection#impl-Connection-1), and passes each reply on.
//! - To test a program that sends mail: `testing::Sink`, with the feature `testing`.
//!
//! # Features
//!
//! `tls` (on by default) is STARTTLS and TLS from the first octet, by rustls. `testing` is the sink for tests.
//!
//! # On tokio
//!
//! smol's executor is a future like any other. `tokio::spawn(async move { executor.run(server.serve(executor.clone(),
//! make)).await })` serves, and handlers may await what is tokio's, such as its timers; [`Pool`] and [`Client`] work in any
//! task. The example `tokio_embedded` does so. A driver that has no smol in it is the example `tokio_driver` of
//! `smtp-rustls`.

mod client;
mod handler;
mod link;
mod messages;
mod reactor;
mod server;
mod socket;
#[cfg(feature = "testing")]
pub mod testing;
mod users;

pub use client::{Client, Connection, Lent, Observer, Pool, PoolLimits, Said, Stopped, Target};
pub use handler::{Handler, Peer};
pub use messages::{MessageHandler, Messages};
pub use server::{Handle, Limits, Listener, Server};
#[cfg(feature = "tls")]
pub use smtp_rustls::{ClientCertificates, ClientTls};
pub use socket::Socket;
pub use users::Users;

/// Compiles and runs what the book has on servers.
#[cfg(doctest)]
#[doc = include_str!("../../docs/build/server.md")]
mod book_server {}

/// Compiles and runs what the book has on clients.
#[cfg(all(doctest, feature = "testing"))]
#[doc = include_str!("../../docs/build/client.md")]
mod book_client {}
