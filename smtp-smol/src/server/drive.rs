//! Connections that were accepted elsewhere.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use smol::future::or;
use smtp_proto::Channel;
use smtp_proto::auth::Mechanism;

use super::connection::{Opening, Shared, cut_off, open};
use super::limits::Places;
use super::{NO_CERTIFICATE, Server};
use crate::handler::Handler;
use crate::link::Link;
use crate::socket::Socket;

impl Server {
    /// Serves one connection that was accepted elsewhere, to its end: such as by a listener that the system has opened,
    /// or one end of a pair in a test. The server need not listen anywhere; its [`Limits`](super::Limits) on numbers of
    /// connections are for its own listeners. [`Handle::shut_down`](super::Handle::shut_down) ends this one, too.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use std::os::unix::net::UnixStream;
    /// use smtp_proto::server::{Config, Envelope, Room, Verdict};
    /// use smtp_smol::{MessageHandler, Messages, Peer, Server};
    ///
    /// struct Accept;
    ///
    /// impl MessageHandler for Accept {
    ///     async fn message(&mut self, _: &Peer<'_>, _: Envelope) -> Verdict<'_> {
    ///         Verdict::Accept
    ///     }
    /// }
    ///
    /// let (mut client, socket) = UnixStream::pair()?;
    /// let server = Server::new(Config::new("mx.example.net")?.tls(smtp_proto::tls::Policy::Off).shared());
    /// let served = std::thread::spawn(move || {
    ///     let socket = smol::Async::new(socket)?;
    ///     smol::block_on(server.drive(socket, None, Messages::new(Accept, &Room::default().into())))
    /// });
    ///
    /// let mut greeting = [0; 64];
    /// let n = client.read(&mut greeting)?;
    /// assert!(greeting[..n].starts_with(b"220 mx.example.net"));
    /// client.write_all(b"QUIT\r\n")?;
    /// let mut rest = String::new();
    /// client.read_to_string(&mut rest)?;
    /// assert_eq!(rest, "221 2.0.0 Bye\r\n");
    /// drop(client);
    /// served.join().expect("no panic")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] when TLS is offered and there is no certificate; those of the connection.
    pub async fn drive<H: Handler>(
        &self,
        socket: impl Into<Socket>,
        peer: Option<SocketAddr>,
        handler: H,
    ) -> io::Result<()> {
        self.converse(socket.into(), peer, handler, false).await
    }

    /// The same, where TLS comes first (RFC 8314 3.3).
    ///
    /// # Errors
    /// As [`Server::drive`].
    pub async fn drive_tls<H: Handler>(
        &self,
        socket: impl Into<Socket>,
        peer: Option<SocketAddr>,
        handler: H,
    ) -> io::Result<()> {
        self.converse(socket.into(), peer, handler, true).await
    }

    async fn converse<H: Handler>(
        &self,
        socket: Socket,
        peer: Option<SocketAddr>,
        handler: H,
        implicit_tls: bool,
    ) -> io::Result<()> {
        if self.tls.is_none() && (implicit_tls || self.config.tls_policy().offers()) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, NO_CERTIFICATE));
        }
        // SCRAM-PLUS alone wants to know what only the handshake knows.
        let binding = self.config.mechanisms().iter().any(Mechanism::binds_channel);
        let tls = self.tls.clone().map(|tls| tls.channel_binding(binding));
        let opening = if implicit_tls { Opening::Tls } else { Opening::Session(Channel::Plain) };
        // Who drives a connection may drop it.
        let never = smol::channel::bounded::<()>(1);
        let shared = Arc::new(Shared {
            listener: 0,
            config: self.config.clone(),
            tls: match &self.certificates {
                Some(certificates) => tls.map(|tls| tls.client_certificates(certificates.clone())),
                None => tls,
            },
            trusted: self.trusted.clone(),
            places: Arc::new(Places::new(self.limits)),
            stop: self.stop.1.clone(),
            cut_off: never.1,
            spare: Arc::default(),
        });
        let opened = open(shared.clone(), self.config.clone(), Link::given(socket), || handler, peer, opening);
        let Some(mut connection) = Box::pin(opened).await else { return Ok(()) };
        or(connection.run(), async {
            cut_off(shared).await;
            Ok(())
        })
        .await
    }
}
