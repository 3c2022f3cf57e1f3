//! `smtp-smol serve`: a server that takes mail for anyone, offers STARTTLS, and counts. Or one for users, or for LMTP.

mod books;
mod certificate;
mod deliver;
mod head;
mod listen;
mod maildir;
mod recipients;
mod record;
mod rehearse;
mod role;
pub(crate) mod users;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use rustix::process::{Resource, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use smtp_audit::ledger::LedgerFile;
use smtp_proto::proxy::Network;
use smtp_proto::server::{Config, Limits, Timeouts};
use smtp_proto::tls::{Policy, Rehearsal};
use smtp_smol::Server;

use crate::failure::Failure;
use books::Books;
use certificate::Renewable;
use deliver::{Clerk, Office};
use listen::{Place, address, listen, network, place, tell};
use maildir::{Maildir, Newline};
use recipients::{Domains, domain};
use rehearse::{Except, Rehearsing};
use role::Role;
use smtp_audit::UnwantedIf;
use users::Users;

const EXAMPLES: &str = "\
Examples:
  smtp-smol serve
      Listen on 127.0.0.1:2525 with a certificate made on the spot; keep mail for anyone in ./mail
  smtp-smol serve --listen [::]:25 --domain example.net --hostname mx.example.net --cert mx.crt --key mx.key
      Take mail for example.net from the world, under a name and certificate of your own
  smtp-smol serve --deliver discard --ledger ledger.jsonl
      Keep no mail, but count what came over TLS and what did not
  smtp-smol serve --tls rehearse --ledger ledger.jsonl --unwanted-if X-Spam-Flag=YES
      Ask plaintext senders once to come again, refuse nobody, and report who came with TLS
  smtp-smol serve --tls require --json
      Refuse mail in plaintext; print a JSON line for each message
  printf 'secret\\n' | smtp-smol user alice >users
  smtp-smol serve --role submission --users users --listen 0.0.0.0:587 --implicit-tls 0.0.0.0:465
      Take mail from alice alone, with STARTTLS or with TLS from the first octet
  smtp-smol serve --role lmtp --listen unix:/run/smtp-smol/lmtp
      Take mail from a mail server on this machine

Signals:
  SIGTERM, SIGINT  End in order: messages in flight complete. The report is printed on stderr
  SIGUSR1          Print the report on stderr, and go on
  SIGHUP           Open the ledger anew, and read --cert and --key again; a closed terminal ends nothing";

/// After which a second Ctrl-C is meant as one.
const IMPATIENCE: Duration = Duration::from_secs(1);

/// Receive mail: offer STARTTLS, keep what comes in a Maildir, and count who uses TLS.
///
/// Mail stays here: nothing is relayed. Where others than this machine can connect, mail is taken for the domains of
/// --domain alone.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// What the server is for
    #[arg(long, value_enum, default_value = "mx")]
    role: Role,

    /// Who may submit mail, with --role submission: a file with a line NAME:SECRET for each user, as `smtp-smol user NAME`
    /// prints it
    #[arg(long, value_name = "FILE")]
    users: Option<PathBuf>,

    /// Listen here, or on unix:PATH; may be given several times. Port 0 means any free one [default: 127.0.0.1:2525,
    /// unless --implicit-tls or --proxy]
    #[arg(long, value_name = "ADDRESS", value_parser = place)]
    listen: Vec<Place>,

    /// Listen here, where TLS comes first, as on port 465 (RFC 8314); may be given several times
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    implicit_tls: Vec<SocketAddr>,

    /// Listen here for load balancers, which must begin with a PROXY header (v1 or v2); may be given several times
    #[arg(long, value_name = "ADDRESS", value_parser = address, requires = "proxy_from")]
    proxy: Vec<SocketAddr>,

    /// Load balancers that may connect to --proxy: an address, or a network such as 192.0.2.0/24
    #[arg(long, value_name = "NETWORK", value_parser = network, requires = "proxy")]
    proxy_from: Vec<Network>,

    /// Name of this server in its greeting and in Received fields [default: this machine's name]
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,

    /// Take mail for this domain, and refuse other mail; may be given several times. `*` is every domain: what is taken
    /// where this machine alone can connect, and elsewhere only if `*` is given twice [default: every domain, on this
    /// machine and for users who authenticate]
    #[arg(long, value_name = "NAME", value_parser = domain)]
    domain: Vec<String>,

    /// Where mail goes: `maildir:DIR` or `discard`. Lines end with LF in a Maildir, or with CRLF as they came if
    /// `?newline=crlf` is put behind
    #[arg(long, value_name = "WHERE", default_value = "maildir:mail", value_parser = delivery)]
    deliver: Delivery,

    /// Certificate and its chain (PEM) [default: a self-signed one, made once and kept]
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,

    /// Private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,

    /// Authorities (PEM) by which clients' certificates verify; they are asked for, noted in the ledger, and never
    /// required [default: those that the system trusts]
    #[arg(long, value_name = "FILE")]
    client_ca: Option<PathBuf>,

    /// Folder for what is made once and kept [default: $XDG_STATE_HOME/smtp-smol or ~/.local/state/smtp-smol]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,

    /// What to do about TLS: `offer` it, and take mail without it too; `require` it, answering 530 to mail in plaintext,
    /// as a public server must not (RFC 3207 section 4); `off`; or `rehearse[=WINDOW]`: ask each plaintext sender once to
    /// come again, refuse nobody, remember them for WINDOW (such as 12h or 5d, which is the default), and report who
    /// came with TLS
    #[arg(long, value_name = "POLICY", default_value = "offer", value_parser = tls)]
    tls: Tls,

    /// Senders that a rehearsal does not ask: a sender's domain, or a client's network; may be given several times
    #[arg(long, value_name = "DOMAIN|NET")]
    rehearse_except: Vec<Except>,

    /// Mail with this field and value counts as unwanted, and other mail as wanted; may be given several times [default:
    /// what is accepted is wanted]
    #[arg(long, value_name = "HEADER=VALUE")]
    unwanted_if: Vec<UnwantedIf>,

    /// Hold the greeting back for so long, and send away who talks before it: seconds, or with s or m behind
    #[arg(long, value_name = "TIME", value_parser = pause)]
    greet_pause: Option<Duration>,

    /// Largest message: octets, or with k, M or G behind
    #[arg(long, value_name = "SIZE", default_value = "50M", value_parser = size)]
    max_size: u64,

    /// Most connections at once; more are answered 421
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    max_connections: u32,

    /// Most connections at once of one address [default: 100; of this machine itself as many as in all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_per_address: Option<u32>,

    /// Append one JSON line a transaction to this file; opened anew on SIGHUP, for rotation
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,

    /// Name of this host in the ledger, other than that of any other host whose ledger goes to the same place [default:
    /// this machine's name]
    #[arg(long, value_name = "NAME", requires = "ledger", value_parser = crate::node::name)]
    node: Option<String>,

    /// What to log on stderr
    #[arg(long, value_name = "LEVEL", default_value = "warn", value_parser = ["off", "error", "warn", "info", "debug", "trace"])]
    log: String,

    /// Print the line a message as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Debug)]
enum Delivery {
    Maildir(PathBuf, Newline),
    Discard,
}

#[derive(Clone, Copy, Debug)]
enum Tls {
    Offer,
    /// For so many seconds a sender is remembered.
    Rehearse(i64),
    Require,
    Off,
}

/// Runs until it is told to end.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    log(&options.log);
    // Everything that can be wrong is found out before anything listens.
    options.role.check(options)?;
    let domains = Domains::of(options)?;
    let users = options.users.as_deref().map(Users::open).transpose()?.map(Arc::new);
    let config = config(options)?;
    let hostname = config.hostname().to_owned();
    let maildir = match &options.deliver {
        Delivery::Discard => None,
        Delivery::Maildir(folder, newline) => Some(Maildir::open(folder, &hostname, *newline).map_err(|error| {
            Failure::option(
                "--deliver",
                format_args!("maildir:{}", folder.display()),
                error,
                "name a folder that can be written",
            )
        })?),
    };
    let node = crate::node::of(options.node.as_deref());
    let open = |file: &Path| LedgerFile::open(file, &node);
    let ledger = options.ledger.as_deref().map(open).transpose().map_err(|error| {
        let file = options.ledger.clone().unwrap_or_default();
        Failure::option("--ledger", file.display(), error, "name a file that can be written")
    })?;
    let clients = certificate::clients(options.client_ca.as_deref())?;
    let (tls, certificate, renewable) = match (options.tls, &options.cert, &options.key) {
        (Tls::Off, ..) => (None, None, None),
        (_, Some(certificate), Some(key)) => {
            let (tls, renewable) = certificate::from_files(certificate, key, &clients)?;
            (Some(tls), None, Some(renewable))
        }
        _ => {
            let (tls, file) = certificate::self_signed(&state_folder(options)?, &hostname, &clients)?;
            (Some(tls), Some(file), None)
        }
    };
    let rehearsing = match options.tls {
        Tls::Rehearse(window) => Some(rehearsing(options, window)?),
        _ => None,
    };
    let books = Arc::new(Books::new(ledger));
    raise_descriptor_limit();

    let mut server = Server::new(config.shared());
    let mut limits = smtp_smol::Limits::default();
    limits.connections = usize::try_from(options.max_connections).unwrap_or(usize::MAX);
    limits.loopback = limits.connections;
    if let Some(most) = options.max_per_address {
        limits.per_address = usize::try_from(most).unwrap_or(usize::MAX);
        limits.loopback = limits.per_address;
    }
    server = server.limits(limits);
    if let Some(tls) = tls {
        server = server.tls(tls).client_certificates(clients);
    }
    let listening = listen(options, &mut server)?;
    let office = Arc::new(Office {
        hostname: hostname.clone(),
        domains: domains.clone(),
        maildir,
        books: books.clone(),
        unwanted_if: options.unwanted_if.clone(),
        rehearsing,
        users,
        json: options.json,
    });
    heed_signals(&server, books.clone(), renewable)
        .map_err(|error| Failure::running(format!("signals cannot be handled: {error}")))?;
    tell(options, &domains, &hostname, &listening, certificate.as_deref());
    server
        .run(move |peer| Clerk::new(office.clone(), peer))
        .map_err(|error| Failure::running(format!("the server ended: {error}")))?;
    print_report(&books);
    Ok(())
}

fn rehearsing(options: &Options, window: i64) -> Result<Rehearsing, Failure> {
    let file = state_folder(options)?.join("rehearsal");
    Rehearsing::open(&file, window, options.rehearse_except.clone()).map_err(|error| {
        Failure::option("--tls", "rehearse", format_args!("{}: {error}", file.display()), "name a folder with --state")
    })
}

fn config(options: &Options) -> Result<Config, Failure> {
    let config = match &options.hostname {
        Some(name) => Config::new(name).map_err(|_| {
            Failure::option(
                "--hostname",
                name,
                "not a host name",
                "give a domain name, or an address in brackets such as [192.0.2.1]",
            )
        })?,
        None => {
            let name = hostname::get().unwrap_or_default();
            // Many a machine's name is no domain name. This one is, and claims nothing.
            Config::new(&name.to_string_lossy())
                .or_else(|_| Config::new("localhost"))
                .map_err(|error| Failure::running(error.to_string()))?
        }
    };
    let mut limits = Limits::default();
    limits.message = options.max_size;
    let config = config.limits(limits).map_err(|_| {
        Failure::option("--max-size", options.max_size, "too small", "RFC 5321 section 4.5.3.1.7 asks for at least 64k")
    })?;
    let mut times = Timeouts::default();
    times.greet_pause = options.greet_pause.unwrap_or_default();
    let config = options.role.configure(config).timeouts(times);
    Ok(config.tls(match options.tls {
        Tls::Offer | Tls::Rehearse(_) => Policy::Offer,
        Tls::Require => Policy::Require,
        Tls::Off => Policy::Off,
    }))
}

fn state_folder(options: &Options) -> Result<PathBuf, Failure> {
    let folder = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    options
        .state
        .clone()
        .or_else(|| folder("XDG_STATE_HOME").map(|base| base.join("smtp-smol")))
        .or_else(|| folder("HOME").map(|home| home.join(".local/state/smtp-smol")))
        .ok_or_else(|| Failure::usage("there is no home folder to keep things in; name a folder with --state"))
}

fn log(level: &str) {
    use std::io::IsTerminal as _;
    let filter = tracing_subscriber::EnvFilter::new(level);
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Where stderr is gone there is nowhere to complain of it.
    let subscriber = subscriber.log_internal_errors(false);
    subscriber.with_ansi(std::io::stderr().is_terminal()).with_target(false).init();
}

/// A connection is a descriptor: the soft limit of many systems is 1,024.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit on open files stays as it is");
    }
}

/// SIGINT or SIGTERM ends the server in order; a second Ctrl-C, by somebody who has waited, at once. SIGTERM never does:
/// some supervisors send it twice. SIGHUP never does either: it opens the ledger anew and reads the certificate again, as
/// with other servers, and a terminal that is closed takes no mail with it. SIGUSR1 prints the report.
fn heed_signals(server: &Server, books: Arc<Books>, renewable: Option<Arc<Renewable>>) -> std::io::Result<()> {
    let handle = server.handle();
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGUSR1, SIGHUP])?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        let mut began: Option<Instant> = None;
        for signal in signals.forever() {
            match began {
                _ if signal == SIGHUP => {
                    books.rotate();
                    if let Some(Err(failure)) = renewable.as_ref().map(|renewable| renewable.reload()) {
                        tracing::error!("{failure}; the certificate read before is still used");
                    }
                }
                _ if signal == SIGUSR1 => print_report(&books),
                None => {
                    began = Some(Instant::now());
                    say("ending: no new connections, messages in flight complete; Ctrl-C again to end at once\n");
                    handle.shut_down();
                }
                Some(began) if signal == SIGINT && began.elapsed() > IMPATIENCE => std::process::exit(128 + signal),
                Some(_) => {}
            }
        }
    })?;
    Ok(())
}

fn print_report(books: &Books) {
    say(&books.report());
}

/// On stderr; that nobody reads it any more is no reason to end.
fn say(words: &str) {
    use std::io::Write as _;
    let _ = std::io::stderr().write_all(words.as_bytes());
}

fn tls(text: &str) -> Result<Tls, String> {
    match text.split_once('=') {
        None if text == "offer" => Ok(Tls::Offer),
        None if text == "require" => Ok(Tls::Require),
        None if text == "off" => Ok(Tls::Off),
        None if text == "rehearse" => Ok(Tls::Rehearse(Rehearsal::WINDOW)),
        Some(("rehearse", window)) => rehearse::window(window)
            .map(Tls::Rehearse)
            .ok_or_else(|| "give a time from 1 s to 90 days, such as 12h or 5d".into()),
        _ => Err("give offer, require, off, or rehearse, perhaps with a time as in rehearse=12h".into()),
    }
}

/// Less than the five minutes that a client waits for a greeting (RFC 5321 4.5.3.2.1).
fn pause(text: &str) -> Result<Duration, String> {
    let seconds = rehearse::window(text).and_then(|seconds| u64::try_from(seconds).ok());
    let pause = seconds.filter(|seconds| *seconds <= 240).map(Duration::from_secs);
    pause.ok_or_else(|| "give a time from 1 s to 4 m, such as 5s".into())
}

fn delivery(text: &str) -> Result<Delivery, String> {
    match text.split_once(':') {
        Some(("maildir", folder)) if !folder.is_empty() => match folder.split_once('?') {
            None => Ok(Delivery::Maildir(folder.into(), Newline::Lf)),
            Some((folder, "newline=lf")) => Ok(Delivery::Maildir(folder.into(), Newline::Lf)),
            Some((folder, "newline=crlf")) => Ok(Delivery::Maildir(folder.into(), Newline::Crlf)),
            Some(_) => Err("behind the folder there may be ?newline=lf or ?newline=crlf".into()),
        },
        None if text == "discard" => Ok(Delivery::Discard),
        _ => Err("give maildir:DIR or discard".into()),
    }
}

fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|char: char| char.is_ascii_alphabetic());
    let unit: u64 = match text.get(digits.len()..) {
        Some("") => 1,
        Some("k" | "K") => 1 << 10,
        Some("M") => 1 << 20,
        Some("G") => 1 << 30,
        _ => 0,
    };
    let octets = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).filter(|_| unit != 0);
    octets.ok_or_else(|| "give a number of octets, or one with k, M or G behind, such as 50M".into())
}

#[cfg(test)]
mod tests {
    #[test]
    fn pauses() {
        assert_eq!(super::pause("6"), Ok(std::time::Duration::from_secs(6)));
        assert_eq!(super::pause("4m"), Ok(std::time::Duration::from_secs(240)));
        for wrong in ["", "0", "241", "5m", "1h", "-1", "x"] {
            assert!(super::pause(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(super::size("65536"), Ok(65536));
        assert_eq!(super::size("50M"), Ok(50 << 20));
        for wrong in ["", "M", "50X", "50MB", "-1", "99999999999999999G"] {
            assert!(super::size(wrong).is_err(), "{wrong}");
        }
    }
}
