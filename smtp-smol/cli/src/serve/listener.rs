//! The settings that a listener may have of its own: on the command line they are those of all, in the file each
//! `[[listener]]` may have others.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};
use smtp_proto::auth::MechanismSet;
use smtp_proto::proxy::Network;

use super::listen::{Place, network, place};
use super::options::{Oldest, Options, Tls, lenient, mechanisms, pause, size, time, tls};
use super::recipients::domain;
use super::role::Role;

/// Where it listens, and what is particular to it.
#[derive(Clone, Debug, Args)]
pub(crate) struct ListenerOptions {
    /// What the server is for
    #[arg(long, value_enum, default_value = "mx")]
    pub(crate) role: Role,

    /// Who may submit mail, with --role submission: a file with a line NAME:SECRET for each user, as `smtp-smol user NAME`
    /// prints it
    #[arg(long, value_name = "FILE")]
    pub(crate) users: Option<PathBuf>,

    /// Listen here; may be given several times: ADDRESS:PORT, where port 0 means any free one, unix:PATH, or
    /// systemd:NAME for the sockets of that FileDescriptorName which systemd passes. 0.0.0.0 is every address of IPv4, and
    /// `[::]` every one of IPv6 [default: 127.0.0.1:2525, unless --implicit-tls or --proxy]
    #[arg(long, value_name = "ADDRESS", value_parser = place)]
    pub(crate) listen: Vec<Place>,

    /// Listen here, where TLS comes first, as on port 465 (RFC 8314); may be given several times
    #[arg(long, value_name = "ADDRESS", value_parser = place)]
    pub(crate) implicit_tls: Vec<Place>,

    /// Listen here for load balancers, which must begin with a PROXY header (v1 or v2); may be given several times
    #[arg(long, value_name = "ADDRESS", value_parser = place)]
    pub(crate) proxy: Vec<Place>,

    /// Load balancers that may connect to --proxy: an address, or a network such as 192.0.2.0/24
    #[arg(long, value_name = "NETWORK", value_parser = network)]
    pub(crate) proxy_from: Vec<Network>,

    /// TLS with the client ends at the load balancers of --proxy, also where their header does not say so: mail from there
    /// counts as mail with TLS. What a header of version 2 says of TLS is believed in any case
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value_t = false, default_missing_value = "true", hide_default_value = true, hide_possible_values = true)]
    pub(crate) proxy_tls_before: bool,

    /// Take mail for this domain, and refuse other mail; may be given several times. `*` is every domain: what is taken
    /// where this machine alone can connect, and elsewhere only if `*` is given twice [default: every domain, on this
    /// machine and for users who authenticate]
    #[arg(long, value_name = "NAME", value_parser = domain)]
    pub(crate) domain: Vec<String>,

    /// What to do about TLS: `offer` it, and take mail without it too; `require` it, answering 530 to mail in plaintext,
    /// as a public server must not (RFC 3207 section 4); `off`; or `rehearse[=WINDOW]`: ask each plaintext sender once to
    /// come again, refuse nobody, remember them for WINDOW (such as 12h or 5d, which is the default), and report who
    /// came with TLS
    #[arg(long, value_name = "POLICY", default_value = "offer", value_parser = tls)]
    pub(crate) tls: Tls,

    /// The oldest version of TLS; a client that has less and does not go on in plaintext cannot send its mail
    #[arg(long, value_name = "VERSION", value_enum, default_value = "1.2")]
    pub(crate) tls_min_version: Oldest,

    /// Do not offer STARTTLS to clients of this network; may be given several times
    #[arg(long, value_name = "NETWORK", value_parser = network)]
    pub(crate) starttls_off_for: Vec<Network>,

    /// Mechanisms of AUTH, with --role submission: names with commas between them, such as SCRAM-SHA-256-PLUS,PLAIN
    /// [default: SCRAM-SHA-256,PLAIN,LOGIN]
    #[arg(long, value_name = "NAMES", value_parser = mechanisms)]
    pub(crate) auth_mechanisms: Option<MechanismSet>,

    /// Take passwords in plaintext too, with --role submission: for networks that nobody else can listen to
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value_t = false, default_missing_value = "true", hide_default_value = true, hide_possible_values = true)]
    pub(crate) plaintext_auth: bool,

    /// Hold the greeting back for so long, and send away who talks before it: seconds, or with s or m behind
    #[arg(long, value_name = "TIME", value_parser = pause)]
    pub(crate) greet_pause: Option<Duration>,

    /// Let this departure from the standards pass, and count it: a name such as bare-lf-text, `devices` for what printers
    /// and the like need on a private network, or `none`; may be given several times [default: trailing-space]
    #[arg(long, value_name = "NAME", value_parser = lenient)]
    pub(crate) lenient: Vec<String>,

    /// Largest message: octets, or with k, M or G behind
    #[arg(long, value_name = "SIZE", default_value = "50M", value_parser = size)]
    pub(crate) max_size: u64,

    /// How long to wait for a command (RFC 5321 section 4.5.3.2.7 asks for 5 minutes)
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = time)]
    pub(crate) command_timeout: Duration,

    /// How long to wait for the next KiB of text (RFC 5321 section 4.5.3.2.5 asks for 3 minutes)
    #[arg(long, value_name = "TIME", default_value = "3m", value_parser = time)]
    pub(crate) text_timeout: Duration,

    /// How long a TLS handshake may take
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
    pub(crate) handshake_timeout: Duration,
}

impl ListenerOptions {
    /// Whether TLS is required of all but those whom the file of `--except` names. Users authenticate: of them it is required
    /// without exception.
    pub(crate) fn requires_but_of_some(&self, server: &Options) -> bool {
        self.tls == Tls::Require && self.role == Role::Mx && server.except.is_some()
    }

    /// Whether it says where.
    pub(crate) fn has_address(&self) -> bool {
        !(self.listen.is_empty() && self.implicit_tls.is_empty() && self.proxy.is_empty())
    }
}
