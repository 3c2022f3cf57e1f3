//! `smtp-smol send`, against servers as they are found in the field: what it tells its user, and that what it advises helps.

mod server;

use std::io::Write as _;
use std::process::{Command, Stdio};

use server::{Server, Setup};

const TEXT: &str = "Subject: x\r\n\r\nHello.\r\n";

/// What the program said and how it ended.
#[derive(Debug)]
struct Done {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Sends standard input to this server, for one recipient.
fn send(server: &Server, options: &[&str], text: &str) -> Done {
    send_to(server, &["--from", "a@example.org", "--to", "b@example.net"], options, text)
}

fn send_to(server: &Server, envelope: &[&str], options: &[&str], text: &str) -> Done {
    let mut child = Command::new(env!("CARGO_BIN_EXE_smtp-smol"))
        .args(["send", "--helo", "client.example", "--server", &server.address()])
        .args(envelope)
        .args(options)
        .arg("-")
        .env("SMTP_PASSWORD", "pencil")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // A program that refuses its options does not read.
    let _ = child.stdin.take().expect("stdin").write_all(text.as_bytes());
    let done = child.wait_with_output().expect("it ends");
    let text = |octets| String::from_utf8(octets).expect("UTF-8");
    Done { code: done.status.code(), out: text(done.stdout), err: text(done.stderr) }
}

fn serve(setup: Setup) -> Server {
    Server::start(setup)
}

/// Every hint that names an option is true: with it the same message goes through, or where it says so does not.
#[test]
fn what_is_advised_helps() {
    let auth = ["--auth", "user"];
    let long = format!("Subject: x\r\n\r\n{}\r\n", "x".repeat(999));
    let folder = tempfile::tempdir().expect("a folder");
    let token = folder.path().join("token");
    std::fs::write(&token, "vF9dft4qmT\n").expect("written");
    let token = token.to_str().expect("UTF-8");
    type Row<'a> = (Setup, &'a [&'a str], &'a str, i32, &'a str, &'a [&'a str], i32);
    let rows: [Row<'_>; 10] = [
        // What the server is, options, text, how it ends, the advice, what is added then, and how it ends then.
        (Setup::default(), &["--tls", "require"], TEXT, 75, "--tls opportunistic", &["--tls", "opportunistic"], 0),
        (Setup::default(), &[], "Subject: x\n\nHello.\n", 2, "--newlines convert", &["--newlines", "convert"], 0),
        (Setup::default(), &[], &long, 2, "--long-lines", &["--long-lines"], 0),
        (Setup::default(), &[], "Subject: x\r\n\r\nGr\u{fc}n\r\n", 69, "--8bit-anyway", &["--8bit-anyway"], 0),
        (
            Setup { offers: &["AUTH PLAIN"], ..Setup::default() },
            &auth,
            TEXT,
            69,
            "--plaintext-auth",
            &["--plaintext-auth"],
            0,
        ),
        (
            Setup { offers: &["AUTH LOGIN PLAIN"], refuses: &[("AUTH PLAIN", "504 5.5.4 No")], ..Setup::default() },
            &["--auth", "user", "--plaintext-auth", "--auth-mechanism", "PLAIN"],
            TEXT,
            69,
            "--auth-mechanism",
            &["--auth-mechanism", "LOGIN"],
            0,
        ),
        (
            Setup { offers: &["AUTH PLAIN"], refuses: &[("AUTH", "535 5.7.8 No")], ..Setup::default() },
            &["--auth", "user", "--plaintext-auth"],
            TEXT,
            69,
            "--token-file",
            &["--token-file", token],
            69,
        ),
        (Setup { bare_lf: true, ..Setup::default() }, &[], TEXT, 75, "--lenient bare-lf", &["--lenient", "bare-lf"], 0),
        (Setup::default(), &["--notify", "never"], TEXT, 0, "--require-dsn", &["--require-dsn"], 69),
        (
            Setup { offers: &["STARTTLS"], refuses: &[("STARTTLS", "454 4.7.0 Not now")], ..Setup::default() },
            &[],
            TEXT,
            0,
            "--tls require",
            &["--tls", "require"],
            75,
        ),
    ];
    for (setup, options, text, code, advice, more, then) in rows {
        let server = serve(setup);
        let done = send(&server, options, text);
        assert_eq!(done.code, Some(code), "{options:?}: {done:?}");
        assert!(done.out.contains(advice) || done.err.contains(advice), "{options:?} without {advice}: {done:?}");
        // An option that is given twice is the later one's.
        let kept: Vec<&str> = match options {
            ["--tls", _] => Vec::new(),
            [first @ .., "--auth-mechanism", _] => first.to_vec(),
            all => all.to_vec(),
        };
        let done = send(&server, &[&kept[..], more].concat(), text);
        assert_eq!(done.code, Some(then), "{options:?} {more:?}: {done:?}");
    }
}

/// The server's own words reach the user, in text and in JSON, and cannot deceive a terminal.
#[test]
fn the_servers_words_are_shown() {
    let blocked = "554 5.7.1 Blocked, see https://example.net/why \u{202e}\u{1b}[2J";
    for (refuses, offers, options, code) in [
        (("GREETING", blocked), &[][..], &[][..], 69),
        (("EHLO", blocked), &[], &[], 69),
        (("STARTTLS", blocked), &["STARTTLS"], &["--tls", "require"], 75),
        (("AUTH", blocked), &["AUTH PLAIN"], &["--auth", "user", "--plaintext-auth"], 69),
        (("MAIL", blocked), &[], &[], 69),
        (("RCPT", blocked), &[], &[], 69),
        (("DATA", blocked), &[], &[], 69),
        (("TEXT", blocked), &[], &[], 69),
    ] {
        for json in [&[][..], &["--json", "-v"]] {
            let also_helo = [refuses, ("HELO", "503 5.5.1 No")];
            let setup = Setup { offers, refuses: also_helo.to_vec().leak(), ..Setup::default() };
            let done = send(&serve(setup), &[options, json].concat(), TEXT);
            assert_eq!(done.code, Some(code), "{refuses:?}: {done:?}");
            assert!(done.out.contains("554 5.7.1 Blocked, see https://example.net/why"), "{refuses:?}: {done:?}");
            for said in [&done.out, &done.err] {
                assert!(!said.contains(['\u{202e}', '\u{1b}']), "{refuses:?}: {done:?}");
            }
        }
    }
}

/// RFC 3461 4: what is asked of a server with DSN is said; and a server without it is not asked, which is told.
#[test]
fn notifications_are_asked_for() {
    let options = ["--notify", "success,delay", "--ret", "hdrs", "--envid", "order 66"];
    let more = ["--orcpt", "b+old@example.net", "--orcpt", "c@example.net"];
    let envelope = ["--from", "a@example.org", "--to", "b@example.net", "--to", "c@example.net"];
    let options = [&options[..], &more].concat();
    let with = serve(Setup { offers: &["DSN"], ..Setup::default() });
    let done = send_to(&with, &envelope, &options, TEXT);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(!done.out.contains("note"), "{done:?}");
    let said = with.said();
    for line in [
        "MAIL FROM:<a@example.org> RET=HDRS ENVID=order+2066",
        "RCPT TO:<b@example.net> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b+2Bold@example.net",
        "RCPT TO:<c@example.net> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;c@example.net",
    ] {
        assert!(said.iter().any(|each| each == line), "{said:?} without {line}");
    }
    let without = serve(Setup::default());
    let done = send_to(&without, &envelope, &options, TEXT);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(done.out.matches("note: the server does not offer DSN").count(), 1, "{done:?}");
    for option in ["--notify", "--ret", "--envid", "--orcpt"] {
        assert!(done.out.contains(option), "{done:?}");
    }
    assert!(without.said().contains(&"RCPT TO:<c@example.net>".to_owned()));
    for wrong in [&["--notify", "never,success"][..], &["--orcpt", "b@example.net"], &["--envid", "\u{e4}"]] {
        let done = send_to(&without, &envelope, wrong, TEXT);
        assert_eq!(done.code, Some(2), "{wrong:?}: {done:?}");
        assert!(done.err.contains(wrong[0]), "{done:?}");
    }
}

/// RFC 5891 4.4, RFC 6531 3.2: a domain beyond ASCII is said as A-labels where the server has no SMTPUTF8.
#[test]
fn a_domain_beyond_ascii_goes_as_a_labels() {
    let envelope = ["--from", "a@b\u{fc}cher.example", "--to", "c@b\u{fc}cher.example"];
    let server = serve(Setup::default());
    let done = send_to(&server, &envelope, &[], TEXT);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.out.contains("A-labels"), "{done:?}");
    let said = server.said();
    assert!(said.contains(&"MAIL FROM:<a@xn--bcher-kva.example>".to_owned()), "{said:?}");
    assert!(said.contains(&"RCPT TO:<c@xn--bcher-kva.example>".to_owned()), "{said:?}");
    let server = serve(Setup { offers: &["SMTPUTF8"], ..Setup::default() });
    assert_eq!(send_to(&server, &envelope, &[], TEXT).code, Some(0));
    assert!(server.said().contains(&"MAIL FROM:<a@b\u{fc}cher.example> SMTPUTF8".to_owned()));
    // A local part has no other form.
    let envelope = ["--from", "", "--to", "j\u{fc}@b\u{fc}cher.example"];
    let done = send_to(&serve(Setup::default()), &envelope, &[], TEXT);
    assert_eq!((done.code, done.out.contains("SMTPUTF8")), (Some(69), true), "{done:?}");
}

/// The next mechanism is tried, and the one that was asked for alone; tokens come from a file (RFC 7628, XOAUTH2).
#[test]
fn mechanisms_and_tokens() {
    let folder = tempfile::tempdir().expect("a folder");
    let token = folder.path().join("token");
    std::fs::write(&token, "vF9dft4qmT\n").expect("written");
    let token = token.to_str().expect("UTF-8");
    let refuses: &[(&str, &str)] = &[("AUTH SCRAM-SHA-256", "504 5.5.4 No")];
    for (offers, refuses, more, expected) in [
        (&["AUTH SCRAM-SHA-256 PLAIN"][..], refuses, &[][..], "AUTH PLAIN AHVzZXIAcGVuY2ls"),
        (&["AUTH=PLAIN LOGIN"], &[], &[], "AUTH PLAIN AHVzZXIAcGVuY2ls"),
        (&["AUTH PLAIN LOGIN"], &[], &["--auth-mechanism", "login"], "AUTH LOGIN"),
        (
            &["AUTH XOAUTH2"],
            &[],
            &["--token-file", token],
            "AUTH XOAUTH2 dXNlcj11c2VyAWF1dGg9QmVhcmVyIHZGOWRmdDRxbVQBAQ==",
        ),
        (
            &["AUTH XOAUTH2 OAUTHBEARER"],
            &[],
            &["--token-file", token],
            "AUTH OAUTHBEARER bixhPXVzZXIsAWF1dGg9QmVhcmVyIHZGOWRmdDRxbVQBAQ==",
        ),
    ] {
        let server = serve(Setup { offers, refuses, ..Setup::default() });
        let done = send(&server, &[&["--auth", "user", "--plaintext-auth"], more].concat(), TEXT);
        assert_eq!(done.code, Some(0), "{offers:?}: {done:?}");
        assert!(server.said().contains(&expected.to_owned()), "{offers:?}: {:?}", server.said());
    }
    let server = serve(Setup { offers: &["AUTH PLAIN"], ..Setup::default() });
    let done = send(&server, &["--auth", "user", "--auth-mechanism", "CRAM-MD5"], TEXT);
    assert!(done.code == Some(2) && done.err.contains("SCRAM-SHA-256"), "{done:?}");
}

/// RFC 5321 4.5.3.2: the times of the RFC are long, and can be made shorter.
#[test]
fn timeouts_are_settable() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let server = Server::at(silent.local_addr().expect("an address"));
    let begun = std::time::Instant::now();
    let done = send(&server, &["--timeout", "1"], TEXT);
    assert_eq!(done.code, Some(75), "{done:?}");
    assert!(done.out.contains("said nothing in time"), "{done:?}");
    assert!(begun.elapsed() < std::time::Duration::from_secs(15), "{:?}", begun.elapsed());
    for zero in ["--timeout", "--connect-timeout"] {
        assert_eq!(send(&server, &[zero, "0"], TEXT).code, Some(2));
    }
}

/// Who mixes the two programs up is told where to go.
#[test]
fn a_command_of_the_other_program_is_pointed_to() {
    for command in [&["sink", "--help"][..], &["blast", "127.0.0.1:25"]] {
        let done = Command::new(env!("CARGO_BIN_EXE_smtp-smol")).args(command).output().expect("it runs");
        let told = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(told.contains(&format!("run smtp-mio {}", command[0])), "{command:?}: {told}");
        assert_eq!(done.status.code(), Some(2));
    }
}

/// RFC 5321 4.1.2: addresses that are none are sent to where their user insists.
#[test]
fn addresses_that_are_none_are_taken_by_name() {
    let server = serve(Setup::default());
    for (to, lenient) in [("a..b.@example.net", "dots-in-local-part"), ("a@b_c.example", "underscore-in-domain")] {
        let envelope = ["--from", "", "--to", to];
        let done = send_to(&server, &envelope, &[], TEXT);
        assert_eq!(done.code, Some(2), "{done:?}");
        assert!(done.err.contains(lenient), "{done:?}");
        let done = send_to(&server, &envelope, &["--lenient", lenient], TEXT);
        assert_eq!(done.code, Some(0), "{done:?}");
        assert!(server.said().contains(&format!("RCPT TO:<{to}>")));
    }
}

/// RFC 5321 4.2: a departure that does no harm is told beside the outcome; a hop is called what it was.
#[test]
fn what_else_is_to_be_known_is_noted() {
    let server = serve(Setup { refuses: &[("TEXT", "200 stored"), ("RCPT", "252 perhaps")], ..Setup::default() });
    let done = send(&server, &[], TEXT);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.out.contains("200 stored") && done.out.contains("reply code 252 to RCPT"), "{done:?}");
    assert!(done.out.contains("(plaintext)"), "{done:?}");
    let json = send(&server, &["--json"], TEXT);
    assert!(json.out.contains("\"notes\":[\"the server broke the protocol"), "{json:?}");
    // Nothing of the message went anywhere.
    for refuses in [("GREETING", "554 5.7.1 No"), ("EHLO", "421 4.3.2 No")] {
        let done = send(&serve(Setup { refuses: vec![refuses].leak(), ..Setup::default() }), &[], TEXT);
        assert!(!done.out.contains("plaintext") && done.out.contains(refuses.1), "{done:?}");
    }
    // 220 to STARTTLS, and then no handshake, nor a second connection: nothing went in plaintext.
    let server = serve(Setup { offers: &["STARTTLS"], once: true, ..Setup::default() });
    let done = send(&server, &["--tls", "require"], TEXT);
    assert_eq!(done.code, Some(75), "{done:?}");
    assert!(done.out.contains("(no TLS: the handshake failed)") && !done.out.contains("plaintext"), "{done:?}");
}
