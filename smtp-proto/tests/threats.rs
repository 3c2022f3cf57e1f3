//! What peers try (`docs/security.md`), where it takes more than a dialogue to show.

use std::sync::Arc;

use proptest::prelude::*;
use smtp_proto::auth::server::Answer;
use smtp_proto::auth::{Mechanism, MechanismSet};
use smtp_proto::server::{Config, Event, FaultKind, Limits, Role, Session, Timeouts, Verdict};
use smtp_proto::tls::TlsVersion;
use smtp_proto::{Channel, Step, TlsInfo, Want};

/// A session, its driver, and an application that says yes to everything.
struct Rig {
    session: Session,
    held: Vec<u8>,
    codes: Vec<u16>,
    output: Vec<u8>,
    faults: Vec<FaultKind>,
    /// Texts that were told to be complete.
    messages: Vec<Vec<u8>>,
    text: Vec<u8>,
    questions: usize,
    want: Option<Want>,
}

impl Rig {
    fn new(config: Config) -> Self {
        Self::on(config, Channel::Plain)
    }

    fn inside_tls(config: Config) -> Self {
        Self::on(config, Channel::Tls(TlsInfo::new(TlsVersion::Tls13, "TLS_AES_128_GCM_SHA256".into())))
    }

    fn on(config: Config, channel: Channel) -> Self {
        let mut rig = Self::before_greeting(config, channel);
        rig.feed(b"");
        assert_eq!(rig.take_codes(), [220]);
        rig
    }

    fn before_greeting(config: Config, channel: Channel) -> Self {
        Self {
            session: Session::new(Arc::new(config), channel),
            held: Vec::new(),
            codes: Vec::new(),
            output: Vec::new(),
            faults: Vec::new(),
            messages: Vec::new(),
            text: Vec::new(),
            questions: 0,
            want: None,
        }
    }

    fn feed(&mut self, octets: &[u8]) -> &mut Self {
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(octets);
        let mut input = &held[..];
        loop {
            match self.session.step(&mut input) {
                Step::Event(event) => self.event(event),
                Step::Want(want) => {
                    let output = self.session.output().to_vec();
                    self.session.sent(output.len());
                    let ends =
                        output.split_inclusive(|octet| *octet == b'\n').filter(|line| line.get(3) == Some(&b' '));
                    self.codes
                        .extend(ends.map(|line| std::str::from_utf8(&line[..3]).unwrap().parse::<u16>().unwrap()));
                    self.output.extend(output);
                    self.want = Some(want);
                    if want != Want::Output {
                        break;
                    }
                }
            }
        }
        self.held = input.to_vec();
        self
    }

    fn event(&mut self, event: Event<'_>) {
        let accept = Verdict::Accept;
        match event {
            Event::Connect(ticket) | Event::StartTls(ticket) => self.session.answer(ticket, accept),
            Event::Data(ticket) => {
                self.text.clear();
                self.session.answer(ticket, accept);
            }
            Event::Hello(_, ticket) => self.session.answer(ticket, accept),
            Event::Mail(_, ticket) => self.session.answer(ticket, accept),
            Event::Rcpt(_, ticket) => self.session.answer(ticket, accept),
            Event::Message(_, ticket) => {
                self.messages.push(std::mem::take(&mut self.text));
                self.session.answer(ticket, accept);
            }
            Event::Auth(_, ticket) => {
                self.questions += 1;
                self.session.authenticate(ticket, Answer::Accept);
            }
            Event::Chunk(octets) => self.text.extend_from_slice(octets),
            Event::Reset => self.text.clear(),
            Event::Fault(fault) => self.faults.push(fault.kind),
            _ => {}
        }
    }

    fn take_codes(&mut self) -> Vec<u16> {
        std::mem::take(&mut self.codes)
    }

    fn is_closed(&self) -> bool {
        self.want == Some(Want::Close)
    }

    /// The codes of what is answered to these lines.
    fn codes(&mut self, octets: &[u8]) -> Vec<u16> {
        self.feed(octets).take_codes()
    }
}

fn config() -> Config {
    Config::new("mx.example.net").expect("a name")
}

fn submission() -> Config {
    config().role(Role::Submission).auth(MechanismSet::PASSWORD)
}

const EHLO: &[u8] = b"EHLO client.example\r\n";
const ENVELOPE: &[u8] = b"MAIL FROM:<a@client.example>\r\nRCPT TO:<b@example.net>\r\n";

/// RFC 5321 3.1: the client waits for the greeting.
#[test]
fn who_speaks_before_the_greeting_is_reported_and_served() {
    let mut rig = Rig::before_greeting(config(), Channel::Plain);
    assert_eq!(rig.codes(EHLO), [220, 250]);
    assert!(!rig.is_closed() && rig.faults.contains(&FaultKind::EarlyTalker));
}

/// What came while the application thought about the connection came before the greeting, too, and is noted; what comes
/// when the greeting is out is not early. Both are served.
#[test]
fn a_late_decision_on_the_connection_leaves_nobody_early_or_late() {
    for (sent, early) in [(0, true), (3, true), (usize::MAX, false)] {
        let mut session = Session::new(Arc::new(config()), Channel::Plain);
        let Step::Event(Event::Connect(ticket)) = session.step(&mut &[][..]) else { panic!("Connect comes first") };
        let mut input = EHLO;
        assert!(matches!(session.step(&mut input), Step::Want(Want::Decision)));
        session.answer(ticket, Verdict::Accept);
        let mut written = session.output().get(..sent).unwrap_or(session.output()).to_vec();
        session.sent(sent);
        let mut faults = Vec::new();
        while let Step::Event(event) = session.step(&mut input) {
            match event {
                Event::Hello(_, ticket) => session.answer(ticket, Verdict::Accept),
                Event::Fault(fault) => faults.push((fault.kind, fault.code)),
                _ => {}
            }
        }
        written.extend_from_slice(session.output());
        assert!(written.starts_with(b"220 mx.example.net ESMTP\r\n250-"), "{}", written.escape_ascii());
        assert_eq!(faults.contains(&(FaultKind::EarlyTalker, 0)), early);
    }
}

/// RFC 5321 4.5.3.1.10: a list longer than the limit, sent in one group, does not cost the recipients that were taken;
/// one without an end does.
#[test]
fn recipients_beyond_the_limit_are_refused_and_the_others_get_their_mail() {
    let mut limits = Limits::default();
    (limits.recipients, limits.idle_commands) = (200, 100);
    let list = |count: usize| {
        [EHLO, b"MAIL FROM:<a@client.example>\r\n"]
            .concat()
            .into_iter()
            .chain(b"RCPT TO:<b@example.net>\r\n".repeat(count))
    };
    let mut rig = Rig::new(config().limits(limits).expect("limits"));
    let codes = rig.codes(&list(400).chain(*b"DATA\r\nhi\r\n.\r\n").collect::<Vec<_>>());
    let of = |codes: &[u16], code| codes.iter().filter(|seen| **seen == code).count();
    assert_eq!((of(&codes, 250), of(&codes, 452)), (2 + 200 + 1, 200));
    assert_eq!((rig.messages.len(), rig.is_closed()), (1, false));

    let mut rig = Rig::new(config().limits(limits).expect("limits"));
    let codes = rig.codes(&list(10_000).collect::<Vec<_>>());
    assert_eq!((of(&codes, 452), codes.last(), rig.is_closed()), (200 + 100, Some(&421), true));
}

/// RFC 3207 4.2: refused in a transaction; in text it is text, in a chunk the chunk, in an exchange a response.
#[test]
fn starttls_counts_only_between_transactions() {
    let mut rig = Rig::new(config());
    rig.feed(EHLO).take_codes();
    assert_eq!(rig.codes(b"MAIL FROM:<a@client.example>\r\nSTARTTLS\r\n"), [250, 503]);
    assert_eq!(rig.codes(b"RCPT TO:<b@example.net>\r\nSTARTTLS\r\nDATA\r\nSTARTTLS\r\n.\r\n"), [250, 503, 354, 250]);
    assert_eq!(rig.feed(ENVELOPE).codes(b"BDAT 10 LAST\r\nSTARTTLS\r\n"), [250, 250, 250]);
    assert_eq!(rig.messages, [b"STARTTLS\r\n", b"STARTTLS\r\n"]);
    assert_eq!(rig.want, Some(Want::Input));

    let mut rig = Rig::new(submission().allow_plaintext_auth(true));
    rig.feed(EHLO).take_codes();
    assert_eq!(rig.codes(b"AUTH PLAIN\r\nSTARTTLS\r\nNOOP\r\n"), [334, 501, 250]);
    assert_eq!(rig.want, Some(Want::Input));
}

/// Wherever the connection breaks, what was not told to be complete is not, in text and in chunks.
#[test]
fn a_connection_that_breaks_anywhere_completes_nothing() {
    let texts: [&[u8]; 2] =
        [b"DATA\r\nSubject: x\r\n\r\n..\r\n.\r\n", b"BDAT 4\r\nabcdBDAT 0\r\nBDAT 6 LAST\r\nefgh\r\n"];
    for text in texts {
        let stream = [EHLO, ENVELOPE, text].concat();
        for cut in 0..=stream.len() {
            let mut rig = Rig::new(config());
            rig.feed(&stream[..cut]);
            let complete = usize::from(cut == stream.len());
            assert_eq!(rig.messages.len(), complete, "at {cut}");
            rig.session.eof();
            rig.feed(b"").feed(&stream[cut..]);
            assert!(rig.is_closed() && rig.messages.len() == complete, "at {cut}");
        }
    }
}

/// RFC 3030 2: the octets of a chunk are its own whatever becomes of it: one reply, and none of them a command.
#[test]
fn a_refused_chunk_is_swallowed_whole() {
    let chunk = b"BDAT 12\r\nRSET\r\nQUIT\r\n";
    let last = b"BDAT 12 LAST\r\nRSET\r\nQUIT\r\n";
    let mut rig = Rig::new(config());
    assert_eq!(rig.codes(chunk), [503], "before EHLO");
    rig.feed(EHLO).take_codes();
    assert_eq!(rig.codes(chunk), [503], "without MAIL");
    let code = rig.codes(b"MAIL FROM:<a@client.example>\r\nBDAT 12\r\nRSET\r\nQUIT\r\n");
    assert!(matches!(code[..], [250, 503 | 554]), "without a recipient: {code:?}");
    assert_eq!(rig.codes(b"RSET\r\n"), [250]);
    assert_eq!(rig.feed(ENVELOPE).codes(last), [250, 250, 250]);
    assert_eq!(rig.codes(last), [503], "after LAST");
    assert_eq!(rig.feed(ENVELOPE).codes(b"BDAT 2\r\nhiRSET\r\n"), [250, 250, 250, 250]);
    assert_eq!(rig.codes(last), [503], "after RSET");
    assert_eq!(rig.messages, [b"RSET\r\nQUIT\r\n"]);
    assert_eq!(rig.codes(b"NOOP\r\n"), [250], "in step");

    let mut limits = Limits::default();
    limits.message = 64 << 10;
    let mut rig = Rig::new(config().limits(limits).expect("limits"));
    rig.feed(EHLO).feed(ENVELOPE).take_codes();
    let big = [b"BDAT 70000\r\n".to_vec(), b"QUIT\r\n".repeat(70_000 / 6), b"QUIT".to_vec()].concat();
    assert_eq!(rig.codes(&big), [552], "over the limit");
    assert_eq!(rig.codes(chunk), [503], "behind a chunk that failed");
    rig.feed(ENVELOPE).take_codes();
    let half = [b"BDAT 40000\r\n".to_vec(), vec![b'x'; 40_000]].concat();
    assert_eq!([rig.codes(&half), rig.codes(&half)], [[250], [552]], "sums are checked");
    assert_eq!((rig.codes(b"NOOP\r\n"), rig.messages.len()), (vec![250], 0));

    // How much is thrown away has a bound as well.
    limits.discard = 100_000;
    let mut rig = Rig::new(config().limits(limits).expect("limits"));
    let codes = rig.codes(b"BDAT 18446744073709551615\r\nQUIT\r\n");
    assert!(rig.is_closed() && codes == [421], "{codes:?}");
}

#[test]
fn many_tiny_chunks_cost_constant_memory() {
    let mut rig = Rig::new(config());
    rig.feed(EHLO).feed(ENVELOPE).take_codes();
    let mut sizes = Vec::new();
    for number in 0..20_000 {
        assert_eq!(rig.codes(b"BDAT 1\r\nx"), [250]);
        rig.text.clear();
        rig.output.clear();
        if number % 5_000 == 100 {
            sizes.push(format!("{:?}", rig.session).len());
        }
    }
    let (least, most) = (sizes.iter().min(), sizes.iter().max());
    // What grows is the digits of a counter or two.
    assert!(most.zip(least).is_some_and(|(most, least)| most - least < 40), "{sizes:?}");
}

/// 100,000 cheap commands: answered one by one, or 421; never a pile of replies.
#[test]
fn a_flood_of_cheap_commands_is_bounded() {
    for command in [
        &b"NOOP\r\n"[..],
        b"RSET\r\n",
        b"VRFY x\r\n",
        EHLO,
        b"MAIL FROM:<a@client.example>\r\nRSET\r\n",
        b"\r\n",
        b"XYZZY\r\n",
    ] {
        let mut rig = Rig::new(config());
        rig.feed(EHLO).take_codes();
        let codes = rig.codes(&command.repeat(100_000));
        assert!(rig.is_closed() && codes.len() < 250 && codes.last() == Some(&421), "{} replies", codes.len());
        assert!(rig.output.len() < 64 << 10);
    }
}

/// RFC 5321 4.5.3.2: the driver's clock starts anew when progress changes, and a drip is none.
#[test]
fn a_slow_drip_is_no_progress() {
    let mut timeouts = Timeouts::default();
    timeouts.text_octets = 100;
    for begin in [&b"DATA\r\n"[..], b"BDAT 1000\r\n"] {
        let mut rig = Rig::new(config().timeouts(timeouts));
        rig.feed(EHLO).feed(ENVELOPE).feed(begin);
        let begun = rig.session.progress();
        for _ in 0..99 {
            rig.feed(b"x");
        }
        assert_eq!(rig.session.progress(), begun, "99 octets");
        rig.feed(b"x");
        assert_eq!(rig.session.progress(), begun + 1, "100 octets");
        rig.session.timed_out();
        assert_eq!(rig.feed(b"").take_codes().last(), Some(&421));
        assert!(rig.is_closed());
    }
    let mut rig = Rig::new(config());
    let begun = rig.session.progress();
    for _ in 0..400 {
        rig.feed(b"x");
    }
    assert_eq!(rig.session.progress(), begun, "half a command");
    // A refused chunk that is thrown away drips just as slowly.
    let mut rig = Rig::new(config().timeouts(timeouts));
    rig.feed(b"BDAT 1000\r\n");
    let begun = rig.session.progress();
    for _ in 0..99 {
        rig.feed(b"x");
    }
    assert_eq!(rig.session.progress(), begun);
}

/// RFC 4954 4 and 6.
#[test]
fn auth_is_an_exchange_and_nothing_else() {
    let plain = b"AUTH PLAIN AHVzZXIAcGVuY2ls\r\n";
    // Not offered in plaintext, and what comes is not looked at.
    let mut rig = Rig::new(submission());
    rig.feed(EHLO);
    assert!(!String::from_utf8_lossy(&rig.output).contains("AUTH"));
    rig.take_codes();
    assert_eq!((rig.codes(plain), rig.questions), (vec![538], 0));
    assert_eq!(rig.codes(b"MAIL FROM:<a@client.example>\r\n"), [530]);

    let tls = || {
        let mut rig = Rig::inside_tls(submission());
        rig.feed(EHLO).take_codes();
        rig
    };
    let mut rig = tls();
    assert!(String::from_utf8_lossy(&rig.output).contains("AUTH SCRAM-SHA-256 PLAIN LOGIN"));
    for response in
        [&b"QUIT\r\n"[..], b"*\r\n", b"=\r\n", b"\r\n", b"AHVzZXIAcGVuY2l\r\n", b"AHVzZXIAcGVuY2ls \r\n", b"AAA=\r\n"]
    {
        assert_eq!(rig.codes(&[b"AUTH PLAIN\r\n", response].concat()), [334, 501], "{}", response.escape_ascii());
    }
    assert_eq!((rig.questions, rig.codes(b"NOOP\r\n")), (0, vec![250]), "in step");
    assert_eq!(rig.codes(b"AUTH PLAIN =\r\n"), [501], "an empty response is no PLAIN");
    assert_eq!(rig.codes(b"AUTH CRAM-MD5\r\n"), [504]);
    assert_eq!((rig.codes(plain), rig.questions), (vec![235], 1));
    assert_eq!((rig.codes(plain), rig.questions), (vec![503], 1), "once a session");

    let mut rig = Rig::inside_tls(config().auth(Mechanism::Plain.into()));
    rig.feed(EHLO).feed(ENVELOPE).take_codes();
    assert_eq!((rig.codes(plain), rig.questions), (vec![503], 0), "not in a transaction");

    // 12,288 octets at most; and a line that is longer is skipped, whole, and never a command.
    let mut rig = tls();
    let line = |octets: usize| [b"AUTH LOGIN\r\n".to_vec(), b"A".repeat(octets - 2), b"\r\n".to_vec()].concat();
    assert_eq!(rig.codes(&line(12_286)), [334, 501]);
    assert_eq!(rig.codes(&line(12_290)), [334, 500]);
    assert_eq!(rig.codes(b"NOOP\r\n"), [250]);
}

proptest! {
    /// Nothing that the peer says stands in a reply.
    #[test]
    fn nothing_of_the_peers_is_echoed(lines in prop::collection::vec(("[ -~]{0,20}", 0..8_usize), 1..8)) {
        let mut rig = Rig::new(config());
        for (noise, number) in lines {
            let verbs = ["", "EHLO ", "MAIL FROM:<", "RCPT TO:<", "VRFY ", "HELP ", "AUTH ", "BDAT "];
            rig.feed(format!("{}zq{noise}qz\r\n", verbs[number]).as_bytes());
        }
        let output = String::from_utf8(rig.output.clone()).expect("ASCII");
        prop_assert!(!output.contains("zq"), "{output}");
        prop_assert!(output.bytes().all(|octet| matches!(octet, b' '..=b'~' | b'\r' | b'\n')));
    }
}
