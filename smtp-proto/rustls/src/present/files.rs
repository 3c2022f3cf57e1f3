//! Certificates and keys in files.

use std::fmt::Display;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
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
    let chain = certificates(certificate, CHAIN)?;
    let private = private_key(key)?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain, private);
    let mut config = config.map_err(|error| not_its_key(key, certificate, &error))?;
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
    for certificate in certificates(file, "it must be a readable PEM file with certificates of authorities")? {
        let mend = "each certificate in it must be one of an authority";
        roots.add(certificate).map_err(|error| invalid(file, &error, mend))?;
    }
    Ok(roots)
}

/// The authorities that this machine trusts: those of its operating system. For [`ClientTls`](crate::ClientTls), or
/// [`ClientCertificates`](crate::ClientCertificates).
///
/// # Errors
/// [`io::ErrorKind::NotFound`], and what to do, when the machine has none.
#[cfg(feature = "system-roots")]
pub fn authorities_of_system() -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or_else(String::new, |error| format!(" ({error})"));
        let words = format!(
            "this machine has no authorities to trust{why}; install them (ca-certificates), or name those to trust in a file"
        );
        return Err(io::Error::new(io::ErrorKind::NotFound, words));
    }
    Ok(roots)
}

/// What a file of a certificate must be.
const CHAIN: &str = "it must be a PEM file with the certificate, then its chain";

/// A certificate with its chain, and its key.
pub(super) fn certified_key(certificate: &Path, key: &Path) -> io::Result<CertifiedKey> {
    let chain = certificates(certificate, CHAIN)?;
    let private = private_key(key)?;
    CertifiedKey::from_der(chain, private, &provider()).map_err(|error| not_its_key(key, certificate, &error))
}

fn private_key(key: &Path) -> io::Result<PrivateKeyDer<'static>> {
    let mend = "it must be a PEM file with the private key, unencrypted";
    PrivateKeyDer::from_pem_file(key).map_err(|error| invalid(key, &error, mend))
}

fn not_its_key(key: &Path, certificate: &Path, error: &dyn Display) -> io::Error {
    invalid(key, error, &format!("it must be the key of {}", certificate.display()))
}

fn certificates(file: &Path, mend: &str) -> io::Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = read.map_err(|error| invalid(file, &error, mend))?;
    if certificates.is_empty() { Err(invalid(file, &"no certificate in it", mend)) } else { Ok(certificates) }
}

fn invalid(file: &Path, error: &dyn Display, mend: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{}: {error}; {mend}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClientCertificates, ClientTls};

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
            let told = certified_key(certificate, key).expect_err("refused").to_string();
            assert!(words.iter().all(|word| told.contains(word)), "of a client: {told}");
        }
        let told = authorities_from_pem(&folder.path().join("none")).expect_err("refused").to_string();
        assert!(told.ends_with("it must be a readable PEM file with certificates of authorities"), "{told}");
    }

    /// A server that asks for a certificate is shown the client's, whether or not the client depends on the server's.
    #[test]
    fn a_client_shows_its_certificate() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            path
        };
        let made = |name: &str| rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a certificate");
        let (server, client) = (made("mx.example.net"), made("client.example"));
        let of_server = file("mx.crt", &server.cert.pem());
        let of_client = file("client.crt", &client.cert.pem());
        let key = file("client.key", &client.signing_key.serialize_pem());

        let asks = Arc::new(ClientCertificates::new(authorities_from_pem(&of_client).expect("a root")));
        let server_key = PrivateKeyDer::from_pem_slice(server.signing_key.serialize_pem().as_bytes()).expect("a key");
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(asks)
            .with_single_cert(vec![server.cert.der().clone()], server_key);
        let config = Arc::new(config.expect("TLS"));
        let tls = ClientTls::from_pem(&of_server).expect("a root");
        let with = tls.certificate_from_pem(&of_client, &key).expect("they fit");
        for (tls, shown) in [(&tls, 0), (&with, 1)] {
            for verify in [true, false] {
                let mut server = rustls::ServerConnection::new(config.clone()).expect("a server");
                let name = "mx.example.net".try_into().expect("a name");
                let mut client = rustls::ClientConnection::new(tls.config(verify).clone(), name).expect("a client");
                while client.is_handshaking() || server.is_handshaking() {
                    let mut wire = Vec::new();
                    client.write_tls(&mut wire).expect("to memory");
                    server.read_tls(&mut &wire[..]).expect("from memory");
                    server.process_new_packets().expect("a handshake");
                    wire.clear();
                    server.write_tls(&mut wire).expect("to memory");
                    client.read_tls(&mut &wire[..]).expect("from memory");
                    client.process_new_packets().expect("a handshake");
                }
                assert_eq!(server.peer_certificates().map_or(0, <[_]>::len), shown, "verify: {verify}");
            }
        }
    }
}
