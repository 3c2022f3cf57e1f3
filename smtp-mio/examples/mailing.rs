//! A client that sends many messages over a few connections, all driven by this one thread.
//!
//! ```sh
//! cargo run -p smtp-mio --example mailing -- 127.0.0.1:2525 1000
//! ```

use std::error::Error;
use std::net::SocketAddr;
use std::time::Instant;

use smtp_mio::{Client, Closed, Line, Next, Sender, Target};
use smtp_proto::client::{Config, Envelope, Outcome, Reason, Tls, Transaction};
use smtp_proto::syntax::{ForwardPath, Params, Rcpt, ReversePath};

/// Connections at once.
const AT_ONCE: u32 = 10;

/// What is to be sent, and how far it has come: one for all connections.
struct Mailing<'e> {
    from: ReversePath<'e>,
    to: &'e [Rcpt<'e>],
    text: &'e [u8],
    left: u32,
    accepted: u32,
}

impl<'e> Sender<'e> for Mailing<'e> {
    fn ready(&mut self, _: &Line<'_>) -> Next<'e> {
        let Some(left) = self.left.checked_sub(1) else { return Next::Quit };
        self.left = left;
        Next::Send(Envelope::new(self.from, self.to).size(self.text.len() as u64), self.text.into())
    }

    fn done(&mut self, _: &Line<'_>, transaction: &Transaction<'e>) {
        for outcome in transaction.outcomes() {
            match outcome {
                Outcome::Accepted(_) => self.accepted += 1,
                other if other.is_temporary() => eprintln!("to be tried again later: {other}"),
                other => eprintln!("not delivered: {other}"),
            }
        }
    }

    fn closed(&mut self, line: &Line<'_>, end: &Closed) {
        if !matches!(end, Closed::Session(Reason::Quit)) {
            eprintln!("{}: {end}", line.address);
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, count] = &arguments[..] else { return Err("ADDRESS COUNT".into()) };
    let target = Target::addresses(&[address.parse::<SocketAddr>()?]);
    let count: u32 = count.parse()?;
    let to = [Rcpt { path: ForwardPath::parse("ben@example.net", false)?, params: Params::default() }];
    let text = b"Subject: Number\r\n\r\nHello.\r\n";
    let from = ReversePath::parse("ann@example.org", false)?;

    let begun = Instant::now();
    let mut client = Client::new(Config::new("client.example.org")?.tls(Tls::Never).shared())?;
    let mut mailing = Mailing { from, to: &to, text, left: count, accepted: 0 };
    for _ in 0..AT_ONCE.min(count) {
        client.connect(&target)?;
    }
    client.run(&mut mailing)?;
    println!("{} of {count} accepted in {:.1} s", mailing.accepted, begun.elapsed().as_secs_f64());
    Ok(())
}
