//! What `serve --ledger` notes of departures from the standards that were let pass.

use std::time::{Duration, Instant};

use super::program::{Client, PATIENCE, Program};

#[test]
fn a_leniency_stands_in_the_line_of_the_mail_that_it_let_pass() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = ["--listen", "127.0.0.1:0", "--lenient", "devices", "--deliver", "discard", "--ledger", "ledger"];
    let program = Program::serve(folder.path(), &options, 1);
    let deliver = |hello: &str, mail: &str, text: &str, again: bool| {
        let mut client = Client::connect(&program.address(0));
        client.reply();
        assert!(client.say(hello).starts_with("250"));
        for (mail, text) in
            [(mail, text), ("MAIL FROM:<b@a.example>", "Subject: x\r\n\r\ny")].into_iter().take(1 + usize::from(again))
        {
            assert!(client.say(mail).starts_with("250"), "{mail}");
            assert!(client.say("RCPT TO:<b@mx.example>").starts_with("250"));
            assert!(client.say("DATA").starts_with("354"));
            assert!(client.say(&format!("{text}\r\n.")).starts_with("250"));
        }
        client.say("QUIT");
    };
    // Of the transaction, and of the session, whose next message has the same name in EHLO.
    deliver("EHLO a_b", "MAIL FROM: <a@a.example>", "Subject: x\n\ny", true);
    deliver("EHLO a.example", "MAIL FROM:<a@a.example>", "Subject: x\r\n\r\ny", false);
    let deadline = Instant::now() + PATIENCE;
    let ledger = loop {
        let ledger = std::fs::read_to_string(folder.path().join("ledger")).expect("read");
        if ledger.lines().count() == 3 {
            break ledger;
        }
        assert!(Instant::now() < deadline, "{ledger}");
        std::thread::sleep(Duration::from_millis(20));
    };
    let lenient: Vec<Option<serde_json::Value>> = ledger
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON").get("lenient").cloned())
        .collect();
    let names = |names: &[&str]| Some(serde_json::json!(names));
    assert_eq!(lenient, [names(&["space-after-colon", "bare-lf-text", "helo-name"]), names(&["helo-name"]), None]);
}
