//! Connections beside the mail that is measured: idle, or such as crawl. They live in processes of their own, because
//! the limit on open files is one of a process.

use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::client::from_address;

/// What the peers of a crowd do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Habit {
    /// Hear the greeting, and say nothing.
    Idle,
    /// Stop in the middle of a line of the text.
    Stuck,
    /// Send an octet a second, all the way through a message.
    WriteSlowly,
    /// Send message after message, until the server takes no more, and read an octet of its replies a second.
    ReadSlowly,
}

impl Habit {
    pub const fn words(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Stuck => "in the middle of a text that never goes on",
            Self::WriteSlowly => "that write an octet a second",
            Self::ReadSlowly => "that send all they can and read an octet a second",
        }
    }
}

/// Some connections, in a process that lasts as long as this.
pub struct Crowd {
    child: Child,
}

impl Crowd {
    /// Makes the connections, from one address of ours, and waits until they have done what they do at first.
    pub fn gather(habit: Habit, to: SocketAddr, count: usize, from: Ipv4Addr) -> io::Result<Self> {
        let habit = habit.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        let mut child = Command::new(std::env::current_exe()?)
            .args(["crowd", &habit, &to.to_string(), &count.to_string(), &from.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let ready = child.stdout.take().map(is_ready).transpose()?.unwrap_or(false);
        let crowd = Self { child };
        if ready { Ok(crowd) } else { Err(io::Error::other(format!("{count} connections could not be made"))) }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        // It ends when its standard input does.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn is_ready(from: ChildStdout) -> io::Result<bool> {
    let mut line = String::new();
    BufReader::new(from).read_line(&mut line)?;
    Ok(line == "ready\n")
}

/// What the process of a crowd does.
pub fn run(habit: Habit, to: SocketAddr, count: usize, from: Ipv4Addr) -> io::Result<()> {
    let mut peers = Vec::with_capacity(count);
    for _ in 0..count {
        let mut socket = connect(habit, to, from)?;
        let mut reply = [0; 512];
        let n = socket.read(&mut reply)?;
        if !reply[..n].starts_with(b"220") {
            return Err(io::Error::other(String::from_utf8_lossy(&reply[..n]).into_owned()));
        }
        peers.push(Peer { socket, said: 0 });
    }
    if habit == Habit::Stuck {
        for peer in &mut peers {
            peer.socket.write_all(
                b"EHLO load.example\r\nMAIL FROM:<a@load.example>\r\nRCPT TO:<b@load.example>\r\nDATA\r\nhalf a line",
            )?;
        }
    }
    for peer in &peers {
        peer.socket.set_nonblocking(true)?;
    }
    if habit == Habit::ReadSlowly {
        fill(&mut peers)?;
    }
    println!("ready");
    // Standard input ends when this is to end.
    let (ended, wait) = channel::<()>();
    std::thread::spawn(move || {
        let _ = io::stdin().lock().read(&mut [0]);
        drop(ended);
    });
    crawl(habit, &mut peers, |time| wait.recv_timeout(time) == Err(RecvTimeoutError::Timeout))
}

struct Peer {
    socket: TcpStream,
    said: usize,
}

/// Small buffers where they are to run full.
fn connect(habit: Habit, to: SocketAddr, from: Ipv4Addr) -> io::Result<TcpStream> {
    if habit != Habit::ReadSlowly {
        return from_address(IpAddr::V4(from), to);
    }
    let socket = socket2::Socket::new(socket2::Domain::for_address(to), socket2::Type::STREAM, None)?;
    socket.set_recv_buffer_size(4 << 10)?;
    socket.set_send_buffer_size(4 << 10)?;
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.connect(&to.into())?;
    Ok(socket.into())
}

/// Writes until nobody has taken anything for half a second.
fn fill(peers: &mut [Peer]) -> io::Result<()> {
    // Of recipients, because messages on a connection are limited, and the buffers of the system are large.
    let (mail, rcpt) = (b"MAIL FROM:<a@load.example>\r\n", b"RCPT TO:<b@load.example>\r\n");
    let group = [&mail[..], &rcpt.repeat(500), b"BDAT 2 LAST\r\n\r\n"].concat();
    let hello = b"EHLO load.example\r\n";
    let text = [&hello[..], &group].concat();
    let mut last = Instant::now();
    while last.elapsed() < Duration::from_millis(500) {
        for peer in &mut *peers {
            match peer.socket.write(&text[peer.said..]) {
                Ok(n) => {
                    peer.said += n;
                    if peer.said == text.len() {
                        peer.said = hello.len();
                    }
                    last = Instant::now();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// An octet of each peer a second, evenly spread, as long as `wait` says to go on.
fn crawl(habit: Habit, peers: &mut [Peer], wait: impl Fn(Duration) -> bool) -> io::Result<()> {
    let text = b"EHLO load.example\r\nMAIL FROM:<a@load.example>\r\nRCPT TO:<b@load.example>\r\nDATA\r\n\
        Subject: an octet a second\r\n\r\nand so on and on and on and on and on and on and on and on and on and on";
    let rests = matches!(habit, Habit::Idle | Habit::Stuck);
    let pause = Duration::from_secs(1) / u32::try_from(peers.len().max(1)).unwrap_or(u32::MAX);
    let mut next = 0;
    let mut due = Instant::now();
    while wait(due.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))) {
        if rests {
            due = Instant::now() + Duration::from_secs(1);
            continue;
        }
        while due <= Instant::now() {
            due += pause;
            let all = peers.len();
            let peer = &mut peers[next % all];
            next += 1;
            let done = match habit {
                Habit::WriteSlowly => {
                    let octet = text[peer.said.min(text.len() - 1)];
                    peer.said += 1;
                    peer.socket.write(&[octet])
                }
                _ => peer.socket.read(&mut [0]),
            };
            match done {
                Ok(0) => return Err(io::Error::other("the server closed")),
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}
