//! How a client may end: all that it sent before counts, and is answered, within TLS as in plaintext. For the tests of an adapter,
//! which have its `server` and a handler that counts messages.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};
use smtp_proto::server::Config;
use smtp_proto::tls::Policy;
use smtp_testing::Certificate;

use super::{Count, server};

/// How TLS and the connection end on the client's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Notify,
    NotifyThenFin,
    NotifyThenMore,
    Fin,
}

const ENDINGS: [Ending; 4] = [Ending::Notify, Ending::NotifyThenFin, Ending::NotifyThenMore, Ending::Fin];

/// What TLS begins with, and whether what is said goes into one flight with the end of the handshake.
#[derive(Clone, Copy, Debug)]
struct Way {
    starttls: bool,
    one_flight: bool,
    version: &'static SupportedProtocolVersion,
}

fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).expect("connected");
    socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
    socket.set_nodelay(true).expect("set");
    socket
}

/// Reads until there is a line that begins so.
fn expect(socket: &mut TcpStream, code: &str) {
    let (mut said, mut octet) = (Vec::new(), [0]);
    while !said.rsplit(|c| *c == b'\n').nth(1).is_some_and(|line| line.starts_with(code.as_bytes()))
        || !said.ends_with(b"\n")
    {
        socket.read_exact(&mut octet).expect("a reply");
        said.push(octet[0]);
    }
}

/// All that the server says to a client that says this and ends at once.
fn in_plaintext(address: SocketAddr, say: &[u8]) -> String {
    let mut socket = connect(address);
    socket.write_all(say).expect("written");
    socket.shutdown(Shutdown::Write).expect("shut down");
    let mut said = String::new();
    socket.read_to_string(&mut said).expect("the end");
    said
}

/// The same within TLS.
fn in_tls(address: SocketAddr, roots: &RootCertStore, way: Way, say: &[u8], ending: Ending) -> String {
    let mut socket = connect(address);
    if way.starttls {
        for (say, code) in [("", "220 "), ("EHLO c.example\r\n", "250 "), ("STARTTLS\r\n", "220 ")] {
            socket.write_all(say.as_bytes()).expect("written");
            expect(&mut socket, code);
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[way.version])
        .expect("a version")
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    let name = ServerName::try_from("mx.example.net").expect("a name");
    let mut tls = ClientConnection::new(Arc::new(config), name).expect("TLS");
    tls.set_buffer_limit(None);
    while tls.is_handshaking() {
        flush(&mut tls, &mut socket, &[]);
        tls.read_tls(&mut socket).expect("read");
        tls.process_new_packets().expect("TLS");
        if !tls.is_handshaking() && !way.one_flight {
            flush(&mut tls, &mut socket, &[]);
        }
    }
    tls.writer().write_all(say).expect("encrypted");
    if ending != Ending::Fin {
        tls.send_close_notify();
    }
    // Neither TLS nor a command: nobody's.
    let behind: &[u8] = if ending == Ending::NotifyThenMore { b".\r\nNOOP\r\n.\r\nNOOP\r\n" } else { b"" };
    flush(&mut tls, &mut socket, behind);
    if matches!(ending, Ending::NotifyThenFin | Ending::Fin) {
        socket.shutdown(Shutdown::Write).expect("shut down");
    }
    let mut said = Vec::new();
    while tls.read_tls(&mut socket).expect("read") > 0 {
        tls.process_new_packets().expect("TLS");
        if let Err(error) = tls.reader().read_to_end(&mut said) {
            assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
        }
    }
    String::from_utf8(said).expect("text")
}

/// In one write, so that it comes together.
fn flush(tls: &mut ClientConnection, socket: &mut TcpStream, behind: &[u8]) {
    let mut flight = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut flight).expect("encoded");
    }
    flight.extend_from_slice(behind);
    socket.write_all(&flight).expect("written");
}

/// RFC 8446 6.1, RFC 5246 7.2.1: close_notify ends one direction, behind all that was sent; so does FIN. What was sent before
/// is answered to the last command, also if it came in one flight with the end of the handshake. What comes behind is
/// not read, and half a text is none.
#[test]
fn what_was_sent_before_the_end_is_answered() {
    let certificate = Certificate::new("mx.example.net").expect("a certificate");
    let roots = certificate.authorities().expect("a root");
    let config = Config::new("mx.example.net").expect("a name").shared();
    let mut server = server(config).tls(certificate.server);
    let plain = server.listen("127.0.0.1:0".parse().expect("an address")).expect("bound");
    let implicit = server.listen_tls("127.0.0.1:0".parse().expect("an address")).expect("bound");
    let (handle, messages) = (server.handle(), Arc::new(AtomicUsize::new(0)));
    let count = messages.clone();
    let running = thread::spawn(move || server.run(move |_| Count(count.clone())));

    let hello = "EHLO c.example\r\n";
    let envelope = format!("{hello}MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\n");
    // More than fits into the buffers of a connection.
    let long = "0123456789abcdef0123456789abcdef0123456789abcdef\r\n".repeat(8_000);
    let cases = [
        (0, String::new()),
        (0, format!("{hello}NOOP\r\nVRFY b\r\nNOOP half a li")),
        (1, format!("{envelope}DATA\r\n{long}.\r\nNOOP\r\n")),
        (1, format!("{envelope}BDAT {} LAST\r\n{long}NOOP\r\nRSET\r\n", long.len())),
        (0, format!("{hello}QUIT\r\n")),
        (1, format!("{envelope}DATA\r\n{long}.\r\nQUIT\r\n")),
        (0, format!("{envelope}DATA\r\n{long}.\r")),
        (0, format!("{envelope}BDAT {} LAST\r\n{long}", long.len() + 1)),
    ];
    for (complete, say) in &cases {
        let what = &say[say.len().saturating_sub(30)..];
        let replies = in_plaintext(plain, say.as_bytes());
        assert_eq!(messages.swap(0, Ordering::Relaxed), *complete, "in plaintext: {what}");
        assert!(replies.starts_with("220 "), "{what}: {replies}");
        // Within TLS it is not offered.
        let replies = replies.replace("250-STARTTLS\r\n", "").replace("250 STARTTLS\r\n", "");
        let (greeting, behind) = replies.split_once("\r\n").expect("a line");
        for version in rustls::ALL_VERSIONS {
            for (starttls, one_flight) in [(false, true), (false, false), (true, true), (true, false)] {
                let way = Way { starttls, one_flight, version };
                let (address, expected) = if starttls { (plain, behind) } else { (implicit, replies.as_str()) };
                for ending in ENDINGS {
                    let said = in_tls(address, &roots, way, say.as_bytes(), ending);
                    assert_eq!(said, expected, "{ending:?} {way:?}: {what}; the greeting was {greeting}");
                    assert_eq!(messages.swap(0, Ordering::Relaxed), *complete, "{ending:?} {way:?}: {what}");
                }
            }
        }
    }
    handle.shut_down();
    running.join().expect("no panic").expect("served");
}

/// RFC 5321 4.1.1.10: after QUIT the client sends nothing more, so that nothing that is on its way can be answered by a reset, and
/// eat the last reply. The connection is closed at once: what is sent to it all the same finds nobody, where a server that waits
/// for the client's end would read it.
#[test]
fn after_quit_nobody_waits() {
    let mut server = server(Config::new("mx.example.net").expect("a name").tls(Policy::Off).shared());
    let address = server.listen("127.0.0.1:0".parse().expect("an address")).expect("bound");
    let (handle, messages) = (server.handle(), Arc::default());
    let running = thread::spawn(move || server.run(move |_| Count(Arc::clone(&messages))));
    let is_reset = |_: &u32| {
        let mut socket = connect(address);
        expect(&mut socket, "220 ");
        socket.write_all(b"QUIT\r\n").expect("written");
        let mut said = String::new();
        socket.read_to_string(&mut said).expect("the end");
        assert!(said.starts_with("221 "), "{said}");
        socket.write_all(b"x").expect("the first write finds out");
        socket.write_all(b"x").is_err()
    };
    // The reset itself may be late on a machine that is busy, though hardly each time.
    assert!((0..20).any(|round| is_reset(&round)));
    handle.shut_down();
    running.join().expect("no panic").expect("served");
}
