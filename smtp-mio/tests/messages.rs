//! Whole messages, users in a map, and the helpers around them, over sockets.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use smtp_mio::{Answer, AuthAnswer, Handle, MessageHandler, Messages, OwnedVerdict, Peer, Server, Users};
use smtp_proto::auth::server::Question;
use smtp_proto::auth::{Mechanism, MechanismSet};
use smtp_proto::server::{Config, Envelope, Role, Room, Verdict};
use smtp_proto::syntax::{Attributes, Enhanced, Rcpt, Reply, Verb};

use cases::{codes, config, start};

#[path = "../../smtp-proto/testing/adapters/messages.rs"]
mod cases;

/// Hands messages on, but for those to nobody.
struct Gateway {
    to: Sender<(Envelope, String, Option<String>)>,
    users: Option<Users>,
}

impl MessageHandler for Gateway {
    fn authenticate(&mut self, peer: &Peer<'_>, question: Question) -> AuthAnswer {
        match &self.users {
            Some(users) => users.answer(peer, question),
            None => smtp_proto::auth::server::Answer::Reject.into(),
        }
    }
    /// Later, so that nothing is known of a recipient when it is heard of.
    fn rcpt(&mut self, _: &Peer<'_>, rcpt: &Rcpt<'_>) -> Answer<'_> {
        let verdict = if rcpt.path.as_str().starts_with("nobody@") {
            OwnedVerdict::Refuse(550, Some(Enhanced::new(5, 1, 1)), "Who?".into())
        } else {
            OwnedVerdict::Accept
        };
        Answer::After(Duration::from_millis(5), verdict)
    }
    fn message(&mut self, peer: &Peer<'_>, envelope: Envelope) -> Answer<'_> {
        if envelope.text.starts_with(b"refuse") {
            return const { Reply::fixed(554, (5, 6, 0), "Not that") }.into();
        }
        let received = String::from_utf8(peer.received("1a2b", &envelope.to)).expect("ASCII");
        let user = peer.session.identity().map(|identity| identity.name().to_owned());
        self.to.send((envelope, received, user)).expect("the test listens");
        Verdict::AcceptWith("Kept").into()
    }
}

/// Asks for more than mail: every command of a peer is put to it.
struct Strict;

impl MessageHandler for Strict {
    fn command(&mut self, _: &Peer<'_>, verb: Verb) -> Answer<'_> {
        if verb == Verb::Noop {
            const { Reply::fixed(450, (4, 7, 0), "Not that") }.into()
        } else {
            Verdict::Accept.into()
        }
    }
    fn xclient(&mut self, _: &Peer<'_>, _: &Attributes<'_>) -> Answer<'_> {
        const { Reply::fixed(550, (5, 7, 0), "Not that") }.into()
    }
    fn xforward(&mut self, _: &Peer<'_>, _: &Attributes<'_>) -> Answer<'_> {
        const { Reply::fixed(554, (5, 7, 0), "Not that") }.into()
    }
    fn message(&mut self, _: &Peer<'_>, _: Envelope) -> Answer<'_> {
        Verdict::Accept.into()
    }
}

fn server(config: Arc<Config>) -> Server {
    Server::with_threads(config, 1)
}

/// Base64 of `\0ann\0pencil`, `\0ann\0pen` and `\0eve\0pencil`.
#[test]
fn users_authenticate_and_others_do_not() {
    let users = Users::from_passwords([("ann", "pencil"), ("ben", "pen")]).expect("users");
    let plain = MechanismSet::from(Mechanism::Plain);
    let config = config().role(Role::Submission).auth(plain).allow_plaintext_auth(true);
    let server = start(config, Room::default(), Some(users));
    let mail = "MAIL FROM:<a@x.example>\nRCPT TO:<b@y.example>\nDATA\nhello\n.\nQUIT\n";
    for (response, said) in [
        ("AGFubgBwZW5jaWw=", "250 235 250 250 354 250 221"),
        ("AGFubgBwZW4=", "250 535 530 503 503 500 500 221"),
        ("AGV2ZQBwZW5jaWw=", "250 535 530 503 503 500 500 221"),
    ] {
        let answered = codes(server.address, &format!("EHLO a.example\nAUTH PLAIN {response}\n{mail}"));
        assert_eq!(answered.get(..11), said.get(..11), "{answered}");
        assert_eq!(answered.ends_with("354 250 221"), said.ends_with("354 250 221"), "{answered}");
    }
    assert_eq!(server.messages.try_iter().map(|(.., user)| user).collect::<Vec<_>>(), [Some("ann".to_owned())]);
    let error = Users::from_passwords([("ann", "")]).expect_err("no password");
    assert!(error.to_string().contains("\"ann\""), "{error}");
}
