//! What is told: a first line as monitoring wants it, then everything that was found.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

use super::finding::{Finding, Level};

#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) server: String,
    /// The worst of all; `ok` where there is nothing worse than a note.
    pub(super) status: &'static str,
    pub(super) connections: u32,
    /// Days that the certificate has left, the fewest of all addresses.
    pub(super) days: Option<i64>,
    #[serde(skip)]
    pub(super) least_days: u32,
    pub(super) findings: Vec<Finding>,
}

impl Report {
    fn worst(&self) -> Level {
        self.findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Unknown)
    }

    /// That of Nagios's plugins.
    pub(super) fn exit_code(&self) -> u8 {
        self.worst().state().1
    }

    /// `SMTP WARNING - mx.example.net:25: … | days=9;14:;0:`
    fn first_line(&self) -> String {
        let worst = self.worst();
        let (state, code) = worst.state();
        let mut line = format!("SMTP {state} - {}: ", self.server);
        if code == 0 {
            let found = |id: &str| self.findings.iter().find(|finding| finding.id == id);
            let words = found("tls").map_or("no TLS", |tls| tls.words.as_str());
            line.push_str(words);
            if let Some(days) = self.days {
                let _ = write!(line, ", certificate {days} days");
            }
        } else {
            let mut bad = self.findings.iter().filter(|finding| finding.level == worst);
            if let Some(first) = bad.next() {
                let _ = write!(line, "{}", first.words);
            }
            let more = self.findings.iter().filter(|finding| finding.level.state().1 != 0).count() - 1;
            if more > 0 {
                let _ = write!(line, " (and {more} more)");
            }
        }
        // What stands behind this mark is numbers.
        let mut line = line.replace('|', "/");
        if let Some(days) = self.days {
            let _ = write!(line, " | days={days};{}:;0:", self.least_days);
        }
        line
    }

    fn text(&self, colour: bool) -> String {
        let mut out = self.first_line() + "\n";
        let mut address = None;
        for finding in &self.findings {
            if address != finding.address.as_ref() {
                address = finding.address.as_ref();
                let _ = writeln!(out, "{}", address.map_or("", String::as_str));
            }
            let number = match finding.level {
                Level::Ok => "32",
                Level::Note => "0",
                Level::Unknown | Level::Warning => "33",
                Level::Critical => "31",
            };
            let word = format!("{:8}", finding.level.word());
            let word = if colour { format!("\x1b[{number}m{word}\x1b[0m") } else { word };
            let _ = writeln!(out, "  {word} {}: {}", finding.id, finding.words);
            if let Some(mend) = finding.mend {
                let _ = writeln!(out, "           -> {mend}");
            }
        }
        out
    }

    pub(super) fn print(&self, json: bool) {
        let mut out = io::stdout().lock();
        let text = if json {
            serde_json::to_string(self).unwrap_or_default() + "\n"
        } else {
            self.text(out.is_terminal() && std::env::var_os("NO_COLOR").is_none())
        };
        // Whoever closes the pipe has read enough.
        let _ = out.write_all(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(findings: Vec<Finding>) -> Report {
        Report { server: "mx:25".into(), status: "", connections: 1, days: Some(9), least_days: 14, findings }
    }

    #[test]
    fn the_worst_counts_and_stands_first() {
        let ok = || Finding::ok("tls", "TLS1.3, X|Y");
        for (worse, code, line) in [
            (vec![], 0, "SMTP OK - mx:25: TLS1.3, X/Y, certificate 9 days | days=9;14:;0:"),
            (vec![Finding::note("a", "b")], 0, "SMTP OK - mx:25: TLS1.3, X/Y, certificate 9 days | days=9;14:;0:"),
            (vec![Finding::unknown("a", "b")], 3, "SMTP UNKNOWN - mx:25: b | days=9;14:;0:"),
            (
                vec![Finding::unknown("a", "b"), Finding::warning("c", "d").mend("e")],
                1,
                "SMTP WARNING - mx:25: d (and 1 more) | days=9;14:;0:",
            ),
            (
                vec![Finding::critical("a", "b"), Finding::warning("c", "d"), Finding::critical("e", "f")],
                2,
                "SMTP CRITICAL - mx:25: b (and 2 more) | days=9;14:;0:",
            ),
        ] {
            let report = report(std::iter::once(ok()).chain(worse).collect());
            assert_eq!((report.exit_code(), report.first_line().as_str()), (code, line));
        }
        assert_eq!(report(Vec::new()).exit_code(), 3);
    }

    #[test]
    fn what_was_found_is_told_by_address() {
        let at = |address: &str, finding: Finding| Finding { address: Some(address.into()), ..finding };
        let text = report(vec![
            Finding::ok("addresses", "two"),
            at("192.0.2.1:25", Finding::ok("tls", "yes")),
            at("192.0.2.1:25", Finding::warning("tls-old", "1.0").mend("switch it off")),
            at("192.0.2.2:25", Finding::ok("tls", "yes")),
        ])
        .text(false);
        let lines: Vec<_> = text.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "  ok       addresses: two",
                "192.0.2.1:25",
                "  ok       tls: yes",
                "  warning  tls-old: 1.0",
                "           -> switch it off",
                "192.0.2.2:25",
                "  ok       tls: yes",
            ]
        );
        assert!(report(vec![Finding::ok("tls", "yes")]).text(true).contains("\x1b[32mok      \x1b[0m tls"));
    }
}
