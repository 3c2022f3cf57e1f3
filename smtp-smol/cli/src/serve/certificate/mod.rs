//! The server's certificates: the operator's, or one that it makes for itself once and keeps.

mod acme;
mod own;
mod pairs;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::{RootCertStore, ServerConfig};
use smtp_smol::ClientCertificates;

use super::check::Checked;
use super::listener::ListenerOptions;
use super::options::Oldest;
use crate::failure::Failure;

pub(super) use acme::Acme;
pub(crate) use acme::AcmeOptions;
pub(super) use pairs::{Pair, Pairs};
pub(super) use watch::{tell, watch};

/// What listeners need for TLS.
#[derive(Debug)]
pub(super) struct Tls {
    /// By the oldest version that is allowed; none where nobody offers TLS.
    configs: Vec<(Oldest, Arc<ServerConfig>)>,
    pub(super) pairs: Option<Arc<Pairs>>,
    /// For the operator.
    pub(super) words: String,
}

impl Tls {
    /// With the operator's certificates and that of ACME, or one that is made and kept in the folder.
    pub(super) fn new(checked: &Checked, state: impl Fn() -> Result<PathBuf, Failure>) -> Result<Self, Failure> {
        if !checked.has_tls() {
            return Ok(Self { configs: Vec::new(), pairs: None, words: "off".into() });
        }
        let mut pairs = checked.pairs.clone();
        let mut kind = if pairs.len() > 1 { "certificates" } else { "certificate" };
        if let Some(acme) = &checked.acme {
            let file = acme.file(&state)?;
            pairs.push(match Pair::read(&file, &file) {
                Ok(pair) if acme.covers(&pair) => pair,
                // Self-signed, as most mail servers do not verify, and a name that is tried out may be another one.
                _ => own::self_signed(&state()?, &checked.hostname)?.standing_in(&file),
            });
            kind = "certificate by ACME";
        } else if pairs.is_empty() {
            pairs.push(own::self_signed(&state()?, &checked.hostname)?);
            kind = "self-signed certificate";
        }
        let files: Vec<_> = pairs.iter().map(|pair| pair.file().display().to_string()).collect();
        let words = format!("{kind} in {}", files.join(", "));
        let pairs = Arc::new(Pairs::new(pairs));
        let config = |oldest| (oldest, config(pairs.clone(), &checked.clients, oldest));
        Ok(Self { configs: [Oldest::Tls12, Oldest::Tls13].map(config).into(), pairs: Some(pairs), words })
    }

    /// The configuration for a listener.
    pub(super) fn of(&self, listener: &ListenerOptions) -> Option<Arc<ServerConfig>> {
        let oldest = listener.tls_min_version;
        self.configs.iter().find(|(version, _)| *version == oldest).map(|(_, config)| config.clone())
    }
}

/// Who vouches for clients' certificates: the authorities in this file, or those that the system trusts. These take a
/// while to read, and are not when nobody `asks` for certificates.
pub(crate) fn clients(authorities: Option<&Path>, asks: bool) -> Result<Arc<ClientCertificates>, Failure> {
    let mut roots = RootCertStore::empty();
    match authorities {
        None if !asks => {}
        None => roots = smtp_rustls::authorities_of_system().unwrap_or(roots),
        Some(file) => {
            let wrong = |wrong: String| {
                Failure::option(
                    "--client-ca",
                    file.display(),
                    wrong,
                    "it must be a readable PEM file with certificates",
                )
            };
            for certificate in pairs::chain(file).map_err(wrong)? {
                roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
            }
        }
    }
    Ok(Arc::new(ClientCertificates::new(roots)))
}

fn config(certificates: Arc<Pairs>, clients: &Arc<ClientCertificates>, oldest: Oldest) -> Arc<ServerConfig> {
    // TLS 1.2 and 1.3 (RFC 8996, RFC 9325); the library knows no older ones.
    let versions = match oldest {
        Oldest::Tls12 => rustls::ALL_VERSIONS,
        Oldest::Tls13 => &[&rustls::version::TLS13],
    };
    let mut config = ServerConfig::builder_with_protocol_versions(versions)
        .with_client_cert_verifier(clients.clone())
        .with_cert_resolver(certificates);
    // A client that names protocols, and SMTP not among them, is on its way to another server (RFC 7301 3.2, RFC 9325
    // 3.8). No name is registered for SMTP; these two are in use. Clients that name none go on.
    config.alpn_protocols = vec![b"smtp".to_vec(), b"esmtp".to_vec()];
    Arc::new(config)
}
