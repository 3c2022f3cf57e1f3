//! Classes of client certificates: asked for, never required, and told to the handler.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};
use smtp_mio::{Answer, ClientCertificates, Handler, Peer, Server};
use smtp_proto::server::{Config, MessageEnd, Verdict};
use smtp_proto::syntax::Host;
use smtp_proto::tls::ClientCertificate;

struct Tell(Sender<Option<ClientCertificate>>);

impl Handler for Tell {
    fn hello(&mut self, peer: &Peer<'_>, _: &Host<'_>) -> Answer<'_> {
        let _ = self.0.send(peer.session.tls().map(|tls| tls.client_certificate));
        Verdict::Accept.into()
    }
    fn message(&mut self, _: &Peer<'_>, _: MessageEnd) -> Answer<'_> {
        Verdict::Accept.into()
    }
}

fn made(name: &str) -> (CertifiedKey<rcgen::KeyPair>, PrivateKeyDer<'static>) {
    let made = generate_simple_self_signed([name.to_owned()]).expect("a certificate");
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
    (made, key)
}

#[test]
fn a_handler_is_told_the_class_of_a_clients_certificate() {
    let (server_own, key) = made("mx.example.net");
    let (trusted, trusted_key) = made("known.example");
    let (stranger, stranger_key) = made("stranger.example");
    let mut authorities = RootCertStore::empty();
    authorities.add(trusted.cert.der().clone()).expect("a root");
    let certificates = Arc::new(ClientCertificates::new(authorities));
    let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(certificates.clone())
        .with_single_cert(vec![server_own.cert.der().clone()], key)
        .expect("TLS");
    let config = Config::new("mx.example.net").expect("a name").shared();
    let mut server = Server::with_threads(config, 1).tls(Arc::new(tls)).client_certificates(certificates);
    let address = server.listen_tls("127.0.0.1:0".parse().expect("an address")).expect("bound");
    let (sender, told) = channel();
    let handle = server.handle();
    let running = thread::spawn(move || server.run(move |_| Tell(sender.clone())));

    let mut roots = RootCertStore::empty();
    roots.add(server_own.cert.der().clone()).expect("a root");
    let builder = || {
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots.clone())
    };
    let with = |chain: &CertifiedKey<rcgen::KeyPair>, key| {
        builder().with_client_auth_cert(vec![chain.cert.der().clone()], key).expect("a client certificate")
    };
    for (config, expected) in [
        (builder().with_no_client_auth(), ClientCertificate::None),
        (with(&trusted, trusted_key), ClientCertificate::Verified),
        (with(&stranger, stranger_key), ClientCertificate::SelfSigned),
    ] {
        let socket = TcpStream::connect(address).expect("connected");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let name = ServerName::try_from("mx.example.net").expect("a name");
        let connection = ClientConnection::new(Arc::new(config), name).expect("TLS");
        let mut client = BufReader::new(StreamOwned::new(connection, socket));
        let mut line = String::new();
        client.read_line(&mut line).expect("the greeting");
        assert!(line.starts_with("220 "), "{line}");
        client.get_mut().write_all(b"EHLO c.example\r\n").expect("written");
        client.get_mut().flush().expect("written");
        assert_eq!(told.recv_timeout(Duration::from_secs(20)).expect("EHLO"), Some(expected));
    }
    handle.shut_down();
    running.join().expect("no panic").expect("served");
}
