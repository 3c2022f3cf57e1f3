//! The PROXY header over sockets.

use std::net::SocketAddr;
use std::sync::Arc;

use smtp_mio::{Answer, Handle, Handler, Limits, Peer, Server};
use smtp_proto::proxy::Network;
use smtp_proto::server::{Config, MessageEnd, Verdict};

use cases::words;

#[path = "../../smtp-proto/testing/adapters/proxy.rs"]
mod cases;

/// Greets each peer by the address it is taken to have.
struct Mirror(String);

impl Handler for Mirror {
    fn connect(&mut self, peer: &Peer<'_>) -> Answer<'_> {
        self.0 = peer.address.expect("TCP").to_string();
        Verdict::AcceptWith(&self.0).into()
    }
    fn message(&mut self, _: &Peer<'_>, _: MessageEnd) -> Answer<'_> {
        Verdict::Accept.into()
    }
}

/// Greets each peer by what is known of its TLS.
struct Told(String);

impl Handler for Told {
    fn connect(&mut self, peer: &Peer<'_>) -> Answer<'_> {
        self.0 = words(peer.session.tls());
        Verdict::AcceptWith(&self.0).into()
    }
    fn message(&mut self, _: &Peer<'_>, _: MessageEnd) -> Answer<'_> {
        Verdict::Accept.into()
    }
}

fn server(config: Arc<Config>) -> Server {
    Server::with_threads(config, 1)
}

/// A listener behind a balancer at which TLS ends.
fn behind_tls(server: &mut Server, at: SocketAddr, from: &[Network]) -> SocketAddr {
    server.listen_proxy_tls_before(at, from).expect("bound")
}
