//! A server session, with a peer that says anything and an application that answers anything.
//!
//! The first two octets choose the configuration. The rest is what the peer sends, but for the octets from 0xF0 on, which
//! are operations: so a seed reads like a dialogue, and mutations of it stay dialogues.
//!
//! | octet | |
//! |---|---|
//! | F0 x | the next decision is `x`: see [`verdict`] |
//! | F1, F2, F3 | nothing came in time; the peer's octets have ended; the server is to end |
//! | F4, F5 | the handshake is done; it has failed |
//! | F6 x | the octet `x`, whatever it is |

use std::collections::VecDeque;
use std::sync::Arc;

use smtp_proto::auth::server::{Answer, Question};
use smtp_proto::auth::{MechanismSet, Nonce, ScramRecord};
use smtp_proto::server::{Config, Event, Extensions, FaultKind, Limits, Role, Session, State, Verdict};
use smtp_proto::syntax::{Command, Options, Reply};
use smtp_proto::tls::{Policy, TlsFailure, TlsInfo, TlsVersion};
use smtp_proto::{Channel, Leniencies, Leniency, Step, Want};

/// The same events, replies and end at every cut; one reply a command; and what must hold of any order of events.
pub fn run(data: &[u8]) {
    let Some(([a, b], script)) = data.split_first_chunk() else { return };
    // Strict, with everything let pass, and with one leniency by itself.
    let one = Leniency::ALL[usize::from(*a ^ *b) % Leniency::ALL.len()];
    for lenient in [Leniencies::STRICT, Leniencies::ALL, one.into()] {
        run_with(*a, *b, lenient, script);
    }
}

fn run_with(a: u8, b: u8, lenient: Leniencies, script: &[u8]) {
    let whole = Run::new(a, b, lenient).play(script, usize::MAX);
    for size in [1, 2, 7] {
        let cut = Run::new(a, b, lenient).play(script, size);
        assert_eq!(whole.events, cut.events, "in pieces of {size}");
        assert_eq!(whole.written, cut.written, "in pieces of {size}");
        assert_eq!(whole.session.state(), cut.session.state(), "in pieces of {size}");
    }
}

fn config(a: u8, b: u8, lenient: Leniencies) -> Config {
    let on = |bit: u8| a & 1 << bit != 0;
    let role = match a & 3 {
        1 => Role::Submission,
        2 => Role::Lmtp,
        _ => Role::Mx,
    };
    let mut limits = Limits::default();
    if on(2) {
        (limits.message, limits.text_line, limits.recipients) = (64 << 10, 1000, 100);
        (limits.transactions, limits.faults, limits.idle_commands) = (3, 4, 8);
        (limits.discard, limits.line, limits.output) = (4000, 512, 300);
    }
    let mut extensions = Extensions::default();
    (extensions.chunking, extensions.binary_mime) = (!on(3), on(4));
    (extensions.pipelining, extensions.enhanced_status_codes) = (!on(5), b & 1 == 0);
    (extensions.smtp_utf8, extensions.require_tls, extensions.dsn) = (b & 2 == 0, b & 4 != 0, b & 8 != 0);
    let policy = if on(6) { Policy::Require } else { Policy::Offer };
    Config::new("mx.example.net")
        .and_then(|config| config.role(role).extensions(extensions).tls(policy).limits(limits))
        .expect("limits above what the RFC guarantees")
        .auth(if on(7) { MechanismSet::PASSWORD } else { MechanismSet::EMPTY })
        .allow_plaintext_auth(b & 16 != 0)
        .lenient(lenient)
}

/// What the peer's octets are, as far as a bystander can tell who sees the application's answers: so many replies are
/// owed.
#[derive(Debug, PartialEq, Eq)]
enum Octets {
    Lines,
    Chunk(u64),
    Text,
}

struct Run {
    session: Session,
    lmtp: bool,
    chunking: bool,
    early: bool,
    held: Vec<u8>,
    verdicts: VecDeque<u8>,
    events: Vec<String>,
    written: Vec<u8>,
    // The bystander.
    octets: Octets,
    lenient: Leniencies,
    /// The most octets of a command line.
    limit: usize,
    line: Vec<u8>,
    /// Whether LF alone ends lines, which the first one decides.
    lf: Option<bool>,
    /// The present line has been refused for a bare LF.
    refused: bool,
    owed: usize,
    recipients: usize,
    sender: bool,
    text_due: bool,
    wants_tls: bool,
    closed: bool,
}

impl Run {
    fn new(a: u8, b: u8, lenient: Leniencies) -> Self {
        let mut session =
            Session::new(Arc::new(config(a, b, lenient)), if b & 64 != 0 { tls() } else { Channel::Plain });
        if b & 128 != 0 {
            session.trust();
        }
        Self {
            session,
            lmtp: a & 3 == 2,
            chunking: a & 8 == 0,
            early: b & 32 != 0,
            held: Vec::new(),
            verdicts: VecDeque::new(),
            events: Vec::new(),
            written: Vec::new(),
            octets: Octets::Lines,
            lenient,
            limit: if a & 4 != 0 { 512 } else { 2048 },
            line: Vec::new(),
            lf: (!lenient.contains(Leniency::BareLfCommands)).then_some(false),
            refused: false,
            owed: 1,
            recipients: 0,
            sender: false,
            text_due: false,
            wants_tls: false,
            closed: false,
        }
    }

    fn play(mut self, script: &[u8], size: usize) -> Self {
        // With early talkers, the first octets are there before the greeting.
        if !self.early {
            self.turn();
        }
        let mut octets = script.iter().copied();
        let mut pending = Vec::new();
        while let Some(octet) = octets.next() {
            match octet {
                ..0xf0 => pending.push(octet),
                0xf6 => pending.extend(octets.next()),
                0xf0 => {
                    self.feed(&mut pending, size);
                    self.verdicts.extend(octets.next());
                }
                _ => {
                    self.feed(&mut pending, size);
                    self.operate(octet);
                }
            }
        }
        self.feed(&mut pending, size);
        self
    }

    fn operate(&mut self, operation: u8) {
        match operation {
            0xf1 => self.session.timed_out(),
            0xf2 => self.session.eof(),
            0xf3 => self.session.shut_down(),
            0xf4 if self.wants_tls => {
                let Channel::Tls(info) = tls() else { return };
                self.session.tls_established(info);
                assert_eq!(self.session.hello(), None, "RFC 3207 4.2: the name is forgotten");
                assert_eq!(self.session.identity(), None, "and who it was");
                (self.sender, self.recipients) = (false, 0);
                (self.refused, self.lf) = (false, (!self.lenient.contains(Leniency::BareLfCommands)).then_some(false));
                self.line.clear();
            }
            0xf5 if self.wants_tls => self.session.tls_failed(TlsFailure::Closed),
            _ => return,
        }
        self.turn();
    }

    fn feed(&mut self, octets: &mut Vec<u8>, size: usize) {
        for piece in octets.chunks(size) {
            if self.closed {
                break;
            }
            self.held.extend_from_slice(piece);
            self.turn();
        }
        octets.clear();
    }

    /// The driver of the crate's front page.
    fn turn(&mut self) {
        let held = std::mem::take(&mut self.held);
        let mut input = &held[..];
        let want = loop {
            let before = input;
            let in_auth = self.session.state() == State::Auth;
            let step = self.session.step(&mut input);
            let used = &before[..before.len() - input.len()];
            self.watch(used, in_auth);
            match step {
                Step::Event(event) => self.event(event),
                Step::Want(want) => {
                    let output = self.session.output();
                    assert!(output.len() < 200 << 10, "output is bounded");
                    self.written.extend_from_slice(output);
                    // As a socket might take it.
                    let half = output.len() / 2;
                    let rest = output.len() - half;
                    self.session.sent(half);
                    self.session.sent(rest);
                    assert!(self.session.output().is_empty());
                    if want != Want::Output {
                        break want;
                    }
                }
            }
        };
        assert_ne!(want, Want::Decision, "every ticket has been answered");
        self.wants_tls = want == Want::Tls;
        self.closed = want == Want::Close;
        assert_eq!(self.closed, self.session.state() == State::Closed);
        assert!(self.closed || input.len() <= 12_288, "an unused rest is bounded");
        self.held = input.to_vec();
        self.count(want);
    }

    /// Exactly one reply a command, in LMTP one a recipient for the text; but a session may end without one, or with
    /// one that nobody asked for.
    fn count(&self, want: Want) {
        let lines = self.written.split(|octet| *octet == b'\n').filter(|line| line.get(3) == Some(&b' '));
        let replies = lines.count();
        if self.closed {
            assert!(replies <= self.owed + 1, "{replies} replies for {}", self.owed);
        } else if want == Want::Input && self.octets == Octets::Lines {
            assert_eq!(replies, self.owed, "{}\n{:#?}", self.written.escape_ascii(), self.events);
        }
        assert!(self.written.iter().all(|octet| matches!(octet, b'\r' | b'\n' | b' '..=b'~')));
    }

    /// Octets that the session has taken.
    fn watch(&mut self, used: &[u8], in_auth: bool) {
        for &octet in used {
            self.line.push(octet);
            let ended = self.line.ends_with(b"\r\n");
            match &mut self.octets {
                Octets::Chunk(left) => {
                    *left -= 1;
                    self.line.clear();
                    if *left == 0 {
                        self.octets = Octets::Lines;
                    }
                }
                Octets::Text if ended => {
                    if self.line == b".\r\n" {
                        self.octets = Octets::Lines;
                        self.owed += if self.lmtp { self.recipients } else { 1 };
                        self.text_due = false;
                    }
                    self.line.clear();
                }
                // RFC 5321 2.3.8: LF by itself is no end, but for who ended the first line so and is let. It is answered
                // at once, and what follows in the line is not.
                Octets::Lines if octet == b'\n' && !ended && self.lf == Some(false) => {
                    let is_auth =
                        in_auth || self.line.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"AUTH "));
                    if !self.refused && self.line.len() <= if is_auth { 12_288 } else { self.limit } {
                        self.refused = true;
                        self.owed += 1;
                    }
                    if self.refused {
                        self.line.clear();
                    }
                }
                Octets::Lines if octet == b'\n' => {
                    self.lf.get_or_insert(!ended);
                    if std::mem::take(&mut self.refused) {
                        self.line.clear();
                        continue;
                    }
                    self.owed += 1;
                    let line = self.line.strip_suffix(b"\n").unwrap_or_default();
                    let line = if ended { line.strip_suffix(b"\r").unwrap_or_default() } else { line };
                    if let Ok(parsed) = Command::parse(line, &Options::new().lenient(self.lenient))
                        && let Command::Bdat { size, last } = parsed.command
                        && self.session.state() != State::Auth
                    {
                        if size > 0 {
                            self.octets = Octets::Chunk(size);
                        }
                        // RFC 2033 4.3.
                        if last && self.lmtp && self.chunking && self.sender && self.recipients > 0 {
                            self.owed += self.recipients - 1;
                        }
                    }
                    self.line.clear();
                }
                _ => {}
            }
        }
    }

    fn say(&mut self, event: String) {
        self.events.push(event);
    }

    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Chunk(piece) => {
                assert!(!piece.is_empty());
                assert!(self.text_due || self.sender && self.recipients > 0, "text without an envelope");
                // Adjacent pieces are one.
                let text = piece.escape_ascii().to_string();
                match self.events.last_mut() {
                    Some(last) if last.starts_with("Chunk ") => last.push_str(&text),
                    _ => self.say(format!("Chunk {text}")),
                }
            }
            // Depends on the reads.
            Event::Fault(fault) if fault.kind == FaultKind::Pipelining => assert_eq!(fault.code, 0),
            Event::Fault(fault) => self.say(format!("{fault:?}")),
            Event::Reset => {
                (self.sender, self.recipients) = (false, 0);
                self.say("Reset".into());
            }
            Event::Closed(reason) => self.say(format!("Closed {reason:?}")),
            Event::Auth(question, ticket) => {
                let choice = self.verdicts.pop_front().unwrap_or(0);
                self.say(format!("Auth {question:?}"));
                let answer = match (&question, choice % 5) {
                    (_, 1) => Answer::Reject,
                    (_, 2) => Answer::TemporaryFailure,
                    (_, 3) => Answer::AcceptAs("somebody".into()),
                    (Question::Scram { .. }, 0) => Answer::Scram {
                        record: ScramRecord::derive("pencil", b"salt of this user", 4096).expect("a record"),
                        nonce: Nonce::new(&[7; 18]),
                    },
                    _ => Answer::Accept,
                };
                self.session.authenticate(ticket, answer);
            }
            Event::Connect(ticket) => self.decide("Connect".into(), ticket, |_| {}),
            Event::Hello(host, ticket) => {
                self.decide(format!("Hello {}", host.as_str()), ticket, |run| {
                    (run.sender, run.recipients) = (false, 0);
                });
            }
            Event::StartTls(ticket) => self.decide("StartTls".into(), ticket, |_| {}),
            Event::Xclient(client, ticket) => self.decide(format!("Xclient {}", client.as_str()), ticket, |_| {}),
            Event::Xforward(client, ticket) => self.decide(format!("Xforward {}", client.as_str()), ticket, |_| {}),
            Event::Mail(mail, ticket) => {
                assert!(!self.sender, "a second sender in one transaction");
                self.decide(format!("{mail:?}"), ticket, |run| run.sender = true);
            }
            Event::Rcpt(rcpt, ticket) => {
                assert!(self.sender, "a recipient without a sender");
                self.decide(format!("{rcpt:?}"), ticket, |run| run.recipients += 1);
            }
            Event::Data(ticket) => {
                assert!(self.sender && self.recipients > 0, "text without an envelope");
                self.decide("Data".into(), ticket, |run| {
                    run.text_due = true;
                    if run.session.state() == State::Data {
                        // Its own reply is that to DATA.
                        run.octets = Octets::Text;
                    }
                });
            }
            Event::Message(end, ticket) => {
                assert!(self.sender && self.recipients > 0, "a message without an envelope");
                assert_eq!(end.recipient.is_some(), self.lmtp);
                let last = end.recipient.is_none_or(|index| index as usize + 1 == self.recipients);
                self.decide(format!("{end:?}"), ticket, |_| {});
                if last {
                    (self.sender, self.recipients) = (false, 0);
                }
            }
            other => panic!("unknown event {other:?}"),
        }
    }

    fn decide(&mut self, event: String, ticket: smtp_proto::server::Ticket, accepted: impl FnOnce(&mut Self)) {
        self.say(event);
        let choice = self.verdicts.pop_front().unwrap_or(0);
        match verdict(choice) {
            Verdict::Refuse(reply) => self.session.answer(ticket, Verdict::Refuse(reply)),
            yes => {
                self.session.answer(ticket, yes);
                accepted(self);
            }
        }
    }
}

/// A decision: mostly yes.
fn verdict(choice: u8) -> Verdict<'static> {
    match choice % 8 {
        1 => Verdict::AcceptWith("As you wish\r\n221 2.0.0 Bye\r\n"),
        2 => Verdict::Refuse(Reply::fixed(550, (5, 1, 1), "No")),
        3 => Verdict::Refuse(Reply::fixed(451, (4, 3, 0), "Later")),
        4 => Verdict::Refuse(Reply::fixed(421, (4, 3, 2), "Go away")),
        5 => Verdict::Refuse(Reply::fixed(250, (2, 0, 0), "Is no refusal")),
        6 => Verdict::Refuse(Reply::plain(554, "Without a code")),
        _ => Verdict::Accept,
    }
}

fn tls() -> Channel {
    Channel::Tls(TlsInfo::new(TlsVersion::Tls13, "TLS_AES_128_GCM_SHA256".into()))
}
