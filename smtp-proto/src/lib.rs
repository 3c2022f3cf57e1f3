//! SMTP as a Sans-IO state machine: bytes in; commands, events and replies out.
//!
//! The core does no I/O and knows no clock: `#![no_std]`, no sockets, no threads, no TLS library. A *driver* owns
//! those (see `smtp-smol` and `smtp-mio`), and is this loop:
//!
//! ```
//! # extern crate std;
//! use std::sync::Arc;
//! use smtp_proto::{Buffer, Channel, Step, Want, server::{Config, Event, Session, Verdict}};
//! # let mut peer: std::collections::VecDeque<&[u8]> = [&b"EHLO client.example\r\nQUIT\r\n"[..]].into();
//! # let mut wire = Vec::new();
//!
//! let mut session = Session::new(Arc::new(Config::new("mx.example.net")?), Channel::Plain);
//! let mut buffer = Buffer::with_capacity(4096);
//! loop {
//!     let mut input = buffer.filled();
//!     let want = loop {
//!         match session.step(&mut input) {
//!             // The handler: look at the event, answer its ticket.
//!             Step::Event(Event::Connect(t) | Event::StartTls(t) | Event::Data(t)) => session.answer(t, Verdict::Accept),
//!             Step::Event(Event::Hello(_, t)) => session.answer(t, Verdict::Accept),
//!             Step::Event(_) => {}
//!             Step::Want(want) => break want,
//!         }
//!     };
//!     let left = input.len();
//!     buffer.keep_last(left);
//!     // Flush before acting on a Want: write out `session.output()`, then say so.
//! #   wire.extend_from_slice(session.output());
//!     let n = session.output().len();
//!     session.sent(n);
//!     match want {
//!         // Read only here. 0 bytes read is `session.eof()`.
//!         Want::Input => match peer.pop_front() {
//!             Some(bytes) => buffer.extend(bytes),
//!             None => session.eof(),
//!         },
//!         Want::Output => {}
//!         Want::Decision => unreachable!("every ticket was answered above"),
//!         Want::Tls => unreachable!("hand the socket to a TLS library, then session.tls_established(..)"),
//!         Want::Close => break,
//!     }
//! }
//! # assert!(wire.starts_with(b"220 mx.example.net ") && wire.windows(3).any(|w| w == b"221"));
//! # Ok::<(), smtp_proto::server::ConfigError>(())
//! ```
//!
//! Two rules for a driver: **flush before acting on a [`Want`]; read only on [`Want::Input`]**. Reply batching
//! (RFC 2920), back-pressure and safety at STARTTLS follow from them.
//!
//! The feature `std`, off by itself, reads message text with AVX2 where the processor has it, which only std can tell.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod auth;
mod buffer;
pub mod client;
mod date;
mod framing;
mod leniency;
pub mod net;
pub mod proxy;
pub mod server;
pub mod syntax;
pub mod text;
pub mod tls;
pub mod trace;

/// Compiles the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod own_readme {}

pub use buffer::Buffer;
pub use leniency::{Leniencies, Leniency, LeniencyCounts, UnknownLeniency};
pub use tls::{Channel, TlsInfo};

/// What a session has for its driver: something that happened, or something it needs.
#[derive(Debug)]
#[must_use = "an event unseen is mail unseen; a want unseen is a session that stands still"]
pub enum Step<E> {
    /// Something happened; call `step` again after handling it.
    Event(E),
    /// Nothing more happens until the driver has done this. First write out `output()`.
    Want(Want),
}

/// What a session needs before it can go on. Whatever it is, the driver first writes out `output()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Want {
    /// Read more bytes from the peer, or report `eof()`. The only moment at which a driver reads.
    Input,
    /// Only write out `output()`, then call `step` again: enough replies wait, no further command is taken before.
    Output,
    /// Answer the ticket that is out.
    Decision,
    /// Do the TLS handshake, then call `tls_established` or `tls_failed`. Plaintext read already, but not yet taken
    /// by `step`, must be given to `step` (which ends the session), never to the TLS library.
    Tls,
    /// Close the connection: shut down writing, drain briefly, close.
    Close,
}
