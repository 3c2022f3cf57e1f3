//! Whoever connects to a side door, such as that of the metrics: so many at once, and each for so long.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use smol::{Async, Timer};

/// Converses with whoever connects, for as long as the program runs.
pub(super) async fn each<C>(
    listener: Async<TcpListener>,
    most: usize,
    time: Duration,
    converse: impl Fn(Async<TcpStream>) -> C,
) where
    C: Future<Output = io::Result<()>> + Send + 'static,
{
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            // Such as no descriptors left.
            Timer::after(Duration::from_millis(100)).await;
            continue;
        };
        if open.load(Ordering::Acquire) >= most {
            continue;
        }
        open.fetch_add(1, Ordering::AcqRel);
        let (conversation, open) = (converse(socket), open.clone());
        smol::spawn(async move {
            let late = async {
                Timer::after(time).await;
                Err(io::ErrorKind::TimedOut.into())
            };
            if let Err(error) = smol::future::or(conversation, late).await {
                tracing::debug!(%error, "a connection to a side door came to nothing");
            }
            open.fetch_sub(1, Ordering::AcqRel);
        })
        .detach();
    }
}
