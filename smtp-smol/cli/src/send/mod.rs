//! `smtp-smol send`: sends one message file, and says what became of each recipient.

mod attempt;
mod message;
mod options;
mod report;
mod resolver;
mod route;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use smtp_audit::ledger::LedgerFile;
use smtp_proto::auth::MechanismSet;
use smtp_proto::auth::client::Credentials;
use smtp_proto::client::{Config, Protocol, Timeouts, Tls};
use smtp_rustls::{authorities_from_pem, authorities_of_system};
use smtp_smol::{Client, ClientTls, Target};

use crate::failure::Failure;
use attempt::Office;
use message::Message;
pub(crate) use options::Options;
use options::{Lenience, Policy};
use route::Routes;

/// Sends, and tells.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    // Everything that can be wrong is found out before anything is sent.
    let message = Message::read(options)?;
    let config = config(options)?;
    let connect_time = Duration::from_secs(options.connect_timeout.into());
    let mut client = Client::new(config.tls(options.tls.of_core()).shared()).connect_time(connect_time);
    let tls = client_tls(options)?;
    if options.tls != Policy::Never || options.implicit_tls {
        client = client.tls(tls);
    }
    // For opportunistic TLS whose handshake failed: on a new connection, and it is reported (RFC 7435 3).
    let mut plain = Client::new(self::config(options)?.tls(Tls::Never).shared()).connect_time(connect_time);
    if let Some(credentials) = credentials(options)? {
        client = client.credentials(credentials.clone());
        plain = plain.credentials(credentials);
    }
    if options.verbose {
        client = client.observe(Arc::new(report::dialogue));
        plain = plain.observe(Arc::new(report::dialogue));
    }
    let node = crate::node::of(options.node.as_deref());
    let open = |file: &Path| LedgerFile::open(file, &node);
    let ledger = options.ledger.as_deref().map(open).transpose().map_err(|error| {
        let file = options.ledger.clone().unwrap_or_default();
        Failure::option("--ledger", file.display(), error, "name a file that can be written")
    })?;
    let office = Office {
        client,
        plain: (options.tls == Policy::Opportunistic && !options.implicit_tls).then_some(plain),
        message: &message,
        ledger,
        port: options.port,
    };
    let fates = match &options.server {
        Some(server) => smol::block_on(office.to_server(target(options, server)?)),
        None if options.tls == Policy::Verify && options.tls_name.is_none() => {
            return Err(Failure::option(
                "--tls",
                "verify",
                "plain DNS does not prove the name of a mail exchanger",
                "name the server with --server, or the name that its certificate must bear with --tls-name",
            ));
        }
        None => {
            let routes = options.dns.map_or_else(Routes::of_system, Routes::with_server).map_err(|error| {
                Failure::usage(format!("name servers: {error}; name one with --dns, or a mail server with --server"))
            })?;
            smol::block_on(office.to_exchangers(&routes, options.tls_name.as_deref()))
        }
    };
    report::print(&message, &fates, options.json);
    Ok(report::exit_code(&fates))
}

fn config(options: &Options) -> Result<Config, Failure> {
    let config = match &options.helo {
        Some(name) => Config::new(name).map_err(|_| {
            Failure::option(
                "--helo",
                name,
                "not a host name",
                "give a domain name, or an address in brackets such as [192.0.2.1]",
            )
        })?,
        None => Config::new(&hostname::get().unwrap_or_default().to_string_lossy())
            .or_else(|_| Config::new("localhost"))
            .map_err(|error| Failure::running(error.to_string()))?,
    };
    let mut timeouts = Timeouts::default();
    if let Some(seconds) = options.timeout {
        let time = Duration::from_secs(seconds.into());
        (timeouts.greeting, timeouts.command, timeouts.data) = (time, time, time);
        (timeouts.text, timeouts.text_end, timeouts.handshake) = (time, time, time);
    }
    Ok(config
        .protocol(if options.lmtp { Protocol::Lmtp } else { Protocol::Smtp })
        .timeouts(timeouts)
        .chunking(!options.no_chunking)
        .send_eight_bit_anyway(options.eight_bit_anyway)
        .send_long_lines(options.long_lines)
        .require_parameters(options.require_dsn)
        .bare_lf_in_replies(options.lenient.contains(&Lenience::BareLf))
        .allow_plaintext_auth(options.plaintext_auth))
}

fn credentials(options: &Options) -> Result<Option<Credentials>, Failure> {
    let Some(user) = &options.auth else { return Ok(None) };
    let credentials = match &options.token_file {
        Some(file) => {
            let token = std::fs::read_to_string(file).map_err(|error| {
                Failure::option("--token-file", file.display(), error, "name a readable file with the token alone")
            })?;
            Credentials::token(user, token.trim()).map_err(|error| {
                Failure::option("--token-file", file.display(), error, "it must hold the token alone, on one line")
            })?
        }
        None => {
            let password = std::env::var("SMTP_PASSWORD").map_err(|_| {
                let mend = "put it into the environment variable SMTP_PASSWORD, or name a --token-file";
                Failure::option("--auth", user, "there is no password", mend)
            })?;
            Credentials::password(user, &password).map_err(|error| {
                Failure::option("--auth", user, error, "name and password must be ones that can be sent")
            })?
        }
    };
    let only: MechanismSet = options.auth_mechanism.iter().copied().collect();
    Ok(Some(credentials.only(only)))
}

fn client_tls(options: &Options) -> Result<ClientTls, Failure> {
    let trusted = match &options.ca {
        Some(file) => authorities_from_pem(file).map_err(|error| Failure::usage(format!("--ca {error}")))?,
        None => match authorities_of_system() {
            Ok(roots) => roots,
            Err(_) if options.tls != Policy::Verify => RootCertStore::empty(),
            Err(error) => return Err(Failure::usage(format!("--tls verify: {error}: --ca FILE"))),
        },
    };
    ClientTls::new(trusted).map_err(|error| Failure::running(error.to_string()))
}

fn target(options: &Options, server: &str) -> Result<Target, Failure> {
    let wrong =
        || Failure::option("--server", server, "not a server", "give HOST, HOST:PORT, [IPv6]:PORT or unix:PATH");
    if let Some(path) = server.strip_prefix("unix:") {
        return if path.is_empty() { Err(wrong()) } else { Ok(Target::unix(path.into())) };
    }
    let usual = match (options.implicit_tls, options.lmtp) {
        (true, _) => 465,
        (_, true) => 24,
        _ => 25,
    };
    let (host, port) = crate::place::split(server, usual).ok_or_else(wrong)?;
    let target = Target::host(host, port).implicit_tls(options.implicit_tls);
    Ok(match &options.tls_name {
        Some(name) => target.named(name),
        None => target,
    })
}
