//! A submission server: takes mail from users who authenticate by SCRAM-SHA-256 or PLAIN inside TLS, each from its own
//! address, and prints a line of JSON for each message.
//!
//! ```sh
//! cargo run -p smtp-smol --example submission -- 127.0.0.1:5870 mx.crt mx.key
//! ```

use std::error::Error;
use std::sync::Arc;

use smtp_proto::auth::server::{Answer, Identity, Question};
use smtp_proto::auth::{Mechanism, MechanismSet};
use smtp_proto::server::{Config, Envelope, Role, Room, Verdict};
use smtp_proto::syntax::{Mail, Reply};
use smtp_proto::tls::Policy;
use smtp_smol::{MessageHandler, Messages, Peer, Server, Users};

const NOT_YOURS: Reply<'static> = Reply::fixed(553, (5, 7, 1), "That is not your address");

struct Submission {
    users: Users,
}

impl MessageHandler for Submission {
    async fn authenticate(&mut self, _: &Peer<'_>, question: Question) -> Answer {
        self.users.answer(question).await
    }

    async fn mail(&mut self, peer: &Peer<'_>, mail: &Mail<'_>) -> Verdict<'_> {
        let own = peer.session.identity().map(|user| format!("{}@example.org", user.name()));
        if own.as_deref() == Some(mail.path.as_str()) { Verdict::Accept } else { Verdict::Refuse(NOT_YOURS) }
    }

    async fn message(&mut self, peer: &Peer<'_>, envelope: Envelope) -> Verdict<'_> {
        // The field for the top of the message, on its way to the next server.
        let received = peer.received("1", &envelope.to);
        println!(
            "{}",
            serde_json::json!({
                "user": peer.session.identity().map(Identity::name), "to": envelope.to,
                "octets": received.len() + envelope.text.len(), "protocol": peer.session.protocol().as_str(),
            })
        );
        Verdict::Accept
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, certificate, key] = &arguments[..] else { return Err("ADDRESS CERTIFICATE KEY".into()) };
    let mechanisms = MechanismSet::EMPTY.with(Mechanism::ScramSha256).with(Mechanism::Plain);
    // The role asks for TLS before AUTH, and for AUTH before MAIL.
    let config = Config::new("mx.example.net")?.role(Role::Submission).tls(Policy::Offer).auth(mechanisms);
    let mut server = Server::new(config.shared()).tls_from_pem(certificate.as_ref(), key.as_ref())?;
    println!("listening on {}", server.listen(address.parse()?)?);
    let users = Users::from_passwords([("ann", "pencil"), ("ben", "crayon")])?;
    let room = Arc::new(Room::default());
    Ok(server.run(move |_| Messages::new(Submission { users: users.clone() }, &room))?)
}
