//! A program that sends mail, and the test of it with a sink.
//!
//! ```sh
//! cargo test -p smtp-smol --example test_double
//! ```

use std::error::Error;
use std::net::SocketAddr;

use smtp_proto::client::{Config, Envelope, Tls};
use smtp_proto::syntax::{ForwardPath, Params, Rcpt, ReversePath};
use smtp_smol::{Client, Target};

/// The program: says hello to somebody, and says whether the server took it.
fn greet(server: SocketAddr, to: &str) -> Result<bool, Box<dyn Error>> {
    let client = Client::new(Config::new("client.example.org")?.tls(Tls::Never).shared());
    let from = ReversePath::parse("robot@example.org", false)?;
    let to = [Rcpt { path: ForwardPath::parse(to, false)?, params: Params::default() }];
    smol::block_on(async {
        let mut connection =
            client.connect(&Target::addresses(vec![server])).await.map_err(|reason| format!("{reason:?}"))?;
        let sent = connection.send(Envelope::new(from, &to), &mut &b"Subject: Hello\r\n\r\nHi.\r\n"[..]).await?;
        Ok(sent.outcomes().all(|outcome| outcome.is_accepted()))
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("{}", greet("127.0.0.1:25".parse()?, "postmaster@localhost.example")?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::greet;
    use smtp_smol::testing::{Rule, Settings, Sink, Verb};

    #[test]
    fn a_greeting_arrives() {
        let sink = Sink::start().expect("started");
        assert!(greet(sink.address(), "ann@example.net").expect("sent"));
        let message = sink.wait_for(1).expect("a message").remove(0);
        assert_eq!(message.to, ["ann@example.net"]);
        assert_eq!(message.header("Subject").as_deref(), Some("Hello"));
    }

    #[test]
    fn a_refusal_is_told() {
        let mut settings = Settings::default();
        settings.rules.add(Rule::refuse(Verb::Rcpt, "550 5.1.1 No such user").expect("a rule").with("unknown@"));
        let sink = Sink::start_with(settings).expect("started");
        assert!(!greet(sink.address(), "unknown@example.net").expect("sent"));
        assert!(sink.messages().is_empty());
    }
}
