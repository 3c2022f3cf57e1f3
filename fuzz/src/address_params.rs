//! Addresses, parameters and the encodings in them, apart from commands. The first octet says which, and whether UTF-8
//! may be in it.

use smtp_proto::syntax::{Attributes, Base64, ForwardPath, Host, Keyword, Mailbox, Params, ParamsBuilder, ReversePath};
use smtp_proto::syntax::{KeywordSet, Verb, Xtext};

/// What is accepted keeps the limits, and holds nothing that could end a line.
pub fn run(input: &[u8]) {
    let Some((how, octets)) = input.split_first() else { return };
    let Ok(text) = core::str::from_utf8(octets) else { return };
    let utf8 = how & 1 != 0;
    match how >> 1 & 7 {
        0 => mailbox(text, utf8),
        1 => host(text),
        2 | 3 => {
            let verb = if how & 2 == 0 { Verb::Mail } else { Verb::Rcpt };
            match Params::parse(text, verb, utf8) {
                Ok(parsed) => {
                    quiet(text, utf8);
                    assert_eq!(parsed.as_str(), text);
                    params(&parsed);
                    rebuild(&parsed, verb);
                }
                Err(error) => assert!(error.offset() <= text.len()),
            }
        }
        4 => xtext(text),
        5 => base64(text, octets),
        6 => build(text),
        _ => {
            if let Ok(attributes) = Attributes::parse(text) {
                quiet(text, false);
                assert!(attributes.iter().count() == text.split(' ').count());
            }
        }
    }
}

fn quiet(text: &str, utf8: bool) {
    assert!(!text.chars().any(char::is_control) && (utf8 || text.is_ascii()), "{text:?}");
}

/// RFC 5321 4.5.3.1.1 to 4.5.3.1.3.
fn mailbox(text: &str, utf8: bool) {
    let parsed = match Mailbox::parse(text, utf8) {
        Ok(parsed) => parsed,
        Err(error) => return assert!(error.offset() <= text.len()),
    };
    quiet(text, utf8);
    assert!((1..=64).contains(&parsed.local_part().len()) && (1..=255).contains(&parsed.domain().len()));
    assert!(text.len() <= 254);
    assert_eq!(format!("{}@{}", parsed.local_part(), parsed.domain()), text);
    assert_eq!(ReversePath::parse(text, utf8).map(|path| path.as_str()), Ok(text));
    assert_eq!(ForwardPath::parse(text, utf8).map(|path| path.as_str()), Ok(text));
    // More is allowed with UTF-8, never less.
    assert!(Mailbox::parse(text, true).is_ok());
    if parsed.domain().is_ascii() {
        host(parsed.domain());
        assert!(Host::parse(parsed.domain()).is_ok());
    }
}

fn host(text: &str) {
    if let Ok(host) = Host::parse(text) {
        quiet(text, false);
        assert!(!text.contains(' ') && text.len() <= 255);
        let _ = host.kind();
    }
}

/// The getters agree with what stands there.
pub fn params(params: &Params<'_>) {
    assert!(params.first_not_in(KeywordSet::EMPTY).is_some() != params.is_empty());
    let mut all = KeywordSet::EMPTY;
    for param in params.iter() {
        assert!(!param.keyword.is_empty() && param.value != Some(""));
        if let Some(known) = param.known {
            assert!(!all.contains(known), "twice");
            all = all.with(known);
            assert_eq!(params.value(known), param.value);
        }
    }
    assert_eq!(all, params.known());
    let has = |keyword| all.contains(keyword);
    assert_eq!(params.size().is_some(), has(Keyword::Size));
    assert_eq!(params.ret().is_some(), has(Keyword::Ret));
    assert_eq!(params.envid().is_some(), has(Keyword::Envid));
    assert_eq!(params.notify().is_some(), has(Keyword::Notify));
    assert_eq!(params.orcpt().is_some(), has(Keyword::Orcpt));
    assert_eq!(params.auth().is_some(), has(Keyword::Auth));
    assert_eq!(params.by().is_some(), has(Keyword::By));
    assert_eq!(params.hold_for().is_some(), has(Keyword::HoldFor));
    assert_eq!(params.hold_until().is_some(), has(Keyword::HoldUntil));
    assert_eq!(params.mt_priority().is_some(), has(Keyword::MtPriority));
    assert_eq!(params.rrvs().is_some(), has(Keyword::Rrvs));
    assert_eq!(params.mtrk().is_some(), has(Keyword::Mtrk));
    assert_eq!(params.transid().is_some(), has(Keyword::TransId));
    assert_eq!(params.submitter().is_some(), has(Keyword::Submitter));
    assert!(params.mt_priority().is_none_or(|priority| (-9..=9).contains(&priority)));
    // What is encoded hides no control.
    let decoded =
        params.envid().map(|envid| envid.decode()).into_iter().chain(params.orcpt().map(|orcpt| orcpt.address()));
    decoded.for_each(|text| assert!(!text.is_empty() && !text.chars().any(char::is_control), "{text:?}"));
}

/// One at a time they make the same.
fn rebuild(parsed: &Params<'_>, verb: Verb) {
    let mut builder = if verb == Verb::Mail { ParamsBuilder::mail() } else { ParamsBuilder::rcpt() };
    for param in parsed.iter() {
        builder.add(param.keyword, param.value).expect("one of those that were accepted");
    }
    assert_eq!(builder.params(), *parsed);
}

/// A value given by an application stays one value.
fn build(text: &str) {
    let mut builder = ParamsBuilder::rcpt();
    if builder.orcpt(text).is_ok() {
        assert_eq!(builder.params().orcpt().map(|orcpt| orcpt.address()).as_deref(), Some(text));
    }
    let before = builder.params().iter().count();
    let added = builder.add("X", Some(text)).is_ok();
    assert_eq!(builder.params().iter().count(), before + usize::from(added));
    let mut builder = ParamsBuilder::mail();
    if builder.envid(text).is_ok() {
        assert_eq!(builder.params().envid().map(|envid| envid.decode()).as_deref(), Some(text));
    }
    quiet(builder.params().as_str(), false);
}

fn xtext(text: &str) {
    if let Some(xtext) = Xtext::parse(text) {
        quiet(text, false);
        let decoded = xtext.decode();
        quiet(&decoded, false);
        let mut coded = String::new();
        Xtext::encode(&decoded, &mut coded).expect("printable");
        assert_eq!(Xtext::parse(&coded).map(|xtext| xtext.decode()), Some(decoded));
    }
}

/// RFC 4648 3.5: one spelling only.
fn base64(text: &str, octets: &[u8]) {
    let mut coded = Vec::new();
    if let Ok(base64) = Base64::parse(text) {
        let mut room = vec![0; base64.decoded_len()];
        Base64::encode(base64.decode(&mut room).expect("room"), &mut coded);
        assert_eq!(coded, octets);
    }
    coded.clear();
    Base64::encode(octets, &mut coded);
    let base64 = Base64::parse(core::str::from_utf8(&coded).expect("ASCII")).expect("what was encoded");
    assert_eq!(base64.decode(&mut vec![0; octets.len()]), Some(octets));
}
