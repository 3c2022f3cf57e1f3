//! The PROXY header over sockets.

use std::net::SocketAddr;
use std::sync::Arc;

use smtp_proto::proxy::Network;
use smtp_proto::server::{Config, MessageEnd, Verdict};
use smtp_smol::{Handle, Handler, Limits, Listener, Peer, Server};

use cases::words;

#[path = "../../smtp-proto/testing/adapters/proxy.rs"]
mod cases;

/// Greets each peer by the address it is taken to have.
struct Mirror(String);

impl Handler for Mirror {
    async fn connect(&mut self, peer: &Peer<'_>) -> Verdict<'_> {
        self.0 = peer.address.expect("TCP").to_string();
        Verdict::AcceptWith(&self.0)
    }
    async fn message(&mut self, _: &Peer<'_>, _: MessageEnd) -> Verdict<'_> {
        Verdict::Accept
    }
}

/// Greets each peer by what is known of its TLS.
struct Told(String);

impl Handler for Told {
    async fn connect(&mut self, peer: &Peer<'_>) -> Verdict<'_> {
        self.0 = words(peer.session.tls());
        Verdict::AcceptWith(&self.0)
    }
    async fn message(&mut self, _: &Peer<'_>, _: MessageEnd) -> Verdict<'_> {
        Verdict::Accept
    }
}

fn server(config: Arc<Config>) -> Server {
    Server::new(config)
}

/// A listener behind a balancer at which TLS ends.
fn behind_tls(server: &mut Server, at: SocketAddr, from: &[Network]) -> SocketAddr {
    let listener = Listener::tcp(at).expect("bound").proxy(from).tls_before();
    let address = listener.address().expect("TCP");
    server.add(listener);
    address
}
