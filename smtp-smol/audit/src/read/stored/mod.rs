//! Stored mail: what the Received fields of a message say of the hop on which it came.

pub(crate) mod head;
mod load;
pub(crate) mod maildir;
pub(crate) mod mbox;
pub(crate) mod message;
mod received;

pub(crate) use head::{Reader, is_message};
