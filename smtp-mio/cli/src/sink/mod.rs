//! `smtp-mio sink`: swallows mail, or keeps it, and misbehaves on request.

mod printer;
mod store;
mod swallow;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{CipherSuite, ServerConfig};
use signal_hook::consts::{SIGINT, SIGTERM};
use smtp_mio::{Handle, Server, Stats};
use smtp_proto::Leniencies;
use smtp_proto::auth::{Mechanism, MechanismSet};
use smtp_proto::server::{Config, Role};
use smtp_proto::tls::Policy;

use crate::failure::Failure;
use printer::Printer;
use smtp_testing::{Rule, Rules};
use store::Store;
use swallow::{Kitchen, Swallow};

/// How long messages in flight may take when the sink is told to end.
const DRAIN: Duration = Duration::from_secs(5);
/// How long whoever reads standard output may take for what is left then.
const READ: Duration = Duration::from_secs(3);

const EXAMPLES: &str = "\
Verbs: CONNECT (the greeting), EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA, BDAT (the first chunk),
MESSAGE (the end of the text), RSET, NOOP, VRFY, HELP, QUIT.

A script has a rule a line; conditions must all hold, and are counted over all connections:
  # verb   conditions                    what happens
  RCPT     with \"unknown@\"               550 5.1.1 No such user
  RCPT     share 0.1                     450 4.2.1 Busy
  MAIL     every 100                     421 4.3.2 Not today
  DATA     first 5                       451 4.3.0 Not yet
  MESSAGE  with \"\" share 0.01            drop
  CONNECT                                delay 300ms
Rules are looked at in order: --delay, --drop, --fail, then the script. Delays add up; the first
reply or drop ends it.

Examples:
  smtp-mio sink
      Swallow what comes to 127.0.0.1:2525, and count it
  smtp-mio sink --fail 'RCPT=450 4.2.1 Busy:0.1' --delay DATA=200ms --drop MESSAGE:0.05
      Refuse every tenth recipient, answer DATA late, hang up after every twentieth message
  smtp-mio sink --listen 127.0.0.1:2525 --implicit-tls 127.0.0.1:4650 --deliver maildir:kept --stats 1
      Keep the mail, take it over TLS too, and tell every second how much came";

/// Swallow mail as fast as it comes, or keep it; refuse, delay and drop on request.
///
/// For tests of programs that send mail: nothing is relayed. Ends in order on SIGINT or SIGTERM, after 5 seconds
/// whatever peers do, and then tells what came.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Listen here; may be given several times. Port 0 means any free one; `unix:PATH` a Unix socket
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:2525", value_parser = place)]
    listen: Vec<Place>,

    /// Event loops [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,

    /// What to do about TLS; the certificate is made on the spot
    #[arg(long, value_enum, default_value = "offer")]
    tls: Tls,

    /// Listen here, too, for connections where TLS comes first
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    implicit_tls: Vec<SocketAddr>,

    /// Offer AUTH PLAIN and LOGIN, without TLS too, and take any name and password
    #[arg(long)]
    auth: bool,

    /// Speak LMTP: LHLO, and an answer for each recipient
    #[arg(long)]
    lmtp: bool,

    /// Let this departure from the standards pass, and count it: a name such as bare-lf-text, `devices` for what printers
    /// and the like need, or `none`; may be given several times [default: trailing-space]
    #[arg(long, value_name = "NAME")]
    lenient: Vec<String>,

    /// Octets of a message, announced as SIZE; 0 is no limit
    #[arg(long, value_name = "OCTETS", default_value = "0", value_parser = max_size)]
    max_size: u64,

    /// Where mail goes: `discard`, `maildir:DIR`, `mbox:FILE`, or `json`: a line for each message on standard output, and
    /// before them one for each listener. It is written before 250, and not synced; of what standard output has no room for,
    /// 8 MiB wait in memory, and then messages are answered 452. Lines end with LF, in a Maildir with CRLF if `?newline=crlf`
    /// is put behind
    #[arg(long, value_name = "WHERE", default_value = "discard", value_parser = delivery)]
    deliver: Delivery,

    /// Refuse with this reply, always or this share of the time: `RCPT=450 4.2.1 Busy:0.1`
    #[arg(long, value_name = "VERB=REPLY[:SHARE]")]
    fail: Vec<String>,

    /// Answer so much later: `DATA=200ms`
    #[arg(long, value_name = "VERB=TIME")]
    delay: Vec<String>,

    /// Hang up without a word, always or this share of the time: `MESSAGE:0.05`
    #[arg(long, value_name = "VERB[:SHARE]")]
    drop: Vec<String>,

    /// Rules from a file, see below
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,

    /// Tell what came every so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    stats: Option<u32>,

    /// Print what is told as JSON, a line each time
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Debug)]
enum Place {
    Address(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[derive(Clone, Debug)]
enum Delivery {
    Discard,
    Json,
    Maildir(PathBuf, bool),
    Mbox(PathBuf),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Tls {
    /// Do not offer STARTTLS
    Off,
    /// Offer it, and take mail without it too
    Offer,
    /// Answer 530 to mail until the hop is TLS
    Require,
}

/// Runs until it is told to end.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    tracing_subscriber::fmt()
        .with_writer(crate::log::Unread::begin())
        .with_max_level(tracing::Level::WARN)
        .with_target(false)
        // Where nobody reads stderr there is nowhere to complain of it.
        .log_internal_errors(false)
        .init();
    let printer = Printer::stdout().map_err(|error| Failure::running(format_args!("standard output: {error}")))?;
    let printer = Arc::new(printer);
    let kitchen = Arc::new(Kitchen {
        rules: rules(options)?,
        store: store(options, &printer)?,
        refused: AtomicU64::new(0),
        lenient: Mutex::default(),
    });
    let config = config(options)?;
    let hostname = config.hostname().to_owned();
    crate::raise_descriptor_limit();

    let config = config.shared();
    let mut server = match options.threads {
        Some(threads) => Server::with_threads(config, threads.into()),
        None => Server::new(config),
    };
    let mut limits = smtp_mio::Limits::default();
    (limits.connections, limits.per_address, limits.drain) = (usize::MAX, u32::MAX, DRAIN);
    server = server.limits(limits);
    if options.tls != Tls::Off || !options.implicit_tls.is_empty() {
        server = server.tls(certificate(&hostname)?);
    }
    listen(options, &mut server, &hostname, &printer)?;
    let handle = server.handle();
    end_on_signal(&handle).map_err(|error| Failure::running(format_args!("signals cannot be handled: {error}")))?;
    let (begun, json) = (Instant::now(), options.json);
    let teller = Teller { handle, kitchen: kitchen.clone(), printer: printer.clone(), begun, json };
    let (running, ended) = channel::<()>();
    let every = options.stats.map(|seconds| Duration::from_secs(seconds.into()));
    std::thread::scope(|scope| {
        let teller = &teller;
        scope.spawn(move || {
            let mut last = (Duration::ZERO, Stats::default());
            while let Some(every) = every
                && ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout)
            {
                last = teller.tell(last);
            }
        });
        let result = server.run(move |_| Swallow::new(kitchen.clone()));
        drop(running);
        result.map_err(|error| Failure::running(format_args!("the server ended: {error}")))
    })?;
    teller.tell((Duration::ZERO, Stats::default()));
    match printer.finish(READ) {
        0 => Ok(()),
        left => Err(Failure::running(format_args!("standard output is not read: the last {left} octets are lost"))),
    }
}

fn listen(options: &Options, server: &mut Server, hostname: &str, printer: &Printer) -> Result<(), Failure> {
    let implicit = options.implicit_tls.iter().map(|address| (Place::Address(*address), true));
    for (place, tls) in options.listen.iter().map(|place| (place.clone(), false)).chain(implicit) {
        let bound = match &place {
            Place::Address(address) if tls => server.listen_tls(*address).map(Place::Address),
            Place::Address(address) => server.listen(*address).map(Place::Address),
            Place::Unix(path) => server.listen_unix(path).map(|()| place.clone()),
        };
        let bound = bound.map_err(|error| {
            let option = if tls { "--implicit-tls" } else { "--listen" };
            let mend = match place {
                Place::Address(_) => "name an address of this machine and a free port",
                Place::Unix(_) => "name a file that is not there yet, in a folder that can be written",
            };
            Failure::usage(format_args!("{option} {place}: {error}; {mend}"))
        })?;
        let words = if tls { ", TLS from the first octet" } else { "" };
        eprintln!("listening on {bound} as {hostname}{words}");
        if matches!(options.deliver, Delivery::Json) {
            let line = serde_json::json!({ "listening": bound.to_string(), "implicit_tls": tls });
            let told = printer.print(line.to_string());
            told.map_err(|error| Failure::running(format_args!("standard output: {error}")))?;
        }
    }
    Ok(())
}

/// Tells what came.
struct Teller {
    handle: Handle,
    kitchen: Arc<Kitchen>,
    printer: Arc<Printer>,
    begun: Instant,
    json: bool,
}

impl Teller {
    /// Tells what has come in all, and how fast since the last time.
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    fn tell(&self, (then, before): (Duration, Stats)) -> (Duration, Stats) {
        let (time, now) = (self.begun.elapsed(), self.handle.stats());
        let refused = self.kitchen.refused.load(Ordering::Relaxed);
        let lenient = self.kitchen.lenient.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let seconds = (time - then).as_secs_f64().max(1e-3);
        let rate = |now: u64, before: u64| (now - before) as f64 / seconds;
        let (messages, octets) = (rate(now.messages, before.messages), rate(now.octets, before.octets));
        let line = if self.json {
            serde_json::json!({
                "seconds": time.as_secs_f64(), "connections": now.connections, "open": now.open,
                "messages": now.messages, "refused": refused, "octets": now.octets, "faults": now.faults,
                "handshakes": now.handshakes, "resumed": now.resumed, "handshakes_failed": now.handshakes_failed,
                "messages_per_second": messages, "octets_per_second": octets,
                "handshakes_per_second": rate(now.handshakes, before.handshakes),
                "let_pass": lenient.iter().map(|(each, count)| (each.as_str(), count)).collect::<BTreeMap<_, _>>(),
            })
            .to_string()
        } else {
            format!(
                "{:.1} s: {} messages ({refused} refused), {:.1} MB on {} connections ({} open), {} TLS handshakes ({} resumed, {} failed), {} faults; {messages:.0} messages/s, {:.1} MB/s",
                time.as_secs_f64(),
                now.messages,
                now.octets as f64 / 1e6,
                now.connections,
                now.open,
                now.handshakes,
                now.resumed,
                now.handshakes_failed,
                now.faults,
                octets / 1e6,
            ) + &if lenient.iter().next().is_some() { format!("; let pass: {lenient}") } else { String::new() }
        };
        // A pipe that is closed, or not read, must not end the sink.
        let _ = self.printer.print(line);
        (time, now)
    }
}

type Parser = fn(&str) -> Result<Rule, String>;

fn rules(options: &Options) -> Result<Rules, Failure> {
    let mut rules = Rules::default();
    let parsers: [(&str, &[String], Parser); 3] = [
        ("--delay", &options.delay, Rule::delay),
        ("--drop", &options.drop, Rule::hang_up),
        ("--fail", &options.fail, Rule::fail),
    ];
    for (name, values, parse) in parsers {
        for value in values {
            rules.add(parse(value).map_err(|wrong| Failure::usage(format_args!("{name} {value}: {wrong}")))?);
        }
    }
    if let Some(file) = &options.script {
        let name = file.display();
        let text =
            std::fs::read_to_string(file).map_err(|error| Failure::usage(format_args!("--script {name}: {error}")))?;
        for (number, line) in text.lines().enumerate() {
            let rule = Rule::from_line(line)
                .map_err(|wrong| Failure::usage(format_args!("--script {name}, line {}: {wrong}", number + 1)))?;
            rule.into_iter().for_each(|rule| rules.add(rule));
        }
    }
    Ok(rules)
}

fn store(options: &Options, printer: &Arc<Printer>) -> Result<Store, Failure> {
    let (opened, kind, name) = match &options.deliver {
        Delivery::Discard => return Ok(Store::Discard),
        Delivery::Json => return Ok(Store::Json(printer.clone())),
        Delivery::Maildir(folder, crlf) => (Store::maildir(folder, *crlf), "maildir", folder),
        Delivery::Mbox(file) => (Store::mbox(file), "mbox", file),
    };
    opened.map_err(|error| {
        Failure::usage(format_args!("--deliver {kind}:{}: {error}; name a place that can be written", name.display()))
    })
}

/// Takes whatever comes, as far as it keeps to the protocol.
fn config(options: &Options) -> Result<Config, Failure> {
    let name = hostname::get().unwrap_or_default();
    // Many a machine's name is no domain name. This one is, and claims nothing.
    let config = Config::new(&name.to_string_lossy()).or_else(|_| Config::new("localhost"));
    let mut limits = smtp_proto::server::Limits::default();
    // What rules refuse makes faults of what was sent behind it.
    (limits.message, limits.idle_commands, limits.faults, limits.transactions) =
        (options.max_size, u32::MAX, u32::MAX, 0);
    let login = MechanismSet::EMPTY.with(Mechanism::Plain).with(Mechanism::Login);
    let mechanisms = if options.auth { login } else { MechanismSet::EMPTY };
    let role = if options.lmtp { Role::Lmtp } else { Role::Mx };
    let config = config.and_then(|config| config.limits(limits)).map_err(Failure::running)?;
    let lenient = Leniencies::from_names(options.lenient.iter().map(String::as_str));
    let lenient = lenient.map_err(|wrong| Failure::usage(format_args!("--lenient: {wrong}")))?;
    let config = config.role(role).auth(mechanisms).allow_plaintext_auth(true).ask_about_all(true).lenient(lenient);
    Ok(config.tls(match options.tls {
        Tls::Off => Policy::Off,
        Tls::Offer => Policy::Offer,
        Tls::Require => Policy::Require,
    }))
}

/// A self-signed certificate, ECDSA P-256, for as long as the sink lives.
fn certificate(host: &str) -> Result<Arc<ServerConfig>, Failure> {
    let failed = |wrong: &dyn fmt::Display| Failure::running(format_args!("no certificate could be made: {wrong}"));
    let mut params = CertificateParams::new(vec![host.to_owned()]).map_err(|error| failed(&error))?;
    // People look at the subject first.
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, host);
    let key = KeyPair::generate().map_err(|error| failed(&error))?;
    let chain = vec![params.self_signed(&key).map_err(|error| failed(&error))?.der().clone()];
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .with_no_client_auth()
        .with_single_cert(chain, key.into())
        .map_err(|error| failed(&error))?;
    config.ignore_client_order = true;
    // One is enough to come back with: a client that does gets the next.
    config.send_tls13_tickets = 1;
    // A client that names protocols, and SMTP not among them, is on its way to another server (RFC 7301 3.2).
    config.alpn_protocols = vec![b"smtp".to_vec(), b"esmtp".to_vec()];
    Ok(Arc::new(config))
}

/// The suite that every client of TLS 1.3 has (RFC 8446 9.1) comes first: processors have instructions for SHA-256, and
/// seldom for SHA-384, by which a full handshake takes a seventh more.
fn provider() -> CryptoProvider {
    #[cfg(feature = "aws-lc-rs")]
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    #[cfg(not(feature = "aws-lc-rs"))]
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    provider
}

/// The first SIGINT or SIGTERM ends the sink in order, the second at once.
fn end_on_signal(handle: &Handle) -> std::io::Result<()> {
    let handle = handle.clone();
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for (index, signal) in signals.forever().enumerate() {
            if index > 0 {
                std::process::exit(128 + signal);
            }
            handle.shut_down();
            // A pipe that nobody reads holds whoever writes to it.
            std::thread::Builder::new().name("end".into()).spawn(|| {
                std::thread::sleep(2 * DRAIN);
                std::process::exit(1);
            })?;
        }
        Ok::<(), std::io::Error>(())
    })?;
    Ok(())
}

fn place(text: &str) -> Result<Place, String> {
    match text.strip_prefix("unix:") {
        Some("") => Err("name the file, such as unix:/run/sink".into()),
        Some(path) => Ok(Place::Unix(path.into())),
        None => address(text).map(Place::Address).map_err(|wrong| wrong + ", or unix:PATH"),
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "give an IP address and a port, such as 127.0.0.1:2525 or [::1]:2525".into())
}

/// RFC 5321 4.5.3.1.7: clients may rely on 64 KiB.
fn max_size(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(size) if size == 0 || size >= 65_536 => Ok(size),
        _ => Err("give octets: 65536 or more, which RFC 5321 guarantees to clients, or 0 for no limit".into()),
    }
}

fn delivery(text: &str) -> Result<Delivery, String> {
    match text.split_once(':') {
        Some(("maildir", folder)) if !folder.is_empty() => match folder.split_once('?') {
            None => Ok(Delivery::Maildir(folder.into(), false)),
            Some((folder, "newline=lf")) => Ok(Delivery::Maildir(folder.into(), false)),
            Some((folder, "newline=crlf")) => Ok(Delivery::Maildir(folder.into(), true)),
            Some(_) => Err("behind the folder there may be ?newline=lf or ?newline=crlf".into()),
        },
        Some(("mbox", file)) if !file.is_empty() => Ok(Delivery::Mbox(file.into())),
        None if text == "discard" => Ok(Delivery::Discard),
        None if text == "json" => Ok(Delivery::Json),
        _ => Err("give discard, json, maildir:DIR or mbox:FILE".into()),
    }
}
