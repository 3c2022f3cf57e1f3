//! A careless or malicious caller of the client: whatever strings it hands in, each call is one line on the wire, or an
//! error and not an octet (RFC 5321 2.3.8, 4.1.1).

use proptest::prelude::*;
use smtp_proto::client::{Config, Event, NotNow, Session, Tls};
use smtp_proto::syntax::{Command, ForwardPath, Mail, Mailbox, Params, Rcpt, ReversePath, Verb};
use smtp_proto::{Channel, Step, Want};

/// Every extension is offered, so that none is what stops a string.
const EHLO: &str = "250-mx\r\n250-PIPELINING\r\n250-SIZE\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250-AUTH PLAIN\r\n\
                    250-DELIVERBY\r\n250-X-ANY\r\n250 MT-PRIORITY\r\n";

/// A session that awaits commands.
fn ready() -> Session {
    let config = Config::new("client.example").expect("a name").tls(Tls::Never);
    let mut session = Session::new(config.shared(), Channel::Plain);
    for said in ["220 mx\r\n", EHLO] {
        let mut input = said.as_bytes();
        loop {
            match session.step(&mut input) {
                Step::Event(Event::Closed(reason)) => panic!("{reason:?}"),
                Step::Event(_) => {}
                Step::Want(want) => {
                    session.sent(session.output().len());
                    assert!(matches!(want, Want::Input | Want::Decision), "{want:?}");
                    break;
                }
            }
        }
    }
    session
}

/// Sends it to a session that is ready for it, and gives what that puts out.
fn wire(command: &Command<'_>) -> Result<Vec<u8>, NotNow> {
    let mut session = ready();
    if command.verb() == Verb::Rcpt {
        session.send(&Command::Mail(Mail { path: ReversePath::Null, params: Params::default() })).expect("ready");
        session.sent(session.output().len());
    }
    let sent = session.send(command);
    let wire = session.output().to_vec();
    if sent.is_err() {
        assert!(wire.is_empty(), "an error, and yet {:?}", wire.escape_ascii().to_string());
    }
    sent.map(|()| wire)
}

/// One line, and nothing in it that ends it early.
fn one_line(wire: &[u8]) {
    let line = wire.strip_suffix(b"\r\n").expect("CRLF at its end");
    let shown = line.escape_ascii();
    assert!(line.iter().all(|octet| !matches!(octet, 0..=0x1f | 0x7f)), "{shown}");
}

#[test]
fn the_last_gate_lets_no_control_pass() {
    for text in ["x\r\nMAIL FROM:<>", "x\nRSET", "x\rRSET", "x\0", "\x1b[31m", "\u{7f}", "caf\u{e9}", "\r\n", "\u{85}"]
    {
        for command in [Command::Noop(text), Command::Vrfy(text), Command::Expn(text), Command::Help(text)] {
            assert_eq!(wire(&command), Err(NotNow::Forbidden), "{text:?}");
        }
    }
    let long = "x".repeat(2048);
    assert_eq!(wire(&Command::Vrfy(&long)), Err(NotNow::Forbidden));
    assert_eq!(wire(&Command::Vrfy("alice")), Ok(b"VRFY alice\r\n".to_vec()));
    for name in ["x\r\nQUIT", "x\n", "x\0", "", " ", "x y", "[127.0.0.1", "caf\u{e9}.example"] {
        assert!(Config::new(name).is_err(), "{name:?}");
    }
}

/// Strings that are near to what is wanted, with what must not be in them here and there.
fn near() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a",
        "a@example.org",
        "\"",
        "\\",
        "<",
        ">",
        " ",
        "=",
        "+0D+0A",
        "+",
        "\r",
        "\n",
        "\r\n",
        "\0",
        "\t",
        "\u{7f}",
        "\u{e9}",
        "\u{85}",
        "\u{2028}",
        "SIZE=5",
        "BODY=8BITMIME",
        "ENVID=",
        "AUTH=<>",
        "ORCPT=rfc822;",
        "X-ANY=",
        "BY=9;R",
        "NOTIFY=NEVER",
        "RSET",
        "@",
        ".",
        "[127.0.0.1]",
        "\r\nRSET\r\n",
    ]);
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

fn address() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a@example.org", "\"a b\"@[127.0.0.1]", "\u{e9}@example.org"]).prop_map(str::to_owned)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_string_makes_two_commands_of_one(path in prop_oneof![near(), address()], params in near(), text in near()) {
        for command in [Command::Noop(&text), Command::Vrfy(&text), Command::Expn(&text), Command::Help(&text)] {
            if let Ok(wire) = wire(&command) {
                one_line(&wire);
            }
        }
        for utf8 in [false, true] {
            let params = |verb| Params::parse(&params, verb, utf8).unwrap_or_default();
            let Ok(path) = Mailbox::parse(&path, utf8) else { continue };
            let mail = Mail { path: ReversePath::Mailbox(path), params: params(Verb::Mail) };
            let rcpt = Rcpt { path: ForwardPath::Mailbox(path), params: params(Verb::Rcpt) };
            for command in [Command::Mail(mail), Command::Rcpt(rcpt)] {
                if let Ok(wire) = wire(&command) {
                    one_line(&wire);
                }
            }
        }
    }
}
