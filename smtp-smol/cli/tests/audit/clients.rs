//! What clients could do, and what refusing their faults would have cost: from ledgers alone.

use super::{Place, at, json, text};

fn line(day: u32, sender: &str, tls: &str, more: &str) -> String {
    format!(
        r#"{{"v":2,"time":"2026-11-{day:02}T09:00:00Z","peer":"192.0.2.1","sender_domain":"{sender}","recipients":1,"outcome":"accepted","tls":{tls}{more}}}"#
    ) + "\n"
}

/// Six messages: of two that used TLS 1.2 one client could have used 1.3, and of three groups one is post-quantum.
fn ledger() -> String {
    let used = |version, group, offered, post_quantum| {
        format!(
            r#"{{"outcome":"used","version":"{version}","group":"{group}","offered_version":"{offered}","post_quantum":{post_quantum}}}"#
        )
    };
    let bare_lf = r#","lenient":["bare-lf-text","helo-name"]"#;
    [
        line(2, "a.example", &used("TLS1.3", "X25519MLKEM768", "TLS1.3", true), ""),
        line(3, "b.example", &used("TLS1.3", "x25519", "TLS1.3", true), ""),
        line(4, "c.example", &used("TLS1.2", "secp256r1", "TLS1.3", false), bare_lf),
        line(4, "d.example", &used("TLS1.2", "secp256r1", "TLS1.2", false), bare_lf),
        line(
            4,
            "d.example",
            &used("TLS1.2", "secp256r1", "TLS1.2", false),
            r#","lenient":["bare-lf-text","of-the-future"]"#,
        ),
        line(5, "e.example", r#"{"outcome":"not-tried"}"#, ""),
    ]
    .concat()
}

#[test]
fn what_clients_could_do_stands_beside_what_they_did() {
    let place = Place::new();
    let file = place.file("ledger", ledger());
    let report = json(&[], &[&file]);
    let row = |row: usize, what: &str| {
        let cost = format!("/inbound/could/{row}/{what}");
        (
            at(&report, &format!("{cost}/lost")),
            at(&report, &format!("{cost}/of")),
            at(&report, &format!("{cost}/senders")),
        )
    };
    assert_eq!([row(0, "used"), row(0, "offered")], [(1, 6, 1), (1, 6, 1)], "TLS 1.2");
    assert_eq!([row(1, "used"), row(1, "offered")], [(4, 6, 3), (3, 6, 2)], "TLS 1.3");
    assert_eq!([row(2, "used"), row(2, "offered")], [(5, 6, 4), (4, 6, 3)], "post-quantum");
    let said = text(&[], &[&file]);
    assert!(said.contains("Wanted mail lost  "), "{said}");
    let line = said.lines().find(|line| line.starts_with("X25519MLKEM768")).expect("a row");
    assert!(line.contains(" 83 % (") && line.contains(" 67 % ("), "{line}");
    assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
}

/// RFC 5321 2.3.8: what leniencies let pass.
#[test]
fn strictness_has_a_price() {
    let place = Place::new();
    let file = place.file("ledger", ledger());
    let report = json(&[], &[&file]);
    let strictness = report.pointer("/inbound/strictness").expect("a list");
    let row = |row: usize| {
        let of = |what: &str| at(strictness, &format!("/{row}/{what}"));
        (strictness[row]["leniency"].as_str().expect("a name").to_owned(), of("lost"), of("of"), of("senders"))
    };
    assert_eq!(row(0), ("bare-lf-text".into(), 3, 6, 2));
    assert_eq!(row(1), ("helo-name".into(), 2, 6, 2));
    assert_eq!(strictness.as_array().map(Vec::len), Some(2), "what no leniency is called is none");
    let said = text(&[], &[&file]);
    assert!(said.contains("\nHad you refused\nbare-lf-text          3 of 6 (50 %, "), "{said}");
    let none = place.file("none", line(2, "a.example", r#"{"outcome":"used","version":"TLS1.3"}"#, ""));
    assert!(!text(&[], &[&none]).contains("Had you refused"));
}

#[test]
fn a_page_shows_versions_and_groups_over_time_and_a_log_says_what_it_does_not_know() {
    let place = Place::new();
    let page = place.file("page.html", "");
    let html = ["--html", page.to_str().expect("UTF-8")];
    text(&html, &[&place.file("ledger", ledger())]);
    let shown = std::fs::read_to_string(&page).expect("read");
    for words in [
        "Versions of TLS over time",
        "Groups of the key exchange over time",
        "2026-11-04: TLS 1.2 100",
        "X25519MLKEM768",
    ] {
        assert!(shown.contains(words), "{words}");
    }
    assert!(
        shown.contains("<td><span>4 of 6</span> <span>(67") && shown.contains("LF without CR in the text"),
        "the tables"
    );
    text(&html, &[&place.file("mail.log", super::POSTFIX)]);
    let shown = std::fs::read_to_string(&page).expect("read");
    assert!(shown.contains("not known: only what was negotiated is") && !shown.contains("Groups of the key"));
    assert!(!shown.contains("Had you refused"));
}
