//! Which hosts take mail for a domain, and in which order (RFC 5321 5.1).

use std::net::{IpAddr, SocketAddr};

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::{Name, RData};
use hickory_resolver::{Resolver, ResolverBuilder};

use super::resolver::Smol;

/// Hosts that are tried, at most: what a domain lists beyond these is its own affair.
const MOST_EXCHANGERS: usize = 20;

/// A host that takes mail for the domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exchanger {
    pub(crate) name: String,
    pub(crate) preference: u16,
}

/// Why there is no route. [`RouteError::is_permanent`] says whether trying again may help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RouteError {
    /// RFC 7505: the domain says that it takes no mail.
    #[error("556 5.1.10 {0} takes no mail (null MX, RFC 7505)")]
    NullMx(String),
    /// RFC 5321 5.1: neither MX nor an address.
    #[error("550 5.1.2 {0} does not exist, or has neither an MX record nor an address")]
    NoSuchDomain(String),
    /// Not a name that can be looked up.
    #[error("550 5.1.2 {0:?} is not a domain name")]
    NotAName(String),
    /// The name servers did not answer, or not sensibly.
    #[error("451 4.4.3 the name servers have no answer for {0}: {1}")]
    Temporary(String, String),
}

impl RouteError {
    pub(crate) const fn is_permanent(&self) -> bool {
        !matches!(self, Self::Temporary(..))
    }
}

/// Looks up where mail goes.
#[derive(Clone)]
pub(crate) struct Routes {
    resolver: Resolver<Smol>,
}

impl Routes {
    /// With the name servers of this machine (`/etc/resolv.conf`).
    ///
    /// # Errors
    /// A line that says what is wrong with the machine's configuration.
    pub(crate) fn of_system() -> Result<Self, String> {
        let built = Resolver::builder(Smol).and_then(ResolverBuilder::build);
        Ok(Self { resolver: built.map_err(|error| error.to_string())? })
    }

    /// With this name server and no other.
    ///
    /// # Errors
    /// A line that says why the resolver could not be made.
    pub(crate) fn with_server(server: SocketAddr) -> Result<Self, String> {
        let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
        udp.port = server.port();
        tcp.port = server.port();
        let servers = vec![NameServerConfig::new(server.ip(), true, vec![udp, tcp])];
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        let mut builder = Resolver::builder_with_config(config, Smol);
        builder.options_mut().attempts = 1;
        Ok(Self { resolver: builder.build().map_err(|error| error.to_string())? })
    }

    /// The hosts that take mail for `domain`, in the order in which they are tried.
    ///
    /// # Errors
    /// See [`RouteError`].
    pub(crate) async fn exchangers(&self, domain: &str) -> Result<Vec<Exchanger>, RouteError> {
        let name = absolute(domain)?;
        let records = match self.resolver.mx_lookup(name.clone()).await {
            Ok(lookup) => lookup
                .answers()
                .iter()
                .filter_map(|record| match &record.data {
                    RData::MX(mx) => Some(Exchanger { name: plain(&mx.exchange), preference: mx.preference }),
                    _ => None,
                })
                .collect(),
            Err(error) if error.is_no_records_found() && !error.is_nx_domain() => Vec::new(),
            Err(error) => return Err(failed(domain, &error)),
        };
        if records.is_empty() {
            // RFC 5321 5.1: without an MX the domain is its own host, of preference 0, if it has an address at all.
            self.addresses(domain).await?;
            return Ok(vec![Exchanger { name: plain(&name), preference: 0 }]);
        }
        in_order(domain, records, shuffle())
    }

    /// The addresses of a host.
    ///
    /// # Errors
    /// See [`RouteError`].
    pub(crate) async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, RouteError> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let found = self.resolver.lookup_ip(absolute(host)?).await.map_err(|error| failed(host, &error))?;
        let addresses: Vec<_> = found.iter().collect();
        if addresses.is_empty() { Err(RouteError::NoSuchDomain(host.to_owned())) } else { Ok(addresses) }
    }
}

/// By preference, the smallest first, equals in an order of chance (RFC 5321 5.1: to spread the load).
fn in_order(
    domain: &str,
    mut records: Vec<Exchanger>,
    chance: impl Fn(&str) -> u64,
) -> Result<Vec<Exchanger>, RouteError> {
    // RFC 7505 3: "." says that no mail is taken. Beside true hosts it means nothing.
    let before = records.len();
    records.retain(|record| !record.name.is_empty());
    if records.is_empty() && before > 0 {
        return Err(RouteError::NullMx(domain.to_owned()));
    }
    records.sort_by_cached_key(|record| (record.preference, chance(&record.name)));
    records.truncate(MOST_EXCHANGERS);
    Ok(records)
}

/// Another order at each start, from the standard library's own seed.
fn shuffle() -> impl Fn(&str) -> u64 {
    use std::hash::BuildHasher as _;
    let seed = std::hash::RandomState::new();
    move |name| seed.hash_one(name)
}

/// A fully qualified name: the search list of the machine is not for mail (RFC 5321 2.3.5).
fn absolute(domain: &str) -> Result<Name, RouteError> {
    let wrong = || RouteError::NotAName(domain.to_owned());
    let mut name = Name::from_utf8(domain).map_err(|_| wrong())?;
    if name.num_labels() == 0 {
        return Err(wrong());
    }
    name.set_fqdn(true);
    Ok(name)
}

/// Without the dot at the end.
fn plain(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_owned()
}

fn failed(domain: &str, error: &NetError) -> RouteError {
    if error.is_nx_domain() || error.is_no_records_found() {
        RouteError::NoSuchDomain(domain.to_owned())
    } else {
        RouteError::Temporary(domain.to_owned(), error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::str::FromStr as _;
    use std::thread;

    use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
    use hickory_resolver::proto::rr::rdata::{A, AAAA, MX};
    use hickory_resolver::proto::rr::{Record, RecordType};

    use super::*;

    /// A zone, by name and type.
    fn zone(name: &str, kind: RecordType) -> Option<Vec<RData>> {
        let mx = |preference, host: &str| RData::MX(MX::new(preference, Name::from_str(host).expect("a name")));
        let (v4, v6) = (RData::A(A::new(192, 0, 2, 7)), RData::AAAA(AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7)));
        Some(match (name, kind) {
            ("many.example.", RecordType::MX) => vec![mx(20, "b.example."), mx(10, "a.example."), mx(30, "c.example.")],
            ("null.example.", RecordType::MX) => vec![mx(0, ".")],
            ("odd.example.", RecordType::MX) => vec![mx(0, "."), mx(5, "a.example.")],
            ("host.example." | "a.example.", RecordType::A) => vec![v4],
            ("host.example.", RecordType::AAAA) => vec![v6],
            ("host.example." | "a.example." | "bare.example.", _) => Vec::new(),
            _ => return None,
        })
    }

    /// A name server on loopback, for as long as the test runs.
    fn name_server() -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let address = socket.local_addr().expect("its address");
        thread::spawn(move || {
            let mut bytes = [0; 1500];
            while let Ok((length, peer)) = socket.recv_from(&mut bytes) {
                let Ok(mut message) = Message::from_vec(&bytes[..length]) else { continue };
                let query = message.queries[0].clone();
                message.metadata.message_type = MessageType::Response;
                match zone(&query.name().to_string(), query.query_type()) {
                    Some(found) => message
                        .answers
                        .extend(found.into_iter().map(|data| Record::from_rdata(query.name().clone(), 60, data))),
                    None if query.name().to_string() == "broken.example." => {
                        message.metadata.response_code = ResponseCode::ServFail;
                    }
                    None => message.metadata.response_code = ResponseCode::NXDomain,
                }
                let _ = socket.send_to(&message.to_vec().expect("a message"), peer);
            }
        });
        address
    }

    fn route(domain: &str) -> Result<Vec<String>, RouteError> {
        let routes = Routes::with_server(name_server()).expect("a resolver");
        let found = smol::block_on(routes.exchangers(domain))?;
        Ok(found.into_iter().map(|exchanger| exchanger.name).collect())
    }

    #[test]
    fn the_lowest_preference_comes_first() {
        // RFC 5321 5.1
        assert_eq!(route("many.example").expect("found"), ["a.example", "b.example", "c.example"]);
    }

    #[test]
    fn a_null_mx_takes_no_mail() {
        // RFC 7505 3
        let error = route("null.example").expect_err("no mail");
        assert_eq!(error, RouteError::NullMx("null.example".into()));
        assert!(error.is_permanent());
        assert_eq!(route("odd.example").expect("beside a true host it means nothing"), ["a.example"]);
    }

    #[test]
    fn without_an_mx_the_address_serves() {
        // RFC 5321 5.1
        assert_eq!(route("host.example").expect("an address"), ["host.example"]);
        assert_eq!(route("bare.example"), Err(RouteError::NoSuchDomain("bare.example".into())));
        assert_eq!(route("missing.example"), Err(RouteError::NoSuchDomain("missing.example".into())));
    }

    #[test]
    fn a_name_server_in_trouble_is_a_reason_to_try_again() {
        let error = route("broken.example").expect_err("a failure");
        assert!(!error.is_permanent(), "{error:?}");
        assert!(matches!(route(""), Err(RouteError::NotAName(_))));
    }

    #[test]
    fn both_families_are_found() {
        let routes = Routes::with_server(name_server()).expect("a resolver");
        let mut found = smol::block_on(routes.addresses("host.example")).expect("found");
        found.sort();
        assert_eq!(found, ["192.0.2.7".parse::<IpAddr>().expect("v4"), "2001:db8::7".parse().expect("v6")]);
    }

    #[test]
    fn equals_are_tried_in_an_order_of_chance() {
        let records = ["a", "b", "c"].map(|name| Exchanger { name: name.into(), preference: 1 });
        let by = |chance: fn(&str) -> u64| in_order("x", records.to_vec(), chance).expect("order")[0].name.clone();
        assert_eq!(by(|name| u64::from(name.as_bytes()[0])), "a");
        assert_eq!(by(|name| 255 - u64::from(name.as_bytes()[0])), "c");
    }
}
