//! What a server knows of clients whose handshake fails: what they offered, and why it came to nothing.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use smtp_proto::server::{Config, MessageEnd, Reason, Verdict};
use smtp_proto::tls::{TlsOffer, TlsOutcome};
use smtp_smol::{Handler, Peer, Server};

#[path = "../../smtp-proto/testing/adapters/hello.rs"]
mod cases;

/// Tells of each session what became of TLS.
struct Tell(Sender<(Option<TlsOffer>, TlsOutcome)>);

impl Handler for Tell {
    async fn message(&mut self, _: &Peer<'_>, _: MessageEnd) -> Verdict<'_> {
        Verdict::Accept
    }
    fn closed(&mut self, peer: &Peer<'_>, _: Reason) {
        let _ = self.0.send((peer.session.offered(), peer.session.tls_outcome()));
    }
}

fn server(config: Arc<Config>) -> Server {
    Server::new(config)
}
