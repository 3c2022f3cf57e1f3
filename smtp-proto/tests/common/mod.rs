//! The transcript language, and a driver in memory.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]

pub mod client;
pub mod wire;

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use smtp_proto::auth::server::{Answer, Question};
use smtp_proto::auth::{Mechanism, MechanismSet, Nonce, ScramRecord};
use smtp_proto::server::{
    AuthTicket, Config, Event, Extensions, FaultKind, FutureRelease, Limits, Role, Session, State, Ticket, Timeouts,
    Verdict,
};
use smtp_proto::syntax::{Enhanced, Reply, ReversePath};
use smtp_proto::tls::{Policy, RequiredDomains, TlsFailure, TlsInfo, TlsVersion};
use smtp_proto::{Buffer, Channel, Leniencies, Step, Want};

/// A line of a transcript.
#[derive(Clone, Debug)]
pub enum Item {
    Client(Vec<u8>),
    Early(Vec<u8>),
    Server(String),
    Event(String),
    Verdict(&'static str, String),
    Act(String),
}

/// What happened: replies and events in the order of the dialogue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    pub lines: Vec<String>,
    pub closed: bool,
}

impl Record {
    /// Replies and events apart, so that runs that differ only in when output was written compare equal.
    pub fn flat(&self) -> (Vec<&String>, Vec<&String>, bool) {
        let (replies, events) = self.lines.iter().partition(|line| line.starts_with("S: "));
        (replies, events, self.closed)
    }
}

pub struct Transcript {
    pub items: Vec<Item>,
    config: HashMap<String, String>,
    events: bool,
    /// Whether replies of many lines are shown with all of them.
    every_line: bool,
}

const VERBS: [&str; 10] =
    ["CONNECT", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "MESSAGE", "XCLIENT", "XFORWARD"];

/// All files of a folder of transcripts.
pub fn transcripts(folder: &str) -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts").join(folder);
    let mut files: Vec<_> = std::fs::read_dir(path)
        .expect("the folder of transcripts")
        .map(|entry| entry.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .map(|path| {
            (
                path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                std::fs::read_to_string(path).expect("text"),
            )
        })
        .collect();
    files.sort();
    files
}

/// Sizes of pieces from a seed (xorshift), short ones most often.
pub fn random_sizes(seed: u64) -> Vec<usize> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..64)
        .map(|_| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            1 + usize::try_from(x % if x.is_multiple_of(3) { 40 } else { 5 }).unwrap_or(0)
        })
        .collect()
}

impl Transcript {
    pub fn parse(name: &str, text: &str) -> Self {
        let mut items = Vec::new();
        let mut config = HashMap::new();
        for line in text.lines() {
            let item = match line.split_at_checked(3) {
                _ if line.is_empty() || line.starts_with('#') => continue,
                _ if line.starts_with("config:") => {
                    for setting in line["config:".len()..].split_whitespace() {
                        let (key, value) = setting.split_once('=').expect("key=value");
                        config.insert(key.to_owned(), value.to_owned());
                    }
                    continue;
                }
                _ if line.starts_with("wire:") => {
                    wire::check_marks(name, line);
                    continue;
                }
                Some(("W: ", codes)) => {
                    wire::check_codes(name, items.last(), codes);
                    continue;
                }
                // Of the wire alone: docs/conformance.md.
                Some(("W! " | "WC:" | "WS:", _)) => continue,
                Some(("C: ", rest)) => Item::Client(format!("{rest}\r\n").into_bytes()),
                Some(("C= ", rest)) => Item::Client(unescape(rest)),
                Some(("C! ", rest)) => Item::Early(unescape(rest)),
                Some(("S: ", rest)) => Item::Server(rest.to_owned()),
                Some(("E: ", rest)) => Item::Event(rest.to_owned()),
                Some(("V: ", rest)) => {
                    let (verb, verdict) = rest.split_once(' ').expect("V: VERB verdict");
                    let verb = VERBS.iter().find(|known| **known == verb).expect("a verb that can be answered");
                    Item::Verdict(verb, verdict.to_owned())
                }
                _ if line == "C:" => Item::Client(b"\r\n".to_vec()),
                _ if line.starts_with("! ") => Item::Act(line[2..].to_owned()),
                _ => panic!("{name}: not a line of a transcript: {line:?}"),
            };
            items.push(item);
        }
        let events = items.iter().any(|item| matches!(item, Item::Event(_)));
        let every_line = items.iter().any(|item| matches!(item, Item::Server(line) if line.get(3..4) == Some("-")));
        Self { items, config, events, every_line }
    }

    /// What the file says must happen. It is closed when its last word says so, or QUIT was said.
    pub fn expected(&self) -> Record {
        let lines = self
            .items
            .iter()
            .filter_map(|item| match item {
                Item::Server(line) => Some(format!("S: {line}")),
                Item::Event(event) => Some(format!("E: {event}")),
                _ => None,
            })
            .collect();
        let last = self.items.iter().rev().find_map(|item| match item {
            Item::Server(line) => Some(line.as_str()),
            _ => None,
        });
        let parting = last.is_some_and(|line| line.starts_with("221 ") || line.starts_with("421 "));
        Record { lines, closed: parting || self.config.get("closed").is_some_and(|closed| closed == "yes") }
    }

    /// Each line of the client by itself; what follows in the file must follow in the session.
    pub fn run_by_line(&self) -> Record {
        let mut driver = Driver::new(self);
        let mut record = Record::default();
        driver.begin(self);
        let (mut replies, mut after_reply) = (0, false);
        for item in &self.items {
            record.lines.append(&mut driver.lines);
            if after_reply && !matches!(item, Item::Server(_) | Item::Event(_)) {
                let so_far = record.lines.iter().filter(|line| line.starts_with("S: ")).count();
                if so_far != replies {
                    record.lines.push(format!("{so_far} replies, not {replies}, before {item:?}"));
                    break;
                }
            }
            after_reply = matches!(item, Item::Server(_)) || after_reply && matches!(item, Item::Event(_));
            replies += usize::from(matches!(item, Item::Server(_)));
            match item {
                Item::Client(bytes) => driver.feed(bytes),
                Item::Act(act) => driver.act(act),
                _ => {}
            }
        }
        record.lines.append(&mut driver.lines);
        record.closed = driver.closed;
        self.order(record)
    }

    /// In a file, the events of a command may stand before or after its replies: bring both into the file's order.
    fn order(&self, record: Record) -> Record {
        let (mut replies, mut events): (VecDeque<_>, VecDeque<_>) =
            record.lines.into_iter().partition(|line| line.starts_with("S: "));
        let mut lines = Vec::new();
        for item in &self.items {
            match item {
                Item::Server(_) => lines.extend(replies.pop_front()),
                Item::Event(_) => lines.extend(events.pop_front()),
                _ => {}
            }
        }
        lines.extend(replies);
        lines.extend(events);
        Record { lines, closed: record.closed }
    }

    /// All that the client sends between two acts, in pieces of these sizes, round and round.
    pub fn run_split(&self, sizes: &[usize]) -> Record {
        let mut driver = Driver::new(self);
        driver.begin(self);
        let mut sizes = sizes.iter().copied().cycle();
        let mut stream = Vec::new();
        let mut flush = |driver: &mut Driver, stream: &mut Vec<u8>| {
            let mut rest = &stream[..];
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(rest.len().min(sizes.next().unwrap_or(1)));
                driver.feed(piece);
                rest = after;
            }
            stream.clear();
        };
        for item in &self.items {
            match item {
                Item::Client(bytes) => stream.extend_from_slice(bytes),
                Item::Act(act) => {
                    flush(&mut driver, &mut stream);
                    driver.act(act);
                }
                _ => {}
            }
        }
        flush(&mut driver, &mut stream);
        self.order(Record { lines: driver.lines, closed: driver.closed })
    }

    pub fn config(&self) -> Config {
        let mut limits = Limits::default();
        let mut times = Timeouts::default();
        let mut on = Extensions::default();
        let mut config = Config::new("mx.example.net").expect("a name");
        let mut required = RequiredDomains::new();
        for (key, value) in &self.config {
            let number = || value.parse::<u64>().unwrap_or_else(|_| panic!("{key} needs a number"));
            let small = || u32::try_from(number()).expect("u32");
            let size = || usize::try_from(number()).expect("usize");
            let yes = value == "yes";
            match key.as_str() {
                "role" => {
                    config = config.role(match value.as_str() {
                        "mx" => Role::Mx,
                        "submission" => Role::Submission,
                        "lmtp" => Role::Lmtp,
                        other => panic!("role={other}"),
                    });
                }
                "tls" => {
                    config = config.tls(match value.as_str() {
                        "off" => Policy::Off,
                        "offer" => Policy::Offer,
                        "require" => Policy::Require,
                        other => panic!("tls={other}"),
                    });
                }
                "tls-from" => required = required.sender(value.as_str()),
                "tls-to" => required = required.recipient(value.as_str()),
                "put-off" => config = config.put_off_plaintext(yes),
                "auth" => {
                    let names = value.split(',').map(|name| Mechanism::from_name(name).expect("a mechanism"));
                    config = config.auth(names.collect::<MechanismSet>());
                }
                "plaintext-auth" => config = config.allow_plaintext_auth(yes),
                "lenient" => config = config.lenient(Leniencies::from_names(value.split(',')).expect("names")),
                "max" => limits.message = number(),
                "recipients" => limits.recipients = small(),
                "transactions" => limits.transactions = small(),
                "discard" => limits.discard = number(),
                "faults" => limits.faults = small(),
                "idle" => limits.idle_commands = small(),
                "line" => limits.line = size(),
                "auth-line" => limits.auth_line = size(),
                "text-line" => limits.text_line = size(),
                "output" => limits.output = size(),
                "greet-pause" => times.greet_pause = Duration::from_secs(number()),
                "text-octets" => times.text_octets = number(),
                "pipelining" => on.pipelining = yes,
                "size" => on.size = yes,
                "8bitmime" => on.eight_bit_mime = yes,
                "enhanced" => on.enhanced_status_codes = yes,
                "chunking" => on.chunking = yes,
                "smtputf8" => on.smtp_utf8 = yes,
                "limits" => on.limits = yes,
                "binarymime" => on.binary_mime = yes,
                "dsn" => on.dsn = yes,
                "deliverby" => on.deliver_by = Some(small()),
                "futurerelease" => {
                    on.future_release = Some(FutureRelease { interval: small(), until: "2027-01-01T00:00:00Z".into() });
                }
                "mt-priority" => on.mt_priority = Some(value.clone().into()),
                "rrvs" => on.rrvs = yes,
                "requiretls" => on.require_tls = yes,
                "closed" | "channel" | "trusted" => {}
                other => panic!("unknown setting {other}"),
            }
        }
        let config = config.timeouts(times).extensions(on).require_tls_for(required);
        config.limits(limits).expect("limits")
    }
}

pub fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        if char != '\\' {
            out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        match chars.next().expect("an escape") {
            'r' => out.push(b'\r'),
            'n' => out.push(b'\n'),
            't' => out.push(b'\t'),
            '0' => out.push(0),
            '\\' => out.push(b'\\'),
            'x' => {
                let hex: String = chars.by_ref().take(2).collect();
                out.push(u8::from_str_radix(&hex, 16).expect("two hex digits"));
            }
            // \*300x: 300 times `x`
            '*' => {
                let count: String = chars.by_ref().take_while(char::is_ascii_digit).collect();
                // take_while has eaten the `_` that stands behind the number
                let what = chars.next().expect("what to repeat");
                out.extend(std::iter::repeat_n(what as u8, count.parse().expect("a number")));
            }
            other => panic!("unknown escape \\{other}"),
        }
    }
    out
}

/// The driver loop of the crate's front page, with a scripted application.
pub struct Driver {
    pub session: Session,
    buffer: Buffer,
    verdicts: VecDeque<(&'static str, String)>,
    events: bool,
    every_line: bool,
    text: Vec<u8>,
    /// Recipients, kept as the simplest handler would: collected with RCPT, forgotten with Reset.
    recipients: Vec<String>,
    /// What the session last said of time: its progress, and how long to wait from there.
    time: (u64, Duration),
    pub lines: Vec<String>,
    pub closed: bool,
    wants_tls: bool,
}

impl Driver {
    pub fn new(transcript: &Transcript) -> Self {
        let channel = match transcript.config.get("channel").map(String::as_str) {
            Some("tls") => Channel::Tls(tls_info()),
            _ => Channel::Plain,
        };
        let verdicts = transcript.items.iter().filter_map(|item| match item {
            Item::Verdict(verb, verdict) => Some((*verb, verdict.clone())),
            _ => None,
        });
        let mut session = Session::new(Arc::new(transcript.config()), channel);
        if transcript.config.get("trusted").is_some_and(|trusted| trusted == "yes") {
            session.trust();
        }
        let time = (session.progress(), session.timeout());
        Self {
            session,
            buffer: Buffer::with_capacity(4096),
            verdicts: verdicts.collect(),
            events: transcript.events,
            every_line: transcript.every_line,
            text: Vec::new(),
            recipients: Vec::new(),
            time,
            lines: Vec::new(),
            closed: false,
            wants_tls: false,
        }
    }

    /// The connection is made; what came before the greeting lies in the buffer.
    pub fn begin(&mut self, transcript: &Transcript) {
        for item in &transcript.items {
            if let Item::Early(bytes) = item {
                self.buffer.extend(bytes);
            }
        }
        self.turn(&[]);
    }

    /// Bytes of the peer. After the session is closed nobody reads them.
    pub fn feed(&mut self, bytes: &[u8]) {
        if !self.closed {
            self.buffer.extend(bytes);
            self.turn(&[]);
        }
    }

    pub fn act(&mut self, act: &str) {
        match act {
            "tls" => {
                assert!(self.wants_tls, "the session does not want TLS");
                self.session.tls_established(tls_info());
            }
            "tls-failed" => self.session.tls_failed(TlsFailure::Alert("unknown_ca".into())),
            "timeout" => self.session.timed_out(),
            "eof" => self.session.eof(),
            "shutdown" => self.session.shut_down(),
            other => panic!("unknown act {other}"),
        }
        self.turn(&[]);
    }

    /// Steps until the session wants something from outside.
    pub fn turn(&mut self, _: &[u8]) {
        let buffer = std::mem::take(&mut self.buffer);
        let mut input = buffer.filled();
        loop {
            let step = self.session.step(&mut input);
            self.keep_time();
            match step {
                Step::Event(event) => {
                    self.event(event);
                    self.keep_time();
                }
                Step::Want(want) => {
                    self.flush();
                    self.wants_tls = want == Want::Tls;
                    self.closed = want == Want::Close;
                    if want == Want::Output {
                        continue;
                    }
                    assert_ne!(want, Want::Decision, "every ticket is answered at once");
                    break;
                }
            }
        }
        let left = input.len();
        self.buffer = buffer;
        self.buffer.keep_last(left);
        assert!(!self.closed || self.session.state() == State::Closed);
        if matches!(self.session.state(), State::Connected | State::Greeted) {
            let learnt = (self.session.hello(), self.session.identity(), self.session.in_transaction());
            assert_eq!(learnt, (None, None, false), "RFC 3207 4.2: what was learnt is forgotten");
        }
    }

    /// A driver starts a new period when `progress` changes, and only then.
    fn keep_time(&mut self) {
        let time = (self.session.progress(), self.session.timeout());
        let over = self.session.state() == State::Closed;
        assert!(over || time.0 != self.time.0 || time.1 == self.time.1, "another timeout without progress");
        self.time = time;
    }

    fn flush(&mut self) {
        let output = String::from_utf8(self.session.output().to_vec()).expect("replies are ASCII");
        assert!(output.is_empty() || output.ends_with("\r\n"), "replies end in CRLF: {output:?}");
        let mut inside = false;
        for line in output.split_terminator("\r\n") {
            let more = line.get(3..4) == Some("-");
            if self.every_line {
                self.lines.push(format!("S: {line}"));
            } else if !inside {
                self.lines.push(format!("S: {} {}", &line[..3], &line[4..]));
            }
            inside = more;
        }
        // In two parts, as a socket might take it.
        let half = output.len() / 2;
        self.session.sent(half);
        self.session.sent(output.len() - half);
        assert!(self.session.output().is_empty());
    }

    fn say(&mut self, event: impl std::fmt::Display) {
        if self.events {
            self.lines.push(format!("E: {event}"));
        }
    }

    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Connect(ticket) => {
                self.say("Connect");
                self.answer("CONNECT", ticket);
            }
            Event::Hello(host, ticket) => {
                self.say(format!("Hello {}", host.as_str()));
                self.answer("EHLO", ticket);
            }
            Event::StartTls(ticket) => {
                self.say("StartTls");
                self.answer("STARTTLS", ticket);
            }
            Event::Auth(question, ticket) => {
                self.say(match &question {
                    Question::Password { authzid, authcid, password } => {
                        format!("Auth password of {authcid} for {authzid:?}: {}", password.expose_str())
                    }
                    Question::Scram { authzid, authcid } => format!("Auth record of {authcid} for {authzid:?}"),
                    Question::Token { authzid, token, .. } => {
                        format!("Auth token for {authzid:?}: {}", token.expose_str())
                    }
                    Question::External { authzid } => format!("Auth external for {authzid:?}"),
                    other => panic!("unknown question {other:?}"),
                });
                self.authenticate(ticket);
            }
            Event::Mail(mail, ticket) => {
                let path = match mail.path {
                    ReversePath::Null => "<>".to_owned(),
                    ReversePath::Mailbox(mailbox) => format!("<{}>", mailbox.as_str()),
                };
                let mut line = format!("Mail {path}");
                for param in mail.params.iter() {
                    let _ = write!(line, " {}", param.keyword);
                    if let Some(value) = param.value {
                        let _ = write!(line, "={value}");
                    }
                }
                self.say(line);
                assert_eq!(self.recipients, [""; 0], "an envelope has run into the next");
                self.answer("MAIL", ticket);
            }
            Event::Rcpt(rcpt, ticket) => {
                self.say(format!("Rcpt <{}>", rcpt.path.as_str()));
                self.recipients.push(rcpt.path.as_str().to_owned());
                self.answer("RCPT", ticket);
            }
            Event::Xclient(client, ticket) => {
                self.say(format!("Xclient {}", client.as_str()));
                self.answer("XCLIENT", ticket);
            }
            Event::Xforward(client, ticket) => {
                self.say(format!("Xforward {}", client.as_str()));
                self.answer("XFORWARD", ticket);
            }
            Event::Data(ticket) => {
                self.say("Data");
                self.answer("DATA", ticket);
            }
            Event::Chunk(chunk) => {
                assert!(!chunk.is_empty(), "a chunk is never empty");
                self.text.extend_from_slice(chunk);
            }
            Event::Message(end, ticket) => {
                assert_eq!(end.octets, self.text.len() as u64);
                let text = self.text.escape_ascii().to_string();
                self.say(match end.recipient {
                    None => format!("Message {text}"),
                    Some(index) => format!("Message {text} for {index}"),
                });
                self.answer("MESSAGE", ticket);
            }
            Event::Reset => {
                self.text.clear();
                self.recipients.clear();
                self.say("Reset");
            }
            // Depends on the reads: `pipelining.rs` has its tests.
            Event::Fault(fault) if fault.kind == FaultKind::Pipelining => {}
            Event::Fault(fault) => self.say(format!("Fault {:?} at {} {}", fault.kind, fault.offset, fault.code)),
            Event::Closed(reason) => self.say(format!("Closed {reason:?}")),
            other => panic!("unknown event {other:?}"),
        }
    }

    fn verdict(&mut self, verb: &str) -> Option<String> {
        let next = self.verdicts.iter().position(|(of, _)| *of == verb);
        next.and_then(|at| self.verdicts.remove(at)).map(|(_, verdict)| verdict)
    }

    fn authenticate(&mut self, ticket: AuthTicket) {
        let verdict = self.verdict("AUTH").unwrap_or_else(|| "accept".into());
        let answer = match verdict.split_once(' ').unwrap_or((&verdict, "")) {
            ("accept", _) => Answer::Accept,
            ("reject", _) => Answer::Reject,
            ("temporary", _) => Answer::TemporaryFailure,
            ("as", name) => Answer::AcceptAs(name.into()),
            ("scram", password) => Answer::Scram {
                record: ScramRecord::derive(password, b"salt of this user", 4096).expect("a record"),
                nonce: Nonce::new(&[7; 18]),
            },
            _ => panic!("V: AUTH {verdict}"),
        };
        self.session.authenticate(ticket, answer);
    }

    fn answer(&mut self, verb: &str, ticket: Ticket) {
        let verdict = self.verdict(verb);
        match verdict.as_deref() {
            None | Some("ok") => self.session.answer(ticket, Verdict::Accept),
            Some(verdict) => {
                let (code, rest) = verdict.split_once(' ').expect("V: VERB code text");
                if code == "ok" {
                    self.session.answer(ticket, Verdict::AcceptWith(&unescaped(rest)));
                    return;
                }
                let (enhanced, text) = rest.split_once(' ').expect("V: VERB code enhanced text");
                let mut parts = enhanced.split('.').map(|part| part.parse::<u16>().expect("a number"));
                let mut part = || parts.next().expect("three numbers");
                let enhanced = Enhanced::new(u8::try_from(part()).expect("a class"), part(), part());
                let reply = Reply::new(code.parse().expect("a code"), Some(enhanced), text).expect("a reply");
                self.session.answer(ticket, Verdict::Refuse(reply));
            }
        }
    }
}

fn unescaped(text: &str) -> String {
    String::from_utf8(unescape(text)).expect("UTF-8")
}

pub fn tls_info() -> TlsInfo {
    TlsInfo::new(TlsVersion::Tls13, "TLS_AES_128_GCM_SHA256".into())
}
