//! The server over real sockets, with a client written here by hand.

mod hostile;
mod running;
mod tls;

use std::io::{BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use rustls::ALL_VERSIONS;
use smtp_mio::{Limits, OwnedVerdict};
use smtp_proto::auth::MechanismSet;
use smtp_proto::auth::server::Answer as Login;
use smtp_proto::server::Config;
use smtp_proto::syntax::Enhanced;
use smtp_proto::tls::Policy;

use running::{Client, Running};

pub(crate) const ENVELOPE: &str = "MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n";

#[test]
fn messages_in_plaintext_and_over_starttls() {
    let running = Running::start(Policy::Offer);
    let mut client = running.connect();
    client.say("EHLO c.example\r\n");
    assert!(client.expect("250 ENHANCEDSTATUSCODES").contains("STARTTLS"));
    let text = ".dot\r\nline\r\n".repeat(20_000);
    for _ in 0..3 {
        client.say(ENVELOPE);
        for code in ["250 2.1.0", "250 2.1.5", "354"] {
            client.expect(code);
        }
        client.say(&text.replace("\r\n.", "\r\n..").replacen(".dot", "..dot", 1));
        client.say(".\r\n");
        client.expect("250 2.0.0 kept");
    }
    client.say("STARTTLS\r\n");
    client.expect("220");
    let mut client = running.tls(client.0.into_inner(), ALL_VERSIONS);
    client.say("EHLO c.example\r\n");
    assert!(!client.expect("250 ENHANCEDSTATUSCODES").contains("STARTTLS"));
    client.say(&format!("{ENVELOPE}{text}.\r\nQUIT\r\n").replace("\r\n.dot", "\r\n..dot"));
    for code in ["250 2.1.0", "250 2.1.5", "354", "250 2.0.0 kept", "221"] {
        client.expect(code);
    }
    client.closed();
    let kept = running.stop();
    let messages = kept.messages.lock().expect("lock");
    let protocols: Vec<_> = messages.iter().map(|(protocol, _)| protocol.as_str()).collect();
    assert_eq!(protocols, ["ESMTP", "ESMTP", "ESMTP", "ESMTPS"]);
    assert!(messages.iter().all(|(_, kept)| *kept == text.as_bytes()));
    assert_eq!(*kept.closed.lock().expect("lock"), ["Quit"]);
}

/// RFC 3207 4: what is glued behind STARTTLS is never parsed.
#[test]
fn injection_behind_starttls_ends_the_session() {
    let running = Running::start(Policy::Offer);
    let mut client = running.connect();
    client.say("EHLO c.example\r\n");
    client.expect("250");
    client.say("STARTTLS\r\nRSET\r\nMAIL FROM:<evil@example.org>\r\n");
    client.expect("220");
    client.closed();
    assert_eq!(*running.stop().closed.lock().expect("lock"), ["Fault(PlaintextBehindStartTls)"]);
}

/// Nobody waits meanwhile but the client; forgotten, an answer is a temporary failure (RFC 4954 6).
#[test]
fn auth_is_answered_later_from_another_thread() {
    let config = Config::new("mx.example.net").expect("a name").tls(Policy::Off);
    let running = Running::of(config.auth(MechanismSet::PASSWORD).allow_plaintext_auth(true), Limits::default());
    let plain = |user: &str| match user {
        "later" => "AUTH PLAIN AGxhdGVyAHBlbmNpbA==\r\n",
        "slow" => "AUTH PLAIN AHNsb3cAcGVuY2ls\r\n",
        _ => "AUTH PLAIN AGdvbmUAcGVuY2ls\r\n",
    };
    let mut client = running.connect();
    client.say(&format!("EHLO c.example\r\n{}{}{}NOOP\r\n", plain("later"), plain("later"), plain("later")));
    client.expect("250");
    let owed = || running.later_auth.recv_timeout(Duration::from_secs(20)).expect("a deferred answer");
    drop(owed());
    client.expect("454 4.7.0");
    owed().answer(Login::Reject);
    client.expect("535 5.7.8");
    owed().answer(Login::Accept);
    client.expect("235 2.7.0");
    client.expect("250");
    let mut client = running.connect();
    client.say(&format!("EHLO c.example\r\n{}NOOP\r\n", plain("slow")));
    for code in ["250", "235 2.7.0", "250"] {
        client.expect(code);
    }
    let mut client = running.connect();
    client.say(&format!("EHLO c.example\r\n{}NOOP\r\n", plain("gone")));
    client.closed();
    running.stop();
}

#[test]
fn an_answer_given_later_from_another_thread() {
    let running = Running::start(Policy::Off);
    let mut client = running.connect();
    client.say(
        "EHLO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<later@example.net>\r\nRCPT TO:<later2@example.net>\r\nNOOP\r\n",
    );
    client.expect("250");
    client.expect("250 2.1.0");
    let first = running.later.recv_timeout(Duration::from_secs(20)).expect("a deferred answer");
    first.answer(OwnedVerdict::Refuse(550, Some(Enhanced::new(5, 1, 1)), "Unknown".into()));
    client.expect("550 5.1.1 Unknown");
    drop(running.later.recv_timeout(Duration::from_secs(20)).expect("a deferred answer"));
    client.expect("451 4.3.0");
    client.expect("250 2.0.0 Ok");
    running.stop();
}

/// RFC 5321 3.8: 421 between commands; the message in flight completes.
#[test]
fn shutting_down_lets_the_message_complete() {
    let running = Running::start(Policy::Off);
    let (mut idle, mut busy) = (running.connect(), running.connect());
    busy.say(&format!("EHLO c.example\r\n{ENVELOPE}half a "));
    for code in ["250", "250 2.1.0", "250 2.1.5", "354"] {
        busy.expect(code);
    }
    running.handle.shut_down();
    idle.expect("421 4.3.2");
    idle.closed();
    drop(idle);
    busy.say("message\r\n.\r\n");
    busy.expect("250 2.0.0 kept");
    busy.expect("421 4.3.2");
    busy.closed();
    drop(busy);
    assert_eq!(running.stop().messages.lock().expect("lock")[0].1, b"half a message\r\n");
}

/// A peer that never reads is not read from, and does not stop the others.
#[test]
fn a_peer_that_does_not_read_is_not_read_from() {
    let running = Running::start(Policy::Off);
    let mut flood = running.connect();
    flood.0.get_mut().set_write_timeout(Some(Duration::from_millis(300))).expect("a timeout");
    flood.say("EHLO c.example\r\n");
    let line = format!("{ENVELOPE}.\r\n").repeat(1000);
    let mut written = 0;
    while written < 1 << 30 {
        match flood.0.get_mut().write(line.as_bytes()) {
            Ok(n) => written += n,
            Err(_) => break,
        }
    }
    assert!(written < 64 << 20, "{written} octets were taken from a peer that reads no replies");
    let mut other = running.connect();
    other.say("EHLO c.example\r\nQUIT\r\n");
    other.expect("250");
    other.expect("221");
    drop((flood, other));
    running.stop();
}

/// RFC 8314 3.3, and the versions that RFC 8996 leaves.
#[test]
fn tls_from_the_first_octet_in_both_versions() {
    let running = Running::start(Policy::Off);
    let text = "x".repeat(70).repeat(1000) + "\r\n";
    for version in ALL_VERSIONS {
        let socket = TcpStream::connect(running.tls_address).expect("connected");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let mut client = running.tls(socket, &[version]);
        client.expect("220");
        client.say("EHLO c.example\r\n");
        client.expect("250");
        client.say(&format!("{ENVELOPE}{text}.\r\nQUIT\r\n"));
        for code in ["250", "250", "354", "250 2.0.0 kept", "221"] {
            client.expect(code);
        }
        client.closed();
        assert_eq!(client.0.get_ref().conn.protocol_version(), Some(version.version));
    }
    let stats = running.handle.stats();
    assert_eq!((stats.connections, stats.messages, stats.octets), (2, 2, 2 * 70_002));
    assert_eq!((stats.handshakes, stats.resumed, stats.handshakes_failed), (2, 0, 0));
    let kept = running.stop();
    let messages = kept.messages.lock().expect("lock");
    assert!(messages.iter().all(|(protocol, kept)| protocol == "ESMTPS" && *kept == text.as_bytes()));
}

/// A client may send its first command in one flight with the end of its handshake.
#[test]
fn a_command_glued_to_the_handshake_is_heard() {
    let running = Running::start(Policy::Offer);
    for version in ALL_VERSIONS {
        let mut client = running.connect();
        client.say("EHLO c.example\r\nSTARTTLS\r\n");
        client.expect("250");
        client.expect("220");
        let mut client = running.tls(client.0.into_inner(), &[version]);
        // rustls holds it back until the handshake is done, and then sends both together.
        client.0.get_mut().conn.writer().write_all(b"EHLO c.example\r\nQUIT\r\n").expect("taken");
        client.expect("250");
        client.expect("221");
        client.closed();

        let socket = TcpStream::connect(running.tls_address).expect("connected");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let mut client = running.tls(socket, &[version]);
        client.0.get_mut().conn.writer().write_all(b"EHLO c.example\r\nQUIT\r\n").expect("taken");
        // RFC 5321 3.1: the greeting comes first. Without a pause before it, who did not wait is served all the same.
        for code in ["220", "250", "221"] {
            client.expect(code);
        }
        client.closed();
    }
    running.stop();
}

/// The end of a connection that comes together with its last octets is noticed all the same.
#[test]
fn an_end_glued_to_the_last_octets_is_noticed() {
    let running = Running::start(Policy::Off);
    for _ in 0..20 {
        let mut client = running.connect();
        client.say(&format!("EHLO c.example\r\n{ENVELOPE}half a"));
        client.0.get_ref().shutdown(std::net::Shutdown::Write).expect("shut down");
        for code in ["250", "250", "250", "354"] {
            client.expect(code);
        }
        client.closed();
    }
    let kept = running.stop();
    assert_eq!(kept.messages.lock().expect("lock").len(), 0);
    assert_eq!(*kept.closed.lock().expect("lock"), ["Eof"; 20]);
}

#[test]
fn a_delayed_answer_holds_up_nobody_else() {
    let running = Running::start(Policy::Off);
    let mut slow = running.connect();
    slow.say("EHLO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<slow@example.net>\r\nRSET\r\n");
    slow.expect("250");
    slow.expect("250");
    let mut other = running.connect();
    other.say("EHLO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<gone@example.net>\r\nRSET\r\n");
    // Hung up on, without a word, not even those that were due.
    other.closed();
    slow.expect("250 2.1.5 at last");
    slow.expect("250 2.0.0");
    drop(slow);
    running.stop();
}

#[test]
fn a_handler_that_panics_ends_its_own_connection() {
    let running = Running::start(Policy::Off);
    let mut other = running.connect();
    let mut client = running.connect();
    client.say("EHLO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<panic@example.net>\r\n");
    client.closed();
    other.say("EHLO c.example\r\nQUIT\r\n");
    other.expect("250");
    other.expect("221");
    other.closed();
    running.stop();
}

/// RFC 5321 3.8: 421 to those for whom there is no room, and room again when others have gone.
#[test]
fn connections_are_bounded() {
    let mut limits = Limits::default();
    limits.per_address = 2;
    let running = Running::start_with(Policy::Off, limits);
    let (mut first, second) = (running.connect(), running.connect());
    let third = TcpStream::connect(running.address).expect("connected");
    let mut third = Client(BufReader::new(third));
    third.expect("421 4.7.0");
    third.closed();
    assert_eq!(running.handle.stats().open, 2);
    first.say("QUIT\r\n");
    first.expect("221");
    first.closed();
    running.connect();
    assert_eq!(running.handle.stats().turned_away, 1);
    drop(second);
    running.stop();
}
