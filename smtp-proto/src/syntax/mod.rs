//! The grammar of commands and replies, borrowed from the line, without state.

mod address;
mod command;
mod params;
mod reply;

pub use address::{ForwardPath, Host, Mailbox, ReversePath};
pub use command::{Command, Leniency, Mail, Options, Parsed, Rcpt, SyntaxError, SyntaxErrorKind, Verb};
pub use params::{KeywordSet, Param, Params};
pub use reply::{Enhanced, InvalidReply, Reply};
