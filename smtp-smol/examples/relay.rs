//! A relay: hands each message on as it comes in, and answers as the next server does, recipient by recipient.
//!
//! ```sh
//! cargo run -p smtp-smol --example relay -- 127.0.0.1:2525 127.0.0.1:2526
//! ```

use std::error::Error;

use smtp_proto::client::{self, Tls};
use smtp_proto::server::{Config, MessageEnd, Verdict};
use smtp_proto::syntax::{Mail, OwnedReply, Rcpt, Reply};
use smtp_proto::tls::Policy;
use smtp_smol::{Client, Connection, Handler, Peer, Server, Stopped, Target};

const UNREACHABLE: Reply<'static> = Reply::fixed(451, (4, 4, 1), "The next server does not answer; try again later");

struct Relay {
    client: Client,
    next: Target,
    hop: Option<Connection>,
    said: Option<OwnedReply>, // by the next server
}

impl Relay {
    /// As the next server has answered; 3yz is its yes to DATA.
    fn answer(&mut self, reply: Result<OwnedReply, Stopped>) -> Verdict<'_> {
        match reply.map(|reply| self.said.insert(reply)) {
            Ok(reply) if matches!(reply.code() / 100, 2 | 3) => Verdict::Accept,
            Ok(reply) => Verdict::Refuse(reply.as_reply()),
            Err(_) => {
                self.hop = None;
                Verdict::Refuse(UNREACHABLE)
            }
        }
    }
}

impl Handler for Relay {
    async fn mail(&mut self, _: &Peer<'_>, mail: &Mail<'_>) -> Verdict<'_> {
        let Ok(hop) = self.client.connect(&self.next).await else { return Verdict::Refuse(UNREACHABLE) };
        let reply = self.hop.insert(hop).mail(mail).await;
        self.answer(reply)
    }
    async fn rcpt(&mut self, _: &Peer<'_>, rcpt: &Rcpt<'_>) -> Verdict<'_> {
        let Some(hop) = &mut self.hop else { return Verdict::Refuse(UNREACHABLE) };
        let reply = hop.rcpt(rcpt).await;
        self.answer(reply)
    }
    async fn data(&mut self, _: &Peer<'_>) -> Verdict<'_> {
        let Some(hop) = &mut self.hop else { return Verdict::Refuse(UNREACHABLE) };
        let reply = hop.data().await;
        self.answer(reply)
    }
    async fn chunk(&mut self, text: &[u8]) {
        if let Some(hop) = &mut self.hop
            && hop.text(text).await.is_err()
        {
            self.hop = None;
        }
    }
    async fn message(&mut self, _: &Peer<'_>, _: MessageEnd) -> Verdict<'_> {
        let Some(mut hop) = self.hop.take() else { return Verdict::Refuse(UNREACHABLE) };
        let reply = hop.finish().await.map(|mut replies| replies.swap_remove(0));
        self.answer(reply)
    }
    fn reset(&mut self, _: &Peer<'_>) {
        self.hop = None;
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, next] = &arguments[..] else { return Err("ADDRESS NEXT".into()) };
    let next = Target::addresses(vec![next.parse()?]);
    let client = Client::new(client::Config::new("relay.example.net")?.tls(Tls::Never).shared());
    let mut server = Server::new(Config::new("relay.example.net")?.tls(Policy::Off).shared());
    println!("listening on {}", server.listen(address.parse()?)?);
    let make = move |_| Relay { client: client.clone(), next: next.clone(), hop: None, said: None };
    Ok(server.run(make)?)
}
