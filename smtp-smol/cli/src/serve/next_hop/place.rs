//! Where the next hop is, as `--deliver` has it.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use smtp_proto::client::{Protocol, Tls};
use smtp_smol::Target;

/// Where the next hop is, which protocol it speaks, and what is done about TLS on the way there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    at: At,
    pub(super) protocol: Protocol,
    pub(super) tls: Tls,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum At {
    Host(String, u16),
    Unix(PathBuf),
}

impl Place {
    /// Whether a text is meant to be one at all.
    pub(crate) fn is_meant(text: &str) -> bool {
        ["smtp:", "lmtp:", "lmtp+unix:"].iter().any(|scheme| text.starts_with(scheme))
    }

    pub(super) fn target(&self) -> Target {
        match &self.at {
            At::Host(host, port) => Target::host(host, *port),
            At::Unix(path) => Target::unix(path.clone()),
        }
    }

    pub(crate) fn is_lmtp(&self) -> bool {
        self.protocol == Protocol::Lmtp
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || {
            "give smtp://HOST:PORT, lmtp://HOST:PORT or lmtp+unix:PATH, perhaps with ?tls=off, offer or verify"
                .to_owned()
        };
        let (place, tls) = match text.split_once('?') {
            None => (text, None),
            Some((place, "tls=off")) => (place, Some(Tls::Never)),
            Some((place, "tls=offer")) => (place, Some(Tls::Opportunistic)),
            Some((place, "tls=verify")) => (place, Some(Tls::Verify)),
            Some((_, _)) => return Err("behind the place there may be ?tls=off, ?tls=offer or ?tls=verify".into()),
        };
        if let Some(path) = place.strip_prefix("lmtp+unix:") {
            if path.is_empty() {
                return Err(form());
            }
            if tls == Some(Tls::Verify) {
                return Err("a Unix socket has no name that a certificate could prove; leave ?tls=verify out".into());
            }
            let at = At::Unix(path.into());
            return Ok(Self { at, protocol: Protocol::Lmtp, tls: tls.unwrap_or(Tls::Never) });
        }
        // The IANA's port for LMTP is 24; RFC 2033 5 forbids 25.
        let (protocol, rest, usual) = match (place.strip_prefix("smtp://"), place.strip_prefix("lmtp://")) {
            (Some(rest), _) => (Protocol::Smtp, rest, 25),
            (_, Some(rest)) => (Protocol::Lmtp, rest, 24),
            _ => return Err(form()),
        };
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().map_err(|_| form())?),
            _ => (rest, usual),
        };
        let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let address = literal.unwrap_or(host).parse::<IpAddr>().ok();
        let named =
            !host.is_empty() && host.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-._".contains(&octet));
        if port == 0 || !(named || literal.is_some() && address.is_some_and(|address| address.is_ipv6())) {
            return Err(form());
        }
        // What does not leave the machine gains nothing by TLS.
        let here = host == "localhost" || address.is_some_and(|address| address.to_canonical().is_loopback());
        let tls = tls.unwrap_or(if here { Tls::Never } else { Tls::Opportunistic });
        Ok(Self { at: At::Host(host.to_owned(), port), protocol, tls })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            At::Unix(path) => write!(f, "lmtp+unix:{}", path.display()),
            At::Host(host, port) => write!(f, "{}://{host}:{port}", if self.is_lmtp() { "lmtp" } else { "smtp" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_written() {
        for (text, shown, tls) in [
            ("smtp://127.0.0.1:10025", "smtp://127.0.0.1:10025", Tls::Never),
            ("smtp://localhost", "smtp://localhost:25", Tls::Never),
            ("smtp://localhost?tls=offer", "smtp://localhost:25", Tls::Opportunistic),
            ("smtp://[::1]:25", "smtp://[::1]:25", Tls::Never),
            ("smtp://[2001:db8::1]", "smtp://[2001:db8::1]:25", Tls::Opportunistic),
            ("smtp://mail.example.net:25?tls=verify", "smtp://mail.example.net:25", Tls::Verify),
            ("lmtp://mail.example.net", "lmtp://mail.example.net:24", Tls::Opportunistic),
            ("lmtp+unix:/run/dovecot/lmtp", "lmtp+unix:/run/dovecot/lmtp", Tls::Never),
        ] {
            let place: Place = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((place.to_string().as_str(), place.tls), (shown, tls), "{text}");
        }
        for wrong in [
            "smtp://",
            "smtp:mail.example.net",
            "smtp://:25",
            "smtp://mail.example.net:0",
            "smtp://mail.example.net:x",
            "smtp://2001:db8::1:25",
            "smtp://a b:25",
            "smtp://a/b:25",
            "smtp://user@host:25",
            "smtp://host:25?tls=on",
            "smtp://host:25?announce=proxy",
            "lmtp+unix:",
            "lmtp+unix:/run/lmtp?tls=verify",
            "http://host:25",
        ] {
            assert!(wrong.parse::<Place>().is_err(), "{wrong}");
        }
    }
}
