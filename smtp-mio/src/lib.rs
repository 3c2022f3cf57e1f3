//! SMTP over mio: a server with one event loop a core and synchronous handlers, and a client that drives many connections
//! from one thread, on the [`smtp_proto`] core.
//!
//! # A tour
//!
//! A server that takes mail for one domain, and looks a recipient up on another thread:
//!
//! ```
//! use std::io::{Read, Write};
//! use std::sync::{Arc, mpsc};
//! use smtp_mio::{Answer, MessageHandler, Messages, OwnedVerdict, Peer, Server};
//! use smtp_proto::server::{Config, Envelope, Room, Verdict};
//! use smtp_proto::syntax::{Enhanced, Rcpt, Reply};
//! use smtp_proto::tls::Policy;
//!
//! struct Gateway(mpsc::Sender<Envelope>);
//!
//! // The values that its methods return are the answers. They must not block: what takes time is answered later.
//! impl MessageHandler for Gateway {
//!     fn rcpt(&mut self, peer: &Peer<'_>, rcpt: &Rcpt<'_>) -> Answer<'_> {
//!         let (later, answer) = peer.defer();
//!         let address = rcpt.path.as_str().to_owned();
//!         std::thread::spawn(move || {
//!             let known = address.ends_with("@example.net"); // or what a database says
//!             let unknown = || OwnedVerdict::Refuse(550, Some(Enhanced::new(5, 1, 1)), "No such user".into());
//!             answer.answer(if known { OwnedVerdict::Accept } else { unknown() });
//!         });
//!         Answer::Later(later)
//!     }
//!     fn message(&mut self, _: &Peer<'_>, envelope: Envelope) -> Answer<'_> {
//!         match self.0.send(envelope) {
//!             Ok(()) => Verdict::Accept.into(), // now it is ours
//!             Err(_) => const { Reply::fixed(451, (4, 3, 0), "Try again later") }.into(),
//!         }
//!     }
//! }
//!
//! // With a certificate it would offer STARTTLS: Server::tls_from_pem.
//! let mut server = Server::new(Config::new("mx.example.net")?.tls(Policy::Off).shared());
//! let address = server.listen("127.0.0.1:0".parse()?)?;
//! let (handle, (sender, messages)) = (server.handle(), mpsc::channel());
//! let room = Arc::new(Room::default()); // bounds what is in memory
//! let running = std::thread::spawn(move || server.run(move |_| Messages::new(Gateway(sender.clone()), &room)));
//!
//! let mut client = std::net::TcpStream::connect(address)?;
//! client.read(&mut [0; 100])?; // the greeting
//! client.write_all(
//!     b"EHLO client.example\r\nMAIL FROM:<ann@example.org>\r\nRCPT TO:<ben@example.net>\r\nRCPT TO:<eve@example.com>\r\n\
//!       DATA\r\nSubject: Hi\r\n\r\nHello.\r\n.\r\nQUIT\r\n",
//! )?;
//! let envelope = messages.recv()?;
//! assert_eq!(envelope.to, ["ben@example.net"]);
//! assert_eq!(envelope.text, b"Subject: Hi\r\n\r\nHello.\r\n");
//! handle.shut_down();
//! running.join().expect("no panic")?;
//! assert_eq!(handle.stats().messages, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where to look
//!
//! - To receive: [`Server`], with a [`MessageHandler`] for whole messages, or a [`Handler`] that sees each command and the
//!   text as it comes. [`Users`] answers AUTH. A [`Handle`] ends the server, counts what it did, and hands it connections
//!   that were accepted elsewhere.
//! - To send: [`Client`], told what is next by a [`Sender`].
//! - To test a program that sends mail: `testing::Sink`, with the feature `testing`.
//!
//! # Features
//!
//! `tls` (on by default) is STARTTLS and TLS from the first octet, by rustls. `testing` is the sink for tests.
//!
//! # What requiring TLS would cost
//!
//! It is counted in the core's [`Ledger`](smtp_proto::tls::Ledger), by a handler that says
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
