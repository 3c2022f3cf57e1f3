//! What peers do to wear a server out: each is bounded, and does not disturb the others.

use std::io::{self, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::ALL_VERSIONS;
use smtp_mio::Limits;
use smtp_proto::server::{Config, Timeouts};
use smtp_proto::tls::Policy;

use crate::running::{Client, Running};

/// A server that is in a hurry, with half-second ticks.
fn hurried() -> Running {
    let mut timeouts = Timeouts::default();
    timeouts.command = Duration::from_secs(1);
    timeouts.text = Duration::from_secs(1);
    timeouts.handshake = Duration::from_secs(1);
    let config = Config::new("mx.example.net").expect("a name").tls(Policy::Offer);
    Running::of(config.timeouts(timeouts), Limits::default())
}

fn socket(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).expect("connected");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    socket
}

/// An octet now and then, until the server has had enough: what it said meanwhile.
fn drip(mut socket: TcpStream, octets: &[u8]) -> String {
    socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
    let (mut said, mut buffer) = (Vec::new(), [0; 512]);
    for octet in octets.iter().cycle() {
        if socket.write_all(&[*octet]).is_err() {
            break;
        }
        match socket.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => said.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
        assert!(said.len() < 1000, "{}", said.escape_ascii());
    }
    String::from_utf8(said).expect("ASCII")
}

/// RFC 5321 4.5.3.2: the time is for the whole command, and for so many octets of text, not for each octet.
#[test]
fn a_drip_is_no_progress() {
    let running = hurried();
    let mut other = running.connect();
    let (in_command, in_text) = (socket(running.address), running.connect());
    let mut in_text = in_text;
    in_text.say("EHLO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n");
    for code in ["250", "250", "250", "354"] {
        in_text.expect(code);
    }
    let in_text = std::thread::spawn(move || drip(in_text.0.into_inner(), b"a line of text\r\n"));
    let said = drip(in_command, b"NOOPNOOPNOOP");
    assert!(said.ends_with("421 4.4.2 Nothing came in time; closing\r\n"), "{said}");
    let said = in_text.join().expect("no panic");
    assert!(said.ends_with("421 4.4.2 Nothing came in time; closing\r\n"), "{said}");
    // Whoever goes on in time is not sent away; and this one does not.
    other.expect("421 4.4.2");
    assert!(running.stop().messages.lock().expect("lock").is_empty());
}

/// A handshake has its time, all in all: silent, half begun, or dripping.
#[test]
fn a_handshake_that_does_not_come_to_its_end_is_given_up() {
    let running = hurried();
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    for begun in [&b""[..], &hello[..4], hello] {
        let mut first = socket(running.tls_address);
        first.write_all(begun).expect("written");
        let mut client = running.connect();
        client.say("EHLO c.example\r\nSTARTTLS\r\n");
        client.expect("250");
        client.expect("220");
        let mut later = client.0.into_inner();
        later.write_all(begun).expect("written");
        for mut socket in [first, later] {
            let mut said = Vec::new();
            socket.read_to_end(&mut said).expect("the end");
            assert!(said.is_empty(), "{}", said.escape_ascii());
        }
    }
    assert_eq!(drip(socket(running.tls_address), hello), "");
    // The octets of a handshake are counted, too.
    let mut endless = socket(running.tls_address);
    let record = [&b"\x16\x03\x01\x40\x00\x01\xff\xff\xff"[..], &[0; 16380]].concat();
    while endless.write_all(&record).is_ok() {}
    running.stop();
}

/// Their places are given back, whatever state they were in.
#[test]
fn thousands_that_come_and_go_leave_nothing_behind() {
    let running = Running::start_with(Policy::Offer, Limits::default());
    for round in 0..2000u64 {
        // A thousand may be open from one address, and a busy machine may see ends late: only half of that wait for it.
        while round % 500 == 0 && (running.handle.stats().connections < round || running.handle.stats().open > 0) {
            std::thread::yield_now();
        }
        let address = if round % 2 == 0 { running.address } else { running.tls_address };
        let mut socket = TcpStream::connect(address).expect("connected");
        if round % 3 == 0 {
            let _ = socket.write_all(b"\x16\x03\x01\x02\x00EHLO ");
        }
    }
    let mut client = running.connect();
    client.say("EHLO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n");
    for code in ["250", "250", "250", "354"] {
        client.expect(code);
    }
    client.say("x\r\n.\r\nQUIT\r\n");
    client.expect("250 2.0.0 kept");
    client.expect("221");
    client.closed();
    while running.handle.stats().open > 0 {
        std::thread::yield_now();
    }
    assert_eq!(running.handle.stats().turned_away, 0);
    running.stop();
}

/// Whoever never reads is not read from inside TLS either, where replies wait encrypted.
#[test]
fn a_peer_that_does_not_read_inside_tls_is_not_read_from() {
    let running = Running::start(Policy::Offer);
    for version in ALL_VERSIONS {
        let mut flood = running.tls(socket(running.tls_address), &[version]);
        flood.expect("220");
        flood.say("EHLO c.example\r\n");
        flood.expect("250");
        flood.0.get_mut().sock.set_write_timeout(Some(Duration::from_millis(300))).expect("a timeout");
        let line = "MAIL FROM:<>\r\nRSET\r\n".repeat(1000);
        let mut written = 0;
        while written < 1 << 30 && flood.0.get_mut().write_all(line.as_bytes()).is_ok() {
            written += line.len();
        }
        assert!(written < 64 << 20, "{written} octets were taken from a peer that reads no replies");
        let mut other = running.connect();
        other.say("EHLO c.example\r\nQUIT\r\n");
        other.expect("250");
        other.expect("221");
    }
    running.stop();
}

/// RFC 8446 4.6.3: keys may be asked to be changed; not for ever, and not at others' cost.
#[test]
fn a_flood_of_key_updates_ends_its_own_connection() {
    let running = Running::start(Policy::Offer);
    let mut flood = running.tls(socket(running.tls_address), ALL_VERSIONS);
    flood.expect("220");
    let mut asked = 0;
    let ended = loop {
        flood.0.get_mut().conn.refresh_traffic_keys().expect("TLS 1.3");
        asked += 1;
        if flood.0.get_mut().flush().is_err() || asked == 100_000 {
            break asked < 100_000;
        }
    };
    assert!(ended, "{asked} changes of keys");
    let mut other = running.connect();
    other.say("EHLO c.example\r\nQUIT\r\n");
    other.expect("250");
    other.expect("221");
    running.stop();
}

/// A record for each octet is a line all the same; and one that does not end has its limit.
#[test]
fn tiny_records_are_one_line() {
    let running = Running::start(Policy::Offer);
    let mut client = running.tls(socket(running.tls_address), ALL_VERSIONS);
    client.expect("220");
    for octet in "EHLO c.example\r\nNOOP\r\n".chars() {
        client.say(&octet.to_string());
    }
    client.expect("250");
    client.expect("250");
    let mut flood = Client(BufReader::new(client.0.into_inner()));
    let line = "x".repeat(1000);
    while flood.0.get_mut().write_all(line.as_bytes()).and_then(|()| flood.0.get_mut().flush()).is_ok() {}
    running.stop();
}

/// RFC 8446 5.1: a record may hold the beginning of a message, and the connection end behind it. That is no fault of the
/// library's: nothing panics.
#[test]
fn a_connection_that_ends_in_a_handshake_message_is_just_an_end() {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // A handler's panic belongs to another test.
        if !panic.to_string().contains("a handler's fault") {
            PANICS.fetch_add(1, Ordering::Relaxed);
        }
        usual(panic);
    }));
    let running = Running::start(Policy::Offer);
    let begun = b"\x16\x03\x01\x00\x06\x01\x00\x02\x00\x03\x03";
    for round in 0..20 {
        let mut socket = if round % 2 == 0 {
            socket(running.tls_address)
        } else {
            let mut client = running.connect();
            client.say("EHLO c.example\r\nSTARTTLS\r\n");
            client.expect("250");
            client.expect("220");
            client.0.into_inner()
        };
        socket.write_all(begun).expect("written");
        socket.shutdown(Shutdown::Write).expect("shut down");
        let mut said = Vec::new();
        socket.read_to_end(&mut said).expect("the end");
        assert_eq!(said, b"");
    }
    assert_eq!(running.handle.stats().handshakes_failed, 20);
    running.stop();
    assert_eq!(PANICS.load(Ordering::Relaxed), 0);
}
