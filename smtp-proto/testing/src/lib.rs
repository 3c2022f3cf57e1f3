//! What sinks for tests have in common, whatever they run on: [`Rules`] by which they misbehave, and the [`Inbox`] of
//! messages that came.
//!
//! Use them by `smtp_smol::testing::Sink` or `smtp_mio::testing::Sink`; this crate is what those two share, and
//! `smtp-mio sink`.

mod certificate;
mod inbox;
mod recorder;
mod rules;
mod settings;

pub use certificate::Certificate;
pub use inbox::{Inbox, Message, TooFew};
pub use recorder::Recorder;
pub use rules::{Act, Decision, Rule, Rules, VERBS, Verb};
pub use settings::Settings;
