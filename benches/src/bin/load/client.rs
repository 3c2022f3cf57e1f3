//! The load: connections driven from one thread, each through the same steps, whatever the server.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};

/// What a connection does next.
#[derive(Clone)]
pub enum Step {
    /// Says this, and waits for so many replies.
    Say(Arc<[u8]>, usize),
    /// Waits for so many replies.
    Hear(usize),
    Tls,
}

/// What all connections do: `once`, then `each` as often as there are messages for them, then `last`, then close.
#[derive(Clone)]
pub struct Script {
    pub once: Vec<Step>,
    pub each: Vec<Step>,
    pub last: Vec<Step>,
}

pub struct Load {
    pub address: SocketAddr,
    pub script: Script,
    /// At once.
    pub connections: usize,
    /// In all.
    pub messages: usize,
    /// On one connection, before the next is made in its stead.
    pub per_connection: usize,
}

struct Connection {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    steps: VecDeque<Step>,
    /// Has steps left, or a reply to come.
    busy: bool,
    saying: Option<(Arc<[u8]>, usize)>,
    replies: usize,
    line: Vec<u8>,
}

/// Drives a load to its end. Gives the connections that are still open where the script does not end in QUIT.
pub fn drive(load: &Load) -> io::Result<()> {
    let mut run = Run::new(load.address)?;
    let mut left = load.messages;
    let mut open = 0;
    let refill = |run: &mut Run, left: &mut usize| -> io::Result<bool> {
        let messages = load.per_connection.min(*left);
        if messages == 0 {
            return Ok(false);
        }
        *left -= messages;
        run.connect(None, &load.script, messages)?;
        Ok(true)
    };
    while open < load.connections && refill(&mut run, &mut left)? {
        open += 1;
    }
    while open > 0 {
        for key in run.turn()? {
            run.close(key);
            open -= 1;
            if refill(&mut run, &mut left)? {
                open += 1;
            }
        }
    }
    Ok(())
}

/// Connections in flight, and those that rest.
pub struct Run {
    poll: Poll,
    events: Events,
    address: SocketAddr,
    connections: Vec<Option<Box<Connection>>>,
    free: Vec<usize>,
    tls: Arc<ClientConfig>,
    scratch: Vec<u8>,
}

impl Run {
    pub fn new(address: SocketAddr) -> io::Result<Self> {
        let mut tls = ClientConfig::builder()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone(rustls::crypto::ring::default_provider())))
            .with_no_client_auth();
        // Each handshake a full one.
        tls.resumption = rustls::client::Resumption::disabled();
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            address,
            connections: Vec::new(),
            free: Vec::new(),
            tls: Arc::new(tls),
            scratch: vec![0; 256 << 10],
        })
    }

    /// A connection more, from this address of ours or any.
    pub fn connect(&mut self, from: Option<IpAddr>, script: &Script, messages: usize) -> io::Result<usize> {
        let socket = match from {
            None => std::net::TcpStream::connect(self.address)?,
            Some(from) => from_address(from, self.address)?,
        };
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        let mut socket = TcpStream::from_std(socket);
        let key = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        self.poll.registry().register(&mut socket, Token(key), Interest::READABLE | Interest::WRITABLE)?;
        let steps = script.once.iter().cloned().collect();
        let connection =
            Connection { socket, tls: None, steps, busy: true, saying: None, replies: 0, line: Vec::new() };
        self.connections[key] = Some(Box::new(connection));
        self.go_on(key, &script.each, messages, &script.last);
        Ok(key)
    }

    /// More to do for a connection.
    pub fn go_on(&mut self, key: usize, each: &[Step], messages: usize, last: &[Step]) {
        if let Some(connection) = &mut self.connections[key] {
            (0..messages).for_each(|_| connection.steps.extend(each.iter().cloned()));
            connection.steps.extend(last.iter().cloned());
            connection.busy = true;
        }
    }

    pub fn close(&mut self, key: usize) {
        self.connections[key] = None;
        self.free.push(key);
    }

    /// Waits for something to happen; gives those that have done all their steps since they were last asked.
    pub fn turn(&mut self) -> io::Result<Vec<usize>> {
        match self.poll.poll(&mut self.events, Some(std::time::Duration::from_secs(30))) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(Vec::new()),
            other => other?,
        }
        if self.events.is_empty() {
            return Err(io::Error::other("nothing came for 30 s"));
        }
        let keys: Vec<usize> = self.events.iter().map(|event| event.token().0).collect();
        let mut done = Vec::new();
        for key in keys {
            if self.drive(key)? {
                done.push(key);
            }
        }
        Ok(done)
    }

    /// Goes as far as it goes without waiting; true once, when all steps are done.
    pub fn drive(&mut self, key: usize) -> io::Result<bool> {
        match &mut self.connections[key] {
            Some(connection) if connection.busy => {
                connection.busy = !connection.drive(&mut self.scratch, &self.tls)?;
                Ok(!connection.busy)
            }
            _ => Ok(false),
        }
    }

    /// Waits until a connection has done all its steps; the others get on meanwhile.
    pub fn finish(&mut self, key: usize) -> io::Result<()> {
        self.drive(key)?;
        while self.connections[key].as_ref().is_some_and(|connection| connection.busy) {
            self.turn()?;
        }
        Ok(())
    }
}

impl Connection {
    fn drive(&mut self, scratch: &mut [u8], config: &Arc<ClientConfig>) -> io::Result<bool> {
        loop {
            if let Some((text, at)) = &mut self.saying {
                while *at < text.len() {
                    let rest = &text[*at..];
                    let taken = match &mut self.tls {
                        None => self.socket.write(rest),
                        Some(tls) => tls.writer().write(&rest[..rest.len().min(16 << 10)]),
                    };
                    match taken {
                        Ok(n) => *at += n,
                        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                        Err(error) => return Err(error),
                    }
                    if !flush(&mut self.tls, &mut self.socket)? {
                        return Ok(false);
                    }
                }
                self.saying = None;
            }
            if !flush(&mut self.tls, &mut self.socket)? {
                return Ok(false);
            }
            if self.replies == 0 {
                match self.steps.pop_front() {
                    None => return Ok(true),
                    Some(Step::Hear(replies)) => self.replies = replies,
                    Some(Step::Say(text, replies)) => {
                        self.saying = Some((text, 0));
                        self.replies = replies;
                        continue;
                    }
                    Some(Step::Tls) => {
                        let name = ServerName::try_from("load.example").expect("a name");
                        self.tls =
                            Some(Box::new(ClientConnection::new(config.clone(), name).map_err(io::Error::other)?));
                        continue;
                    }
                }
            }
            let n = match &mut self.tls {
                None => match self.socket.read(scratch) {
                    Ok(0) => return Err(io::Error::other("the server closed")),
                    Ok(n) => n,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                    Err(error) => return Err(error),
                },
                Some(tls) => match tls.reader().read(scratch) {
                    Ok(n) => n,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        match tls.read_tls(&mut self.socket) {
                            Ok(0) => return Err(io::Error::other("the server closed")),
                            Ok(_) => {
                                tls.process_new_packets().map_err(io::Error::other)?;
                            }
                            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                            Err(error) => return Err(error),
                        }
                        continue;
                    }
                    Err(error) => return Err(error),
                },
            };
            for octet in &scratch[..n] {
                self.line.push(*octet);
                if *octet == b'\n' {
                    if !matches!(self.line[0], b'2' | b'3') {
                        return Err(io::Error::other(String::from_utf8_lossy(&self.line).into_owned()));
                    }
                    self.replies -= usize::from(self.line[3] == b' ');
                    self.line.clear();
                }
            }
        }
    }
}

fn flush(tls: &mut Option<Box<ClientConnection>>, socket: &mut TcpStream) -> io::Result<bool> {
    let Some(tls) = tls else { return Ok(true) };
    while tls.wants_write() {
        match tls.write_tls(socket) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Several addresses of ours, because one has no more than some 28,000 ports for one address of theirs.
pub fn from_address(from: IpAddr, to: SocketAddr) -> io::Result<std::net::TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(to), socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    socket.connect(&to.into())?;
    Ok(socket.into())
}

/// Takes any certificate: what is measured is the server.
#[derive(Debug)]
struct Anyone(CryptoProvider);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
