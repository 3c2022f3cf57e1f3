//! A handler that waits for another server, on the thread that serves its own client.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use smol::future::zip;
use smtp_proto::client::{Config, Envelope, Outcome, Tls};
use smtp_proto::server::{self, MessageEnd, Verdict};
use smtp_proto::syntax::{ForwardPath, Mail, Params, Rcpt, Reply, ReversePath};
use smtp_proto::tls::Policy;
use smtp_smol::{Client, Handle, Handler, Peer, Pool, PoolLimits, Server, Stopped, Target};

/// Nothing here takes so long, but what waits for nothing.
const LONG: Duration = Duration::from_secs(20);

/// A server that runs until it is dropped.
struct Running {
    address: SocketAddr,
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start<H: Handler>(threads: usize, make: impl Fn() -> H + Clone + Send + Sync + 'static) -> Self {
        let config = server::Config::new("mx.example.net").expect("a name").tls(Policy::Off).shared();
        let mut server = Server::new(config).threads(NonZero::new(threads).expect("some threads"));
        let address = server.listen("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let handle = server.handle();
        let thread = thread::spawn(move || server.run(move |_| make()).expect("the server runs"));
        Self { address, handle, thread: Some(thread) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.shut_down();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server ended well");
        }
    }
}

fn client() -> Client {
    Client::new(Config::new("client.example").expect("a name").tls(Tls::Never).shared())
}

fn from() -> ReversePath<'static> {
    ReversePath::parse("a@example.org", false).expect("a path")
}

fn rcpt() -> Rcpt<'static> {
    Rcpt { path: ForwardPath::parse("b@example.net", false).expect("a path"), params: Params::default() }
}

/// Says lines to a server, each when the last has been answered, and gives the codes.
fn say(address: SocketAddr, lines: &[&str]) -> Vec<String> {
    let socket = TcpStream::connect(address).expect("connected");
    socket.set_read_timeout(Some(LONG)).expect("a timeout");
    let mut reader = BufReader::new(&socket);
    let mut answer = || {
        let mut line = String::new();
        while line.get(3..4) != Some(" ") {
            line.clear();
            assert!(reader.read_line(&mut line).expect("an answer in time") > 0, "the server has gone");
        }
        line[..3].to_owned()
    };
    let mut codes = vec![answer()];
    for line in lines {
        (&socket).write_all(line.as_bytes()).expect("written");
        codes.push(answer());
    }
    codes
}

/// Counts messages.
struct Count(Arc<AtomicUsize>);

impl Handler for Count {
    async fn message(&mut self, _: &Peer<'_>, _: MessageEnd) -> Verdict<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Verdict::Accept
    }
}

/// Sends on what it is sent.
struct SendOn {
    pool: Arc<Pool>,
    target: Target,
}

impl Handler for SendOn {
    async fn message(&mut self, _: &Peer<'_>, _: MessageEnd) -> Verdict<'_> {
        let to = [rcpt()];
        let sent = self.pool.send(&self.target, Envelope::new(from(), &to), b"Subject: x\r\n\r\n").await;
        if sent.outcomes().all(|outcome| outcome.is_accepted()) {
            return Verdict::Accept;
        }
        Verdict::Refuse(Reply::fixed(451, (4, 4, 2), "Not sent on"))
    }
}

/// The connections of a pool go from thread to thread, and one was made where no loop runs.
#[test]
fn connections_follow_the_threads_that_use_them() {
    let (count, connections) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counted = (count.clone(), connections.clone());
    let behind = Running::start(2, move || {
        counted.1.fetch_add(1, Ordering::Relaxed);
        Count(counted.0.clone())
    });
    let mut limits = PoolLimits::default();
    limits.idle_per_target = 3;
    let (pool, target) = (Arc::new(Pool::new(client(), limits)), Target::addresses(vec![behind.address]));
    let to = [rcpt()];
    let first = smol::block_on(pool.send(&target, Envelope::new(from(), &to), b"Subject: x\r\n\r\n"));
    assert!(first.outcomes().all(|outcome| outcome.is_accepted()));
    drop(first);

    let front = Running::start(2, move || SendOn { pool: pool.clone(), target: target.clone() });
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let address = front.address;
            thread::spawn(move || {
                let message =
                    ["MAIL FROM:<a@example.org>\r\n", "RCPT TO:<b@example.net>\r\n", "DATA\r\n", "x\r\n.\r\n"];
                let lines: Vec<_> = ["EHLO client.example\r\n"].into_iter().chain(message.repeat(30)).collect();
                say(address, &lines)
            })
        })
        .collect();
    for client in clients {
        let codes = client.join().expect("no panic");
        let expected: Vec<_> = ["220", "250"].into_iter().chain(["250", "250", "354", "250"].repeat(30)).collect();
        assert_eq!(codes, expected);
    }
    drop(front);
    assert_eq!(count.load(Ordering::Relaxed), 91);
    assert!(connections.load(Ordering::Relaxed) <= 4, "they were used again");
}

/// A server that answers the greeting and EHLO, and then whatever `rest` does.
fn scripted(rest: impl FnOnce(&mut BufReader<TcpStream>) + Send + 'static) -> (Target, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = Target::addresses(vec![listener.local_addr().expect("an address")]);
    let server = thread::spawn(move || {
        let (socket, _) = listener.accept().expect("a client");
        socket.set_read_timeout(Some(LONG)).expect("a timeout");
        let mut reader = BufReader::new(socket);
        reader.get_mut().write_all(b"220 hop\r\n").expect("written");
        lines(&mut reader, 1);
        reader.get_mut().write_all(b"250-hop\r\n250 PIPELINING\r\n").expect("written");
        rest(&mut reader);
    });
    (target, server)
}

fn lines(reader: &mut BufReader<TcpStream>, count: usize) {
    for _ in 0..count {
        assert!(reader.read_line(&mut String::new()).expect("a line in time") > 0, "the client has gone");
    }
}

/// Says MAIL to a server that answers and ends, while nothing is read; then RCPT.
struct MeetsTheEnd(Target, mpsc::Sender<(Result<u16, Stopped>, Duration)>);

impl Handler for MeetsTheEnd {
    async fn connect(&mut self, _: &Peer<'_>) -> Verdict<'_> {
        let mut hop = client().connect(&self.0).await.expect("connected");
        hop.ready().await.expect("ready");
        let mail = Mail { path: from(), params: Params::default() };
        // The thread is busy until reply and end have come, so that it hears of both at once.
        let (said, ()) = zip(hop.mail(&mail), async { thread::sleep(Duration::from_millis(200)) }).await;
        assert_eq!(said.expect("MAIL").code(), 250);
        let began = Instant::now();
        let said = hop.rcpt(&rcpt()).await.map(|reply| reply.code());
        self.1.send((said, began.elapsed())).expect("the test waits");
        Verdict::Accept
    }

    async fn message(&mut self, _: &Peer<'_>, _: MessageEnd) -> Verdict<'_> {
        Verdict::Accept
    }
}

/// RFC 5321 3.8: a server that closes without a word is seen to have closed, whatever came before in the same breath.
#[test]
fn an_end_that_came_with_a_reply_is_seen() {
    let (target, server) = scripted(|reader| {
        lines(reader, 1);
        reader.get_mut().write_all(b"250 ok\r\n").expect("written");
        reader.get_mut().shutdown(Shutdown::Write).expect("shut down");
        // It reads on: nothing but the end itself tells of it.
        let _ = reader.read_to_end(&mut Vec::new());
    });
    let (tell, told) = mpsc::channel();
    let running = Running::start(1, move || MeetsTheEnd(target.clone(), tell.clone()));
    assert_eq!(say(running.address, &[]), ["220"]);
    let (said, took) = told.recv_timeout(LONG).expect("it did not wait for the end of its time");
    assert!(matches!(said, Err(Stopped::Ended(_))), "{said:?}");
    assert!(took < LONG / 2, "{took:?}");
    drop(running);
    server.join().expect("no panic");
}

const MANY: usize = 600;

/// Sends to so many recipients that the replies do not go into one read.
struct Many(Target, mpsc::Sender<usize>);

impl Handler for Many {
    async fn connect(&mut self, _: &Peer<'_>) -> Verdict<'_> {
        let to = [rcpt(); MANY];
        let mut hop = client().connect(&self.0).await.expect("connected");
        let sent = hop.send(Envelope::new(from(), &to), &mut &b"Subject: x\r\n\r\n"[..]).await.expect("sent");
        self.1.send(sent.outcomes().filter(Outcome::is_accepted).count()).expect("the test waits");
        Verdict::Accept
    }

    async fn message(&mut self, _: &Peer<'_>, _: MessageEnd) -> Verdict<'_> {
        Verdict::Accept
    }
}

/// RFC 2920 3.1: the replies to a group come together, and what one read leaves of them is told by nobody anew.
#[test]
fn replies_that_fill_the_buffer_are_all_read() {
    let (target, server) = scripted(|reader| {
        reader.get_mut().set_nodelay(true).expect("no delay");
        let mut words = String::new();
        let mut line = String::new();
        loop {
            line.clear();
            assert!(reader.read_line(&mut line).expect("a line in time") > 0, "the client has gone");
            let reply = match line.get(..4).unwrap_or_default() {
                "DATA" => "354 go on\r\n".to_owned(),
                ".\r\n" => break,
                _ => format!("250 {}\r\n", "x".repeat(500)),
            };
            let in_text = reply.starts_with("354");
            words.push_str(&reply);
            // What was asked together is answered together.
            if reader.buffer().is_empty() {
                reader.get_mut().write_all(words.as_bytes()).expect("written");
                words.clear();
            }
            if in_text {
                while line != ".\r\n" {
                    line.clear();
                    assert!(reader.read_line(&mut line).expect("a line in time") > 0, "the client has gone");
                }
                break;
            }
        }
        reader.get_mut().write_all(b"250 kept\r\n").expect("written");
    });
    let (tell, told) = mpsc::channel();
    let running = Running::start(1, move || Many(target.clone(), tell.clone()));
    assert_eq!(say(running.address, &[]), ["220"]);
    assert_eq!(told.recv_timeout(LONG).expect("nothing of them was left"), MANY);
    drop(running);
    server.join().expect("no panic");
}
