//! Why a handshake failed, from what rustls says.

use std::io;

use rustls::Error;
use smtp_proto::tls::TlsFailure;

/// More of an error's words is not recorded.
const MOST_WORDS: usize = 200;

/// From an error of rustls's.
#[must_use]
pub fn of(error: &Error) -> TlsFailure {
    match error {
        Error::AlertReceived(alert) => TlsFailure::Alert(alert_name(&format!("{alert:?}")).into()),
        other => refused(&other.to_string()),
    }
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
