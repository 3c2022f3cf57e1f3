//! The end: in order, and in time whatever peers do.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::program::{Client, PATIENCE, Program};

#[test]
fn a_peer_that_drips_does_not_hold_up_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = ["--listen", "127.0.0.1:0", "--tls", "off", "--deliver", "discard", "--drain", "1s"];
    let mut program = Program::serve(folder.path(), &options, 1);
    let mut client = Client::connect(&program.address(0));
    assert!(client.reply().starts_with("220 "));
    for line in ["EHLO c.example", "MAIL FROM:<a@c.example>", "RCPT TO:<b@c.example>", "DATA"] {
        assert!(client.say(line).starts_with(['2', '3']), "{line}");
    }
    program.signal(Signal::TERM);
    let began = Instant::now();
    // For its peer a message is in flight for as long as this goes on.
    while program.child.try_wait().expect("a child").is_none() && began.elapsed() < PATIENCE {
        client.drip(b"a line\r\n");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(program.ends_within(PATIENCE), Some(0));
}

#[test]
fn a_message_in_flight_completes_and_nothing_is_waited_for_then() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = ["--listen", "127.0.0.1:0", "--tls", "off", "--deliver", "maildir:mail"];
    let mut program = Program::serve(folder.path(), &options, 1);
    let mut client = Client::connect(&program.address(0));
    assert!(client.reply().starts_with("220 "));
    for line in ["EHLO c.example", "MAIL FROM:<a@c.example>", "RCPT TO:<b@c.example>", "DATA"] {
        assert!(client.say(line).starts_with(['2', '3']), "{line}");
    }
    program.signal(Signal::TERM);
    program.wait_for("the end to begin", |said| said.iter().any(|line| line.starts_with("ending")));
    assert!(client.say("Subject: x\r\n\r\nhello\r\n.").starts_with("250 "));
    assert!(client.rest().starts_with("421 "), "and it is told why no more is taken");
    drop(client);
    assert_eq!(program.ends_within(Duration::from_secs(10)), Some(0));
    assert_eq!(std::fs::read_dir(folder.path().join("mail/new")).expect("a Maildir").count(), 1);
}
