//! Where `serve` listens: plainly, and for load balancers.

use std::net::SocketAddr;

use smtp_proto::proxy::Network;
use smtp_smol::Server;

use super::Options;
use crate::failure::Failure;

/// Binds all addresses of the options; says which they became.
pub(super) fn listen(options: &Options, server: &mut Server) -> Result<Vec<SocketAddr>, Failure> {
    let default = if options.proxy.is_empty() { Some(SocketAddr::from(([127, 0, 0, 1], 2525))) } else { None };
    let plain = if options.listen.is_empty() { default.as_slice() } else { &options.listen };
    let failed = |option, address: &SocketAddr, error: std::io::Error| {
        Failure::option(option, address, error, "name an address of this machine and a port that is free and allowed")
    };
    let mut addresses = Vec::new();
    for address in plain {
        addresses.push(server.listen(*address).map_err(|error| failed("--listen", address, error))?);
    }
    for address in &options.proxy {
        let bound = server.listen_proxy(*address, &options.proxy_from);
        addresses.push(bound.map_err(|error| failed("--proxy", address, error))?);
    }
    Ok(addresses)
}

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "give ADDRESS:PORT, such as 127.0.0.1:2525 or [::]:25".into())
}

pub(super) fn network(text: &str) -> Result<Network, String> {
    text.parse().map_err(|_| "give ADDRESS or ADDRESS/BITS, such as 192.0.2.7 or 2001:db8::/32".into())
}
