//! The settings of `serve`. Each has one name: as an option, in the environment and in the file of `--config`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};
use smtp_audit::UnwantedIf;
use smtp_proto::auth::{Mechanism, MechanismSet};
use smtp_proto::proxy::Network;
use smtp_proto::tls::{Exception, Rehearsal};
use smtp_proto::{Leniencies, UnknownLeniency};

use super::certificate::AcmeOptions;
use super::listen::{address, network};
use super::listener::ListenerOptions;
use super::maildir::Newline;
use super::next_hop::{NextHopOptions, Place};
use super::rates::Rate;
use super::rehearse;

const EXAMPLES: &str = "\
Examples:
  smtp-smol serve
      Listen on 127.0.0.1:2525 with a certificate made on the spot; keep mail for anyone in ./mail
  smtp-smol serve --config /etc/smtp-smol/smtp-smol.toml
      Take the settings, and perhaps several [[listener]] tables, from a file
  smtp-smol serve --listen [::]:25 --domain example.net --hostname mx.example.net --cert mx.crt --key mx.key
      Take mail for example.net from the world, under a name and certificate of your own
  smtp-smol serve --listen [::]:25 --domain example.net --hostname mx.example.net --tls-acme-listen [::]:443 \
      --tls-acme-directory https://acme-v02.api.letsencrypt.org/directory
      The same, with a certificate that is had from Let's Encrypt and renewed by itself
  smtp-smol serve --deliver discard --ledger ledger.jsonl
      Keep no mail, but count what came over TLS and what did not
  smtp-smol serve --tls rehearse --ledger ledger.jsonl --unwanted-if X-Spam-Flag=YES
      Ask plaintext senders once to come again, refuse nobody, and report who came with TLS
  smtp-smol serve --tls require --json
      Refuse mail in plaintext; print a JSON line for each message
  smtp-smol serve --tls require --except exceptions --ledger ledger.jsonl
      Refuse mail in plaintext, except from those that `smtp-smol audit --exceptions exceptions` found
  smtp-smol serve --listen [::]:25 --deliver smtp://127.0.0.1:10025 --announce xclient --ledger ledger.jsonl
      Stand before the mail server that is there, which verifies recipients and takes the mail
  printf 'secret\\n' | smtp-smol user alice >users
  smtp-smol serve --role submission --users users --listen 0.0.0.0:587 --implicit-tls 0.0.0.0:465
      Take mail from alice alone, with STARTTLS or with TLS from the first octet
  smtp-smol serve --role lmtp --listen unix:/run/smtp-smol/lmtp
      Take mail from a mail server on this machine

Settings:
  Every option is a setting. --max-size 20M is also SMTP_SMOL_MAX_SIZE=20M in the environment, and max_size = \"20M\" in
  the file of --config. The command line counts before the environment, and that before the file.

Signals:
  SIGTERM, SIGINT  End in order: messages in flight complete. The report is printed on stderr
  SIGUSR1          Print the report on stderr, and go on
  SIGHUP           Open the ledger anew, and read --cert, --key and --except again; a closed terminal ends nothing";

/// Receive mail: offer STARTTLS, keep what comes in a Maildir or hand it on to the server behind, and count who uses TLS.
///
/// Where others than this machine can connect, mail is taken for the domains of
/// --domain alone.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Read settings from this file (TOML); `smtp-smol check-config FILE` tells whether it is right
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) listener: ListenerOptions,

    /// Name of this server in its greeting and in Received fields [default: this machine's name]
    #[arg(long, value_name = "NAME")]
    pub(crate) hostname: Option<String>,

    /// Where mail goes: `maildir:DIR`, `discard`, or to the mail server behind this one: `smtp://HOST:PORT`,
    /// `lmtp://HOST:PORT` or `lmtp+unix:PATH`. Lines end with LF in a Maildir, or with CRLF as they came if
    /// `?newline=crlf` is put behind. Behind a server there may be `?tls=off`, `?tls=offer` (to use it where it is offered:
    /// the default, except on this machine) or `?tls=verify`
    #[arg(long, value_name = "WHERE", default_value = "maildir:mail", value_parser = delivery)]
    pub(crate) deliver: Delivery,

    #[command(flatten)]
    pub(crate) next_hop: NextHopOptions,

    /// Certificate and its chain (PEM); may be given several times, such as for other names, or RSA beside ECDSA. A client
    /// gets the first that is for the name it asks for and that it can check. Read again when the files change, and on
    /// SIGHUP [default: a self-signed one, made once and kept]
    #[arg(long, value_name = "FILE")]
    pub(crate) cert: Vec<PathBuf>,

    /// Private key (PEM) of the certificate; one for each, in the same order
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) acme: AcmeOptions,

    /// Authorities (PEM) by which clients' certificates verify; they are asked for, noted in the ledger, and never
    /// required [default: those that the system trusts]
    #[arg(long, value_name = "FILE")]
    pub(crate) client_ca: Option<PathBuf>,

    /// Folder for what is made once and kept [default: $XDG_STATE_HOME/smtp-smol or ~/.local/state/smtp-smol]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,

    /// Do not offer STARTTLS for so long to a host two of whose handshakes have failed, so that its mail comes in plaintext
    /// rather than not at all; with --role mx. `off` offers it always [default: 2h, and always to this machine itself]
    #[arg(long, value_name = "TIME", value_parser = withhold)]
    pub(crate) withhold_starttls: Option<Withhold>,

    /// Senders that a rehearsal does not ask: a sender's domain, or a client's network; may be given several times
    #[arg(long, value_name = "DOMAIN|NET")]
    pub(crate) rehearse_except: Vec<Exception>,

    /// Senders that may go on in plaintext with --tls require, and are not asked with --tls rehearse: a file with a domain or
    /// a network a line, as `smtp-smol audit --exceptions FILE` writes it; read again on SIGHUP. It holds for --role mx. Whoever
    /// claims to be of a domain passes; a network cannot be forged
    #[arg(long, value_name = "FILE")]
    pub(crate) except: Option<PathBuf>,

    /// Mail with this field and value counts as unwanted, and other mail as wanted; may be given several times [default:
    /// what is accepted is wanted]
    #[arg(long, value_name = "HEADER=VALUE")]
    pub(crate) unwanted_if: Vec<UnwantedIf>,

    /// Most connections at once; more are answered 421
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_connections: u32,

    /// Most connections at once of one address [default: 100; of this machine itself as many as in all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_per_address: Option<u32>,

    /// Most connections of a network in a time, such as 60/1m; more are answered 421 4.7.0. A network is an IPv4 address
    /// or 64 bits of IPv6; of this machine itself there may be any number [default: any number]
    #[arg(long, value_name = "N/TIME")]
    pub(crate) connection_rate: Option<Rate>,

    /// Most messages of a network in a time, such as 100/1m; more are answered 421 4.7.0 [default: any number]
    #[arg(long, value_name = "N/TIME")]
    pub(crate) message_rate: Option<Rate>,

    /// Most failed logins of a network in a time: after that many it is answered 421 4.7.0, and no password is looked at
    #[arg(long, value_name = "N/TIME", default_value = "20/10m")]
    pub(crate) failed_login_rate: Rate,

    /// Run as this user and its groups once the addresses are bound and the certificates read, if started as root
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,

    /// How long to wait for messages in flight when the server is told to end; then their connections are cut off
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
    pub(crate) drain: Duration,

    /// Append one JSON line a transaction to this file; opened anew on SIGHUP, for rotation
    #[arg(long, value_name = "FILE")]
    pub(crate) ledger: Option<PathBuf>,

    /// Name of this host in the ledger, other than that of any other host whose ledger goes to the same place [default:
    /// this machine's name]
    #[arg(long, value_name = "NAME", value_parser = crate::node::name)]
    pub(crate) node: Option<String>,

    /// Show at this address, by HTTP: /metrics for Prometheus, /healthz, /readyz, and what requiring TLS would cost by now
    /// as /loss and /loss.json. Whoever can connect can read it
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    pub(crate) metrics: Option<SocketAddr>,

    /// Clients that may say by XCLIENT or XFORWARD for whom they speak: an address, or a network; may be given several
    /// times
    #[arg(long, value_name = "NETWORK", value_parser = network)]
    pub(crate) trust: Vec<Network>,

    /// What to log on stderr
    #[arg(long, value_name = "LEVEL", default_value = "warn", value_parser = ["off", "error", "warn", "info", "debug", "trace"])]
    pub(crate) log: String,

    /// Form of the log: `text`, or `json` with an object a line
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    pub(crate) log_format: LogFormat,

    /// Print the line a message as JSON
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value_t = false, default_missing_value = "true", hide_default_value = true, hide_possible_values = true)]
    pub(crate) json: bool,
}

/// Where mail goes.
#[derive(Clone, Debug)]
pub(crate) enum Delivery {
    Maildir(PathBuf, Newline),
    Discard,
    NextHop(Place),
}

/// What is done about TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tls {
    Offer,
    /// For so many seconds a sender is remembered.
    Rehearse(i64),
    Require,
    Off,
}

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// An object a line
    Json,
}

/// For how long STARTTLS is not offered to hosts whose handshakes fail, if at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Withhold(pub(crate) Option<Duration>);

/// The oldest version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Oldest {
    /// TLS 1.2 (RFC 8996 and RFC 9325 know none older)
    #[value(name = "1.2")]
    Tls12,
    /// TLS 1.3 alone
    #[value(name = "1.3")]
    Tls13,
}

pub(super) fn tls(text: &str) -> Result<Tls, String> {
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
pub(super) fn pause(text: &str) -> Result<Duration, String> {
    let pause = time(text).ok().filter(|time| *time <= Duration::from_secs(240));
    pause.ok_or_else(|| "give a time from 1 s to 4 m, such as 5s".into())
}

fn withhold(text: &str) -> Result<Withhold, String> {
    let wrong = |_| "give a time from 1 s to 90 days, such as 2h, or off".to_owned();
    if text == "off" { Ok(Withhold(None)) } else { time(text).map(|time| Withhold(Some(time))).map_err(wrong) }
}

pub(super) fn time(text: &str) -> Result<Duration, String> {
    let seconds = rehearse::window(text).and_then(|seconds| u64::try_from(seconds).ok());
    seconds.map(Duration::from_secs).ok_or_else(|| "give a time from 1 s to 90 days, such as 30s, 5m or 12h".into())
}

/// Checked here, so that a wrong name is told with the right one.
pub(super) fn lenient(name: &str) -> Result<String, UnknownLeniency> {
    Leniencies::from_name(name).map(|_| name.to_owned())
}

fn delivery(text: &str) -> Result<Delivery, String> {
    if Place::is_meant(text) {
        return text.parse().map(Delivery::NextHop);
    }
    match text.split_once(':') {
        Some(("maildir", folder)) if !folder.is_empty() => match folder.split_once('?') {
            None => Ok(Delivery::Maildir(folder.into(), Newline::Lf)),
            Some((folder, "newline=lf")) => Ok(Delivery::Maildir(folder.into(), Newline::Lf)),
            Some((folder, "newline=crlf")) => Ok(Delivery::Maildir(folder.into(), Newline::Crlf)),
            Some(_) => Err("behind the folder there may be ?newline=lf or ?newline=crlf".into()),
        },
        None if text == "discard" => Ok(Delivery::Discard),
        _ => Err("give maildir:DIR, discard, smtp://HOST:PORT, lmtp://HOST:PORT or lmtp+unix:PATH".into()),
    }
}

pub(super) fn size(text: &str) -> Result<u64, String> {
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

/// Names of mechanisms with blanks or commas between them.
pub(super) fn mechanisms(text: &str) -> Result<MechanismSet, String> {
    let mut set = MechanismSet::EMPTY;
    for name in text.split([' ', ',']).filter(|name| !name.is_empty()) {
        let known = Mechanism::from_name(name).filter(|mechanism| MechanismSet::PASSWORD.contains(*mechanism));
        set = set.with(known.ok_or_else(|| format!("{name:?} is none that this server has; {}", all_mechanisms()))?);
    }
    if set.is_empty() { Err(all_mechanisms()) } else { Ok(set) }
}

fn all_mechanisms() -> String {
    let names: Vec<_> = MechanismSet::PASSWORD.iter().map(Mechanism::name).collect();
    format!("give some of {}, with commas between them", names.join(", "))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Mechanism;

    #[test]
    fn pauses() {
        assert_eq!(super::pause("6"), Ok(Duration::from_secs(6)));
        assert_eq!(super::pause("4m"), Ok(Duration::from_secs(240)));
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

    #[test]
    fn mechanisms() {
        let names = |text| super::mechanisms(text).map(|set| set.iter().map(Mechanism::name).collect::<Vec<_>>());
        assert_eq!(names("login,PLAIN"), Ok(vec!["PLAIN", "LOGIN"]));
        assert_eq!(names("SCRAM-SHA-256 PLAIN"), Ok(vec!["SCRAM-SHA-256", "PLAIN"]));
        for wrong in ["", ",", "CRAM-MD5", "EXTERNAL", "PLAIN;LOGIN"] {
            assert!(super::mechanisms(wrong).is_err(), "{wrong}");
        }
    }
}
