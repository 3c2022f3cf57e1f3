//! A client that sends many messages over a few connections, which a pool keeps for the next message.
//!
//! ```sh
//! cargo run -p smtp-smol --example pool -- 127.0.0.1:2525 1000
//! ```

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use smol::Executor;
use smtp_proto::client::{Config, Envelope, Outcome, Tls};
use smtp_proto::syntax::{ForwardPath, Params, Rcpt, ReversePath};
use smtp_smol::{Client, Pool, PoolLimits, Target};

/// Messages under way at once, and connections kept.
const AT_ONCE: usize = 10;

/// Sends messages until all are sent; says how many were accepted.
async fn send(pool: Arc<Pool>, target: Target, left: Arc<AtomicU32>) -> Result<u32, String> {
    let path = |error| format!("an address of this example: {error}");
    let from = ReversePath::parse("ann@example.org", false).map_err(path)?;
    let to = [Rcpt { path: ForwardPath::parse("ben@example.net", false).map_err(path)?, params: Params::default() }];
    let mut accepted = 0;
    while let Ok(before) = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)) {
        let text = format!("Subject: Number {before}\r\n\r\nHello.\r\n");
        let transaction = pool.send(&target, Envelope::new(from, &to), text.as_bytes()).await;
        for outcome in transaction.outcomes() {
            match outcome {
                Outcome::Accepted(_) => accepted += 1,
                other if other.is_temporary() => eprintln!("to be tried again later: {other:?}"),
                other => eprintln!("not delivered: {other:?}"),
            }
        }
    }
    Ok(accepted)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, count] = &arguments[..] else { return Err("ADDRESS COUNT".into()) };
    let target = Target::addresses(vec![address.parse::<SocketAddr>()?]);
    let client = Client::new(Config::new("client.example.org")?.tls(Tls::Never).shared());
    let mut limits = PoolLimits::default();
    limits.idle_per_target = AT_ONCE;
    let (pool, left) = (Arc::new(Pool::new(client, limits)), Arc::new(AtomicU32::new(count.parse()?)));

    let (begun, executor) = (Instant::now(), Executor::new());
    let tasks: Vec<_> =
        (0..AT_ONCE).map(|_| executor.spawn(send(pool.clone(), target.clone(), left.clone()))).collect();
    let accepted = smol::block_on(executor.run(async {
        let mut accepted = 0;
        for task in tasks {
            accepted += task.await?;
        }
        pool.close_idle(true).await;
        Ok::<u32, String>(accepted)
    }))?;
    println!("{accepted} of {count} accepted in {:.1} s", begun.elapsed().as_secs_f64());
    Ok(())
}
