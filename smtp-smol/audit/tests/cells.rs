//! Cells add up: however mail is dealt out to hosts, and in whatever order their cells are read, the report is the same.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use smtp_audit::ledger::{Ending, Entry, Stamp};
use smtp_audit::{Audit, Error, Options};
use smtp_proto::tls::{ClientCertificate, Condition, Direction, EndToEnd, Hop, Rehearsed, TlsVersion, Wanted};

/// A file that is kept in memory.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Page {
    fn octets(&self) -> Vec<u8> {
        self.0.lock().expect("whole").clone()
    }
}

impl Write for Page {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("whole").write(octets)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The report as text and page and JSON, without the time at which it was made; and the cells.
fn audit(options: &Options, name: &str, sources: &[(String, Vec<u8>)]) -> Result<(Vec<String>, Vec<u8>), Error> {
    let mut audit = Audit::new(options);
    let page = Page::default();
    audit.cells(page.clone(), name);
    for (name, octets) in sources {
        audit.stream(name.as_ref(), octets.as_slice(), &())?;
    }
    let report = audit.report(Condition::Tls)?;
    let shown = [report.text(Default::default()), report.html(), report.json()];
    let timeless = |text: &String| -> String {
        text.lines().filter(|line| !line.contains("\"made\"") && !line.contains("smtp-smol 0")).collect()
    };
    Ok((shown.iter().map(timeless).collect(), page.octets()))
}

fn shown(name: &str, sources: &[(String, Vec<u8>)]) -> (Vec<String>, Vec<u8>) {
    audit(&Options::default(), name, sources).expect("a report")
}

fn entry() -> impl Strategy<Value = Entry<'static>> {
    let hops = [
        Hop::Used { version: Some(TlsVersion::Tls13), certificate: ClientCertificate::None },
        Hop::Used { version: Some(TlsVersion::Tls12), certificate: ClientCertificate::Verified },
        Hop::Used { version: None, certificate: ClientCertificate::Unknown },
        Hop::NotTried,
        Hop::FailedThenPlaintext,
        Hop::NotOffered,
        Hop::Unknown,
    ];
    let found = [None, Some(Rehearsed::CameWithTls), Some(Rehearsed::CameInPlaintext)];
    (
        (0..40_i64, any::<bool>(), 0..12_u8, 0..9_usize, 0..hops.len(), 0..EndToEnd::ALL.len()),
        (0..4_usize, 0..found.len(), 0..4_u32, 0..9_999_u64, any::<bool>()),
    )
        .prop_map(
            move |((day, out, peer, sender, hop, kind), (verdict, rehearsed, recipients, bytes, refused))| {
                let direction = if out { Direction::Outbound } else { Direction::Inbound };
                let ending = if refused { Ending::Refused } else { Ending::Accepted };
                let time = jiff::Timestamp::from_second(1_795_000_000 + day * 50_000).expect("a time");
                let mut entry = Entry::new(time, direction, ending);
                entry.peer = Some([192, 0, 2, peer].into());
                entry.helo = Some(format!("mx.host{peer}.example").into());
                entry.sender_domain = Some(if sender == 0 { "".into() } else { format!("s{sender}.example").into() });
                entry.recipient_domains = vec![format!("r{}.example", sender % 3).into()];
                (entry.recipients, entry.bytes) = (recipients, bytes);
                entry.verdict = [None, Some(Wanted::Yes), Some(Wanted::No), Some(Wanted::Unknown)][verdict];
                entry.tls.hop = hops[hop];
                entry.end_to_end = EndToEnd::ALL[kind];
                entry.rehearsed = found[rehearsed];
                entry
            },
        )
}

/// A ledger with a broken line at its end.
fn ledger(entries: &[&Entry<'_>]) -> Vec<u8> {
    let mut octets: Vec<u8> = entries.iter().flat_map(|entry| entry.line()).collect();
    octets.extend(b"{\"time\":\n");
    octets
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whoever_counts_what_and_adds_up_in_what_order(
        entries in prop::collection::vec(entry(), 1..60),
        deal in prop::collection::vec(0..3_usize, 60),
        order in Just([0, 1, 2]).prop_shuffle(),
    ) {
        let part = |host: usize| {
            let dealt: Vec<_> = entries.iter().zip(&deal).filter(|(_, to)| **to == host).map(|(entry, _)| entry).collect();
            // A ledger of nothing is nothing that is known by sight.
            let mut octets = entries[0].line();
            octets.extend(ledger(&dealt));
            (format!("mx{host}.jsonl"), octets)
        };
        let hosts = [part(0), part(1), part(2)];
        let (whole, sum) = shown("all", &hosts);
        let cells: Vec<(String, Vec<u8>)> =
            hosts.iter().map(|(name, octets)| (format!("{name}.cells"), shown(name, &[(name.clone(), octets.clone())]).1)).collect();
        let take = |which: &[usize]| which.iter().map(|at| cells[*at].clone()).collect::<Vec<_>>();
        // All at once, in any order.
        prop_assert_eq!(&shown("x", &take(&order)).0, &whole);
        // Two first, then their sum with the third, on either side.
        let two = ("two".to_owned(), shown("two", &take(&order[..2])).1);
        let third = cells[order[2]].clone();
        prop_assert_eq!(&shown("y", &[two.clone(), third.clone()]).0, &whole);
        prop_assert_eq!(&shown("z", &[third, two]).0, &whole);
        // And the sum of all, read back.
        prop_assert_eq!(&shown("w", &[("sum".into(), sum)]).0, &whole);
    }
}

fn one() -> Vec<u8> {
    let mut entry =
        Entry::new(jiff::Timestamp::from_second(1_795_000_000).expect("a time"), Direction::Inbound, Ending::Accepted);
    entry.stamp = Some(Stamp::new("mx1", "1", 1));
    entry.peer = Some([192, 0, 2, 1].into());
    entry.sender_domain = Some("a.example".into());
    entry.tls.hop = Hop::NotTried;
    entry.line()
}

#[test]
fn what_cannot_be_added_up_is_refused_with_the_mend() {
    let ledger = [("ledger".to_owned(), one())];
    let cells = ("cells".to_owned(), shown("first", &ledger).1);
    let other = ("other".to_owned(), shown("second", &ledger).1);
    let sum = ("sum".to_owned(), shown("sum", &[cells.clone(), other.clone()]).1);
    let keyed = Options { key: Some(b"a key of the fleet".to_vec()), ..Options::default() };
    let keyed = ("keyed".to_owned(), audit(&keyed, "keyed", &ledger).expect("cells").1);
    let scoped = Options { scope: smtp_proto::tls::Scope::Senders(vec!["a.example".into()]), ..Options::default() };
    let scoped_cells = ("scoped".to_owned(), audit(&scoped, "scoped", &ledger).expect("cells").1);
    for (options, sources, expected) in [
        (Options::default(), vec![cells.clone(), cells.clone()], "counted already"),
        (Options::default(), vec![cells.clone(), sum.clone()], "counted already"),
        (Options::default(), vec![sum, other.clone()], "counted already"),
        (Options::default(), vec![cells.clone(), keyed.clone()], "another key"),
        (Options::default(), vec![keyed.clone(), cells.clone()], "another key"),
        (Options::default(), vec![ledger[0].clone(), keyed], "another key"),
        (Options::default(), vec![cells.clone(), scoped_cells.clone()], "other senders"),
        (Options::default(), vec![scoped_cells.clone(), cells.clone()], "other senders"),
        (scoped.clone(), vec![cells.clone()], "holds sums"),
        (
            Options::default(),
            vec![(
                "later".into(),
                b"{\"cells\":9,\"head\":{\"id\":\"x\",\"senders\":[],\"recipients\":[]}}\n".to_vec(),
            )],
            "version 9",
        ),
    ] {
        match audit(&options, "x", &sources) {
            Err(error) => assert!(error.to_string().contains(expected), "{error}"),
            Ok((shown, _)) => panic!("not refused ({expected}): {}", shown[0]),
        }
    }
    // Alone, cells of some senders say so.
    let (shown, _) = audit(&Options::default(), "x", &[scoped_cells]).expect("a report");
    assert!(shown[0].contains("from a.example"), "{}", shown[0]);
    let (two, _) = audit(&Options::default(), "x", &[cells, other]).expect("a report");
    assert!(two[0].starts_with("Of 2 wanted messages"), "{}", two[0]);
}

#[test]
fn cells_that_are_cut_short_or_broken_say_so() {
    let octets = shown("first", &[("ledger".to_owned(), one())]).1;
    let lines: Vec<&[u8]> = octets.split_inclusive(|octet| *octet == b'\n').collect();
    let (last, others) = lines.split_last().expect("lines");
    assert_eq!(lines.len(), 9, "the first line, a cell, a host, four of its client, its key exchange, the account");
    for (sources, expected) in [
        (others.concat(), "cut short here: cells without their account"),
        (
            [lines[0], b"{\"day\":\"2026-11-18\",\"direction\":\"in\"}\n", last].concat(),
            "neither a cell, a host nor a client",
        ),
        ([lines[0], &lines[1][..40], b"\n", last].concat(), "cells:2: EOF"),
    ] {
        let (shown, _) = audit(&Options::default(), "x", &[("cells".to_owned(), sources)]).expect("a report");
        assert!(shown[2].contains(expected), "{expected}: {}", shown[2]);
    }
}
