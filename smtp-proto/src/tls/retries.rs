//! Several attempts at one message are one message.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::IpAddr;

use super::hash::hash;
use super::record::{Hop, Record, Rehearsed};

/// Makes one record of several attempts at one message, before a [`Ledger`](super::Ledger) counts it.
///
/// A transaction that may come again ([`Disposition::Deferred`](super::Disposition), `Abandoned`) waits. When the same envelope comes
/// again from the same network within the window, the two are one, and the last says how it went. A handshake that
/// failed (there is no envelope then) waits for mail from its network: if that comes in plaintext it is
/// [`Hop::FailedThenPlaintext`]. What did not come again is counted as it was.
///
/// Records must come roughly in the order of time; each host or log has its own `Retries`. Memory is bounded: when
/// too many wait, the oldest is counted.
///
/// ```
/// use smtp_proto::tls::{Direction, Disposition, Hop, Record, Retries};
///
/// let mut retries = Retries::default();
/// let mut counted = Vec::new();
/// let mut record = Record::new(1_795_000_000, Direction::Inbound);
/// record.peer = Some("192.0.2.7".parse()?);
/// (record.end, record.hop) = (Disposition::Abandoned, Hop::Failed);
/// retries.add(&record, |record| counted.push(record.hop));
/// // Twenty seconds later the same network sends in plaintext.
/// (record.time, record.end, record.hop) = (record.time + 20, Disposition::Accepted, Hop::NotTried);
/// retries.add(&record, |record| counted.push(record.hop));
/// assert_eq!(counted, [Hop::FailedThenPlaintext]);
/// # Ok::<(), core::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Retries {
    window: i64,
    bound: usize,
    waiting: BTreeMap<u64, Attempt>,
    /// By the time of the last attempt, the oldest first.
    order: BTreeSet<(i64, u64)>,
}

/// What is kept of an attempt: a record that owns its parts.
#[derive(Clone, Debug)]
struct Attempt {
    record: Record<'static>,
    host: Option<Box<str>>,
    sender: Option<Box<str>>,
    recipient_domains: Vec<Box<str>>,
}

impl Retries {
    /// Six hours: hosts that retry less often than that are rare.
    pub const WINDOW: i64 = 6 * 3600;
    /// Attempts that may wait at once: 65,536, at some 500 octets each.
    pub const BOUND: usize = 1 << 16;

    /// Waits `window` seconds for a retry, with at most `bound` attempts waiting at once.
    #[must_use]
    pub fn new(window: i64, bound: usize) -> Self {
        Self { window, bound: bound.max(1), waiting: BTreeMap::new(), order: BTreeSet::new() }
    }

    /// A hash of an envelope for [`Record::envelope`]; the order of the recipients does not count. Never 0.
    #[must_use]
    pub fn envelope<'a>(sender: &str, recipients: impl IntoIterator<Item = &'a str>) -> u64 {
        let sum = recipients.into_iter().map(|to| hash(to.as_bytes())).fold(0_u64, u64::wrapping_add);
        hash(sender.as_bytes()).rotate_left(1).wrapping_add(sum).max(1)
    }

    /// By what attempts are known to be one, for whoever does the same elsewhere: a key of the network, for handshakes
    /// that failed; and one of network and envelope, if the envelope is known. The same on every machine.
    #[must_use]
    pub fn keys(record: &Record<'_>) -> (u64, Option<u64>) {
        (key(record, 0), (record.envelope != 0).then(|| key(record, record.envelope)))
    }

    /// Takes a record, and gives those that can now be counted.
    pub fn add(&mut self, record: &Record<'_>, mut count: impl FnMut(&Record<'_>)) {
        // As of most logs: nothing waits, and this does not begin to.
        if self.waiting.is_empty() && record.end.is_final() {
            count(record);
            return;
        }
        self.expire(record.time, &mut count);
        let (same, network) = (key(record, record.envelope), key(record, 0));
        let before = if record.envelope == 0 { None } else { self.take(same) };
        let mut record = *record;
        if let Some(told) = before.and_then(|before| before.record.rehearsed) {
            record.rehearsed = Some(rehearsed(told, &record));
        }
        if record.envelope != 0 || record.end.is_final() {
            // The handshakes that failed before, if any, were about this message.
            let failed = self.take(network).is_some_and(|before| before.record.hop == Hop::Failed);
            if failed && record.hop == Hop::NotTried {
                record.hop = Hop::FailedThenPlaintext;
            }
        }
        if record.end.is_final() {
            count(&record);
            return;
        }
        // A handshake that failed again is the same message, still waiting.
        self.take(same);
        if self.waiting.len() >= self.bound
            && let Some((_, oldest)) = self.order.pop_first()
            && let Some(attempt) = self.waiting.remove(&oldest)
        {
            attempt.give(&mut count);
        }
        self.order.insert((record.time, same));
        self.waiting.insert(same, Attempt::of(&record));
    }

    /// Gives all that still wait, the oldest first: nothing more will come.
    pub fn finish(&mut self, mut count: impl FnMut(&Record<'_>)) {
        self.expire(i64::MAX, &mut count);
    }

    fn expire(&mut self, now: i64, count: &mut impl FnMut(&Record<'_>)) {
        while let Some((time, key)) = self.order.first().copied()
            && (now == i64::MAX || now.saturating_sub(time) > self.window)
        {
            self.order.pop_first();
            if let Some(attempt) = self.waiting.remove(&key) {
                attempt.give(count);
            }
        }
    }

    fn take(&mut self, key: u64) -> Option<Attempt> {
        let attempt = self.waiting.remove(&key)?;
        self.order.remove(&(attempt.record.time, key));
        Some(attempt)
    }
}

impl Default for Retries {
    fn default() -> Self {
        Self::new(Self::WINDOW, Self::BOUND)
    }
}

impl Attempt {
    fn of(record: &Record<'_>) -> Self {
        Self {
            host: record.host.map(Into::into),
            sender: record.sender.map(Into::into),
            recipient_domains: record.recipient_domains.iter().map(|domain| (*domain).into()).collect(),
            record: Record { host: None, sender: None, recipient_domains: &[], ..*record },
        }
    }

    fn give(&self, count: &mut impl FnMut(&Record<'_>)) {
        let domains: Vec<&str> = self.recipient_domains.iter().map(|domain| &**domain).collect();
        count(&Record {
            host: self.host.as_deref(),
            sender: self.sender.as_deref(),
            recipient_domains: &domains,
            ..self.record
        });
    }
}

/// What a message that a rehearsal has met shows, as far as `told` before and with this attempt. One attempt with TLS is
/// enough to show that the sender would have adapted, however often the message was put off before or after it.
const fn rehearsed(told: Rehearsed, attempt: &Record<'_>) -> Rehearsed {
    use Rehearsed::{Asked, CameInPlaintext, CameWithTls};
    let now = match (attempt.rehearsed, attempt.hop.plaintext()) {
        (Some(now), _) => now,
        (None, Some(false)) => CameWithTls,
        (None, Some(true)) => CameInPlaintext,
        (None, None) => Asked,
    };
    match (told, now) {
        (CameWithTls, _) | (_, CameWithTls) => CameWithTls,
        (CameInPlaintext, _) | (_, CameInPlaintext) => CameInPlaintext,
        (Asked, Asked) => Asked,
    }
}

/// The network that an address stands for when hosts of a farm take turns: /24 of IPv4, /64 of IPv6.
pub(super) fn network(peer: IpAddr) -> [u8; 8] {
    match peer.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            [0, 0, 0, 0, a, b, c, 0]
        }
        IpAddr::V6(address) => {
            let [a, b, c, d, e, f, g, h, ..] = address.octets();
            [a, b, c, d, e, f, g, h]
        }
    }
}

fn key(record: &Record<'_>, envelope: u64) -> u64 {
    let mut bytes = [0; 17];
    let network =
        record.peer.map_or_else(|| record.host.map_or(0, |host| hash(host.as_bytes())).to_be_bytes(), network);
    for (to, from) in bytes.iter_mut().zip(network.into_iter().chain(envelope.to_be_bytes())) {
        *to = from;
    }
    if let Some(last) = bytes.last_mut() {
        *last = record.direction as u8;
    }
    hash(&bytes)
}

#[cfg(test)]
mod tests {
    use super::Retries;

    #[test]
    fn the_bounds_are_those_that_are_promised() {
        assert_eq!((Retries::WINDOW, Retries::BOUND), (21_600, 65_536));
    }
}
