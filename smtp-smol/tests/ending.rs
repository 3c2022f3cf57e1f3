//! How a client may end: all that it sent before counts, and is answered, within TLS as in plaintext.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use smtp_proto::server::{Config, MessageEnd, Verdict};
use smtp_smol::{Handler, Peer, Server};

#[path = "../../smtp-proto/testing/adapters/ending.rs"]
mod cases;

/// Counts messages.
struct Count(Arc<AtomicUsize>);

impl Handler for Count {
    async fn message(&mut self, _: &Peer<'_>, _: MessageEnd) -> Verdict<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Verdict::Accept
    }
}

fn server(config: Arc<Config>) -> Server {
    Server::new(config)
}
