//! How a client may end: all that it sent before counts, and is answered, within TLS as in plaintext.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use smtp_mio::{Answer, Handler, Peer, Server};
use smtp_proto::server::{Config, MessageEnd, Verdict};

#[path = "../../smtp-proto/testing/adapters/ending.rs"]
mod cases;

/// Counts messages.
struct Count(Arc<AtomicUsize>);

impl Handler for Count {
    fn message(&mut self, _: &Peer<'_>, _: MessageEnd) -> Answer<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Verdict::Accept.into()
    }
}

fn server(config: Arc<Config>) -> Server {
    Server::with_threads(config, 1)
}
