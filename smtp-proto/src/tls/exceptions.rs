//! Who may go on sending in plaintext where TLS is required of everybody else.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::str::FromStr;

use crate::proxy::Network;

/// Somebody of whom TLS is not required, by name.
///
/// A network cannot be forged. A domain is what the client says of itself: whoever names it passes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exception {
    /// Mail from this domain, in lower case, and those below it. Notices with a null reverse-path count as their host's.
    Domain(String),
    /// Whatever comes from this network.
    Network(Network),
}

/// The text is neither a domain nor a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("give a sender's domain such as example.org, or a network such as 192.0.2.0/24")]
pub struct NotAnException;

impl FromStr for Exception {
    type Err = NotAnException;

    fn from_str(text: &str) -> Result<Self, NotAnException> {
        if let Ok(network) = text.parse() {
            return Ok(Self::Network(network));
        }
        let domain = text.trim_matches('.').to_ascii_lowercase();
        let is_domain = domain.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-._".contains(&octet));
        // What has digits alone was meant as an address.
        if domain.is_empty() || !is_domain || domain.bytes().all(|octet| octet.is_ascii_digit() || octet == b'.') {
            return Err(NotAnException);
        }
        Ok(Self::Domain(domain))
    }
}

/// A list of [`Exception`]s, and the decision that they make.
///
/// ```
/// use smtp_proto::tls::Exceptions;
///
/// let list = Exceptions::parse("# printers\n192.0.2.0/24\nbank.example  # until they have TLS\n")?;
/// let peer = Some("198.51.100.7".parse().expect("an address"));
/// assert!(list.hold(peer, Some("mx.bank.example"), "news.bank.example"));
/// assert!(!list.hold(peer, Some("mx.bank.example"), "other.example"), "its host's name alone is not enough");
/// assert!(list.hold(peer, Some("mx.bank.example"), ""), "but for a notice with a null reverse-path");
/// assert!(list.hold(Some("192.0.2.9".parse().expect("an address")), None, "other.example"));
/// # Ok::<(), (usize, smtp_proto::tls::NotAnException)>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exceptions {
    domains: BTreeSet<String>,
    networks: Vec<Network>,
}

impl Exceptions {
    /// Reads a list, one exception a line; what is behind `#` is not read.
    ///
    /// # Errors
    /// The number of the first line that is wrong, from 1.
    pub fn parse(text: &str) -> Result<Self, (usize, NotAnException)> {
        let mut list = Self::default();
        for (number, line) in text.lines().enumerate() {
            let entry = line.split('#').next().unwrap_or_default().trim();
            if !entry.is_empty() {
                list.add(entry.parse().map_err(|wrong| (number + 1, wrong))?);
            }
        }
        Ok(list)
    }

    /// Adds one more to those that are there.
    pub fn add(&mut self, exception: Exception) {
        match exception {
            Exception::Domain(domain) => drop(self.domains.insert(domain)),
            Exception::Network(network) => self.networks.push(network),
        }
    }

    /// Whether nobody is excepted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty() && self.networks.is_empty()
    }

    /// Whether mail from a client at `peer` that calls itself `host`, with a reverse-path in `sender`, may come in
    /// plaintext. An empty `sender` is the null reverse-path.
    #[must_use]
    pub fn hold(&self, peer: Option<IpAddr>, host: Option<&str>, sender: &str) -> bool {
        peer.is_some_and(|peer| self.networks.iter().any(|network| network.contains(peer)))
            || self.names(if sender.is_empty() { host.unwrap_or_default() } else { sender })
    }

    /// Whether the domain, or one that it is below, is named.
    fn names(&self, domain: &str) -> bool {
        if self.domains.is_empty() {
            return false;
        }
        let domain = domain.trim_matches('.').to_ascii_lowercase();
        let mut rest = domain.as_str();
        loop {
            if self.domains.contains(rest) {
                return true;
            }
            match rest.split_once('.') {
                Some((_, below)) => rest = below,
                None => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Exceptions {
        Exceptions::parse(text).expect("a list")
    }

    #[test]
    fn a_domain_means_those_below_it_and_a_network_its_addresses() {
        let peer: IpAddr = "192.0.2.1".parse().expect("an address");
        for (except, holds) in [
            ("client.example", true),
            ("example", true),
            (".Client.Example.", true),
            ("lient.example", false),
            ("mx.client.example", false),
            ("192.0.2.0/24", true),
            ("192.0.2.1", true),
            ("::ffff:192.0.2.1", true),
            ("192.0.3.0/24", false),
            ("2001:db8::/32", false),
            ("", false),
        ] {
            assert_eq!(list(except).hold(Some(peer), Some("x.example.net"), "Client.example"), holds, "{except}");
        }
        assert!(!list("192.0.2.1").hold(None, None, "client.example"), "by a Unix socket");
        assert!(!list("client.example").hold(Some(peer), Some("client.example"), "a.example"));
        assert!(list("client.example").hold(Some(peer), Some("mx.client.example"), ""));
        assert!(!list("client.example").hold(Some(peer), None, ""));
    }

    #[test]
    fn a_list_has_comments_and_its_faults_have_lines() {
        let read = list("# all\n\n  a.example # 3 messages\r\n2001:db8::/64\n#b.example\n");
        assert_eq!((read.domains.len(), read.networks.len()), (1, 1));
        assert!(list("# nothing\n").is_empty() && !read.is_empty());
        for wrong in [".", "192.0.2", "192.0.2.0/33", "192.0.2.1/24", "a b", "a@b", "b\u{fc}cher.example"] {
            assert_eq!(wrong.parse::<Exception>(), Err(NotAnException), "{wrong}");
            let text = ["a.example\n", wrong].concat();
            assert_eq!(Exceptions::parse(&text), Err((2, NotAnException)), "{wrong}");
        }
    }
}
