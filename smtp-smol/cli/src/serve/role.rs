//! What the server is for, and which options go with it.

use clap::ValueEnum;
use smtp_proto::auth::MechanismSet;
use smtp_proto::server::{self, Config};

use super::{Options, Tls};
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

impl Role {
    /// Finds out whether the other options fit.
    pub(super) fn check(self, options: &Options) -> Result<(), Failure> {
        let off = matches!(options.tls, Tls::Off);
        if let (Some(address), true) = (options.implicit_tls.first(), off) {
            let mend = "leave one of them out";
            return Err(Failure::option("--implicit-tls", address, "there is no TLS with --tls off", mend));
        }
        if self != Self::Mx && matches!(options.tls, Tls::Rehearse(_)) {
            let wrong = "a rehearsal asks other mail servers to come again, which come to an MX";
            return Err(Failure::option("--tls", "rehearse", wrong, "leave it or --role out"));
        }
        match (self, &options.users) {
            (Self::Submission, None) => {
                let mend = "name a file of users with --users; `smtp-smol user NAME` makes its lines";
                Err(Failure::option("--role", "submission", "nobody could authenticate", mend))
            }
            (Self::Submission, Some(_)) if off => {
                let wrong = "users authenticate inside TLS only";
                Err(Failure::option("--tls", "off", wrong, "leave it out, or say require"))
            }
            (Self::Mx | Self::Lmtp, Some(file)) => {
                let wrong = "only a submission server asks who somebody is";
                Err(Failure::option("--users", file.display(), wrong, "leave it out, or add --role submission"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn configure(self, config: Config) -> Config {
        match self {
            Self::Mx => config.role(server::Role::Mx),
            Self::Submission => config.role(server::Role::Submission).auth(MechanismSet::PASSWORD),
            Self::Lmtp => config.role(server::Role::Lmtp),
        }
    }
}
