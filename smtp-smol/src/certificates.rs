//! The server's certificate, seen from a client.
//!
//! The same file in `smtp-smol` and in `smtp-mio`, which do not depend on each other, while the core knows no TLS library.
//! That they are the same is checked by `.ci/names.py`.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// TLS for a client: whom it trusts, and what it does about those whom it does not.
#[derive(Clone)]
pub struct ClientTls {
    verifier: Arc<dyn ServerCertVerifier>,
    /// Ends the handshake when the certificate does not verify.
    strict: Arc<ClientConfig>,
    /// Goes on all the same (RFC 7435): encrypted, to whomever it is.
    opportunistic: Arc<ClientConfig>,
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").finish_non_exhaustive()
    }
}

impl ClientTls {
    /// Trusts these authorities. None at all are enough for [`Tls::Opportunistic`](smtp_proto::client::Tls) and
    /// [`Tls::Require`](smtp_proto::client::Tls), which take any certificate.
    ///
    /// # Errors
    /// Those of the TLS library, for a provider without what TLS 1.2 and 1.3 need.
    pub fn new(roots: RootCertStore) -> Result<Self, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let any = Arc::new(AnyCertificate(provider.clone()));
        let verifier: Arc<dyn ServerCertVerifier> = if roots.is_empty() {
            Arc::new(NoCertificate(provider.clone()))
        } else {
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .build()
                .map_err(|error| Error::General(error.to_string()))?
        };
        let config = |verifier: Arc<dyn ServerCertVerifier>| -> Result<_, Error> {
            // TLS 1.2 and 1.3 (RFC 8996, RFC 9325); the library knows no older ones.
            let builder =
                ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
            Ok(Arc::new(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()))
        };
        Ok(Self { strict: config(verifier.clone())?, opportunistic: config(any)?, verifier })
    }

    /// The same, with a full handshake each time.
    #[must_use]
    pub fn without_resumption(&self) -> Self {
        let without = |config: &Arc<ClientConfig>| {
            let mut config = ClientConfig::clone(config);
            config.resumption = Resumption::disabled();
            Arc::new(config)
        };
        let (strict, opportunistic) = (without(&self.strict), without(&self.opportunistic));
        Self { verifier: self.verifier.clone(), strict, opportunistic }
    }

    /// For connections that do, or do not, depend on the certificate.
    pub(crate) fn config(&self, verify: bool) -> &Arc<ClientConfig> {
        if verify { &self.strict } else { &self.opportunistic }
    }

    /// Whether this chain, the server's own certificate first, is a trusted one for `name`.
    pub(crate) fn is_trusted(&self, chain: &[CertificateDer<'_>], name: &ServerName<'_>) -> bool {
        let Some((own, others)) = chain.split_first() else { return false };
        self.verifier.verify_server_cert(own, others, name, &[], UnixTime::now()).is_ok()
    }
}

/// Takes any certificate, of whoever holds its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

/// Takes no certificate: there is no authority to trust.
#[derive(Debug)]
struct NoCertificate(Arc<CryptoProvider>);

/// The signatures of the handshake are checked either way.
macro_rules! signatures_are_checked {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let algorithms = &self.0.signature_verification_algorithms;
            rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let algorithms = &self.0.signature_verification_algorithms;
            rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    };
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    signatures_are_checked!();
}

impl ServerCertVerifier for NoCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Err(rustls::CertificateError::UnknownIssuer.into())
    }

    signatures_are_checked!();
}
