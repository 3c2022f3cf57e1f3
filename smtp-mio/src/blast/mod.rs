//! `smtp-mio blast`: a load generator, as fast as the server goes or at a rate of its own.

mod connection;
mod report;

use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use slab::Slab;
use smtp_proto::client::{Config, Protocol, Tls as ClientTls};
use smtp_proto::syntax::{ForwardPath, Mailbox, Params, Rcpt, ReversePath};

use crate::failure::Failure;
use connection::{Connection, Now, Plan};
use report::Report;

const EXAMPLES: &str = "\
Without --rate each connection sends one message after the other, as fast as the server answers. With it messages are
due at fixed times, whether the server keeps up or not, and each is timed from when it was due: a stall is not left out.

The server's certificate is not verified: this measures, and sends nothing that is secret.

Examples:
  smtp-mio blast 127.0.0.1:2525
      10,000 messages of 4 KiB on 10 connections, as fast as they are taken
  smtp-mio blast mx.test.example:25 --rate 200 --duration 1m --to postmaster@test.example
      200 messages a second for a minute, and how late each was
  smtp-mio blast 127.0.0.1:2525 --tls starttls --per-connection 1 --resume
      A connection and a handshake for each message, resumed where the server lets it
Exit code: 0 when every message was accepted, 1 when not, 2 when it could not begin.";

/// A name that claims nothing (RFC 6761 6.4), and says what this is.
const NAME: &str = "smtp-mio-blast.invalid";
/// Without anything from the server, after which what is on its way counts as failed.
const PATIENCE: Duration = Duration::from_secs(60);

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

/// Runs to its end. `Ok(false)` when a message was not accepted.
pub(crate) fn run(options: &Options) -> Result<bool, Failure> {
    let address = resolve(&options.server)?;
    let from = mailbox("--from", &options.from)?;
    let to: Vec<String> = recipients(&mailbox("--to", &options.to)?, options.recipients);
    let to: Vec<Mailbox<'_>> = to.iter().map(|to| mailbox("--to", to)).collect::<Result<_, _>>()?;
    let protocol = if options.lmtp { Protocol::Lmtp } else { Protocol::Smtp };
    let tls = if options.tls == Tls::Starttls { ClientTls::Require } else { ClientTls::Never };
    let host = options.server.rsplit_once(':').map_or("", |(host, _)| host).trim_matches(['[', ']']);
    let plan = Plan {
        config: Config::new(NAME).map_err(Failure::running)?.protocol(protocol).tls(tls).shared(),
        tls: (options.tls != Tls::Never).then(|| client_tls(options.resume)),
        server_name: ServerName::try_from(host.to_owned()).unwrap_or(ServerName::IpAddress(address.ip().into())),
        implicit_tls: options.tls == Tls::Implicit,
        from: ReversePath::Mailbox(from),
        to: to.iter().map(|to| Rcpt { path: ForwardPath::Mailbox(*to), params: Params::default() }).collect(),
        text: text(options)?,
        pipeline: !options.no_pipeline || options.pipeline,
        bdat: options.bdat,
    };
    let messages = options.messages.unwrap_or(if options.duration.is_some() { u64::MAX } else { 10_000 });
    let mut blast = Blast {
        plan,
        address,
        poll: Poll::new().map_err(Failure::running)?,
        connections: Slab::new(),
        idle: Vec::new(),
        report: Report::new(),
        begun: Instant::now(),
        issued: 0,
        messages,
        rate: options.rate,
        until: options.duration,
        per_connection: options.per_connection.unwrap_or(u64::MAX),
        most: usize::try_from(options.connections).unwrap_or(usize::MAX),
    };
    let bar = progress(messages);
    blast.run(&bar).map_err(|error| Failure::running(format_args!("{}: {error}", options.server)))?;
    bar.finish_and_clear();
    let report = if options.json { blast.report.json().to_string() + "\n" } else { blast.report.text() };
    let _ = io::stdout().write_all(report.as_bytes());
    Ok(blast.report.accepted == blast.report.done())
}

struct Blast<'p> {
    plan: Plan<'p>,
    address: SocketAddr,
    poll: Poll,
    connections: Slab<Box<Connection>>,
    /// Those that can take a message.
    idle: Vec<usize>,
    report: Report,
    begun: Instant,
    /// Messages that have been given to a connection, or counted as failed without one.
    issued: u64,
    messages: u64,
    rate: Option<f64>,
    until: Option<Duration>,
    per_connection: u64,
    most: usize,
}

impl Blast<'_> {
    fn run(&mut self, bar: &ProgressBar) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut heard = Instant::now();
        loop {
            self.give();
            if self.is_over() {
                while let Some(key) = self.idle.pop() {
                    if let Some(connection) = self.connections.get_mut(key) {
                        connection.quit();
                        self.drive(key);
                    }
                }
                if self.connections.is_empty() {
                    return Ok(());
                }
            } else {
                self.fill();
            }
            match self.poll.poll(&mut events, Some(self.wait())) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                heard = Instant::now();
                self.drive(event.token().0);
            }
            if heard.elapsed() > PATIENCE && (self.is_over() || self.connections.iter().any(|(_, c)| c.is_busy())) {
                let keys: Vec<usize> = self.connections.iter().map(|(key, _)| key).collect();
                keys.into_iter().for_each(|key| self.lose(key, "no answer for a minute"));
                heard = Instant::now();
            }
            bar.set_position(self.report.done());
        }
    }

    /// Gives due messages to idle connections.
    fn give(&mut self) {
        while !self.is_over()
            && let Some(due) = self.next_due().filter(|due| *due <= Instant::now())
            && let Some(key) = self.idle.pop()
        {
            if let Some(connection) = self.connections.get_mut(key) {
                self.issued += 1;
                connection.take(due);
                self.drive(key);
            }
        }
    }

    /// When the next message is due: at once, or by the clock.
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    fn next_due(&self) -> Option<Instant> {
        match self.rate {
            None => Some(Instant::now()),
            Some(rate) => self.begun.checked_add(Duration::from_secs_f64(self.issued as f64 / rate)),
        }
    }

    fn is_over(&self) -> bool {
        self.issued >= self.messages || self.until.is_some_and(|until| self.begun.elapsed() >= until)
    }

    /// Makes connections, as many as there may be, and no more than there are messages for.
    fn fill(&mut self) {
        let busy = self.connections.iter().filter(|(_, connection)| connection.is_busy()).count();
        let left = usize::try_from(self.messages - self.issued).unwrap_or(usize::MAX);
        let most = self.most.min(left.saturating_add(busy));
        while self.connections.len() < most && !self.is_over() {
            let made = TcpStream::connect(self.address).and_then(|socket| {
                let entry = self.connections.vacant_entry();
                let mut connection = Connection::new(socket, &self.plan);
                let _ = connection.socket.set_nodelay(true);
                let interest = Interest::READABLE | Interest::WRITABLE;
                self.poll.registry().register(&mut connection.socket, Token(entry.key()), interest)?;
                entry.insert(Box::new(connection));
                Ok(())
            });
            if let Err(error) = made {
                self.report.error(format!("connection: {error}"));
                self.count_as_failed();
            }
        }
    }

    fn drive(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let was_busy = connection.is_busy();
        match connection.drive(&self.plan, &mut self.report) {
            Ok(Now::Waiting) => {}
            Ok(Now::Idle) if connection.messages >= self.per_connection => {
                connection.quit();
                self.drive(key);
            }
            Ok(Now::Idle) => {
                if was_busy || !self.idle.contains(&key) {
                    self.idle.push(key);
                }
            }
            Ok(Now::Closed) => {
                let unused = connection.messages == 0;
                self.forget(key);
                // Turned away: counted, so that there is an end to it.
                if unused && !self.is_over() {
                    self.report.error("connection: closed before a message");
                    self.count_as_failed();
                }
            }
            Err(error) => self.lose(key, &error.to_string()),
        }
    }

    fn lose(&mut self, key: usize, why: &str) {
        let busy = self.connections.get(key).is_some_and(|connection| connection.is_busy());
        self.report.error(format!("connection: {why}"));
        self.forget(key);
        if busy {
            self.report.failed += 1;
        } else if !self.is_over() {
            self.count_as_failed();
        }
    }

    fn forget(&mut self, key: usize) {
        self.connections.try_remove(key);
        self.idle.retain(|idle| *idle != key);
    }

    /// A connection that comes to nothing costs a message: the blast is bounded.
    fn count_as_failed(&mut self) {
        self.issued += 1;
        self.report.failed += 1;
    }

    fn wait(&self) -> Duration {
        let most = Duration::from_millis(100);
        match self.next_due() {
            Some(due) if !self.idle.is_empty() && !self.is_over() => {
                most.min(due.saturating_duration_since(Instant::now()))
            }
            _ => most,
        }
    }
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

fn client_tls(resume: bool) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(rustls::crypto::ring::default_provider())))
        .with_no_client_auth();
    if !resume {
        config.resumption = Resumption::disabled();
    }
    Arc::new(config)
}

/// Takes any certificate: a server under test has often made its own.
#[derive(Debug)]
struct Anyone(CryptoProvider);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
