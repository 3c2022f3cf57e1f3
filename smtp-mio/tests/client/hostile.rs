//! Servers that do as they should not: what is not known is said to be unknown, and nobody else is held up.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::pki_types::PrivateKeyDer;
use rustls::{RootCertStore, ServerConfig};
use smtp_mio::{Client, ClientTls, Closed, Line, Next, Sender, Target};
use smtp_proto::client::{Envelope, Outcome, Timeouts, Tls, Transaction};
use smtp_proto::tls::Policy;

use crate::{Queue, Running, TEXT, config, envelope, one, to};

/// What is waited for, and what is said then.
type Script = &'static [(&'static str, &'static [u8])];

/// A server that says these things, each when the last octets read end so; then reads on to the end of all, or closes.
fn scripted(script: Script, hang: bool) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("a client");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
        for (until, say) in script {
            while !read.ends_with(until.as_bytes()) {
                match socket.read(&mut buffer) {
                    Ok(n @ 1..) => read.extend_from_slice(&buffer[..n]),
                    _ => return,
                }
            }
            read.clear();
            let _ = socket.write_all(say);
        }
        while hang && socket.read(&mut buffer).is_ok_and(|n| n > 0) {}
    });
    (address, server)
}

/// What is not known is said to be unknown; what a server breaks ends its own connection; none is waited for for ever.
#[test]
fn every_misbehaviour_of_a_server_has_an_end() {
    let mut timeouts = Timeouts::default();
    (timeouts.greeting, timeouts.data, timeouts.text_end) =
        (Duration::from_secs(1), Duration::from_secs(1), Duration::from_secs(1));
    const HELLO: (&str, &[u8]) = ("", b"220 mx\r\n");
    const EHLO: (&str, &[u8]) = ("EHLO client.example\r\n", b"250 mx\r\n");
    const MAIL: (&str, &[u8]) = ("MAIL FROM:<a@example.org>\r\n", b"250 ok\r\n");
    const RCPT: (&str, &[u8]) = ("RCPT TO:<b@example.net>\r\n", b"250 ok\r\n");
    const DATA: (&str, &[u8]) = ("DATA\r\n", b"354 go on\r\n");
    let endless: &'static [u8] = b"220-x\r\n".repeat(100_000).leak();
    let cases: [(Script, bool, &str, &str); 9] = [
        (&[], true, "", "TimedOut"),
        (&[("", b"SSH-2.0-x\r\n")], true, "", "Fault("),
        (Box::leak(Box::new([("", endless)])), true, "", "Fault("),
        (&[("", b"220 mx\r\n250 early\r\n")], true, "", "Fault("),
        (&[HELLO, EHLO, MAIL, RCPT, ("DATA\r\n", b"")], true, "later", "TimedOut"),
        (&[HELLO, EHLO, MAIL, RCPT, ("DATA\r\n", b"421 4.3.2 enough\r\n")], false, "later", "ServerClosing"),
        (&[HELLO, EHLO, MAIL, RCPT, DATA, (".\r\n", b"25")], false, "unknown", "Eof"),
        (&[HELLO, EHLO, MAIL, RCPT, DATA, (".\r\n", b"")], true, "unknown", "TimedOut"),
        (&[HELLO, EHLO, MAIL, RCPT, DATA, (".\r\n", b"250 taken\r\n"), ("QUIT\r\n", b"")], false, "250", "Quit"),
    ];
    let (servers, addresses): (Vec<_>, Vec<_>) = cases
        .iter()
        .map(|(script, hang, ..)| scripted(script, *hang))
        .map(|(address, server)| (server, address))
        .unzip();
    let (to, mut queue) = (to(&["b@example.net"]), Ends::default());
    let mut client = Client::new(config(Tls::Never).timeouts(timeouts).shared()).expect("a client");
    queue.envelope = Some(envelope(&to));
    for address in addresses {
        client.connect(&Target::addresses(&[address])).expect("begun");
    }
    client.run(&mut queue).expect("run");
    queue.ends.sort();
    for ((_, outcome, end), (_, _, expected_outcome, expected_end)) in queue.ends.iter().zip(cases) {
        assert_eq!(outcome, expected_outcome, "{:?}", queue.ends);
        assert!(end.starts_with(expected_end), "{end} instead of {expected_end}: {:?}", queue.ends);
    }
    assert_eq!(queue.ends.len(), 9);
    servers.into_iter().for_each(|server| server.join().expect("no panic"));
}

/// One message for each connection, and how it ended, in the order of the connections.
#[derive(Default)]
struct Ends<'e> {
    envelope: Option<Envelope<'e>>,
    outcomes: HashMap<usize, String>,
    ends: Vec<(usize, String, String)>,
}

impl<'e> Sender<'e> for Ends<'e> {
    fn ready(&mut self, line: &Line<'_>) -> Next<'e> {
        match self.envelope.filter(|_| !self.outcomes.contains_key(&line.key.slot())) {
            Some(envelope) => Next::Send(envelope, TEXT.into()),
            None => Next::Quit,
        }
    }
    fn done(&mut self, line: &Line<'_>, transaction: &Transaction<'e>) {
        let outcome = match transaction.outcomes().next().expect("a recipient") {
            Outcome::Accepted(reply) => reply.code().to_string(),
            Outcome::Later(_) => "later".into(),
            Outcome::Unknown(_) => "unknown".into(),
            other => format!("{other:?}"),
        };
        self.outcomes.insert(line.key.slot(), outcome);
    }
    fn closed(&mut self, line: &Line<'_>, end: &Closed) {
        let outcome = self.outcomes.get(&line.key.slot()).cloned().unwrap_or_default();
        let end = match end {
            Closed::Session(reason) => format!("{reason:?}"),
            other => other.to_string(),
        };
        self.ends.push((line.key.slot(), outcome, end));
    }
}

/// RFC 3207 4: what comes behind the 220 in plaintext is never taken for the server's; and a handshake has its time.
#[test]
fn starttls_is_tls_or_the_end() {
    let offer: (&str, &[u8]) = ("EHLO client.example\r\n", b"250-mx\r\n250 STARTTLS\r\n");
    let glued: Script =
        Box::leak(Box::new([("", &b"220 mx\r\n"[..]), offer, ("STARTTLS\r\n", b"220 go\r\n250 evil\r\n")]));
    let silent: Script = Box::leak(Box::new([("", &b"220 mx\r\n"[..]), offer, ("STARTTLS\r\n", b"220 go\r\n")]));
    for (script, expected) in [(glued, "Fault(PlaintextBehindStartTls)"), (silent, "TlsFailed(TimedOut)")] {
        let (address, server) = scripted(script, true);
        let mut timeouts = Timeouts::default();
        timeouts.handshake = Duration::from_secs(1);
        let tls = ClientTls::new(RootCertStore::empty()).expect("TLS");
        let mut client =
            Client::new(config(Tls::Opportunistic).timeouts(timeouts).shared()).expect("a client").tls(&tls);
        let (codes, end) = one(&mut client, &Target::addresses(&[address]), TEXT);
        assert_eq!((codes.len(), end.as_str()), (0, expected));
        server.join().expect("no panic");
    }
}

/// A message of the handshake may be cut in two records (RFC 8446 5.1), and the connection end between them: in the handshake,
/// and behind it.
#[test]
fn a_connection_may_end_in_the_middle_of_a_handshake_message() {
    let offer: (&str, &[u8]) = ("EHLO client.example\r\n", b"250-mx\r\n250 STARTTLS\r\n");
    let hello: Script = Box::leak(Box::new([("", &b"220 mx\r\n"[..]), offer, ("STARTTLS\r\n", b"220 go\r\n")]));
    let with_part = |fragment: bool| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = thread::spawn(move || {
            let (mut socket, _) = listener.accept().expect("a client");
            for (until, say) in hello {
                let (mut read, mut octet) = (Vec::new(), [0]);
                while !read.ends_with(until.as_bytes()) {
                    socket.read_exact(&mut octet).expect("an octet");
                    read.push(octet[0]);
                }
                socket.write_all(say).expect("written");
            }
            if fragment {
                tickets_in_fragments(&mut socket);
            } else {
                // When the ClientHello has come, the beginning of a ServerHello of 80 octets, in a record of its own.
                socket.read_exact(&mut [0]).expect("an octet");
                socket.write_all(b"\x16\x03\x03\x00\x06\x02\x00\x00\x50\x03\x03").expect("written");
            }
            let _ = socket.shutdown(Shutdown::Write);
            let _ = socket.read_to_end(&mut Vec::new());
        });
        (address, server)
    };
    for (fragment, expected) in [(false, "TlsFailed(Closed)"), (true, "Eof")] {
        let (address, server) = with_part(fragment);
        let tls = ClientTls::new(RootCertStore::empty()).expect("TLS");
        let mut client = Client::new(config(Tls::Require).shared()).expect("a client").tls(&tls);
        let (codes, end) = one(&mut client, &Target::addresses(&[address]), TEXT);
        assert_eq!((codes.len(), end.as_str()), (0, expected));
        server.join().expect("no panic");
    }
}

/// A handshake, and then the first record of a ticket that is cut in several.
fn tickets_in_fragments(socket: &mut TcpStream) {
    let made = rcgen::generate_simple_self_signed(vec!["mx.example.net".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key);
    let mut tls = tls.expect("a pair");
    tls.max_fragment_size = Some(32);
    let mut tls = rustls::ServerConnection::new(Arc::new(tls)).expect("a server");
    let mut out = Vec::new();
    loop {
        let done = !tls.is_handshaking();
        out.clear();
        while tls.wants_write() {
            tls.write_tls(&mut out).expect("written");
        }
        if done {
            break;
        }
        socket.write_all(&out).expect("written");
        tls.read_tls(socket).expect("read");
        tls.process_new_packets().expect("good");
    }
    let first = 5 + usize::from(u16::from_be_bytes([out[3], out[4]]));
    assert!(out.len() > 2 * first, "tickets in many records");
    socket.write_all(&out[..first]).expect("written");
}

/// A server that takes no text holds up its own connection alone, with a bounded part of the text in memory.
#[test]
fn a_server_that_does_not_read_holds_up_nobody_else() {
    let running = Running::start(Policy::Off);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = thread::spawn(move || {
        let (socket, _) = listener.accept().expect("a client");
        let mut lines = BufReader::new(socket.try_clone().expect("a clone")).lines();
        (&socket).write_all(b"220 mx\r\n").expect("written");
        for reply in [&b"250 mx\r\n"[..], b"250 ok\r\n", b"250 ok\r\n", b"354 go on\r\n"] {
            lines.next().expect("a line").expect("text");
            (&socket).write_all(reply).expect("written");
        }
        socket
    });
    let (to, text) = (to(&["b@example.net"]), b"x\r\n".repeat(10 << 20));
    let mut timeouts = Timeouts::default();
    timeouts.text = Duration::from_secs(1);
    let mut client = Client::new(config(Tls::Never).timeouts(timeouts).shared()).expect("a client");
    let stuck = client.connect(&Target::addresses(&[address])).expect("begun");
    let mut queue = Queue::of(envelope(&to), &text, 1);
    let mut held: Option<TcpStream> = None;
    let mut server = Some(server);
    while held.is_none() {
        client.poll(Some(Duration::from_millis(10)), &mut queue).expect("polled");
        held = server.take_if(|server| server.is_finished()).map(|server| server.join().expect("no panic"));
    }
    queue.messages.extend((0..50).map(|_| (envelope(&to), TEXT.into())));
    client.connect(&running.target()).expect("begun");
    client.run(&mut queue).expect("run");
    assert_eq!(queue.codes.len(), 51);
    assert_eq!(queue.codes.iter().filter(|codes| codes[0] == "250").count(), 50);
    // The one that is stuck ends last, when its time is over; and nothing of its message is taken for delivered.
    assert_eq!(queue.codes.last(), Some(&vec!["later".to_owned()]));
    assert_eq!(queue.closed, ["Quit", "TimedOut"]);
    assert!(!client.send(stuck, envelope(&to), TEXT.into()));
}
