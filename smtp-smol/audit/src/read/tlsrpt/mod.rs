//! TLS reports (RFC 8460): what others saw when they tried to send mail to us over TLS. As JSON, compressed or not, or in
//! the mail that brings them, which is looked for wherever mail is stored.

mod json;
pub(crate) mod mail;

use std::hash::{Hash as _, Hasher as _};
use std::path::Path;

use rustc_hash::FxHasher;

use crate::count::desk::Desk;
use crate::count::sessions::{Policy, Sessions, Told};
use crate::read::blocks::Blocks;
use crate::read::scan;

/// A report larger than this is none: those of the largest senders have some hundred thousand octets.
pub(crate) const LONGEST: usize = 32 << 20;

/// Whether this is the beginning of a report in JSON.
pub(crate) fn is(start: &[u8]) -> bool {
    let start = start.trim_ascii_start();
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    start.first() == Some(&b'{')
        && [&b"\"organization-name\""[..], b"\"policies\"", b"\"date-range\"", b"\"report-id\""]
            .iter()
            .filter(|name| memchr::memmem::find(start, name).is_some())
            .count()
            >= 2
}

/// Reads a file: one report, or several, one behind the other.
pub(crate) fn read(blocks: &mut Blocks<'_>, path: &Path, desk: &mut Desk) {
    let octets = blocks.at_least(LONGEST + 1);
    if octets.len() > LONGEST {
        desk.broken.add(path, 0, "too long for a TLS report");
        return;
    }
    let octets = octets.strip_prefix(b"\xef\xbb\xbf").unwrap_or(octets);
    if let Some(wrong) = take(octets, desk) {
        desk.broken.add(path, 0, &wrong);
    }
    if let Some(error) = blocks.failed() {
        desk.broken.cut_short(path, 0, &error);
    }
}

/// Takes the reports that stand here; gives what is wrong with those that cannot be read.
pub(crate) fn take(octets: &[u8], desk: &mut Desk) -> Option<String> {
    for report in serde_json::Deserializer::from_slice(octets).into_iter::<json::Report<'_>>() {
        let report = match report {
            Ok(report) => report,
            Err(error) => return Some(format!("no TLS report: {error}")),
        };
        if let Err(wrong) = count(&report, desk) {
            return Some(format!("no TLS report: {wrong}"));
        }
    }
    None
}

fn count(report: &json::Report<'_>, desk: &mut Desk) -> Result<(), &'static str> {
    let (Some(begin), Some(end)) = (time(&report.date_range.start), time(&report.date_range.end)) else {
        return Err("its date-range is no time");
    };
    if report.organization.is_empty() || report.id.is_empty() {
        return Err("it does not say whose it is");
    }
    if desk.is_early(end) {
        desk.messages += 1;
        desk.aside.early += 1;
        return Ok(());
    }
    let mut hasher = FxHasher::default();
    (&report.organization, &report.id).hash(&mut hasher);
    if desk.reports.is_copy(hasher.finish()) {
        return Ok(());
    }
    let told = report
        .policies
        .iter()
        .map(|of| {
            let results =
                of.failures.iter().map(|failure| (short(&failure.result), failure.sessions)).collect::<Vec<_>>();
            Told {
                policy: policy(&of.policy),
                sessions: Sessions { succeeded: of.summary.succeeded, failed: of.summary.failed },
                results,
            }
        })
        .collect();
    desk.reports.take(&short(&report.organization), (begin, end), told);
    Ok(())
}

/// RFC 8460 4.4: `policy-type`, and of MTA-STS the lines of the policy as `policy-string`.
fn policy(of: &json::Policy<'_>) -> Policy {
    match &*of.kind {
        "sts" => {
            let mode = of.lines.0.iter().flat_map(|lines| lines.lines()).find_map(|line| {
                let (name, value) = line.split_once(':')?;
                (name.trim() == "mode").then(|| value.trim().to_owned())
            });
            match mode.as_deref() {
                Some("testing") => Policy::StsTesting,
                Some("enforce") => Policy::StsEnforce,
                _ => Policy::Sts,
            }
        }
        "tlsa" => Policy::Tlsa,
        "no-policy-found" => Policy::None,
        _ => Policy::Other,
    }
}

/// RFC 3339; some leave the zone out, or write a space.
fn time(text: &str) -> Option<i64> {
    scan::iso(text.as_bytes()).map(|(time, _)| time)
}

/// Names are others' words, and are kept.
fn short(name: &str) -> String {
    name.trim().chars().take(80).collect()
}
