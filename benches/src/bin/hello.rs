//! Greeted, and told what the server offers, so many times: `hello LINES ROUNDS`, to be counted by `hello.sh`. With one line
//! the server offers nothing; with none the reply has not come.

use std::hint::black_box;
use std::sync::Arc;

use smtp_proto::client::{Config, Event, Session, Tls};
use smtp_proto::{Channel, Step, Want};

/// As Postfix and others say it.
const REPLY: [&str; 13] = [
    "mx.example.net Hello client.example [192.0.2.1]",
    "PIPELINING",
    "SIZE 52428800",
    "VRFY",
    "ETRN",
    "STARTTLS",
    "AUTH PLAIN LOGIN SCRAM-SHA-256",
    "AUTH=PLAIN LOGIN",
    "ENHANCEDSTATUSCODES",
    "8BITMIME",
    "DSN",
    "SMTPUTF8",
    "CHUNKING",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(lines), Some(rounds)) = (arguments.next(), arguments.next()) else {
        return Err("see the top of this file".into());
    };
    let (lines, rounds): (usize, usize) = (lines.parse()?, rounds.parse()?);
    let said = REPLY.get(..lines).ok_or("so many lines there are not")?;
    let mut reply = String::new();
    for (at, line) in said.iter().enumerate() {
        reply += &format!("250{}{line}\r\n", if at + 1 == lines { ' ' } else { '-' });
    }
    let config: Arc<Config> = Config::new("client.example")?.tls(Tls::Never).shared();
    for _ in 0..rounds {
        let mut session = Session::new(config.clone(), Channel::Plain);
        for words in ["220 mx.example.net\r\n", &reply].into_iter().filter(|words| !words.is_empty()) {
            let mut input = black_box(words.as_bytes());
            let want = loop {
                match session.step(&mut input) {
                    Step::Event(event @ Event::Closed(_)) => return Err(format!("{event:?}").into()),
                    Step::Event(_) => {}
                    Step::Want(want) => break want,
                }
            };
            assert!(matches!(want, Want::Input | Want::Decision), "{want:?}");
            session.sent(black_box(session.output()).len());
        }
        assert_eq!(session.is_open(), lines > 0, "the reply was learnt");
    }
    Ok(())
}
