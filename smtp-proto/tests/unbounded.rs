//! Invariant 8: whatever a peer sends without end, in each place that looks as if it had none, the core holds no more of it
//! than it did after the first mebibyte. Counted by the allocator, in octets that are held at once.
//!
//! `UNBOUNDED_OCTETS=n` sends so many octets into each place; 1073741824 is what was promised. Then build with `--release`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use smtp_proto::auth::client::Credentials;
use smtp_proto::auth::server::Answer;
use smtp_proto::auth::{MechanismSet, Nonce};
use smtp_proto::client::{self, Envelope, Progress, Transaction};
use smtp_proto::proxy::{self, MAX_V2, ProxyError};
use smtp_proto::server::{Config, Event, Extensions, Limits, Role, Session, Verdict};
use smtp_proto::syntax::{ForwardPath, Mailbox, Params, Rcpt, ReversePath};
use smtp_proto::tls::{HelloReader, TlsInfo, TlsVersion};
use smtp_proto::{Channel, Step, Want};

struct Counting;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static MOST: Cell<usize> = const { Cell::new(0) };
}

fn held(more: usize, less: usize) {
    // What another thread allocated may be given back here.
    let now = (HELD.get() + more).saturating_sub(less);
    HELD.set(now);
    MOST.set(MOST.get().max(now));
}

// SAFETY: every call is handed on to the system's allocator unchanged.
#[allow(
    unsafe_code,
    clippy::undocumented_unsafe_blocks,
    reason = "an allocator cannot be written without it; tests only; see above"
)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        held(layout.size(), 0);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        held(0, layout.size());
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        held(size, layout.size());
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// After so many octets all that is ever held is held.
const FIRST: usize = 1 << 20;
/// But for the last words of a session whose bound lies further off, such as that on what is thrown away.
const LAST_WORDS: usize = 4 << 10;
/// A driver's buffer: octets that a session leaves over stay in it.
const BUFFER: usize = 64 << 10;
/// Of a read: no power of two, so that units are cut everywhere.
const READ: usize = 8191;

fn octets() -> usize {
    let told = std::env::var("UNBOUNDED_OCTETS").ok().map(|told| told.parse().expect("a number of octets"));
    told.unwrap_or(0).max(2 * FIRST)
}

/// A session under test, in the state that is looked at.
trait Place {
    /// Takes what it can off the input; false when the session is over.
    fn take(&mut self, input: &mut &[u8]) -> bool;
}

/// Sends `unit` again and again to sessions that `begin` brings to the place, and watches what is held.
fn endless<P: Place>(name: &str, unit: &[u8], mut begin: impl FnMut() -> P) {
    let stream = unit.repeat(READ / unit.len() + 2);
    let (mut sent, mut phase, mut filled, mut over) = (0, 0, 0, 0_u64);
    let mut buffer = vec![0; BUFFER];
    let mut place = begin();
    let start = HELD.get();
    MOST.set(start);
    let mut at_first = None;
    while sent < octets() {
        let n = READ.min(BUFFER - filled);
        assert!(n > 0, "{name}: more is left over than a buffer takes");
        buffer[filled..filled + n].copy_from_slice(&stream[phase..phase + n]);
        (sent, filled, phase) = (sent + n, filled + n, (phase + n) % unit.len());
        let mut input = &buffer[..filled];
        let goes_on = place.take(&mut input);
        let left = input.len();
        buffer.copy_within(filled - left..filled, 0);
        filled = left;
        if !goes_on {
            place = begin();
            (filled, phase, over) = (0, 0, over + 1);
        }
        if sent >= FIRST {
            let most = MOST.get();
            let first = *at_first.get_or_insert(most);
            assert!(most <= first + LAST_WORDS, "{name}: {} octets more are held after {sent}", most - first);
        }
    }
    println!("{name}: {sent} octets, {over} sessions ended by it, {} octets held at most", MOST.get() - start);
}

impl Place for Vec<u8> {
    fn take(&mut self, input: &mut &[u8]) -> bool {
        self.extend_from_slice(std::mem::take(input));
        true
    }
}

#[test]
#[should_panic(expected = "octets more are held after")]
fn what_grows_is_noticed() {
    endless("a vector", b"x", Vec::new);
}

impl Place for Session {
    fn take(&mut self, input: &mut &[u8]) -> bool {
        loop {
            match self.step(input) {
                Step::Event(event) => match event {
                    Event::Connect(t) | Event::StartTls(t) | Event::Data(t) | Event::Hello(_, t) => {
                        self.answer(t, Verdict::Accept);
                    }
                    Event::Mail(_, t) | Event::Rcpt(_, t) | Event::Message(_, t) => self.answer(t, Verdict::Accept),
                    Event::Xclient(_, t) | Event::Xforward(_, t) => self.answer(t, Verdict::Accept),
                    Event::Auth(_, t) => self.authenticate(t, Answer::Reject),
                    _ => {}
                },
                Step::Want(want) => {
                    self.sent(self.output().len());
                    match want {
                        Want::Output => {}
                        Want::Input => return true,
                        Want::Close => return false,
                        want => panic!("{want:?}"),
                    }
                }
            }
        }
    }
}

/// A server's session after these lines, which it must have taken.
fn server(config: &Arc<Config>, lines: &[u8]) -> Session {
    let mut session = Session::new(config.clone(), Channel::Tls(tls()));
    session.trust();
    let mut input = lines;
    assert!(session.take(&mut input) && input.is_empty(), "{}", lines.escape_ascii());
    session
}

fn tls() -> TlsInfo {
    TlsInfo::new(TlsVersion::Tls13, "TLS_AES_128_GCM_SHA256".into())
}

/// The bounds of a session are the usual ones; or as wide as they can be set, so that a session does not end early.
fn config(role: Role, wide: bool) -> Arc<Config> {
    let mut limits = Limits::default();
    if wide {
        (limits.message, limits.transactions, limits.discard) = (0, 0, u64::MAX);
        (limits.faults, limits.idle_commands) = (u32::MAX, u32::MAX);
    }
    let config = Config::new("mx.example.net").expect("a name").role(role).limits(limits).expect("limits");
    config.extensions(Extensions::default()).auth(MechanismSet::PASSWORD).shared()
}

const EHLO: &str = "EHLO client.example\r\n";
const ENVELOPE: &str = "EHLO client.example\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\n";

/// Every state of a server in which octets are taken, and what may come there without end.
#[test]
fn a_server_holds_no_more_of_what_has_no_end() {
    let text = format!("{ENVELOPE}DATA\r\n");
    let chunk = format!("{ENVELOPE}BDAT 18446744073709551615\r\n");
    let long = [&b"x".repeat(5000)[..], b"\r\n"].concat();
    let parameters = [b"MAIL FROM:<a@example.org>", &b" X=y".repeat(450)[..], b"\r\n"].concat();
    let places: &[(&str, &str, &[u8])] = &[
        ("a line before EHLO", "", b"x"),
        ("a command line", EHLO, b"x"),
        ("a command line of NUL", EHLO, b"\0"),
        ("a command line of CR", EHLO, b"\r"),
        ("lines that are too long", EHLO, &long),
        ("empty lines", EHLO, b"\r\n"),
        ("lines that end in LF", EHLO, b"NOOP\n"),
        ("commands that do nothing", EHLO, b"NOOP\r\n"),
        ("greetings", "", EHLO.as_bytes()),
        ("TLS inside TLS", EHLO, b"\x16\x03\x01\x02\x00\x01"),
        ("commands with many parameters", EHLO, &parameters),
        ("VRFY", EHLO, b"VRFY somebody with a name that is not short\r\n"),
        ("AUTH that is cancelled", EHLO, b"AUTH PLAIN\r\n*\r\n"),
        ("AUTH that is refused", EHLO, b"AUTH PLAIN AHVzZXIAcGVuY2ls\r\n"),
        ("a line of AUTH", "EHLO client.example\r\nAUTH PLAIN\r\n", b"A"),
        ("lines of AUTH", "EHLO client.example\r\nAUTH LOGIN\r\n", b"dXNlcg==\r\n"),
        ("envelopes", EHLO, b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nRSET\r\n"),
        ("recipients", "EHLO client.example\r\nMAIL FROM:<a@example.org>\r\n", b"RCPT TO:<b@example.net>\r\n"),
        ("XCLIENT", EHLO, b"XCLIENT NAME=client.example ADDR=192.0.2.7\r\n"),
        ("XFORWARD", EHLO, b"XFORWARD NAME=client.example ADDR=192.0.2.7\r\n"),
        ("a line of text", &text, b"x"),
        ("lines of text", &text, b"x\r\n"),
        ("empty lines of text", &text, b"\r\n"),
        ("dots", &text, b"..\r\n"),
        ("a header field", &text, b"a: b\r\n"),
        ("a header without an end", &text, b"Received: from a by b;\r\n "),
        ("CR in text", &text, b"\r"),
        ("LF in text", &text, b"\n.\n"),
        ("NUL in text", &text, b"\0"),
        ("messages", EHLO, b"MAIL FROM:<>\r\nRCPT TO:<b@example.net>\r\nDATA\r\nx\r\n.\r\n"),
        ("a chunk", &chunk, b"x"),
        ("chunks of one octet", ENVELOPE, b"BDAT 1\r\nx"),
        ("chunks of nothing", ENVELOPE, b"BDAT 0\r\n"),
        ("chunks that are refused", EHLO, b"BDAT 9\r\nQUIT\r\nxxx"),
    ];
    for (wide, usual) in [(true, "wide bounds"), (false, "the usual bounds")] {
        let config = config(Role::Mx, wide);
        for (name, lines, unit) in places {
            // The usual bounds refuse a chunk of such a size at its command.
            if !wide && lines.contains("BDAT") {
                continue;
            }
            endless(&format!("{name}, {usual}"), unit, || server(&config, lines.as_bytes()));
        }
    }
    let config = config(Role::Lmtp, true);
    let lines = "LHLO client.example\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\n";
    endless("chunks, by LMTP", b"BDAT 1\r\nx", || server(&config, lines.as_bytes()));
}

struct Client<'e> {
    session: client::Session,
    transaction: Transaction<'e>,
}

impl Place for Client<'_> {
    fn take(&mut self, input: &mut &[u8]) -> bool {
        loop {
            let progress = self.transaction.step(&mut self.session, input);
            self.session.sent(self.session.output().len());
            match progress {
                Progress::Done => return false,
                Progress::Text => self.transaction.finish_with(&mut self.session, b"Hello.\r\n").expect("good text"),
                Progress::Want(Want::Close) => return false,
                Progress::Want(Want::Output) => {}
                Progress::Want(_) => return true,
            }
        }
    }
}

/// Every state of a client in which a reply is waited for.
#[test]
fn a_client_holds_no_more_of_what_has_no_end() {
    let mailbox = |name| Mailbox::parse(name, false).expect("an address");
    let to = [Rcpt { path: ForwardPath::Mailbox(mailbox("b@example.net")), params: Params::default() }];
    let envelope = Envelope::new(ReversePath::Mailbox(mailbox("a@example.org")), &to);
    let config = client::Config::new("client.example").expect("a name").tls(client::Tls::Never).shared();
    // What the server has said before, a reply a read.
    let states: &[(&str, &[&str], bool)] = &[
        ("the greeting", &[], false),
        ("EHLO", &["220 mx"], false),
        ("AUTH", &["220 mx", "250-mx\r\n250 AUTH PLAIN LOGIN SCRAM-SHA-256"], true),
        ("MAIL", &["220 mx", "250 mx"], false),
        ("RCPT", &["220 mx", "250 mx", "250 ok"], false),
        ("a group", &["220 mx", "250-mx\r\n250 PIPELINING"], false),
        ("DATA", &["220 mx", "250 mx", "250 ok", "250 ok"], false),
        ("the end of the text", &["220 mx", "250 mx", "250 ok", "250 ok", "354 go"], false),
        ("chunks", &["220 mx", "250-mx\r\n250 CHUNKING", "250 ok", "250 ok"], false),
    ];
    let reply = [b"250-".to_vec(), b"x".repeat(400), b"\r\n".to_vec()].concat();
    let units: &[(&str, &[u8])] = &[
        ("a line", b"2"),
        ("a line of a reply", b"250-x 250-x "),
        ("short lines", b"250-x\r\n"),
        ("long lines", &reply),
        ("capabilities", b"250-X-CAPABILITY a b c\r\n"),
        ("replies", b"250 ok\r\n"),
        ("replies that go on", b"334 AAAA\r\n"),
        ("nothing but line ends", b"\r\n"),
        ("LF", b"220 x\n"),
        ("NUL", b"\0"),
    ];
    for (state, replies, login) in states {
        for (what, unit) in units {
            endless(&format!("{what}, in answer to {state}"), unit, || {
                let mut session = client::Session::new(config.clone(), Channel::Tls(tls()));
                if *login {
                    let known = Credentials::password("user", "pencil").expect("good");
                    session.authenticate(known, Nonce::new(&[1; 18]));
                }
                let mut place = Client { session, transaction: Transaction::new(envelope) };
                assert!(place.take(&mut &b""[..]));
                for reply in *replies {
                    let reply = format!("{reply}\r\n");
                    let mut words = reply.as_bytes();
                    assert!(place.take(&mut words) && words.is_empty(), "{state}: {reply}");
                }
                place
            });
        }
    }
}

impl Place for HelloReader {
    fn take(&mut self, input: &mut &[u8]) -> bool {
        self.feed(std::mem::take(input)) == Ok(false)
    }
}

/// A ClientHello (RFC 8446 4.1.2) in records of every size, which are themselves without end.
#[test]
fn a_hello_is_held_to_its_bound() {
    let record = [&b"\x16\x03\x01\x40\x00"[..], &[7; 0x4000]].concat();
    for (name, first, unit) in [
        ("records of 16 KiB", &b"\x16\x03\x01\x00\x04\x01\xff\xff\xff"[..], &record[..]),
        ("records of one octet", b"\x16\x03\x01\x00\x04\x01\xff\xff\xff", b"\x16\x03\x01\x00\x01\x07"),
        ("empty records", b"", b"\x16\x03\x01\x00\x00"),
        ("no record", b"", b"x"),
        ("NUL", b"", b"\0"),
    ] {
        endless(name, unit, || {
            let mut reader = HelloReader::default();
            let _ = reader.feed(first);
            reader
        });
    }
}

/// Of a PROXY header the caller holds [`MAX_V2`] octets at most: by then it is whole, or is none.
#[test]
fn a_proxy_header_ends_or_is_none() {
    let version_2 = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff"[..], &[0; 8192]].concat();
    for endless in
        [b"PROXY ".repeat(1000), b"PROXY TCP4 192.0.2.1".repeat(500), version_2, vec![0; 8192], vec![13; 8192]]
    {
        let told = proxy::parse(&endless[..MAX_V2]);
        assert!(told.is_err(), "{told:?}");
        assert_eq!(proxy::parse(&endless), told);
    }
    assert_eq!(proxy::parse(&b"PROXY UNKNOWN ".repeat(20)), Err(ProxyError::TooLong));
}

/// A session that waits long holds no more than it must, once its driver says so.
#[test]
fn released_memory_is_given_back() {
    let config = Config::new("mx.example.net").expect("a name").shared();
    let mut session = Session::new(config, Channel::Plain);
    let Step::Event(Event::Connect(ticket)) = session.step(&mut &b""[..]) else { panic!("no pause") };
    session.answer(ticket, Verdict::Accept);
    session.sent(session.output().len());
    session.release();
    let before = HELD.get();
    let mut take = |mut input: &[u8]| {
        assert!(session.take(&mut input) && input.is_empty());
        session.sent(session.output().len());
        let most = HELD.get();
        session.release();
        (most, HELD.get())
    };
    // What was let pass, and a fault: told, and forgotten, but for the client's name.
    let (most, after) = take(b"EHLO client.example \r\nHELLO\r\n");
    assert!(most > before && after <= before + "client.example".len(), "{before}, {most}, {after}");
    // A text that has been taken.
    let before = take(b"MAIL FROM:<>\r\nRCPT TO:<b@example.net>\r\n").1;
    let (most, after) = take(b"DATA\r\n.\r\n");
    assert!(most > before && after <= before, "{before}, {most}, {after}");
    let config = client::Config::new("client.example").expect("a name").shared();
    let mut session = client::Session::new(config, Channel::Plain);
    assert!(matches!(session.step(&mut &b"220 mx\r\n"[..]), Step::Event(_)));
    session.sent(session.output().len());
    let before = HELD.get();
    session.release();
    assert!(HELD.get() < before);
}
