//! Client against server, in memory and with a virtual clock: every policy of both sides, every kind of wire, random
//! verdicts and texts. What the server acknowledged is what the client reports, and the text arrives byte for byte. The
//! body is that of the fuzz target `pair`.

#![allow(unreachable_pub, missing_docs, reason = "the body is a crate of its own when fuzzed")]

#[path = "../../fuzz/src/pair.rs"]
mod pair;

use pair::{Case, Tally};
use proptest::prelude::*;

const TEXT: &[u8] = b"Subject: Hi\r\n\r\n.dots\r\n..\r\n.\r\nend\r\n";

fn play(bits: [u8; 8], verdicts: &[u8], text: &[u8]) -> Tally {
    let count = u8::try_from(verdicts.len()).expect("few");
    let seed = [&bits[..], &[count], verdicts, text].concat();
    pair::play(&Case::parse(&seed).expect("a seed"))
}

fn add(sum: &mut [usize; 4], tally: &Tally) {
    for (sum, seen) in sum.iter_mut().zip(tally.outcomes) {
        *sum += seen;
    }
}

/// Every policy of the client against every one of the server, with each extension on and off, SMTP and LMTP.
#[test]
fn every_policy_meets_every_other() {
    let mut sum = [0; 4];
    let mut encrypted = 0;
    for client in 0..16 {
        for server in 0..128 {
            for more in [0, 4, 32] {
                // The client's TLS and protocol, chunking and 8-bit text; a wire that carries seven octets at once.
                let bits = [client & 7 | (client & 8) << 1 | 0x80, server, more, 3, server & 1, 1, 12, 0];
                let tally = play(bits, &[], TEXT);
                add(&mut sum, &tally);
                encrypted += usize::from(tally.encrypted);
            }
        }
    }
    let [accepted, later, never, unknown] = sum;
    assert!(accepted > 4000 && later > 1000 && encrypted > 1000, "{sum:?}, {encrypted} encrypted");
    assert_eq!(unknown, 0, "the wire is whole: {never}");
}

/// The connection ends, or goes silent, after each octet of the server's in turn.
#[test]
fn wherever_the_wire_fails_nothing_is_guessed() {
    let mut sum = [0; 4];
    for (client, server) in [(0, 0), (0, 0x64), (0x10, 0x6c), (4, 0x64), (1, 0x6d)] {
        for how in [14, 15] {
            for after in 0..=255 {
                let bits = [client, server, 0, 3, 1, 2, how, after];
                add(&mut sum, &play(bits, &[], TEXT));
            }
        }
    }
    let [accepted, later, _, unknown] = sum;
    assert!(accepted > 500 && later > 500 && unknown > 100, "{sum:?}");
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let word = proptest::sample::select(vec![
        &b"\r\n"[..],
        b".",
        b"..",
        b"a",
        b"some words",
        b"\r\n.\r\n",
        b"\r\n..\r\n",
        b"QUIT\r\n",
        b"\xc3\xa4",
    ]);
    let bad = proptest::sample::select(vec![&b"\r"[..], b"\n", b"\0", b"\n.\n", b"\r.\r", b"\r\n.\n"]);
    prop_oneof![
        9 => proptest::collection::vec(word.clone(), 0..60).prop_map(|words| words.concat()),
        2 => proptest::collection::vec(prop_oneof![4 => word, 1 => bad], 0..40).prop_map(|words| words.concat()),
        1 => proptest::collection::vec(any::<u8>(), 0..200),
    ]
}

/// A seed says the same as the octets that it is made of.
#[test]
fn a_seed_is_played() {
    pair::run(&[&[0, 0x64, 0, 3, 1, 1, 20, 0, 0][..], TEXT].concat());
    let tally = play([0, 0x64, 0, 3, 1, 1, 20, 0], &[], TEXT);
    assert_eq!(tally, Tally { outcomes: [2, 0, 0, 0], encrypted: false });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn what_was_acknowledged_is_what_is_reported(
        bits in any::<[u8; 8]>(),
        // Mostly yes: 12 to 15 refuse.
        verdicts in proptest::collection::vec(prop_oneof![6 => Just(0), 1 => 12..16_u8], 0..24),
        text in text(),
    ) {
        play(bits, &verdicts, &text);
    }
}
