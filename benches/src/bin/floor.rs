//! The floor of the load comparison: one mio loop that answers without policy, one read and one write a batch.
//!
//!     floor PORT [CERT.pem KEY.pem]
//!
//! It looks at the first letter of each line and for the end of the text, and at nothing else. It is a yardstick, not a
//! server: no limit, no timeout, no rule is kept.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

struct Connection {
    socket: TcpStream,
    tls: Option<Box<ServerConnection>>,
    held: Vec<u8>,
    text: bool,
}

fn main() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arguments: Vec<String> = std::env::args().collect();
    let address: SocketAddr = format!("127.0.0.1:{}", arguments[1]).parse().expect("a port");
    let tls = arguments.get(2).map(|certificate| {
        let chain = CertificateDer::pem_file_iter(certificate).expect("read").map(|item| item.expect("PEM")).collect();
        let key = PrivateKeyDer::from_pem_file(&arguments[3]).expect("a key");
        let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).expect("a pair");
        config.send_tls13_tickets = 1;
        Arc::new(config)
    });
    let mut poll = Poll::new().expect("polled");
    let mut listener = TcpListener::bind(address).expect("bound");
    poll.registry().register(&mut listener, Token(usize::MAX), Interest::READABLE).expect("watched");
    let (mut events, mut scratch, mut output) = (Events::with_capacity(1024), vec![0; 256 << 10], Vec::new());
    let mut connections: Vec<Option<Box<Connection>>> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    loop {
        if poll.poll(&mut events, None).is_err() {
            continue;
        }
        for event in &events {
            if event.token() == Token(usize::MAX) {
                while let Ok((mut socket, _)) = listener.accept() {
                    let key = free.pop().unwrap_or_else(|| {
                        connections.push(None);
                        connections.len() - 1
                    });
                    poll.registry().register(&mut socket, Token(key), Interest::READABLE).expect("watched");
                    let _ = socket.write(b"220 floor ESMTP\r\n");
                    connections[key] = Some(Box::new(Connection { socket, tls: None, held: Vec::new(), text: false }));
                }
                continue;
            }
            let Token(key) = event.token();
            let Some(connection) = &mut connections[key] else { continue };
            if !turn(connection, &mut scratch, &mut output, tls.as_ref(), event.is_read_closed()) {
                connections[key] = None;
                free.push(key);
            }
        }
    }
}

/// False at the end.
fn turn(
    connection: &mut Connection,
    scratch: &mut [u8],
    output: &mut Vec<u8>,
    config: Option<&Arc<ServerConfig>>,
    ending: bool,
) -> bool {
    loop {
        let held = connection.held.len();
        scratch[..held].copy_from_slice(&connection.held);
        let read = match connection.socket.read(&mut scratch[held..]) {
            Ok(0) => return false,
            Ok(n) => n,
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        };
        let drained = held + read < scratch.len() && !ending;
        output.clear();
        let Some(tls) = &mut connection.tls else {
            let (used, go_on) = answer(&scratch[..held + read], &mut connection.text, output);
            connection.held = scratch[used..held + read].to_vec();
            if connection.socket.write_all(output).is_err() || go_on == Then::Close {
                return false;
            }
            if go_on == Then::Tls {
                let config = config.expect("a certificate").clone();
                connection.tls = Some(Box::new(ServerConnection::new(config).expect("TLS")));
            }
            if drained {
                return true;
            }
            continue;
        };
        let mut go_on = Then::Read;
        let mut wire = &scratch[held..held + read];
        let mut plain = std::mem::take(&mut connection.held);
        while !wire.is_empty() {
            tls.read_tls(&mut wire).expect("taken");
            let Ok(state) = tls.process_new_packets() else { return false };
            let start = plain.len();
            plain.resize(start + state.plaintext_bytes_to_read(), 0);
            tls.reader().read_exact(&mut plain[start..]).expect("there");
        }
        if !plain.is_empty() {
            let (used, then) = answer(&plain, &mut connection.text, output);
            connection.held = plain.split_off(used);
            go_on = then;
        }
        tls.writer().write_all(output).expect("taken");
        while tls.wants_write() {
            if tls.write_tls(&mut connection.socket).is_err() {
                return false;
            }
        }
        if go_on == Then::Close {
            return false;
        }
        if drained {
            return true;
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Read,
    Tls,
    Close,
}

/// Answers what is complete, and says how much that was.
fn answer(input: &[u8], text: &mut bool, output: &mut Vec<u8>) -> (usize, Then) {
    let mut at = 0;
    loop {
        let rest = &input[at..];
        if *text {
            let end = if rest.starts_with(b".\r\n") { Some(3) } else { memmem(rest).map(|found| found + 5) };
            let Some(end) = end else {
                // All but what could be the beginning of the end is swallowed.
                return (input.len().saturating_sub(4).max(at), Then::Read);
            };
            *text = false;
            at += end;
            output.extend_from_slice(b"250 2.0.0 Ok\r\n");
            continue;
        }
        let Some(end) = rest.iter().position(|octet| *octet == b'\n') else { return (at, Then::Read) };
        at += end + 1;
        match rest[0] {
            b'E' => output.extend_from_slice(b"250-floor\r\n250-PIPELINING\r\n250 STARTTLS\r\n"),
            b'D' => {
                *text = true;
                output.extend_from_slice(b"354 Go on\r\n");
            }
            b'S' => {
                output.extend_from_slice(b"220 2.0.0 Go on\r\n");
                return (at, Then::Tls);
            }
            b'Q' => {
                output.extend_from_slice(b"221 2.0.0 Bye\r\n");
                return (at, Then::Close);
            }
            _ => output.extend_from_slice(b"250 2.1.0 Ok\r\n"),
        }
    }
}

fn memmem(text: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, b"\r\n.\r\n")
}
