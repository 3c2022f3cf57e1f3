//! The grammar of commands and replies, borrowed from the line, without state.

mod address;
mod capabilities;
mod command;
mod params;
mod reply;
mod reply_reader;

pub use address::{ForwardPath, Host, Mailbox, ReversePath};
pub use capabilities::{Capability, Extension, ExtensionSet, Words};
pub use command::{Base64, Command, Leniency, Mail, Options, Parsed, Rcpt, SyntaxError, SyntaxErrorKind, Verb};
pub use params::{KeywordSet, Param, Params};
pub use reply::{Enhanced, InvalidReply, Reply, ReplyWriter};
pub use reply_reader::{Lines, ReplyFault, ReplyLimits, ReplyLine, ReplyLines, ReplyReader};
