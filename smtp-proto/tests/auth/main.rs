//! The mechanisms (`smtp_proto::auth`): client against server in memory, each way that it can go wrong, and whatever
//! octets a peer may send.

mod choice;
mod malformed;
mod properties;

use std::sync::LazyLock;

use smtp_proto::auth::client::{self, Cancel, Credentials, NoMechanism, choose};
use smtp_proto::auth::server::{self, Answer, Failure, Identity, Question, Turn};
use smtp_proto::auth::{Mechanism, MechanismSet, Nonce, ScramRecord, Secret};
use smtp_proto::{TlsInfo, tls::TlsVersion};

const PASSWORD: &str = "pencil";
const TOKEN: &str = "ya29.token";

fn all() -> MechanismSet {
    Mechanism::ALL.into_iter().collect()
}

fn tls(binding: Option<u8>) -> TlsInfo {
    let mut tls = TlsInfo::new(TlsVersion::Tls13, "TLS_AES_128_GCM_SHA256".into());
    tls.channel_binding = binding.map(|octet| vec![octet; 32]);
    tls
}

fn credentials(mechanism: Mechanism) -> Credentials {
    match mechanism {
        Mechanism::XOAuth2 | Mechanism::OAuthBearer => Credentials::token("user", TOKEN),
        Mechanism::External => Credentials::external().acting_as("user"),
        _ => Credentials::password("user", PASSWORD),
    }
    .expect("credentials")
}

/// That of `user`. Made once, as it takes its time.
fn record() -> ScramRecord {
    static RECORD: LazyLock<ScramRecord> =
        LazyLock::new(|| ScramRecord::derive(PASSWORD, b"the user's salt.", 4096).expect("a record"));
    RECORD.clone()
}

/// An application that knows `user` alone, who may act as `boss` too.
fn decide(question: &Question) -> Answer {
    let may = |authzid: &Option<String>| matches!(authzid.as_deref(), None | Some("user" | "boss"));
    let yes = match question {
        Question::Scram { authzid, authcid } => {
            let known = authcid == "user" && may(authzid);
            let decoy = || ScramRecord::decoy(authcid, b"the server's secret", 4096).expect("a record");
            let record = if known { record() } else { decoy() };
            return Answer::Scram { record, nonce: Nonce::new(&[b's'; 18]) };
        }
        Question::Password { authzid, authcid, password } => {
            record().verify(password.expose_str()) && authcid == "user" && may(authzid)
        }
        Question::Token { authzid, token, .. } => token.expose_str() == TOKEN && may(authzid),
        Question::External { authzid } => may(authzid),
        _ => false,
    };
    if yes { Answer::Accept } else { Answer::Reject }
}

/// How an exchange ended, and what was said: `C: ` and `S: `.
#[derive(Debug)]
struct Record {
    end: Result<Identity, Failure>,
    /// As the client has it: upon success whether to believe it.
    client: Result<(), Cancel>,
    said: Vec<String>,
}

struct Pair {
    client: client::Exchange,
    server: server::Exchange,
    /// Whether the initial response goes with the command.
    initial: bool,
}

impl Pair {
    fn new(mechanism: Mechanism, credentials: &Credentials) -> Self {
        let tls = tls(Some(7));
        Self {
            client: client::Exchange::new(mechanism, credentials, all(), Some(&tls), Nonce::new(&[b'c'; 18])),
            server: server::Exchange::new(mechanism, all(), Some(&tls)),
            initial: true,
        }
    }

    /// Runs it; `meddle` may change each message on its way, of which it is told the number.
    fn run(mut self, mut meddle: impl FnMut(usize, &mut Vec<u8>)) -> Record {
        let mut said = Vec::new();
        let mut pass = |who: &str, message: &[u8]| {
            let mut message = message.to_vec();
            meddle(said.len(), &mut message);
            said.push(format!("{who}: {}", message.escape_ascii()));
            message
        };
        let initial = if self.initial { self.client.initial_response() } else { None };
        let initial = initial.map(|message| pass("C", message.expose()));
        let mut turn = self.server.start(initial.as_deref());
        let end = loop {
            turn = match turn {
                Turn::Ask(question) => self.server.answer(decide(&question)),
                Turn::Challenge(challenge) => match self.client.respond(&pass("S", &challenge)) {
                    Ok(response) => self.server.respond(&pass("C", response.expose())),
                    // `*`, and the server's 501: no success, whoever noticed.
                    Err(cancel) => return Record { end: Err(Failure::Malformed), client: Err(cancel), said },
                },
                Turn::Success(identity) => break Ok(identity),
                Turn::Failure(failure) => break Err(failure),
            };
        };
        Record { end, client: self.client.succeeded(), said }
    }
}

fn untouched(_: usize, _: &mut Vec<u8>) {}

#[test]
fn every_mechanism_succeeds_with_and_without_an_initial_response() {
    for mechanism in Mechanism::ALL {
        for initial in [true, false] {
            let record = Pair { initial, ..Pair::new(mechanism, &credentials(mechanism)) }.run(untouched);
            let name = record.end.as_ref().map(Identity::name);
            assert_eq!(name, Ok("user"), "{mechanism}: {record:#?}");
            assert_eq!(record.client, Ok(()), "{mechanism}");
            // LOGIN has the server speak first (in all: two challenges); else an empty challenge asks for the first.
            let asked = mechanism == Mechanism::Login || !initial;
            assert_eq!(record.said.first().is_some_and(|line| line.starts_with("S: ")), asked, "{mechanism}");
        }
    }
}

#[test]
fn a_wrong_secret_is_rejected_by_every_mechanism() {
    for mechanism in Mechanism::ALL {
        let wrong = match mechanism {
            Mechanism::XOAuth2 | Mechanism::OAuthBearer => Credentials::token("user", "other"),
            Mechanism::External => Credentials::external().acting_as("stranger"),
            _ => Credentials::password("user", "pencil "),
        };
        let record = Pair::new(mechanism, &wrong.expect("credentials")).run(untouched);
        assert_eq!(record.end, Err(Failure::Rejected), "{mechanism}: {record:#?}");
        assert_ne!(record.client, Err(Cancel::Malformed), "{mechanism}: the client kept to the rules");
    }
}

/// RFC 5802 9, and the same for passwords: who exists is not told, by form, by length or by the number of turns.
#[test]
fn an_unknown_user_looks_like_a_wrong_password() {
    for mechanism in Mechanism::ALL {
        let of = |user: &str| {
            let credentials = match mechanism {
                Mechanism::XOAuth2 | Mechanism::OAuthBearer => Credentials::token(user, "other"),
                Mechanism::External => return None,
                _ => Credentials::password(user, "other"),
            };
            let record = Pair::new(mechanism, &credentials.expect("credentials")).run(untouched);
            assert_eq!(record.end, Err(Failure::Rejected), "{mechanism}");
            Some(record.said.iter().map(String::len).collect::<Vec<_>>())
        };
        assert_eq!(of("user"), of("resu"), "{mechanism}");
    }
    // Asked twice, the same salt; another user, or another server, another.
    let decoy = |user, secret| ScramRecord::decoy(user, secret, 4096).expect("a record").to_string();
    assert_eq!(decoy("resu", b"secret"), decoy("resu", b"secret"));
    assert_ne!(decoy("resu", b"secret"), decoy("sure", b"secret"));
    assert_ne!(decoy("resu", b"secret"), decoy("resu", b"Secret"));
    assert!(!ScramRecord::decoy("user", b"secret", 4096).expect("a record").verify(PASSWORD));
}

#[test]
fn acting_as_somebody_else_is_the_applications_to_allow() {
    for mechanism in [Mechanism::Plain, Mechanism::ScramSha256, Mechanism::ScramSha256Plus, Mechanism::External] {
        for (authzid, expected) in [("boss", Ok("boss")), ("root", Err(Failure::Rejected))] {
            let credentials = credentials(mechanism).acting_as(authzid).expect("a name");
            let record = Pair::new(mechanism, &credentials).run(untouched);
            let name = record.end.as_ref().map(Identity::name).map_err(|failure| *failure);
            assert_eq!(name, expected, "{mechanism}");
        }
    }
}

/// Every octet of every message, changed: never a success that both sides believe in.
#[test]
fn no_tampered_message_of_scram_passes() {
    for mechanism in [Mechanism::ScramSha256, Mechanism::ScramSha256Plus] {
        let plain = Pair::new(mechanism, &credentials(mechanism)).run(untouched);
        let (mut tried, last) = (0, plain.said.len() - 1);
        for number in 0..last {
            for at in 0.. {
                let mut length = 0;
                let record = Pair::new(mechanism, &credentials(mechanism)).run(|this, message| {
                    if this == number {
                        length = message.len();
                        if let Some(octet) = message.get_mut(at) {
                            *octet ^= 1;
                        }
                    }
                });
                if at >= length {
                    break;
                }
                tried += 1;
                let believed = record.end.is_ok() && record.client.is_ok();
                assert!(!believed, "{mechanism}: message {number} changed at {at}: {record:#?}");
            }
        }
        assert!(tried > 250, "{tried}");
    }
}

#[test]
fn a_message_cut_short_is_never_a_success() {
    for mechanism in Mechanism::ALL {
        // The bare name of EXTERNAL, and that of LOGIN, is as good when it is shorter; it names nobody here.
        let plain = Pair::new(mechanism, &credentials(mechanism)).run(untouched);
        for number in (0..plain.said.len()).filter(|number| plain.said[*number].starts_with("C: ")) {
            for keep in 0..plain.said[number].len() - 3 {
                let mut shorter = false;
                let record = Pair::new(mechanism, &credentials(mechanism)).run(|this, message| {
                    if this == number {
                        shorter = keep < message.len();
                        message.truncate(keep);
                    }
                });
                let nobody = record.end.as_ref().is_ok_and(|identity| identity.name().is_empty());
                assert!(!shorter || record.end.is_err() || nobody, "{mechanism}: {number} cut to {keep}: {record:#?}");
            }
        }
    }
}

/// Somebody in the middle, with a channel to each side (RFC 5802 6, RFC 9266).
#[test]
fn a_client_bound_to_another_channel_is_found_out() {
    let plus = Mechanism::ScramSha256Plus;
    let pair = Pair {
        client: client::Exchange::new(plus, &credentials(plus), all(), Some(&tls(Some(8))), Nonce::new(&[b'c'; 18])),
        ..Pair::new(plus, &credentials(plus))
    };
    assert_eq!(pair.run(untouched).end, Err(Failure::ChannelBinding));
}

/// RFC 5802 6: `y` says that the client could have had channel binding, had it been offered.
#[test]
fn a_plus_that_was_taken_out_of_the_offer_is_noticed() {
    let scram = Mechanism::ScramSha256;
    let stripped = all().without(Mechanism::ScramSha256Plus);
    let bound = tls(Some(7));
    let client = |offered, tls: &TlsInfo| {
        client::Exchange::new(scram, &credentials(scram), offered, Some(tls), Nonce::new(&[b'c'; 18]))
    };
    let run = |client, server| Pair { client, server, initial: true }.run(untouched);

    let record = run(client(stripped, &bound), server::Exchange::new(scram, all(), Some(&bound)));
    assert!(record.said[0].starts_with("C: y,,"), "{record:#?}");
    assert_eq!(record.end, Err(Failure::ChannelBinding));
    // It was not offered indeed; or the server cannot; or the client cannot; or would not.
    let record = run(client(stripped, &bound), server::Exchange::new(scram, stripped, Some(&bound)));
    assert!(record.end.is_ok(), "{record:#?}");
    let record = run(client(stripped, &bound), server::Exchange::new(scram, all(), Some(&tls(None))));
    assert!(record.end.is_ok(), "{record:#?}");
    let record = run(client(stripped, &tls(None)), server::Exchange::new(scram, all(), Some(&bound)));
    assert!(record.said[0].starts_with("C: n,,") && record.end.is_ok(), "{record:#?}");
    let record = run(client(all(), &bound), server::Exchange::new(scram, all(), Some(&bound)));
    assert!(record.said[0].starts_with("C: n,,") && record.end.is_ok(), "{record:#?}");
}

#[test]
fn a_client_gives_endless_challenges_up() {
    for mechanism in Mechanism::ALL {
        for challenge in [&b""[..], b"garbage", b"\xff\0\r\n", &[b'x'; 20_000]] {
            let nonce = Nonce::new(&[b'c'; 18]);
            let mut client =
                client::Exchange::new(mechanism, &credentials(mechanism), all(), Some(&tls(Some(7))), nonce);
            let turns = (0..10).take_while(|_| client.respond(challenge).is_ok()).count();
            assert!(turns <= 2, "{mechanism}: {turns} responses");
            assert!(client.succeeded().is_err(), "{mechanism}");
        }
    }
}

#[test]
fn a_yes_before_the_end_is_not_believed() {
    for mechanism in Mechanism::ALL {
        let nonce = Nonce::new(&[b'c'; 18]);
        let mut client = client::Exchange::new(mechanism, &credentials(mechanism), all(), Some(&tls(Some(7))), nonce);
        assert_eq!(client.succeeded(), Err(Cancel::Early), "{mechanism}: nothing has been said");
        let first = client.initial_response();
        let one_message = !matches!(mechanism, Mechanism::Login | Mechanism::ScramSha256 | Mechanism::ScramSha256Plus);
        assert_eq!(first.is_some(), mechanism != Mechanism::Login);
        assert_eq!(client.initial_response(), None, "{mechanism}: it is said once");
        assert_eq!(client.succeeded().is_ok(), one_message, "{mechanism}");
    }
}

/// RFC 7628 3.2.2 and 3.2.3: the error comes as a challenge, the client says ^A, and the server's no is no.
#[test]
fn a_refused_token_is_told_and_then_refused() {
    for (mechanism, dummy) in [(Mechanism::OAuthBearer, "C: \\x01"), (Mechanism::XOAuth2, "C: ")] {
        let record = Pair::new(mechanism, &Credentials::token("user", "other").expect("a token")).run(untouched);
        assert_eq!(record.said[1..], [r#"S: {\"status\":\"invalid_token\"}"#, dummy], "{mechanism}");
        assert_eq!((record.end, record.client), (Err(Failure::Rejected), Err(Cancel::Token)), "{mechanism}");
    }
}

#[test]
fn the_strongest_that_can_be_used_is_chosen() {
    let bound = tls(Some(7));
    let password = credentials(Mechanism::Plain);
    assert_eq!(choose(all(), &password, Some(&bound), false), Ok(Mechanism::ScramSha256Plus));
    assert_eq!(choose(all(), &password, Some(&tls(None)), false), Ok(Mechanism::ScramSha256));
    let plain = MechanismSet::EMPTY.with(Mechanism::Login).with(Mechanism::Plain).with(Mechanism::OAuthBearer);
    assert_eq!(choose(plain, &password, Some(&bound), false), Ok(Mechanism::Plain));
    assert_eq!(choose(Mechanism::Login.into(), &password, Some(&bound), false), Ok(Mechanism::Login));
    // LOGIN cannot say whom to act as.
    let boss = password.clone().acting_as("boss").expect("a name");
    assert_eq!(choose(Mechanism::Login.into(), &boss, Some(&bound), false), Err(NoMechanism::NoneOffered));
    assert_eq!(choose(all(), &credentials(Mechanism::XOAuth2), Some(&bound), false), Ok(Mechanism::OAuthBearer));
    assert_eq!(choose(all(), &Credentials::external(), Some(&bound), false), Ok(Mechanism::External));
    assert_eq!(choose(plain, &Credentials::external(), Some(&bound), false), Err(NoMechanism::NoneOffered));
    assert_eq!(choose(MechanismSet::EMPTY, &password, Some(&bound), true), Err(NoMechanism::NoneOffered));
    // Without TLS nothing, unless it was said that it may be.
    for credentials in [&password, &credentials(Mechanism::XOAuth2), &Credentials::external()] {
        assert_eq!(choose(all(), credentials, None, false), Err(NoMechanism::NeedsTls));
    }
    assert_eq!(choose(all(), &password, None, true), Ok(Mechanism::ScramSha256));
    assert_eq!(choose(plain, &password, None, true), Ok(Mechanism::Plain));
}

/// An application that answers a question that was not asked fails closed.
#[test]
fn an_answer_that_does_not_fit_is_no_success() {
    let scram = || Answer::Scram { record: record(), nonce: Nonce::new(&[b's'; 18]) };
    let at = |mechanism, message: &[u8]| {
        let mut server = server::Exchange::new(mechanism, all(), Some(&tls(Some(7))));
        assert!(matches!(server.start(Some(message)), Turn::Ask(_)), "{mechanism}");
        server
    };
    for answer in [Answer::Accept, Answer::AcceptAs("root".into())] {
        let mut server = at(Mechanism::ScramSha256, b"n,,n=user,r=x");
        assert_eq!(server.answer(answer), Turn::Failure(Failure::Misused));
        assert_eq!(server.respond(b""), Turn::Failure(Failure::Malformed), "it is over");
    }
    assert_eq!(at(Mechanism::Plain, b"\0user\0pencil").answer(scram()), Turn::Failure(Failure::Misused));
    // Yes, but who?
    assert_eq!(at(Mechanism::External, b"").answer(Answer::Accept), Turn::Failure(Failure::Misused));
    let nobody = b"n,,\x01auth=Bearer t\x01\x01";
    assert_eq!(at(Mechanism::OAuthBearer, nobody).answer(Answer::Accept), Turn::Failure(Failure::Misused));
    assert_eq!(
        at(Mechanism::OAuthBearer, nobody).answer(Answer::AcceptAs(String::new())),
        Turn::Failure(Failure::Misused)
    );
    let Turn::Success(identity) = at(Mechanism::OAuthBearer, nobody).answer(Answer::AcceptAs("user".into())) else {
        panic!("no success")
    };
    assert_eq!(identity.name(), "user");
    for mechanism in Mechanism::ALL {
        let mut server = server::Exchange::new(mechanism, all(), Some(&tls(Some(7))));
        assert_eq!(server.answer(Answer::Accept), Turn::Failure(Failure::Misused), "{mechanism}: nothing was asked");
        assert_eq!(server.start(None), Turn::Failure(Failure::Malformed), "{mechanism}: it is over");
    }
    let mut server = at(Mechanism::Plain, b"\0user\0pencil");
    assert_eq!(server.answer(Answer::TemporaryFailure), Turn::Failure(Failure::Temporary));
}

#[test]
fn secrets_are_redacted_in_debug() {
    let debug = |value: &dyn std::fmt::Debug| {
        let text = format!("{value:?} {value:#?}");
        for secret in [PASSWORD, TOKEN, "112, 101, 110", "121, 97, 50"] {
            assert!(!text.contains(secret), "{text}");
        }
        text
    };
    for mechanism in Mechanism::ALL {
        let credentials = credentials(mechanism);
        debug(&credentials);
        let mut pair = Pair::new(mechanism, &credentials);
        debug(&pair.client);
        let first = pair.client.initial_response();
        debug(&first);
        debug(&pair.client);
        let turn = pair.server.start(first.as_ref().map(Secret::expose));
        debug(&turn);
        debug(&pair.server);
        if let Turn::Ask(question) = turn {
            debug(&decide(&question));
            let turn = pair.server.answer(decide(&question));
            debug(&turn);
            debug(&pair.server);
        }
    }
    let text = debug(&record());
    assert!(!text.contains("salt") && !text.contains("key: ["), "{text}");
}
