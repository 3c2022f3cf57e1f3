//! Whether settings can be, found out without changing anything; and `smtp-smol check-config`, which says so.

use std::path::PathBuf;
use std::sync::Arc;

use crate::failure::Failure;
use clap::Args;
use smtp_proto::Leniencies;
use smtp_proto::server::{Config, Limits, Timeouts};
use smtp_proto::tls::Policy;
use smtp_smol::ClientCertificates;

use super::certificate::{self, Acme, Pair};
use super::except::Excepted;
use super::listener::ListenerOptions;
use super::options::{Options, Tls};
use super::recipients::Domains;
use super::settings::{self, Settings};
use super::users::Users;

/// Say whether a file of settings for `serve --config` is right: unknown names, values, files that it names.
#[derive(Debug, Args)]
pub(crate) struct CheckConfig {
    /// The file
    file: PathBuf,
}

/// Checks the file, and says what it would make listen.
pub(crate) fn check_config(options: &CheckConfig) -> Result<(), Failure> {
    let settings = settings::of_file(&options.file)?;
    let checked = check(&settings)?;
    let listeners = if checked.listeners.len() == 1 { "listener" } else { "listeners" };
    println!("{}: {} {listeners}, as {}", options.file.display(), checked.listeners.len(), checked.hostname);
    Ok(())
}

/// What was read from files, and made of settings that fit together.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) hostname: String,
    pub(super) clients: Arc<ClientCertificates>,
    /// The operator's certificates.
    pub(super) pairs: Vec<Pair>,
    /// The authority that gives one.
    pub(super) acme: Option<Arc<Acme>>,
    /// That of the rehearsal, if there is one.
    pub(super) window: Option<i64>,
    /// Of whom TLS is not required.
    pub(super) excepted: Option<Arc<Excepted>>,
    /// One for each of the settings.
    pub(super) listeners: Vec<CheckedListener>,
}

/// What the settings of a listener become.
#[derive(Debug)]
pub(super) struct CheckedListener {
    pub(super) options: ListenerOptions,
    pub(super) config: Arc<Config>,
    pub(super) users: Option<Arc<Users>>,
    pub(super) domains: Domains,
}

impl Checked {
    pub(super) fn first(&self) -> &CheckedListener {
        &self.listeners[0]
    }

    /// Whether anybody is offered TLS.
    pub(super) fn has_tls(&self) -> bool {
        self.listeners.iter().any(|listener| listener.options.tls != Tls::Off)
    }
}

/// Finds out whether the settings fit together, and reads the files that they name. Nothing is made or written.
pub(super) fn check(settings: &Settings) -> Result<Checked, Failure> {
    let options = &settings.server;
    if let Some(certificate) = options.cert.get(options.key.len()) {
        return Err(Failure::option("--cert", certificate.display(), "it has no key", "name its key with --key"));
    }
    if let Some(key) = options.key.get(options.cert.len()) {
        let mend = "name its certificate with --cert";
        return Err(Failure::option("--key", key.display(), "it has no certificate", mend));
    }
    let pairs = options.cert.iter().zip(&options.key);
    let pairs = pairs.map(|(certificate, key)| Pair::read(certificate, key)).collect::<Result<Vec<_>, _>>()?;
    let listeners =
        settings.listeners.iter().map(|listener| check_listener(options, listener)).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = listeners.first() else { return Err(Failure::usage("there is no listener")) };
    let hostname = first.config.hostname().to_owned();
    let unproxied = |listener: &ListenerOptions| listener.proxy.is_empty();
    if let (Some(network), true) = (options.listener.proxy_from.first(), settings.listeners.iter().all(unproxied)) {
        let mend = "name where they connect with --proxy";
        return Err(Failure::option("--proxy-from", network, "nothing listens for load balancers", mend));
    }
    let mut window = None;
    for listener in &settings.listeners {
        if let Tls::Rehearse(here) = listener.tls {
            if window.is_some_and(|other| other != here) {
                let wrong = "listeners rehearse together, and remember senders for one time";
                return Err(Failure::option("--tls", format_args!("rehearse={here}s"), wrong, "give them the same"));
            }
            window = Some(here);
        }
    }
    let acme = options.acme.check(&hostname)?.map(Arc::new);
    if acme.is_some() && settings.listeners.iter().all(|listener| listener.tls == Tls::Off) {
        let directory = options.acme.tls_acme_directory.clone().unwrap_or_default();
        return Err(Failure::option("--tls-acme-directory", directory, "TLS is off", "leave one of them out"));
    }
    let excepted = options.except.as_deref().map(Excepted::open).transpose()?.map(Arc::new);
    let asks =
        |listener: &ListenerOptions| listener.requires_but_of_some(options) || matches!(listener.tls, Tls::Rehearse(_));
    if let (Some(file), false) = (&options.except, settings.listeners.iter().any(asks)) {
        let wrong = "TLS is not required, so nobody is excepted from it";
        let mend = "say --tls require or --tls rehearse, of a listener of --role mx";
        return Err(Failure::option("--except", file.display(), wrong, mend));
    }
    let has_tls = settings.listeners.iter().any(|listener| listener.tls != Tls::Off);
    let clients = certificate::clients(options.client_ca.as_deref(), has_tls)?;
    Ok(Checked { hostname, clients, pairs, acme, window, excepted, listeners })
}

fn check_listener(server: &Options, options: &ListenerOptions) -> Result<CheckedListener, Failure> {
    options.role.check(options)?;
    let users = options.users.as_deref().map(Users::open).transpose()?.map(Arc::new);
    let domains = Domains::of(options, server)?;
    let config = config(server, options)?.shared();
    Ok(CheckedListener { options: options.clone(), config, users, domains })
}

fn config(server: &Options, options: &ListenerOptions) -> Result<Config, Failure> {
    let config = match &server.hostname {
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
    times.command = options.command_timeout;
    times.text = options.text_timeout;
    times.handshake = options.handshake_timeout;
    let lenient = Leniencies::from_names(options.lenient.iter().map(String::as_str))
        .map_err(|wrong| Failure::usage(format!("--lenient: {wrong}")))?;
    let config = options.role.configure(config, options).timeouts(times).lenient(lenient);
    Ok(config.tls(match options.tls {
        Tls::Offer | Tls::Rehearse(_) => Policy::Offer,
        // Where some are excepted it is seen at MAIL who is.
        Tls::Require if options.requires_but_of_some(server) => Policy::Offer,
        Tls::Require => Policy::Require,
        Tls::Off => Policy::Off,
    }))
}
