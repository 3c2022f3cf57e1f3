//! The client against this crate's own server, over loopback sockets; `hostile` are servers that do as they should not.

mod hostile;

use std::collections::VecDeque;
use std::io::BufReader;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig};
use smtp_mio::{
    Answer, AuthAnswer, Client, ClientTls, Closed, Handle, Handler, Key, Line, Next, Peer, Sender, Server, Target, Text,
};
use smtp_proto::auth::client::Credentials;
use smtp_proto::auth::server::{Answer as Login, Question};
use smtp_proto::auth::{MechanismSet, Nonce, ScramRecord};
use smtp_proto::client::{Because, Config, Envelope, Outcome, Tls, Transaction};
use smtp_proto::server::{self, MessageEnd, Verdict};
use smtp_proto::syntax::{ForwardPath, Mailbox, Params, Rcpt, Reply, ReversePath};
use smtp_proto::tls::Policy;

const TEXT: &[u8] = b"Subject: x\r\n\r\n.\r\n..two\r\nlast\r\n";

/// What arrived: each text, and by which protocol.
type Seen = Arc<Mutex<Vec<(Vec<u8>, String)>>>;

struct Keep {
    seen: Seen,
    text: Vec<u8>,
}

impl Handler for Keep {
    fn authenticate(&mut self, _: &Peer<'_>, question: Question) -> AuthAnswer {
        let Question::Scram { authcid, .. } = question else { return Login::Reject.into() };
        assert_eq!(authcid, "user");
        let record = ScramRecord::derive("pencil", b"salt", 4096).expect("a record");
        Login::Scram { record, nonce: Nonce::new(&[7; 18]) }.into()
    }
    fn rcpt(&mut self, _: &Peer<'_>, rcpt: &Rcpt<'_>) -> Answer<'_> {
        if rcpt.path.as_str().starts_with("nobody@") {
            return Reply::fixed(550, (5, 1, 1), "Who?").into();
        }
        Verdict::Accept.into()
    }
    fn chunk(&mut self, text: &[u8]) {
        self.text.extend_from_slice(text);
    }
    fn message(&mut self, peer: &Peer<'_>, _: MessageEnd) -> Answer<'_> {
        let text = std::mem::take(&mut self.text);
        self.seen.lock().expect("seen").push((text, peer.session.protocol().as_str().into()));
        Verdict::Accept.into()
    }
}

/// A server that runs until it is dropped.
struct Running {
    address: SocketAddr,
    /// Where TLS comes first.
    tls_address: SocketAddr,
    seen: Seen,
    connections: Arc<AtomicUsize>,
    roots: RootCertStore,
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(policy: Policy) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["mx.example.net".to_owned()]).expect("a certificate");
        let certificate = CertificateDer::from(made.cert.der().to_vec());
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).expect("a root");
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a pair");
        let config = server::Config::new("mx.example.net").expect("a name").tls(policy).auth(MechanismSet::PASSWORD);
        let mut server = Server::with_threads(config.shared(), 1).tls(Arc::new(tls));
        let any = "127.0.0.1:0".parse().expect("an address");
        let (address, tls_address) = (server.listen(any).expect("a port"), server.listen_tls(any).expect("a port"));
        let (seen, connections) = (Seen::default(), Arc::new(AtomicUsize::new(0)));
        let (handle, keep, count) = (server.handle(), seen.clone(), connections.clone());
        let make = move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            Keep { seen: keep.clone(), text: Vec::new() }
        };
        let thread = Some(thread::spawn(move || server.run(make).expect("the server runs")));
        Self { address, tls_address, seen, connections, roots, handle, thread }
    }

    fn target(&self) -> Target {
        Target::addresses(&[self.address]).named("mx.example.net")
    }

    fn client<'e>(&self, tls: Tls) -> Client<'e> {
        Client::new(config(tls).shared()).expect("a client").tls(&ClientTls::new(self.roots.clone()).expect("TLS"))
    }

    fn seen(&self) -> Vec<(Vec<u8>, String)> {
        self.seen.lock().expect("seen").clone()
    }
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

fn config(tls: Tls) -> Config {
    Config::new("client.example").expect("a name").tls(tls)
}

fn to(names: &[&'static str]) -> Vec<Rcpt<'static>> {
    let path = |name: &&'static str| ForwardPath::Mailbox(Mailbox::parse(name, false).expect("a mailbox"));
    names.iter().map(|name| Rcpt { path: path(name), params: Params::default() }).collect()
}

fn envelope<'e>(to: &'e [Rcpt<'e>]) -> Envelope<'e> {
    Envelope::new(ReversePath::Mailbox(Mailbox::parse("a@example.org", false).expect("a mailbox")), to)
}

/// Sends what is there, over whichever connection is ready.
#[derive(Default)]
struct Queue<'e> {
    messages: VecDeque<(Envelope<'e>, Text<'e>)>,
    /// When there is nothing left, connections wait.
    patient: bool,
    waiting: Vec<Key>,
    /// Of each recipient of each message.
    codes: Vec<Vec<String>>,
    closed: Vec<String>,
    resumed: usize,
}

impl<'e> Queue<'e> {
    fn of(envelope: Envelope<'e>, text: &'e [u8], messages: usize) -> Self {
        let messages = (0..messages).map(|_| (envelope, text.into())).collect();
        Self { messages, ..Self::default() }
    }
}

impl<'e> Sender<'e> for Queue<'e> {
    fn ready(&mut self, line: &Line<'_>) -> Next<'e> {
        match self.messages.pop_front() {
            Some((envelope, text)) => Next::Send(envelope, text),
            None if self.patient => {
                self.waiting.push(line.key);
                Next::Wait
            }
            None => Next::Quit,
        }
    }
    fn done(&mut self, _: &Line<'_>, transaction: &Transaction<'e>) {
        let code = |outcome: Outcome<'_>| match outcome {
            Outcome::Accepted(reply) | Outcome::Never(Because::Reply(reply)) => reply.code().to_string(),
            Outcome::Later(_) => "later".into(),
            Outcome::Unknown(_) => "unknown".into(),
            other => format!("{other:?}"),
        };
        self.codes.push(transaction.outcomes().map(code).collect());
    }
    fn encrypted(&mut self, line: &Line<'_>, _: Duration) {
        self.resumed += usize::from(line.resumed);
    }
    fn closed(&mut self, _: &Line<'_>, end: &Closed) {
        self.closed.push(match end {
            Closed::Session(reason) => format!("{reason:?}"),
            Closed::Io(error) => format!("{:?}", error.kind()),
            other => other.to_string(),
        });
    }
}

/// Sends one message: what became of it, and how the session ended.
fn one(client: &mut Client<'_>, target: &Target, text: &[u8]) -> (Vec<Vec<String>>, String) {
    // The client may live longer than this message.
    let (to, text): (&'static [Rcpt<'static>], &'static [u8]) = (to(&["b@example.net"]).leak(), text.to_vec().leak());
    let mut queue = Queue::of(envelope(to), text, 1);
    client.connect(target).expect("begun");
    client.run(&mut queue).expect("run");
    (queue.codes, queue.closed.pop().expect("an end"))
}

#[test]
fn each_policy_against_each_server() {
    for (server, client, arrives) in [
        (Policy::Off, Tls::Never, Some("ESMTP")),
        (Policy::Off, Tls::Opportunistic, Some("ESMTP")),
        (Policy::Off, Tls::Require, None),
        (Policy::Off, Tls::Verify, None),
        (Policy::Offer, Tls::Never, Some("ESMTP")),
        (Policy::Offer, Tls::Opportunistic, Some("ESMTPS")),
        (Policy::Offer, Tls::Verify, Some("ESMTPS")),
        (Policy::Require, Tls::Never, None),
        (Policy::Require, Tls::Require, Some("ESMTPS")),
    ] {
        let running = Running::start(server);
        let (codes, _) = one(&mut running.client(client), &running.target(), TEXT);
        assert_eq!(codes.iter().flatten().any(|code| code == "250"), arrives.is_some(), "{server:?} {client:?}");
        let expected: Vec<_> = arrives.map(|protocol| (TEXT.to_vec(), protocol.to_owned())).into_iter().collect();
        assert_eq!(running.seen(), expected, "{server:?} {client:?}");
    }
}

#[test]
fn a_certificate_that_proves_nothing_is_refused_by_verify_alone() {
    let running = Running::start(Policy::Offer);
    let nobody = || {
        let tls = ClientTls::new(RootCertStore::empty()).expect("TLS");
        Client::new(config(Tls::Verify).shared()).expect("a client").tls(&tls)
    };
    let other = running.target().named("other.example.net");
    for (mut client, target) in [
        (running.client(Tls::Verify), other.clone()),
        (nobody(), running.target()),
        // A name from plain DNS.
        (running.client(Tls::Verify), running.target().called("mx.example.net")),
    ] {
        let (_, end) = one(&mut client, &target, TEXT);
        assert!(end.starts_with("TlsFailed") || end == "TlsNotVerified", "{end}");
    }
    assert!(running.seen().is_empty());
    assert_eq!(one(&mut running.client(Tls::Require), &other, TEXT).0, [["250"]]);
}

/// RFC 8314 3
#[test]
fn tls_may_come_first() {
    let running = Running::start(Policy::Offer);
    let target = Target::addresses(&[running.tls_address]).named("mx.example.net").implicit_tls(true);
    assert_eq!(one(&mut running.client(Tls::Verify), &target, TEXT).0, [["250"]]);
    assert_eq!(running.seen(), [(TEXT.to_vec(), "ESMTPS".to_owned())]);
    // A server that speaks plaintext first is no TLS server.
    let plain = running.target().implicit_tls(true);
    let (codes, end) = one(&mut running.client(Tls::Verify), &plain, TEXT);
    assert!(codes.is_empty() && end.starts_with("TLS: refused: speaks plaintext: "), "{end}");
}

#[test]
fn a_large_text_arrives_as_it_was_by_data_and_by_chunks() {
    let mut text = Vec::new();
    for line in 0..50_000_u32 {
        let dots = if line.is_multiple_of(7) { "." } else { "" };
        text.extend_from_slice(format!("{dots}{line} {}\r\n", "x".repeat((line % 60) as usize)).as_bytes());
    }
    let to = to(&["b@example.net"]);
    for (chunking, policy) in [(true, Policy::Off), (false, Policy::Off), (true, Policy::Offer), (false, Policy::Offer)]
    {
        let running = Running::start(policy);
        let config = config(Tls::Opportunistic).chunking(chunking).shared();
        let tls = ClientTls::new(running.roots.clone()).expect("TLS");
        let mut client = Client::new(config).expect("a client").tls(&tls);
        let mut queue = Queue::of(envelope(&to), &text, 1);
        // And from where it must be read first, in odd pieces.
        let reader = BufReader::with_capacity(70_001, &text[..]);
        queue.messages.push_back((envelope(&to), Text::Read(Box::new(reader))));
        client.connect(&running.target()).expect("begun");
        client.run(&mut queue).expect("run");
        assert_eq!(queue.codes, [["250"], ["250"]], "{chunking} {policy:?}");
        assert!(running.seen().iter().all(|(seen, _)| *seen == text), "{chunking} {policy:?}");
    }
}

#[test]
fn each_recipient_of_each_message_has_its_outcome_on_many_connections() {
    let running = Running::start(Policy::Offer);
    let to = to(&["b@example.net", "nobody@example.net", "c@example.net"]);
    let mut client = running.client(Tls::Verify);
    let mut queue = Queue::of(envelope(&to).size(TEXT.len() as u64), TEXT, 300);
    for _ in 0..40 {
        client.connect(&running.target()).expect("begun");
    }
    client.run(&mut queue).expect("run");
    assert_eq!(queue.codes, vec![["250", "550", "250"]; 300]);
    assert_eq!(queue.closed, ["Quit"; 40]);
    assert_eq!((running.seen().len(), running.connections.load(Ordering::Relaxed)), (300, 40));
    // Those that come after the first tickets take up an earlier TLS session.
    queue.messages.push_back((envelope(&to), TEXT.into()));
    client.connect(&running.target()).expect("begun");
    let before = queue.resumed;
    client.run(&mut queue).expect("run");
    assert_eq!((queue.resumed, queue.codes.len()), (before + 1, 301));
}

/// RFC 5802 6, RFC 9266: bound to the channel, in TLS 1.3 with both ends of this crate.
#[test]
fn a_client_authenticates_bound_to_its_channel() {
    let running = Running::start(Policy::Offer);
    let login = |password| Credentials::password("user", password).expect("credentials");
    let (codes, end) = one(&mut running.client(Tls::Verify).credentials(login("pencil")), &running.target(), TEXT);
    assert_eq!((codes, end.as_str()), (vec![vec!["250".to_owned()]], "Quit"));
    assert_eq!(running.seen(), [(TEXT.to_vec(), "ESMTPSA".to_owned())]);
    let (codes, end) = one(&mut running.client(Tls::Verify).credentials(login("wrong")), &running.target(), TEXT);
    assert!(codes.is_empty() && end.starts_with("AuthRefused(535 "), "{end}");
}

#[test]
fn the_first_address_that_answers_is_taken() {
    let running = Running::start(Policy::Off);
    // A port where nobody listens.
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let mut client = running.client(Tls::Never);
    let (codes, _) = one(&mut client, &Target::addresses(&[nobody, running.address]), TEXT);
    assert_eq!(codes, [["250"]]);
    let (codes, end) = one(&mut client, &Target::addresses(&[nobody, nobody]), TEXT);
    assert_eq!((codes.len(), end.as_str()), (0, "NotConnected(Refused)"));
    let error = client.connect(&Target::addresses(&[])).expect_err("none to try");
    assert_eq!(error.to_string(), "cannot connect: the host has no address");
    let mut without = Client::new(config(Tls::Opportunistic).shared()).expect("a client");
    let error = without.connect(&running.target()).expect_err("no TLS");
    assert!(error.to_string().contains("say so with Client::tls") && !error.is_temporary(), "{error}");
}

/// A waiting connection takes a message, is closed by request, and notices that the server has closed.
#[test]
fn connections_can_wait() {
    let running = Running::start(Policy::Off);
    let (to, mut queue) = (to(&["b@example.net"]), Queue { patient: true, ..Queue::default() });
    let mut client = running.client(Tls::Never);
    let keys: Vec<Key> = (0..3).map(|_| client.connect(&running.target()).expect("begun")).collect();
    while queue.waiting.len() < 3 {
        client.poll(None, &mut queue).expect("polled");
    }
    assert!(client.send(keys[1], envelope(&to), TEXT.into()) && !client.send(keys[1], envelope(&to), TEXT.into()));
    while queue.codes.is_empty() {
        client.poll(None, &mut queue).expect("polled");
    }
    client.quit(keys[0]);
    while client.len() > 2 {
        client.poll(None, &mut queue).expect("polled");
    }
    assert!(!client.send(keys[0], envelope(&to), TEXT.into()), "it is gone");
    assert_eq!(queue.closed, ["Quit"]);
    // 421 to both that are left.
    running.handle.shut_down();
    client.run(&mut queue).expect("run");
    let ends: Vec<_> = queue.closed.iter().map(|end| end.split('(').next().unwrap_or_default()).collect();
    assert_eq!(ends, ["Quit", "ServerClosing", "ServerClosing"]);
    assert_eq!((queue.codes, running.seen().len()), (vec![vec!["250".to_owned()]], 1));
}

/// What is on its way completes, and then QUIT is said.
#[test]
fn shutting_down_completes_what_is_on_its_way() {
    let running = Running::start(Policy::Off);
    let (to, text) = (to(&["b@example.net"]), b"x\r\n".repeat(1 << 20));
    let mut client = running.client(Tls::Never);
    let mut queue = Queue::of(envelope(&to), &text, 100);
    client.connect(&running.target()).expect("begun");
    // One who says nothing is not waited for.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    client.connect(&Target::addresses(&[silent.local_addr().expect("an address")])).expect("begun");
    while queue.messages.len() == 100 {
        client.poll(None, &mut queue).expect("polled");
    }
    client.shut_down();
    client.run(&mut queue).expect("run");
    assert_eq!(
        (queue.codes, queue.closed, queue.messages.len()),
        (vec![vec!["250".to_owned()]], vec!["Abandoned".into(), "Quit".to_owned()], 99)
    );
    assert!(running.seen().iter().all(|(seen, _)| *seen == text));
    assert_eq!(running.seen().len(), 1);
}
