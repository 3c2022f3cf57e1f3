//! Whole messages, and the helpers around them, over sockets. For the tests of an adapter, which have its `server` and two handlers: one
//! hands messages on, the other refuses commands.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use smtp_proto::server::{Config, Envelope, Role, Room};
use smtp_proto::tls::Policy;

use super::{Gateway, Handle, Messages, Strict, Users, server};

pub(super) struct Running {
    pub(super) address: SocketAddr,
    handle: Handle,
    pub(super) messages: Receiver<(Envelope, String, Option<String>)>,
    room: Arc<Room>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.shut_down();
    }
}

pub(super) fn start(config: Config, room: Room, users: Option<Users>) -> Running {
    let mut server = server(config.tls(Policy::Off).shared());
    let address = server.listen(SocketAddr::from(([127, 0, 0, 1], 0))).expect("bound");
    let (handle, room, (to, messages)) = (server.handle(), Arc::new(room), channel());
    let of_server = room.clone();
    thread::spawn(move || {
        server.run(move |_| Messages::new(Gateway { to: to.clone(), users: users.clone() }, &of_server))
    });
    Running { address, handle, messages, room }
}

/// All codes that a client is answered which sends these lines, after the greeting.
pub(super) fn codes(address: SocketAddr, lines: &str) -> String {
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

pub(super) fn config() -> Config {
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
fn a_handler_of_messages_decides_on_other_commands_too() {
    let config = config().tls(Policy::Off).ask_about_all(true).shared();
    let mut server = server(config).trust(&["127.0.0.0/8".parse().expect("a network")]);
    let address = server.listen(SocketAddr::from(([127, 0, 0, 1], 0))).expect("bound");
    let (handle, room) = (server.handle(), Arc::new(Room::default()));
    let running = thread::spawn(move || server.run(move |_| Messages::new(Strict, &room)));
    let lines = "EHLO client.example\nNOOP\nRSET\nXCLIENT ADDR=192.0.2.1\nXFORWARD NAME=c.example\nQUIT\n";
    assert_eq!(codes(address, lines), "250 450 250 550 554 221");
    handle.shut_down();
    running.join().expect("no panic").expect("ended");
}
