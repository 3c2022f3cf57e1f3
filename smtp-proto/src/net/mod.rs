//! Decisions about addresses, as data: in which order to try them, and how many connections each host has. No I/O, no
//! clock.

mod hosts;
mod order;

pub use hosts::{Hosts, host};
pub use order::in_turn;
