//! Whatever a peer may send.

use proptest::prelude::*;
use smtp_proto::auth::client::{self, Credentials};
use smtp_proto::auth::server::{self, Answer, Failure, Question, Turn};
use smtp_proto::auth::{Mechanism, Nonce, ScramRecord};

use crate::{Pair, all, credentials, tls};

fn mechanism() -> impl Strategy<Value = Mechanism> {
    prop::sample::select(&Mechanism::ALL[..])
}

/// Octets like those of the mechanisms, and others.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let parts = prop::sample::select(vec![
        "n",
        "y",
        "p=tls-exporter",
        ",",
        "a=",
        "n=",
        "r=",
        "c=biws",
        "p=",
        "v=",
        "i=4096",
        "s=c2FsdA==",
        "user",
        "=2C",
        "=",
        "\0",
        "\x01",
        "auth=Bearer ",
        "host=",
        "port=1",
        "user=",
        "pencil",
    ]);
    prop_oneof![
        prop::collection::vec(parts, 0..12).prop_map(|parts| parts.concat().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..64),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever the client says to a server whose application says no, or gives a decoy: no success, and it ends.
    #[test]
    fn no_message_succeeds_without_the_applications_yes(
        mechanism in mechanism(), messages in prop::collection::vec(message(), 1..6), initial: bool,
    ) {
        let mut server = server::Exchange::new(mechanism, all(), Some(&tls(Some(7))));
        let mut messages = messages.into_iter();
        let mut turn = server.start(messages.next().filter(|_| initial).as_deref());
        let mut turns = 0;
        loop {
            turns += 1;
            prop_assert!(turns < 12);
            turn = match turn {
                Turn::Ask(Question::Scram { authcid, .. }) => {
                    let record = ScramRecord::decoy(&authcid, b"secret", 4096).expect("a record");
                    server.answer(Answer::Scram { record, nonce: Nonce::new(&[b's'; 18]) })
                }
                Turn::Ask(_) => server.answer(Answer::Reject),
                Turn::Challenge(_) => match messages.next() {
                    Some(message) => server.respond(&message),
                    None => break,
                },
                Turn::Success(identity) => panic!("{identity:?}"),
                Turn::Failure(_) => break,
            };
        }
        // What is over stays over.
        if let Turn::Failure(_) = turn {
            prop_assert_eq!(server.respond(b"\0user\0pencil"), Turn::Failure(Failure::Malformed));
            prop_assert_eq!(server.answer(Answer::Accept), Turn::Failure(Failure::Misused));
        }
    }

    /// Any name and password that are let in come through whole, and the right password is right.
    #[test]
    fn names_and_passwords_come_through_whole(user in "\\PC{1,40}", password in "\\PC{1,40}", authzid in "\\PC{0,8}") {
        let mut credentials = Credentials::password(&user, &password).expect("credentials");
        if !authzid.is_empty() {
            credentials = credentials.acting_as(&authzid).expect("a name");
        }
        let asked = (!authzid.is_empty()).then_some(authzid);
        for mechanism in [Mechanism::Plain, Mechanism::ScramSha256Plus] {
            let mut pair = Pair::new(mechanism, &credentials);
            let first = pair.client.initial_response().expect("the client speaks first");
            let turn = match pair.server.start(Some(first.expose())) {
                Turn::Ask(Question::Password { authzid, authcid, password: secret }) => {
                    prop_assert_eq!((&authzid, &authcid), (&asked, &user));
                    prop_assert_eq!(secret.expose_str(), &password);
                    pair.server.answer(Answer::Accept)
                }
                Turn::Ask(Question::Scram { authzid, authcid }) => {
                    prop_assert_eq!((&authzid, &authcid), (&asked, &user));
                    let record = ScramRecord::derive(&password, b"salt", 4096).expect("a record");
                    let Turn::Challenge(challenge) =
                        pair.server.answer(Answer::Scram { record, nonce: Nonce::new(&[b's'; 18]) })
                    else { panic!("no challenge") };
                    let response = pair.client.respond(&challenge).expect("a response");
                    let Turn::Challenge(challenge) = pair.server.respond(response.expose()) else {
                        panic!("the right password is wrong")
                    };
                    let response = pair.client.respond(&challenge).expect("a response");
                    pair.server.respond(response.expose())
                }
                other => panic!("{other:?}"),
            };
            prop_assert!(matches!(turn, Turn::Success(_)));
            prop_assert_eq!(pair.client.succeeded(), Ok(()));
        }
    }

    /// A server that says anything at all never has a client of SCRAM believe it, nor go on for long.
    #[test]
    fn no_server_is_believed_that_does_not_know_the_password(challenges in prop::collection::vec(message(), 0..5)) {
        let scram = Mechanism::ScramSha256;
        let nonce = Nonce::new(&[b'c'; 18]);
        let mut client = client::Exchange::new(scram, &credentials(scram), scram.into(), None, nonce);
        client.initial_response().expect("the client speaks first");
        for challenge in challenges {
            if client.respond(&challenge).is_err() {
                break;
            }
        }
        prop_assert!(client.succeeded().is_err());
    }
}
