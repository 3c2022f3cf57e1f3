//! What the server's side of a full TLS 1.3 handshake costs by rustls alone, in memory: CPU of the server's calls only.
//!
//!     handshake [COUNT]
//!
//! By library, group, the hash of the cipher suite, and how many tickets are sent; ECDSA P-256 certificates.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, ring};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, DigitallySignedStruct, NamedGroup, ServerConfig, ServerConnection,
    SignatureScheme,
};

fn main() {
    let count: usize = std::env::args().nth(1).map_or(2_000, |count| count.parse().expect("a number"));
    let made = rcgen::generate_simple_self_signed(vec!["load.example".into()]).expect("a certificate");
    let chain = vec![made.cert.der().clone()];
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let mut cases = Vec::new();
    for (name, provider) in [("ring", ring::default_provider()), ("aws-lc-rs", aws_lc_rs::default_provider())] {
        let hybrid = provider.kx_groups.iter().any(|group| group.name() == NamedGroup::X25519MLKEM768);
        let groups: &[NamedGroup] =
            if hybrid { &[NamedGroup::X25519, NamedGroup::X25519MLKEM768] } else { &[NamedGroup::X25519] };
        for group in groups {
            for suite in [CipherSuite::TLS13_AES_256_GCM_SHA384, CipherSuite::TLS13_AES_128_GCM_SHA256] {
                for tickets in [0, 1, 2] {
                    let mut narrow = provider.clone();
                    narrow.kx_groups.retain(|known| known.name() == *group);
                    narrow.cipher_suites.retain(|known| known.suite() == suite);
                    let narrow = Arc::new(narrow);
                    let mut server = ServerConfig::builder_with_provider(narrow.clone())
                        .with_protocol_versions(&[&rustls::version::TLS13])
                        .expect("a version")
                        .with_no_client_auth()
                        .with_single_cert(chain.clone(), key.clone_key().into())
                        .expect("a pair");
                    server.send_tls13_tickets = tickets;
                    let mut client = ClientConfig::builder_with_provider(narrow.clone())
                        .with_protocol_versions(&[&rustls::version::TLS13])
                        .expect("a version")
                        .dangerous()
                        .with_custom_certificate_verifier(Arc::new(Anyone(narrow)))
                        .with_no_client_auth();
                    client.resumption = rustls::client::Resumption::disabled();
                    let words = format!("{name:10} {group:?} {suite:?}, {tickets} tickets");
                    cases.push((words, Arc::new(server), Arc::new(client), Vec::new()));
                }
            }
        }
    }
    // In alternation, in small groups.
    for _ in 0..20 {
        for (_, server, client, times) in &mut cases {
            let spent: f64 = (0..count / 20).map(|_| shake(server, client)).sum();
            times.push(spent * 1e3 / (count / 20) as f64);
        }
    }
    println!("server CPU a handshake, ms: median (least)");
    for (words, _, _, mut times) in cases {
        times.sort_by(f64::total_cmp);
        println!("  {words:70} {:.4} ({:.4})", times[times.len() / 2], times[0]);
    }
}

/// Seconds of the server's part.
fn shake(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> f64 {
    let name = ServerName::try_from("load.example").expect("a name");
    let mut client = ClientConnection::new(client.clone(), name).expect("a client");
    let mut spent = 0.0;
    let (mut up, mut down) = (Vec::new(), Vec::new());
    let begun = now();
    let mut server = ServerConnection::new(server.clone()).expect("a server");
    spent += now() - begun;
    while client.is_handshaking() || server.is_handshaking() {
        up.clear();
        while client.wants_write() {
            client.write_tls(&mut up).expect("written");
        }
        let begun = now();
        server.read_tls(&mut &up[..]).expect("taken");
        server.process_new_packets().expect("understood");
        down.clear();
        while server.wants_write() {
            server.write_tls(&mut down).expect("written");
        }
        spent += now() - begun;
        let mut rest = &down[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).expect("taken");
            client.process_new_packets().expect("understood");
        }
    }
    let begun = now();
    drop(server);
    spent + now() - begun
}

/// CPU seconds of this thread.
fn now() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes the time that it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Takes any certificate: the server is measured.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
