//! The client's bounds met and not passed, what a driver's clock is told, and what a caller is told who asks at the wrong time:
//! each of these once went wrong by one in a copy of the core, and no other test noticed.

use std::time::Duration;

use smtp_proto::auth::client::Credentials;
use smtp_proto::auth::{MechanismSet, Nonce};
use smtp_proto::client::{
    Awaited, Config, Envelope, Event, FaultKind, Limits, MessageTicket, NotNow, Outcome, Progress, Reason, Session,
    State, TextError, Timeouts, Tls, Transaction,
};
use smtp_proto::syntax::{
    Attributes, Command, Extension, ForwardPath, Keyword, Mail, Mailbox, Params, ParamsBuilder, Rcpt, ReversePath,
};
use smtp_proto::text::Newlines;
use smtp_proto::tls::{Disposition, TlsInfo, TlsVersion};
use smtp_proto::{Channel, Step, Want};

fn config() -> Config {
    Config::new("client.example").expect("a name").tls(Tls::Never)
}

struct Talk {
    session: Session,
    events: Vec<String>,
    ticket: Option<MessageTicket>,
    unread: Vec<u8>,
    want: Want,
}

impl Talk {
    fn new(config: Config) -> Self {
        let session = Session::new(config.shared(), Channel::Plain);
        Self { session, events: Vec::new(), ticket: None, unread: Vec::new(), want: Want::Input }
    }

    /// Greeted, and told these extensions.
    fn open(config: Config, extensions: &[&str]) -> Self {
        let mut talk = Self::new(config);
        talk.hear("220 mx\r\n");
        let lines: String = extensions.iter().map(|extension| format!("250-{extension}\r\n")).collect();
        talk.hear(&format!("250-mx\r\n{lines}250 HELP\r\n"));
        talk
    }

    /// With MAIL and RCPT accepted.
    fn with_envelope(config: Config, extensions: &[&str]) -> Self {
        let mut talk = Self::open(config, extensions);
        talk.session.send(&mail()).expect("open");
        talk.hear("250 ok\r\n");
        talk.session.send(&Command::Rcpt(rcpt("b@example.net"))).expect("a sender");
        talk.hear("250 ok\r\n");
        talk
    }

    /// All that waits goes out, then these words come; gives what was written in answer.
    fn hear(&mut self, words: &str) -> String {
        let mut wrote = self.session.output().to_vec();
        self.session.sent(wrote.len());
        self.unread.extend_from_slice(words.as_bytes());
        let unread = std::mem::take(&mut self.unread);
        let mut input = &unread[..];
        self.want = loop {
            match self.session.step(&mut input) {
                Step::Event(Event::Message(ticket)) => self.ticket = Some(ticket),
                Step::Event(event) => self.events.push(format!("{event:?}")),
                Step::Want(Want::Output) => {}
                Step::Want(want) => break want,
            }
            wrote.extend_from_slice(self.session.output());
            self.session.sent(self.session.output().len());
        };
        self.unread = input.to_vec();
        String::from_utf8(wrote).expect("UTF-8")
    }

    fn ended(&self) -> Option<&Reason> {
        self.session.ended()
    }
}

fn mail() -> Command<'static> {
    Command::Mail(Mail { path: ReversePath::Null, params: Params::default() })
}

fn rcpt(address: &'static str) -> Rcpt<'static> {
    let path = ForwardPath::Mailbox(Mailbox::parse(address, true).expect("an address"));
    Rcpt { path, params: Params::default() }
}

/// RFC 5321 4.5.3.2: what is awaited has its time.
#[test]
fn what_is_awaited_has_its_time() {
    let mut times = Timeouts::default();
    let [greeting, command, data, text, text_end, quit, handshake] = [1, 2, 3, 4, 5, 6, 7].map(Duration::from_secs);
    (times.greeting, times.command, times.data, times.text) = (greeting, command, data, text);
    (times.text_end, times.quit, times.handshake) = (text_end, quit, handshake);
    let mut talk = Talk::new(config().timeouts(times));
    assert_eq!(talk.session.timeout(), greeting);
    talk.hear("220 mx\r\n");
    assert_eq!(talk.session.timeout(), command);
    talk.hear("250 mx\r\n");
    talk.session.send(&mail()).expect("open");
    assert_eq!(talk.session.timeout(), command);
    talk.hear("250 ok\r\n");
    talk.session.send(&Command::Rcpt(rcpt("b@example.net"))).expect("a sender");
    talk.hear("250 ok\r\n");
    talk.session.send(&Command::Data).expect("a recipient");
    assert_eq!(talk.session.timeout(), data);
    talk.hear("354 go\r\n");
    assert_eq!(talk.session.timeout(), text);
    let ticket = talk.ticket.take().expect("354");
    talk.session.finish_with(ticket, b"Hello.\r\n").expect("good text");
    assert_eq!(talk.session.timeout(), text, "it has not gone out");
    talk.session.sent(talk.session.output().len());
    assert_eq!(talk.session.timeout(), text_end);
    talk.hear("250 taken\r\n");
    talk.session.send(&Command::Quit).expect("idle");
    talk.hear("");
    assert_eq!(talk.session.timeout(), quit);

    let mut talk = Talk::new(config().timeouts(times).tls(Tls::Require));
    talk.hear("220 mx\r\n");
    talk.hear("250-mx\r\n250 STARTTLS\r\n");
    talk.hear("220 go\r\n");
    assert_eq!((talk.session.state(), talk.session.timeout()), (State::StartTls, handshake));
    let before = talk.session.progress();
    talk.session.tls_established(TlsInfo::new(TlsVersion::Tls13, "x".into()));
    assert!(talk.session.progress() > before);
}

/// Of text that is taken each KiB is progress, so that a slow drip still times out.
#[test]
fn each_kib_that_is_taken_is_progress() {
    let mut talk = Talk::with_envelope(config(), &[]);
    talk.session.send(&Command::Data).expect("a recipient");
    talk.hear("354 go\r\n");
    // What the commands were counts as well: up to the next whole KiB.
    let ticket = talk.ticket.take().expect("354");
    talk.session.write(&ticket, "line\r\n".repeat(1000).as_bytes()).expect("good text");
    let mut before = talk.session.progress();
    for _ in 0..1024 {
        talk.session.sent(1);
        if talk.session.progress() != before {
            break;
        }
    }
    assert_eq!(talk.session.progress(), before + 1);
    before += 1;
    for _ in 0..3 {
        talk.session.sent(1023);
        assert_eq!(talk.session.progress(), before, "less than a KiB is none");
        talk.session.sent(1);
        before += 1;
        assert_eq!(talk.session.progress(), before);
    }
}

/// What is asked for at a wrong time is refused, in the words that say so, and nothing is put out.
#[test]
fn nothing_is_sent_before_its_time() {
    let mut talk = Talk::new(config());
    assert_eq!(talk.session.send(&mail()), Err(NotNow::State(State::Connected)));
    talk.hear("220 mx\r\n");
    talk.hear("250-mx\r\n250 PIPELINING\r\n");
    assert_eq!((talk.session.is_secret(), talk.session.is_authenticated()), (false, false));
    talk.session.send(&mail()).expect("open");
    talk.session.quit();
    assert!(matches!(talk.session.send(&Command::Rcpt(rcpt("b@example.net"))), Err(NotNow::State(_))));
    // Half a reply has come that nobody asked for.
    let mut talk = Talk::open(config(), &["PIPELINING"]);
    talk.hear("250-what\r\n");
    assert_eq!(talk.session.send(&mail()), Err(NotNow::Busy));
    // RFC 6531 3.4.
    let mut talk = Talk::open(config(), &["SMTPUTF8", "8BITMIME"]);
    talk.session.send(&mail()).expect("open");
    talk.hear("250 ok\r\n");
    let beyond = Command::Rcpt(rcpt("\u{fc}@example.net"));
    assert_eq!(talk.session.send(&beyond), Err(NotNow::NotOffered(Extension::SmtpUtf8)));
    assert!(talk.session.output().is_empty());
    // The end forgets what was awaited.
    talk.session.send(&Command::Rset).expect("open");
    assert_eq!(talk.session.awaited(), 1);
    talk.session.eof();
    assert_eq!((talk.session.awaited(), talk.ended()), (0, Some(&Reason::Eof)));
}

/// RFC 1870 6: as long as it may be is not too long. RFC 5321 4.5.3.1.4: a line likewise; the core's bound is 2,048.
#[test]
fn what_just_fits_is_sent() {
    for (size, fits) in [("99", true), ("100", true), ("101", false)] {
        let mut talk = Talk::open(config(), &["SIZE 100"]);
        let mut params = ParamsBuilder::mail();
        params.add("SIZE", Some(size)).expect("a parameter");
        let sent = talk.session.send(&Command::Mail(Mail { path: ReversePath::Null, params: params.params() }));
        assert_eq!(sent, if fits { Ok(()) } else { Err(NotNow::TooBig(100)) }, "{size}");
    }
    for (octets, fits) in [(2048, true), (2049, false)] {
        let mut talk = Talk::open(config(), &[]);
        let text = "x".repeat(octets - "NOOP \r\n".len());
        let sent = talk.session.send(&Command::Noop(&text));
        assert_eq!(sent, if fits { Ok(()) } else { Err(NotNow::Forbidden) }, "{octets}");
        assert_eq!(talk.session.output().len(), if fits { octets } else { 0 });
    }
    // XCLIENT has a bound of its own, and each of the two what was announced for it.
    for (octets, fits) in [(512, true), (513, false)] {
        let mut talk = Talk::open(config(), &["XCLIENT NAME", "XFORWARD ADDR"]);
        let said = format!("NAME={}", "x".repeat(octets - "XCLIENT NAME=\r\n".len()));
        let sent = talk.session.send(&Command::Xclient(Attributes::parse(&said).expect("attributes")));
        assert_eq!(sent, if fits { Ok(()) } else { Err(NotNow::Forbidden) }, "{octets}");
    }
    let mut talk = Talk::open(config(), &["XCLIENT NAME", "XFORWARD ADDR"]);
    let [name, address] = ["NAME=x.example", "ADDR=192.0.2.1"].map(|said| Attributes::parse(said).expect("attributes"));
    assert_eq!(talk.session.send(&Command::Xclient(address)), Err(NotNow::UnknownParameter));
    assert_eq!(talk.session.send(&Command::Xforward(name)), Err(NotNow::UnknownParameter));
}

/// Chunks may wait for their replies (RFC 3030 4.2), as many as a group may have.
#[test]
fn a_group_has_its_bound() {
    let mut limits = Limits::default();
    limits.group = 2;
    let mut talk = Talk::with_envelope(config().limits(limits), &["PIPELINING", "CHUNKING"]);
    let ticket = talk.session.begin_chunks(false).expect("a recipient");
    for want in [Want::Decision, Want::Input] {
        talk.session.write(&ticket, b"Hello.\r\n").expect("good text");
        talk.hear("");
        assert_eq!(talk.want, want);
    }
}

/// The last chunk says how long it is, and a flaw takes it back.
#[test]
fn a_chunk_says_how_long_it_is() {
    let mut talk = Talk::with_envelope(config(), &["CHUNKING"]);
    let ticket = talk.session.begin_chunks(false).expect("a recipient");
    talk.session.finish_with(ticket, b"Hello").expect("good text");
    assert_eq!(talk.hear(""), "BDAT 5 LAST\r\nHello");
    let mut talk = Talk::with_envelope(config().newlines(Newlines::Convert), &["CHUNKING"]);
    let ticket = talk.session.begin_chunks(false).expect("a recipient");
    talk.session.finish_with(ticket, b"Hello\r").expect("a line end in the making");
    assert_eq!(talk.hear(""), "BDAT 7 LAST\r\nHello\r\n");
    // A ticket that is used once more, behind a flaw, does no harm to the session.
    let mut talk = Talk::with_envelope(config(), &["CHUNKING"]);
    let ticket = talk.session.begin_chunks(false).expect("a recipient");
    assert!(matches!(talk.session.write(&ticket, b"bare\rcr"), Err(TextError::Flaw(_))));
    assert_eq!(talk.session.write(&ticket, b"more"), Err(TextError::Gone));
    assert_eq!(talk.hear(""), "RSET\r\n");
    talk.hear("250 ok\r\n");
    assert!(talk.session.is_idle());
}

/// A ticket is good for its own text alone, though the next one is of the same session.
#[test]
fn a_ticket_of_an_earlier_text_is_good_no_longer() {
    let mut talk = Talk::with_envelope(config(), &["CHUNKING"]);
    let old = talk.session.begin_chunks(false).expect("a recipient");
    assert!(talk.session.write(&old, b"bare\rcr").is_err());
    talk.hear("");
    talk.hear("250 ok\r\n");
    talk.session.send(&mail()).expect("idle");
    talk.hear("250 ok\r\n");
    talk.session.send(&Command::Rcpt(rcpt("b@example.net"))).expect("a sender");
    talk.hear("250 ok\r\n");
    let _new = talk.session.begin_chunks(false).expect("a recipient");
    assert_eq!(talk.session.write(&old, b"more"), Err(TextError::Gone));
    assert!(talk.session.output().is_empty());
}

/// RFC 3030 2: a chunk that is refused takes the rest of its text with it.
#[test]
fn a_refused_chunk_ends_its_transaction() {
    let to = [rcpt("a@example.net")];
    let mut talk = Talk::open(config(), &["CHUNKING"]);
    let mut transaction = Transaction::new(Envelope::new(ReversePath::Null, &to));
    let mut server = ["250 ok\r\n", "250 ok\r\n", "552 5.2.3 no\r\n", "250 ok\r\n"].into_iter();
    let (mut wrote, mut asked, mut held) = (String::new(), 0, Vec::new());
    loop {
        let before = std::mem::take(&mut held);
        let mut input = &before[..];
        match transaction.step(&mut talk.session, &mut input) {
            Progress::Done => break,
            Progress::Text => {
                asked += 1;
                transaction.write(&mut talk.session, b"Hello.\r\n").expect("good text");
            }
            Progress::Want(_) => {
                wrote.push_str(str::from_utf8(talk.session.output()).expect("ASCII"));
                talk.session.sent(talk.session.output().len());
                held = server.next().expect("an answer").as_bytes().to_vec();
            }
        }
    }
    assert_eq!(asked, 1);
    assert!(wrote.ends_with("BDAT 8\r\nHello.\r\nRSET\r\n"), "{wrote}");
    assert_eq!(
        transaction.outcomes().map(|outcome| outcome.to_string()).collect::<Vec<_>>(),
        ["refused: 552 5.2.3 no"]
    );
    assert!(talk.session.is_idle());
}

/// What the operating system says of a connection that was not made, and whose fault another end was.
#[cfg(feature = "std")]
#[test]
fn why_there_is_no_connection() {
    use smtp_proto::client::NoConnection;
    use std::io::{Error, ErrorKind};
    let of = |kind: ErrorKind| NoConnection::from(&Error::from(kind));
    assert_eq!(of(ErrorKind::ConnectionRefused), NoConnection::Refused);
    assert_eq!(of(ErrorKind::TimedOut), NoConnection::TimedOut);
    assert_eq!(of(ErrorKind::NotFound), NoConnection::NotFound);
    assert_eq!(of(ErrorKind::PermissionDenied), NoConnection::Denied);
    for kind in [ErrorKind::HostUnreachable, ErrorKind::NetworkUnreachable] {
        assert!(matches!(of(kind), NoConnection::Unreachable(_)), "{kind:?}");
    }
    assert!(matches!(of(ErrorKind::AddrNotAvailable), NoConnection::NoAddress(_)));
    assert!(matches!(of(ErrorKind::Other), NoConnection::Other(_)));
    let words = |kind| Reason::Fault(kind).to_string();
    assert!(words(FaultKind::ForeignTicket).contains("the application is at fault"));
    assert!(words(FaultKind::Unsolicited).contains("the server broke the protocol"));
}

/// RFC 6152 3: what is not ASCII is found in each part of a text, where dots are doubled in it as well.
#[test]
fn octets_beyond_ascii_are_found_before_a_dot() {
    for text in ["\u{fc}\r\n.x\r\n", "x\r\n.\u{fc}\r\n", "x\r\n.x\u{fc}\r\n..\r\n"] {
        let mut talk = Talk::with_envelope(config(), &[]);
        talk.session.send(&Command::Data).expect("a recipient");
        talk.hear("354 go\r\n");
        let ticket = talk.ticket.take().expect("354");
        assert!(matches!(talk.session.write(&ticket, text.as_bytes()), Err(TextError::Flaw(_))), "{text:?}");
    }
}

/// RFC 1047: what is known of a text once its reply has come, and where MAIL already follows it (RFC 2920 3.1).
#[test]
fn a_text_that_is_answered_is_in_doubt_no_longer() {
    let sent = || {
        let mut talk = Talk::with_envelope(config(), &["PIPELINING"]);
        talk.session.send(&Command::Data).expect("a recipient");
        talk.hear("354 go\r\n");
        let ticket = talk.ticket.take().expect("354");
        talk.session.finish_with(ticket, b"Hello.\r\n").expect("good text");
        talk
    };
    for reply in ["250 taken\r\n", "421 not now\r\n"] {
        let mut talk = sent();
        talk.hear("");
        assert!(talk.session.text_has_gone_out());
        talk.hear(reply);
        assert!(!talk.session.text_has_gone_out(), "{reply}");
    }
    let mut talk = sent();
    talk.session.send(&mail()).expect("behind the text");
    talk.hear("");
    assert!(talk.session.text_has_gone_out());
}

/// A reply while the text is still being sent is another fault than one to nothing.
#[test]
fn a_reply_to_half_a_text_is_early() {
    let mut talk = Talk::with_envelope(config(), &[]);
    talk.session.send(&Command::Data).expect("a recipient");
    talk.hear("354 go\r\n");
    let ticket = talk.ticket.take().expect("354");
    talk.session.write(&ticket, b"Hello.\r\n").expect("good text");
    talk.hear("250 taken\r\n");
    assert_eq!(talk.ended(), Some(&Reason::Fault(FaultKind::EarlyReply)));
    let mut talk = Talk::open(config(), &[]);
    talk.hear("250 what\r\n");
    assert_eq!(talk.ended(), Some(&Reason::Fault(FaultKind::Unsolicited)));
    // RFC 5321 4.3.2: 221 is no answer to EHLO, where nothing was said before it.
    let mut talk = Talk::new(config());
    talk.hear("220 mx\r\n");
    talk.hear("221 bye\r\n");
    let unexpected = FaultKind::Unexpected { to: Awaited::Ehlo, code: 221 };
    assert_eq!(talk.ended(), Some(&Reason::Fault(unexpected)));
}

/// RFC 3030 2: behind a chunk that was refused there is nothing but RSET.
#[test]
fn a_refused_chunk_is_known_by_the_state() {
    let mut talk = Talk::with_envelope(config(), &["CHUNKING"]);
    let ticket = talk.session.begin_chunks(false).expect("a recipient");
    talk.session.write(&ticket, b"Hello.\r\n").expect("good text");
    talk.hear("552 no\r\n");
    assert_eq!(talk.session.state(), State::Chunks);
}

/// A session that has written its AUTH, and that line.
fn login(user: &str, password: &str, mechanisms: &str, limits: Limits) -> (Talk, String) {
    let mut talk = Talk::new(config().allow_plaintext_auth(true).limits(limits));
    talk.session.authenticate(Credentials::password(user, password).expect("credentials"), Nonce::new(&[1; 18]));
    talk.hear("220 mx\r\n");
    let line = talk.hear(&format!("250-mx\r\n250 AUTH {mechanisms}\r\n"));
    (talk, line)
}

/// RFC 4954 4: an initial response that makes the line longer than 512 octets waits for 334.
#[test]
fn an_initial_response_goes_with_the_command_if_it_fits() {
    // "AUTH PLAIN " and CRLF are 13 octets, which leaves 496 for base64: 372 octets with two NULs and the name.
    for (octets, fits) in [(372, true), (373, false)] {
        let (_, line) = login("u", &"p".repeat(octets - 3), "PLAIN", Limits::default());
        assert_eq!(line != "AUTH PLAIN\r\n", fits, "{octets}: {line}");
        assert!(line.len() <= 512);
    }
}

/// RFC 4954 4: 504 is about the mechanism only where nothing was asked before it; and there is a bound on questions.
#[test]
fn a_server_that_asks_too_much_is_left() {
    let long = "p".repeat(600);
    let (mut talk, _) = login("u", &long, "PLAIN LOGIN", Limits::default());
    assert!(talk.hear("334 \r\n").len() > 600);
    assert_eq!(talk.hear("504 no\r\n"), "QUIT\r\n");
    let (mut talk, _) = login("u", &long, "PLAIN LOGIN", Limits::default());
    assert_eq!(talk.hear("504 no\r\n"), "AUTH LOGIN\r\n");
    for (most, cancelled) in [(1, true), (2, false)] {
        let mut limits = Limits::default();
        limits.challenges = most;
        let (mut talk, _) = login("u", "p", "LOGIN", limits);
        assert_eq!(talk.hear("334 VXNlcm5hbWU6\r\n"), "dQ==\r\n");
        assert_eq!(talk.hear("334 UGFzc3dvcmQ6\r\n") == "*\r\n", cancelled, "{most}");
    }
}

/// By which mechanisms alone credentials may be used.
#[test]
fn credentials_are_used_by_the_mechanisms_that_were_named() {
    use smtp_proto::auth::Mechanism;
    use smtp_proto::auth::client::{Exchange, choose};
    let offered = MechanismSet::EMPTY.with(Mechanism::Plain).with(Mechanism::Login);
    let password = || Credentials::password("u", "p").expect("credentials");
    let only = |mechanism| password().only(MechanismSet::EMPTY.with(mechanism));
    for (credentials, chosen) in [
        (password(), Some(Mechanism::Plain)),
        (only(Mechanism::Login), Some(Mechanism::Login)),
        (only(Mechanism::ScramSha256), None),
    ] {
        assert_eq!(choose(offered, &credentials, None, true).ok(), chosen);
    }
    let exchange = |mechanism| Exchange::new(mechanism, &password(), offered, None, Nonce::new(&[1; 18]));
    assert_eq!(exchange(Mechanism::Plain).initial_len(), Some(4));
    assert_eq!(exchange(Mechanism::Login).initial_len(), None);
}

/// What the server announced, and what was configured, is told; behind TLS it is forgotten (RFC 3207 4.2).
#[test]
fn what_was_announced_is_told() {
    let talk = Talk::open(config(), &["LIMITS RCPTDOMAINMAX=3", "DSN"]);
    let offers = talk.session.offers();
    assert!(offers.extensions().contains(Extension::Dsn) && offers.rcpt_domain_max() == Some(3));
    let talk = Talk::open(config(), &[]);
    assert_eq!(talk.session.offers().rcpt_domain_max(), None);
    assert_eq!(config().tls(Tls::Verify).tls_policy(), Tls::Verify);
}

/// Runs a transaction to its end: to each of what is said, what comes.
fn transact(envelope: Envelope<'_>, extensions: &[&str], server: &[&str]) -> (Vec<String>, Vec<String>, Disposition) {
    let mut talk = Talk::open(config(), extensions);
    let mut transaction = Transaction::new(envelope);
    let (mut server, mut wrote, mut held) = (server.iter(), Vec::new(), Vec::new());
    loop {
        let before = std::mem::take(&mut held);
        let mut input = &before[..];
        let progress = transaction.step(&mut talk.session, &mut input);
        held = input.to_vec();
        match progress {
            Progress::Done => break,
            Progress::Text => transaction.finish_with(&mut talk.session, b"Hello.\r\n").expect("good text"),
            Progress::Want(_) => {
                wrote.push(String::from_utf8(talk.session.output().to_vec()).expect("UTF-8"));
                talk.session.sent(talk.session.output().len());
                match server.next() {
                    Some(words) => held.extend_from_slice(words.as_bytes()),
                    None => talk.session.eof(),
                }
            }
        }
    }
    assert!(transaction.tolerated().len() <= 8);
    assert_eq!(transaction.left_out().contains(Keyword::Ret), envelope_says_ret(&transaction), "{wrote:?}");
    assert_eq!(talk.session.left_out(), transaction.left_out());
    let outcomes = transaction.outcomes().map(|outcome: Outcome<'_>| outcome.to_string()).collect();
    (outcomes, wrote, transaction.record(&talk.session, 0).end)
}

/// The one transaction of this file with a parameter that only asks for something.
fn envelope_says_ret(transaction: &Transaction<'_>) -> bool {
    transaction.outcomes().len() == 4
}

/// Each recipient has its own outcome, the one that could not be named too; and the ledger has the whole.
#[test]
fn each_recipient_has_its_own_outcome() {
    let to = [rcpt("a@example.net"), rcpt("b@example.com"), rcpt("c@example.net")];
    let server = ["250 ok\r\n", "250 ok\r\n", "550 5.1.1 nobody\r\n", "354 go\r\n", "250 2.0.0 taken\r\n"];
    let (outcomes, _, end) = transact(Envelope::new(ReversePath::Null, &to), &["LIMITS RCPTDOMAINMAX=1"], &server);
    assert_eq!(outcomes[0], "accepted: 250 2.0.0 taken");
    assert!(outcomes[1].starts_with("not now: not sent: "), "{outcomes:?}");
    assert_eq!(outcomes[2], "refused: 550 5.1.1 nobody");
    assert_eq!(end, Disposition::Accepted);

    let to = [rcpt("a@example.net")];
    let envelope = Envelope::new(ReversePath::Null, &to);
    let (outcomes, _, end) = transact(envelope, &[], &["250 ok\r\n", "450 later\r\n", "250 ok\r\n"]);
    assert_eq!((outcomes[0].as_str(), end), ("not now: 450 later", Disposition::Deferred));
    let (_, _, end) = transact(envelope, &[], &["250 ok\r\n", "550 never\r\n", "250 ok\r\n"]);
    assert_eq!(end, Disposition::Refused);
    let (outcomes, _, end) = transact(envelope, &[], &["250 ok\r\n", "250 ok\r\n", "354 go\r\n"]);
    assert!(outcomes[0].starts_with("unknown: the whole text was sent, and then "), "{outcomes:?}");
    assert_eq!(end, Disposition::Abandoned);
}

/// The first eight rules that a server broke are told; and RET is left out where it is not offered (RFC 3461 4).
#[test]
fn no_more_than_eight_faults_are_kept() {
    let to: Vec<_> = (0..12).map(|_| rcpt("a@example.net")).collect();
    // 259 is a success that RFC 5321 does not list.
    let mut server = vec!["250 ok\r\n"];
    server.extend(["259 ok\r\n"; 12]);
    server.extend(["354 go\r\n", "250 taken\r\n"]);
    let (outcomes, _, _) = transact(Envelope::new(ReversePath::Null, &to), &[], &server);
    assert!(outcomes.iter().all(|outcome| outcome == "accepted: 250 taken"), "{outcomes:?}");

    let mut params = ParamsBuilder::mail();
    params.add("RET", Some("HDRS")).expect("a parameter");
    let to: Vec<_> = (0..4).map(|_| rcpt("a@example.net")).collect();
    let mut envelope = Envelope::new(ReversePath::Null, &to);
    envelope.params = params.params();
    let (_, wrote, _) = transact(envelope, &[], &["550 no\r\n"]);
    assert_eq!(wrote[0], "MAIL FROM:<>\r\n");
}

/// With CHUNKING a small text goes out behind RCPT, before the replies to it, and a large one waits for them.
#[test]
fn a_small_text_does_not_wait_for_the_recipients() {
    let to = [rcpt("a@example.net")];
    for (size, waits) in [(1, false), (64 << 10, false), ((64 << 10) + 1, true)] {
        let envelope = Envelope::new(ReversePath::Null, &to).size(size);
        let replies: &[&str] =
            if waits { &["250 ok\r\n250 ok\r\n", "250 taken\r\n"] } else { &["250 ok\r\n250 ok\r\n250 taken\r\n"] };
        let (outcomes, wrote, _) = transact(envelope, &["PIPELINING", "CHUNKING"], replies);
        assert_eq!(wrote[0].contains("BDAT"), !waits, "{size}: {wrote:?}");
        assert_eq!(outcomes, ["accepted: 250 taken"]);
    }
}

/// States are shown in the words of the table.
#[test]
fn states_are_shown() {
    assert_eq!(State::Connected.to_string(), "not greeted yet");
    assert!(!Awaited::Greeting.to_string().is_empty() && Awaited::Greeting.to_string() != Awaited::Quit.to_string());
    assert!(!FaultKind::Unsolicited.to_string().is_empty());
}
