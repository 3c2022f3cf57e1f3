//! What is set about the next hop beside where it is.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

/// What is set about the next hop beside where it is.
#[derive(Clone, Debug, Args)]
pub(crate) struct NextHopOptions {
    /// Tell the next hop who the client is, with --deliver smtp: and lmtp: [default: it sees this server as its client]
    #[arg(long, value_enum, value_name = "HOW")]
    pub(crate) announce: Option<Announce>,

    /// Authorities (PEM) by which the next hop's certificate must verify, with `?tls=verify` [default: those that the
    /// system trusts]
    #[arg(long, value_name = "FILE")]
    pub(crate) next_hop_ca: Option<PathBuf>,

    /// Most connections to the next hop at once, half of them for one network (an IPv4 address, or 64 bits of IPv6); mail
    /// beyond them is put off
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) next_hop_connections: u16,

    /// How long to wait for the next hop to connect, to greet and to answer EHLO, each, and MAIL while it is down: seconds, or
    /// with s or m behind. If it does not, and nobody else has had an answer meanwhile, it is taken to be down
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = super::super::options::pause)]
    pub(crate) next_hop_wait: Duration,

    /// How long to wait for an answer over a connection that lay idle; then a new one is tried
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = super::super::options::pause)]
    pub(crate) next_hop_retry: Duration,
}

/// How the next hop is told who the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Announce {
    /// By XCLIENT: it treats the client as if it had connected itself
    Xclient,
    /// By XFORWARD: for its log alone
    Xforward,
    /// By a PROXY header, version 2, on a connection for each message
    Proxy,
}
