//! `sink` and `blast` as programs, against each other: every message is accounted for on both sides.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
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

/// Each verb is dropped the first time, refused the second, and then carried out.
#[test]
fn a_sink_misbehaves_at_every_verb() {
    // What is said, what it is called in rules, how it is refused, and how accepted; STARTTLS never is.
    let steps = [
        ("", "CONNECT", "421", "220"),
        ("EHLO c.example\r\n", "EHLO", "450", "250"),
        ("RSET\r\n", "RSET", "451", "250"),
        ("NOOP\r\n", "NOOP", "451", "250"),
        ("VRFY a\r\n", "VRFY", "550", "252"),
        ("HELP\r\n", "HELP", "451", "214"),
        ("STARTTLS\r\n", "STARTTLS", "454", ""),
        ("AUTH PLAIN AHVzZXIAcGVuY2ls\r\n", "AUTH", "535", "235"),
        ("MAIL FROM:<>\r\n", "MAIL", "450", "250"),
        ("RCPT TO:<a@x.example>\r\n", "RCPT", "550", "250"),
        ("DATA\r\n", "DATA", "451", "354"),
        (".\r\n", "MESSAGE", "554", "250"),
        ("MAIL FROM:<>\r\n", "MAIL", "450", "250"),
        ("RCPT TO:<a@x.example>\r\n", "RCPT", "550", "250"),
        ("BDAT 3 LAST\r\nx\r\n", "BDAT", "452", "250"),
        ("QUIT\r\n", "QUIT", "452", "221"),
    ];
    let (mut script, mut expected) = (String::new(), Vec::new());
    for (_, verb, code, _) in steps {
        let times = if verb == "STARTTLS" { 1000 } else { 1 };
        if !expected.contains(&format!("{verb} dropped")) {
            script += &format!("{verb} first 1 drop\n{verb} first {times} {code} Not so\n");
            expected.extend([format!("{verb} dropped"), format!("{verb} {code}")]);
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("script");
    std::fs::write(&file, script).expect("written");
    let sink = Sink::start(&["--auth", "--script", file.to_str().expect("UTF-8")]);
    let mut told: Vec<String> = Vec::new();
    // Each connection comes a step further.
    for _ in 0..2 * steps.len() {
        let socket = TcpStream::connect(&sink.addresses[0]).expect("connected");
        let mut lines = BufReader::new(&socket).lines();
        'steps: for (command, verb, refused, accepted) in steps {
            loop {
                (&socket).write_all(command.as_bytes()).expect("written");
                // The last line of the reply.
                let reply = lines.by_ref().map_while(Result::ok).find(|line| line.as_bytes()[3] == b' ');
                let Some(reply) = reply else {
                    told.push(format!("{verb} dropped"));
                    break 'steps;
                };
                if !reply.starts_with(accepted) || accepted.is_empty() {
                    assert!(reply.starts_with(refused), "{reply} to {command}");
                    told.push(format!("{verb} {refused}"));
                    match verb {
                        "STARTTLS" => break,
                        "CONNECT" | "MESSAGE" | "BDAT" => break 'steps,
                        _ => continue,
                    }
                }
                break;
            }
        }
    }
    // Of what is refused each time, once is enough.
    let mut seen = std::collections::HashSet::new();
    told.retain(|line| seen.insert(line.clone()));
    assert_eq!(told, expected);
    sink.stop();
}

/// Killed in the middle of it all, a sink has kept what it acknowledged, and each message whole.
#[test]
fn kill_9_leaves_no_acknowledged_message_half_written() {
    let folder = tempfile::tempdir().expect("a folder");
    for kind in ["maildir", "mbox"] {
        let place = folder.path().join(kind);
        let as_sent = if kind == "maildir" { "?newline=crlf" } else { "" };
        let mut sink = Sink::start(&["--deliver", &format!("{kind}:{}{as_sent}", place.display())]);
        let mut blast = Command::new(PROGRAM)
            .args(["blast", &sink.addresses[0], "--json", "--size", "20000", "--messages", "100000"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let kept = || match kind {
            "maildir" => std::fs::read_dir(place.join("new")).map_or(0, Iterator::count),
            _ => std::fs::metadata(&place).map_or(0, |file| usize::try_from(file.len() / 20_000).expect("small")),
        };
        while kept() < 200 {
            std::thread::yield_now();
        }
        sink.child.kill().expect("killed");
        sink.child.wait().expect("ended");
        let ended = Command::new("kill").args(["-INT", &blast.id().to_string()]).status().expect("told");
        assert!(ended.success());
        let mut told = String::new();
        blast.stdout.take().expect("piped").read_to_string(&mut told).expect("text");
        assert_eq!(blast.wait().expect("ended").code(), Some(1));
        let report: Value = serde_json::from_str(&told).expect("JSON");
        let accepted = report["accepted"].as_u64().expect("a number");
        let texts: Vec<Vec<u8>> = match kind {
            "maildir" => std::fs::read_dir(place.join("new"))
                .expect("read")
                .map(|file| std::fs::read(file.expect("read").path()).expect("read"))
                .collect(),
            _ => {
                let all = std::fs::read_to_string(&place).expect("read");
                let mut texts: Vec<_> = all.split("\n\nFrom ").map(|text| text.replace('\n', "\r\n").into()).collect();
                // The one it was killed in.
                texts.pop_if(|text: &mut Vec<u8>| text.len() < 20_000);
                texts
            }
        };
        assert!(texts.len() as u64 >= accepted && accepted >= 100, "{kind}: {} of {accepted}", texts.len());
        assert!(texts.iter().all(|text| text.len() >= 20_000), "{kind}: a message is not whole");
    }
}

#[test]
fn lmtp_answers_for_each_recipient() {
    let sink = Sink::start(&["--lmtp", "--tls", "off"]);
    let (report, code) = blast(&sink.addresses[0], &["--lmtp", "--messages", "100", "--recipients", "3"]);
    assert_eq!((&report["accepted"], code), (&100.into(), Some(0)), "{report}");
    assert_eq!(report["milliseconds"]["text"]["count"], 300);
    // RFC 2033 4.2, RFC 3030 2: likewise to the last chunk.
    let options = ["--lmtp", "--bdat", "--messages", "100", "--recipients", "3"];
    let (report, code) = blast(&sink.addresses[0], &options);
    assert_eq!((&report["accepted"], code), (&100.into(), Some(0)), "{report}");
    assert_eq!(
        (&report["milliseconds"]["text"]["count"], &report["milliseconds"]["DATA"]),
        (&300.into(), &Value::Null)
    );
    assert_eq!(sink.stop()["messages"], 200);
}

/// A message that is taken for some of its recipients is not all that was asked for.
#[test]
fn refused_recipients_are_counted_and_seen_in_the_exit_code() {
    let sink = Sink::start(&["--fail", "RCPT=450 4.2.1 Busy:0.5"]);
    let (report, code) = blast(&sink.addresses[0], &["--messages", "100", "--recipients", "4"]);
    assert_eq!((&report["accepted"], code), (&100.into(), Some(1)), "{report}");
    assert_eq!((&report["recipients_refused"], &report["errors"]["RCPT 450"]), (&200.into(), &200.into()), "{report}");
    sink.stop();
}

/// When all messages are accepted the blast is over, although other connections have not been greeted.
#[test]
fn a_server_that_greets_one_connection_alone_does_not_hold_up_the_end() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let begun = std::time::Instant::now();
    let server = std::thread::spawn(move || {
        let sockets: Vec<TcpStream> = (0..3).map(|_| listener.accept().expect("a client").0).collect();
        let mut socket = &sockets[0];
        socket.write_all(b"220 mx\r\n").expect("written");
        let mut in_text = false;
        for line in BufReader::new(&sockets[0]).lines().map_while(Result::ok) {
            let reply: &[u8] = match line.as_str() {
                "DATA" => b"354 go on\r\n",
                "." => b"250 taken\r\n",
                "QUIT" => b"221 bye\r\n",
                _ if in_text => continue,
                _ => b"250 ok\r\n",
            };
            in_text = line == "DATA";
            if socket.write_all(reply).is_err() || line == "QUIT" {
                break;
            }
        }
        sockets
    });
    let (report, code) = blast(&address, &["--connections", "3", "--messages", "3"]);
    assert_eq!((&report["accepted"], &report["failed"], code), (&3.into(), &0.into(), Some(0)), "{report}");
    assert!(begun.elapsed() < std::time::Duration::from_secs(30), "{:?}", begun.elapsed());
    server.join().expect("the server ended");
    // And a server that never greets counts as failed, in the time that was given.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address").to_string();
    let (report, code) = blast(&address, &["--messages", "1", "--timeout", "1s"]);
    assert_eq!((&report["failed"], code), (&1.into(), Some(1)), "{report}");
    assert!(begun.elapsed() < std::time::Duration::from_secs(60), "{:?}", begun.elapsed());
}

/// What is let pass is served, and counted by name.
#[test]
fn what_is_let_pass_is_counted() {
    let sink = Sink::start(&["--tls", "off", "--lenient", "helo-name", "--lenient", "bare-brackets"]);
    let mut client = TcpStream::connect(&sink.addresses[0]).expect("connected");
    let words = "HELO my_printer\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:c@d.example\r\nRCPT TO:e@f.example\r\nQUIT \r\n";
    client.write_all(words.as_bytes()).expect("written");
    let mut said = String::new();
    client.read_to_string(&mut said).expect("the end");
    assert_eq!(said.lines().map(|line| &line[..3]).collect::<Vec<_>>(), ["220", "250", "250", "250", "250", "221"]);
    let expected = serde_json::json!({"helo-name": 1, "bare-brackets": 2, "trailing-space": 1});
    assert_eq!(sink.stop()["let_pass"], expected);
}

/// What is refused is told with its mend, once each time.
#[test]
fn what_mends_a_refusal_is_told() {
    let mut child = Command::new(PROGRAM)
        .args(["sink", "--listen", "127.0.0.1:0", "--tls", "off", "--max-size", "65536"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines().map(|line| line.expect("text"));
    let address = lines.next().expect("a line").split(' ').nth(2).expect("an address").to_owned();
    let large = "x: y\r\n".repeat(20_000);
    for (text, mend) in [
        ("a: b\n\r\n.\r\n", "curl: --crlf), or give --lenient bare-lf-text"),
        ("a: b\rc\r\n.\r\n", "--lenient bare-cr-text"),
        ("a: \0\r\n.\r\n", "--lenient nul-text"),
        (&format!("{large}.\r\n"), "--max-size allows larger messages"),
        ("", "--lenient underscore-in-domain"),
    ] {
        let mut client = TcpStream::connect(&address).expect("connected");
        let rcpt = if text.is_empty() { "RCPT TO:<b@d_e.example>\r\n" } else { "RCPT TO:<b@d.example>\r\nDATA\r\n" };
        let words = format!("EHLO c.example\r\nMAIL FROM:<a@c.example>\r\n{rcpt}{text}QUIT\r\n");
        client.write_all(words.as_bytes()).expect("written");
        let mut said = String::new();
        client.read_to_string(&mut said).expect("the end");
        let told = lines.next().expect("a line");
        assert!(told.contains("refused: ") && told.contains(mend), "{told} without {mend}; {said}");
    }
    child.kill().expect("killed");
    child.wait().expect("ended");
}

/// Nothing that reads a sink, or drips into it, keeps it from ending.
#[test]
fn it_ends_whatever_others_do() {
    let begin = |options: &[&str]| {
        let mut child = Command::new(PROGRAM)
            .args(["sink", "--listen", "127.0.0.1:0", "--tls", "off"])
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
        let mut line = String::new();
        stderr.read_line(&mut line).expect("a line");
        (child, stderr, line.split(' ').nth(2).expect("an address").to_owned())
    };
    let end = |child: &mut Child, told: &dyn Fn()| {
        assert!(Command::new("kill").arg(child.id().to_string()).status().expect("told").success());
        let begun = std::time::Instant::now();
        while child.try_wait().expect("a child").is_none() {
            assert!(begun.elapsed() < std::time::Duration::from_secs(60), "it does not end");
            told();
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    };
    let words = "EHLO c.example\r\nMAIL FROM:<a@c.example>\r\nRCPT TO:<b@d.example>\r\nDATA\r\n";
    let (mut child, _stderr, address) = begin(&[]);
    let client = TcpStream::connect(&address).expect("connected");
    (&client).write_all(words.as_bytes()).expect("written");
    let mut lines = BufReader::new(&client).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.starts_with("354 ")));
    end(&mut child, &|| drop((&client).write_all(b"a line\r\n")));
    // A log that nobody reads: more lines than a pipe takes.
    let (mut child, _stderr, address) = begin(&["--lenient", "helo-name"]);
    for _ in 0..50 {
        let mut client = TcpStream::connect(&address).expect("connected");
        client.write_all(format!("{}QUIT\r\n", "HELO my_printer\r\n".repeat(50)).as_bytes()).expect("written");
        let mut said = String::new();
        client.read_to_string(&mut said).expect("the end");
        assert!(said.contains("\r\n221 "), "it answers");
    }
    end(&mut child, &|| ());
}

/// Mail for a reader who does not read is answered 452 when there is no more room for it, and holds up nobody. What was
/// accepted is there, each message whole, once it is read; and a sink that nobody reads can be ended all the same.
#[test]
fn mail_that_nobody_reads_holds_up_nobody() {
    let talk = |address: &str, text: &str| {
        let mut client = TcpStream::connect(address).expect("connected");
        let text = if text.is_empty() { String::new() } else { format!("DATA\r\n{text}.\r\n") };
        let words = format!("EHLO c.example\r\nMAIL FROM:<a@c.example>\r\nRCPT TO:<b@d.example>\r\n{text}QUIT\r\n");
        client.write_all(words.as_bytes()).expect("written");
        let mut said = String::new();
        client.read_to_string(&mut said).expect("the end");
        assert!(said.contains("\r\n221 "), "{said}");
        said
    };
    // Far more than a pipe takes.
    let text = format!("{}\r\n", "x".repeat(900)).repeat(1 << 10);
    let fill = |sink: &Sink| {
        let accepted = (0..1000).position(|_| talk(&sink.addresses[0], &text).contains("\r\n452 4.3.1 "));
        talk(&sink.addresses[0], "");
        accepted.expect("refused at some time")
    };
    let mut sink = Sink::start(&["--tls", "off", "--deliver", "json", "--stats", "1"]);
    let accepted = fill(&sink);
    assert!(accepted > 8, "{accepted}: so much may wait");
    let output = BufReader::new(sink.child.stdout.take().expect("piped"));
    let (tell, told) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in output.lines() {
            let line: Value = serde_json::from_str(&line.expect("text")).expect("JSON");
            if line["text"].as_str().is_some_and(|text| text.len() >= 900 << 10) {
                tell.send(()).expect("told");
            }
        }
    });
    while !talk(&sink.addresses[0], &text).contains("\r\n250 2.0.0 Message accepted") {}
    for _ in 0..=accepted {
        told.recv().expect("a message that was accepted");
    }
    assert!(Command::new("kill").arg(sink.child.id().to_string()).status().expect("told").success());
    assert_eq!(sink.child.wait().expect("ended").code(), Some(0));
    reader.join().expect("read to the end");
    assert_eq!(told.iter().count(), 0, "no more than were accepted");

    let mut sink = Sink::start(&["--tls", "off", "--deliver", "json"]);
    fill(&sink);
    assert!(Command::new("kill").arg(sink.child.id().to_string()).status().expect("told").success());
    assert_eq!(sink.child.wait().expect("ended").code(), Some(1));
}

#[test]
fn what_cannot_begin_is_told_in_a_line() {
    for (arguments, word) in [
        (vec!["sink", "--fail", "QUUX=450 Busy"], "--fail QUUX=450 Busy"),
        (
            vec!["sink", "--fail", "AUTH=550 No"],
            "--fail AUTH=550 No: AUTH is refused with 454 (not now) or 535 (wrong)",
        ),
        (
            vec!["sink", "--fail", "QUIT=250 Yes"],
            "--fail QUIT=250 Yes: \"250 Yes\" does not begin with a reply code of 400",
        ),
        (vec!["sink", "--drop", "RSET:half"], "--drop RSET:half: \"half\" is no share; give one of 0 to 1"),
        (vec!["sink", "--delay", "NOOP=soon"], "--delay NOOP=soon: \"soon\" is no time; give one such as 200ms"),
        (vec!["sink", "--lenient", "bare-lf"], "did you mean bare-lf-text?"),
        (vec!["sink", "--script", "/nonexistent"], "--script /nonexistent"),
        (vec!["blast", "127.0.0.1"], "HOST:PORT"),
        (vec!["send", "--from", "a@example.org"], "run smtp-smol send"),
        (vec!["blast", "127.0.0.1:1", "--to", "nobody"], "--to nobody"),
    ] {
        let done = Command::new(PROGRAM).args(&arguments).output().expect("run");
        assert_eq!(done.status.code(), Some(2), "{arguments:?}");
        let told = String::from_utf8_lossy(&done.stderr);
        // Nothing has begun to listen, and a line is enough.
        assert!(told.contains(word) && told.lines().count() == 1, "{arguments:?}: {told}");
    }
    // Nobody listens: each message is accounted for, and there is an end to it.
    let (report, code) = blast("127.0.0.1:1", &["--messages", "20"]);
    assert_eq!((&report["failed"], code), (&20.into(), Some(1)), "{report}");
    let (report, code) = blast("127.0.0.1:1", &["--duration", "1h"]);
    assert_eq!((&report["failed"], code), (&1000.into(), Some(1)), "{report}");
}
