//! TLS as bytes: what came in, what is to go out. No socket, and nothing of SMTP.
//!
//! rustls without buffers of its own: an idle connection holds keys and no more. Of such a connection it tells less than
//! of others; `witness` hears the rest.

use std::sync::Arc;
use std::{fmt, io};

use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus};
use rustls::{AlertDescription, HandshakeKind, ServerConfig};
use smtp_proto::TlsInfo;
use smtp_proto::tls::{TlsFailure, TlsOffer};

use super::end::{End, ServerEnd};
use super::witness::{self, Heard};
use super::{ClientCertificates, failure, info};

/// More than this before the handshake is done is no ClientHello of a mail client.
const HANDSHAKE_LIMIT: usize = 64 << 10;
/// Of a record over what it carries, and more: header, content type, tag, explicit nonce (RFC 8446 5.2, RFC 5246 6.2.3).
const RECORD_OVERHEAD: usize = 64;
const RECORD: usize = 16 << 10;
/// A record's type, and an alert's level (RFC 8446 5.1, 6).
const ALERT: u8 = 21;
const FATAL: u8 = 2;

/// TLS for a server: its configuration, and how clients' certificates are sorted.
///
/// ```no_run
/// use smtp_rustls::{ServerTls, server_from_pem};
///
/// let config = server_from_pem("mx.crt".as_ref(), "mx.key".as_ref())?;
/// let tls = ServerTls::new(config).channel_binding(true); // for SCRAM-PLUS
/// # drop(tls);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    certificates: Option<Arc<ClientCertificates>>,
}

impl ServerTls {
    /// By this configuration. Whether clients are asked for a certificate is said there.
    #[must_use]
    pub fn new(config: Arc<ServerConfig>) -> Self {
        Self { config: witness::server(config), certificates: None }
    }

    /// Whether the channel binding is to be told, which costs a little: for SCRAM-PLUS. It is not, if nothing is said.
    #[must_use]
    pub fn channel_binding(mut self, told: bool) -> Self {
        if told {
            self.config = witness::with_binding(self.config);
        }
        self
    }

    /// Sorts the certificates that clients show into classes. The configuration must have the same [`ClientCertificates`] as
    /// its verifier, so that they are asked for.
    #[must_use]
    pub fn client_certificates(mut self, certificates: Arc<ClientCertificates>) -> Self {
        self.certificates = Some(certificates);
        self
    }

    /// Begins a connection: what comes next from the client is TLS's.
    ///
    /// # Errors
    /// Those of the TLS library.
    pub fn begin(&self) -> Result<Stream<ServerEnd>, TlsFailure> {
        let connection = UnbufferedServerConnection::new(self.config.clone());
        let connection = connection.map_err(|error| failure::of(&error))?;
        Ok(Stream::new(ServerEnd::new(connection, self.certificates.clone())))
    }
}

/// A TLS connection. What is read from the socket goes in, what is to be written to it comes out.
///
/// ```
/// use std::io::{self, Read, Write};
/// use smtp_rustls::{ServerEnd, ServerTls, Stream};
///
/// fn handshake(tls: &ServerTls, socket: &mut (impl Read + Write)) -> io::Result<Stream<ServerEnd>> {
///     let failed = |failure| io::Error::other(format!("{failure}"));
///     let mut stream = tls.begin().map_err(failed)?;
///     let mut wire = vec![0; 128 << 10];
///     loop {
///         let held = stream.recall(&mut wire); // the beginning of a record
///         let fresh = socket.read(&mut wire[held..])?;
///         if fresh == 0 {
///             return Err(io::ErrorKind::UnexpectedEof.into());
///         }
///         let done = stream.handshake(&mut wire[..held + fresh], fresh);
///         let waiting = stream.outgoing().len();
///         socket.write_all(stream.outgoing())?; // an alert, if it failed
///         stream.sent(waiting);
///         if done.map_err(failed)? {
///             println!("{:?}", stream.describe());
///             return Ok(stream);
///         }
///     }
/// }
/// # let _ = handshake as fn(_, &mut std::net::TcpStream) -> _;
/// ```
pub struct Stream<E> {
    connection: E,
    /// The beginning of a record whose end has yet to come; whole ones only while there is `early` plaintext.
    incoming: Vec<u8>,
    /// What waits to be written.
    outgoing: Vec<u8>,
    handshake_octets: usize,
    /// The peer has sent close_notify.
    ended: bool,
    /// Nothing more may be written: close_notify was sent, or an alert.
    closed: bool,
    /// Plaintext that came in one flight with the end of the handshake, or found no room.
    early: Vec<u8>,
    /// Until the handshake is described.
    heard: Option<Box<Heard>>,
}

/// What [`Stream::receive`] made of its input.
#[derive(Clone, Copy, Debug, Default)]
struct Received {
    /// Octets of the input that are done with.
    used: usize,
    /// Octets of plaintext.
    plain: usize,
    /// There is more of it, and no room.
    more: bool,
}

impl<E: End> fmt::Debug for Stream<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("handshaking", &self.is_handshaking()).finish_non_exhaustive()
    }
}

impl<E: End> Stream<E> {
    pub(crate) const fn new(connection: E) -> Self {
        Self {
            connection,
            incoming: Vec::new(),
            outgoing: Vec::new(),
            handshake_octets: 0,
            ended: false,
            closed: false,
            early: Vec::new(),
            heard: None,
        }
    }

    /// Whether the handshake is still under way.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        self.connection.state().is_handshaking()
    }

    /// What came earlier and is not done with goes to the front of `wire`; says how much that is.
    pub fn recall(&mut self, wire: &mut [u8]) -> usize {
        let held = std::mem::take(&mut self.incoming);
        wire[..held.len()].copy_from_slice(&held);
        held.len()
    }

    /// Takes back what [`Stream::recall`] gave.
    pub fn keep(&mut self, wire: &[u8]) {
        self.incoming = wire.to_vec();
    }

    /// Whether plaintext waits that has been decrypted already: [`decrypt`](Stream::decrypt) gives it, before the socket is
    /// read and whatever has become of that. While there is none, what [`recall`](Stream::recall) gives is no whole record.
    #[must_use]
    pub const fn has_plaintext(&self) -> bool {
        !self.early.is_empty()
    }

    /// Whether the peer has ended TLS (close_notify). What comes behind is nobody's; what came before may still
    /// [wait](Stream::has_plaintext).
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.ended
    }

    /// Goes on with the handshake; `fresh` of the octets in `wire` are new. True when it is done. A client begins with none.
    ///
    /// # Errors
    /// Why the handshake has failed. An alert that says so may be [`outgoing`](Stream::outgoing).
    pub fn handshake(&mut self, wire: &mut [u8], fresh: usize) -> Result<bool, TlsFailure> {
        self.handshake_octets += fresh;
        if self.handshake_octets > HANDSHAKE_LIMIT {
            return Err(TlsFailure::Refused("handshake too large".into()));
        }
        let new = wire.len().saturating_sub(fresh);
        if let Err((alert, failure)) = self.connection.look(wire.get(new..).unwrap_or_default()) {
            self.closed = true;
            self.outgoing.extend_from_slice(&[ALERT, 3, 1, 0, 2, FATAL, alert.into()]);
            return Err(failure);
        }
        witness::listen();
        let waiting = self.outgoing.len();
        let received = self.receive(wire, &mut []);
        if let (Err(error), Some(offered)) = (&received, self.connection.offered())
            && failure::is_of_version(error, offered)
            && let Some([ALERT, _, _, 0, 2, FATAL, alert]) = self.outgoing.get_mut(waiting..)
        {
            // RFC 8446 6.2: protocol_version. The library says handshake_failure, which tells a client nothing.
            *alert = AlertDescription::ProtocolVersion.into();
        }
        if let Some(heard) = witness::heard() {
            self.heard.get_or_insert_default().add(heard);
        }
        let mut received = received.map_err(|error| self.connection.failure(&error))?;
        if received.more {
            let behind = self.receive_early(&mut wire[received.used..]);
            received.used += behind.map_err(|error| self.connection.failure(&error))?;
        }
        if !self.ended {
            self.keep(&wire[received.used..]);
            return Ok(!self.is_handshaking());
        }
        // RFC 8446 6.1: what was sent before close_notify counts, be it in one flight with the end of the handshake.
        if self.is_handshaking() { Err(TlsFailure::Closed) } else { Ok(true) }
    }

    /// Decrypts what is complete in `wire` into `plain`; says how much that was.
    ///
    /// # Errors
    /// The peer's octets are no TLS, or were altered.
    pub fn decrypt(&mut self, wire: &mut [u8], plain: &mut [u8]) -> io::Result<usize> {
        let mut filled = self.take_early(plain);
        if !self.early.is_empty() {
            self.keep(wire);
            return Ok(filled);
        }
        let mut received = self.receive(wire, &mut plain[filled..]).map_err(io::Error::other)?;
        filled += received.plain;
        if received.more {
            received.used += self.receive_early(&mut wire[received.used..]).map_err(io::Error::other)?;
            filled += self.take_early(&mut plain[filled..]);
        }
        if !self.ended {
            self.keep(&wire[received.used..]);
        }
        Ok(filled)
    }

    /// Encrypts `data`, to be written behind what waits already.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotConnected`] after [`close_notify`](Stream::close_notify) or a failed handshake.
    pub fn encrypt(&mut self, data: &[u8]) -> io::Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        if self.closed {
            return Err(io::ErrorKind::NotConnected.into());
        }
        self.outgoing.reserve(data.len() + (data.len() / RECORD + 1) * RECORD_OVERHEAD);
        self.put(Some(data))
    }

    /// Ends TLS on this side (RFC 8446 6.1). Nothing may be encrypted after it.
    ///
    /// # Errors
    /// Those of the TLS library.
    pub fn close_notify(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.closed, true) {
            return Ok(());
        }
        self.put(None)
    }

    /// The handshake has come to nothing: nothing more is said.
    pub const fn give_up(&mut self) {
        self.closed = true;
    }

    /// What waits to be written.
    #[must_use]
    pub fn outgoing(&self) -> &[u8] {
        &self.outgoing
    }

    /// So many octets of it were written.
    pub fn sent(&mut self, n: usize) {
        if n >= self.outgoing.len() {
            self.outgoing = Vec::new();
        } else {
            self.outgoing.drain(..n);
        }
    }

    /// What the client offered, once its ClientHello has come, whatever became of it. A client does not know of a server.
    #[must_use]
    pub fn offered(&self) -> Option<TlsOffer> {
        self.connection.offered()
    }

    /// Whether anything has come from the other end.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.handshake_octets > 0
    }

    /// What there is to know when the handshake is done; tells it once.
    pub fn describe(&mut self) -> TlsInfo {
        let mut info = info::of(self.connection.state());
        self.connection.describe(&mut info);
        if let Some(heard) = self.heard.take() {
            info.channel_binding = heard.channel_binding(self.connection.state().negotiated_cipher_suite());
            info.server_name = heard.server_name;
        }
        info
    }

    /// Whether the handshake took up an earlier session.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.connection.state().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Takes what finds no room: it must not stay in the library, which writes nothing before it is read. Says how many
    /// octets of the input are done with.
    fn receive_early(&mut self, wire: &mut [u8]) -> Result<usize, rustls::Error> {
        let mut early = vec![0; 2 * RECORD + wire.len()];
        let received = self.receive(wire, &mut early)?;
        early.truncate(received.plain);
        self.early = early;
        Ok(received.used)
    }

    fn take_early(&mut self, plain: &mut [u8]) -> usize {
        let n = self.early.len().min(plain.len());
        plain[..n].copy_from_slice(&self.early[..n]);
        if n == self.early.len() {
            self.early = Vec::new();
        } else {
            self.early.drain(..n);
        }
        n
    }

    fn receive(&mut self, wire: &mut [u8], plain: &mut [u8]) -> Result<Received, rustls::Error> {
        let mut received = Received::default();
        loop {
            let UnbufferedStatus { discard, state } = self.connection.process(&mut wire[received.used..]);
            received.used += discard;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while traffic.peek_len().is_some_and(|len| len.get() <= plain.len() - received.plain)
                        && let Some(record) = traffic.next_record()
                    {
                        let record = record?;
                        received.used += record.discard;
                        plain[received.plain..][..record.payload.len()].copy_from_slice(record.payload);
                        received.plain += record.payload.len();
                    }
                    received.more = traffic.peek_len().is_some();
                    if received.more {
                        return Ok(received);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, &mut self.outgoing)?,
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    self.ended = true;
                    return Ok(received);
                }
                // More input is needed.
                Ok(_) => return Ok(received),
                Err(error) => {
                    // The alert that says why; and no call more, which would look for messages that are not there.
                    self.closed = true;
                    while self.connection.state().wants_write()
                        && let Ok(ConnectionState::EncodeTlsData(mut data)) = self.connection.process(&mut []).state
                    {
                        encode(&mut data, &mut self.outgoing)?;
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Encrypts data, or close_notify where there are none.
    fn put(&mut self, data: Option<&[u8]>) -> io::Result<()> {
        loop {
            // What came is shown each time: the library knows where in it the beginning of a message stands.
            let UnbufferedStatus { discard, state } = self.connection.process(&mut self.incoming);
            debug_assert_eq!(discard, 0, "there was no whole record");
            match state.map_err(io::Error::other)? {
                ConnectionState::EncodeTlsData(mut data) => {
                    encode(&mut data, &mut self.outgoing).map_err(io::Error::other)?;
                }
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed => {}
                ConnectionState::WriteTraffic(mut traffic) => {
                    let start = self.outgoing.len();
                    let mut space = self.outgoing.capacity() - start;
                    loop {
                        self.outgoing.resize(start + space, 0);
                        let space_left = &mut self.outgoing[start..];
                        let written = match data {
                            Some(data) => traffic.encrypt(data, space_left),
                            None => traffic.queue_close_notify(space_left),
                        };
                        match written {
                            Ok(n) => {
                                self.outgoing.truncate(start + n);
                                return Ok(());
                            }
                            Err(EncryptError::InsufficientSize(error)) if error.required_size > space => {
                                space = error.required_size;
                            }
                            Err(error) => {
                                self.outgoing.truncate(start);
                                return Err(io::Error::other(error));
                            }
                        }
                    }
                }
                _ => return Err(io::ErrorKind::NotConnected.into()),
            }
        }
    }
}

fn encode<D>(data: &mut EncodeTlsData<'_, D>, outgoing: &mut Vec<u8>) -> Result<(), rustls::Error> {
    let start = outgoing.len();
    // The first try says how long it is.
    if let Err(EncodeError::InsufficientSize(error)) = data.encode(&mut []) {
        outgoing.resize(start + error.required_size, 0);
        data.encode(&mut outgoing[start..]).map_err(|error| rustls::Error::General(error.to_string()))?;
    }
    Ok(())
}
