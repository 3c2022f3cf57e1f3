//! `smtp-mio`: an event loop for each setup, which runs as long as the process does.
//! Its test `seeds` includes this file, too, and runs every seed on stable.

#[path = "adapters.rs"]
mod adapters;

use std::collections::HashMap;
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use smtp_mio::{Answer, Handle, Handler, Peer, Server};
use smtp_proto::server::{MessageEnd, Verdict};
use smtp_proto::syntax::Rcpt;

use adapters::{SERVER, Served, Setup, Taken, no, takes_recipient, takes_text};

pub fn run(data: &[u8]) {
    adapters::run(data, serve);
}

struct Keep {
    text: Vec<u8>,
    taken: Taken,
}

impl Handler for Keep {
    fn rcpt(&mut self, _: &Peer<'_>, rcpt: &Rcpt<'_>) -> Answer<'_> {
        if takes_recipient(rcpt.path.as_str()) { Verdict::Accept.into() } else { no().into() }
    }
    fn chunk(&mut self, text: &[u8]) {
        self.text.extend_from_slice(text);
    }
    fn message(&mut self, _: &Peer<'_>, _: MessageEnd) -> Answer<'_> {
        if !takes_text(&self.text) {
            return no().into();
        }
        self.taken.lock().expect("no panic").push(self.text.escape_ascii().to_string());
        Verdict::Accept.into()
    }
    fn reset(&mut self, _: &Peer<'_>) {
        self.text.clear();
    }
}

/// There is one connection at a time, so that what was taken was taken on it.
static SERVERS: LazyLock<Mutex<HashMap<Setup, (Handle, Taken)>>> = LazyLock::new(Mutex::default);

fn serve(setup: Setup) -> Served {
    let mut servers = SERVERS.lock().expect("no panic");
    let (handle, taken) = servers.entry(setup).or_insert_with(|| {
        let server = Server::with_threads(setup.config(), 1).tls(SERVER.clone());
        let (handle, taken) = (server.handle(), Taken::default());
        let keep = taken.clone();
        std::thread::spawn(move || server.run(move |_| Keep { text: Vec::new(), taken: keep.clone() }));
        (handle, taken)
    });
    let (client, socket) = UnixStream::pair().expect("a pair");
    let server = socket.try_clone().expect("a descriptor");
    let mut socket = OwnedFd::from(socket);
    // Until the loop runs, nothing is taken over.
    loop {
        let again = socket.try_clone().expect("a descriptor");
        let address = (Ipv4Addr::LOCALHOST, 25).into();
        let stream = TcpStream::from(socket);
        if (if setup.tls { handle.drive_tls(stream, address) } else { handle.drive(stream, address) }).is_ok() {
            break;
        }
        socket = again;
        std::thread::sleep(Duration::from_millis(1));
    }
    Served { client, server, taken: taken.clone(), end: Box::new(|| {}) }
}
