//! The server's certificate, seen from a client.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, UnbufferedClientConnection, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime, alg_id};
use rustls::server::ParsedCertificate;
use rustls::sign::SingleCertAndKey;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use smtp_proto::net::PeerName;
use smtp_proto::tls::TlsFailure;
use webpki::EndEntityCert;

use super::end::ClientEnd;
use super::stream::Stream;
use super::{der, failure, files, provider, server_name, witness};

/// TLS for a client: whom it trusts, what it does about those whom it does not, and the certificate that it shows.
///
/// ```
/// use smtp_rustls::ClientTls;
///
/// // Encrypts to whomever it is: enough for `Tls::Opportunistic`.
/// let tls = ClientTls::new(rustls::RootCertStore::empty())?;
/// # drop(tls);
/// # Ok::<(), rustls::Error>(())
/// ```
#[derive(Clone)]
pub struct ClientTls {
    verifier: Arc<dyn ServerCertVerifier>,
    algorithms: WebPkiSupportedAlgorithms,
    /// Ends the handshake when the certificate does not verify.
    strict: Configs,
    /// Goes on all the same (RFC 7435): encrypted, to whomever it is.
    opportunistic: Configs,
}

/// A configuration, and the same one for a [`Stream`].
#[derive(Clone)]
struct Configs {
    plain: Arc<ClientConfig>,
    heard: Arc<ClientConfig>,
}

impl Configs {
    fn new(config: ClientConfig) -> Self {
        Self { heard: witness::client(&config), plain: Arc::new(config) }
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").finish_non_exhaustive()
    }
}

impl ClientTls {
    /// Trusts these authorities, and servers whose own certificate is among them. None at all are enough for
    /// [`Tls::Opportunistic`](smtp_proto::client::Tls) and [`Tls::Require`](smtp_proto::client::Tls), which take any
    /// certificate, even one that proves nothing.
    ///
    /// # Errors
    /// Those of the TLS library, for a provider without what TLS 1.2 and 1.3 need.
    pub fn new(roots: RootCertStore) -> Result<Self, Error> {
        let provider = provider();
        let algorithms = provider.signature_verification_algorithms;
        let verifier: Arc<dyn ServerCertVerifier> = if roots.is_empty() {
            Arc::new(NoCertificate(algorithms))
        } else {
            let anchors = roots.roots.clone();
            let by_authority = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .build()
                .map_err(|error| Error::General(error.to_string()))?;
            Arc::new(Trusted { by_authority, anchors, algorithms })
        };
        let config = |verifier: Arc<dyn ServerCertVerifier>| -> Result<_, Error> {
            // TLS 1.2 and 1.3 (RFC 8996, RFC 9325); the library knows no older ones.
            let builder =
                ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
            Ok(Configs::new(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()))
        };
        let opportunistic = config(Arc::new(AnyCertificate(provider.clone())))?;
        Ok(Self { strict: config(verifier.clone())?, opportunistic, verifier, algorithms })
    }

    /// Trusts the authorities in this PEM file, and servers whose own certificate is in it.
    ///
    /// ```no_run
    /// use smtp_rustls::ClientTls;
    ///
    /// let tls = ClientTls::from_pem("authorities.pem".as_ref())?;
    /// // This client shows a certificate of its own, where a server asks for one.
    /// let tls = tls.certificate_from_pem("client.crt".as_ref(), "client.key".as_ref())?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`]; it names the file, what is wrong with it, and what it has to be.
    pub fn from_pem(authorities: &Path) -> io::Result<Self> {
        Self::new(files::authorities_from_pem(authorities)?).map_err(io::Error::other)
    }

    /// Trusts the authorities that this machine trusts: those of its operating system.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`], and what to do, when the machine has none.
    #[cfg(feature = "system-roots")]
    pub fn from_system() -> io::Result<Self> {
        Self::new(files::authorities_of_system()?).map_err(io::Error::other)
    }

    /// The same, with a certificate of the client's own, from two PEM files: the certificate, with the chain behind it, and
    /// its key. It is shown to servers that ask for one.
    ///
    /// # Errors
    /// As [`ClientTls::from_pem`].
    pub fn certificate_from_pem(&self, certificate: &Path, key: &Path) -> io::Result<Self> {
        let own = files::certified_key(certificate, key)?;
        let shown = Arc::new(SingleCertAndKey::from(own));
        Ok(self.with(|config| config.client_auth_cert_resolver = shown.clone()))
    }

    /// The same, with a full handshake each time.
    #[must_use]
    pub fn without_resumption(&self) -> Self {
        self.with(|config| config.resumption = Resumption::disabled())
    }

    fn with(&self, change: impl Fn(&mut ClientConfig)) -> Self {
        let changed = |configs: &Configs| {
            let mut config = ClientConfig::clone(&configs.plain);
            change(&mut config);
            Configs::new(config)
        };
        let (strict, opportunistic) = (changed(&self.strict), changed(&self.opportunistic));
        Self { strict, opportunistic, ..self.clone() }
    }

    /// The configuration for connections that depend on the certificate, or that do not. For streams of other libraries;
    /// [`ClientTls::begin`] has its own.
    #[must_use]
    pub const fn config(&self, verify: bool) -> &Arc<ClientConfig> {
        if verify { &self.strict.plain } else { &self.opportunistic.plain }
    }

    /// Begins a connection to the server of this name, or without one of this address. With `verify` it depends on the
    /// certificate.
    ///
    /// # Errors
    /// Those of [`server_name`](crate::server_name()), and of the TLS library.
    pub fn begin(&self, verify: bool, name: &PeerName, address: IpAddr) -> Result<Stream<ClientEnd>, TlsFailure> {
        let expected = server_name(name, address)?;
        let config = if verify { &self.strict.heard } else { &self.opportunistic.heard };
        let connection = UnbufferedClientConnection::new(config.clone(), expected.clone());
        let connection = connection.map_err(|error| failure::of(&error))?;
        Ok(Stream::new(ClientEnd::new(connection, name.is_sure().then(|| (self.clone(), expected)))))
    }

    /// Whether this chain, the server's own certificate first, is a trusted one for `name`. The handshake, with either
    /// [configuration](ClientTls::config), has proven then that the server has the key.
    #[must_use]
    pub fn is_trusted(&self, chain: &[CertificateDer<'_>], name: &ServerName<'_>) -> bool {
        let Some((own, others)) = chain.split_first() else { return false };
        can_prove(own, &self.algorithms)
            && self.verifier.verify_server_cert(own, others, name, &[], UnixTime::now()).is_ok()
    }
}

/// The least size of an RSA key whose signatures the library checks.
const LEAST_RSA_BITS: usize = 2048;

/// Whether the library can check a signature by the key of this certificate. It cannot where it does not read the
/// certificate at all, such as one of X.509 version 1; and where it does not know such keys, such as RSA of 1,024 bits.
fn can_prove(certificate: &CertificateDer<'_>, algorithms: &WebPkiSupportedAlgorithms) -> bool {
    let Ok(certificate) = EndEntityCert::try_from(certificate) else { return false };
    let info = certificate.subject_public_key_info();
    let Some((algorithm, key)) = der::public_key(&info) else { return false };
    let known = algorithms.all.iter().any(|known| known.public_key_alg_id().as_ref() == algorithm);
    let is_rsa = algorithm == alg_id::RSA_ENCRYPTION.as_ref();
    known && (!is_rsa || der::rsa_bits(key).is_some_and(|bits| bits >= LEAST_RSA_BITS))
}

/// Takes any certificate, of whoever holds its key; and one that can prove nothing as well, since it proves nothing either
/// way. For a configuration of one's own, as tests of servers need it; [`ClientTls::config`] has one made.
#[derive(Clone, Debug)]
pub struct AnyCertificate(Arc<CryptoProvider>);

impl AnyCertificate {
    /// Signatures of the handshake are checked by this library.
    #[must_use]
    pub const fn new(provider: Arc<CryptoProvider>) -> Self {
        Self(provider)
    }

    fn unless_unprovable(
        &self,
        certificate: &CertificateDer<'_>,
        check: impl FnOnce(&WebPkiSupportedAlgorithms) -> Result<HandshakeSignatureValid, Error>,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        if can_prove(certificate, algorithms) { check(algorithms) } else { Ok(HandshakeSignatureValid::assertion()) }
    }
}

/// Schemes of keys that the library may not know: a server that has no other key is taken all the same. None of them is one
/// that a server would choose for a key that it does know.
const OTHER_SCHEMES: [SignatureScheme; 2] = [SignatureScheme::ECDSA_NISTP521_SHA512, SignatureScheme::ED448];

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

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.unless_unprovable(certificate, |known| verify_tls12_signature(message, certificate, signature, known))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.unless_unprovable(certificate, |known| verify_tls13_signature(message, certificate, signature, known))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = self.0.signature_verification_algorithms.supported_schemes();
        schemes.extend(OTHER_SCHEMES.iter().filter(|other| !schemes.contains(other)).copied().collect::<Vec<_>>());
        schemes
    }
}

/// The signature of the handshake is checked by the library.
macro_rules! signatures_are_checked {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls12_signature(message, certificate, signature, &self.algorithms())
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, certificate, signature, &self.algorithms())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.algorithms().supported_schemes()
        }
    };
}

/// Takes no certificate: there is no authority to trust.
#[derive(Debug)]
struct NoCertificate(WebPkiSupportedAlgorithms);

impl NoCertificate {
    const fn algorithms(&self) -> WebPkiSupportedAlgorithms {
        self.0
    }
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
        Err(CertificateError::UnknownIssuer.into())
    }

    signatures_are_checked!();
}

/// Takes certificates that come from a trusted authority, and those that are themselves among the trusted ones.
#[derive(Debug)]
struct Trusted {
    by_authority: Arc<WebPkiServerVerifier>,
    anchors: Vec<TrustAnchor<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Trusted {
    const fn algorithms(&self) -> WebPkiSupportedAlgorithms {
        self.algorithms
    }

    fn is_anchor(&self, certificate: &CertificateDer<'_>) -> bool {
        webpki::anchor_from_trusted_cert(certificate).is_ok_and(|own| {
            self.anchors.iter().any(|anchor| {
                (&anchor.subject, &anchor.subject_public_key_info) == (&own.subject, &own.subject_public_key_info)
            })
        })
    }
}

impl ServerCertVerifier for Trusted {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.by_authority.verify_server_cert(own, others, name, ocsp, now);
        // A certificate that a server made for itself often says that it is an authority's (openssl req -x509 does so). An
        // authority's is none of a server's (RFC 5280 4.2.1.9); but this very one was said to be trusted. When the library
        // finds that fault, it has found the dates to be right.
        match &verified {
            Err(Error::InvalidCertificate(error)) if failure::is_authority(error) && self.is_anchor(own) => {
                verify_server_name(&ParsedCertificate::try_from(own)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            _ => verified,
        }
    }

    signatures_are_checked!();
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};

    use super::*;

    fn itself(name: &str, authority: bool, until: i32) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.not_after = date_time_ymd(until, 1, 1);
        if authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        params.self_signed(&KeyPair::generate().expect("a key")).expect("signed").der().clone()
    }

    fn trusting(certificate: &CertificateDer<'static>) -> ClientTls {
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).expect("a root");
        ClientTls::new(roots).expect("TLS")
    }

    #[test]
    fn a_certificate_that_is_trusted_itself_is_trusted_for_its_name_and_time() {
        let (name, other) = (
            ServerName::try_from("mx.example.net").expect("a name"),
            ServerName::try_from("mx.example.org").expect("a name"),
        );
        for authority in [false, true] {
            let own = itself("mx.example.net", authority, 2150);
            let tls = trusting(&own);
            assert!(tls.is_trusted(std::slice::from_ref(&own), &name), "authority: {authority}");
            assert!(!tls.is_trusted(std::slice::from_ref(&own), &other));
            // The same name, and another key.
            assert!(!tls.is_trusted(&[itself("mx.example.net", authority, 2150)], &name));
            let old = itself("mx.example.net", authority, 2001);
            assert!(!trusting(&old).is_trusted(&[old], &name), "authority: {authority}");
        }
        assert!(!trusting(&itself("mx.example.net", true, 2150)).is_trusted(&[], &name));
    }

    #[test]
    fn what_proves_nothing_is_never_trusted() {
        let own = itself("mx.example.net", false, 2150);
        let known = provider().signature_verification_algorithms;
        assert!(can_prove(&own, &known));
        assert!(!can_prove(&CertificateDer::from(vec![0x30, 0]), &known));
        let none = WebPkiSupportedAlgorithms { all: &[], mapping: &[] };
        assert!(!can_prove(&own, &none));
    }
}
