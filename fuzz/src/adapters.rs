//! A connection of an adapter's, over a pair of sockets that no network knows, beside the core by itself: the same octets must have
//! the same replies, and the same messages must have been delivered, in TLS as in plaintext, wherever they are cut.
//!
//! The first octet chooses: bit 0 TLS from the first octet, bit 1 LMTP, bit 2 everything let pass, bit 3 STARTTLS offered, bit 4 a
//! client of TLS 1.2, bit 5 how the wire is cut. Then, with bit 5: two octets, after how many octets of the wire the client's side
//! ends, and up to 0xFF the lengths of what it writes at a time, again and again. The rest is what the client sends, inside TLS once
//! STARTTLS was answered 220; each octet 0xFF in it is a pause between two writes. Then the client ends its side.

#[path = "far_end.rs"]
mod far_end;

use std::os::unix::net::UnixStream;
use std::sync::{Arc, LazyLock, Mutex};

use rustls::ServerConfig;
use smtp_proto::server::{Config, Event, Role, Session, Verdict};
use smtp_proto::syntax::Reply;
use smtp_proto::tls::{Policy, TlsFailure, TlsInfo, TlsVersion};
use smtp_proto::{Channel, Leniencies, Step, Want};

use far_end::{Arrived, Begins, Manner};

/// What came of a conversation: what the server said, and what its handler has taken.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    said: String,
    taken: Vec<String>,
}

/// What is to be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Setup {
    pub tls: bool,
    lmtp: bool,
    lenient: bool,
    starttls: bool,
}

impl Setup {
    pub fn config(self) -> Arc<Config> {
        let role = if self.lmtp { Role::Lmtp } else { Role::Mx };
        let lenient = if self.lenient { Leniencies::ALL } else { Leniencies::STRICT };
        let policy = if self.starttls { Policy::Offer } else { Policy::Off };
        let config = Config::new("mx.example.net").expect("a name");
        config.role(role).tls(policy).lenient(lenient).shared()
    }
}

/// Both ends of a connection that is served. The server's is only looked at: whether it has read what was written.
pub struct Served {
    pub client: UnixStream,
    pub server: UnixStream,
    pub taken: Taken,
    /// Waits for its end.
    pub end: Box<dyn FnOnce()>,
}

/// Messages that were taken, by whichever handler.
pub type Taken = Arc<Mutex<Vec<String>>>;

pub type Serve = fn(Setup) -> Served;

pub fn run(data: &[u8], serve: Serve) {
    let Some((how, rest)) = data.split_first() else { return };
    let on = |bit: u8| how & (1 << bit) != 0;
    let setup = Setup { tls: on(0), lmtp: on(1), lenient: on(2), starttls: on(3) };
    let Some((manner, script)) = Manner::of(rest, on(4), on(5)) else { return };
    let pieces: Vec<&[u8]> = script.split(|octet| *octet == 0xff).collect();
    let octets = pieces.concat();
    let begins = match setup.tls {
        true => Some(Begins::default()),
        false => by_itself(setup, &octets, true).1,
    };

    let served = serve(setup);
    let (said, arrived) = far_end::converse(&served.client, served.server, manner, &pieces, begins);
    (served.end)();
    let taken = std::mem::take(&mut *served.taken.lock().expect("no panic"));
    let Arrived { octets: count, handshake } = arrived;
    let expected = match setup.tls && !handshake {
        true => Outcome::default(),
        false => by_itself(setup, &octets[..count], handshake).0,
    };
    assert_eq!(Outcome { said: said.escape_ascii().to_string(), taken }, expected);
}

/// Who is taken as a recipient, and what as a text: by what it is, so that all three decide alike.
pub fn takes_recipient(path: &str) -> bool {
    !path.starts_with('x')
}

pub fn takes_text(text: &[u8]) -> bool {
    !text.starts_with(b"x")
}

pub fn no() -> Verdict<'static> {
    Verdict::Refuse(const { Reply::fixed(550, (5, 7, 1), "No") })
}

/// The core, with the driver of its front page, and where TLS begins if STARTTLS is answered 220. Line by line, as a client has to
/// wait behind STARTTLS.
fn by_itself(setup: Setup, octets: &[u8], handshake: bool) -> (Outcome, Option<Begins>) {
    let tls = || TlsInfo::new(TlsVersion::Tls13, "TLS_AES_128_GCM_SHA256".into());
    let channel = if setup.tls { Channel::Tls(tls()) } else { Channel::Plain };
    let mut session = Session::new(setup.config(), channel);
    let mut lines = octets.split_inclusive(|octet| *octet == b'\n');
    let (mut input, mut read, mut ended, mut begins) = (&[][..], 0, false, None);
    let (mut said, mut text, mut outcome) = (Vec::new(), Vec::new(), Outcome::default());
    loop {
        match session.step(&mut input) {
            Step::Event(event) => match event {
                Event::Chunk(piece) => text.extend_from_slice(piece),
                Event::Rcpt(rcpt, ticket) => {
                    let verdict = if takes_recipient(rcpt.path.as_str()) { Verdict::Accept } else { no() };
                    session.answer(ticket, verdict);
                }
                Event::Message(_, ticket) => {
                    let takes = takes_text(&text);
                    if takes {
                        outcome.taken.push(text.escape_ascii().to_string());
                    }
                    session.answer(ticket, if takes { Verdict::Accept } else { no() });
                }
                Event::Reset => text.clear(),
                Event::Connect(ticket) | Event::Data(ticket) | Event::StartTls(ticket) => {
                    session.answer(ticket, Verdict::Accept);
                }
                Event::Hello(_, ticket) => session.answer(ticket, Verdict::Accept),
                Event::Mail(_, ticket) => session.answer(ticket, Verdict::Accept),
                Event::Fault(_) | Event::Closed(_) => {}
                other => panic!("unknown event {other:?}"),
            },
            Step::Want(want) => {
                said.extend_from_slice(session.output());
                session.sent(session.output().len());
                match want {
                    Want::Input if ended => panic!("more is wanted than there is"),
                    Want::Input => match lines.next() {
                        // What is left of the line before is nothing, or goes on.
                        Some(line) => {
                            let held = input.len();
                            input = &octets[read - held..read + line.len()];
                            read += line.len();
                        }
                        None => {
                            session.eof();
                            ended = true;
                        }
                    },
                    Want::Tls => {
                        begins = Some(Begins { behind: read, said: said.len() });
                        match handshake {
                            true => session.tls_established(tls()),
                            false => session.tls_failed(TlsFailure::Closed),
                        }
                    }
                    Want::Close => break,
                    Want::Output => {}
                    Want::Decision => panic!("every ticket has been answered"),
                }
            }
        }
    }
    outcome.said = said.escape_ascii().to_string();
    (outcome, begins)
}

pub static SERVER: LazyLock<Arc<ServerConfig>> = LazyLock::new(|| {
    let own = rcgen::generate_simple_self_signed(vec!["mx.example.net".to_owned()]).expect("a certificate");
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(smtp_rustls::provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key);
    Arc::new(config.expect("TLS"))
});
