//! Whose mail is taken: the domains that `--domain` names.

use smtp_proto::syntax::{ForwardPath, Reply};

use super::listener::ListenerOptions;
use super::next_hop::Announce;
use super::options::{Delivery, Options};
use super::role::Role;
use crate::failure::Failure;

/// What a recipient of another domain is answered (RFC 5321 3.6.2, RFC 3463 3.8).
pub(crate) const NOT_OURS: Reply<'static> = Reply::fixed(550, (5, 7, 1), "Mail for this domain is not taken here");

/// The domains whose mail is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Domains {
    /// Mail for any recipient.
    All,
    /// Mail for these, in lower case.
    Only(Vec<String>),
}

impl Domains {
    /// Those of the options. Mail for any recipient is taken only where no stranger can bring it: a server on the internet
    /// that answers 250 to everything swallows mail that others were to get.
    pub(super) fn of(options: &ListenerOptions, server: &Options) -> Result<Self, Failure> {
        let stars = options.domain.iter().filter(|name| *name == "*").count();
        let names: Vec<_> = options.domain.iter().filter(|name| *name != "*").map(|name| name.to_lowercase()).collect();
        if let (Some(name), true) = (names.first(), stars > 0) {
            let mend = "leave out the domains, or the *";
            return Err(Failure::option("--domain", name, "--domain '*' already stands for every domain", mend));
        }
        if !names.is_empty() {
            return Ok(Self::Only(names));
        }
        // Users who have authenticated write to whom they like.
        if stars > 1 || options.role == Role::Submission {
            return Ok(Self::All);
        }
        let Some(place) = open_to_others(options) else { return Ok(Self::All) };
        let mend = "name your domains with --domain NAME; for a server that takes everything say --domain '*' twice";
        let wrong = match &server.deliver {
            // A store knows its recipients, and to a server that is told who the client is this one lends no trust.
            Delivery::NextHop(hop) if hop.is_lmtp() => return Ok(Self::All),
            Delivery::NextHop(_) => match server.next_hop.announce {
                Some(Announce::Xclient | Announce::Proxy) => return Ok(Self::All),
                Some(Announce::Xforward) | None => {
                    "others than this machine can connect there, and the next hop would take their mail for this \
                     machine's own, which it may well relay"
                }
            },
            Delivery::Maildir(..) | Delivery::Discard => {
                "others than this machine can connect there, and mail for any recipient would be taken from them"
            }
        };
        Err(Failure::option("--listen", place, wrong, mend))
    }

    /// Whether mail for this recipient is taken.
    pub(crate) fn hold(&self, path: &ForwardPath<'_>) -> bool {
        match (self, path) {
            (Self::All, _) => true,
            (Self::Only(names), ForwardPath::Mailbox(mailbox)) => {
                let domain = mailbox.domain().to_lowercase();
                names.contains(&domain)
            }
            // RFC 5321 4.5.1: <Postmaster> without a domain is the one of this server.
            (Self::Only(_), _) => true,
        }
    }

    /// For the terminal.
    pub(super) fn told(&self) -> String {
        match self {
            Self::All => "mail for any recipient is taken".into(),
            Self::Only(names) => format!("mail for {} is taken, other mail refused", names.join(", ")),
        }
    }
}

/// One of `--domain`.
pub(super) fn domain(text: &str) -> Result<String, String> {
    let wrong = || "give a domain such as example.org, or * for all".to_owned();
    let probe = format!("x@{text}");
    if text == "*" || smtp_proto::syntax::Mailbox::parse(&probe, true).is_ok() {
        Ok(text.to_owned())
    } else {
        Err(wrong())
    }
}

/// The first listener that others than this machine can reach, whether directly or through a load balancer.
fn open_to_others(options: &ListenerOptions) -> Option<String> {
    let places = options.listen.iter().chain(&options.implicit_tls);
    let open = places.into_iter().find(|place| !place.is_local()).or_else(|| options.proxy.first());
    open.map(ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::options::Options;
    use clap::Parser;
    use smtp_proto::syntax::Mailbox;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        options: Options,
    }

    fn domains(arguments: &[&str]) -> Result<Domains, Failure> {
        let arguments = ["serve"].iter().chain(arguments);
        let options = Arguments::try_parse_from(arguments).unwrap_or_else(|error| panic!("{error}")).options;
        Domains::of(&options.listener, &options)
    }

    #[test]
    fn a_public_server_does_not_take_mail_for_everyone() {
        for arguments in [
            &["--listen", "[::]:25"][..],
            &["--listen", "192.0.2.1:25", "--domain", "*"],
            &["--listen", "127.0.0.1:25", "--implicit-tls", "0.0.0.0:465"],
            &["--proxy", "127.0.0.1:25", "--proxy-from", "127.0.0.1"],
            &["--listen", "0.0.0.0:25", "--deliver", "discard"],
            &["--domain", "*", "--domain", "example.net"],
            // It would lend its own address to everyone.
            &["--listen", "[::]:25", "--deliver", "smtp://127.0.0.1:10025"],
            &["--listen", "[::]:25", "--deliver", "smtp://127.0.0.1:10025", "--announce", "xforward"],
        ] {
            domains(arguments).expect_err(&arguments.join(" "));
        }
        for arguments in [
            &[][..],
            &["--listen", "unix:/run/x", "--listen", "[::1]:25"],
            &["--listen", "127.0.0.1:25", "--domain", "*"],
            &["--listen", "[::]:25", "--domain", "*", "--domain", "*"],
            &["--listen", "[::]:587", "--role", "submission"],
            &["--listen", "[::]:25", "--deliver", "smtp://127.0.0.1:10025", "--announce", "xclient"],
            &["--listen", "[::]:25", "--deliver", "smtp://127.0.0.1:10025", "--announce", "proxy"],
            &["--listen", "[::]:25", "--deliver", "lmtp+unix:/run/dovecot/lmtp"],
        ] {
            assert_eq!(domains(arguments).expect("as is"), Domains::All, "{arguments:?}");
        }
    }

    #[test]
    fn recipients_of_named_domains_and_the_postmaster_are_taken() {
        let domains = domains(&["--listen", "[::]:25", "--domain", "Example.NET", "--domain", "[192.0.2.1]"]);
        let domains = domains.expect("named");
        let mailbox = |text| ForwardPath::Mailbox(Mailbox::parse(text, true).expect("an address"));
        for (to, taken) in [
            ("a@example.net", true),
            ("a@EXAMPLE.net", true),
            ("a@[192.0.2.1]", true),
            ("a@sub.example.net", false),
            ("a@example.org", false),
            ("\"a@example.net\"@example.org", false),
            ("a@[192.0.2.2]", false),
        ] {
            assert_eq!(domains.hold(&mailbox(to)), taken, "{to}");
        }
    }

    #[test]
    fn what_is_no_domain_is_told() {
        for right in ["example.net", "*", "[192.0.2.1]", "b\u{fc}cher.example"] {
            assert!(domain(right).is_ok(), "{right}");
        }
        for wrong in ["", "*.example.net", "a@example.net", "example net", ".example.net"] {
            assert!(domain(wrong).is_err(), "{wrong}");
        }
    }
}
