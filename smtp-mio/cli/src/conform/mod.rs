//! `smtp-mio conform`: plays dialogues against a mail server or a mail client, and says what keeps to the RFCs.

mod case;
mod ground;
mod link;
mod play;
mod report;
mod scripted;
mod watch;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use crate::failure::Failure;
use case::{Case, Level, Side};
use ground::{Ground, Subject};
use play::Outcome;
use report::{Format, Played, Report};

/// The version of the transcripts' format and of the JSON: docs/conformance.md.
const FORMAT: u32 = 1;

const EXAMPLES: &str = "\
Each case is a dialogue on a connection of its own. What is expected are reply codes, or their first digits, and never
words. A case whose extension is not announced is skipped, and so is one that the server ends after errors of ours, as it
may. Messages are sent: name a recipient whose mail nobody misses.

This is a test of servers of one's own: it goes to this machine alone, unless the name is given again by --yes-really.

With --client a scripted server is started for each case, and COMMAND is run against it: it has to send one message.
{host} and {port} in it are the server's, {message} and {message-crlf} are files with a message, in LF and CRLF, and {ca}
is a file with the server's certificate.

Examples:
  smtp-mio conform 127.0.0.1:25 --domain example.net
      Every case that this server's extensions admit
  smtp-mio conform 127.0.0.1:25 --recipient me@example.net --format junit --expected-failures known.txt > junit.xml
      For CI; known.txt has an id a line
  smtp-mio conform 127.0.0.1:24 --lmtp --recipient me@example.net --case lmtp-bdat
      One case, over LMTP
  smtp-mio conform --client -- swaks --server {host} --port {port} --from a@example.org --to b@example.net
      A client: what it sends, and whether it reports failure where there was one
  smtp-mio conform --list
      The cases, how much each owes, and to which RFC
Exit code: 0 when no case failed that owes as much as --fail-on says, 1 when one did, 2 when it could not begin.";

/// Test a mail server or a mail client against the RFCs, by dialogues that are kept as data.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The server
    #[arg(value_name = "HOST:PORT", required_unless_present_any = ["client", "list"], conflicts_with = "client")]
    server: Option<String>,

    /// Test a client: run COMMAND against a scripted server
    #[arg(long, requires = "command")]
    client: bool,

    /// The client, behind `--`
    #[arg(last = true, value_name = "COMMAND", requires = "client")]
    command: Vec<String>,

    /// Speak LMTP
    #[arg(long)]
    lmtp: bool,

    /// Whether TLS comes first, or STARTTLS where it is offered and a case wants it
    #[arg(long, value_enum, default_value = "starttls")]
    tls: Tls,

    /// A file with a line NAME:PASSWORD, the user that cases log in as; over LMTP and without it nobody logs in
    #[arg(long, value_name = "FILE")]
    users: Option<PathBuf>,

    /// A recipient that is taken; up to three times
    #[arg(long, value_name = "ADDRESS")]
    recipient: Vec<String>,

    /// A domain of which every address is taken
    #[arg(long, value_name = "DOMAIN", default_value = "example.net", conflicts_with = "recipient")]
    domain: String,

    /// The sender
    #[arg(long, value_name = "ADDRESS", default_value = "a@example.org")]
    sender: String,

    /// How to tell what came of it
    #[arg(long, value_enum, default_value = "text")]
    format: Format,

    /// A file of cases that are expected to fail, an id a line
    #[arg(long, value_name = "FILE")]
    expected_failures: Option<PathBuf>,

    /// Which failures make for exit code 1: those of this level and of stricter ones
    #[arg(long, value_enum, value_name = "LEVEL", default_value = "must")]
    fail_on: Level,

    /// Play this case alone; may be given several times
    #[arg(long, value_name = "ID")]
    case: Vec<String>,

    /// Play the cases of this folder, with `server` and `client` in it, rather than those of the program
    #[arg(long, value_name = "FOLDER")]
    cases: Option<PathBuf>,

    /// List the cases, and play none
    #[arg(long)]
    list: bool,

    /// How long to wait for each reply, or for a client to end
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = crate::duration)]
    timeout: Duration,

    /// Connections to the server at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: u8,

    /// Test this server although it is not this machine: the same host once more
    #[arg(long, value_name = "HOST")]
    yes_really: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Tls {
    /// Plaintext first
    Starttls,
    /// TLS from the first octet
    Implicit,
}

/// Runs to its end, and tells. `Ok(false)` when a case failed that owes as much as was asked for.
pub(crate) fn run(options: &Options) -> Result<bool, Failure> {
    let side = if options.client { Side::Client } else { Side::Server };
    let cases = chosen(options, side)?;
    if options.list {
        tell(&report::list(cases.iter()));
        return Ok(true);
    }
    let expected = match &options.expected_failures {
        Some(file) => report::expected(&read(file, "--expected-failures")?, side),
        None => BTreeSet::new(),
    };
    let mut report = match &options.server {
        Some(server) => against_server(options, server, cases)?,
        None => against_client(options, cases)?,
    };
    report.expected = expected;
    tell(&match options.format {
        Format::Text => report.text(),
        Format::Json => report.json().to_string() + "\n",
        Format::Junit => report.junit(),
    });
    Ok(!report.has_failed(options.fail_on))
}

fn chosen(options: &Options, side: Side) -> Result<Vec<Case>, Failure> {
    let all = match &options.cases {
        Some(folder) => case::from_folder(folder),
        None => case::embedded(),
    };
    // A list without a server is of both sides.
    let both = options.list && options.server.is_none() && !options.client;
    let mut cases: Vec<Case> =
        all.map_err(Failure::usage)?.into_iter().filter(|case| both || case.side == side).collect();
    if !options.case.is_empty() {
        let wanted: Vec<String> = options.case.iter().map(|id| report::full_id(id, side)).collect();
        if let Some(id) = wanted.iter().find(|id| !cases.iter().any(|case| case.id == **id)) {
            return Err(Failure::usage(format_args!("--case {id}: there is none; --list tells them")));
        }
        cases.retain(|case| wanted.contains(&case.id));
    }
    Ok(cases)
}

fn against_server(options: &Options, server: &str, cases: Vec<Case>) -> Result<Report, Failure> {
    let (host, address) = resolve(server, options.yes_really.as_deref())?;
    let subject = Subject {
        address,
        host,
        implicit_tls: options.tls == Tls::Implicit,
        lmtp: options.lmtp,
        patience: options.timeout,
        sender: options.sender.clone(),
        recipients: options.recipient.clone(),
        domain: options.domain.clone(),
        user: options.users.as_deref().map(user).transpose()?,
    };
    let ground = subject.ground()?;
    let played = together(cases, options.jobs.into(), |case| play::play(case, &subject, &ground));
    Ok(Report { subject: server.to_owned(), ground: described(&subject, &ground), played, expected: BTreeSet::new() })
}

fn against_client(options: &Options, cases: Vec<Case>) -> Result<Report, Failure> {
    let client = scripted::Client::new(&options.command, options.lmtp, options.timeout)?;
    let played = cases.into_iter().map(|case| timed(case, |case| client.play(case))).collect();
    let ground = if options.lmtp { "a client, over LMTP" } else { "a client" }.to_owned();
    let subject = options.command.first().cloned().unwrap_or_default();
    Ok(Report { subject, ground, played, expected: BTreeSet::new() })
}

/// So many at once, each on a connection of its own; in the order of the cases.
fn together(cases: Vec<Case>, jobs: usize, play: impl Fn(&Case) -> Outcome + Sync) -> Vec<Played> {
    let next = Mutex::new(cases.into_iter().enumerate());
    let played = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some((number, case)) = locked(&next).next() {
                    let each = timed(case, &play);
                    locked(&played).push((number, each));
                }
            });
        }
    });
    let mut played = played.into_inner().unwrap_or_else(PoisonError::into_inner);
    played.sort_by_key(|(number, _)| *number);
    played.into_iter().map(|(_, each)| each).collect()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn timed(case: Case, play: impl FnOnce(&Case) -> Outcome) -> Played {
    let begun = Instant::now();
    let outcome = play(&case);
    Played { case, outcome, took: begun.elapsed() }
}

fn described(subject: &Subject, ground: &Ground) -> String {
    let place = if subject.implicit_tls || ground.tls { "inside TLS" } else { "in plaintext" };
    let who = if ground.login { ", from users" } else { "" };
    let protocol = if subject.lmtp { "LMTP" } else { "SMTP" };
    let offered = if ground.tls { &ground.inside } else { &ground.plain };
    let keywords: Vec<&str> = offered.iter().filter_map(|line| line.split_whitespace().next()).collect();
    format!("{protocol}, takes mail {place}{who}; announces {}", keywords.join(" "))
}

/// The host as it was given, and its address: of this machine, unless its name was given twice.
fn resolve(server: &str, really: Option<&str>) -> Result<(String, SocketAddr), Failure> {
    let wrong = |why: &dyn std::fmt::Display| Failure::usage(format_args!("{server}: {why}; give HOST:PORT"));
    let (host, _) = server.rsplit_once(':').ok_or_else(|| wrong(&"no port"))?;
    let mut addresses = server.to_socket_addrs().map_err(|error| wrong(&error))?;
    let address = addresses.next().ok_or_else(|| wrong(&"no address"))?;
    if !address.ip().to_canonical().is_loopback() && really != Some(host) {
        return Err(Failure::usage(format_args!(
            "{host} is not this machine: these are tests for servers of one's own. If it is, say --yes-really {host}"
        )));
    }
    Ok((host.trim_matches(['[', ']']).to_owned(), address))
}

/// The first line with a name and a password.
fn user(file: &Path) -> Result<(String, String), Failure> {
    let text = read(file, "--users")?;
    let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
    let (name, password) = pairs
        .next()
        .ok_or_else(|| Failure::usage(format_args!("--users {}: no line NAME:PASSWORD", file.display())))?;
    Ok((name.to_owned(), password.to_owned()))
}

fn read(file: &Path, option: &str) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| Failure::usage(format_args!("{option} {}: {error}", file.display())))
}

/// Whoever closes the pipe has read enough.
fn tell(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::resolve;

    #[test]
    fn nothing_goes_to_another_machine_unasked() {
        assert!(resolve("127.0.0.1:25", None).is_ok());
        assert!(resolve("[::1]:25", None).is_ok());
        assert!(resolve("192.0.2.1:25", None).is_err());
        assert!(resolve("192.0.2.1:25", Some("192.0.2.2")).is_err());
        assert!(resolve("192.0.2.1:25", Some("192.0.2.1")).is_ok());
        assert!(resolve("127.0.0.1", None).is_err());
    }
}
