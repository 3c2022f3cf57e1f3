//! Where `serve` listens: plainly, inside TLS, on a Unix socket, and for load balancers. And what it says of it.

use std::fmt::{self, Write as _};
use std::io::Write as _;
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
    /// The sockets of this name that systemd passes.
    Passed(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Passed(name) => write!(f, "systemd:{name}"),
        }
    }
}

impl Place {
    /// Whether nobody but this machine can connect there. Of what systemd passes that is not known.
    pub(super) fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
            Self::Passed(_) => false,
        }
    }
}

/// A listener that is bound, not yet part of a server.
#[derive(Debug)]
pub(super) struct Bound {
    listener: Listener,
    listening: Listening,
}

/// Where it listens, what comes first there, and by which settings.
#[derive(Debug)]
pub(super) struct Listening {
    place: Place,
    first: &'static str,
    /// Which of the settings of listeners are its.
    pub(super) settings: usize,
}

/// Binds all addresses of the settings.
pub(super) fn bind(settings: &Settings) -> Result<Vec<Bound>, Failure> {
    let mut passed = Passed::from_environment();
    let mut bound = Vec::new();
    for (settings, options) in settings.listeners.iter().enumerate() {
        let default = [Place::Tcp(SocketAddr::from(([127, 0, 0, 1], 2525)))];
        let plain = if options.has_address() { &options.listen[..] } else { &default };
        for place in plain {
            for (listener, place) in open("--listen", place, &mut passed)? {
                bound.push(Bound { listener, listening: Listening { place, first: "", settings } });
            }
        }
        for place in &options.implicit_tls {
            for (listener, place) in open("--implicit-tls", place, &mut passed)? {
                let (listener, first) = (listener.tls_first(), ", TLS first");
                bound.push(Bound { listener, listening: Listening { place, first, settings } });
            }
        }
        for place in &options.proxy {
            for (listener, place) in open("--proxy", place, &mut passed)? {
                let listener = listener.proxy(&options.proxy_from);
                let (listener, first) = if options.proxy_tls_before {
                    (listener.tls_before(), ", a PROXY header first, TLS before it")
                } else {
                    (listener, ", a PROXY header first")
                };
                bound.push(Bound { listener, listening: Listening { place, first, settings } });
            }
        }
    }
    Ok(bound)
}

/// Makes them part of the server; says which they are, in the order of the server's listeners.
pub(super) fn add(
    bound: Vec<Bound>,
    checked: &Checked,
    tls: &certificate::Tls,
    choice: impl Fn(usize) -> Option<Choice>,
    server: &mut Server,
) -> Vec<Listening> {
    let mut listenings = Vec::new();
    for Bound { listener, listening } in bound {
        let checked = &checked.listeners[listening.settings];
        let mut listener = listener.config(checked.config.clone());
        if let Some(tls) = tls.of(&checked.options) {
            listener = listener.tls(tls);
        }
        if let Some(choice) = choice(listening.settings) {
            listener = listener.config_for(move |client| choice.config_for(client));
        }
        server.add(listener);
        listenings.push(listening);
    }
    listenings
}

fn open(option: &'static str, place: &Place, passed: &mut Passed) -> Result<Vec<(Listener, Place)>, Failure> {
    let busy = "name an address of this machine and a port that is free and allowed";
    let failed = |error: &dyn fmt::Display, mend: &str| Failure::option(option, place, error, mend);
    let tcp = |address: SocketAddr| -> Result<_, Failure> {
        let listener = Listener::tcp(address).map_err(|error| failed(&error, busy))?;
        let bound = listener.address().unwrap_or(address);
        Ok((listener, bound))
    };
    match place {
        Place::Tcp(address) => tcp(*address).map(|(listener, bound)| vec![(listener, Place::Tcp(bound))]),
        Place::Unix(path) => {
            let mend = "name a file that is not there, in a folder that can be written";
            let listener = Listener::unix(path).map_err(|error| failed(&error, mend))?;
            Ok(vec![(listener, place.clone())])
        }
        Place::Passed(name) => {
            let listeners =
                passed.take(name).map_err(|error| failed(&error, "it must be a stream socket that listens"))?;
            if listeners.is_empty() {
                let mend = "give the socket unit FileDescriptorName=, and start the server by its sockets";
                return Err(failed(&"systemd passes no socket of that name", mend));
            }
            Ok(listeners.into_iter().map(|listener| (listener, place.clone())).collect())
        }
    }
}

/// What systemd passes (sd_listen_fds).
struct Passed {
    sockets: listenfd::ListenFd,
    names: Vec<String>,
}

impl Passed {
    fn from_environment() -> Self {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        Self { sockets: listenfd::ListenFd::from_env(), names: names.split(':').map(Into::into).collect() }
    }

    /// All of this name.
    fn take(&mut self, name: &str) -> std::io::Result<Vec<Listener>> {
        let mut listeners = Vec::new();
        for at in 0..self.sockets.len() {
            if self.names.get(at).is_none_or(|here| here != name) {
                continue;
            }
            // It tells by its error that it is a socket of another kind, and keeps it.
            if let Ok(Some(tcp)) = self.sockets.take_tcp_listener(at) {
                listeners.push(Listener::passed_tcp(tcp)?);
            } else if let Some(unix) = self.sockets.take_unix_listener(at)? {
                listeners.push(Listener::passed_unix(unix)?);
            }
        }
        Ok(listeners)
    }
}

/// Tells on stderr what was started, and how to try it; stdout is for the line a message. In one piece: who has read the
/// first line may be gone, which is no reason to end.
pub(super) fn tell(settings: &Settings, checked: &Checked, listening: &[Listening], tls: &certificate::Tls) {
    let mut told = String::new();
    let several = settings.listeners.len() > 1;
    for Listening { place, first, settings: of } in listening {
        let role = if several { format!(", {}", settings.listeners[*of].role) } else { String::new() };
        let _ = writeln!(told, "listening on {place} as {}{role}{first}", checked.hostname);
    }
    let _ = writeln!(told, "TLS: {}", tls.words);
    let _ = match &settings.server.deliver {
        Delivery::Maildir(folder, _) => writeln!(told, "mail goes to the Maildir {}", folder.display()),
        Delivery::Discard => writeln!(told, "mail is thrown away"),
        Delivery::NextHop(place) => writeln!(told, "mail is handed on to {place}"),
    };
    let first = checked.first();
    let alike = checked.listeners.iter().all(|listener| listener.domains == first.domains);
    for listener in checked.listeners.iter().take(if alike { 1 } else { usize::MAX }) {
        let role = if alike { String::new() } else { format!("{}: ", listener.options.role) };
        let _ = writeln!(told, "{role}{}", listener.domains.told());
    }
    if let Some(first) = listening.first() {
        how_to_try(first, &settings.listeners[first.settings], &mut told);
    }
    let _ = std::io::stderr().lock().write_all(told.as_bytes());
}

fn how_to_try(Listening { place, first, .. }: &Listening, options: &ListenerOptions, told: &mut String) {
    let message = "printf 'Subject: hello\\n\\nIt works.\\n'";
    let envelope = "--from me@example.org --to you@example.net --newlines convert -";
    match (place, options.role) {
        (Place::Passed(_), _) => {}
        (Place::Tcp(address), Role::Mx) => {
            let tls = if matches!(options.tls, Tls::Off) { "" } else { "--ssl-reqd --insecure " };
            let scheme = if first.contains("TLS") { "smtps" } else { "smtp" };
            let address = reachable(*address);
            let _ = writeln!(
                told,
                "try: {message} | curl --crlf {tls}{scheme}://{address} --mail-from me@example.org --mail-rcpt you@example.net --upload-file -"
            );
        }
        (place, role) => {
            let server = match place {
                Place::Tcp(address) => Place::Tcp(reachable(*address)),
                other => other.clone(),
            };
            let (password, how) = match role {
                Role::Submission => ("SMTP_PASSWORD=… ", " --auth USER --tls require"),
                Role::Lmtp => ("", " --lmtp"),
                Role::Mx => ("", ""),
            };
            let tls = if first.contains("TLS") { " --implicit-tls" } else { "" };
            let _ = writeln!(told, "try: {message} | {password}smtp-smol send --server {server}{how}{tls} {envelope}");
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
    match text.split_once(':') {
        Some(("unix", "")) => Err("give unix:PATH, such as unix:/run/lmtp".into()),
        Some(("unix", path)) => Ok(Place::Unix(path.into())),
        Some(("systemd", "")) => Err("give systemd:NAME, where NAME is the socket unit's FileDescriptorName".into()),
        Some(("systemd", name)) => Ok(Place::Passed(name.into())),
        _ => address(text).map(Place::Tcp).map_err(|wrong| format!("{wrong}, unix:PATH, or systemd:NAME")),
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
