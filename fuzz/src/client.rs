//! A client session with a transaction, and a server that says anything.
//!
//! The first octet chooses the configuration. The rest is what the server says, but for the octets from 0xF0 on, which are
//! operations: so a seed reads like a dialogue, and mutations of it stay dialogues.
//!
//! | octet | |
//! |---|---|
//! | F1, F2, F3 | nothing came in time; the server's octets have ended; the application abandons |
//! | F4, F5 | the handshake is done; it has failed |
//! | F6 x | the octet `x`, whatever it is |

use smtp_proto::auth::Nonce;
use smtp_proto::auth::client::Credentials;
use smtp_proto::client::{
    Body, Config, Envelope, Limits, Outcome, Progress, Protocol, Session, State, Tls, Transaction,
};
use smtp_proto::syntax::{Command, ForwardPath, Mailbox, Options, Params, Rcpt, ReversePath};
use smtp_proto::tls::{TlsFailure, TlsInfo, TlsVersion};
use smtp_proto::{Channel, Want};

const TEXT: &[u8] = b"Subject: Hi\r\n\r\n.Hello.\r\n";

/// Never a hang, a panic or unbounded memory; and what the client says and reports must follow from what it was told.
pub fn run(data: &[u8]) {
    let Some((bits, script)) = data.split_first() else { return };
    // When octets arrive matters to a client (a reply may come too early), so there is no comparison of cuts here; the
    // transcripts do that.
    for size in [usize::MAX, 1, 3] {
        play(*bits, script, size);
    }
}

struct Run<'e> {
    session: Session,
    transaction: Transaction<'e>,
    held: Vec<u8>,
    sent: Vec<u8>,
    heard: Vec<u8>,
    encrypted_at: usize,
    done: bool,
    want: Want,
}

fn play(bits: u8, script: &[u8], size: usize) {
    let tls = [Tls::Never, Tls::Opportunistic, Tls::Require, Tls::Verify][usize::from(bits & 3)];
    let lmtp = bits & 4 != 0;
    let mut limits = Limits::default();
    (limits.reply.line, limits.reply.lines, limits.reply.total) = (600, 20, 3000);
    let config = Config::new("client.example")
        .expect("a name")
        .tls(tls)
        .protocol(if lmtp { Protocol::Lmtp } else { Protocol::Smtp })
        .limits(limits)
        .chunking(bits & 8 == 0);
    let to = ["b@example.net", "c@example.net"].map(|name| Rcpt {
        path: ForwardPath::Mailbox(Mailbox::parse(name, false).expect("an address")),
        params: Params::default(),
    });
    let mut envelope = Envelope::new(ReversePath::Null, &to);
    envelope.size = (bits & 16 != 0).then_some(TEXT.len() as u64);
    envelope.body = (bits & 32 != 0).then_some(Body::BinaryMime);
    let mut session = Session::new(config.shared(), Channel::Plain);
    if bits & 64 != 0 {
        session.authenticate(Credentials::password("user", "secret").expect("good"), Nonce::new(&[1; 18]));
    }
    let mut run = Run {
        session,
        transaction: Transaction::new(envelope),
        held: Vec::new(),
        sent: Vec::new(),
        heard: Vec::new(),
        encrypted_at: usize::MAX,
        done: false,
        want: Want::Input,
    };
    run.turn();
    let mut octets = Vec::new();
    let mut script = script.iter().copied();
    while let Some(octet) = script.next() {
        match octet {
            0xf6 => octets.extend(script.next()),
            0xf0.. => {
                run.feed(&mut octets, size);
                run.operate(octet);
            }
            octet => octets.push(octet),
        }
    }
    run.feed(&mut octets, size);
    run.session.eof();
    run.turn();
    assert!(run.done && run.session.state() == State::Closed, "the end of the connection is the end");
    run.check(tls, lmtp);
}

impl Run<'_> {
    fn feed(&mut self, octets: &mut Vec<u8>, size: usize) {
        for piece in octets.chunks(size.min(octets.len().max(1))) {
            if self.session.state() != State::Closed {
                self.held.extend_from_slice(piece);
                self.heard.extend_from_slice(piece);
                self.turn();
            }
        }
        octets.clear();
    }

    fn operate(&mut self, octet: u8) {
        match octet {
            0xf1 => self.session.timed_out(),
            0xf2 => self.session.eof(),
            0xf3 => self.session.abandon(),
            0xf4 if self.want == Want::Tls => {
                let mut info = TlsInfo::new(TlsVersion::Tls13, "TLS_AES_128_GCM_SHA256".into());
                info.server_verified = true;
                self.encrypted_at = self.sent.len();
                self.session.tls_established(info);
                assert!(self.session.offers().extensions().iter().next().is_none(), "what was learnt is forgotten");
            }
            0xf5 if self.want == Want::Tls => self.session.tls_failed(TlsFailure::Closed),
            _ => return,
        }
        self.turn();
    }

    fn turn(&mut self) {
        let held = std::mem::take(&mut self.held);
        let mut input = &held[..];
        for turns in 0.. {
            assert!(turns < 10_000, "{:?} goes round in circles", self.session);
            let progress = if self.done {
                match self.session.step(&mut input) {
                    smtp_proto::Step::Event(_) => continue,
                    smtp_proto::Step::Want(want) => Progress::Want(want),
                }
            } else {
                self.transaction.step(&mut self.session, &mut input)
            };
            match progress {
                Progress::Text => {
                    let _ = self.transaction.finish_with(&mut self.session, TEXT);
                }
                Progress::Done => {
                    self.done = true;
                    self.session.quit();
                }
                Progress::Want(want) => {
                    self.want = want;
                    break;
                }
            }
        }
        let output = self.session.output();
        self.sent.extend_from_slice(output);
        let n = output.len();
        self.session.sent(n);
        assert!(self.session.state() == State::Closed || input.len() <= 3000, "an unused rest is bounded");
        self.held = input.to_vec();
    }

    fn check(&self, tls: Tls, lmtp: bool) {
        // Everything in plaintext, and what it must not be.
        let plain = &self.sent[..self.sent.len().min(self.encrypted_at)];
        let said = |sent: &[u8], word: &[u8]| sent.windows(word.len()).any(|window| window == word);
        if tls.is_required() {
            for word in [&b"MAIL"[..], b"AUTH", b"HELO", b"Hello", b"DATA", b"RCPT"] {
                assert!(!said(plain, word), "{} in plaintext", word.escape_ascii());
            }
        }
        assert!(!said(plain, b"AUTH "), "credentials in plaintext");
        // A message was accepted only if everything that it needs was said, on both sides.
        let accepted = self.transaction.outcomes().filter(Outcome::is_accepted).count();
        if accepted > 0 {
            assert!(said(&self.sent, b"Hello."), "a text that was never sent");
            // RFC 5321 4.2: the first digit decides, be the code listed or not.
            let yes = |code: &&[u8]| matches!(code, [b'2', b'0'..=b'9', b'0'..=b'9']);
            let yes = self.heard.windows(3).filter(yes).count();
            // Greeting, EHLO, MAIL, RCPT, text.
            assert!(yes >= 5, "{yes} times yes");
            assert!(!lmtp || yes >= 4 + accepted);
        }
        // Every line that is no text is a command that parses.
        let mut text = false;
        for line in self.sent.split_inclusive(|octet| *octet == b'\n') {
            let bare = line.strip_suffix(b"\r\n").expect("every line ends in CRLF");
            let verb = bare.split(|octet| *octet == b' ').next().unwrap_or_default();
            if text || matches!(verb, b"Subject:" | b"" | b".Hello." | b"..Hello." | b"." | b"*") || !bare.is_ascii() {
                text &= bare != b".";
                continue;
            }
            let parsed = Command::parse(bare, &Options::new());
            // A response within AUTH is base64.
            let response = verb.iter().all(|octet| octet.is_ascii_alphanumeric() || b"+/=".contains(octet));
            assert!(parsed.is_ok() || response, "{}", bare.escape_ascii());
        }
    }
}
