//! Bounds of SASL messages met and not passed, keys to the digit, and words out of their place.

use smtp_proto::auth::client::{self, Cancel, Credentials};
use smtp_proto::auth::server::{self, Answer, Failure, Turn};
use smtp_proto::auth::{MAX_MESSAGE, Mechanism, MechanismSet, Nonce, ScramRecord, Users};

fn client(mechanism: Mechanism) -> client::Exchange {
    let credentials = Credentials::password("user", "pencil").expect("credentials");
    client::Exchange::new(mechanism, &credentials, MechanismSet::EMPTY.with(mechanism), None, Nonce::new(&[1; 18]))
}

fn server(mechanism: Mechanism) -> server::Exchange {
    server::Exchange::new(mechanism, MechanismSet::EMPTY.with(mechanism), None)
}

/// RFC 2104 2: a key of more than 64 octets is hashed, one of 64 is not. Expected values: Python's hashlib.pbkdf2_hmac.
#[test]
fn keys_are_what_others_make_of_the_password() {
    for (octets, keys) in [
        (64, "ZMZarN6Iv7Kmdi0rUi7jDEZqprs885D1BE/p7R9NUQQ=:czs7d6xLVehr/DiuMBDgkppehBQMwydAgG4ZCUs+Bko="),
        (65, "RGWLZ4LAGyQqF96Lbo/hIAFi9QfOX4TsWIp2F4woduQ=:roDjYRI0Tt2up2IuadHEFYObmUoo+AIUrE8w1dF1ePk="),
    ] {
        let record = ScramRecord::derive(&"p".repeat(octets), b"salt of this user", 4096).expect("a record");
        assert_eq!(record.to_string(), format!("SCRAM-SHA-256$4096:c2FsdCBvZiB0aGlzIHVzZXI=${keys}"), "{octets}");
    }
    for (octets, fits) in [(0, false), (1, true), (1024, true), (1025, false)] {
        assert_eq!(ScramRecord::derive("p", &vec![b's'; octets], 4096).is_ok(), fits, "a salt of {octets}");
    }
}

/// A salt from the server has the same bound.
#[test]
fn a_salt_of_the_servers_has_its_bound() {
    // 1,024 octets are 1,366 digits and two for filling up.
    for (salt, fits) in [("QUFB".repeat(341) + "QQ==", true), ("QUFB".repeat(341) + "QUE=", false)] {
        let mut exchange = client(Mechanism::ScramSha256);
        let first = exchange.initial_response().expect("it speaks first");
        let nonce = first.expose_str().rsplit_once("r=").expect("a nonce").1.to_owned();
        let challenge = format!("r={nonce}server,s={salt},i=4096");
        assert_eq!(exchange.respond(challenge.as_bytes()).is_ok(), fits, "{}", salt.len());
    }
}

/// A message is as long as it may be: on either side, and of a name the longest.
#[test]
fn messages_have_their_bound() {
    for (octets, expected) in [(MAX_MESSAGE, Ok(())), (MAX_MESSAGE + 1, Err(Cancel::Malformed))] {
        // The words before the name are of no account.
        assert_eq!(client(Mechanism::Login).respond(&vec![b'x'; octets]).map(drop), expected, "{octets}");
    }
    for (octets, fits) in [(MAX_MESSAGE, true), (MAX_MESSAGE + 1, false)] {
        // What is not known is left alone (RFC 7628 3.1).
        let rest = octets - "n,a=u,\x01auth=Bearer t\x01x=\x01\x01".len();
        let message = format!("n,a=u,\x01auth=Bearer t\x01x={}\x01\x01", "y".repeat(rest));
        assert_eq!(message.len(), octets);
        let turn = server(Mechanism::OAuthBearer).start(Some(message.as_bytes()));
        assert_eq!(matches!(turn, Turn::Ask(_)), fits, "{octets}");
    }
}

/// RFC 4954 4: where the client speaks first, the server's 334 has no words.
#[test]
fn a_challenge_with_words_is_none_where_the_client_speaks_first() {
    for initial in [false, true] {
        let mut exchange = client(Mechanism::Plain);
        if initial {
            exchange.initial_response().expect("it speaks first");
        }
        assert_eq!(exchange.respond(b"words").map(drop), Err(Cancel::Malformed), "{initial}");
    }
    assert!(client(Mechanism::Plain).respond(b"").is_ok());
}

/// RFC 5802 7: a name of a channel binding is of letters, digits, dots and hyphens; one that is not known is another thing.
#[test]
fn a_channel_binding_has_a_name() {
    for (name, failure) in [
        ("tls-unique", Failure::ChannelBinding),
        ("a.B9", Failure::ChannelBinding),
        ("", Failure::Malformed),
        ("a b", Failure::Malformed),
        ("a_b", Failure::Malformed),
    ] {
        let turn = server(Mechanism::ScramSha256Plus).start(Some(format!("p={name},,n=user,r=nonce").as_bytes()));
        assert!(matches!(turn, Turn::Failure(found) if found == failure), "{name:?}");
    }
}

/// RFC 4954 4: the response to the server's last word is empty.
#[test]
fn nothing_is_said_behind_the_servers_signature() {
    for (last, done) in [(&b""[..], true), (b"x", false)] {
        let (mut client, mut server) = (client(Mechanism::ScramSha256), server(Mechanism::ScramSha256));
        let first = client.initial_response().expect("it speaks first");
        assert!(matches!(server.start(Some(first.expose())), Turn::Ask(_)));
        let record = ScramRecord::derive("pencil", b"salt", 4096).expect("a record");
        let Turn::Challenge(challenge) = server.answer(Answer::Scram { record, nonce: Nonce::new(&[2; 18]) }) else {
            panic!("the server goes on");
        };
        let response = client.respond(&challenge).expect("a good challenge");
        let Turn::Challenge(signature) = server.respond(response.expose()) else { panic!("the proof is good") };
        assert!(client.respond(&signature).expect("the signature is good").expose().is_empty());
        assert_eq!(matches!(server.respond(last), Turn::Success(_)), done, "{last:?}");
    }
    assert!(Users::new(b"secret").is_empty());
}
