//! Memory that sessions lend each other: whenever it is given back, nothing is lost and nothing is another's.

use smtp_proto::server::{Config, Event, Role, Session, Spare, Verdict};
use smtp_proto::syntax::Reply;
use smtp_proto::{Channel, Step, Want};

/// Dialogues that leave something for later at many of their octets: text, chunks, chunks that are refused, faults.
const DIALOGUES: [(Role, &str); 4] = [
    (
        Role::Mx,
        "EHLO client.example\r\nMAIL FROM:<a@example.org> \r\nRCPT TO:<b@example.net>\r\nRCPT TO:<c@example.net>\r\nDATA\r\n\
         ..Text\r\n.\r\nRSET\r\nHELLO\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.net>\r\nDATA\r\nbare\nLF\r\n.\r\nQUIT\r\n",
    ),
    (
        Role::Mx,
        "EHLO client.example\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nBDAT 7\r\nHello\r\nBDAT 9 LAST\r\n\
         at once\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nBDAT 3\r\na\0bBDAT 2 LAST\r\n\r\nNOOP\r\n",
    ),
    (
        Role::Mx,
        "EHLO refused.example\r\nBDAT 6\r\nQUIT\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nBDAT 59 LAST\r\n\
         EHLO these.are.no.commands\r\nMAIL FROM:<nor@this.is>\r\nRSET\r\nQUIT\r\nNOOP\r\n",
    ),
    (
        Role::Lmtp,
        "LHLO client.example\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nRCPT TO:<c@example.net>\r\nDATA\r\n\
         Text\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.net>\r\nRCPT TO:<c@example.net>\r\nBDAT 3 LAST\r\nab\nNOOP\r\n",
    ),
];

fn session(role: Role) -> Session {
    let config = Config::new("mx.example.net").expect("a name").role(role).shared();
    Session::new(config, Channel::Plain)
}

/// When sessions lend each other their memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lend {
    Never,
    /// When a turn begins and ends.
    EachTurn,
    /// At each event, too, before it is answered and while others wait to be told.
    EachStep,
}

/// One octet more, or none at first: what was told, and written.
fn turn(session: &mut Session, held: &mut Vec<u8>, said: &mut String, spare: Option<&mut Spare>) {
    let mut none = Spare::default();
    let (always, spare) = (spare.is_some(), spare.unwrap_or(&mut none));
    let mut input = &held[..];
    loop {
        match session.step(&mut input) {
            Step::Event(event) => {
                if always {
                    session.release_to(spare);
                    session.lend(spare);
                }
                *said += &format!("{event:?}\n").replace(|char: char| char.is_ascii_digit(), "");
                match event {
                    Event::Data(t) if session.hello() == Some("refused.example") => {
                        session.answer(t, Verdict::Refuse(const { Reply::fixed(452, (4, 3, 1), "No room") }));
                    }
                    Event::Connect(t) | Event::Hello(_, t) | Event::Mail(_, t) | Event::Rcpt(_, t) | Event::Data(t) => {
                        session.answer(t, Verdict::Accept);
                    }
                    Event::Message(end, t) => {
                        *said += &format!("{} {:?}\n", end.octets, end.recipient);
                        session.answer(t, Verdict::Accept);
                    }
                    _ => {}
                }
            }
            Step::Want(want) => {
                *said += &String::from_utf8_lossy(session.output());
                session.sent(usize::MAX);
                if want != Want::Output {
                    break;
                }
            }
        }
    }
    *held = input.to_vec();
}

fn run(lend: Lend) -> Vec<String> {
    let mut spare = Spare::default();
    let mut all: Vec<_> =
        DIALOGUES.iter().map(|(role, octets)| (session(*role), octets.bytes(), Vec::new(), String::new())).collect();
    let longest = DIALOGUES.iter().map(|(_, octets)| octets.len()).max().unwrap_or(0);
    // They take turns by the octet.
    for _ in 0..=longest {
        for (session, octets, held, said) in &mut all {
            if lend != Lend::Never {
                session.lend(&mut spare);
            }
            turn(session, held, said, (lend == Lend::EachStep).then_some(&mut spare));
            if lend != Lend::Never {
                session.release_to(&mut spare);
            }
            held.extend(octets.next());
        }
    }
    all.into_iter().map(|(_, _, _, said)| said).collect()
}

#[test]
fn sessions_that_take_turns_keep_their_own() {
    let alone = run(Lend::Never);
    for lend in [Lend::EachTurn, Lend::EachStep] {
        for (alone, lent) in alone.iter().zip(run(lend)) {
            assert_eq!(*alone, lent, "{lend:?}");
        }
    }
    // Each dialogue did what it is there for.
    for (said, words) in
        alone.iter().zip(["554 5.6.0", "250 2.0.0 Chunk taken", "452 4.3.1", "250 2.0.0 Message accepted"])
    {
        assert!(said.contains(words), "{said}");
    }
}
