//! One connection: blocking, each reply within its time, perhaps with TLS on it.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use smtp_proto::TlsInfo;
use smtp_proto::syntax::{OwnedReply, ReplyLimits, ReplyReader};
use smtp_proto::tls::TlsFailure;

use super::hello::{self, Answer};
use crate::shown::Words;

/// What came in place of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    Closed,
    Silent,
    /// It is no reply (RFC 5321 4.2); why.
    NoReply(String),
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("it closed the connection"),
            Self::Silent => f.write_str("it did not answer in time"),
            Self::NoReply(why) => write!(f, "what it sent is no reply: {why}"),
        }
    }
}

/// A reply on one line, for people.
pub(super) fn shown(reply: &OwnedReply) -> String {
    Words(&reply.as_reply().to_string()).to_string()
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    /// A handshake has broken it.
    Gone,
}

pub(super) struct Link {
    wire: Wire,
    unread: Vec<u8>,
    reader: ReplyReader,
    time: Duration,
}

impl Link {
    pub(super) fn connect(address: SocketAddr, time: Duration) -> io::Result<Self> {
        let socket = TcpStream::connect_timeout(&address, time)?;
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(time))?;
        // Of those that end their lines in LF alone all else is asked as well.
        let reader = ReplyReader::new(ReplyLimits::default()).bare_lf(true);
        Ok(Self { wire: Wire::Plain(socket), unread: Vec::new(), reader, time })
    }

    /// Says it, and reads the reply.
    pub(super) fn ask(&mut self, command: &str) -> Result<OwnedReply, Lost> {
        self.say(format!("{command}\r\n").as_bytes())?;
        self.reply()
    }

    pub(super) fn say(&mut self, octets: &[u8]) -> Result<(), Lost> {
        let written = match &mut self.wire {
            Wire::Plain(socket) => socket.write_all(octets),
            Wire::Tls(stream) => stream.write_all(octets).and_then(|()| stream.flush()),
            Wire::Gone => Err(io::ErrorKind::NotConnected.into()),
        };
        written.map_err(|error| lost(&error))
    }

    pub(super) fn reply(&mut self) -> Result<OwnedReply, Lost> {
        let deadline = Instant::now() + self.time;
        loop {
            let mut rest = self.unread.as_slice();
            let found = self.reader.next(&mut rest).map_err(|fault| Lost::NoReply(fault.to_string()))?;
            let found = found.map(OwnedReply::from);
            let used = self.unread.len() - rest.len();
            self.unread.drain(..used);
            match found {
                Some(reply) => return Ok(reply),
                None => self.read(deadline)?,
            }
        }
    }

    fn read(&mut self, deadline: Instant) -> Result<(), Lost> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Lost::Silent);
        }
        let mut octets = [0; 4096];
        let read = match &mut self.wire {
            Wire::Plain(socket) => socket.set_read_timeout(Some(left)).and_then(|()| socket.read(&mut octets)),
            Wire::Tls(stream) => stream.sock.set_read_timeout(Some(left)).and_then(|()| stream.read(&mut octets)),
            Wire::Gone => Ok(0),
        };
        match read {
            Ok(0) => Err(Lost::Closed),
            Ok(count) => {
                self.unread.extend_from_slice(&octets[..count]);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(lost(&error)),
        }
    }

    /// The handshake, and what came of it. What was read of plaintext before it is forgotten (RFC 3207 4.2).
    pub(super) fn start_tls(
        &mut self,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<TlsInfo, TlsFailure> {
        let Wire::Plain(mut socket) = std::mem::replace(&mut self.wire, Wire::Gone) else {
            return Err(TlsFailure::Closed);
        };
        let failed = |error: io::Error| match lost(&error) {
            Lost::Silent => TlsFailure::TimedOut,
            _ => smtp_rustls::failure::of_io(&error),
        };
        let mut connection = ClientConnection::new(config, name).map_err(|error| smtp_rustls::failure::of(&error))?;
        socket.set_read_timeout(Some(self.time)).map_err(failed)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket).map_err(failed)?;
        }
        let info = smtp_rustls::info::of_client(&connection);
        self.unread.clear();
        self.wire = Wire::Tls(Box::new(StreamOwned::new(connection, socket)));
        Ok(info)
    }

    /// The certificates that the server showed, its own first.
    pub(super) fn chain(&self) -> Vec<CertificateDer<'static>> {
        match &self.wire {
            Wire::Tls(stream) => stream.conn.peer_certificates().unwrap_or_default().to_vec(),
            _ => Vec::new(),
        }
    }

    /// Offers a version that the TLS library does not know, and reads what the server says to it. The connection is of no use
    /// afterwards.
    pub(super) fn offer_old_tls(mut self, version: u16, name: Option<&str>) -> Result<Answer, Lost> {
        self.say(&hello::client_hello(version, name, random()))?;
        self.unread.clear();
        let deadline = Instant::now() + self.time;
        loop {
            if let Some(answer) = hello::answer(&self.unread) {
                return Ok(answer);
            }
            self.read(deadline)?;
        }
    }

    /// Says goodbye, whatever comes of it.
    pub(super) fn quit(mut self) {
        let _ = self.ask("QUIT");
        if let Wire::Tls(mut stream) = self.wire {
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    }
}

fn lost(error: &io::Error) -> Lost {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Lost::Silent,
        // A reset, and an end of TLS without its alert, are the end.
        _ => Lost::Closed,
    }
}

/// Octets that differ from one ClientHello to the next: no key is ever made of them.
fn random() -> [u8; 32] {
    use std::hash::{BuildHasher as _, RandomState};
    let mut octets = [0; 32];
    for (number, eight) in octets.chunks_exact_mut(8).enumerate() {
        eight.copy_from_slice(&RandomState::new().hash_one(number).to_be_bytes());
    }
    octets
}
