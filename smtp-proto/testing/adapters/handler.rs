//! What a handler is told and asked, over sockets. For the tests of an adapter, which have its `server` and a handler that
//! tells of everything.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use smtp_proto::Leniency;
use smtp_proto::server::{Config, Role};
use smtp_proto::tls::Policy;
use smtp_testing::Certificate;

use super::{Collect, server};

/// All that is said to a client that says this, and what the handler told.
fn converse(config: Config, trusted: &str, words: &str) -> (String, Vec<String>) {
    let certificate = Certificate::new("mx.example.net").expect("a certificate");
    let server = server(config.shared()).trust(&[trusted.parse().expect("a network")]);
    let mut server = server.tls(certificate.server);
    let address = server.listen(SocketAddr::from(([127, 0, 0, 1], 0))).expect("bound");
    let handle = server.handle();
    let handler = Collect::default();
    let told = handler.told.clone();
    let running = thread::spawn(move || server.run(move |_| handler.clone()));
    let mut client = TcpStream::connect(address).expect("connected");
    client.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    let mut said = vec![0; 4];
    client.read_exact(&mut said).expect("a greeting");
    client.write_all(words.as_bytes()).expect("written");
    client.read_to_end(&mut said).expect("the end");
    drop(client);
    handle.shut_down();
    running.join().expect("no panic").expect("no error");
    let told = told.lock().expect("lock").clone();
    (String::from_utf8(said).expect("ASCII"), told)
}

fn config() -> Config {
    Config::new("mx.example.net").expect("a name")
}

const NOBODY: &str = "192.0.2.1";

/// The second message of a connection goes to its own recipients alone; in LMTP too, where each has an answer.
#[test]
fn envelopes_do_not_run_together() {
    let message = |to: &str| format!("MAIL FROM:<>\r\nRCPT TO:<{to}@example.net>\r\nDATA\r\ntext\r\n.\r\n");
    let two = [message("one"), message("two")].concat();
    let (_, told) = converse(config().tls(Policy::Off), NOBODY, &format!("EHLO c.example\r\n{two}QUIT\r\n"));
    let messages: Vec<_> = told.iter().filter(|line| !line.starts_with("rcpt")).collect();
    assert_eq!(messages, ["message None to one@example.net", "reset", "message None to two@example.net", "reset"]);

    let two = two.replace("DATA", "RCPT TO:<also@example.net>\r\nDATA");
    let lmtp = config().tls(Policy::Off).role(Role::Lmtp);
    let (_, told) = converse(lmtp, NOBODY, &format!("LHLO c.example\r\n{two}QUIT\r\n"));
    let messages: Vec<_> = told.iter().filter(|line| !line.starts_with("rcpt")).collect();
    let expected = ["one", "two"].map(|to| {
        let of = |index| format!("message Some({index}) to {to}@example.net also@example.net");
        [of(0), of(1), "reset".into()]
    });
    assert_eq!(messages, expected.concat().iter().collect::<Vec<_>>());
}

#[test]
fn start_tls_and_commands_are_asked_about() {
    let (said, told) =
        converse(config().ask_about_all(true), NOBODY, "EHLO c.example\r\nSTARTTLS\r\nNOOP\r\nVRFY x\r\nQUIT\r\n");
    assert!(said.contains("\r\n454 4.7.0 Not now\r\n250 2.0.0 still here\r\n252 "), "{said}");
    assert_eq!(told, ["start_tls", "NOOP", "VRFY", "QUIT"]);
}

/// Only those who are trusted are believed, and from then on the client's address is the one they gave.
#[test]
fn the_trusted_may_speak_for_others() {
    let words = "EHLO proxy.example\r\nXFORWARD NAME=c.example\r\nXCLIENT ADDR=192.0.2.7 PORT=99\r\nEHLO c.example\r\n\
                 MAIL FROM:<>\r\nRCPT TO:<a@example.net>\r\nQUIT\r\n";
    let (said, told) = converse(config().tls(Policy::Off), "127.0.0.0/8", words);
    assert!(said.contains("XCLIENT NAME ADDR"), "{said}");
    let expected = ["127.0.0.1 forwards NAME=c.example", "127.0.0.1 for ADDR=192.0.2.7 PORT=99", "rcpt from 192.0.2.7"];
    assert_eq!(told, expected);

    let (said, told) = converse(config().tls(Policy::Off), NOBODY, words);
    assert!(!said.contains("XCLIENT") && said.contains("502 5.5.1"), "{said}");
    assert_eq!(told, ["rcpt from 127.0.0.1"]);
}

/// RFC 5321 2.3.8: a client that ends its lines in LF is answered at once, and told of, rather than waited for.
#[test]
fn a_bare_lf_is_answered_at_once() {
    let (said, told) = converse(config().tls(Policy::Off), NOBODY, "HELO dev\nQUIT\n");
    let end = "500 5.5.2 Bare LF in a command\r\n421 4.5.2 Lines end in CRLF (RFC 5321 2.3.8); closing\r\n";
    assert!(said.ends_with(end), "{said}");
    assert_eq!(told, ["Syntax(BareLf)", "Syntax(BareLf)"]);
    let lenient = config().tls(Policy::Off).lenient(Leniency::BareLfCommands.into());
    let (said, told) = converse(lenient, NOBODY, "HELO dev\nQUIT\n");
    assert!(said.ends_with("250 mx.example.net\r\n221 2.0.0 Bye\r\n"), "{said}");
    assert_eq!(told, ["Lenient(BareLfCommands)", "Lenient(BareLfCommands)"]);
}
