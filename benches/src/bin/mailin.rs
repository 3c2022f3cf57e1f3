//! A peer of the load comparison: the crate mailin-embedded with a handler that accepts and drops.
//!
//!     mailin PORT THREADS CERT.pem KEY.pem

use std::io;
use std::net::IpAddr;

use mailin_embedded::response::OK;
use mailin_embedded::{Handler, Response, Server, SslConfig};

#[derive(Clone)]
struct Swallow;

impl Handler for Swallow {
    fn data_start(&mut self, _: &str, _: &str, _: bool, _: &[String]) -> Response {
        OK
    }
    fn data(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
    fn data_end(&mut self) -> Response {
        OK
    }
    fn helo(&mut self, _: IpAddr, _: &str) -> Response {
        OK
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // What it is built with when it is built alone.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let arguments: Vec<String> = std::env::args().collect();
    let mut server = Server::new(Swallow);
    server.with_name("mailin.example").with_num_threads(arguments[2].parse()?);
    server.with_ssl(SslConfig::SelfSigned { cert_path: arguments[3].clone(), key_path: arguments[4].clone() })?;
    server.with_addr(format!("127.0.0.1:{}", arguments[1]))?;
    server.serve()?;
    Ok(())
}
