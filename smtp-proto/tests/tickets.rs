//! Invariant 4: exactly one answer a command. (That answering twice does not compile is shown in the documentation of `Ticket`.)

use std::sync::Arc;

use smtp_proto::server::{Config, Event, FaultKind, Reason, Session, State, Ticket, Verdict};
use smtp_proto::syntax::{Reply, Verb};
use smtp_proto::{Channel, Step, Want};

fn config() -> Arc<Config> {
    Arc::new(Config::new("mx.example.net").expect("a name"))
}

fn connect(config: &Arc<Config>) -> (Session, Ticket) {
    let mut session = Session::new(config.clone(), Channel::Plain);
    match session.step(&mut &b""[..]) {
        Step::Event(Event::Connect(ticket)) => (session, ticket),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_forgotten_ticket_is_a_want() {
    let (mut session, ticket) = connect(&config());
    let mut input = &b"EHLO early.example\r\n"[..];
    assert!(matches!(session.step(&mut input), Step::Want(Want::Decision)));
    assert_eq!(input.len(), 20, "nothing is parsed while a decision is awaited");
    assert!(session.output().is_empty());
    session.answer(ticket, Verdict::Accept);
    assert!(matches!(session.step(&mut &b""[..]), Step::Want(Want::Input)));
    assert_eq!(session.output(), b"220 mx.example.net ESMTP\r\n");
}

#[test]
fn a_ticket_of_another_session_fails_closed() {
    let shared = config();
    for (one, two) in [(shared.clone(), shared.clone()), (shared, config())] {
        let (mut a, ticket_a) = connect(&one);
        let (_b, ticket_b) = connect(&two);
        a.answer(ticket_b, Verdict::Accept);
        assert_eq!(a.output(), b"421 4.3.0 Local error; closing, try again later\r\n");
        assert_eq!(a.state(), State::Closed);
        assert!(matches!(a.step(&mut &b""[..]), Step::Event(Event::Fault(f)) if f.kind == FaultKind::ForeignTicket));
        let closed = Reason::Fault(FaultKind::ForeignTicket);
        assert!(matches!(a.step(&mut &b""[..]), Step::Event(Event::Closed(reason)) if reason == closed));
        assert!(matches!(a.step(&mut &b""[..]), Step::Want(Want::Close)));
        // Its own ticket comes too late, and changes nothing.
        a.answer(ticket_a, Verdict::Accept);
        assert!(matches!(a.step(&mut &b""[..]), Step::Want(Want::Close)));
    }
}

/// RFC 5321 4.3.2: 251 and 252 accept a recipient as 250 does. A relay hands on the code and the words of its next hop.
#[test]
fn the_reply_of_another_server_is_handed_on_where_it_fits() {
    let (mut session, ticket) = connect(&config());
    let reply = |text| Reply::new(251, Some(smtp_proto::syntax::Enhanced::new(2, 1, 5)), text).expect("a reply");
    // To what has but one code, the words alone.
    session.answer(ticket, Verdict::AcceptAs(reply("hello")));
    let said = |session: &mut Session, mut line: &[u8], verdict: Verdict<'_>| {
        session.sent(session.output().len());
        loop {
            match session.step(&mut line) {
                Step::Event(Event::Hello(_, ticket) | Event::Mail(_, ticket) | Event::Rcpt(_, ticket)) => {
                    session.answer(ticket, verdict);
                }
                Step::Event(event) => panic!("{event:?}"),
                Step::Want(_) => return String::from_utf8(session.output().to_vec()).expect("text"),
            }
        }
    };
    assert_eq!(session.output(), b"220 mx.example.net hello\r\n");
    assert!(
        said(&mut session, b"EHLO a.example\r\n", Verdict::AcceptAs(reply("hi")))
            .starts_with("250-mx.example.net hi\r\n")
    );
    let mail = b"MAIL FROM:<a@a.example>\r\n";
    // No success, so the words alone.
    let refusal = Verdict::AcceptAs(Reply::fixed(451, (4, 3, 0), "no"));
    assert_eq!(said(&mut session, mail, refusal), "250 2.1.0 no\r\n");
    let rcpt = b"RCPT TO:<b@b.example>\r\n";
    assert_eq!(said(&mut session, rcpt, Verdict::AcceptAs(reply("will forward"))), "251 2.1.5 will forward\r\n");
    assert_eq!(session.state(), State::Rcpt);
}

#[test]
fn a_late_answer_after_a_timeout_is_ignored() {
    let (mut session, ticket) = connect(&config());
    session.timed_out();
    session.answer(ticket, Verdict::Accept);
    assert_eq!(session.output(), b"421 4.4.2 Nothing came in time; closing\r\n");
}

#[test]
fn a_ticket_can_wait_on_another_thread() {
    fn assert_send<T: Send + 'static>() {}
    assert_send::<Ticket>();
    assert_send::<Session>();
}

#[test]
fn output_that_is_not_read_stops_the_reading() {
    let (mut session, ticket) = connect(&config());
    session.answer(ticket, Verdict::Accept);
    let flood = b"HELP\r\n".repeat(90);
    let many = flood.repeat(50);
    let mut input = &many[..];
    let mut most = 0;
    loop {
        match session.step(&mut input) {
            Step::Want(Want::Output | Want::Input | Want::Close) => break,
            Step::Want(want) => panic!("{want:?}"),
            Step::Event(_) => most = most.max(session.output().len()),
        }
    }
    assert!(session.output().len() < 17 << 10, "{}", session.output().len());
}

/// Where nothing is to be decided (RFC 5321 4.1.1.5, 4.1.1.10) the application is asked only if it asked for that.
#[test]
fn a_server_under_test_is_asked_about_all() {
    let config = Config::new("mx.example.net").expect("a name").ask_about_all(true).shared();
    let (mut session, ticket) = connect(&config);
    session.answer(ticket, Verdict::Accept);
    assert!(matches!(session.step(&mut &b""[..]), Step::Want(Want::Input)));
    session.sent(session.output().len());
    let mut input = &b"NOOP\r\nRSET\r\nQUIT\r\nQUIT\r\n"[..];
    let (mut asked, mut replies) = (Vec::new(), Vec::new());
    let closed = loop {
        let step = session.step(&mut input);
        replies.extend_from_slice(session.output());
        session.sent(session.output().len());
        match step {
            Step::Event(Event::Command(verb, ticket)) => {
                let refuse = verb == Verb::Noop || (verb == Verb::Quit && asked.last() == Some(&Verb::Rset));
                asked.push(verb);
                let reply = Reply::fixed(451, (4, 3, 0), "Not now");
                session.answer(ticket, if refuse { Verdict::Refuse(reply) } else { Verdict::Accept });
            }
            Step::Event(Event::Closed(reason)) => break reason,
            _ => {}
        }
    };
    assert_eq!(asked, [Verb::Noop, Verb::Rset, Verb::Quit, Verb::Quit]);
    let replies = String::from_utf8(replies).expect("ASCII");
    let codes: Vec<&str> = replies.lines().map(|line| &line[..3]).collect();
    assert_eq!((codes, closed), (vec!["451", "250", "451", "221"], Reason::Quit));
}
