//! `smtp-smol`, on one thread of its own for each connection.
//! Its test `seeds` includes this file, too, and runs every seed on stable.

#[path = "adapters.rs"]
mod adapters;

use std::os::unix::net::UnixStream;

use smtp_proto::server::{MessageEnd, Verdict};
use smtp_proto::syntax::Rcpt;
use smtp_smol::{Handler, Peer, Server};

use adapters::{SERVER, Served, Setup, Taken, no, takes_recipient, takes_text};

pub fn run(data: &[u8]) {
    adapters::run(data, serve);
}

struct Keep {
    text: Vec<u8>,
    taken: Taken,
}

impl Handler for Keep {
    async fn rcpt(&mut self, _: &Peer<'_>, rcpt: &Rcpt<'_>) -> Verdict<'_> {
        if takes_recipient(rcpt.path.as_str()) { Verdict::Accept } else { no() }
    }
    async fn chunk(&mut self, text: &[u8]) {
        self.text.extend_from_slice(text);
    }
    async fn message(&mut self, _: &Peer<'_>, _: MessageEnd) -> Verdict<'_> {
        if !takes_text(&self.text) {
            return no();
        }
        self.taken.lock().expect("no panic").push(self.text.escape_ascii().to_string());
        Verdict::Accept
    }
    fn reset(&mut self, _: &Peer<'_>) {
        self.text.clear();
    }
}

fn serve(setup: Setup) -> Served {
    let (client, socket) = UnixStream::pair().expect("a pair");
    let server = socket.try_clone().expect("a descriptor");
    let taken = Taken::default();
    let handler = Keep { text: Vec::new(), taken: taken.clone() };
    let served = std::thread::spawn(move || {
        let server = Server::new(setup.config()).tls(SERVER.clone());
        let socket = smol::Async::new(socket).expect("a socket");
        // How the connection ends is the client's affair.
        let _ = smol::block_on(async {
            if setup.tls {
                server.drive_tls(socket, None, handler).await
            } else {
                server.drive(socket, None, handler).await
            }
        });
    });
    Served { client, server, taken, end: Box::new(move || served.join().expect("no panic")) }
}
