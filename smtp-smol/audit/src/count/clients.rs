//! What the ledger alone knows of clients: what they could have done, and which of their faults were let pass.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use smtp_proto::Leniency;
use smtp_proto::tls::{Condition, Direction, Hop, Interval, TlsVersion, Wanted};

use super::day;
use crate::ledger::{Ending, Entry};

/// So many senders are told apart; the rest counts as one.
const TOLD_APART: usize = 1 << 18;
/// So many days, and so many groups, are told apart.
const DAYS: usize = 1 << 12;
const GROUPS: usize = 16;

/// Something that might be asked of wanted mail that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// Whether the client could have met the condition, by its ClientHello.
    Could(Condition),
    /// Whether post-quantum key exchange was used,
    PostQuantum,
    /// or could have been.
    CouldPostQuantum,
    /// Whether there was nothing to let pass by this name.
    Strict(Leniency),
}

impl Question {
    /// Those about conditions and key exchange, and one for each leniency.
    fn all() -> impl Iterator<Item = Self> {
        [Self::Could(Condition::Tls12), Self::Could(Condition::Tls13), Self::PostQuantum, Self::CouldPostQuantum]
            .into_iter()
            .chain(Leniency::ALL.iter().copied().map(Self::Strict))
    }

    /// As cells name it.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Could(condition) => format!("could:{}", condition.as_str()),
            Self::PostQuantum => "post-quantum".into(),
            Self::CouldPostQuantum => "could:post-quantum".into(),
            Self::Strict(leniency) => format!("strict:{leniency}"),
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|question| question.name() == name)
    }
}

/// Counts by sender and question.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    senders: FxHashMap<Box<str>, Vec<(Question, Count)>>,
    /// Messages of which it is known what the client offered.
    pub(crate) offers: u64,
    /// By the group of the key exchange; that of plaintext is empty.
    days: BTreeMap<i32, BTreeMap<Box<str>, u64>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    lost: u64,
    told: u64,
    untold: u64,
}

/// The answer to a question.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) lost: u64,
    pub(crate) of: u64,
    pub(crate) untold: u64,
    pub(crate) interval: Option<Interval>,
    /// Senders that would lose something, and all.
    pub(crate) senders: (u64, u64),
}

impl Clients {
    /// Adds a line of a ledger, if it is of wanted mail that came in. Attempts at one message need not be known again:
    /// taken it was once.
    pub(crate) fn add(&mut self, entry: &Entry<'_>, party: &str) {
        if entry.direction != Direction::Inbound || entry.ending != Ending::Accepted || entry.wanted() != Wanted::Yes {
            return;
        }
        self.offers += u64::from(entry.tls.offered.is_some());
        self.group(entry);
        let Some(counts) = self.of(party) else { return };
        let mut count = |question, met: Option<bool>| {
            let count = answer_to(counts, question);
            match met {
                Some(met) => {
                    count.told += 1;
                    count.lost += u64::from(!met);
                }
                None => count.untold += 1,
            }
        };
        for condition in [Condition::Tls12, Condition::Tls13] {
            count(Question::Could(condition), could(entry, condition));
        }
        count(Question::PostQuantum, post_quantum(entry));
        count(Question::CouldPostQuantum, could_post_quantum(entry));
        // Of mail without a fault nothing is written down: it is in the number of all.
        entry.lenient.iter().for_each(|leniency| count(Question::Strict(leniency), Some(false)));
    }

    /// The counts of a sender.
    fn of(&mut self, party: &str) -> Option<&mut Vec<(Question, Count)>> {
        let party = if self.senders.len() < TOLD_APART || self.senders.contains_key(party) { party } else { "" };
        if !self.senders.contains_key(party) {
            self.senders.insert(party.into(), Vec::new());
        }
        self.senders.get_mut(party)
    }

    /// Adds counts that were written into cells.
    pub(crate) fn add_counts(&mut self, party: &str, question: Question, [lost, told, untold]: [u64; 3]) {
        let Some(counts) = self.of(party) else { return };
        let count = answer_to(counts, question);
        count.lost = count.lost.saturating_add(lost);
        count.told = count.told.saturating_add(told);
        count.untold = count.untold.saturating_add(untold);
    }

    /// The same of key exchanges.
    pub(crate) fn add_group(&mut self, day: i32, name: &str, messages: u64) {
        let groups = self.days.entry(day).or_default();
        let name = if groups.len() < GROUPS || groups.contains_key(name) { name } else { "other" };
        let sum = groups.entry(name.into()).or_default();
        *sum = sum.saturating_add(messages);
        while self.days.len() > DAYS {
            self.days.pop_first();
        }
    }

    /// All counts, in an order that depends on nothing else.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&str, Question, [u64; 3])> {
        let mut senders: Vec<_> = self.senders.iter().collect();
        senders.sort_unstable_by_key(|(sender, _)| *sender);
        senders.into_iter().flat_map(|(sender, counts)| {
            let known = |question| counts.iter().find(|(known, _)| *known == question);
            let told = |count: &Count| [count.lost, count.told, count.untold];
            Question::all()
                .filter_map(move |question| known(question).map(|(_, count)| (&**sender, question, told(count))))
        })
    }

    /// Messages by day and group.
    pub(crate) fn days(&self) -> impl Iterator<Item = (i32, &str, u64)> {
        self.days.iter().flat_map(|(day, groups)| groups.iter().map(|(group, messages)| (*day, &**group, *messages)))
    }

    /// By the group, for the chart.
    fn group(&mut self, entry: &Entry<'_>) {
        let name = match (&entry.tls.group, entry.tls.hop.plaintext()) {
            (Some(group), _) => group,
            (None, Some(true)) => "",
            (None, _) => return,
        };
        self.add_group(day::of(entry.time.as_second()), name, 1);
    }

    /// The answer; `None` without any mail of which it is told.
    pub(crate) fn answer(&self, question: Question) -> Option<Answer> {
        let mut clusters = Vec::new();
        let mut sum = Count::default();
        for counts in self.senders.values() {
            let of =
                |question| counts.iter().find(|(known, _)| *known == question).map_or(Count::default(), |(_, c)| *c);
            let mut count = of(question);
            if let Question::Strict(_) = question {
                let all = of(Question::PostQuantum);
                count.told = all.told + all.untold;
            }
            sum.lost += count.lost;
            sum.told += count.told;
            sum.untold += count.untold;
            if count.told > 0 {
                clusters.push((count.lost, count.told));
            }
        }
        (sum.told > 0).then(|| Answer {
            lost: sum.lost,
            of: sum.told,
            untold: sum.untold,
            interval: Interval::of(&clusters),
            senders: (clusters.iter().filter(|(lost, _)| *lost > 0).count() as u64, clusters.len() as u64),
        })
    }

    /// Messages by group, in periods of so many days, Mondays first.
    pub(crate) fn groups(&self, days_each: u16) -> BTreeMap<i32, BTreeMap<&str, u64>> {
        let step = i32::from(days_each.max(1));
        let mut all: BTreeMap<i32, BTreeMap<&str, u64>> = BTreeMap::new();
        for (day, groups) in &self.days {
            let point = all.entry((day - 4).div_euclid(step) * step + 4).or_default();
            for (group, messages) in groups {
                *point.entry(group).or_default() += messages;
            }
        }
        all
    }
}

fn answer_to(counts: &mut Vec<(Question, Count)>, question: Question) -> &mut Count {
    let at = counts.iter().position(|(known, _)| *known == question).unwrap_or_else(|| {
        counts.push((question, Count::default()));
        counts.len() - 1
    });
    &mut counts[at].1
}

/// Whether the client could have met a condition about the version.
fn could(entry: &Entry<'_>, condition: Condition) -> Option<bool> {
    let least = if condition == Condition::Tls13 { TlsVersion::Tls13 } else { TlsVersion::Tls12 };
    match (entry.tls.hop, entry.tls.offered) {
        (Hop::Used { .. }, Some(offered)) => Some(offered.version >= least),
        // What was used it could; what was not, it may have been able to all the same.
        (Hop::Used { version, .. }, None) => version.filter(|version| *version >= least).map(|_| true),
        (hop, _) => hop.plaintext().filter(|plaintext| *plaintext && hop != Hop::NotOffered).map(|_| false),
    }
}

fn post_quantum(entry: &Entry<'_>) -> Option<bool> {
    match (entry.tls.hop, entry.tls.group.as_deref()) {
        (Hop::Used { .. }, Some(group)) => Some(group.to_ascii_uppercase().contains("MLKEM")),
        // There is none before TLS 1.3.
        (Hop::Used { version, .. }, None) => version.filter(|version| *version < TlsVersion::Tls13).map(|_| false),
        (hop, _) => hop.plaintext().filter(|plaintext| *plaintext && hop != Hop::NotOffered).map(|_| false),
    }
}

fn could_post_quantum(entry: &Entry<'_>) -> Option<bool> {
    match (entry.tls.hop, entry.tls.offered) {
        (Hop::Used { .. }, Some(offered)) => Some(offered.post_quantum),
        (Hop::Used { .. }, None) => post_quantum(entry).filter(|used| *used),
        (hop, _) => hop.plaintext().filter(|plaintext| *plaintext && hop != Hop::NotOffered).map(|_| false),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use smtp_proto::tls::{ClientCertificate, TlsOffer};

    use super::*;

    fn entry(hop: Hop, offered: Option<TlsOffer>, group: Option<&'static str>) -> Entry<'static> {
        let mut entry = Entry::new(Timestamp::UNIX_EPOCH, Direction::Inbound, Ending::Accepted);
        (entry.tls.hop, entry.tls.offered, entry.tls.group) = (hop, offered, group.map(Into::into));
        entry
    }

    const fn used(version: TlsVersion) -> Hop {
        Hop::Used { version: Some(version), certificate: ClientCertificate::None }
    }

    #[test]
    fn what_a_client_could_is_told_by_its_hello_and_by_what_was_used() {
        use TlsVersion::{Tls12, Tls13};
        let offer = |version, post_quantum| Some(TlsOffer::new(version, post_quantum));
        for (entry, could13, used_pq, could_pq) in [
            (entry(used(Tls12), offer(Tls13, true), Some("x25519")), Some(true), Some(false), Some(true)),
            (entry(used(Tls12), offer(Tls12, false), None), Some(false), Some(false), Some(false)),
            (entry(used(Tls13), offer(Tls13, true), Some("X25519MLKEM768")), Some(true), Some(true), Some(true)),
            // As a log knows it.
            (entry(used(Tls12), None, None), None, Some(false), None),
            (entry(used(Tls13), None, None), Some(true), None, None),
            (entry(used(Tls13), None, Some("x25519")), Some(true), Some(false), None),
            (entry(Hop::NotTried, None, None), Some(false), Some(false), Some(false)),
            (entry(Hop::NotOffered, None, None), None, None, None),
            (entry(Hop::Unknown, None, None), None, None, None),
        ] {
            assert_eq!(could(&entry, Condition::Tls13), could13, "{entry:?}");
            assert_eq!((post_quantum(&entry), could_post_quantum(&entry)), (used_pq, could_pq), "{entry:?}");
        }
    }

    /// What is written into cells and read back, in two parts and in either order, is the same.
    #[test]
    fn counts_add_up() {
        let mut faulty = entry(used(TlsVersion::Tls13), Some(TlsOffer::new(TlsVersion::Tls13, true)), Some("x25519"));
        faulty.lenient = Leniency::BareLfText.into();
        let entries = [(faulty, "a"), (entry(Hop::NotTried, None, None), "b"), (entry(Hop::NotTried, None, None), "a")];
        let of = |entries: &[(Entry<'static>, &str)]| {
            let mut clients = Clients::default();
            entries.iter().for_each(|(entry, sender)| clients.add(entry, sender));
            clients
        };
        let (whole, parts) = (of(&entries), [of(&entries[..1]), of(&entries[1..])]);
        for order in [[0, 1], [1, 0]] {
            let mut sum = Clients::default();
            for part in order.map(|at| &parts[at]) {
                for (sender, question, told) in part.counts() {
                    sum.add_counts(sender, Question::from_name(&question.name()).expect("a name"), told);
                }
                part.days().for_each(|(day, group, messages)| sum.add_group(day, group, messages));
            }
            assert!(sum.counts().eq(whole.counts()) && sum.days().eq(whole.days()), "{sum:?}");
        }
        assert_eq!((whole.counts().count(), whole.days().count()), (9, 2));
    }

    #[test]
    fn faults_that_were_let_pass_are_lost_of_all() {
        let mut clients = Clients::default();
        let mut faulty = entry(Hop::NotTried, None, None);
        faulty.lenient = Leniency::BareLfText.into();
        for (entry, sender) in [(&faulty, "a"), (&faulty, "b"), (&entry(Hop::Unknown, None, None), "b")] {
            clients.add(entry, sender);
        }
        let mut refused = faulty.clone();
        refused.ending = Ending::Refused;
        clients.add(&refused, "c");
        let answer = clients.answer(Question::Strict(Leniency::BareLfText)).expect("an answer");
        assert_eq!((answer.lost, answer.of, answer.senders), (2, 3, (2, 2)));
        assert_eq!(clients.answer(Question::Strict(Leniency::NulText)).map(|answer| answer.lost), Some(0));
        assert_eq!(Clients::default().answer(Question::PostQuantum), None);
    }
}
