//! `smtp-smol audit`: from logs, mailboxes and ledgers that are there already, what requiring STARTTLS would cost.

mod blocks;
mod desk;
mod exim;
mod failure;
mod head;
pub mod ledger;
mod ledger_file;
mod ledger_reader;
mod maildir;
mod marks;
mod mbox;
mod postfix;
mod received;
mod report;
mod scan;
mod source;
mod syslog;

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::{Timestamp, civil};
use smtp_proto::tls::{Ledger, Require, Scope};

use blocks::{Blocks, Lines};
use desk::Desk;
pub use failure::Failure;
use head::Reader;
pub use marks::{UnwantedIf, end_to_end};
use report::{Report, Style};
use source::{Kind, Source};

const EXAMPLES: &str = "\
Examples:
  smtp-smol audit /var/log/mail.log*
      From Postfix's log or Exim's, rotated and compressed files included
  smtp-smol audit ~/Maildir --since 90d --html report.html
      From stored mail of the last 90 days; write a page to look at and to print
  smtp-smol audit archive.mbox.gz --by mx.example.net --unwanted-if X-Spam-Level=*****
      From an mbox; believe this server's Received fields; five stars are spam
  smtp-smol audit ledger.jsonl --policy tls1.3 --json
      From what `smtp-smol serve --ledger` wrote; asked about TLS 1.3; for programs
  journalctl -u 'postfix*' -o short-iso | smtp-smol audit -
      From the journal";

/// Tell what requiring STARTTLS would cost, from logs, mailboxes or ledgers that you have already.
///
/// Nothing is sent anywhere, nothing is changed, and what is said of a sender is said of its domain alone.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Log files, mboxes, Maildirs or ledgers; gzip and Zstandard are read as well; - is standard input
    #[arg(value_name = "SOURCE", required = true)]
    sources: Vec<PathBuf>,

    /// What the sources are [default: as they look]
    #[arg(long = "as", value_enum, value_name = "KIND")]
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
///
/// # Errors
/// What the user can put right: a source that cannot be read or is not known by sight, a file that cannot be written.
pub fn run(options: &Options) -> Result<(), Failure> {
    let now = Timestamp::now();
    let mut sources = Vec::new();
    let mut input = 0;
    for path in &options.sources {
        if path == Path::new("-") {
            input += 1;
        } else {
            sources.push(Source::look(path, options.kind, now.as_second())?);
        }
    }
    // Rotated logs in the order in which they were written; all else as it was named.
    sources.sort_by_key(|source| (source.kind, source.first));

    let scope = if !options.senders.is_empty() {
        Scope::Senders(options.senders.iter().map(|domain| domain.to_lowercase()).collect())
    } else if !options.recipients.is_empty() {
        Scope::Recipients(options.recipients.iter().map(|domain| domain.to_lowercase()).collect())
    } else {
        Scope::All
    };
    let desk = Desk::new(Ledger::new(scope), options.since, options.internal);
    let mut readers = Readers {
        postfix: postfix::Postfix::new(!options.recipients.is_empty()),
        exim: exim::Exim::default(),
        stored: Reader::new(&options.by, &options.unwanted_if),
        progress: progress(&sources),
        desk,
        files: 0,
    };
    for source in &sources {
        readers.read(source)?;
    }
    if input > 0 {
        sources.push(readers.read_input(options.kind, now.as_second())?);
    }
    let desk = readers.finish(&sources)?;

    let report = Report::new(&desk, &sources, options.policy, now);
    if let Some(file) = &options.html {
        std::fs::write(file, report::html::page(&report))
            .map_err(|error| Failure::option("--html", file.display(), error, "name a file that can be written"))?;
    }
    let out = if options.json {
        report::json::text(&report)
    } else {
        report::text::screen(&report, Style::of_terminal(io::stdout().is_terminal()))
    };
    match io::stdout().lock().write_all(out.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::running(format!("the report cannot be printed: {error}")))
        }
        _ => Ok(()),
    }
}

/// A reader of each kind, and where they hand in.
struct Readers {
    postfix: postfix::Postfix,
    exim: exim::Exim,
    stored: Reader,
    progress: ProgressBar,
    desk: Desk,
    files: u64,
}

impl Readers {
    fn read(&mut self, source: &Source) -> Result<(), Failure> {
        self.progress.set_message(source.path.display().to_string());
        if source.kind == Kind::Maildir {
            self.files += maildir::read(&source.path, &mut self.stored, &mut self.desk, &self.progress)?;
            return Ok(());
        }
        match source::open(&source.path, &self.progress) {
            Ok(blocks) => self.blocks(blocks, source),
            Err(error) => {
                self.desk.broken.add(&source.path, 0, &error.to_string());
                Ok(())
            }
        }
    }

    /// Standard input is looked at while it is read.
    fn read_input(&mut self, kind: Option<Kind>, now: i64) -> Result<Source, Failure> {
        let wrong = |wrong: &str| Failure::option("SOURCE", "-", wrong, "say what it is with --as");
        let mut source = Source { path: "-".into(), kind: Kind::Maildir, size: 0, written: now, first: None };
        let mut blocks = source::decompressed(io::stdin().lock()).map_err(|error| wrong(&error.to_string()))?;
        source.kind = kind
            .filter(|kind| *kind != Kind::Maildir)
            .or_else(|| source::guess(blocks.at_least(source::PEEK)))
            .ok_or_else(|| wrong("is nothing that is known by sight"))?;
        self.blocks(blocks, &source)?;
        Ok(source)
    }

    fn blocks(&mut self, mut blocks: Blocks<'_>, source: &Source) -> Result<(), Failure> {
        self.files += 1;
        let desk = &mut self.desk;
        match source.kind {
            Kind::Postfix => self.postfix.read(&mut Lines::new(blocks), source, desk),
            Kind::Exim => self.exim.read(&mut Lines::new(blocks), source, desk),
            Kind::Ledger => ledger_reader::read(&mut Lines::new(blocks), source, desk),
            Kind::Mbox => mbox::read(&mut blocks, source, &mut self.stored, desk)?,
            Kind::Maildir => {}
        }
        Ok(())
    }

    fn finish(mut self, sources: &[Source]) -> Result<Desk, Failure> {
        self.postfix.finish(&mut self.desk);
        self.exim.finish(&mut self.desk);
        self.desk.finish();
        let stored = self.stored.finish(&mut self.desk);
        self.progress.finish_and_clear();
        stored?;
        if self.files == 0
            && let Some(source) = sources.first()
        {
            return Err(Failure::option(
                "SOURCE",
                source.path.display(),
                "holds no mail: there is no file in a folder called cur or new",
                "name a Maildir, or the files themselves",
            ));
        }
        Ok(self.desk)
    }
}

/// How far we are, on a terminal.
fn progress(sources: &[Source]) -> ProgressBar {
    let folders = sources.iter().any(|source| source.kind == Kind::Maildir);
    let (bar, form) = if folders {
        (ProgressBar::new_spinner(), "{spinner} {bytes} {bytes_per_sec}  {wide_msg}")
    } else {
        let size = sources.iter().map(|source| source.size).sum();
        (ProgressBar::new(size), "{bar:24} {percent} %  {bytes_per_sec}  {eta}  {wide_msg}")
    };
    bar.set_style(ProgressStyle::with_template(form).unwrap_or_else(|_| ProgressStyle::default_bar()));
    if io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(8));
        bar.enable_steady_tick(Duration::from_millis(250));
    } else {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar
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
        return scan::days(day.year().into(), day.month().into(), day.day().into())
            .map(|days| days * 86_400)
            .ok_or_else(wrong);
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
