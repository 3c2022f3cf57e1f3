//! Reading a ledger allocates nothing for a line once there is room: counted by the allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use smtp_audit::{Audit, Options};
use smtp_proto::tls::Condition;

struct Counting;

static COUNT: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is handed on to the system's allocator unchanged.
#[allow(
    unsafe_code,
    clippy::undocumented_unsafe_blocks,
    reason = "an allocator cannot be written without it; tests only; see above"
)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// So many lines of a few senders, as `serve` writes them.
fn ledger(lines: u32) -> String {
    let mut text = String::new();
    for line in 1..=lines {
        let (sender, minute, second) = (line % 8, line / 60 % 60, line % 60);
        let hour = line / 3600;
        writeln!(
            text,
            r#"{{"v":2,"node":"mx1.example.net","run":"6a1-3e8-0","seq":{line},"id":"{line}","time":"2026-11-{:02}T{:02}:{minute:02}:{second:02}.250Z","direction":"inbound","peer":"192.0.2.{sender}","helo":"mx.s{sender}.example","sender_domain":"s{sender}.example","recipient_domains":["example.net","example.org"],"recipients":2,"envelope":"{line:016x}","bytes":{line},"outcome":"accepted","tls":{{"outcome":"used","version":"TLS1.3","cipher":"TLS_AES_128_GCM_SHA256","client_certificate":"none","group":"x25519","offered_version":"TLS1.3","post_quantum":false}},"end_to_end":"none"}}"#,
            hour / 24 + 1,
            hour % 24,
        )
        .expect("written");
    }
    text
}

/// What reading it allocates, and how many pieces of 128 KiB it has at most.
fn allocations(lines: u32, jobs: usize) -> (u64, u64) {
    let text = ledger(lines);
    let mut audit = Audit::new(&Options { jobs, ..Options::default() });
    let before = COUNT.load(Ordering::Relaxed);
    audit.stream("ledger".as_ref(), text.as_bytes(), &()).expect("read");
    let told = COUNT.load(Ordering::Relaxed) - before;
    let report = audit.report(Condition::Tls).expect("a report").json();
    assert!(report.contains(&format!("\"read\": {lines}")), "{report}");
    (told, text.len() as u64 >> 17)
}

/// The second forty thousand lines, of known senders, take what their pieces take and nothing of their own.
#[test]
fn nothing_is_allocated_for_a_line() {
    for jobs in [1, 2] {
        let ((few, one), (many, two)) = (allocations(40_000, jobs), allocations(80_000, jobs));
        assert!(many - few <= 2 * (two - one) + 16, "{jobs}: {few} of {one} pieces, {many} of {two}");
        assert!(many < 2_000, "{many}");
    }
}
