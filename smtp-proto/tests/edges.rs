//! Where a limit is met and not passed, and what a driver's clock is told: each of these once went wrong by one in a copy of the
//! core, and no other test noticed.

use std::sync::Arc;
use std::time::Duration;

use smtp_proto::auth::server::Answer;
use smtp_proto::auth::{Mechanism, MechanismSet};
use smtp_proto::server::{
    Config, ConfigError, Event, Extensions, FaultKind, Limits, Reason, Role, Session, State, Timeouts, Verdict,
};
use smtp_proto::syntax::{Reply, SyntaxErrorKind};
use smtp_proto::text::{Newlines, Scan, Scanner, TextFlaw, TextLeniency, Writer};
use smtp_proto::tls::{Policy, TlsInfo, TlsVersion};
use smtp_proto::{Channel, Leniencies, Leniency, Step, Want};

fn config() -> Config {
    Config::new("mx.example.net").expect("a name")
}

fn limited(limits: Limits) -> Config {
    config().limits(limits).expect("limits")
}

/// A server of which nothing is refused but what `refuse` names by its event.
struct Talk {
    session: Session,
    unread: Vec<u8>,
    said: String,
    faults: Vec<(FaultKind, u64)>,
    closed: Option<Reason>,
    refuse: &'static str,
}

impl Talk {
    fn new(config: Config) -> Self {
        let session = Session::new(Arc::new(config), Channel::Plain);
        let mut talk =
            Self { session, unread: Vec::new(), said: String::new(), faults: Vec::new(), closed: None, refuse: "" };
        talk.go();
        talk.said.clear();
        talk
    }

    /// What was said to these octets, of which some may be left for later.
    fn say(&mut self, octets: impl AsRef<[u8]>) -> String {
        self.unread.extend_from_slice(octets.as_ref());
        self.go();
        std::mem::take(&mut self.said)
    }

    fn go(&mut self) -> Want {
        let unread = std::mem::take(&mut self.unread);
        let mut input = &unread[..];
        let want = loop {
            match self.session.step(&mut input) {
                Step::Want(want) => {
                    self.write();
                    if want != Want::Output {
                        break want;
                    }
                }
                // Whether it is seen depends on the reads.
                Step::Event(Event::Fault(fault)) if fault.kind == FaultKind::Pipelining => {}
                Step::Event(Event::Fault(fault)) => self.faults.push((fault.kind, fault.offset)),
                Step::Event(Event::Closed(reason)) => self.closed = Some(reason),
                Step::Event(Event::Auth(_, ticket)) => self.session.authenticate(ticket, Answer::Accept),
                Step::Event(event) => {
                    let (name, ticket) = match event {
                        Event::Connect(ticket) => ("CONNECT", ticket),
                        Event::Hello(_, ticket) => ("EHLO", ticket),
                        Event::StartTls(ticket) => ("STARTTLS", ticket),
                        Event::Mail(_, ticket) => ("MAIL", ticket),
                        Event::Rcpt(_, ticket) => ("RCPT", ticket),
                        Event::Data(ticket) => ("DATA", ticket),
                        Event::Message(_, ticket) => ("MESSAGE", ticket),
                        _ => continue,
                    };
                    let refusal = Reply::new(451, None, "not now").expect("a reply");
                    let refused = name == self.refuse;
                    self.session.answer(ticket, if refused { Verdict::Refuse(refusal) } else { Verdict::Accept });
                }
            }
        };
        self.unread = input.to_vec();
        want
    }

    fn write(&mut self) {
        self.said.push_str(str::from_utf8(self.session.output()).expect("ASCII"));
        self.session.sent(self.session.output().len());
    }
}

const ENVELOPE: &str = "EHLO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.net>\r\n";

/// RFC 5321 4.5.3.2, and RFC 3207: each state has its own time, and the pause before the greeting has one too.
#[test]
fn each_state_has_its_time() {
    let [pause, command, text, handshake] = [1, 2, 3, 4].map(Duration::from_secs);
    let times = Timeouts::default().command(command).text(text).handshake(handshake);
    let paused = config().timeouts(times.greet_pause(pause));
    let mut session = Session::new(paused.shared(), Channel::Plain);
    assert_eq!(session.timeout(), pause);
    assert!(matches!(session.step(&mut &b""[..]), Step::Want(Want::Input)));
    session.timed_out();
    let Step::Event(Event::Connect(ticket)) = session.step(&mut &b""[..]) else { panic!("the pause is over") };
    assert_eq!(session.timeout(), command);
    session.answer(ticket, Verdict::Accept);
    assert!(matches!(session.step(&mut &b""[..]), Step::Want(Want::Input)));
    assert_eq!(session.timeout(), command);
    session.timed_out();
    assert_eq!(session.state(), State::Closed, "there is one pause");

    let plain = || config().timeouts(times.greet_pause(Duration::ZERO)).tls(Policy::Offer);
    assert_eq!(Session::new(plain().shared(), Channel::Plain).timeout(), command);
    let mut talk = Talk::new(plain());
    talk.say("EHLO c.example\r\n");
    assert_eq!(talk.session.timeout(), command);
    talk.say("MAIL FROM:<>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n");
    assert_eq!((talk.session.state(), talk.session.timeout()), (State::Data, text));
    talk.say("x\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.net>\r\nBDAT 5\r\na");
    assert_eq!((talk.session.state(), talk.session.timeout()), (State::Chunk, text));
    talk.say("bcde");
    assert_eq!(talk.session.timeout(), command);
    // A chunk that is thrown away is text as well.
    talk.say("RSET\r\nBDAT 5\r\na");
    assert_eq!(talk.session.timeout(), text);
    talk.say("bcdeSTARTTLS\r\n");
    assert_eq!((talk.session.state(), talk.session.timeout()), (State::StartTls, handshake));
}

/// What the clock goes by grows with each line, whatever becomes of it.
#[test]
fn each_line_is_progress() {
    let mut talk = Talk::new(
        config().auth(MechanismSet::EMPTY.with(Mechanism::Login)).allow_plaintext_auth(true).tls(Policy::Offer),
    );
    let mut before = talk.session.progress();
    let long = format!("NOOP {}\r\n", "x".repeat(20_000));
    for line in [
        "EHLO c.example\r\n",
        &long,
        "NOPE\r\n",
        "AUTH LOGIN\r\n",
        "no base64!\r\n",
        "AUTH LOGIN\r\n",
        &format!("{}\r\n", "x".repeat(30_000)),
        "AUTH LOGIN\r\n",
        "*\r\n",
        "BDAT 3\r\nabc",
        "MAIL FROM:<>\r\n",
        "STARTTLS\r\n",
    ] {
        if line.starts_with("STARTTLS") {
            talk.say("RSET\r\n");
        }
        talk.say(line);
        assert!(talk.session.progress() > before, "{:?}", line.get(..20));
        before = talk.session.progress();
    }
    talk.session.tls_established(TlsInfo::new(TlsVersion::Tls13, "x".into()));
    assert!(talk.session.progress() > before);
}

/// As much as [`Limits::discard`] is thrown away, and not an octet more.
#[test]
fn what_is_thrown_away_is_counted_to_the_octet() {
    let limits = || Limits::default().discard(100);
    let closed = |talk: &Talk| talk.closed.as_ref() == Some(&Reason::Fault(FaultKind::TooMuchDiscarded));
    let x = |count: usize| "x".repeat(count);
    for (count, ends) in [(99, false), (100, false), (101, true)] {
        // In the wrong order; and refused by the application.
        for (before, refuse) in [("EHLO c.example\r\n", ""), (ENVELOPE, "DATA")] {
            for last in ["", " LAST"] {
                let mut talk = Talk::new(limited(limits()));
                talk.refuse = refuse;
                talk.say(format!("{before}BDAT {count}{last}\r\n{}", x(count)));
                assert_eq!(closed(&talk), ends, "{count} {refuse}{last}");
            }
        }
        // A text with a NUL in it, of which nothing is handed on behind that; whole, and with the NUL alone.
        for (first, rest) in [
            (format!("{ENVELOPE}BDAT {} LAST\r\n", 5 + count), format!("12345\0{}", x(count - 1))),
            (format!("{ENVELOPE}DATA\r\n"), format!("12345\0{}\r\n.\r\n", x(count - 3))),
        ] {
            for cut in [0, 6] {
                let mut talk = Talk::new(limited(limits()));
                talk.say(&first);
                let (one, two) = rest.split_at(cut);
                talk.say(one);
                let said = talk.say(two);
                assert_eq!(closed(&talk), ends, "{count} of {first:?} cut at {cut}");
                assert_eq!(said.starts_with("554 5.6.0"), !ends, "{said}");
            }
        }
    }
    // All of a session's together; and nothing that was taken.
    let mut talk = Talk::new(limited(limits()));
    talk.say(format!("{ENVELOPE}BDAT 500\r\n{}BDAT 300 LAST\r\n{}", x(500), x(300)));
    talk.say(format!("BDAT 60\r\n{}", x(60)));
    assert_eq!(talk.closed, None);
    talk.say(format!("BDAT 60\r\n{}", x(60)));
    assert!(closed(&talk));
    // Of nothing there is nothing to wait for.
    let mut talk = Talk::new(limited(limits()));
    assert!(talk.say("EHLO c.example\r\nBDAT 0\r\n").contains("\r\n503 "));
}

/// A flaw in a chunk is where it stands on the connection, whatever was read before of the chunk (RFC 3030 3, RFC 5321 2.3.8).
#[test]
fn a_flaw_in_a_chunk_is_where_it_stands() {
    for cut in 0..7 {
        let mut talk = Talk::new(config());
        let before = format!("{ENVELOPE}BDAT 7 LAST\r\n");
        talk.say(&before);
        let chunk = b"ab\r\nc\nd";
        talk.say(&chunk[..cut]);
        talk.say(&chunk[cut..]);
        let at = before.len() as u64 + 5;
        assert_eq!(talk.faults, [(FaultKind::Text(TextFlaw::BareLf), at)], "{cut}");
    }
}

/// A message that is as long as it may be is taken (RFC 1870 6), by DATA and by BDAT.
#[test]
fn a_message_as_long_as_it_may_be_is_taken() {
    const MOST: usize = 64 << 10;
    let limits = Limits::default().message(MOST as u64);
    let mut text = "line\r\n".repeat(MOST / 6);
    text.insert_str(0, &"x".repeat(MOST - text.len()));
    for (longer, code) in [("", "250"), ("x", "552")] {
        let text = format!("{longer}{text}");
        let mut talk = Talk::new(limited(limits));
        talk.say(format!("{ENVELOPE}DATA\r\n"));
        assert!(talk.say(format!("{text}.\r\n")).starts_with(code), "{code}");
        let said = talk.say(format!("MAIL FROM:<>\r\nRCPT TO:<b@example.net>\r\nBDAT {} LAST\r\n{text}", text.len()));
        assert!(said.lines().last().is_some_and(|line| line.starts_with(code)), "{said}");
    }
    for (most, least) in [(1, false), (MOST - 1, false), (MOST, true)] {
        let set = config().limits(Limits::default().message(most as u64));
        assert_eq!(set.is_ok(), least, "{most}");
        assert!(least || matches!(set, Err(ConfigError::LimitTooLow { name: "message", .. })));
    }
}

/// Of two limits that are broken by the same octet it is always the message's that is told.
#[test]
fn the_same_limit_is_told_whatever_the_reads() {
    let limits = Limits::default().message(64 << 10).text_line(1000);
    let line = |octets: usize| format!("{}\r\n", "x".repeat(octets - 2));
    // The 999th octet of the last line, which is no CR, is one too many.
    let text = format!("{}{}{}.\r\n", line(1000).repeat(64), line(538), line(2000));
    for size in [usize::MAX, 1, 1000] {
        let mut talk = Talk::new(limited(limits));
        talk.say(format!("{ENVELOPE}DATA\r\n"));
        for piece in text.as_bytes().chunks(size.min(text.len())) {
            talk.say(piece);
        }
        let start = ENVELOPE.len() as u64 + 6;
        assert_eq!(talk.faults, [(FaultKind::MessageTooBig, start + (64 << 10))], "in pieces of {size}");
    }
}

/// A fault stands where its octet does, in a text and in a line that is too long, whatever the reads.
#[test]
fn faults_say_where() {
    let start = ENVELOPE.len() as u64 + 6;
    for (at, flaw) in [("\0", TextFlaw::Nul), ("\n", TextFlaw::BareLf)] {
        for place in [0, 1, 2, 5] {
            let mut text = b"ab\r\ncd\r\n.\r\n".to_vec();
            text.insert(place, at.as_bytes()[0]);
            for size in [64, 1] {
                let mut talk = Talk::new(config());
                talk.say(format!("{ENVELOPE}DATA\r\n"));
                for piece in text.chunks(size) {
                    talk.say(piece);
                }
                assert_eq!(talk.faults, [(FaultKind::Text(flaw), start + place as u64)], "{at:?} at {place}");
            }
        }
    }
    let hello = "EHLO c.example\r\n";
    for size in [usize::MAX, 100] {
        for (before, octets, kind) in [
            (hello.to_owned(), 100_000, FaultKind::LineTooLong),
            (format!("{ENVELOPE}DATA\r\n"), 20_000, FaultKind::TextAsCommands),
        ] {
            let mut talk = Talk::new(config());
            talk.refuse = "DATA";
            talk.say(&before);
            for piece in format!("{}\r\n", "x".repeat(octets)).as_bytes().chunks(size.min(octets + 2)) {
                talk.say(piece);
            }
            assert_eq!(talk.faults.last(), Some(&(kind, before.len() as u64)), "in pieces of {size}");
            assert!(talk.closed.is_some());
        }
    }
}

/// A line that is too long is skipped up to 64 KiB, and not an octet more; and none of it is kept meanwhile.
#[test]
fn a_line_is_skipped_up_to_its_bound() {
    for (octets, ends) in [(64 << 10, false), ((64 << 10) + 1, true)] {
        let line = "x".repeat(octets);
        for cut in [octets, 1000] {
            let mut talk = Talk::new(config());
            let (one, two) = line.split_at(cut);
            talk.say(one);
            talk.say(two);
            talk.say("\r\n");
            assert_eq!(talk.closed.is_some(), ends, "{octets}, cut at {cut}");
        }
        let mut talk = Talk::new(config());
        talk.say(format!("{line}\r\n"));
        assert_eq!(talk.closed.is_some(), ends, "{octets} whole");
    }
    let mut talk = Talk::new(config());
    talk.say("x".repeat(5000));
    talk.say("x".repeat(10));
    assert!(talk.unread.is_empty());
}

/// A ticket is known by its configuration as well: the first of two sessions that have nothing in common.
#[test]
fn a_ticket_of_another_configuration_fails_closed() {
    let first = |config: Config| {
        let mut session = Session::new(config.shared(), Channel::Plain);
        let Step::Event(Event::Connect(ticket)) = session.step(&mut &b""[..]) else { panic!("no pause") };
        (session, ticket)
    };
    let ((mut session, _own), (_other, ticket)) = (first(config()), first(config()));
    session.answer(ticket, Verdict::Accept);
    assert_eq!(session.state(), State::Closed);
}

/// A flaw is found at every place of a long line with much behind it, where whole blocks are passed over at once.
#[test]
fn a_flaw_is_found_wherever_blocks_begin() {
    let start = ENVELOPE.len() as u64 + 6;
    for (octet, flaw) in [(0, TextFlaw::Nul), (b'\n', TextFlaw::BareLf), (b'\r', TextFlaw::BareCr)] {
        for place in 0..600 {
            let mut text = vec![b'x'; 3000];
            text[place] = octet;
            text.extend_from_slice(b"\r\n.\r\n");
            let mut talk = Talk::new(config());
            talk.say(format!("{ENVELOPE}DATA\r\n"));
            talk.say(text);
            assert_eq!(talk.faults, [(FaultKind::Text(flaw), start + place as u64)], "{flaw:?} at {place}");
        }
    }
}

/// RFC 5321 4.5.2: so is a dot that begins a line, by the scanner that takes it away and by the writer that doubles it.
#[test]
fn a_dot_is_found_wherever_blocks_begin() {
    for place in 0..600 {
        let mut text = vec![b'x'; place];
        text.extend_from_slice(b"\r\n.x\r\n..");
        text.resize(3000, b'y');
        text.extend_from_slice(b"\r\n");
        let mut wire = Vec::new();
        let mut writer = Writer::new(Newlines::Strict);
        writer.write(&text, &mut wire).expect("good text");
        wire.extend_from_slice(writer.finish().expect("good text"));
        assert_eq!(wire.len(), text.len() + 2 + 3, "at {place}");
        let (mut scanner, mut input, mut read) = (Scanner::new(TextLeniency::default()), &wire[..], Vec::new());
        loop {
            match scanner.next(&mut input) {
                Scan::Chunk(chunk) => read.extend_from_slice(chunk),
                Scan::End => break,
                Scan::Need => panic!("no end, at {place}"),
            }
        }
        assert!(read == text && input.is_empty(), "at {place}");
    }
}

/// RFC 2920 3.2: a peer that does not read its replies is not read from, once more than the limit waits.
#[test]
fn replies_wait_up_to_the_limit() {
    let mut talk = Talk::new(config());
    talk.say("EHLO c.example\r\n");
    let reply = talk.say("NOOP\r\n").len();
    let mut talk = Talk::new(limited(Limits::default().output(reply)));
    talk.say("EHLO c.example\r\n");
    let mut input = &b"NOOP\r\nNOOP\r\nNOOP\r\n"[..];
    let want = loop {
        match talk.session.step(&mut input) {
            Step::Want(want) => break want,
            Step::Event(_) => {}
        }
    };
    assert_eq!((want, talk.session.output().len(), input.len()), (Want::Output, 2 * reply, 6));
}

/// RFC 5321 4.1.4: the name of the latest EHLO that was accepted.
#[test]
fn a_name_that_was_refused_is_forgotten() {
    let mut talk = Talk::new(config());
    assert_eq!(talk.session.hello(), None);
    talk.say("EHLO one.example\r\n");
    talk.refuse = "EHLO";
    talk.say("EHLO two.example\r\n");
    assert_eq!(talk.session.hello(), Some("one.example"));
    talk.refuse = "";
    talk.say("EHLO three.example\r\n");
    assert_eq!(talk.session.hello(), Some("three.example"));
    let mut field = Vec::new();
    talk.session.received(None, "id", &[], "date").write(&mut field);
    let field = String::from_utf8(field).expect("ASCII");
    assert!(field.contains("from three.example\r\n"), "{field}");
}

/// What EHLO lists follows the settings, and who has asked (RFC 4954 4: AUTH is over once it has succeeded).
#[test]
fn what_is_announced() {
    let on = Extensions::default().pipelining(false).deliver_by(Some(0));
    let login = MechanismSet::EMPTY.with(Mechanism::Plain);
    let config = config().extensions(on).auth(login).allow_plaintext_auth(true).tls(Policy::Off);
    assert_eq!((config.mechanisms(), config.tls_policy()), (login, Policy::Off));
    assert_eq!(config.clone().tls(Policy::Require).tls_policy(), Policy::Require);
    let mut talk = Talk::new(config);
    let listed = talk.say("EHLO c.example\r\n");
    assert!(!listed.contains("PIPELINING"), "{listed}");
    assert!(listed.contains("-DELIVERBY\r\n") || listed.contains(" DELIVERBY\r\n"), "{listed}");
    assert!(listed.contains("AUTH PLAIN"), "{listed}");
    assert!(talk.say("AUTH PLAIN AGEAYg==\r\n").starts_with("235 "));
    assert!(!talk.say("EHLO c.example\r\n").contains("AUTH"));
}

/// RFC 3030 2: CHUNKING is announced in reply to EHLO, so behind HELO there is no BDAT.
#[test]
fn behind_helo_there_is_no_bdat() {
    let mut talk = Talk::new(config());
    talk.say("HELO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.net>\r\n");
    let said = talk.say("BDAT 3 LAST\r\nabcNOOP\r\n");
    assert!(said.starts_with("503 ") && said.ends_with("250 2.0.0 Ok\r\n"), "{said}");
}

/// RFC 2852 4: the least time that was announced is enough.
#[test]
fn the_least_time_of_deliverby_is_enough() {
    for (by, code) in [("BY=60;R", "250"), ("BY=59;R", "5"), ("BY=59;N", "250")] {
        let mut talk = Talk::new(config().extensions(Extensions::default().deliver_by(Some(60))));
        talk.say("EHLO c.example\r\n");
        let said = talk.say(format!("MAIL FROM:<a@c.example> {by}\r\n"));
        assert!(said.starts_with(code), "{by}: {said}");
    }
}

/// RFC 6531 3.5: only who could have asked for SMTPUTF8, and did not, is told so.
#[test]
fn who_could_have_asked_for_smtputf8_is_told_so() {
    let on = |utf8| config().extensions(Extensions::default().smtp_utf8(utf8));
    let told = |config, hello: &str, mail: &str, rcpt: &[u8]| {
        let mut talk = Talk::new(config);
        talk.say(format!("{hello} c.example\r\nMAIL FROM:<>{mail}\r\n"));
        talk.say(rcpt)
    };
    let address = "RCPT TO:<\u{fc}@example.net>\r\n".as_bytes();
    let asked = told(on(true), "EHLO", "", address);
    assert!(asked.starts_with("553 5.6.7"), "{asked}");
    for (config, hello, mail, rcpt) in [
        (on(true), "HELO", "", address),
        (on(false), "EHLO", "", address),
        (on(true), "EHLO", " SMTPUTF8", &b"RCPT TO:<\xff@example.net>\r\n"[..]),
    ] {
        let said = told(config, hello, mail, rcpt);
        assert!(said.starts_with('5') && said != asked, "{hello}{mail}: {said}");
    }
}

/// A colon alone is the name of no field (RFC 5322 2.2), so that it shows no message that has lost its way.
#[test]
fn a_colon_alone_is_a_command_that_nobody_knows() {
    let mut talk = Talk::new(config());
    assert!(talk.say(": x\r\n").starts_with("500 ") && talk.closed.is_none());
    talk.say("X: x\r\n");
    assert_eq!(talk.closed, Some(Reason::Fault(FaultKind::CrossProtocol)));
}

/// RFC 2034 4: a reply of the application's without an enhanced code has one of its own class.
#[test]
fn an_enhanced_code_is_of_the_class_of_its_reply() {
    let mut talk = Talk::new(config());
    talk.refuse = "MAIL";
    talk.say("EHLO c.example\r\n");
    assert_eq!(talk.say("MAIL FROM:<>\r\n"), "451 4.0.0 not now\r\n");
    let mut lmtp = Talk::new(config().role(Role::Lmtp).extensions(Extensions::default().pipelining(false)));
    assert!(lmtp.say("LHLO c.example\r\n").contains("PIPELINING"), "RFC 2033 4.1");
}

#[test]
fn each_refusal_knows_the_leniency_that_would_let_it_pass() {
    for (kind, leniency) in [
        (FaultKind::Text(TextFlaw::BareLf), Some(Leniency::BareLfText)),
        (FaultKind::Text(TextFlaw::BareCr), Some(Leniency::BareCrText)),
        (FaultKind::Text(TextFlaw::Nul), Some(Leniency::NulText)),
        (FaultKind::TextLineTooLong, Some(Leniency::LongLines)),
        (FaultKind::EarlyTalker, Some(Leniency::EarlyTalkers)),
        (FaultKind::Syntax(SyntaxErrorKind::BareLf), Some(Leniency::BareLfCommands)),
        (FaultKind::Utf8NotAskedFor, Some(Leniency::Utf8WithoutSmtpUtf8)),
        (FaultKind::LineTooLong, None),
    ] {
        let wanted = leniency.map_or(Leniencies::STRICT, |leniency| Leniencies::STRICT.with(leniency));
        assert_eq!(kind.leniencies(b"NOOP\r\n"), wanted, "{kind:?}");
    }
}
