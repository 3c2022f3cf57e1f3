//! Every file in `tests/transcripts/server` is a dialogue, run four ways: line by line (each reply where the file has
//! it), whole, byte by byte, and at random splits. All four must give the same replies, events and final state
//! (invariant 3).
//!
//! ```text
//! # comment                      config: tls=require max=70000 …   (before the first line of dialogue)
//! C: EHLO client.example         what the client sends, CRLF added      C= raw, with \r \n \0 \t \\ \xNN; none added
//! C! EHLO client.example\r\n     the same raw, and already there when the connection is made
//! S: 250 mx.example.net          a reply line, complete. Of a reply of many lines only the first is shown, unless the
//!                                file has a line such as `S: 250-…`: then all are
//! E: Message 12                  an event (if a file has any E line, it has them all; chunks are joined)
//! V: RCPT 550 5.1.1 Unknown      the verdict on the next RCPT (default: accept);  V: MAIL ok Some words
//! V: AUTH accept                 the answer to the next question of AUTH; also reject, temporary, as NAME, scram PASSWORD
//! ! tls | ! tls-failed | ! timeout | ! eof | ! shutdown
//! wire: MUST order …              for `smtp-mio conform`, which plays these on the wire: docs/conformance.md
//! W: 2 503                        the codes that will do there for the reply above;  W! WC: WS: lines of the wire alone
//! ```

mod common;

use common::{Item, Transcript};
use smtp_proto::Leniency;

#[test]
fn every_transcript_holds_at_every_split() {
    let files = common::transcripts("server");
    assert!(files.len() >= 120, "only {} transcripts found", files.len());
    let mut failures = Vec::new();
    for (name, text) in &files {
        let transcript = Transcript::parse(name, text);
        let expected = transcript.expected();
        let Ok(by_line) = std::panic::catch_unwind(|| transcript.run_by_line()) else {
            failures.push(format!("{name}, line by line: panicked"));
            continue;
        };
        if by_line != expected {
            failures.push(format!("{name}, line by line:\n{by_line:#?}\ninstead of\n{expected:#?}"));
            continue;
        }
        let splits = (1..20_u64).map(common::random_sizes);
        for sizes in [vec![usize::MAX], vec![1]].into_iter().chain(splits) {
            let split = transcript.run_split(&sizes);
            if split.flat() != expected.flat() {
                failures.push(format!("{name}, in pieces of {sizes:?}:\n{split:#?}\ninstead of\n{expected:#?}"));
            }
        }
    }
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}

/// Each leniency has a dialogue in which it is used and reported, and one without it that is refused.
#[test]
fn every_leniency_has_its_transcripts() {
    let files = common::transcripts("server");
    for leniency in Leniency::ALL {
        let text = |suffix: &str| {
            let name = format!("lenient-{leniency}{suffix}.txt");
            files.iter().find(|(file, _)| *file == name).unwrap_or_else(|| panic!("no {name}")).1.as_str()
        };
        let reported = format!("Lenient({leniency:?})");
        assert!(text("").contains(&reported) && !text("-off").contains("Lenient"), "{leniency}");
        assert!(text("-off").contains("S: 5"), "{leniency}");
    }
}

#[test]
fn the_runner_notices_a_wrong_transcript() {
    for wrong in [
        "S: 221 mx.example.net ESMTP\n",
        "S: 220 mx.example.net ESMTP\nC: NOOP\n",
        "S: 220 mx.example.net ESMTP\nE: Reset\n",
    ] {
        let transcript = Transcript::parse("wrong", wrong);
        assert_ne!(transcript.run_by_line(), transcript.expected(), "{wrong:?}");
        assert!(matches!(transcript.items.first(), Some(Item::Server(_))));
    }
}

#[test]
fn marks_for_the_wire_are_checked() {
    for wrong in [
        "wire: MUST\n",
        "wire: MUST colour\n",
        "wire: MUST order needs\n",
        "W: 2\n",
        "S: 220 mx.example.net ESMTP\nW: 4 5\n",
    ] {
        assert!(std::panic::catch_unwind(|| Transcript::parse("wrong", wrong)).is_err(), "{wrong:?}");
    }
}
