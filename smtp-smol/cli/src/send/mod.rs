//! `smtp-smol send`: sends one message file, and says what became of each recipient.

mod attempt;
mod message;
mod report;
mod resolver;
mod route;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use smtp_audit::ledger::LedgerFile;
use smtp_proto::auth::client::Credentials;
use smtp_proto::client::{Config, Protocol, Tls};
use smtp_smol::{Client, ClientTls, Target};

use crate::failure::Failure;
use attempt::Office;
use message::Message;
use route::Routes;

const EXAMPLES: &str = "\
Examples:
  smtp-smol send --from a@example.org --to b@example.net message.eml
      Look the mail servers of example.net up, and send it; TLS where it is offered
  printf 'Subject: hello\\r\\n\\r\\nIt works.\\r\\n' | smtp-smol send --from a@example.org --to b@example.net --server 127.0.0.1:2525 -v -
      Send standard input to this server, and show the dialogue
  SMTP_PASSWORD=… smtp-smol send --server mail.example.org:587 --tls verify --auth alice --from alice@example.org --to b@example.net message.eml
      Submit it, authenticated, to a server whose certificate must verify
  smtp-smol send --lmtp --server unix:/run/dovecot/lmtp --from '' --to alice@example.net message.eml
      Deliver to a mail store; with an empty sender, as notifications have

Exit codes: 0 all recipients accepted, 75 a retry may help, 69 it will not, 2 a wrong option or message.";

/// Send a message file, and say what became of each recipient.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The message, header and all; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Who is told of failures; '' for nobody
    #[arg(long, value_name = "ADDRESS")]
    from: String,

    /// A recipient; may be given several times
    #[arg(long, value_name = "ADDRESS", required = true)]
    to: Vec<String>,

    /// Send it here: HOST, HOST:PORT or unix:PATH [default: the recipients' mail exchangers, by DNS]
    #[arg(long, value_name = "SERVER")]
    server: Option<String>,

    /// What to do about TLS
    #[arg(long, value_enum, default_value = "opportunistic")]
    tls: Policy,

    /// TLS comes first, as on port 465 (RFC 8314)
    #[arg(long, requires = "server")]
    implicit_tls: bool,

    /// The name that the server's certificate must bear [default: the host in --server]
    #[arg(long, value_name = "NAME")]
    tls_name: Option<String>,

    /// Authorities to trust (PEM) [default: those of this machine]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// Authenticate as this user; the password is in the environment variable SMTP_PASSWORD
    #[arg(long, value_name = "USER", requires = "server")]
    auth: Option<String>,

    /// Show the password also where the hop is not encrypted
    #[arg(long, requires = "auth")]
    plaintext_auth: bool,

    /// Speak LMTP (RFC 2033): a reply for each recipient
    #[arg(long, requires = "server")]
    lmtp: bool,

    /// Name of this client in EHLO [default: this machine's name]
    #[arg(long, value_name = "NAME")]
    helo: Option<String>,

    /// What to do about line ends that are not CRLF, as most files have
    #[arg(long, value_enum, default_value = "strict")]
    newlines: Newlines,

    /// Use DATA even where the server offers CHUNKING
    #[arg(long)]
    no_chunking: bool,

    /// Ask this name server instead of the machine's own
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "server")]
    dns: Option<SocketAddr>,

    /// The port of mail exchangers that were looked up
    #[arg(long, value_name = "PORT", default_value_t = 25, conflicts_with = "server")]
    port: u16,

    /// Append one JSON line a transaction to this file, as `serve` does
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,

    /// Name of this host in the ledger, other than that of any other host whose ledger goes to the same place [default:
    /// this machine's name]
    #[arg(long, value_name = "NAME", requires = "ledger", value_parser = crate::node::name)]
    node: Option<String>,

    /// Show the dialogue on stderr, credentials left out
    #[arg(short, long)]
    verbose: bool,

    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Policy {
    /// Do not use it
    Never,
    /// Use it where it is offered, whatever the certificate
    Opportunistic,
    /// Send nothing without it, whatever the certificate
    Require,
    /// Send nothing without it, to a server whose certificate verifies
    Verify,
}

impl Policy {
    const fn of_core(self) -> Tls {
        match self {
            Self::Never => Tls::Never,
            Self::Opportunistic => Tls::Opportunistic,
            Self::Require => Tls::Require,
            Self::Verify => Tls::Verify,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Newlines {
    /// Refuse such a message
    Strict,
    /// Make them CRLF
    Convert,
}

/// Sends, and tells.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    // Everything that can be wrong is found out before anything is sent.
    let message = Message::read(&options.file, &options.from, &options.to, options.newlines == Newlines::Convert)?;
    let config = config(options)?;
    let mut client = Client::new(config.tls(options.tls.of_core()).shared());
    let tls = client_tls(options)?;
    if options.tls != Policy::Never || options.implicit_tls {
        client = client.tls(tls);
    }
    // For opportunistic TLS whose handshake failed: on a new connection, and it is reported (RFC 7435 3).
    let mut plain = Client::new(self::config(options)?.tls(Tls::Never).shared());
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
    Ok(config
        .protocol(if options.lmtp { Protocol::Lmtp } else { Protocol::Smtp })
        .chunking(!options.no_chunking)
        .allow_plaintext_auth(options.plaintext_auth))
}

fn credentials(options: &Options) -> Result<Option<Credentials>, Failure> {
    let Some(user) = &options.auth else { return Ok(None) };
    let password = std::env::var("SMTP_PASSWORD").map_err(|_| {
        Failure::option("--auth", user, "there is no password", "put it into the environment variable SMTP_PASSWORD")
    })?;
    let credentials = Credentials::password(user, &password)
        .map_err(|error| Failure::option("--auth", user, error, "name and password must be ones that can be sent"))?;
    Ok(Some(credentials))
}

fn client_tls(options: &Options) -> Result<ClientTls, Failure> {
    let mut roots = RootCertStore::empty();
    match &options.ca {
        Some(file) => {
            let wrong = |wrong: String| {
                Failure::option("--ca", file.display(), wrong, "it must be a readable PEM file with certificates")
            };
            let certificates = CertificateDer::pem_file_iter(file).map_err(|error| wrong(error.to_string()))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
                roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(wrong("no certificate in it".into()));
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() && options.tls == Policy::Verify {
                return Err(Failure::option(
                    "--tls",
                    "verify",
                    "this machine has no authorities to trust",
                    "install them (ca-certificates), or name some with --ca",
                ));
            }
        }
    }
    ClientTls::new(roots).map_err(|error| Failure::running(error.to_string()))
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
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.starts_with('[') && host.ends_with(']') => {
            (host, port.parse().map_err(|_| wrong())?)
        }
        _ => (server, usual),
    };
    if host.is_empty() || host.contains(['/', ' ']) {
        return Err(wrong());
    }
    let target = Target::host(host, port).implicit_tls(options.implicit_tls);
    Ok(match &options.tls_name {
        Some(name) => target.named(name),
        None => target,
    })
}
