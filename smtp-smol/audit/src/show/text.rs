//! The report on one screen of a terminal, 80 columns wide.

use std::fmt::Write as _;

use super::clients;
use super::report::Report;
use super::side::{Part, Side};
use super::values::ratio;
use super::words::{
    Answer, CAVEATS, Style, about_so_many, days, not_told, number, percent, range, require_of, required, set_aside,
    share, without,
};

const WIDTH: usize = 80;
/// Senders that are shown.
const SENDERS: usize = 8;

pub(crate) fn screen(report: &Report, style: Style) -> String {
    let mut out = String::new();
    for side in [&report.inbound, &report.outbound].into_iter().flatten() {
        out.push_str(&answer(report, side, style));
        out.push_str(&what_ifs(report, side, style));
        if side.direction == "inbound" {
            out.push_str(&senders(side, style));
            out.push_str(&trend(report, side, style));
            out.push_str(&mail(side, style));
            out.push_str(&clients::screen(side, |text| style.bold(text)));
        }
    }
    if let Some(reports) = &report.tls_reports {
        out.push_str(&reports.screen(|text| wrap(text, WIDTH, ""), |text| style.bold(text)));
    }
    if out.is_empty() {
        out.push_str("No mail was found.\n\n");
    }
    out.push_str(&how(report, style));
    if report.inbound.is_some() {
        for (title, text) in CAVEATS {
            let wrapped = wrap(&format!("{title} {text}"), WIDTH, "");
            out.push_str(&wrapped.replacen(title, &style.bold(title), 1));
        }
    }
    out
}

fn answer(report: &Report, side: &Side, style: Style) -> String {
    let answer = Answer::new(report, side);
    let whole = format!("{}{}{}", answer.before, answer.figure, answer.after);
    let mut text = wrap(&whole, WIDTH, "");
    // The figure may have been broken over two lines: then it stays as it is.
    if text.contains(&answer.figure) {
        text = text.replacen(&answer.figure, &style.strong(&answer.figure), 1);
    }
    if !answer.meaning.is_empty() {
        text.push_str(&wrap(&answer.meaning, WIDTH, ""));
    }
    text.push('\n');
    text
}

fn what_ifs(report: &Report, side: &Side, style: Style) -> String {
    let unwanted = side.what_if.iter().any(|what_if| what_if.unwanted.of.messages > 0);
    let lost = |part: &Part| format!("{} of {}", number(part.lost.messages), number(part.of.messages));
    let longest = side.what_if.iter().map(|what_if| lost(&what_if.wanted).len()).max().unwrap_or_default();
    // Counts of tens of millions leave room for one of the two; how much there is in all says the sentence above.
    let lost = |part: &Part| if longest > 20 { number(part.lost.messages) } else { lost(part) };
    let row = |cells: [&str; 5]| {
        let [name, lost, share, interval, unwanted] = cells;
        format!("{name:<22}{lost:>21}{share:>9}{interval:>18}{unwanted:>10}").trim_end().to_owned()
    };
    let last = if unwanted { "unwanted" } else { "" };
    let mut out = style.bold(&row(["If you required", "wanted mail lost", "share", "95 % interval", last]));
    out.push('\n');
    for what_if in &side.what_if {
        let part = &what_if.wanted;
        let name = required(require_of(what_if.policy));
        let refused = if unwanted && what_if.unwanted.is_told(what_if.policy) {
            percent(share(&what_if.unwanted))
        } else {
            String::new()
        };
        let line = if part.is_told(what_if.policy) {
            let interval = part.interval.map_or_else(String::new, |[low, high]| range(low, high, " – "));
            row([name, &lost(part), &percent(share(part)), &interval, &refused])
        } else {
            row([name, "cannot be told", "", "", &refused])
        };
        out.push_str(&if what_if.policy == report.policy { style.strong(&line) } else { line });
        out.push('\n');
    }
    out.push('\n');
    out
}

fn senders(side: &Side, style: Style) -> String {
    let mut out = String::new();
    let Some(most) = side.heaviest.first().map(|sender| sender.lost.max(1)) else { return out };
    out.push_str(&style.bold(&format!("{:<42}{:>20}", "Senders that weigh most", "lost of all")));
    out.push('\n');
    for sender in side.heaviest.iter().take(SENDERS) {
        let name = if sender.sender.is_empty() { "(unknown)" } else { &sender.sender };
        let counts = format!("{} of {}", number(sender.lost), number(sender.of));
        let line = format!("{:<42}{counts:>20}  {}", shorten(name, 40), bar(sender.lost, most, 16));
        out.push_str(line.trim_end());
        out.push('\n');
    }
    let rest = side.heaviest.len().saturating_sub(SENDERS);
    if rest > 0 {
        let lost: u64 = side.heaviest.iter().skip(SENDERS).map(|sender| sender.lost).sum();
        let line = format!("{:<42}{:>20}", format!("and {} more", number(rest as u64)), number(lost));
        out.push_str(&style.faint(&line));
        out.push('\n');
    }
    out.push('\n');
    out
}

fn trend(report: &Report, side: &Side, style: Style) -> String {
    let points = &side.trend.points;
    let [first, .., last] = points.as_slice() else { return String::new() };
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    let shares: Vec<f64> = points.iter().map(|point| point.lost as f64 / point.of as f64).collect();
    let most = shares.iter().copied().fold(0.0, f64::max);
    let each = match side.trend.days_each {
        1 => "day",
        7 => "week",
        _ => "four weeks",
    };
    let mut out = style.bold(&format!("By {each}, share {}", without(report.require)));
    let kept = shares.len().saturating_sub(40);
    let line: String = shares[kept..].iter().map(|share| spark(*share, most)).collect();
    let from = &points.get(kept).unwrap_or(first).from;
    let _ = write!(out, "\n{from} {line} {}   {} at most\n\n", last.from, percent(most));
    out
}

fn mail(side: &Side, style: Style) -> String {
    let mut out = style
        .bold(&format!("{:<24}{:>14}{:>14}{:>14}{:>14}", "Messages", "over TLS", "plaintext", "cannot tell", "all"));
    out.push('\n');
    for mail in side.mail.iter().filter(|mail| mail.messages > 0) {
        let name = if mail.verdict == "unknown" { "no verdict" } else { mail.verdict };
        let untold = mail.unknown + mail.not_offered;
        let _ = writeln!(
            out,
            "{name:<24}{:>14}{:>14}{:>14}{:>14}",
            number(mail.tls),
            number(mail.plaintext),
            number(untold),
            number(mail.messages)
        );
    }
    let mut lines = Vec::new();
    if let Some(wanted) = side.mail.first().filter(|mail| mail.tls > 0) {
        let versions: Vec<String> =
            wanted.versions.iter().map(|(name, count)| format!("{name} {}", number(*count))).collect();
        lines.push(format!("Wanted mail over TLS, by version: {}.", versions.join(", ")));
    }
    if side.certificates.iter().any(|class| class.class != "unknown") {
        let classes: Vec<String> =
            side.certificates.iter().map(|class| format!("{} {}", class.class, number(class.messages))).collect();
        lines.push(format!("By client certificate: {}.", classes.join(", ")));
    }
    let after_failure: u64 = side.mail.iter().map(|mail| mail.after_failure).sum();
    let failed: u64 = side.mail.iter().map(|mail| mail.failed).sum();
    if after_failure + failed > 0 {
        lines.push(format!(
            "Handshakes that failed: {} came back in plaintext, {} not at all.",
            number(after_failure),
            number(failed)
        ));
    }
    if let Some(line) = turned_away(side, "tls") {
        lines.push(line);
    }
    if let Some(withheld) = side.withheld {
        lines.push(format!(
            "Not offered STARTTLS, since handshakes had failed: {} messages of {} senders, which are among those that came \
             back in plaintext.",
            number(withheld.messages),
            number(withheld.senders as u64)
        ));
    }
    if let Some(line) = protected(side) {
        lines.push(line);
    }
    if let Some(rehearsal) = side.rehearsal {
        lines.push(format!(
            "Rehearsal: asked to come back with TLS, {} did, {} came back in plaintext, {} not at all.",
            number(rehearsal.with_tls),
            number(rehearsal.in_plaintext),
            number(rehearsal.not_again)
        ));
    }
    for line in lines {
        out.push_str(&wrap(&line, WIDTH, ""));
    }
    out.push('\n');
    out
}

/// What was not taken and came without what is asked for: as where it is required already.
pub(crate) fn turned_away(side: &Side, policy: &str) -> Option<String> {
    let part = &side.asked(policy).unknown;
    (part.lost.messages > 0).then(|| {
        format!(
            "Not taken, so of unknown worth: {} without TLS, from {}.",
            number(part.lost.messages),
            about_so_many(part.senders.lost, part.senders.exact, "sender")
        )
    })
}

/// How much of the plaintext was protected in another way.
pub(crate) fn protected(side: &Side) -> Option<String> {
    let looked: Vec<_> = side.end_to_end.iter().filter(|protection| protection.kind != "unknown").collect();
    let plaintext: u64 = looked.iter().map(|protection| protection.plaintext).sum();
    if plaintext == 0 {
        return None;
    }
    let kinds: Vec<_> =
        looked.iter().filter(|protection| protection.kind != "none" && protection.plaintext > 0).collect();
    let sum: u64 = kinds.iter().map(|protection| protection.plaintext).sum();
    let names: Vec<String> =
        kinds.iter().map(|protection| format!("{} {}", protection.kind, number(protection.plaintext))).collect();
    let names = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
    Some(format!(
        "Protected end to end, of {} wanted in plaintext on this hop: {}{names}.",
        number(plaintext),
        number(sum)
    ))
}

fn how(report: &Report, style: Style) -> String {
    let mut lines = Vec::new();
    if let Some(period) = &report.period {
        let files = match report.sources.as_slice() {
            [one] => format!("{} ({})", one.path, one.kind),
            many => format!("{} sources", number(many.len() as u64)),
        };
        lines.push(format!("{}, from {files}.", days(period)));
    }
    if let Some(part) = report.inbound.as_ref().map(|side| &side.asked(report.policy).wanted)
        && part.of.messages > 0
    {
        lines.push(format!(
            "{} and {}; {} of the mail came from senders seen only once.",
            about_so_many(part.senders.of, part.senders.exact, "sender"),
            about_so_many(part.hosts.of, part.hosts.exact, "host"),
            percent(ratio(part.seen_once, part.of.messages))
        ));
    }
    if let Some(words) = not_told(report) {
        lines.push(format!("Cannot be told: {words}."));
    }
    let aside = set_aside(report);
    if !aside.is_empty() {
        lines.push(format!("Not counted: {}.", aside.join("; ")));
    }
    lines.extend(report.not_counted.first_broken.iter().map(|place| format!("Not read: {place}")));
    lines.extend(report.notes.iter().map(|note| format!("Note: {note}.")));
    let text: String = lines.iter().map(|line| wrap(line, WIDTH, "  ")).collect();
    format!("{}\n", style.faint(text.trim_end()).trim_end()) + "\n"
}

/// Breaks at spaces; lines after the first are indented.
fn wrap(text: &str, width: usize, indent: &str) -> String {
    let mut out = String::new();
    let mut column = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > width {
            out.push('\n');
            out.push_str(indent);
            column = indent.len();
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out.push('\n');
    out
}

fn shorten(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.into();
    }
    text.chars().take(width - 1).chain(['…']).collect()
}

fn bar(value: u64, most: u64, width: u64) -> String {
    let eighths = (value.saturating_mul(width * 8) / most.max(1)).max(1);
    let mut bar = "█".repeat(usize::try_from(eighths / 8).unwrap_or_default());
    if let Some(last) = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"].get(usize::try_from(eighths % 8).unwrap_or_default())
    {
        bar.push_str(last);
    }
    bar
}

fn spark(share: f64, most: f64) -> char {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    if share <= 0.0 || most <= 0.0 {
        return '·';
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 7")]
    let step = (share / most * 7.0).round() as usize;
    BARS[step.min(7)]
}
