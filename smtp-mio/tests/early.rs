//! Who talks before the greeting (RFC 5321 3.1, 4.3.1).

use std::sync::Arc;
use std::sync::mpsc::Sender;

use smtp_mio::{Answer, Handler, Peer, Server};
use smtp_proto::server::{Config, Fault, FaultKind, MessageEnd, Verdict};

#[path = "../../smtp-proto/testing/adapters/early.rs"]
mod cases;

/// Tells of faults.
struct Tell(Sender<FaultKind>);

impl Handler for Tell {
    fn message(&mut self, _: &Peer<'_>, _: MessageEnd) -> Answer<'_> {
        Verdict::Accept.into()
    }
    fn fault(&mut self, _: &Peer<'_>, fault: Fault) {
        self.0.send(fault.kind).expect("the test listens");
    }
}

fn server(config: Arc<Config>) -> Server {
    Server::with_threads(config, 1)
}
