//! What the ledger alone knows of clients: what they could have done, and which of their faults were let pass.

use std::collections::BTreeMap;

use smtp_proto::tls::{Condition, Direction, Disposition, Hop, Interval, Record, TlsOffer, TlsVersion, Wanted};
use smtp_proto::{Leniencies, Leniency};

use super::day;
use super::days::Days;
use super::per_sender::{COMMON, Count, PerSender};

/// So many senders are told apart, unless all are to be; the rest counts as one.
const TOLD_APART: usize = 1 << 18;

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
    /// Those about conditions and key exchange: of each sender they are asked.
    const COMMON: [Self; COMMON] =
        [Self::Could(Condition::Tls12), Self::Could(Condition::Tls13), Self::PostQuantum, Self::CouldPostQuantum];

    /// Those, and one for each leniency.
    fn all() -> impl Iterator<Item = Self> {
        Self::COMMON.into_iter().chain(Leniency::ALL.iter().copied().map(Self::Strict))
    }

    /// Where it stands among those of its kind.
    fn place(self) -> Place {
        match self {
            Self::Strict(leniency) => {
                let at = Leniency::ALL.iter().position(|other| *other == leniency).unwrap_or_default();
                Place::Rare(u8::try_from(at).unwrap_or(u8::MAX))
            }
            _ => Place::Common(Self::COMMON.iter().position(|other| *other == self).unwrap_or_default()),
        }
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

enum Place {
    Common(usize),
    Rare(u8),
}

/// Counts by sender and question.
#[derive(Clone, Debug)]
pub(crate) struct Clients {
    senders: PerSender,
    told_apart: usize,
    /// Messages of which it is known what the client offered.
    pub(crate) offers: u64,
    /// By the group of the key exchange; that of plaintext is empty.
    days: Days,
}

impl Default for Clients {
    fn default() -> Self {
        Self { senders: PerSender::default(), told_apart: TOLD_APART, offers: 0, days: Days::default() }
    }
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
    /// Every sender is told apart, whatever memory that takes.
    pub(crate) const fn tell_all_apart(&mut self) {
        self.told_apart = usize::MAX;
    }

    /// Adds a line of a ledger, if it is of wanted mail that came in. Attempts at one message need not be known again:
    /// taken it was once. The number of the sender is put down where it is not known.
    pub(crate) fn add(
        &mut self,
        record: &Record<'_>,
        offered: Option<TlsOffer>,
        group: Option<&[u8]>,
        lenient: Leniencies,
        known: &mut Option<u32>,
    ) {
        if record.direction != Direction::Inbound || record.end != Disposition::Accepted || record.wanted != Wanted::Yes
        {
            return;
        }
        self.offers += u64::from(offered.is_some());
        self.group(record.time, record.hop, group);
        *known = known.or_else(|| self.number(record.party().unwrap_or_default()));
        let Some(sender) = *known else { return };
        self.count_tls(sender, record.hop, offered, group);
        // Of mail without a fault nothing is written down: it is in the number of all.
        for leniency in lenient.iter() {
            if let Place::Rare(which) = Question::Strict(leniency).place() {
                let count = self.senders.rare_mut(sender, which);
                count.told += 1;
                count.lost += 1;
            }
        }
    }

    /// Adds a message of a log that tells of groups.
    pub(crate) fn add_seen(&mut self, record: &Record<'_>, group: Option<&str>) {
        if record.direction == Direction::Inbound && record.wanted == Wanted::Yes {
            let group = group.map(str::as_bytes);
            self.group(record.time, record.hop, group);
            if let Some(sender) = self.number(record.party().unwrap_or_default()) {
                self.count_tls(sender, record.hop, None, group);
            }
        }
    }

    /// Counts by what each question that is asked of all says.
    fn count_tls(&mut self, sender: u32, hop: Hop, offered: Option<TlsOffer>, group: Option<&[u8]>) {
        let used = post_quantum(hop, group);
        // In the order of `Question::COMMON`.
        let met = [
            could(hop, offered, Condition::Tls12),
            could(hop, offered, Condition::Tls13),
            used,
            could_post_quantum(hop, offered, used),
        ];
        self.senders.add_one(sender, met);
    }

    /// The number of a sender, which stays as it is.
    fn number(&mut self, party: &str) -> Option<u32> {
        let known = self.senders.find(party);
        if known.is_some() || self.senders.len() < self.told_apart {
            return known.or_else(|| self.senders.add(party));
        }
        self.senders.find("").or_else(|| self.senders.add(""))
    }

    /// Adds counts that were written into cells.
    pub(crate) fn add_counts(&mut self, party: &str, question: Question, [lost, told, untold]: [u64; 3]) {
        let Some(sender) = self.number(party) else { return };
        let add = |count: &mut Count| {
            count.lost = count.lost.saturating_add(lost);
            count.told = count.told.saturating_add(told);
            count.untold = count.untold.saturating_add(untold);
        };
        match question.place() {
            Place::Rare(which) => add(self.senders.rare_mut(sender, which)),
            Place::Common(which) => {
                let mut counts = self.senders.common(sender);
                counts.get_mut(which).map(add);
                self.senders.set_common(sender, counts);
            }
        }
    }

    /// The same of key exchanges.
    pub(crate) fn add_group(&mut self, day: i32, name: &str, messages: u64) {
        self.days.add(day, name.as_bytes(), messages);
    }

    /// All counts that there are, in an order that depends on nothing else.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&str, Question, [u64; 3])> {
        let mut senders: Vec<u32> = self.senders.numbers().collect();
        senders.sort_unstable_by_key(|sender| self.senders.name(*sender));
        senders.into_iter().flat_map(move |sender| {
            let name = self.senders.name(sender);
            Question::all().filter_map(move |question| {
                let count = self.count(sender, question);
                (count != Count::default()).then_some((name, question, [count.lost, count.told, count.untold]))
            })
        })
    }

    fn count(&self, sender: u32, question: Question) -> Count {
        match question.place() {
            Place::Common(which) => self.senders.common(sender).get(which).copied().unwrap_or_default(),
            Place::Rare(which) => self.senders.rare(sender, which).unwrap_or_default(),
        }
    }

    /// Messages by day and group.
    pub(crate) fn days(&self) -> impl Iterator<Item = (i32, &str, u64)> {
        self.days.iter()
    }

    /// By the group, for the chart.
    fn group(&mut self, time: i64, hop: Hop, group: Option<&[u8]>) {
        let name = match (group, hop.plaintext()) {
            (Some(group), _) => group,
            (None, Some(true)) => &[],
            (None, _) => return,
        };
        self.days.add(day::of(time), name, 1);
    }

    /// The answer; `None` without any mail of which it is told.
    pub(crate) fn answer(&self, question: Question) -> Option<Answer> {
        let counts = self.senders.numbers().map(|sender| {
            let count = self.count(sender, question);
            match question {
                Question::Strict(_) => {
                    let all = self.count(sender, Question::PostQuantum);
                    Count { told: all.told.saturating_add(all.untold), ..count }
                }
                _ => count,
            }
        });
        let (mut sum, mut losing, mut senders) = (Count::default(), 0, 0);
        for count in counts.clone() {
            sum.lost = sum.lost.saturating_add(count.lost);
            sum.told = sum.told.saturating_add(count.told);
            sum.untold = sum.untold.saturating_add(count.untold);
            losing += u64::from(count.lost > 0 && count.told > 0);
            senders += u64::from(count.told > 0);
        }
        (sum.told > 0).then(|| Answer {
            lost: sum.lost,
            of: sum.told,
            untold: sum.untold,
            interval: Interval::of(counts.map(|count| (count.lost, count.told))),
            senders: (losing, senders),
        })
    }

    /// Messages by group, in periods of so many days, Mondays first.
    pub(crate) fn groups(&self, days_each: u16) -> BTreeMap<i32, BTreeMap<&str, u64>> {
        let step = i32::from(days_each.max(1));
        let mut all: BTreeMap<i32, BTreeMap<&str, u64>> = BTreeMap::new();
        for (day, group, messages) in self.days.iter() {
            *all.entry((day - 4).div_euclid(step) * step + 4).or_default().entry(group).or_default() += messages;
        }
        all
    }
}

/// Whether the client could have met a condition about the version.
fn could(hop: Hop, offered: Option<TlsOffer>, condition: Condition) -> Option<bool> {
    let least = if condition == Condition::Tls13 { TlsVersion::Tls13 } else { TlsVersion::Tls12 };
    match (hop, offered) {
        (Hop::Used { .. }, Some(offered)) => Some(offered.version >= least),
        // What was used it could; what was not, it may have been able to all the same.
        (Hop::Used { version, .. }, None) => version.filter(|version| *version >= least).map(|_| true),
        (hop, _) => hop.plaintext().filter(|plaintext| *plaintext && hop != Hop::NotOffered).map(|_| false),
    }
}

fn post_quantum(hop: Hop, group: Option<&[u8]>) -> Option<bool> {
    match (hop, group) {
        (Hop::Used { .. }, Some(group)) => Some(group.windows(5).any(|part| part.eq_ignore_ascii_case(b"MLKEM"))),
        // There is none before TLS 1.3.
        (Hop::Used { version, .. }, None) => version.filter(|version| *version < TlsVersion::Tls13).map(|_| false),
        (hop, _) => hop.plaintext().filter(|plaintext| *plaintext && hop != Hop::NotOffered).map(|_| false),
    }
}

fn could_post_quantum(hop: Hop, offered: Option<TlsOffer>, used: Option<bool>) -> Option<bool> {
    match (hop, offered) {
        (Hop::Used { .. }, Some(offered)) => Some(offered.post_quantum),
        (Hop::Used { .. }, None) => used.filter(|used| *used),
        (hop, _) => hop.plaintext().filter(|plaintext| *plaintext && hop != Hop::NotOffered).map(|_| false),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use smtp_proto::tls::ClientCertificate;

    use super::*;
    use crate::ledger::{Ending, Entry};

    fn add(clients: &mut Clients, entry: &Entry<'_>, sender: &str) {
        entry.with(|record| {
            let mut record = *record;
            record.sender = Some(sender);
            let group = entry.tls.group.as_deref().map(str::as_bytes);
            clients.add(&record, entry.tls.offered, group, entry.lenient, &mut None);
        });
    }

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
            let (hop, offered) = (entry.tls.hop, entry.tls.offered);
            let used = post_quantum(hop, entry.tls.group.as_deref().map(str::as_bytes));
            assert_eq!(could(hop, offered, Condition::Tls13), could13, "{entry:?}");
            let told = (used, could_post_quantum(hop, offered, used));
            assert_eq!(told, (used_pq, could_pq), "{entry:?}");
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
            entries.iter().for_each(|(entry, sender)| add(&mut clients, entry, sender));
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
            add(&mut clients, entry, sender);
        }
        let mut refused = faulty.clone();
        refused.ending = Ending::Refused;
        add(&mut clients, &refused, "c");
        let answer = clients.answer(Question::Strict(Leniency::BareLfText)).expect("an answer");
        assert_eq!((answer.lost, answer.of, answer.senders), (2, 3, (2, 2)));
        assert_eq!(clients.answer(Question::Strict(Leniency::NulText)).map(|answer| answer.lost), Some(0));
        assert_eq!(Clients::default().answer(Question::PostQuantum), None);
    }
}
