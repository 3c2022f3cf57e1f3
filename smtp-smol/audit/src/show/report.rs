//! The answer, worked out once; the ways to show it only show it.

use jiff::Timestamp;
use serde::Serialize;
use smtp_proto::tls::{ClientCertificate, Condition, Counts, Direction, Hop, Ledger, Share, Tally, TlsVersion, Wanted};

use super::clients::{Could, Groups, Strictness};
use super::exceptions::Exceptions;
use super::sessions::TlsReports;
use super::values::{Period, Point, clean, day, period};
use crate::count::account::Account;
use crate::count::cells::domains;
use crate::count::desk::{self as count, Aside, Untold};
use crate::ledger::Withheld;
use crate::read::syslog::FORMS;
use crate::source::Kind;

/// Senders that are listed in JSON, and drawn.
const HEAVIEST: usize = 1000;

/// Everything that is told.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Of the program.
    pub(crate) version: &'static str,
    /// When, RFC 3339.
    pub(crate) made: String,
    pub(crate) sources: Vec<SourceView>,
    pub(crate) period: Option<Period>,
    /// Only mail from, or to, these domains.
    pub(crate) senders: Vec<String>,
    pub(crate) recipients: Vec<String>,
    pub(crate) policy: &'static str,
    pub(crate) inbound: Option<Side>,
    pub(crate) outbound: Option<Side>,
    /// What TLS reports tell; null without any.
    pub(crate) tls_reports: Option<TlsReports>,
    pub(crate) not_told: Vec<NotTold>,
    /// Messages that were read: counted, set aside, or attempts of which several are one message.
    pub(crate) read: u64,
    pub(crate) not_counted: NotCounted,
    pub(crate) lines: Lines,
    pub(crate) notes: Vec<String>,
    /// Whom the policy would silence, if that was asked.
    #[serde(skip)]
    pub(crate) exceptions: Option<Exceptions>,
    #[serde(skip)]
    pub(crate) require: Condition,
}

#[derive(Debug, Serialize)]
pub(crate) struct SourceView {
    pub(crate) path: String,
    pub(crate) kind: &'static str,
}

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

/// Messages of which it cannot be told, and why.
#[derive(Debug, Serialize)]
pub(crate) struct NotTold {
    pub(crate) why: String,
    pub(crate) messages: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct NotCounted {
    /// Before `--since`.
    pub(crate) early: u64,
    pub(crate) submissions: u64,
    pub(crate) internal: u64,
    pub(crate) copies: u64,
    pub(crate) deferred: u64,
    pub(crate) foreign: u64,
    pub(crate) dateless: u64,
    /// Of those of whom the policy is not required.
    pub(crate) excepted: u64,
    pub(crate) outside_of_scope: u64,
    /// Lines of ledgers that came twice.
    pub(crate) doubled: u64,
    /// Lines of ledgers that a later program wrote.
    pub(crate) other_version: u64,
    pub(crate) broken: u64,
    pub(crate) first_broken: Vec<String>,
}

/// Lines of logs, by what they are.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Lines {
    pub(crate) mail: u64,
    pub(crate) other: u64,
    pub(crate) broken: u64,
    pub(crate) unread: u64,
}

impl Report {
    /// Of what was counted, and of what was not.
    pub(crate) fn new(ledger: &Ledger, account: &Account, require: Condition, now: Timestamp) -> Self {
        let (senders, recipients) = domains(ledger.scope());
        let period = ledger.period().map(period);
        let Aside { early, submissions, internal, copies, deferred, foreign, dateless, excepted } = account.aside;
        Self {
            version: env!("CARGO_PKG_VERSION"),
            made: now.round(jiff::Unit::Second).unwrap_or(now).to_string(),
            sources: account
                .sources
                .iter()
                .map(|(kind, path)| SourceView { path: clean(path, 400), kind: kind_of(kind) })
                .collect(),
            inbound: Side::new(ledger, Direction::Inbound, require, period.as_ref())
                .map(|side| Side { withheld: not_offered_again(&account.withheld), ..side }),
            outbound: Side::new(ledger, Direction::Outbound, require, period.as_ref()),
            period,
            senders,
            recipients,
            policy: require.as_str(),
            tls_reports: TlsReports::new(&account.tls_reports),
            not_told: not_told(account),
            read: account.read,
            not_counted: NotCounted {
                early,
                submissions,
                internal,
                copies,
                deferred,
                foreign,
                dateless,
                excepted,
                outside_of_scope: account.outside,
                doubled: account.ledger_lines.doubled,
                other_version: account.ledger_lines.other_version,
                broken: account.broken.count,
                first_broken: account.broken.places().map(|place| clean(&place, 300)).collect(),
            },
            lines: {
                let count::Lines { mail, other, broken, unread, .. } = account.lines;
                Lines { mail, other, broken, unread }
            },
            notes: notes(ledger, account),
            exceptions: None,
            require,
        }
    }
}

fn not_offered_again(withheld: &Withheld) -> Option<NotOfferedAgain> {
    let (messages, senders) = (withheld.messages(), withheld.senders());
    (messages > 0).then_some(NotOfferedAgain { messages, senders })
}

impl Side {
    /// `None` where there is no mail.
    fn new(ledger: &Ledger, direction: Direction, require: Condition, period: Option<&Period>) -> Option<Self> {
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

/// What is said of lines in no form that is read.
fn unread(lines: &count::Lines) -> Option<String> {
    let first = lines.first_unread.as_ref()?;
    let all = lines.mail + lines.other + lines.broken + lines.unread;
    Some(format!(
        "{} of {all} lines are in no form that is read, the first at {first} (times that are read: {FORMS})",
        lines.unread
    ))
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

/// Of which messages it cannot be told, by reason in the order of reports.
fn not_told(account: &Account) -> Vec<NotTold> {
    let place = |why: &str| Untold::ALL.iter().position(|untold| untold.why() == why).unwrap_or(usize::MAX);
    let mut all: Vec<_> =
        account.untold.iter().map(|(why, messages)| NotTold { why: clean(why, 300), messages: *messages }).collect();
    all.sort_by_key(|not_told| place(&not_told.why));
    all
}

/// What the reader should know of how it came about.
fn notes(ledger: &Ledger, account: &Account) -> Vec<String> {
    let mut notes: Vec<String> =
        unread(&account.lines).iter().chain(&account.notes).map(|note| clean(note, 600)).collect();
    let lines = &account.ledger_lines;
    if lines.late > 0 {
        notes.push(format!("{} lines of ledgers came late, and are counted", lines.late));
    }
    if lines.missing > 0 {
        notes.push(format!("{} lines of ledgers are missing between others", lines.missing));
    }
    let sampled = [Direction::Inbound, Direction::Outbound]
        .into_iter()
        .map(|direction| ledger.loss(direction, Condition::Tls, 0).wanted)
        .any(|share| !share.senders.exact || !share.hosts.exact);
    if sampled {
        notes.push(
            "there are more senders than are kept: intervals, and counts of senders and hosts, are from a fair sample \
             (--exact keeps all)"
                .into(),
        );
    }
    notes
}

/// What kind a source is, by its name in accounts.
fn kind_of(name: &str) -> &'static str {
    Kind::ALL.into_iter().map(Kind::as_str).find(|known| *known == name).unwrap_or("source")
}
