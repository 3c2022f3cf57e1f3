//! What it costs to send: clients in alternation, each over one connection to Postfix's smtp-sink, several rounds,
//! medians; the client's CPU from the operating system.
//!
//!     cargo run --release --bin send
//!     cargo run --release --bin send -- --size 4096 --client core --messages 20000 --rounds 1      (for a profiler)
//!
//! The yardstick is `by hand`: a blocking socket, a constant envelope in one write, a text that is ready for the wire in
//! another, and no look at the text or, but for their first digit, at the replies. smtp-sink comes with Postfix
//! (`apt-get install postfix`), and is started as its manual says when one is root.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use smtp_benches::texts;
use smtp_proto::client::{Config, Envelope, Progress, Session, Tls, Transaction};
use smtp_proto::syntax::{ForwardPath, Mailbox, Params, Rcpt, ReversePath};
use smtp_proto::{Buffer, Channel, Want};
use smtp_smol::{Client, Target};

#[derive(Parser)]
struct Arguments {
    /// Octets of a message; may be given several times [default: 4096 and 1000000]
    #[arg(long, value_name = "OCTETS")]
    size: Vec<usize>,
    /// Only this client; may be given several times
    #[arg(long, value_name = "NAME")]
    client: Vec<String>,
    /// Messages a round [default: as many as make 10 MB, or 200 MB of large ones]
    #[arg(long, value_name = "N")]
    messages: Option<usize>,
    #[arg(long, value_name = "N", default_value_t = 7)]
    rounds: usize,
    /// A server that runs already, instead of an smtp-sink for each run
    #[arg(long, value_name = "ADDRESS:PORT")]
    server: Option<SocketAddr>,
}

/// A way to send so many times the same text. Gives seconds and CPU seconds.
type Send = fn(SocketAddr, &[u8], usize) -> io::Result<(f64, f64)>;

const CLIENTS: [(&str, Send); 8] = [
    ("by hand", |server, text, n| within(|| by_hand(server, text, n))),
    ("core", |server, text, n| within(|| core(server, text, n, false))),
    ("smtp-smol", |server, text, n| within(|| over_smol(server, text, n))),
    ("by hand, one trip", |server, text, n| within(|| one_trip(server, text, n))),
    ("core, one trip", |server, text, n| within(|| core(server, text, n, true))),
    ("smtp-smol, one trip", |server, text, n| within(|| each_over_smol(server, text, n))),
    ("smtp-source", smtp_source),
    ("smtplib", smtplib),
];

const FROM: &str = "a@load.example";
const TO: &str = "b@load.example";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let sizes = if arguments.size.is_empty() { vec![4096, 1_000_000] } else { arguments.size.clone() };
    for size in sizes {
        let (_, text) = texts(size).swap_remove(1);
        let messages =
            arguments.messages.unwrap_or(if size < 100_000 { 10_000_000 / size } else { 200_000_000 / size });
        let wanted = |name: &&str| arguments.client.is_empty() || arguments.client.iter().any(|one| one == name);
        let clients: Vec<_> = CLIENTS.iter().filter(|(name, _)| wanted(name)).collect();
        let mut figures = vec![Vec::new(); clients.len()];
        for round in 0..=arguments.rounds {
            for ((name, send), figures) in clients.iter().zip(&mut figures) {
                let sink = if arguments.server.is_none() { Some(Sink::start()?) } else { None };
                let server = arguments.server.or(sink.as_ref().map(|sink| sink.address)).ok_or("no server")?;
                match send(server, &text, messages) {
                    // The first round warms up.
                    Ok(_) if round == 0 && arguments.rounds > 1 => {}
                    Ok(figure) => figures.push(figure),
                    Err(error) => eprintln!("{name}: {error}"),
                }
            }
        }
        println!("{} octets, {messages} messages a round:", text.len());
        println!("  {:20} {:>10} {:>8} {:>14} {:>10} {:>10}", "", "a second", "MB/s", "CPU ms/1,000", "time", "CPU");
        for ((name, _), of) in clients.iter().zip(&figures) {
            let n = messages as f64;
            let against = |part: fn(&(f64, f64)) -> f64| {
                let ratios = of.iter().zip(&figures[0]).map(|(this, hand)| part(this) / part(hand));
                median(ratios)
            };
            let rate = n / median(of.iter().map(|(wall, _)| *wall));
            let cpu = median(of.iter().map(|(_, cpu)| *cpu)) * 1e6 / n;
            let mb = rate * text.len() as f64 / 1e6;
            let (time, busy) = (against(|(wall, _)| *wall), against(|(_, cpu)| *cpu));
            println!("  {name:20} {rate:10.0} {mb:8.0} {cpu:14.1} {time:10.2} {busy:10.2}");
        }
    }
    Ok(())
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// In this process, all threads counted.
fn within(send: impl FnOnce() -> io::Result<()>) -> io::Result<(f64, f64)> {
    let (began, busy) = (Instant::now(), cpu());
    send()?;
    Ok((began.elapsed().as_secs_f64(), cpu() - busy))
}

fn cpu() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes to what it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// What it takes when nothing is to be known of the protocol: two round trips a message.
fn by_hand(server: SocketAddr, text: &[u8], messages: usize) -> io::Result<()> {
    let mut socket = greeted(server)?;
    let (envelope, text) = constants(text);
    let mut read = vec![0; 16 << 10];
    for _ in 0..messages {
        socket.write_all(envelope.as_bytes())?;
        replies(&mut socket, &mut read, 3)?;
        socket.write_all(&text)?;
        replies(&mut socket, &mut read, 1)?;
    }
    socket.write_all(b"QUIT\r\n")?;
    replies(&mut socket, &mut read, 1)
}

/// One round trip a message: the next envelope goes out behind the end of the text (RFC 2920 3.1), before it is known
/// what became of it.
fn one_trip(server: SocketAddr, text: &[u8], messages: usize) -> io::Result<()> {
    let mut socket = greeted(server)?;
    let (envelope, mut text) = constants(text);
    text.extend_from_slice(envelope.as_bytes());
    let mut read = vec![0; 16 << 10];
    socket.write_all(envelope.as_bytes())?;
    replies(&mut socket, &mut read, 3)?;
    for _ in 1..messages {
        socket.write_all(&text)?;
        replies(&mut socket, &mut read, 4)?;
    }
    socket.write_all(&text[..text.len() - envelope.len()])?;
    replies(&mut socket, &mut read, 1)?;
    socket.write_all(b"QUIT\r\n")?;
    replies(&mut socket, &mut read, 1)
}

fn greeted(server: SocketAddr) -> io::Result<TcpStream> {
    let mut socket = TcpStream::connect(server)?;
    socket.set_nodelay(true)?;
    let mut read = vec![0; 16 << 10];
    replies(&mut socket, &mut read, 1)?;
    socket.write_all(b"EHLO load.example\r\n")?;
    replies(&mut socket, &mut read, 1)?;
    Ok(socket)
}

fn constants(text: &[u8]) -> (String, Vec<u8>) {
    (format!("MAIL FROM:<{FROM}>\r\nRCPT TO:<{TO}>\r\nDATA\r\n"), [text, b".\r\n"].concat())
}

/// Whole replies, all of them good ones.
fn replies(socket: &mut TcpStream, read: &mut [u8], mut awaited: usize) -> io::Result<()> {
    let mut line = 0;
    let mut filled = 0;
    while awaited > 0 {
        match socket.read(&mut read[filled..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => filled += n,
        }
        while let Some(end) = memchr::memchr(b'\n', &read[line..filled]) {
            if !matches!(read[line], b'2' | b'3') {
                return Err(io::Error::other(String::from_utf8_lossy(&read[line..line + end]).into_owned()));
            }
            awaited -= usize::from(read[line + 3] == b' ');
            line += end + 1;
        }
    }
    Ok(())
}

fn addresses() -> (ReversePath<'static>, [Rcpt<'static>; 1]) {
    let mailbox = |text| Mailbox::parse(text, false).expect("a mailbox");
    let to = Rcpt { path: ForwardPath::Mailbox(mailbox(TO)), params: Params::default() };
    (ReversePath::Mailbox(mailbox(FROM)), [to])
}

fn config() -> std::sync::Arc<Config> {
    Config::new("load.example").expect("a name").tls(Tls::Never).shared()
}

/// The session and the transaction of the core, over a blocking socket; perhaps with the next envelope behind each text.
fn core(server: SocketAddr, text: &[u8], messages: usize, leading: bool) -> io::Result<()> {
    let mut socket = TcpStream::connect(server)?;
    socket.set_nodelay(true)?;
    let (from, to) = addresses();
    let envelope = Envelope::new(from, &to).size(text.len() as u64);
    let mut session = Session::new(config(), Channel::Plain);
    let mut buffer = Buffer::with_capacity(16 << 10);
    let (mut transaction, mut next) = (Transaction::new(envelope), Transaction::new(envelope));
    for after in (0..messages).rev() {
        loop {
            let mut input = buffer.filled();
            let progress = transaction.step(&mut session, &mut input);
            let left = input.len();
            buffer.keep_last(left);
            match progress {
                Progress::Done => break,
                Progress::Text => {
                    put(&mut transaction, &mut session, &mut socket, text)?;
                    if leading && after > 0 {
                        transaction.lead(&mut session, &mut next);
                    }
                }
                Progress::Want(want) => {
                    write_out(&mut session, &mut socket)?;
                    match want {
                        Want::Input => match socket.read(buffer.space())? {
                            0 => session.eof(),
                            n => buffer.add(n),
                        },
                        other => return Err(io::Error::other(format!("{other:?}"))),
                    }
                }
            }
        }
        accepted(&transaction)?;
        transaction = std::mem::replace(&mut next, transaction.next(envelope));
    }
    Ok(())
}

/// Slices of the text as they are, and the dots that are wanted between them, many in one write.
fn put(
    transaction: &mut Transaction<'_>,
    session: &mut Session,
    socket: &mut TcpStream,
    text: &[u8],
) -> io::Result<()> {
    if text.len() <= 64 << 10 {
        return transaction.finish_with(session, text).map_err(io::Error::other);
    }
    write_out(session, socket)?;
    for mut cut in text.chunks(256 << 10) {
        let mut slices = [io::IoSlice::new(&[]); 256];
        let mut count = 0;
        while let Some(piece) = transaction.piece(session, &mut cut).map_err(io::Error::other)? {
            if count == slices.len() {
                write_slices(socket, &mut slices)?;
                count = 0;
            }
            slices[count] = io::IoSlice::new(piece);
            count += 1;
        }
        write_slices(socket, &mut slices[..count])?;
    }
    transaction.finish(session).map_err(io::Error::other)
}

fn write_slices(socket: &mut TcpStream, mut slices: &mut [io::IoSlice<'_>]) -> io::Result<()> {
    while !slices.is_empty() {
        let written = socket.write_vectored(slices)?;
        io::IoSlice::advance_slices(&mut slices, written);
    }
    Ok(())
}

fn write_out(session: &mut Session, socket: &mut TcpStream) -> io::Result<()> {
    if !session.output().is_empty() {
        socket.write_all(session.output())?;
        session.sent(session.output().len());
    }
    Ok(())
}

fn accepted(transaction: &Transaction<'_>) -> io::Result<()> {
    match transaction.outcomes().find(|outcome| !outcome.is_accepted()) {
        None => Ok(()),
        Some(other) => Err(io::Error::other(format!("{other:?}"))),
    }
}

fn over_smol(server: SocketAddr, text: &[u8], messages: usize) -> io::Result<()> {
    let client = Client::new(config());
    let (from, to) = addresses();
    let envelope = Envelope::new(from, &to).size(text.len() as u64);
    smol::block_on(async {
        let mut connection = client.connect(&Target::addresses(vec![server])).await.map_err(std::io::Error::other)?;
        for _ in 0..messages {
            accepted(&connection.send(envelope, &mut &*text).await?)?;
        }
        connection.quit().await;
        Ok(())
    })
}

/// The same by [`Connection::send_each`](smtp_smol::Connection::send_each).
fn each_over_smol(server: SocketAddr, text: &[u8], messages: usize) -> io::Result<()> {
    let client = Client::new(config());
    let (from, to) = addresses();
    let envelope = Envelope::new(from, &to).size(text.len() as u64);
    smol::block_on(async {
        let mut connection = client.connect(&Target::addresses(vec![server])).await.map_err(io::Error::other)?;
        let mut all = Ok(());
        let each = |transaction: &Transaction<'_>| all = std::mem::replace(&mut all, Ok(())).and(accepted(transaction));
        connection.send_each((0..messages).map(|_| (envelope, text)), each).await?;
        connection.quit().await;
        all
    })
}

fn smtp_source(server: SocketAddr, text: &[u8], messages: usize) -> io::Result<(f64, f64)> {
    let mut command = Command::new("smtp-source");
    command.args(["-d", "-m", &messages.to_string(), "-l", &text.len().to_string(), "-f", FROM, "-t", TO]);
    command.arg(format!("inet:{server}"));
    let began = Instant::now();
    let child = command.stdin(Stdio::null()).spawn()?;
    let (mut status, pid) = (0, i32::try_from(child.id()).map_err(io::Error::other)?);
    // SAFETY: it is all plain numbers, for which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: a child that nobody else waits for.
    if unsafe { libc::wait4(pid, &mut status, 0, &mut usage) } != pid || status != 0 {
        return Err(io::Error::other(format!("smtp-source ended with {status}")));
    }
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Ok((began.elapsed().as_secs_f64(), seconds(usage.ru_utime) + seconds(usage.ru_stime)))
}

const SMTPLIB: &str = "
import smtplib, sys, time
host, port, sender, to, messages = sys.argv[1:]
text = sys.stdin.buffer.read()
client = smtplib.SMTP(host, int(port), 'load.example')
client.ehlo()
wall, busy = time.perf_counter(), time.process_time()
for _ in range(int(messages)):
    client.sendmail(sender, [to], text)
print(time.perf_counter() - wall, time.process_time() - busy)
client.quit()
";

/// Times itself, so that the start of Python does not count.
fn smtplib(server: SocketAddr, text: &[u8], messages: usize) -> io::Result<(f64, f64)> {
    let mut command = Command::new("python3");
    command.args([
        "-c",
        SMTPLIB,
        &server.ip().to_string(),
        &server.port().to_string(),
        FROM,
        TO,
        &messages.to_string(),
    ]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?.write_all(text)?;
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let mut figures = said.split_whitespace().map(str::parse);
    match (figures.next(), figures.next()) {
        (Some(Ok(wall)), Some(Ok(busy))) => Ok((wall, busy)),
        _ => Err(io::Error::other("smtplib gave no figures")),
    }
}

/// An smtp-sink on a port of its own.
struct Sink {
    address: SocketAddr,
    child: Child,
}

impl Sink {
    fn start() -> io::Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = Command::new("smtp-sink");
        // SAFETY: asks, and changes nothing.
        if unsafe { libc::getuid() } == 0 {
            command.args(["-u", "nobody"]);
        }
        let place = address.to_string();
        let child = command.args([&place, "100"]).stdin(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let sink = Self { address, child };
        for _ in 0..200 {
            if TcpStream::connect(sink.address).is_ok() {
                return Ok(sink);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(io::Error::other("smtp-sink does not listen"))
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
