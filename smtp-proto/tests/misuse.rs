//! What a driver or an application says at the wrong time, or of another session, ends the session and nobody else's: an
//! application's mistake fails closed.

use std::sync::Arc;

use smtp_proto::auth::server::{Answer, Failure};
use smtp_proto::auth::{Mechanism, MechanismSet, Nonce, ScramRecord};
use smtp_proto::client;
use smtp_proto::server::{self, AuthTicket, Event, FaultKind, Reason, State, Verdict};
use smtp_proto::syntax::{Command, ForwardPath, Mail, Mailbox, Params, Rcpt, ReversePath};
use smtp_proto::tls::{Policy, TlsInfo, TlsVersion};
use smtp_proto::{Channel, Step, Want};

const LOCAL_ERROR: &[u8] = b"421 4.3.0 Local error; closing, try again later\r\n";

fn tls() -> TlsInfo {
    TlsInfo::new(TlsVersion::Tls13, "TLS_AES_128_GCM_SHA256".into())
}

// ---- a server's session

/// A session behind EHLO, its output written.
fn greeted(config: &Arc<server::Config>) -> server::Session {
    let mut session = server::Session::new(config.clone(), Channel::Plain);
    for line in [&b""[..], b"EHLO c.example\r\n"] {
        assert!(hear(&mut session, line).is_none());
    }
    session
}

/// Hears a line; all is accepted but AUTH, of which the ticket is handed out.
fn hear(session: &mut server::Session, mut line: &[u8]) -> Option<AuthTicket> {
    loop {
        match session.step(&mut line) {
            Step::Event(Event::Connect(ticket) | Event::Hello(_, ticket) | Event::StartTls(ticket)) => {
                session.answer(ticket, Verdict::Accept);
            }
            Step::Event(Event::Auth(_, ticket)) => return Some(ticket),
            Step::Event(event) => panic!("{event:?}"),
            Step::Want(want) => {
                assert_eq!(want, if session.state() == State::StartTls { Want::Tls } else { Want::Input });
                session.sent(session.output().len());
                return None;
            }
        }
    }
}

/// How a session ended: what it still says, and the events.
fn ended(session: &mut server::Session) -> (Vec<u8>, Vec<FaultKind>, Option<Reason>) {
    let (mut faults, mut reason) = (Vec::new(), None);
    loop {
        match session.step(&mut &b"NOOP\r\n"[..]) {
            Step::Event(Event::Fault(fault)) => faults.push(fault.kind),
            Step::Event(Event::Closed(why)) => reason = Some(why),
            Step::Event(event) => panic!("{event:?}"),
            Step::Want(want) => {
                assert_eq!(want, Want::Close);
                return (session.output().to_vec(), faults, reason);
            }
        }
    }
}

fn misused() -> (Vec<u8>, Vec<FaultKind>, Option<Reason>) {
    (LOCAL_ERROR.to_vec(), vec![FaultKind::ForeignTicket], Some(Reason::Fault(FaultKind::ForeignTicket)))
}

fn with_auth(mechanism: Mechanism) -> Arc<server::Config> {
    let config = server::Config::new("mx.example.net").expect("a name").tls(Policy::Offer);
    config.auth(MechanismSet::EMPTY.with(mechanism)).allow_plaintext_auth(true).shared()
}

/// RFC 4954 4: an answer to AUTH is good for the client that asked, and in no other session.
#[test]
fn an_answer_to_auth_is_good_in_its_own_session_alone() {
    let config = with_auth(Mechanism::Plain);
    let (mut one, mut two) = (greeted(&config), greeted(&config));
    let auth = b"AUTH PLAIN AGFubgBwZW5jaWw=\r\n";
    let ours = hear(&mut one, auth).expect("a question");
    let theirs = hear(&mut two, auth).expect("a question");
    one.authenticate(theirs, Answer::Accept);
    assert!(one.identity().is_none());
    assert_eq!(ended(&mut one), misused());
    // Its own comes too late, and changes nothing.
    one.authenticate(ours, Answer::Accept);
    assert!(one.identity().is_none());
    assert_eq!((one.state(), ended(&mut one).2), (State::Closed, None));
    // The other one still waits.
    assert!(matches!(two.step(&mut &b""[..]), Step::Want(Want::Decision)));
    assert!(two.output().is_empty());
}

/// RFC 4954 4, 6: 454 where the server could not find out. A record for SCRAM is no answer about a password, and an answer about a
/// password is none to SCRAM: nobody is let in, the client is not to blame, and the session goes on.
#[test]
fn an_answer_to_another_question_lets_nobody_in() {
    let record = || ScramRecord::derive("pencil", b"salt", 4096).expect("a record");
    for (mechanism, line, answer) in [
        (
            Mechanism::Plain,
            &b"AUTH PLAIN AGFubgBwZW5jaWw=\r\n"[..],
            Answer::Scram { record: record(), nonce: Nonce::new(&[7; 18]) },
        ),
        // n,,n=ann,r=abcdefgh
        (Mechanism::ScramSha256, b"AUTH SCRAM-SHA-256 biwsbj1hbm4scj1hYmNkZWZnaA==\r\n", Answer::Accept),
        // A name that is none.
        (Mechanism::Plain, b"AUTH PLAIN AGFubgBwZW5jaWw=\r\n", Answer::AcceptAs(String::new())),
    ] {
        let mut session = greeted(&with_auth(mechanism));
        let ticket = hear(&mut session, line).expect("a question");
        session.authenticate(ticket, answer);
        assert!(session.output().starts_with(b"454 4.7.0 "), "{}", session.output().escape_ascii());
        assert!(session.identity().is_none());
        let fault = FaultKind::AuthFailed(Failure::Misused);
        assert!(
            matches!(session.step(&mut &b""[..]), Step::Event(Event::Fault(f)) if f.kind == fault && f.code == 454)
        );
        assert!(matches!(session.step(&mut &b""[..]), Step::Want(Want::Input)));
        // It may try again.
        session.sent(session.output().len());
        assert!(hear(&mut session, line).is_some());
    }
}

/// RFC 3207 4: TLS begins behind 220 to STARTTLS and nowhere else. A driver that says so at another time would have what was
/// said in plaintext pass for what was said inside TLS.
#[test]
fn a_server_is_inside_tls_only_behind_starttls() {
    let config = with_auth(Mechanism::Plain);
    let mut session = greeted(&config);
    session.tls_established(tls());
    assert_eq!(session.state(), State::Closed);
    assert!(session.tls().is_none());
    assert_eq!(ended(&mut session), misused());

    let mut session = greeted(&config);
    hear(&mut session, b"STARTTLS\r\n");
    session.tls_established(tls());
    assert!(hear(&mut session, b"EHLO c.example\r\n").is_none());
    assert!(session.tls().is_some());
    // A second time is the wrong time.
    session.tls_established(tls());
    assert_eq!(ended(&mut session), misused());
    // A session that is over is not over again.
    session.tls_established(tls());
    assert_eq!(ended(&mut session), (LOCAL_ERROR.to_vec(), vec![], None));
}

// ---- a client's session

fn client() -> Arc<client::Config> {
    client::Config::new("client.example").expect("a name").tls(client::Tls::Never).shared()
}

/// Gives it the server's words; what it wrote is taken for written.
fn listen(session: &mut client::Session, words: &str) -> Option<client::MessageTicket> {
    session.sent(session.output().len());
    let (mut input, mut ticket) = (words.as_bytes(), None);
    loop {
        match session.step(&mut input) {
            Step::Event(client::Event::Message(message)) => ticket = Some(message),
            Step::Event(_) => {}
            Step::Want(_) => return ticket,
        }
    }
}

fn mail() -> Command<'static> {
    Command::Mail(Mail { path: ReversePath::Null, params: Params::default() })
}

/// A session with sender and recipient.
fn with_envelope(config: &Arc<client::Config>, extensions: &[&str]) -> client::Session {
    let mut session = client::Session::new(config.clone(), Channel::Plain);
    listen(&mut session, "220 mx\r\n");
    let lines: String = extensions.iter().map(|extension| format!("250-{extension}\r\n")).collect();
    listen(&mut session, &format!("250-mx\r\n{lines}250 HELP\r\n"));
    session.send(&mail()).expect("open");
    listen(&mut session, "250 ok\r\n");
    let path = ForwardPath::Mailbox(Mailbox::parse("b@example.net", true).expect("an address"));
    session.send(&Command::Rcpt(Rcpt { path, params: Params::default() })).expect("a sender");
    listen(&mut session, "250 ok\r\n");
    session
}

fn foreign() -> Option<client::Reason> {
    Some(client::Reason::Fault(client::FaultKind::ForeignTicket))
}

/// RFC 3207 4: as at the server.
#[test]
fn a_client_is_inside_tls_only_behind_starttls() {
    let mut session = with_envelope(&client(), &[]);
    session.tls_established(tls());
    assert_eq!(session.ended().cloned(), foreign());
    assert!(session.tls().is_none());
}

/// The ticket of another session writes nothing into this one, and ends it.
#[test]
fn a_text_is_written_with_its_own_ticket() {
    let config = client();
    let (mut one, mut two) = (with_envelope(&config, &["CHUNKING"]), with_envelope(&config, &["CHUNKING"]));
    let _ours = one.begin_chunks(false).expect("a recipient");
    let theirs = two.begin_chunks(false).expect("a recipient");
    assert_eq!(one.write(&theirs, b"hello\r\n"), Err(client::TextError::Gone));
    assert!(!one.output().starts_with(b"BDAT"), "{}", one.output().escape_ascii());
    assert_eq!(one.ended().cloned(), foreign());
    // It is still good where it comes from.
    two.finish_with(theirs, b"hello\r\n").expect("a text");
    assert_eq!(two.output(), b"BDAT 7 LAST\r\nhello\r\n");
}

/// RFC 5321 4.1.1.4: what comes behind 354 is text up to its end. Only the end of the connection takes back what has been sent; a
/// text by BDAT is taken back by RSET (RFC 3030 2).
#[test]
fn a_text_that_is_dropped_is_no_message() {
    let mut session = with_envelope(&client(), &[]);
    session.send(&Command::Data).expect("a recipient");
    let ticket = listen(&mut session, "354 go on\r\n").expect("a text");
    session.write(&ticket, b"half a mess").expect("text");
    assert_eq!(session.send(&Command::Rset), Err(client::NotNow::State(client::State::Data)));
    session.drop_chunks(ticket);
    assert_eq!(session.ended(), Some(&client::Reason::Abandoned));
    assert!(session.output().is_empty(), "no end of text goes out");

    let mut session = with_envelope(&client(), &["CHUNKING"]);
    let old = session.begin_chunks(false).expect("a recipient");
    assert!(session.write(&old, b"bare\rcr").is_err());
    assert_eq!(session.output(), b"RSET\r\n");
    // Gone already: there is nothing to take back.
    session.drop_chunks(old);
    assert_eq!((session.output(), session.ended()), (&b"RSET\r\n"[..], None));
}

/// RFC 3030 2: a chunk that is refused may leave its transaction open, so that the next one waits for the answer to the last
/// chunk, also where commands go in groups. A text by DATA leaves none open, and MAIL may follow it (RFC 2920 3.1).
#[test]
fn behind_the_last_chunk_the_next_transaction_waits() {
    let mut session = with_envelope(&client(), &["PIPELINING", "CHUNKING"]);
    let ticket = session.begin_chunks(false).expect("a recipient");
    session.finish_with(ticket, b"hello\r\n").expect("a text");
    assert_eq!(session.send(&mail()), Err(client::NotNow::Busy));
    listen(&mut session, "250 ok\r\n");
    session.send(&mail()).expect("answered");

    let mut session = with_envelope(&client(), &["PIPELINING", "CHUNKING"]);
    session.send(&Command::Data).expect("a recipient");
    let ticket = listen(&mut session, "354 go on\r\n").expect("a text");
    session.finish_with(ticket, b"hello\r\n").expect("a text");
    session.send(&mail()).expect("a group");
    assert_eq!(session.output(), b"hello\r\n.\r\nMAIL FROM:<>\r\n");
}
