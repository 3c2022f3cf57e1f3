//! A rehearsal by three hosts that know nothing of each other, behind a balancer.

use std::net::IpAddr;

use smtp_proto::tls::{RcptAnswer, Rehearsal, Rehearsed};

/// How often each of these clients is told to come again before its mail is taken, if the balancer sends the attempt of
/// this number to this host; it tries every 15 minutes, in plaintext.
fn asked(host_of: impl Fn(u8, usize) -> usize) -> Vec<usize> {
    let mut hosts = [(); 3].map(|()| Rehearsal::new(Rehearsal::WINDOW));
    (1..=60)
        .map(|client| {
            let peer = IpAddr::from([192, 0, client, 1]);
            let mut attempt = 0;
            loop {
                let time = i64::from(client) + 900 * i64::try_from(attempt).expect("few");
                let host = &mut hosts[host_of(client, attempt)];
                match host.rcpt(time, peer, "a@client.example", "b@mx.example", false) {
                    RcptAnswer::Again => attempt += 1,
                    RcptAnswer::Accept(found) => {
                        assert_eq!(found, Some(Rehearsed::CameInPlaintext));
                        return attempt;
                    }
                    other => panic!("{other:?}"),
                }
            }
        })
        .collect()
}

#[test]
fn a_balancer_that_goes_by_the_source_asks_each_client_once() {
    assert!(asked(|client, _| usize::from(client) % 3).iter().all(|times| *times == 1));
}

/// Dealt in turn, a client is asked by every host, and then no more: its mail is late, and never lost.
#[test]
fn a_balancer_that_deals_in_turn_lets_every_host_ask_once() {
    assert!(asked(|client, attempt| (usize::from(client) + attempt) % 3).iter().all(|times| *times == 3));
    let random = asked(|client, attempt| (usize::from(client) * 7 + attempt * attempt * 5 + attempt) % 3);
    assert!(random.iter().all(|times| (1..=3).contains(times)), "{random:?}");
}
