//! SASL mechanisms (RFC 4422) as pure exchanges, for client and server: messages in, messages out.
//!
//! Messages are what SASL calls them, octets: the base64 of RFC 4954 is the session's. Nothing here knows random numbers
//! either: where a mechanism needs some, the caller brings a [`Nonce`].
//!
//! | mechanism | | sends the password itself | proves the server too |
//! |---|---|---|---|
//! | `SCRAM-SHA-256-PLUS` | RFC 7677, RFC 5802, bound to the TLS channel by RFC 9266 | no | yes |
//! | `SCRAM-SHA-256` | RFC 7677, RFC 5802 | no | yes |
//! | `EXTERNAL` | RFC 4422 appendix A: what the channel has shown already, such as a certificate | no | no |
//! | `OAUTHBEARER` | RFC 7628 | a token | no |
//! | `XOAUTH2` | in wide use, never an RFC | a token | no |
//! | `PLAIN` | RFC 4616 | yes | no |
//! | `LOGIN` | in wide use, never an RFC | yes | no |
//!
//! **CRAM-MD5 and DIGEST-MD5** are not here, and will not be. A server can only do them if it keeps passwords that can be
//! read, DIGEST-MD5 is historic (RFC 6331), and who listens to CRAM-MD5 can try passwords at home. A client gains nothing
//! by them either: without TLS it shows no credentials, and inside TLS the servers that know them know PLAIN or LOGIN as
//! well; large providers have withdrawn CRAM-MD5 for that reason.
//!
//! **SASLprep** (RFC 4013), as RFC 4616 and RFC 5802 ask for: controls are refused. ASCII needs no more than that.
//! Of other names and passwords the mapping and normalisation (NFKC) are left to the application, as their tables are
//! larger than this crate: hand in what is normalised already. What keyboards produce mostly is.
//!
//! Client against server, in memory:
//!
//! ```
//! use smtp_proto::auth::{Mechanism, Nonce, ScramRecord, client, server};
//!
//! let scram = Mechanism::ScramSha256;
//! let mut client = client::Exchange::new(
//!     scram,
//!     &client::Credentials::password("user", "pencil")?,
//!     scram.into(), // what the server offers
//!     None,         // no TLS
//!     Nonce::new(&[1; 18]), // random, of course
//! );
//! let mut server = server::Exchange::new(scram, scram.into(), None);
//!
//! let mut turn = server.start(client.initial_response().as_ref().map(|first| first.expose()));
//! let identity = loop {
//!     turn = match turn {
//!         server::Turn::Challenge(challenge) => server.respond(client.respond(&challenge)?.expose()),
//!         // The application's part. A user that is not known gets `ScramRecord::decoy`.
//!         server::Turn::Ask(server::Question::Scram { .. }) => server.answer(server::Answer::Scram {
//!             record: ScramRecord::derive("pencil", b"salt of this user", 4096)?,
//!             nonce: Nonce::new(&[2; 18]),
//!         }),
//!         server::Turn::Ask(_) => server.answer(server::Answer::Reject),
//!         server::Turn::Success(identity) => break identity,
//!         server::Turn::Failure(failure) => panic!("{failure}"),
//!     };
//! };
//! assert_eq!(identity.name(), "user");
//! client.succeeded()?; // 235 has come: has the server proved itself as well?
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

pub(crate) mod base64;
pub mod client;
mod mechanism;
mod message;
mod scram;
mod secret;
pub mod server;
mod users;

pub use mechanism::{Mechanism, MechanismSet};
pub use scram::{InvalidRecord, ScramRecord};
pub use secret::{Nonce, Secret};
pub use users::{UnusablePassword, Users};

/// Octets of a name, authorization identity or host: longer ones are malformed.
pub const MAX_NAME: usize = 1024;
/// Octets of a password: longer ones are malformed.
pub const MAX_PASSWORD: usize = 4096;
/// Octets of a message of any mechanism, base64 taken off: what a line of 12,288 octets can hold (RFC 4954 4).
pub const MAX_MESSAGE: usize = 9216;

/// Not a name or password that this crate can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCredentials {
    /// RFC 4616 2: neither may be empty.
    #[error("a name, password or token is empty")]
    Empty,
    /// Over [`MAX_NAME`], [`MAX_PASSWORD`] or [`MAX_MESSAGE`].
    #[error("a name, password or token is too long")]
    TooLong,
    /// A control (RFC 4013 2.3), or, in a token, what no token may hold (RFC 6750 2.1).
    #[error("a name, password or token holds a character that it must not")]
    Forbidden,
}

/// The part of SASLprep that is carried out here (RFC 4013 2.3): no controls; and the bounds.
fn prepare(text: &str, most: usize) -> Result<&str, InvalidCredentials> {
    if text.is_empty() {
        Err(InvalidCredentials::Empty)
    } else if text.len() > most {
        Err(InvalidCredentials::TooLong)
    } else if text.chars().any(char::is_control) {
        Err(InvalidCredentials::Forbidden)
    } else {
        Ok(text)
    }
}
