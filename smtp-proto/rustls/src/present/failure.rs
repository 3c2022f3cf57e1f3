//! Why a handshake failed, from what rustls says.

use std::io;

use rustls::{CertificateError, Error, OtherError, PeerIncompatible};
use smtp_proto::tls::{TlsFailure, TlsOffer, TlsVersion};

/// More of an error's words is not recorded.
const MOST_WORDS: usize = 200;

/// From an error of rustls's.
#[must_use]
pub fn of(error: &Error) -> TlsFailure {
    match error {
        Error::AlertReceived(alert) => TlsFailure::Alert(alert_name(&format!("{alert:?}")).into()),
        other => known(other).map_or_else(|| refused(&other.to_string()), |words| TlsFailure::Refused(words.into())),
    }
}

/// The same for a server that has read what the client offered.
#[must_use]
pub fn of_offer(error: &Error, offered: Option<TlsOffer>) -> TlsFailure {
    match offered {
        Some(offered) if is_of_version(error, offered) => {
            TlsFailure::Refused(format!("offers {} at most", spaced(offered.version)).into())
        }
        _ => of(error),
    }
}

/// Whether a client failed for having no version that is accepted here. What the library misses first in a ClientHello of
/// TLS 1.1 and before may be an extension, which those versions do not have.
pub(crate) fn is_of_version(error: &Error, offered: TlsOffer) -> bool {
    let Error::PeerIncompatible(error) = error else { return false };
    let told = matches!(
        error,
        PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::SupportedVersionsExtensionRequired
    );
    told || offered.version < TlsVersion::Tls12
}

/// What is common enough to have words of our own.
fn known(error: &Error) -> Option<&'static str> {
    Some(match error {
        Error::PeerIncompatible(error) => match error {
            PeerIncompatible::NoKxGroupsInCommon | PeerIncompatible::NamedGroupsExtensionRequired => "no common group",
            PeerIncompatible::NoCipherSuitesInCommon => "no common cipher suite",
            PeerIncompatible::NoSignatureSchemesInCommon | PeerIncompatible::SignatureAlgorithmsExtensionRequired => {
                "no common signature scheme"
            }
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig => "has no version of TLS that is accepted here",
            _ => return None,
        },
        Error::NoApplicationProtocol => "no common application protocol",
        Error::InvalidCertificate(error) => match error {
            CertificateError::UnknownIssuer => "its certificate comes from no authority that is trusted here",
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "its certificate has expired",
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "its certificate is for another name"
            }
            CertificateError::Revoked => "its certificate was revoked",
            other if is_authority(other) => "its certificate is an authority's, which is not trusted here",
            _ => return None,
        },
        _ => return None,
    })
}

/// A certificate that says to be an authority's, where a server's own is asked for (RFC 5280 section 4.2.1.9).
pub(crate) fn is_authority(error: &CertificateError) -> bool {
    let CertificateError::Other(OtherError(inner)) = error else { return false };
    inner.downcast_ref::<webpki::Error>() == Some(&webpki::Error::CaUsedAsEndEntity)
}

/// `TLS 1.0`.
fn spaced(version: TlsVersion) -> String {
    version.as_str().replace("TLS1", "TLS 1")
}

/// From an error of a stream's, which may hold one of rustls's: so it is with tokio-rustls and with [`rustls::Stream`].
/// Any other says that the connection was lost.
#[must_use]
pub fn of_io(error: &io::Error) -> TlsFailure {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(error) => of(error),
        None if error.kind() == io::ErrorKind::TimedOut => TlsFailure::TimedOut,
        None => TlsFailure::Closed,
    }
}

/// Words may quote the peer: no controls, and not without end.
pub(crate) fn refused(words: &str) -> TlsFailure {
    let words: String = words.chars().filter(|char| !char.is_control()).take(MOST_WORDS).collect();
    TlsFailure::Refused(words.into())
}

/// `UnknownCA` to `unknown_ca`, as alerts are named in RFC 8446 section 6.
fn alert_name(name: &str) -> String {
    let mut out = String::new();
    let mut upper = true;
    for char in name.chars() {
        if char.is_ascii_uppercase() && !upper {
            out.push('_');
        }
        upper = char.is_ascii_uppercase();
        out.push(char.to_ascii_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use rustls::AlertDescription;

    use super::*;

    // RFC 8446 6.
    #[test]
    fn alerts_have_the_names_of_the_rfc() {
        for (alert, expected) in [
            (AlertDescription::UnknownCA, "unknown_ca"),
            (AlertDescription::BadCertificate, "bad_certificate"),
            (AlertDescription::HandshakeFailure, "handshake_failure"),
            (AlertDescription::ProtocolVersion, "protocol_version"),
        ] {
            assert_eq!(of(&Error::AlertReceived(alert)), TlsFailure::Alert(expected.into()));
        }
    }

    #[test]
    fn what_a_stream_says_is_told_apart() {
        let inner = Error::AlertReceived(AlertDescription::UnknownCA);
        let of = |error: io::Error| of_io(&error);
        assert_eq!(of(io::Error::new(io::ErrorKind::InvalidData, inner)), TlsFailure::Alert("unknown_ca".into()));
        assert_eq!(of(io::ErrorKind::TimedOut.into()), TlsFailure::TimedOut);
        assert_eq!(of(io::ErrorKind::UnexpectedEof.into()), TlsFailure::Closed);
        let long = Error::General(format!("a\u{7}{}", "b".repeat(500)));
        let TlsFailure::Refused(words) = of(io::Error::other(long)) else { panic!("a refusal") };
        assert!(!words.chars().any(char::is_control) && words.chars().count() == MOST_WORDS);
    }
}
