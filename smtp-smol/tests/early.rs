//! Who talks before the greeting (RFC 5321 3.1, 4.3.1).

use std::sync::Arc;
use std::sync::mpsc::Sender;

use smtp_proto::server::{Config, Fault, FaultKind, MessageEnd, Verdict};
use smtp_smol::{Handler, Peer, Server};

#[path = "../../smtp-proto/testing/adapters/early.rs"]
mod cases;

/// Tells of faults.
struct Tell(Sender<FaultKind>);

impl Handler for Tell {
    async fn message(&mut self, _: &Peer<'_>, _: MessageEnd) -> Verdict<'_> {
        Verdict::Accept
    }
    fn fault(&mut self, _: &Peer<'_>, fault: Fault) {
        self.0.send(fault.kind).expect("the test listens");
    }
}

fn server(config: Arc<Config>) -> Server {
    Server::new(config)
}
