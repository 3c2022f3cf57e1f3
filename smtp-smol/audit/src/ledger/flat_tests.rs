//! A line is read as JSON says, in whatever form it comes.

use proptest::prelude::*;

use super::*;
use crate::ledger::line::parse_json;
use crate::ledger::{Entry, Wrong};

fn told(line: &str) -> (Option<Entry<'_>>, Result<Entry<'_>, Wrong>) {
    (Reader::default().read(line.as_bytes()).map(|row| row.entry(line.as_bytes())), parse_json(line.as_bytes()))
}

const WHOLE: &str = concat!(
    r#"{"v":2,"node":"mx1","run":"6a1","seq":7,"id":"x","time":"2026-11-24T09:00:00.250Z","direction":"inbound","#,
    r#""peer":"192.0.2.1","helo":"a","sender_domain":null,"recipient_domains":["b","c"],"recipients":2,"#,
    r#""envelope":"00000000000000ff","bytes":17,"outcome":"accepted","code":251,"verdict":"unwanted","#,
    r#""tls":{"outcome":"used","version":"TLS1.2","cipher":"X","client_certificate":null,"group":"x25519","#,
    r#""offered_version":"TLS1.3","post_quantum":true,"told_by":"proxy","reason":"r"},"end_to_end":"none","#,
    r#""rehearsal":"asked","excepted":true,"lenient":["helo-name"]}"#
);

/// What is read here is what JSON says; whatever is not read here is left to it.
#[test]
fn it_agrees_with_json() {
    let (here, json) = told(WHOLE);
    assert!(here.is_some() && here == json.ok(), "{WHOLE}");
    let mut read_here = 0;
    let long = "x".repeat(1025);
    for at in 0..WHOLE.len() {
        for with in [
            "",
            "\"",
            "\\",
            "0",
            "7",
            "-",
            "}",
            "]",
            ",",
            " ",
            "null",
            "\u{1}",
            "\u{7f}",
            "\u{e4}",
            "\u{202e}",
            "99999999999",
            "18446744073709551615",
            r#"","v":1,""#,
            r#"",""#,
            &long,
        ] {
            let spoilt = [&WHOLE[..at], with, &WHOLE[at + 1..]].concat();
            if let (Some(here), json) = told(&spoilt) {
                assert_eq!(Ok(here), json, "{spoilt}");
                read_here += 1;
            }
        }
        assert!(told(&WHOLE[..at]).0.is_none());
    }
    assert!(read_here > 500, "{read_here}");
    assert!(told(&format!("{WHOLE}}}")).0.is_none());
}

/// Values that others read in their own way are read here as there.
#[test]
fn values_are_those_that_they_are() {
    for text in [
        "unix",
        "",
        "0.0.0.0",
        "255.255.255.255",
        "256.1.1.1",
        "1.2.3",
        "1.2.3.4.5",
        "01.2.3.4",
        "1.2.3.00",
        "1.2.3.4.",
        ".1.2.3",
        "1..2.3",
        "1.2.3.1000",
        "2001:db8::1",
        "::ffff:192.0.2.1",
        "10.100.9.99",
        "1.2.3.4 ",
    ] {
        assert_eq!(address(text.as_bytes()), text.parse().ok(), "{text}");
    }
    for text in [
        "",
        "0",
        "ff",
        "FF",
        "+f",
        "-1",
        "fffffffffffffffff",
        "ffffffffffffffff",
        "0123456789abcdef",
        "0123456789ABCDEF",
        "0000000000000001",
        "00000000/0000000",
        "000000000:000000",
        "0000000`00000000",
        "0000000g00000000",
        "+000000000000001",
        "000000000@000000",
        "0000000000000 01",
    ] {
        assert_eq!(hexadecimal(text.as_bytes()), u64::from_str_radix(text, 16).unwrap_or_default(), "{text}");
    }
}

/// What a member may be, in JSON.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-z0-9.-]{0,20}".prop_map(|text| format!("\"{text}\"")),
        1 => any::<String>().prop_map(|text| serde_json::to_string(&text).expect("JSON")),
        1 => prop::sample::select(vec!["null", "true", "0", "00", "-1", "1.5", "7", "[]", "{}", r#"["a",]"#, r#""\u0061""#])
            .prop_map(Into::into),
        1 => any::<u64>().prop_map(|number| number.to_string()),
        1 => prop::sample::select(vec![
            "used", "not-tried", "failed", "accepted", "refused", "TLS1.3", "TLS1.0", "none", "verified", "s-mime", "asked",
            "outbound", "2026-11-24T09:00:60Z", "2026-11-24 09:00:00+01:00", "::1", "proxy",
        ])
        .prop_map(|text| format!("\"{text}\"")),
    ]
}

/// What may be done to a line: members are left out, said twice, put elsewhere, given another value, or are of another
/// program's; spaces stand between; texts have escapes.
#[derive(Clone, Debug)]
enum Change {
    Without(usize),
    Twice(usize),
    Swapped(usize, usize),
    Another(usize, String),
    Unknown(usize, String),
    Spaced(usize, &'static str),
    Escaped(usize),
    Cut(usize),
}

fn change() -> impl Strategy<Value = Change> {
    let at = 0_usize..32;
    prop_oneof![
        3 => at.clone().prop_map(Change::Without),
        1 => at.clone().prop_map(Change::Twice),
        1 => (at.clone(), at.clone()).prop_map(|(one, other)| Change::Swapped(one, other)),
        4 => (at.clone(), value()).prop_map(|(at, value)| Change::Another(at, value)),
        1 => (at.clone(), value()).prop_map(|(at, value)| Change::Unknown(at, value)),
        1 => (at.clone(), prop::sample::select(vec![" ", "\t", "\r", "\u{a0}"])).prop_map(|(at, with)| Change::Spaced(at, with)),
        1 => at.prop_map(Change::Escaped),
        1 => (0_usize..700).prop_map(Change::Cut),
    ]
}

fn changed(changes: &[Change]) -> String {
    let mut members: Vec<String> =
        WHOLE[1..WHOLE.len() - 1].split(",\"").map(|member| member.trim_start_matches('"').into()).collect();
    let mut cut = usize::MAX;
    for change in changes {
        let all = members.len().max(1);
        match change {
            Change::Without(at) if members.len() > 1 => drop(members.remove(at % all)),
            Change::Twice(at) => members.push(members[at % all].clone()),
            Change::Swapped(one, other) => members.swap(one % all, other % all),
            Change::Another(at, value) => {
                let member = &mut members[at % all];
                // The end of the inner object stays where it is.
                let end = if member.ends_with('}') { "}" } else { "" };
                *member = format!("{}:{value}{end}", member.split(':').next().unwrap_or_default());
            }
            Change::Unknown(at, value) => members.insert(at % all, format!("later\":{value}")),
            Change::Spaced(at, with) => members[at % all] = members[at % all].replacen(':', &format!(":{with}"), 1),
            Change::Escaped(at) => members[at % all] = members[at % all].replacen(":\"", ":\"\\u0061", 1),
            Change::Cut(at) => cut = *at,
            Change::Without(_) => {}
        }
    }
    let line = format!("{{\"{}}}", members.join(",\""));
    line.chars().take(cut).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]
    #[test]
    fn it_agrees_with_json_whatever_is_there(changes in prop::collection::vec(change(), 0..5)) {
        let line = changed(&changes);
        if let (Some(here), json) = told(&line) {
            prop_assert_eq!(Ok(here), json, "{}", line);
        }
        // And so does whoever asks for a line.
        prop_assert_eq!(Entry::parse(line.as_bytes()), parse_json(line.as_bytes()), "{}", line);
    }

    /// What the reader remembers of one line changes nothing in the next.
    #[test]
    fn lines_are_read_alike_whatever_came_before(lines in prop::collection::vec(prop::collection::vec(change(), 0..3), 2..6)) {
        let lines: Vec<String> = lines.iter().map(|changes| changed(changes)).collect();
        let mut reader = Reader::default();
        for line in &lines {
            let here = reader.read(line.as_bytes()).map(|row| row.entry(line.as_bytes()));
            prop_assert_eq!(here.is_some(), told(line).0.is_some(), "{}", line);
            if let Some(here) = here {
                prop_assert_eq!(Ok(here), parse_json(line.as_bytes()), "{}", line);
            }
        }
    }

    #[test]
    fn octets_that_are_no_text_are_read_as_json_reads_them(at in 0..WHOLE.len(), octet in any::<u8>()) {
        let mut line = WHOLE.as_bytes().to_vec();
        line[at] = octet;
        prop_assert_eq!(Entry::parse(&line), parse_json(&line));
    }
}
