//! The client's end of a connection: says what it is to say, cut as it is told, inside TLS once that begins, and listens to the end.

use std::io::{ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::{ClientConfig, ClientConnection};
use socket2::SockRef;

/// How something is said.
pub struct Manner<'d> {
    tls12: bool,
    /// After how many octets of the wire the client's side ends, whatever was still to be said.
    end: usize,
    /// How much is written at a time, in turns; all at once where there are none.
    cuts: &'d [u8],
}

impl<'d> Manner<'d> {
    /// Read from the front of `data`; without an octet that ends the cuts there is none.
    pub fn of(data: &'d [u8], tls12: bool, cut: bool) -> Option<(Self, &'d [u8])> {
        if !cut {
            return Some((Self { tls12, end: usize::MAX, cuts: &[] }, data));
        }
        let (end, data) = data.split_first_chunk()?;
        let behind = data.iter().position(|octet| *octet == 0xff)?;
        let end = usize::from(u16::from_be_bytes(*end));
        Some((Self { tls12, end, cuts: &data[..behind] }, &data[behind + 1..]))
    }
}

/// Where TLS begins: behind so much that was said by the client, and by the server.
#[derive(Clone, Copy, Debug, Default)]
pub struct Begins {
    pub behind: usize,
    pub said: usize,
}

/// How much of what was to be said the server can have read, and whether a handshake to its end.
pub struct Arrived {
    pub octets: usize,
    pub handshake: bool,
}

/// Gives all that was said by the server.
pub fn converse(
    client: &UnixStream,
    server: UnixStream,
    manner: Manner<'_>,
    pieces: &[&[u8]],
    begins: Option<Begins>,
) -> (Vec<u8>, Arrived) {
    let (tls12, end) = (manner.tls12, manner.end);
    let mut wire = Wire {
        socket: client.try_clone().expect("a descriptor"),
        server: Some(server),
        manner,
        written: 0,
        patience: PATIENCE,
    };
    let Some(begins) = begins else {
        let said = exchange(&mut wire, client, pieces, None);
        return (said, Arrived { octets: end.min(pieces.concat().len()), handshake: false });
    };
    // The pauses count inside TLS, where they part records.
    let (before, inside) = parted(pieces, begins.behind);
    let mut said = exchange(&mut wire, client, &before, Some(begins.said));
    let mut tls = begin(tls12);
    while tls.is_handshaking() {
        wire.write(&flight(&mut tls));
        if wire.has_ended() {
            let unfinished = to_the_end(client, None);
            // What is said to half a handshake is no plaintext.
            if end <= begins.behind {
                said.extend(unfinished);
            }
            return (said, Arrived { octets: begins.behind.min(end), handshake: false });
        }
        let mut octets = [0; 4096];
        let count = Uninterrupted(client).read(&mut octets).expect("a handshake");
        assert!(count > 0, "closed during the handshake");
        let mut octets = &octets[..count];
        while !octets.is_empty() {
            tls.read_tls(&mut octets).expect("from memory");
            // What came behind the handshake as well.
            said.extend(plaintext(&mut tls).expect("TLS"));
        }
    }
    // The end of the handshake, and all that is to be said, in one flight.
    let mut flown = flight(&mut tls);
    let handshake = wire.written + flown.len() <= end;
    let mut octets = begins.behind;
    for piece in inside {
        for record in piece.chunks(8 << 10) {
            tls.writer().write_all(record).expect("to memory");
            flown.extend(flight(&mut tls));
            if wire.written + flown.len() <= end {
                octets += record.len();
            }
        }
    }
    tls.send_close_notify();
    flown.extend(flight(&mut tls));
    let ciphertext = exchange(&mut wire, client, &[&flown], None);
    let mut ciphertext = &ciphertext[..];
    while !ciphertext.is_empty() && tls.read_tls(&mut ciphertext).is_ok_and(|count| count > 0) {
        match plaintext(&mut tls) {
            Ok(plain) => said.extend(plain),
            // An alert is what a handshake without an end may have.
            Err(error) => {
                assert!(!handshake, "{error}");
                break;
            }
        }
    }
    (said, Arrived { octets, handshake })
}

/// The pieces before and behind so many octets.
fn parted<'d>(pieces: &[&'d [u8]], mut behind: usize) -> (Vec<&'d [u8]>, Vec<&'d [u8]>) {
    pieces
        .iter()
        .map(|piece| {
            let (before, inside) = piece.split_at(behind.min(piece.len()));
            behind -= before.len();
            (before, inside)
        })
        .unzip()
}

/// Writes all, and reads beside it: so much, or to the end that a server makes of it when the client has ended its side.
fn exchange(wire: &mut Wire<'_>, client: &UnixStream, pieces: &[&[u8]], until: Option<usize>) -> Vec<u8> {
    std::thread::scope(|scope| {
        let writing = scope.spawn(move || {
            pieces.iter().for_each(|piece| wire.write(piece));
            if until.is_none() {
                wire.end();
            }
        });
        let said = to_the_end(client, until);
        // The scope waits for what the thread does; only this also for what it gives back at its very end.
        writing.join().expect("no panic");
        said
    })
}

fn to_the_end(client: &UnixStream, until: Option<usize>) -> Vec<u8> {
    let mut said = Vec::new();
    let mut octets = [0; 4096];
    while until.is_none_or(|until| said.len() < until) {
        // A reset is the end, too.
        let Ok(count @ 1..) = Uninterrupted(client).read(&mut octets) else { break };
        said.extend_from_slice(&octets[..count]);
    }
    said
}

/// Reads once more where a signal came between: libFuzzer looks at its clock by one every few seconds.
struct Uninterrupted<'s>(&'s UnixStream);

impl Read for Uninterrupted<'_> {
    fn read(&mut self, space: &mut [u8]) -> std::io::Result<usize> {
        loop {
            match self.0.read(space) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }
}

/// What the client writes to.
struct Wire<'d> {
    socket: UnixStream,
    /// Until nobody reads there any more.
    server: Option<UnixStream>,
    manner: Manner<'d>,
    written: usize,
    /// How long it is still waited between cuts, all together.
    patience: Duration,
}

/// What a thousand cuts take on a machine with other things to do, and a run's few seconds have room for.
const PATIENCE: Duration = Duration::from_millis(200);

impl Wire<'_> {
    /// As much of it as comes before the end, in its cuts. A server that has closed does not read the rest.
    fn write(&mut self, mut octets: &[u8]) {
        octets = &octets[..octets.len().min(self.manner.end - self.written)];
        self.written += octets.len();
        let mut cuts = self.manner.cuts.iter().cycle();
        while let Some(cut) = cuts.next().filter(|_| self.server.is_some()) {
            if octets.is_empty() {
                break;
            }
            let (now, later) = octets.split_at(octets.len().min(usize::from(*cut) + 1));
            if self.socket.write_all(now).is_err() {
                return;
            }
            octets = later;
            self.wait_until_read();
        }
        let _ = self.socket.write_all(octets);
        if self.has_ended() {
            self.end();
        }
    }

    /// Or the next cut would be none.
    fn wait_until_read(&mut self) {
        let begun = Instant::now();
        let given_up = begun + self.patience.min(Duration::from_millis(5));
        while let Some(server) = &self.server
            && SockRef::from(server).peek(&mut [MaybeUninit::uninit()]).is_ok_and(|count| count > 0)
        {
            if Instant::now() > given_up {
                self.server = None;
            }
            std::thread::yield_now();
        }
        self.patience = self.patience.saturating_sub(begun.elapsed());
    }

    fn has_ended(&self) -> bool {
        self.written >= self.manner.end
    }

    fn end(&mut self) {
        self.server = None;
        let _ = self.socket.shutdown(Shutdown::Write);
    }
}

fn begin(tls12: bool) -> ClientConnection {
    let config = if tls12 { &CLIENTS.1 } else { &CLIENTS.0 };
    let mut tls =
        ClientConnection::new(config.clone(), "mx.example.net".try_into().expect("a name")).expect("a client");
    tls.set_buffer_limit(None);
    tls
}

fn flight(tls: &mut ClientConnection) -> Vec<u8> {
    let mut wire = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut wire).expect("to memory");
    }
    wire
}

fn plaintext(tls: &mut ClientConnection) -> Result<Vec<u8>, rustls::Error> {
    let state = tls.process_new_packets()?;
    let mut plain = vec![0; state.plaintext_bytes_to_read()];
    tls.reader().read_exact(&mut plain).expect("what there is");
    Ok(plain)
}

/// Of whatever version, and of 1.2 alone. Nothing is resumed, so that one input is like the next.
static CLIENTS: LazyLock<(Arc<ClientConfig>, Arc<ClientConfig>)> = LazyLock::new(|| {
    let client = |versions| {
        let provider = smtp_rustls::provider();
        let any = Arc::new(smtp_rustls::AnyCertificate::new(provider.clone()));
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).expect("versions");
        let mut config = builder.dangerous().with_custom_certificate_verifier(any).with_no_client_auth();
        config.resumption = Resumption::disabled();
        Arc::new(config)
    };
    (client(rustls::ALL_VERSIONS), client(&[&rustls::version::TLS12]))
});
