//! `smtp-smol serve`: a server that takes mail for anyone, offers STARTTLS, and counts. Or one for users, or for LMTP.

mod books;
mod callers;
mod certificate;
mod check;
mod choose;
mod deliver;
mod except;
mod faults;
mod head;
mod id;
mod letter;
mod listen;
mod listener;
mod maildir;
mod next_hop;
mod options;
mod privileges;
mod rates;
mod recipients;
mod record;
mod rehearse;
mod role;
mod seeing;
mod settings;
pub(crate) mod users;
mod withheld;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::ArgMatches;
use rustix::process::{Resource, getrlimit, setrlimit};
use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use smtp_audit::ledger::LedgerFile;
use smtp_proto::tls::Exceptions;
use smtp_smol::Server;

use crate::failure::Failure;
use crate::outlet;
use books::Books;
use certificate::Pairs;
use choose::Choice;
use deliver::{Clerk, Desk, MailGoes, Office};
use except::Excepted;
use listen::tell;
use maildir::Maildir;
use next_hop::NextHop;
use options::{Delivery, LogFormat, Tls};
use rates::Rates;
use rehearse::Rehearsing;
use seeing::{Metrics, Seeing};
use withheld::Withheld;

pub(crate) use check::{CheckConfig, check_config};
pub(crate) use except::read as exceptions;
pub(crate) use options::Options;

/// How long a host whose handshakes fail is not offered STARTTLS, unless it is said.
const WITHHOLD: Duration = Duration::from_secs(2 * 60 * 60);
/// After which a second Ctrl-C is meant as one.
const IMPATIENCE: Duration = Duration::from_secs(1);
/// For what is written at the end to be read.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Runs until it is told to end.
pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let settings = settings::gather(matches)?;
    let options = &settings.server;
    outlet::open().map_err(|error| Failure::running(format!("no threads: {error}")))?;
    log(options);
    // Everything that can be wrong is found out before anything listens.
    let checked = check::check(&settings)?;
    let hostname = checked.hostname.clone();
    let bound = listen::bind(&settings)?;
    let challenged_at = checked.acme.as_ref().map(|acme| acme.bind()).transpose()?;
    // What is made from here on belongs to whom the server runs as.
    privileges::give_up(options.user.as_deref())?;
    let mail_goes = match &options.deliver {
        Delivery::Discard => MailGoes::Nowhere,
        Delivery::Maildir(folder, newline) => {
            let maildir = Maildir::open(folder, &hostname, *newline).map_err(|error| {
                let mend = "name a folder that can be written";
                Failure::option("--deliver", format_args!("maildir:{}", folder.display()), error, mend)
            })?;
            MailGoes::To(Arc::new(maildir))
        }
        Delivery::NextHop(place) => {
            MailGoes::Through(Arc::new(NextHop::new(place.clone(), &options.next_hop, &hostname)?))
        }
    };
    let node = crate::node::of(options.node.as_deref());
    let open = |file: &Path| LedgerFile::open(file, &node);
    let ledger = options.ledger.as_deref().map(open).transpose().map_err(|error| {
        let file = options.ledger.clone().unwrap_or_default();
        Failure::option("--ledger", file.display(), error, "name a file that can be written")
    })?;
    let tls = certificate::Tls::new(&checked, || state_folder(options))?;
    let rehearsing = checked.window.map(|window| rehearsing(options, window)).transpose()?;
    let books = Books::new(ledger).map_err(|error| Failure::running(format!("no threads: {error}")))?;
    let books = Arc::new(books);
    raise_descriptor_limit();

    let mut limits = smtp_smol::Limits::default();
    limits.connections = usize::try_from(options.max_connections).unwrap_or(usize::MAX);
    limits.loopback = limits.connections;
    limits.drain = options.drain;
    if let Some(most) = options.max_per_address {
        limits.per_address = usize::try_from(most).unwrap_or(usize::MAX);
        limits.loopback = limits.per_address;
    }
    let mut server = Server::new(checked.first().config.clone()).limits(limits);
    server = server.client_certificates(checked.clients.clone()).trust(&options.trust);
    if let MailGoes::Through(hop) = &mail_goes {
        hop.meet();
    }
    let withheld = match options.withhold_starttls {
        None => Some(Withheld::new(WITHHOLD).but_not_here()),
        Some(withhold) => withhold.0.map(Withheld::new),
    };
    let withheld = withheld.map(Arc::new);
    let choice = |settings: usize| Choice::of(&mail_goes, &checked.listeners[settings], withheld.as_ref());
    let listening = listen::add(bound, &checked, &tls, choice, &mut server);
    let desk = |settings: usize| {
        let of = &checked.listeners[settings].options;
        let (rehearses, requires) = (matches!(of.tls, Tls::Rehearse(_)), of.requires_but_of_some(options));
        let checked = &checked.listeners[settings];
        Desk {
            users: checked.users.clone(),
            domains: checked.domains.clone(),
            role: checked.options.role,
            rehearses,
            requires,
            offers_tls: checked.config.tls_policy().offers(),
        }
    };
    let metrics = Arc::new(Metrics::new());
    let next_hop = match &mail_goes {
        MailGoes::Through(hop) => Some(hop.clone()),
        MailGoes::Nowhere | MailGoes::To(_) => None,
    };
    let seeing = Arc::new(Seeing { metrics: metrics.clone(), books: books.clone(), ready: false.into(), next_hop });
    let seen_at = options.metrics.map(|address| seeing.listen(address)).transpose()?;
    let office = Arc::new(Office {
        hostname: hostname.clone(),
        mail_goes: mail_goes.clone(),
        books: books.clone(),
        unwanted_if: options.unwanted_if.clone(),
        rehearsing,
        excepted: checked.excepted.clone(),
        withheld: withheld.clone(),
        desks: listening.iter().map(|one| desk(one.settings)).collect(),
        metrics: metrics.clone(),
        limits: deliver::Limits {
            connections: options.connection_rate.map(Rates::new),
            messages: options.message_rate.map(Rates::new),
            failed_logins: Some(Rates::new(options.failed_login_rate)),
        },
        json: options.json,
    });
    heed_signals(&server, seeing.clone(), tls.pairs.clone(), withheld.clone(), checked.excepted.clone())
        .map_err(|error| Failure::running(format!("signals cannot be handled: {error}")))?;
    tell(&settings, &checked, &listening, &tls);
    if let (Some(acme), Some(listeners)) = (&checked.acme, challenged_at) {
        acme.start(listeners, || state_folder(options))?;
    }
    if let MailGoes::Through(hop) = &mail_goes {
        hop.watch();
    }
    if let Some(pairs) = &tls.pairs {
        let withheld = withheld.clone();
        let renewed = move || withheld.iter().for_each(|withheld| withheld.forget());
        certificate::watch(pairs.clone(), metrics.clone(), renewed)
            .map_err(|error| Failure::running(format!("no threads: {error}")))?;
    }
    if let Some(address) = seen_at {
        let _ = writeln!(io::stderr(), "metrics: http://{address}/metrics, and /healthz, /readyz, /loss, /loss.json");
    }
    seeing.ready.store(true, Ordering::Release);
    privileges::notify(NotifyState::Ready);
    server
        .run(move |peer| Clerk::new(office.clone(), peer))
        .map_err(|error| Failure::running(format!("the server ended: {error}")))?;
    print_report(&books);
    // What is not read by now is not waited for.
    books.finish(LAST_WORDS);
    outlet::finish(LAST_WORDS);
    Ok(())
}

fn rehearsing(options: &Options, window: i64) -> Result<Rehearsing, Failure> {
    let file = state_folder(options)?.join("rehearsal");
    let mut except = Exceptions::default();
    options.rehearse_except.iter().for_each(|exception| except.add(exception.clone()));
    Rehearsing::open(&file, window, except).map_err(|error| {
        Failure::option("--tls", "rehearse", format_args!("{}: {error}", file.display()), "name a folder with --state")
    })
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

fn log(options: &Options) {
    use std::io::IsTerminal as _;
    let filter = tracing_subscriber::EnvFilter::new(&options.log);
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(outlet::Log).with_target(false);
    // Where stderr is gone there is nowhere to complain of it.
    let subscriber = subscriber.log_internal_errors(false).with_ansi(io::stderr().is_terminal());
    match options.log_format {
        LogFormat::Text => subscriber.init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
    // A panic is told where everything else is, and waits for nobody either.
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
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
/// some supervisors send it twice. SIGHUP never does either: it opens the ledger anew and reads the certificate and the exceptions again, as
/// with other servers, and a terminal that is closed takes no mail with it. SIGUSR1 prints the report.
fn heed_signals(
    server: &Server,
    seeing: Arc<Seeing>,
    pairs: Option<Arc<Pairs>>,
    withheld: Option<Arc<Withheld>>,
    excepted: Option<Arc<Excepted>>,
) -> io::Result<()> {
    let handle = server.handle();
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGUSR1, SIGHUP])?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        let mut began: Option<Instant> = None;
        for signal in signals.forever() {
            match began {
                _ if signal == SIGHUP => {
                    seeing.books.rotate();
                    if let Some(Err(failure)) = excepted.as_ref().map(|excepted| excepted.reload()) {
                        tracing::error!("{failure}; the exceptions read before still hold");
                    }
                    let Some(pairs) = &pairs else { continue };
                    match pairs.reload() {
                        Ok(()) => {
                            withheld.iter().for_each(|withheld| withheld.forget());
                            certificate::tell(pairs, &seeing.metrics);
                        }
                        Err(failure) => tracing::error!("{failure}; the certificates read before are still used"),
                    }
                }
                _ if signal == SIGUSR1 => print_report(&seeing.books),
                None => {
                    began = Some(Instant::now());
                    seeing.ready.store(false, Ordering::Release);
                    privileges::notify(NotifyState::Stopping);
                    outlet::say(
                        "ending: no new connections, messages in flight complete; Ctrl-C again to end at once\n",
                    );
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
    outlet::say(&books.report());
    let ((output, log), ledger) = (outlet::lost(), books.lost());
    if output + log + ledger > 0 {
        outlet::say(&format!(
            "  dropped, since nobody read them: {output} lines of output, {log} of the log, {ledger} of the ledger\n"
        ));
    }
}
