//! Written, then parsed: the same command. Parsed, then written: the same line up to its normal form, which is the verb
//! and its fixed words in capitals, no source route, no leading zeros in BDAT, and nothing that only a leniency let in.

use proptest::prelude::*;
use smtp_proto::Leniency;
use smtp_proto::syntax::{
    Atrn, Attributes, Base64, Body, By, Command, Etrn, ForwardPath, Host, Mail, Mailbox, Notify, Options,
    ParamsBuilder, Rcpt, Ret, ReversePath, Verb, Xtext,
};

fn written(command: &Command<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    command.write(&mut out).unwrap_or_else(|error| panic!("{error}: {command:?}"));
    let line = out.strip_suffix(b"\r\n").expect("CRLF");
    assert!(!line.iter().any(|octet| matches!(octet, b'\r' | b'\n' | 0)), "{command:?}");
    line.to_vec()
}

fn comes_back(command: &Command<'_>) {
    let line = written(command);
    let parsed = Command::parse(&line, &Options::new().smtputf8(true)).expect("what was written");
    assert_eq!(parsed.command, *command);
    assert!(parsed.used.is_strict());
    assert_eq!(written(&parsed.command), line);
}

fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9]([a-z0-9-]{0,8}[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?){0,3}",
        any::<[u8; 4]>().prop_map(|ip| format!("[{}]", std::net::Ipv4Addr::from(ip))),
        any::<[u8; 16]>().prop_map(|ip| format!("[IPv6:{}]", std::net::Ipv6Addr::from(ip))),
    ]
}

fn local_part() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]{1,20}(\\.[a-zA-Z0-9+_-]{1,9}){0,3}",
        "\"([ !#-\\[\\]-~]|\\\\[ -~]){0,20}\"",
    ]
}

fn mailbox() -> impl Strategy<Value = String> {
    (local_part(), host()).prop_map(|(local_part, host)| format!("{local_part}@{host}"))
}

fn printable() -> impl Strategy<Value = String> {
    "[!-~]([ -~]{0,40}[!-~])?"
}

proptest! {
    #[test]
    fn plain_commands(host in host(), text in printable(), size: u64, last: bool, queue in "[!-~]{1,20}") {
        let name = Host::parse(&host).expect("a host");
        for command in [Command::Ehlo(name), Command::Helo(name), Command::Lhlo(name)] {
            comes_back(&command);
        }
        for command in [Command::Noop(&text), Command::Vrfy(&text), Command::Expn(&text), Command::Help(&text)] {
            comes_back(&command);
        }
        for command in [Command::Data, Command::Rset, Command::Quit, Command::StartTls, Command::Noop(""), Command::Help("")] {
            comes_back(&command);
        }
        for verb in [Verb::Send, Verb::Soml, Verb::Saml, Verb::Turn] {
            comes_back(&Command::Historic(verb));
        }
        comes_back(&Command::Bdat { size, last });
        comes_back(&Command::Etrn(Etrn::Host(name)));
        comes_back(&Command::Etrn(Etrn::Subdomains(name)));
        comes_back(&Command::Etrn(Etrn::Queue(&queue)));
        comes_back(&Command::Burl { url: "imap://a.example/b;UID=1", last });
        comes_back(&Command::Atrn(Atrn::parse("").expect("none")));
        if !host.starts_with('[') {
            let two = format!("{host},{host}");
            comes_back(&Command::Atrn(Atrn::parse(&two).expect("domains")));
        }
    }

    #[test]
    fn base64_of_any_octets(octets: Vec<u8>, mechanism in "[A-Z0-9_-]{1,20}") {
        let mut text = Vec::new();
        Base64::encode(&octets, &mut text);
        let text = String::from_utf8(text).expect("ASCII");
        let base64 = Base64::parse(&text).expect("what was encoded");
        let mut room = vec![0; octets.len()];
        prop_assert_eq!(base64.decode(&mut room), Some(&octets[..]));
        comes_back(&Command::Auth { mechanism: &mechanism, initial: Some(base64) });
        comes_back(&Command::Auth { mechanism: &mechanism, initial: None });
    }

    #[test]
    fn mail_with_every_kind_of_parameter(
        path in prop_oneof![Just(String::new()), mailbox()],
        size: u64, body in 0..3_usize, envid in "[ -~]{1,30}", full: bool, who in mailbox(), hold in 1..1_000_000_000_u32,
        priority in -9..=9_i8, seconds in 1..1_000_000_000_i32, trace: bool, or_return: bool, value in "[!-<>-~]{1,20}",
    ) {
        let mut params = ParamsBuilder::mail();
        let body = [Body::SevenBit, Body::EightBitMime, Body::BinaryMime][body];
        let ret = if full { Ret::Full } else { Ret::Headers };
        let by = By { seconds, or_return, trace };
        let who = Mailbox::parse(&who, false).expect("a mailbox");
        let mut add = || {
            params.size(size)?.body(body)?.envid(&envid)?.ret(ret)?.auth(Some(&who))?.hold_for(hold)?;
            params.mt_priority(priority)?.by(by)?.requiretls()?.smtputf8()?.add("X-UNKNOWN", Some(&value)).map(|_| ())
        };
        add().expect("fits");
        let path = ReversePath::parse(&path, false).expect("a path");
        let mail = Mail { path, params: params.params() };
        comes_back(&Command::Mail(mail));
        let params = mail.params;
        prop_assert_eq!((params.size(), params.body(), params.ret()), (Some(size), body, Some(ret)));
        prop_assert_eq!(params.envid().map(|envid| envid.decode()), Some(envid));
        prop_assert_eq!((params.by(), params.hold_for(), params.mt_priority()), (Some(by), Some(hold), Some(priority)));
    }

    #[test]
    fn rcpt_with_every_kind_of_parameter(path in mailbox(), original in "[^\\p{C}]{1,20}", notify: [bool; 3]) {
        let [success, failure, delay] = notify;
        let notify = Notify { success, failure, delay };
        let mut params = ParamsBuilder::rcpt();
        // A type of notification knows ASCII and UTF-8; both come back as they were (RFC 3461 4.2, RFC 6533 3).
        params.orcpt(&original).and_then(|params| params.notify(notify)).expect("fits");
        let rcpt = Rcpt { path: ForwardPath::parse(&path, false).expect("a path"), params: params.params() };
        comes_back(&Command::Rcpt(rcpt));
        prop_assert_eq!(rcpt.params.notify(), Some(notify));
        prop_assert_eq!(rcpt.params.orcpt().map(|orcpt| orcpt.address()), Some(original));
    }

    #[test]
    fn xtext_of_any_printable_text(text in "[ -~]{1,60}") {
        let mut coded = String::new();
        Xtext::encode(&text, &mut coded).expect("printable");
        prop_assert_eq!(Xtext::parse(&coded).map(|xtext| xtext.decode()), Some(text.clone()));
        let attributes = format!("NAME={coded} ADDR=[UNAVAILABLE]");
        let attributes = Attributes::parse(&attributes).expect("attributes");
        comes_back(&Command::Xclient(attributes));
        comes_back(&Command::Xforward(attributes));
    }

    /// Lines that are almost commands: whatever is accepted is written, and what is written is its own normal form.
    #[test]
    fn almost_commands(
        start in prop_oneof![
            Just("MAIL FROM:<a.b@c.example> SIZE=1 BODY=8BITMIME"), Just("RCPT TO:<\"a b\"@[IPv6:::1]> NOTIFY=DELAY"),
            Just("AUTH PLAIN AAAA"), Just("BDAT 100 LAST"), Just("EHLO mx.example"), Just("XCLIENT NAME=a ADDR=b"),
            Just("BURL imap://a/b LAST"), Just("ETRN @a.example"), Just("MAIL FROM:<@x,@y:a@b> SMTPUTF8"), Just("VRFY a"),
        ],
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![Just(None), "[ -~]".prop_map(Some), Just(Some("\r".into())), Just(Some("é".into()))]), 0..3),
        utf8: bool, lenient: bool,
    ) {
        let mut line = start.as_bytes().to_vec();
        for (index, change) in changes {
            let at = index.index(line.len());
            match change {
                None => drop(line.remove(at)),
                Some(text) => drop(line.splice(at..at, text.bytes())),
            }
            if line.is_empty() { break; }
        }
        let form = [Leniency::SpaceAfterColon, Leniency::TrailingSpace, Leniency::BareBrackets];
        let leniency = form.into_iter().filter(|_| lenient).collect();
        match Command::parse(&line, &Options::new().smtputf8(utf8).lenient(leniency)) {
            Ok(parsed) => comes_back(&parsed.command),
            Err(error) => prop_assert!(error.offset() <= line.len() && matches!(error.code(), 500..=599)),
        }
    }
}
