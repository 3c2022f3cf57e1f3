//! Where the grammar's bounds are met and not passed, and what its small values tell: each of these once went wrong in a copy of
//! the core, and no other test noticed.

use std::net::IpAddr;

use smtp_proto::net::PeerName;
use smtp_proto::proxy::{Addresses, Network, ProxyError, Ssl, SslTlvs, Tlv, Tlvs, Transport};
use smtp_proto::syntax::{
    AttributesBuilder, Capability, Command, Extension, ExtensionSet, Host, HostKind, Keyword, KeywordSet, Mailbox,
    Options, OwnedReply, Params, ParamsBuilder, ReplyLimits, ReplyLines, ReplyReader, ReversePath, SyntaxErrorKind,
    Verb, Xtext,
};
use smtp_proto::text::{Check, TextLeniency};
use smtp_proto::tls::TlsVersion;
use smtp_proto::trace::{Date, delivered_to, return_path};
use smtp_proto::{Buffer, Channel, Leniencies, Leniency, LeniencyCounts};

/// RFC 5321 4.5.3.1: 64 octets of a local part, 255 of a domain, 256 of a path with its brackets; and a fault stands where it is.
#[test]
fn addresses_have_their_lengths() {
    let label = "d".repeat(60);
    let address = |local: usize, domain: usize| {
        let domain = format!("{}.{}", [label.as_str(); 5].join("."), "x".repeat(300))[..domain].to_owned();
        format!("{}@{domain}", "l".repeat(local))
    };
    for (local, domain, at) in
        [(64, 189, None), (64, 190, Some(65)), (65, 10, Some(0)), (1, 252, None), (1, 253, Some(2)), (1, 256, Some(2))]
    {
        let text = address(local, domain);
        let found = Mailbox::parse(&text, false);
        assert_eq!(found.err().map(|error| error.offset()), at, "{local}, {domain}");
        assert!(found.is_ok() || found.is_err_and(|error| error.kind() == SyntaxErrorKind::AddressTooLong));
        // In brackets, and behind a route, which counts as well (RFC 5321 4.1.2).
        let line = format!("RCPT TO:<{text}>");
        assert_eq!(Command::parse(line.as_bytes(), &Options::new()).is_ok(), at.is_none(), "{line}");
    }
    for (path, fits) in [(256, true), (257, false)] {
        let route = "@relay.example:";
        let domain =
            format!("{}x", "d.".repeat(200))[..path - route.len() - "<l@>".len()].trim_end_matches('.').to_owned();
        let domain = format!("{domain}{}", "x".repeat(path - route.len() - "<l@>".len() - domain.len()));
        let line = format!("RCPT TO:<{route}l@{domain}>");
        assert_eq!(Command::parse(line.as_bytes(), &Options::new()).is_ok(), fits, "{path}");
    }
}

/// RFC 5322 3.2.3, RFC 5321 4.1.2: DEL is no atext, no qtextSMTP and in no domain; what RFC 6531 3.3 lets in besides begins beyond
/// ASCII. A line was looked at before; an address alone is looked at here.
#[test]
fn del_is_in_no_address() {
    for text in ["a\u{7f}b@example.net", "\"a\u{7f}b\"@example.net", "a@exa\u{7f}mple.net"] {
        assert!(Mailbox::parse(text, true).is_err() && Mailbox::parse(text, false).is_err(), "{text:?}");
        let beyond = text.replace('\u{7f}', "\u{e9}");
        assert!(Mailbox::parse(&beyond, true).is_ok() && Mailbox::parse(&beyond, false).is_err(), "{beyond:?}");
    }
}

/// RFC 5321 4.1.3: the tag of a literal; `::` is at least two groups, and an IPv4 address at its end is two.
#[test]
fn literals_are_what_their_tag_says() {
    assert!(matches!(Host::parse("[tag:::1]").expect("general").kind(), HostKind::General("tag", "::1")));
    assert!(matches!(Host::parse("[ipv6:::1]").expect("IPv6").kind(), HostKind::Ipv6(_)));
    for (text, fits) in [
        ("[IPv6:1:2:3:4:5:6::]", true),
        ("[IPv6:1:2:3:4:5:6:7::]", false),
        ("[IPv6:1:2:3:4::192.0.2.1]", true),
        ("[IPv6:1:2:3:4:5::192.0.2.1]", false),
    ] {
        assert_eq!(Host::parse(text).is_ok(), fits, "{text}");
    }
    for (text, utf8) in [("a@example.net", false), ("\u{fc}@example.net", true)] {
        assert_eq!(Mailbox::try_from(text), Mailbox::parse(text, utf8));
        assert_eq!(ReversePath::try_from(text).is_ok(), ReversePath::parse(text, utf8).is_ok());
        assert!(Mailbox::try_from(text).is_ok());
    }
    // Read again with a leniency: a quoted local part, with what is escaped in it.
    let lenient = Leniencies::STRICT.with(Leniency::UnderscoreInDomain);
    for (text, fits) in [
        (r#""a@b"@c_d.example"#, true),
        (r#""a\"@b"@c_d.example"#, true),
        (r#""a\\"@c_d.example"#, true),
        ("a\\@c_d.example", false),
        ("\u{fc}@c_d.example", false),
    ] {
        assert_eq!(Mailbox::parse_with(text, false, lenient).is_ok(), fits, "{text}");
    }
    assert!(Mailbox::parse_with("\"\u{fc}\"@c_d.example", true, lenient).is_ok());
    assert!(Mailbox::parse_with("\u{fc}@c_\u{fc}.example", true, lenient).is_ok());
}

/// RFC 3339 5.6, 5.7 and appendix C: in the until of HOLDUNTIL and in RRVS.
#[test]
fn a_day_is_one_of_its_month() {
    let fits = |text: &str| {
        let raw = format!("RRVS={text}");
        Params::parse(&raw, Verb::Rcpt, false).is_ok()
    };
    for date in [
        "2024-02-29T00:00:00Z",
        "2000-02-29T00:00:00Z",
        "2026-02-28T23:59:60Z",
        "2026-04-30T00:00:00+23:59",
        "2026-12-31T00:00:00-00:00",
    ] {
        assert!(fits(date), "{date}");
    }
    for date in [
        "2026-02-29T00:00:00Z",
        "2100-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2024-02-30T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "2026-06-31T00:00:00Z",
        "2026-01-32T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:61Z",
        "2026-01-01T00:00:00+24:00",
        "2026-01-01T00:00:00+00:60",
        "2026-01-01T00:00:00+24:60",
    ] {
        assert!(!fits(date), "{date}");
    }
}

/// Faults say at which octet they are; and each argument has its least.
#[test]
fn a_fault_of_an_argument_stands_where_it_is() {
    for (line, kind, at) in [
        ("AUTH PLAIN !", SyntaxErrorKind::BadBase64, 11),
        ("AUTH PLAIN ", SyntaxErrorKind::TrailingSpace, 10),
        ("BDAT 1 FIRST", SyntaxErrorKind::BadArgument, 7),
        ("BDAT 12 FIRST", SyntaxErrorKind::BadArgument, 8),
        ("NOOP ", SyntaxErrorKind::TrailingSpace, 4),
        ("MAIL FROMx<>", SyntaxErrorKind::BadArgument, 5),
        ("MAIL FROM\u{1a}<>", SyntaxErrorKind::Control, 9),
        ("EHLO \x7f", SyntaxErrorKind::Control, 5),
        ("MAIL FROM:<\u{fc}@b.example>", SyntaxErrorKind::EightBit, 11),
        ("RSET \u{80}", SyntaxErrorKind::EightBit, 5),
        ("RCPT TO:<a@b.example> X ", SyntaxErrorKind::TrailingSpace, 23),
        ("RCPT TO:<a@b.example> NOTIFY=FAILURX", SyntaxErrorKind::BadParameter, 22),
        ("BDAT 99999999999999999999", SyntaxErrorKind::BadArgument, 5),
    ] {
        let error = Command::parse(line.as_bytes(), &Options::new()).expect_err(line);
        assert_eq!((error.kind(), error.offset()), (kind, at), "{line:?}");
    }
    let utf8 = Options::new().smtputf8(true);
    let error = Command::parse("MAIL FROM:<\u{fc}@b.example>".as_bytes(), &utf8).expect_err("not asked for");
    assert_eq!((error.kind(), error.offset()), (SyntaxErrorKind::Utf8WithoutSmtpUtf8, 11));
    let error = Command::parse("VRFY \u{fc}".as_bytes(), &Options::new()).expect_err("no SMTPUTF8");
    assert_eq!((error.kind(), error.offset()), (SyntaxErrorKind::EightBit, 5));
    // What is let pass is told where it was, and nowhere else.
    let lets_utf8 = Options::new().lenient(Leniencies::STRICT.with(Leniency::Utf8WithoutSmtpUtf8));
    for (path, used) in [("a@b.example", false), ("\u{fc}@b.example", true)] {
        for line in [format!("RCPT TO:<{path}>"), format!("MAIL FROM:<{path}>")] {
            let parsed = Command::parse(line.as_bytes(), &lets_utf8).expect("let pass");
            assert_eq!(parsed.used.contains(Leniency::Utf8WithoutSmtpUtf8), used, "{line}");
        }
    }
    for line in ["VRFY \u{fc}\u{7f} SMTPUTF8", "VRFY \u{fc}\u{85} SMTPUTF8"] {
        assert!(Command::parse(line.as_bytes(), &utf8).is_err(), "{line:?}");
    }
    assert!(Command::parse("VRFY \u{fc} SMTPUTF8".as_bytes(), &utf8).is_ok());
    // 18,446,744,073,709,551,615 is what 64 bits hold.
    for (number, fits) in [("18446744073709551615", true), ("18446744073709551616", false)] {
        let line = format!("BDAT {number}");
        assert_eq!(Command::parse(line.as_bytes(), &Options::new()).is_ok(), fits, "{number}");
    }
    // A name is what the leniency lets be none, in each of the three.
    let lenient = Options::new().lenient(Leniencies::STRICT.with(Leniency::HeloName));
    for verb in ["EHLO", "HELO", "LHLO"] {
        assert!(Command::parse(verb.as_bytes(), &lenient).is_ok(), "{verb}");
        assert!(Command::parse(verb.as_bytes(), &Options::new()).is_err(), "{verb}");
    }
    // Two of what is not known are two, and the same twice is one too many.
    for (raw, fits) in [("X-A Y-B", true), ("X-A x-a=1", false), ("SIZE=1 X-A", true), ("X-SIZE=1 SIZE=1", true)] {
        assert_eq!(Params::parse(raw, Verb::Mail, false).is_ok(), fits, "{raw}");
    }
    assert_eq!(Params::parse("", Verb::Mail, false), Ok(Params::NONE));
    assert_eq!(Params::parse("X-A ", Verb::Mail, false).expect_err("ends in a space").offset(), 3);
    assert!(!Params::parse("X-A", Verb::Rcpt, false).expect("unknown").conneg());
    assert!(Params::parse("CONNEG", Verb::Rcpt, false).expect("known").conneg());
    // Nor are controls let in with UTF-8 (RFC 6532 3.1).
    for (value, fits) in [("X=\u{fc}", true), ("X=\u{85}", false)] {
        assert_eq!(Params::parse(value, Verb::Mail, true).is_ok(), fits, "{value:?}");
    }
}

#[test]
fn sets_are_sets() {
    let (one, two) = (KeywordSet::EMPTY.with(Keyword::Size), KeywordSet::EMPTY.with(Keyword::Body));
    let both = one.union(two);
    assert!(both.contains(Keyword::Size) && both.contains(Keyword::Body) && !both.contains(Keyword::Auth));
    assert_eq!(both.union(one), both);
    assert!(both.contains_all(one) && !one.contains_all(both) && !one.contains_all(two));
    assert!(KeywordSet::EMPTY.is_empty() && !one.is_empty());
    assert!(Keyword::all().any(|keyword| keyword == Keyword::Size) && Keyword::all().count() > 10);
    let mut set = ExtensionSet::EMPTY;
    set.insert(Extension::Dsn);
    set.insert(Extension::Size);
    set.remove(Extension::Dsn);
    set.remove(Extension::Chunking);
    assert!(set.contains(Extension::Size) && !set.contains(Extension::Dsn) && !set.contains(Extension::Chunking));
    let mut counts = LeniencyCounts::default();
    (0..2).for_each(|_| counts.add(Leniency::HeloName));
    counts.add(Leniency::NoDomain);
    assert_eq!((counts.of(Leniency::HeloName), counts.of(Leniency::NulText)), (2, 0));
    let used: Vec<_> = counts.iter().collect();
    assert_eq!(used.len(), 2);
    assert!(used.contains(&(Leniency::HeloName, 2)) && used.contains(&(Leniency::NoDomain, 1)));
    assert!(counts.to_string().contains("helo-name 2") && counts.to_string().contains(", "));
    let (sure, learnt) = (PeerName::sure("mx.example.net"), PeerName::learnt("mx.example.net"));
    assert_eq!((sure.as_str(), sure.is_sure()), (Some("mx.example.net"), true));
    assert_eq!((learnt.as_str(), learnt.is_sure()), (Some("mx.example.net"), false));
    assert_eq!(PeerName::default().as_str(), None);
    assert_eq!(Verb::Mail.to_string(), "MAIL");
}

/// RFC 1891 and Postfix's XCLIENT_README: what is added is one attribute, in xtext, or nothing.
#[test]
fn attributes_are_added_whole_or_not_at_all() {
    let mut builder = AttributesBuilder::new();
    assert!(builder.attributes().is_none());
    builder.add("NAME", Some("a b=c")).expect("printable").add("HELO", None).expect("not known");
    builder.add("LOGIN", Some("[TEMPUNAVAIL]")).expect("a value that looks like a word");
    let before = builder.attributes().expect("some").as_str().to_owned();
    assert_eq!(before, "NAME=a+20b+3Dc HELO=[UNAVAILABLE] LOGIN=+5BTEMPUNAVAIL]");
    for (name, value) in [
        ("name", Some("x")),
        ("N B", Some("x")),
        ("X=Y Z", Some("x")),
        ("B\u{fc}", Some("x")),
        ("EMPTY", Some("")),
        ("CONTROL", Some("a\r\nb")),
        ("", Some("x")),
    ] {
        assert!(builder.add(name, value).is_err(), "{name:?}");
        assert_eq!(builder.attributes().expect("some").as_str(), before, "{name:?}");
    }
    let mut out = String::from("kept");
    assert_eq!((Xtext::encode("", &mut out), Xtext::encode("\n", &mut out)), (None, None));
    assert_eq!(out, "kept");
    let mut params = ParamsBuilder::rcpt();
    params.add("NOTIFY", Some("NEVER")).expect("one of RCPT");
    params.clear();
    assert!(params.params().iter().next().is_none());
    params.add("NOTIFY", Some("FAILURE")).expect("still one of RCPT");
    assert!(params.add("SIZE", Some("1")).is_err(), "one of MAIL");
}

/// What an extension announces beside its keyword (RFC 1870 4, RFC 2852 4, RFC 3865 3).
#[test]
fn words_behind_a_keyword() {
    for (line, known) in [
        ("SIZE", true),
        ("SIZE 1", true),
        ("SIZE 1 2", false),
        ("DELIVERBY", true),
        ("DELIVERBY 1 2", false),
        ("NO-SOLICITING", true),
        ("NO-SOLICITING a b", false),
        ("XFORWARD", false),
        ("XFORWARD NAME", true),
        ("XCLIENT", false),
    ] {
        let plain = |capability: &Capability<'_>| matches!(capability, Capability::Other { .. });
        let found = Capability::parse(line.as_bytes()).filter(|capability| !plain(capability));
        assert_eq!(found.is_some(), known, "{line}: {found:?}");
    }
}

/// RFC 5321 4.2.1, and the bounds of a reply.
#[test]
fn a_reply_is_of_its_class_and_within_its_bounds() {
    for (words, class) in [("250 ok\r\n", 2), ("354 go\r\n", 3), ("451 no\r\n", 4), ("550 no\r\n", 5)] {
        let lines = ReplyLines::parse(words.as_bytes()).expect("a reply").expect("one");
        assert_eq!((lines.class(), OwnedReply::from(lines).is_positive()), (class, class == 2));
    }
    for code in ["150", "650", "050", "2x0", "25"] {
        assert!(!matches!(ReplyLines::parse(format!("{code} ok\r\n").as_bytes()), Ok(Some(_))), "{code}");
    }
    // Where not even `250 ` and an end would fit, it is told at once.
    let lines = "250-ok\r\n";
    for (total, told) in [(lines.len() + 4, true), (lines.len() + 5, false)] {
        let mut limits = ReplyLimits::default();
        limits.total = total;
        let mut input = lines.as_bytes();
        assert_eq!(ReplyReader::new(limits).next(&mut input).is_err(), told, "{total}");
    }
}

#[test]
fn what_a_balancer_says() {
    // Section 2.2: a header longer than the bound, and one that just fits.
    for (block, fits) in [(4096 - 16, true), (4096 - 15, false)] {
        let mut header = b"\r\n\r\n\0\r\nQUIT\n\x20\0".to_vec();
        header.extend(u16::try_from(block).expect("16 bits").to_be_bytes());
        header.resize(16 + block, 4);
        let too_long = smtp_proto::proxy::parse(&header).err() == Some(ProxyError::TooLong);
        assert_eq!(too_long, !fits, "{block}");
    }
    // LOCAL has no addresses, whatever family it says.
    for family in [0x11, 0x21, 0x31] {
        let header = [&b"\r\n\r\n\0\r\nQUIT\n\x20"[..], &[family, 0, 0]].concat();
        let (header, _) = smtp_proto::proxy::parse(&header).expect("a header").expect("complete");
        assert_eq!(header.addresses, Addresses::Local, "{family:#x}");
    }
    let mut out = Vec::new();
    let ip = Addresses::Ip {
        transport: Transport::Datagram,
        source: "192.0.2.1:1".parse().expect("an address"),
        destination: "192.0.2.2:2".parse().expect("an address"),
    };
    ip.write_v2(&[], &mut out).expect("short");
    assert_eq!(out.get(12..14), Some(&[0x21, 0x12][..]));
    assert!(Tlvs::default().next().is_none());
    // Section 2.2.6: without a certificate there is none that was verified; versions are named as OpenSSL names them.
    for (client, verify, verified) in [(1, 0, false), (3, 0, true), (5, 0, true), (3, 1, false)] {
        assert_eq!(Ssl { client, verify, tlvs: SslTlvs::empty() }.verified(), verified, "{client}, {verify}");
    }
    assert!(SslTlvs::empty().next().is_none());
    for (name, version) in [
        ("TLSv1.3", Some(TlsVersion::Tls13)),
        ("TLSv1.2", Some(TlsVersion::Tls12)),
        ("TLSv1.1", Some(TlsVersion::Tls11)),
        ("TLSv1", Some(TlsVersion::Tls10)),
        ("TLSv1.0", Some(TlsVersion::Tls10)),
        ("SSLv3", Some(TlsVersion::Ssl)),
        ("TLSv9", None),
    ] {
        let mut detail = vec![0x21, 0, u8::try_from(name.len()).expect("short")];
        detail.extend(name.as_bytes());
        let ssl = Ssl { client: 1, verify: 0, tlvs: SslTlvs::try_from(&detail[..]).expect("one detail") };
        let mut out = Vec::new();
        ip.write_v2(&[Tlv::Ssl(ssl)], &mut out).expect("short");
        let (header, _) = smtp_proto::proxy::parse(&out).expect("a header").expect("complete");
        let Channel::Tls(info) = header.channel(false) else { panic!("TLS was used") };
        assert_eq!(info.version, version, "{name}");
    }
    for (text, fits) in
        [("192.0.2.0/24", true), ("192.0.2.0/+24", false), ("192.0.2.0/ 24", false), ("192.0.2.1/24", false)]
    {
        assert_eq!(text.parse::<Network>().is_ok(), fits, "{text}");
    }
    let network: Network = "192.0.2.0/24".parse().expect("a network");
    for (address, within) in [("192.0.2.255", true), ("192.0.3.0", false), ("64.0.2.1", false), ("224.0.2.1", false)] {
        assert_eq!(network.contains(address.parse::<IpAddr>().expect("an address")), within, "{address}");
    }
}

/// RFC 5321 4.4: nothing in a path ends the field that it stands in; a space does no harm.
#[test]
fn fields_of_the_final_delivery() {
    let field = |write: fn(&str, &mut Vec<u8>), path| {
        let mut out = Vec::new();
        write(path, &mut out);
        String::from_utf8(out).expect("UTF-8")
    };
    assert_eq!(field(return_path, ""), "Return-Path: <>\r\n");
    assert_eq!(field(return_path, "\"a b\"@\u{fc}.example"), "Return-Path: <\"a b\"@\u{fc}.example>\r\n");
    let date = Date::from_unix(1_700_000_000).to_string();
    assert_eq!(date, "Tue, 14 Nov 2023 22:13:20 +0000");
    assert_eq!(field(delivered_to, "a\r\n\x1f\x7f@b"), "Delivered-To: a????@b\r\n");
}

#[test]
fn what_a_check_let_pass_is_told() {
    let mut lenient = TextLeniency::default();
    (lenient.bare_lf, lenient.nul) = (true, true);
    let mut check = Check::new(lenient);
    check.see(b"a\nb");
    assert_eq!((check.tolerated(), check.used().bare_lf, check.used().nul), (true, true, false));
    let mut buffer = Buffer::with_capacity(4);
    assert!(buffer.is_empty());
    buffer.extend(b"abcd");
    assert!(!buffer.is_empty() && buffer.space().is_empty());
    // What does not fit any more leaves room behind, as much as was let go.
    buffer.keep_last(9);
    assert_eq!(buffer.filled(), b"abcd");
    buffer.keep_last(1);
    buffer.keep_last(3);
    assert_eq!(buffer.filled(), b"d");
    assert_eq!(buffer.space().len(), 3);
    buffer.release();
    assert_eq!(buffer.filled(), b"d", "what is held stays");
}
