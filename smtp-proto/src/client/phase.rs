//! Where a session stands beside its [`State`](super::State): what the replies to come are read by.

use super::event::Reason;

/// How far the opening has come, and whether the end is near.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact by itself")]
pub(super) struct Phase {
    /// Greeting, EHLO, STARTTLS and AUTH are done, as far as they were asked for.
    pub(super) opened: bool,
    /// AUTH has succeeded.
    pub(super) authenticated: bool,
    /// STARTTLS was announced, in plaintext.
    pub(super) tls_offered: bool,
    /// The reply that is being read was there before its command had gone out.
    pub(super) early: bool,
    /// QUIT is to be sent when nothing is awaited.
    pub(super) quitting: bool,
    /// Why the session ends, whatever comes next: QUIT was sent; or EHLO was refused, and HELO is tried.
    pub(super) parting: Option<Reason>,
}
