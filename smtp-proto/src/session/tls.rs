//! What became of TLS on the hop of a session.

use alloc::boxed::Box;

use crate::tls::{Channel, TlsFailure, TlsInfo, TlsOutcome};

/// What is known of the TLS that a session begins in, if it does.
pub(crate) fn established(channel: Channel) -> Option<Box<TlsInfo>> {
    match channel {
        Channel::Plain => None,
        Channel::Tls(info) => Some(Box::new(info)),
    }
}

/// What became of TLS; `offered` says whether the server announced STARTTLS.
pub(crate) fn outcome(tls: Option<&TlsInfo>, failure: Option<&TlsFailure>, offered: bool) -> TlsOutcome {
    match (tls, failure) {
        (Some(info), _) => TlsOutcome::Used(info.clone()),
        (None, Some(failure)) => TlsOutcome::Failed(failure.clone()),
        (None, None) if offered => TlsOutcome::NotTried,
        (None, None) => TlsOutcome::NotOffered,
    }
}
