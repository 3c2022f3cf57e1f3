//! Whom a policy would silence: the list, what it sets aside, and the tables for Postfix.

use super::{Place, counts, lost, run, text};

const LEDGER: &str = r#"{"time":"2026-11-20T09:00:00Z","peer":"192.0.2.1","sender_domain":"news.a.example","recipients":1,"outcome":"accepted","tls":{"outcome":"not-tried"}}
{"time":"2026-11-22T09:00:00Z","peer":"192.0.2.9","sender_domain":"a.example","recipients":1,"outcome":"accepted","tls":{"outcome":"failed-then-plaintext"}}
{"time":"2026-11-22T09:00:00Z","peer":"198.51.100.1","sender_domain":"both.example","recipients":1,"outcome":"accepted","tls":{"outcome":"not-tried"}}
{"time":"2026-11-23T09:00:00Z","peer":"198.51.100.2","sender_domain":"both.example","recipients":1,"outcome":"accepted","tls":{"outcome":"used","version":"TLS1.2"}}
{"time":"2026-11-23T09:00:00Z","peer":"2001:db8::7","helo":"mx.notices.example","sender_domain":"","recipients":1,"outcome":"accepted","tls":{"outcome":"not-tried"}}
{"time":"2026-11-24T09:00:00Z","peer":"203.0.113.1","sender_domain":"spam.example","recipients":1,"outcome":"accepted","verdict":"unwanted","tls":{"outcome":"not-tried"}}
{"time":"2026-11-24T09:00:00Z","peer":"203.0.113.9","sender_domain":"old.example","recipients":1,"outcome":"accepted","tls":{"outcome":"used","version":"TLS1.0"}}
{"time":"2026-11-24T09:00:00Z","peer":"203.0.113.10","sender_domain":"[203.0.113.10]","recipients":1,"outcome":"accepted","tls":{"outcome":"not-tried"}}
"#;

#[test]
fn who_would_be_silenced_is_listed_and_set_aside_with_the_list() {
    let place = Place::new();
    let ledger = place.file("ledger", LEDGER);
    let list = place.file("list", "");
    let name = list.to_str().expect("UTF-8");
    text(&["--exceptions", name], &[&ledger]);
    let written = std::fs::read_to_string(&list).expect("read");
    let lines: Vec<&str> = written.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    assert_eq!(
        lines,
        [
            "a.example                        # 2 messages, the last on 2026-11-22",
            "notices.example                  # 1 message, the last on 2026-11-23",
            "192.0.2.0/24                     # 2 messages, the last on 2026-11-22",
            "2001:db8::/64                    # 1 message, the last on 2026-11-23",
        ]
    );
    assert!(written.starts_with("# Whom requiring TLS would silence: "), "{written}");
    assert!(written.contains("\n# Not in the list: 1 message of senders without a domain."), "{written}");
    // A network from which one sender has TLS and another has not is not silenced.
    assert!(!written.contains("203.0.113.0/24") && !written.contains("198.51.100.0/24"));
    // What is left to lose.
    let report = super::json(&["--except", name], &[&ledger]);
    assert_eq!((lost(&report, 0), super::at(&report, "/not_counted/excepted")), ((2, 4), 3));
    assert_eq!(counts(&report, "inbound")[0], [2, 2, 0, 0]);
    let said = text(&["--except", name], &[&ledger]);
    assert!(said.contains("3 that came by an exception"), "{said}");
    // A list can be made anew of what a list lets pass.
    let again = place.file("again", "");
    text(&["--except", name, "--exceptions", again.to_str().expect("UTF-8")], &[&ledger]);
    assert_eq!(std::fs::read_to_string(&again).expect("read"), written);
    // Of another policy others.
    text(&["--exceptions", name, "--policy", "tls1.2"], &[&ledger]);
    let written = std::fs::read_to_string(&list).expect("read");
    assert!(written.contains("\nold.example ") && written.contains("without TLS 1.2 or later"), "{written}");
}

/// As `serve --tls require --except` writes them: mail that came by an exception is no loss, and what was turned away is told.
#[test]
fn a_ledger_of_a_server_that_requires_tls_says_what_is_left() {
    let place = Place::new();
    let ledger = place.file(
        "ledger",
        r#"{"v":2,"time":"2026-11-24T09:00:00Z","peer":"192.0.2.1","sender_domain":"a.example","recipients":1,"outcome":"accepted","tls":{"outcome":"not-tried"},"excepted":true}
{"v":2,"time":"2026-11-24T09:00:01Z","peer":"198.51.100.1","sender_domain":"b.example","recipients":1,"outcome":"accepted","tls":{"outcome":"used","version":"TLS1.3"}}
{"v":2,"time":"2026-11-24T09:00:02Z","peer":"203.0.113.1","sender_domain":"c.example","outcome":"tls-required","tls":{"outcome":"not-tried"}}
"#,
    );
    let said = text(&[], &[&ledger]);
    assert!(said.starts_with("Of 1 wanted message of one day, none"), "{said}");
    assert!(said.contains("Not taken, so of unknown worth: 1 without TLS, from 1 sender."), "{said}");
    assert!(said.contains("Not counted: 1 that came by an exception"), "{said}");
}

#[test]
fn tables_for_postfix_are_two_files_and_for_tls_alone() {
    let place = Place::new();
    let ledger = place.file("ledger", LEDGER);
    let list = place.0.path().join("access");
    let name = list.to_str().expect("UTF-8");
    text(&["--exceptions", name, "--exceptions-as", "postfix"], &[&ledger]);
    let table = |ending: &str| {
        let table = std::fs::read_to_string(format!("{name}.{ending}")).expect("read");
        assert!(table.contains(&format!("#       check_client_access cidr:{name}.clients\n")), "{table}");
        table.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(table("clients"), ["192.0.2.0/24 OK", "2001:db8::/64 OK"]);
    assert_eq!(table("senders"), ["a.example OK", "notices.example OK"]);
    let wrong = run(&["--exceptions", name, "--exceptions-as", "postfix", "--policy", "tls1.3"], &[&ledger]);
    assert_eq!(wrong.status.code(), Some(2));
    let wrong = run(&["--except", place.file("bad", "a.example\nb c\n").to_str().expect("UTF-8")], &[&ledger]);
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(
        wrong.status.code() == Some(2) && said.contains("bad: line 2 is neither a domain nor a network; give"),
        "{said}"
    );
}
