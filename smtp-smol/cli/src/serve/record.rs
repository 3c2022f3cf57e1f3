//! The line that is printed for each message taken.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use serde::Serialize;

use smtp_audit::ledger::Tls;

/// A message that was taken, for the line that is printed.
#[derive(Debug, Serialize)]
pub(crate) struct Taken<'a> {
    pub(crate) time: &'a str,
    pub(crate) peer: &'a str,
    pub(crate) helo: Option<&'a str>,
    /// Who has authenticated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<&'a str>,
    pub(crate) tls: &'a Tls<'a>,
    pub(crate) from: &'a str,
    pub(crate) to: &'a [String],
    pub(crate) size: u64,
    pub(crate) id: &'a str,
}

impl Taken<'_> {
    pub(crate) fn line(&self, json: bool) -> String {
        if json {
            return serde_json::to_string(self).unwrap_or_default();
        }
        let mut line = format!("{} {} ", self.time, self.peer);
        match (&self.tls.version, &self.tls.cipher) {
            (Some(version), Some(cipher)) => drop(write!(line, "{version} {cipher}")),
            _ => line.push_str("plaintext"),
        }
        if let Some(user) = self.user {
            let _ = write!(line, " user={user}");
        }
        let _ = write!(line, " from=<{}>", self.from);
        for (index, recipient) in self.to.iter().enumerate() {
            let _ = write!(line, "{}<{recipient}>", if index == 0 { " to=" } else { "," });
        }
        let _ = write!(line, " size={} id={}", self.size, self.id);
        line
    }
}

/// Prints a line; when nobody reads it any more, that is no reason to stop taking mail.
pub(crate) fn print(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
