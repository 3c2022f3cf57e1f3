//! The server over real sockets, with a client written here by hand.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};
use smtp_mio::{Answer, Handle, Handler, OwnedVerdict, Peer, Server};
use smtp_proto::server::{Config, MessageEnd, Reason, Verdict};
use smtp_proto::syntax::Rcpt;
use smtp_proto::tls::Policy;

#[derive(Default)]
struct Kept {
    messages: Mutex<Vec<(String, Vec<u8>)>>,
    closed: Mutex<Vec<String>>,
}

struct Keep {
    kept: Arc<Kept>,
    text: Vec<u8>,
    later: Sender<smtp_mio::Deferred>,
}

impl Handler for Keep {
    fn rcpt(&mut self, peer: &Peer<'_>, rcpt: &Rcpt<'_>) -> Answer<'_> {
        if rcpt.path.as_str().starts_with("later") {
            self.later.send(peer.defer()).expect("the test listens");
            return Answer::Later;
        }
        Verdict::Accept.into()
    }
    fn chunk(&mut self, text: &[u8]) {
        self.text.extend_from_slice(text);
    }
    fn message(&mut self, peer: &Peer<'_>, end: MessageEnd) -> Answer<'_> {
        assert_eq!(end.octets, self.text.len() as u64);
        let text = std::mem::take(&mut self.text);
        self.kept.messages.lock().expect("lock").push((peer.session.protocol().as_str().into(), text));
        Verdict::AcceptWith("kept").into()
    }
    fn reset(&mut self, _: &Peer<'_>) {
        self.text.clear();
    }
    fn closed(&mut self, _: &Peer<'_>, reason: Reason) {
        self.kept.closed.lock().expect("lock").push(format!("{reason:?}"));
    }
}

struct Running {
    address: SocketAddr,
    handle: Handle,
    kept: Arc<Kept>,
    later: Receiver<smtp_mio::Deferred>,
    roots: RootCertStore,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl Running {
    fn start(policy: Policy) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["mx.example.net".into()]).expect("a certificate");
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let tls = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .expect("a configuration");
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).expect("a root");
        let config = Config::new("mx.example.net").expect("a name").tls(policy).shared();
        let server = Server::bind_threads(&["127.0.0.1:0".parse().expect("an address")], config, 2)
            .expect("bound")
            .tls(Arc::new(tls));
        let (address, handle) = (server.addresses()[0], server.handle());
        let kept = Arc::new(Kept::default());
        let (sender, later) = channel();
        let for_handlers = kept.clone();
        let thread = thread::spawn(move || {
            server.run(move |_| Keep { kept: for_handlers.clone(), text: Vec::new(), later: sender.clone() })
        });
        Self { address, handle, kept, later, roots, thread: Some(thread) }
    }

    fn connect(&self) -> Client<TcpStream> {
        let socket = TcpStream::connect(self.address).expect("connected");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let mut client = Client(BufReader::new(socket));
        client.expect("220");
        client
    }

    fn stop(mut self) -> Arc<Kept> {
        self.handle.shut_down();
        self.thread.take().expect("running").join().expect("no panic").expect("no error");
        self.kept.clone()
    }
}

struct Client<S: Read + Write>(BufReader<S>);

impl<S: Read + Write> Client<S> {
    fn say(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).expect("written");
        self.0.get_mut().flush().expect("flushed");
    }

    /// A whole reply, which must begin so.
    fn expect(&mut self, start: &str) -> String {
        let mut reply = String::new();
        loop {
            let from = reply.len();
            assert_ne!(self.0.read_line(&mut reply).expect("a reply"), 0, "closed; expected {start}");
            if reply.as_bytes()[from + 3] == b' ' {
                assert!(reply[from..].starts_with(start), "{reply:?} instead of {start}");
                return reply;
            }
        }
    }

    fn closed(&mut self) {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).expect("the end");
        assert_eq!(rest, b"");
    }
}

const ENVELOPE: &str = "MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n";

#[test]
fn messages_in_plaintext_and_over_starttls() {
    let running = Running::start(Policy::Offer);
    let mut client = running.connect();
    client.say("EHLO c.example\r\n");
    assert!(client.expect("250 ENHANCEDSTATUSCODES").contains("STARTTLS"));
    let text = ".dot\r\nline\r\n".repeat(20_000);
    for _ in 0..3 {
        client.say(ENVELOPE);
        for code in ["250 2.1.0", "250 2.1.5", "354"] {
            client.expect(code);
        }
        client.say(&text.replace("\r\n.", "\r\n..").replacen(".dot", "..dot", 1));
        client.say(".\r\n");
        client.expect("250 2.0.0 kept");
    }
    client.say("STARTTLS\r\n");
    client.expect("220");
    let config = ClientConfig::builder().with_root_certificates(running.roots.clone()).with_no_client_auth();
    let name = ServerName::try_from("mx.example.net").expect("a name");
    let tls = ClientConnection::new(Arc::new(config), name).expect("TLS");
    let mut client = Client(BufReader::new(StreamOwned::new(tls, client.0.into_inner())));
    client.say("EHLO c.example\r\n");
    assert!(!client.expect("250 ENHANCEDSTATUSCODES").contains("STARTTLS"));
    client.say(&format!("{ENVELOPE}{text}.\r\nQUIT\r\n").replace("\r\n.dot", "\r\n..dot"));
    for code in ["250 2.1.0", "250 2.1.5", "354", "250 2.0.0 kept", "221"] {
        client.expect(code);
    }
    client.closed();
    let kept = running.stop();
    let messages = kept.messages.lock().expect("lock");
    let protocols: Vec<_> = messages.iter().map(|(protocol, _)| protocol.as_str()).collect();
    assert_eq!(protocols, ["ESMTP", "ESMTP", "ESMTP", "ESMTPS"]);
    assert!(messages.iter().all(|(_, kept)| *kept == text.as_bytes()));
    assert_eq!(*kept.closed.lock().expect("lock"), ["Quit"]);
}

/// RFC 3207 4: what is glued behind STARTTLS is never parsed.
#[test]
fn injection_behind_starttls_ends_the_session() {
    let running = Running::start(Policy::Offer);
    let mut client = running.connect();
    client.say("EHLO c.example\r\n");
    client.expect("250");
    client.say("STARTTLS\r\nRSET\r\nMAIL FROM:<evil@example.org>\r\n");
    client.expect("220");
    client.closed();
    assert_eq!(*running.stop().closed.lock().expect("lock"), ["Fault(PlaintextBehindStartTls)"]);
}

#[test]
fn an_answer_given_later_from_another_thread() {
    let running = Running::start(Policy::Off);
    let mut client = running.connect();
    client.say(
        "EHLO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<later@example.net>\r\nRCPT TO:<later2@example.net>\r\nNOOP\r\n",
    );
    client.expect("250");
    client.expect("250 2.1.0");
    let first = running.later.recv_timeout(Duration::from_secs(20)).expect("a deferred answer");
    first.answer(OwnedVerdict::Refuse(550, (5, 1, 1), "Unknown".into()));
    client.expect("550 5.1.1 Unknown");
    drop(running.later.recv_timeout(Duration::from_secs(20)).expect("a deferred answer"));
    client.expect("451 4.3.0");
    client.expect("250 2.0.0 Ok");
    running.stop();
}

/// RFC 5321 3.8: 421 between commands; the message in flight completes.
#[test]
fn shutting_down_lets_the_message_complete() {
    let running = Running::start(Policy::Off);
    let (mut idle, mut busy) = (running.connect(), running.connect());
    busy.say(&format!("EHLO c.example\r\n{ENVELOPE}half a "));
    for code in ["250", "250 2.1.0", "250 2.1.5", "354"] {
        busy.expect(code);
    }
    running.handle.shut_down();
    idle.expect("421 4.3.2");
    idle.closed();
    drop(idle);
    busy.say("message\r\n.\r\n");
    busy.expect("250 2.0.0 kept");
    busy.expect("421 4.3.2");
    busy.closed();
    drop(busy);
    assert_eq!(running.stop().messages.lock().expect("lock")[0].1, b"half a message\r\n");
}

/// A peer that never reads is not read from, and does not stop the others.
#[test]
fn a_peer_that_does_not_read_is_not_read_from() {
    let running = Running::start(Policy::Off);
    let mut flood = running.connect();
    flood.0.get_mut().set_write_timeout(Some(Duration::from_millis(300))).expect("a timeout");
    flood.say("EHLO c.example\r\n");
    let line = format!("{ENVELOPE}.\r\n").repeat(1000);
    let mut written = 0;
    while written < 1 << 30 {
        match flood.0.get_mut().write(line.as_bytes()) {
            Ok(n) => written += n,
            Err(_) => break,
        }
    }
    assert!(written < 64 << 20, "{written} octets were taken from a peer that reads no replies");
    let mut other = running.connect();
    other.say("EHLO c.example\r\nQUIT\r\n");
    other.expect("250");
    other.expect("221");
    drop((flood, other));
    running.stop();
}
