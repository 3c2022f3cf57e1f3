//! What is said of a peer that broke a rule, and what its operator can do about it.

use std::net::IpAddr;

use smtp_proto::server::FaultKind;
use smtp_proto::text::TextFlaw;

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

/// What the operator can do about what was refused.
pub(super) fn mend(kind: FaultKind, said: &[u8]) -> Option<String> {
    Some(match kind {
        FaultKind::Text(TextFlaw::BareLf) => {
            "lines must end in CRLF: have the client send them so (curl: --crlf), or give --lenient bare-lf-text".into()
        }
        FaultKind::MessageTooBig => "--max-size allows larger messages".into(),
        _ => {
            let names: Vec<_> = kind.leniencies(said).iter().map(|leniency| format!("--lenient {leniency}")).collect();
            if names.is_empty() {
                return None;
            }
            format!("it would pass with {}", names.join(" and "))
        }
    })
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
    use smtp_proto::syntax::SyntaxErrorKind::{BadAddress, BadArgument, BareLf, UnknownCommand};

    use super::*;

    #[test]
    fn what_can_be_let_pass_is_told_by_name() {
        for (kind, said, told) in [
            (FaultKind::Text(TextFlaw::BareLf), "", Some("curl: --crlf")),
            (FaultKind::Text(TextFlaw::BareCr), "", Some("--lenient bare-cr-text")),
            (FaultKind::Text(TextFlaw::Nul), "", Some("--lenient nul-text")),
            (FaultKind::MessageTooBig, "", Some("--max-size")),
            (FaultKind::Syntax(BareLf), "HELO dev\n", Some("--lenient bare-lf-commands")),
            (FaultKind::Syntax(BadArgument), "HELO my_printer\r\n", Some("--lenient helo-name")),
            (
                FaultKind::Syntax(BadAddress),
                "MAIL FROM: a@b_c.example\r\n",
                Some("--lenient space-after-colon and --lenient bare-brackets and --lenient underscore-in-domain"),
            ),
            (FaultKind::Syntax(UnknownCommand), "HELLO\r\n", None),
            (FaultKind::OutOfOrder, "DATA\r\n", None),
        ] {
            let mend = mend(kind, said.as_bytes());
            let fits = told.map_or(mend.is_none(), |told| mend.as_ref().is_some_and(|mend| mend.contains(told)));
            assert!(fits, "{kind:?} {said:?}: {mend:?}");
        }
    }

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
