//! SMTP as a Sans-IO state machine: bytes in; commands, events and replies out.
//!
//! The core does no I/O and knows no clock: `#![no_std]`, no sockets, no threads, no TLS library. All that belongs to a
//! *driver*, the code around a session. `smtp-smol` and `smtp-mio` are drivers. You can write your own; it is this loop:
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
//!     // Before acting on a Want, write out `session.output()`, and say how much was written.
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
//! A driver keeps two rules: **write out before acting on a [`Want`]; read only on [`Want::Input`]**. Then replies to
//! pipelined commands leave together (RFC 2920), a peer that does not read has to wait, and bytes behind STARTTLS do no
//! harm.
//!
//! An event that asks for a decision carries a *ticket*, which is answered once, at once or later. The other words of our
//! own are in `docs/glossary.md`.
//!
//! The feature `std` is off by default. With it, message text is read with AVX2 on processors that have it; without std
//! there is no way to ask the processor. And the errors of the operating system are turned into the words of this crate.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub mod auth;
mod buffer;
pub mod client;
mod date;
mod framing;
mod leniency;
mod line_end;
pub mod net;
pub mod proxy;
pub mod server;
mod session;
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

/// Compiles and runs what the book has on the core.
#[cfg(doctest)]
#[doc = include_str!("../../docs/build/loop.md")]
mod book {}

pub use buffer::Buffer;
pub use leniency::{Leniencies, Leniency, LeniencyCounts, UnknownLeniency};
pub use tls::{Channel, TlsInfo};

/// What [`server::Session::step`] and [`client::Session::step`] return: something that happened, or something that the
/// session needs.
#[derive(Debug)]
#[must_use = "an event unseen is mail unseen; a want unseen is a session that stands still"]
pub enum Step<E> {
    /// Something happened; call `step` again after handling it.
    Event(E),
    /// The session cannot go on until the driver has done this. First write out `output()`.
    Want(Want),
}

/// What a session needs before it can go on. In every case the driver first writes out `output()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Want {
    /// Read more bytes from the peer, or report `eof()`. A driver reads at no other moment.
    Input,
    /// Write out `output()`, then call `step` again. So many replies are waiting that no further command is taken before.
    Output,
    /// Answer the ticket of the last event that carried one.
    Decision,
    /// Do the TLS handshake, then call `tls_established` or `tls_failed`. Bytes that were read before the handshake and
    /// that `step` has not taken are plaintext: give them to `step`, which ends the session, and never to the TLS library.
    Tls,
    /// Close the connection: shut down writing, read and drop what still comes for a moment, close.
    Close,
}
