//! Asks senders of plaintext once to come again, to learn which would come with TLS: a rehearsal of `require` that loses no
//! mail.

use alloc::collections::{BTreeMap, BTreeSet};
use core::net::IpAddr;

use super::hash::hash;
use super::record::Rehearsed;
use super::retries::network;

/// Decides which mail is asked to come again, and recognises it when it does.
///
/// The first plaintext attempt of a (client network, sender, recipient) is to be answered 450, as in greylisting
/// (RFC 6647). A retry with TLS shows that the sender would have adapted; one in plaintext is accepted once the delay
/// is over. So no sender is refused for good that tries again as RFC 5321 4.5.4.1 says.
///
/// Time is the caller's, in seconds since any fixed moment. Memory is bounded: when the table is full further mail is
/// accepted unasked, and counted as [`unasked`](Self::unasked). [`entries`](Self::entries) and
/// [`restore`](Self::restore) carry it over a restart.
///
/// ```
/// use smtp_proto::tls::{RcptAnswer, Rehearsal, Rehearsed};
///
/// let mut rehearsal = Rehearsal::new(Rehearsal::WINDOW);
/// let peer = "192.0.2.1".parse()?;
/// let mut rcpt = |time, encrypted| rehearsal.rcpt(time, peer, "a@client.example", "b@mx.example", encrypted);
/// assert_eq!(rcpt(0, false), RcptAnswer::Again);
/// assert_eq!(rcpt(1, false), RcptAnswer::Again, "at once is no retry");
/// assert_eq!(rcpt(900, true), RcptAnswer::Accept(Some(Rehearsed::CameWithTls)));
/// assert_eq!(rcpt(901, false), RcptAnswer::Accept(None), "asked once, for all its mail");
/// # Ok::<(), core::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Rehearsal {
    window: i64,
    delay: i64,
    bound: usize,
    table: BTreeMap<u64, Triplet>,
    /// By time, the oldest first.
    order: BTreeSet<(i64, u64)>,
    unasked: u64,
}

/// How a server is to answer RCPT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RcptAnswer {
    /// Accept the recipient. `Some` says what a retry has shown; it is told once for each.
    Accept(Option<Rehearsed>),
    /// RcptAnswer 450 4.7.0: the client is to come again.
    Again,
}

/// What is remembered of one client network, sender and recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Triplet {
    /// A hash of client network, sender and recipient.
    pub key: u64,
    /// When it was asked; or, once it has come again, when it was last seen.
    pub time: i64,
    /// Whether it has come again.
    pub returned: bool,
}

impl Triplet {
    /// An entry that was saved before, for [`Rehearsal::restore`].
    #[must_use]
    pub const fn new(key: u64, time: i64, returned: bool) -> Self {
        Self { key, time, returned }
    }
}

impl Rehearsal {
    /// How long a sender is remembered: five days, since a sender should go on trying for that long (RFC 5321 4.5.4.1).
    pub const WINDOW: i64 = 5 * 86_400;
    /// A retry in plaintext that comes sooner than this after the first attempt is asked again. Five minutes, in seconds.
    pub const DELAY: i64 = 300;
    /// Senders that are remembered at once: 262,144, at some 80 octets each.
    pub const BOUND: usize = 1 << 18;

    /// Remembers each sender for `window` seconds. A window shorter than the time between a sender's retries would ask
    /// it again each time, so what was asked and has not come again is kept for [`Self::WINDOW`] in any case.
    #[must_use]
    pub fn new(window: i64) -> Self {
        Self::with_bounds(window, Self::DELAY.min(window / 2), Self::BOUND)
    }

    /// The same, with another delay in seconds and another bound on what is remembered.
    #[must_use]
    pub fn with_bounds(window: i64, delay: i64, bound: usize) -> Self {
        Self { window: window.max(1), delay, bound, table: BTreeMap::new(), order: BTreeSet::new(), unasked: 0 }
    }

    /// A recipient in a transaction from `sender`, over TLS or not.
    pub fn rcpt(&mut self, now: i64, peer: IpAddr, sender: &str, recipient: &str, encrypted: bool) -> RcptAnswer {
        self.forget(now);
        let key = key(peer, sender, recipient);
        let Some(entry) = self.table.get(&key).copied() else {
            if encrypted {
                return RcptAnswer::Accept(None);
            }
            if self.table.len() >= self.bound {
                self.unasked = self.unasked.saturating_add(1);
                return RcptAnswer::Accept(None);
            }
            self.set(Triplet { key, time: now, returned: false });
            return RcptAnswer::Again;
        };
        if entry.returned {
            self.set(Triplet { time: now, ..entry });
            return RcptAnswer::Accept(None);
        }
        // A clock that was set back must not keep anybody waiting.
        if !encrypted && (0..self.delay).contains(&now.saturating_sub(entry.time)) {
            return RcptAnswer::Again;
        }
        self.set(Triplet { key, time: now, returned: true });
        RcptAnswer::Accept(Some(if encrypted { Rehearsed::CameWithTls } else { Rehearsed::CameInPlaintext }))
    }

    /// What is remembered of this one, if anything: to be stored after each [`rcpt`](Self::rcpt).
    #[must_use]
    pub fn entry(&self, peer: IpAddr, sender: &str, recipient: &str) -> Option<Triplet> {
        self.table.get(&key(peer, sender, recipient)).copied()
    }

    /// All that is remembered, in no order.
    pub fn entries(&self) -> impl Iterator<Item = Triplet> + '_ {
        self.table.values().copied()
    }

    /// Takes back what was stored; of several of one key the last holds. What is too old goes with the next recipient.
    pub fn restore(&mut self, entry: Triplet) {
        if self.table.contains_key(&entry.key) || self.table.len() < self.bound {
            self.set(entry);
        }
    }

    /// Plaintext mail that was accepted without being asked, the table being full.
    #[must_use]
    pub const fn unasked(&self) -> u64 {
        self.unasked
    }

    fn set(&mut self, entry: Triplet) {
        if let Some(before) = self.table.insert(entry.key, entry) {
            self.order.remove(&(before.time, before.key));
        }
        self.order.insert((entry.time, entry.key));
    }

    /// Only the oldest is looked at: one that still waits keeps the younger ones a while longer, within the bound.
    fn forget(&mut self, now: i64) {
        while let Some((time, key)) = self.order.first().copied() {
            let waits = self.table.get(&key).is_some_and(|entry| !entry.returned);
            let window = if waits { self.window.max(Self::WINDOW) } else { self.window };
            if now.saturating_sub(time) <= window {
                return;
            }
            self.order.pop_first();
            self.table.remove(&key);
        }
    }
}

fn key(peer: IpAddr, sender: &str, recipient: &str) -> u64 {
    let network = u64::from_be_bytes(network(peer));
    let mut hashes = [0; 24];
    let parts = [network, hash(sender.as_bytes()), hash(recipient.as_bytes())];
    for (to, from) in hashes.iter_mut().zip(parts.into_iter().flat_map(u64::to_be_bytes)) {
        *to = from;
    }
    hash(&hashes)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;

    const HOUR: i64 = 3600;

    fn peer(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn rcpt(rehearsal: &mut Rehearsal, time: i64, encrypted: bool) -> RcptAnswer {
        rehearsal.rcpt(time, peer(1), "a@client.example", "b@mx.example", encrypted)
    }

    #[test]
    fn who_comes_again_in_plaintext_is_accepted_after_the_delay() {
        let mut rehearsal = Rehearsal::new(Rehearsal::WINDOW);
        assert_eq!(rcpt(&mut rehearsal, 0, false), RcptAnswer::Again);
        assert_eq!(rcpt(&mut rehearsal, 299, false), RcptAnswer::Again);
        assert_eq!(rcpt(&mut rehearsal, 300, false), RcptAnswer::Accept(Some(Rehearsed::CameInPlaintext)));
        // Told once; from then on it is known.
        assert_eq!(rcpt(&mut rehearsal, 301, false), RcptAnswer::Accept(None));
        assert_eq!(rcpt(&mut rehearsal, 302, true), RcptAnswer::Accept(None));
    }

    #[test]
    fn who_comes_with_tls_is_never_asked() {
        let mut rehearsal = Rehearsal::new(Rehearsal::WINDOW);
        assert_eq!(rcpt(&mut rehearsal, 0, true), RcptAnswer::Accept(None));
        assert_eq!(rehearsal.entries().count(), 0);
    }

    #[test]
    fn other_hosts_of_the_network_are_the_same_client_and_other_recipients_are_not() {
        let mut rehearsal = Rehearsal::new(Rehearsal::WINDOW);
        assert_eq!(rcpt(&mut rehearsal, 0, false), RcptAnswer::Again);
        for (address, sender, recipient, known) in [
            (peer(200), "a@client.example", "b@mx.example", true),
            (IpAddr::from([192, 0, 3, 1]), "a@client.example", "b@mx.example", false),
            (peer(1), "b@client.example", "b@mx.example", false),
            (peer(1), "a@client.example", "c@mx.example", false),
            (peer(1), "b@mx.example", "a@client.example", false),
        ] {
            assert_eq!(rehearsal.entry(address, sender, recipient).is_some(), known, "{address} {sender} {recipient}");
        }
    }

    /// However rarely a sender tries, the second time is enough; even where the window is shorter than that.
    #[test]
    fn nobody_is_refused_for_good() {
        for window in [60, HOUR, Rehearsal::WINDOW] {
            for between in [60, 300, HOUR, 12 * HOUR, 5 * 24 * HOUR] {
                let mut rehearsal = Rehearsal::new(window);
                let refused =
                    (0..10).take_while(|n| rcpt(&mut rehearsal, n * between, false) == RcptAnswer::Again).count();
                assert!(refused <= 5, "every {between} s in a window of {window} s: {refused} times");
            }
        }
        // A clock that was set back.
        let mut rehearsal = Rehearsal::new(Rehearsal::WINDOW);
        assert_eq!(rcpt(&mut rehearsal, 1_000_000, false), RcptAnswer::Again);
        assert_eq!(rcpt(&mut rehearsal, 10, false), RcptAnswer::Accept(Some(Rehearsed::CameInPlaintext)));
    }

    #[test]
    fn what_is_old_is_forgotten() {
        let mut rehearsal = Rehearsal::new(HOUR);
        assert_eq!(rcpt(&mut rehearsal, 0, false), RcptAnswer::Again);
        assert_eq!(rcpt(&mut rehearsal, 600, false), RcptAnswer::Accept(Some(Rehearsed::CameInPlaintext)));
        assert_eq!(rcpt(&mut rehearsal, 600 + HOUR, false), RcptAnswer::Accept(None));
        assert_eq!(rcpt(&mut rehearsal, 601 + 2 * HOUR, false), RcptAnswer::Again, "asked anew");
        assert_eq!(
            rcpt(&mut rehearsal, 602 + 2 * HOUR + Rehearsal::WINDOW, true),
            RcptAnswer::Accept(None),
            "too late"
        );
    }

    #[test]
    fn when_the_table_is_full_mail_is_accepted_and_counted() {
        let mut rehearsal = Rehearsal::with_bounds(HOUR, 300, 3);
        let mut answers = Vec::new();
        for n in 0..5 {
            answers.push(rehearsal.rcpt(n.into(), IpAddr::from([10, 0, n, 1]), "a@b", "c@d", false));
        }
        assert_eq!(answers[..3], [RcptAnswer::Again; 3]);
        assert_eq!(answers[3..], [RcptAnswer::Accept(None); 2]);
        assert_eq!((rehearsal.unasked(), rehearsal.entries().count()), (2, 3));
        // Those that are known are still known.
        let known = rehearsal.rcpt(400, IpAddr::from([10, 0, 0, 1]), "a@b", "c@d", true);
        assert_eq!(known, RcptAnswer::Accept(Some(Rehearsed::CameWithTls)));
    }

    #[test]
    fn it_goes_on_after_a_restart() {
        let mut before = Rehearsal::new(Rehearsal::WINDOW);
        rcpt(&mut before, 0, false);
        let mut after = Rehearsal::new(Rehearsal::WINDOW);
        before.entries().for_each(|entry| after.restore(entry));
        assert_eq!(rcpt(&mut after, 300, false), RcptAnswer::Accept(Some(Rehearsed::CameInPlaintext)));
        // An older entry of the same key, then the newer: the last holds.
        let mut again = Rehearsal::new(Rehearsal::WINDOW);
        before.entries().chain(after.entries()).for_each(|entry| again.restore(entry));
        assert_eq!(rcpt(&mut again, 301, false), RcptAnswer::Accept(None));
    }

    /// RFC 5321 4.5.4.1: five days.
    #[test]
    fn the_bounds_are_those_that_are_promised() {
        assert_eq!((Rehearsal::WINDOW, Rehearsal::DELAY, Rehearsal::BOUND), (432_000, 300, 262_144));
    }
}
