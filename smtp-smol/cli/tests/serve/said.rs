//! What was said is seen: in the log and on standard output, and so that no peer can forge it.

use std::io::Read as _;
use std::process::Stdio;

use rustix::process::Signal;

use super::program::{Client, PATIENCE, Program, command};

const SUBMISSION: [&str; 10] = [
    "serve",
    "--listen",
    "127.0.0.1:0",
    "--role",
    "submission",
    "--users",
    "users",
    "--plaintext-auth",
    "--tls",
    "off",
];

fn submission(more: &[&str]) -> (tempfile::TempDir, Program) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("users"), "alice:{PLAIN}secret\n").expect("written");
    let program = Program::start(&mut command(folder.path(), &[&SUBMISSION[..], more].concat()), 1);
    (folder, program)
}

/// `\0name\0password` as AUTH PLAIN takes it.
fn plain(name: &str, password: &str) -> String {
    use base64ct::Encoding as _;
    format!("AUTH PLAIN {}", base64ct::Base64::encode_string(format!("\0{name}\0{password}").as_bytes()))
}

#[test]
fn a_failed_login_is_a_line_of_one_form_with_user_and_address() {
    let (_folder, mut program) = submission(&[]);
    let mut client = Client::connect(&program.address(0));
    assert!(client.reply().starts_with("220 "));
    assert!(client.say("EHLO client.example").contains("AUTH"));
    assert!(client.say(&plain("bob> address=192.0.2.9 user=<x\u{202e}", "wrong")).starts_with("535 "));
    program.wait_for("the line", |said| said.iter().any(|line| line.contains("failed login: ")));
    let line = program.said.iter().find(|line| line.contains("failed login: ")).expect("just seen").clone();
    let form = "failed login: address=127.0.0.1 user=<bob\\u{3e} address=192.0.2.9 user=\\u{3c}x\\u{202e}>";
    assert!(line.contains(form) && line.contains("WARN"), "{line}");
    assert!(client.say(&plain("alice", "secret")).starts_with("235 "));
}

#[test]
fn the_line_at_fault_is_in_the_log_at_debug_and_passwords_are_not() {
    let (_folder, mut program) = submission(&["--log", "debug"]);
    let mut client = Client::connect(&program.address(0));
    assert!(client.reply().starts_with("220 "));
    assert!(client.say("EHLO client.example").starts_with("250"));
    client.send(b"MAIL FROM :<a@");
    client.is_read();
    assert!(client.say("b.example>\u{1b}[31m").starts_with("5"));
    assert!(client.say("AUTH CRAM-MD5 c2VjcmV0").starts_with("5"));
    assert!(client.say(&plain("alice", "s3cret")).starts_with("535 "));
    assert!(client.say("QUIT").starts_with("221 "));
    program.wait_for("the end", |said| said.iter().any(|line| line.contains("closed")));
    let said = program.said.join("\n");
    assert!(said.contains("MAIL FROM :<a@b.example>\\x1b[31m\\r\\n"), "{said}");
    assert!(!said.contains("c2VjcmV0") && !said.contains("s3cret"), "{said}");
}

#[test]
fn a_refused_message_leaves_a_line_with_the_mend() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = ["serve", "--listen", "127.0.0.1:0", "--tls", "off", "--deliver", "discard", "--max-size", "65536"];
    let mut program = Program::start(&mut command(folder.path(), &options), 1);
    let large = "x: y\r\n".repeat(20_000);
    for (text, line) in [
        (
            "a: b\n\r\n.",
            "a LF without CR; lines must end in CRLF: have the client send them so (curl: --crlf), or give --lenient bare-lf-text",
        ),
        ("a: b\rc\r\n.", "a CR without LF; it would pass with --lenient bare-cr-text"),
        ("a: \0\r\n.", "a NUL; it would pass with --lenient nul-text"),
        (&format!("{large}."), "too large; --max-size allows larger messages"),
    ] {
        let mut client = Client::connect(&program.address(0));
        assert!(client.reply().starts_with("220 "));
        for said in ["EHLO c.example", "MAIL FROM:<a@c.example>", "RCPT TO:<b@mx.example.net>", "DATA"] {
            assert!(client.say(said).starts_with(['2', '3']), "{said}");
        }
        assert!(client.say(text).starts_with("55"), "{line}");
        let line = format!("message refused: {line}");
        program.wait_for(&line, |said| said.iter().any(|each| each.contains("WARN") && each.contains(&line)));
    }
}

/// A device that ends lines in LF alone never ends a text (RFC 5321 4.1.1.4), whatever is let pass.
#[test]
fn a_text_without_an_end_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = ["serve", "--listen", "127.0.0.1:0", "--tls", "off", "--deliver", "discard"];
    let more = ["--lenient", "devices", "--text-timeout", "2s"];
    let mut program = Program::start(&mut command(folder.path(), &[&options[..], &more].concat()), 1);
    let mut client = Client::connect(&program.address(0));
    assert!(client.reply().starts_with("220 "));
    for said in ["HELO dev\n", "MAIL FROM:<a@c.example>\n", "RCPT TO:<b@mx.example.net>\n", "DATA\n"] {
        client.send(said.as_bytes());
        assert!(client.reply().starts_with(['2', '3']), "{said}");
    }
    client.send(b"a: b\n\nc\n.\n");
    assert!(client.reply().starts_with("421 "));
    program.wait_for("a word", |said| said.iter().any(|line| line.contains("a text did not end in time")));
}

#[test]
fn of_refused_commands_it_is_told_once_what_they_would_pass_with() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = ["serve", "--listen", "127.0.0.1:0", "--tls", "off", "--deliver", "discard"];
    let mut program = Program::start(&mut command(folder.path(), &options), 1);
    let mut client = Client::connect(&program.address(0));
    assert!(client.reply().starts_with("220 "));
    for _ in 0..3 {
        assert!(client.say("HELO my\u{7f}_printer").starts_with('5'), "a control is let pass by nothing");
        assert!(client.say("HELO my_printer").starts_with("501 "));
    }
    let mut client = Client::connect(&program.address(0));
    assert!(client.reply().starts_with("220 "));
    client.send(b"HELO dev\n");
    assert!(client.reply().starts_with("500 "), "at once");
    program.wait_for("both", |said| said.iter().any(|line| line.contains("--lenient bare-lf-commands")));
    let told: Vec<_> = program.said.iter().filter(|line| line.contains("--lenient")).collect();
    assert!(
        told.len() == 2
            && told[0].contains("command refused: HELO my_printer\\r\\n; it would pass with --lenient helo-name"),
        "{told:?}"
    );
}

#[test]
fn a_health_check_is_no_warning() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = [
        "serve",
        "--proxy",
        "127.0.0.1:0",
        "--proxy-from",
        "127.0.0.0/8",
        "--listen",
        "127.0.0.1:0",
        "--domain",
        "example.net",
        "--log",
        "debug",
    ];
    let mut program = Program::start(&mut command(folder.path(), &options), 2);
    for address in [program.address(0), program.address(1)] {
        drop(std::net::TcpStream::connect(address).expect("connected"));
    }
    program.wait_for("both ends", |said| {
        let has = |words: &str| said.iter().any(|line| line.contains(words));
        has("closed without a word") && has("reason=Eof")
    });
    program.signal(Signal::TERM);
    program.wait_for("the end", |said| said.iter().any(|line| line.starts_with("ending")));
    assert_eq!(program.ends_within(PATIENCE), Some(0));
    assert!(!program.said.iter().any(|line| line.contains("WARN")), "{:?}", program.said);
}

#[test]
fn a_handshake_that_fails_has_a_session_wherever_tls_begins() {
    let folder = tempfile::tempdir().expect("a folder");
    let listen = ["--listen", "127.0.0.1:0", "--implicit-tls", "127.0.0.1:0"];
    let options = [&["serve"], &listen[..], &["--deliver", "discard", "--log", "info"]].concat();
    let mut program = Program::start(&mut command(folder.path(), &options), 2);
    for (place, first) in [(0, "EHLO client.example\r\nSTARTTLS\r\n"), (1, "")] {
        let mut client = Client::connect(&program.address(place));
        if !first.is_empty() {
            assert!(client.reply().starts_with("220 "));
            client.send(first.as_bytes());
            assert!(client.reply().starts_with("250") && client.reply().starts_with("220 "));
        }
        client.send(b"no TLS at all, and never will be\r\n");
        client.rest();
        let is_told = |line: &String| line.contains("the TLS handshake failed");
        program.wait_for("a word about it", |said| said.iter().filter(|line| is_told(line)).count() == place + 1);
        let line = program.said.iter().rfind(|line| is_told(line)).expect("just seen");
        assert!(line.contains(" session=\""), "{line}");
    }
}

#[test]
fn the_line_of_a_message_cannot_be_forged() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = ["serve", "--listen", "127.0.0.1:0", "--tls", "off", "--deliver", "discard"];
    let mut program = Program::start(command(folder.path(), &options).stdout(Stdio::piped()), 1);
    let mut client = Client::connect(&program.address(0));
    assert!(client.reply().starts_with("220 "));
    for line in [
        "EHLO client.example",
        "MAIL FROM:<\"x> to=<admin@bank.example> size=1 id=1\"@evil.example> SMTPUTF8",
        "RCPT TO:<\"\u{202e}b\"@mx.example.net>",
        "DATA",
    ] {
        let reply = client.say(line);
        assert!(reply.starts_with(['2', '3']), "{line}: {reply}");
    }
    assert!(client.say("x: y\r\n\r\n.").starts_with("250 "));
    program.signal(Signal::TERM);
    assert_eq!(program.ends_within(PATIENCE), Some(0));
    let mut printed = String::new();
    program.child.stdout.take().expect("a pipe").read_to_string(&mut printed).expect("read");
    let from = printed.split(" from=<").nth(1).and_then(|rest| rest.split('>').next()).expect("a sender");
    assert!(from.ends_with("@evil.example"), "{printed}");
    assert!(printed.split(" to=<").count() == 2 && printed.contains("\\u{202e}b"), "{printed}");
}

#[test]
fn a_network_that_fails_too_often_waits_and_others_do_not() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("users"), "alice:{PLAIN}secret\n").expect("written");
    let options = [
        "serve",
        "--proxy",
        "127.0.0.1:0",
        "--proxy-from",
        "127.0.0.0/8",
        "--role",
        "submission",
        "--users",
        "users",
        "--plaintext-auth",
        "--tls",
        "off",
        "--failed-login-rate",
        "3/1h",
        "--connection-rate",
        "9/1h",
        "--message-rate",
        "2/1h",
    ];
    let program = Program::start(&mut command(folder.path(), &options), 1);
    let from = |client: &str| {
        let mut connection = Client::connect(&program.address(0));
        connection.send(format!("PROXY TCP4 {client} 192.0.2.200 5000 25\r\n").as_bytes());
        let greeting = connection.reply();
        (connection, greeting)
    };
    let (mut bad, greeting) = from("192.0.2.1");
    assert!(greeting.starts_with("220 "));
    assert!(bad.say("EHLO c.example").starts_with("250"));
    for _ in 0..3 {
        assert!(bad.say(&plain("alice", "wrong")).starts_with("535 "));
    }
    assert!(bad.say(&plain("alice", "secret")).starts_with("454 "), "no password is looked at any more");
    assert!(from("192.0.2.1").1.starts_with("421 4.7.0 "));
    let (mut good, greeting) = from("192.0.2.2");
    assert!(greeting.starts_with("220 "));
    assert!(good.say("EHLO c.example").starts_with("250"));
    assert!(good.say(&plain("alice", "secret")).starts_with("235 "));
    for _ in 0..2 {
        assert!(good.say("MAIL FROM:<a@c.example>").starts_with("250 "));
        assert!(good.say("RSET").starts_with("250 "));
    }
    assert!(good.say("MAIL FROM:<a@c.example>").starts_with("421 4.7.0 "));
    let greetings: Vec<_> = (0..12).map(|_| from("192.0.2.3").1).collect();
    assert_eq!(greetings.iter().filter(|greeting| greeting.starts_with("220 ")).count(), 9);
    assert_eq!(greetings.iter().filter(|greeting| greeting.starts_with("421 4.7.0 ")).count(), 3);
}
