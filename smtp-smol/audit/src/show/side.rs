//! Mail in one direction, as it is told.

use serde::Serialize;
use smtp_proto::tls::{ClientCertificate, Condition, Counts, Direction, Hop, Ledger, Share, Tally, TlsVersion, Wanted};

use super::clients::{Could, Groups, Strictness};
use super::values::{Period, Point, clean, day};

/// Senders that are listed in JSON, and drawn.
const HEAVIEST: usize = 1000;

/// Mail in one direction.
#[derive(Debug, Serialize)]
pub(crate) struct Side {
    pub(crate) direction: &'static str,
    /// By verdict.
    pub(crate) mail: Vec<Mail>,
    /// For every policy.
    pub(crate) what_if: Vec<WhatIf>,
    /// Of wanted mail under the policy in question: who would lose, the heaviest first.
    pub(crate) heaviest: Vec<Sender>,
    pub(crate) trend: Trend,
    /// Wanted mail by version, in the periods of the trend.
    pub(crate) versions: Vec<Versions>,
    /// Of wanted mail, from ledgers alone: by group, in the same periods.
    pub(crate) groups: Vec<Groups>,
    /// What requiring more would have cost by what clients could do.
    pub(crate) could: Vec<Could>,
    /// What refusing departures from the standards would have cost.
    pub(crate) strictness: Vec<Strictness>,
    /// Of wanted mail.
    pub(crate) certificates: Vec<Class>,
    /// Of wanted mail.
    pub(crate) end_to_end: Vec<Protection>,
    pub(crate) rehearsal: Option<Rehearsal>,
    /// Of hosts that were not offered STARTTLS again.
    pub(crate) withheld: Option<NotOfferedAgain>,
}

/// Mail of hosts whose handshakes had failed before.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct NotOfferedAgain {
    pub(crate) messages: u64,
    pub(crate) senders: usize,
}

/// Mail of one verdict, by what became of TLS; in messages.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Mail {
    pub(crate) verdict: &'static str,
    pub(crate) messages: u64,
    pub(crate) tls: u64,
    /// By version: `TLS1.3` and so on, `unknown`.
    pub(crate) versions: Vec<(&'static str, u64)>,
    pub(crate) plaintext: u64,
    /// Of `plaintext`: after a handshake that failed.
    pub(crate) after_failure: u64,
    /// Handshakes that failed, and nothing more was heard.
    pub(crate) failed: u64,
    pub(crate) not_offered: u64,
    pub(crate) unknown: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct WhatIf {
    pub(crate) policy: &'static str,
    pub(crate) wanted: Part,
    pub(crate) unwanted: Part,
    pub(crate) unknown: Part,
}

/// A part that would be lost.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Part {
    pub(crate) lost: Amount,
    pub(crate) of: Amount,
    /// Messages of which it cannot be told.
    pub(crate) untold: u64,
    /// Between 0 and 1.
    pub(crate) share: Option<f64>,
    /// 95 %.
    pub(crate) interval: Option<[f64; 2]>,
    pub(crate) senders: Of,
    /// Senders that would lose everything.
    pub(crate) silenced: u64,
    pub(crate) hosts: Of,
    pub(crate) seen_once: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Amount {
    pub(crate) messages: u64,
    pub(crate) recipients: u64,
    pub(crate) bytes: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Of {
    pub(crate) lost: u64,
    pub(crate) of: u64,
    pub(crate) exact: bool,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sender {
    pub(crate) sender: String,
    pub(crate) lost: u64,
    pub(crate) of: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) too_low_by: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Messages of a period by what became of TLS.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Versions {
    pub(crate) from: String,
    pub(crate) tls13: u64,
    pub(crate) tls12: u64,
    pub(crate) older: u64,
    /// Over TLS, of whatever version.
    pub(crate) unknown: u64,
    pub(crate) plaintext: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Trend {
    pub(crate) days_each: u16,
    pub(crate) points: Vec<Point>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Class {
    pub(crate) class: &'static str,
    pub(crate) messages: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Protection {
    pub(crate) kind: &'static str,
    pub(crate) messages: u64,
    pub(crate) plaintext: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Rehearsal {
    pub(crate) with_tls: u64,
    pub(crate) in_plaintext: u64,
    pub(crate) not_again: u64,
}

impl Side {
    /// `None` where there is no mail.
    pub(super) fn new(
        ledger: &Ledger,
        direction: Direction,
        require: Condition,
        period: Option<&Period>,
    ) -> Option<Self> {
        let mail: Vec<Mail> = Wanted::ALL.map(|wanted| Mail::new(ledger, direction, wanted)).into();
        if mail.iter().all(|mail| mail.messages + mail.failed == 0) {
            return None;
        }
        // A server's certificate is another question than a client's.
        let asked = |require: &Condition| {
            direction == Direction::Inbound
                || !matches!(require, Condition::Certificate | Condition::VerifiedCertificate)
        };
        let what_if = Condition::ALL
            .into_iter()
            .filter(asked)
            .map(|require| {
                let loss = ledger.loss(direction, require, 0);
                WhatIf {
                    policy: require.as_str(),
                    wanted: Part::new(&loss.wanted),
                    unwanted: Part::new(&loss.unwanted),
                    unknown: Part::new(&loss.unknown),
                }
            })
            .collect();
        let require = if asked(&require) { require } else { Condition::Tls };
        let heaviest = ledger
            .loss(direction, require, HEAVIEST)
            .wanted
            .heaviest
            .iter()
            .map(|heavy| Sender {
                sender: clean(&heavy.sender, 80),
                lost: heavy.lost,
                of: heavy.total,
                too_low_by: heavy.error,
            })
            .collect();
        // Some twenty to thirty points: few enough to see each, enough to see a trend.
        let days_each = match period.map_or(1, |period| period.days) {
            ..=31 => 1,
            32..=240 => 7,
            _ => 28,
        };
        let points = ledger
            .trend(direction, Wanted::Yes, require, days_each)
            .into_iter()
            .map(|point| Point { from: day(i64::from(point.day)), lost: point.lost, of: point.total })
            .collect();
        let rehearsal = Wanted::ALL.map(|wanted| ledger.rehearsal(direction, wanted)).into_iter().fold(
            Rehearsal { with_tls: 0, in_plaintext: 0, not_again: 0 },
            |sum, counts| Rehearsal {
                with_tls: sum.with_tls + counts.with_tls,
                in_plaintext: sum.in_plaintext + counts.in_plaintext,
                not_again: sum.not_again + counts.not_again,
            },
        );
        Some(Self {
            direction: direction.as_str(),
            mail,
            what_if,
            heaviest,
            trend: Trend { days_each, points },
            versions: versions(ledger, direction, days_each),
            groups: Vec::new(),
            could: Vec::new(),
            strictness: Vec::new(),
            certificates: certificates(ledger, direction),
            end_to_end: ledger
                .protected(direction, Wanted::Yes)
                .map(|(kind, messages, plaintext)| Protection { kind: kind.as_str(), messages, plaintext })
                .filter(|protection| protection.messages > 0)
                .collect(),
            rehearsal: (rehearsal.with_tls + rehearsal.in_plaintext + rehearsal.not_again > 0).then_some(rehearsal),
            withheld: None,
        })
    }

    /// What the question is about.
    pub(crate) fn asked(&self, policy: &str) -> &WhatIf {
        self.what_if.iter().find(|what_if| what_if.policy == policy).unwrap_or(&self.what_if[0])
    }
}

impl Mail {
    fn new(ledger: &Ledger, direction: Direction, wanted: Wanted) -> Self {
        let mut mail = Self { verdict: wanted.as_str(), ..Self::default() };
        let mut versions = [0_u64; 6];
        const NAMES: [&str; 6] = ["TLS1.3", "TLS1.2", "TLS1.1", "TLS1.0", "SSL", "unknown"];
        for (hop, Counts { messages, .. }) in ledger.hops(direction, wanted) {
            match hop {
                Hop::Used { version, .. } => {
                    mail.tls += messages;
                    let name = version.map_or("unknown", TlsVersion::as_str);
                    versions[NAMES.iter().position(|known| *known == name).unwrap_or(5)] += messages;
                }
                Hop::NotTried => mail.plaintext += messages,
                Hop::FailedThenPlaintext => {
                    mail.plaintext += messages;
                    mail.after_failure += messages;
                }
                Hop::Failed => mail.failed += messages,
                Hop::NotOffered => mail.not_offered += messages,
                _ => mail.unknown += messages,
            }
        }
        mail.messages = mail.tls + mail.plaintext + mail.not_offered + mail.unknown;
        mail.versions = NAMES.into_iter().zip(versions).filter(|(_, messages)| *messages > 0).collect();
        mail
    }
}

impl Part {
    /// Whether enough is known for the share to mean anything. Of plaintext it is always told that there was no
    /// certificate, so that mail of which it is not told makes that share too large.
    pub(crate) fn is_told(&self, policy: &str) -> bool {
        let times = if policy.ends_with("certificate") { 4 } else { 1 };
        self.of.messages > 0 && self.untold.saturating_mul(times) <= self.of.messages
    }

    fn new(share: &Share) -> Self {
        Self {
            lost: share.lost.into(),
            of: share.total.into(),
            untold: share.untold.messages,
            share: share.ratio(),
            interval: share.interval.map(|interval| [interval.low, interval.high]),
            senders: share.senders.into(),
            silenced: share.silenced,
            hosts: share.hosts.into(),
            seen_once: share.seen_once,
        }
    }
}

impl From<Counts> for Amount {
    fn from(counts: Counts) -> Self {
        Self { messages: counts.messages, recipients: counts.recipients, bytes: counts.bytes }
    }
}

impl From<Tally> for Of {
    fn from(tally: Tally) -> Self {
        Self { lost: tally.lost, of: tally.total, exact: tally.exact }
    }
}

/// By version over time, from what each condition would have cost.
fn versions(ledger: &Ledger, direction: Direction, days_each: u16) -> Vec<Versions> {
    let trend = |condition| ledger.trend(direction, Wanted::Yes, condition, days_each);
    let [of12, of13] = [Condition::Tls12, Condition::Tls13].map(trend);
    let at = |points: &[smtp_proto::tls::Point], day| {
        points.iter().find(|point| point.day == day).map_or((0, 0), |point| (point.lost, point.total))
    };
    let of = |point: smtp_proto::tls::Point| {
        let ((lost12, _), (lost13, told)) = (at(&of12, point.day), at(&of13, point.day));
        Versions {
            from: day(point.day.into()),
            tls13: told.saturating_sub(lost13),
            tls12: lost13.saturating_sub(lost12),
            older: lost12.saturating_sub(point.lost),
            unknown: point.total.saturating_sub(told),
            plaintext: point.lost,
        }
    };
    trend(Condition::Tls).into_iter().map(of).collect()
}

/// Wanted mail over TLS by what the client showed.
fn certificates(ledger: &Ledger, direction: Direction) -> Vec<Class> {
    use ClientCertificate::{None, SelfSigned, Unknown, Untrusted, Verified};
    if direction == Direction::Outbound {
        return Vec::new();
    }
    [Verified, Untrusted, SelfSigned, None, Unknown]
        .into_iter()
        .map(|class| {
            let messages = ledger
                .hops(direction, Wanted::Yes)
                .filter(|(hop, _)| matches!(hop, Hop::Used { certificate, .. } if *certificate == class))
                .map(|(_, counts)| counts.messages)
                .sum();
            Class { class: class.as_str(), messages }
        })
        .filter(|class| class.messages > 0)
        .collect()
}
