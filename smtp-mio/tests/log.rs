//! What the log says of a connection names the session as its handler does, so that the lines of one can be found.

use std::fmt::{self, Write as _};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use smtp_mio::{Answer, Handler, MessageHandler, Messages, Peer, Server};
use smtp_proto::server::{Config, Envelope, MessageEnd, Room, Timeouts, Verdict};
use smtp_testing::Certificate;
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

/// Has a name for its session; with `whole` as a handler of whole messages.
struct Named;

impl Handler for Named {
    fn session(&self) -> Option<&str> {
        Some("S1")
    }
    fn message(&mut self, _: &Peer<'_>, _: MessageEnd) -> Answer<'_> {
        Verdict::Accept.into()
    }
}

impl MessageHandler for Named {
    fn session(&self) -> Option<&str> {
        Some("S2")
    }
    fn message(&mut self, _: &Peer<'_>, _: Envelope) -> Answer<'_> {
        Verdict::Accept.into()
    }
}

/// Sends each line on.
struct Lines(Mutex<Sender<String>>);

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("smtp_mio")
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let _ = self.0.lock().expect("lock").send(line.0);
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[derive(Default)]
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, "{field}={value:?} ");
    }
}

/// The addresses of a server, of which one begins with TLS.
fn serve<H: Handler>(make: impl Fn() -> H + Clone + Send + Sync + 'static) -> [SocketAddr; 2] {
    let mut times = Timeouts::default();
    times.handshake = Duration::from_secs(1);
    let config = Config::new("mx.example.net").expect("a name").timeouts(times);
    let certificate = Certificate::new("mx.example.net").expect("a certificate");
    let mut server = Server::with_threads(config.shared(), 1).tls(certificate.server);
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let places = [server.listen(any).expect("bound"), server.listen_tls(any).expect("bound")];
    thread::spawn(move || server.run(move |_| make()));
    places
}

fn connect(address: SocketAddr, starttls: bool) -> TcpStream {
    let socket = TcpStream::connect(address).expect("connected");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let mut reader = BufReader::new(socket);
    let dialogue: &[_] =
        if starttls { &[("", "220 "), ("EHLO c.example\r\n", "250 "), ("STARTTLS\r\n", "220 ")] } else { &[] };
    for (say, code) in dialogue {
        reader.get_mut().write_all(say.as_bytes()).expect("written");
        let mut line = String::new();
        while !line.starts_with(code) {
            line.clear();
            assert!(reader.read_line(&mut line).expect("a reply") > 0, "the end instead of {code}");
        }
    }
    reader.into_inner()
}

fn next(lines: &Receiver<String>) -> String {
    lines.recv_timeout(Duration::from_secs(20)).expect("a line")
}

#[test]
fn a_handshake_that_fails_is_told_with_the_name_of_its_session() {
    let (sender, lines) = channel();
    tracing::subscriber::set_global_default(Lines(Mutex::new(sender))).expect("the first");
    let room = Arc::new(Room::default());
    for ([plain, tls], name) in [(serve(|| Named), "S1"), (serve(move || Messages::new(Named, &room)), "S2")] {
        for (address, starttls) in [(plain, true), (tls, false)] {
            // No TLS at all; TLS that comes to no end in time; and none, as a load balancer's that looks whether it is there.
            for (octets, closes, failure, what) in [
                (&b"no TLS at all, and never will be\r\n"[..], false, "sent no TLS", "the TLS handshake failed"),
                (b"\x16\x03\x01\x02\x00\x01", false, "timed out", "the TLS handshake failed"),
                (b"", true, "closed", "no TLS handshake was begun"),
            ] {
                let mut socket = connect(address, starttls);
                socket.write_all(octets).expect("written");
                if !closes {
                    let _ = socket.read_to_end(&mut Vec::new());
                }
                let peer = socket.local_addr().expect("an address");
                drop(socket);
                let line = loop {
                    let line = next(&lines);
                    if line.contains(what) {
                        break line;
                    }
                };
                assert!(line.contains(&format!("session={name:?} peer={peer} ")), "{starttls}: {line}");
                assert!(line.contains(failure), "{starttls}: {line}");
            }
        }
    }
}
