//! The grammar of commands and replies, borrowed from the line, without state.

mod address;
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
pub use registry::{Entry, Keyword, KeywordSet};
pub use reply::{Enhanced, InvalidReply, Reply, ReplyWriter};
pub use reply_reader::{Lines, ReplyFault, ReplyLimits, ReplyLine, ReplyLines, ReplyReader};
pub use values::{AuthParam, Body, By, Mtrk, Notify, Orcpt, Ret, Rrvs, RrvsAction};
pub use verb::Verb;
pub use write::InvalidCommand;
pub use xtext::Xtext;
