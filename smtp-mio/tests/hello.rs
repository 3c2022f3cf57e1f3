//! What a server knows of clients whose handshake fails: what they offered, and why it came to nothing.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use smtp_mio::{Answer, Handler, Peer, Server};
use smtp_proto::server::{Config, MessageEnd, Reason, Verdict};
use smtp_proto::tls::{TlsOffer, TlsOutcome};

#[path = "../../smtp-proto/testing/adapters/hello.rs"]
mod cases;

/// Tells of each session what became of TLS.
struct Tell(Sender<(Option<TlsOffer>, TlsOutcome)>);

impl Handler for Tell {
    fn message(&mut self, _: &Peer<'_>, _: MessageEnd) -> Answer<'_> {
        Verdict::Accept.into()
    }
    fn closed(&mut self, peer: &Peer<'_>, _: Reason) {
        let _ = self.0.send((peer.session.offered(), peer.session.tls_outcome()));
    }
}

fn server(config: Arc<Config>) -> Server {
    Server::with_threads(config, 1)
}
