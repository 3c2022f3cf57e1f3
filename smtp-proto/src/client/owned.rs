//! Recipients and outcomes that are kept: without a lifetime, for queues and for whoever waits in another task.

use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

use super::event::{NotNow, Reason};
use super::outcome::{Because, Outcome};
use crate::syntax::{ForwardPath, OwnedReply, ParamsBuilder, Rcpt, SyntaxError};
use crate::text::TextFlaw;

/// A recipient, checked, with its parameters.
///
/// ```
/// use smtp_proto::client::{Envelope, Recipient};
/// use smtp_proto::syntax::{Notify, ReversePath};
///
/// let mut b = Recipient::new("b@example.net")?;
/// b.params().notify(Notify::NEVER)?;
/// let recipients = [b, "c@example.net".parse()?];
/// let to: Vec<_> = recipients.iter().map(Recipient::rcpt).collect();
/// let envelope = Envelope::new(ReversePath::try_from("a@example.org")?, &to);
/// assert_eq!(envelope.to[0].path.as_str(), "b@example.net");
/// # Ok::<(), smtp_proto::syntax::SyntaxError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    address: String,
    params: ParamsBuilder,
}

impl Recipient {
    /// A mailbox, or `Postmaster`. Beyond ASCII it needs a server with SMTPUTF8 (RFC 6531).
    ///
    /// # Errors
    /// As [`ForwardPath::parse`].
    pub fn new(address: &str) -> Result<Self, SyntaxError> {
        ForwardPath::try_from(address)?;
        Ok(Self { address: address.to_string(), params: ParamsBuilder::rcpt() })
    }

    /// The address as it was given: a mailbox, or `Postmaster`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its parameters, such as NOTIFY, to be added to.
    pub const fn params(&mut self) -> &mut ParamsBuilder {
        &mut self.params
    }

    /// The recipient as an [`Envelope`](super::Envelope) takes it.
    #[must_use]
    pub fn rcpt(&self) -> Rcpt<'_> {
        let address = self.address.as_str();
        // It was one when it was made.
        let path = ForwardPath::try_from(address).unwrap_or(ForwardPath::Postmaster(address));
        Rcpt { path, params: self.params.params() }
    }
}

impl FromStr for Recipient {
    type Err = SyntaxError;

    fn from_str(address: &str) -> Result<Self, SyntaxError> {
        Self::new(address)
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

/// An [`Outcome`] without a lifetime, to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OwnedOutcome {
    /// The server has taken over the responsibility: [`Outcome::Accepted`].
    Accepted(OwnedReply),
    /// Not now, but another try is worth it: [`Outcome::Later`].
    Later(OwnedBecause),
    /// Refused for good: [`Outcome::Never`].
    Never(OwnedBecause),
    /// The text was sent, and no reply came: [`Outcome::Unknown`].
    Unknown(OwnedBecause),
}

/// A [`Because`] without a lifetime, to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OwnedBecause {
    /// The server said so, in this reply: [`Because::Reply`].
    Reply(OwnedReply),
    /// It was not sent, for this reason: [`Because::NotSent`].
    NotSent(NotNow),
    /// The text must not be sent, for this flaw: [`Because::Text`].
    Text(TextFlaw),
    /// The session ended, for this reason: [`Because::Session`].
    Session(Reason),
}

impl Outcome<'_> {
    /// The same outcome without a lifetime, to be kept.
    #[must_use]
    pub fn owned(&self) -> OwnedOutcome {
        match self {
            Self::Accepted(reply) => OwnedOutcome::Accepted((*reply).into()),
            Self::Later(because) => OwnedOutcome::Later(because.owned()),
            Self::Never(because) => OwnedOutcome::Never(because.owned()),
            Self::Unknown(because) => OwnedOutcome::Unknown(because.owned()),
        }
    }
}

impl Because<'_> {
    /// The same reason without a lifetime, to be kept.
    #[must_use]
    pub fn owned(&self) -> OwnedBecause {
        match self {
            Self::Reply(reply) => OwnedBecause::Reply((*reply).into()),
            Self::NotSent(why) => OwnedBecause::NotSent(*why),
            Self::Text(flaw) => OwnedBecause::Text(*flaw),
            Self::Session(reason) => OwnedBecause::Session((*reason).clone()),
        }
    }
}

impl OwnedOutcome {
    /// The outcome, borrowed, as the transaction gave it.
    #[must_use]
    pub fn outcome(&self) -> Outcome<'_> {
        match self {
            Self::Accepted(reply) => Outcome::Accepted(reply.lines()),
            Self::Later(because) => Outcome::Later(because.because()),
            Self::Never(because) => Outcome::Never(because.because()),
            Self::Unknown(because) => Outcome::Unknown(because.because()),
        }
    }
}

impl OwnedBecause {
    /// The reason, borrowed, as the transaction gave it.
    #[must_use]
    pub fn because(&self) -> Because<'_> {
        match self {
            Self::Reply(reply) => Because::Reply(reply.lines()),
            Self::NotSent(why) => Because::NotSent(*why),
            Self::Text(flaw) => Because::Text(*flaw),
            Self::Session(reason) => Because::Session(reason),
        }
    }
}

impl fmt::Display for OwnedOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.outcome().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::ReplyLines;

    /// What is kept says the same as what was told.
    #[test]
    fn an_outcome_that_is_kept_is_the_same() {
        let reply =
            ReplyLines::parse(b"550-5.1.1 who\r\n550 5.1.1 is that?\r\n").expect("a reply").expect("a whole one");
        let reason = Reason::ServerClosing(reply.into());
        for told in [
            Outcome::Accepted(reply),
            Outcome::Never(Because::Reply(reply)),
            Outcome::Later(Because::NotSent(NotNow::Limit)),
            Outcome::Never(Because::Text(TextFlaw::LongLine)),
            Outcome::Unknown(Because::Session(&reason)),
        ] {
            let kept = told.owned();
            assert_eq!(kept.outcome(), told);
            assert_eq!(kept.to_string(), told.to_string());
        }
    }

    /// RFC 5321 4.1.2, RFC 6531 3.3: what is no address is no recipient.
    #[test]
    fn a_recipient_is_an_address() {
        for address in ["b@example.net", "Postmaster", "\"a b\"@example.net", "j\u{fc}@b\u{fc}cher.example"] {
            let recipient = Recipient::new(address).expect("an address");
            assert_eq!((recipient.rcpt().path.as_str(), recipient.to_string().as_str()), (address, address));
        }
        for none in ["", "b", "b@example.net>\r\nRSET", "b@", "b @example.net"] {
            assert!(Recipient::new(none).is_err(), "{none:?}");
        }
    }
}
