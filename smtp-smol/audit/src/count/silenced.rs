//! Who would be silenced by a policy: senders and networks none of whose wanted mail met it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustc_hash::FxHashMap;
use smtp_proto::tls::{Cell, Condition, Direction, Record, Wanted};

/// So many senders, and so many networks, are told apart.
const TOLD_APART: usize = 1 << 20;

/// Counts by sender and by network, of wanted mail that came in.
#[derive(Debug)]
pub(crate) struct Parties {
    pub(crate) require: Condition,
    senders: FxHashMap<Box<str>, Sum>,
    networks: FxHashMap<IpAddr, Sum>,
    /// First and last day of the mail that counts.
    pub(crate) days: Option<(i64, i64)>,
    /// There were more than are told apart.
    pub(crate) full: bool,
}

/// Messages of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) lost: u64,
    met: u64,
    /// When the last of those that would be lost came: days since 1970-01-01.
    pub(crate) last: i64,
}

impl Sum {
    fn add(&mut self, met: bool, messages: u64, day: i64) {
        if met {
            self.met += messages;
        } else {
            self.lost += messages;
            self.last = self.last.max(day);
        }
    }
}

impl Parties {
    pub(crate) fn new(require: Condition) -> Self {
        Self { require, senders: FxHashMap::default(), networks: FxHashMap::default(), days: None, full: false }
    }

    pub(crate) fn add(&mut self, record: &Record<'_>) {
        let cell = Cell::of(record);
        let Some(met) = self.add_cell(&cell) else { return };
        if let Some(network) = record.peer.map(network) {
            self.full |= !add(&mut self.networks, network, |sum| sum.add(met, 1, cell.day.into()));
        }
    }

    /// Of mail that was summed elsewhere the networks are not known. Gives whether it met the policy, where it counts.
    pub(crate) fn add_cell(&mut self, cell: &Cell<'_>) -> Option<bool> {
        if cell.direction != Direction::Inbound || cell.wanted != Wanted::Yes {
            return None;
        }
        let met = self.require.met(cell.hop, cell.direction)?;
        let day = i64::from(cell.day);
        let (first, last) = self.days.unwrap_or((day, day));
        self.days = Some((first.min(day), last.max(day)));
        let sum = |sum: &mut Sum| sum.add(met, cell.counts.messages, day);
        match self.senders.get_mut(cell.party) {
            Some(here) => sum(here),
            None => self.full |= !add(&mut self.senders, cell.party.into(), sum),
        }
        Some(met)
    }

    /// The senders all of whose mail would be lost, the heaviest first.
    pub(crate) fn senders(&self) -> Vec<(&str, Sum)> {
        silenced(self.senders.iter().map(|(name, sum)| (&**name, *sum)))
    }

    /// The same of networks, by their first address: /24 of IPv4, /64 of IPv6.
    pub(crate) fn networks(&self) -> Vec<(IpAddr, Sum)> {
        silenced(self.networks.iter().map(|(network, sum)| (*network, *sum)))
    }
}

fn add<K: std::hash::Hash + Eq>(to: &mut FxHashMap<K, Sum>, key: K, then: impl FnOnce(&mut Sum)) -> bool {
    let room = to.len() < TOLD_APART || to.contains_key(&key);
    if room {
        then(to.entry(key).or_default());
    }
    room
}

fn silenced<K: Ord + Copy>(all: impl Iterator<Item = (K, Sum)>) -> Vec<(K, Sum)> {
    let mut all: Vec<_> = all.filter(|(_, sum)| sum.lost > 0 && sum.met == 0).collect();
    all.sort_by_key(|(key, sum)| (std::cmp::Reverse(sum.lost), *key));
    all
}

/// As retries are known again by it.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & 0xffff_ff00).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}
