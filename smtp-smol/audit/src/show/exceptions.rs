//! The list of exceptions: whom a policy would silence, as `serve --except` reads it, and as Postfix does.

use std::fmt::Write as _;
use std::net::IpAddr;

use smtp_proto::tls::Exception;

use super::values::{day, period};
use super::words::{counted, days, required, without};
use crate::count::silenced::{Parties, Sum};

/// Whom a policy would silence, as text.
#[derive(Debug)]
pub(crate) struct Exceptions {
    about: String,
    senders: Vec<(String, String)>,
    networks: Vec<(String, String)>,
    /// Messages of senders that have no name by which they could be excepted.
    nameless: u64,
    full: bool,
}

impl Exceptions {
    pub(crate) fn new(parties: &Parties) -> Self {
        let (what, without) = (required(parties.require), without(parties.require));
        let span = parties.days.map(|(first, last)| period((first * 86_400, last * 86_400)));
        let when = span.as_ref().map_or_else(|| "no mail at all".into(), days);
        let told = |sum: Sum| format!("{}, the last on {}", counted(sum.lost, "message"), day(sum.last));
        let (named, nameless): (Vec<_>, Vec<_>) = parties
            .senders()
            .into_iter()
            .partition(|(name, _)| matches!(name.parse(), Ok(Exception::Domain(domain)) if domain == *name));
        let bits = |network: &IpAddr| if network.is_ipv4() { 24 } else { 64 };
        Self {
            about: format!("Whom requiring {what} would silence: all their wanted mail came {without}. From {when}."),
            senders: named.into_iter().map(|(name, sum)| (name.into(), told(sum))).collect(),
            networks: parties
                .networks()
                .into_iter()
                .map(|(network, sum)| (format!("{network}/{}", bits(&network)), told(sum)))
                .collect(),
            nameless: nameless.iter().map(|(_, sum)| sum.lost).sum(),
            full: parties.full,
        }
    }

    /// As `serve --except` and `audit --except` read it.
    pub(crate) fn text(&self) -> String {
        let mut out = self.head(&[
            "A line is a sender's domain, which stands for those below it, or a client's network.",
            "What is behind # is not read. Anybody can claim a domain, and nobody a network: take a",
            "domain out whose networks are in the list and stay.",
        ]);
        for (title, list) in [("domain", &self.senders), ("network", &self.networks)] {
            let _ = writeln!(out, "\n# {}", counted(list.len() as u64, title));
            for (name, told) in list {
                let _ = writeln!(out, "{name:<32} # {told}");
            }
        }
        out
    }

    /// As Postfix reads them: of networks (`cidr:`), and of senders' domains (`texthash:`). `file` is where they will be,
    /// with `.clients` and `.senders` behind.
    pub(crate) fn postfix(&self, file: &str) -> [String; 2] {
        let main = [
            "In main.cf (Postfix 2.8 or later), TLS being offered as now; OK ends this list alone:".to_owned(),
            "  smtpd_tls_security_level = may".to_owned(),
            "  plaintext_reject_code = 530".to_owned(),
            "  smtpd_sender_restrictions =".to_owned(),
            "      (what stands there now)".to_owned(),
            format!("      check_client_access cidr:{file}.clients"),
            format!("      check_sender_access texthash:{file}.senders"),
            "      reject_plaintext_session".to_owned(),
        ];
        let table = |title: &str, list: &[(String, String)]| {
            let mut out = self.head(&main.iter().map(String::as_str).collect::<Vec<_>>());
            let _ = writeln!(out, "\n# {}", counted(list.len() as u64, title));
            for (name, told) in list {
                // There a comment has a line of its own.
                let _ = writeln!(out, "# {told}\n{name} OK");
            }
            out
        };
        [table("network", &self.networks), table("domain", &self.senders)]
    }

    fn head(&self, more: &[&str]) -> String {
        let mut out = format!("# {}\n", self.about);
        for line in more {
            let _ = writeln!(out, "# {line}");
        }
        if self.nameless > 0 {
            let _ =
                writeln!(out, "# Not in the list: {} of senders without a domain.", counted(self.nameless, "message"));
        }
        if self.full {
            out.push_str("# There are more senders or networks than are told apart: the list is not whole.\n");
        }
        out
    }
}
