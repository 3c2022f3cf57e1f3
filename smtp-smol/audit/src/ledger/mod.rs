//! The ledger file: one JSON line a transaction, written by `serve`, read by `audit`.
//!
//! ```
//! use smtp_proto::tls::{Direction, Ledger, Retries, Wanted};
//! use smtp_audit::ledger::Line;
//!
//! let file = concat!(
//!     r#"{"time":"2026-11-24T09:00:00Z","sender_domain":"a.example","outcome":"accepted","tls":{"outcome":"not-tried"}}"#,
//!     "\n",
//!     r#"{"time":"2026-11-24T09:00:01Z","sender_domain":"#, // the power failed here
//! );
//! let (mut ledger, mut retries, mut broken) = (Ledger::default(), Retries::default(), 0);
//! for line in file.lines() {
//!     match Line::parse(line.as_bytes()) {
//!         Ok(line) => drop(line.with(|record| retries.add(record, |record| ledger.add(record)))),
//!         Err(_) => broken += 1,
//!     }
//! }
//! retries.finish(|record| ledger.add(record));
//! assert_eq!((ledger.hops(Direction::Inbound, Wanted::Yes).count(), broken), (1, 1));
//! ```
//!
//! What is wanted mail, the handler knows best: here one that takes spam all the same, and says that it was. Without a
//! verdict what was accepted counts as wanted, and what was refused as unwanted.
//!
//! ```
//! use std::sync::Arc;
//! use smtp_proto::server::{MessageEnd, Verdict};
//! use smtp_proto::syntax::Mail;
//! use smtp_proto::tls::{Direction, Wanted};
//! use smtp_audit::ledger::{Line, LedgerFile, Tls};
//! use smtp_smol::{Handler, Peer};
//!
//! struct Filter {
//!     ledger: Arc<LedgerFile>,
//!     sender_domain: String,
//!     bytes: u64,
//!     spam: bool,
//! }
//!
//! impl Handler for Filter {
//!     async fn mail(&mut self, _: &Peer<'_>, mail: &Mail<'_>) -> Verdict<'_> {
//!         let domain = mail.path.as_str().rsplit_once('@').map_or("", |(_, domain)| domain);
//!         self.sender_domain = domain.to_ascii_lowercase();
//!         (self.bytes, self.spam) = (0, false);
//!         Verdict::Accept
//!     }
//!     async fn chunk(&mut self, text: &[u8]) {
//!         self.bytes += text.len() as u64;
//!         self.spam |= text.windows(7).any(|word| word == b"lottery"); // or what your filter says
//!     }
//!     async fn message(&mut self, peer: &Peer<'_>, _: MessageEnd) -> Verdict<'_> {
//!         let mut line = Line::new(jiff::Timestamp::now().to_string(), Direction::Inbound);
//!         line.peer = peer.address.ip().to_string().into();
//!         line.sender_domain = Some(self.sender_domain.as_str().into());
//!         line.bytes = self.bytes;
//!         line.outcome = "accepted".into();
//!         line.verdict = Some(if self.spam { Wanted::No } else { Wanted::Yes }.as_str().into());
//!         line.tls = Tls::from(&peer.session.tls_outcome());
//!         self.ledger.write(&line); // `line.with` counts it in memory
//!         Verdict::Accept
//!     }
//! }
//! ```
//!
//! Lines are only ever appended, each in one piece: a crash leaves at worst a last line that is cut, and the next start
//! ends that line, so that it costs itself and no other. Domains stand there as they were given; addresses do not.

mod file;
mod line;

pub use file::LedgerFile;
pub use line::{Line, Tls, registrable, version};
