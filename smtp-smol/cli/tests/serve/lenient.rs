//! Each leniency by its name, over a socket: without it refused, with it and in `devices` let pass, and counted.

use std::fmt::Write as _;

use rustix::process::Signal;

use super::program::{Client, PATIENCE, Program};
use super::seeing::{get, seen_at};

/// What is said, each piece with one reply, and the code of the last one without and with the leniency.
struct Row {
    name: &'static str,
    in_devices: bool,
    /// Without it, and what else the listeners are set to.
    without: &'static str,
    with: &'static str,
    said: &'static [&'static str],
    codes: (&'static str, &'static str),
}

const fn row(
    name: &'static str,
    in_devices: bool,
    said: &'static [&'static str],
    codes: (&'static str, &'static str),
) -> Row {
    Row { name, in_devices, without: "", with: "", said, codes }
}

const BEFORE_TEXT: [&str; 4] =
    ["EHLO c.example\r\n", "MAIL FROM:<a@c.example>\r\n", "RCPT TO:<b@mx.example.net>\r\n", "DATA\r\n"];

const fn text(text: &'static str) -> [&'static str; 5] {
    let [hello, mail, rcpt, data] = BEFORE_TEXT;
    [hello, mail, rcpt, data, text]
}

const SUBMISSION: &str = "role = \"submission\"\nusers = \"users\"\nplaintext_auth = true\n";

static ROWS: [Row; 15] = [
    row("space-after-colon", true, &["EHLO c.example\r\n", "MAIL FROM: <a@c.example>\r\n"], ("501", "250")),
    Row {
        without: "lenient = \"none\"\n",
        ..row("trailing-space", true, &["EHLO c.example\r\n", "MAIL FROM:<a@c.example> \r\n"], ("501", "250"))
    },
    row("bare-lf-commands", true, &["HELO c.example\n"], ("500", "250")),
    row("bare-lf-text", true, &text("a: b\n\r\n.\r\n"), ("554", "250")),
    row("bare-cr-text", false, &text("a: b\rc\r\n.\r\n"), ("554", "250")),
    row("nul-text", false, &text("a: \0\r\n.\r\n"), ("554", "250")),
    row("bare-brackets", true, &["EHLO c.example\r\n", "MAIL FROM:a@c.example\r\n"], ("501", "250")),
    row("helo-name", true, &["HELO my_printer\r\n"], ("501", "250")),
    row("dots-in-local-part", false, &["EHLO c.example\r\n", "MAIL FROM:<a..b.@c.example>\r\n"], ("501", "250")),
    row("underscore-in-domain", true, &["EHLO c.example\r\n", "MAIL FROM:<a@b_c.example>\r\n"], ("501", "250")),
    row("no-domain", true, &["EHLO c.example\r\n", "MAIL FROM:<root>\r\n"], ("501", "250")),
    Row {
        without: "greet_pause = \"1m\"\n",
        with: "greet_pause = \"4s\"\n",
        ..row("early-talkers", true, &["EHLO c.example\r\n"], ("554", "220"))
    },
    Row {
        without: SUBMISSION,
        with: SUBMISSION,
        ..row("auth-after-helo", true, &["HELO c.example\r\n", "AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n"], ("503", "235"))
    },
    // The server bounds no line, so that it is but counted.
    row("long-lines", true, &text(LONG), ("250", "250")),
    row("utf8-without-smtputf8", false, &["EHLO c.example\r\n", "MAIL FROM:<j\u{fc}rg@c.example>\r\n"], ("553", "250")),
];

const LONG: &str = {
    const OCTETS: [u8; 1200] = {
        let mut octets = [b'x'; 1200];
        (octets[0], octets[1], octets[2]) = (b'a', b':', b' ');
        (octets[1195], octets[1196], octets[1197]) = (b'\r', b'\n', b'.');
        (octets[1198], octets[1199]) = (b'\r', b'\n');
        octets
    };
    match std::str::from_utf8(&OCTETS) {
        Ok(text) => text,
        Err(_) => panic!("ASCII"),
    }
};

/// The code of the last reply.
fn last_code(address: &str, row: &Row) -> String {
    let mut client = Client::connect(address);
    let mut reply = if row.name == "early-talkers" { String::new() } else { client.reply() };
    for said in row.said {
        client.send(said.as_bytes());
        reply = client.reply();
    }
    reply.get(..3).unwrap_or_default().to_owned()
}

#[test]
fn each_leniency_lets_pass_what_it_names_and_is_counted() {
    assert!(ROWS.iter().map(|row| row.name).eq(smtp_proto::Leniency::ALL.iter().map(|each| each.as_str())));
    let folder = tempfile::tempdir().expect("a folder");
    let mut file = "deliver = \"discard\"\ntls = \"off\"\nmetrics = \"127.0.0.1:0\"\nlog = \"off\"\n".to_owned();
    // Three listeners for each: without, with, and with the set.
    for Row { name, without, with, .. } in &ROWS {
        for (settings, lenient) in [(without, ""), (with, *name), (with, "devices")] {
            let lenient = if lenient.is_empty() { String::new() } else { format!("lenient = \"{lenient}\"\n") };
            let _ = write!(file, "\n[[listener]]\nlisten = \"127.0.0.1:0\"\n{settings}{lenient}");
        }
    }
    std::fs::write(folder.path().join("x.toml"), file).expect("written");
    std::fs::write(folder.path().join("users"), "alice:{PLAIN}secret\n").expect("written");
    let mut program = Program::serve(folder.path(), &["--config", "x.toml"], 3 * ROWS.len());
    let mut wrong = Vec::new();
    for (at, row) in ROWS.iter().enumerate() {
        let (without, with) = row.codes;
        let in_devices = if row.in_devices { with } else { without };
        for (which, expected) in [without, with, in_devices].into_iter().enumerate() {
            let code = last_code(&program.address(3 * at + which), row);
            if code != expected {
                wrong.push(format!("{} {}: {code}, not {expected}", row.name, ["without", "with", "devices"][which]));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let at = &seen_at(&mut program);
    let (_, numbers) = get(at, "/metrics");
    let mut told = Vec::new();
    for Row { name, in_devices, .. } in &ROWS {
        let count = 1 + u8::from(*in_devices);
        let line = format!("smtp_smol_leniencies_total{{name=\"{name}\"}} {count}\n");
        assert!(numbers.contains(&line), "no {line} in {numbers}");
        told.push(format!("{name} {count}"));
    }
    program.signal(Signal::TERM);
    assert_eq!(program.ends_within(PATIENCE), Some(0));
    let report = format!("  let pass by --lenient: {}", told.join(", "));
    program.wait_for("the report", |said| said.contains(&report));
}
