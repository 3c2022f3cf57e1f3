//! The envelope of the next message behind the end of a text, in one write (RFC 2920 3.1): what each of two messages comes
//! to, whatever the server says, and what was put out.

use smtp_proto::client::{Config, Envelope, Outcome, Progress, Protocol, Reason, Session, Tls, Transaction};
use smtp_proto::syntax::{ForwardPath, Params, Rcpt, ReversePath};
use smtp_proto::{Channel, Want};

const TEXT: &[u8] = b"Hello.\r\n";
const GREET: &str = "220 mx\r\n";
const PLAIN: &str = "250-mx\r\n250-SIZE 100\r\n250 PIPELINING\r\n";
const YES: &str = "250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n";
const GROUP: &str = "MAIL FROM:<> SIZE=8\r\nRCPT TO:<b@example.net>\r\nRCPT TO:<c@example.net>\r\nDATA\r\n";

/// What became of a message: `+` accepted, `~` later, `-` never, `?` unknown for each recipient; why the session ended, and
/// how many faults were let pass.
#[derive(Debug, PartialEq, Eq)]
struct Became {
    fates: String,
    closed: Option<Reason>,
    tolerated: usize,
}

/// Two messages to a server that says these words, one entry each time the client waits, `pieces` octets at a time.
/// `SILENCE` is a timeout; after the last word the connection ends. Also gives the writes, and whether the first led.
fn play(config: Config, second: Option<u64>, server: &[&str], pieces: usize) -> ([Became; 2], Vec<String>, bool) {
    let to = ["b@example.net", "c@example.net"]
        .map(|name| Rcpt { path: ForwardPath::parse(name, false).expect("an address"), params: Params::default() });
    let envelope = Envelope::new(ReversePath::Null, &to).size(TEXT.len() as u64);
    let next = envelope.size(second.unwrap_or(TEXT.len() as u64));
    let mut session = Session::new(config.shared(), Channel::Plain);
    let mut both = [Transaction::new(envelope), Transaction::new(next)];
    let (mut writes, mut led, mut held, mut said) = (Vec::new(), false, Vec::new(), std::collections::VecDeque::new());
    let mut server = server.iter();
    for at in 0..2 {
        loop {
            let before = std::mem::take(&mut held);
            let mut input = &before[..];
            let progress = both[at].step(&mut session, &mut input);
            held = input.to_vec();
            match progress {
                Progress::Text => {
                    both[at].finish_with(&mut session, TEXT).expect("a good text");
                    if let [first, second] = &mut both
                        && at == 0
                    {
                        led = first.lead(&mut session, second);
                        assert!(!first.lead(&mut session, second), "not twice");
                    }
                }
                Progress::Done => break,
                Progress::Want(want) => {
                    assert!(matches!(want, Want::Input | Want::Close), "{want:?}");
                    let output = session.output();
                    if !output.is_empty() {
                        writes.push(String::from_utf8(output.to_vec()).expect("ASCII"));
                        session.sent(output.len());
                    }
                    if said.is_empty() {
                        match server.next() {
                            Some(&"SILENCE") => session.timed_out(),
                            Some(words) => said.extend(words.bytes()),
                            None => session.eof(),
                        }
                    }
                    let n = said.len().min(pieces);
                    held.extend(said.drain(..n));
                }
            }
        }
    }
    let became = both.map(|transaction| Became {
        fates: transaction
            .outcomes()
            .map(|outcome| match outcome {
                Outcome::Accepted(_) => '+',
                Outcome::Later(_) => '~',
                Outcome::Never(_) => '-',
                Outcome::Unknown(_) => '?',
                other => panic!("{other:?}"),
            })
            .collect(),
        closed: transaction.closed().cloned(),
        tolerated: transaction.tolerated().len(),
    });
    (became, writes, led)
}

fn config(protocol: Protocol) -> Config {
    Config::new("client.example").expect("a name").tls(Tls::Never).protocol(protocol)
}

/// Whole, octet by octet, and seven at a time.
fn check(protocol: Protocol, rows: &[(&[&str], &str, &str)]) {
    for (words, first, second) in rows {
        for pieces in [usize::MAX, 1, 7] {
            let server = [&[GREET, PLAIN, YES], *words].concat();
            let (became, writes, led) = play(config(protocol), None, &server, pieces);
            let fates = became.each_ref().map(|one| one.fates.as_str());
            assert_eq!(fates, [*first, *second], "{words:?} by {pieces}: {writes:?}");
            assert!(led);
            assert_eq!(writes[2], format!("Hello.\r\n.\r\n{GROUP}"), "in one write");
        }
    }
}

#[test]
fn each_message_has_its_own_outcome() {
    check(
        Protocol::Smtp,
        &[
            (&["250 taken\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n", "250 taken\r\n"], "++", "++"),
            (&["250 taken\r\n", YES, "250 taken\r\n"], "++", "++"),
            // RFC 5321 4.1.1.4: a text that is refused ends its transaction, and no other.
            (&["552 no\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n", "250 taken\r\n"], "--", "++"),
            (&["452 no\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n", "250 taken\r\n"], "~~", "++"),
            (&["250 taken\r\n250 ok\r\n250 ok\r\n550 no\r\n354 go\r\n", "250 taken\r\n"], "++", "+-"),
            (&["250 taken\r\n550 no\r\n503 no\r\n503 no\r\n503 no\r\n"], "++", "--"),
            (&["250 taken\r\n450 no\r\n503 no\r\n503 no\r\n503 no\r\n"], "++", "~~"),
            // RFC 2920 3.1: none accepted, and yet 354.
            (&["250 taken\r\n250 ok\r\n550 no\r\n550 no\r\n354 go\r\n", "554 no\r\n"], "++", "--"),
            // RFC 1047: no reply to the first text; of the second none was sent.
            (&[], "??", "~~"),
            (&["SILENCE"], "??", "~~"),
            (&["250 taken"], "??", "~~"),
            (&["250 taken\r\n"], "++", "~~"),
            (&["250 taken\r\n", "SILENCE"], "++", "~~"),
            (&["552 no\r\n250 ok\r\n"], "--", "~~"),
            (&["250 taken\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n"], "++", "??"),
            (&["250 taken\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n", "SILENCE"], "++", "??"),
            // RFC 5321 3.8.
            (&["421 bye\r\n"], "~~", "~~"),
            (&["250 taken\r\n421 bye\r\n"], "++", "~~"),
            (&["250 taken\r\n250 ok\r\n421 bye\r\n"], "++", "~~"),
            // Out of step, or no reply at all.
            (&["354 more\r\n250 ok\r\n"], "??", "~~"),
            (&["250 taken\r\n354 go\r\n"], "++", "~~"),
            (&[YES], "++", "~~"),
            (&["what?\r\n"], "??", "~~"),
        ],
    );
}

/// RFC 2033 4.2: the text has a reply for each recipient before those to the next group.
#[test]
fn by_lmtp_the_replies_to_the_text_are_counted() {
    check(
        Protocol::Lmtp,
        &[
            (&["250 b\r\n550 c\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n", "250 b\r\n450 c\r\n"], "+-", "+~"),
            (&["250 b\r\n"], "+?", "~~"),
            (&["250 b\r\n421 bye\r\n"], "+~", "~~"),
            (&["250 b\r\n250 c\r\n"], "++", "~~"),
        ],
    );
}

/// Neither takes for its own what concerns the other.
#[test]
fn what_was_let_pass_and_the_end_are_told_to_whom_they_concern() {
    let server = [GREET, PLAIN, YES, "220 hm\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n", "SILENCE"];
    let ([first, second], ..) = play(config(Protocol::Smtp), None, &server, usize::MAX);
    assert_eq!(first, Became { fates: "++".into(), closed: None, tolerated: 1 });
    assert_eq!(second, Became { fates: "??".into(), closed: Some(Reason::TimedOut), tolerated: 0 });
    // The session ends while it is the first one's turn.
    let ([first, second], ..) = play(config(Protocol::Smtp), None, &[GREET, PLAIN, YES, "SILENCE"], usize::MAX);
    assert_eq!(first.closed, Some(Reason::TimedOut));
    assert_eq!(second.closed, Some(Reason::TimedOut));
}

/// Where it may not be done nothing goes out before its time, and both are sent.
#[test]
fn nobody_leads_where_it_may_not_be() {
    let small: &[&str] = &["250 ok\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "250 taken\r\n"];
    // Without PIPELINING.
    let server = [&[GREET, "250 mx\r\n"], small, small].concat();
    let ([first, second], writes, led) = play(config(Protocol::Smtp), None, &server, usize::MAX);
    assert_eq!((first.fates.as_str(), second.fates.as_str(), led), ("++", "++", false));
    assert_eq!(writes[5..7], ["Hello.\r\n.\r\n", "MAIL FROM:<>\r\n"]);
    // By BDAT, which is one write anyway; refused, it may leave a transaction open (RFC 3030 2).
    let chunks = "250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n";
    let one = "250 ok\r\n250 ok\r\n250 ok\r\n250 taken\r\n";
    let ([first, second], _, led) = play(config(Protocol::Smtp), None, &[GREET, chunks, one, one], usize::MAX);
    assert_eq!((first.fates.as_str(), second.fates.as_str(), led), ("++", "++", false));
    // RFC 1870 6: what is too big is not tried.
    let server = [GREET, PLAIN, YES, "250 taken\r\n"];
    let ([first, second], writes, led) = play(config(Protocol::Smtp), Some(101), &server, usize::MAX);
    assert_eq!((first.fates.as_str(), second.fates.as_str(), led), ("++", "--", false));
    assert_eq!(writes[2], "Hello.\r\n.\r\n");
}
