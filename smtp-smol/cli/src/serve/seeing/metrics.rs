//! The numbers. Labels have few values, whatever peers do.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use smtp_audit::ledger::{Ending, Tls};
use smtp_proto::Leniency;
use smtp_proto::server::FaultKind;
use smtp_proto::tls::{Hop, TlsVersion};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByKind {
    kind: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByName {
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByLimit {
    limit: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRole {
    role: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByTls {
    outcome: &'static str,
    version: &'static str,
    cipher: String,
    group: String,
}

/// What is counted. All names begin with `smtp_smol_`.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    sessions: Family<ByRole, Counter>,
    open: Gauge,
    messages: Family<ByOutcome, Counter>,
    /// The one among them that is wanted for nearly every message.
    accepted: Counter,
    octets: Counter,
    tls: Family<ByTls, Counter>,
    faults: Family<ByKind, Counter>,
    leniencies: Family<ByName, Counter>,
    limited: Family<ByLimit, Counter>,
    failed_logins: Counter,
    handshake: Histogram,
    transaction: Histogram,
    next_hop: Histogram,
    expiry: Family<ByName, Gauge<f64, AtomicU64>>,
}

/// Where time is spent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    Handshake,
    Transaction,
    /// Until the next hop has answered.
    NextHop,
}

/// Ciphers and groups are few where this server ends TLS; a proxy may tell anything.
const LONGEST_NAME: usize = 48;

impl Metrics {
    pub(crate) fn new() -> Self {
        // From half a millisecond to half a minute.
        let time = || Histogram::new(exponential_buckets(0.0005, 2.0, 17));
        let mut metrics = Self {
            registry: Registry::with_prefix("smtp_smol"),
            sessions: Family::default(),
            open: Gauge::default(),
            messages: Family::default(),
            accepted: Counter::default(),
            octets: Counter::default(),
            tls: Family::default(),
            faults: Family::default(),
            leniencies: Family::default(),
            limited: Family::default(),
            failed_logins: Counter::default(),
            handshake: time(),
            transaction: time(),
            next_hop: time(),
            expiry: Family::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("sessions", "Sessions begun, by the role of their listener", metrics.sessions.clone());
        registry.register("sessions_open", "Sessions that are open", metrics.open.clone());
        registry.register("messages", "Transactions, by how they ended", metrics.messages.clone());
        registry.register("message_octets", "Octets of text that were taken", metrics.octets.clone());
        registry.register("tls", "Sessions, by what became of TLS", metrics.tls.clone());
        registry.register("faults", "Rules that peers broke, by kind", metrics.faults.clone());
        registry.register("leniencies", "Departures that were let pass, by name", metrics.leniencies.clone());
        registry.register("limited", "Refusals for too much in too short a time, by limit", metrics.limited.clone());
        registry.register("failed_logins", "Failed logins", metrics.failed_logins.clone());
        registry.register("handshake_seconds", "Time of TLS handshakes", metrics.handshake.clone());
        registry.register(
            "transaction_seconds",
            "Time from MAIL to the end of a transaction",
            metrics.transaction.clone(),
        );
        registry.register(
            "next_hop_seconds",
            "Time until the next hop has answered a command, or a whole text",
            metrics.next_hop.clone(),
        );
        registry.register(
            "certificate_expiry_seconds",
            "When a certificate expires, in seconds since 1970, by its file",
            metrics.expiry.clone(),
        );
        // What has not happened yet is 0, and not unknown.
        for ending in [Ending::Accepted, Ending::Refused, Ending::Deferred, Ending::Abandoned] {
            let _ = metrics.messages.get_or_create(&ByOutcome { outcome: ending.as_str() });
        }
        metrics.accepted = metrics.messages.get_or_create(&ByOutcome { outcome: Ending::Accepted.as_str() }).clone();
        let _ = metrics.faults.get_or_create(&ByKind { kind: name(FaultKind::OutOfOrder) });
        for leniency in Leniency::ALL {
            let _ = metrics.leniencies.get_or_create(&ByName { name: leniency.as_str().into() });
        }
        for limit in ["connections", "messages", "failed-logins"] {
            let _ = metrics.limited.get_or_create(&ByLimit { limit });
        }
        metrics
    }

    pub(crate) fn opened(&self, role: &'static str) {
        self.sessions.get_or_create(&ByRole { role }).inc();
    }

    pub(crate) fn open(&self, more: i64) {
        self.open.inc_by(more);
    }

    pub(crate) fn ended(&self, ending: Ending, octets: u64) {
        if ending == Ending::Accepted {
            self.accepted.inc();
            self.octets.inc_by(octets);
        } else {
            self.messages.get_or_create(&ByOutcome { outcome: ending.as_str() }).inc();
        }
    }

    /// What became of TLS in a session.
    pub(crate) fn tls(&self, tls: &Tls<'_>) {
        let outcome = match tls.hop {
            Hop::Used { .. } if tls.by_proxy => "used-before",
            Hop::Used { .. } => "used",
            Hop::NotTried => "not-tried",
            Hop::Failed => "failed",
            Hop::FailedThenPlaintext => "failed-then-plaintext",
            Hop::NotOffered => "not-offered",
            _ => "unknown",
        };
        let bounded = |name: Option<&str>| match name {
            Some(name) if !tls.by_proxy && name.len() <= LONGEST_NAME => name.to_owned(),
            Some(_) => "other".to_owned(),
            None => String::new(),
        };
        let labels = ByTls {
            outcome,
            version: tls.version().map_or("", TlsVersion::as_str),
            cipher: bounded(tls.cipher.as_deref()),
            group: bounded(tls.group.as_deref()),
        };
        self.tls.get_or_create(&labels).inc();
    }

    pub(crate) fn fault(&self, kind: FaultKind) {
        if let FaultKind::Lenient(leniency) = kind {
            self.leniencies.get_or_create(&ByName { name: leniency.as_str().into() }).inc();
        } else {
            self.faults.get_or_create(&ByKind { kind: name(kind) }).inc();
        }
    }

    pub(crate) fn limited(&self, limit: &'static str) {
        self.limited.get_or_create(&ByLimit { limit }).inc();
    }

    pub(crate) fn failed_login(&self) {
        self.failed_logins.inc();
    }

    pub(crate) fn time(&self, way: Way, time: Duration) {
        let histogram = match way {
            Way::Handshake => &self.handshake,
            Way::Transaction => &self.transaction,
            Way::NextHop => &self.next_hop,
        };
        histogram.observe(time.as_secs_f64());
    }

    /// When the certificate in this file expires.
    pub(crate) fn expires(&self, file: &str, at: i64) {
        let at = f64::from(u32::try_from(at).unwrap_or(if at < 0 { 0 } else { u32::MAX }));
        self.expiry.get_or_create(&ByName { name: file.into() }).set(at);
    }

    /// In the text format, with how many lines were dropped of output, log and ledger.
    pub(crate) fn text(&self, dropped: [u64; 3]) -> String {
        let mut out = String::new();
        let mut more = Registry::with_prefix("smtp_smol");
        for (name, lines) in ["output", "log", "ledger"].into_iter().zip(dropped) {
            let part = more.sub_registry_with_prefix(name);
            part.register("lines_dropped", "Lines that were dropped since nobody read them", ConstCounter::new(lines));
        }
        // Writing to a string does not fail.
        let _ = text::encode_registry(&mut out, &more);
        let _ = text::encode(&mut out, &self.registry);
        out
    }
}

/// The kind of a fault as a label: `TlsRequired` is `tls-required`, and of what is in brackets nothing is told.
fn name(kind: FaultKind) -> String {
    let told = format!("{kind:?}");
    kebab(told.split(['(', ' ']).next().unwrap_or_default())
}

fn kebab(name: &str) -> String {
    let mut out = String::new();
    for char in name.chars() {
        if char.is_ascii_uppercase() && !out.is_empty() {
            out.push('-');
        }
        out.push(char.to_ascii_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_faults_are_few_names() {
        assert_eq!(name(FaultKind::TlsRequired), "tls-required");
        assert_eq!(name(FaultKind::Text(smtp_proto::text::TextFlaw::BareLf)), "text");
    }

    #[test]
    fn what_is_counted_is_in_the_text() {
        let metrics = Metrics::new();
        metrics.opened("mx");
        metrics.ended(Ending::Accepted, 100);
        metrics.fault(FaultKind::LineTooLong);
        metrics.time(Way::NextHop, Duration::from_millis(3));
        metrics.expires("mx.pem", 1_800_000_000);
        let text = metrics.text([1, 2, 3]);
        for line in [
            "smtp_smol_sessions_total{role=\"mx\"} 1",
            "smtp_smol_messages_total{outcome=\"accepted\"} 1",
            "smtp_smol_messages_total{outcome=\"refused\"} 0",
            "smtp_smol_message_octets_total 100",
            "smtp_smol_faults_total{kind=\"line-too-long\"} 1",
            "smtp_smol_next_hop_seconds_count 1",
            "smtp_smol_certificate_expiry_seconds{name=\"mx.pem\"} 1800000000.0",
            "smtp_smol_ledger_lines_dropped_total 3",
        ] {
            assert!(text.lines().any(|here| here == line), "{line} in {text}");
        }
        assert_eq!(text.matches("# EOF").count(), 1);
    }
}
