//! What sessions, outcomes and configurations tell of themselves: drivers, ledgers and logs are built on these words.

use std::time::Duration;

use smtp_proto::auth::Nonce;
use smtp_proto::auth::client::Credentials;
use smtp_proto::client::{self, Envelope, NoConnection, NotNow, Outcome, Progress, Recipient, Transaction};
use smtp_proto::server::{self, Event, Role, Verdict};
use smtp_proto::syntax::{Command, ForwardPath, Mail, Mailbox, Params, ParamsBuilder, Rcpt, ReversePath};
use smtp_proto::tls::{
    ClientCertificate, Direction, Disposition, EndToEnd, HelloReader, Hop, Policy, Rehearsed, Retries, TlsFailure,
    TlsInfo, TlsOutcome, TlsVersion, Wanted,
};
use smtp_proto::{Channel, Step, Want};

fn tls() -> TlsInfo {
    TlsInfo::new(TlsVersion::Tls13, "TLS_AES_128_GCM_SHA256".into())
}

// ---- a server's session

/// Says yes to everything, and hands out what was asked before the answer.
fn serve(session: &mut server::Session, mut input: &[u8], mut look: impl FnMut(&server::Session, &str)) -> String {
    let mut said = Vec::new();
    loop {
        match session.step(&mut input) {
            Step::Event(event) => {
                let what = format!("{event:?}");
                look(session, what.split(['(', ' ', '{']).next().unwrap_or_default());
                match event {
                    Event::Connect(t) | Event::StartTls(t) | Event::Data(t) | Event::Hello(_, t) => {
                        session.answer(t, Verdict::Accept);
                    }
                    Event::Mail(_, t) | Event::Rcpt(_, t) => session.answer(t, Verdict::Accept),
                    Event::Message(_, t) | Event::Xclient(_, t) => session.answer(t, Verdict::Accept),
                    _ => {}
                }
            }
            Step::Want(want) => {
                said.extend_from_slice(session.output());
                session.sent(session.output().len());
                if want != Want::Output {
                    return String::from_utf8(said).expect("ASCII");
                }
            }
        }
    }
}

fn server_config(role: Role) -> server::Config {
    server::Config::new("mx.example.net").expect("a name").role(role)
}

const ENVELOPE: &[u8] = b"EHLO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<a@example.net>\r\nRCPT TO:<b@example.net>\r\n";

#[test]
fn a_server_tells_how_many_recipients_there_are_and_how_the_text_comes() {
    let config = server_config(Role::Mx).shared();
    let mut session = server::Session::new(config, Channel::Plain);
    serve(&mut session, ENVELOPE, |_, _| {});
    assert_eq!((session.recipients(), session.in_transaction(), session.is_by_chunks()), (2, true, false));
    let mut asked = Vec::new();
    let mut look = |session: &server::Session, what: &str| {
        asked.push((what.to_owned(), session.is_by_chunks(), session.recipients()));
    };
    serve(&mut session, b"BDAT 2\r\nhiBDAT 2 LAST\r\nho", &mut look);
    serve(&mut session, &ENVELOPE[16..], |_, _| {});
    serve(&mut session, b"DATA\r\nhi\r\n.\r\n", &mut look);
    let told: Vec<_> = asked.iter().map(|(what, chunks, count)| (what.as_str(), *chunks, *count)).collect();
    assert!(told.contains(&("Data", true, 2)) && told.contains(&("Data", false, 2)), "{told:?}");
    assert!(told.contains(&("Chunk", true, 2)) && told.contains(&("Chunk", false, 2)), "{told:?}");
    assert_eq!(session.recipients(), 0);
}

/// Between chunks the text still comes by chunks.
#[test]
fn between_chunks_the_text_comes_by_chunks() {
    let mut session = server::Session::new(server_config(Role::Mx).shared(), Channel::Plain);
    serve(&mut session, ENVELOPE, |_, _| {});
    serve(&mut session, b"BDAT 2\r\nhi", |_, _| {});
    assert!(session.is_by_chunks());
    serve(&mut session, b"BDAT 9\r\nhi", |_, _| {});
    assert!(session.is_by_chunks());
}

#[test]
fn a_server_tells_whom_a_proxy_speaks_for() {
    let mut session = server::Session::new(server_config(Role::Mx).shared(), Channel::Plain);
    session.trust();
    serve(&mut session, b"EHLO c.example\r\n", |_, _| {});
    assert_eq!(session.client_address(), None);
    serve(&mut session, b"XCLIENT ADDR=192.0.2.7 PORT=4711\r\n", |_, _| {});
    assert_eq!(session.client_address(), Some(([192, 0, 2, 7], 4711).into()));
}

/// The fact for the ledger, at each point at which it can be asked for.
#[test]
fn a_server_tells_what_became_of_tls() {
    let offering = server_config(Role::Mx).tls(Policy::Offer).shared();
    let mut session = server::Session::new(offering.clone(), Channel::Plain);
    assert_eq!(session.tls_outcome(), TlsOutcome::NotTried);
    assert_eq!(session.offered(), None);
    serve(&mut session, b"EHLO c.example\r\nSTARTTLS\r\n", |_, _| {});
    let mut reader = HelloReader::default();
    // RFC 8446 4.1.2, as short as one can be: version, random, no session, one suite, no compression.
    let body = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 1, 1, 0]].concat();
    let message = [&[1, 0, 0, 41][..], &body].concat();
    assert_eq!(reader.feed(&[&[22, 3, 1, 0, 45][..], &message].concat()), Ok(true));
    assert!(!reader.is_ssl2());
    let offer = reader.hello().expect("complete").offered();
    session.tls_offered(offer);
    assert_eq!(session.offered(), Some(offer));
    session.tls_failed(TlsFailure::TimedOut);
    assert_eq!(session.tls_outcome(), TlsOutcome::Failed(TlsFailure::TimedOut));

    let silent = server_config(Role::Mx).tls(Policy::Off).shared();
    assert_eq!(server::Session::new(silent, Channel::Plain).tls_outcome(), TlsOutcome::NotOffered);
    assert_eq!(server::Session::new(offering, Channel::Tls(tls())).tls_outcome(), TlsOutcome::Used(tls()));
}

/// A line of an exchange that is refused for its length has come all the same: the client has a new period.
#[test]
fn a_response_that_is_too_long_is_progress() {
    let config = server_config(Role::Mx).auth(smtp_proto::auth::MechanismSet::PASSWORD).shared();
    let mut session = server::Session::new(config, Channel::Tls(tls()));
    serve(&mut session, b"EHLO c.example\r\nAUTH PLAIN\r\n", |_, _| {});
    let before = session.progress();
    assert!(serve(&mut session, &[&[b'A'; 13_000][..], b"\r\n"].concat(), |_, _| {}).starts_with("500 "));
    assert_ne!(session.progress(), before);
}

/// RFC 3848.
#[test]
fn a_server_tells_the_protocol_by_its_name() {
    for (role, hello, name) in [
        (Role::Mx, "HELO c.example\r\n", "SMTP"),
        (Role::Mx, "EHLO c.example\r\n", "ESMTP"),
        (Role::Lmtp, "LHLO c.example\r\n", "LMTP"),
    ] {
        let mut session = server::Session::new(server_config(role).shared(), Channel::Plain);
        serve(&mut session, hello.as_bytes(), |_, _| {});
        assert_eq!(session.protocol().as_str(), name);
    }
}

#[test]
fn what_was_configured_is_told() {
    let mut timeouts = server::Timeouts::default();
    timeouts.handshake = Duration::from_secs(7);
    let config = server_config(Role::Lmtp).timeouts(timeouts);
    assert_eq!(config.hostname(), "mx.example.net");
    assert_eq!((config.is_lmtp(), server_config(Role::Mx).is_lmtp()), (true, false));
    assert_eq!(config.handshake_timeout(), Duration::from_secs(7));

    let mut timeouts = client::Timeouts::default();
    timeouts.handshake = Duration::from_secs(8);
    let config = client::Config::new("client.example").expect("a name").timeouts(timeouts);
    assert_eq!((config.name(), config.handshake_timeout()), ("client.example", Duration::from_secs(8)));
}

// ---- a client's session

fn client_session(tls: client::Tls) -> client::Session {
    let mut timeouts = client::Timeouts::default();
    timeouts.quit = Duration::from_secs(11);
    let config = client::Config::new("client.example").expect("a name").timeouts(timeouts);
    client::Session::new(config.tls(tls).shared(), Channel::Plain)
}

/// Gives it the server's words; says what the client wrote, and the events.
fn hear(session: &mut client::Session, words: &str) -> (String, Vec<String>) {
    // A reply cannot come before its command has gone out.
    let (mut input, mut wrote, mut events) = (words.as_bytes(), session.output().to_vec(), Vec::new());
    session.sent(wrote.len());
    loop {
        match session.step(&mut input) {
            Step::Event(event) => events.push(format!("{event:?}")),
            Step::Want(want) => {
                wrote.extend_from_slice(session.output());
                session.sent(session.output().len());
                if want != Want::Output {
                    return (String::from_utf8(wrote).expect("UTF-8"), events);
                }
            }
        }
    }
}

fn opened(ehlo: &str) -> client::Session {
    let mut session = client_session(client::Tls::Never);
    hear(&mut session, "220 mx\r\n");
    hear(&mut session, ehlo);
    session
}

#[test]
fn a_client_tells_how_far_it_is() {
    let mut session = client_session(client::Tls::Never);
    assert_eq!((session.is_open(), session.awaited()), (false, 1));
    let before = session.progress();
    hear(&mut session, "220 mx\r\n");
    assert_ne!(session.progress(), before, "a reply is progress");
    let before = session.progress();
    hear(&mut session, "250 m");
    assert_eq!(session.progress(), before, "half a reply is none");
    // It was left over: the driver gives it again, with what comes next.
    hear(&mut session, "250 mx\r\n");
    assert_eq!((session.is_open(), session.awaited()), (true, 0));
    assert!(session.is_idle());

    session.send(&Command::Quit).expect("idle");
    let (wrote, _) = hear(&mut session, "");
    assert_eq!(wrote, "QUIT\r\n");
    assert_eq!(session.awaited(), 1);
    assert_eq!(session.timeout(), Duration::from_secs(11), "QUIT has a time of its own");
    let (_, events) = hear(&mut session, "221 bye\r\n");
    assert_eq!(events.last().map(String::as_str), Some("Closed(Quit)"));
}

#[test]
fn a_client_tells_why_the_session_goes_on_in_plaintext() {
    let mut session = client_session(client::Tls::Opportunistic);
    hear(&mut session, "220 mx\r\n");
    assert_eq!(hear(&mut session, "250-mx\r\n250 STARTTLS\r\n").0, "STARTTLS\r\n");
    assert!(session.tls_refusal().is_none());
    hear(&mut session, "454 4.7.0 no certificate\r\n");
    assert_eq!(session.tls_refusal().map(smtp_proto::syntax::OwnedReply::code), Some(454));
}

/// RFC 6152 3: said by the session, where nothing else was said and the server has it.
#[test]
fn mail_for_a_text_that_nobody_looked_at_says_8bitmime() {
    let mut seven = ParamsBuilder::mail();
    seven.add("BODY", Some("7BIT")).expect("a parameter");
    for (ehlo, params, expected) in [
        ("250-mx\r\n250 8BITMIME\r\n", Params::default(), "MAIL FROM:<> BODY=8BITMIME\r\n"),
        ("250-mx\r\n250 8BITMIME\r\n", seven.params(), "MAIL FROM:<> BODY=7BIT\r\n"),
        ("250 mx\r\n", Params::default(), "MAIL FROM:<>\r\n"),
    ] {
        let mut session = opened(ehlo);
        session.send_mail(&Mail { path: ReversePath::Null, params }).expect("idle");
        assert_eq!(hear(&mut session, "").0, expected);
    }
}

/// RFC 6531 3.4: an address beyond ASCII goes out whole, and only to a server with SMTPUTF8.
#[test]
fn an_address_beyond_ascii_needs_smtputf8() {
    let path = ReversePath::Mailbox(Mailbox::parse("j\u{f6}rg@example.org", true).expect("an address"));
    let mut said = ParamsBuilder::mail();
    said.add("SMTPUTF8", None).expect("a parameter");
    let mail = Mail { path, params: said.params() };
    let mut session = opened("250-mx\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n");
    session.send(&Command::Mail(mail)).expect("offered");
    assert!(hear(&mut session, "").0.starts_with("MAIL FROM:<j\u{f6}rg@example.org>"));
    let mut session = opened("250-mx\r\n250 8BITMIME\r\n");
    let refused: Result<(), NotNow> = session.send(&Command::Mail(mail));
    assert!(refused.is_err());
    assert_eq!(hear(&mut session, "").0, "");
}

/// RFC 1047: between the end of the text and its reply nobody knows.
#[test]
fn a_client_tells_whether_the_text_has_gone_out() {
    let mut session = opened("250 mx\r\n");
    session.send_mail(&Mail { path: ReversePath::Null, params: Params::default() }).expect("idle");
    hear(&mut session, "250 ok\r\n");
    session.send(&Command::Rcpt(rcpt("a@example.net"))).expect("a sender");
    hear(&mut session, "250 ok\r\n");
    session.send(&Command::Data).expect("a recipient");
    session.sent(session.output().len());
    let mut input = &b"354 go\r\n"[..];
    let ticket = loop {
        match session.step(&mut input) {
            Step::Event(client::Event::Message(ticket)) => break ticket,
            Step::Event(_) => {}
            Step::Want(_) => session.sent(session.output().len()),
        }
    };
    session.write(&ticket, b"Hello.\r\n").expect("good text");
    assert!(!session.text_has_gone_out());
    session.finish(ticket).expect("good text");
    assert!(!session.text_has_gone_out(), "it waits to be written");
    let all = session.output().len();
    session.sent(all - 1);
    assert!(!session.text_has_gone_out(), "all but the last octet");
    session.sent(1);
    assert!(session.text_has_gone_out());
}

/// RFC 3030 2.
#[test]
fn chunks_that_are_dropped_are_taken_back_by_rset() {
    let mut session = opened("250-mx\r\n250 CHUNKING\r\n");
    session.send_mail(&Mail { path: ReversePath::Null, params: Params::default() }).expect("idle");
    hear(&mut session, "250 ok\r\n");
    session.send(&Command::Rcpt(rcpt("a@example.net"))).expect("a sender");
    hear(&mut session, "250 ok\r\n");
    let ticket = session.begin_chunks(false).expect("a recipient");
    session.drop_chunks(ticket);
    assert_eq!(hear(&mut session, "").0, "RSET\r\n");
    hear(&mut session, "250 ok\r\n");
    assert!(session.is_idle());
}

/// RFC 4954 4, 6: who reads a log is told what to mend.
#[test]
fn a_refused_login_is_told_by_its_code() {
    for (code, words) in [
        (454, "cannot authenticate now"),
        (500, "does not know AUTH"),
        (502, "does not know AUTH"),
        (501, "does not take AUTH as it was sent"),
        (503, "does not take AUTH as it was sent"),
        (504, "does not know this mechanism"),
        (534, "wants a stronger mechanism"),
        (538, "wants TLS before AUTH"),
        (535, "refuses the credentials"),
    ] {
        let config = client::Config::new("client.example").expect("a name").tls(client::Tls::Never);
        let mut session = client::Session::new(config.shared(), Channel::Tls(tls()));
        session.authenticate(Credentials::password("user", "pencil").expect("good"), Nonce::new(&[1; 18]));
        hear(&mut session, "220 mx\r\n");
        hear(&mut session, "250-mx\r\n250 AUTH PLAIN\r\n");
        let reply = format!("{code} no\r\n");
        let mut input = reply.as_bytes();
        let reason = loop {
            match session.step(&mut input) {
                Step::Event(client::Event::Closed(reason)) => break reason,
                Step::Want(Want::Input) => session.eof(),
                Step::Want(_) => session.sent(session.output().len()),
                Step::Event(_) => {}
            }
        };
        assert!(reason.to_string().contains(words), "{code}: {reason}");
    }
}

/// Memory that waits for nothing is given back; what waits to be written stays.
#[test]
fn releasing_loses_nothing() {
    let mut session = client_session(client::Tls::Never);
    hear(&mut session, "220 mx\r\n");
    hear(&mut session, "250 mx\r\n");
    session.send(&Command::Noop("")).expect("idle");
    session.release();
    assert_eq!(hear(&mut session, "").0, "NOOP\r\n");
    session.release();
    let mut session = server::Session::new(server_config(Role::Mx).shared(), Channel::Plain);
    let mut input = &b""[..];
    while let Step::Event(event) = session.step(&mut input) {
        if let Event::Connect(ticket) = event {
            session.answer(ticket, Verdict::Accept);
        }
    }
    session.release();
    assert!(session.output().starts_with(b"220 "));
}

// ---- outcomes

fn rcpt(address: &'static str) -> Rcpt<'static> {
    let path = ForwardPath::Mailbox(Mailbox::parse(address, false).expect("an address"));
    Rcpt { path, params: Params::default() }
}

/// RFC 5321 4.5.4.1: what may go well later, and what may not.
#[test]
fn a_connection_that_was_not_made_is_the_outcome_of_all() {
    let to = [rcpt("a@example.net"), rcpt("b@example.net")];
    let reasons = [(NoConnection::Denied, true), (NoConnection::NotSetUp("no certificate".into()), false)];
    for (reason, temporary) in reasons {
        let mut transaction = Transaction::new(Envelope::new(ReversePath::Null, &to));
        transaction.fail(client::Reason::NotConnected(reason));
        assert!(transaction.outcomes().all(|outcome| outcome.is_temporary() == temporary));
        assert_eq!(transaction.outcomes().len(), 2);
        assert!(transaction.closed().is_some());
        let mut session = client_session(client::Tls::Never);
        assert!(matches!(transaction.step(&mut session, &mut &b""[..]), Progress::Done));
    }
}

/// An end without a last piece is an end: by DATA and by BDAT.
#[test]
fn a_text_is_finished_without_a_last_piece() {
    for (ehlo, replies) in [
        ("250 mx\r\n", &["250 ok\r\n", "250 ok\r\n", "354 go\r\n", "250 taken\r\n"][..]),
        ("250-mx\r\n250 CHUNKING\r\n", &["250 ok\r\n", "250 ok\r\n", "250 ok\r\n", "250 taken\r\n"]),
    ] {
        let to = [rcpt("a@example.net")];
        let mut transaction = Transaction::new(Envelope::new(ReversePath::Null, &to));
        let mut session = opened(ehlo);
        let mut server = replies.iter();
        let mut wrote = Vec::new();
        let mut written = false;
        let mut input = &b""[..];
        loop {
            match transaction.step(&mut session, &mut input) {
                Progress::Done => break,
                Progress::Text if !written => {
                    written = true;
                    transaction.write(&mut session, b"Hello.\r\n").expect("good text");
                }
                Progress::Text => transaction.finish(&mut session).expect("good text"),
                Progress::Want(_) => {
                    wrote.extend_from_slice(session.output());
                    session.sent(session.output().len());
                    input = server.next().expect("an answer").as_bytes();
                }
            }
        }
        let wrote = String::from_utf8(wrote).expect("ASCII");
        assert!(wrote.ends_with("Hello.\r\n.\r\n") || wrote.ends_with("BDAT 0 LAST\r\n"), "{wrote}");
        assert!(transaction.outcomes().all(|outcome| outcome.is_accepted() && !outcome.is_temporary()));
        assert!(transaction.outcomes().all(|outcome| matches!(outcome, Outcome::Accepted(_))));
    }
}

#[test]
fn a_recipient_that_is_kept_has_its_address() {
    assert_eq!(Recipient::new("a@example.net").expect("an address").address(), "a@example.net");
}

// ---- the words of the ledger

/// They are a promise: files and databases are full of them.
#[test]
fn the_words_of_the_ledger_stay() {
    assert_eq!([Direction::Inbound, Direction::Outbound].map(Direction::as_str), ["inbound", "outbound"]);
    let ends = [Disposition::Accepted, Disposition::Refused, Disposition::Deferred, Disposition::Abandoned];
    assert_eq!(ends.map(Disposition::as_str), ["accepted", "refused", "deferred", "abandoned"]);
    assert_eq!([Wanted::Yes, Wanted::No, Wanted::Unknown].map(Wanted::as_str), ["wanted", "unwanted", "unknown"]);
    let hops = [Hop::NotTried, Hop::Failed, Hop::FailedThenPlaintext, Hop::NotOffered, Hop::Unknown];
    let words = ["not-tried", "failed", "failed-then-plaintext", "not-offered", "unknown"];
    assert_eq!(hops.map(Hop::as_str), words);
    let texts = [EndToEnd::None, EndToEnd::PgpMime, EndToEnd::Smime, EndToEnd::PgpInline, EndToEnd::Unknown];
    assert_eq!(texts.map(EndToEnd::as_str), ["none", "pgp-mime", "s-mime", "pgp-inline", "unknown"]);
    let rehearsed = [Rehearsed::Asked, Rehearsed::CameWithTls, Rehearsed::CameInPlaintext];
    assert_eq!(rehearsed.map(Rehearsed::as_str), ["asked", "came-with-tls", "came-in-plaintext"]);
    let certificates = [
        ClientCertificate::None,
        ClientCertificate::SelfSigned,
        ClientCertificate::Untrusted,
        ClientCertificate::Verified,
        ClientCertificate::Unknown,
    ];
    let words = ["none", "self-signed", "untrusted", "verified", "unknown"];
    assert_eq!(certificates.map(ClientCertificate::as_str), words);
    let failed = TlsOutcome::Failed(TlsFailure::Closed);
    let outcomes = [TlsOutcome::Used(tls()), TlsOutcome::NotTried, failed, TlsOutcome::NotOffered];
    assert_eq!(outcomes.map(|outcome| outcome.as_str()), ["used", "not-tried", "failed", "not-offered"]);
}

/// RFC 8446 6.2: an alert about our certificate is told as such.
#[test]
fn an_alert_about_the_certificate_says_what_is_wrong_with_it() {
    for (alert, words) in [
        ("bad_certificate", "refused our certificate: it is broken"),
        ("unsupported_certificate", "refused our certificate: of a kind that is not known"),
        ("certificate_revoked", "refused our certificate: it was revoked"),
        ("certificate_expired", "refused our certificate: it has expired"),
        ("certificate_unknown", "refused our certificate: it is not acceptable"),
        ("unknown_ca", "refused our certificate: unknown CA"),
        ("handshake_failure", "alert handshake_failure"),
    ] {
        let told = TlsFailure::Alert(alert.into()).to_string();
        assert!(told.starts_with(words), "{told}");
    }
}

/// The order of the recipients does not count; sender and recipients are not mistaken for each other.
#[test]
fn an_envelope_is_known_again() {
    let hash = |from, to: &[&'static str]| Retries::envelope(from, to.iter().copied());
    assert_eq!(hash("a@x", &["b@y", "c@z"]), hash("a@x", &["c@z", "b@y"]));
    let others = [hash("b@y", &["a@x", "c@z"]), hash("a@x", &["b@y"]), hash("a@x", &[]), hash("", &["b@y", "c@z"])];
    assert!(others.iter().all(|other| *other != hash("a@x", &["b@y", "c@z"]) && *other != 0));
}
