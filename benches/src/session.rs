//! Whole transactions in memory, and inputs of a peer that means harm: the server's session with a handler that accepts.

use std::hint::black_box;
use std::sync::Arc;

use smtp_proto::server::{Config, Event, Limits, Session, Verdict};
use smtp_proto::{Channel, Step, Want};

/// The greeting, and EHLO.
pub fn begin() -> Session {
    let mut limits = Limits::default();
    (limits.faults, limits.idle_commands) = (u32::MAX, u32::MAX);
    (limits.transactions, limits.message, limits.discard) = (0, 0, u64::MAX);
    let config = Config::new("mx.example.net").and_then(|config| config.limits(limits)).expect("valid limits");
    let mut session = Session::new(Arc::new(config), Channel::Plain);
    let _ = feed(&mut session, b"");
    let _ = feed(&mut session, b"EHLO client.example\r\n");
    session
}

/// Hands in what lies in the buffer: messages accepted, octets left over, and whether the session has ended.
pub fn feed(session: &mut Session, mut input: &[u8]) -> (usize, usize, bool) {
    let mut messages = 0;
    loop {
        match session.step(&mut input) {
            Step::Event(
                Event::Connect(ticket)
                | Event::Hello(_, ticket)
                | Event::Mail(_, ticket)
                | Event::Rcpt(_, ticket)
                | Event::Data(ticket),
            ) => session.answer(ticket, Verdict::Accept),
            Step::Event(Event::Message(_, ticket)) => {
                messages += 1;
                session.answer(ticket, Verdict::Accept);
            }
            Step::Event(event) => {
                black_box(event);
            }
            Step::Want(want) => {
                let written = black_box(session.output()).len();
                session.sent(written);
                if want != Want::Output {
                    return (messages, input.len(), want != Want::Input);
                }
            }
        }
    }
}

/// The reads of one transaction with so many octets of text: in two groups (RFC 2920), or a command at a time.
pub fn transaction(octets: usize, pipelined: bool) -> Vec<Vec<u8>> {
    let envelope: [&[u8]; 3] =
        [b"MAIL FROM:<someone@sender.example>\r\n", b"RCPT TO:<someone@recipient.example>\r\n", b"DATA\r\n"];
    let line = b"The quick brown fox jumps over the lazy dog, and the dog does not mind at all.\r\n";
    let mut text: Vec<u8> = line.iter().copied().cycle().take(octets.max(2) - 2).collect();
    while matches!(text.last(), Some(b'\r' | b'\n')) {
        text.pop();
    }
    text.extend_from_slice(b"\r\n.\r\n");
    let mut reads = if pipelined { vec![envelope.concat()] } else { envelope.map(<[u8]>::to_vec).to_vec() };
    reads.push(text);
    reads
}

/// What a peer that means harm repeats: a name, and the octets.
pub const HOSTILE: &[(&str, &[u8])] = &[
    ("letters", b"abcdefgh"),
    ("CR", b"\r"),
    ("LF", b"\n"),
    ("CR LF", b"\r\n"),
    ("LF CR", b"\n\r"),
    ("CR CR LF", b"\r\r\n"),
    ("NUL", b"\0"),
    ("dots", b"."),
    ("lines of one dot more", b"..\r\n"),
    ("lines of one octet", b"x\r\n"),
    ("lines of 998", &LINE),
    ("NOOP", b"NOOP\r\n"),
    ("MAIL with parameters", PARAMETERS),
    (
        "MAIL with quotes",
        b"MAIL FROM:<\"\\q\\q\\q\\q\\q\\q\\q\\q\\q\\q\\q\\q\\q\\q\\q\\q\"@a.b.c.d.e.f.g.h.i.j.k.l.m.n>\r\n",
    ),
];

const LINE: [u8; 1000] = {
    let mut line = [b'x'; 1000];
    line[998] = b'\r';
    line[999] = b'\n';
    line
};

const PARAMETERS: &[u8] = b"MAIL FROM:<a@b.example> A=1 B=1 C=1 D=1 E=1 F=1 G=1 H=1 I=1 J=1 K=1 L=1 M=1 N=1 O=1 P=1 \
    Q=1 R=1 S=1 T=1 U=1 V=1 W=1 X=1 Y=1 Z=1 A1=1 B1=1 C1=1 D1=1 E1=1 F1=1 G1=1 H1=1 I1=1 J1=1 K1=1 L1=1 M1=1 N1=1 \
    O1=1 P1=1 Q1=1 R1=1 S1=1 T1=1 U1=1 V1=1 W1=1 X1=1 Y1=1 Z1=1 A2=1 B2=1 C2=1 D2=1 E2=1 F2=1 G2=1 H2=1 I2=1 J2=1\r\n";

/// Feeds that over and over, as text or as commands, in reads of so many octets. A session that gives up is followed by
/// the next.
pub fn attack(pattern: &[u8], as_text: bool, octets: usize, read: usize) {
    let octets: Vec<u8> = pattern.iter().copied().cycle().take(octets).collect();
    let open = || {
        let mut session = begin();
        if as_text {
            let _ = feed(&mut session, &transaction(0, true)[0]);
        }
        session
    };
    let (mut session, mut start, mut end) = (open(), 0, 0);
    while end < octets.len() {
        end = octets.len().min(end + read);
        let (_, left, ended) = feed(&mut session, &octets[start..end]);
        start = end - left;
        if ended {
            session = open();
        }
    }
}
