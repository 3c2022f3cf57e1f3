//! What is known of a transaction when it ends: the line for people, and the line for the ledger.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use smtp_proto::tls::Outcome;

/// One transaction, or a session that came to none.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Record {
    /// RFC 3339, UTC.
    pub(crate) time: String,
    pub(crate) peer: String,
    /// As the client named itself; its own claim.
    pub(crate) helo: Option<String>,
    pub(crate) sender_domain: Option<String>,
    pub(crate) recipients: u32,
    pub(crate) bytes: u64,
    pub(crate) outcome: &'static str,
    pub(crate) tls: Tls,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
}

/// What became of TLS on this hop.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Tls {
    /// used, not-tried, failed, not-offered.
    pub(crate) outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cipher: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_certificate: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

impl From<&Outcome> for Tls {
    fn from(outcome: &Outcome) -> Self {
        let mut tls = Self { outcome: outcome.as_str(), ..Self::default() };
        match outcome {
            Outcome::Used(info) => {
                tls.version = Some(info.version.as_str());
                tls.cipher = Some(info.cipher.to_string());
                tls.client_certificate = Some(info.client_certificate.as_str());
            }
            Outcome::Failed(failure) => tls.reason = Some(failure.to_string()),
            _ => {}
        }
        tls
    }
}

/// A message that was taken, for the line that is printed.
#[derive(Debug, Serialize)]
pub(crate) struct Taken<'a> {
    pub(crate) time: &'a str,
    pub(crate) peer: &'a str,
    pub(crate) helo: Option<&'a str>,
    pub(crate) tls: &'a Tls,
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
        match (self.tls.version, &self.tls.cipher) {
            (Some(version), Some(cipher)) => drop(write!(line, "{version} {cipher}")),
            _ => line.push_str("plaintext"),
        }
        let _ = write!(line, " from=<{}>", self.from);
        for (index, recipient) in self.to.iter().enumerate() {
            let _ = write!(line, "{}<{recipient}>", if index == 0 { " to=" } else { "," });
        }
        let _ = write!(line, " size={} id={}", self.size, self.id);
        line
    }
}

/// A file of JSON lines; each is written in one piece, so that a crash leaves no half line but, at worst, the last.
#[derive(Debug)]
pub(crate) struct Ledger(Mutex<File>);

impl Ledger {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(Mutex::new(OpenOptions::new().append(true).create(true).mode(0o600).open(path)?)))
    }

    pub(crate) fn write(&self, record: &Record) {
        let Ok(mut line) = serde_json::to_vec(record) else { return };
        line.push(b'\n');
        let written = self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line);
        if let Err(error) = written {
            // Mail goes on: a count that is missing is not worth a message that is lost.
            tracing::error!(%error, "the ledger cannot be written");
        }
    }
}

/// Prints a line; when nobody reads it any more, that is no reason to stop taking mail.
pub(crate) fn print(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
