//! What a ledger counts beside messages and senders, and by which keys it tells hosts and attempts apart.

use smtp_proto::tls::{
    Bounds, Cell, ClientCertificate, Condition, Direction, EndToEnd, Hop, Interval, Ledger, Record, RehearsalCounts,
    Rehearsed, Retries, Scope, TlsVersion, Wanted,
};

const TLS: Hop = Hop::Used { version: Some(TlsVersion::Tls13), certificate: ClientCertificate::None };

fn doubled(ledger: &Ledger) -> Ledger {
    let mut both = ledger.clone();
    both.merge(ledger).expect("one scope");
    both
}

/// What a rehearsal found out is counted by messages, in the book of its direction and verdict, also by cells and in a sum.
#[test]
fn what_a_rehearsal_has_shown_is_counted() {
    let mut ledger = Ledger::default();
    let (asked, tls, plaintext) = (Rehearsed::Asked, Rehearsed::CameWithTls, Rehearsed::CameInPlaintext);
    for rehearsed in [None, Some(asked), Some(tls), Some(tls), Some(plaintext), Some(plaintext), Some(plaintext)] {
        let mut record = Record::new(0, Direction::Inbound);
        (record.wanted, record.rehearsed) = (Wanted::Yes, rehearsed);
        ledger.add(&record);
    }
    let counts = |ledger: &Ledger| {
        let counts = ledger.rehearsal(Direction::Inbound, Wanted::Yes);
        (counts.not_again, counts.with_tls, counts.in_plaintext)
    };
    assert_eq!(counts(&ledger), (1, 2, 3));
    for (direction, wanted) in [(Direction::Inbound, Wanted::No), (Direction::Outbound, Wanted::Yes)] {
        assert_eq!(ledger.rehearsal(direction, wanted), RehearsalCounts::default());
    }
    let mut cell = Cell::new(0, Direction::Inbound, "a.example");
    (cell.wanted, cell.rehearsed, cell.counts.messages) = (Wanted::Yes, Some(asked), 10);
    ledger.add_cell(&cell);
    assert_eq!(counts(&ledger), (11, 2, 3));
    assert_eq!(counts(&doubled(&ledger)), (22, 4, 6));
}

/// Of each kind all messages, and those of them that crossed the hop in plaintext.
#[test]
fn what_protects_the_message_itself_is_counted_beside_the_hop() {
    let mut ledger = Ledger::default();
    for (kind, hop) in [
        (EndToEnd::PgpMime, TLS),
        (EndToEnd::PgpMime, Hop::NotTried),
        (EndToEnd::PgpMime, Hop::Unknown),
        (EndToEnd::Smime, TLS),
        (EndToEnd::None, Hop::FailedThenPlaintext),
    ] {
        let mut record = Record::new(0, Direction::Inbound);
        (record.end_to_end, record.hop) = (kind, hop);
        ledger.add(&record);
    }
    let counted: Vec<_> =
        ledger.protected(Direction::Inbound, Wanted::Unknown).filter(|(_, all, _)| *all > 0).collect();
    assert_eq!(counted, [(EndToEnd::PgpMime, 3, 1), (EndToEnd::Smime, 1, 0), (EndToEnd::None, 1, 1)]);
}

/// The share is of what can be told; of nothing there is none.
#[test]
fn the_ratio_is_of_what_can_be_told() {
    let mut ledger = Ledger::default();
    for hop in [Hop::NotTried, TLS, TLS, TLS, Hop::Unknown] {
        let mut record = Record::new(0, Direction::Inbound);
        (record.wanted, record.hop) = (Wanted::No, hop);
        ledger.add(&record);
    }
    let loss = ledger.loss(Direction::Inbound, Condition::Tls, 1);
    assert_eq!(
        Wanted::ALL.map(|wanted| loss.of(wanted).ratio()),
        Wanted::ALL.map(|w| (w == Wanted::No).then_some(0.25))
    );
    assert_eq!((loss.of(Wanted::No).total.messages, loss.of(Wanted::No).untold.messages), (4, 1));
}

/// One more than the default bounds keep, and all of them are still there.
#[test]
fn without_bounds_every_sender_is_counted() {
    let senders = (1 << 16) + 1;
    for (bounds, exact) in [(Bounds::exact(), true), (Bounds::default(), false)] {
        let mut ledger = Ledger::with_bounds(Scope::All, bounds);
        for n in 0..senders {
            let name = format!("{n}.example");
            let mut cell = Cell::new(0, Direction::Inbound, &name);
            (cell.hop, cell.counts.messages) = (Hop::NotTried, 1);
            ledger.add_cell(&cell);
        }
        let told = ledger.loss(Direction::Inbound, Condition::Tls, 0).unknown.senders;
        assert_eq!((told.exact, told.lost == senders && told.total == senders), (exact, exact), "{told:?}");
    }
}

/// Hosts are told apart by a hash that is the same on every machine: FNV-1a of the octets of the address, then SplitMix64's
/// mixing. An IPv4 address in IPv6 (RFC 4291 2.5.5.2) is that IPv4 address; where there is no address it is the name.
#[test]
fn a_host_has_one_key_on_every_machine() {
    let key = |peer: Option<&str>, host| {
        let mut record = Record::new(0, Direction::Inbound);
        (record.peer, record.host) = (peer.map(|peer| peer.parse().expect("an address")), host);
        record.host_key()
    };
    for (peer, host, expected) in [
        (Some("2001:db8::1"), Some("a.example"), Some(0x216d_ba65_aa6c_0c57)),
        (Some("2001:db8::2"), None, Some(0xbc4b_9d6c_0743_fc48)),
        (Some("192.0.2.1"), None, Some(0x1e00_e9a1_2f82_49cb)),
        (Some("::ffff:192.0.2.1"), None, Some(0x1e00_e9a1_2f82_49cb)),
        (None, Some("a.example"), Some(0x99f2_03a1_e01a_855f)),
        (None, None, None),
    ] {
        assert_eq!(key(peer, host), expected, "{peer:?} {host:?}");
    }
}

/// Hosts of one network take turns: /64 of IPv6 (RFC 6177 2), /24 of IPv4.
#[test]
fn attempts_from_one_network_are_one() {
    let keys = |peer: &str, direction, envelope| {
        let mut record = Record::new(0, direction);
        (record.peer, record.envelope) = (Some(peer.parse().expect("an address")), envelope);
        Retries::keys(&record)
    };
    let (inbound, outbound) = (Direction::Inbound, Direction::Outbound);
    let one = keys("2001:db8:0:1::1", inbound, 7);
    assert_eq!(one, keys("2001:db8:0:1:ffff:ffff:ffff:ffff", inbound, 7));
    for other in
        [keys("2001:db8:0:2::1", inbound, 7), keys("2001:db8:0:1::1", outbound, 7), keys("192.0.2.1", inbound, 7)]
    {
        assert!(one.0 != other.0 && one.1 != other.1, "{one:?} {other:?}");
    }
    assert_eq!(keys("192.0.2.1", inbound, 7), keys("::ffff:192.0.2.254", inbound, 7));
    assert_ne!(keys("192.0.2.1", inbound, 7), keys("192.0.3.1", inbound, 7));
    // The network alone is the same, whatever the envelope; and without one there is no key of both.
    let other = keys("2001:db8:0:1::1", inbound, 8);
    assert!(one.0 == other.0 && one.1 != other.1);
    assert_eq!(keys("2001:db8:0:1::1", inbound, 0), (one.0, None));
    // By name where there is no address.
    let named = |host| {
        let mut record = Record::new(0, inbound);
        record.host = Some(host);
        Retries::keys(&record).0
    };
    assert!(named("a.example") == named("a.example") && named("a.example") != named("b.example"));
}

/// From R: prop.test(150, 3000, correct = FALSE), where each cluster is of one. Otherwise the rule of three, by clusters.
#[test]
fn an_interval_goes_by_clusters() {
    let each = Interval::of((0..3000).map(|n| (u64::from(n < 150), 1))).expect("counted");
    assert!((each.low - 0.042_75).abs() < 1e-4 && (each.high - 0.058_41).abs() < 1e-4, "{each:?}");
    let of = |low, high| {
        let mut interval = each;
        (interval.low, interval.high) = (low, high);
        Some(interval)
    };
    assert_eq!(Interval::of([(0, 7); 300]), of(0.0, 0.01));
    assert_eq!(Interval::of([(7, 7); 300]), of(0.99, 1.0));
    // No more can be lost than there is.
    assert_eq!(Interval::of([(9, 7); 300]), of(0.99, 1.0));
    assert_eq!(Interval::of([(0, 1_000_000)]), of(0.0, 1.0));
    assert_eq!(Interval::of([]), None);
}
