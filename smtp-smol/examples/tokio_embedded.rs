//! The server and the client inside a program that runs on tokio. smol's executor is a future like any other, so that
//! tokio can run it, and handlers may await what is tokio's, such as its timers.
//!
//! ```sh
//! cargo run -p smtp-smol --example tokio_embedded
//! ```

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use smol::Executor;
use smtp_proto::client::{self, Tls};
use smtp_proto::server::{Config, Envelope, Room, Verdict};
use smtp_proto::syntax::{ForwardPath, Params, Rcpt, ReversePath};
use smtp_proto::tls::Policy;
use smtp_smol::{Client, MessageHandler, Messages, Peer, Pool, PoolLimits, Server, Target};

/// Hands messages to the rest of the program, after a wait.
struct ToTokio(tokio::sync::mpsc::Sender<Envelope>);

impl MessageHandler for ToTokio {
    async fn message(&mut self, _: &Peer<'_>, envelope: Envelope) -> Verdict<'_> {
        tokio::time::sleep(Duration::from_millis(10)).await;
        match self.0.send(envelope).await {
            Ok(()) => Verdict::Accept,
            Err(_) => Verdict::Refuse(const { smtp_proto::syntax::Reply::fixed(451, (4, 3, 0), "Shutting down") }),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut server = Server::new(Config::new("mx.example.net")?.tls(Policy::Off).shared());
    let address = server.listen("127.0.0.1:0".parse()?)?;
    let (handle, room) = (server.handle(), Arc::new(Room::default()));
    let (sender, mut messages) = tokio::sync::mpsc::channel(10);

    // The server, as a task of tokio's.
    let serving = tokio::spawn(async move {
        let executor = Arc::new(Executor::new());
        executor.run(server.serve(executor.clone(), move |_| Messages::new(ToTokio(sender.clone()), &room))).await
    });
    // The client, as another.
    let sending = tokio::spawn(async move {
        let config = client::Config::new("client.example.org").map_err(|error| error.to_string())?;
        let pool = Pool::new(Client::new(config.tls(Tls::Never).shared()), PoolLimits::default());
        let from = ReversePath::parse("ann@example.org", false).map_err(|error| error.to_string())?;
        let path = ForwardPath::parse("ben@example.net", false).map_err(|error| error.to_string())?;
        let to = [Rcpt { path, params: Params::default() }];
        let envelope = client::Envelope::new(from, &to);
        let sent = pool.send(&Target::addresses(vec![address]), envelope, b"Subject: Hi\r\n\r\nHello.\r\n").await;
        let accepted = sent.outcomes().filter(client::Outcome::is_accepted).count();
        pool.close_idle(true).await;
        Ok::<usize, String>(accepted)
    });

    let message = messages.recv().await.ok_or("no message came")?;
    println!("{} octets from {} to {:?}", message.text.len(), message.from, message.to);
    println!("{} recipient accepted", sending.await??);
    handle.shut_down();
    Ok(serving.await??)
}
