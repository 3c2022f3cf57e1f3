//! What the next hop offers, and what is therefore announced to clients.

use std::fmt;

use smtp_proto::client::{Session, Tls};
use smtp_proto::server::{Config, Extensions, Limits};
use smtp_proto::syntax::Extension;

/// What the next hop offers of that which this server cannot do without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is an extension by itself")]
pub(crate) struct Offered {
    pub(super) size: Option<u64>,
    pub(super) eight_bit: bool,
    utf8: bool,
    dsn: bool,
    require_tls: bool,
    chunking: bool,
    binary: bool,
}

impl Offered {
    /// What a session was told, once it is open.
    pub(super) fn of(session: &Session) -> Self {
        let offers = session.offers();
        let chunking = offers.has(Extension::Chunking);
        Self {
            size: offers.size(),
            eight_bit: offers.has(Extension::EightBitMime),
            utf8: offers.has(Extension::SmtpUtf8),
            dsn: offers.has(Extension::Dsn),
            // RFC 8689 4.2.1: the next hop's certificate must verify.
            require_tls: offers.has(Extension::RequireTls)
                && session.tls().is_some()
                && session.config().tls_policy() == Tls::Verify,
            chunking,
            binary: chunking && offers.has(Extension::BinaryMime),
        }
    }

    /// A configuration that announces what the next hop offers.
    pub(crate) fn configure(&self, base: &Config, limits: Limits, one_recipient: bool) -> Config {
        let mut on = Extensions::default();
        on.eight_bit_mime = self.eight_bit;
        on.smtp_utf8 = self.utf8;
        on.dsn = self.dsn;
        on.require_tls = self.require_tls;
        on.chunking = self.chunking;
        on.binary_mime = self.binary;
        let mut limits = limits;
        limits.message = match (limits.message, self.size) {
            (ours, None) => ours,
            (0, Some(theirs)) => theirs,
            (ours, Some(theirs)) => ours.min(theirs),
        };
        let config = base.clone().extensions(on);
        // RFC 5321 4.5.3.1.7: a next hop that takes less than 64k is what it is; its own answers tell.
        let config = config.clone().limits(limits).unwrap_or(config);
        if one_recipient { config.one_recipient() } else { config }
    }
}

impl fmt::Display for Offered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.size {
            Some(size) => write!(f, "SIZE {size}")?,
            None => f.write_str("no SIZE")?,
        }
        for (on, keyword) in [
            (self.eight_bit, "8BITMIME"),
            (self.utf8, "SMTPUTF8"),
            (self.dsn, "DSN"),
            (self.require_tls, "REQUIRETLS"),
            (self.chunking, "CHUNKING"),
            (self.binary, "BINARYMIME"),
        ] {
            if on {
                write!(f, " {keyword}")?;
            }
        }
        Ok(())
    }
}
