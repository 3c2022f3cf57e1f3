//! TLS as bytes: what came in, what is to go out. No socket, and nothing of SMTP.
//!
//! rustls without buffers of its own: an idle connection holds keys and no more. Of such a connection it tells less than
//! of others; [`witness`](crate::witness) hears the rest. What names and describes a connection stands in `smtp-smol`'s
//! `link.rs` as well: neither adapter is the other's, and the core knows no TLS library.

use std::{fmt, io};

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::CertificateDer;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus};
use rustls::{CommonState, HandshakeKind};
use smtp_proto::tls::{ClientCertificate, TlsFailure, TlsInfo, TlsVersion};

use crate::witness::{self, Heard};

/// More than this before the handshake is done is no ClientHello of a mail client.
const HANDSHAKE_LIMIT: usize = 64 << 10;
/// Of a record over what it carries, and more: header, content type, tag, explicit nonce (RFC 8446 5.2, RFC 5246 6.2.3).
const RECORD_OVERHEAD: usize = 64;
const RECORD: usize = 16 << 10;

/// One end of a TLS connection: a server's, or a client's.
pub(crate) trait End {
    type Data;
    fn process<'c, 'i>(&'c mut self, wire: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
    fn state(&self) -> &CommonState;
    /// What this end knows of the other.
    fn describe(&self, info: &mut TlsInfo);
}

impl End for UnbufferedServerConnection {
    type Data = rustls::server::ServerConnectionData;

    fn process<'c, 'i>(&'c mut self, wire: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(wire)
    }

    fn state(&self) -> &CommonState {
        self
    }

    fn describe(&self, info: &mut TlsInfo) {
        info.client_certificate = match self.peer_certificates() {
            // It may not have been asked for one.
            None | Some([]) => ClientCertificate::Unknown,
            Some(_) => ClientCertificate::Untrusted,
        };
    }
}

impl End for UnbufferedClientConnection {
    type Data = rustls::client::ClientConnectionData;

    fn process<'c, 'i>(&'c mut self, wire: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(wire)
    }

    fn state(&self) -> &CommonState {
        self
    }

    fn describe(&self, _: &mut TlsInfo) {}
}

pub(crate) struct Tls<E> {
    connection: E,
    /// The beginning of a record whose end has yet to come; or records behind the handshake.
    incoming: Vec<u8>,
    /// What waits to be written.
    outgoing: Vec<u8>,
    handshake_octets: usize,
    /// The peer has sent close_notify.
    ended: bool,
    /// Nothing more may be written: close_notify was sent, or an alert.
    closed: bool,
    /// Plaintext that came in one flight with the end of the handshake.
    early: Vec<u8>,
    /// Until the handshake is described.
    heard: Option<Box<Heard>>,
}

/// What [`Tls::receive`] made of its input.
#[derive(Clone, Copy, Debug, Default)]
struct Received {
    /// Octets of the input that are done with.
    used: usize,
    /// Octets of plaintext.
    plain: usize,
    /// There is more of it, and no room.
    more: bool,
}

impl<E: End> fmt::Debug for Tls<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("handshaking", &self.is_handshaking()).finish_non_exhaustive()
    }
}

impl<E: End> Tls<E> {
    pub(crate) fn new(connection: Result<E, rustls::Error>) -> Result<Self, TlsFailure> {
        Ok(Self {
            connection: connection.map_err(|error| refused(&error))?,
            incoming: Vec::new(),
            outgoing: Vec::new(),
            handshake_octets: 0,
            ended: false,
            closed: false,
            early: Vec::new(),
            heard: None,
        })
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.connection.state().is_handshaking()
    }

    /// What came earlier and is not done with goes to the front of `wire`; says how much that is.
    pub(crate) fn recall(&mut self, wire: &mut [u8]) -> usize {
        let held = std::mem::take(&mut self.incoming);
        wire[..held.len()].copy_from_slice(&held);
        held.len()
    }

    /// Takes back what [`Tls::recall`] gave.
    pub(crate) fn keep(&mut self, wire: &[u8]) {
        self.incoming = wire.to_vec();
    }

    /// Whether plaintext waits that has been decrypted already.
    pub(crate) const fn has_plaintext(&self) -> bool {
        !self.early.is_empty()
    }

    /// Whether the peer has ended TLS (close_notify). What comes behind is nobody's.
    pub(crate) const fn has_ended(&self) -> bool {
        self.ended
    }

    /// Goes on with the handshake; `fresh` of the octets in `wire` are new. True when it is done.
    pub(crate) fn handshake(&mut self, wire: &mut [u8], fresh: usize) -> Result<bool, TlsFailure> {
        self.handshake_octets += fresh;
        if self.handshake_octets > HANDSHAKE_LIMIT {
            return Err(TlsFailure::Refused("handshake too large".into()));
        }
        witness::listen();
        let received = self.receive(wire, &mut []);
        if let Some(heard) = witness::heard() {
            self.heard.get_or_insert_default().add(heard);
        }
        let mut received = received.map_err(|error| failure(&error))?;
        if received.more {
            // It must not stay in the library, which writes nothing before it is read.
            let rest = &mut wire[received.used..];
            let mut early = vec![0; 2 * RECORD + rest.len()];
            let behind = self.receive(rest, &mut early).map_err(|error| failure(&error))?;
            early.truncate(behind.plain);
            self.early = early;
            received.used += behind.used;
        }
        if self.ended {
            return Err(TlsFailure::Closed);
        }
        self.keep(&wire[received.used..]);
        Ok(!self.is_handshaking())
    }

    /// Decrypts what is complete in `wire` into `plain`; says how much that was.
    pub(crate) fn decrypt(&mut self, wire: &mut [u8], plain: &mut [u8]) -> io::Result<usize> {
        let early = std::mem::take(&mut self.early);
        plain[..early.len()].copy_from_slice(&early);
        let received = self.receive(wire, &mut plain[early.len()..]).map_err(io::Error::other)?;
        if !self.ended {
            self.keep(&wire[received.used..]);
        }
        Ok(early.len() + received.plain)
    }

    /// Encrypts `data`, to be written behind what waits already.
    pub(crate) fn encrypt(&mut self, data: &[u8]) -> io::Result<()> {
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
    pub(crate) fn close_notify(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.closed, true) {
            return Ok(());
        }
        self.put(None)
    }

    /// The handshake has come to nothing: nothing more is said.
    pub(crate) const fn give_up(&mut self) {
        self.closed = true;
    }

    /// What waits to be written.
    pub(crate) fn outgoing(&self) -> &[u8] {
        &self.outgoing
    }

    pub(crate) fn sent(&mut self, n: usize) {
        if n >= self.outgoing.len() {
            self.outgoing = Vec::new();
        } else {
            self.outgoing.drain(..n);
        }
    }

    /// What there is to know when the handshake is done; tells it once.
    pub(crate) fn describe(&mut self) -> TlsInfo {
        let state = self.connection.state();
        let version = match state.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => TlsVersion::Tls12,
            _ => TlsVersion::Tls13,
        };
        let suite = state.negotiated_cipher_suite();
        let cipher = suite.and_then(|suite| suite.suite().as_str()).unwrap_or("unknown");
        // The library writes TLS13_AES_…; the registry, and everyone's logs, TLS_AES_….
        let mut info =
            TlsInfo::new(version, cipher.strip_prefix("TLS13_").map_or(cipher.into(), |c| format!("TLS_{c}").into()));
        self.connection.describe(&mut info);
        if let Some(heard) = self.heard.take() {
            info.channel_binding = heard.channel_binding(suite);
            info.server_name = heard.server_name;
        }
        info
    }

    /// The certificates that the peer has shown, its own first.
    pub(crate) fn certificates(&self) -> &[CertificateDer<'static>] {
        self.connection.state().peer_certificates().unwrap_or_default()
    }

    pub(crate) fn is_resumed(&self) -> bool {
        self.connection.state().handshake_kind() == Some(HandshakeKind::Resumed)
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

pub(crate) fn failure(error: &rustls::Error) -> TlsFailure {
    match error {
        rustls::Error::AlertReceived(alert) => TlsFailure::Alert(snake(&format!("{alert:?}")).into()),
        other => refused(other),
    }
}

fn refused(error: &rustls::Error) -> TlsFailure {
    let words: String = error.to_string().chars().filter(|char| !char.is_control()).take(200).collect();
    TlsFailure::Refused(words.into())
}

/// `UnknownCA` to `unknown_ca`, as alerts are named in RFC 8446 6.
fn snake(name: &str) -> String {
    let mut out = String::new();
    let mut upper = true;
    for char in name.chars() {
        if char.is_ascii_uppercase() && !upper {
            out.push('_');
        }
        upper = char.is_ascii_uppercase();
        out.push(char.to_ascii_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn alerts_have_the_names_of_the_rfc() {
        for (name, expected) in [
            ("UnknownCA", "unknown_ca"),
            ("BadCertificate", "bad_certificate"),
            ("HandshakeFailure", "handshake_failure"),
        ] {
            assert_eq!(super::snake(name), expected);
        }
    }
}
