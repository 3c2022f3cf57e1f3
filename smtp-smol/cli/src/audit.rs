//! `smtp-smol audit`: from logs, mailboxes and ledgers that are there already, what requiring STARTTLS would cost.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::{Timestamp, civil, tz::Offset};
use smtp_audit::{Audit, Error, Kind, Progress, Style, UnwantedIf};
use smtp_proto::tls::{Require, Scope};

use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  smtp-smol audit /var/log/mail.log*
      From logs of Postfix, Exim, Sendmail or OpenSMTPD, rotated and compressed files included
  smtp-smol audit ~/Maildir --since 90d --html report.html
      From stored mail of the last 90 days; write a page to look at and to print
  smtp-smol audit archive.mbox.gz --by mx.example.net --unwanted-if X-Spam-Level=*****
      From an mbox; believe this server's Received fields; five stars are spam
  smtp-smol audit ledger.jsonl --policy tls1.3 --json
      From what `smtp-smol serve --ledger` wrote; asked about TLS 1.3; for programs
  smtp-smol audit ~/Maildir/.TLSRPT
      From reports about TLS: what MTA-STS in mode enforce would have cost
  journalctl -u 'postfix*' -o short-iso | smtp-smol audit -
      From the journal";

/// Tell what requiring STARTTLS would cost, from logs, mailboxes or ledgers that you have already.
///
/// Nothing is sent anywhere, nothing is changed, and what is said of a sender is said of its domain alone.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Log files, stored mail, TLS reports or ledgers, also compressed; - is standard input
    #[arg(value_name = "SOURCE", required = true)]
    sources: Vec<PathBuf>,

    /// What the sources are: postfix, exim, sendmail, opensmtpd, exchange, maildir, mbox, message, tlsrpt, ledger
    /// [default: as they look]
    #[arg(long = "as", value_name = "KIND", value_parser = kind)]
    kind: Option<Kind>,

    /// Of stored mail: the server through which mail comes in, whose Received fields are believed; may be given
    /// several times [default: the one that the mail shows, if that is clear]
    #[arg(long, value_name = "HOST-NAME")]
    by: Vec<String>,

    /// Count from then on: 2026-08-01, or 90d, 12w, 6m, 1y before now
    #[arg(long, value_name = "WHEN", value_parser = since)]
    since: Option<i64>,

    /// What would be required: tls, tls1.2, tls1.3, certificate, verified-certificate
    #[arg(long, value_name = "POLICY", default_value = "tls", value_parser = policy)]
    policy: Require,

    /// Only mail from these domains and those below them
    #[arg(long, value_name = "DOMAIN", value_delimiter = ',')]
    senders: Vec<String>,

    /// Only mail to these domains and those below them
    #[arg(long, value_name = "DOMAIN", value_delimiter = ',', conflicts_with = "senders")]
    recipients: Vec<String>,

    /// Stored mail with such a field is unwanted; beside X-Spam-Flag and X-Spam-Status. May be given several times
    #[arg(long, value_name = "HEADER=VALUE")]
    unwanted_if: Vec<UnwantedIf>,

    /// Count hops from and to this machine and private networks as well
    #[arg(long)]
    internal: bool,

    /// Write a page for a browser to this file as well; it needs no network
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Print JSON; docs/question.md explains it
    #[arg(long)]
    json: bool,
}

/// Reads everything, then answers.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let scope = if !options.senders.is_empty() {
        Scope::Senders(options.senders.iter().map(|domain| domain.to_lowercase()).collect())
    } else if !options.recipients.is_empty() {
        Scope::Recipients(options.recipients.iter().map(|domain| domain.to_lowercase()).collect())
    } else {
        Scope::All
    };
    let mut audit = Audit::new(&smtp_audit::Options {
        kind: options.kind,
        by: options.by.clone(),
        since: options.since,
        scope,
        unwanted_if: options.unwanted_if.clone(),
        internal: options.internal,
    });
    let progress = Bar(ProgressBar::hidden());
    let input = Path::new("-");
    let files: Vec<&PathBuf> = options.sources.iter().filter(|path| *path != input).collect();
    if !files.is_empty() {
        audit.files(&files, &progress)?;
    }
    if files.len() < options.sources.len() {
        audit.stream(input, io::stdin().lock(), &progress)?;
    }
    let report = audit.report(options.policy)?;
    progress.0.finish_and_clear();

    if let Some(file) = &options.html {
        std::fs::write(file, report.html())
            .map_err(|error| Failure::option("--html", file.display(), error, "name a file that can be written"))?;
    }
    let out = if options.json { report.json() } else { report.text(Style::of_terminal(io::stdout().is_terminal())) };
    match io::stdout().lock().write_all(out.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::running(format!("the report cannot be printed: {error}")))
        }
        _ => Ok(()),
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Source { source_name, wrong, mend } => Self::option("SOURCE", source_name, wrong, &mend),
            Error::Border(why) => Self::usage(format!("--by: {why}; name your border server with --by")),
            other => Self::usage(other.to_string()),
        }
    }
}

/// How far we are, on a terminal.
struct Bar(ProgressBar);

impl Progress for Bar {
    fn begin(&self, octets: Option<u64>) {
        let form = match octets {
            None => "{spinner} {bytes} {bytes_per_sec}  {wide_msg}",
            Some(octets) => {
                self.0.set_length(octets);
                "{bar:24} {percent} %  {bytes_per_sec}  {eta}  {wide_msg}"
            }
        };
        self.0.set_style(ProgressStyle::with_template(form).unwrap_or_else(|_| ProgressStyle::default_bar()));
        if io::stderr().is_terminal() {
            self.0.set_draw_target(ProgressDrawTarget::stderr_with_hz(8));
            self.0.enable_steady_tick(Duration::from_millis(250));
        }
    }

    fn source(&self, path: &Path) {
        self.0.set_message(path.display().to_string());
    }

    fn read(&self, octets: u64) {
        self.0.inc(octets);
    }
}

fn kind(word: &str) -> Result<Kind, String> {
    Kind::ALL
        .into_iter()
        .find(|kind| kind.name() == word)
        .ok_or_else(|| format!("give one of {}", Kind::ALL.map(Kind::name).join(", ")))
}

fn policy(word: &str) -> Result<Require, String> {
    Require::ALL
        .into_iter()
        .find(|require| require.as_str() == word)
        .ok_or_else(|| format!("give one of {}", Require::ALL.map(Require::as_str).join(", ")))
}

/// Seconds since 1970.
fn since(text: &str) -> Result<i64, String> {
    let wrong = || "give a day such as 2026-08-01, or so much before now: 90d, 12w, 6m, 1y".to_owned();
    if let Ok(day) = text.parse::<civil::Date>() {
        return Offset::UTC.to_timestamp(day.at(0, 0, 0, 0)).map(Timestamp::as_second).map_err(|_| wrong());
    }
    let digits = text.trim_end_matches(|char: char| char.is_ascii_alphabetic());
    let days = match &text[digits.len()..] {
        "d" => 1,
        "w" => 7,
        "m" => 30,
        "y" => 365,
        _ => return Err(wrong()),
    };
    let count: u32 = digits.parse().map_err(|_| wrong())?;
    Ok(Timestamp::now().as_second() - i64::from(count) * days * 86_400)
}

#[cfg(test)]
mod tests {
    use super::{policy, since};
    use smtp_proto::tls::Require;

    #[test]
    fn arguments() {
        assert_eq!(since("1970-01-02"), Ok(86_400));
        let now = jiff::Timestamp::now().as_second();
        assert!((now - 14 * 86_400..=now - 14 * 86_400 + 5).contains(&since("2w").expect("two weeks")));
        for wrong in ["", "90", "d", "yesterday", "2026-13-01", "-1d"] {
            assert!(since(wrong).is_err(), "{wrong}");
        }
        assert_eq!(policy("tls1.3"), Ok(Require::Tls13));
        assert!(policy("TLS").is_err());
    }
}
