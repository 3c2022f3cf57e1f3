//! hickory-resolver over smol: the four things that it asks of a runtime.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use hickory_resolver::net::runtime::{DnsTcpStream, DnsUdpSocket, RuntimeProvider, Spawn, Time};
use smol::future::or;
use smol::io::{AsyncRead, AsyncWrite};
use smol::{Async, Timer};

/// For a TCP connection to a name server, where the resolver names no time of its own.
const CONNECT_TIME: Duration = Duration::from_secs(5);

type Connecting<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

/// smol, as the resolver sees it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Smol;

impl RuntimeProvider for Smol {
    type Handle = Self;
    type Timer = Self;
    type Udp = Udp;
    type Tcp = Tcp;

    fn create_handle(&self) -> Self {
        *self
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        _bind: Option<SocketAddr>,
        time: Option<Duration>,
    ) -> Connecting<Self::Tcp> {
        Box::pin(async move {
            or(Async::<TcpStream>::connect(server), async {
                Timer::after(time.unwrap_or(CONNECT_TIME)).await;
                Err(io::ErrorKind::TimedOut.into())
            })
            .await
            .map(Tcp)
        })
    }

    fn bind_udp(&self, local: SocketAddr, _server: SocketAddr) -> Connecting<Self::Udp> {
        Box::pin(async move { Async::<UdpSocket>::bind(local).map(Udp) })
    }
}

impl Spawn for Smol {
    fn spawn_bg(&mut self, future: impl Future<Output = ()> + Send + 'static) {
        smol::spawn(future).detach();
    }
}

#[async_trait]
impl Time for Smol {
    async fn delay_for(time: Duration) {
        Timer::after(time).await;
    }

    async fn timeout<F: 'static + Future + Send>(time: Duration, future: F) -> io::Result<F::Output> {
        or(async { Ok(future.await) }, async {
            Timer::after(time).await;
            Err(io::ErrorKind::TimedOut.into())
        })
        .await
    }
}

/// A UDP socket.
#[derive(Debug)]
pub(crate) struct Udp(Async<UdpSocket>);

#[async_trait]
impl DnsUdpSocket for Udp {
    type Time = Smol;

    fn poll_recv_from(&self, context: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>> {
        loop {
            match self.0.get_ref().recv_from(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.0.poll_readable(context))?,
                other => return Poll::Ready(other),
            }
        }
    }

    fn poll_send_to(&self, context: &mut Context<'_>, buf: &[u8], target: SocketAddr) -> Poll<io::Result<usize>> {
        loop {
            match self.0.get_ref().send_to(buf, target) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.0.poll_writable(context))?,
                other => return Poll::Ready(other),
            }
        }
    }
}

/// A TCP connection.
#[derive(Debug)]
pub(crate) struct Tcp(Async<TcpStream>);

impl DnsTcpStream for Tcp {
    type Time = Smol;
}

impl AsyncRead for Tcp {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_read(context, buf)
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(context, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(context)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_close(context)
    }
}
