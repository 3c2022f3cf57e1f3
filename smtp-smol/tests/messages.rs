//! Whole messages, users in a map, and the helpers around them, over sockets.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use smtp_proto::auth::client::Credentials;
use smtp_proto::auth::server::{Answer, Question};
use smtp_proto::auth::{Mechanism, MechanismSet};
use smtp_proto::client;
use smtp_proto::server::{Config, Envelope, Role, Room, Verdict};
use smtp_proto::syntax::{Attributes, Rcpt, Reply, Verb};
use smtp_proto::tls::Policy;
use smtp_smol::{Client, Handle, MessageHandler, Messages, Peer, Server, Target, Users};

/// Hands messages on, but for those to nobody.
struct Gateway {
    to: Sender<(Envelope, String, Option<String>)>,
    users: Option<Users>,
}

impl MessageHandler for Gateway {
    async fn authenticate(&mut self, _: &Peer<'_>, question: Question) -> Answer {
        match &self.users {
            Some(users) => users.answer(question).await,
            None => Answer::Reject,
        }
    }
    async fn rcpt(&mut self, _: &Peer<'_>, rcpt: &Rcpt<'_>) -> Verdict<'_> {
        if rcpt.path.as_str().starts_with("nobody@") {
            return Verdict::Refuse(const { Reply::fixed(550, (5, 1, 1), "Who?") });
        }
        Verdict::Accept
    }
    async fn message(&mut self, peer: &Peer<'_>, envelope: Envelope) -> Verdict<'_> {
        if envelope.text.starts_with(b"refuse") {
            return Verdict::Refuse(const { Reply::fixed(554, (5, 6, 0), "Not that") });
        }
        let received = String::from_utf8(peer.received("1a2b", &envelope.to)).expect("ASCII");
        let user = peer.session.identity().map(|identity| identity.name().to_owned());
        self.to.send((envelope, received, user)).expect("the test listens");
        Verdict::AcceptWith("Kept")
    }
}

struct Running {
    address: SocketAddr,
    handle: Handle,
    messages: Receiver<(Envelope, String, Option<String>)>,
    room: Arc<Room>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.shut_down();
    }
}

fn start(config: Config, room: Room, users: Option<Users>) -> Running {
    let mut server = Server::new(config.tls(Policy::Off).shared());
    let address = server.listen(SocketAddr::from(([127, 0, 0, 1], 0))).expect("bound");
    let (handle, room, (to, messages)) = (server.handle(), Arc::new(room), channel());
    let of_server = room.clone();
    thread::spawn(move || {
        server.run(move |_| Messages::new(Gateway { to: to.clone(), users: users.clone() }, &of_server))
    });
    Running { address, handle, messages, room }
}

/// All codes that a client is answered which sends these lines, after the greeting.
fn codes(address: SocketAddr, lines: &str) -> String {
    let mut socket = TcpStream::connect(address).expect("connected");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    let mut greeting = [0; 100];
    let n = socket.read(&mut greeting).expect("a greeting");
    assert!(greeting[..n].starts_with(b"220 "));
    socket.write_all(lines.replace('\n', "\r\n").as_bytes()).expect("written");
    let mut said = String::new();
    socket.read_to_string(&mut said).expect("the end");
    let last = said.lines().filter(|line| line.as_bytes().get(3) == Some(&b' '));
    last.map(|line| &line[..3]).collect::<Vec<_>>().join(" ")
}

fn config() -> Config {
    Config::new("mx.example.net").expect("a name")
}

#[test]
fn messages_come_whole_and_with_their_own_recipients() {
    let server = start(config(), Room::default(), None);
    let said = codes(
        server.address,
        "EHLO client.example\nMAIL FROM:<a@x.example>\nRCPT TO:<b@y.example>\nRCPT TO:<nobody@y.example>\n\
         RCPT TO:<c@y.example>\nDATA\nSubject: 1\n\n..dot\n.\nMAIL FROM:<>\nRCPT TO:<d@y.example>\nDATA\nrefuse\n.\n\
         MAIL FROM:<a@x.example>\nRCPT TO:<gone@y.example>\nRSET\nMAIL FROM:<e@x.example>\nRCPT TO:<f@y.example>\n\
         BDAT 4 LAST\nab\nQUIT\n",
    );
    assert_eq!(said, "250 250 250 550 250 354 250 250 250 354 554 250 250 250 250 250 250 221");
    let (first, received, _) = server.messages.recv().expect("one");
    assert_eq!((first.from.as_str(), &*first.text), ("a@x.example", &b"Subject: 1\r\n\r\n.dot\r\n"[..]));
    assert_eq!(first.to, ["b@y.example", "c@y.example"]);
    // RFC 5321 4.4, 7.2: two recipients are not named.
    let field = "Received: from client.example ([127.0.0.1])\r\n by mx.example.net with ESMTP\r\n id 1a2b;\r\n ";
    assert!(received.starts_with(field) && received.ends_with(" +0000\r\n"), "{received}");
    let (second, received, _) = server.messages.recv().expect("another");
    assert_eq!((second.from.as_str(), &*second.text), ("e@x.example", &b"ab\r\n"[..]));
    assert_eq!(second.to, ["f@y.example"]);
    assert!(received.contains("\r\n for <f@y.example>;\r\n"), "{received}");
    assert!(server.messages.try_recv().is_err());
    assert_eq!(server.room.used(), 0);
}

/// What there is no room for is refused, and the connection goes on.
#[test]
fn memory_is_bounded() {
    let server = start(config(), Room::new(10, 1000), None);
    let message = |text: &str| format!("MAIL FROM:<>\nRCPT TO:<b@y.example>\nDATA\n{text}\n.\n");
    let lines = format!("EHLO a.example\n{}{}QUIT\n", message("12345678901"), message("12345678"));
    assert_eq!(codes(server.address, &lines), "250 250 250 354 552 250 250 354 250 221");
    assert_eq!(server.messages.recv().expect("the other").0.text, b"12345678\r\n");
    let server = start(config(), Room::new(10, 9), None);
    assert_eq!(
        codes(server.address, &format!("EHLO a.example\n{}QUIT\n", message("12345678"))),
        "250 250 250 354 452 221"
    );
}

/// RFC 2033 4.2.
#[test]
fn in_lmtp_each_recipient_is_asked_about() {
    let server = start(config().role(Role::Lmtp), Room::default(), None);
    let lines = "LHLO a.example\nMAIL FROM:<>\nRCPT TO:<b@y.example>\nRCPT TO:<c@y.example>\nDATA\ntext\n.\nQUIT\n";
    assert_eq!(codes(server.address, lines), "250 250 250 250 354 250 250 221");
    for to in ["b@y.example", "c@y.example"] {
        let (envelope, ..) = server.messages.recv().expect("one for each");
        assert_eq!((&*envelope.to, &*envelope.text), (&[to.into()][..], &b"text\r\n"[..]));
    }
}

#[test]
fn users_authenticate_by_every_mechanism_that_fits() {
    let users = Users::from_passwords([("ann", "pencil"), ("ben", "pen")]).expect("users");
    for mechanism in [Mechanism::ScramSha256, Mechanism::Plain, Mechanism::Login] {
        let config = config().role(Role::Submission).auth(MechanismSet::from(mechanism)).allow_plaintext_auth(true);
        let server = start(config, Room::default(), Some(users.clone()));
        for (name, password, taken) in
            [("ann", "pencil", true), ("ben", "pen", true), ("ann", "pen", false), ("eve", "pencil", false)]
        {
            let own = client::Config::new("client.example").expect("a name");
            let own = own.tls(client::Tls::Never).allow_plaintext_auth(true);
            let credentials = Credentials::password(name, password).expect("credentials");
            let client = Client::new(own.shared()).credentials(credentials);
            let to = [smtp_proto::syntax::ForwardPath::parse("b@y.example", false).expect("a path")];
            let to = to.map(|path| Rcpt { path, params: smtp_proto::syntax::Params::default() });
            let from = smtp_proto::syntax::ReversePath::parse("a@x.example", false).expect("a path");
            let done = smol::block_on(async {
                let target = Target::host("127.0.0.1", server.address.port());
                let mut connection = client.connect(&target).await.expect("connected");
                let text = &mut &b"hello\r\n"[..];
                let sent = connection.send(client::Envelope::new(from, &to), text).await.expect("sent");
                sent.outcomes().all(|outcome| outcome.is_accepted())
            });
            assert_eq!(done, taken, "{name} {password} by {mechanism:?}");
            if taken {
                assert_eq!(server.messages.recv().expect("a message").2.as_deref(), Some(name));
            }
        }
        assert!(server.messages.try_recv().is_err());
    }
    let error = Users::from_passwords([("ann", "")]).expect_err("no password");
    assert!(error.to_string().contains("\"ann\""), "{error}");
}

/// Asks for more than mail: every command of a peer is put to it.
struct Strict;

impl MessageHandler for Strict {
    async fn command(&mut self, _: &Peer<'_>, verb: Verb) -> Verdict<'_> {
        if verb == Verb::Noop {
            Verdict::Refuse(const { Reply::fixed(450, (4, 7, 0), "Not that") })
        } else {
            Verdict::Accept
        }
    }
    async fn xclient(&mut self, _: &Peer<'_>, _: &Attributes<'_>) -> Verdict<'_> {
        Verdict::Refuse(const { Reply::fixed(550, (5, 7, 0), "Not that") })
    }
    async fn xforward(&mut self, _: &Peer<'_>, _: &Attributes<'_>) -> Verdict<'_> {
        Verdict::Refuse(const { Reply::fixed(554, (5, 7, 0), "Not that") })
    }
    async fn message(&mut self, _: &Peer<'_>, _: Envelope) -> Verdict<'_> {
        Verdict::Accept
    }
}

#[test]
fn a_handler_of_messages_decides_on_other_commands_too() {
    let config = config().tls(Policy::Off).ask_about_all(true).shared();
    let mut server = Server::new(config).trust(&["127.0.0.0/8".parse().expect("a network")]);
    let address = server.listen(SocketAddr::from(([127, 0, 0, 1], 0))).expect("bound");
    let (handle, room) = (server.handle(), Arc::new(Room::default()));
    let running = thread::spawn(move || server.run(move |_| Messages::new(Strict, &room)));
    let lines = "EHLO client.example\nNOOP\nRSET\nXCLIENT ADDR=192.0.2.1\nXFORWARD NAME=c.example\nQUIT\n";
    assert_eq!(codes(address, lines), "250 450 250 550 554 221");
    handle.shut_down();
    running.join().expect("no panic").expect("ended");
}
