//! What a handler is told and asked, over sockets.

use std::sync::{Arc, Mutex};

use smtp_proto::server::{Config, Fault, FaultKind, MessageEnd, Verdict};
use smtp_proto::syntax::{Attributes, Rcpt, Reply, Verb};
use smtp_smol::{Handler, Peer, Server};

#[path = "../../smtp-proto/testing/adapters/handler.rs"]
mod cases;

/// Collects recipients with RCPT, forgets them in `reset`, and tells of everything.
#[derive(Clone, Default)]
struct Collect {
    recipients: Vec<String>,
    told: Arc<Mutex<Vec<String>>>,
}

impl Collect {
    fn tell(&self, what: impl Into<String>) {
        self.told.lock().expect("lock").push(what.into());
    }
}

impl Handler for Collect {
    async fn start_tls(&mut self, _: &Peer<'_>) -> Verdict<'_> {
        self.tell("start_tls");
        Verdict::Refuse(Reply::fixed(454, (4, 7, 0), "Not now"))
    }
    async fn command(&mut self, _: &Peer<'_>, verb: Verb) -> Verdict<'_> {
        self.tell(verb.as_str());
        if verb == Verb::Noop { Verdict::AcceptWith("still here") } else { Verdict::Accept }
    }
    async fn xclient(&mut self, peer: &Peer<'_>, client: &Attributes<'_>) -> Verdict<'_> {
        self.tell(format!("{} for {}", ip(peer), client.as_str()));
        Verdict::Accept
    }
    async fn xforward(&mut self, peer: &Peer<'_>, client: &Attributes<'_>) -> Verdict<'_> {
        self.tell(format!("{} forwards {}", ip(peer), client.as_str()));
        Verdict::Accept
    }
    async fn rcpt(&mut self, peer: &Peer<'_>, rcpt: &Rcpt<'_>) -> Verdict<'_> {
        self.recipients.push(rcpt.path.as_str().into());
        self.tell(format!("rcpt from {}", ip(peer)));
        Verdict::Accept
    }
    async fn message(&mut self, _: &Peer<'_>, end: MessageEnd) -> Verdict<'_> {
        self.tell(format!("message {:?} to {}", end.recipient, self.recipients.join(" ")));
        Verdict::Accept
    }
    fn fault(&mut self, _: &Peer<'_>, fault: Fault) {
        // Those of pipelining depend on the reads; a refused command is no matter here.
        if matches!(fault.kind, FaultKind::Syntax(_) | FaultKind::Lenient(_)) {
            self.tell(format!("{:?}", fault.kind));
        }
    }
    fn reset(&mut self, _: &Peer<'_>) {
        self.recipients.clear();
        self.tell("reset");
    }
}

fn ip(peer: &Peer<'_>) -> String {
    peer.address.map_or_else(|| "nowhere".into(), |address| address.ip().to_string())
}

fn server(config: Arc<Config>) -> Server {
    Server::new(config)
}
