//! The grammar of commands and replies, borrowed from the line, without state.
//!
//! nom reads what the RFCs give as nested rules: addresses, address literals, source routes, attributes. There a parser is
//! the rule, put together as the ABNF has it. What is a list of words between single marks (a verb and its argument,
//! parameters, the lines of a reply, base64, xtext) is cut by hand: one pass over octets, by the table in `class.rs`.
//! Most addresses are neither quoted nor literals, and `usual.rs` reads those alone; it leaves all others to the rules.

mod address;
mod announced;
mod arguments;
mod attributes;
mod base64;
mod builder;
mod capabilities;
mod class;
mod command;
mod error;
mod lenient;
mod owned_reply;
mod params;
mod registry;
mod reply;
mod reply_reader;
mod usual;
mod values;
mod verb;
mod write;
mod xtext;

pub use address::{ForwardPath, Host, HostKind, Mailbox, ReversePath};
pub use attributes::{AttributeValue, Attributes, AttributesBuilder};
pub use base64::Base64;
pub use builder::ParamsBuilder;
pub use capabilities::{Capability, Extension, ExtensionSet, Words};
pub use command::{Atrn, Command, Etrn, Mail, Options, Parsed, Rcpt};
pub use error::{SyntaxError, SyntaxErrorKind};
pub use owned_reply::OwnedReply;
pub use params::{Param, Params};
pub use registry::{Keyword, KeywordSet, RegisteredParam};
pub use reply::{Enhanced, InvalidReply, Reply, ReplyWriter};
pub use reply_reader::{ReplyFault, ReplyLimits, ReplyLine, ReplyLineIter, ReplyLines, ReplyReader};
pub use values::{AuthParam, Body, By, Mtrk, Notify, Orcpt, Ret, Rrvs, RrvsAction};
pub use verb::Verb;
pub use write::InvalidCommand;
pub use xtext::Xtext;
