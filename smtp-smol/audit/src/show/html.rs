//! The report as one page that needs nothing else: no network, no script, no font. In dark and light, on a phone, and
//! on paper. Whatever others wrote is escaped.

use std::fmt::Write as _;

use super::clients;
use super::plots::{self, escape};
use super::report::Report;
use super::side::{Mail, Side};
use super::stacked;
use super::text;
use super::values::ratio;
use super::words::{
    Answer, CAVEATS, about, about_so_many, counted, days, not_told, number, percent, range, require_of, required,
    set_aside, share, without,
};

const STYLE: &str = include_str!("page.css");
/// Senders in the table.
const SENDERS: usize = 20;

pub(super) fn page(report: &Report) -> String {
    let mut out = String::with_capacity(64 << 10);
    let period = report.period.as_ref().map_or_else(String::new, days);
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>What requiring {} would have cost</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n",
        required(report.require)
    );
    let _ = writeln!(out, "<header><p class=\"over\">Mail transport audit</p><p class=\"meta\">{period}</p></header>");
    for side in [&report.inbound, &report.outbound].into_iter().flatten() {
        direction(&mut out, report, side);
    }
    if let Some(reports) = &report.tls_reports {
        out.push_str(&reports.section());
    } else if report.inbound.is_none() && report.outbound.is_none() {
        out.push_str("<h1>No mail was found.</h1>\n");
    }
    out.push_str("<section class=\"caveats\"><h2>What the number does not mean</h2>\n<dl>\n");
    for (title, words) in CAVEATS {
        let _ = writeln!(out, "<div><dt>{}</dt><dd>{}</dd></div>", escape(title), escape(words));
    }
    out.push_str("</dl></section>\n");
    how(&mut out, report);
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

fn direction(out: &mut String, report: &Report, side: &Side) {
    let answer = Answer::new(report, side);
    let inbound = side.direction == "inbound";
    let level = if inbound || report.inbound.is_none() { "h1" } else { "h2" };
    if !inbound {
        out.push_str("<section class=\"outbound\"><p class=\"over\">Mail that went out</p>\n");
    }
    let _ = writeln!(
        out,
        "<{level} class=\"answer\">{}<strong>{}</strong>{}</{level}>\n<p class=\"lead\">{}</p>",
        escape(&answer.before),
        escape(&answer.figure),
        escape(&answer.after),
        escape(&answer.meaning)
    );
    let policy = if side.what_if.iter().any(|what_if| what_if.policy == report.policy) { report.policy } else { "tls" };
    let part = &side.asked(policy).wanted;
    if inbound && part.of.messages > 0 {
        facts(out, side, policy);
    }
    let _ = writeln!(
        out,
        "<section><h2>If you had required …</h2>\n<p class=\"note\">Share of wanted mail lost, with \
        its 95 % interval; each step of the scale is ten times the one before.</p>"
    );
    out.push_str(&plots::what_ifs(side, policy));
    what_if_table(out, side);
    out.push_str("</section>\n");
    let trend = plots::trend(
        &side.trend.points,
        side.direction,
        &format!("Share of wanted mail {}, over time", without(report.require)),
    );
    if !trend.is_empty() {
        let each = match side.trend.days_each {
            1 => "day",
            7 => "week",
            _ => "four weeks",
        };
        let _ = writeln!(
            out,
            "<section><h2>Over time</h2>\n<p class=\"note\">Share of wanted mail {}, by {each}; below, how much mail there was.</p>\n{trend}</section>",
            without(report.require)
        );
    }
    let made_of = [stacked::versions(side), stacked::groups(side)];
    if made_of.iter().any(|plot| !plot.is_empty()) {
        out.push_str("<section class=\"made-of\"><h2>Versions and groups</h2>\n<p class=\"note\">Wanted mail, each column all of it.</p>\n");
        made_of.iter().for_each(|plot| out.push_str(plot));
        out.push_str("</section>\n");
    }
    senders(out, side, part.lost.messages, part.senders.lost);
    out.push_str(&clients::section(side));
    if inbound {
        breakdown(out, side);
    } else {
        out.push_str("</section>\n");
    }
}

/// Four figures that carry the sentence.
fn facts(out: &mut String, side: &Side, policy: &str) {
    let what_if = side.asked(policy);
    let part = &what_if.wanted;
    let recipients = format!("{} of {}", number(part.lost.recipients), number(part.of.recipients));
    let mut facts = vec![
        (percent(share(part)), "of wanted messages".to_owned()),
        (
            about(part.senders.lost, part.senders.exact),
            format!("of {}", about_so_many(part.senders.of, part.senders.exact, "sender")),
        ),
    ];
    if part.senders.lost > 0 {
        facts.push((about(part.silenced, part.senders.exact), "of them never sent with it".to_owned()));
    }
    if part.of.recipients > 0 {
        facts.push((percent(ratio(part.lost.recipients, part.of.recipients)), format!("of recipients: {recipients}")));
    }
    facts.push((
        percent(ratio(part.seen_once, part.of.messages)),
        "of the mail is from senders seen only once".to_owned(),
    ));
    out.push_str("<ul class=\"facts\">\n");
    for (figure, words) in facts {
        let _ = writeln!(out, "<li><b>{}</b><span>{}</span></li>", escape(&figure), escape(&words));
    }
    out.push_str("</ul>\n");
}

fn what_if_table(out: &mut String, side: &Side) {
    let unwanted = side.what_if.iter().any(|what_if| what_if.unwanted.of.messages > 0);
    out.push_str(
        "<div class=\"scroll\"><table><thead><tr><th scope=\"col\">Required</th><th scope=\"col\">Lost</th>\
         <th scope=\"col\" class=\"wide\">Of</th><th scope=\"col\" class=\"wide\">95 % interval</th>\
         ",
    );
    let _ = write!(out, "<th scope=\"col\">{}</th>", if side.direction == "inbound" { "Senders" } else { "Domains" });
    if unwanted {
        out.push_str("<th scope=\"col\">Unwanted lost</th>");
    }
    out.push_str("</tr></thead><tbody>\n");
    for what_if in &side.what_if {
        let part = &what_if.wanted;
        let _ = write!(out, "<tr><th scope=\"row\">{}</th>", escape(required(require_of(what_if.policy))));
        if !part.is_told(what_if.policy) {
            let _ = write!(out, "<td>cannot be told</td><td class=\"wide\"></td><td class=\"wide\"></td><td></td>");
        } else {
            let interval = part.interval.map_or_else(String::new, |[low, high]| range(low, high, " – "));
            let _ = write!(
                out,
                "<td>{}</td><td class=\"wide\">{}</td><td class=\"wide\">{interval}</td><td>{}</td>",
                number(part.lost.messages),
                number(part.of.messages),
                about(part.senders.lost, part.senders.exact)
            );
        }
        if unwanted {
            let part = &what_if.unwanted;
            let _ = write!(
                out,
                "<td>{}</td>",
                if part.is_told(what_if.policy) { percent(share(part)) } else { String::new() }
            );
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
}

fn senders(out: &mut String, side: &Side, lost: u64, senders: u64) {
    let Some(most) = side.heaviest.first().map(|sender| sender.lost.max(1)) else { return };
    out.push_str("<section><h2>Who that is</h2>\n");
    let curve = plots::concentration(side, lost, senders);
    if !curve.is_empty() {
        let half = plots::half(side, lost);
        let one = if side.direction == "inbound" { "sender" } else { "domain" };
        let (verb, them) = if half == 1 { ("makes", one.to_owned()) } else { ("make", format!("{one}s")) };
        let _ = writeln!(
            out,
            "<p class=\"note\">{} {them} of {} {verb} up half of it. The dotted line is what it would look like if all \
             lost the same.</p>\n{curve}",
            number(half),
            number(senders)
        );
    }
    out.push_str(
        "<div class=\"scroll\"><table class=\"senders\"><thead><tr><th scope=\"col\">Domain</th>\
         <th scope=\"col\">Lost</th><th scope=\"col\">Of</th><th scope=\"col\"></th></tr></thead><tbody>\n",
    );
    for sender in side.heaviest.iter().take(SENDERS) {
        let name = if sender.sender.is_empty() { "(unknown)" } else { &sender.sender };
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\"><bdi>{}</bdi></th><td>{}</td><td>{}</td>\
             <td class=\"bar\"><span style=\"width:{:.1}%\"></span></td></tr>",
            escape(name),
            number(sender.lost),
            number(sender.of),
            ratio(sender.lost, most) * 100.0
        );
    }
    out.push_str("</tbody></table></div>\n");
    let rest = side.heaviest.len().saturating_sub(SENDERS);
    if rest > 0 {
        let sum: u64 = side.heaviest.iter().skip(SENDERS).map(|sender| sender.lost).sum();
        let _ =
            writeln!(out, "<p class=\"note\">And {} more with {}.</p>", number(rest as u64), counted(sum, "message"));
    }
    out.push_str("</section>\n");
}

/// All mail by verdict and by what became of TLS.
fn breakdown(out: &mut String, side: &Side) {
    out.push_str("<section><h2>All mail</h2>\n");
    out.push_str(
        "<p class=\"legend\" aria-hidden=\"true\"><span class=\"tls\">over TLS</span><span class=\"plain\">plaintext\
        </span><span class=\"untold\">cannot be told</span></p>\n",
    );
    for mail in side.mail.iter().filter(|mail| mail.messages > 0) {
        stack(out, mail);
    }
    let mut lines = Vec::new();
    if let Some(wanted) = side.mail.first().filter(|mail| mail.tls > 0) {
        let versions: Vec<String> = wanted
            .versions
            .iter()
            .map(|(name, count)| format!("{name} {}", percent(ratio(*count, wanted.tls))))
            .collect();
        lines.push(("Wanted mail over TLS, by version", versions.join(" · ")));
    }
    let shown: u64 = side.certificates.iter().map(|class| class.messages).sum();
    if side.certificates.iter().any(|class| class.class != "unknown") {
        let classes: Vec<String> = side
            .certificates
            .iter()
            .map(|class| format!("{} {}", class.class, percent(ratio(class.messages, shown))))
            .collect();
        lines.push(("The client's certificate", classes.join(" · ")));
    }
    let after: u64 = side.mail.iter().map(|mail| mail.after_failure).sum();
    let failed: u64 = side.mail.iter().map(|mail| mail.failed).sum();
    if after + failed > 0 {
        let words = format!("{} came back in plaintext, {} not at all", number(after), number(failed));
        lines.push(("Handshakes that failed", words));
    }
    if let Some(line) = text::turned_away(side, "tls") {
        lines.push(("Turned away", line));
    }
    if let Some(withheld) = side.withheld {
        let (messages, senders) = (number(withheld.messages), number(withheld.senders as u64));
        lines.push((
            "Not offered STARTTLS, since handshakes had failed",
            format!("{messages} messages of {senders} senders"),
        ));
    }
    if let Some(line) = text::protected(side) {
        lines.push(("Protected in another way", line));
    }
    if let Some(rehearsal) = side.rehearsal {
        let words = format!(
            "{} came back with TLS, {} in plaintext, {} not at all",
            number(rehearsal.with_tls),
            number(rehearsal.in_plaintext),
            number(rehearsal.not_again)
        );
        lines.push(("Asked to come back with TLS", words));
    }
    if !lines.is_empty() {
        out.push_str("<dl class=\"lines\">\n");
        for (title, words) in lines {
            let _ = writeln!(out, "<div><dt>{}</dt><dd>{}</dd></div>", escape(title), escape(&words));
        }
        out.push_str("</dl>\n");
    }
    out.push_str("</section>\n");
}

fn stack(out: &mut String, mail: &Mail) {
    let untold = mail.unknown + mail.not_offered;
    let name = if mail.verdict == "unknown" { "no verdict" } else { mail.verdict };
    let part = |count: u64| ratio(count, mail.messages) * 100.0;
    let words = format!(
        "{} over TLS, {} in plaintext{}",
        percent(ratio(mail.tls, mail.messages)),
        percent(ratio(mail.plaintext, mail.messages)),
        if untold > 0 { format!(", {} cannot be told", percent(ratio(untold, mail.messages))) } else { String::new() }
    );
    let _ = write!(
        out,
        "<div class=\"stack\"><p><b>{name}</b> {} <span class=\"soft\">{}</span></p>\
         <div class=\"track\" aria-hidden=\"true\">",
        counted(mail.messages, "message"),
        escape(&words)
    );
    for (class, count) in [("tls", mail.tls), ("plain", mail.plaintext), ("untold", untold)] {
        if count > 0 {
            let _ = write!(out, "<span class=\"{class}\" style=\"width:{:.3}%\"></span>", part(count));
        }
    }
    out.push_str("</div></div>\n");
}

fn how(out: &mut String, report: &Report) {
    out.push_str("<section class=\"how\"><h2>How it was counted</h2>\n<ul>\n");
    let mut line = |words: &str| {
        let _ = writeln!(out, "<li>{}</li>", escape(words));
    };
    line(&format!("smtp-smol {}, {}", report.version, report.made));
    for source in report.sources.iter().take(12) {
        line(&format!("{}: {}", source.kind, source.path));
    }
    if report.sources.len() > 12 {
        line(&format!("and {} more sources", report.sources.len() - 12));
    }
    if let Some(words) = not_told(report) {
        line(&format!("cannot be told: {words}"));
    }
    for words in set_aside(report) {
        line(&format!("not counted: {words}"));
    }
    for place in &report.not_counted.first_broken {
        line(&format!("not read: {place}"));
    }
    for note in &report.notes {
        line(note);
    }
    out.push_str("</ul></section>\n");
}
