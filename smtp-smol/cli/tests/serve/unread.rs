//! Whoever does not read what the server writes does not stop it: standard output, the log, the ledger.

use std::io::{BufRead as _, BufReader};
use std::process::{ChildStderr, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use super::program::{Client, Program, command};

const SERVE: [&str; 7] = ["serve", "--listen", "127.0.0.1:0", "--tls", "off", "--deliver", "discard"];

/// More than a pipe and the queue before it take together.
const MANY: usize = 12_000;

/// Messages in one session; all are taken.
fn deliver_many(address: &str, many: usize) {
    let mut client = Client::connect(address);
    assert!(client.reply().starts_with("220 "));
    assert!(client.say("EHLO client.example").starts_with("250"));
    let message = "MAIL FROM:<a@client.example>\r\nRCPT TO:<b@mx.example.net>\r\nBDAT 4 LAST\r\nx:\r\n";
    let mut left = many;
    while left > 0 {
        let now = left.min(50);
        client.send(message.repeat(now).as_bytes());
        for _ in 0..3 * now {
            let reply = client.reply();
            assert!(reply.starts_with("250 "), "{reply}");
        }
        left -= now;
    }
}

#[test]
fn an_unread_standard_output_stops_neither_mail_nor_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut program = Program::start(command(folder.path(), &SERVE).stdout(Stdio::piped()), 1);
    for _ in 0..2 {
        deliver_many(&program.address(0), MANY / 2);
    }
    program.wait_for("a word about it", |said| said.iter().any(|line| line.contains("standard output is not read")));
    program.signal(Signal::TERM);
    assert_eq!(program.ends_within(Duration::from_secs(10)), Some(0));
}

#[test]
fn an_unread_pipe_as_ledger_stops_neither_mail_nor_the_end_nor_rotation() {
    let folder = tempfile::tempdir().expect("a folder");
    let fifo = folder.path().join("ledger");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().expect("mkfifo runs").success());
    // Open, so that writing to it waits, and never read.
    let _held = std::fs::OpenOptions::new().read(true).write(true).open(&fifo).expect("open");
    let mut serve = command(folder.path(), &[&SERVE[..], &["--ledger", "ledger"]].concat());
    let mut program = Program::start(serve.stdout(Stdio::null()), 1);
    deliver_many(&program.address(0), 6_000);
    program.signal(Signal::HUP);
    deliver_many(&program.address(0), 6_000);
    program.wait_for("a word about it", |said| said.iter().any(|line| line.contains("the ledger is not read")));
    program.signal(Signal::TERM);
    assert_eq!(program.ends_within(Duration::from_secs(10)), Some(0));
}

#[test]
fn an_unread_log_stops_neither_mail_nor_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut serve = command(folder.path(), &[&SERVE[..], &["--log", "debug"]].concat());
    let mut child = serve.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let mut stderr: BufReader<ChildStderr> = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut line = String::new();
    while !line.starts_with("listening on ") {
        line.clear();
        assert!(stderr.read_line(&mut line).expect("read") > 0, "it listens");
    }
    let address = line.split(' ').nth(2).expect("an address").to_owned();
    for _ in 0..3_000 {
        let mut client = Client::connect(&address);
        assert!(client.reply().starts_with("220 "));
        client.send(b"NONSENSE\r\nNONSENSE\r\nQUIT\r\n");
        assert!(client.rest().contains("\r\n221 "), "it answers");
    }
    deliver_many(&address, 100);
    let mut program = Program::of(child);
    program.signal(Signal::TERM);
    assert_eq!(program.ends_within(Duration::from_secs(10)), Some(0));
}
