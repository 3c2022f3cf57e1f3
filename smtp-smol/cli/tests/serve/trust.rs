//! `--trust`: who may say by XCLIENT and XFORWARD for whom it speaks, and what becomes of that.

use super::program::{Client, Program, output};

const SERVE: [&str; 8] =
    ["--listen", "127.0.0.1:0", "--tls", "off", "--deliver", "maildir:mail", "--ledger", "ledger.jsonl"];

/// Sends a message; gives the field Received, and the peer in the ledger.
fn deliver(folder: &std::path::Path, client: &mut Client, hello: &str) -> (String, serde_json::Value) {
    assert!(client.say(hello).starts_with("250"), "{hello}");
    for said in ["MAIL FROM:<a@c.example>", "RCPT TO:<b@mx.example.net>", "DATA", "a: b\r\n\r\n."] {
        assert!(client.say(said).starts_with(['2', '3']), "{said}");
    }
    assert!(client.say("QUIT").starts_with("221 "));
    assert_eq!(client.rest(), "");
    let mail = std::fs::read_dir(folder.join("mail/new")).expect("a Maildir");
    let newest = mail.map(|file| file.expect("read").path()).max().expect("a message");
    let text = std::fs::read_to_string(newest).expect("read");
    let received = text.lines().find(|line| line.starts_with("Received: ")).expect("a field").to_owned();
    // The ledger is written behind the reply.
    let count = std::fs::read_dir(folder.join("mail/new")).expect("a Maildir").count();
    let deadline = std::time::Instant::now() + super::program::PATIENCE;
    loop {
        let ledger = std::fs::read_to_string(folder.join("ledger.jsonl")).expect("a ledger");
        if ledger.lines().count() == count && ledger.ends_with('\n') {
            let line: serde_json::Value = serde_json::from_str(ledger.lines().last().expect("a line")).expect("JSON");
            return (received, line["peer"].clone());
        }
        assert!(std::time::Instant::now() < deadline, "{ledger}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[test]
fn a_trusted_peer_speaks_for_its_clients() {
    let folder = tempfile::tempdir().expect("a folder");
    let options =
        [&SERVE[..], &["--trust", "192.0.2.0/24", "--trust", "127.0.0.1", "--connection-rate", "2/1h"]].concat();
    let program = Program::serve(folder.path(), &options, 1);
    let connect = || {
        let mut client = Client::connect(&program.address(0));
        assert!(client.reply().starts_with("220 "));
        let offered = client.say("EHLO front.example");
        assert!(offered.contains("250-XCLIENT ") && offered.contains("250-XFORWARD "), "{offered}");
        client
    };
    let mut client = connect();
    assert!(client.say("XCLIENT NAME=[UNAVAILABLE] ADDR=198.51.100.7 PORT=5000 HELO=c.example").starts_with("220 "));
    let (received, peer) = deliver(folder.path(), &mut client, "EHLO c.example");
    assert!(received.contains("[198.51.100.7]"), "{received}");
    assert_eq!(peer, "198.51.100.7");
    let mut client = connect();
    assert!(client.say("XCLIENT ADDR=IPV6:2001:db8::7").starts_with("220 "));
    assert!(deliver(folder.path(), &mut client, "HELO c.example").0.contains("[IPv6:2001:db8::7]"));
    // For the log alone: the hop stays what it is.
    let mut client = connect();
    assert!(client.say("XFORWARD ADDR=198.51.100.8 NAME=c.example").starts_with("250 "));
    assert!(client.say("XFORWARD HELO=c.example PROTO=ESMTP").starts_with("250 "));
    let (received, peer) = deliver(folder.path(), &mut client, "EHLO front.example");
    assert!(received.contains("[127.0.0.1]"), "{received}");
    assert_eq!(peer, "127.0.0.1");
    for wrong in
        ["ADDR=198.51.100.7.8", "ADDR=IPV6:x", "", "ADDR", "ADDR=198.51.100.7+00", "ADDR=198.51.100.7 PORT=70000"]
    {
        let mut client = connect();
        for command in ["XCLIENT", "XFORWARD"] {
            let reply = client.say(&format!("{command} {wrong}"));
            assert!(reply.starts_with("50"), "{command} {wrong}: {reply}");
        }
        assert!(client.say("MAIL FROM:<a@c.example>").starts_with("250 "), "{wrong}: the session goes on");
    }
    // What one client may do does not depend on others behind the same front.
    let claims = |address: &str| {
        let mut client = connect();
        assert!(client.say(&format!("XCLIENT ADDR={address}")).starts_with("220 "));
        client.say("EHLO c.example")
    };
    for _ in 0..2 {
        assert!(claims("203.0.113.1").starts_with("250"));
    }
    assert!(claims("203.0.113.1").starts_with("421 4.7.0 "));
    assert!(claims("203.0.113.2").starts_with("250"));
}

#[test]
fn nobody_else_is_heard() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::serve(folder.path(), &[&SERVE[..], &["--trust", "192.0.2.0/24"]].concat(), 1);
    let mut client = Client::connect(&program.address(0));
    assert!(client.reply().starts_with("220 "));
    let offered = client.say("EHLO front.example");
    assert!(!offered.contains("XCLIENT") && !offered.contains("XFORWARD"), "{offered}");
    for command in ["XCLIENT ADDR=198.51.100.7", "XFORWARD ADDR=198.51.100.7"] {
        assert!(client.say(command).starts_with("502 "), "{command}");
    }
    assert!(deliver(folder.path(), &mut client, "EHLO front.example").0.contains("[127.0.0.1]"));
    for wrong in ["front.example", "192.0.2.0/33", "192.0.2.1/24/8", ""] {
        let done = output(folder.path(), &["serve", "--trust", wrong]);
        assert_eq!(done.status.code(), Some(2), "{wrong}: {done:?}");
    }
}
