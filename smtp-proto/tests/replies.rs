//! Replies and EHLO capabilities: what is written is read back, and what is no reply is a fault, at every split.

use proptest::prelude::*;
use smtp_proto::syntax::{
    Capability, Enhanced, Extension, ExtensionSet, InvalidReply, Reply, ReplyFault, ReplyLimits, ReplyLines,
    ReplyReader, ReplyWriter, Words,
};

fn limits() -> ReplyLimits {
    let mut limits = ReplyLimits::default();
    (limits.line, limits.lines, limits.total) = (40, 4, 100);
    limits
}

/// Replies as code and lines, the fault that ended them, and what was left.
type Read = (Vec<(u16, Vec<Vec<u8>>)>, Option<ReplyFault>, Vec<u8>);

/// All replies in `stream` when it comes in these pieces.
fn read(stream: &[u8], cuts: &[usize]) -> Read {
    let mut reader = ReplyReader::new(limits());
    let (mut held, mut replies, mut begin) = (Vec::new(), Vec::new(), 0);
    for end in cuts.iter().copied().chain([stream.len()]) {
        held.extend_from_slice(&stream[begin..end]);
        begin = end;
        let mut input = &held[..];
        loop {
            match reader.next(&mut input) {
                Ok(Some(reply)) => {
                    replies.push((reply.code(), reply.lines().map(|line| line.text().to_vec()).collect()));
                }
                Ok(None) => break,
                Err(fault) => return (replies, Some(fault), Vec::new()),
            }
        }
        assert_eq!(reader.in_reply(), !input.is_empty());
        held = input.to_vec();
    }
    (replies, None, held)
}

fn at_every_split(stream: &[u8]) -> Read {
    let whole = read(stream, &[]);
    for a in 0..=stream.len() {
        for b in a..=stream.len() {
            assert_eq!(read(stream, &[a, b]), whole, "{} cut at {a} and {b}", stream.escape_ascii());
        }
    }
    let bytes: Vec<usize> = (0..stream.len()).collect();
    assert_eq!(read(stream, &bytes), whole, "{} byte by byte", stream.escape_ascii());
    whole
}

/// RFC 5321 4.5.3.1.5: each line of a reply is within the limit, however narrow it is.
#[test]
fn lines_behind_the_first_have_the_same_limit() {
    for (line, length) in (6..20).flat_map(|line| (0..16).map(move |length| (line, length))) {
        let reply = format!("250-\r\n250-{}\r\n250 \r\n", "a".repeat(length));
        let mut limits = ReplyLimits::default();
        limits.line = line;
        let told =
            ReplyReader::new(limits).next(&mut reply.as_bytes()).map(|reply| reply.map(|reply| reply.lines().count()));
        assert_eq!(
            told,
            if length + 6 <= line { Ok(Some(3)) } else { Err(ReplyFault::LineTooLong) },
            "{line}, {length}"
        );
    }
}

/// RFC 5321 4.2, 4.2.1, 4.5.3.1.5; limits are 40 octets a line, 4 lines, 100 octets.
#[test]
fn what_is_no_reply_is_a_fault() {
    use ReplyFault as F;
    for (stream, fault) in [
        (&b"hello\r\n"[..], F::Code),
        (b"\r\n", F::Code),
        (b"25\r\n", F::Code),
        (b"25x ok\r\n", F::Code),
        (b"150 too low\r\n", F::Code),
        (b"650 too high\r\n", F::Code),
        (b"099 x\r\n", F::Code),
        (b" 250 x\r\n", F::Code),
        (b"+250 x\r\n", F::Code),
        (b"HTTP/1.1 400 Bad Request\r\n", F::Code),
        (b"* OK IMAP4rev1\r\n", F::Code),
        (b"SSH-2.0-x\r\n", F::Code),
        (b"\x15\x03\x01\0\x02\x02\x0a", F::Code),
        (b"2500 x\r\n", F::Separator),
        (b"250\tx\r\n", F::Separator),
        (b"250.x\r\n", F::Separator),
        (b"250_x\r\n", F::Separator),
        (b"250\nok", F::Separator),
        (b"250\0ok\r\n", F::Separator),
        (b"250-a\r\n251 b\r\n", F::CodesDiffer),
        (b"250-a\r\n550-b\r\n250 c\r\n", F::CodesDiffer),
        (b"250-a\r\n\r\n250 b\r\n", F::Code),
        (b"250-a\r\nb\r\n250 c\r\n", F::Code),
        (b"250 a\n", F::BareLf),
        (b"250-a\n250 b\r\n", F::BareLf),
        (b"250 a\rb\r\n", F::BareCr),
        (b"250 a\r\r\n", F::BareCr),
        (b"250\rx", F::BareCr),
        (b"250 a\0b\r\n", F::Nul),
        (b"250 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n", F::LineTooLong), // 41 octets
        (b"250 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", F::LineTooLong),
        (b"250 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\0", F::LineTooLong),
        // The CR is the last octet that the limit allows: what follows does not matter.
        (b"250 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\rb\r\n", F::LineTooLong),
        (b"250 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\rb\r\n", F::BareCr),
        (b"250-a\r\n250-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n250 b\r\n", F::LineTooLong), // 41 octets
        (b"250-1\r\n250-2\r\n250-3\r\n250-4\r\n", F::TooManyLines),
        (b"250-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n250-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n250 aaaaaaaaaaaaaaaaa\r\n", F::TooLong),
        (b"250-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n250-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n250-aaaaaaaaaaaaa\r\n25", F::TooLong),
    ] {
        let (_, found, _) = at_every_split(stream);
        assert_eq!(found, Some(fault), "{}", stream.escape_ascii());
    }
}

#[test]
fn every_split_gives_the_same_replies() {
    let stream =
        b"220 mx.example.net ESMTP\r\n250-a\r\n250-\r\n250-\r\n250\r\n354\r\n250 2.1.5 ok \x1b[31m\xff\r\n599 \r\n55";
    let (replies, fault, left) = at_every_split(stream);
    let text = |text: &[u8]| vec![text.to_vec()];
    assert_eq!(fault, None);
    assert_eq!(left, b"55");
    assert_eq!(
        replies,
        [
            (220, text(b"mx.example.net ESMTP")),
            (250, vec![b"a".to_vec(), vec![], vec![], vec![]]),
            (354, text(b"")),
            (250, text(b"2.1.5 ok \x1b[31m\xff")),
            (599, text(b"")),
        ]
    );
}

/// RFC 5321 4.2.1: each octet in each place of a later line's beginning. Its code is the first line's, or the reply is at fault.
#[test]
fn a_later_line_begins_with_the_code_of_the_first() {
    for (place, octet) in (0..4).flat_map(|place| (0..=u8::MAX).map(move |octet| (place, octet))) {
        let mut later = *b"250 b\r\n";
        let same = later[place] == octet;
        later[place] = octet;
        let (replies, fault, left) = at_every_split(&[b"250-a\r\n", &later[..]].concat());
        let expected = match (place, octet) {
            _ if same => None,
            (3, b'-') => None,
            (3, b'\r') => Some(ReplyFault::BareCr),
            (3, _) => Some(ReplyFault::Separator),
            (0, b'2'..=b'5') | (1 | 2, b'0'..=b'9') => Some(ReplyFault::CodesDiffer),
            _ => Some(ReplyFault::Code),
        };
        assert_eq!(fault, expected, "{octet:#04x} in place {place}");
        let whole = vec![(250, vec![b"a".to_vec(), b"b".to_vec()])];
        assert_eq!(replies, if same { whole } else { Vec::new() }, "{octet:#04x} in place {place}");
        assert_eq!(left.is_empty(), (place, octet) != (3, b'-'), "a reply that goes on is kept");
    }
}

/// RFC 5321 4.5.3.1.5: 512 octets with CRLF are always read; so is a line of exactly the limit.
#[test]
fn a_line_of_the_limit_is_read() {
    let (replies, fault, _) = at_every_split(b"250 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n");
    assert_eq!((replies.len(), fault), (1, None));
    let long = format!("250 {}\r\n", "x".repeat(506));
    assert_eq!(long.len(), 512);
    assert!(ReplyLines::parse(long.as_bytes()).expect("a reply").is_some());
}

/// RFC 2034 4: a code of another class is text; RFC 3463 2: no leading zeros, three digits at most.
#[test]
fn enhanced_codes_are_read_on_each_line() {
    let reply = ReplyLines::parse(b"550-5.1.1 a\r\n550-5.7.999 \r\n550-4.1.1 b\r\n550-5.01.1 c\r\n550-5.1.1000\r\n550-5.1.1x\r\n550-5.1\r\n550 5.1.0\r\n")
        .expect("a reply")
        .expect("whole");
    let found: Vec<_> = reply.lines().map(|line| (line.enhanced(), line.words())).collect();
    let code = |subject, detail| Some(Enhanced::new(5, subject, detail));
    assert_eq!(
        found,
        [
            (code(1, 1), &b"a"[..]),
            (code(7, 999), b""),
            (None, b"4.1.1 b"),
            (None, b"5.01.1 c"),
            (None, b"5.1.1000"),
            (None, b"5.1.1x"),
            (None, b"5.1"),
            (code(1, 0), b""),
        ]
    );
    assert_eq!(reply.to_string(), "550 5.1.1 a 4.1.1 b 5.01.1 c 5.1.1000 5.1.1x 5.1", "words of one reply on one line");
    let go_on = ReplyLines::parse(b"354 3.0.0 go\r\n").expect("a reply").expect("whole");
    assert_eq!(go_on.enhanced(), None);
}

#[test]
fn what_a_reply_shows_is_printable() {
    let reply = ReplyLines::parse(b"550 \x1b[2J\xe2\x80\xae\ttext\r\n").expect("a reply").expect("whole");
    assert_eq!(reply.to_string(), "550 \\x1b[2J\\xe2\\x80\\xae\\x09text");
    assert!(format!("{reply:?}").bytes().all(|octet| octet.is_ascii_graphic() || octet == b' '));
}

#[test]
fn nothing_but_printable_ascii_is_written() {
    let mut out = Vec::new();
    let mut reply = ReplyWriter::new(&mut out, 250, None).expect("a code");
    for text in ["a\r\n250 b", "a\nb", "a\0b", "ä", "\u{7f}", "\t"] {
        assert_eq!(reply.line(text), Err(InvalidReply::Text), "{text:?}");
    }
    assert_eq!(reply.line(&"x".repeat(497)), Err(InvalidReply::TooLong));
    let injected = Capability::Other { keyword: "X-A\r\n250", params: Words::new("") };
    assert_eq!(reply.capability(&injected), Err(InvalidReply::Text));
    assert_eq!(reply.capability(&Capability::Auth(Words::new("PLAIN\r\n250-EVIL"))), Err(InvalidReply::Text));
    reply.finish();
    assert_eq!(out, b"250 \r\n", "a reply without a line has an empty one");
    assert_eq!(ReplyWriter::new(&mut out, 199, None).err(), Some(InvalidReply::Code));
    let foreign = Some(Enhanced::new(5, 0, 0));
    assert_eq!(ReplyWriter::new(&mut out, 250, foreign).err(), Some(InvalidReply::Enhanced));
}

/// Each row: a line of the reply to EHLO, and what it announces. The section of its RFC beside it.
#[test]
fn capabilities_are_read() {
    use Capability as C;
    use Extension as E;
    let other = |keyword, params| Some(C::Other { keyword, params: Words::new(params) });
    for (line, expected) in [
        ("PIPELINING", Some(C::Plain(E::Pipelining))), // RFC 2920 2
        ("pipelining", Some(C::Plain(E::Pipelining))),
        ("PipeLining  ", Some(C::Plain(E::Pipelining))),
        ("PIPELINING now", other("PIPELINING", "now")),
        ("PIPELINING2", other("PIPELINING2", "")),
        ("PIPELINE", other("PIPELINE", "")),
        ("SIZE", Some(C::Size(None))), // RFC 1870 4
        ("SIZE 0", Some(C::Size(Some(0)))),
        ("size 18446744073709551615", Some(C::Size(Some(u64::MAX)))),
        ("SIZE 18446744073709551616", other("SIZE", "18446744073709551616")),
        ("SIZE -1", other("SIZE", "-1")),
        ("SIZE 1 2", other("SIZE", "1 2")),
        ("SIZE=5", other("SIZE=5", "")),
        ("8BITMIME", Some(C::Plain(E::EightBitMime))), // RFC 6152 2
        ("8bitmime", Some(C::Plain(E::EightBitMime))),
        ("SMTPUTF8", Some(C::Plain(E::SmtpUtf8))), // RFC 6531 3.1
        ("SMTPUTF8 some day", Some(C::Plain(E::SmtpUtf8))),
        ("STARTTLS", Some(C::Plain(E::StartTls))), // RFC 3207 2
        ("STARTTLS now", other("STARTTLS", "now")),
        ("XTARTTLS", other("XTARTTLS", "")),
        ("AUTH PLAIN LOGIN", Some(C::Auth(Words::new("PLAIN LOGIN")))), // RFC 4954 3
        ("AUTH", Some(C::Auth(Words::new("")))),
        ("AUTH=PLAIN LOGIN", other("AUTH=PLAIN", "LOGIN")),
        ("ENHANCEDSTATUSCODES", Some(C::Plain(E::EnhancedStatusCodes))), // RFC 2034 3
        ("ENHANCEDSTATUSCODE", other("ENHANCEDSTATUSCODE", "")),
        ("DSN", Some(C::Plain(E::Dsn))),               // RFC 3461 3
        ("CHUNKING", Some(C::Plain(E::Chunking))),     // RFC 3030 2
        ("BINARYMIME", Some(C::Plain(E::BinaryMime))), // RFC 3030 3
        ("DELIVERBY", Some(C::DeliverBy(None))),       // RFC 2852 2
        ("DELIVERBY 999999999", Some(C::DeliverBy(Some(999_999_999)))),
        ("DELIVERBY 1999999999", other("DELIVERBY", "1999999999")),
        (
            "FUTURERELEASE 864000 2026-12-01T00:00:00Z",
            Some(C::FutureRelease { interval: 864_000, until: "2026-12-01T00:00:00Z" }),
        ), // RFC 4865 4
        ("FUTURERELEASE", other("FUTURERELEASE", "")),
        ("FUTURERELEASE 1", other("FUTURERELEASE", "1")),
        ("MT-PRIORITY", Some(C::MtPriority(None))), // RFC 6710 4.1
        ("MT-PRIORITY STANAG4406", Some(C::MtPriority(Some("STANAG4406")))),
        ("MT-PRIORITY a b", other("MT-PRIORITY", "a b")),
        ("RRVS", Some(C::Plain(E::Rrvs))),             // RFC 7293 4
        ("REQUIRETLS", Some(C::Plain(E::RequireTls))), // RFC 8689 2
        ("LIMITS RCPTMAX=20 MAILMAX=5", Some(C::Limits(Words::new("RCPTMAX=20 MAILMAX=5")))), // RFC 9422 4
        ("LIMITS", other("LIMITS", "")),
        ("ETRN", Some(C::Plain(E::Etrn))),                // RFC 1985 4
        ("ATRN", Some(C::Plain(E::Atrn))),                // RFC 2645 4
        ("BURL imap", Some(C::Burl(Words::new("imap")))), // RFC 4468 3.3
        ("BURL", Some(C::Burl(Words::new("")))),
        ("NO-SOLICITING net.example:ADV", Some(C::NoSoliciting(Some("net.example:ADV")))), // RFC 3865 2
        ("NO-SOLICITING", Some(C::NoSoliciting(None))),
        ("MTRK", Some(C::Plain(E::Mtrk))),             // RFC 3885 2
        ("CHECKPOINT", Some(C::Plain(E::Checkpoint))), // RFC 1845 2
        ("CONPERM", Some(C::Plain(E::ConPerm))),       // RFC 4141 3
        ("CONNEG", Some(C::Plain(E::ConNeg))),         // RFC 4141 4
        ("SUBMITTER", Some(C::Plain(E::Submitter))),   // RFC 4405 3
        ("VRFY", Some(C::Plain(E::Vrfy))),             // RFC 5321 3.5.1
        ("EXPN", Some(C::Plain(E::Expn))),
        ("HELP", Some(C::Plain(E::Help))), // RFC 5321 4.1.1.8
        ("XCLIENT NAME ADDR", Some(C::XClient(Words::new("NAME ADDR")))),
        ("XFORWARD NAME ADDR", Some(C::XForward(Words::new("NAME ADDR")))),
        ("XCLIENT", other("XCLIENT", "")),
        ("XFORWARD", other("XFORWARD", "")),
        ("X-NEW thing 5", other("X-NEW", "thing 5")),
        // No ehlo-line (RFC 5321 4.1.1.1).
        ("", None),
        (" PIPELINING", None),
        ("-X", None),
        ("X\u{e4}", None),
        ("SIZE \u{e4}", None),
        ("SIZE\t5", None),
    ] {
        assert_eq!(Capability::parse(line.as_bytes()), expected, "{line:?}");
        // Blanks at the end count for nothing.
        let blank = format!("{line} ");
        assert_eq!(Capability::parse(blank.as_bytes()), expected, "{blank:?}");
    }
}

#[test]
fn every_keyword_is_found_and_no_other() {
    const ALL: &str = "PIPELINING SIZE 8BITMIME SMTPUTF8 STARTTLS AUTH ENHANCEDSTATUSCODES DSN CHUNKING BINARYMIME \
        DELIVERBY FUTURERELEASE MT-PRIORITY RRVS REQUIRETLS LIMITS ETRN ATRN BURL NO-SOLICITING MTRK CHECKPOINT CONPERM \
        CONNEG SUBMITTER VRFY EXPN HELP XCLIENT XFORWARD";
    let all: ExtensionSet =
        ALL.split_whitespace().map(|keyword| Extension::from_keyword(keyword.as_bytes()).expect(keyword)).collect();
    assert!(all.iter().map(Extension::keyword).eq(ALL.split_whitespace()));
    for extension in all.iter() {
        let keyword = extension.keyword();
        assert_eq!(Extension::from_keyword(keyword.as_bytes()), Some(extension));
        assert_eq!(Extension::from_keyword(keyword.to_ascii_lowercase().as_bytes()), Some(extension));
        for at in 0..keyword.len() {
            let mut wrong = keyword.as_bytes().to_vec();
            assert_eq!(Extension::from_keyword(&wrong[..at]), None, "{keyword} cut at {at}");
            // `&0xdf` folds this to the same.
            wrong[at] ^= if wrong[at].is_ascii_alphabetic() { 0x80 } else { 0x20 };
            assert_eq!(Extension::from_keyword(&wrong), None, "{keyword} with another octet at {at}");
        }
    }
}

fn printable(most: usize) -> impl Strategy<Value = String> {
    proptest::collection::vec(b' '..=b'~', 0..most).prop_map(|text| String::from_utf8(text).expect("ASCII"))
}

fn enhanced(code: u16) -> impl Strategy<Value = Option<Enhanced>> {
    let class = u8::try_from(code / 100).expect("a digit");
    proptest::option::of((0..1000_u16, 0..1000_u16).prop_map(move |(s, d)| Enhanced::new(class, s, d)))
        .prop_map(move |enhanced| enhanced.filter(|_| class != 3))
}

fn words(least: usize) -> impl Strategy<Value = String> {
    proptest::collection::vec("[!-~]{1,9}", least..4).prop_map(|words| words.join(" "))
}

/// Every shape, in its normal form: one blank between words.
fn capability() -> impl Strategy<Value = (usize, u64, String)> {
    (0..40_usize, any::<u64>(), words(1))
}

fn build<'a>((kind, number, text): &'a (usize, u64, String)) -> Capability<'a> {
    const PLAIN: [Extension; 7] = [
        Extension::Pipelining,
        Extension::EightBitMime,
        Extension::SmtpUtf8,
        Extension::StartTls,
        Extension::EnhancedStatusCodes,
        Extension::RequireTls,
        Extension::Help,
    ];
    let one = text.split(' ').next().unwrap_or_default();
    let seconds = u32::try_from(number % 1_000_000_000).expect("nine digits");
    match kind {
        0 => Capability::Size(None),
        1..4 => Capability::Size(Some(*number)),
        4 => Capability::DeliverBy(None),
        5 => Capability::DeliverBy(Some(seconds)),
        6 => Capability::FutureRelease { interval: seconds, until: one },
        7 => Capability::MtPriority(Some(one)),
        8 => Capability::MtPriority(None),
        9 => Capability::Limits(Words::new(text)),
        10 => Capability::NoSoliciting(Some(one)),
        11 => Capability::XClient(Words::new(text)),
        12 => Capability::XForward(Words::new(text)),
        13 => Capability::Burl(Words::new(text)),
        14..18 => Capability::Auth(Words::new(text)),
        18 => Capability::Auth(Words::new("")),
        19 => Capability::Other { keyword: "X-UNKNOWN", params: Words::new(text) },
        20 => Capability::Other { keyword: "PIPELINING", params: Words::new(text) },
        kind => Capability::Plain(PLAIN[kind % PLAIN.len()]),
    }
}

proptest! {
    #[test]
    fn what_was_written_is_read_back(
        (code, enhanced) in (200..600_u16).prop_flat_map(|code| (Just(code), enhanced(code))),
        lines in proptest::collection::vec(printable(400), 1..6),
    ) {
        let mut out = Vec::new();
        let mut writer = ReplyWriter::new(&mut out, code, enhanced).expect("a code");
        for line in &lines {
            writer.line(line).expect("printable");
        }
        writer.finish();
        let read = ReplyLines::parse(&out).expect("a reply").expect("whole");
        prop_assert_eq!(read.code(), code);
        prop_assert_eq!(read.lines().len(), lines.len());
        for (line, text) in read.lines().zip(&lines) {
            // Without a code of its own, a text may look as if it began with one.
            if enhanced.is_some() {
                prop_assert_eq!(line.enhanced(), enhanced);
                prop_assert_eq!(line.words(), text.as_bytes());
            } else {
                prop_assert_eq!(line.text(), text.as_bytes());
            }
        }
        if let [line] = &lines[..] {
            let mut single = Vec::new();
            Reply::new(code, enhanced, line).expect("a reply").write(&mut single);
            prop_assert_eq!(&single, &out, "one line is written alike by both");
        }
    }

    #[test]
    fn capabilities_that_were_written_are_read_back(all in proptest::collection::vec(capability(), 0..14)) {
        let mut out = Vec::new();
        let mut writer = ReplyWriter::new(&mut out, 250, None).expect("a code");
        writer.line("mx.example.net").expect("printable");
        for each in &all {
            writer.capability(&build(each)).expect("printable");
        }
        writer.finish();
        let read = ReplyLines::parse(&out).expect("a reply").expect("whole");
        prop_assert!(read.capabilities().eq(all.iter().map(build)));
    }

    #[test]
    fn any_octets_are_read_alike_at_any_split(
        pieces in proptest::collection::vec(
            proptest::sample::select(vec![
                &b"250"[..], b"354", b"421", b" ", b"-", b"\r\n", b"\r", b"\n", b"\0", b"text of some length", b"2.0.0 ", b"x",
            ]),
            0..30,
        ),
        mut cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..8),
    ) {
        let stream = pieces.concat();
        let mut cuts: Vec<usize> = cuts.drain(..).map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.sort_unstable();
        let whole = read(&stream, &[]);
        prop_assert_eq!(&read(&stream, &cuts), &whole);
        let (replies, fault, left) = whole;
        // Nothing is lost, and nothing made up.
        if fault.is_none() {
            let length: usize = replies.iter().flat_map(|(_, lines)| lines).map(|text| text.len() + 5).sum();
            prop_assert!(length + left.len() <= stream.len() + replies.iter().map(|(_, lines)| lines.len()).sum::<usize>());
        }
    }
}
