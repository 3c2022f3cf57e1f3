//! What a blast has measured: counts, and how long things took.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};
use smtp_proto::client::Awaited;

/// Every message is one of `accepted`, `refused` and `failed`.
#[derive(Debug)]
pub(crate) struct Report {
    begun: Instant,
    pub(crate) accepted: u64,
    /// By a reply.
    pub(crate) refused: u64,
    /// Recipients of accepted messages who did not get them.
    pub(crate) recipients_refused: u64,
    /// The connection was not made, was lost, or broke the protocol.
    pub(crate) failed: u64,
    /// Of the text of accepted messages.
    pub(crate) octets: u64,
    pub(crate) connections: u64,
    pub(crate) full: u64,
    pub(crate) resumed: u64,
    errors: BTreeMap<String, u64>,
    times: BTreeMap<&'static str, Histogram<u64>>,
}

/// The names of what is timed, in the order of a session.
const NAMES: [&str; 12] =
    ["connect", "greeting", "EHLO", "STARTTLS", "handshake", "MAIL", "RCPT", "DATA", "text", "RSET", "QUIT", "message"];

impl Report {
    pub(crate) fn new() -> Self {
        Self {
            begun: Instant::now(),
            accepted: 0,
            refused: 0,
            recipients_refused: 0,
            failed: 0,
            octets: 0,
            connections: 0,
            full: 0,
            resumed: 0,
            errors: BTreeMap::new(),
            times: BTreeMap::new(),
        }
    }

    /// Messages whose fate is known.
    pub(crate) fn done(&self) -> u64 {
        self.accepted + self.refused + self.failed
    }

    /// How long something took, to the microsecond and three digits.
    pub(crate) fn took(&mut self, name: &'static str, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
        if !self.times.contains_key(name)
            && let Ok(histogram) = Histogram::new(3)
        {
            self.times.insert(name, histogram);
        }
        if let Some(histogram) = self.times.get_mut(name) {
            // It grows as needed.
            let _ = histogram.record(micros);
        }
    }

    pub(crate) fn error(&mut self, what: impl Into<String>) {
        *self.errors.entry(what.into()).or_default() += 1;
    }

    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    pub(crate) fn json(&self) -> Value {
        let seconds = self.seconds();
        let rate = |n: u64| n as f64 / seconds;
        let mut times = Map::new();
        for (name, histogram) in self.in_order() {
            let at = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1e3;
            let entry = json!({
                "count": histogram.len(), "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "p999": at(0.999),
                "max": histogram.max() as f64 / 1e3,
            });
            times.insert(name.to_owned(), entry);
        }
        json!({
            "seconds": seconds, "accepted": self.accepted, "refused": self.refused, "failed": self.failed,
            "recipients_refused": self.recipients_refused,
            "octets": self.octets, "connections": self.connections,
            "messages_per_second": rate(self.accepted), "octets_per_second": rate(self.octets),
            "handshakes": { "full": self.full, "resumed": self.resumed },
            "handshakes_per_second": { "full": rate(self.full), "resumed": rate(self.resumed) },
            "milliseconds": times, "errors": self.errors,
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    pub(crate) fn text(&self) -> String {
        let seconds = self.seconds();
        let rate = |n: u64| n as f64 / seconds;
        let mut out = format!(
            "{} accepted, {} refused, {} failed in {seconds:.2} s on {} connections\n\
             {:.0} messages/s, {:.2} MB/s, TLS handshakes/s: {:.0} full, {:.0} resumed\n",
            self.accepted,
            self.refused,
            self.failed,
            self.connections,
            rate(self.accepted),
            rate(self.octets) / 1e6,
            rate(self.full),
            rate(self.resumed),
        );
        // Writing to a string cannot fail.
        if self.recipients_refused > 0 {
            let _ = writeln!(out, "{} recipients of accepted messages refused", self.recipients_refused);
        }
        if !self.times.is_empty() {
            let _ = writeln!(out, "{:10} {:>9} {:>9} {:>9} {:>9} {:>9}", "ms", "p50", "p90", "p99", "p99.9", "max");
        }
        for (name, histogram) in self.in_order() {
            let at = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1e3;
            let max = histogram.max() as f64 / 1e3;
            let _ =
                writeln!(out, "{name:10} {:9.2} {:9.2} {:9.2} {:9.2} {max:9.2}", at(0.5), at(0.9), at(0.99), at(0.999));
        }
        for (what, count) in &self.errors {
            let _ = writeln!(out, "{count:8} × {what}");
        }
        out
    }

    fn seconds(&self) -> f64 {
        self.begun.elapsed().as_secs_f64().max(1e-6)
    }

    fn in_order(&self) -> impl Iterator<Item = (&'static str, &Histogram<u64>)> {
        NAMES.iter().filter_map(|name| self.times.get(name).map(|histogram| (*name, histogram)))
    }
}

/// What a reply is called here.
pub(crate) const fn name(of: Awaited) -> &'static str {
    match of {
        Awaited::Greeting => "greeting",
        Awaited::Ehlo | Awaited::Helo => "EHLO",
        Awaited::StartTls => "STARTTLS",
        Awaited::Mail => "MAIL",
        Awaited::Rcpt => "RCPT",
        Awaited::Data => "DATA",
        Awaited::Text | Awaited::Chunk => "text",
        Awaited::Rset => "RSET",
        Awaited::Quit => "QUIT",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Report};

    #[test]
    fn percentiles_are_those_of_what_was_measured() {
        let mut report = Report::new();
        (1..=1000).for_each(|n| report.took("message", Duration::from_millis(n)));
        report.error("RCPT 450");
        report.error("RCPT 450");
        report.accepted = 1000;
        let json = report.json();
        let near = |name: &str, wanted: f64| {
            let value = json["milliseconds"]["message"][name].as_f64().expect("a number");
            assert!((value - wanted).abs() <= wanted / 500.0, "{name} is {value}, not {wanted}");
        };
        [("p50", 500.0), ("p99", 990.0), ("p999", 999.0), ("max", 1000.0)]
            .iter()
            .for_each(|(name, ms)| near(name, *ms));
        assert_eq!(json["errors"]["RCPT 450"], 2);
        assert!(report.text().contains("       2 × RCPT 450"));
    }
}
