//! Certificates and keys in files.

use std::fmt::Display;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig};

use super::provider;

/// A server's TLS from two PEM files: its certificate, with the chain behind it, and its key. TLS 1.2 and 1.3; no client
/// is asked for a certificate. A client that names protocols (ALPN), and SMTP not among them, is turned away.
///
/// ```no_run
/// let tls = smtp_rustls::server_from_pem("mx.crt".as_ref(), "mx.key".as_ref())?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`]; it names the file, what is wrong with it, and what it has to be.
pub fn server_from_pem(certificate: &Path, key: &Path) -> io::Result<Arc<ServerConfig>> {
    let chain = chain(certificate)?;
    let of_key = |error: &dyn Display| invalid(key, error, "it must be a PEM file with the private key, unencrypted");
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| of_key(&error))?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain, private);
    let mend = format!("it must be the key of {}", certificate.display());
    let mut config = config.map_err(|error| invalid(key, &error, &mend))?;
    config.alpn_protocols = vec![b"smtp".to_vec(), b"esmtp".to_vec()];
    Ok(Arc::new(config))
}

/// Authorities to trust, from a PEM file: for [`ClientTls`](crate::ClientTls), or
/// [`ClientCertificates`](crate::ClientCertificates).
///
/// # Errors
/// As [`server_from_pem`].
pub fn authorities_from_pem(file: &Path) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(file)? {
        let mend = "each certificate in it must be one of an authority";
        roots.add(certificate).map_err(|error| invalid(file, &error, mend))?;
    }
    Ok(roots)
}

fn chain(file: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let mend = "it must be a PEM file with the certificate, then its chain";
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = read.map_err(|error| invalid(file, &error, mend))?;
    if chain.is_empty() { Err(invalid(file, &"no certificate in it", mend)) } else { Ok(chain) }
}

fn invalid(file: &Path, error: &dyn Display, mend: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{}: {error}; {mend}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_read_and_what_is_wrong_with_a_file_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            path
        };
        let made = || rcgen::generate_simple_self_signed(vec!["mx.example.net".to_owned()]).expect("a certificate");
        let (one, other) = (made(), made());
        let certificate = file("mx.crt", &one.cert.pem());
        let key = file("mx.key", &one.signing_key.serialize_pem());
        server_from_pem(&certificate, &key).expect("they fit");
        assert_eq!(authorities_from_pem(&certificate).expect("one").len(), 1);

        let (foreign, empty) = (file("other.key", &other.signing_key.serialize_pem()), file("empty", ""));
        for (certificate, key, words) in [
            (&certificate, &foreign, ["other.key: ", "must be the key of ", "mx.crt"]),
            (&certificate, &empty, ["empty: ", "private key", "unencrypted"]),
            (&empty, &key, ["empty: ", "no certificate in it", "then its chain"]),
            (&folder.path().join("none"), &key, ["none: ", "o such file", "PEM file"]),
        ] {
            let told = server_from_pem(certificate, key).expect_err("refused").to_string();
            assert!(words.iter().all(|word| told.contains(word)), "{told}");
        }
    }
}
