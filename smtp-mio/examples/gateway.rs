//! An inbound gateway: takes mail for one domain, refuses other recipients, and prints a line of JSON for each message,
//! with what became of TLS on its hop.
//!
//! ```sh
//! cargo run -p smtp-mio --example gateway-mio -- 127.0.0.1:2525 example.net mx.crt mx.key
//! ```

use std::error::Error;
use std::sync::Arc;

use smtp_mio::{Answer, MessageHandler, Messages, Peer, Server};
use smtp_proto::server::{Config, Envelope, Room, Verdict};
use smtp_proto::syntax::{Rcpt, Reply};
use smtp_proto::tls::{Policy, TlsOutcome, TlsVersion};

const NOT_HERE: Reply<'static> = Reply::fixed(550, (5, 7, 1), "No mail for that domain here");

#[derive(Clone)]
struct Gateway {
    domain: String,
}

impl MessageHandler for Gateway {
    fn rcpt(&mut self, _: &Peer<'_>, rcpt: &Rcpt<'_>) -> Answer<'_> {
        match rcpt.path.as_str().rsplit_once('@') {
            Some((_, domain)) if domain.eq_ignore_ascii_case(&self.domain) => Verdict::Accept.into(),
            _ => NOT_HERE.into(),
        }
    }

    fn message(&mut self, peer: &Peer<'_>, envelope: Envelope) -> Answer<'_> {
        let tls = peer.session.tls_outcome();
        let version = if let TlsOutcome::Used(info) = &tls { info.version.map(TlsVersion::as_str) } else { None };
        let summary = serde_json::json!({
            "from": envelope.from, "to": envelope.to, "octets": envelope.text.len(),
            "tls": tls.as_str(), "version": version,
        });
        println!("{summary}");
        Verdict::Accept.into()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, domain, files @ ..] = &arguments[..] else { return Err("ADDRESS DOMAIN [CERTIFICATE KEY]".into()) };
    let policy = if files.is_empty() { Policy::Off } else { Policy::Offer };
    let mut server = Server::new(Config::new("mx.example.net")?.tls(policy).shared());
    if let [certificate, key] = files {
        server = server.tls_from_pem(certificate.as_ref(), key.as_ref())?;
    }
    println!("listening on {}", server.listen(address.parse()?)?);
    let (gateway, room) = (Gateway { domain: domain.clone() }, Arc::new(Room::default()));
    Ok(server.run(move |_| Messages::new(gateway.clone(), &room))?)
}
