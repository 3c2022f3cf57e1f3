//! The PROXY header over sockets: believed only where it is set up and from whom it is, required there, bounded, on a
//! deadline; else the connection is closed with nothing said. For the tests of an adapter, which have its `server`, its listener
//! `behind_tls`, and two handlers that greet by what they know of a peer.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use smtp_proto::TlsInfo;
use smtp_proto::proxy::{Addresses, Ssl, SslTlv, SslTlvs, Tlv};
use smtp_proto::server::Config;
use smtp_proto::tls::{Policy, TlsVersion};
use smtp_testing::Certificate;

use super::{Handle, Limits, Mirror, Told, behind_tls, server};

struct Running {
    /// Plain; PROXY from here; PROXY from elsewhere only; PROXY, then TLS.
    addresses: [SocketAddr; 4],
    handle: Handle,
    thread: Option<thread::JoinHandle<()>>,
    certificate: Certificate,
}

fn start(limits: Limits) -> Running {
    let certificate = Certificate::new("mx.example.net").expect("a certificate");
    let config = Config::new("mx.example.net").expect("a name").tls(Policy::Off).shared();
    let mut server = server(config).limits(limits).tls(certificate.server.clone());
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let here = ["127.0.0.0/8".parse().expect("a network")];
    let elsewhere = ["192.0.2.0/24".parse().expect("a network"), "::/0".parse().expect("a network")];
    let addresses = [
        server.listen(any).expect("bound"),
        server.listen_proxy(any, &here).expect("bound"),
        server.listen_proxy(any, &elsewhere).expect("bound"),
        server.listen_proxy_tls(any, &here).expect("bound"),
    ];
    let handle = server.handle();
    let thread = Some(thread::spawn(move || server.run(|_| Mirror(String::new())).expect("served")));
    Running { addresses, handle, thread, certificate }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.shut_down();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking());
        }
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).expect("connected");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    socket
}

/// All that is said to one who sends these octets and then waits; a reset is an end as well.
fn all(address: SocketAddr, octets: &[u8]) -> Vec<u8> {
    let mut socket = connect(address);
    let _ = socket.write_all(octets);
    let mut said = Vec::new();
    let mut buffer = [0; 512];
    while let Ok(n @ 1..) = socket.read(&mut buffer) {
        said.extend_from_slice(&buffer[..n]);
    }
    said
}

/// The first line said to one who sends these pieces.
fn greeting(address: SocketAddr, pieces: &[&[u8]]) -> (String, SocketAddr) {
    let mut socket = connect(address);
    socket.set_nodelay(true).expect("set");
    for piece in pieces {
        socket.write_all(piece).expect("written");
    }
    let own = socket.local_addr().expect("an address");
    let mut line = String::new();
    BufReader::new(&socket).read_line(&mut line).expect("a greeting");
    let _ = socket.shutdown(Shutdown::Write);
    (line, own)
}

fn v2(addresses: &Addresses<'_>, tlvs: &[Tlv<'_>]) -> Vec<u8> {
    let mut header = Vec::new();
    addresses.write_v2(tlvs, &mut header).expect("written");
    header
}

fn from(address: &str) -> Vec<u8> {
    let line = format!("PROXY TCP4 {address} 198.51.100.1 40000 25\r\n");
    let (header, _) = smtp_proto::proxy::parse(line.as_bytes()).expect("good").expect("complete");
    v2(&header.addresses, &[Tlv::Crc32c(0), Tlv::Authority("mx.example.net"), Tlv::Noop(&[0; 3000])])
}

#[test]
fn the_client_is_who_the_balancer_says() {
    let server = start(Limits::default());
    let [_, proxy, _, _] = server.addresses;
    let line = b"PROXY TCP6 2001:db8::7 2001:db8::1 40000 25\r\n";
    assert_eq!(greeting(proxy, &[line]).0, "220 mx.example.net [2001:db8::7]:40000\r\n");
    // In pieces of any size.
    for size in [1, 2, 15, 16, 17] {
        let pieces: Vec<&[u8]> = line.chunks(size).collect();
        assert_eq!(greeting(proxy, &pieces).0, "220 mx.example.net [2001:db8::7]:40000\r\n");
    }
    let header = from("192.0.2.7");
    assert_eq!(greeting(proxy, &[&header]).0, "220 mx.example.net 192.0.2.7:40000\r\n");
    let pieces: Vec<&[u8]> = header.chunks(700).collect();
    assert_eq!(greeting(proxy, &pieces).0, "220 mx.example.net 192.0.2.7:40000\r\n");
    // Its own address where it says nothing of another.
    for header in [v2(&Addresses::Local, &[]), v2(&Addresses::Unknown, &[]), b"PROXY UNKNOWN\r\n".to_vec()] {
        let (line, own) = greeting(proxy, &[&header]);
        assert_eq!(line, format!("220 mx.example.net {own}\r\n"));
    }
}

/// What comes behind the header belongs to the session, not to the header.
#[test]
fn a_session_follows_the_header() {
    let server = start(Limits::default());
    let [_, proxy, _, _] = server.addresses;
    let mut socket = connect(proxy);
    socket.write_all(&from("192.0.2.7")).expect("written");
    let mut reader = BufReader::new(socket.try_clone().expect("cloned"));
    let mut line = String::new();
    reader.read_line(&mut line).expect("a greeting");
    socket.write_all(b"NOOP\r\nQUIT\r\n").expect("written");
    let mut rest = String::new();
    reader.read_to_string(&mut rest).expect("replies");
    let codes: Vec<&str> = rest.lines().map(|line| &line[..3]).collect();
    assert_eq!((line.as_str(), codes), ("220 mx.example.net 192.0.2.7:40000\r\n", vec!["250", "221"]));
    // Nothing of what is glued to the header is lost with it: early, it is answered or turned away as such.
    let said = all(proxy, &[&from("192.0.2.7")[..], b"NOOP\r\nQUIT\r\n"].concat());
    let said = String::from_utf8(said).expect("ASCII");
    let codes: Vec<&str> = said.lines().map(|line| &line[..3]).collect();
    assert!(codes == ["220", "250", "221"] || codes == ["554"], "{said}");
}

#[test]
fn without_a_header_nothing_is_said() {
    let mut limits = Limits::default();
    limits.proxy_time = Duration::from_millis(300);
    let server = start(limits);
    let [_, proxy, elsewhere, _] = server.addresses;
    let mut checksum = from("192.0.2.7");
    checksum[40] ^= 1;
    let cases: [&[u8]; 9] = [
        b"EHLO a.example\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 65536\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 25\n",
        &[b"PROXY UNKNOWN ", &[b'x'; 200][..]].concat(),
        b"PROXY TCP4 192.0.2.7", // and no more: the deadline
        b"",
        &checksum,
    ];
    for octets in cases {
        assert_eq!(all(proxy, octets), b"", "{:?}", octets.escape_ascii());
    }
    // A good header, from one who may not send it.
    assert_eq!(all(elsewhere, &from("192.0.2.7")), b"");
    // The server is still there.
    assert_eq!(greeting(proxy, &[&from("192.0.2.7")]).0, "220 mx.example.net 192.0.2.7:40000\r\n");
}

/// Elsewhere it is an unknown command, whoever sends it.
#[test]
fn a_plain_listener_knows_no_header() {
    let server = start(Limits::default());
    let [plain, ..] = server.addresses;
    let mut socket = connect(plain);
    let own = socket.local_addr().expect("an address");
    let mut reader = BufReader::new(socket.try_clone().expect("cloned"));
    let mut line = String::new();
    reader.read_line(&mut line).expect("a greeting");
    assert_eq!(line, format!("220 mx.example.net {own}\r\n"));
    socket.write_all(b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 25\r\nQUIT\r\n").expect("written");
    let mut rest = String::new();
    reader.read_to_string(&mut rest).expect("replies");
    let codes: Vec<&str> = rest.lines().map(|line| &line[..3]).collect();
    assert_eq!(codes, ["500", "221"]);
}

/// The limit of an address counts the clients, not the balancer that they all come through.
#[test]
fn limits_count_the_client() {
    let mut limits = Limits::default();
    limits.per_address = 1;
    let server = start(limits);
    let [_, proxy, _, _] = server.addresses;
    let greeted = |client: &str| {
        let mut socket = connect(proxy);
        socket.write_all(&from(client)).expect("written");
        let mut line = String::new();
        BufReader::new(&socket).read_line(&mut line).expect("a greeting");
        (socket, line)
    };
    let (first, line) = greeted("192.0.2.1");
    assert_eq!(line, "220 mx.example.net 192.0.2.1:40000\r\n");
    let (_second, line) = greeted("192.0.2.2");
    assert_eq!(line, "220 mx.example.net 192.0.2.2:40000\r\n");
    let (_, line) = greeted("192.0.2.1");
    assert!(line.starts_with("421 "), "{line}");
    // The place is given back.
    drop(first);
    while !greeted("192.0.2.1").1.starts_with("220 ") {
        thread::yield_now();
    }
}

/// The ClientHello that follows the header is TLS's, to the octet.
#[test]
fn tls_may_follow_the_header() {
    let server = start(Limits::default());
    let [_, _, _, proxy] = server.addresses;
    let roots = server.certificate.authorities().expect("a root");
    let config = Arc::new(
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth(),
    );
    let mut socket = connect(proxy);
    socket.write_all(&from("192.0.2.7")).expect("written");
    let name = ServerName::try_from("mx.example.net").expect("a name");
    let tls = ClientConnection::new(config, name).expect("a client");
    let mut line = String::new();
    BufReader::new(StreamOwned::new(tls, socket)).read_line(&mut line).expect("a greeting");
    assert_eq!(line, "220 mx.example.net 192.0.2.7:40000\r\n");
}

/// What is known of a peer's TLS.
pub(super) fn words(tls: Option<&TlsInfo>) -> String {
    let Some(tls) = tls else { return "plaintext".into() };
    let version = tls.version.map_or("unknown", TlsVersion::as_str);
    format!(
        "{version} {} {} {}",
        tls.cipher,
        tls.client_certificate.as_str(),
        tls.client_name.as_deref().unwrap_or("-")
    )
}

/// TLS that ended at the balancer is TLS for the policy, whether the balancer says so or the listener knows.
#[test]
fn tls_that_ended_at_the_balancer_counts() {
    let certificate = Certificate::new("mx.example.net").expect("a certificate");
    let config = Config::new("mx.example.net").expect("a name").tls(Policy::Require).shared();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let here = ["127.0.0.0/8".parse().expect("a network")];
    let mut server = server(config).tls(certificate.server);
    let told = server.listen_proxy(any, &here).expect("bound");
    let known = behind_tls(&mut server, any, &here);
    let handle = server.handle();
    let thread = thread::spawn(move || server.run(|_| Told(String::new())).expect("served"));

    let (header, _) =
        smtp_proto::proxy::parse(b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 25\r\n").expect("good").expect("complete");
    let mut details = Vec::new();
    for detail in
        [SslTlv::Version("TLSv1.3"), SslTlv::Cipher("TLS_AES_256_GCM_SHA384"), SslTlv::CommonName("c.example")]
    {
        detail.write(&mut details).expect("good");
    }
    let tlvs = SslTlvs::try_from(&details[..]).expect("good");
    let with_ssl = v2(&header.addresses, &[Tlv::Ssl(Ssl { client: 7, verify: 0, tlvs })]);
    let without = v2(&header.addresses, &[]);
    for (address, header, expected, mail) in [
        (told, &with_ssl, "TLS1.3 TLS_AES_256_GCM_SHA384 verified c.example", "250 2.1.0"),
        (told, &without, "plaintext", "530 5.7.0"),
        (known, &with_ssl, "TLS1.3 TLS_AES_256_GCM_SHA384 verified c.example", "250 2.1.0"),
        (known, &without, "unknown  unknown -", "250 2.1.0"),
        (known, &v2(&Addresses::Local, &[]), "plaintext", "530 5.7.0"),
    ] {
        let mut socket = connect(address);
        socket.write_all(header).expect("written");
        let mut reader = BufReader::new(socket);
        let mut line = String::new();
        reader.read_line(&mut line).expect("a greeting");
        assert_eq!(line, format!("220 mx.example.net {expected}\r\n"));
        reader.get_mut().write_all(b"EHLO c.example\r\n").expect("written");
        let mut offered = false;
        while !line.starts_with("250 ") {
            line.clear();
            assert!(reader.read_line(&mut line).expect("a reply") > 0);
            offered |= line.contains("STARTTLS");
        }
        assert_eq!(offered, expected == "plaintext", "{expected}");
        reader.get_mut().write_all(b"MAIL FROM:<a@example.org>\r\n").expect("written");
        line.clear();
        reader.read_line(&mut line).expect("a reply");
        assert!(line.starts_with(mail), "{expected}: {line}");
    }
    handle.shut_down();
    thread.join().expect("no panic");
}
