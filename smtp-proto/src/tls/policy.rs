//! Whether TLS is offered, and whether it is required.

/// What a server does about TLS on its hop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Policy {
    /// STARTTLS is not announced, and is refused if a client sends it.
    Off,
    /// STARTTLS is announced and never required, as RFC 3207 section 4 demands of a public MX.
    #[default]
    Offer,
    /// Until the hop is TLS everything but NOOP, EHLO, HELO, STARTTLS, RSET and QUIT is answered 530 5.7.0
    /// (RFC 3207 section 4). "Your server, your rules": RFC 3207 says that a public MX MUST NOT do this.
    Require,
}

impl Policy {
    /// Whether STARTTLS is announced in plaintext.
    #[must_use]
    pub const fn offers(self) -> bool {
        !matches!(self, Self::Off)
    }
}
