//! Where a server is, as users say it.

/// `HOST`, `HOST:PORT` or `[IPv6]:PORT`, in brackets as they were given.
pub(crate) fn split(server: &str, usual_port: u16) -> Option<(&str, u16)> {
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.starts_with('[') && host.ends_with(']') => {
            (host, port.parse().ok()?)
        }
        _ => (server, usual_port),
    };
    (!host.is_empty() && !host.contains(['/', ' '])).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn hosts_with_and_without_ports() {
        for (given, expected) in [
            ("mx.example.net", Some(("mx.example.net", 25))),
            ("mx.example.net:2525", Some(("mx.example.net", 2525))),
            ("[2001:db8::1]:2525", Some(("[2001:db8::1]", 2525))),
            ("[2001:db8::1]", Some(("[2001:db8::1]", 25))),
            ("2001:db8::1", Some(("2001:db8::1", 25))),
            ("mx:", None),
            ("mx:x", None),
            (":25", None),
            ("", None),
            ("a b", None),
        ] {
            assert_eq!(split(given, 25), expected, "{given:?}");
        }
    }
}
