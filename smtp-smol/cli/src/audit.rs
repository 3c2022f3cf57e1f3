//! `smtp-smol audit`: from logs, mailboxes and ledgers that are there already, what requiring STARTTLS would cost.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::{Timestamp, civil, tz::Offset};
use smtp_audit::{Audit, Error, Kind, Progress, Report, Rows, Style, UnwantedIf};
use smtp_proto::tls::{Condition, Scope};

use crate::failure::Failure;
use crate::serve;

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
  smtp-smol audit /var/log/mail.log* --exceptions exceptions
      List whom requiring TLS would silence; `smtp-smol serve --tls require --except exceptions` lets them pass
  smtp-smol audit /var/log/mail.log* --exceptions /etc/postfix/plaintext --exceptions-as postfix
      The same as access tables for Postfix, with what to put into main.cf
  smtp-smol audit ledger.jsonl --cells mx1.cells.jsonl
      Sum it up on each host of a fleet; then `smtp-smol audit *.cells.jsonl` tells of all
  smtp-smol audit ledger.jsonl --rows rows.parquet --key fleet.key
      A row a transaction for DuckDB, ClickHouse, Spark and the like; docs/fleet has the SQL
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

    /// Of stored mail: the server through which mail comes in, whose Received fields are believed, or all those of a
    /// domain behind a dot (.outlook.com); may be given several times [default: the one that the mail shows, if that
    /// is clear]
    #[arg(long, value_name = "HOST-NAME")]
    by: Vec<String>,

    /// Count from then on: 2026-08-01, or 90d, 12w, 6m, 1y before now
    #[arg(long, value_name = "WHEN", value_parser = since)]
    since: Option<i64>,

    /// What would be required: tls, tls1.2, tls1.3, certificate, verified-certificate
    #[arg(long, value_name = "POLICY", default_value = "tls", value_parser = policy)]
    policy: Condition,

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

    /// Write to this file whom the policy would silence: domains and networks of which no wanted mail met it, with counts
    /// and the day of the last
    #[arg(long, value_name = "FILE")]
    exceptions: Option<PathBuf>,

    /// Form of --exceptions: `list`, as --except reads it, or `postfix`: access tables, FILE.clients and FILE.senders, of
    /// whom requires TLS of all others
    #[arg(long, value_name = "FORM", value_enum, default_value = "list", requires = "exceptions")]
    exceptions_as: Form,

    /// Set aside mail that does not meet the policy of those whom this file names, as `serve --except` lets it pass
    #[arg(long, value_name = "FILE")]
    except: Option<PathBuf>,

    /// Write a row a transaction to this file as well, for SQL: JSON lines, or Parquet if its name ends in .parquet;
    /// docs/fleet/README.md explains them
    #[arg(long, value_name = "FILE")]
    rows: Option<PathBuf>,

    /// Write what is counted to this file as well, as cells in JSON lines, which another audit reads and adds up
    #[arg(long, value_name = "FILE")]
    cells: Option<PathBuf>,

    /// Name of the host that the sources are of, for rows, cells and reports on several hosts
    #[arg(long, value_name = "NAME", value_parser = crate::node::name)]
    node: Option<String>,

    /// A file with a secret of 16 octets or more, with which rows and cells hash what must not be read in them; the same
    /// on each host of a fleet [default: for rows a random one, which no other run has; for hosts in cells none]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,

    /// Keep every sender and every retry, whatever memory that takes: no figure comes from a sample
    #[arg(long)]
    exact: bool,

    /// Threads that read a log, a ledger or a folder of mail; the answer is the same [default: as many as there are cores, 8 at
    /// most]
    #[arg(long, value_name = "NUMBER")]
    jobs: Option<std::num::NonZeroUsize>,
}

/// A form of the list of exceptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// A domain or a network a line
    List,
    /// Two access tables
    Postfix,
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
    let key = options.key.as_deref().map(secret).transpose()?;
    let mut audit = Audit::new(&smtp_audit::Options {
        kind: options.kind,
        by: options.by.clone(),
        since: options.since,
        scope,
        unwanted_if: options.unwanted_if.clone(),
        internal: options.internal,
        exact: options.exact,
        node: options.node.clone(),
        key: key.clone(),
        jobs: options.jobs.map_or(0, std::num::NonZeroUsize::get),
    });
    if let (Some(file), Form::Postfix, true) =
        (&options.exceptions, options.exceptions_as, options.policy != Condition::Tls)
    {
        let wrong = "Postfix can require TLS of some clients and not of others, but no version and no certificate";
        return Err(Failure::option("--exceptions", file.display(), wrong, "leave out --policy, or --exceptions-as"));
    }
    if let Some(file) = &options.except {
        audit.except(serve::exceptions(file)?, options.policy);
    }
    if options.exceptions.is_some() {
        audit.find_silenced(options.policy);
    }
    if let Some(file) = &options.rows {
        audit.rows(rows(file, key)?);
    }
    if let Some(file) = &options.cells {
        let node = crate::node::of(options.node.as_deref());
        let name = format!("{node}-{:x}-{:x}", Timestamp::now().as_microsecond(), std::process::id());
        audit.cells(created("--cells", file)?, &name);
    }
    let progress = Bar(ProgressBar::hidden());
    let input = Path::new("-");
    let files: Vec<&PathBuf> = options.sources.iter().filter(|path| *path != input).collect();
    if !files.is_empty() {
        audit.files(&files, &progress)?;
    }
    if files.len() < options.sources.len() {
        audit.stream(input, io::stdin(), &progress)?;
    }
    let report = audit.report(options.policy)?;
    progress.0.finish_and_clear();

    if let Some(file) = &options.html {
        std::fs::write(file, report.html())
            .map_err(|error| Failure::option("--html", file.display(), error, "name a file that can be written"))?;
    }
    if let Some(file) = &options.exceptions {
        exceptions(&report, file, options.exceptions_as)?;
    }
    let out = if options.json { report.json() } else { report.text(Style::of_terminal(io::stdout().is_terminal())) };
    match io::stdout().lock().write_all(out.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::running(format!("the report cannot be printed: {error}")))
        }
        _ => Ok(()),
    }
}

fn exceptions(report: &Report, file: &Path, form: Form) -> Result<(), Failure> {
    let write = |file: &Path, text: &str| {
        std::fs::write(file, text)
            .map_err(|error| Failure::option("--exceptions", file.display(), error, "name a file that can be written"))
    };
    match form {
        Form::List => write(file, &report.exceptions().unwrap_or_default()),
        Form::Postfix => {
            let [clients, senders] = report.exceptions_for_postfix(&file.display().to_string()).unwrap_or_default();
            let beside = |ending: &str| PathBuf::from(format!("{}.{ending}", file.display()));
            write(&beside("clients"), &clients).and_then(|()| write(&beside("senders"), &senders))
        }
    }
}

fn rows(file: &Path, key: Option<Vec<u8>>) -> Result<Rows, Failure> {
    let key = match key {
        Some(key) => key,
        None => {
            let mut key = vec![0; 32];
            File::open("/dev/urandom")
                .and_then(|mut random| random.read_exact(&mut key))
                .map_err(|error| Failure::running(format!("there are no random numbers: {error}")))?;
            key
        }
    };
    let to = created("--rows", file)?;
    if file.extension().is_some_and(|ending| ending == "parquet") {
        let failed = |error| Failure::option("--rows", file.display(), error, "name a file that can be written");
        Rows::parquet(to, &key).map_err(failed)
    } else {
        Ok(Rows::json(to, &key))
    }
}

fn created(option: &str, file: &Path) -> Result<File, Failure> {
    File::create(file)
        .map_err(|error| Failure::option(option, file.display(), error, "name a file that can be written"))
}

/// A secret, without the line end behind it.
fn secret(file: &Path) -> Result<Vec<u8>, Failure> {
    let wrong = |wrong: &dyn std::fmt::Display, mend: &str| Failure::option("--key", file.display(), wrong, mend);
    let mut secret = std::fs::read(file).map_err(|error| wrong(&error, "name a file that can be read"))?;
    secret.truncate(secret.trim_ascii_end().len());
    if secret.len() < 16 {
        return Err(wrong(&"is too short", "put 16 octets or more into it, such as `openssl rand -hex 32` prints"));
    }
    Ok(secret)
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Source { source_name, wrong, mend } => Self::option("SOURCE", source_name, wrong, &mend),
            Error::Border(why) => Self::usage(format!("--by: {why}; name your border server with --by")),
            Error::Rows(_) | Error::Cells(_) => Self::running(error.to_string()),
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

fn policy(word: &str) -> Result<Condition, String> {
    Condition::ALL
        .into_iter()
        .find(|require| require.as_str() == word)
        .ok_or_else(|| format!("give one of {}", Condition::ALL.map(Condition::as_str).join(", ")))
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
    use smtp_proto::tls::Condition;

    #[test]
    fn arguments() {
        assert_eq!(since("1970-01-02"), Ok(86_400));
        let now = jiff::Timestamp::now().as_second();
        assert!((now - 14 * 86_400..=now - 14 * 86_400 + 5).contains(&since("2w").expect("two weeks")));
        for wrong in ["", "90", "d", "yesterday", "2026-13-01", "-1d"] {
            assert!(since(wrong).is_err(), "{wrong}");
        }
        assert_eq!(policy("tls1.3"), Ok(Condition::Tls13));
        assert!(policy("TLS").is_err());
    }
}
