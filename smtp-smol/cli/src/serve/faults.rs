//! What is said of a peer that broke a rule.

use std::net::IpAddr;

use smtp_proto::server::FaultKind;

/// The line at fault, for the log. What may be a password, or is text and no line, is not shown.
pub(super) fn line_of(kind: FaultKind, said: &[u8]) -> Option<&[u8]> {
    let secret = said.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH"));
    let line = !matches!(
        kind,
        FaultKind::AuthFailed(_) | FaultKind::AuthMalformed | FaultKind::AuthCancelled | FaultKind::MessageTooBig
    ) && !concerns_text(kind);
    Some(said).filter(|said| line && !secret && !said.is_empty())
}

/// Whether a message is refused for it once its text is there.
pub(super) const fn concerns_text(kind: FaultKind) -> bool {
    matches!(kind, FaultKind::Text(_) | FaultKind::TextLineTooLong)
}

/// Whether it is an address of a private network, or the peer came by a Unix socket: from there come devices that cannot be
/// mended, and from elsewhere whatever there is.
pub(super) const fn is_private(address: Option<IpAddr>) -> bool {
    match address {
        Some(IpAddr::V4(address)) => address.is_private() || address.is_loopback() || address.is_link_local(),
        Some(IpAddr::V6(address)) => {
            address.is_unique_local() || address.is_loopback() || address.is_unicast_link_local()
        }
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_networks() {
        for (address, private) in [
            ("127.0.0.1", true),
            ("192.168.1.9", true),
            ("169.254.3.4", true),
            ("fe80::1", true),
            ("fd00::1", true),
            ("192.0.2.1", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_private(address.parse().ok()), private, "{address}");
        }
        assert!(is_private(None));
    }
}
