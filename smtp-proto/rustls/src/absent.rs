//! Without rustls: the same types, of which there is no value.

use std::convert::Infallible;
use std::io;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::sync::Arc;

use smtp_proto::TlsInfo;
use smtp_proto::net::PeerName;
use smtp_proto::tls::{TlsFailure, TlsOffer};

/// One end of a TLS connection.
pub trait End {}

/// The server's end of a connection.
#[derive(Debug)]
pub enum ServerEnd {}
/// The client's end of a connection.
#[derive(Debug)]
pub enum ClientEnd {}

impl End for ServerEnd {}
impl End for ClientEnd {}

/// The classes of clients' certificates.
#[derive(Debug)]
pub enum ClientCertificates {}

/// TLS for a server.
#[derive(Clone, Debug)]
pub enum ServerTls {}

impl ServerTls {
    /// Whether the channel binding is to be told.
    #[must_use]
    pub fn channel_binding(self, _: bool) -> Self {
        match self {}
    }

    /// Sorts the certificates that clients show.
    #[must_use]
    pub fn client_certificates(self, _: Arc<ClientCertificates>) -> Self {
        match self {}
    }

    /// Begins a connection.
    ///
    /// # Errors
    /// None: there is no such value.
    pub const fn begin(&self) -> Result<Stream<ServerEnd>, TlsFailure> {
        match *self {}
    }
}

/// TLS for a client.
#[derive(Clone, Debug)]
pub enum ClientTls {}

impl ClientTls {
    /// Begins a connection.
    ///
    /// # Errors
    /// None: there is no such value.
    pub fn begin(&self, _: bool, _: &PeerName, _: IpAddr) -> Result<Stream<ClientEnd>, TlsFailure> {
        match *self {}
    }
}

/// TLS as bytes, on one of the ends.
#[derive(Debug)]
pub struct Stream<E> {
    never: Infallible,
    _end: PhantomData<E>,
}

/// Methods of the stream; none can ever be called.
macro_rules! never {
    ($($name:ident ( $($kind:ty),* ) -> $result:ty;)*) => {
        impl<E: End> Stream<E> {
            $(
                /// Never called, as there is no value to call it on.
                ///
                /// # Errors
                /// None: there is no such value.
                #[allow(clippy::missing_errors_doc, clippy::must_use_candidate)]
                pub fn $name(&mut self, $(_: $kind),*) -> $result {
                    match self.never {}
                }
            )*
        }
    };
}

never! {
    is_handshaking() -> bool;
    recall(&mut [u8]) -> usize;
    keep(&[u8]) -> ();
    handshake(&mut [u8], usize) -> Result<bool, TlsFailure>;
    decrypt(&mut [u8], &mut [u8]) -> io::Result<usize>;
    encrypt(&[u8]) -> io::Result<()>;
    close_notify() -> io::Result<()>;
    give_up() -> ();
    sent(usize) -> ();
    describe() -> TlsInfo;
}

impl<E: End> Stream<E> {
    /// Never called, as there is no value to call it on.
    #[must_use]
    pub const fn offered(&self) -> Option<TlsOffer> {
        match self.never {}
    }

    /// Never called, as there is no value to call it on.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        match self.never {}
    }

    /// Never called, as there is no value to call it on.
    #[must_use]
    pub const fn has_plaintext(&self) -> bool {
        match self.never {}
    }

    /// Never called, as there is no value to call it on.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        match self.never {}
    }

    /// Never called, as there is no value to call it on.
    #[must_use]
    pub const fn outgoing(&self) -> &[u8] {
        match self.never {}
    }

    /// Never called, as there is no value to call it on.
    #[must_use]
    pub const fn is_resumed(&self) -> bool {
        match self.never {}
    }
}
