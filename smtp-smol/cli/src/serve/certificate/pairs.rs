//! Certificates with their keys: read from files, read again when these change, and chosen for a client.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_cert::der::Decode as _;

use crate::failure::Failure;

pub(super) type Chain = Vec<CertificateDer<'static>>;

/// A certificate with its chain and key, and the files that they are from.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    certificate: PathBuf,
    key: PathBuf,
    certified: Arc<CertifiedKey>,
    /// Both in seconds since 1970.
    begins: i64,
    expires: i64,
    stamps: [Option<Stamp>; 2],
    /// It is another one's, in place of one that has yet to come.
    stands_in: bool,
}

/// By which it is seen that a file is another one.
type Stamp = (SystemTime, u64);

impl Pair {
    pub(crate) fn read(certificate: &Path, key: &Path) -> Result<Self, Failure> {
        // Before reading: what changes meanwhile is read again.
        let stamps = [certificate, key].map(stamp);
        let chain = chain(certificate).map_err(|wrong| {
            Failure::option(
                "--cert",
                certificate.display(),
                wrong,
                "it must be a readable PEM file with the certificate, then its chain",
            )
        })?;
        let (begins, expires) = validity(&chain).map_err(|wrong| {
            Failure::option("--cert", certificate.display(), wrong, "the first certificate in it must be the server's")
        })?;
        let private = PrivateKeyDer::from_pem_file(key).map_err(|error| {
            let mend = "it must be a readable PEM file with an unencrypted private key";
            Failure::option("--key", key.display(), plain(error), mend)
        })?;
        let certified = CertifiedKey::from_der(chain, private, &smtp_rustls::provider()).map_err(|error| {
            let mend = format!("it must be the key of {}", certificate.display());
            Failure::option("--key", key.display(), error, &mend)
        })?;
        let (certificate, key) = (certificate.to_owned(), key.to_owned());
        Ok(Self { certificate, key, certified: Arc::new(certified), begins, expires, stamps, stands_in: false })
    }

    /// In place of a certificate with its key that there will be in this file.
    pub(super) fn standing_in(self, file: &Path) -> Self {
        Self { certificate: file.to_owned(), key: file.to_owned(), stamps: [None; 2], stands_in: true, ..self }
    }

    /// Of the certificate.
    pub(crate) fn file(&self) -> &Path {
        &self.certificate
    }

    /// In seconds since 1970.
    pub(super) fn begins(&self) -> i64 {
        self.begins
    }

    /// In seconds since 1970.
    pub(crate) fn expires(&self) -> i64 {
        self.expires
    }

    fn has_changed(&self) -> bool {
        [&*self.certificate, &*self.key].map(stamp) != self.stamps
    }

    /// Whether it is for the host of this name.
    pub(super) fn is_named(&self, name: &str) -> bool {
        ServerName::try_from(name).is_ok_and(|name| self.is_for(&name))
    }

    fn read_again(&self) -> Result<Self, Failure> {
        let still_to_come = self.stands_in && !self.certificate.exists();
        if still_to_come { Ok(self.clone()) } else { Self::read(&self.certificate, &self.key) }
    }

    fn is_for(&self, name: &ServerName<'_>) -> bool {
        let own = self.certified.end_entity_cert().ok().and_then(|own| ParsedCertificate::try_from(own).ok());
        own.is_some_and(|own| verify_server_name(&own, name).is_ok())
    }
}

/// The certificates of the server.
#[derive(Debug)]
pub(crate) struct Pairs(RwLock<Arc<[Pair]>>);

impl Pairs {
    pub(super) fn new(pairs: Vec<Pair>) -> Self {
        Self(RwLock::new(pairs.into()))
    }

    /// Those that are in use.
    pub(crate) fn now(&self) -> Arc<[Pair]> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a file is another one than was read.
    pub(super) fn have_changed(&self) -> bool {
        self.now().iter().any(Pair::has_changed)
    }

    /// Reads all files again. If something is wrong with one of them, what was read before stays.
    pub(crate) fn reload(&self) -> Result<(), Failure> {
        let read: Vec<_> = self.now().iter().map(Pair::read_again).collect::<Result<_, _>>()?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = read.into();
        Ok(())
    }

    /// The first that is for this name and that the client can check; or else the first that it can check.
    fn choose(&self, name: Option<&str>, can_check: impl Fn(&CertifiedKey) -> bool) -> Option<Arc<CertifiedKey>> {
        let pairs = self.now();
        let name = name.and_then(|name| ServerName::try_from(name).ok());
        let checked = || pairs.iter().filter(|pair| can_check(&pair.certified));
        let fits = |pair: &&Pair| name.as_ref().is_some_and(|name| pair.is_for(name));
        let chosen = checked().find(fits).or_else(|| checked().next()).or_else(|| pairs.first());
        chosen.map(|pair| pair.certified.clone())
    }
}

impl ResolvesServerCert for Pairs {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        self.choose(hello.server_name(), |certified| certified.key.choose_scheme(schemes).is_some())
    }
}

pub(super) fn chain(file: &Path) -> Result<Chain, String> {
    let chain: Result<Chain, _> =
        CertificateDer::pem_file_iter(file).map_err(plain)?.map(|certificate| certificate.map_err(plain)).collect();
    chain.and_then(|chain| if chain.is_empty() { Err("no certificate in it".into()) } else { Ok(chain) })
}

/// When the server's own begins and ends to be valid.
fn validity(chain: &Chain) -> Result<(i64, i64), String> {
    let own = chain.first().map(AsRef::as_ref).unwrap_or_default();
    let own = x509_cert::Certificate::from_der(own).map_err(|error| format!("not a certificate: {error}"))?;
    let validity = own.tbs_certificate().validity();
    let seconds = |time: x509_cert::time::Time| i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
    Ok((seconds(validity.not_before), seconds(validity.not_after)))
}

fn stamp(file: &Path) -> Option<Stamp> {
    let found = fs::metadata(file).ok()?;
    Some((found.modified().ok()?, found.len()))
}

/// The library's errors in words for an operator.
fn plain(error: rustls::pki_types::pem::Error) -> String {
    use rustls::pki_types::pem::Error;
    match error {
        Error::Io(error) => error.to_string(),
        Error::NoItemsFound => "nothing of the kind in it".into(),
        other => format!("not PEM: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SignatureAlgorithm};
    use rustls::SignatureScheme;

    fn made(folder: &Path, file: &str, name: &str, kind: &'static SignatureAlgorithm) -> Pair {
        let key = KeyPair::generate_for(kind).expect("a key");
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.not_after = rcgen::date_time_ymd(2040, 1, 1);
        let certificate = params.self_signed(&key).expect("signed");
        let path = folder.join(file);
        fs::write(&path, certificate.pem() + &key.serialize_pem()).expect("written");
        Pair::read(&path, &path).expect("read")
    }

    #[test]
    fn the_certificate_is_chosen_by_name_and_by_what_the_client_can_check() {
        let folder = tempfile::tempdir().expect("a folder");
        let of = |file, name, kind| made(folder.path(), file, name, kind);
        let a = of("a", "mx.a.example", &PKCS_ECDSA_P256_SHA256);
        let b = of("b", "mx.b.example", &PKCS_ECDSA_P256_SHA256);
        let edwards = of("c", "mx.b.example", &PKCS_ED25519);
        let pairs = Pairs::new(vec![a.clone(), edwards.clone(), b.clone()]);
        let chosen = |name, schemes: &[SignatureScheme]| {
            pairs.choose(name, |certified| certified.key.choose_scheme(schemes).is_some()).expect("one").cert.clone()
        };
        let (p256, ed25519) = (SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ED25519);
        assert_eq!(chosen(Some("mx.b.example"), &[p256]), b.certified.cert);
        assert_eq!(chosen(Some("mx.b.example"), &[p256, ed25519]), edwards.certified.cert);
        assert_eq!(chosen(None, &[p256, ed25519]), a.certified.cert);
        assert_eq!(chosen(Some("mx.c.example"), &[ed25519]), edwards.certified.cert);
        assert_eq!(chosen(Some("[192.0.2.1]"), &[SignatureScheme::RSA_PSS_SHA256]), a.certified.cert);
        assert_eq!(a.expires(), 2_208_988_800);
    }

    #[test]
    fn a_renewed_certificate_is_read_again_and_a_wrong_one_is_not_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = made(folder.path(), "mx", "mx.example.net", &PKCS_ECDSA_P256_SHA256);
        let pairs = Pairs::new(vec![first.clone()]);
        let shown = || pairs.now()[0].certified.cert.clone();
        assert!(!pairs.have_changed());
        let second = made(folder.path(), "mx", "mx.example.net", &PKCS_ED25519);
        assert!(pairs.have_changed());
        assert_eq!(shown(), first.certified.cert, "not before it is told to");
        pairs.reload().expect("read again");
        assert_eq!(shown(), second.certified.cert);
        assert!(!pairs.have_changed());
        fs::write(second.file(), "no certificate").expect("written");
        assert!(pairs.reload().is_err());
        assert_eq!(shown(), second.certified.cert);
    }

    #[test]
    fn what_stands_in_is_used_until_its_file_is_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let own = made(folder.path(), "own", "mx.example.net", &PKCS_ECDSA_P256_SHA256);
        let awaited = folder.path().join("awaited");
        let pairs = Pairs::new(vec![own.clone().standing_in(&awaited)]);
        let shown = || pairs.now()[0].certified.cert.clone();
        assert!(!pairs.have_changed());
        pairs.reload().expect("nothing is wrong");
        assert_eq!(shown(), own.certified.cert);
        let came = made(folder.path(), "awaited", "mx.example.net", &PKCS_ECDSA_P256_SHA256);
        assert!(pairs.have_changed());
        pairs.reload().expect("read");
        assert_eq!(shown(), came.certified.cert);
        assert!(!pairs.have_changed() && came.is_named("mx.example.net") && !came.is_named("example.net"));
    }
}
