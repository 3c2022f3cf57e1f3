//! Every file in `tests/transcripts/client` is a dialogue in the client's view, run with what the server says whole, byte
//! by byte, and at random splits. All must give the same commands, events and outcomes (invariant 3).
//!
//! ```text
//! # comment                config: tls=require lmtp=yes from=a@b.example to=c@d.example,e@f.example size=9 …
//! S: 220 mx.example.net    what the server says, CRLF added        S= raw, with \r \n \0 \t \\ \xNN; none added
//! C: EHLO client.example   what the client sends, complete         C= likewise raw
//! E: Ready                 an event, all of them
//! A: MAIL FROM:<a@b>       what the application does: a command;  bdat | write TEXT | finish TEXT | drop | quit
//! T: one|two               with to=…: a Transaction, and the pieces of its text
//! O: c@d.example accepted 250 Ok       its outcomes
//! ! tls | ! tls-verified | ! tls-failed | ! timeout | ! eof | ! abandon
//! wire: MUST order …       for `smtp-mio conform --client`: docs/conformance.md
//! ```
//!
//! Between two lines of the client nothing is lost, and nothing is sent that the file does not have.

mod common;

use common::client::Transcript;

#[test]
fn every_client_transcript_holds_at_every_split() {
    let files = common::transcripts("client");
    assert!(files.len() >= 120, "only {} transcripts found", files.len());
    let mut failures = Vec::new();
    for (name, text) in &files {
        let transcript = Transcript::parse(name, text);
        let expected = transcript.expected();
        let whole = transcript.run(&[usize::MAX]);
        if whole != expected {
            failures.push(format!("{name}:\n{whole:#?}\ninstead of\n{expected:#?}"));
            continue;
        }
        let splits = (1..20_u64).map(common::random_sizes).chain([vec![1]]);
        for sizes in splits.filter(|_| transcript.may_be_split()) {
            let split = transcript.run(&sizes);
            if split != expected {
                failures.push(format!("{name}, in pieces of {sizes:?}:\n{split:#?}\ninstead of\n{expected:#?}"));
                break;
            }
        }
    }
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn the_runner_notices_a_wrong_client_transcript() {
    for wrong in [
        "S: 220 mx.example.net\nC: EHLO other.example\n",
        "S: 220 mx.example.net\n",
        "S: 220 mx.example.net\nC: EHLO client.example\nE: Ready\n",
        "config: to=b@example.net\nS: 220 mx.example.net\nC: EHLO client.example\nO: b@example.net accepted 250 Ok\n",
    ] {
        let transcript = Transcript::parse("wrong", wrong);
        assert_ne!(transcript.run(&[usize::MAX]), transcript.expected(), "{wrong:?}");
    }
}
