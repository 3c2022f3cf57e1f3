//! The server's certificate: the operator's, or one that it makes for itself once and keeps.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig};

use smtp_smol::ClientCertificates;

use crate::failure::Failure;

use super::check::Checked;
use super::listener::ListenerOptions;
use super::options::Oldest;

type Chain = Vec<CertificateDer<'static>>;

/// The operator's certificate, which is read again when its files have changed.
#[derive(Debug)]
pub(crate) struct Renewable {
    certificate: PathBuf,
    key: PathBuf,
    now: RwLock<Arc<CertifiedKey>>,
}

impl Renewable {
    /// Reads the files again. If something is wrong with them, what was read before stays.
    pub(crate) fn reload(&self) -> Result<(), Failure> {
        let read = read(&self.certificate, &self.key)?;
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = read;
        Ok(())
    }
}

impl ResolvesServerCert for Renewable {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.now.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// A certificate with its key, and the files that they are from.
#[derive(Debug)]
pub(super) struct Pair {
    certificate: PathBuf,
    key: PathBuf,
    certified: Arc<CertifiedKey>,
}

impl Pair {
    pub(super) fn read(certificate: &Path, key: &Path) -> Result<Self, Failure> {
        let certified = read(certificate, key)?;
        Ok(Self { certificate: certificate.to_owned(), key: key.to_owned(), certified })
    }

    fn renewable(&self) -> Arc<Renewable> {
        let (certificate, key) = (self.certificate.clone(), self.key.clone());
        Arc::new(Renewable { certificate, key, now: RwLock::new(self.certified.clone()) })
    }
}

/// What listeners need for TLS.
#[derive(Debug)]
pub(super) struct Tls {
    /// By the oldest version that is allowed; none where nobody offers TLS.
    configs: Vec<(Oldest, Arc<ServerConfig>)>,
    pub(super) renewable: Option<Arc<Renewable>>,
    /// For the operator.
    pub(super) words: String,
}

impl Tls {
    /// With the operator's certificate, or one that is made and kept in the folder.
    pub(super) fn new(checked: &Checked, state: impl FnOnce() -> Result<PathBuf, Failure>) -> Result<Self, Failure> {
        let (resolver, renewable, words): (Arc<dyn ResolvesServerCert>, _, _) = match &checked.pair {
            _ if !checked.has_tls() => {
                return Ok(Self { configs: Vec::new(), renewable: None, words: "off".into() });
            }
            Some(pair) => {
                let renewable = pair.renewable();
                let words = format!("certificate in {}", pair.certificate.display());
                (renewable.clone(), Some(renewable), words)
            }
            None => {
                let (certified, file) = self_signed(&state()?, &checked.hostname)?;
                let words = format!("self-signed certificate in {}", file.display());
                (Arc::new(SingleCertAndKey::from(certified)), None, words)
            }
        };
        let config = |oldest| (oldest, config(resolver.clone(), &checked.clients, oldest));
        Ok(Self { configs: [Oldest::Tls12, Oldest::Tls13].map(config).into(), renewable, words })
    }

    /// The configuration for a listener.
    pub(super) fn of(&self, listener: &ListenerOptions) -> Option<Arc<ServerConfig>> {
        let oldest = listener.tls_min_version;
        self.configs.iter().find(|(version, _)| *version == oldest).map(|(_, config)| config.clone())
    }
}

fn read(certificate: &Path, key: &Path) -> Result<Arc<CertifiedKey>, Failure> {
    let chain = chain(certificate).map_err(|wrong| {
        Failure::option(
            "--cert",
            certificate.display(),
            wrong,
            "it must be a readable PEM file with the certificate, then its chain",
        )
    })?;
    let private = private_key(key).map_err(|wrong| {
        Failure::option("--key", key.display(), wrong, "it must be a readable PEM file with an unencrypted private key")
    })?;
    certified(chain, private).map(Arc::new).map_err(|wrong| {
        Failure::option("--key", key.display(), wrong, &format!("it must be the key of {}", certificate.display()))
    })
}

/// A self-signed certificate for `host`, made at the first start. Gives the file's name, too.
fn self_signed(state: &Path, host: &str) -> Result<(CertifiedKey, PathBuf), Failure> {
    let file = state.join(format!("{}.pem", host.replace(['/', ':', '[', ']'], "_")));
    let unusable = |wrong: String| {
        Failure::option(
            "--state",
            state.display(),
            format_args!("{}: {wrong}", file.display()),
            "name a folder that can be written, or give --cert and --key",
        )
    };
    if !file.exists() {
        make(&file, host).map_err(unusable)?;
    }
    let pair = chain(&file).and_then(|chain| Ok((chain, private_key(&file)?)));
    let certified = pair
        .and_then(|(chain, key)| certified(chain, key))
        .map_err(|wrong| Failure::usage(format!("{}: {wrong}; remove it, and a new one is made", file.display())))?;
    Ok((certified, file))
}

/// Who vouches for clients' certificates: the authorities in this file, or those that the system trusts.
pub(crate) fn clients(authorities: Option<&Path>) -> Result<Arc<ClientCertificates>, Failure> {
    let mut roots = RootCertStore::empty();
    match authorities {
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
        Some(file) => {
            let wrong = |wrong: String| {
                Failure::option(
                    "--client-ca",
                    file.display(),
                    wrong,
                    "it must be a readable PEM file with certificates",
                )
            };
            for certificate in chain(file).map_err(wrong)? {
                roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
            }
        }
    }
    Ok(Arc::new(ClientCertificates::new(roots)))
}

fn make(file: &Path, host: &str) -> Result<(), String> {
    let words = |error: std::io::Error| error.to_string();
    let name = host.trim_start_matches('[').trim_start_matches("IPv6:").trim_end_matches(']');
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).map_err(|error| error.to_string())?;
    if let Some(folder) = file.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(words)?;
    }
    // Complete or not there: two servers may start at once, and one may be killed.
    let draft = file.with_extension(format!("{}.tmp", std::process::id()));
    let pem = format!("{}{}", made.cert.pem(), made.signing_key.serialize_pem());
    let write = || {
        let _ = fs::remove_file(&draft);
        let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        out.write_all(pem.as_bytes())?;
        out.sync_all()?;
        match fs::hard_link(&draft, file) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        }
    };
    let written = write();
    let _ = fs::remove_file(&draft);
    written.map_err(words)
}

fn chain(file: &Path) -> Result<Chain, String> {
    let chain: Result<Chain, _> =
        CertificateDer::pem_file_iter(file).map_err(plain)?.map(|certificate| certificate.map_err(plain)).collect();
    chain.and_then(|chain| if chain.is_empty() { Err("no certificate in it".into()) } else { Ok(chain) })
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(file).map_err(plain)
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

/// A certificate with its key, after a look at whether they belong together.
fn certified(chain: Chain, key: PrivateKeyDer<'static>) -> Result<CertifiedKey, String> {
    let provider =
        CryptoProvider::get_default().cloned().unwrap_or_else(|| Arc::new(rustls::crypto::ring::default_provider()));
    CertifiedKey::from_der(chain, key, &provider).map_err(|error| error.to_string())
}

fn config(
    certificate: Arc<dyn ResolvesServerCert>,
    clients: &Arc<ClientCertificates>,
    oldest: Oldest,
) -> Arc<ServerConfig> {
    // TLS 1.2 and 1.3 (RFC 8996, RFC 9325); the library knows no older ones.
    let versions = match oldest {
        Oldest::Tls12 => rustls::ALL_VERSIONS,
        Oldest::Tls13 => &[&rustls::version::TLS13],
    };
    let mut config = ServerConfig::builder_with_protocol_versions(versions)
        .with_client_cert_verifier(clients.clone())
        .with_cert_resolver(certificate);
    // A client that names protocols, and SMTP not among them, is on its way to another server (RFC 7301 3.2, RFC 9325
    // 3.8). No name is registered for SMTP; these two are in use. Clients that name none go on.
    config.alpn_protocols = vec![b"smtp".to_vec(), b"esmtp".to_vec()];
    Arc::new(config)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_certificate_is_made_once_and_its_key_is_private() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = folder.path().join("a/b");
        let (_, file) = super::self_signed(&state, "mx.example.net").expect("made");
        let first = std::fs::read(&file).expect("read");
        assert_eq!(std::fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
        super::self_signed(&state, "mx.example.net").expect("kept");
        assert_eq!(std::fs::read(&file).expect("read"), first);
        assert_eq!(std::fs::read_dir(&state).expect("read").count(), 1, "nothing else is left there");
    }

    #[test]
    fn a_renewed_certificate_is_read_again_and_a_wrong_one_is_not_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        let of = |name| super::self_signed(&folder.path().join(name), "mx.example.net").expect("made").1;
        let (first, second) = (of("a"), of("b"));
        let file = folder.path().join("mx.pem");
        std::fs::copy(&first, &file).expect("copied");
        let renewable = super::Pair::read(&file, &file).expect("read").renewable();
        let shown = || renewable.now.read().expect("whole").end_entity_cert().expect("one").to_vec();
        let before = shown();
        std::fs::copy(&second, &file).expect("copied");
        assert_eq!(shown(), before, "not before it is told to");
        renewable.reload().expect("read again");
        let after = shown();
        assert_ne!(after, before);
        std::fs::write(&file, "no certificate").expect("written");
        assert!(renewable.reload().is_err());
        assert_eq!(shown(), after);
    }
}
