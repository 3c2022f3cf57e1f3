//! What TLS reports tell, worked out once.

use serde::Serialize;
use smtp_proto::tls::Interval;

use super::values::{Period, Point, clean, day, period, ratio};
use crate::count::sessions::{Policy, Reports};

/// Organisations that are listed in JSON.
const HEAVIEST: usize = 1000;

/// Of TLS reports, all that is told.
#[derive(Debug, Serialize)]
pub(crate) struct TlsReports {
    pub(crate) reports: u64,
    /// Reports that had come before.
    pub(crate) copies: u64,
    /// Those that came by mail, with a DKIM signature, which is not checked, and without.
    pub(crate) signed: u64,
    pub(crate) unsigned: u64,
    pub(crate) period: Option<Period>,
    pub(crate) policies: Vec<PolicyView>,
    /// Organisations with sessions that failed, the heaviest first.
    pub(crate) heaviest: Vec<Organisation>,
    pub(crate) days_each: i64,
    pub(crate) trend: Vec<PolicyPoint>,
}

/// Sessions under one policy.
#[derive(Debug, Serialize)]
pub(crate) struct PolicyView {
    pub(crate) policy: &'static str,
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    pub(crate) share: f64,
    /// 95 %; the sessions of one organisation stand or fall together.
    pub(crate) interval: Option<[f64; 2]>,
    /// Organisations of which a session failed, and all.
    pub(crate) organisations: [u64; 2],
    pub(crate) results: Vec<Outcome>,
    #[serde(skip)]
    pub(crate) kind: Policy,
}

#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) result: String,
    pub(crate) sessions: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Organisation {
    pub(crate) organisation: String,
    pub(crate) policy: &'static str,
    pub(crate) failed: u64,
    pub(crate) of: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct PolicyPoint {
    pub(crate) policy: &'static str,
    #[serde(flatten)]
    pub(crate) point: Point,
}

impl TlsReports {
    /// `None` without any.
    pub(crate) fn new(reports: &Reports) -> Option<Self> {
        if reports.reports == 0 {
            return None;
        }
        let policies = Policy::ALL
            .into_iter()
            .filter_map(|kind| {
                let sessions = *reports.policies.get(&kind)?;
                let clusters: Vec<(u64, u64)> = reports
                    .organisations
                    .iter()
                    .filter(|((_, policy), sessions)| *policy == kind && sessions.all() > 0)
                    .map(|(_, sessions)| (sessions.failed, sessions.all()))
                    .collect();
                let failing = clusters.iter().filter(|(failed, _)| *failed > 0).count() as u64;
                let mut results: Vec<Outcome> = reports
                    .results
                    .iter()
                    .filter(|((policy, _), _)| *policy == kind)
                    .map(|((_, result), sessions)| Outcome { result: clean(result, 80), sessions: *sessions })
                    .collect();
                results.sort_by(|a, b| b.sessions.cmp(&a.sessions).then_with(|| a.result.cmp(&b.result)));
                Some(PolicyView {
                    policy: kind.as_str(),
                    succeeded: sessions.succeeded,
                    failed: sessions.failed,
                    share: ratio(sessions.failed, sessions.all()),
                    interval: Interval::of(clusters.iter().copied()).map(|interval| [interval.low, interval.high]),
                    organisations: [failing, clusters.len() as u64],
                    results,
                    kind,
                })
            })
            .collect();
        let mut heaviest: Vec<Organisation> = reports
            .organisations
            .iter()
            .filter(|(_, sessions)| sessions.failed > 0)
            .map(|((organisation, policy), sessions)| Organisation {
                organisation: clean(organisation, 80),
                policy: policy.as_str(),
                failed: sessions.failed,
                of: sessions.all(),
            })
            .collect();
        heaviest.sort_by(|a, b| b.failed.cmp(&a.failed).then_with(|| a.organisation.cmp(&b.organisation)));
        heaviest.truncate(HEAVIEST);
        let period = reports.period.map(period);
        let days_each = match period.as_ref().map_or(1, |period| period.days) {
            ..=31 => 1,
            32..=240 => 7,
            _ => 28,
        };
        let mut trend: Vec<PolicyPoint> = Vec::new();
        for kind in Policy::ALL {
            let mut last = i64::MIN;
            for ((at, _), sessions) in reports.days.iter().filter(|((_, policy), _)| *policy == kind) {
                let begin = at.div_euclid(days_each) * days_each;
                if begin != last {
                    let point = Point { from: day(begin), lost: 0, of: 0 };
                    trend.push(PolicyPoint { policy: kind.as_str(), point });
                    last = begin;
                }
                if let Some(PolicyPoint { point, .. }) = trend.last_mut() {
                    point.lost = point.lost.saturating_add(sessions.failed);
                    point.of = point.of.saturating_add(sessions.all());
                }
            }
        }
        Some(Self {
            reports: reports.reports,
            copies: reports.copies,
            signed: reports.signed,
            unsigned: reports.unsigned,
            period,
            policies,
            heaviest,
            days_each,
            trend,
        })
    }

    /// The policy that the first sentence is about: that which could be enforced and is not, if there is one.
    pub(crate) fn asked(&self) -> Option<&PolicyView> {
        self.policies.iter().find(|view| view.all() > 0)
    }
}

impl PolicyView {
    /// All its sessions.
    pub(crate) const fn all(&self) -> u64 {
        self.succeeded.saturating_add(self.failed)
    }
}
