//! The program under test, and a client that says what it is told to.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// That anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// `smtp-smol` with these arguments, in a folder, with nothing of the caller's settings.
pub(crate) fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_smtp-smol"));
    command.args(arguments).current_dir(folder).env("XDG_STATE_HOME", folder).env("HOME", folder);
    command.stdin(Stdio::null());
    command
}

pub(crate) fn output(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().expect("the program runs")
}

/// A running server.
pub(crate) struct Program {
    pub(crate) child: Child,
    lines: Receiver<String>,
    pub(crate) said: Vec<String>,
}

impl Program {
    /// Starts `smtp-smol serve` and waits until it listens at so many places.
    pub(crate) fn serve(folder: &Path, arguments: &[&str], places: usize) -> Self {
        Self::start(&mut command(folder, &[&["serve"], arguments].concat()), places)
    }

    pub(crate) fn start(command: &mut Command, places: usize) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the program starts");
        let stderr = child.stderr.take().expect("a pipe");
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
        let mut program = Self { child, lines, said: Vec::new() };
        program.wait_for("so many listeners", |said| said.iter().filter(|line| is_listening(line)).count() == places);
        program
    }

    /// One whose words are somebody else's.
    pub(crate) fn of(child: Child) -> Self {
        Self { child, lines: channel().1, said: Vec::new() }
    }

    /// Waits until what it said on stderr is so.
    pub(crate) fn wait_for(&mut self, what: &str, so: impl Fn(&[String]) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !so(&self.said) {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.said.push(line),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("waited in vain for {what}; it said: {:#?}", self.said)
                }
            }
        }
    }

    /// The address of its nth listener.
    pub(crate) fn address(&self, n: usize) -> String {
        let line = self.said.iter().filter(|line| is_listening(line)).nth(n).expect("so many listeners");
        line.split(' ').nth(2).expect("an address").to_owned()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("signalled");
    }

    /// Its exit code, if it ends within a time.
    pub(crate) fn ends_within(&mut self, time: Duration) -> Option<i32> {
        let deadline = Instant::now() + time;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_listening(line: &str) -> bool {
    line.starts_with("listening on ")
}

/// A client over TCP.
pub(crate) struct Client(BufReader<TcpStream>);

impl Client {
    pub(crate) fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self(BufReader::new(stream))
    }

    /// A whole reply; empty at the end.
    pub(crate) fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let begin = reply.len();
            if self.0.read_line(&mut reply).expect("read") == 0 || reply.as_bytes().get(begin + 3) != Some(&b'-') {
                return reply;
            }
        }
    }

    pub(crate) fn send(&mut self, octets: &[u8]) {
        self.0.get_mut().write_all(octets).expect("written");
    }

    /// Waits until the server has read all that was sent: nothing waits in the sockets of either end.
    pub(crate) fn is_read(&self) {
        let socket = self.0.get_ref();
        let ports = [socket.local_addr().expect("bound").port(), socket.peer_addr().expect("connected").port()];
        // The two ends by their addresses, and the octets in their queues: proc_pid_net(5), of IPv4.
        let waits = |line: &str| {
            let mut fields = line.split_whitespace().skip(1);
            let mut port = || u16::from_str_radix(fields.next()?.split_once(':')?.1, 16).ok();
            let ends = [port()?, port()?];
            (ends.iter().all(|port| ports.contains(port)) && ends[0] != ends[1])
                .then(|| fields.nth(1).is_none_or(|queues| queues != "00000000:00000000"))
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let table = std::fs::read_to_string("/proc/net/tcp").expect("the connections");
            let ends: Vec<bool> = table.lines().filter_map(waits).collect();
            assert_eq!(ends.len(), 2, "both ends are on this machine");
            if !ends.contains(&true) {
                return;
            }
            assert!(Instant::now() < deadline, "it does not read");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The same as [`Client::send`], to a server that may be gone.
    pub(crate) fn drip(&mut self, octets: &[u8]) {
        let _ = self.0.get_mut().write_all(octets);
    }

    /// Says a line, and gives the reply.
    pub(crate) fn say(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n").as_bytes());
        self.reply()
    }

    /// What comes until the server closes.
    pub(crate) fn rest(&mut self) -> String {
        let mut rest = String::new();
        let _ = self.0.read_to_string(&mut rest);
        rest
    }

    /// Sends a message from the greeting to the dot; gives the last reply.
    pub(crate) fn deliver(&mut self, hello: &str) -> String {
        assert!(self.reply().starts_with("220 "));
        assert!(self.say(hello).starts_with("250"), "{hello}");
        assert!(self.say("MAIL FROM:<a@client.example>").starts_with("250"));
        assert!(self.say("RCPT TO:<b@mx.example.net>").starts_with("250"));
        assert!(self.say("DATA").starts_with("354"));
        self.say("Subject: x\r\n\r\nhello\r\n.")
    }
}
