//! By which name a server is known.

use alloc::sync::Arc;

/// By which name a server is known, and whether that proves anything.
///
/// A name is sure when it was configured, or came by a way that can be trusted (MTA-STS, DNSSEC): a certificate for it
/// proves who the server is. A name that came from the server itself, or from plain DNS, is learnt: the server is asked
/// for it (SNI), but a certificate for it proves nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PeerName {
    name: Option<Arc<str>>,
    sure: bool,
}

impl PeerName {
    /// A name from configuration or another trusted source: a certificate for it proves who the server is.
    #[must_use]
    pub fn sure(name: &str) -> Self {
        Self { name: Some(name.into()), sure: true }
    }

    /// A name that came from the server or from plain DNS: a certificate for it proves nothing.
    #[must_use]
    pub fn learnt(name: &str) -> Self {
        Self { name: Some(name.into()), sure: false }
    }

    /// The name, if there is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether a certificate for it proves something.
    #[must_use]
    pub const fn is_sure(&self) -> bool {
        self.sure
    }
}
