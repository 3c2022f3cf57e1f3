//! A socket, perhaps with TLS on it. Nothing of SMTP.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::task::{Context, Poll};

use rustls::Connection;
use rustls::pki_types::CertificateDer;
use smol::Async;
use smtp_proto::tls::{ClientCertificate, TlsFailure, TlsInfo, TlsVersion};

/// More than this before the handshake is done is no ClientHello of a mail client.
const HANDSHAKE_LIMIT: usize = 64 << 10;

/// Everything here is tried at once; what would block says so, and is tried again after [`Link::readable`] or
/// [`Link::writable`]. So no buffer is lent out while a connection waits.
#[derive(Debug)]
pub(crate) struct Link {
    socket: Socket,
    tls: Option<Box<Connection>>,
    handshake_octets: usize,
}

/// A stream of octets.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(Async<TcpStream>),
    /// As LMTP servers listen on.
    Unix(Async<UnixStream>),
}

impl Link {
    pub(crate) const fn new(socket: Socket) -> Self {
        Self { socket, tls: None, handshake_octets: 0 }
    }

    pub(crate) async fn readable(&self) -> io::Result<()> {
        match &self.socket {
            Socket::Tcp(socket) => socket.readable().await,
            Socket::Unix(socket) => socket.readable().await,
        }
    }

    pub(crate) async fn writable(&self) -> io::Result<()> {
        match &self.socket {
            Socket::Tcp(socket) => socket.writable().await,
            Socket::Unix(socket) => socket.writable().await,
        }
    }

    pub(crate) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.socket {
            Socket::Tcp(socket) => socket.poll_readable(context),
            Socket::Unix(socket) => socket.poll_readable(context),
        }
    }

    pub(crate) fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.socket {
            Socket::Tcp(socket) => socket.poll_writable(context),
            Socket::Unix(socket) => socket.poll_writable(context),
        }
    }

    pub(crate) const fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Reads plaintext (of the channel) into `space`: `None` when nothing is there, 0 at the end, which within TLS is
    /// also its own end (close_notify).
    pub(crate) fn read(&mut self, space: &mut [u8]) -> io::Result<Option<usize>> {
        let mut socket = &self.socket;
        let Some(tls) = &mut self.tls else { return unless_blocked(|| socket.read(space)) };
        loop {
            match tls.reader().read(space) {
                Ok(n) => return Ok(Some(n)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The TCP connection ended without close_notify.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Some(0)),
                Err(error) => return Err(error),
            }
            match unless_blocked(|| tls.read_tls(&mut socket))? {
                None => return Ok(None),
                Some(0) => return Ok(Some(0)),
                Some(_) => {
                    tls.process_new_packets().map_err(io::Error::other)?;
                }
            }
        }
    }

    /// Writes what it can of `output`; says how much was taken. Within TLS some may wait in the library: `flush`.
    pub(crate) fn write(&mut self, output: &[u8]) -> io::Result<usize> {
        let mut socket = &self.socket;
        match &mut self.tls {
            _ if output.is_empty() => Ok(0),
            // A socket that does not take all is full.
            None => match unless_blocked(|| socket.write(output))? {
                Some(0) => Err(io::ErrorKind::WriteZero.into()),
                taken => Ok(taken.unwrap_or(0)),
            },
            Some(tls) => {
                let taken = tls.writer().write(output)?;
                flush_tls(tls, socket)?;
                Ok(taken)
            }
        }
    }

    /// Writes what it can of slices, none of which is empty; says how much was taken, and whether more can be written at
    /// once.
    pub(crate) fn write_slices(&mut self, slices: &[IoSlice<'_>]) -> io::Result<(usize, bool)> {
        let mut socket = &self.socket;
        match &mut self.tls {
            _ if slices.is_empty() => Ok((0, false)),
            None => match unless_blocked(|| socket.write_vectored(slices))? {
                Some(0) => Err(io::ErrorKind::WriteZero.into()),
                taken => Ok((taken.unwrap_or(0), false)),
            },
            Some(tls) => {
                let taken = tls.writer().write_vectored(slices)?;
                Ok((taken, flush_tls(tls, socket)?))
            }
        }
    }

    /// The certificates that the peer has shown, its own first.
    pub(crate) fn certificates(&self) -> &[CertificateDer<'static>] {
        self.tls.as_ref().and_then(|tls| tls.peer_certificates()).unwrap_or_default()
    }

    /// Writes out what waits in the TLS library; true when nothing waits any more.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        let socket = &self.socket;
        self.tls.as_mut().map_or(Ok(true), |tls| flush_tls(tls, socket))
    }

    /// The whole handshake of either side: what comes next on the socket is TLS.
    pub(crate) async fn handshake(
        &mut self,
        begun: Result<impl Into<Connection>, rustls::Error>,
    ) -> Result<TlsInfo, TlsFailure> {
        let tls = begun.map_err(|error| refused(&error))?;
        self.tls = Some(Box::new(tls.into()));
        loop {
            while !self.flush().map_err(|_| TlsFailure::Closed)? {
                self.writable().await.map_err(|_| TlsFailure::Closed)?;
            }
            let mut socket = &self.socket;
            let Some(tls) = &mut self.tls else { return Err(TlsFailure::Closed) };
            if !tls.is_handshaking() {
                return Ok(describe(tls));
            }
            match unless_blocked(|| tls.read_tls(&mut socket)).map_err(|_| TlsFailure::Closed)? {
                None => self.readable().await.map_err(|_| TlsFailure::Closed)?,
                Some(0) => return Err(TlsFailure::Closed),
                Some(n) => {
                    self.handshake_octets += n;
                    if self.handshake_octets > HANDSHAKE_LIMIT {
                        return Err(TlsFailure::Refused("handshake too large".into()));
                    }
                    if let Err(error) = tls.process_new_packets() {
                        // The alert that says why.
                        let _ = flush_tls(tls, socket);
                        return Err(failure(&error));
                    }
                }
            }
        }
    }

    /// Says that nothing more will be written (close_notify, FIN). The peer may still be reading.
    pub(crate) fn finish(&mut self) {
        let socket = &self.socket;
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = flush_tls(tls, socket);
        }
        let _ = socket.shutdown();
    }

    /// Throws away what still comes, `limit` octets at most, so that a reset does not eat the last reply.
    pub(crate) async fn drain(&mut self, mut limit: usize) {
        let mut scratch = [0; 4096];
        loop {
            let mut socket = &self.socket;
            match unless_blocked(|| socket.read(&mut scratch)) {
                Ok(Some(n)) if n > 0 && n < limit => limit -= n,
                Ok(None) if self.readable().await.is_ok() => {}
                _ => return,
            }
        }
    }
}

/// `None` where the socket would block; interruptions are tried again.
fn unless_blocked(mut operation: impl FnMut() -> io::Result<usize>) -> io::Result<Option<usize>> {
    loop {
        match operation() {
            Ok(n) => return Ok(Some(n)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

impl Socket {
    pub(crate) fn shutdown(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.get_ref().shutdown(Shutdown::Write),
            Self::Unix(socket) => socket.get_ref().shutdown(Shutdown::Write),
        }
    }
}

impl io::Read for &Socket {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => socket.get_ref().read(space),
            Socket::Unix(socket) => socket.get_ref().read(space),
        }
    }
}

impl io::Write for &Socket {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => socket.get_ref().write(octets),
            Socket::Unix(socket) => socket.get_ref().write(octets),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => socket.get_ref().write_vectored(slices),
            Socket::Unix(socket) => socket.get_ref().write_vectored(slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn flush_tls(tls: &mut Connection, mut socket: &Socket) -> io::Result<bool> {
    while tls.wants_write() {
        if unless_blocked(|| tls.write_tls(&mut socket))?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// As in `smtp-mio`'s `tls.rs`, which describes another type of the library: neither adapter is the other's.
fn describe(tls: &Connection) -> TlsInfo {
    let version = match tls.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => TlsVersion::Tls12,
        _ => TlsVersion::Tls13,
    };
    let cipher = tls.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or("unknown");
    // The library writes TLS13_AES_…; the registry, and everyone's logs, TLS_AES_….
    let mut info =
        TlsInfo::new(version, cipher.strip_prefix("TLS13_").map_or(cipher.into(), |c| format!("TLS_{c}").into()));
    if let Connection::Server(server) = tls {
        info.server_name = server.server_name().map(Into::into);
        info.client_certificate = match tls.peer_certificates() {
            None | Some([]) => ClientCertificate::None,
            Some(_) => ClientCertificate::Untrusted,
        };
    }
    // RFC 9266 4.1: not in TLS 1.2, where the exporter binds nothing without the extended master secret.
    if version == TlsVersion::Tls13 {
        info.channel_binding = tls.export_keying_material(vec![0; 32], b"EXPORTER-Channel-Binding", None).ok();
    }
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
