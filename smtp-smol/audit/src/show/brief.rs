//! The report in a few lines, as a running server prints it: the same sentence, and the figures under it.

use std::fmt::Write as _;

use super::clients::Cost;
use super::report::Report;
use super::side::Side;
use super::words::{Answer, counted, number, percent, range};

/// Senders that are named.
const SENDERS: usize = 5;

/// A sentence, and lines behind it that are indented by two.
pub(crate) fn lines(report: &Report) -> String {
    let mut out = String::new();
    match &report.inbound {
        None => out.push_str("There is no wanted message of which it can be told whether it came without TLS.\n"),
        Some(side) => {
            let Answer { before, figure, after, meaning } = Answer::new(report, side);
            let _ = writeln!(out, "{}", format!("{before}{figure}{after} {meaning}").trim_end());
            figures(side, &mut out);
        }
    }
    if report.not_counted.excepted > 0 {
        let _ = writeln!(out, "  by an exception: {} without what is required of others", report.not_counted.excepted);
    }
    out
}

fn figures(side: &Side, out: &mut String) {
    let asked = side.asked("tls");
    for (word, part) in [("unwanted", &asked.unwanted), ("of unknown worth", &asked.unknown)] {
        if part.of.messages > 0 {
            let (lost, of) = (number(part.lost.messages), number(part.of.messages));
            let _ = writeln!(out, "  {word}: {lost} of {of} without TLS");
        }
    }
    for what_if in &side.what_if {
        let part = &what_if.wanted;
        if part.of.messages > 0 {
            let (lost, of) = (number(part.lost.messages), number(part.of.messages));
            let share = shares(part.share.unwrap_or_default(), part.interval);
            let _ = writeln!(out, "  requiring {}: {lost} of {of} lost{share}", what_if.policy);
        }
    }
    let cost =
        |cost: &Cost| format!("{} of {} lost{}", number(cost.lost), number(cost.of), shares(cost.share, cost.interval));
    for could in &side.could {
        if let Some(offered) = &could.offered {
            let _ = writeln!(out, "  by what clients could do, requiring {}: {}", could.policy, cost(offered));
        }
    }
    for strictness in &side.strictness {
        let _ = writeln!(out, "  had you refused {}: {}", strictness.leniency, cost(&strictness.cost));
    }
    if let Some(withheld) = &side.withheld {
        let (messages, senders) = (counted(withheld.messages, "message"), counted(withheld.senders as u64, "sender"));
        let _ = writeln!(out, "  not offered STARTTLS, since handshakes had failed: {messages} of {senders}");
    }
    for heavy in side.heaviest.iter().take(SENDERS) {
        let sender = if heavy.sender.is_empty() { "<>" } else { &heavy.sender };
        let _ = writeln!(out, "  {sender}: {} of {} without TLS", number(heavy.lost), number(heavy.of));
    }
    let plaintext: u64 = side.end_to_end.iter().map(|kind| kind.plaintext).sum();
    let is_protected = |kind: &str| !matches!(kind, "none" | "unknown");
    let protected: u64 = side.end_to_end.iter().filter(|kind| is_protected(kind.kind)).map(|kind| kind.plaintext).sum();
    if protected > 0 {
        let (plaintext, protected) = (number(plaintext), number(protected));
        let _ = writeln!(out, "  of {plaintext} that came in plaintext {protected} were encrypted from end to end");
    }
    if let Some(found) = &side.rehearsal {
        let asked = number(found.with_tls + found.in_plaintext + found.not_again);
        let [with_tls, in_plaintext, not_again] = [found.with_tls, found.in_plaintext, found.not_again].map(number);
        let _ = writeln!(
            out,
            "  rehearsal: of {asked} asked to come again, {with_tls} came with TLS, {in_plaintext} in plaintext, \
             {not_again} not (yet)"
        );
    }
}

/// ` (29 %, 95 % interval 8.0 to 65 %)`.
fn shares(share: f64, interval: Option<[f64; 2]>) -> String {
    let interval =
        interval.map_or_else(String::new, |[low, high]| format!(", 95 % interval {}", range(low, high, " to ")));
    format!(" ({}{interval})", percent(share))
}
