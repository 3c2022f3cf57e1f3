//! What clients could have done, and what refusing their faults would have cost.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use smtp_proto::Leniency;
use smtp_proto::tls::Condition;

use super::plots::escape;
use super::side::Side;
use super::values::{day, ratio};
use super::words::{counted, number, percent, range, require_of, required};
use crate::count::clients::{Answer, Clients, Question};

/// A share of wanted mail with its interval.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Cost {
    pub(crate) lost: u64,
    pub(crate) of: u64,
    pub(crate) untold: u64,
    pub(crate) share: f64,
    pub(crate) interval: Option<[f64; 2]>,
    /// Senders that would lose something.
    pub(crate) senders: u64,
    pub(crate) of_senders: u64,
}

/// What requiring something would have cost, by what was used and by what was offered. `None` where that is not known.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Could {
    pub(crate) policy: &'static str,
    pub(crate) used: Option<Cost>,
    pub(crate) offered: Option<Cost>,
}

/// What refusing a departure from the standards would have cost.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Strictness {
    pub(crate) leniency: &'static str,
    #[serde(skip)]
    what: &'static str,
    #[serde(flatten)]
    pub(crate) cost: Cost,
}

/// Messages of a period by the group of their key exchange; that of plaintext is empty.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Groups {
    pub(crate) from: String,
    pub(crate) groups: BTreeMap<String, u64>,
}

/// The name of what is no condition of the version alone.
const POST_QUANTUM: &str = "X25519MLKEM768";

impl From<Answer> for Cost {
    fn from(answer: Answer) -> Self {
        let Answer { lost, of, untold, interval, senders } = answer;
        let interval = interval.map(|interval| [interval.low, interval.high]);
        Self { lost, of, untold, share: ratio(lost, of), interval, senders: senders.0, of_senders: senders.1 }
    }
}

impl Cost {
    /// Enough is known for the share to mean anything.
    const fn is_told(&self) -> bool {
        self.untold <= self.of
    }

    /// How many there are in all says the first table.
    fn brief(&self) -> String {
        if !self.is_told() {
            return "cannot be told".into();
        }
        let interval = self.interval.map_or_else(String::new, |[low, high]| format!(" ({})", range(low, high, " – ")));
        format!("{}{interval}", percent(self.share))
    }

    fn words(&self) -> String {
        if !self.is_told() {
            return "cannot be told".into();
        }
        let interval = self.interval.map_or_else(String::new, |[low, high]| format!(", {}", range(low, high, " – ")));
        format!("{} of {} ({}{interval})", number(self.lost), number(self.of), percent(self.share))
    }
}

impl Side {
    /// Adds what the ledger alone knows.
    pub(crate) fn know(&mut self, clients: &Clients) {
        let cost = |question| clients.answer(question).map(Cost::from);
        let used = |policy: &str| {
            let part = &self.what_if.iter().find(|what_if| what_if.policy == policy)?.wanted;
            Some(Cost {
                lost: part.lost.messages,
                of: part.of.messages,
                untold: part.untold,
                share: part.share?,
                interval: part.interval,
                senders: part.senders.lost,
                of_senders: part.senders.of,
            })
        };
        let versions = [Condition::Tls12, Condition::Tls13].map(|condition| Could {
            policy: condition.as_str(),
            used: used(condition.as_str()),
            offered: cost(Question::Could(condition)).filter(|_| clients.offers > 0),
        });
        let post_quantum = Could {
            policy: POST_QUANTUM,
            used: cost(Question::PostQuantum).filter(Cost::is_told),
            offered: cost(Question::CouldPostQuantum).filter(|_| clients.offers > 0),
        };
        self.could = versions.into_iter().chain([post_quantum]).collect();
        let strictness = |leniency: &Leniency| {
            let cost = cost(Question::Strict(*leniency)).filter(|cost| cost.lost > 0)?;
            Some(Strictness { leniency: leniency.as_str(), what: leniency.description(), cost })
        };
        self.strictness = Leniency::ALL.iter().filter_map(strictness).collect();
        let groups = clients.groups(self.trend.days_each).into_iter().map(|(first, groups)| Groups {
            from: day(first.into()),
            groups: groups.into_iter().map(|(name, messages)| (super::values::clean(name, 40), messages)).collect(),
        });
        self.groups = groups.collect();
    }
}

/// As a row names it.
fn name(policy: &str) -> &str {
    if policy == POST_QUANTUM { POST_QUANTUM } else { required(require_of(policy)) }
}

/// What stands where only what was negotiated is known.
const NEGOTIATED: &str = "not known: only what was negotiated is";

/// For a terminal: nothing where there is nothing to say.
pub(crate) fn screen(side: &Side, bold: impl Fn(&str) -> String) -> String {
    let mut out = String::new();
    if side.could.iter().any(|could| could.offered.is_some()) {
        out.push_str(&bold(&format!(
            "{:<18}{:>31}{:>31}",
            "Wanted mail lost", "by what was used", "by what clients could do"
        )));
        out.push('\n');
        for could in &side.could {
            let words = |cost: &Option<Cost>, none: &str| cost.map_or_else(|| none.to_owned(), |cost| cost.brief());
            let (used, offered) = (words(&could.used, "cannot be told"), words(&could.offered, NEGOTIATED));
            let _ = writeln!(out, "{:<18}{used:>31}{offered:>31}", name(could.policy));
        }
        out.push('\n');
    } else if let Some(used) = side.could.iter().find(|could| could.policy == POST_QUANTUM).and_then(|could| could.used)
    {
        // Of versions the first table says what was used.
        out.push_str(&bold("Wanted mail lost, had you required X25519MLKEM768, by what was used"));
        let _ = writeln!(out, "\n{}\n", used.words());
    }
    if !side.strictness.is_empty() {
        out.push_str(&bold("Had you refused"));
        out.push('\n');
        for Strictness { leniency, cost, .. } in &side.strictness {
            let _ = writeln!(out, "{leniency:<22}{} from {}", cost.words(), counted(cost.senders, "sender"));
        }
        out.push('\n');
    }
    out
}

/// What stands in parentheses goes on one line, and what stands before them, where columns are narrow.
fn unbroken(words: &str) -> String {
    match words.split_once(" (") {
        Some((count, share)) => format!("<span>{}</span> <span>({}</span>", escape(count), escape(share)),
        None => escape(words),
    }
}

/// For a page.
pub(crate) fn section(side: &Side) -> String {
    let mut out = String::new();
    if side.could.iter().any(|could| could.offered.or(could.used).is_some()) {
        out.push_str(
            "<section><h2>What clients could do</h2>\n<p class=\"note\">Beside what was negotiated: what would have been lost by \
             what clients offer in their ClientHello, which a ledger knows and a log does not.</p>\n\
             <div class=\"scroll\"><table class=\"words\"><thead><tr><th scope=\"col\">Required</th><th scope=\"col\">Lost, by what was used</th>\
             <th scope=\"col\">By what clients could do</th></tr></thead><tbody>\n",
        );
        for could in &side.could {
            let words =
                |cost: &Option<Cost>, none: &str| cost.map_or_else(|| none.to_owned(), |cost| unbroken(&cost.words()));
            let _ = writeln!(
                out,
                "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td></tr>",
                escape(name(could.policy)).replace("MLKEM", "<wbr>MLKEM"),
                words(&could.used, "cannot be told"),
                words(&could.offered, NEGOTIATED)
            );
        }
        out.push_str("</tbody></table></div></section>\n");
    }
    if !side.strictness.is_empty() {
        out.push_str(
            "<section><h2>Had you refused …</h2>\n<p class=\"note\">Wanted mail that departed from the standards, and was let pass as a \
             leniency was on.</p>\n<div class=\"scroll\"><table class=\"words\"><thead><tr><th scope=\"col\">Refused</th>\
             <th scope=\"col\">Lost</th><th scope=\"col\">Senders</th></tr></thead><tbody>\n",
        );
        for Strictness { what, cost, .. } in &side.strictness {
            let _ = writeln!(
                out,
                "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td></tr>",
                escape(what),
                unbroken(&cost.words()),
                number(cost.senders)
            );
        }
        out.push_str("</tbody></table></div></section>\n");
    }
    out
}
