//! What the fuzz targets of the audit do: logs, mboxes, Received fields, ledgers and TLS reports are other people's octets.
//! The audit's test `seeds` includes this file too, and runs every seed on stable.

use std::io::Read;

use serde_json::Value;
use smtp_audit::{Audit, Kind, Options};
use smtp_proto::tls::Condition;

/// What a target does with an input: it panics when something does not hold.
pub type Body = fn(&[u8]);

/// Every target, by the name of its folder in `fuzz/seeds`.
pub const TARGETS: &[(&str, Body)] =
    &[("ledger", ledger), ("logs", logs), ("mbox", mbox), ("received", received), ("tlsrpt", tlsrpt)];

/// Logs as they look, and each kind by its name. Every line is one of a mail server's, another's, broken or unread.
pub fn logs(data: &[u8]) {
    let Some((first, data)) = data.split_first() else { return };
    let kinds = [None, Some(Kind::Postfix), Some(Kind::Exim), Some(Kind::Sendmail), Some(Kind::Opensmtpd)];
    let kind = kinds[usize::from(*first) % kinds.len()];
    let Some(report) = check(kind, data) else { return };
    let compressed = is_compressed(data);
    let export = data.starts_with(b"__");
    let is_log = report["sources"][0]["kind"].as_str().is_some_and(|kind| kind.ends_with("log"));
    if is_log && !compressed && !export {
        let lines = data.split(|octet| *octet == b'\n').count() - usize::from(data.ends_with(b"\n") || data.is_empty());
        let told: u64 = ["mail", "other", "broken", "unread"].iter().map(|what| number(&report["lines"], what)).sum();
        assert_eq!(told, lines as u64, "{:#}", report["lines"]);
    }
}

/// Messages in one file. What was read was counted, set aside or is broken.
pub fn mbox(data: &[u8]) {
    if let Some(report) = check(Some(Kind::Mbox), data) {
        let aside: u64 = ["early", "submissions", "internal", "copies", "foreign", "dateless", "outside_of_scope"]
            .iter()
            .map(|what| number(&report["not_counted"], what))
            .sum();
        assert_eq!(number(&report, "read"), counted(&report) + aside, "{report:#}");
    }
}

/// A client's name for itself, of which every octet is its own choice, cannot make plaintext TLS.
pub fn received(data: &[u8]) {
    let helo: String = data.iter().copied().filter(u8::is_ascii_graphic).take(255).map(char::from).collect();
    for form in [
        "from {} (mx.example.org [198.51.100.7])\n\tby mx.example.net (Postfix) with ESMTP id 1",
        "from mx.example.org ([198.51.100.7] helo={})\n\tby mx.example.net with esmtp (Exim 4.98) id 1",
        "from {} (mx.example.org [198.51.100.7])\n\tby mx.example.net (8.18.1/8.18.1) with ESMTP id 1",
        "from {} (mx.example.org [198.51.100.7])\n\tby mx.example.net (OpenSMTPD) with ESMTP id 1",
    ] {
        let field = form.replace("{}", &helo);
        let mbox = format!(
            "From x Tue Nov 24 08:00:00 2026\nReceived: {field};\n\tTue, 24 Nov 2026 08:00:00 +0000\nSubject: x\n\nx\n"
        );
        let Some(report) = check(Some(Kind::Mbox), mbox.as_bytes()) else { continue };
        for mail in report["inbound"]["mail"].as_array().into_iter().flatten() {
            assert_eq!(number(mail, "tls"), 0, "{mbox}");
        }
        assert_eq!(number(&report["not_counted"], "submissions"), 0, "{mbox}");
    }
    // And whatever the field is.
    let mbox = [b"From x\nReceived: ", data, b"\nSubject: x\n\nx\n"].concat();
    check(Some(Kind::Mbox), &mbox);
}

/// Ledgers: a line that is broken costs itself alone.
pub fn ledger(data: &[u8]) {
    let Some(before) = check(Some(Kind::Ledger), data) else { return };
    let good = br#"{"v":1,"time":"2026-11-24T08:00:00Z","peer":"192.0.2.1","sender_domain":"a.example","recipients":1,"bytes":1,"outcome":"accepted","tls":{"outcome":"used"}}"#;
    let more = [data, b"\n", good].concat();
    if data.first().is_none_or(u8::is_ascii_graphic)
        && !matches!(data, [b'B', b'Z', b'h', ..] | [b'P'..=b'_', b'*', ..])
    {
        let after = check(Some(Kind::Ledger), &more).expect("an answer");
        assert_eq!(number(&after, "read"), number(&before, "read") + 1);
    }
}

/// TLS reports, in JSON and in mail. Sessions that failed are no more than all.
pub fn tlsrpt(data: &[u8]) {
    let Some((first, data)) = data.split_first() else { return };
    let kind = [Kind::Tlsrpt, Kind::Message, Kind::Mbox][usize::from(*first) % 3];
    let Some(report) = check(Some(kind), data) else { return };
    for policy in report["tls_reports"]["policies"].as_array().into_iter().flatten() {
        let share = policy["share"].as_f64().expect("a share");
        assert!((0.0..=1.0).contains(&share), "{policy:#}");
        for bound in policy["interval"].as_array().into_iter().flatten() {
            assert!(bound.as_f64().is_some_and(|bound| (0.0..=1.0).contains(&bound)), "{policy:#}");
        }
    }
}

/// Reads it whole, in pieces, on several threads and octet by octet: the same report each time, whose figures agree; and shows it in every
/// way. `None` where there is no answer, whatever the pieces.
fn check(kind: Option<Kind>, data: &[u8]) -> Option<Value> {
    let whole = answer(kind, data, usize::MAX);
    for piece in [1, 7, 4096] {
        // How much comes out of a compressed stream before the place at which it is broken is the decompressor's affair.
        if (piece == 1 && data.len() > 4096) || is_compressed(data) {
            continue;
        }
        assert_eq!(answer(kind, data, piece), whole, "in pieces of {piece}");
    }
    if let Some(report) = &whole {
        for direction in ["inbound", "outbound"] {
            agrees(&report[direction]);
        }
    }
    whole
}

fn answer(kind: Option<Kind>, data: &[u8], piece: usize) -> Option<Value> {
    // By several threads it is the same as well.
    let jobs = if piece == 4096 { 3 } else { 1 };
    let options = Options { kind, by: vec!["mx.example.net".into()], jobs, ..Options::default() };
    let mut audit = Audit::new(&options);
    audit.stream("data".as_ref(), Pieces(data, piece), &()).ok()?;
    let report = audit.report(Condition::Tls).ok()?;
    let (text, page) = (report.text(Default::default()), report.html());
    assert!(!text.contains('\u{1b}') && !page.contains("<script"), "{text}");
    // A report is bounded, however much was read: names of some thousand senders, of 80 characters each.
    assert!(text.len() < 1 << 20 && page.len() < 1 << 20);
    let mut report: Value = serde_json::from_str(&report.json()).expect("JSON");
    report.as_object_mut().expect("an object").remove("made");
    Some(report)
}

/// The figures of a direction agree with one another.
fn agrees(side: &Value) {
    if side.is_null() {
        return;
    }
    for (index, mail) in side["mail"].as_array().expect("mail").iter().enumerate() {
        let parts: u64 = ["tls", "plaintext", "not_offered", "unknown"].iter().map(|part| number(mail, part)).sum();
        assert_eq!(parts, number(mail, "messages"), "{mail:#}");
        let verdict = ["wanted", "unwanted", "unknown"][index];
        for what_if in side["what_if"].as_array().expect("what if") {
            let part = &what_if[verdict];
            let (lost, of) = (number(&part["lost"], "messages"), number(&part["of"], "messages"));
            assert!(lost <= of, "{part:#}");
            if index == 0 {
                assert_eq!(of + number(part, "untold"), number(mail, "messages"), "{side:#}");
            }
        }
    }
}

fn is_compressed(data: &[u8]) -> bool {
    matches!(
        data,
        [0x1f, 0x8b, ..]
            | [0x28, 0xb5, 0x2f, 0xfd, ..]
            | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]
            | [0xfd, b'7', b'z', ..]
            | [b'B', b'Z', b'h', ..]
    )
}

fn counted(report: &Value) -> u64 {
    ["inbound", "outbound"]
        .iter()
        .flat_map(|direction| report[*direction]["mail"].as_array().into_iter().flatten())
        .map(|mail| number(mail, "messages") + number(mail, "failed"))
        .sum()
}

fn number(of: &Value, name: &str) -> u64 {
    of[name].as_u64().unwrap_or_else(|| panic!("no {name} in {of:#}"))
}

/// A stream that gives so much at a time.
struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, space: &mut [u8]) -> std::io::Result<usize> {
        let octets = self.1.min(self.0.len()).min(space.len());
        space[..octets].copy_from_slice(&self.0[..octets]);
        self.0 = &self.0[octets..];
        Ok(octets)
    }
}
