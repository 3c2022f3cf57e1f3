//! A TCP connection to whichever address of a host answers first (RFC 8305, "happy eyeballs").

use std::future::{Future, poll_fn};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use smol::future::or;
use smol::{Async, Timer};
use smtp_proto::net::in_turn;

/// How long one attempt stays alone before the next begins (RFC 8305 5: 250 ms is recommended).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Connects to the first of `addresses` that answers; nothing is sent to the others.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] after `time`; the last address's error when all refused;
/// [`io::ErrorKind::AddrNotAvailable`] when there is no address.
pub(crate) async fn connect(addresses: &[SocketAddr], time: Duration) -> io::Result<(Async<TcpStream>, SocketAddr)> {
    let order = in_turn(addresses);
    let attempts = race(&order, ATTEMPT_DELAY, Async::<TcpStream>::connect);
    let (socket, address) = or(attempts, async {
        Timer::after(time).await;
        Err(io::ErrorKind::TimedOut.into())
    })
    .await?;
    // A group of commands is one write; it must not wait for the acknowledgement of the one before.
    socket.get_ref().set_nodelay(true)?;
    Ok((socket, address))
}

type Attempt<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// Begins an attempt, and the next when it has failed or `delay` is over; the first success ends the others.
async fn race<'a, T, F>(
    order: &[SocketAddr],
    delay: Duration,
    connect: impl Fn(SocketAddr) -> F,
) -> io::Result<(T, SocketAddr)>
where
    T: 'a,
    F: Future<Output = io::Result<T>> + Send + 'a,
{
    let mut next = order.iter().copied();
    let mut under_way: Vec<(SocketAddr, Attempt<'a, T>)> = Vec::new();
    let mut error = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        let begun = next.next();
        if let Some(address) = begun {
            under_way.push((address, Box::pin(connect(address))));
        } else if under_way.is_empty() {
            return Err(error);
        }
        let one_ends = poll_fn(|context| {
            for at in 0..under_way.len() {
                let (address, attempt) = &mut under_way[at];
                if let Poll::Ready(result) = attempt.as_mut().poll(context) {
                    let address = *address;
                    drop(under_way.swap_remove(at));
                    return Poll::Ready(Some(result.map(|socket| (socket, address))));
                }
            }
            Poll::Pending
        });
        let ended = if begun.is_some() {
            or(one_ends, async {
                Timer::after(delay).await;
                None
            })
            .await
        } else {
            one_ends.await
        };
        match ended {
            Some(Ok(connected)) => return Ok(connected),
            Some(Err(failed)) => error = failed,
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|address| address.parse().expect("an address")).collect()
    }

    #[test]
    fn an_address_that_stays_silent_or_refuses_does_not_hold_up_the_next() {
        let given = addresses(&["192.0.2.1:25", "192.0.2.2:25", "192.0.2.3:25"]);
        let connect = |address: SocketAddr| async move {
            match address.to_string().as_str() {
                "192.0.2.1:25" => smol::future::pending().await,
                "192.0.2.2:25" => Err(io::ErrorKind::ConnectionRefused.into()),
                other => Ok(other.to_owned()),
            }
        };
        let (name, address) =
            smol::block_on(race(&given, Duration::from_millis(1), connect)).expect("the third answers");
        assert_eq!((name.as_str(), address), ("192.0.2.3:25", given[2]));
    }

    #[test]
    fn when_all_refuse_the_last_error_is_told() {
        let given = addresses(&["192.0.2.1:25", "192.0.2.2:25"]);
        let refuse = |address: SocketAddr| async move { Err::<(), _>(io::Error::other(address.to_string())) };
        let error = smol::block_on(race(&given, Duration::from_secs(60), refuse)).expect_err("all refuse");
        assert_eq!(error.to_string(), "192.0.2.2:25");
        let error = smol::block_on(race(&[], Duration::from_secs(60), refuse)).expect_err("none to try");
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
    }
}
