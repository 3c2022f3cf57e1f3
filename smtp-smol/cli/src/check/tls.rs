//! What is offered to the server in a handshake: everything, or one thing alone to see whether it has that.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, Error, NamedGroup, SignatureScheme};
use smtp_rustls::AnyCertificate;

use super::certificate::Keys;
use crate::failure::Failure;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Only {
    /// All that the library has.
    Everything,
    Tls12,
    Group(NamedGroup),
    /// Certificates with such keys.
    Keys(Keys),
}

/// Whether the library knows this group: X25519MLKEM768 is in one of the two that the program can be built with.
pub(super) fn knows(group: NamedGroup) -> bool {
    smtp_rustls::provider().kx_groups.iter().any(|known| known.name() == group)
}

/// Takes any certificate: what is wrong with it is told afterwards. Nothing is resumed.
pub(super) fn config(only: Only) -> Result<Arc<ClientConfig>, Failure> {
    let mut provider = CryptoProvider::clone(&smtp_rustls::provider());
    if let Only::Group(group) = only {
        provider.kx_groups.retain(|known| known.name() == group);
    }
    if let Only::Keys(keys) = only {
        // In TLS 1.2 the cipher suite says by which keys the server signs, in 1.3 the signature scheme alone.
        provider.cipher_suites.retain(|suite| suite.tls13().is_some() || keys.signs(suite.suite().as_str()));
    }
    let provider = Arc::new(provider);
    let versions: &[_] = if only == Only::Tls12 { &[&TLS12] } else { &[&TLS13, &TLS12] };
    let failed = |error: Error| Failure::running(error.to_string());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions);
    let any = AnyCertificate::new(provider);
    let verifier: Arc<dyn ServerCertVerifier> = match only {
        Only::Keys(keys) => Arc::new(OfKeys { any, keys }),
        _ => Arc::new(any),
    };
    let builder = builder.map_err(failed)?.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = builder.with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Says that it knows the signatures of such keys alone.
#[derive(Debug)]
struct OfKeys {
    any: AnyCertificate,
    keys: Keys,
}

impl ServerCertVerifier for OfKeys {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.any.verify_server_cert(own, others, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.any.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.any.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let all = self.any.supported_verify_schemes().into_iter();
        all.filter(|scheme| self.keys.signs(scheme.as_str())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_alone_is_offered() {
        let offered = |only| config(only).expect("a configuration");
        let all = offered(Only::Everything);
        let group = offered(Only::Group(NamedGroup::secp256r1));
        assert_eq!(group.crypto_provider().kx_groups.len(), 1);
        assert_eq!(group.crypto_provider().cipher_suites, all.crypto_provider().cipher_suites);
        for keys in [Keys::Rsa, Keys::Ecdsa] {
            let config = offered(Only::Keys(keys));
            let suites = &config.crypto_provider().cipher_suites;
            let old = suites.iter().filter(|suite| suite.tls13().is_none()).count();
            assert!(old > 0 && old < all.crypto_provider().cipher_suites.len() - 3, "{suites:?}");
            let any = AnyCertificate::new(smtp_rustls::provider());
            let (of_keys, every) =
                (OfKeys { any: any.clone(), keys }.supported_verify_schemes(), any.supported_verify_schemes());
            assert!(!of_keys.is_empty() && of_keys.len() < every.len(), "{of_keys:?}");
        }
    }
}
