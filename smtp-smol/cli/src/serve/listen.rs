//! Where `serve` listens: plainly, inside TLS, on a Unix socket, and for load balancers. And what it says of it.

use std::fmt;
use std::io::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;

use crate::failure::Failure;
use smtp_proto::proxy::Network;
use smtp_smol::{Listener, Server};

use super::certificate;
use super::check::Checked;
use super::choose::Choice;
use super::listener::ListenerOptions;
use super::options::{Delivery, Tls};
use super::role::Role;
use super::settings::Settings;

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

/// Where it listens, what comes first there, and by which settings.
#[derive(Debug)]
pub(super) struct Listening {
    place: Place,
    first: &'static str,
    /// Which of the settings of listeners are its.
    pub(super) settings: usize,
}

/// Binds all addresses of the settings; says which they became, in the order of the server's listeners.
pub(super) fn listen(
    settings: &Settings,
    checked: &Checked,
    tls: &certificate::Tls,
    choice: impl Fn(usize) -> Option<Choice>,
    server: &mut Server,
) -> Result<Vec<Listening>, Failure> {
    let failed = |option, address: &SocketAddr, error: Error| {
        Failure::option(option, address, error, "name an address of this machine and a port that is free and allowed")
    };
    let mut listening = Vec::new();
    for (settings, (options, checked)) in settings.listeners.iter().zip(&checked.listeners).enumerate() {
        let mut add = |listener: Listener, place, first| {
            let mut listener = listener.config(checked.config.clone());
            if let Some(tls) = tls.of(options) {
                listener = listener.tls(tls);
            }
            if let Some(choice) = choice(settings) {
                listener = listener.config_for(move |client| choice.config_for(client));
            }
            server.add(listener);
            listening.push(Listening { place, first, settings });
        };
        let default = [Place::Tcp(SocketAddr::from(([127, 0, 0, 1], 2525)))];
        let plain = if options.has_address() { &options.listen[..] } else { &default };
        let tcp = |option, address: &SocketAddr| -> Result<_, Failure> {
            let listener = Listener::tcp(*address).map_err(|error| failed(option, address, error))?;
            let bound = listener.address().unwrap_or(*address);
            Ok((listener, Place::Tcp(bound)))
        };
        for place in plain {
            let (listener, bound) = match place {
                Place::Tcp(address) => tcp("--listen", address)?,
                Place::Unix(path) => {
                    let listener = Listener::unix(path).map_err(|error| {
                        let mend = "name a file that is not there, in a folder that can be written";
                        Failure::option("--listen", place, error, mend)
                    })?;
                    (listener, place.clone())
                }
            };
            add(listener, bound, "");
        }
        for address in &options.implicit_tls {
            let (listener, bound) = tcp("--implicit-tls", address)?;
            add(listener.tls_first(), bound, ", TLS first");
        }
        for address in &options.proxy {
            let (listener, bound) = tcp("--proxy", address)?;
            let listener = listener.proxy(&options.proxy_from);
            if options.proxy_tls_before {
                add(listener.tls_before(), bound, ", a PROXY header first, TLS before it");
            } else {
                add(listener, bound, ", a PROXY header first");
            }
        }
    }
    Ok(listening)
}

/// Tells on stderr what was started, and how to try it; stdout is for the line a message.
pub(super) fn tell(settings: &Settings, checked: &Checked, listening: &[Listening], tls: &certificate::Tls) {
    let several = settings.listeners.len() > 1;
    for Listening { place, first, settings: of } in listening {
        let role = if several { format!(", {}", settings.listeners[*of].role) } else { String::new() };
        eprintln!("listening on {place} as {}{role}{first}", checked.hostname);
    }
    eprintln!("TLS: {}", tls.words);
    match &settings.server.deliver {
        Delivery::Maildir(folder, _) => eprintln!("mail goes to the Maildir {}", folder.display()),
        Delivery::Discard => eprintln!("mail is thrown away"),
        Delivery::NextHop(place) => eprintln!("mail is handed on to {place}"),
    }
    let first = checked.first();
    let alike = checked.listeners.iter().all(|listener| listener.domains == first.domains);
    for listener in checked.listeners.iter().take(if alike { 1 } else { usize::MAX }) {
        let role = if alike { String::new() } else { format!("{}: ", listener.options.role) };
        eprintln!("{role}{}", listener.domains.told());
    }
    if let Some(first) = listening.first() {
        how_to_try(first, &settings.listeners[first.settings]);
    }
}

fn how_to_try(Listening { place, first, .. }: &Listening, options: &ListenerOptions) {
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
        None => address(text).map(Place::Tcp).map_err(|wrong| format!("{wrong}, or unix:PATH")),
    }
}

/// `ADDRESS:PORT`. The address may have the scope of a link by name (RFC 4007 11), or be `localhost`, which is 127.0.0.1
/// (RFC 6761 6.3).
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let wrong = || "give ADDRESS:PORT, such as 127.0.0.1:2525 or [::]:25".to_owned();
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    if host.eq_ignore_ascii_case("localhost") {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    let scoped = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).ok_or_else(wrong)?;
    let (literal, link) = scoped.split_once('%').ok_or_else(wrong)?;
    literal.parse::<Ipv6Addr>().map_err(|_| wrong())?;
    // The system knows the number of the link. An address is not looked up in DNS.
    let mut found = (scoped, port).to_socket_addrs().map_err(|error| format!("no link {link:?}: {error}"))?;
    found.next().ok_or_else(wrong)
}

pub(super) fn network(text: &str) -> Result<Network, String> {
    text.parse().map_err(|_| "give ADDRESS or ADDRESS/BITS, such as 192.0.2.7 or 2001:db8::/32".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_names_and_scopes() {
        for (text, expected) in [
            ("127.0.0.1:25", "127.0.0.1:25"),
            ("[::]:25", "[::]:25"),
            ("localhost:2525", "127.0.0.1:2525"),
            ("[fe80::1%7]:25", "[fe80::1%7]:25"),
        ] {
            assert_eq!(address(text).map(|address| address.to_string()).as_deref(), Ok(expected), "{text}");
        }
        // Every machine has this link.
        let scoped = address("[fe80::1%lo]:25").expect("the loopback link");
        assert!(matches!(scoped, SocketAddr::V6(v6) if v6.scope_id() > 0), "{scoped}");
        for wrong in [
            "",
            "25",
            "localhost",
            "localhost:",
            "localhost:99999",
            "[fe80::1%]x:1",
            "[fe80::1%none-such]:25",
            "a.example:25",
        ] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }
}
