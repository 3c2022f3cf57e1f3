//! What the server's certificate proves, and for how long.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::client::danger::ServerCertVerifier as _;
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error, RootCertStore};
use smtp_rustls::ClientTls;
use x509_cert::der::Decode as _;

use super::finding::Finding;
use crate::failure::Failure;
use crate::shown::Shown;

/// By which keys a server signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keys {
    Rsa,
    Ecdsa,
}

impl Keys {
    pub(super) const fn other(self) -> Self {
        match self {
            Self::Rsa => Self::Ecdsa,
            Self::Ecdsa => Self::Rsa,
        }
    }

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Rsa => "RSA",
            Self::Ecdsa => "ECDSA",
        }
    }

    /// Whether the name of a cipher suite or signature scheme is one of such keys.
    pub(super) fn signs(self, name: Option<&str>) -> bool {
        name.is_some_and(|name| name.split('_').any(|word| word == self.word()))
    }

    /// Of a certificate; none for Ed25519 and the like.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let parsed = x509_cert::Certificate::from_der(certificate).ok()?;
        // RFC 3279 2.3.1 and 2.3.5.
        match parsed.tbs_certificate().subject_public_key_info().algorithm.oid.to_string().as_str() {
            "1.2.840.113549.1.1.1" => Some(Self::Rsa),
            "1.2.840.10045.2.1" => Some(Self::Ecdsa),
            _ => None,
        }
    }
}

/// Whom to trust, for which name, and how many days a certificate should have left.
pub(super) struct Trust {
    /// None where this machine trusts nobody.
    by: Option<(Arc<WebPkiServerVerifier>, ClientTls)>,
    pub(super) name: ServerName<'static>,
    pub(super) days: u32,
}

impl Trust {
    pub(super) fn new(ca: Option<&Path>, name: ServerName<'static>, days: u32) -> Result<Self, Failure> {
        let roots = match ca {
            Some(file) => {
                smtp_rustls::authorities_from_pem(file).map_err(|error| Failure::usage(format!("--ca {error}")))?
            }
            None => smtp_rustls::authorities_of_system().unwrap_or_else(|_| RootCertStore::empty()),
        };
        if roots.is_empty() {
            return Ok(Self { by: None, name, days });
        }
        let failed = |error: &dyn std::fmt::Display| Failure::running(error.to_string());
        let tls = ClientTls::new(roots.clone()).map_err(|error| failed(&error))?;
        let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), smtp_rustls::provider());
        let verifier = builder.build().map_err(|error| failed(&error))?;
        Ok(Self { by: Some((verifier, tls)), name, days })
    }

    /// What is to be said of this chain, the server's own certificate first; and its days.
    pub(super) fn judge(&self, chain: &[CertificateDer<'_>]) -> (Vec<Finding>, Option<i64>) {
        let Some((own, others)) = chain.split_first() else {
            return (vec![Finding::critical("certificate-chain", "the server shows no certificate")], None);
        };
        let kind = Keys::of(own).map_or("", Keys::word);
        let kind = if kind.is_empty() { String::new() } else { format!("{kind}: ") };
        let Ok(read) = x509_cert::Certificate::from_der(own) else {
            return (
                vec![Finding::warning("certificate-chain", format!("{kind}the certificate cannot be read"))],
                None,
            );
        };
        let certificate = read.tbs_certificate();
        let (validity, itself) = (certificate.validity(), certificate.issuer() == certificate.subject());
        let seconds = |time: x509_cert::time::Time| time.to_unix_duration().as_secs().cast_signed();
        let (begins, ends) = (seconds(validity.not_before), seconds(validity.not_after));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().cast_signed();
        let mut found = vec![self.name(own, &kind), self.chain(own, others, itself, &kind)];
        let (finding, days) = self.days(begins - now, ends - now, &kind);
        found.push(finding);
        (found, Some(days))
    }

    fn name(&self, own: &CertificateDer<'_>, kind: &str) -> Finding {
        let id = "certificate-name";
        let wanted = Shown(&self.name.to_str()).to_string();
        match ParsedCertificate::try_from(own).and_then(|own| verify_server_name(&own, &self.name)) {
            Ok(()) => Finding::ok(id, format!("{kind}it is for {wanted}")),
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Finding::warning(id, format!("{kind}it is not for {wanted}"))
                .mend("have it issued for the name in the MX record; or say by --tls-name which one is meant"),
            Err(_) => Finding::warning(id, format!("{kind}no name can be read in it, as in certificates of version 1"))
                .mend("have one issued that says its names in subjectAltName"),
        }
    }

    fn chain(&self, own: &CertificateDer<'_>, others: &[CertificateDer<'_>], itself: bool, kind: &str) -> Finding {
        let id = "certificate-chain";
        let Some((verifier, tls)) = &self.by else {
            return Finding::unknown(id, "this machine has no authorities to trust")
                .mend("install them (ca-certificates), or name some with --ca");
        };
        let whole: Vec<_> = std::iter::once(own.clone()).chain(others.iter().cloned()).collect();
        let verified = verifier.verify_server_cert(own, others, &self.name, &[], UnixTime::now());
        if verified.is_ok() || tls.is_trusted(&whole, &self.name) {
            return Finding::ok(id, format!("{kind}an authority that is trusted here vouches for it"));
        }
        match verified {
            // The library looks at the name last; it has an entry of its own.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Finding::ok(id, format!("{kind}an authority that is trusted here vouches for it")),
            _ if itself => Finding::warning(id, format!("{kind}it is signed by itself"))
                .mend("have an authority issue one; if senders know this one by DANE, give it to --ca"),
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) if others.is_empty() => {
                Finding::warning(id, format!("{kind}nobody who is trusted here vouches for it, and no chain is sent"))
                    .mend("send the authority's intermediate certificate behind the server's own")
            }
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
                Finding::warning(id, format!("{kind}nobody who is trusted here vouches for it"))
                    .mend("look at the chain that is sent; or name the authority with --ca")
            }
            Err(error) => Finding::warning(id, format!("{kind}{}", smtp_rustls::failure::of(&error)))
                .mend("renew it, with the chain of its authority"),
            Ok(_) => Finding::ok(id, format!("{kind}an authority that is trusted here vouches for it")),
        }
    }

    /// `begins` and `ends` are seconds from now.
    fn days(&self, begins: i64, ends: i64, kind: &str) -> (Finding, i64) {
        let (id, days) = ("certificate-days", ends.div_euclid(86_400));
        let finding = if begins > 0 {
            Finding::critical(id, format!("{kind}it is not valid yet"))
                .mend("look at the clock, here and where it was issued")
        } else if ends < 0 {
            Finding::critical(id, format!("{kind}it has expired, {} days ago", (-ends) / 86_400)).mend("renew it")
        } else if days < i64::from(self.days) {
            Finding::warning(id, format!("{kind}{days} days left"))
                .mend("renew it, and see why that was not done for you")
        } else {
            Finding::ok(id, format!("{kind}{days} days left"))
        };
        (finding, days)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};

    use super::*;
    use crate::check::finding::Level;

    const NAME: &str = "mx.example.net";

    fn params(name: &str, until: i32) -> CertificateParams {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.not_after = date_time_ymd(until, 1, 1);
        params
    }

    fn found(trust: &Trust, chain: &[CertificateDer<'static>]) -> Vec<(&'static str, Level)> {
        trust.judge(chain).0.iter().map(|finding| (finding.id, finding.level)).collect()
    }

    #[test]
    fn name_chain_and_days_are_told_apart() {
        let mut authority = CertificateParams::new(Vec::new()).expect("no name");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(rcgen::DnType::CommonName, "authority");
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().expect("a key")).expect("signed");
        let key = KeyPair::generate().expect("a key");
        let issued = |name: &str, until| {
            let mut params = params(name, until);
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            params.signed_by(&key, &authority).expect("signed").der().clone()
        };
        let itself = params(NAME, 2150).self_signed(&key).expect("signed");

        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ca.pem");
        let trusting = |pem: &str| {
            std::fs::write(&file, pem).expect("written");
            Trust::new(Some(&file), ServerName::try_from(NAME).expect("a name"), 14).expect("trust")
        };
        let trust = trusting(&authority.pem());
        use Level::{Critical, Ok, Warning};
        for (chain, name, by, days) in [
            (issued(NAME, 2150), Ok, Ok, Ok),
            (issued("mx.example.org", 2150), Warning, Ok, Ok),
            (issued(NAME, 2001), Ok, Warning, Critical),
            (itself.der().clone(), Ok, Warning, Ok),
        ] {
            let expected = [("certificate-name", name), ("certificate-chain", by), ("certificate-days", days)];
            assert_eq!(found(&trust, std::slice::from_ref(&chain)), expected);
        }
        // Trusted itself.
        let own = trusting(&itself.pem());
        assert!(found(&own, &[itself.der().clone()]).iter().all(|(_, level)| *level == Ok));
        assert_eq!(found(&trust, &[]), [("certificate-chain", Critical)]);
        assert_eq!(found(&trust, &[CertificateDer::from(vec![0x30, 0])]), [("certificate-chain", Warning)]);
    }

    #[test]
    fn days_are_counted_down() {
        let trust = Trust { by: None, name: ServerName::try_from(NAME).expect("a name"), days: 14 };
        for (begins, ends, level, days) in [
            (-1, 14 * 86_400, Level::Ok, 14),
            (-1, 14 * 86_400 - 1, Level::Warning, 13),
            (-1, 1, Level::Warning, 0),
            (-1, -1, Level::Critical, -1),
            (1, 86_400, Level::Critical, 1),
        ] {
            let (finding, left) = trust.days(begins, ends, "");
            assert_eq!((finding.level, left), (level, days), "{begins} {ends}");
        }
    }

    #[test]
    fn keys_are_known_by_their_names() {
        for (name, keys) in [
            ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", Keys::Ecdsa),
            ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", Keys::Rsa),
            ("RSA_PSS_SHA256", Keys::Rsa),
            ("ECDSA_NISTP256_SHA256", Keys::Ecdsa),
        ] {
            assert!(keys.signs(Some(name)) && !keys.other().signs(Some(name)), "{name}");
        }
        assert!(!Keys::Rsa.signs(Some("ED25519")) && !Keys::Rsa.signs(None));
        let key = KeyPair::generate().expect("a key");
        let own = params(NAME, 2150).self_signed(&key).expect("signed");
        assert_eq!(Keys::of(own.der()), Some(Keys::Ecdsa));
    }
}
