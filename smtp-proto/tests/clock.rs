//! A driver with a clock, written after the documentation and nothing else, on a clock that only moves by itself.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use smtp_proto::server::{Config, Event, Reason, Session, Timeouts, Verdict};
use smtp_proto::tls::TlsFailure;
use smtp_proto::{Buffer, Channel, Step, Want};

/// What comes, and how long it takes to come; `None` is a write that fails from then on.
type Arrival = (Duration, Option<&'static [u8]>);

struct Run {
    said: String,
    closed: Option<Reason>,
    turns: u32,
}

/// [`Session::progress`]: "Whenever it changes the driver starts a new period of `timeout`, and at its end it calls
/// `timed_out`". The first period begins with the session.
fn drive(config: Config, arrivals: &[Arrival]) -> Run {
    let mut session = Session::new(Arc::new(config), Channel::Plain);
    let mut arrivals: VecDeque<Arrival> = arrivals.iter().copied().collect();
    let mut run = Run { said: String::new(), closed: None, turns: 0 };
    let mut buffer = Buffer::with_capacity(4096);
    let mut now = Duration::ZERO;
    let (mut progress, mut deadline) = (session.progress(), now + session.timeout());
    let mut broken = false;
    loop {
        run.turns += 1;
        assert!(run.turns < 100, "the driver does not come to an end");
        let mut input = buffer.filled();
        let want = loop {
            match session.step(&mut input) {
                Step::Event(Event::Connect(ticket) | Event::Hello(_, ticket) | Event::StartTls(ticket)) => {
                    session.answer(ticket, Verdict::Accept);
                }
                Step::Event(Event::Mail(_, ticket)) => session.answer(ticket, Verdict::Accept),
                Step::Event(Event::Rcpt(_, ticket)) => session.answer(ticket, Verdict::Accept),
                Step::Event(Event::Data(ticket)) => session.answer(ticket, Verdict::Accept),
                // The application takes longer than a peer may.
                Step::Event(Event::Message(_, ticket)) => {
                    now += Duration::from_secs(600);
                    session.answer(ticket, Verdict::Accept);
                }
                Step::Event(Event::Closed(reason)) => run.closed = Some(reason),
                Step::Event(_) => {}
                Step::Want(want) => break want,
            }
        };
        let left = input.len();
        buffer.keep_last(left);
        if session.progress() != progress {
            (progress, deadline) = (session.progress(), now + session.timeout());
        }
        if broken && !session.output().is_empty() {
            session.lost();
            continue;
        }
        let output = session.output().to_vec();
        run.said.push_str(str::from_utf8(&output).expect("ASCII"));
        session.sent(output.len());
        match want {
            Want::Input => match arrivals.front() {
                None => session.eof(),
                Some((after, _)) if now + *after > deadline => {
                    now = deadline;
                    session.timed_out();
                }
                Some((after, octets)) => {
                    now += *after;
                    match octets {
                        Some(octets) => buffer.extend(octets),
                        None => broken = true,
                    }
                    arrivals.pop_front();
                }
            },
            Want::Tls => session.tls_failed(TlsFailure::Closed),
            Want::Output => {}
            Want::Decision => panic!("every ticket was answered"),
            Want::Close => return run,
        }
    }
}

fn config() -> Config {
    Config::new("mx.example.net").expect("a name")
}

const MINUTE: Duration = Duration::from_secs(60);

/// RFC 5321 4.5.3.2.7: five minutes for a command, the first one too.
#[test]
fn the_greeting_is_progress() {
    let hello: Arrival = (4 * MINUTE, Some(b"EHLO client.example\r\n"));
    let run = drive(config(), &[hello, (4 * MINUTE, Some(b"QUIT\r\n"))]);
    assert!(run.said.starts_with("220 ") && run.said.ends_with("221 2.0.0 Bye\r\n"), "{}", run.said);
    assert_eq!(run.closed, Some(Reason::Quit));

    let run = drive(config(), &[(6 * MINUTE, Some(b"QUIT\r\n"))]);
    assert!(run.said.ends_with("421 4.4.2 Nothing came in time; closing\r\n"), "{}", run.said);
    assert_eq!(run.closed, Some(Reason::TimedOut));
}

/// RFC 5321 4.3.1: the pause before the greeting has its own period, and the greeting another.
#[test]
fn the_greeting_behind_a_pause_is_progress() {
    let mut times = Timeouts::default();
    times.greet_pause = Duration::from_secs(5);
    let run = drive(config().timeouts(times), &[(4 * MINUTE, Some(b"QUIT\r\n"))]);
    assert!(run.said.starts_with("220 ") && run.said.ends_with("221 2.0.0 Bye\r\n"), "{}", run.said);
}

/// The time that the application takes is not the peer's.
#[test]
fn an_answer_is_progress() {
    let message = b"EHLO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<a@example.net>\r\nDATA\r\n";
    let arrivals =
        [(MINUTE, Some(&message[..])), (MINUTE, Some(&b"text\r\n.\r\n"[..])), (4 * MINUTE, Some(&b"QUIT\r\n"[..]))];
    let run = drive(config(), &arrivals);
    assert!(run.said.ends_with("250 2.0.0 Message accepted\r\n221 2.0.0 Bye\r\n"), "{}", run.said);
}

/// A write that fails ends the session, whenever it does: while there is something to say, and behind a failed
/// handshake too.
#[test]
fn a_write_that_fails_is_the_end() {
    for (arrivals, expected) in [
        (&[(MINUTE, None), (MINUTE, Some(&b"EHLO c.example\r\n"[..]))][..], Reason::Eof),
        (&[(MINUTE, None), (6 * MINUTE, Some(b"NOOP\r\n"))], Reason::TimedOut),
        (&[(MINUTE, Some(b"EHLO c.example\r\nSTARTTLS\r\n")), (MINUTE, None)], Reason::TlsFailed(TlsFailure::Closed)),
    ] {
        let run = drive(config(), arrivals);
        assert_eq!(run.closed, Some(expected));
    }
}
