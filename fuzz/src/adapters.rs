//! A connection of an adapter's, over a pair of sockets that no network knows, beside the core by itself: the same octets must have
//! the same replies, and the same messages must have been delivered.
//!
//! The first octet chooses: bit 0 TLS from the first octet, bit 1 LMTP, bit 2 everything let pass. The rest is what the client
//! sends, and then it ends its side; each octet 0xFF in it is a pause between two writes.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, LazyLock, Mutex};

use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};
use smtp_proto::server::{Config, Event, Role, Session, Verdict};
use smtp_proto::syntax::Reply;
use smtp_proto::tls::{Policy, TlsFailure, TlsInfo, TlsVersion};
use smtp_proto::{Channel, Leniencies, Step, Want};

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
}

impl Setup {
    pub fn config(self) -> Arc<Config> {
        let role = if self.lmtp { Role::Lmtp } else { Role::Mx };
        let lenient = if self.lenient { Leniencies::ALL } else { Leniencies::STRICT };
        let config = Config::new("mx.example.net").expect("a name");
        config.role(role).tls(Policy::Off).lenient(lenient).shared()
    }
}

/// Messages that were taken, by whichever handler.
pub type Taken = Arc<Mutex<Vec<String>>>;

/// Gives the client's end of a connection that is served, what is taken on it, and what waits for its end.
pub type Converse = fn(Setup) -> (UnixStream, Taken, Box<dyn FnOnce()>);

pub fn run(data: &[u8], converse: Converse) {
    let Some((how, script)) = data.split_first() else { return };
    let setup = Setup { tls: how & 1 != 0, lmtp: how & 2 != 0, lenient: how & 4 != 0 };
    let pieces: Vec<&[u8]> = script.split(|octet| *octet == 0xff).collect();
    let expected = by_itself(setup, &pieces.concat());

    let (socket, taken, end) = converse(setup);
    let said = if setup.tls { inside_tls(socket, &pieces) } else { plainly(&socket, &pieces) };
    end();
    let taken = std::mem::take(&mut *taken.lock().expect("no panic"));
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

/// The core, with the driver of its front page.
fn by_itself(setup: Setup, octets: &[u8]) -> Outcome {
    let channel = match setup.tls {
        true => Channel::Tls(TlsInfo::new(TlsVersion::Tls13, "TLS_AES_128_GCM_SHA256".into())),
        false => Channel::Plain,
    };
    let mut session = Session::new(setup.config(), channel);
    let (mut input, mut ended, mut said, mut text, mut outcome) =
        (octets, false, Vec::new(), Vec::new(), Outcome::default());
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
                    Want::Input => {
                        session.eof();
                        ended = true;
                    }
                    Want::Tls => session.tls_failed(TlsFailure::Closed),
                    Want::Close => break,
                    Want::Output => {}
                    Want::Decision => panic!("every ticket has been answered"),
                }
            }
        }
    }
    outcome.said = said.escape_ascii().to_string();
    outcome
}

/// Writes all in pieces, then ends its side, and reads to the end beside it. A server that has closed does not read the rest.
fn plainly(socket: &UnixStream, pieces: &[&[u8]]) -> Vec<u8> {
    let mut writer = socket.try_clone().expect("a descriptor");
    std::thread::scope(|scope| {
        let writing = scope.spawn(move || {
            let _ = pieces.iter().try_for_each(|piece| writer.write_all(piece));
            let _ = writer.shutdown(Shutdown::Write);
        });
        let said = to_the_end(socket);
        // The scope waits for what the thread does; only this also for what it gives back at its very end.
        writing.join().expect("no panic");
        said
    })
}

fn to_the_end(socket: &UnixStream) -> Vec<u8> {
    let mut said = Vec::new();
    let mut octets = [0; 4096];
    // A reset is the end, too.
    while let Ok(count @ 1..) = Uninterrupted(socket).read(&mut octets) {
        said.extend_from_slice(&octets[..count]);
    }
    said
}

/// Reads once more where a signal came between: libFuzzer looks at its clock by one every few seconds.
struct Uninterrupted<'s>(&'s UnixStream);

impl Read for Uninterrupted<'_> {
    fn read(&mut self, space: &mut [u8]) -> std::io::Result<usize> {
        loop {
            match self.0.read(space) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }
}

/// The same inside TLS, which ends by close_notify.
fn inside_tls(socket: UnixStream, pieces: &[&[u8]]) -> Vec<u8> {
    let name = "mx.example.net".try_into().expect("a name");
    let mut tls = ClientConnection::new(CLIENT.clone(), name).expect("a client");
    let mut socket = socket;
    tls.complete_io(&mut socket).expect("a handshake");
    // What came behind the handshake.
    let mut said = plaintext(&mut tls);
    let mut wire = Vec::new();
    for piece in pieces {
        tls.writer().write_all(piece).expect("to memory");
        while tls.wants_write() {
            tls.write_tls(&mut wire).expect("to memory");
        }
    }
    tls.send_close_notify();
    while tls.wants_write() {
        tls.write_tls(&mut wire).expect("to memory");
    }
    let mut rest = &plainly(&socket, &[&wire])[..];
    while !rest.is_empty() && tls.read_tls(&mut rest).is_ok_and(|count| count > 0) {
        said.extend(plaintext(&mut tls));
    }
    said
}

fn plaintext(tls: &mut ClientConnection) -> Vec<u8> {
    let state = tls.process_new_packets().expect("TLS to its end");
    let mut plain = vec![0; state.plaintext_bytes_to_read()];
    tls.reader().read_exact(&mut plain).expect("what there is");
    plain
}

static CLIENT: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
    let tls = smtp_rustls::ClientTls::new(RootCertStore::empty()).expect("TLS");
    tls.without_resumption().config(false).clone()
});

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
