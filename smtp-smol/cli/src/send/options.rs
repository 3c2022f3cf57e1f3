//! What `send` can be told.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use smtp_proto::auth::Mechanism;
use smtp_proto::client::Tls;

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
    pub(super) file: PathBuf,

    /// Who is told of failures; '' for nobody
    #[arg(long, value_name = "ADDRESS")]
    pub(super) from: String,

    /// A recipient; may be given several times
    #[arg(long, value_name = "ADDRESS", required = true)]
    pub(super) to: Vec<String>,

    /// Send it here: HOST, HOST:PORT or unix:PATH [default: the recipients' mail exchangers, by DNS]
    #[arg(long, value_name = "SERVER")]
    pub(super) server: Option<String>,

    /// What to do about TLS
    #[arg(long, value_enum, default_value = "opportunistic")]
    pub(super) tls: Policy,

    /// TLS comes first, as on port 465 (RFC 8314)
    #[arg(long, requires = "server")]
    pub(super) implicit_tls: bool,

    /// The name that the server's certificate must bear [default: the host in --server]
    #[arg(long, value_name = "NAME")]
    pub(super) tls_name: Option<String>,

    /// Authorities to trust (PEM) [default: those of this machine]
    #[arg(long, value_name = "FILE")]
    pub(super) ca: Option<PathBuf>,

    /// Authenticate as this user; the password is in the environment variable SMTP_PASSWORD, unless there is --token-file
    #[arg(long, value_name = "USER", requires = "server")]
    pub(super) auth: Option<String>,

    /// Authenticate by this mechanism alone, such as PLAIN; may be given several times [default: the strongest that the server
    /// offers, and the next where it refuses one as such]
    #[arg(long, value_name = "NAME", requires = "auth", value_parser = mechanism)]
    pub(super) auth_mechanism: Vec<Mechanism>,

    /// Authenticate by the bearer token in this file (OAUTHBEARER, XOAUTH2)
    #[arg(long, value_name = "FILE", requires = "auth")]
    pub(super) token_file: Option<PathBuf>,

    /// Show the password also where the hop is not encrypted
    #[arg(long, requires = "auth")]
    pub(super) plaintext_auth: bool,

    /// Speak LMTP (RFC 2033): a reply for each recipient
    #[arg(long, requires = "server")]
    pub(super) lmtp: bool,

    /// Name of this client in EHLO [default: this machine's name]
    #[arg(long, value_name = "NAME")]
    pub(super) helo: Option<String>,

    /// What to do about line ends that are not CRLF, as most files have
    #[arg(long, value_enum, default_value = "strict")]
    pub(super) newlines: Newlines,

    /// Send octets beyond ASCII also to a server that does not offer 8BITMIME, against RFC 6152
    #[arg(long = "8bit-anyway")]
    pub(super) eight_bit_anyway: bool,

    /// Send lines of more than 998 octets, against RFC 5321
    #[arg(long)]
    pub(super) long_lines: bool,

    /// Let pass what servers should not do, by name; each use is told
    #[arg(long, value_name = "NAME", value_enum)]
    pub(super) lenient: Vec<Lenience>,

    /// When to send a notification about each recipient (RFC 3461)
    #[arg(long, value_name = "WHEN", value_enum, value_delimiter = ',')]
    pub(super) notify: Vec<When>,

    /// What a notification gives back of the message (RFC 3461)
    #[arg(long, value_enum)]
    pub(super) ret: Option<GiveBack>,

    /// A name for this message, given back in notifications (RFC 3461)
    #[arg(long, value_name = "TEXT")]
    pub(super) envid: Option<String>,

    /// The recipient's original address, for notifications (RFC 3461); as many as there are --to, in their order
    #[arg(long, value_name = "ADDRESS")]
    pub(super) orcpt: Vec<String>,

    /// Send nothing where the server does not offer DSN, instead of leaving the options of RFC 3461 out
    #[arg(long)]
    pub(super) require_dsn: bool,

    /// How long to wait for each reply, in seconds [default: as RFC 5321 4.5.3.2 says, 10 minutes for the text]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) timeout: Option<u32>,

    /// How long to try to connect, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) connect_timeout: u32,

    /// Use DATA even where the server offers CHUNKING
    #[arg(long)]
    pub(super) no_chunking: bool,

    /// Ask this name server instead of the machine's own
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "server")]
    pub(super) dns: Option<SocketAddr>,

    /// The port of mail exchangers that were looked up
    #[arg(long, value_name = "PORT", default_value_t = 25, conflicts_with = "server")]
    pub(super) port: u16,

    /// Append one JSON line a transaction to this file, as `serve` does
    #[arg(long, value_name = "FILE")]
    pub(super) ledger: Option<PathBuf>,

    /// Name of this host in the ledger, other than that of any other host whose ledger goes to the same place [default:
    /// this machine's name]
    #[arg(long, value_name = "NAME", requires = "ledger", value_parser = crate::node::name)]
    pub(super) node: Option<String>,

    /// Show the dialogue on stderr, credentials left out
    #[arg(short, long)]
    pub(super) verbose: bool,

    /// Print the outcome as JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Policy {
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
    pub(super) const fn of_core(self) -> Tls {
        match self {
            Self::Never => Tls::Never,
            Self::Opportunistic => Tls::Opportunistic,
            Self::Require => Tls::Require,
            Self::Verify => Tls::Verify,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Lenience {
    /// Replies whose lines end in LF without CR
    BareLf,
    /// Dots side by side, or at an end, in the local part of an address
    DotsInLocalPart,
    /// Underscores in the domain of an address
    UnderscoreInDomain,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum When {
    /// Not at all; alone
    Never,
    /// It has been delivered
    Success,
    /// It cannot be delivered
    Failure,
    /// It has to wait
    Delay,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum GiveBack {
    /// The whole message
    Full,
    /// Its header
    Hdrs,
}

fn mechanism(name: &str) -> Result<Mechanism, String> {
    Mechanism::from_name(name).ok_or_else(|| {
        let names: Vec<_> = Mechanism::ALL.iter().map(|mechanism| mechanism.name()).collect();
        format!("not a mechanism that is known here: {}", names.join(", "))
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Newlines {
    /// Refuse such a message
    Strict,
    /// Make them CRLF
    Convert,
}
