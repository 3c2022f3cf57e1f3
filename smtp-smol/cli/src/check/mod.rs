//! `smtp-smol check`: what an operator asks about a mail server before and after a change of it.

mod certificate;
mod finding;
mod further;
mod hello;
mod link;
mod probe;
mod report;
mod text_end;
mod tls;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use rustls::pki_types::ServerName;
use smtp_proto::client::Config;

use crate::failure::Failure;
use certificate::Trust;
use finding::{Finding, Level};
use probe::Subject;
use report::Report;

/// What monitoring takes for "could not be found out".
const UNKNOWN: u8 = 3;

const EXAMPLES: &str = "\
Each address of the host is asked by some eight connections, one after the other; with --quick by one. On them is said EHLO, \
STARTTLS, MAIL FROM:<> (taken back by RSET) and QUIT. Nothing is delivered. Of the further connections one offers TLS 1.1 in \
place of a newer one, one has a NOOP behind STARTTLS in the same octets, and the last one speaks before it is greeted: a server \
may note this down against the machine that does it.

With --to, six messages are sent to that mailbox at each address. In each of them stands what is no end of text but has been \
taken for one, such as LF . LF, and behind it the line NOOP. A server in order refuses the message or delivers it in one piece. \
Name a mailbox of your own whose mail nobody misses.

It is a test of servers of one's own.

Examples:
  smtp-smol check mx.example.net
      All that it finds, and what to do about it
  smtp-smol check mx.example.net --quick --days 21
      For monitoring, as a plugin of Nagios: the first line, and the exit code
  smtp-smol check mx.example.net --required --json
      A server that is to take no mail without TLS
  smtp-smol check mail.example.net:465 --implicit-tls
      TLS from the first octet
  smtp-smol check 192.0.2.25 --tls-name mx.example.net --to test@example.net
      One address, by the name that its certificate must bear; and ends of text

Exit codes: 0 nothing worse than a note, 1 a warning, 2 critical, 3 it could not be found out (421 is that, too).";

/// Say what is wrong with a mail server: STARTTLS, versions, certificates, and what it takes that it must not
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The server, by name or address [default port: 25, or 465 with --implicit-tls]
    #[arg(value_name = "HOST[:PORT]")]
    server: String,

    /// TLS comes first, as on port 465 (RFC 8314)
    #[arg(long)]
    implicit_tls: bool,

    /// The name that the server's certificate must bear [default: HOST]
    #[arg(long, value_name = "NAME")]
    tls_name: Option<String>,

    /// Authorities to trust (PEM) [default: those of this machine]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// Warn when a certificate has fewer days left
    #[arg(long, value_name = "N", default_value_t = 14)]
    days: u32,

    /// TLS is meant to be required: mail that is taken without it is critical
    #[arg(long, conflicts_with = "implicit_tls")]
    required: bool,

    /// Send messages with what is no end of text to this mailbox, and see that it is not taken for one
    #[arg(long, value_name = "MAILBOX", value_parser = mailbox)]
    to: Option<String>,

    /// One connection an address: no old versions, groups, second certificate, bytes behind STARTTLS and early talk
    #[arg(long)]
    quick: bool,

    /// Ask IPv4 addresses alone
    #[arg(long, short = '4', conflicts_with = "ipv6")]
    ipv4: bool,

    /// Ask IPv6 addresses alone
    #[arg(long, short = '6')]
    ipv6: bool,

    /// Take what has this identifier for no more than a note; may be given several times
    #[arg(long, value_name = "ID")]
    ignore: Vec<String>,

    /// Name of this client in EHLO [default: this machine's name]
    #[arg(long, value_name = "NAME")]
    helo: Option<String>,

    /// How long to wait for a connection, and for each reply, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    timeout: u32,

    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

fn mailbox(text: &str) -> Result<String, String> {
    let wrong = "give an address such as test@example.net";
    match smtp_proto::syntax::ForwardPath::parse(text, false) {
        Ok(_) if text.contains('@') => Ok(text.to_owned()),
        _ => Err(wrong.into()),
    }
}

/// Asks, and tells. What is wrong with the options is told as monitoring expects it.
pub(crate) fn run(options: &Options) -> ExitCode {
    match checked(options) {
        Ok(report) => {
            report.print(options.json);
            ExitCode::from(report.exit_code())
        }
        Err(failure) => {
            println!("SMTP UNKNOWN - {failure}");
            ExitCode::from(UNKNOWN)
        }
    }
}

/// Ends the program for options that are wrong: by the exit code that monitoring expects where it was this command that had them.
pub(crate) fn end(error: &clap::Error) -> ! {
    if error.use_stderr() && std::env::args_os().nth(1).is_some_and(|command| command == "check") {
        let _ = error.print();
        std::process::exit(UNKNOWN.into());
    }
    error.exit()
}

fn checked(options: &Options) -> Result<Report, Failure> {
    let usual = if options.implicit_tls { 465 } else { 25 };
    let wrong = || Failure::usage(format!("{}: not a server; give HOST, HOST:PORT or [IPv6]:PORT", options.server));
    let (host, port) = crate::place::split(&options.server, usual).ok_or_else(wrong)?;
    let subject = subject(options, host)?;
    let addresses = addresses(options, host, port)?;

    let mut findings = vec![families(&addresses)];
    let mut days = None::<i64>;
    for address in addresses {
        let seen = probe::whole_way(&subject, address)?;
        let mut found = seen.findings.clone();
        if seen.serves && !options.quick {
            found.extend(further::questions(&subject, address, &seen)?);
        }
        // Behind each address may stand another server, with settings of its own.
        if let (true, Some(to)) = (seen.serves, &options.to) {
            found.push(text_end::questions(&subject, address, seen.tls.is_some(), to)?);
        }
        days = days.into_iter().chain(seen.days).min();
        findings.extend(found.into_iter().map(|finding| Finding { address: Some(address.to_string()), ..finding }));
    }
    for finding in &mut findings {
        if finding.level > Level::Note && options.ignore.iter().any(|id| id == finding.id) {
            finding.level = Level::Note;
        }
    }
    if let Some(id) = options.ignore.iter().find(|id| !IDS.contains(&id.as_str())) {
        return Err(Failure::usage(format!("--ignore {id}: there is none; they are {}", IDS.join(", "))));
    }
    let worst = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Unknown);
    let status = if worst == Level::Note { Level::Ok.word() } else { worst.word() };
    let server = if host.contains(':') { format!("[{}]:{port}", bare(host)) } else { format!("{host}:{port}") };
    let connections = subject.connections.get();
    Ok(Report { server, status, connections, days, least_days: options.days, findings })
}

/// What findings can be about.
const IDS: [&str; 21] = [
    "addresses",
    "connect",
    "greeting",
    "ehlo",
    "auth-before-tls",
    "starttls",
    "tls",
    "certificate-name",
    "certificate-chain",
    "certificate-days",
    "certificate-kinds",
    "inside-tls",
    "announced",
    "required",
    "tls-1.3",
    "tls-1.2",
    "tls-old",
    "groups",
    "behind-starttls",
    "early-talk",
    "text-end",
];

/// An address without its brackets.
fn bare(host: &str) -> &str {
    host.trim_matches(['[', ']'])
}

fn subject(options: &Options, host: &str) -> Result<Subject, Failure> {
    let wanted = options.tls_name.as_deref().unwrap_or_else(|| bare(host));
    let ascii = idna::domain_to_ascii(wanted).unwrap_or_else(|_| wanted.to_owned());
    let name = ServerName::try_from(ascii.clone()).map_err(|_| {
        Failure::option("--tls-name", wanted, "no certificate can bear this name", "give a domain name or an address")
    })?;
    let helo = match &options.helo {
        Some(name) => Config::new(name).map_err(|_| {
            let mend = "give a domain name, or an address in brackets such as [192.0.2.1]";
            Failure::option("--helo", name, "not a host name", mend)
        })?,
        None => Config::new(&crate::node::of(None))
            .or_else(|_| Config::new("localhost"))
            .map_err(|error| Failure::running(error.to_string()))?,
    };
    Ok(Subject {
        sni: matches!(name, ServerName::DnsName(_)).then_some(ascii),
        trust: Trust::new(options.ca.as_deref(), name, options.days)?,
        helo: helo.name().to_owned(),
        time: Duration::from_secs(options.timeout.into()),
        implicit_tls: options.implicit_tls,
        required: options.required,
        connections: Cell::new(0),
    })
}

/// Each of them once, in the order of the system's resolver.
fn addresses(options: &Options, host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
    let ascii = idna::domain_to_ascii(host).unwrap_or_else(|_| host.to_owned());
    let name = if host.contains(':') { bare(host) } else { ascii.as_str() };
    let found = (name, port).to_socket_addrs().map_err(|error| Failure::usage(format!("{host}: {error}")))?;
    let mut known = BTreeSet::new();
    let wanted = |address: &SocketAddr| match (options.ipv4, options.ipv6) {
        (true, _) => address.is_ipv4(),
        (_, true) => address.is_ipv6(),
        _ => true,
    };
    let addresses: Vec<_> = found.filter(wanted).filter(|address| known.insert(*address)).collect();
    if addresses.is_empty() { Err(Failure::usage(format!("{host}: it has no such address"))) } else { Ok(addresses) }
}

fn families(addresses: &[SocketAddr]) -> Finding {
    let six = addresses.iter().filter(|address| address.is_ipv6()).count();
    Finding::ok("addresses", format!("{} by IPv4, {six} by IPv6", addresses.len() - six))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_is_one_address() {
        assert!(mailbox("test@example.net").is_ok());
        for text in ["test", "a@b> x", "a@b\r\nRSET", ""] {
            assert!(mailbox(text).is_err(), "{text:?}");
        }
    }
}
