//! Client against server in memory, with a clock of its own: what the server acknowledged is what the client reports, and
//! the text arrives byte for byte.
//!
//! The first eight octets choose both configurations and how the wire behaves, the ninth how many verdicts follow; what
//! comes behind them is the text.

use std::collections::BTreeMap;
use std::time::Duration;

use smtp_proto::auth::client::Credentials;
use smtp_proto::auth::server::{Answer, Question};
use smtp_proto::auth::{MechanismSet, Nonce, ScramRecord};
use smtp_proto::client::{self, Body, Envelope, Outcome, Progress, Transaction};
use smtp_proto::server::{self, Extensions, Role, Ticket, Verdict};
use smtp_proto::syntax::{ForwardPath, Mailbox, Params, Rcpt, Reply, ReversePath};
use smtp_proto::text::Newlines;
use smtp_proto::tls::{Policy, TlsFailure, TlsInfo, TlsVersion};
use smtp_proto::{Channel, Step, Want};

/// How the wire behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wire {
    Whole,
    /// Ends after so many octets of the server's.
    Cut(usize),
    /// Carries nothing more after so many octets of the server's, and does not say so.
    Hole(usize),
}

/// What is played.
#[derive(Clone, Debug)]
pub struct Case {
    bits: [u8; 8],
    verdicts: Vec<u8>,
    text: Vec<u8>,
}

/// What became of it, for those who count what they have seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Recipients accepted, to be tried later, refused, unknown.
    pub outcomes: [usize; 4],
    /// Whether the hop was encrypted.
    pub encrypted: bool,
}

/// Plays what the octets say; it panics when something does not hold.
pub fn run(data: &[u8]) {
    if let Some(case) = Case::parse(data) {
        play(&case);
    }
}

/// Plays a case whole, and says what became of it.
///
/// # Panics
/// When something does not hold.
pub fn play(case: &Case) -> Tally {
    let names: Vec<String> = (0..=case.bits[5] % 4).map(|index| format!("r{index}@example.net")).collect();
    let path = |name| ForwardPath::Mailbox(Mailbox::parse(name, false).expect("an address"));
    let to: Vec<Rcpt<'_>> = names.iter().map(|name| Rcpt { path: path(name), params: Params::default() }).collect();
    let mut envelope = Envelope::new(ReversePath::Null, &to);
    envelope.body = Some(case.body());
    envelope.size = case.bit(4, 0).then_some(case.text.len() as u64);

    let mut pair = Pair::new(case);
    // Two transactions over one session, if the first one leaves it alive.
    let mut tally = Tally::default();
    let (mut transaction, mut next) = (Transaction::new(envelope), Transaction::new(envelope));
    for round in 0..1 + (case.bits[5] >> 7) {
        pair.server.delivered.clear();
        // The envelope of the second may follow the text of the first.
        let led = (round == 0 && case.bits[5] & 0xc0 == 0xc0).then_some(&mut next);
        pair.transact(&mut transaction, led, case);
        pair.check(&transaction, case, &mut tally);
        (transaction, next) = (next, transaction.next(envelope));
    }
    tally.encrypted = pair.client.tls().is_some();
    tally
}

impl Case {
    /// From the octets of a seed.
    #[must_use]
    pub fn parse(data: &[u8]) -> Option<Self> {
        let (bits, rest) = data.split_first_chunk::<8>()?;
        let (count, rest) = rest.split_first()?;
        let (verdicts, text) = rest.split_at_checked(usize::from(*count % 24))?;
        Some(Self { bits: *bits, verdicts: verdicts.to_vec(), text: text.to_vec() })
    }

    const fn bit(&self, octet: usize, bit: u8) -> bool {
        self.bits[octet] & 1 << bit != 0
    }

    fn body(&self) -> Body {
        match self.bits[4] >> 1 & 3 {
            1 => Body::EightBitMime,
            2 => Body::BinaryMime,
            _ => Body::SevenBit,
        }
    }

    fn wire(&self) -> Wire {
        match self.bits[6] % 4 {
            2 => Wire::Cut(usize::from(self.bits[7]) * 2),
            3 => Wire::Hole(usize::from(self.bits[7]) * 2),
            _ => Wire::Whole,
        }
    }

    /// Octets that the wire carries at once.
    fn piece(&self) -> usize {
        [1, 2, 3, 7, 64, 1 << 16][usize::from(self.bits[6] >> 2) % 6]
    }

    fn client(&self) -> client::Config {
        let tls = [client::Tls::Never, client::Tls::Opportunistic, client::Tls::Require, client::Tls::Verify]
            [usize::from(self.bits[0] & 3)];
        let protocol = if self.lmtp() { client::Protocol::Lmtp } else { client::Protocol::Smtp };
        let mut limits = client::Limits::default();
        limits.group = if self.bit(0, 3) { 2 } else { 100 };
        client::Config::new("client.example")
            .expect("a name")
            .tls(tls)
            .protocol(protocol)
            .limits(limits)
            .chunking(self.bit(0, 4))
            .newlines(if self.bit(0, 5) { Newlines::Convert } else { Newlines::Strict })
            .allow_plaintext_auth(self.bit(0, 6))
            .send_eight_bit_anyway(self.bit(0, 7))
    }

    const fn lmtp(&self) -> bool {
        self.bit(0, 2)
    }

    fn server(&self) -> server::Config {
        let policy = [Policy::Off, Policy::Offer, Policy::Require, Policy::Offer][usize::from(self.bits[1] & 3)];
        let mut extensions = Extensions::default();
        extensions.pipelining = self.bit(1, 2);
        extensions.chunking = self.bit(1, 3);
        extensions.binary_mime = self.bit(1, 3) && self.bit(1, 4);
        extensions.eight_bit_mime = self.bit(1, 5);
        extensions.size = self.bit(1, 6);
        let auth = if self.bit(1, 7) { MechanismSet::PASSWORD } else { MechanismSet::EMPTY };
        server::Config::new("mx.example.net")
            .and_then(|config| {
                config
                    .role(if self.lmtp() { Role::Lmtp } else { Role::Mx })
                    .extensions(extensions)
                    .tls(policy)
                    .auth(auth)
                    .allow_plaintext_auth(self.bit(2, 0))
                    .limits(server::Limits::default())
            })
            .expect("the usual limits")
    }
}

struct Pair {
    client: client::Session,
    server: Server,
    wire: Wire,
    piece: usize,
    /// What has been written and not yet arrived, and what has arrived and not been used.
    to_client: Vec<u8>,
    to_server: Vec<u8>,
    client_held: Vec<u8>,
    carried: usize,
    handshake: bool,
    verified: bool,
    client_wants: Want,
    turns: usize,
    clock: Duration,
}

/// The server with its application.
struct Server {
    session: server::Session,
    held: Vec<u8>,
    wants: Want,
    verdicts: std::vec::IntoIter<u8>,
    recipients: Vec<String>,
    text: Vec<u8>,
    /// Recipients for whom 250 was given, with the text.
    delivered: BTreeMap<String, Vec<u8>>,
}

impl Pair {
    fn new(case: &Case) -> Self {
        let implicit = case.bit(2, 1);
        let verified = case.bit(2, 2);
        let channel = |verified| if implicit { Channel::Tls(tls_info(verified)) } else { Channel::Plain };
        let mut client = client::Session::new(case.client().shared(), channel(verified));
        if case.bit(2, 3) {
            let password = if case.bit(2, 4) { "wrong" } else { "pencil" };
            client.authenticate(Credentials::password("user", password).expect("good"), Nonce::new(&[3; 18]));
        }
        let server = Server {
            session: server::Session::new(case.server().shared(), channel(false)),
            held: Vec::new(),
            wants: Want::Input,
            verdicts: case.verdicts.clone().into_iter(),
            recipients: Vec::new(),
            text: Vec::new(),
            delivered: BTreeMap::new(),
        };
        Self {
            client,
            server,
            wire: case.wire(),
            piece: case.piece(),
            to_client: Vec::new(),
            to_server: Vec::new(),
            client_held: Vec::new(),
            carried: 0,
            handshake: !case.bit(2, 5),
            verified,
            client_wants: Want::Input,
            turns: 0,
            clock: Duration::ZERO,
        }
    }

    fn transact<'e>(&mut self, transaction: &mut Transaction<'e>, mut next: Option<&mut Transaction<'e>>, case: &Case) {
        let pieces = usize::from(case.bits[3]) % 50 + 1;
        let mut text = &case.text[..];
        loop {
            self.turns += 1;
            assert!(self.turns < 200_000, "no end: {:?} {:?}", self.client, self.server.session.state());
            let held = std::mem::take(&mut self.client_held);
            let mut input = &held[..];
            let progress = transaction.step(&mut self.client, &mut input);
            self.client_held = input.to_vec();
            match progress {
                Progress::Done => {
                    self.flush_client();
                    return;
                }
                Progress::Text => {
                    let (piece, rest) = text.split_at(text.len().min(case.text.len() / pieces + 1));
                    let last = rest.is_empty();
                    let written = match (last, case.bit(4, 3)) {
                        (true, _) => transaction.finish_with(&mut self.client, piece),
                        (false, false) => transaction.write(&mut self.client, piece),
                        // Without a copy.
                        (false, true) => self.pass(transaction, piece),
                    };
                    match written {
                        Ok(()) => text = rest,
                        Err(client::TextError::Busy) => {}
                        Err(_) => text = b"",
                    }
                    if last && let Some(next) = &mut next {
                        transaction.lead(&mut self.client, next);
                    }
                    self.flush_client();
                    self.carry();
                }
                Progress::Want(want) => {
                    self.client_wants = want;
                    self.flush_client();
                    if !self.carry() {
                        self.stand_still();
                    }
                }
            }
        }
    }

    fn pass(&mut self, transaction: &mut Transaction<'_>, mut piece: &[u8]) -> Result<(), client::TextError> {
        loop {
            let next = transaction.piece(&mut self.client, &mut piece)?;
            self.flush_client();
            match next {
                Some(octets) => self.to_server.extend_from_slice(octets),
                None => return Ok(()),
            }
        }
    }

    fn flush_client(&mut self) {
        let output = self.client.output();
        self.to_server.extend_from_slice(output);
        let half = output.len() / 2;
        let rest = output.len() - half;
        self.client.sent(half);
        self.client.sent(rest);
    }

    /// Moves octets both ways, and does what is wanted; false when nothing moved.
    fn carry(&mut self) -> bool {
        let mut moved = false;
        if !self.to_server.is_empty() && !matches!(self.wire, Wire::Hole(after) if self.carried >= after) {
            let n = self.to_server.len().min(self.piece);
            self.server.held.extend(self.to_server.drain(..n));
            moved = true;
        }
        // The greeting comes unasked.
        self.server.turn();
        self.to_client.extend_from_slice(self.server.session.output());
        let n = self.server.session.output().len();
        self.server.session.sent(n);
        if let Wire::Cut(after) = self.wire
            && self.carried >= after
        {
            self.client.eof();
            self.server.session.eof();
            self.server.turn();
            return true;
        }
        let most = match self.wire {
            Wire::Cut(after) | Wire::Hole(after) => after - self.carried.min(after),
            Wire::Whole => usize::MAX,
        };
        let n = self.to_client.len().min(self.piece).min(most);
        if n > 0 {
            self.client_held.extend(self.to_client.drain(..n));
            self.carried += n;
            moved = true;
        }
        if self.to_client.is_empty() && self.to_server.is_empty() {
            if self.client_wants == Want::Tls && self.server.wants == Want::Tls && self.client_held.is_empty() {
                if self.handshake {
                    self.client.tls_established(tls_info(self.verified));
                    self.server.session.tls_established(tls_info(false));
                } else {
                    self.client.tls_failed(TlsFailure::Alert("unknown_ca".into()));
                    self.server.session.tls_failed(TlsFailure::Closed);
                }
                self.client_wants = Want::Input;
                self.server.turn();
                return true;
            }
            if self.server.wants == Want::Close && !moved && self.client_wants != Want::Close {
                self.client.eof();
                return true;
            }
        }
        moved
    }

    /// Both wait: only a wire that swallows explains it, and the clock ends it.
    fn stand_still(&mut self) {
        assert!(matches!(self.wire, Wire::Hole(_)), "both wait: {:?} {:?}", self.client, self.server.session.state());
        let (ours, theirs) = (self.client.timeout(), self.server.session.timeout());
        assert!(ours > Duration::ZERO && ours <= Duration::from_secs(600));
        self.clock += ours.min(theirs);
        assert!(self.clock <= Duration::from_secs(3600), "time-outs come to an end");
        if ours <= theirs || self.server.wants == Want::Close {
            self.client.timed_out();
        } else {
            self.server.session.timed_out();
            self.server.turn();
        }
    }

    /// What the server acknowledged is what the client reports.
    fn check(&self, transaction: &Transaction<'_>, case: &Case, tally: &mut Tally) {
        let expected = expected(case);
        for (index, outcome) in transaction.outcomes().enumerate() {
            let name = format!("r{index}@example.net");
            let acknowledged = self.server.delivered.get(&name);
            match outcome {
                Outcome::Accepted(reply) => {
                    assert_eq!(reply.code(), 250);
                    let text = acknowledged.unwrap_or_else(|| panic!("{name} was not acknowledged: {case:?}"));
                    assert!(expected.contains(text), "{} instead of {case:?}", text.escape_ascii());
                    let given = transaction.record(&self.client, 0).bytes;
                    assert_eq!(given, case.text.len() as u64, "what the ledger says: {case:?}");
                    tally.outcomes[0] += 1;
                }
                Outcome::Later(why) => {
                    assert_eq!(acknowledged, None, "{name} was acknowledged, and {why:?} told: {case:?}");
                    tally.outcomes[1] += 1;
                }
                Outcome::Never(why) => {
                    assert_eq!(acknowledged, None, "{name} was acknowledged, and {why:?} told: {case:?}");
                    tally.outcomes[2] += 1;
                }
                Outcome::Unknown(_) => {
                    // Only where the wire failed, or 421 came between: and what was acknowledged is the text.
                    assert!(acknowledged.is_none_or(|text| expected.contains(text)));
                    assert!(self.wire != Wire::Whole || case.lmtp(), "{case:?}");
                    tally.outcomes[3] += 1;
                }
                _ => panic!("an outcome that is not known here"),
            }
        }
        // A policy that asks for TLS is never broken.
        let tls = self.client.tls();
        if !self.server.delivered.is_empty() {
            match case.bits[0] & 3 {
                2 => assert!(tls.is_some()),
                3 => assert!(tls.is_some_and(|tls| tls.server_verified)),
                _ => {}
            }
            assert!(!case.bit(2, 3) || self.client.is_authenticated(), "mail without the AUTH that was asked for");
        }
    }
}

impl Server {
    fn turn(&mut self) {
        let held = std::mem::take(&mut self.held);
        let mut input = &held[..];
        loop {
            match self.session.step(&mut input) {
                Step::Event(event) => self.event(event),
                Step::Want(want) => {
                    self.wants = want;
                    break;
                }
            }
        }
        self.held = input.to_vec();
    }

    fn event(&mut self, event: server::Event<'_>) {
        use server::Event as E;
        match event {
            E::Chunk(chunk) => self.text.extend_from_slice(chunk),
            E::Reset => self.forget(),
            E::Connect(ticket) | E::Hello(_, ticket) | E::StartTls(ticket) | E::Data(ticket) => {
                self.decide(ticket);
            }
            E::Mail(_, ticket) => {
                self.forget();
                self.decide(ticket);
            }
            E::Rcpt(rcpt, ticket) => {
                if self.decide(ticket) {
                    self.recipients.push(rcpt.path.as_str().to_owned());
                }
            }
            E::Message(end, ticket) => {
                assert_eq!(end.octets, self.text.len() as u64);
                let accepted = self.decide(ticket);
                let whose = match end.recipient {
                    Some(index) => &self.recipients[index as usize..=index as usize],
                    None => &self.recipients[..],
                };
                if accepted {
                    self.delivered.extend(whose.iter().map(|name| (name.clone(), self.text.clone())));
                }
                if end.recipient.is_none_or(|index| index as usize + 1 == self.recipients.len()) {
                    self.forget();
                }
            }
            E::Auth(question, ticket) => {
                let answer = match question {
                    Question::Scram { .. } => Answer::Scram {
                        record: ScramRecord::derive("pencil", b"salt of this user", 4096).expect("a record"),
                        nonce: Nonce::new(&[7; 18]),
                    },
                    Question::Password { password, .. } if password.expose() == b"pencil" => Answer::Accept,
                    _ => Answer::Reject,
                };
                self.session.authenticate(ticket, answer);
            }
            E::Fault(_) | E::Closed(_) => {}
            _ => panic!("an event that is not known here"),
        }
    }

    fn forget(&mut self) {
        self.recipients.clear();
        self.text.clear();
    }

    fn decide(&mut self, ticket: Ticket) -> bool {
        let refusal = match self.verdicts.next().unwrap_or(0) % 16 {
            12 => Reply::plain(550, "No"),
            13 => Reply::plain(450, "Not now"),
            14 => Reply::plain(554, "Never"),
            15 => Reply::plain(421, "Enough"),
            _ => {
                self.session.answer(ticket, Verdict::Accept);
                return true;
            }
        };
        self.session.answer(ticket, Verdict::Refuse(refusal));
        false
    }
}

/// What may arrive: by DATA with a last CRLF, by BDAT as it is; converted, if that is asked for. By another way than the
/// writer's: octet by octet.
fn expected(case: &Case) -> Vec<Vec<u8>> {
    let mut text = Vec::new();
    let mut last = 0;
    for (at, &octet) in case.text.iter().enumerate() {
        let next = case.text.get(at + 1);
        match octet {
            b'\r' if next != Some(&b'\n') && case.bit(0, 5) => text.extend_from_slice(b"\r\n"),
            b'\n' if last != b'\r' && case.bit(0, 5) => text.extend_from_slice(b"\r\n"),
            octet => text.push(octet),
        }
        last = octet;
    }
    let mut ended = text.clone();
    if !text.is_empty() && !text.ends_with(b"\r\n") {
        ended.extend_from_slice(b"\r\n");
    }
    vec![ended, text, case.text.clone()]
}

fn tls_info(verified: bool) -> TlsInfo {
    let mut info = TlsInfo::new(TlsVersion::Tls13, "TLS_AES_128_GCM_SHA256".into());
    info.server_verified = verified;
    info.channel_binding = Some(vec![9; 32]);
    info
}
