//! Words that ledgers, logs and reports of others depend on: they do not change.

use smtp_proto::tls::{ClientCertificate, Disposition, EndToEnd, Hop, TlsFailure, TlsInfo, TlsOutcome, TlsVersion};

#[test]
fn of_a_hop() {
    let used = Hop::Used { version: Some(TlsVersion::Tls13), certificate: ClientCertificate::None };
    for (hop, word) in [
        (used, "used"),
        (Hop::NotTried, "not-tried"),
        (Hop::Failed, "failed"),
        (Hop::FailedThenPlaintext, "failed-then-plaintext"),
        (Hop::NotOffered, "not-offered"),
        (Hop::Unknown, "unknown"),
    ] {
        assert_eq!(hop.as_str(), word);
    }
    let info = TlsInfo::new(TlsVersion::Tls13, "TLS_AES_128_GCM_SHA256".into());
    for (outcome, hop) in [
        (TlsOutcome::Used(info), used),
        (TlsOutcome::NotTried, Hop::NotTried),
        (TlsOutcome::Failed(TlsFailure::Closed), Hop::Failed),
        (TlsOutcome::NotOffered, Hop::NotOffered),
    ] {
        assert_eq!((Hop::from(&outcome), outcome.as_str()), (hop, hop.as_str()));
    }
}

#[test]
fn of_tls() {
    let versions = [TlsVersion::Ssl, TlsVersion::Tls10, TlsVersion::Tls11, TlsVersion::Tls12, TlsVersion::Tls13];
    assert_eq!(versions.map(TlsVersion::as_str), ["SSL", "TLS1.0", "TLS1.1", "TLS1.2", "TLS1.3"]);
    for (certificate, word) in [
        (ClientCertificate::None, "none"),
        (ClientCertificate::SelfSigned, "self-signed"),
        (ClientCertificate::Untrusted, "untrusted"),
        (ClientCertificate::Verified, "verified"),
        (ClientCertificate::Unknown, "unknown"),
    ] {
        assert_eq!(certificate.as_str(), word);
    }
    for (failure, words) in [
        (TlsFailure::Closed, "closed"),
        (TlsFailure::TimedOut, "timed out"),
        (TlsFailure::Alert("internal_error".into()), "alert internal_error"),
        (TlsFailure::Alert("unknown_ca".into()), "refused our certificate: unknown CA (alert unknown_ca)"),
        (TlsFailure::Refused("offers TLS 1.0 at most".into()), "refused: offers TLS 1.0 at most"),
    ] {
        assert_eq!(failure.to_string(), words);
    }
}

#[test]
fn of_a_message() {
    for (end, word, last) in [
        (Disposition::Accepted, "accepted", true),
        (Disposition::Refused, "refused", true),
        (Disposition::Deferred, "deferred", false),
        (Disposition::Abandoned, "abandoned", false),
    ] {
        assert_eq!((end.as_str(), end.is_final()), (word, last));
    }
    let kinds = ["pgp-mime", "s-mime", "pgp-inline", "none", "unknown"];
    assert_eq!(EndToEnd::ALL.map(EndToEnd::as_str), kinds);
}
