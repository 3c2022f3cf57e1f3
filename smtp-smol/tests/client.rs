//! The client against this crate's own server, over loopback sockets.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig};
use smtp_proto::client::{Because, Config, Envelope, Outcome, Protocol, Reason, Tls};
use smtp_proto::server::{self, MessageEnd, Verdict};
use smtp_proto::syntax::{ForwardPath, Mailbox, Params, Rcpt, Reply, ReversePath};
use smtp_proto::tls::Policy;
use smtp_smol::{Client, ClientTls, Handle, Handler, Peer, Pool, PoolLimits, Server, Target};

const TEXT: &[u8] = b"Subject: x\r\n\r\n.\r\n..two\r\nlast\r\n";

/// What arrived: each text, and whether its hop was TLS.
type Seen = Arc<Mutex<Vec<(Vec<u8>, bool)>>>;

struct Keep {
    seen: Seen,
    text: Vec<u8>,
}

impl Handler for Keep {
    async fn rcpt(&mut self, _: &Peer<'_>, rcpt: &Rcpt<'_>) -> Verdict<'_> {
        if rcpt.path.as_str().starts_with("nobody@") {
            return Verdict::Refuse(Reply::fixed(550, (5, 1, 1), "Who?"));
        }
        Verdict::Accept
    }
    async fn chunk(&mut self, text: &[u8]) {
        self.text.extend_from_slice(text);
    }
    async fn message(&mut self, peer: &Peer<'_>, _: MessageEnd) -> Verdict<'_> {
        let text = std::mem::take(&mut self.text);
        self.seen.lock().expect("seen").push((text, peer.session.tls().is_some()));
        Verdict::Accept
    }
}

/// A server that runs until it is dropped.
struct Running {
    address: SocketAddr,
    seen: Seen,
    connections: Arc<AtomicUsize>,
    roots: RootCertStore,
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(policy: Policy, implicit: bool) -> Self {
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

        let config = server::Config::new("mx.example.net").expect("a name").tls(policy).shared();
        let mut server = Server::new(config).tls(Arc::new(tls));
        let any = "127.0.0.1:0".parse().expect("an address");
        let address = if implicit { server.listen_tls(any) } else { server.listen(any) }.expect("a port");
        let (seen, connections) = (Seen::default(), Arc::new(AtomicUsize::new(0)));
        let (handle, keep, count) = (server.handle(), seen.clone(), connections.clone());
        let thread = std::thread::spawn(move || {
            let make = move |_| {
                count.fetch_add(1, Ordering::Relaxed);
                Keep { seen: keep.clone(), text: Vec::new() }
            };
            server.run(make).expect("the server runs");
        });
        Self { address, seen, connections, roots, handle, thread: Some(thread) }
    }

    fn target(&self) -> Target {
        Target::addresses(vec![self.address]).named("mx.example.net")
    }

    fn client(&self, tls: Tls) -> Client {
        let config = Config::new("client.example").expect("a name").tls(tls).shared();
        Client::new(config).tls(ClientTls::new(self.roots.clone()).expect("TLS"))
    }

    fn seen(&self) -> Vec<(Vec<u8>, bool)> {
        self.seen.lock().expect("seen").clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.shut_down();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server ended well");
        }
    }
}

fn to(names: &[&'static str]) -> Vec<Rcpt<'static>> {
    let path = |name: &&'static str| ForwardPath::Mailbox(Mailbox::parse(name, false).expect("a mailbox"));
    names.iter().map(|name| Rcpt { path: path(name), params: Params::default() }).collect()
}

fn envelope<'e>(to: &'e [Rcpt<'e>]) -> Envelope<'e> {
    Envelope::new(ReversePath::Mailbox(Mailbox::parse("a@example.org", false).expect("a mailbox")), to)
}

/// Sends one message: whether it was accepted, and why the session ended early.
fn one(client: &Client, target: &Target, text: &[u8]) -> (bool, Option<Reason>) {
    let to = to(&["b@example.net"]);
    smol::block_on(async {
        let mut connection = client.connect(target).await.expect("connected");
        let transaction = connection.send(envelope(&to), &mut &*text).await.expect("sent");
        let accepted = transaction.outcomes().all(|outcome| outcome.is_accepted());
        let closed = transaction.closed().cloned();
        drop(transaction);
        connection.quit().await;
        (accepted, closed)
    })
}

/// RFC 2920 3.1: an envelope goes out with the end of the text before it, and each message has its own outcome.
#[test]
fn one_message_leads_the_next() {
    let running = Running::start(Policy::Off, false);
    let said = Arc::new(Mutex::new(Vec::new()));
    let heard = said.clone();
    let config = Config::new("client.example").expect("a name").tls(Tls::Never).chunking(false).shared();
    let client = Client::new(config).observe(Arc::new(move |said| {
        if let smtp_smol::Said::Client(octets) = said {
            heard.lock().expect("said").push(String::from_utf8_lossy(octets).into_owned());
        }
    }));
    let (ben, nobody) = (to(&["b@example.net"]), to(&["nobody@example.net"]));
    let large = "A line of a text that is larger than what is gathered.\r\n".repeat(4000);
    let messages = [(&ben, "1\r\n"), (&nobody, "2\r\n"), (&ben, &*large), (&ben, "4\r\n")];
    let mut outcomes = Vec::new();
    smol::block_on(async {
        let mut connection = client.connect(&running.target()).await.expect("connected");
        let messages = messages.iter().map(|(to, text)| (envelope(to), text.as_bytes()));
        let each = |sent: &smtp_proto::client::Transaction<'_>| {
            outcomes.extend(sent.outcomes().map(|outcome| outcome.is_accepted()));
        };
        connection.send_each(messages, each).await.expect("sent");
        assert!(connection.is_idle());
        connection.quit().await;
    });
    assert_eq!(outcomes, [true, false, true, true]);
    let texts: Vec<_> = running.seen().into_iter().map(|(text, _)| text).collect();
    assert_eq!(texts, [b"1\r\n".to_vec(), large.into_bytes(), b"4\r\n".to_vec()]);
    let said = said.lock().expect("said");
    let led = said.iter().filter(|write| write.contains(".\r\nMAIL FROM:")).count();
    assert_eq!(led, 2, "behind the first, and behind the third; the second had no text: {said:?}");
}

#[test]
fn each_policy_against_each_server() {
    for (server, client, arrives) in [
        (Policy::Off, Tls::Never, Some(false)),
        (Policy::Off, Tls::Opportunistic, Some(false)),
        (Policy::Off, Tls::Require, None),
        (Policy::Off, Tls::Verify, None),
        (Policy::Offer, Tls::Never, Some(false)),
        (Policy::Offer, Tls::Opportunistic, Some(true)),
        (Policy::Offer, Tls::Verify, Some(true)),
        (Policy::Require, Tls::Never, None),
        (Policy::Require, Tls::Require, Some(true)),
    ] {
        let running = Running::start(server, false);
        let (accepted, _) = one(&running.client(client), &running.target(), TEXT);
        assert_eq!(accepted, arrives.is_some(), "{server:?} {client:?}");
        let expected: Vec<_> = arrives.map(|tls| (TEXT.to_vec(), tls)).into_iter().collect();
        assert_eq!(running.seen(), expected, "{server:?} {client:?}");
    }
}

#[test]
fn a_certificate_that_proves_nothing_is_refused_by_verify_alone() {
    let running = Running::start(Policy::Offer, false);
    let verify = running.client(Tls::Verify);
    let nobody = Client::new(Config::new("client.example").expect("a name").tls(Tls::Verify).shared())
        .tls(ClientTls::new(RootCertStore::empty()).expect("TLS"));
    let other = running.target().named("other.example.net");
    for (client, target) in [
        (&verify, &other),
        (&nobody, &running.target()),
        // A name from plain DNS.
        (&verify, &running.target().called("mx.example.net")),
    ] {
        let (accepted, closed) = one(client, target, TEXT);
        assert!(!accepted && matches!(closed, Some(Reason::TlsFailed(_) | Reason::TlsNotVerified)), "{closed:?}");
    }
    assert!(running.seen().is_empty());
    assert!(one(&running.client(Tls::Require), &other, TEXT).0);
}

#[test]
fn tls_may_come_first() {
    // RFC 8314 3
    let running = Running::start(Policy::Offer, true);
    assert!(one(&running.client(Tls::Verify), &running.target().implicit_tls(true), TEXT).0);
    assert_eq!(running.seen(), [(TEXT.to_vec(), true)]);
    // A server that speaks plaintext first is no TLS server.
    let plain = Running::start(Policy::Offer, false);
    let connecting = plain.client(Tls::Verify);
    let target = plain.target().implicit_tls(true);
    let error = smol::block_on(connecting.connect(&target)).expect_err("no handshake");
    assert!(matches!(error, Reason::TlsFailed(_)), "{error:?}");
}

#[test]
fn a_large_text_arrives_as_it_was_by_data_and_by_chunks() {
    let mut text = Vec::new();
    for line in 0..100_000_u32 {
        let dots = if line.is_multiple_of(7) { "." } else { "" };
        text.extend_from_slice(format!("{dots}{line} {}\r\n", "x".repeat((line % 60) as usize)).as_bytes());
    }
    for (chunking, policy) in [(true, Policy::Off), (false, Policy::Off), (true, Policy::Offer), (false, Policy::Offer)]
    {
        let running = Running::start(policy, false);
        let config = Config::new("client.example").expect("a name").chunking(chunking).shared();
        let client = Client::new(config).tls(ClientTls::new(running.roots.clone()).expect("TLS"));
        assert!(one(&client, &running.target(), &text).0);
        let seen = running.seen();
        assert_eq!(seen.len(), 1);
        assert!(seen[0].0 == text && seen[0].1 == policy.offers(), "{chunking} {policy:?}: {} octets", seen[0].0.len());
    }
}

#[test]
fn each_recipient_has_its_outcome() {
    let (running, to) =
        (Running::start(Policy::Off, false), to(&["b@example.net", "nobody@example.net", "c@example.net"]));
    smol::block_on(async {
        let client = running.client(Tls::Never);
        let mut connection = client.connect(&running.target()).await.expect("connected");
        let transaction = connection.send(envelope(&to), &mut &*TEXT).await.expect("sent");
        let codes: Vec<u16> = transaction.outcomes().map(|outcome| code(&outcome)).collect();
        assert_eq!(codes, [250, 550, 250]);
    });
}

#[test]
fn lmtp_over_a_unix_socket_answers_for_each_recipient() {
    // RFC 2033 4.2: after the text a reply for each recipient that was accepted, in their order, and none for the others.
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("lmtp");
    let listener = UnixListener::bind(&path).expect("a socket");
    let server = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("a client");
        let mut lines = BufReader::new(socket.try_clone().expect("a second handle"));
        let mut said = Vec::new();
        let mut ask = |reply: &[u8], until: &[u8]| {
            socket.write_all(reply).expect("written");
            let from = said.len();
            while !said[from..].ends_with(until) {
                assert_ne!(lines.read_until(b'\n', &mut said).expect("a line"), 0, "the client has gone");
            }
        };
        ask(b"220 store\r\n", b"\r\n");
        ask(b"250-store\r\n250 8BITMIME\r\n", b"\r\n");
        ask(b"250 2.1.0 ok\r\n", b"\r\n");
        ask(b"250 2.1.5 ok\r\n", b"\r\n");
        ask(b"550 5.1.1 who?\r\n", b"\r\n");
        ask(b"250 2.1.5 ok\r\n", b"\r\n");
        ask(b"354 go on\r\n", b"\r\n.\r\n");
        ask(b"250 2.0.0 kept\r\n552 5.2.2 full\r\n", b"QUIT\r\n");
        socket.write_all(b"221 bye\r\n").expect("written");
        String::from_utf8(said).expect("text")
    });

    let to = to(&["b@example.net", "nobody@example.net", "full@example.net"]);
    let config = Config::new("client.example").expect("a name").protocol(Protocol::Lmtp).tls(Tls::Never).shared();
    smol::block_on(async {
        let mut connection = Client::new(config).connect(&Target::unix(path)).await.expect("connected");
        assert_eq!(connection.peer(), None);
        let transaction = connection.send(envelope(&to), &mut &*TEXT).await.expect("sent");
        let codes: Vec<u16> = transaction.outcomes().map(|outcome| code(&outcome)).collect();
        assert_eq!(codes, [250, 550, 552]);
        drop(transaction);
        connection.quit().await;
    });
    let said = server.join().expect("the server ended well");
    let text = "Subject: x\r\n\r\n..\r\n...two\r\nlast\r\n.\r\n";
    assert!(said.starts_with("LHLO client.example\r\nMAIL FROM:<a@example.org>"), "{said}");
    assert!(said.ends_with(&format!("DATA\r\n{text}QUIT\r\n")), "{said}");
}

fn code(outcome: &Outcome<'_>) -> u16 {
    match outcome {
        Outcome::Accepted(reply) | Outcome::Never(Because::Reply(reply)) => reply.code(),
        _ => 0,
    }
}

/// Sends messages one after the other over a pool.
async fn many(pool: &Pool, target: &Target, messages: usize) {
    let to = to(&["b@example.net"]);
    for _ in 0..messages {
        let transaction = pool.send(target, envelope(&to), TEXT).await;
        assert!(transaction.outcomes().all(|outcome| outcome.is_accepted()), "{transaction:?}");
    }
}

#[test]
fn a_pool_keeps_connections_up_to_a_limit() {
    let running = Running::start(Policy::Offer, false);
    let mut limits = PoolLimits::default();
    limits.messages = 3;
    let pool = Pool::new(running.client(Tls::Verify), limits);
    smol::block_on(async {
        many(&pool, &running.target(), 7).await;
        // Three over the first, three over the second, one over the third.
        assert_eq!(running.connections.load(Ordering::Relaxed), 3);
        pool.close_idle(true).await;
        many(&pool, &running.target(), 1).await;
        assert_eq!(running.connections.load(Ordering::Relaxed), 4);
        pool.close_idle(true).await;
    });
    assert_eq!(running.seen().len(), 8);
}

#[test]
fn a_pool_does_not_use_a_connection_that_the_server_has_closed() {
    // A server that ends each connection after its first message.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = Target::addresses(vec![listener.local_addr().expect("an address")]);
    let server = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut socket, _) = listener.accept().expect("a client");
            socket.write_all(b"220 mx\r\n").expect("written");
            let mut in_text = false;
            for line in BufReader::new(socket.try_clone().expect("a clone")).lines() {
                let reply: &[u8] = match line.expect("a line").as_str() {
                    "DATA" => b"354 go on\r\n",
                    "." => b"250 taken\r\n421 enough\r\n",
                    _ if in_text => continue,
                    _ => b"250 ok\r\n",
                };
                in_text |= reply.starts_with(b"354");
                socket.write_all(reply).expect("written");
                if reply.ends_with(b"enough\r\n") {
                    break;
                }
            }
        }
    });
    let client = Client::new(Config::new("client.example").expect("a name").tls(Tls::Never).shared());
    smol::block_on(many(&Pool::new(client, PoolLimits::default()), &target, 2));
    server.join().expect("both connections were used");
}
