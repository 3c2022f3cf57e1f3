//! What the two ends of a TLS connection do differently: a server looks at the ClientHello, a client at the server's certificate.

use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::UnbufferedStatus;
use rustls::{AlertDescription, CommonState};
use smtp_proto::TlsInfo;
use smtp_proto::tls::{HelloError, HelloReader, TlsFailure, TlsOffer};

use super::{ClientCertificates, ClientTls, failure, info};

/// One end of a TLS connection: a server's, or a client's.
pub trait End: sealed::End {}
impl<E: sealed::End> End for E {}

mod sealed {
    use rustls::unbuffered::UnbufferedStatus;
    use rustls::{AlertDescription, CommonState};
    use smtp_proto::TlsInfo;
    use smtp_proto::tls::{TlsFailure, TlsOffer};

    use super::super::failure;

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

/// The server's end of a connection, as a parameter of [`Stream`](super::Stream).
pub struct ServerEnd {
    connection: UnbufferedServerConnection,
    certificates: Option<Arc<ClientCertificates>>,
    /// Until the ClientHello is complete, or none.
    hello: Option<Box<HelloReader>>,
    /// What it was.
    seen: Option<Result<TlsOffer, HelloError>>,
}

impl ServerEnd {
    pub(super) fn new(connection: UnbufferedServerConnection, certificates: Option<Arc<ClientCertificates>>) -> Self {
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

/// The client's end of a connection, as a parameter of [`Stream`](super::Stream).
pub struct ClientEnd {
    connection: UnbufferedClientConnection,
    /// Whose certificate proves something, and for which name; until it is described.
    expected: Option<Box<(ClientTls, ServerName<'static>)>>,
    /// Something has come from the server.
    heard: bool,
}

impl ClientEnd {
    pub(super) fn new(
        connection: UnbufferedClientConnection,
        expected: Option<(ClientTls, ServerName<'static>)>,
    ) -> Self {
        Self { connection, expected: expected.map(Box::new), heard: false }
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

    /// A server that speaks plaintext here may have said why it wants nothing of this client.
    fn look(&mut self, fresh: &[u8]) -> Result<(), (AlertDescription, TlsFailure)> {
        let is_first = !self.heard;
        self.heard |= !fresh.is_empty();
        // RFC 5321 4.2.1: a reply begins with 2 to 5. No record has such a type (RFC 8446 5.1).
        if !is_first || !matches!(fresh.first(), Some(b'2'..=b'5')) {
            return Ok(());
        }
        let line = fresh.split(|octet| matches!(octet, b'\r' | b'\n')).next().unwrap_or_default();
        let words = format!("speaks plaintext: {}", line.escape_ascii());
        Err((AlertDescription::UnexpectedMessage, failure::refused(&words)))
    }

    fn describe(&mut self, info: &mut TlsInfo) {
        if let Some((tls, name)) = self.expected.take().as_deref() {
            let chain = self.connection.peer_certificates().unwrap_or_default();
            info.server_verified = tls.is_trusted(chain, name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use rustls::RootCertStore;
    use smtp_proto::net::PeerName;

    use super::*;
    use crate::Stream;

    fn begun() -> Stream<ClientEnd> {
        let tls = ClientTls::new(RootCertStore::empty()).expect("TLS");
        let name = PeerName::sure("mx.example.net");
        let mut stream = tls.begin(false, &name, IpAddr::V4(Ipv4Addr::LOCALHOST)).expect("begun");
        assert_eq!(stream.handshake(&mut [], 0), Ok(false));
        stream
    }

    fn said(octets: &[u8], stream: &mut Stream<ClientEnd>) -> String {
        let ended = stream.handshake(&mut octets.to_vec(), octets.len());
        ended.err().map_or_else(String::new, |failure| failure.to_string())
    }

    #[test]
    fn a_server_that_speaks_plaintext_is_quoted() {
        for (octets, words) in [
            (&b"554 5.7.1 Blocked, see https://example.net\r\n"[..], "554 5.7.1 Blocked, see https://example.net"),
            (b"220-mx.example.net\r\n220 ready\r\n", "220-mx.example.net"),
            (b"421 \x1b[31m\xe2\x80\xae", "421 \\x1b[31m\\xe2\\x80\\xae"),
        ] {
            assert_eq!(said(octets, &mut begun()), format!("refused: speaks plaintext: {words}"));
        }
        // What comes later may begin with any octet.
        let mut stream = begun();
        assert_eq!(said(&[22], &mut stream), "");
        assert!(!said(b"220 ", &mut stream).contains("plaintext"));
    }
}
