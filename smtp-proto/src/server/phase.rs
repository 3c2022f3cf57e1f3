//! Where a session stands beside its [`State`](super::State): what would only multiply the rows of the table.

/// What is known of the client and its transaction, and what may still come.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "what is a state among them is an enum; the others are facts")]
pub(super) struct Phase {
    pub(super) greeting: Greeting,
    pub(super) refused: RefusedText,
    /// The client said EHLO or LHLO rather than HELO.
    pub(super) extended: bool,
    /// The transaction asked for SMTPUTF8.
    pub(super) utf8: bool,
    /// The transaction said BODY=BINARYMIME.
    pub(super) binary: bool,
    /// What was answered must be read before the client goes on (RFC 2920 3.1).
    pub(super) must_wait: bool,
    /// That it did not wait has been reported.
    pub(super) pipelining_reported: bool,
    /// The adapter trusts the peer.
    pub(super) trusted: bool,
    /// The session ends as soon as no text is in flight.
    pub(super) shutting_down: bool,
}

/// How far it is known whether the client waited for the greeting (RFC 5321 3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Greeting {
    /// Nothing has come, nor is the time over for which the greeting is held back.
    #[default]
    Held,
    /// That time is over; what comes before the greeting has gone out is still too early.
    Due,
    /// It is known.
    Past,
}

/// Which text was refused, and may come all the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum RefusedText {
    #[default]
    None,
    /// DATA was refused: of a client that did not wait for 354 the next lines are text.
    Data,
    /// A chunk was refused: its octets are being thrown away (RFC 3030 2).
    Chunk,
}
