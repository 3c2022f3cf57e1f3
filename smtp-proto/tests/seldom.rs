//! What is seldom asked for and seldom comes: what nothing else here looks at.

use std::net::SocketAddr;

use smtp_proto::client::{Awaited, Envelope, State};
use smtp_proto::server::{Config, Event, Session, Verdict};
use smtp_proto::syntax::{
    Attributes, AttributesBuilder, AuthParam, Body, Command, Extension, ExtensionSet, Host, HostKind, Options,
    ParamsBuilder, ReversePath,
};
use smtp_proto::{Channel, Leniencies, Leniency, Step, Want};

/// RFC 6152, RFC 1870: what a text that is at hand holds, and how much.
#[test]
fn an_envelope_says_what_its_text_is() {
    let from = ReversePath::Null;
    for (text, body) in [(&b"ASCII\r\n"[..], Body::SevenBit), ("\u{fc}\r\n".as_bytes(), Body::EightBitMime)] {
        let shown = format!("{:?}", Envelope::new(from, &[]).text(text));
        let by_hand = format!("{:?}", Envelope::new(from, &[]).size(text.len() as u64).body(body));
        assert_eq!(shown, by_hand);
    }
}

/// RFC 4954 5: `<>` is for one who has not authenticated, or is not told.
#[test]
fn nobody_is_named_by_auth() {
    let mut params = ParamsBuilder::mail();
    params.auth(None).expect("fits");
    assert_eq!(params.params().as_str(), "AUTH=<>");
    assert_eq!(params.params().auth(), Some(AuthParam::Unknown));
}

/// XCLIENT's ADDR and PORT: written and read back, of both families; an address of IPv4 in IPv6 is one of IPv4.
#[test]
fn an_address_is_read_back() {
    for (given, told) in [
        ("192.0.2.1:25", "192.0.2.1:25"),
        ("[2001:db8::1]:65535", "[2001:db8::1]:65535"),
        ("[::ffff:192.0.2.1]:0", "192.0.2.1:0"),
    ] {
        let mut builder = AttributesBuilder::new();
        builder.address(given.parse().expect("an address")).expect("fits");
        let attributes = builder.attributes().expect("two of them");
        assert_eq!(attributes.address(), Ok(Some(told.parse::<SocketAddr>().expect("an address"))), "{given}");
    }
    let named = Attributes::parse("NAME=mx.example").expect("attributes");
    assert_eq!(named.address(), Ok(None));
}

/// RFC 5321 4.1.3 wants a tag; a leniency lets an IPv6 address pass without.
#[test]
fn a_literal_without_its_tag_has_its_value() {
    let lenient = Options::new().lenient(Leniencies::STRICT.with(Leniency::HeloName));
    let parsed = Command::parse(b"EHLO [2001:db8::1]", &lenient).expect("let pass");
    let Command::Ehlo(name) = parsed.command else { panic!("EHLO") };
    assert_eq!(name.kind(), HostKind::Ipv6("2001:db8::1".parse().expect("an address")));
    assert_eq!(name.kind(), Host::parse("[IPv6:2001:db8::1]").expect("a host").kind());
    assert_eq!(parsed.used, Leniencies::STRICT.with(Leniency::HeloName));
}

/// RFC 5321 4.5.3.1.8, RFC 9422: one recipient, and so it is announced.
#[test]
fn a_server_of_one_recipient_says_so() {
    let config = Config::new("mx.example.net").expect("a name").one_recipient().shared();
    let mut session = Session::new(config, Channel::Plain);
    let mut said = String::new();
    let mut input = &b"EHLO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<a@example.net>\r\nRCPT TO:<b@example.net>\r\n"[..];
    loop {
        match session.step(&mut input) {
            Step::Event(Event::Connect(t) | Event::Hello(_, t) | Event::Mail(_, t) | Event::Rcpt(_, t)) => {
                session.answer(t, Verdict::Accept);
            }
            Step::Event(_) => {}
            Step::Want(want) => {
                said.push_str(str::from_utf8(session.output()).expect("ASCII"));
                session.sent(session.output().len());
                if want == Want::Input {
                    break;
                }
            }
        }
    }
    assert!(said.contains("LIMITS RCPTMAX=1 "), "{said}");
    assert!(said.ends_with("250 2.1.5 Recipient ok\r\n452 4.5.3 Too many recipients\r\n"), "{said}");
}

/// What is shown to people: each has its own words.
#[test]
fn words_are_not_mistaken_for_others() {
    let states = [
        State::Connected,
        State::Greeted,
        State::Ready,
        State::StartTls,
        State::Mail,
        State::Rcpt,
        State::Data,
        State::Chunks,
        State::Sent,
        State::Closed,
    ];
    let awaited = [
        Awaited::Greeting,
        Awaited::Ehlo,
        Awaited::Helo,
        Awaited::StartTls,
        Awaited::Auth,
        Awaited::Mail,
        Awaited::Rcpt,
        Awaited::Data,
        Awaited::Chunk,
        Awaited::Text,
        Awaited::Rset,
        Awaited::Xclient,
        Awaited::Xforward,
        Awaited::Other,
        Awaited::Quit,
        Awaited::Nothing,
    ];
    let mut words: Vec<_> = states.iter().map(ToString::to_string).collect();
    words.extend(awaited.iter().map(ToString::to_string));
    words.sort();
    words.dedup();
    assert_eq!(words.len(), states.len() + awaited.len(), "{words:?}");
    let set: ExtensionSet = [Extension::Size, Extension::StartTls].into_iter().collect();
    assert_eq!(format!("{set:?}"), "{Size, StartTls}");
}
