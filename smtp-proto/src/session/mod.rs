//! What the two sides of a session share: tickets, the output, the matrix of transitions, and what became of TLS.
//!
//! A side adds what is its own: its states and their table, its events, and what it does upon each.

mod output;
mod tickets;
mod tls;
mod transitions;

pub(crate) use output::Output;
pub(crate) use tickets::{Stamp, Tickets};
pub(crate) use tls::{established, outcome};
pub(crate) use transitions::transitions;
