//! Who does not wait where RFC 2920 3.1 has it wait is reported, once, and by a switch sent away. It shows only in what
//! arrives together, so it never changes a reply unless the switch is on.

use std::sync::Arc;

use smtp_proto::server::{Config, Event, FaultKind, Reason, Session, State, Verdict};
use smtp_proto::{Channel, Step, Want};

struct Peer {
    session: Session,
    reported: Vec<(u64, u16)>,
    replies: String,
}

impl Peer {
    fn new(refuse: bool) -> Self {
        let config = Config::new("mx.example.net").expect("a name").refuse_unauthorised_pipelining(refuse);
        let session = Session::new(Arc::new(config), Channel::Plain);
        let mut peer = Self { session, reported: Vec::new(), replies: String::new() };
        peer.send("");
        peer
    }

    /// Octets that arrive together; everything is accepted.
    fn send(&mut self, octets: &str) -> &mut Self {
        let mut input = octets.as_bytes();
        loop {
            match self.session.step(&mut input) {
                Step::Event(event) => match event {
                    Event::Connect(t) | Event::Hello(_, t) | Event::Mail(_, t) | Event::Rcpt(_, t) | Event::Data(t) => {
                        self.session.answer(t, Verdict::Accept);
                    }
                    Event::Message(_, t) => self.session.answer(t, Verdict::Accept),
                    Event::Fault(fault) if fault.kind == FaultKind::Pipelining => {
                        self.reported.push((fault.offset, fault.code));
                    }
                    Event::Closed(reason) => {
                        assert!(matches!(reason, Reason::Quit | Reason::Fault(FaultKind::Pipelining)), "{reason:?}");
                    }
                    Event::Chunk(_) | Event::Reset => {}
                    other => panic!("{other:?}"),
                },
                Step::Want(want) => {
                    let output = self.session.output();
                    self.replies.push_str(std::str::from_utf8(output).expect("ASCII"));
                    let n = output.len();
                    self.session.sent(n);
                    assert!(matches!(want, Want::Input | Want::Close), "{want:?}");
                    return self;
                }
            }
        }
    }
}

const HELLO: &str = "EHLO client.example\r\n";
const ENVELOPE: &str = "MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\n";

/// RFC 2920 3.1: MAIL, RCPT and RSET in groups, with DATA at the end.
#[test]
fn who_keeps_to_the_groups_is_not_reported() {
    let mut peer = Peer::new(true);
    peer.send(HELLO)
        .send(&format!("{ENVELOPE}DATA\r\n"))
        .send("Hello\r\n.\r\nRSET\r\nMAIL FROM:<>\r\n")
        .send("QUIT\r\n");
    assert_eq!(peer.reported, []);
    assert!(peer.replies.ends_with("221 2.0.0 Bye\r\n"), "{}", peer.replies);
}

/// RFC 2920 3.1: EHLO, DATA, VRFY, EXPN, NOOP end a group; without EHLO every command does.
#[test]
fn who_does_not_wait_is_reported_once_and_served() {
    for (first, glued, offset) in [
        ("", format!("{HELLO}{ENVELOPE}"), 21),
        ("", format!("HELO client.example\r\n{ENVELOPE}"), 21),
        ("HELO client.example\r\n", ENVELOPE.into(), 48),
        (HELLO, format!("NOOP\r\n{ENVELOPE}"), 27),
        (HELLO, format!("VRFY x\r\n{ENVELOPE}NOOP\r\nNOOP\r\n"), 29),
        (HELLO, format!("{ENVELOPE}DATA\r\nHello\r\n.\r\n"), 79),
    ] {
        let mut together = Peer::new(false);
        together.send(first).send(&glued);
        assert_eq!(together.reported, [(offset, 0)], "{glued:?}");
        let mut in_step = Peer::new(false);
        in_step.send(first);
        for line in glued.split_inclusive("\r\n") {
            in_step.send(line);
        }
        assert_eq!(in_step.reported, [], "{glued:?}");
        assert_eq!(together.replies, in_step.replies, "{glued:?}");
    }
}

#[test]
fn with_the_switch_it_is_sent_away() {
    let mut peer = Peer::new(true);
    peer.send(&format!("{HELLO}{ENVELOPE}"));
    assert_eq!(peer.session.state(), State::Closed);
    assert_eq!(peer.reported, [(21, 554)]);
    assert!(peer.replies.ends_with("554 5.5.1 Did not wait for a reply that must be waited for; closing\r\n"));
}
