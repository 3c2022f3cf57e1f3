//! Where `serve` listens: plainly, inside TLS, on a Unix socket, and for load balancers. And what it says of it.

use std::fmt;
use std::io::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use smtp_proto::proxy::Network;
use smtp_smol::Server;

use super::{Delivery, Domains, Options, Role, Tls};
use crate::failure::Failure;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Where it listens, and what comes first there.
#[derive(Debug)]
pub(super) struct Listening {
    place: Place,
    first: &'static str,
}

/// Binds all addresses of the options; says which they became.
pub(super) fn listen(options: &Options, server: &mut Server) -> Result<Vec<Listening>, Failure> {
    let default = [Place::Tcp(SocketAddr::from(([127, 0, 0, 1], 2525)))];
    let elsewhere = !options.proxy.is_empty() || !options.implicit_tls.is_empty();
    let plain = if options.listen.is_empty() && !elsewhere { &default[..] } else { &options.listen };
    let failed = |option, address: &SocketAddr, error: Error| {
        Failure::option(option, address, error, "name an address of this machine and a port that is free and allowed")
    };
    let mut listening = Vec::new();
    let mut add = |place, first| listening.push(Listening { place, first });
    for place in plain {
        match place {
            Place::Tcp(address) => {
                let bound = server.listen(*address).map_err(|error| failed("--listen", address, error))?;
                add(Place::Tcp(bound), "");
            }
            Place::Unix(path) => {
                server.listen_unix(path).map_err(|error| {
                    let mend = "name a file that is not there, in a folder that can be written";
                    Failure::option("--listen", place, error, mend)
                })?;
                add(place.clone(), "");
            }
        }
    }
    for address in &options.implicit_tls {
        let bound = server.listen_tls(*address).map_err(|error| failed("--implicit-tls", address, error))?;
        add(Place::Tcp(bound), ", TLS first");
    }
    for address in &options.proxy {
        let bound = server.listen_proxy(*address, &options.proxy_from);
        add(Place::Tcp(bound.map_err(|error| failed("--proxy", address, error))?), ", a PROXY header first");
    }
    Ok(listening)
}

/// Tells on stderr what was started, and how to try it; stdout is for the line a message.
pub(super) fn tell(
    options: &Options,
    domains: &Domains,
    hostname: &str,
    listening: &[Listening],
    certificate: Option<&std::path::Path>,
) {
    for Listening { place, first } in listening {
        eprintln!("listening on {place} as {hostname}{first}");
    }
    match certificate {
        Some(file) => eprintln!("TLS: self-signed certificate in {}", file.display()),
        None if matches!(options.tls, Tls::Off) => eprintln!("TLS: off"),
        None => eprintln!("TLS: certificate in {}", options.cert.clone().unwrap_or_default().display()),
    }
    match &options.deliver {
        Delivery::Maildir(folder, _) => eprintln!("mail goes to the Maildir {}", folder.display()),
        Delivery::Discard => eprintln!("mail is thrown away"),
    }
    eprintln!("{}", domains.told());
    let Some(Listening { place, first }) = listening.first() else { return };
    let message = "printf 'Subject: hello\\n\\nIt works.\\n'";
    let envelope = "--from me@example.org --to you@example.net --newlines convert -";
    match (place, options.role) {
        (Place::Tcp(address), Role::Mx) => {
            let tls = if matches!(options.tls, Tls::Off) { "" } else { "--ssl-reqd --insecure " };
            let scheme = if first.contains("TLS") { "smtps" } else { "smtp" };
            let address = reachable(*address);
            eprintln!(
                "try: {message} | curl --crlf {tls}{scheme}://{address} --mail-from me@example.org --mail-rcpt you@example.net --upload-file -"
            );
        }
        (place, role) => {
            let server = match place {
                Place::Tcp(address) => Place::Tcp(reachable(*address)),
                unix @ Place::Unix(_) => unix.clone(),
            };
            let (password, how) = match role {
                Role::Submission => ("SMTP_PASSWORD=… ", " --auth USER --tls require"),
                Role::Lmtp => ("", " --lmtp"),
                Role::Mx => ("", ""),
            };
            let tls = if first.contains("TLS") { " --implicit-tls" } else { "" };
            eprintln!("try: {message} | {password}smtp-smol send --server {server}{how}{tls} {envelope}");
        }
    }
}

/// The address by which this machine reaches one that it listens on.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        let v4 = address.is_ipv4();
        address.set_ip(if v4 { IpAddr::from(Ipv4Addr::LOCALHOST) } else { IpAddr::from(Ipv6Addr::LOCALHOST) });
    }
    address
}

pub(super) fn place(text: &str) -> Result<Place, String> {
    match text.strip_prefix("unix:") {
        Some("") => Err("give unix:PATH, such as unix:/run/lmtp".into()),
        Some(path) => Ok(Place::Unix(path.into())),
        None => text
            .parse()
            .map(Place::Tcp)
            .map_err(|_| "give ADDRESS:PORT, such as 127.0.0.1:2525 or [::]:25, or unix:PATH".into()),
    }
}

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "give ADDRESS:PORT, such as 127.0.0.1:2525 or [::]:25".into())
}

pub(super) fn network(text: &str) -> Result<Network, String> {
    text.parse().map_err(|_| "give ADDRESS or ADDRESS/BITS, such as 192.0.2.7 or 2001:db8::/32".into())
}
