//! The ledger: exact counts, merging, bounds; against a model that keeps everything.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use proptest::prelude::*;
use smtp_proto::tls::{
    Bounds, Cell, ClientCertificate, Condition, Counts, Direction, Disposition, EndToEnd, Hop, Ledger, Record,
    Rehearsed, Retries, Scope, TlsVersion, Wanted,
};

/// A record that owns its parts.
#[derive(Clone, Debug)]
struct Entry {
    time: i64,
    direction: Direction,
    peer: u8,
    sender: Option<String>,
    domain: String,
    recipients: u32,
    bytes: u64,
    wanted: Wanted,
    hop: Hop,
    end_to_end: EndToEnd,
}

impl Entry {
    fn with<T>(&self, then: impl FnOnce(&Record<'_>) -> T) -> T {
        let domains = [self.domain.as_str()];
        let mut record = Record::new(self.time, self.direction);
        record.peer = Some(IpAddr::from([192, 0, 2, self.peer]));
        record.host = Some("host.example");
        record.sender = self.sender.as_deref();
        record.recipient_domains = &domains;
        record.recipients = self.recipients;
        record.bytes = self.bytes;
        record.wanted = self.wanted;
        record.hop = self.hop;
        record.end_to_end = self.end_to_end;
        then(&record)
    }
}

fn hops() -> Vec<Hop> {
    let used = |version, certificate| Hop::Used { version, certificate };
    vec![
        used(Some(TlsVersion::Tls13), ClientCertificate::None),
        used(Some(TlsVersion::Tls12), ClientCertificate::Verified),
        used(Some(TlsVersion::Tls10), ClientCertificate::SelfSigned),
        used(None, ClientCertificate::Unknown),
        Hop::NotTried,
        Hop::Failed,
        Hop::FailedThenPlaintext,
        Hop::NotOffered,
        Hop::Unknown,
    ]
}

fn entry() -> impl Strategy<Value = Entry> {
    (
        (-200_000..2_000_000_i64, any::<bool>(), 0..20_u8, 0..30_u32, 0..4_u8),
        (1..5_u32, 0..10_000_u64, 0..3_usize, 0..hops().len(), 0..EndToEnd::ALL.len()),
    )
        .prop_map(|((time, out, peer, sender, domain), (recipients, bytes, wanted, hop, kind))| Entry {
            time,
            direction: if out { Direction::Outbound } else { Direction::Inbound },
            peer,
            sender: (sender > 0).then(|| format!("d{sender}.example")),
            domain: format!("to{domain}.example"),
            recipients,
            bytes,
            wanted: Wanted::ALL[wanted],
            hop: hops()[hop],
            end_to_end: EndToEnd::ALL[kind],
        })
}

fn ledger(entries: &[Entry], bounds: Bounds) -> Ledger {
    let mut ledger = Ledger::with_bounds(Scope::All, bounds);
    for entry in entries {
        entry.with(|record| ledger.add(record));
    }
    ledger
}

fn bounds(senders: usize, heavy: usize, hosts: usize, days: usize) -> Bounds {
    let mut bounds = Bounds::default();
    (bounds.senders, bounds.heavy, bounds.hosts, bounds.days) = (senders, heavy, hosts, days);
    bounds
}

fn merged(parts: &[&Ledger]) -> Ledger {
    let mut all = parts[0].clone();
    for part in &parts[1..] {
        all.merge(part).expect("one scope");
    }
    all
}

/// Of each cell an entry that belongs to it, and the sums.
type Cells = BTreeMap<String, (Entry, Counts)>;
type Hosts = BTreeMap<(Direction, Wanted, u64), u8>;

/// The cells and hosts of records, summed.
fn summed(entries: &[Entry]) -> (Cells, Hosts) {
    let (mut cells, mut hosts) = (BTreeMap::new(), BTreeMap::new());
    for entry in entries {
        entry.with(|record| {
            let cell = Cell::of(record);
            let mut key = cell;
            key.counts = Counts::default();
            cells.entry(format!("{key:?}")).or_insert((entry.clone(), Counts::default())).1 += cell.counts;
            let host = record.host_key().expect("it has an address");
            *hosts.entry((record.direction, record.wanted, host)).or_default() |=
                Condition::lost_by(record.hop, record.direction);
        });
    }
    (cells, hosts)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// However the records are parted, and in whatever order the cells are added up: it is the ledger of all of them.
    #[test]
    fn cells_are_the_whole_state_and_add_up_in_any_order(
        entries in prop::collection::vec(entry(), 0..120),
        parts in 1..5_usize,
        seed in 0..5_usize,
    ) {
        // By days: within one there is no telling when a cell was.
        let entries: Vec<Entry> =
            entries.into_iter().map(|entry| Entry { time: entry.time.div_euclid(86_400) * 86_400, ..entry }).collect();
        let mut dealt = vec![Vec::new(); parts];
        for (at, entry) in entries.iter().enumerate() {
            dealt[(at * 7 + seed) % parts].push(entry.clone());
        }
        let mut pieces: Vec<_> = dealt.iter().map(|part| summed(part)).collect();
        pieces.rotate_left(seed % parts);
        let mut sums = Ledger::new(Scope::All);
        for (cells, hosts) in &pieces {
            for (entry, counts) in cells.values() {
                entry.with(|record| {
                    let mut cell = Cell::of(record);
                    cell.counts = *counts;
                    sums.add_cell(&cell);
                });
            }
            for ((direction, wanted, host), lost) in hosts {
                sums.add_host(*direction, *wanted, *host, *lost);
            }
        }
        let whole = ledger(&entries, Bounds::default());
        prop_assert_eq!(sums, whole);
    }

    #[test]
    fn counts_are_those_of_a_model_that_keeps_everything(entries in prop::collection::vec(entry(), 0..120)) {
        let ledger = ledger(&entries, Bounds::default());
        for direction in [Direction::Inbound, Direction::Outbound] {
            for condition in Condition::ALL {
                let loss = ledger.loss(direction, condition, usize::MAX);
                for wanted in Wanted::ALL {
                    let these: Vec<&Entry> =
                        entries.iter().filter(|e| e.direction == direction && e.wanted == wanted).collect();
                    let told = |met: fn(Option<bool>) -> bool| {
                        let these: Vec<&&Entry> =
                            these.iter().filter(|e| met(condition.met(e.hop, direction))).collect();
                        (
                            these.len() as u64,
                            these.iter().map(|e| u64::from(e.recipients)).sum::<u64>(),
                            these.iter().map(|e| e.bytes).sum::<u64>(),
                        )
                    };
                    let share = loss.of(wanted);
                    let of = |counts: Counts| (counts.messages, counts.recipients, counts.bytes);
                    prop_assert_eq!(of(share.lost), told(|met| met == Some(false)));
                    prop_assert_eq!(of(share.total), told(|met| met.is_some()));
                    prop_assert_eq!(of(share.untold), told(|met| met.is_none()));

                    let mut parties: BTreeMap<String, (u64, u64)> = BTreeMap::new();
                    let (mut hosts, mut hosts_losing) = (BTreeSet::new(), BTreeSet::new());
                    for entry in &these {
                        hosts.insert(entry.peer);
                        let Some(met) = condition.met(entry.hop, direction) else { continue };
                        let party = entry.with(|record| record.party().unwrap_or_default().to_owned());
                        let (lost, total) = parties.entry(party).or_default();
                        *total += 1;
                        if !met {
                            *lost += 1;
                            hosts_losing.insert(entry.peer);
                        }
                    }
                    let number = |test: fn(&(u64, u64)) -> bool| parties.values().filter(|p| test(p)).count() as u64;
                    prop_assert_eq!(share.senders.total, parties.len() as u64);
                    prop_assert_eq!(share.senders.lost, number(|(lost, _)| *lost > 0));
                    prop_assert_eq!(share.silenced, number(|(lost, total)| lost == total));
                    prop_assert_eq!(share.seen_once, number(|(_, total)| *total == 1));
                    prop_assert!(share.senders.exact && share.hosts.exact);
                    prop_assert_eq!(share.hosts.total, hosts.len() as u64);
                    prop_assert_eq!(share.hosts.lost, hosts_losing.len() as u64);

                    let mut heaviest: Vec<_> = parties.into_iter().filter(|(_, (lost, _))| *lost > 0).collect();
                    heaviest.sort_by(|(a, (al, at)), (b, (bl, bt))| (bl, bt, a).cmp(&(al, at, b)));
                    let ours: Vec<_> =
                        share.heaviest.iter().map(|h| (h.sender.clone(), (h.lost, h.total))).collect();
                    prop_assert_eq!(ours, heaviest);

                    let trend = ledger.trend(direction, wanted, condition, 7);
                    prop_assert_eq!(trend.iter().map(|p| p.total).sum::<u64>(), share.total.messages);
                    prop_assert_eq!(trend.iter().map(|p| p.lost).sum::<u64>(), share.lost.messages);
                    prop_assert!(trend.iter().all(|p| (p.day - 4).rem_euclid(7) == 0), "weeks begin on Mondays");
                }
            }
        }
    }

    #[test]
    fn merging_in_any_order_is_counting_in_one(
        entries in prop::collection::vec(entry(), 0..150), cut in 0..150_usize, second in 0..150_usize,
        small in any::<bool>(),
    ) {
        // With the small bounds all of them are reached.
        let bounds = if small { bounds(7, 1000, 5, 4) } else { Bounds::default() };
        let (cut, second) = (cut.min(entries.len()), second.min(entries.len()));
        let (from, to) = (cut.min(second), cut.max(second));
        let whole = ledger(&entries, bounds);
        let [a, b, c] = [&entries[..from], &entries[from..to], &entries[to..]].map(|part| ledger(part, bounds));
        prop_assert_eq!(&merged(&[&a, &b, &c]), &whole);
        prop_assert_eq!(&merged(&[&c, &a, &b]), &whole);
        prop_assert_eq!(&merged(&[&a, &merged(&[&b, &c])]), &whole);
        let mut backwards = entries;
        backwards.reverse();
        prop_assert_eq!(&ledger(&backwards, bounds), &whole);
    }
}

/// Of very many senders: totals stay exact, distinct ones are estimated well, and the heavy ones are found.
#[test]
fn beyond_the_bounds_the_sample_is_fair_and_the_heavy_are_found() {
    let mut parts = vec![Ledger::with_bounds(Scope::All, bounds(1024, 64, 1024, 10)); 3];
    let mut whole = Ledger::default();
    let mut lost = 0;
    for number in 0..60_000_u32 {
        // Twenty heavy senders make up half of the mail; a quarter of the senders, and of the mail, is plaintext.
        let sender = if number % 2 == 0 { number / 2 % 20 } else { number };
        let name = format!("sender-{sender}.example");
        let mut record = Record::new(0, Direction::Inbound);
        record.wanted = Wanted::Yes;
        record.sender = Some(&name);
        record.peer = Some(IpAddr::from(sender.to_be_bytes()));
        record.hop = if sender / 2 % 4 == 0 { Hop::NotTried } else { hops()[0] };
        lost += u64::from(record.hop == Hop::NotTried);
        parts[number as usize % 3].add(&record);
        whole.add(&record);
    }
    let ledger = merged(&[&parts[2], &parts[0], &parts[1]]);
    let loss = ledger.loss(Direction::Inbound, Condition::Tls, 20).wanted;
    assert_eq!((loss.total.messages, loss.lost.messages), (60_000, lost));
    assert!(!loss.senders.exact && !loss.hosts.exact);
    let near = |estimate: u64, truth: u64| {
        // Four standard errors of 1 / sqrt(1024).
        let error = estimate.abs_diff(truth) as f64 / truth as f64;
        assert!(error < 4.0 / 32.0, "{estimate} for {truth}");
    };
    near(loss.senders.total, 30_010);
    near(loss.senders.lost, 7_503);
    near(loss.hosts.total, 30_010);
    // The interval is about that of all senders, of which it has seen a thirtieth.
    let exact = whole.loss(Direction::Inbound, Condition::Tls, 0).wanted.interval.expect("counted");
    let interval = loss.interval.expect("counted");
    let width = exact.high - exact.low;
    assert!((interval.low - exact.low).abs() < width / 10.0, "{interval:?} for {exact:?}");
    assert!((interval.high - exact.high).abs() < width / 10.0, "{interval:?} for {exact:?}");
    // Those with more than a 65th of the messages of the rest cannot be missed.
    let heavy: BTreeSet<&str> = loss.heaviest.iter().take(6).map(|heavy| heavy.sender.as_str()).collect();
    let names = [0, 1, 8, 9, 16, 17].map(|sender| format!("sender-{sender}.example"));
    assert_eq!(heavy, names.iter().map(String::as_str).collect());
    for heavy in loss.heaviest.iter().take(6) {
        assert!(heavy.error <= 60_000 / 65 && heavy.lost <= 1501 && heavy.lost + heavy.error >= 1500, "{heavy:?}");
    }
}

/// Of very many senders with one message each none is heavy, however many have been lost sight of.
#[test]
fn beyond_the_bounds_the_interval_is_that_of_all_senders() {
    let mut small = Ledger::with_bounds(Scope::All, bounds(1024, 64, 1024, 10));
    let mut whole = Ledger::default();
    for number in 0..50_000_u32 {
        let name = format!("sender-{number}.example");
        let mut record = Record::new(0, Direction::Inbound);
        record.wanted = Wanted::Yes;
        record.sender = Some(&name);
        record.hop = if number % 10 == 0 { Hop::NotTried } else { hops()[0] };
        small.add(&record);
        whole.add(&record);
    }
    let of = |ledger: &Ledger| ledger.loss(Direction::Inbound, Condition::Tls, 0).wanted.interval.expect("counted");
    let (small, whole) = (of(&small), of(&whole));
    let width = whole.high - whole.low;
    assert!((0.005..0.006).contains(&width), "{whole:?}");
    assert!((small.low - whole.low).abs() < width / 5.0 && (small.high - whole.high).abs() < width / 5.0, "{small:?}");
}

/// A heavy sender in the sample stands for itself alone, and not for others like it that were lost sight of: there are none.
#[test]
fn beyond_the_bounds_the_heavy_count_once() {
    let mut small = Ledger::with_bounds(Scope::All, bounds(1024, 64, 1024, 10));
    let mut whole = Ledger::default();
    for number in 0..48_000_u32 {
        let sender = if number % 6 == 0 { number } else { number % 40 };
        let name = format!("{}-{sender}.example", if number % 6 == 0 { "light" } else { "heavy" });
        let mut record = Record::new(0, Direction::Inbound);
        record.wanted = Wanted::Yes;
        record.sender = Some(&name);
        record.hop = hops()[0];
        small.add(&record);
        whole.add(&record);
    }
    let of = |ledger: &Ledger| ledger.loss(Direction::Inbound, Condition::Tls, 0).wanted.interval.expect("counted");
    let (small, whole) = (of(&small), of(&whole));
    // Where nothing is lost it is three over the number of senders, less when they are uneven.
    assert!(whole.high <= small.high && small.high < whole.high * 1.75, "{small:?} for {whole:?}");
}

#[test]
fn a_scope_leaves_out_other_mail() {
    let mut record = Record::new(0, Direction::Inbound);
    record.sender = Some("mail.bank.example");
    record.recipient_domains = &["a.example", "b.example"];
    for (scope, inside) in [
        (Scope::All, true),
        (Scope::Senders(vec!["bank.example".into()]), true),
        (Scope::Senders(vec!["ank.example".into()]), false),
        (Scope::Senders(vec!["x.mail.bank.example".into()]), false),
        (Scope::Recipients(vec!["c.example".into(), "b.example".into()]), true),
        (Scope::Recipients(vec!["c.example".into()]), false),
    ] {
        let mut ledger = Ledger::new(scope.clone());
        ledger.add(&record);
        assert_eq!(ledger.outside(), u64::from(!inside), "{scope:?}");
        assert_eq!(ledger.hops(Direction::Inbound, Wanted::Unknown).count(), usize::from(inside), "{scope:?}");
        assert_eq!(ledger.period().is_some(), inside);
        assert_eq!(ledger.merge(&Ledger::new(Scope::All)).is_ok(), scope == Scope::All);
    }
}

#[test]
fn a_policy_is_met_missed_or_cannot_be_told() {
    use Direction::{Inbound, Outbound};
    let used = |version, certificate| Hop::Used { version, certificate };
    let (yes, no, untold) = (Some(true), Some(false), None);
    for (hop, direction, expected) in [
        (used(Some(TlsVersion::Tls13), ClientCertificate::Verified), Inbound, [yes, yes, yes, yes, yes]),
        (used(Some(TlsVersion::Tls12), ClientCertificate::SelfSigned), Inbound, [yes, yes, no, yes, no]),
        (used(Some(TlsVersion::Tls11), ClientCertificate::Untrusted), Inbound, [yes, no, no, yes, no]),
        (used(Some(TlsVersion::Ssl), ClientCertificate::None), Inbound, [yes, no, no, no, no]),
        (used(None, ClientCertificate::Unknown), Inbound, [yes, untold, untold, untold, untold]),
        (Hop::NotTried, Inbound, [no; 5]),
        (Hop::Failed, Inbound, [no; 5]),
        (Hop::FailedThenPlaintext, Inbound, [no; 5]),
        (Hop::NotOffered, Inbound, [untold; 5]),
        (Hop::NotOffered, Outbound, [no; 5]),
        (Hop::Unknown, Inbound, [untold; 5]),
    ] {
        assert_eq!(Condition::ALL.map(|condition| condition.met(hop, direction)), expected, "{hop:?} {direction:?}");
    }
}

/// Time, network, envelope, how it went, and what a rehearsal says.
type Attempt = (i64, u8, u64, Disposition, Hop, Option<Rehearsed>);

/// What is counted of a list of attempts.
fn folded(attempts: &[Attempt]) -> Vec<(i64, Disposition, Hop, Option<Rehearsed>)> {
    let mut retries = Retries::new(3600, 3);
    let mut counted = Vec::new();
    for (time, peer, envelope, end, hop, rehearsed) in attempts {
        let mut record = Record::new(*time, Direction::Inbound);
        record.peer = Some(IpAddr::from([198, 51, *peer, *peer]));
        (record.envelope, record.end, record.hop, record.rehearsed) = (*envelope, *end, *hop, *rehearsed);
        retries.add(&record, |r| counted.push((r.time, r.end, r.hop, r.rehearsed)));
    }
    retries.finish(|r| counted.push((r.time, r.end, r.hop, r.rehearsed)));
    counted
}

#[test]
fn attempts_at_one_message_are_counted_once() {
    use Disposition::{Abandoned, Accepted, Deferred};
    let tls = hops()[0];
    let plain = Hop::NotTried;
    // Deferred twice, then taken; and the same envelope once more, which is another message.
    assert_eq!(
        folded(&[
            (0, 1, 7, Deferred, plain, None),
            (900, 1, 7, Deferred, plain, None),
            (1800, 1, 7, Accepted, plain, None),
            (1900, 1, 7, Accepted, plain, None),
        ]),
        [(1800, Accepted, plain, None), (1900, Accepted, plain, None)]
    );
    // Too late, from elsewhere, or another envelope: not the same message.
    assert_eq!(
        folded(&[
            (0, 1, 7, Deferred, plain, None),
            (10, 2, 7, Accepted, plain, None),
            (20, 1, 8, Accepted, plain, None),
            (3601, 1, 7, Accepted, plain, None),
        ]),
        [
            (10, Accepted, plain, None),
            (20, Accepted, plain, None),
            (0, Deferred, plain, None),
            (3601, Accepted, plain, None)
        ]
    );
    // A handshake that failed three times, then plaintext: once, as that. With TLS at last: no failure.
    assert_eq!(
        folded(&[
            (0, 1, 0, Abandoned, Hop::Failed, None),
            (1, 1, 0, Abandoned, Hop::Failed, None),
            (2, 1, 7, Accepted, plain, None),
            (3, 1, 8, Accepted, plain, None),
            (4, 2, 0, Abandoned, Hop::Failed, None),
            (5, 2, 7, Accepted, tls, None),
        ]),
        [(2, Accepted, Hop::FailedThenPlaintext, None), (3, Accepted, plain, None), (5, Accepted, tls, None)]
    );
    // The clock was set back between the two.
    assert_eq!(
        folded(&[
            (100_000, 1, 7, Deferred, plain, None),
            (100_001, 2, 0, Abandoned, Hop::Failed, None),
            (10, 1, 7, Accepted, plain, None),
            (11, 2, 8, Accepted, plain, None),
        ]),
        [(10, Accepted, plain, None), (11, Accepted, Hop::FailedThenPlaintext, None)]
    );
    // Gave up.
    assert_eq!(folded(&[(0, 1, 0, Abandoned, Hop::Failed, None)]), [(0, Abandoned, Hop::Failed, None)]);
    // Too many wait: the oldest is counted, and none is forgotten.
    let waiting: Vec<_> = (0..5_u8).map(|n| (i64::from(n), n, 7, Deferred, plain, None)).collect();
    assert_eq!(folded(&waiting), [0, 1, 2, 3, 4].map(|time| (time, Deferred, plain, None)));
}

#[test]
fn a_rehearsal_is_told_from_what_came_back() {
    use Disposition::{Accepted, Deferred};
    let (asked, tls) = (Some(Rehearsed::Asked), hops()[0]);
    assert_eq!(
        folded(&[
            (0, 1, 7, Deferred, Hop::NotTried, asked),
            (1, 2, 7, Deferred, Hop::NotTried, asked),
            (2, 3, 7, Deferred, Hop::NotTried, asked),
            (900, 1, 7, Accepted, tls, None),
            (901, 2, 7, Accepted, Hop::NotTried, Some(Rehearsed::CameInPlaintext)),
        ]),
        [
            (900, Accepted, tls, Some(Rehearsed::CameWithTls)),
            (901, Accepted, Hop::NotTried, Some(Rehearsed::CameInPlaintext)),
            (2, Deferred, Hop::NotTried, asked),
        ]
    );
}

/// A greylist, or a server behind this one, may put off what came with TLS: then the attempt that is taken says nothing of
/// the rehearsal, for that is told once.
#[test]
fn what_a_rehearsal_has_shown_stays_when_the_message_is_put_off_again() {
    use Disposition::{Accepted, Deferred};
    let (tls, plain) = (hops()[0], Hop::NotTried);
    let asked = Some(Rehearsed::Asked);
    let (with_tls, in_plaintext) = (Some(Rehearsed::CameWithTls), Some(Rehearsed::CameInPlaintext));
    for (second, third, expected) in [
        ((tls, with_tls), (tls, None), with_tls),
        ((tls, with_tls), (plain, None), with_tls),
        ((tls, None), (plain, None), with_tls),
        ((plain, in_plaintext), (plain, None), in_plaintext),
        // It would have adapted: the plaintext between was no answer to a refusal for good.
        ((plain, in_plaintext), (tls, None), with_tls),
        // Another host of the fleet asks again.
        ((plain, asked), (tls, with_tls), with_tls),
        ((tls, with_tls), (plain, asked), with_tls),
        ((Hop::Unknown, None), (Hop::Unknown, None), asked),
    ] {
        let attempts = [
            (0, 1, 7, Deferred, plain, asked),
            (900, 1, 7, Deferred, second.0, second.1),
            (1800, 1, 7, Accepted, third.0, third.1),
            (1900, 1, 7, Accepted, third.0, None),
        ];
        let counted = [(1800, Accepted, third.0, expected), (1900, Accepted, third.0, None)];
        assert_eq!(folded(&attempts), counted, "{second:?}, {third:?}");
    }
}
