//! `--except`: who may go on in plaintext where TLS is required, or rehearsed.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::program::{Client, PATIENCE, Program, output};

fn mail_from(program: &Program, hello: &str, from: &str) -> String {
    let mut client = Client::connect(&program.address(0));
    client.reply();
    client.say(hello);
    client.say(&format!("MAIL FROM:<{from}>"))
}

fn write(folder: &Path, list: &str) {
    std::fs::write(folder.join("list"), list).expect("written");
}

const REQUIRE: [&str; 8] = ["--listen", "127.0.0.1:0", "--tls", "require", "--except", "list", "--deliver", "discard"];

#[test]
fn those_in_the_list_pass_and_the_list_is_read_again() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "old.example # 3 messages, the last on 2026-11-24\n");
    let mut program = Program::serve(folder.path(), &REQUIRE, 1);
    let reply = |program: &Program, from| mail_from(program, "EHLO client.example", from);
    assert!(reply(&program, "a@news.old.example").starts_with("250 "));
    assert_eq!(reply(&program, "a@new.example"), "530 5.7.0 Must issue a STARTTLS command first\r\n");
    assert!(reply(&program, "").starts_with("530 "));
    assert!(mail_from(&program, "EHLO mx.old.example", "").starts_with("250 "), "a notice is its host's");
    assert!(mail_from(&program, "EHLO mx.old.example", "a@new.example").starts_with("530 "));
    // A list that is wrong changes nothing.
    write(folder.path(), "new.example\nx y\n");
    program.signal(Signal::HUP);
    program.wait_for("what is wrong", |said| said.iter().any(|line| line.contains("list: line 2 is neither")));
    assert!(reply(&program, "a@old.example").starts_with("250 "));
    write(folder.path(), "127.0.0.0/8\n");
    program.signal(Signal::HUP);
    let deadline = Instant::now() + PATIENCE;
    while !reply(&program, "a@new.example").starts_with("250 ") {
        assert!(Instant::now() < deadline, "the list was not read again");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_ledger_tells_who_passed_by_the_list_and_who_was_turned_away() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "old.example\n");
    let program = Program::serve(folder.path(), &[&REQUIRE[..], &["--ledger", "ledger"]].concat(), 1);
    let mut client = Client::connect(&program.address(0));
    client.reply();
    client.say("EHLO client.example");
    client.say("MAIL FROM:<a@old.example>");
    client.say("RCPT TO:<b@mx.example>");
    client.say("DATA");
    assert!(client.say("Subject: x\r\n\r\ny\r\n.").starts_with("250 "));
    client.say("QUIT");
    mail_from(&program, "EHLO client.example", "a@new.example");
    let deadline = Instant::now() + PATIENCE;
    let ledger = loop {
        let ledger = std::fs::read_to_string(folder.path().join("ledger")).expect("read");
        if ledger.lines().count() == 2 {
            break ledger;
        }
        assert!(Instant::now() < deadline, "{ledger}");
        std::thread::sleep(Duration::from_millis(20));
    };
    let lines: Vec<_> = ledger.lines().collect();
    assert!(
        lines[0].contains(r#""sender_domain":"old.example""#) && lines[0].contains(r#""excepted":true"#),
        "{ledger}"
    );
    assert!(lines[1].contains(r#""sender_domain":"new.example""#), "{ledger}");
    assert!(lines[1].contains(r#""outcome":"tls-required""#) && !lines[1].contains("excepted"), "{ledger}");
}

#[test]
fn who_is_in_the_list_is_not_asked_by_a_rehearsal() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "old.example\n");
    let options = [
        "--listen",
        "127.0.0.1:0",
        "--tls",
        "rehearse",
        "--except",
        "list",
        "--deliver",
        "discard",
        "--state",
        "state",
    ];
    let program = Program::serve(folder.path(), &options, 1);
    for (from, code) in [("a@old.example", "250 "), ("a@new.example", "450 ")] {
        let mut client = Client::connect(&program.address(0));
        client.reply();
        client.say("EHLO client.example");
        assert!(client.say(&format!("MAIL FROM:<{from}>")).starts_with("250 "));
        assert!(client.say("RCPT TO:<b@mx.example>").starts_with(code), "{from}");
    }
}

#[test]
fn it_may_stand_in_the_file_and_in_the_environment_and_needs_something_to_be_excepted_from() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "old.example\n");
    for (file, told) in [
        ("tls = \"require\"\nexcept = \"list\"\n", None),
        ("except = \"list\"\n", Some("error: --except list: TLS is not required, so nobody is excepted from it;")),
        ("tls = \"require\"\nexcept = \"none\"\n", Some("error: --except none: No such file")),
    ] {
        std::fs::write(folder.path().join("x.toml"), file).expect("written");
        let done = output(folder.path(), &["check-config", "x.toml"]);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        match told {
            None => assert!(done.status.success(), "{said}"),
            Some(told) => assert!(done.status.code() == Some(2) && said.starts_with(told), "{said}"),
        }
    }
    let mut serve = super::program::command(folder.path(), &["serve", "--listen", "127.0.0.1:0", "--tls", "require"]);
    let program = Program::start(serve.env("SMTP_SMOL_EXCEPT", "list").env("SMTP_SMOL_DELIVER", "discard"), 1);
    assert!(mail_from(&program, "EHLO client.example", "a@old.example").starts_with("250 "));
}
