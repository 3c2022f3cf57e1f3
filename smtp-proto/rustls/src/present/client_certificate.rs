//! Client certificates: asked for, never required, and sorted into classes. No mail is lost for the sake of one.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use smtp_proto::tls::ClientCertificate;
use webpki::EndEntityCert;

/// Asks clients for a certificate, takes any or none, and tells what kind it was.
///
/// That the client has the key of its certificate is proven in the handshake for every class but
/// [`ClientCertificate::Untrusted`], which says nothing.
///
/// ```no_run
/// use std::sync::Arc;
/// use rustls::pki_types::{CertificateDer, PrivateKeyDer};
/// use smtp_rustls::{ClientCertificates, ServerTls};
///
/// fn tls(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<ServerTls, rustls::Error> {
///     let certificates = Arc::new(ClientCertificates::new(rustls::RootCertStore::empty()));
///     let config = rustls::ServerConfig::builder()
///         .with_client_cert_verifier(certificates.clone())
///         .with_single_cert(chain, key)?;
///     Ok(ServerTls::new(Arc::new(config)).client_certificates(certificates))
/// }
/// ```
#[derive(Debug)]
pub struct ClientCertificates {
    /// `None` where no authority is trusted: then nothing verifies.
    trusted: Option<Arc<dyn ClientCertVerifier>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertificates {
    /// Certificates verify that come from one of these authorities.
    #[must_use]
    pub fn new(authorities: RootCertStore) -> Self {
        let provider = super::provider();
        let algorithms = provider.signature_verification_algorithms;
        let trusted = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider).build().ok();
        Self { trusted, algorithms }
    }

    /// Of which class a client's chain is; empty where it had none.
    #[must_use]
    pub fn class(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> ClientCertificate {
        let Some((first, rest)) = chain.split_first() else { return ClientCertificate::None };
        if self.trusted.as_ref().is_some_and(|trusted| trusted.verify_client_cert(first, rest, now).is_ok()) {
            return ClientCertificate::Verified;
        }
        match EndEntityCert::try_from(first) {
            Ok(certificate) if certificate.issuer() == certificate.subject() => ClientCertificate::SelfSigned,
            _ => ClientCertificate::Untrusted,
        }
    }
}

/// The proof of the key. A certificate that cannot be read, such as one of X.509 version 1, proves nothing, which costs
/// its class and not the mail; one that can be read, with a wrong proof, is somebody else's, and ends the handshake.
fn unless_unreadable(
    proven: Result<HandshakeSignatureValid, Error>,
    certificate: &CertificateDer<'_>,
) -> Result<HandshakeSignatureValid, Error> {
    match (proven, EndEntityCert::try_from(certificate)) {
        (Err(_), Err(_)) => Ok(HandshakeSignatureValid::assertion()),
        (proven, _) => proven,
    }
}

impl ClientCertVerifier for ClientCertificates {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // None: whatever the client has.
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        unless_unreadable(verify_tls12_signature(message, certificate, signature, &self.algorithms), certificate)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        unless_unreadable(verify_tls13_signature(message, certificate, signature, &self.algorithms), certificate)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

    use super::*;

    #[test]
    fn certificates_are_sorted_and_none_is_refused() {
        let key = || KeyPair::generate().expect("a key");
        let params = |name: &str| CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let authority = |name: &str| {
            let mut params = params(name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            let key = key();
            let certificate = params.self_signed(&key).expect("signed");
            (certificate, Issuer::new(params, key))
        };
        let (ours, our_issuer) = authority("ours.example");
        let (_, their_issuer) = authority("theirs.example");
        let issued = |issuer: &Issuer<'_, KeyPair>| {
            let mut params = params("client.example");
            params.distinguished_name.push(rcgen::DnType::CommonName, "client.example");
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            params.signed_by(&key(), issuer).expect("signed").der().clone()
        };
        let itself = params("client.example").self_signed(&key()).expect("signed").der().clone();

        let mut roots = RootCertStore::empty();
        roots.add(ours.der().clone()).expect("a root");
        let certificates = ClientCertificates::new(roots);
        let nobody = ClientCertificates::new(RootCertStore::empty());
        let unreadable = CertificateDer::from(vec![0x30, 0]);
        let now = UnixTime::now();
        for (chain, class, to_nobody) in [
            (vec![], ClientCertificate::None, ClientCertificate::None),
            (vec![issued(&our_issuer)], ClientCertificate::Verified, ClientCertificate::Untrusted),
            (vec![issued(&their_issuer)], ClientCertificate::Untrusted, ClientCertificate::Untrusted),
            (vec![itself], ClientCertificate::SelfSigned, ClientCertificate::SelfSigned),
            (vec![unreadable], ClientCertificate::Untrusted, ClientCertificate::Untrusted),
        ] {
            assert_eq!(certificates.class(&chain, now), class);
            assert_eq!(nobody.class(&chain, now), to_nobody);
            if let Some(first) = chain.first() {
                assert!(certificates.verify_client_cert(first, &[], now).is_ok());
            }
        }
        assert!(certificates.offer_client_auth() && !certificates.client_auth_mandatory());
    }
}
