//! Invariant 2: no allocation per command or per message in steady state, counted by the allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use smtp_proto::server::{Config, Event, Session, Verdict};
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

#[test]
fn a_message_in_steady_state_costs_no_allocation() {
    let mut session = Session::new(Arc::new(Config::new("mx.example.net").expect("a name")), Channel::Plain);
    run(&mut session, b"");
    run(&mut session, b"EHLO client.example\r\n");
    let mut message =
        b"EHLO client.example\r\nMAIL FROM:<a@example.org> SIZE=4096 BODY=8BITMIME\r\nRCPT TO:<b@example.net>\r\n\
        RCPT TO:<\"q s\"@example.net>\r\nNOOP\r\nDATA\r\n"
            .to_vec();
    message.extend_from_slice(&b"..A line of text with a dot in front of it.\r\nAnd one without.\r\n".repeat(64));
    message.extend_from_slice(b".\r\nRSET\r\nVRFY x\r\n");
    run(&mut session, &message);
    let before = COUNT.with(Cell::get);
    let mut messages = 0;
    for _ in 0..100 {
        messages += run(&mut session, &message).0;
    }
    assert_eq!(COUNT.with(Cell::get) - before, 0, "allocations in 100 messages");
    assert_eq!(messages, 100);
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
