//! A server that runs until it is stopped, a handler that keeps everything, and a client written by hand.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned, SupportedProtocolVersion};
use smtp_mio::{Answer, AuthAnswer, Handle, Handler, Limits, OwnedVerdict, Peer, Server};
use smtp_proto::TlsInfo;
use smtp_proto::auth::server::{Answer as Login, Question};
use smtp_proto::server::{Config, MessageEnd, Reason, Verdict};
use smtp_proto::syntax::{Host, Rcpt};
use smtp_proto::tls::Policy;

#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) messages: Mutex<Vec<(String, Vec<u8>)>>,
    pub(crate) closed: Mutex<Vec<String>>,
    /// What was known of TLS at each EHLO.
    pub(crate) tls: Mutex<Vec<Option<TlsInfo>>>,
}

pub(crate) struct Keep {
    kept: Arc<Kept>,
    text: Vec<u8>,
    later: Sender<smtp_mio::Deferred>,
    later_auth: Sender<smtp_mio::DeferredAuth>,
}

impl Handler for Keep {
    fn hello(&mut self, peer: &Peer<'_>, _: &Host<'_>) -> Answer<'_> {
        self.kept.tls.lock().expect("lock").push(peer.session.tls().cloned());
        Verdict::Accept.into()
    }
    fn authenticate(&mut self, peer: &Peer<'_>, question: Question) -> AuthAnswer {
        match question {
            Question::Password { authcid, .. } if authcid == "later" => {
                let (later, deferred) = peer.defer_auth();
                self.later_auth.send(deferred).expect("the test listens");
                AuthAnswer::Later(later)
            }
            Question::Password { authcid, .. } if authcid == "slow" => {
                AuthAnswer::After(Duration::from_millis(20), Some(Login::Accept))
            }
            Question::Password { .. } => AuthAnswer::HangUp,
            _ => Login::Reject.into(),
        }
    }
    fn rcpt(&mut self, peer: &Peer<'_>, rcpt: &Rcpt<'_>) -> Answer<'_> {
        if rcpt.path.as_str().starts_with("later") {
            let (later, deferred) = peer.defer();
            self.later.send(deferred).expect("the test listens");
            return Answer::Later(later);
        }
        match rcpt.path.as_str() {
            "slow@example.net" => Answer::After(Duration::from_millis(40), OwnedVerdict::AcceptWith("at last".into())),
            "gone@example.net" => Answer::HangUp,
            "panic@example.net" => panic!("a handler's fault"),
            _ => Verdict::Accept.into(),
        }
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

pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    /// Where TLS comes first.
    pub(crate) tls_address: SocketAddr,
    pub(crate) handle: Handle,
    pub(crate) kept: Arc<Kept>,
    pub(crate) later: Receiver<smtp_mio::Deferred>,
    pub(crate) later_auth: Receiver<smtp_mio::DeferredAuth>,
    pub(crate) roots: RootCertStore,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl Running {
    pub(crate) fn start(policy: Policy) -> Self {
        Self::start_with(policy, Limits::default())
    }

    pub(crate) fn start_with(policy: Policy, limits: Limits) -> Self {
        Self::of(Config::new("mx.example.net").expect("a name").tls(policy), limits)
    }

    pub(crate) fn of(config: Config, limits: Limits) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["mx.example.net".into()]).expect("a certificate");
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .expect("a configuration");
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).expect("a root");
        let mut server = Server::with_threads(config.shared(), 2).tls(Arc::new(tls)).limits(limits);
        let any = "127.0.0.1:0".parse().expect("an address");
        let address = server.listen(any).expect("bound");
        let tls_address = server.listen_tls(any).expect("bound");
        let handle = server.handle();
        let kept = Arc::new(Kept::default());
        let (sender, later) = channel();
        let (auth_sender, later_auth) = channel();
        let for_handlers = kept.clone();
        let make = move |_| Keep {
            kept: for_handlers.clone(),
            text: Vec::new(),
            later: sender.clone(),
            later_auth: auth_sender.clone(),
        };
        let thread = Some(thread::spawn(move || server.run(make)));
        Self { address, tls_address, handle, kept, later, later_auth, roots, thread }
    }

    pub(crate) fn connect(&self) -> Client<TcpStream> {
        let socket = TcpStream::connect(self.address).expect("connected");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let mut client = Client(BufReader::new(socket));
        client.expect("220");
        client
    }

    /// A handshake on a socket, in these versions of TLS.
    pub(crate) fn tls(&self, socket: TcpStream, versions: &[&'static SupportedProtocolVersion]) -> Client<Tls> {
        handshake(socket, &self.tls_config(versions))
    }

    pub(crate) fn tls_config(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("versions");
        Arc::new(builder.with_root_certificates(self.roots.clone()).with_no_client_auth())
    }

    pub(crate) fn stop(mut self) -> Arc<Kept> {
        self.handle.shut_down();
        self.thread.take().expect("running").join().expect("no panic").expect("no error");
        self.kept.clone()
    }
}

/// By such a configuration; one that is used again may take up an earlier session.
pub(crate) fn handshake(socket: TcpStream, config: &Arc<ClientConfig>) -> Client<Tls> {
    let name = ServerName::try_from("mx.example.net").expect("a name");
    let tls = ClientConnection::new(config.clone(), name).expect("TLS");
    Client(BufReader::new(StreamOwned::new(tls, socket)))
}

pub(crate) type Tls = StreamOwned<ClientConnection, TcpStream>;

pub(crate) struct Client<S: Read + Write>(pub(crate) BufReader<S>);

impl<S: Read + Write> Client<S> {
    pub(crate) fn say(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).expect("written");
        self.0.get_mut().flush().expect("flushed");
    }

    /// A whole reply, which must begin so.
    pub(crate) fn expect(&mut self, start: &str) -> String {
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

    pub(crate) fn closed(&mut self) {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).expect("the end");
        assert_eq!(rest, b"");
    }
}
