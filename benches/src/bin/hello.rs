//! Greeted, and told what the server offers, so many times: `hello LINES ROUNDS`, to be counted by `hello.sh`. With one line
//! the server offers nothing; with none the reply has not come.

use std::hint::black_box;
use std::sync::Arc;

use smtp_benches::reply_to_ehlo;
use smtp_proto::client::{Config, Event, Session, Tls};
use smtp_proto::{Channel, Step, Want};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(lines), Some(rounds)) = (arguments.next(), arguments.next()) else {
        return Err("see the top of this file".into());
    };
    let (lines, rounds): (usize, usize) = (lines.parse()?, rounds.parse()?);
    let reply = reply_to_ehlo(lines).ok_or("so many lines there are not")?;
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
