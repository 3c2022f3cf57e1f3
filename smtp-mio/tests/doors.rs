//! Where connections come in, beside a TCP port.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use smtp_mio::{Answer, Handler, Peer, Server};
use smtp_proto::server::{Config, MessageEnd, Verdict};
use smtp_proto::tls::Policy;

/// Greets with the peer's address.
struct Mirror(String);

impl Handler for Mirror {
    fn connect(&mut self, peer: &Peer<'_>) -> Answer<'_> {
        self.0 = format!("{:?}", peer.address);
        Verdict::AcceptWith(&self.0).into()
    }
    fn message(&mut self, _: &Peer<'_>, _: MessageEnd) -> Answer<'_> {
        Verdict::Accept.into()
    }
}

fn server() -> Server {
    Server::with_threads(Config::new("mx.example.net").expect("a name").tls(Policy::Off).shared(), 2)
}

/// All that is said to one who waits for the greeting and says QUIT.
fn said(mut socket: impl std::io::Read + std::io::Write) -> String {
    let mut greeting = [0; 100];
    let n = socket.read(&mut greeting).expect("a greeting");
    socket.write_all(b"QUIT\r\n").expect("written");
    let mut said = String::from_utf8_lossy(&greeting[..n]).into_owned();
    socket.read_to_string(&mut said).expect("the end");
    said
}

#[test]
fn a_unix_socket_has_a_file_while_the_server_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("lmtp");
    // One that a server has left there which was killed.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
    let mut one = server();
    one.listen_unix(&path).expect("replaced");
    assert!(server().listen_unix(&path).is_err(), "somebody listens there");
    assert!(server().listen_unix(Path::new("/nowhere/lmtp")).is_err());
    let handle = one.handle();
    let running = thread::spawn(move || one.run(|_| Mirror(String::new())));
    for _ in 0..5 {
        let said = said(UnixStream::connect(&path).expect("connected"));
        assert_eq!(said, "220 mx.example.net None\r\n221 2.0.0 Bye\r\n");
    }
    handle.shut_down();
    running.join().expect("no panic").expect("no error");
    assert!(!path.exists());
}

#[test]
fn connections_accepted_elsewhere_are_served() {
    let (server, listener) = (server(), TcpListener::bind("127.0.0.1:0").expect("bound"));
    let address = listener.local_addr().expect("an address");
    let handle = server.handle();
    let pair = || (TcpStream::connect(address).expect("connected"), listener.accept().expect("accepted").0);
    let shown = SocketAddr::from(([192, 0, 2, 7], 25));
    assert!(handle.drive(pair().1, shown).is_err(), "it does not run yet");
    let (of_loop, started) = channel();
    let running = thread::spawn(move || {
        of_loop.send(()).expect("the test listens");
        server.run(|_| Mirror(String::new()))
    });
    started.recv().expect("started");
    for _ in 0..5 {
        let client = loop {
            let (client, socket) = pair();
            match handle.drive(socket, shown) {
                Ok(()) => break client,
                // The loops are a moment away.
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotConnected),
            }
            thread::yield_now();
        };
        client.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
        assert_eq!(said(client), "220 mx.example.net Some(192.0.2.7:25)\r\n221 2.0.0 Bye\r\n");
    }
    handle.shut_down();
    running.join().expect("no panic").expect("no error");
    assert!(handle.drive(pair().1, shown).is_err(), "it has ended");
}
