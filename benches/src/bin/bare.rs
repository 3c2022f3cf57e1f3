//! The least that a server made of `smtp_smol` does: it takes everything, and keeps nothing.
//!
//!     bare ADDRESS:PORT [CERT.pem KEY.pem]              one thread
//!     bare --all-cores ADDRESS:PORT [CERT.pem KEY.pem]  a thread for each core that it may use

use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;

use clap::Parser;
use smtp_proto::server::{Config, MessageEnd, Verdict};
use smtp_proto::tls::Policy;
use smtp_smol::{Handler, Limits, Peer, Server};

#[derive(Parser)]
struct Arguments {
    #[arg(long)]
    all_cores: bool,
    address: SocketAddr,
    #[arg(requires = "key")]
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

struct TakeAll;

impl Handler for TakeAll {
    async fn message(&mut self, _: &Peer<'_>, _: MessageEnd) -> Verdict<'_> {
        Verdict::Accept
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let mut limits = Limits::default();
    (limits.connections, limits.loopback) = (100_000, 100_000);
    let tls = arguments.certificate.zip(arguments.key);
    let policy = if tls.is_some() { Policy::Offer } else { Policy::Off };
    let mut server = Server::new(Config::new("load.example")?.tls(policy).shared()).limits(limits);
    if let Some((certificate, key)) = tls {
        server = server.tls_from_pem(&certificate, &key)?;
    }
    server.listen(arguments.address)?;
    if !arguments.all_cores {
        server = server.threads(NonZero::<usize>::MIN);
    }
    server.run(|_| TakeAll)?;
    Ok(())
}
