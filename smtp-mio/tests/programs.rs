//! `sink` and `blast` as programs, against each other: every message is accounted for on both sides.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_smtp-mio");

struct Sink {
    child: Child,
    addresses: Vec<String>,
}

impl Sink {
    fn start(options: &[&str]) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(["sink", "--json", "--listen", "127.0.0.1:0", "--implicit-tls", "127.0.0.1:0"])
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let address = |line: String| line.split(' ').nth(2).expect("an address").trim_end_matches(',').to_owned();
        let addresses = (0..2).map(|_| address(lines.next().expect("a line").expect("text"))).collect();
        Self { child, addresses }
    }

    /// Ends it, and gives what it tells at the end.
    fn stop(mut self) -> Value {
        let ended = Command::new("kill").arg(self.child.id().to_string()).status().expect("told");
        assert!(ended.success());
        let output =
            BufReader::new(self.child.stdout.take().expect("piped")).lines().last().expect("a line").expect("text");
        assert!(self.child.wait().expect("ended").success());
        serde_json::from_str(&output).expect("JSON")
    }
}

/// Gives the report, and the exit code.
fn blast(address: &str, options: &[&str]) -> (Value, Option<i32>) {
    let done = Command::new(PROGRAM).args(["blast", address, "--json"]).args(options).output().expect("run");
    let report = serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{done:?}"));
    (report, done.status.code())
}

#[test]
fn every_message_is_accounted_for_on_both_sides() {
    let sink = Sink::start(&[]);
    let (plain, tls) = (&sink.addresses[0], &sink.addresses[1]);
    let ways: [(&str, &[&str]); 7] = [
        (plain, &["--size", "70000"]),
        (plain, &["--no-pipeline", "--recipients", "3"]),
        (plain, &["--bdat"]),
        (plain, &["--rate", "2000", "--connections", "3"]),
        (plain, &["--tls", "starttls", "--per-connection", "7"]),
        (plain, &["--tls", "starttls", "--per-connection", "1", "--resume"]),
        (tls, &["--tls", "implicit"]),
    ];
    for (address, options) in ways {
        let (report, code) = blast(address, &[options, &["--messages", "200"]].concat());
        assert_eq!(report["accepted"], 200, "{options:?}: {report}");
        assert_eq!((&report["refused"], &report["failed"], code), (&0.into(), &0.into(), Some(0)), "{report}");
        assert_eq!(report["milliseconds"]["message"]["count"], 200);
        if options.contains(&"--resume") {
            assert!(report["handshakes"]["resumed"].as_u64() > Some(150), "{report}");
        }
    }
    let told = sink.stop();
    assert_eq!((&told["messages"], &told["open"]), (&1400.into(), &0.into()), "{told}");
    assert_eq!(told["octets"], 200 * (70_000 + 6 * 4096));
    assert!(told["resumed"].as_u64() > Some(150), "{told}");
}

#[test]
fn what_is_refused_delayed_and_dropped_is_accounted_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("script");
    std::fs::write(&script, "MESSAGE with \"\" every 10 552 5.2.2 Full\n").expect("written");
    let kept = folder.path().join("kept");
    let deliver = format!("maildir:{}", kept.display());
    let sink = Sink::start(&[
        "--fail",
        "RCPT=450 4.2.1 Busy:0.1",
        "--delay",
        "DATA=1ms",
        "--drop",
        "CONNECT:0.5",
        "--script",
        script.to_str().expect("UTF-8"),
        "--deliver",
        &deliver,
    ]);
    let options = ["--messages", "1000", "--per-connection", "50", "--connections", "4"];
    let (report, code) = blast(&sink.addresses[0], &options);
    let count = |name: &str| report[name].as_u64().expect("a number");
    assert_eq!(count("accepted") + count("refused") + count("failed"), 1000, "{report}");
    assert_eq!(code, Some(1));
    // Every tenth recipient, then every tenth message of the rest.
    let sent = 1000 - count("failed");
    assert_eq!(report["errors"]["RCPT 450"], sent / 10);
    assert_eq!(report["errors"]["text 552"], (sent - sent / 10) / 10);
    assert!((10..40).contains(&count("failed")), "{report}");
    let files = |name: &str| std::fs::read_dir(Path::new(&kept).join(name)).expect("read").count() as u64;
    assert_eq!((files("new"), files("tmp")), (count("accepted"), 0));
    assert_eq!(sink.stop()["refused"], (sent - sent / 10) / 10);
}

#[test]
fn lmtp_answers_for_each_recipient() {
    let sink = Sink::start(&["--lmtp", "--tls", "off"]);
    let (report, code) = blast(&sink.addresses[0], &["--lmtp", "--messages", "100", "--recipients", "3"]);
    assert_eq!((&report["accepted"], code), (&100.into(), Some(0)), "{report}");
    assert_eq!(report["milliseconds"]["text"]["count"], 300);
    assert_eq!(sink.stop()["messages"], 100);
}

#[test]
fn what_cannot_begin_is_told_in_a_line() {
    for (arguments, word) in [
        (vec!["sink", "--fail", "QUUX=450 Busy"], "--fail QUUX=450 Busy"),
        (vec!["sink", "--script", "/nonexistent"], "--script /nonexistent"),
        (vec!["blast", "127.0.0.1"], "HOST:PORT"),
        (vec!["blast", "127.0.0.1:1", "--to", "nobody"], "--to nobody"),
    ] {
        let done = Command::new(PROGRAM).args(&arguments).output().expect("run");
        assert_eq!(done.status.code(), Some(2), "{arguments:?}");
        assert!(String::from_utf8_lossy(&done.stderr).contains(word), "{done:?}");
    }
    // Nobody listens: each message is accounted for, and there is an end to it.
    let (report, code) = blast("127.0.0.1:1", &["--messages", "20"]);
    assert_eq!((&report["failed"], code), (&20.into(), Some(1)), "{report}");
}
