//! Decisions about addresses, as data: in which order to try them, by which name a server is known, and how many
//! connections each host has. No I/O, no clock.

mod hosts;
mod name;
mod order;

pub use hosts::{ConnectionsByHost, host};
pub use name::PeerName;
pub use order::in_turn;
