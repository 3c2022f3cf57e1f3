//! A driver on tokio, for server and client, with STARTTLS by tokio-rustls. The server prints each message's envelope;
//! the client reads a message from standard input.
//!
//! ```sh
//! cargo run -p smtp-rustls --example tokio_driver -- serve 127.0.0.1:2525 mx.crt mx.key
//! cargo run -p smtp-rustls --example tokio_driver -- send 127.0.0.1:2525 mx.crt ann@example.org ben@example.net
//! ```

mod client;
mod server;

use std::error::Error;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use smtp_proto::client::Envelope;
use smtp_proto::server::{Config, Room};
use smtp_proto::syntax::{ForwardPath, Params, Rcpt, ReversePath};
use smtp_proto::tls::Policy;
use smtp_rustls::{ClientTls, authorities_from_pem, server_from_pem};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", address, certificate, key] => {
            let tls = TlsAcceptor::from(server_from_pem(Path::new(certificate), Path::new(key))?);
            let (config, room) =
                (Config::new("mx.example.net")?.tls(Policy::Offer).shared(), Arc::new(Room::default()));
            let listener = TcpListener::bind(address).await?;
            println!("listening on {}", listener.local_addr()?);
            loop {
                let connection = server::serve(listener.accept().await?.0, config.clone(), tls.clone(), room.clone());
                tokio::spawn(async { connection.await.inspect_err(|error| eprintln!("{error}")) });
            }
        }
        ["send", address, authorities, from, to] => {
            let mut text = Vec::new();
            io::stdin().read_to_end(&mut text)?;
            let to = [Rcpt { path: ForwardPath::parse(to, false)?, params: Params::default() }];
            let envelope = Envelope::new(ReversePath::parse(from, false)?, &to).text(&text);
            client::send(address, &ClientTls::new(authorities_from_pem(Path::new(authorities))?)?, envelope, &text)
                .await
        }
        _ => Err("serve ADDRESS CERTIFICATE KEY, or send ADDRESS AUTHORITIES FROM TO".into()),
    }
}
