//! Which mechanism a client takes: every offer, every kind of credentials, every kind of channel, seen on the wire.

use smtp_proto::auth::client::{Credentials, NoMechanism};
use smtp_proto::auth::{Mechanism, Nonce};
use smtp_proto::client::{Config, Event, Reason, Session, Tls};
use smtp_proto::{Channel, Step, TlsInfo, Want};

use super::tls;

/// The word behind AUTH, or why there was none.
fn chosen(offered: &[Mechanism], credentials: &Credentials, channel: Channel, allow: bool) -> Result<String, Reason> {
    let config = Config::new("client.example").expect("a name").tls(Tls::Never).allow_plaintext_auth(allow);
    let mut session = Session::new(config.shared(), channel);
    session.authenticate(credentials.clone(), Nonce::new(&[b'c'; 18]));
    let names: String = offered.iter().map(|mechanism| format!(" {mechanism}")).collect();
    let auth = if names.is_empty() { String::new() } else { format!("250-AUTH{names}\r\n") };
    let ehlo = format!("250-mx.example.net\r\n{auth}250 HELP\r\n");
    let mut server = ["220 mx.example.net\r\n", &ehlo, ""].into_iter();
    let (mut input, mut wire) = (&b""[..], Vec::new());
    loop {
        match session.step(&mut input) {
            Step::Event(Event::Closed(reason)) => return Err(reason),
            Step::Event(_) => {}
            Step::Want(want) => {
                wire.extend_from_slice(session.output());
                session.sent(session.output().len());
                assert_eq!(want, Want::Input);
                let wire = String::from_utf8_lossy(&wire);
                if let Some((_, line)) = wire.split_once("\r\nAUTH ") {
                    return Ok(line.split([' ', '\r']).next().expect("a word").into());
                }
                if wire.ends_with("QUIT\r\n") {
                    session.eof();
                } else {
                    input = server.next().expect("no more is read than was said").as_bytes();
                }
            }
        }
    }
}

/// RFC 4954 4, RFC 4422 7: the strongest that the credentials are good for and the channel allows, and nothing else.
#[test]
fn every_offer_with_all_credentials_on_each_channel() {
    use Mechanism as M;
    let password = Credentials::password("user", "pencil").expect("valid");
    // In the order in which they are preferred.
    let kinds: [(Credentials, &[Mechanism]); 4] = [
        (password.clone(), &[M::ScramSha256Plus, M::ScramSha256, M::Plain, M::Login]),
        // LOGIN has no place for whom to act as.
        (password.acting_as("boss").expect("a name"), &[M::ScramSha256Plus, M::ScramSha256, M::Plain]),
        (Credentials::token("user", "vF9dft4qmT").expect("valid"), &[M::OAuthBearer, M::XOAuth2]),
        (Credentials::external(), &[M::External]),
    ];
    let channels: [(Option<TlsInfo>, bool); 4] =
        [(None, false), (None, true), (Some(tls(None)), false), (Some(tls(Some(7))), false)];
    let mut said = 0;
    for offer in 0..1_u8 << Mechanism::ALL.len() {
        let bit = |at: &usize| offer >> at & 1 == 1;
        // In an order that is not that of strength.
        let offered: Vec<_> = (0..Mechanism::ALL.len()).filter(bit).map(|at| Mechanism::ALL[at * 3 % 7]).collect();
        for (credentials, preferred) in &kinds {
            for (info, allow) in &channels {
                // RFC 5802 6: PLUS only where there is a channel to bind to.
                let bound = info.as_ref().is_some_and(|info| info.channel_binding.is_some());
                let usable = |one: &&Mechanism| offered.contains(one) && (bound || **one != M::ScramSha256Plus);
                let expected = match preferred.iter().find(usable) {
                    None => Err(Reason::NoMechanism(NoMechanism::NoneOffered)),
                    Some(_) if info.is_none() && !allow => Err(Reason::NoMechanism(NoMechanism::NeedsTls)),
                    Some(mechanism) => Ok(mechanism.name().to_owned()),
                };
                said += usize::from(expected.is_ok());
                let channel = info.clone().map_or(Channel::Plain, Channel::Tls);
                let context = format!("{offered:?} {credentials:?} {info:?} {allow}");
                assert_eq!(chosen(&offered, credentials, channel, *allow), expected, "{context}");
            }
        }
    }
    assert_eq!(said, 1128, "of 2,048 cases, those in which a mechanism is used");
}
