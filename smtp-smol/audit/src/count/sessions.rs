//! What TLS reports (RFC 8460) tell: sessions, by policy, by what went wrong, by who reports, and by day. Others wrote all
//! of it, so that everything is bounded.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// A policy of the domain that a report is about, as the reporter saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Policy {
    /// MTA-STS (RFC 8461), in mode `testing`.
    StsTesting,
    /// MTA-STS, in mode `enforce`.
    StsEnforce,
    /// MTA-STS, of which the report does not tell the mode, or in mode `none`.
    Sts,
    /// DANE (RFC 7672).
    Tlsa,
    /// Neither was found.
    None,
    /// Of a kind that RFC 8460 does not name.
    Other,
}

impl Policy {
    pub(crate) const ALL: [Self; 6] =
        [Self::StsTesting, Self::StsEnforce, Self::Sts, Self::Tlsa, Self::None, Self::Other];

    /// In JSON.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::StsTesting => "sts-testing",
            Self::StsEnforce => "sts-enforce",
            Self::Sts => "sts",
            Self::Tlsa => "tlsa",
            Self::None => "no-policy-found",
            Self::Other => "other",
        }
    }
}

/// Sessions that succeeded and that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sessions {
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
}

impl Sessions {
    pub(crate) const fn all(self) -> u64 {
        self.succeeded.saturating_add(self.failed)
    }

    const fn add(&mut self, other: Self) {
        self.succeeded = self.succeeded.saturating_add(other.succeeded);
        self.failed = self.failed.saturating_add(other.failed);
    }
}

/// What one report says of one policy.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) policy: Policy,
    pub(crate) sessions: Sessions,
    /// What went wrong, and in how many sessions.
    pub(crate) results: Vec<(String, u64)>,
}

/// All reports together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Reports {
    /// Reports that count.
    pub(crate) reports: u64,
    /// The same report once more.
    pub(crate) copies: u64,
    /// Reports that came by mail, with a DKIM-Signature field and without one (RFC 8460 3).
    pub(crate) signed: u64,
    pub(crate) unsigned: u64,
    /// First and last second.
    pub(crate) period: Option<(i64, i64)>,
    #[serde(with = "pairs")]
    pub(crate) policies: BTreeMap<Policy, Sessions>,
    #[serde(with = "pairs")]
    pub(crate) results: BTreeMap<(Policy, String), u64>,
    #[serde(with = "pairs")]
    pub(crate) organisations: BTreeMap<(String, Policy), Sessions>,
    #[serde(with = "pairs")]
    pub(crate) days: BTreeMap<(i64, Policy), Sessions>,
    /// Copies are known again within one audit alone.
    #[serde(skip)]
    seen: rustc_hash::FxHashSet<u64>,
}

impl Reports {
    /// So many names, and so many days, are told apart.
    const TOLD_APART: usize = 1 << 16;

    /// Whether a report has been taken already.
    pub(crate) fn is_copy(&mut self, identity: u64) -> bool {
        if self.seen.len() >= Self::TOLD_APART * 8 {
            self.seen.clear();
        }
        let copy = !self.seen.insert(identity);
        self.copies += u64::from(copy);
        copy
    }

    /// Takes a report of this organisation for a time.
    pub(crate) fn take(&mut self, organisation: &str, (begin, end): (i64, i64), told: Vec<Told>) {
        self.reports += 1;
        let (first, last) = self.period.unwrap_or((begin, end));
        self.period = Some((first.min(begin), last.max(end)));
        let day = begin.div_euclid(86_400);
        for Told { policy, sessions, results } in told {
            self.policies.entry(policy).or_default().add(sessions);
            for (result, count) in results {
                add(&mut self.results, (policy, result), (policy, String::new()), |sum: &mut u64| {
                    *sum = sum.saturating_add(count);
                });
            }
            let organisation = (organisation.to_owned(), policy);
            add(&mut self.organisations, organisation, (String::new(), policy), |sum: &mut Sessions| sum.add(sessions));
            if self.days.len() < Self::TOLD_APART || self.days.contains_key(&(day, policy)) {
                self.days.entry((day, policy)).or_default().add(sessions);
            }
        }
    }
}

impl AddAssign for Reports {
    fn add_assign(&mut self, other: Self) {
        self.reports += other.reports;
        self.copies += other.copies;
        self.signed += other.signed;
        self.unsigned += other.unsigned;
        self.period = match (self.period, other.period) {
            (Some((first, last)), Some((begin, end))) => Some((first.min(begin), last.max(end))),
            (one, none) => one.or(none),
        };
        for (policy, sessions) in other.policies {
            self.policies.entry(policy).or_default().add(sessions);
        }
        for ((policy, result), count) in other.results {
            add(&mut self.results, (policy, result), (policy, String::new()), |sum: &mut u64| {
                *sum = sum.saturating_add(count);
            });
        }
        for ((organisation, policy), sessions) in other.organisations {
            add(&mut self.organisations, (organisation, policy), (String::new(), policy), |sum: &mut Sessions| {
                sum.add(sessions);
            });
        }
        for (day, sessions) in other.days {
            if self.days.len() < Self::TOLD_APART || self.days.contains_key(&day) {
                self.days.entry(day).or_default().add(sessions);
            }
        }
    }
}

/// Maps as lists of pairs, for their keys are no text.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub(super) fn deserialize<'d, K: Deserialize<'d> + Ord, V: Deserialize<'d>, D: Deserializer<'d>>(
        deserializer: D,
    ) -> Result<BTreeMap<K, V>, D::Error> {
        Ok(Vec::<(K, V)>::deserialize(deserializer)?.into_iter().collect())
    }
}

/// Adds to what stands under a name; where there are too many, to what stands under `rest`.
fn add<K: Ord, V: Default>(to: &mut BTreeMap<K, V>, key: K, rest: K, then: impl FnOnce(&mut V)) {
    let room = to.len() < Reports::TOLD_APART || to.contains_key(&key);
    then(to.entry(if room { key } else { rest }).or_default());
}
