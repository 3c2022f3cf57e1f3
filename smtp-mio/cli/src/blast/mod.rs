//! `smtp-mio blast`: a load generator, as fast as the server goes or at a rate of its own.

mod load;
mod report;

use std::io::{self, IsTerminal as _, Write as _};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use rustls::RootCertStore;
use signal_hook::consts::{SIGINT, SIGTERM};
use smtp_mio::{Client, ClientTls, Target};
use smtp_proto::client::{Config, Limits, Protocol, Timeouts, Tls as ClientPolicy};
use smtp_proto::syntax::{ForwardPath, Mailbox, Params, Rcpt, ReversePath};

use crate::failure::Failure;
use load::{Load, Message};

const EXAMPLES: &str = "\
Without --rate each connection sends one message after the other, as fast as the server answers.
With it messages are due at fixed times, whether the server keeps up or not, and each is timed from
when it was due: a stall is not left out.

The server's certificate is not verified: this measures, and sends nothing that is secret. On SIGINT
messages on their way complete, and it tells what it measured so far; on a second it ends at once.

Examples:
  smtp-mio blast 127.0.0.1:2525
      10,000 messages of 4 KiB on 10 connections, as fast as they are taken
  smtp-mio blast mx.test.example:25 --rate 200 --duration 1m --to postmaster@test.example
      200 messages a second for a minute, and how late each was
  smtp-mio blast 127.0.0.1:2525 --tls starttls --per-connection 1 --resume
      A connection and a handshake for each message, resumed where the server lets it
Exit code: 0 when every message was accepted for every recipient, 1 when not, 2 when it could not begin.";

/// A name that claims nothing (RFC 6761 6.4), and says what this is.
const NAME: &str = "smtp-mio-blast.invalid";

/// Send mail to a server as fast as it takes it, or at a rate, and measure.
///
/// Sends only where it is told to, and no more than it is told to. Use it on servers of your own.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The server
    #[arg(value_name = "HOST:PORT")]
    server: String,

    /// Connections at once
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,

    /// Messages in all [default: 10,000, or as many as the duration gives time for]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    messages: Option<u64>,

    /// Begin no message after this time, such as 30s
    #[arg(long, value_name = "TIME", value_parser = crate::duration)]
    duration: Option<Duration>,

    /// Messages a second, whether the server keeps up or not
    #[arg(long, value_name = "PER-SECOND", value_parser = rate)]
    rate: Option<f64>,

    /// Octets of a message
    #[arg(long, value_name = "BYTES", default_value_t = 4096, conflicts_with = "message", value_parser = clap::value_parser!(u32).range(64..))]
    size: u32,

    /// Send this message instead of a made one
    #[arg(long, value_name = "FILE")]
    message: Option<PathBuf>,

    /// Messages on a connection, before it is closed and another is made [default: no limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    per_connection: Option<u64>,

    /// Recipients of a message: those after the first have a number behind their local part
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    recipients: u16,

    /// The sender
    #[arg(long, value_name = "ADDRESS", default_value = "blast@smtp-mio-blast.invalid")]
    from: String,

    /// The recipient
    #[arg(long, value_name = "ADDRESS", default_value = "postmaster@localhost")]
    to: String,

    /// What to do about TLS
    #[arg(long, value_enum, default_value = "never")]
    tls: Tls,

    /// Take up earlier TLS sessions, where the server gives tickets
    #[arg(long)]
    resume: bool,

    /// Speak LMTP
    #[arg(long)]
    lmtp: bool,

    /// Send commands together where PIPELINING is offered: the default
    #[arg(long, overrides_with = "no_pipeline")]
    pipeline: bool,

    /// Wait for each reply
    #[arg(long)]
    no_pipeline: bool,

    /// Send the text by BDAT, which the server must offer
    #[arg(long)]
    bdat: bool,

    /// How long to wait for the server, to connect and for each reply, before a message counts as failed
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = crate::duration)]
    timeout: Duration,

    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Tls {
    /// Plaintext
    Never,
    /// STARTTLS, or nothing is sent
    Starttls,
    /// TLS from the first octet
    Implicit,
}

/// Runs to its end, or until SIGINT or SIGTERM, and tells what it measured. `Ok(false)` when a message was not accepted, for each of its
/// recipients.
pub(crate) fn run(options: &Options) -> Result<bool, Failure> {
    let address = resolve(&options.server)?;
    let from = mailbox("--from", &options.from)?;
    let to: Vec<String> = recipients(&mailbox("--to", &options.to)?, options.recipients);
    let to: Vec<Mailbox<'_>> = to.iter().map(|to| mailbox("--to", to)).collect::<Result<_, _>>()?;
    let message = Message {
        from: ReversePath::Mailbox(from),
        to: to.iter().map(|to| Rcpt { path: ForwardPath::Mailbox(*to), params: Params::default() }).collect(),
        text: text(options)?,
    };
    let mut load = Load::new(&message);
    load.messages = options.messages.unwrap_or(if options.duration.is_some() { u64::MAX } else { 10_000 });
    load.rate = options.rate;
    load.until = options.duration;
    load.per_connection = options.per_connection.unwrap_or(u64::MAX);
    load.bdat = options.bdat;
    let host = options.server.rsplit_once(':').map_or("", |(host, _)| host);
    let mut client = Client::new(config(options)?).map_err(Failure::running)?.connect_time(options.timeout);
    if options.tls != Tls::Never {
        let tls = ClientTls::new(RootCertStore::empty()).map_err(Failure::running)?;
        client = client.tls(&if options.resume { tls } else { tls.without_resumption() });
    }
    let target = Target::addresses(&[address]).called(host).implicit_tls(options.tls == Tls::Implicit);
    let most = usize::try_from(options.connections).unwrap_or(usize::MAX);
    let mut blast = Blast { client, target, load, most, stop: stop_on_signal().map_err(Failure::running)? };
    crate::raise_descriptor_limit();
    let bar = progress(blast.load.messages);
    blast.run(&bar).map_err(|error| Failure::running(format_args!("{}: {error}", options.server)))?;
    bar.finish_and_clear();
    let report = &blast.load.report;
    let told = if options.json { report.json().to_string() + "\n" } else { report.text() };
    let _ = io::stdout().write_all(told.as_bytes());
    Ok(report.accepted == report.done() && report.recipients_refused == 0)
}

fn config(options: &Options) -> Result<Arc<Config>, Failure> {
    let mut timeouts = Timeouts::default();
    for time in
        [&mut timeouts.greeting, &mut timeouts.command, &mut timeouts.data, &mut timeouts.text, &mut timeouts.text_end]
    {
        *time = options.timeout;
    }
    let mut limits = Limits::default();
    if options.no_pipeline && !options.pipeline {
        limits.group = 1;
    }
    let protocol = if options.lmtp { Protocol::Lmtp } else { Protocol::Smtp };
    let tls = if options.tls == Tls::Starttls { ClientPolicy::Require } else { ClientPolicy::Never };
    let config = Config::new(NAME).map_err(Failure::running)?.protocol(protocol).tls(tls).timeouts(timeouts);
    Ok(config
        .limits(limits)
        .chunking(options.bdat)
        .chunking_in_lmtp(options.bdat)
        .send_eight_bit_anyway(true)
        .send_long_lines(true)
        .shared())
}

struct Blast<'p> {
    client: Client<'p>,
    target: Target,
    load: Load<'p>,
    /// Connections at once.
    most: usize,
    /// Signals that have come.
    stop: Arc<AtomicBool>,
}

impl Blast<'_> {
    fn run(&mut self, bar: &ProgressBar) -> io::Result<()> {
        loop {
            if self.stop.load(Ordering::Relaxed) && !self.load.stopped {
                self.load.stopped = true;
                self.client.shut_down();
            }
            self.give();
            if self.load.is_over() {
                self.load.idle.drain(..).for_each(|key| self.client.quit(key));
                // Who has no message any more is not waited for, such as a server that has yet to greet.
                if self.load.busy == 0 {
                    self.client.shut_down();
                }
                if self.client.is_empty() {
                    return Ok(());
                }
            } else {
                self.fill();
            }
            self.client.poll(Some(self.wait()), &mut self.load)?;
            bar.set_position(self.load.report.done());
        }
    }

    /// Gives due messages to idle connections.
    fn give(&mut self) {
        while !self.load.is_over()
            && self.load.next_due().is_some_and(|due| due <= Instant::now())
            && let Some(key) = self.load.idle.pop()
        {
            // It may have closed meanwhile.
            if self.client.send(key, self.load.envelope, self.load.message.text.as_slice().into()) {
                self.load.take(key);
            }
        }
    }

    /// Makes connections, as many as there may be, and no more than there are messages for.
    fn fill(&mut self) {
        let left = usize::try_from(self.load.messages - self.load.issued).unwrap_or(usize::MAX);
        let most = self.most.min(left.saturating_add(self.load.busy));
        while self.client.len() < most && !self.load.is_over() {
            if let Err(error) = self.client.connect(&self.target) {
                self.load.report.error(format!("connection: {error}"));
                self.load.count_as_failed();
            }
        }
    }

    fn wait(&self) -> Duration {
        let most = Duration::from_millis(100);
        match self.load.next_due() {
            Some(due) if !self.load.idle.is_empty() && !self.load.is_over() => {
                most.min(due.saturating_duration_since(Instant::now()))
            }
            _ => most,
        }
    }
}

/// The first SIGINT or SIGTERM lets messages on their way complete, and the second ends at once.
fn stop_on_signal() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, stop.clone())?;
        signal_hook::flag::register(signal, stop.clone())?;
    }
    Ok(stop)
}

fn resolve(server: &str) -> Result<SocketAddr, Failure> {
    let wrong = |why: &dyn std::fmt::Display| Failure::usage(format_args!("{server}: {why}; give HOST:PORT"));
    let mut addresses = server.to_socket_addrs().map_err(|error| wrong(&error))?;
    addresses.next().ok_or_else(|| wrong(&"no address"))
}

fn mailbox<'a>(option: &str, text: &'a str) -> Result<Mailbox<'a>, Failure> {
    Mailbox::parse(text, false).map_err(|error| Failure::usage(format_args!("{option} {text}: {error}")))
}

fn recipients(first: &Mailbox<'_>, count: u16) -> Vec<String> {
    let number = |n: u16| if n == 1 { String::new() } else { format!("-{n}") };
    (1..=count).map(|n| format!("{}{}@{}", first.local_part(), number(n), first.domain())).collect()
}

/// The file with CRLF at its line ends, or a text of just that size.
fn text(options: &Options) -> Result<Vec<u8>, Failure> {
    if let Some(file) = &options.message {
        let read = std::fs::read(file);
        let text = read.map_err(|error| Failure::usage(format_args!("--message {}: {error}", file.display())))?;
        let mut out = Vec::with_capacity(text.len() + text.len() / 32);
        for line in text.split_inclusive(|octet| *octet == b'\n') {
            let end = line.strip_suffix(b"\n").unwrap_or(line);
            out.extend_from_slice(end.strip_suffix(b"\r").unwrap_or(end));
            out.extend_from_slice(b"\r\n");
        }
        return Ok(out);
    }
    let size = usize::try_from(options.size).unwrap_or(usize::MAX);
    let mut out = b"Subject: a test message of smtp-mio blast\r\n\r\n".to_vec();
    while out.len() < size {
        // Full lines, and a last one that is neither empty nor without room for its CRLF.
        let left = size - out.len();
        let line = if left > 74 { 72.min(left - 3) } else { left };
        out.extend(std::iter::repeat_n(b'x', line - 2));
        out.extend_from_slice(b"\r\n");
    }
    Ok(out)
}

fn rate(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|rate| (1e-3..=1e7).contains(rate))
        .ok_or_else(|| "give messages a second, such as 200".into())
}

/// On a terminal only.
fn progress(messages: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = if messages == u64::MAX { ProgressBar::new_spinner() } else { ProgressBar::new(messages) };
    let style = ProgressStyle::with_template("{wide_bar} {human_pos}/{human_len} {per_sec} {eta}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
