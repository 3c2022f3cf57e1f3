//! Where connections come in.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use smtp_proto::server::{Config, MessageEnd, Verdict};
use smtp_proto::tls::Policy;
use smtp_smol::{Handler, Limits, Listener, Peer, Server};

struct Take;

impl Handler for Take {
    async fn message(&mut self, _: &Peer<'_>, _: MessageEnd) -> Verdict<'_> {
        Verdict::Accept
    }
}

fn server() -> Server {
    Server::new(Config::new("mx.example.net").expect("a name").tls(Policy::Off).shared())
}

/// Both families at one port, and 1,000 clients at once: more than would wait if the system's usual 128 could, whose next
/// try to connect comes a second later.
#[test]
fn a_thousand_clients_at_once_are_greeted_in_both_families() {
    let v6 = Listener::tcp("[::]:0".parse().expect("an address")).expect("bound");
    let port = v6.address().expect("TCP").port();
    let mut limits = Limits::default();
    (limits.connections, limits.loopback) = (2_000, 2_000);
    let mut server = server().limits(limits);
    server.add(v6);
    server.listen(SocketAddr::from(([0, 0, 0, 0], port))).expect("the same port");
    let handle = server.handle();
    // Nobody is accepted yet: all have to wait.
    let connect = |at: usize| {
        let address = if at.is_multiple_of(2) {
            SocketAddr::from(([127, 0, 0, 1], port))
        } else {
            SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port))
        };
        TcpStream::connect_timeout(&address, Duration::from_millis(900)).expect("connected, without a second try")
    };
    let clients: Vec<_> = (0..1_000).map(connect).collect();
    let running = std::thread::spawn(move || server.run(|_| Take));
    for client in clients {
        client.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let mut line = String::new();
        BufReader::new(client).read_line(&mut line).expect("a greeting");
        assert!(line.starts_with("220 "), "{line}");
    }
    handle.shut_down();
    running.join().expect("no panic").expect("served");
}
