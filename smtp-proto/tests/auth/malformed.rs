//! Messages, credentials and records that are none.

use smtp_proto::auth::client::{self, Cancel, Credentials};
use smtp_proto::auth::server::{self, Failure, Question, Turn};
use smtp_proto::auth::{InvalidCredentials, InvalidRecord, Mechanism, Nonce, ScramRecord};

use crate::{Pair, all, credentials, record, tls};

/// What the server makes of a first message.
fn first(mechanism: Mechanism, message: &str) -> Turn {
    server::Exchange::new(mechanism, all(), Some(&tls(Some(7)))).start(Some(message.as_bytes()))
}

#[test]
fn malformed_first_messages_of_scram() {
    let scram = Mechanism::ScramSha256;
    let asked = |authzid: Option<&str>, authcid: &str| {
        Turn::Ask(Question::Scram { authzid: authzid.map(Into::into), authcid: authcid.into() })
    };
    assert_eq!(first(scram, "n,,n=user,r=x"), asked(None, "user"));
    assert_eq!(first(scram, "n,a=bo=2Css,n=us=3Der,r=x"), asked(Some("bo,ss"), "us=er"));
    assert_eq!(first(scram, "n,,n=user,r=x,a=an extension"), asked(None, "user"));
    let many = format!("n,,n=user,r={}", "x".repeat(513));
    let long = format!("n,,n={},r=x", "u".repeat(1025));
    for bad in [
        "",
        ",",
        "n",
        "n,",
        "n,,",
        "n,,n=user",
        "n,,n=user,",
        "n,,n=user,r=",
        "n,,n=user,r=a b",
        "n,,n=user,r=\u{e9}",
        "n,,n=user,x=y,r=x",
        "n,,n=,r=x",
        "n,,n=us=er,r=x",
        "n,,n=us\0er,r=x",
        "n,,n=us\ner,r=x",
        "n,,m=must,n=user,r=x",
        "n,,r=x,n=user",
        "n,user,n=user,r=x",
        "n,a=,n=user,r=x",
        "n,a==,n=user,r=x",
        "N,,n=user,r=x",
        "n,,N=user,r=x",
        "x,,n=user,r=x",
        "p=,,n=user,r=x",
        "p=tls exporter,,n=user,r=x",
        "p=tls-exporter,,n=user,r=x",
        "p=tls-unique,,n=user,r=x",
        "F,n,,n=user,r=x",
        "n,,n=user,r=x,",
        "n,,n=user,r=x,extension",
        "n,,n=user,r=x,1=2",
        " n,,n=user,r=x",
        &many,
        &long,
    ] {
        assert_eq!(first(scram, bad), Turn::Failure(Failure::Malformed), "{bad:?}");
    }
    let plus = Mechanism::ScramSha256Plus;
    assert_eq!(first(plus, "p=tls-exporter,,n=user,r=x"), asked(None, "user"));
    assert_eq!(first(plus, "p=tls-unique,,n=user,r=x"), Turn::Failure(Failure::ChannelBinding));
    for bad in ["n,,n=user,r=x", "y,,n=user,r=x"] {
        assert_eq!(first(plus, bad), Turn::Failure(Failure::Malformed), "{bad:?}");
    }
    // PLUS on a channel without binding cannot have been offered.
    let mut unbound = server::Exchange::new(plus, all(), Some(&tls(None)));
    assert_eq!(unbound.start(Some(b"p=tls-exporter,,n=user,r=x")), Turn::Failure(Failure::ChannelBinding));
}

#[test]
fn malformed_final_messages_of_scram() {
    let scram = Mechanism::ScramSha256;
    let last = |change: &dyn Fn(&str) -> String| {
        let record = Pair::new(scram, &credentials(scram)).run(|number, message| {
            if number == 2 {
                *message = change(std::str::from_utf8(message).expect("ASCII")).into_bytes();
            }
        });
        record.end.map(|identity| identity.name().to_owned())
    };
    assert_eq!(last(&str::to_owned), Ok("user".into()));
    type Change = fn(&str) -> String;
    let malformed: [Change; 12] = [
        |_| String::new(),
        |message| message.replace("c=biws", "c="),
        |message| message.replace("c=biws", "c=*"),
        |message| message.replace("c=biws", "c=biws="),
        |message| message.replace("c=biws,", ""),
        |message| message.replace(",r=", ",R="),
        |message| message.replace(",r=", ",r=x"),
        |message| message.replace(",p=", "x,p="),
        |message| message.replace(",p=", ",p=="),
        |message| message.replace("=", ""),
        |message| message.split(",p=").next().unwrap_or_default().to_owned(),
        |message| format!("{message},x=y"),
    ];
    for (number, change) in malformed.iter().enumerate() {
        let end = last(change);
        let bound = matches!(number, 1);
        let expected = if bound { Failure::ChannelBinding } else { Failure::Malformed };
        assert_eq!(end, Err(expected), "{number}");
    }
    // Another header than at first: `y,,`. An extension that the proof does not cover. A proof of another length.
    assert_eq!(last(&|message| message.replace("c=biws", "c=eSws")), Err(Failure::ChannelBinding));
    assert_eq!(last(&|message| message.replace(",p=", ",x=y,p=")), Err(Failure::Rejected));
    assert_eq!(
        last(&|message| format!("{},p=AAAA", message.split(",p=").next().unwrap_or_default())),
        Err(Failure::Rejected)
    );
}

/// A server that lies: what it says, and what the client makes of it.
#[test]
fn a_client_of_scram_believes_no_false_server() {
    let scram = Mechanism::ScramSha256;
    let client = || {
        let nonce = Nonce::new(&[b'c'; 18]);
        let mut client = client::Exchange::new(scram, &credentials(scram), scram.into(), None, nonce);
        let first = client.initial_response().expect("the client speaks first");
        let ours = first.expose_str().split("r=").nth(1).expect("a nonce").to_owned();
        (client, ours)
    };
    let (_, ours) = client();
    let long = "x".repeat(600);
    for (challenge, expected) in [
        (String::new(), Cancel::Malformed),
        ("garbage".into(), Cancel::Malformed),
        ("e=other-error".into(), Cancel::Malformed),
        ("v=AAAA".into(), Cancel::Malformed),
        (format!("r={ours}x,s=c2FsdA=="), Cancel::Malformed),
        (format!("r={ours}x,s=c2FsdA==,i="), Cancel::Malformed),
        (format!("r={ours}x,s=c2FsdA==,i=+4096"), Cancel::Malformed),
        (format!("r={ours}x,s=c2FsdA==,i=04096"), Cancel::Malformed),
        (format!("r={ours}x,s=c2FsdA==,i=4096x"), Cancel::Malformed),
        (format!("r={ours}x,s=c2FsdA==,i=99999999999"), Cancel::Malformed),
        (format!("r={ours}x,s=,i=4096"), Cancel::Malformed),
        (format!("r={ours}x,s=c2Fsd,i=4096"), Cancel::Malformed),
        (format!("m=must,r={ours}x,s=c2FsdA==,i=4096"), Cancel::Malformed),
        (format!("s=c2FsdA==,r={ours}x,i=4096"), Cancel::Malformed),
        (format!("r={ours}{long},s=c2FsdA==,i=4096"), Cancel::Malformed),
        (format!("r={ours},s=c2FsdA==,i=4096"), Cancel::Nonce),
        (format!("r=x{ours},s=c2FsdA==,i=4096"), Cancel::Nonce),
        ("r=other,s=c2FsdA==,i=4096".into(), Cancel::Nonce),
        (format!("r={ours}x,s=c2FsdA==,i=1"), Cancel::Iterations),
        (format!("r={ours}x,s=c2FsdA==,i=4095"), Cancel::Iterations),
        (format!("r={ours}x,s=c2FsdA==,i=1000001"), Cancel::Iterations),
        (format!("r={ours}x,s=c2FsdA==,i=4294967295"), Cancel::Iterations),
    ] {
        let (mut client, _) = client();
        assert_eq!(client.respond(challenge.as_bytes()), Err(expected), "{challenge}");
        // Once given up, it stays so.
        assert_eq!(client.respond(b""), Err(expected), "{challenge}");
        assert_eq!(client.succeeded(), Err(expected), "{challenge}");
    }
    let (mut client, ours) = client();
    let response = client.respond(format!("r={ours}x,s=c2FsdA==,i=4096,x=ignored").as_bytes()).expect("a response");
    assert!(response.expose_str().starts_with("c=biws,r="));
    assert_eq!(client.succeeded(), Err(Cancel::Early), "235 without the server's signature");
    let signature = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
    assert_eq!(client.respond(signature.as_bytes()), Err(Cancel::Server));
}

#[test]
fn credentials_that_cannot_be() {
    let long = "x".repeat(9217);
    for (user, secret, expected) in [
        ("", "x", InvalidCredentials::Empty),
        ("x", "", InvalidCredentials::Empty),
        (&*long, "x", InvalidCredentials::TooLong),
        ("x", &*long, InvalidCredentials::TooLong),
        ("x\0y", "x", InvalidCredentials::Forbidden),
        ("x", "x\0y", InvalidCredentials::Forbidden),
        ("x\r\ny", "x", InvalidCredentials::Forbidden),
        ("x", "x\r\nMAIL FROM:<>", InvalidCredentials::Forbidden),
        ("x\u{85}", "x", InvalidCredentials::Forbidden),
        ("x\x01auth=", "x", InvalidCredentials::Forbidden),
    ] {
        assert_eq!(Credentials::password(user, secret), Err(expected), "{user:.9?} {secret:.9?}");
        assert_eq!(Credentials::token(user, secret), Err(expected), "{user:.9?} {secret:.9?}");
    }
    assert_eq!(Credentials::token("x", "a b"), Err(InvalidCredentials::Forbidden));
    assert!(Credentials::password("h\u{f6}lder", "p\u{e4}ss word").is_ok());
    assert!(Credentials::external().acting_as("").is_err() && Credentials::external().at("a\rb", 25).is_err());
    // Credentials for another mechanism: nothing is said.
    let nonce = Nonce::new(&[b'c'; 18]);
    let mut client = client::Exchange::new(Mechanism::Plain, &Credentials::external(), all(), None, nonce);
    assert_eq!((client.initial_response(), client.respond(b"")), (None, Err(Cancel::Malformed)));
}

#[test]
fn records_that_cannot_be() {
    assert_eq!(ScramRecord::derive("", b"salt", 4096), Err(InvalidRecord::Password(InvalidCredentials::Empty)));
    assert_eq!(ScramRecord::derive("x", b"", 4096), Err(InvalidRecord::Salt));
    assert_eq!(ScramRecord::derive("x", &[0; 1025], 4096), Err(InvalidRecord::Salt));
    assert_eq!(ScramRecord::derive("x", b"salt", 4095), Err(InvalidRecord::Iterations));
    assert_eq!(ScramRecord::derive("x", b"salt", 1_000_001), Err(InvalidRecord::Iterations));
    let text = record().to_string();
    assert_eq!(text.parse(), Ok(record()));
    for bad in ["", "SCRAM-SHA-256$", "SCRAM-SHA-1$4096:c2FsdA==$AA==:AA==", "SCRAM-SHA-256$4096:c2FsdA==$AA==:AA=="] {
        assert_eq!(bad.parse::<ScramRecord>(), Err(InvalidRecord::Form), "{bad}");
    }
    assert_eq!(text.replace("4096", "1").parse::<ScramRecord>(), Err(InvalidRecord::Iterations));
    assert_eq!(text.replace("4096", "04096").parse::<ScramRecord>(), Err(InvalidRecord::Form));
    assert_eq!(format!("{text}A").parse::<ScramRecord>(), Err(InvalidRecord::Form));
}
