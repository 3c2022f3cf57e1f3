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
