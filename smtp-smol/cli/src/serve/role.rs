//! What the server is for, and which options go with it.

use std::fmt;

use clap::ValueEnum;
use smtp_proto::auth::MechanismSet;
use smtp_proto::server::{self, Config};

use super::listener::ListenerOptions;
use super::options::Tls;
use crate::failure::Failure;

/// What the server is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Takes mail from other servers
    Mx,
    /// Takes mail from users, who must authenticate (--users), inside TLS (RFC 6409, RFC 8314)
    Submission,
    /// Takes mail from a mail server, with an answer for each recipient (RFC 2033)
    Lmtp,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Role {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Mx => "mx",
            Self::Submission => "submission",
            Self::Lmtp => "lmtp",
        }
    }

    /// Finds out whether the other settings of its listener fit.
    pub(super) fn check(self, options: &ListenerOptions) -> Result<(), Failure> {
        let off = matches!(options.tls, Tls::Off);
        let leave_out = "leave one of them out";
        if let (Some(address), true) = (options.implicit_tls.first(), off) {
            return Err(Failure::option("--implicit-tls", address, "there is no TLS with --tls off", leave_out));
        }
        if let (Some(address), true) = (options.proxy.first(), options.proxy_from.is_empty()) {
            let mend = "name the load balancers that may connect there with --proxy-from";
            return Err(Failure::option("--proxy", address, "nobody could connect", mend));
        }
        if options.proxy_tls_before && options.proxy.is_empty() {
            let mend = "name where they connect with --proxy";
            return Err(Failure::option("--proxy-tls-before", true, "nothing listens for load balancers", mend));
        }
        if self != Self::Mx && matches!(options.tls, Tls::Rehearse(_)) {
            let wrong = "a rehearsal asks other mail servers to come again, which come to an MX";
            return Err(Failure::option("--tls", "rehearse", wrong, "leave it or --role out"));
        }
        if self != Self::Submission && options.auth_mechanisms.is_some() {
            let wrong = "only a submission server asks who somebody is";
            return Err(Failure::option("--auth-mechanisms", "", wrong, "leave it out, or add --role submission"));
        }
        match (self, &options.users) {
            (Self::Mx | Self::Lmtp, _) if options.plaintext_auth => {
                let wrong = "only a submission server asks who somebody is";
                Err(Failure::option("--plaintext-auth", "", wrong, "leave it out, or add --role submission"))
            }
            (Self::Submission, None) => {
                let mend = "name a file of users with --users; `smtp-smol user NAME` makes its lines";
                Err(Failure::option("--role", "submission", "nobody could authenticate", mend))
            }
            (Self::Submission, Some(_)) if off && !options.plaintext_auth => {
                let wrong = "users authenticate inside TLS only";
                let mend =
                    "leave it out, or say require; on a network that nobody else can listen to, add --plaintext-auth";
                Err(Failure::option("--tls", "off", wrong, mend))
            }
            (Self::Mx | Self::Lmtp, Some(file)) => {
                let wrong = "only a submission server asks who somebody is";
                Err(Failure::option("--users", file.display(), wrong, "leave it out, or add --role submission"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn configure(self, config: Config, options: &ListenerOptions) -> Config {
        match self {
            Self::Mx => config.role(server::Role::Mx),
            Self::Submission => config
                .role(server::Role::Submission)
                .auth(options.auth_mechanisms.unwrap_or(MechanismSet::PORTABLE))
                .allow_plaintext_auth(options.plaintext_auth),
            Self::Lmtp => config.role(server::Role::Lmtp),
        }
    }
}
