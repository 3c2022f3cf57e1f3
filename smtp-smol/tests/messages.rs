//! Whole messages, users in a map, and the helpers around them, over sockets.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use smtp_proto::auth::client::Credentials;
use smtp_proto::auth::server::{Answer, Question};
use smtp_proto::auth::{Mechanism, MechanismSet};
use smtp_proto::client;
use smtp_proto::server::{Config, Envelope, Role, Room, Verdict};
use smtp_proto::syntax::{Attributes, Rcpt, Reply, Verb};
use smtp_smol::{Client, Handle, MessageHandler, Messages, Peer, Server, Target, Users};

use cases::{config, start};

#[path = "../../smtp-proto/testing/adapters/messages.rs"]
mod cases;

/// Hands messages on, but for those to nobody.
struct Gateway {
    to: Sender<(Envelope, String, Option<String>)>,
    users: Option<Users>,
}

impl MessageHandler for Gateway {
    async fn authenticate(&mut self, _: &Peer<'_>, question: Question) -> Answer {
        match &self.users {
            Some(users) => users.answer(question).await,
            None => Answer::Reject,
        }
    }
    async fn rcpt(&mut self, _: &Peer<'_>, rcpt: &Rcpt<'_>) -> Verdict<'_> {
        if rcpt.path.as_str().starts_with("nobody@") {
            return Verdict::Refuse(const { Reply::fixed(550, (5, 1, 1), "Who?") });
        }
        Verdict::Accept
    }
    async fn message(&mut self, peer: &Peer<'_>, envelope: Envelope) -> Verdict<'_> {
        if envelope.text.starts_with(b"refuse") {
            return Verdict::Refuse(const { Reply::fixed(554, (5, 6, 0), "Not that") });
        }
        let received = String::from_utf8(peer.received("1a2b", &envelope.to)).expect("ASCII");
        let user = peer.session.identity().map(|identity| identity.name().to_owned());
        self.to.send((envelope, received, user)).expect("the test listens");
        Verdict::AcceptWith("Kept")
    }
}

/// Asks for more than mail: every command of a peer is put to it.
struct Strict;

impl MessageHandler for Strict {
    async fn command(&mut self, _: &Peer<'_>, verb: Verb) -> Verdict<'_> {
        if verb == Verb::Noop {
            Verdict::Refuse(const { Reply::fixed(450, (4, 7, 0), "Not that") })
        } else {
            Verdict::Accept
        }
    }
    async fn xclient(&mut self, _: &Peer<'_>, _: &Attributes<'_>) -> Verdict<'_> {
        Verdict::Refuse(const { Reply::fixed(550, (5, 7, 0), "Not that") })
    }
    async fn xforward(&mut self, _: &Peer<'_>, _: &Attributes<'_>) -> Verdict<'_> {
        Verdict::Refuse(const { Reply::fixed(554, (5, 7, 0), "Not that") })
    }
    async fn message(&mut self, _: &Peer<'_>, _: Envelope) -> Verdict<'_> {
        Verdict::Accept
    }
}

fn server(config: Arc<Config>) -> Server {
    Server::new(config)
}

#[test]
fn users_authenticate_by_every_mechanism_that_fits() {
    let users = Users::from_passwords([("ann", "pencil"), ("ben", "pen")]).expect("users");
    for mechanism in [Mechanism::ScramSha256, Mechanism::Plain, Mechanism::Login] {
        let config = config().role(Role::Submission).auth(MechanismSet::from(mechanism)).allow_plaintext_auth(true);
        let server = start(config, Room::default(), Some(users.clone()));
        for (name, password, taken) in
            [("ann", "pencil", true), ("ben", "pen", true), ("ann", "pen", false), ("eve", "pencil", false)]
        {
            let own = client::Config::new("client.example").expect("a name");
            let own = own.tls(client::Tls::Never).allow_plaintext_auth(true);
            let credentials = Credentials::password(name, password).expect("credentials");
            let client = Client::new(own.shared()).credentials(credentials);
            let to = [smtp_proto::syntax::ForwardPath::parse("b@y.example", false).expect("a path")];
            let to = to.map(|path| Rcpt { path, params: smtp_proto::syntax::Params::default() });
            let from = smtp_proto::syntax::ReversePath::parse("a@x.example", false).expect("a path");
            let done = smol::block_on(async {
                let target = Target::host("127.0.0.1", server.address.port());
                let mut connection = client.connect(&target).await.expect("connected");
                let text = &mut &b"hello\r\n"[..];
                let sent = connection.send(client::Envelope::new(from, &to), text).await.expect("sent");
                sent.outcomes().all(|outcome| outcome.is_accepted())
            });
            assert_eq!(done, taken, "{name} {password} by {mechanism:?}");
            if taken {
                assert_eq!(server.messages.recv().expect("a message").2.as_deref(), Some(name));
            }
        }
        assert!(server.messages.try_recv().is_err());
    }
    let error = Users::from_passwords([("ann", "")]).expect_err("no password");
    assert!(error.to_string().contains("\"ann\""), "{error}");
}
