//! The grammar, by tables of lines: `grammar/*.txt`. Their language:
//!
//! ```text
//! == RFC 5321 4.1.1.1: title    the section that the rows below come from
//! + LINE                        accepted, and written back as it is
//! + LINE => LINE                accepted, and written back so
//! - LINE => Kind                refused, for this reason
//! - LINE => Kind @7             and there
//! ```
//!
//! Before the sign may stand `u` (SMTPUTF8 is on), and a mark for each leniency that is on (see `LENIENCIES` below).
//! `{0D}` is an octet, `{64*a}` many. The lines of a table are what it says with exactly one space cut off behind the
//! sign and on both sides of `=>`.

use smtp_proto::Leniency;
use smtp_proto::syntax::{
    AttributeValue, AuthParam, Base64, Body, By, Command, HostKind, Keyword, KeywordSet, Mail, Mailbox, Notify,
    Options, Params, ParamsBuilder, Rcpt, Ret, ReversePath, RrvsAction, SyntaxError, SyntaxErrorKind, Verb,
};

const TABLES: [(&str, &str); 3] = [
    ("commands.txt", include_str!("grammar/commands.txt")),
    ("addresses.txt", include_str!("grammar/addresses.txt")),
    ("parameters.txt", include_str!("grammar/parameters.txt")),
];

struct Row {
    place: String,
    options: Options,
    accepted: bool,
    line: Vec<u8>,
    expected: Option<String>,
}

/// How the tables say what is let pass.
const LENIENCIES: [(char, Leniency); 8] = [
    ('s', Leniency::SpaceAfterColon),
    ('t', Leniency::TrailingSpace),
    ('b', Leniency::BareBrackets),
    ('h', Leniency::HeloName),
    ('d', Leniency::DotsInLocalPart),
    ('_', Leniency::UnderscoreInDomain),
    ('n', Leniency::NoDomain),
    ('8', Leniency::Utf8WithoutSmtpUtf8),
];

/// Those that change what a command says, not only how it is put.
const CONTENT: [Leniency; 5] = [
    Leniency::HeloName,
    Leniency::DotsInLocalPart,
    Leniency::UnderscoreInDomain,
    Leniency::NoDomain,
    Leniency::Utf8WithoutSmtpUtf8,
];

fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (file, table) in TABLES {
        let mut section = "";
        for (number, text) in table.lines().enumerate() {
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            if let Some(title) = text.strip_prefix("== ") {
                section = title;
                continue;
            }
            let place = format!("{file}:{}: {section}", number + 1);
            assert!(!section.is_empty(), "{place}: a row without its section");
            let (flags, rest) = text.split_at(text.find(['+', '-']).expect("a sign"));
            let lenient =
                LENIENCIES.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, leniency)| *leniency).collect();
            let (line, expected) = match rest[1..].rsplit_once(" => ") {
                Some((line, expected)) => (line, Some(expected.to_owned())),
                None => (&rest[1..], None),
            };
            rows.push(Row {
                options: Options::new().lenient(lenient).smtputf8(flags.contains('u')),
                accepted: rest.starts_with('+'),
                line: octets(line.strip_prefix(' ').unwrap_or(line)),
                expected,
                place,
            });
        }
    }
    rows
}

/// `{0D}` and `{64*a}` (the inner part may be octets again).
fn octets(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(char) = rest.chars().next() {
        if char != '{' {
            out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            rest = &rest[char.len_utf8()..];
            continue;
        }
        let mut depth = 0;
        let end = rest
            .find(|char| {
                depth += i32::from(char == '{') - i32::from(char == '}');
                depth == 0
            })
            .expect("a closing brace");
        let inside = &rest[1..end];
        match inside.split_once('*') {
            Some((times, what)) => {
                (0..times.parse().expect("a number")).for_each(|_: usize| out.extend(octets(what)));
            }
            None => out.push(u8::from_str_radix(inside, 16).expect("two digits")),
        }
        rest = &rest[end + 1..];
    }
    out
}

#[test]
fn every_row_of_the_tables_holds() {
    let rows = rows();
    let count = |accepted| rows.iter().filter(|row| row.accepted == accepted).count();
    println!("{} accepted, {} refused", count(true), count(false));
    assert!(count(true) >= 100 && count(false) >= 200, "the tables shrank");
    let mut wrong = Vec::new();
    for row in &rows {
        if let Err(complaint) = check(row) {
            wrong.push(format!("{}: {:?}: {complaint}", row.place, String::from_utf8_lossy(&row.line)));
        }
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}

fn check(row: &Row) -> Result<(), String> {
    match (Command::parse(&row.line, &row.options), row.accepted) {
        (Ok(parsed), true) => {
            let mut out = Vec::new();
            if CONTENT.iter().any(|leniency| parsed.used.contains(*leniency)) {
                // It was let in, and would not be said by us: the writer knows no leniency.
                let utf8_path = parsed.used.contains(Leniency::Utf8WithoutSmtpUtf8);
                return (parsed.command.write(&mut out).is_err() || utf8_path).then_some(()).ok_or("written".into());
            }
            parsed.command.write(&mut out).map_err(|error| format!("not written: {error}"))?;
            let normal = row.expected.as_deref().map_or(row.line.clone(), octets);
            let written = out.strip_suffix(b"\r\n").ok_or("no CRLF")?;
            if !written.eq_ignore_ascii_case(&normal) || (row.expected.is_some() && written != normal) {
                return Err(format!("written as {:?}", String::from_utf8_lossy(written)));
            }
            // A leniency is reported exactly when it was used.
            let strict = Command::parse(&row.line, &Options::new().smtputf8(row.options.smtputf8));
            if parsed.used.is_strict() != strict.is_ok() {
                return Err(format!("leniency: {:?}", parsed.used));
            }
            Ok(())
        }
        (Err(error), false) => {
            let expected = row.expected.as_deref().ok_or("a row must say why it is refused")?;
            let (kind, at) = expected.split_once(" @").map_or((expected, None), |(kind, at)| (kind, at.parse().ok()));
            let found = format!("{:?}", error.kind());
            if found != kind || at.is_some_and(|at: usize| at != error.offset()) || error.offset() > row.line.len() {
                return Err(format!("{found} @{}", error.offset()));
            }
            Ok(())
        }
        (Ok(parsed), false) => Err(format!("accepted: {:?}", parsed.command)),
        (Err(error), true) => Err(format!("refused: {:?} @{}", error.kind(), error.offset())),
    }
}

/// RFC 5321 4.2.2, 4.3.2; RFC 3463; RFC 6531 3.5; RFC 1870 6.1.
#[test]
fn every_reason_has_its_codes() {
    for (line, code, enhanced) in [
        ("FOOO", 500, "5.5.1"),
        ("", 500, "5.5.2"),
        ("NOOP \r", 500, "5.5.2"),
        ("NOOP é", 500, "5.5.2"),
        ("QUIT ", 501, "5.5.4"),
        ("QUIT x", 501, "5.5.4"),
        ("EHLO", 501, "5.5.4"),
        ("AUTH PLAIN A", 501, "5.5.2"),
        ("MAIL FROM:<a>", 501, "5.1.7"),
        ("RCPT TO:<a>", 501, "5.1.3"),
        ("MAIL FROM:<> SIZE=x", 501, "5.5.4"),
        ("MAIL FROM:<> X X", 501, "5.5.4"),
        ("MAIL FROM:<> BODY=9BIT", 504, "5.5.4"),
        ("MAIL FROM:<> SIZE=99999999999999999999", 552, "5.3.4"),
        ("RCPT TO:<a@b> SIZE=1", 555, "5.5.4"),
        ("MAIL FROM:<é@b> BODY=7BIT", 553, "5.6.7"),
    ] {
        let utf8 = code == 553;
        let error = Command::parse(line.as_bytes(), &Options::new().smtputf8(utf8)).expect_err(line);
        let found = error.enhanced();
        let found = format!("{}.{}.{}", found.class(), found.subject(), found.detail());
        assert_eq!((error.code(), found.as_str()), (code, enhanced), "{line}");
    }
}

/// What an application puts into a command never becomes a second one.
#[test]
fn nothing_invalid_is_written() {
    for text in ["a\r\nRSET", "a\rb", "a\nb", "a\0b", "a ", "é", "\u{85}", "a\tb", ""] {
        let mut out = b"before".to_vec();
        assert!(Command::Vrfy(text).write(&mut out).is_err(), "{text:?}");
        assert!(Command::Expn(text).write(&mut out).is_err(), "{text:?}");
        assert!(Command::Auth { mechanism: text, initial: None }.write(&mut out).is_err(), "{text:?}");
        assert!(Command::Burl { url: text, last: false }.write(&mut out).is_err(), "{text:?}");
        assert_eq!(out, b"before");
        if !text.is_empty() {
            assert!(Command::Noop(text).write(&mut out).is_err(), "{text:?}");
        }
    }
    let mut out = Vec::new();
    // A verb that is not historic, parameters of the other command, UTF-8 without SMTPUTF8 (RFC 6531 3.4).
    assert!(Command::Historic(Verb::Quit).write(&mut out).is_err());
    let mut params = ParamsBuilder::rcpt();
    params.notify(Notify::NEVER).expect("fits");
    let mail = Mail { path: ReversePath::Null, params: params.params() };
    assert!(Command::Mail(mail).write(&mut out).is_err());
    let path = ReversePath::parse("jørn@example.org", true).expect("fits");
    assert!(Command::Mail(Mail { path, params: Params::NONE }).write(&mut out).is_err());
    let mut params = ParamsBuilder::mail();
    params.smtputf8().expect("fits");
    Command::Mail(Mail { path, params: params.params() }).write(&mut out).expect("fits");
    assert_eq!(out, "MAIL FROM:<jørn@example.org> SMTPUTF8\r\n".as_bytes());
}

#[test]
fn secrets_are_not_shown() {
    let parsed = Command::parse(b"AUTH PLAIN AHRpbQBzZWNyZXQ=", &Options::new()).expect("a command");
    let shown = format!("{parsed:?}");
    assert!(!shown.contains("AHRp") && !shown.contains("secret") && shown.contains("11 octets"), "{shown}");
    let Command::Auth { initial: Some(initial), .. } = parsed.command else { panic!("{parsed:?}") };
    assert_eq!(initial.decode(&mut [0; 11]), Some(&b"\0tim\0secret"[..]));
    // RFC 4954 4: an empty initial response is not none.
    let parsed = Command::parse(b"AUTH EXTERNAL =", &Options::new()).expect("a command");
    assert_eq!(parsed.command, Command::Auth { mechanism: "EXTERNAL", initial: Some(Base64::EMPTY) });
}

fn mail(params: &str) -> Params<'_> {
    Params::parse(params, Verb::Mail, false).expect(params)
}

fn rcpt(params: &str) -> Params<'_> {
    Params::parse(params, Verb::Rcpt, true).expect(params)
}

#[test]
fn values_are_typed() {
    let params = mail("SIZE=18446744073709551615 body=BinaryMime RET=HDRS ENVID=a+20b AUTH=<> BY=-5;NT MT-PRIORITY=-3");
    assert_eq!(params.size(), Some(u64::MAX));
    assert_eq!(params.body(), Body::BinaryMime);
    assert_eq!(params.ret(), Some(Ret::Headers));
    assert_eq!(params.envid().map(|envid| envid.decode()).as_deref(), Some("a b"));
    assert_eq!(params.auth(), Some(AuthParam::Unknown));
    assert_eq!(params.by(), Some(By { seconds: -5, or_return: false, trace: true }));
    assert_eq!(params.mt_priority(), Some(-3));
    assert!(!params.smtputf8() && !params.requiretls() && !params.conperm());
    assert_eq!(params.hold_for(), None);
    let params =
        mail("HOLDFOR=60 REQUIRETLS SMTPUTF8 CONPERM MTRK=YWJj:9 SOLICIT=a.b,c TRANSID=<1> SUBMITTER=a+2Bb@c.d");
    assert_eq!(params.hold_for(), Some(60));
    assert!(params.smtputf8() && params.requiretls() && params.conperm());
    assert_eq!(params.mtrk().map(|mtrk| (mtrk.certifier, mtrk.timeout)), Some(("YWJj", Some(9))));
    assert_eq!(params.solicit().collect::<Vec<_>>(), ["a.b", "c"]);
    assert_eq!(params.transid(), Some("<1>"));
    assert_eq!(params.submitter().map(|who| who.decode()).as_deref(), Some("a+b@c.d"));
    assert_eq!(mail("HOLDUNTIL=2026-11-24T10:00:00Z").hold_until(), Some("2026-11-24T10:00:00Z"));
    let AuthParam::Mailbox(who) = mail("AUTH=e+3Dmc2@example.com").auth().expect("is there") else { panic!() };
    // What is no mailbox is as good as nothing.
    for who in ["tim", "<tim@example.com>"] {
        assert_eq!(mail(&format!("AUTH={who}")).auth(), Some(AuthParam::Unknown), "{who}");
    }
    assert_eq!(who.decode(), "e=mc2@example.com");
    let params = rcpt("NOTIFY=DELAY,SUCCESS ORCPT=utf-8;j\\x{F8}rn@é RRVS=2014-04-03T23:01:00Z;R CONNEG");
    assert_eq!(params.notify(), Some(Notify { success: true, failure: false, delay: true }));
    assert_eq!(params.orcpt().map(|orcpt| orcpt.address()).as_deref(), Some("jørn@é"));
    assert_eq!(params.rrvs().map(|rrvs| rrvs.otherwise), Some(RrvsAction::Reject));
    assert!(params.conneg());
    assert_eq!(rcpt("ORCPT=rfc822;a+2Bb@c").orcpt().map(|orcpt| orcpt.address()).as_deref(), Some("a+b@c"));
}

#[test]
fn unknown_parameters_are_kept_and_found() {
    let params = mail("X-A=1 SIZE=5 yB");
    let all: Vec<_> = params.iter().map(|param| (param.keyword, param.known, param.value)).collect();
    assert_eq!(all, [("X-A", None, Some("1")), ("SIZE", Some(Keyword::Size), Some("5")), ("yB", None, None)]);
    assert_eq!(params.first_not_in(KeywordSet::EMPTY.with(Keyword::Size)), Some("X-A"));
    let params = mail("SIZE=5 BODY=7BIT");
    assert_eq!(params.first_not_in(KeywordSet::EMPTY.with(Keyword::Size)), Some("BODY"));
    assert_eq!(params.first_not_in(KeywordSet::EMPTY.with(Keyword::Size).with(Keyword::Body)), None);
    assert_eq!(params.first_not_in(KeywordSet::EMPTY), Some("SIZE"));
}

#[test]
fn the_registry_finds_what_it_holds() {
    for keyword in Keyword::all() {
        let entry = keyword.entry();
        assert_eq!(entry.keyword, keyword);
        assert_eq!(Keyword::from_name(&entry.name.to_ascii_lowercase()), Some(keyword));
        assert_eq!(Keyword::from_name(&format!("{}X", entry.name)), None);
        assert_eq!(Keyword::from_name(&entry.name[1..]), None);
        assert!(matches!(entry.verb, Verb::Mail | Verb::Rcpt) && entry.rfc.starts_with("RFC "));
        // Only those without a value are right without one.
        let verb = entry.verb;
        assert_eq!(Params::parse(entry.name, verb, false).is_ok(), entry.value.is_empty(), "{}", entry.name);
    }
    assert_eq!(Keyword::from_name(""), None);
}

#[test]
fn literals_are_told_apart() {
    let kind = |text| Mailbox::parse(text, false).expect(text).host().kind();
    assert_eq!(kind("a@b.example"), HostKind::Domain("b.example"));
    assert_eq!(kind("a@[192.0.2.1]"), HostKind::Ipv4([192, 0, 2, 1].into()));
    assert_eq!(kind("a@[ipv6:::1]"), HostKind::Ipv6([0, 0, 0, 0, 0, 0, 0, 1].into()));
    assert_eq!(kind("a@[X:y:z]"), HostKind::General("X", "y:z"));
}

#[test]
fn attributes_are_read() {
    let parsed = Command::parse(b"XCLIENT name=[unavailable] ADDR=192.0.2.1 HELO=a+3Db", &Options::new());
    let Ok(Command::Xclient(attributes)) = parsed.map(|parsed| parsed.command) else { panic!("{parsed:?}") };
    assert_eq!(attributes.get("NAME"), Some(AttributeValue::Unavailable));
    let Some(AttributeValue::Text(helo)) = attributes.get("helo") else { panic!("no HELO") };
    assert_eq!(helo.decode(), "a=b");
    assert_eq!(attributes.iter().count(), 3);
    assert_eq!(attributes.get("LOGIN"), None);
}

#[test]
fn a_builder_takes_what_fits_and_nothing_else() {
    let kind = |result: Result<&mut ParamsBuilder, SyntaxError>| result.map(|_| ()).map_err(|error| error.kind());
    let mut params = ParamsBuilder::rcpt();
    params
        .orcpt("jørn+x@example.org")
        .and_then(|params| params.notify(Notify { delay: true, ..Notify::NEVER }))
        .expect("fits");
    assert_eq!(params.params().as_str(), "ORCPT=utf-8;j\\x{F8}rn\\x{2B}x@example.org NOTIFY=DELAY");
    assert_eq!(params.params().orcpt().map(|orcpt| orcpt.address()).as_deref(), Some("jørn+x@example.org"));
    assert_eq!(kind(params.size(1)), Err(SyntaxErrorKind::MisplacedParameter));
    assert_eq!(kind(params.notify(Notify::NEVER)), Err(SyntaxErrorKind::DuplicateParameter));
    assert_eq!(params.params().iter().count(), 2, "what was refused is not there");
    params.clear();
    assert!(params.params().is_empty());
    for hostile in ["a\r\nRSET", "a b", "", "a=b", "\0"] {
        assert_eq!(kind(params.add("X", Some(hostile))), Err(SyntaxErrorKind::BadParameter), "{hostile:?}");
        assert_eq!(kind(params.add(hostile, None)).is_err(), hostile != "a=b", "{hostile:?}");
        params.clear();
    }
    let mut params = ParamsBuilder::mail();
    assert_eq!(kind(params.envid("a\r\nb")), Err(SyntaxErrorKind::BadParameter));
    assert_eq!(kind(params.mt_priority(10)), Err(SyntaxErrorKind::BadParameter));
    assert_eq!(kind(params.by(By { seconds: 0, or_return: true, trace: false })), Err(SyntaxErrorKind::BadParameter));
    let mailbox = Mailbox::parse("e=mc2@example.com", false).expect("fits");
    let fits = params.auth(Some(&mailbox)).and_then(|params| params.hold_for(5)).and_then(|params| params.requiretls());
    fits.and_then(|params| params.by(By { seconds: 7, or_return: true, trace: true })).expect("fits");
    assert_eq!(params.params().as_str(), "AUTH=e+3Dmc2@example.com HOLDFOR=5 REQUIRETLS BY=7;RT");
    let rcpt =
        Rcpt { path: smtp_proto::syntax::ForwardPath::parse("POSTMASTER", false).expect("fits"), params: Params::NONE };
    let mut out = Vec::new();
    Command::Rcpt(rcpt).write(&mut out).expect("fits");
    assert_eq!(out, b"RCPT TO:<POSTMASTER>\r\n");
}
