//! The answer, worked out once; the ways to show it only show it.

use jiff::Timestamp;
use serde::Serialize;
use smtp_proto::tls::{Condition, Direction, Ledger};

use super::exceptions::Exceptions;
use super::sessions::TlsReports;
use super::side::{NotOfferedAgain, Side};
use super::values::{Period, clean, period};
use crate::count::account::Account;
use crate::count::aside::{self, Aside};
use crate::count::cells::domains;
use crate::count::seen::Untold;
use crate::ledger::Withheld;
use crate::read::syslog::FORMS;
use crate::source::Kind;

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
                let aside::Lines { mail, other, broken, unread, .. } = account.lines;
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

/// What is said of lines in no form that is read.
fn unread(lines: &aside::Lines) -> Option<String> {
    let first = lines.first_unread.as_ref()?;
    let all = lines.mail + lines.other + lines.broken + lines.unread;
    Some(format!(
        "{} of {all} lines are in no form that is read, the first at {first} (times that are read: {FORMS})",
        lines.unread
    ))
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
