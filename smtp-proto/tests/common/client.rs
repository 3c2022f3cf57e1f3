//! The client's transcripts: a session, or a transaction, against a scripted server.

use std::collections::HashMap;

use smtp_proto::auth::Nonce;
use smtp_proto::auth::client::Credentials;
use smtp_proto::client::{
    Because, Body, Config, Envelope, Event, MessageTicket, Outcome, Progress, Protocol, Session, State, TextError, Tls,
    Transaction,
};
use smtp_proto::syntax::{Command, ForwardPath, Mailbox, Options, Params, Rcpt, ReversePath};
use smtp_proto::text::Newlines;
use smtp_proto::tls::TlsFailure;
use smtp_proto::{Buffer, Channel, Step, Want};

use super::{tls_info, unescape};

#[derive(Clone, Debug)]
enum Item {
    Client(String),
    Server(Vec<u8>),
    Event(String),
    Do(String),
    Act(String),
    Outcome(String),
}

/// What happened: what the client sent, where the server's words stand between, and the events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Lines sent, and `S` for each stretch of the server's.
    pub wire: Vec<String>,
    pub events: Vec<String>,
    pub outcomes: Vec<String>,
}

pub struct Transcript {
    items: Vec<Item>,
    config: HashMap<String, String>,
    texts: Vec<Vec<Vec<u8>>>,
}

impl Transcript {
    pub fn parse(name: &str, text: &str) -> Self {
        let mut transcript = Self { items: Vec::new(), config: HashMap::new(), texts: Vec::new() };
        for line in text.lines() {
            let item = match line.split_at_checked(3) {
                _ if line.is_empty() || line.starts_with('#') => continue,
                _ if line.starts_with("config:") => {
                    for setting in line["config:".len()..].split_whitespace() {
                        let (key, value) = setting.split_once('=').expect("key=value");
                        transcript.config.insert(key.to_owned(), value.to_owned());
                    }
                    continue;
                }
                Some(("C: ", rest)) => Item::Client(format!("{rest}\r\n").replace("\\\\", "\\")),
                Some(("C= ", rest)) => Item::Client(String::from_utf8(unescape(rest)).expect("UTF-8")),
                _ if line.starts_with("wire:") => {
                    super::wire::check_marks(name, line);
                    continue;
                }
                Some(("S: ", rest)) => Item::Server(format!("{rest}\r\n").into_bytes()),
                Some(("S= ", rest)) => Item::Server(unescape(rest)),
                Some(("E: ", rest)) => Item::Event(rest.to_owned()),
                Some(("A: ", rest)) => Item::Do(rest.to_owned()),
                Some(("O: ", rest)) => Item::Outcome(rest.to_owned()),
                Some(("T: ", rest)) => {
                    transcript.texts.push(rest.split('|').map(unescape).collect());
                    continue;
                }
                _ if line.starts_with("! ") => Item::Act(line[2..].to_owned()),
                _ => panic!("{name}: not a line of a transcript: {line:?}"),
            };
            transcript.items.push(item);
        }
        transcript
    }

    /// What the file says must happen.
    pub fn expected(&self) -> Record {
        let mut record = Record::default();
        for item in &self.items {
            match item {
                Item::Client(line) => record.sent(line),
                Item::Server(_) => record.heard(),
                Item::Event(event) => record.events.push(event.clone()),
                Item::Outcome(outcome) => record.outcomes.push(outcome.clone()),
                Item::Do(_) | Item::Act(_) => {}
            }
        }
        record
    }

    /// Whether what the server says before the client has spoken may come in any pieces.
    pub fn may_be_split(&self) -> bool {
        self.config.get("split").is_none_or(|split| split != "no")
    }

    /// What the server says between two lines of the client comes in pieces of these sizes, round and round.
    pub fn run(&self, sizes: &[usize]) -> Record {
        let sender = self.config.get("from").cloned().unwrap_or_default();
        let from = match sender.as_str() {
            "" | "<>" => ReversePath::Null,
            address => ReversePath::Mailbox(Mailbox::parse(address, false).expect("an address")),
        };
        let names: Vec<String> =
            self.config.get("to").map(|to| to.split(',').map(str::to_owned).collect()).unwrap_or_default();
        let to: Vec<Rcpt<'_>> = names
            .iter()
            .map(|to| Rcpt {
                path: ForwardPath::Mailbox(Mailbox::parse(to, false).expect("an address")),
                params: Params::default(),
            })
            .collect();
        let mut envelope = Envelope::new(from, &to);
        envelope.size = self.config.get("size").map(|size| size.parse().expect("a number"));
        envelope.utf8 = self.config.contains_key("utf8");
        envelope.body = match self.config.get("body").map(String::as_str) {
            None => None,
            Some("7bit") => Some(Body::SevenBit),
            Some("8bit") => Some(Body::EightBitMime),
            Some("binary") => Some(Body::BinaryMime),
            Some(other) => panic!("body={other}"),
        };
        let mut driver = Driver::new(self, (!to.is_empty()).then(|| Transaction::new(envelope)));
        driver.turn();
        let mut sizes = sizes.iter().copied().cycle();
        let mut block: Vec<u8> = Vec::new();
        for (at, item) in self.items.iter().enumerate() {
            match item {
                Item::Server(bytes) => {
                    block.extend_from_slice(bytes);
                    let rest = self.items[at + 1..].iter();
                    let more = rest.take_while(|next| !matches!(next, Item::Client(_) | Item::Do(_) | Item::Act(_)));
                    if more.into_iter().any(|next| matches!(next, Item::Server(_))) {
                        continue;
                    }
                    driver.record.heard();
                    let mut rest = &block[..];
                    while !rest.is_empty() {
                        let (piece, after) = rest.split_at(rest.len().min(sizes.next().unwrap_or(1)));
                        driver.feed(piece);
                        rest = after;
                    }
                    block.clear();
                }
                Item::Act(act) => driver.act(act),
                Item::Do(what) => driver.perform(what),
                Item::Client(_) | Item::Event(_) | Item::Outcome(_) => {}
            }
        }
        let mut record = driver.record;
        if let Some(transaction) = &driver.transaction {
            let outcomes = names.iter().zip(transaction.outcomes());
            record.outcomes.extend(outcomes.map(|(name, outcome)| format!("{name} {}", show(&outcome))));
            if !driver.done {
                record.outcomes.push("not done".to_owned());
            }
        }
        record
    }

    fn config(&self) -> Config {
        let mut config = Config::new("client.example").expect("a name").tls(Tls::Never);
        let mut limits = smtp_proto::client::Limits::default();
        for (key, value) in &self.config {
            let number = || value.parse::<usize>().unwrap_or_else(|_| panic!("{key} needs a number"));
            let yes = value == "yes";
            match key.as_str() {
                "tls" => {
                    config = config.tls(match value.as_str() {
                        "never" => Tls::Never,
                        "opportunistic" => Tls::Opportunistic,
                        "require" => Tls::Require,
                        "verify" => Tls::Verify,
                        other => panic!("tls={other}"),
                    });
                }
                "lmtp" => config = config.protocol(if yes { Protocol::Lmtp } else { Protocol::Smtp }),
                "newlines" => config = config.newlines(Newlines::Convert),
                "chunking" => config = config.chunking(yes),
                "plaintext-auth" => config = config.allow_plaintext_auth(yes),
                "bare-lf" => config = config.bare_lf_in_replies(yes),
                "long-lines" => config = config.send_long_lines(yes),
                "require-parameters" => config = config.require_parameters(yes),
                "8bit-anyway" => config = config.send_eight_bit_anyway(yes),
                "line" => limits.reply.line = number(),
                "lines" => limits.reply.lines = number(),
                "total" => limits.reply.total = number(),
                "challenges" => limits.challenges = u32::try_from(number()).expect("u32"),
                "group" => limits.group = number(),
                "channel" | "from" | "to" | "size" | "body" | "utf8" | "split" | "user" | "token" => {}
                other => panic!("unknown setting {other}"),
            }
        }
        config.limits(limits)
    }
}

impl Record {
    fn sent(&mut self, bytes: &str) {
        match self.wire.last_mut() {
            Some(last) if last != "S" => last.push_str(bytes),
            _ => self.wire.push(bytes.to_owned()),
        }
    }

    fn heard(&mut self) {
        if self.wire.last().is_none_or(|last| last != "S") {
            self.wire.push("S".to_owned());
        }
    }
}

fn show(outcome: &Outcome<'_>) -> String {
    let because = |because: &Because<'_>| match because {
        Because::Reply(reply) => reply.to_string(),
        other => format!("{other:?}"),
    };
    match outcome {
        Outcome::Accepted(reply) => format!("accepted {reply}"),
        Outcome::Later(why) => format!("later {}", because(why)),
        Outcome::Never(why) => format!("never {}", because(why)),
        Outcome::Unknown(why) => format!("unknown {}", because(why)),
        other => panic!("{other:?}"),
    }
}

struct Driver<'e> {
    session: Session,
    transaction: Option<Transaction<'e>>,
    done: bool,
    texts: std::collections::VecDeque<Vec<Vec<u8>>>,
    ticket: Option<MessageTicket>,
    buffer: Buffer,
    record: Record,
    closed: bool,
    wants_tls: bool,
}

impl<'e> Driver<'e> {
    fn new(transcript: &Transcript, transaction: Option<Transaction<'e>>) -> Self {
        let channel = match transcript.config.get("channel").map(String::as_str) {
            Some("tls") => Channel::Tls(tls_info()),
            _ => Channel::Plain,
        };
        let mut session = Session::new(transcript.config().shared(), channel);
        if let Some((user, password)) = transcript.config.get("user").and_then(|user| user.split_once(':')) {
            let credentials = Credentials::password(user, password).expect("credentials");
            session.authenticate(credentials, Nonce::new(&[1; 18]));
        }
        if let Some((user, token)) = transcript.config.get("token").and_then(|user| user.split_once(':')) {
            session.authenticate(Credentials::token(user, token).expect("credentials"), Nonce::new(&[1; 18]));
        }
        Self {
            session,
            transaction,
            done: false,
            texts: transcript.texts.clone().into(),
            ticket: None,
            buffer: Buffer::with_capacity(4096),
            record: Record::default(),
            closed: false,
            wants_tls: false,
        }
    }

    fn feed(&mut self, bytes: &[u8]) {
        if !self.closed {
            self.buffer.extend(bytes);
            self.turn();
        }
    }

    fn turn(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        let mut input = buffer.filled();
        let want = if self.transaction.is_some() && !self.done { self.step_transaction(&mut input) } else { None };
        let want = want.unwrap_or_else(|| self.step_session(&mut input));
        self.flush();
        self.wants_tls = want == Want::Tls;
        self.closed = want == Want::Close;
        let left = input.len();
        self.buffer = buffer;
        self.buffer.keep_last(left);
        assert!(!self.closed || self.session.state() == State::Closed);
    }

    fn step_transaction(&mut self, input: &mut &[u8]) -> Option<Want> {
        let transaction = self.transaction.as_mut()?;
        loop {
            match transaction.step(&mut self.session, input) {
                Progress::Want(want) => return Some(want),
                Progress::Text => {
                    let pieces = self.texts.pop_front().unwrap_or_default();
                    let (last, first) =
                        pieces.split_last().map_or((&[][..], &[][..]), |(last, first)| (&last[..], first));
                    let mut written = Ok(());
                    for piece in first {
                        written = written.and_then(|()| transaction.write(&mut self.session, piece));
                    }
                    if let Err(error) = written.and_then(|()| transaction.finish_with(&mut self.session, last)) {
                        self.record.events.push(format!("Text {error:?}"));
                        if error == TextError::Busy {
                            self.texts.push_front(vec![last.to_vec()]);
                        }
                    }
                }
                Progress::Done => {
                    self.done = true;
                    for fault in transaction.tolerated() {
                        self.record.events.push(format!("Tolerated {:?} at {}", fault.kind, fault.offset));
                    }
                    if let Some(reason) = transaction.closed() {
                        self.record.events.push(format!("Closed {reason:?}"));
                    }
                    self.session.quit();
                    return None;
                }
            }
        }
    }

    fn step_session(&mut self, input: &mut &[u8]) -> Want {
        loop {
            match self.session.step(input) {
                Step::Event(Event::Message(ticket)) => {
                    self.record.events.push("Message".to_owned());
                    self.ticket = Some(ticket);
                }
                Step::Event(Event::Reply(to, reply)) => {
                    self.record.events.push(format!("Reply {to:?} {reply}"));
                }
                Step::Event(Event::Fault(fault)) => {
                    self.record.events.push(format!("Fault {:?} at {}", fault.kind, fault.offset));
                }
                Step::Event(Event::Tolerated(fault)) => {
                    self.record.events.push(format!("Tolerated {:?} at {}", fault.kind, fault.offset));
                }
                Step::Event(Event::Closed(reason)) => self.record.events.push(format!("Closed {reason:?}")),
                Step::Event(event) => self.record.events.push(format!("{event:?}")),
                Step::Want(want) => return want,
            }
        }
    }

    fn flush(&mut self) {
        let output = String::from_utf8_lossy(self.session.output()).into_owned();
        if !output.is_empty() {
            self.record.sent(&output);
        }
        let half = output.len() / 2;
        self.session.sent(half);
        self.session.sent(output.len() - half);
        assert!(self.session.output().is_empty());
    }

    fn act(&mut self, act: &str) {
        match act {
            "tls" | "tls-verified" => {
                assert!(self.wants_tls, "the session does not want TLS");
                let mut info = tls_info();
                info.server_verified = act == "tls-verified";
                self.session.tls_established(info);
            }
            "tls-failed" => self.session.tls_failed(TlsFailure::Alert("unknown_ca".into())),
            "timeout" => self.session.timed_out(),
            "eof" => self.session.eof(),
            "abandon" => self.session.abandon(),
            other => panic!("unknown act {other}"),
        }
        self.turn();
    }

    fn perform(&mut self, what: &str) {
        let (word, rest) = what.split_once(' ').unwrap_or((what, ""));
        let pieces: Vec<Vec<u8>> = rest.split('|').map(unescape).collect();
        let written = match word {
            "quit" => {
                self.session.quit();
                Ok(())
            }
            "bdat" | "bdat-binary" => match self.session.begin_chunks(word == "bdat-binary") {
                Ok(ticket) => {
                    self.ticket = Some(ticket);
                    Ok(())
                }
                Err(why) => {
                    self.record.events.push(format!("NotNow {why:?}"));
                    Ok(())
                }
            },
            "write" => self.session.write(self.ticket.as_ref().expect("a ticket"), &pieces[0]),
            "finish" => self.session.finish_with(self.ticket.take().expect("a ticket"), &pieces[0]),
            "drop" => {
                self.session.drop_chunks(self.ticket.take().expect("a ticket"));
                Ok(())
            }
            _ => {
                let command = Command::parse(what.as_bytes(), &Options::new()).expect("a command").command;
                if let Err(why) = self.session.send(&command) {
                    self.record.events.push(format!("NotNow {why:?}"));
                }
                Ok(())
            }
        };
        if let Err(error) = written {
            self.record.events.push(format!("Text {error:?}"));
        }
        self.turn();
    }
}
