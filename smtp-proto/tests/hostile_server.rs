//! Each way a server can misbehave, and the outcome that must follow. A message for two recipients, sent over a server that
//! says what the row has for it: one entry each time the client waits.

use smtp_proto::auth::Nonce;
use smtp_proto::auth::client::Credentials;
use smtp_proto::client::{
    Because, Config, Envelope, MessageTicket, Outcome, Progress, Protocol, Session, State, TextError,
};
use smtp_proto::client::{Event, FaultKind, Reason, Tls, Transaction};
use smtp_proto::syntax::{Command, ForwardPath, Mailbox, Options, Params, Rcpt, ReversePath};
use smtp_proto::tls::{TlsInfo, TlsVersion};
use smtp_proto::{Channel, Step, Want};

const TEXT: &[u8] = b"Subject: Hi\r\n\r\nHello.\r\n";
const GREET: &str = "220 mx\r\n";
const PLAIN: &str = "250-mx\r\n250 PIPELINING\r\n";
const CHUNKS: &str = "250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n";
const OFFER: &str = "250-mx\r\n250-PIPELINING\r\n250 STARTTLS\r\n";
const YES: &str = "250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n";

/// Plays `server`; `TLS` among its words is a handshake, `SILENCE` a timeout; after the last word the connection ends.
/// Says what became of the two recipients, `+` accepted, `~` later, `-` never, `?` unknown, and what went out.
fn play(config: Config, login: bool, server: &[&str]) -> (String, String) {
    let path = |name| ForwardPath::Mailbox(Mailbox::parse(name, false).expect("an address"));
    let to = ["b@example.net", "c@example.net"].map(|name| Rcpt { path: path(name), params: Params::default() });
    let mut envelope = Envelope::new(ReversePath::Null, &to);
    envelope.size = Some(TEXT.len() as u64);
    let mut session = Session::new(config.shared(), Channel::Plain);
    if login {
        session.authenticate(Credentials::password("user", "pencil").expect("good"), Nonce::new(&[1; 18]));
    }
    let mut transaction = Transaction::new(envelope);
    let (mut held, mut sent, mut server) = (Vec::new(), Vec::new(), server.iter());
    for turns in 0.. {
        assert!(turns < 1000, "it goes round in circles");
        let before = std::mem::take(&mut held);
        let mut input = &before[..];
        let progress = transaction.step(&mut session, &mut input);
        held = input.to_vec();
        sent.extend_from_slice(session.output());
        session.sent(session.output().len());
        match progress {
            Progress::Text => {
                let _ = transaction.finish_with(&mut session, TEXT);
            }
            Progress::Want(Want::Close) | Progress::Done => break,
            Progress::Want(want) => match server.next() {
                Some(&"TLS") => {
                    assert_eq!(want, Want::Tls);
                    sent.extend_from_slice(b"<TLS>");
                    session.tls_established(TlsInfo::new(TlsVersion::Tls13, "x".into()));
                }
                Some(&"SILENCE") => session.timed_out(),
                Some(words) => held.extend_from_slice(words.as_bytes()),
                None => session.eof(),
            },
        }
    }
    let fates = transaction.outcomes().map(|outcome| match outcome {
        Outcome::Accepted(_) => '+',
        Outcome::Later(_) => '~',
        Outcome::Never(_) => '-',
        Outcome::Unknown(_) => '?',
        other => panic!("{other:?}"),
    });
    (fates.collect(), String::from_utf8(sent).expect("ASCII"))
}

fn config(tls: Tls) -> Config {
    Config::new("client.example").expect("a name").tls(tls)
}

#[test]
fn every_misbehaviour_has_its_outcome() {
    let long = format!("250 {}", "x".repeat(5000));
    let many = "250-x\r\n".repeat(200);
    let heavy = format!("250-{}\r\n", "x".repeat(1500)).repeat(20);
    let rows: &[(&[&str], &str)] = &[
        // Nothing at all, or something else.
        (&[], "~~"),
        (&["SILENCE"], "~~"),
        (&["\x16\x03\x01\x02\x00\x01"], "~~"),
        (&["HTTP/1.0 400 Bad\r\n\r\n"], "~~"),
        (&["+OK POP3\r\n"], "~~"),
        (&["SSH-2.0-x\r\n"], "~~"),
        (&["\0\0\0\0"], "~~"),
        (&["220 mx\n"], "~~"),
        (&["220 mx\r220 mx\r\n"], "~~"),
        (&["421 busy\r\n"], "~~"),
        (&["450 busy\r\n", "221 bye\r\n"], "~~"),
        (&["554 no\r\n", "221 bye\r\n"], "--"),
        (&["554 no\r\n", "SILENCE"], "--"),
        // Without end.
        (&[GREET, &long], "~~"),
        (&[GREET, &many], "~~"),
        (&[GREET, &heavy], "~~"),
        (&[GREET, "250-mx\r\n", "SILENCE"], "~~"),
        // RFC 5321 4.2.1: mixed codes.
        (&[GREET, "250-mx\r\n550 no\r\n"], "~~"),
        (&[GREET, PLAIN, "250-ok\r\n550 no\r\n250 ok\r\n"], "~~"),
        // RFC 5321 3.8: 421 at any time; 5yz to EHLO is for good.
        (&[GREET, "421 no\r\n"], "~~"),
        (&[GREET, "550 no\r\n", "221 bye\r\n"], "--"),
        (&[GREET, PLAIN, "421 no\r\n"], "~~"),
        (&[GREET, PLAIN, "250 ok\r\n421 no\r\n"], "~~"),
        (&[GREET, PLAIN, "250 ok\r\n550 no\r\n421 no\r\n"], "-~"),
        (&[GREET, PLAIN, "250 ok\r\n550 no\r\n250 ok\r\n421 no\r\n"], "-~"),
        (&[GREET, PLAIN, YES, "421 no\r\n"], "~~"),
        // Wrong codes.
        (&[GREET, PLAIN, "354 go\r\n"], "~~"),
        (&[GREET, PLAIN, "250 ok\r\n354 go\r\n"], "~~"),
        (&[GREET, PLAIN, "250 ok\r\n252 hm\r\n250 ok\r\n354 go\r\n"], "??"),
        (&[GREET, PLAIN, "250 ok\r\n252 hm\r\n250 ok\r\n354 go\r\n", "200 taken\r\n"], "++"),
        (&[GREET, PLAIN, "250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n"], "~~"),
        (&[GREET, PLAIN, "250 ok\r\n250 ok\r\n250 ok\r\n220 go\r\n"], "~~"),
        (&[GREET, PLAIN, YES, "354 more\r\n"], "??"),
        (&[GREET, PLAIN, YES, "220 hm\r\n"], "++"),
        // Replies too many, or too early.
        (&["220 mx\r\n250 mx\r\n250 ok\r\n"], "~~"),
        (&[GREET, "250 mx\r\n250 ok\r\n250 ok\r\n"], "~~"),
        (&[GREET, PLAIN, "250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n"], "~~"),
        (&[GREET, PLAIN, "250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n554 no\r\n"], "--"),
        (&[GREET, PLAIN, "250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n452 no\r\n"], "~~"),
        (&[GREET, PLAIN, YES, "250 taken\r\n250 taken\r\n"], "++"),
        // MAIL refused, and what follows accepted.
        (&[GREET, PLAIN, "550 no\r\n250 ok\r\n250 ok\r\n354 go\r\n"], "--"),
        (&[GREET, PLAIN, "450 no\r\n503 no\r\n503 no\r\n354 go\r\n", "250 taken\r\n"], "~~"),
        // RFC 2920 3.1: none accepted, and yet 354 and 250.
        (&[GREET, PLAIN, "250 ok\r\n550 no\r\n450 no\r\n354 go\r\n", "250 taken\r\n"], "-~"),
        // RFC 3030: none accepted, and yet the chunk is.
        (&[GREET, CHUNKS, "250 ok\r\n550 no\r\n450 no\r\n250 taken\r\n"], "-~"),
        (&[GREET, CHUNKS, "550 no\r\n503 no\r\n503 no\r\n250 taken\r\n"], "--"),
        (&[GREET, CHUNKS, "250 ok\r\n250 ok\r\n550 no\r\n250 taken\r\n"], "+-"),
        (&[GREET, CHUNKS, "250 ok\r\n250 ok\r\n550 no\r\n250 tak"], "?-"),
        (&[GREET, CHUNKS, "250 ok\r\n"], "??"),
        // 421 before the reply to the text: the server never came to it.
        (&[GREET, CHUNKS, "250 ok\r\n421 no\r\n"], "~~"),
        (&[GREET, CHUNKS, "250 ok\r\n250 ok\r\n421 no\r\n"], "~~"),
        // RFC 1047: the text was sent, and no reply came.
        (&[GREET, PLAIN, YES], "??"),
        (&[GREET, PLAIN, YES, "SILENCE"], "??"),
        (&[GREET, PLAIN, YES, "250 taken"], "??"),
        (&[GREET, PLAIN, YES, "25\r\n"], "??"),
        (&[GREET, PLAIN, YES, "250 taken\n"], "??"),
        // It closes between, or after.
        (&[GREET, PLAIN, "250 ok\r\n250 ok\r\n550 no\r\n"], "~-"),
        (&[GREET, PLAIN, YES, "250 taken\r\n", "421 bye\r\n"], "++"),
        (&[GREET, PLAIN, "250 ok\r\n550 no\r\n550 no\r\n554 no\r\n", "500 RSET?\r\n"], "--"),
    ];
    for (server, expected) in rows {
        let (fates, sent) = play(config(Tls::Never), false, server);
        assert_eq!(fates, *expected, "{server:?}\n{sent}");
    }
}

#[test]
fn an_lmtp_server_is_no_better() {
    let rows: &[(&[&str], &str)] = &[
        (&[GREET, PLAIN, YES, "250 b\r\n250 c\r\n"], "++"),
        (&[GREET, PLAIN, YES, "250 b\r\n550 c\r\n"], "+-"),
        (&[GREET, PLAIN, YES, "250 b\r\n"], "+?"),
        (&[GREET, PLAIN, YES, "250 b\r\n", "SILENCE"], "+?"),
        (&[GREET, PLAIN, YES, "421 b\r\n"], "~?"),
        (&[GREET, PLAIN, YES, "250 b\r\n251 c\r\n"], "++"),
        (&[GREET, PLAIN, YES, "250 b\r\n354 c\r\n"], "+?"),
        (&[GREET, PLAIN, YES, "250 b\r\n250 c\r\n250 d\r\n"], "++"),
        (&[GREET, PLAIN, "250 ok\r\n550 no\r\n550 no\r\n354 go\r\n"], "--"),
        (&[GREET, PLAIN, "250 ok\r\n550 no\r\n250 ok\r\n354 go\r\n", "450 c\r\n"], "-~"),
        (&[GREET, "500 this is SMTP\r\n", "221 bye\r\n"], "--"),
    ];
    for (server, expected) in rows {
        let (fates, sent) = play(config(Tls::Never).protocol(Protocol::Lmtp), false, server);
        assert_eq!(fates, *expected, "{server:?}\n{sent}");
    }
}

/// With Require nothing but EHLO, STARTTLS, NOOP and QUIT goes out in plaintext, whatever the server does.
#[test]
fn a_server_cannot_talk_a_client_out_of_tls() {
    let inside = ["TLS", PLAIN, YES, "250 taken\r\n"];
    let with = |first: &[&'static str]| [first, &inside[..]].concat();
    let rows: Vec<(Vec<&str>, &str)> = vec![
        (with(&[GREET, OFFER, "220 go\r\n"]), "++"),
        (vec![GREET, PLAIN, "250 ok\r\n"], "~~"),
        (vec![GREET, "250 mx\r\n", "221 bye\r\n"], "~~"),
        (vec![GREET, "500 what\r\n", "250 mx\r\n"], "~~"),
        (vec![GREET, "502 what\r\n", "250 mx\r\n", "250 ok\r\n"], "~~"),
        (vec![GREET, "250-mx\r\n250-PIPELINING\r\n250 STARTTLSX\r\n", "250 ok\r\n"], "~~"),
        (vec![GREET, "250-mx\r\n250-STARTTLS yes\r\n250 PIPELINING\r\n", "250 ok\r\n"], "~~"),
        (vec![GREET, OFFER, "454 no\r\n", "250 ok\r\n"], "~~"),
        (vec![GREET, OFFER, "502 what\r\n", "250 ok\r\n"], "~~"),
        (vec![GREET, OFFER, "250 go\r\n", "250 ok\r\n"], "~~"),
        (vec![GREET, OFFER, "334 go\r\n", "250 ok\r\n"], "~~"),
        (vec![GREET, OFFER, "220-go\r\n250 no\r\n", "250 ok\r\n"], "~~"),
        (vec![GREET, OFFER, "220 go\r\n250 mx\r\n", "250 ok\r\n"], "~~"),
        (vec![GREET, OFFER, "220 go\r\n\r\n", "250 ok\r\n"], "~~"),
        (vec![GREET, "250-mx\r\n250 STARTTLS\r\n220 go\r\n", "TLS"], "~~"),
        // What was announced in plaintext does not count: no group inside TLS.
        (
            vec![
                GREET,
                OFFER,
                "220 go\r\n",
                "TLS",
                "250 mx\r\n",
                "250 ok\r\n",
                "550 no\r\n",
                "550 no\r\n",
                "250 ok\r\n",
            ],
            "--",
        ),
    ];
    for (server, expected) in &rows {
        for login in [false, true] {
            let (fates, sent) = play(config(Tls::Require), login, server);
            if !login {
                assert_eq!(fates, *expected, "{server:?}\n{sent}");
            }
            let plain = sent.split("<TLS>").next().unwrap_or_default();
            for line in plain.split_terminator("\r\n") {
                assert!(
                    matches!(line, "EHLO client.example" | "STARTTLS" | "QUIT"),
                    "{line:?} in plaintext: {server:?}"
                );
            }
        }
    }
    // Verify: a handshake alone is not enough.
    let (fates, sent) = play(config(Tls::Verify), false, &rows[0].0);
    assert_eq!(fates, "~~");
    assert!(sent.ends_with("<TLS>"), "not a byte more: {sent}");
}

#[test]
fn credentials_stay_back() {
    for (tls, server) in [
        (Tls::Never, vec![GREET, "250-mx\r\n250 AUTH PLAIN\r\n", "334 \r\n"]),
        (Tls::Opportunistic, vec![GREET, "250-mx\r\n250 AUTH PLAIN LOGIN\r\n", "334 \r\n"]),
        (Tls::Opportunistic, vec![GREET, "250-mx\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n", "454 no\r\n", "334 \r\n"]),
        // Announced in plaintext alone.
        (Tls::Require, vec![GREET, "250-mx\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n", "220 go\r\n", "TLS", "250 mx\r\n"]),
    ] {
        let (fates, sent) = play(config(tls), true, &server);
        assert_eq!(fates, "--", "{server:?}");
        assert!(!sent.contains("AUTH") && !sent.contains("MAIL"), "{sent}");
    }
}

/// The reply to a chunk was there before its octets had gone out.
#[test]
fn a_chunk_is_not_answered_before_it_has_gone_out() {
    let mut session = Session::new(config(Tls::Never).shared(), Channel::Plain);
    let ready = |words: &str, session: &mut Session| {
        let mut input = words.as_bytes();
        while let Step::Event(_) = session.step(&mut input) {}
        session.sent(session.output().len());
    };
    let parse = |line: &'static str| Command::parse(line.as_bytes(), &Options::new()).expect(line).command;
    ready(GREET, &mut session);
    ready(CHUNKS, &mut session);
    for command in ["MAIL FROM:<>", "RCPT TO:<b@example.net>"] {
        session.send(&parse(command)).expect("now");
    }
    ready("", &mut session);
    ready("250 ok\r\n250 ok\r\n", &mut session);
    let ticket = session.begin_chunks(false).expect("now");
    session.finish_with(ticket, TEXT).expect("good");
    // All but the last octet has gone out.
    session.sent(session.output().len() - 1);
    let mut input = &b"250 taken\r\n"[..];
    assert!(matches!(session.step(&mut input), Step::Event(Event::Reply(..))));
    assert!(matches!(session.step(&mut input), Step::Event(Event::Fault(fault)) if fault.kind == FaultKind::OutOfStep));
}

#[test]
fn a_ticket_of_another_session_ends_the_session() {
    let config = config(Tls::Never).shared();
    let begin = || -> (Session, MessageTicket) {
        let mut session = Session::new(config.clone(), Channel::Plain);
        for words in [GREET, CHUNKS] {
            let mut input = words.as_bytes();
            while let Step::Event(_) = session.step(&mut input) {}
            session.sent(session.output().len());
        }
        for line in ["MAIL FROM:<>", "RCPT TO:<b@example.net>"] {
            let parsed = Command::parse(line.as_bytes(), &Options::new()).expect("a command");
            session.send(&parsed.command).expect("now");
        }
        session.sent(session.output().len());
        let ticket = session.begin_chunks(false).expect("now");
        (session, ticket)
    };
    let (mut one, own) = begin();
    let (_two, foreign) = begin();
    assert_eq!(one.finish_with(foreign, TEXT), Err(TextError::Gone));
    assert_eq!(one.state(), State::Closed);
    assert!(one.output().is_empty(), "not a byte more");
    let faulted = Reason::Fault(FaultKind::ForeignTicket);
    assert!(
        matches!(one.step(&mut &b""[..]), Step::Event(Event::Fault(fault)) if fault.kind == FaultKind::ForeignTicket)
    );
    assert!(matches!(one.step(&mut &b""[..]), Step::Event(Event::Closed(reason)) if reason == faulted));
    assert_eq!(one.finish_with(own, TEXT), Err(TextError::Gone));
}

/// What a server says is shown in printable ASCII alone; credentials are not shown at all.
#[test]
fn nothing_raw_is_shown() {
    let rows: &[&str] = &[GREET, PLAIN, "550 \x1b[31mred\x07\u{202e}\r\n503 \r\n503 \r\n503 \r\n"];
    let path = ForwardPath::Mailbox(Mailbox::parse("b@example.net", false).expect("an address"));
    let to = [Rcpt { path, params: Params::default() }];
    let mut session = Session::new(config(Tls::Never).shared(), Channel::Plain);
    let mut transaction = Transaction::new(Envelope::new(ReversePath::Null, &to));
    for words in rows {
        let mut input = words.as_bytes();
        while let Progress::Want(Want::Input) = transaction.step(&mut session, &mut input) {
            session.sent(session.output().len());
            if input.is_empty() {
                break;
            }
        }
    }
    let shown: Vec<String> = transaction
        .outcomes()
        .map(|outcome| match outcome {
            Outcome::Never(Because::Reply(reply)) => format!("{reply} {reply:?}"),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(shown[0].bytes().all(|octet| matches!(octet, b' '..=b'~')), "{shown:?}");

    let mut login = Session::new(config(Tls::Never).allow_plaintext_auth(true).shared(), Channel::Plain);
    login.authenticate(Credentials::password("user", "pencil").expect("good"), Nonce::new(&[1; 18]));
    for words in [GREET, "250-mx\r\n250 AUTH PLAIN\r\n"] {
        let mut input = words.as_bytes();
        while let Step::Event(_) = login.step(&mut input) {}
        if login.output().starts_with(b"EHLO") {
            login.sent(login.output().len());
        }
    }
    assert_eq!(login.output(), b"AUTH PLAIN AHVzZXIAcGVuY2ls\r\n");
    assert!(login.is_secret());
    let debug = format!("{login:?}");
    assert!(!debug.contains("pencil") && !debug.contains("AHVz"), "{debug}");
}
