//! What is told: the dialogue, and the outcome.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use serde::Serialize;
use smtp_audit::ledger::Tls;
use smtp_proto::tls::TlsVersion;
use smtp_smol::Said;

use super::attempt::{End, Fate};
use super::message::Message;
use crate::shown::Words;

/// Lines of a piece of text that are shown.
const SHOWN: usize = 40;
/// sysexits(3): EX_TEMPFAIL, EX_UNAVAILABLE.
const RETRY: u8 = 75;
const NEVER: u8 = 69;

/// Shows what goes over the wire, on stderr.
pub(crate) fn dialogue(said: Said<'_>) {
    let mut out = io::stderr().lock();
    let _ = match said {
        Said::Client(octets) => lines(&mut out, "C: ", octets),
        Said::Server(octets) => lines(&mut out, "S: ", octets),
        Said::Secret(octets) => writeln!(out, "C: [{octets} octets that may hold credentials]"),
        Said::Tls(info) => {
            let verified = if info.server_verified { "verified" } else { "not verified" };
            writeln!(
                out,
                "-- {} {}, certificate {verified}",
                info.version.map_or("TLS", TlsVersion::as_str),
                info.cipher
            )
        }
        _ => Ok(()),
    };
}

fn lines(out: &mut impl io::Write, who: &str, octets: &[u8]) -> io::Result<()> {
    let mut lines = octets.strip_suffix(b"\n").unwrap_or(octets).split(|octet| *octet == b'\n');
    for line in lines.by_ref().take(SHOWN) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // What a peer says must not command a terminal, nor turn the line around.
        writeln!(out, "{who}{}", Words(&String::from_utf8_lossy(line)))?;
    }
    let left = lines.count();
    if left > 0 { writeln!(out, "{who}[{left} lines more]") } else { Ok(()) }
}

/// All accepted; or a retry may help; or it will not.
pub(crate) fn exit_code(fates: &[Fate]) -> ExitCode {
    if fates.iter().any(|fate| matches!(fate.end, End::Later | End::Unknown)) {
        ExitCode::from(RETRY)
    } else if fates.iter().any(|fate| fate.end == End::Never) {
        ExitCode::from(NEVER)
    } else {
        ExitCode::SUCCESS
    }
}

#[derive(Serialize)]
struct Whole<'a> {
    from: &'a str,
    size: usize,
    recipients: Vec<One<'a>>,
}

#[derive(Serialize)]
struct One<'a> {
    to: &'a str,
    outcome: &'static str,
    reply: &'a str,
    server: Option<&'a str>,
    tls: Option<&'a Tls<'static>>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notes: &'a [String],
}

impl<'a> From<&'a Fate> for One<'a> {
    fn from(fate: &'a Fate) -> Self {
        let Fate { to, end, words, server, tls, notes, .. } = fate;
        Self { to, outcome: word(*end), reply: words, server: server.as_deref(), tls: tls.as_ref(), notes }
    }
}

/// A line a recipient, or one JSON object.
pub(crate) fn print(message: &Message, fates: &[Fate], json: bool) {
    let mut out = io::stdout().lock();
    if json {
        let recipients = fates.iter().map(One::from).collect();
        let whole = Whole { from: &message.from, size: message.text.len(), recipients };
        let _ = writeln!(out, "{}", serde_json::to_string(&whole).unwrap_or_default());
        return;
    }
    let colour = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    for fate in fates {
        let word = word(fate.end);
        let number = match fate.end {
            End::Accepted => 32,
            End::Later | End::Unknown => 33,
            End::Never => 31,
        };
        let _ = if colour { write!(out, "\x1b[{number}m{word}\x1b[0m") } else { write!(out, "{word}") };
        let _ = write!(out, " <{}>", fate.to);
        if let Some(server) = &fate.server {
            let _ = write!(out, " by {server}");
        }
        if let Some(tls) = &fate.tls {
            let hop = tls.version().map_or(fate.hop, TlsVersion::as_str);
            let _ = if hop.is_empty() { Ok(()) } else { write!(out, " ({hop})") };
        }
        let _ = writeln!(out, ": {}", fate.words);
    }
    let mut told: Vec<&String> = Vec::new();
    for note in fates.iter().flat_map(|fate| &fate.notes) {
        if !told.contains(&note) {
            let _ = writeln!(out, "note: {note}");
            told.push(note);
        }
    }
}

const fn word(end: End) -> &'static str {
    match end {
        End::Accepted => "accepted",
        End::Later => "later",
        End::Never => "never",
        End::Unknown => "unknown",
    }
}
