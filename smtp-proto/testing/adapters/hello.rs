//! What a server knows of clients whose handshake fails: what they offered, and why it came to nothing. For the tests of an
//! adapter, which have its `server` and a handler that tells of TLS when a session is over.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use smtp_proto::server::Config;
use smtp_proto::tls::{TlsFailure, TlsOffer, TlsOutcome, TlsVersion};
use smtp_testing::Certificate;

use super::{Tell, server};

const ALERT: &[u8] = b"\x15\x03";
const PROTOCOL_VERSION: u8 = 70;
const HANDSHAKE_FAILURE: u8 = 40;

/// A server, what it tells of its sessions, and its end.
fn serving() -> (SocketAddr, Receiver<(Option<TlsOffer>, TlsOutcome)>, impl FnOnce()) {
    let certificate = Certificate::new("mx.example.net").expect("a certificate");
    let config = Config::new("mx.example.net").expect("a name").shared();
    let mut server = server(config).tls(certificate.server);
    let address = server.listen("127.0.0.1:0".parse().expect("an address")).expect("bound");
    let (sender, told) = channel();
    let handle = server.handle();
    let running = thread::spawn(move || server.run(move |_| Tell(sender.clone())));
    let end = move || {
        handle.shut_down();
        running.join().expect("no panic").expect("served");
    };
    (address, told, end)
}

fn after_starttls(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).expect("connected");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let mut reader = BufReader::new(socket);
    for (say, code) in [("", "220 "), ("EHLO c.example\r\n", "250 "), ("STARTTLS\r\n", "220 ")] {
        reader.get_mut().write_all(say.as_bytes()).expect("written");
        let mut line = String::new();
        while !line.starts_with(code) {
            line.clear();
            assert!(reader.read_line(&mut line).expect("a reply") > 0, "the end instead of {code}");
        }
    }
    reader.into_inner()
}

fn real(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/hello").join(name);
    std::fs::read(path).expect("a ClientHello that was recorded")
}

#[test]
fn a_failed_handshake_is_told_in_the_words_of_a_policy() {
    let (address, told, end) = serving();
    let next = || told.recv_timeout(Duration::from_secs(20)).expect("the end of a session");

    for (octets, offered, alert, why) in [
        (real("openssl-tls1"), Some(TlsVersion::Tls10), Some(PROTOCOL_VERSION), "offers TLS 1.0 at most"),
        (real("openssl-tls1_1"), Some(TlsVersion::Tls11), Some(PROTOCOL_VERSION), "offers TLS 1.1 at most"),
        (real("openssl-one-group"), Some(TlsVersion::Tls12), Some(HANDSHAKE_FAILURE), "no common group"),
        (real("ssl2-form"), Some(TlsVersion::Tls10), Some(PROTOCOL_VERSION), "sent a ClientHello in the form of SSL 2"),
        (b"MAIL FROM:<a@example.org>\r\n".to_vec(), None, None, "sent no TLS"),
    ] {
        let mut socket = after_starttls(address);
        socket.write_all(&octets).expect("written");
        let mut said = Vec::new();
        socket.read_to_end(&mut said).expect("the end");
        if let Some(alert) = alert {
            // Fatal, and the last words.
            assert!(said.starts_with(ALERT) && said.ends_with(&[0, 2, 2, alert]), "{why}: {said:x?}");
        }
        let (seen, outcome) = next();
        assert_eq!(seen.map(|seen| seen.version), offered, "{why}");
        assert_eq!(outcome, TlsOutcome::Failed(TlsFailure::Refused(why.into())));
    }

    // A client that does not trust the server says so.
    let roots = RootCertStore::empty();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("mx.example.net").expect("a name");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("TLS");
    let mut socket = after_starttls(address);
    assert!(client.complete_io(&mut socket).is_err());
    let (seen, outcome) = next();
    assert_eq!(seen.map(|seen| seen.version), Some(TlsVersion::Tls13));
    let TlsOutcome::Failed(failure) = outcome else { panic!("{outcome:?}") };
    assert_eq!(failure.to_string(), "refused our certificate: unknown CA (alert unknown_ca)");

    // One that goes away without a word is no more than that.
    drop(after_starttls(address));
    assert_eq!(next(), (None, TlsOutcome::Failed(TlsFailure::Closed)));
    end();
}

/// RFC 3207 4.1: the end comes with a part of the ClientHello, in one breath, and may be told together with it.
#[test]
fn an_end_within_a_client_hello_is_seen_at_once() {
    let (address, told, end) = serving();

    let hello = real("openssl-tls1_1");
    for octets in [0, 3, 11, hello.len() - 1].into_iter().cycle().take(40) {
        let mut socket = after_starttls(address);
        socket.write_all(&hello[..octets]).expect("written");
        socket.shutdown(Shutdown::Write).expect("ended");
        socket.read_to_end(&mut Vec::new()).expect("the end");
        let (_, outcome) = told.recv_timeout(Duration::from_secs(20)).expect("the end of a session");
        assert_eq!(outcome, TlsOutcome::Failed(TlsFailure::Closed), "behind {octets} octets");
    }
    end();
}
