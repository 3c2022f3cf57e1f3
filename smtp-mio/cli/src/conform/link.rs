//! A connection to the server that is tested: blocking, with a deadline for everything, perhaps with TLS on it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use smtp_rustls::AnyCertificate;

/// Longer than any reply that makes sense.
const MOST: usize = 64 * 1024;

/// A reply: its code, and its lines as they came, joined by a space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) code: String,
    pub(crate) lines: Vec<String>,
}

/// What came instead of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoReply {
    Closed,
    Nothing,
    /// It is no reply (RFC 5321 4.2).
    Malformed(String),
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    /// A handshake has it, or has broken it.
    Gone,
}

pub(crate) struct Link {
    wire: Wire,
    buffer: Vec<u8>,
    patience: Duration,
}

impl Link {
    pub(crate) fn connect(address: SocketAddr, patience: Duration) -> io::Result<Self> {
        let socket = TcpStream::connect_timeout(&address, patience)?;
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(patience))?;
        Ok(Self { wire: Wire::Plain(socket), buffer: Vec::new(), patience })
    }

    /// What was read before the handshake is forgotten.
    pub(crate) fn start_tls(&mut self, name: &str) -> io::Result<()> {
        let Wire::Plain(mut socket) = std::mem::replace(&mut self.wire, Wire::Gone) else {
            return Err(io::Error::other("TLS is in use already"));
        };
        let name = ServerName::try_from(name.to_owned()).or_else(|_| ServerName::try_from("localhost"));
        let mut connection =
            ClientConnection::new(tls()?, name.map_err(io::Error::other)?).map_err(io::Error::other)?;
        socket.set_read_timeout(Some(self.patience))?;
        let deadline = Instant::now() + self.patience;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
            if Instant::now() > deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        self.buffer.clear();
        self.wire = Wire::Tls(Box::new(StreamOwned::new(connection, socket)));
        Ok(())
    }

    /// Sends it at once, or in pieces that each leave by themselves.
    pub(crate) fn send(&mut self, octets: &[u8], pieces: Option<usize>) -> io::Result<()> {
        for piece in octets.chunks(pieces.unwrap_or(usize::MAX)) {
            match &mut self.wire {
                Wire::Plain(socket) => socket.write_all(piece)?,
                Wire::Tls(stream) => {
                    stream.write_all(piece)?;
                    stream.flush()?;
                }
                Wire::Gone => return Err(io::ErrorKind::NotConnected.into()),
            }
        }
        Ok(())
    }

    /// The client's end of the connection.
    pub(crate) fn finish(&mut self) {
        if let Wire::Plain(socket) = &self.wire {
            let _ = socket.shutdown(Shutdown::Write);
        }
    }

    /// One reply, all lines of it.
    pub(crate) fn reply(&mut self) -> Result<Reply, NoReply> {
        let deadline = Instant::now() + self.patience;
        let mut lines: Vec<String> = Vec::new();
        loop {
            let line = self.line(deadline)?;
            let text = String::from_utf8_lossy(&line).into_owned();
            let Some(text) = text.strip_suffix("\r\n") else { return Err(NoReply::Malformed(text)) };
            let octets = text.as_bytes();
            let digits = octets.len() >= 3 && octets[..3].iter().all(u8::is_ascii_digit) && octets[0] != b'0';
            let same = lines.first().is_none_or(|first| first.get(..3) == text.get(..3));
            if !digits || !same || !matches!(octets.get(3), None | Some(b' ' | b'-')) {
                return Err(NoReply::Malformed(text.to_owned()));
            }
            let more = octets.get(3) == Some(&b'-');
            lines.push(text.to_owned());
            if !more {
                return Ok(Reply { code: text[..3].to_owned(), lines });
            }
        }
    }

    /// What comes until the server closes.
    pub(crate) fn rest(&mut self) -> Result<Vec<u8>, NoReply> {
        let deadline = Instant::now() + self.patience;
        while self.buffer.len() <= MOST {
            match self.fill(deadline) {
                Ok(()) => {}
                Err(NoReply::Closed) => return Ok(std::mem::take(&mut self.buffer)),
                Err(other) => return Err(other),
            }
        }
        Ok(std::mem::take(&mut self.buffer))
    }

    fn line(&mut self, deadline: Instant) -> Result<Vec<u8>, NoReply> {
        loop {
            if let Some(end) = self.buffer.iter().position(|octet| *octet == b'\n') {
                return Ok(self.buffer.drain(..=end).collect());
            }
            if self.buffer.len() > MOST {
                return Err(NoReply::Malformed("a line without an end".to_owned()));
            }
            match self.fill(deadline) {
                Err(NoReply::Closed) if !self.buffer.is_empty() => {
                    return Err(NoReply::Malformed(String::from_utf8_lossy(&self.buffer).into_owned()));
                }
                other => other?,
            }
        }
    }

    fn fill(&mut self, deadline: Instant) -> Result<(), NoReply> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(NoReply::Nothing);
        }
        let mut octets = [0; 4096];
        let read = match &mut self.wire {
            Wire::Plain(socket) => socket.set_read_timeout(Some(left)).and_then(|()| socket.read(&mut octets)),
            Wire::Tls(stream) => stream.sock.set_read_timeout(Some(left)).and_then(|()| stream.read(&mut octets)),
            Wire::Gone => Ok(0),
        };
        match read {
            Ok(0) => Err(NoReply::Closed),
            Ok(count) => {
                self.buffer.extend_from_slice(&octets[..count]);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Err(NoReply::Nothing)
            }
            // A reset, and an end of TLS without its alert, are the end.
            Err(_) => Err(NoReply::Closed),
        }
    }
}

fn tls() -> io::Result<Arc<ClientConfig>> {
    let provider = provider();
    let builder = ClientConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().map_err(io::Error::other)?;
    // What is tested is the protocol, and nothing that is secret is sent to others than those whom the user has named.
    let verifier = Arc::new(AnyCertificate::new(provider));
    Ok(Arc::new(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()))
}

/// The TLS library that the program is built with.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    #[cfg(feature = "aws-lc-rs")]
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    #[cfg(not(feature = "aws-lc-rs"))]
    let provider = rustls::crypto::ring::default_provider();
    Arc::new(provider)
}
