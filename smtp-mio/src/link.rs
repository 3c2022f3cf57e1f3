//! A socket, perhaps with TLS on it. Nothing of SMTP.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::{ServerConfig, ServerConnection};
use smtp_proto::tls::{ClientCertificate, TlsFailure, TlsInfo, TlsVersion};

/// More than this before the handshake is done is no ClientHello of a mail client.
const HANDSHAKE_LIMIT: usize = 64 << 10;

/// Reads are made into a buffer of the event loop; only what a session leaves over is kept here.
#[derive(Debug)]
pub(crate) struct Link {
    socket: TcpStream,
    tls: Option<Box<ServerConnection>>,
    handshake_octets: usize,
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// So many octets, and whether there may be more at once.
    Octets(usize, bool),
    /// Nothing yet.
    Blocked,
    /// The end; within TLS also its own end (close_notify).
    End,
}

impl Link {
    pub(crate) const fn new(socket: TcpStream) -> Self {
        Self { socket, tls: None, handshake_octets: 0 }
    }

    pub(crate) fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// Reads plaintext (of the channel) into `space`.
    pub(crate) fn read(&mut self, space: &mut [u8]) -> io::Result<Read> {
        match &mut self.tls {
            None => read_socket(&mut self.socket, space),
            Some(tls) => loop {
                match tls.reader().read(space) {
                    // `Ok(0)` is close_notify.
                    Ok(0) => return Ok(Read::End),
                    Ok(n) => return Ok(Read::Octets(n, true)),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    // The TCP connection ended without close_notify.
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Read::End),
                    Err(error) => return Err(error),
                }
                match tls.read_tls(&mut self.socket) {
                    Ok(0) => return Ok(Read::End),
                    Ok(_) => {
                        tls.process_new_packets().map_err(io::Error::other)?;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Read::Blocked),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            },
        }
    }

    /// Writes what it can of `output`; says how much was taken. Within TLS all is taken, and may wait in the library.
    pub(crate) fn write(&mut self, output: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => write_socket(&mut self.socket, output),
            Some(tls) => {
                let taken = tls.writer().write(output)?;
                flush_tls(tls, &mut self.socket)?;
                Ok(taken)
            }
        }
    }

    /// Writes out what waits in the TLS library; true when nothing waits any more.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        match &mut self.tls {
            None => Ok(true),
            Some(tls) => flush_tls(tls, &mut self.socket),
        }
    }

    /// Begins TLS: what comes next on the socket is a ClientHello.
    pub(crate) fn start_tls(&mut self, config: Arc<ServerConfig>) -> Result<(), TlsFailure> {
        let tls = ServerConnection::new(config).map_err(|error| refused(&error))?;
        self.tls = Some(Box::new(tls));
        Ok(())
    }

    /// Goes on with the handshake: `Ok(None)` when more must come first.
    pub(crate) fn handshake(&mut self) -> Result<Option<TlsInfo>, TlsFailure> {
        let Some(tls) = &mut self.tls else { return Err(TlsFailure::Closed) };
        loop {
            flush_tls(tls, &mut self.socket).map_err(|_| TlsFailure::Closed)?;
            if !tls.is_handshaking() {
                return Ok(Some(describe(tls)));
            }
            match tls.read_tls(&mut self.socket) {
                Ok(0) => return Err(TlsFailure::Closed),
                Ok(n) => {
                    self.handshake_octets += n;
                    if self.handshake_octets > HANDSHAKE_LIMIT {
                        return Err(TlsFailure::Refused("handshake too large".into()));
                    }
                    if let Err(error) = tls.process_new_packets() {
                        // The alert that says why.
                        let _ = flush_tls(tls, &mut self.socket);
                        return Err(failure(&error));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(TlsFailure::Closed),
            }
        }
    }

    /// Says that nothing more will be written (close_notify, FIN). The peer may still be reading.
    pub(crate) fn finish(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = flush_tls(tls, &mut self.socket);
        }
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Throws away what still comes, so that a reset does not eat the last reply; true when the peer has ended too.
    pub(crate) fn drain(&mut self, scratch: &mut [u8], left: &mut usize) -> bool {
        loop {
            match read_socket(&mut self.socket, scratch) {
                Ok(Read::Octets(n, _)) if n < *left => *left -= n,
                Ok(Read::Blocked) => return false,
                Ok(Read::Octets(..) | Read::End) | Err(_) => return true,
            }
        }
    }
}

fn read_socket(socket: &mut TcpStream, space: &mut [u8]) -> io::Result<Read> {
    loop {
        return match socket.read(space) {
            Ok(0) => Ok(Read::End),
            // Edge-triggered: a short read has emptied the socket.
            Ok(n) => Ok(Read::Octets(n, n == space.len())),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Read::Blocked),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
    }
}

fn write_socket(socket: &mut TcpStream, mut output: &[u8]) -> io::Result<usize> {
    let all = output.len();
    while !output.is_empty() {
        match socket.write(output) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => output = output.get(n..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all - output.len())
}

fn flush_tls(tls: &mut ServerConnection, socket: &mut TcpStream) -> io::Result<bool> {
    while tls.wants_write() {
        match tls.write_tls(socket) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

fn describe(tls: &ServerConnection) -> TlsInfo {
    let version = match tls.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => TlsVersion::Tls12,
        _ => TlsVersion::Tls13,
    };
    let cipher = tls.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or("unknown");
    let mut info =
        TlsInfo::new(version, cipher.strip_prefix("TLS13_").map_or(cipher.into(), |c| format!("TLS_{c}").into()));
    info.server_name = tls.server_name().map(Into::into);
    info.client_certificate = match tls.peer_certificates() {
        None | Some([]) => ClientCertificate::None,
        Some(_) => ClientCertificate::Untrusted,
    };
    info.channel_binding = tls.export_keying_material(vec![0; 32], b"EXPORTER-Channel-Binding", None).ok();
    info
}

fn failure(error: &rustls::Error) -> TlsFailure {
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
