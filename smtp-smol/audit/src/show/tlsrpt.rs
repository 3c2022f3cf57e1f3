//! What TLS reports tell, shown: had the policy been enforced, what would not have come.

use std::fmt::Write as _;

use super::plots::{self, escape};
use super::sessions::TlsReports;
use super::values::{Point, ratio};
use super::words::{counted, number, percent, range};
use crate::count::sessions::Policy;

impl TlsReports {
    /// The answer: what comes before the figure, the figure, what comes after, and what it means.
    fn answer(&self) -> [String; 4] {
        let Some(view) = self.asked() else {
            return ["The reports tell of ".into(), "no session".into(), ".".into(), String::new()];
        };
        let days = match self.period.as_ref().map_or(1, |period| period.days) {
            1 => " of one day".into(),
            days => format!(" in {} days", number(days.unsigned_abs())),
        };
        let before = format!(
            "Of {}{days} that {} reported {}, ",
            counted(view.all(), "session"),
            counted(view.organisations[1], "organisation"),
            under(view.kind)
        );
        let meaning = match (view.kind, view.failed) {
            (Policy::StsTesting, 0) => "With mode enforce nothing of it would have been lost.",
            (Policy::StsTesting, _) => {
                "Had the mode been enforce, mail would not have come in these sessions; a sender may have come again in \
                 another."
            }
            (Policy::StsEnforce | Policy::Tlsa, _) => {
                "Under such a policy senders do not deliver in a session that failed, so that this is what it costs today."
            }
            (Policy::None, _) => {
                "Without a policy nothing was checked but that there was TLS: what MTA-STS or DANE would have refused these \
                 sessions do not tell."
            }
            _ => "The reports do not say in which mode the policy was.",
        };
        if view.failed == 0 {
            let bound = match view.interval {
                Some([_, high]) if high > 0.95 => "; so few organisations are too little to say more".into(),
                Some([_, high]) => format!("; with 95 % confidence at most {} do", percent(high)),
                None => String::new(),
            };
            return [before, "none".into(), format!(" failed{bound}."), meaning.into()];
        }
        let interval = view
            .interval
            .map_or_else(String::new, |[low, high]| format!(", 95 % interval {}", range(low, high, " to ")));
        [
            before,
            format!("{} ({}{interval})", number(view.failed), percent(view.share)),
            format!(" failed, of {}.", counted(view.organisations[0], "organisation")),
            format!("{meaning}{}", wide(view.interval)),
        ]
    }

    /// How it was counted.
    fn how(&self) -> String {
        let mut words = counted(self.reports, "TLS report");
        if let Some(period) = &self.period {
            let _ = write!(words, " of {} to {}", period.from, period.to);
        }
        if self.copies > 0 {
            let _ = write!(words, "; {} not counted", counted(self.copies, "further copy").replace("copys", "copies"));
        }
        if self.signed + self.unsigned > 0 {
            let _ = write!(
                words,
                "; of those by mail {} with a DKIM signature, which is not checked, and {} without",
                number(self.signed),
                number(self.unsigned)
            );
        }
        words
    }

    /// For the terminal: paragraphs and rows, of which the caller wraps the first.
    pub(crate) fn screen(&self, wrap: impl Fn(&str) -> String, bold: impl Fn(&str) -> String) -> String {
        let [before, figure, after, meaning] = self.answer();
        let mut out = wrap(&format!("{before}{figure}{after}"));
        if !meaning.is_empty() {
            out.push_str(&wrap(&meaning));
        }
        out.push('\n');
        let row = |cells: [&str; 5]| {
            let [policy, failed, share, interval, organisations] = cells;
            format!("{policy:<22}{failed:>21}{share:>9}{interval:>18}{organisations:>10}").trim_end().to_owned()
        };
        out.push_str(&bold(&row(["Policy", "sessions failed", "share", "95 % interval", "of orgs"])));
        out.push('\n');
        for view in &self.policies {
            let interval = view.interval.map_or_else(String::new, |[low, high]| range(low, high, " – "));
            let [failing, all] = view.organisations;
            out.push_str(&row([
                title(view.kind),
                &format!("{} of {}", number(view.failed), number(view.all())),
                &percent(view.share),
                &interval,
                &format!("{} of {}", number(failing), number(all)),
            ]));
            out.push('\n');
        }
        out.push('\n');
        let results: Vec<_> =
            self.policies.iter().flat_map(|view| view.results.iter().map(move |r| (view, r))).collect();
        if !results.is_empty() {
            out.push_str(&bold(&format!("{:<58}{:>12}", "What went wrong", "sessions")));
            out.push('\n');
            for (view, outcome) in results.into_iter().take(8) {
                let what = format!("{} ({})", shown(&outcome.result), title(view.kind));
                let what: String = what.chars().take(57).collect();
                let _ = writeln!(out, "{what:<58}{:>12}", number(outcome.sessions));
            }
            out.push('\n');
        }
        if !self.heaviest.is_empty() {
            out.push_str(&bold(&format!("{:<42}{:>20}", "Organisations", "failed of all")));
            out.push('\n');
            for organisation in self.heaviest.iter().take(8) {
                let name: String = shown(&organisation.organisation).chars().take(40).collect();
                let counts = format!("{} of {}", number(organisation.failed), number(organisation.of));
                let _ = writeln!(out, "{name:<42}{counts:>20}");
            }
            out.push('\n');
        }
        out.push_str(&wrap(&format!("{}.", self.how())));
        for (title, words) in CAVEATS {
            out.push_str(&wrap(&format!("{title} {words}")));
        }
        out.push('\n');
        out
    }

    /// For the page: a section.
    pub(crate) fn section(&self) -> String {
        let [before, figure, after, meaning] = self.answer();
        let mut out = format!(
            "<section class=\"tlsrpt\"><p class=\"over\">What others reported</p>\n<h2 class=\"answer\">{}<strong>{}</strong>{}</h2>\n\
             <p class=\"lead\">{}</p>\n",
            escape(&before),
            escape(&figure),
            escape(&after),
            escape(&meaning)
        );
        out.push_str(
            "<div class=\"scroll\"><table><thead><tr><th scope=\"col\">Policy</th><th scope=\"col\">Failed</th>\
             <th scope=\"col\">Of</th><th scope=\"col\" class=\"wide\">95 % interval</th>\
             <th scope=\"col\" class=\"wide\">Organisations</th></tr></thead><tbody>\n",
        );
        for view in &self.policies {
            let interval = view.interval.map_or_else(String::new, |[low, high]| range(low, high, " – "));
            let [failing, all] = view.organisations;
            let _ = writeln!(
                out,
                "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td class=\"wide\">{}</td>\
                 <td class=\"wide\">{} of {}</td></tr>",
                escape(title(view.kind)),
                number(view.failed),
                number(view.all()),
                escape(&interval),
                number(failing),
                number(all)
            );
        }
        out.push_str("</tbody></table></div>\n");
        if self.policies.iter().any(|view| !view.results.is_empty()) {
            out.push_str(
                "<h2>What went wrong</h2>\n<div class=\"scroll\"><table><thead><tr><th scope=\"col\">Result</th>\
                 <th scope=\"col\">Policy</th><th scope=\"col\">Sessions</th></tr></thead><tbody>\n",
            );
            for view in &self.policies {
                for outcome in view.results.iter().take(20) {
                    let _ = writeln!(
                        out,
                        "<tr><th scope=\"row\"><bdi>{}</bdi></th><td>{}</td><td>{}</td></tr>",
                        escape(shown(&outcome.result)),
                        escape(title(view.kind)),
                        number(outcome.sessions)
                    );
                }
            }
            out.push_str("</tbody></table></div>\n");
        }
        if let Some(most) = self.heaviest.first().map(|heavy| heavy.failed.max(1)) {
            out.push_str(
                "<h2>Who that is</h2>\n<div class=\"scroll\"><table class=\"senders\"><thead><tr>\
                 <th scope=\"col\">Organisation</th><th scope=\"col\">Failed</th><th scope=\"col\">Of</th>\
                 <th scope=\"col\"></th></tr></thead><tbody>\n",
            );
            for heavy in self.heaviest.iter().take(20) {
                let _ = writeln!(
                    out,
                    "<tr><th scope=\"row\"><bdi>{}</bdi></th><td>{}</td><td>{}</td>\
                     <td class=\"bar\"><span style=\"width:{:.1}%\"></span></td></tr>",
                    escape(shown(&heavy.organisation)),
                    number(heavy.failed),
                    number(heavy.of),
                    ratio(heavy.failed, most) * 100.0
                );
            }
            out.push_str("</tbody></table></div>\n");
        }
        if let Some(asked) = self.asked() {
            let points: Vec<Point> = self
                .trend
                .iter()
                .filter(|point| point.policy == asked.policy && point.point.of > 0)
                .map(|point| point.point.clone())
                .collect();
            let plot = plots::trend(&points, "r", &format!("Share of sessions that failed, {}", title(asked.kind)));
            if !plot.is_empty() {
                let _ = writeln!(
                    out,
                    "<h2>Over time</h2>\n<p class=\"note\">Share of sessions that failed, {}; below, how many there were.</p>\n{plot}",
                    escape(title(asked.kind))
                );
            }
        }
        out.push_str("<dl class=\"lines\">\n");
        for (title, words) in CAVEATS {
            let _ = writeln!(out, "<div><dt>{}</dt><dd>{}</dd></div>", escape(title), escape(words));
        }
        let _ = writeln!(out, "</dl>\n<p class=\"note\">{}.</p>\n</section>", escape(&self.how()));
        out
    }
}

/// What such reports cannot know.
const CAVEATS: [(&str, &str); 3] = [
    ("Sessions, not messages.", "A session may bring many messages or none, and a sender may try again in another."),
    (
        "Only those who look and report.",
        "Senders that check no policy send no report, and are not held up by one either (RFC 8460). Few large ones send most.",
    ),
    ("Told by others.", "A report says what its sender saw. Who sent it is not proved here."),
];

const fn title(policy: Policy) -> &'static str {
    match policy {
        Policy::StsTesting => "MTA-STS, testing",
        Policy::StsEnforce => "MTA-STS, enforce",
        Policy::Sts => "MTA-STS, mode unknown",
        Policy::Tlsa => "DANE",
        Policy::None => "no policy found",
        Policy::Other => "another policy",
    }
}

const fn under(policy: Policy) -> &'static str {
    match policy {
        Policy::StsTesting => "under MTA-STS in mode testing",
        Policy::StsEnforce => "under MTA-STS in mode enforce",
        Policy::Sts => "under MTA-STS",
        Policy::Tlsa => "under DANE",
        Policy::None => "without a policy",
        Policy::Other => "under a policy of another kind",
    }
}

fn shown(name: &str) -> &str {
    if name.is_empty() { "(others)" } else { name }
}

/// Why an interval goes over two powers of ten, and what would narrow it.
fn wide(interval: Option<[f64; 2]>) -> &'static str {
    match interval {
        Some([low, high]) if low * 100.0 < high => {
            " The interval is that wide because few organisations report most of the sessions; reports of more of them, or of more \
             days, would narrow it."
        }
        _ => "",
    }
}
