//! A session, its driver and its application.

use std::sync::Arc;

use smtp_proto::auth::server::Answer;
use smtp_proto::auth::{Mechanism, MechanismSet};
use smtp_proto::server::{Config, Event, Role, Session, Ticket, Verdict};
use smtp_proto::syntax::{Enhanced, Reply};
use smtp_proto::tls::{Policy, TlsVersion};
use smtp_proto::{Channel, Step, TlsInfo, Want};

use crate::model::{Ask, Say, Setting};

/// The configuration that a setting stands for.
pub(crate) fn config(setting: &Setting) -> Arc<Config> {
    let role = match (setting.lmtp, setting.must_authenticate) {
        (true, _) => Role::Lmtp,
        (false, true) => Role::Submission,
        (false, false) => Role::Mx,
    };
    let tls = match (setting.offers_tls, setting.must_encrypt) {
        (false, _) => Policy::Off,
        (true, false) => Policy::Offer,
        (true, true) => Policy::Require,
    };
    let auth = if setting.offers_auth { Mechanism::Plain.into() } else { MechanismSet::EMPTY };
    let config = Config::new("mx.example.net").expect("a name").role(role).tls(tls).auth(auth);
    Arc::new(config.allow_plaintext_auth(setting.plaintext_auth).lenient(setting.lenient))
}

/// What a session did in one turn.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) codes: Vec<u16>,
    pub(crate) asked: Vec<Ask>,
    pub(crate) texts: Vec<Vec<u8>>,
    pub(crate) want: Option<Want>,
}

pub(crate) struct Rig {
    pub(crate) session: Session,
    held: Vec<u8>,
    text: Vec<u8>,
}

impl Rig {
    pub(crate) fn new(config: &Arc<Config>, setting: &Setting) -> Self {
        let channel = if setting.implicit_tls { Channel::Tls(tls()) } else { Channel::Plain };
        let mut session = Session::new(config.clone(), channel);
        if setting.trusted {
            session.trust();
        }
        let mut rig = Self { session, held: Vec::new(), text: Vec::new() };
        assert_eq!(rig.feed(b"", Say::Yes).codes, [220]);
        rig
    }

    pub(crate) fn tls_established(&mut self) {
        self.session.tls_established(tls());
        assert_eq!(self.feed(b"", Say::Yes).codes, [], "nothing is said first inside TLS (RFC 3207 4.2)");
    }

    /// The client sends this; the application says the same to all that it is asked.
    pub(crate) fn feed(&mut self, octets: &[u8], say: Say) -> Seen {
        self.feed_asking(octets, &mut || say)
    }

    pub(crate) fn feed_asking(&mut self, octets: &[u8], say: &mut dyn FnMut() -> Say) -> Seen {
        let mut seen = Seen::default();
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(octets);
        let mut input = &held[..];
        loop {
            match self.session.step(&mut input) {
                Step::Event(event) => self.event(event, say, &mut seen),
                Step::Want(want) => {
                    self.read_replies(&mut seen);
                    if want == Want::Output {
                        continue;
                    }
                    assert_ne!(want, Want::Decision, "all was answered");
                    seen.want = Some(want);
                    break;
                }
            }
        }
        self.held = input.to_vec();
        seen
    }

    fn event(&mut self, event: Event<'_>, say: &mut dyn FnMut() -> Say, seen: &mut Seen) {
        match event {
            Event::Connect(ticket) => self.session.answer(ticket, Verdict::Accept),
            Event::Hello(_, ticket) => self.answer(Ask::Hello, ticket, say(), seen),
            Event::StartTls(ticket) => self.answer(Ask::StartTls, ticket, say(), seen),
            Event::Mail(_, ticket) => self.answer(Ask::Mail, ticket, say(), seen),
            Event::Rcpt(_, ticket) => self.answer(Ask::Rcpt, ticket, say(), seen),
            Event::Data(ticket) => {
                self.text.clear();
                self.answer(Ask::Data, ticket, say(), seen);
            }
            Event::Message(end, ticket) => {
                assert_eq!(end.octets, self.text.len() as u64);
                seen.texts.push(self.text.clone());
                self.answer(Ask::Message, ticket, say(), seen);
            }
            Event::Auth(_, ticket) => {
                seen.asked.push(Ask::Auth);
                self.session.authenticate(
                    ticket,
                    match say() {
                        Say::Yes => Answer::Accept,
                        Say::Later => Answer::TemporaryFailure,
                        Say::Never | Say::HangUp => Answer::Reject,
                    },
                );
            }
            Event::Xclient(_, ticket) => self.answer(Ask::Xclient, ticket, say(), seen),
            Event::Xforward(_, ticket) => self.answer(Ask::Xforward, ticket, say(), seen),
            Event::Chunk(octets) => self.text.extend_from_slice(octets),
            Event::Reset => self.text.clear(),
            Event::Fault(_) | Event::Closed(_) => {}
            other => panic!("{other:?}"),
        }
    }

    fn answer(&mut self, ask: Ask, ticket: Ticket, say: Say, seen: &mut Seen) {
        seen.asked.push(ask);
        let refusal = |code, enhanced| Reply::new(code, Some(enhanced), "No").expect("a reply");
        let verdict = match say {
            Say::Yes => Verdict::Accept,
            Say::Later => Verdict::Refuse(refusal(450, Enhanced::new(4, 7, 1))),
            Say::Never => Verdict::Refuse(refusal(550, Enhanced::new(5, 7, 1))),
            Say::HangUp => Verdict::Refuse(refusal(421, Enhanced::new(4, 3, 2))),
        };
        self.session.answer(ticket, verdict);
    }

    /// RFC 5321 4.2: a reply is lines of one code, all but the last with `-`.
    fn read_replies(&mut self, seen: &mut Seen) {
        let output = String::from_utf8(self.session.output().to_vec()).expect("ASCII");
        let mut before = None;
        for line in output.split_terminator("\r\n") {
            let (code, mark) = (line[..3].parse::<u16>().expect("a code"), &line[3..4]);
            assert!(before.is_none_or(|before| before == code), "{output:?}");
            before = (mark == "-").then_some(code);
            if mark == " " {
                seen.codes.push(code);
            } else {
                assert_eq!(mark, "-", "{output:?}");
            }
        }
        assert!(before.is_none() && (output.is_empty() || output.ends_with("\r\n")), "{output:?}");
        self.session.sent(output.len());
    }

    /// The connection breaks: nothing that was not acknowledged may be taken for complete.
    pub(crate) fn end(mut self) {
        self.session.eof();
        let seen = self.feed(b"", Say::Yes);
        assert_eq!((seen.asked, seen.texts.len()), (Vec::new(), 0), "something was asked after the end");
        assert_eq!(seen.want, Some(Want::Close));
    }
}

fn tls() -> TlsInfo {
    TlsInfo::new(TlsVersion::Tls13, "TLS_AES_128_GCM_SHA256".into())
}
