//! The ledger's figures, to the digit. How good the interval is, `interval_tests.rs` and `.ci/coverage.py` measure; here stands
//! what it was when that was measured, so that a change of its arithmetic is seen.

use std::net::IpAddr;

use smtp_proto::tls::{
    Bounds, Condition, Direction, EndToEnd, Exceptions, HelloReader, Hop, Interval, Ledger, Record, Rehearsed, Retries,
    Scope, TlsInfo, TlsOutcome, TlsVersion, Wanted,
};

#[test]
fn intervals_are_what_they_were() {
    let many: Vec<(u64, u64)> = (1..200).map(|n| ((n * 7919) % (n + 1), n)).collect();
    let of = |clusters: &[(u64, u64)]| {
        let found = Interval::of(clusters.iter().copied()).expect("something was counted");
        format!("{:.9} {:.9}", found.low, found.high)
    };
    let found = [
        of(&[(1, 10), (0, 5), (3, 3), (0, 1), (2, 50), (0, 100), (7, 20)]),
        of(&[(1, 1), (0, 1), (0, 1), (0, 1)]),
        of(&[(0, 10), (0, 20), (0, 1)]),
        of(&[(0, 3), (0, 1), (0, 2), (0, 2), (0, 2), (0, 1), (0, 2)]),
        of(&[(3, 3), (1, 1), (2, 2), (2, 2), (2, 2), (1, 1), (2, 2)]),
        of(&[(5, 10)]),
        of(&[(5, 10), (0, 0), (50, 1000)]),
        of(&[(2, 2), (1, 2), (0, 2), (0, 2), (1, 2), (3, 4)]),
        of(&many),
    ];
    assert_eq!(
        found,
        [
            "0.004555119 0.543854233",
            "0.043638524 0.708884195",
            "0.000000000 1.000000000",
            "0.000000000 0.479289941",
            "0.520710059 1.000000000",
            "0.054620756 0.945379244",
            "0.002363363 0.583351542",
            "0.242159051 0.757840949",
            "0.422691279 0.518861258",
        ]
    );
    assert_eq!(Interval::of([]), None);
    assert_eq!(Interval::of([(0, 0)]), None);
}

const TLS: Hop = Hop::Used { version: Some(TlsVersion::Tls13), certificate: smtp_proto::tls::ClientCertificate::None };

fn record(day: i64, sender: &str, hop: Hop) -> Record<'_> {
    let mut record = Record::new(day * 86_400, Direction::Inbound);
    (record.sender, record.hop, record.wanted) = (Some(sender), hop, Wanted::Yes);
    record
}

#[test]
fn weeks_begin_on_monday() {
    let mut ledger = Ledger::new(Scope::All);
    // 1970-01-01 was a Thursday, and the 5th the first Monday.
    for (day, hop) in [(0, TLS), (3, Hop::NotTried), (4, TLS), (10, TLS), (11, Hop::NotTried), (30, Hop::Unknown)] {
        ledger.add(&record(day, "a.example", hop));
    }
    let trend = |days| -> Vec<_> {
        let points = ledger.trend(Direction::Inbound, Wanted::Yes, Condition::Tls, days);
        points.iter().map(|point| (point.day, point.lost, point.total)).collect()
    };
    assert_eq!(trend(7), [(-3, 1, 2), (4, 0, 2), (11, 1, 1)]);
    assert_eq!(trend(1), [(0, 0, 1), (3, 1, 1), (4, 0, 1), (10, 0, 1), (11, 1, 1)]);
    let mut latest = Bounds::default();
    latest.days = 2;
    let mut ledger = Ledger::with_bounds(Scope::All, latest);
    for day in 0..4 {
        ledger.add(&record(day, "a.example", TLS));
    }
    let trend = ledger.trend(Direction::Inbound, Wanted::Yes, Condition::Tls, 1);
    assert_eq!(trend.iter().map(|point| point.day).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn what_was_protected_and_rehearsed_is_counted() {
    let mut ledger = Ledger::with_bounds(Scope::All, Bounds::exact());
    for (kind, hop, rehearsed) in [
        (EndToEnd::PgpMime, TLS, None),
        (EndToEnd::PgpMime, Hop::NotTried, Some(Rehearsed::Asked)),
        (EndToEnd::None, Hop::NotTried, Some(Rehearsed::CameInPlaintext)),
        (EndToEnd::None, TLS, Some(Rehearsed::CameWithTls)),
        (EndToEnd::None, TLS, Some(Rehearsed::CameWithTls)),
    ] {
        let mut record = record(0, "a.example", hop);
        (record.end_to_end, record.rehearsed) = (kind, rehearsed);
        ledger.add(&record);
    }
    assert_eq!((Bounds::exact().senders, Bounds::exact().days), (usize::MAX, usize::MAX));
    let protected: Vec<_> = ledger.protected(Direction::Inbound, Wanted::Yes).filter(|(_, all, _)| *all > 0).collect();
    assert_eq!(protected, [(EndToEnd::PgpMime, 2, 1), (EndToEnd::None, 3, 1)]);
    let rehearsal = ledger.rehearsal(Direction::Inbound, Wanted::Yes);
    assert_eq!((rehearsal.not_again, rehearsal.with_tls, rehearsal.in_plaintext), (1, 2, 1));
    let info = TlsInfo::new(TlsVersion::Tls13, "x".into());
    assert_eq!(Hop::from(&TlsOutcome::Used(info)).plaintext(), Some(false));
}

#[test]
fn the_heaviest_come_first_and_no_more_than_were_asked_for() {
    let bounds = |senders: usize| {
        let mut bounds = Bounds::exact();
        bounds.senders = senders;
        bounds
    };
    let mut exact = Ledger::with_bounds(Scope::All, Bounds::exact());
    let mut full = Ledger::with_bounds(Scope::All, bounds(5));
    for (name, lost, kept) in [("a", 1, 9), ("b", 3, 0), ("c", 3, 1), ("d", 2, 0), ("e", 0, 7)] {
        for (hop, count) in [(Hop::NotTried, lost), (TLS, kept)] {
            for _ in 0..count {
                exact.add(&record(0, name, hop));
                full.add(&record(0, name, hop));
            }
        }
    }
    // As many senders as there is room for are still counted exactly.
    assert_eq!(full.loss(Direction::Inbound, Condition::Tls, 9), exact.loss(Direction::Inbound, Condition::Tls, 9));
    let loss = exact.loss(Direction::Inbound, Condition::Tls, 3);
    let share = loss.of(Wanted::Yes);
    let heaviest: Vec<_> =
        share.heaviest.iter().map(|heavy| (heavy.sender.as_str(), heavy.lost, heavy.total)).collect();
    assert_eq!(heaviest, [("c", 3, 4), ("b", 3, 3), ("d", 2, 2)]);
    assert_eq!((share.silenced, share.senders.lost, share.senders.total, share.senders.exact), (2, 4, 5, true));
    assert_eq!(share.ratio(), Some(9.0 / 26.0));
    assert_eq!(loss.of(Wanted::No).ratio(), None);
    // In the order in which names are, where all else is the same.
    let mut same = Ledger::new(Scope::All);
    for name in ["b", "a", "c"] {
        same.add(&record(0, name, Hop::NotTried));
    }
    let loss = same.loss(Direction::Inbound, Condition::Tls, 2);
    assert_eq!(loss.wanted.heaviest.iter().map(|heavy| heavy.sender.as_str()).collect::<Vec<_>>(), ["a", "b"]);
}

/// The keys are the same on every machine, so they may not change: hosts of a fleet of two versions would not know each other's.
#[test]
fn keys_stay_what_they_were() {
    let mut record = Record::new(0, Direction::Inbound);
    record.peer = Some(IpAddr::from([192, 0, 2, 1]));
    let (network, none) = Retries::keys(&record);
    assert_eq!(none, None);
    record.envelope = 7;
    let (same, envelope) = Retries::keys(&record);
    assert_eq!(
        (network, same, envelope, record.host_key()),
        (
            3_793_848_685_293_853_990,
            3_793_848_685_293_853_990,
            Some(3_237_094_745_949_623_856),
            Some(2_161_984_699_633_912_267)
        )
    );
}

#[test]
fn exceptions_are_none_only_without_any() {
    for (text, empty) in [("", true), ("a.example\n", false), ("192.0.2.0/24\n", false)] {
        assert_eq!(Exceptions::parse(text).expect("exceptions").is_empty(), empty, "{text:?}");
    }
}

/// Where there are more senders and hosts than are kept, all is estimated from the same ones, in the same way.
#[test]
fn estimates_are_what_they_were() {
    let mut bounds = Bounds::default();
    (bounds.senders, bounds.heavy, bounds.hosts) = (6, 3, 5);
    let parts = [0, 1].map(|part| {
        let mut ledger = Ledger::with_bounds(Scope::All, bounds);
        for number in 0..60_u8 {
            let name = format!("sender-{number}.example");
            let hop = if number % 3 == 0 { Hop::NotTried } else { TLS };
            let mut record = record(0, &name, hop);
            record.peer = Some(IpAddr::from([192, 0, 2, number]));
            for _ in 0..1 + number / 8 * (part + 1) {
                ledger.add(&record);
            }
        }
        ledger
    });
    let mut both = parts[0].clone();
    both.merge(&parts[1]).expect("one scope");
    let told = |ledger: &Ledger| {
        let share = ledger.loss(Direction::Inbound, Condition::Tls, 2).wanted;
        let interval = share.interval.expect("counted");
        let heaviest: Vec<_> = share.heaviest.iter().map(|one| (one.sender.as_str(), one.lost, one.error)).collect();
        format!(
            "{} of {}, senders {} of {}, hosts {} of {}, once {}, silenced {}, {:.6} {:.6}, {heaviest:?}",
            share.lost.messages,
            share.total.messages,
            share.senders.lost,
            share.senders.total,
            share.hosts.lost,
            share.hosts.total,
            share.seen_once,
            share.silenced,
            interval.low,
            interval.high,
        )
    };
    let expected = [
        "83 of 256, senders 8 of 51, hosts 23 of 58, once 8, silenced 8, 0.201857 0.476475, \
         [(\"sender-51.example\", 7, 0), (\"sender-57.example\", 2, 41)]",
        "146 of 452, senders 8 of 51, hosts 23 of 58, once 8, silenced 8, 0.196692 0.481794, \
         [(\"sender-51.example\", 13, 0), (\"sender-57.example\", 6, 73)]",
        "229 of 708, senders 8 of 51, hosts 23 of 58, once 0, silenced 8, 0.198566 0.479842, \
         [(\"sender-51.example\", 20, 0), (\"sender-57.example\", 8, 114)]",
    ];
    assert_eq!([told(&parts[0]), told(&parts[1]), told(&both)], expected);
    // Of two there is one in between.
    bounds.senders = 2;
    let mut two = Ledger::with_bounds(Scope::All, bounds);
    (0..3).for_each(|number| two.add(&record(0, &format!("{number}"), TLS)));
    assert_eq!(two.loss(Direction::Inbound, Condition::Tls, 0).wanted.senders.total, 3);
    // Of as many as asked for those that come first by name.
    let mut same = Ledger::new(Scope::All);
    let names: Vec<_> = (10..40).map(|number| number.to_string()).collect();
    names.iter().for_each(|name| same.add(&record(0, name, Hop::NotTried)));
    let heaviest = same.loss(Direction::Inbound, Condition::Tls, 3).wanted.heaviest;
    assert_eq!(heaviest.iter().map(|heavy| heavy.sender.as_str()).collect::<Vec<_>>(), ["10", "11", "12"]);
}

/// A handshake that failed belongs to the message that comes next, though that is put off; and within the window means at its
/// end too.
#[test]
fn what_is_put_off_takes_up_the_handshake_that_failed() {
    use smtp_proto::tls::Disposition::{Abandoned, Accepted, Deferred};
    let folded = |attempts: &[(i64, u64, smtp_proto::tls::Disposition, Hop)]| {
        let mut retries = Retries::new(3600, 3);
        let mut counted = Vec::new();
        for (time, envelope, end, hop) in attempts {
            let mut record = Record::new(*time, Direction::Inbound);
            record.peer = Some(IpAddr::from([192, 0, 2, 1]));
            (record.envelope, record.end, record.hop) = (*envelope, *end, *hop);
            retries.add(&record, |record| counted.push((record.time, record.end, record.hop)));
        }
        retries.finish(|record| counted.push((record.time, record.end, record.hop)));
        counted
    };
    assert_eq!(
        folded(&[(0, 0, Abandoned, Hop::Failed), (1, 7, Deferred, Hop::NotTried)]),
        [(1, Deferred, Hop::FailedThenPlaintext)]
    );
    assert_eq!(
        folded(&[(0, 7, Deferred, Hop::NotTried), (3600, 7, Accepted, Hop::NotTried)]),
        [(3600, Accepted, Hop::NotTried)]
    );
}

/// No more is remembered than there is room for, and when it was last seen.
#[test]
fn a_rehearsal_remembers_no_more_than_it_may() {
    use smtp_proto::tls::{Rehearsal, Triplet};
    let mut rehearsal = Rehearsal::with_bounds(100_000, 300, 2);
    (1..=3).for_each(|key| rehearsal.restore(Triplet::new(key, 0, false)));
    assert_eq!(rehearsal.entries().count(), 2);
    let mut rehearsal = Rehearsal::with_bounds(100_000, 300, 2);
    let peer = IpAddr::from([192, 0, 2, 1]);
    for (now, returned) in [(0, false), (400, true), (900, true)] {
        rehearsal.rcpt(now, peer, "a@example.net", "b@example.org", false);
        let entry = rehearsal.entry(peer, "a@example.net", "b@example.org").expect("remembered");
        assert_eq!((entry.time, entry.returned), (now, returned));
    }
}

/// What comes first is told by its first octets, however they are cut; and a ClientHello by its own alone.
#[test]
fn what_is_no_hello_is_told_the_same_by_every_cut() {
    use smtp_proto::tls::HelloError::{Malformed, NoClientHello};
    // An alert; and the form of SSL 2 between the records of a message.
    let alert = [21, 3, 1, 0, 2];
    let between = [22, 3, 1, 0, 4, 1, 0, 1, 0, 0x80, 0x2e, 1, 3, 1];
    for (octets, error) in [(&alert[..], NoClientHello), (&between, Malformed)] {
        for size in [1, 2, 64] {
            let mut reader = HelloReader::default();
            let last = octets.chunks(size).map(|piece| reader.feed(piece)).last();
            assert_eq!(last, Some(Err(error)), "{octets:?} by {size}");
        }
    }
    // Of names of other kinds, and behind the first, none is the server's (RFC 6066 3). Another message in the same record is
    // not looked at.
    let names = [&[0, 4][..], b"\x01\x00\x01x", &[]].concat();
    for (list, expected) in [
        (b"\x01\x00\x01x\x00\x00\x01y".as_slice(), Some("y")),
        (b"\x00\x00\x01x\x00\x00\x01y", Some("x")),
        (&names[2..], None),
    ] {
        let mut extension = vec![0, 0];
        extension.extend(u16::try_from(list.len() + 2).expect("short").to_be_bytes());
        extension.extend(u16::try_from(list.len()).expect("short").to_be_bytes());
        extension.extend(list);
        let mut body = vec![3, 1];
        body.extend([7; 32]);
        body.extend([0, 0, 2, 0, 0x35, 1, 0]);
        body.extend(u16::try_from(extension.len()).expect("short").to_be_bytes());
        body.extend(extension);
        let mut message = vec![1, 0, 0, u8::try_from(body.len()).expect("short")];
        message.extend(body);
        message.extend([11, 0, 0, 0]);
        let mut octets = vec![22, 3, 1];
        octets.extend(u16::try_from(message.len()).expect("short").to_be_bytes());
        octets.extend(message);
        let mut reader = HelloReader::default();
        assert_eq!(reader.feed(&octets), Ok(true));
        assert_eq!(reader.hello().expect("complete").server_name, expected);
    }
}

/// RFC 5246 appendix E.2: a ClientHello in the form of SSL 2, and only at the beginning.
#[test]
fn the_form_of_ssl_2_is_told() {
    let mut reader = HelloReader::default();
    assert!(!reader.is_ssl2());
    let octets = [0x80, 0x2e, 1, 3, 1, 0];
    assert_eq!(reader.feed(&octets), Ok(true));
    assert!(reader.is_ssl2() && reader.hello().is_some());
}
