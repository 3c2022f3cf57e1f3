//! Invariant 2: no allocation per command or per message in steady state, counted by the allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use smtp_proto::server::{Config, Event, Role, Session, Spare, Verdict};
use smtp_proto::{Channel, Step, Want};

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is handed on to the system's allocator unchanged.
#[allow(
    unsafe_code,
    clippy::undocumented_unsafe_blocks,
    reason = "an allocator cannot be written without it; tests only; see above"
)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn run(session: &mut Session, mut input: &[u8]) -> (usize, usize) {
    let (mut messages, mut written) = (0, 0);
    loop {
        match session.step(&mut input) {
            Step::Event(event) => match event {
                Event::Connect(t) | Event::StartTls(t) | Event::Data(t) | Event::Hello(_, t) => {
                    session.answer(t, Verdict::Accept);
                }
                Event::Mail(_, t) | Event::Rcpt(_, t) => session.answer(t, Verdict::Accept),
                Event::Message(_, t) => {
                    messages += 1;
                    session.answer(t, Verdict::Accept);
                }
                _ => {}
            },
            Step::Want(want) => {
                let n = session.output().len();
                written += n;
                session.sent(n);
                if want != Want::Output {
                    assert_eq!(want, Want::Input);
                    return (messages, written);
                }
            }
        }
    }
}

/// What a hundred rounds of the same dialogue cost, when one has gone before. Each piece is a read.
fn steady(role: Role, pieces: &[&[u8]]) -> u64 {
    let config = Config::new("mx.example.net").expect("a name").role(role).shared();
    let mut session = Session::new(config, Channel::Plain);
    run(&mut session, b"");
    run(&mut session, if role == Role::Lmtp { b"LHLO client.example\r\n" } else { b"EHLO client.example\r\n" });
    let mut round = || pieces.iter().map(|piece| run(&mut session, piece).0).sum::<usize>();
    let answers = round();
    assert!(answers > 0, "a message has come through");
    let before = COUNT.with(Cell::get);
    for _ in 0..100 {
        assert_eq!(round(), answers);
    }
    COUNT.with(Cell::get) - before
}

fn text() -> Vec<u8> {
    let mut text = b"..A line of text with a dot in front of it.\r\nAnd one without.\r\n".repeat(64);
    text.extend_from_slice(b".\r\n");
    text
}

#[test]
fn a_message_in_steady_state_costs_no_allocation() {
    let envelope = b"EHLO client.example\r\nMAIL FROM:<a@example.org> SIZE=4096 BODY=8BITMIME\r\n\
        RCPT TO:<b@example.net>\r\nRCPT TO:<\"q s\"@example.net>\r\n\
        NOOP\r\nDATA\r\n";
    let text = text();
    // All at once, in groups as RFC 2920 has it, and line by line.
    assert_eq!(steady(Role::Mx, &[&[&envelope[..], &text, b"RSET\r\nVRFY x\r\n"].concat()]), 0);
    assert_eq!(steady(Role::Mx, &[envelope, &text]), 0);
    let mut lines: Vec<_> = envelope.split_inclusive(|octet| *octet == b'\n').collect();
    lines.push(&text);
    assert_eq!(steady(Role::Mx, &lines), 0);
}

/// RFC 3030: chunks, the last of them empty; and BINARYMIME.
#[test]
fn a_message_in_chunks_costs_no_allocation() {
    let chunks =
        b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nBDAT 7\r\nHello\r\nBDAT 4\r\n.x\r\nBDAT 0 LAST\r\n\
        RSET\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nBDAT 7\r\nHello\r\nBDAT 9 LAST\r\nat once\r\n";
    assert_eq!(steady(Role::Mx, &[chunks]), 0);
    let halves = chunks.split_at(chunks.len() - 3);
    assert_eq!(steady(Role::Mx, &[halves.0, halves.1]), 0);
}

/// As where one thread drives many: while they wait they hold nothing of what they need for a message.
#[test]
fn messages_of_sessions_that_take_turns_cost_no_allocation() {
    let config = Config::new("mx.example.net").expect("a name").shared();
    let mut spare = Spare::default();
    let mut sessions: Vec<_> = (0..10).map(|_| Session::new(config.clone(), Channel::Plain)).collect();
    let mut turns = |pieces: &[&[u8]]| {
        for session in &mut sessions {
            for piece in pieces {
                session.lend(&mut spare);
                run(session, piece);
                session.release_to(&mut spare);
            }
        }
    };
    let text = text();
    let message = [&b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n"[..], &text];
    turns(&[b"", b"EHLO client.example\r\n"]);
    turns(&message);
    let before = COUNT.with(Cell::get);
    turns(&message);
    assert_eq!(COUNT.with(Cell::get) - before, 0);
}

/// RFC 2033 4.2: an answer for each recipient.
#[test]
fn a_message_by_lmtp_costs_no_allocation() {
    let envelope = b"MAIL FROM:<>\r\nRCPT TO:<a@example.net>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n";
    assert_eq!(steady(Role::Lmtp, &[envelope, &text()]), 0);
    let chunks = b"MAIL FROM:<>\r\nRCPT TO:<a@example.net>\r\nRCPT TO:<b@example.net>\r\nBDAT 7 LAST\r\nHello\r\n";
    assert_eq!(steady(Role::Lmtp, &[chunks]), 0);
}

/// What a client sends over a session that has been in use: nothing is allocated for it, by DATA or by BDAT.
#[test]
fn a_message_of_a_client_in_steady_state_costs_no_allocation() {
    use smtp_proto::client::{Config, Envelope, Outcome, Progress, Session, Tls, Transaction};
    use smtp_proto::syntax::{ForwardPath, Mailbox, Params, Rcpt, ReversePath};

    let sender = ReversePath::Mailbox(Mailbox::parse("a@example.org", false).expect("an address"));
    let to = ["b@example.net", "c@example.net"].map(|name| Rcpt {
        path: ForwardPath::Mailbox(Mailbox::parse(name, false).expect("an address")),
        params: Params::default(),
    });
    let text = b".A line of text with a dot in front of it.\r\nAnd one without.\r\n".repeat(64);
    let envelope = Envelope::new(sender, &to).size(text.len() as u64);
    for (ehlo, replies) in [
        (
            &b"250-mx\r\n250-SIZE\r\n250 PIPELINING\r\n"[..],
            [&b"250 ok\r\n250 ok\r\n550 no\r\n354 go\r\n"[..], b"250 taken\r\n"],
        ),
        (b"250-mx\r\n250-CHUNKING\r\n250 PIPELINING\r\n", [b"250 ok\r\n250 ok\r\n550 no\r\n250 taken\r\n", b""]),
    ] {
        let mut session =
            Session::new(Config::new("client.example").expect("a name").tls(Tls::Never).shared(), Channel::Plain);
        let mut transaction = Transaction::new(envelope);
        let (mut before, mut accepted) = (0, 0);
        for message in 0..110 {
            if message == 10 {
                before = COUNT.with(Cell::get);
            }
            let opening = [&b"220 mx\r\n"[..], ehlo];
            let mut server = opening.into_iter().filter(|_| message == 0).chain(replies);
            let mut input = &b""[..];
            loop {
                match transaction.step(&mut session, &mut input) {
                    Progress::Text => transaction.finish_with(&mut session, &text).expect("good"),
                    Progress::Done => break,
                    Progress::Want(want) => {
                        assert_eq!(want, Want::Input);
                        session.sent(session.output().len());
                        input = server.next().expect("something to say");
                    }
                }
            }
            accepted += transaction.outcomes().filter(Outcome::is_accepted).count();
            transaction = transaction.next(envelope);
        }
        assert_eq!(COUNT.with(Cell::get) - before, 0, "allocations in 100 messages");
        assert_eq!(accepted, 110);
    }
}

/// Nor is anything allocated where the next envelope goes out behind a text (RFC 2920 3.1).
#[test]
fn a_message_that_leads_the_next_costs_no_allocation() {
    use smtp_proto::client::{Config, Envelope, Progress, Session, Tls, Transaction};
    use smtp_proto::syntax::{ForwardPath, Params, Rcpt, ReversePath};

    let path = ForwardPath::parse("b@example.net", false).expect("an address");
    let to = [Rcpt { path, params: Params::default() }];
    let envelope = Envelope::new(ReversePath::Null, &to);
    let mut session =
        Session::new(Config::new("client.example").expect("a name").tls(Tls::Never).shared(), Channel::Plain);
    let (mut transaction, mut next) = (Transaction::new(envelope), Transaction::new(envelope));
    let opening = [&b"220 mx\r\n"[..], b"250-mx\r\n250 PIPELINING\r\n", b"250 ok\r\n250 ok\r\n354 go\r\n"];
    let mut server = opening.into_iter().chain(std::iter::repeat(&b"250 taken\r\n250 ok\r\n250 ok\r\n354 go\r\n"[..]));
    let (mut before, mut input) = (0, &b""[..]);
    for message in 0..110 {
        if message == 10 {
            before = COUNT.with(Cell::get);
        }
        loop {
            match transaction.step(&mut session, &mut input) {
                Progress::Text => {
                    transaction.finish_with(&mut session, b"Hello.\r\n").expect("good");
                    assert!(transaction.lead(&mut session, &mut next));
                }
                Progress::Done => break,
                Progress::Want(want) => {
                    assert_eq!(want, Want::Input);
                    session.sent(session.output().len());
                    input = server.next().expect("something to say");
                }
            }
        }
        assert!(transaction.outcomes().all(|outcome| outcome.is_accepted()));
        (transaction, next) = (next, transaction.next(envelope));
    }
    assert_eq!(COUNT.with(Cell::get) - before, 0, "allocations in 100 messages");
}
