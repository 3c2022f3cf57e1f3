//! TLS as bytes: what came in, what is to go out. No socket, and nothing of SMTP.
//!
//! rustls without buffers of its own: an idle connection holds keys and no more. Of such a connection it tells less than
//! of others; `witness` hears the rest.

use std::sync::Arc;
use std::{fmt, io};

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus};
use rustls::{AlertDescription, CommonState, HandshakeKind, ServerConfig};
use smtp_proto::TlsInfo;
use smtp_proto::tls::{HelloError, HelloReader, TlsFailure, TlsOffer};

use super::witness::{self, Heard};
use super::{ClientCertificates, ClientTls, failure, info};

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

    /// Tells of which class clients' certificates are. The configuration must have the same as its verifier.
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

/// One end of a TLS connection: a server's, or a client's.
pub trait End: sealed::End {}
impl<E: sealed::End> End for E {}

mod sealed {
    use rustls::unbuffered::UnbufferedStatus;
    use rustls::{AlertDescription, CommonState};
    use smtp_proto::TlsInfo;
    use smtp_proto::tls::{TlsFailure, TlsOffer};

    use super::failure;

    pub trait End {
        type Data;
        fn process<'c, 'i>(&'c mut self, wire: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
        fn state(&self) -> &CommonState;
        /// Sees what comes during the handshake before the library does. An error ends it, with this alert.
        fn look(&mut self, _: &[u8]) -> Result<(), (AlertDescription, TlsFailure)> {
            Ok(())
        }
        /// Why the handshake failed.
        fn failure(&self, error: &rustls::Error) -> TlsFailure {
            failure::of(error)
        }
        /// What the other end offered.
        fn offered(&self) -> Option<TlsOffer> {
            None
        }
        /// What this end knows of the other.
        fn describe(&mut self, info: &mut TlsInfo);
    }
}

/// The server's end of a connection, as a parameter of [`Stream`].
pub struct ServerEnd {
    connection: UnbufferedServerConnection,
    certificates: Option<Arc<ClientCertificates>>,
    /// Until the ClientHello is complete, or none.
    hello: Option<Box<HelloReader>>,
    /// What it was.
    seen: Option<Result<TlsOffer, HelloError>>,
}

impl ServerEnd {
    fn new(connection: UnbufferedServerConnection, certificates: Option<Arc<ClientCertificates>>) -> Self {
        Self { connection, certificates, hello: Some(Box::default()), seen: None }
    }
}

impl sealed::End for ServerEnd {
    type Data = rustls::server::ServerConnectionData;

    fn process<'c, 'i>(&'c mut self, wire: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.connection.process_tls_records(wire)
    }

    fn state(&self) -> &CommonState {
        &self.connection
    }

    fn look(&mut self, fresh: &[u8]) -> Result<(), (AlertDescription, TlsFailure)> {
        let Some(reader) = &mut self.hello else { return Ok(()) };
        match reader.feed(fresh) {
            Ok(false) => return Ok(()),
            Ok(true) if reader.is_ssl2() => {
                self.seen = reader.hello().map(|hello| Ok(hello.offered()));
                let words = "sent a ClientHello in the form of SSL 2";
                return Err((AlertDescription::ProtocolVersion, TlsFailure::Refused(words.into())));
            }
            Ok(true) => self.seen = reader.hello().map(|hello| Ok(hello.offered())),
            Err(error @ HelloError::TooLong) => {
                return Err((AlertDescription::DecodeError, TlsFailure::Refused(error.to_string().into())));
            }
            // The library says what it thinks of it.
            Err(error) => self.seen = Some(Err(error)),
        }
        self.hello = None;
        Ok(())
    }

    fn failure(&self, error: &rustls::Error) -> TlsFailure {
        match (error, self.seen) {
            (rustls::Error::InvalidMessage(_) | rustls::Error::InappropriateMessage { .. }, Some(Err(no_hello))) => {
                TlsFailure::Refused(no_hello.to_string().into())
            }
            (_, seen) => failure::of_offer(error, seen.and_then(Result::ok)),
        }
    }

    fn offered(&self) -> Option<TlsOffer> {
        self.seen.and_then(Result::ok)
    }

    fn describe(&mut self, info: &mut TlsInfo) {
        info.client_certificate = info::class(&self.connection, self.certificates.as_deref());
    }
}

/// The client's end of a connection, as a parameter of [`Stream`].
pub struct ClientEnd {
    connection: UnbufferedClientConnection,
    /// Whose certificate proves something, and for which name; until it is described.
    expected: Option<Box<(ClientTls, ServerName<'static>)>>,
}

impl ClientEnd {
    pub(crate) fn new(
        connection: UnbufferedClientConnection,
        expected: Option<(ClientTls, ServerName<'static>)>,
    ) -> Self {
        Self { connection, expected: expected.map(Box::new) }
    }
}

impl sealed::End for ClientEnd {
    type Data = rustls::client::ClientConnectionData;

    fn process<'c, 'i>(&'c mut self, wire: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.connection.process_tls_records(wire)
    }

    fn state(&self) -> &CommonState {
        &self.connection
    }

    fn describe(&mut self, info: &mut TlsInfo) {
        if let Some((tls, name)) = self.expected.take().as_deref() {
            let chain = self.connection.peer_certificates().unwrap_or_default();
            info.server_verified = tls.is_trusted(chain, name);
        }
    }
}

/// A TLS connection. What is read from the socket goes in, what is to be written to it comes out.
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
