//! The sink for tests of programs that send mail.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::{Rule, Settings, Sink, Verb};

fn connect(sink: &Sink) -> TcpStream {
    let socket = TcpStream::connect(sink.address()).expect("connected");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    socket
}

/// All codes that are said to one who waits for the greeting and then sends these lines.
fn codes(socket: impl Read + Write, lines: &str) -> String {
    let mut reader = BufReader::new(socket);
    let mut said = String::new();
    if reader.read_line(&mut said).is_ok_and(|n| n > 0) {
        reader.get_mut().write_all(lines.replace('\n', "\r\n").as_bytes()).expect("written");
        let _ = reader.read_to_string(&mut said);
    }
    let last = said.lines().filter(|line| line.as_bytes().get(3) == Some(&b' '));
    last.map(|line| &line[..3]).collect::<Vec<_>>().join(" ")
}

fn mail(to: &str) -> String {
    format!("MAIL FROM:<a@x.example>\nRCPT TO:<{to}>\nDATA\nSubject: Hi\n\n..dot\n.\n")
}

#[test]
fn what_was_sent_is_there_with_its_envelope() {
    let sink = Sink::start().expect("started");
    let said =
        codes(connect(&sink), &format!("EHLO client.example\n{}{}QUIT\n", mail("b@y.example"), mail("c@y.example")));
    assert_eq!(said, "220 250 250 250 354 250 250 250 354 250 221");
    let messages = sink.wait_for(2).expect("both");
    assert_eq!((&*messages[0].from, &*messages[0].to), ("a@x.example", &["b@y.example".to_owned()][..]));
    assert_eq!(messages[1].to, ["c@y.example"]);
    assert_eq!((messages[0].header("subject").as_deref(), messages[0].body()), (Some("Hi"), &b".dot\r\n"[..]));
    assert_eq!((messages[0].hello.as_deref(), messages[0].protocol), (Some("client.example"), "ESMTP"));
    assert!(messages[0].tls.is_none() && messages[0].peer.is_some_and(|peer| peer.ip().is_loopback()));
    let few = sink.wait_for_within(3, Duration::from_millis(50)).expect_err("no third");
    assert_eq!((few.came.len(), few.to_string().as_str()), (2, "2 of 3 messages came within 50ms"));
    assert_eq!((sink.take().len(), sink.messages().len()), (2, 0));
}

#[test]
fn tls_and_users_are_told_of() {
    let sink = Sink::start_with(Settings { auth: true, ..Settings::default() }).expect("started");
    assert!(sink.certificate_pem().starts_with("-----BEGIN CERTIFICATE-----"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let config = config.with_root_certificates(sink.authorities().expect("one")).with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let tls = ClientConnection::new(Arc::new(config), name).expect("a client");
    let socket = TcpStream::connect(sink.tls_address()).expect("connected");
    // Base64 of \0ann\0pencil.
    let lines = format!("EHLO a.example\nAUTH PLAIN AGFubgBwZW5jaWw=\n{}QUIT\n", mail("b@y.example"));
    let said = codes(StreamOwned::new(tls, socket), &lines);
    assert_eq!(said, "220 250 235 250 250 354 250 221");
    let message = sink.wait_for(1).expect("it came").remove(0);
    assert_eq!((message.user.as_deref(), message.protocol), (Some("ann"), "ESMTPSA"));
    assert!(message.tls.is_some_and(|tls| !tls.cipher.is_empty()));
}

#[test]
fn it_misbehaves_as_it_is_told() {
    let mut settings = Settings::default();
    settings.rules.add(Rule::refuse(Verb::Rcpt, "550 5.1.1 No such user").expect("a rule").with("unknown@"));
    settings.rules.add(Rule::wait(Verb::Data, Duration::from_millis(120)).first(1));
    settings.script("# a script\nMAIL first 1 450 4.2.1 Busy\nNOOP drop").expect("rules");
    let wrong = settings.script("RCPT\nQUIX drop").expect_err("no rule");
    assert!(wrong.to_string().starts_with("line 1, \"RCPT\": "), "{wrong}");
    let sink = Sink::start_with(settings).expect("started");

    assert_eq!(codes(connect(&sink), "EHLO a.example\nMAIL FROM:<>\nMAIL FROM:<>\nQUIT\n"), "220 250 450 250 221");
    let begun = Instant::now();
    let said = codes(
        connect(&sink),
        &format!("EHLO a.example\nMAIL FROM:<>\nRCPT TO:<unknown@y.example>\nRSET\n{}QUIT\n", mail("b@y.example")),
    );
    assert_eq!(said, "220 250 250 550 250 250 250 354 250 221");
    assert!(begun.elapsed() >= Duration::from_millis(120));
    // Without a word; replies that came before in the same group may be lost with it.
    let said = codes(connect(&sink), "EHLO a.example\nNOOP\nQUIT\n");
    assert!(["220", "220 250"].contains(&said.as_str()), "{said}");
    assert_eq!(sink.wait_for(1).expect("one").len(), 1);
}

#[test]
fn it_is_bounded() {
    let mut settings = Settings::default();
    (settings.messages, settings.octets, settings.max_size) = (1, 1000, 65_536);
    let sink = Sink::start_with(settings).expect("started");
    let lines =
        format!("EHLO a.example\nMAIL FROM:<> SIZE=65537\n{}{}QUIT\n", mail("b@y.example"), mail("c@y.example"));
    assert_eq!(codes(connect(&sink), &lines), "220 250 552 250 250 354 250 250 250 354 452 221");
    assert_eq!(sink.messages().len(), 1);
}
