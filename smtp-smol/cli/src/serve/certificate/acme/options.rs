//! What is set about ACME.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use rustls::pki_types::{DnsName, ServerName};
use rustls::{ClientConfig, RootCertStore};

use super::Acme;
use crate::failure::Failure;
use crate::serve::certificate::pairs;
use crate::serve::listen::address;

/// What is set about ACME; without a directory there is none.
#[derive(Clone, Debug, Args)]
pub(crate) struct AcmeOptions {
    #[allow(rustdoc::bare_urls, reason = "the text is that of --help as well")]
    /// Get the certificate from an authority by ACME (RFC 8555), and renew it in time: the URL of its directory, such as
    /// https://acme-v02.api.letsencrypt.org/directory. Who names it agrees to the authority's terms of service
    #[arg(long, value_name = "URL", value_parser = directory)]
    pub(crate) tls_acme_directory: Option<String>,

    /// Where the authority connects to see whose the names are: what comes to port 443 of them must end here (tls-alpn-01,
    /// RFC 8737), as with 0.0.0.0:443; may be given several times
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    pub(crate) tls_acme_listen: Vec<SocketAddr>,

    /// Name that the certificate by ACME is for; may be given several times [default: --hostname]
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(crate) tls_acme_domain: Vec<String>,

    /// Address at which the authority of ACME may write to you; may be given several times
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) tls_acme_contact: Vec<String>,

    /// Folder for account and certificate of ACME [default: acme in the folder of --state]
    #[arg(long, value_name = "DIR")]
    pub(crate) tls_acme_cache: Option<PathBuf>,

    /// Authorities (PEM) by which the directory of ACME must verify [default: those that the system trusts]
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_acme_ca: Option<PathBuf>,
}

impl AcmeOptions {
    /// Whether they fit together, and what they become.
    pub(in crate::serve) fn check(&self, hostname: &str) -> Result<Option<Acme>, Failure> {
        let Some(directory) = &self.tls_acme_directory else {
            let without = |option, value: &dyn std::fmt::Display| {
                Err(Failure::option(option, value, "there is no ACME", "name an authority with --tls-acme-directory"))
            };
            return match (&self.tls_acme_listen[..], &self.tls_acme_domain[..], &self.tls_acme_ca) {
                ([address, ..], _, _) => without("--tls-acme-listen", address),
                (_, [name, ..], _) => without("--tls-acme-domain", name),
                (_, _, Some(file)) => without("--tls-acme-ca", &file.display()),
                _ => Ok(None),
            };
        };
        if self.tls_acme_listen.is_empty() {
            let mend = "name where port 443 of your names ends with --tls-acme-listen, such as 0.0.0.0:443";
            return Err(Failure::option("--tls-acme-directory", directory, "nobody answers the authority", mend));
        }
        let domains = if self.tls_acme_domain.is_empty() {
            let own = name(hostname).map_err(|wrong| {
                let mend = "name the domains of the certificate with --tls-acme-domain";
                Failure::option("--hostname", hostname, wrong, mend)
            })?;
            vec![own]
        } else {
            self.tls_acme_domain.clone()
        };
        // RFC 8555 7.1.2: contacts are URLs.
        let url = |contact: &String| if contact.contains(':') { contact.clone() } else { format!("mailto:{contact}") };
        Ok(Some(Acme {
            directory: directory.clone(),
            domains,
            contacts: self.tls_acme_contact.iter().map(url).collect(),
            client: client(self.tls_acme_ca.as_deref())?,
            listen: self.tls_acme_listen.clone(),
            cache: self.tls_acme_cache.clone(),
        }))
    }
}

/// By which the authority's own certificate is verified.
fn client(authorities: Option<&Path>) -> Result<Arc<ClientConfig>, Failure> {
    let mut roots = RootCertStore::empty();
    match authorities {
        None => roots = smtp_rustls::authorities_of_system().unwrap_or(roots),
        Some(file) => {
            let wrong = |wrong: String| {
                let mend = "it must be a readable PEM file with certificates";
                Failure::option("--tls-acme-ca", file.display(), wrong, mend)
            };
            for certificate in pairs::chain(file).map_err(wrong)? {
                roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
            }
        }
    }
    let config = ClientConfig::builder_with_provider(smtp_rustls::provider()).with_safe_default_protocol_versions();
    let config = config.map_err(|error| Failure::running(format!("TLS cannot be set up: {error}")))?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

/// RFC 8555 6.1: over TLS alone.
fn directory(text: &str) -> Result<String, String> {
    let host = host_of(text);
    let good = !host.is_empty() && ServerName::try_from(host).is_ok();
    if good { Ok(text.into()) } else { Err("give a URL that begins with https://".into()) }
}

/// The host in the URL of a directory; empty if there is none.
pub(super) fn host_of(url: &str) -> &str {
    let authority = url.strip_prefix("https://").unwrap_or_default().split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')).map_or(authority, |(host, _)| host);
    host.trim_matches(['[', ']'])
}

/// RFC 8737 3: tls-alpn-01 proves DNS names, and no wildcards.
fn name(text: &str) -> Result<String, String> {
    let known = DnsName::try_from(text).is_ok() && text.contains('.');
    if known {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("not a name of which an authority can know whose it is".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_urls_and_names_are_whole() {
        for (url, host) in [
            ("https://acme-v02.api.letsencrypt.org/directory", "acme-v02.api.letsencrypt.org"),
            ("https://localhost:14000/dir", "localhost"),
            ("https://[::1]:14000/dir", "::1"),
            ("https://[::1]/dir", "::1"),
            ("https://ca.example", "ca.example"),
        ] {
            assert_eq!((directory(url).is_ok(), host_of(url)), (true, host), "{url}");
        }
        for wrong in ["", "http://ca.example/", "https://", "https:///x", "ca.example", "https://../x", "https://a b/"]
        {
            assert!(directory(wrong).is_err(), "{wrong}");
        }
        assert_eq!(name("MX.example.net").as_deref(), Ok("mx.example.net"));
        for wrong in ["", "mx", "*.example.net", "[192.0.2.1]", "192.0.2.1", "a b.example"] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
    }
}
