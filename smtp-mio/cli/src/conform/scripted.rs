//! The scripted server that clients are tested with: it says what the transcript says, to each verb what is due to it, so
//! that a client may pipeline or not, and say RSET or QUIT as it likes.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::case::{Case, Line};
use super::link::provider;
use super::play::Outcome;
use super::watch::Watch;
use crate::failure::Failure;

/// The message that is given to clients. Its dots have to be doubled on the way (RFC 5321 4.5.2).
const MESSAGE: &str = "From: a@example.org\r\nTo: b@example.net\r\nSubject: conformance\r\n\r\n";
const BODY: &str = "first\r\n.\r\n..two dots\r\n.one dot\r\nlast\r\n";

/// A client, and what it is given.
pub(crate) struct Client {
    command: Vec<String>,
    lmtp: bool,
    patience: Duration,
    tls: Arc<ServerConfig>,
    folder: Folder,
}

/// Removed at the end.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Client {
    pub(crate) fn new(command: &[String], lmtp: bool, patience: Duration) -> Result<Self, Failure> {
        let stamp = jiff::Timestamp::now().as_nanosecond();
        let folder = std::env::temp_dir().join(format!("smtp-mio-conform-{}-{stamp}", std::process::id()));
        let wrong = |error: io::Error| Failure::running(format_args!("{}: {error}", folder.display()));
        std::fs::create_dir(&folder).map_err(wrong)?;
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).map_err(Failure::running)?;
        let message = format!("{MESSAGE}{BODY}");
        for (name, text) in [("message", message.replace("\r\n", "\n")), ("message-crlf", message), ("ca", cert.pem())]
        {
            std::fs::write(folder.join(name), text).map_err(wrong)?;
        }
        let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
        let tls = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![cert.der().clone()], key.into()))
            .map_err(Failure::running)?;
        Ok(Self { command: command.to_vec(), lmtp, patience, tls: Arc::new(tls), folder: Folder(folder) })
    }

    pub(crate) fn play(&self, case: &Case) -> Outcome {
        if case.lmtp && !self.lmtp {
            return Outcome::Skipped("this is SMTP".to_owned());
        }
        match self.meet(case) {
            Ok((sessions, success)) => self.judge(case, &sessions, success),
            Err(error) => Outcome::Failed(format!("{}: {error}", self.command.join(" "))),
        }
    }

    /// Runs the client, and gives what it said on each connection, and whether it reports success; `None` if it did not end.
    fn meet(&self, case: &Case) -> io::Result<(Vec<Session>, Option<bool>)> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let server = scope.spawn(|| {
                let mut sessions = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    match listener.accept() {
                        Ok((socket, _)) => {
                            sessions.push(Session::serve(socket, Script::of(case, self.lmtp), self, &over));
                        }
                        Err(_) => std::thread::sleep(Duration::from_millis(5)),
                    }
                }
                sessions
            });
            let ended = self.start(port).and_then(|child| self.wait(child));
            over.store(true, Ordering::Relaxed);
            let sessions = server.join().unwrap_or_default();
            ended.map(|success| (sessions, success))
        })
    }

    fn start(&self, port: u16) -> io::Result<Child> {
        let file = |name: &str| self.folder.0.join(name).display().to_string();
        let given = |word: &String| {
            let word = word.replace("{host}", "127.0.0.1").replace("{port}", &port.to_string());
            let word = word.replace("{message-crlf}", &file("message-crlf")).replace("{message}", &file("message"));
            word.replace("{ca}", &file("ca"))
        };
        let mut words = self.command.iter().map(given);
        let mut command = Command::new(words.next().unwrap_or_default());
        let said = std::fs::File::create(self.folder.0.join("stderr"))?;
        command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(said).spawn()
    }

    fn wait(&self, mut child: Child) -> io::Result<Option<bool>> {
        let deadline = Instant::now() + self.patience;
        while Instant::now() < deadline {
            if let Some(status) = child.try_wait()? {
                return Ok(Some(status.success()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill()?;
        child.wait()?;
        Ok(None)
    }

    fn judge(&self, case: &Case, sessions: &[Session], success: Option<bool>) -> Outcome {
        let failed = |why: String| Outcome::Failed(why);
        let said = |verb: &str| sessions.iter().any(|session| session.watch.verbs.iter().any(|said| said == verb));
        if sessions.is_empty() {
            let said = std::fs::read(self.folder.0.join("stderr")).unwrap_or_default();
            let said = String::from_utf8_lossy(&said).into_owned();
            return failed(format!("it made no connection: {}", said.lines().next_back().unwrap_or_default()));
        }
        if let Some(fault) = sessions.iter().find_map(|session| session.watch.faults.first()) {
            return failed(fault.clone());
        }
        let Some(success) = success else { return failed("it did not end in time".to_owned()) };
        if case.class == "TLS" && !said("STARTTLS") {
            return Outcome::Skipped("it did not ask for STARTTLS".to_owned());
        }
        if sessions.iter().any(|session| session.refused_tls) {
            return Outcome::Skipped("it did not take the certificate; {ca} is a file with it".to_owned());
        }
        for verb in &case.never {
            let has = if verb == "TEXT" { sessions.iter().any(|s| !s.texts.is_empty()) } else { said(verb) };
            if has {
                return failed(format!("it sent {verb}"));
            }
        }
        match case.tell {
            Some(true) if !success => return failed("it reports failure where there was none".to_owned()),
            Some(false) if success => return failed("it reports success where there was none".to_owned()),
            _ => {}
        }
        let given = self.command.iter().any(|word| word.contains("{message"));
        if case.text && given && !sessions.iter().any(|session| session.texts.iter().any(|text| has_body(text))) {
            return failed("the message did not arrive as it was given".to_owned());
        }
        Outcome::Passed
    }
}

/// Whether the text, its dots taken off, ends with the body that was given.
fn has_body(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let undotted: Vec<&str> = text.split("\r\n").map(|line| line.strip_prefix('.').unwrap_or(line)).collect();
    undotted.join("\r\n").trim_end().ends_with(BODY.trim_end())
}

/// What is said, and whether the connection ends behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Answer {
    octets: Vec<u8>,
    close: bool,
}

/// A case by verbs.
#[derive(Debug)]
struct Script {
    greeting: Answer,
    answers: HashMap<String, VecDeque<Answer>>,
    /// The last reply to EHLO.
    hello: Vec<u8>,
}

impl Script {
    fn of(case: &Case, lmtp: bool) -> Self {
        let (mut greeting, mut answers) = (None, HashMap::<String, VecDeque<Answer>>::new());
        let mut asked: VecDeque<String> = VecDeque::new();
        let mut in_text = false;
        let mut said: Vec<u8> = Vec::new();
        // Where the last answer went: the verb, or the greeting.
        let mut last: Option<String> = None;
        for line in &case.lines {
            match line {
                Line::Client(octets) if in_text => {
                    if octets.ends_with(b"\r\n.\r\n") || octets == b".\r\n" {
                        in_text = false;
                        asked.push_back("TEXT".to_owned());
                    }
                }
                Line::Client(octets) => {
                    let text = String::from_utf8_lossy(octets);
                    let verb = text.split([' ', '\r']).next().unwrap_or_default().to_ascii_uppercase();
                    asked.push_back(if lmtp && verb == "EHLO" { "LHLO".to_owned() } else { verb });
                }
                Line::Server(expected) => {
                    said.extend_from_slice(&expected.octets);
                    if expected.octets.get(3) == Some(&b'-') && expected.octets.ends_with(b"\r\n") {
                        continue;
                    }
                    let answer = Answer { octets: std::mem::take(&mut said), close: false };
                    if greeting.is_none() {
                        greeting = Some(answer);
                    } else if let Some(verb) = asked.pop_front() {
                        in_text |= verb == "DATA" && answer.octets.starts_with(b"3");
                        answers.entry(verb.clone()).or_default().push_back(answer);
                        last = Some(verb);
                    }
                }
                Line::Eof => {
                    if let Some(verb) = asked.pop_front() {
                        answers.entry(verb).or_default().push_back(Answer { octets: Vec::new(), close: true });
                    } else if let Some(answer) =
                        last.as_ref().and_then(|verb| answers.get_mut(verb)).and_then(VecDeque::back_mut)
                    {
                        answer.close = true;
                    } else {
                        greeting.get_or_insert_default().close = true;
                    }
                }
                Line::Tls | Line::TlsOrClose => {}
            }
        }
        // A reply that was cut: codes that differ, a line without its end.
        let mut greeting = greeting.unwrap_or_default();
        if !said.is_empty() && greeting.octets.is_empty() {
            greeting.octets = said;
        }
        Self { greeting, answers, hello: b"250 mx.example.net\r\n".to_vec() }
    }

    /// What the case says to this verb, or what a server says where it is left free.
    fn answer(&mut self, verb: &str) -> Answer {
        if let Some(answer) = self.answers.get_mut(verb).and_then(VecDeque::pop_front) {
            if matches!(verb, "EHLO" | "LHLO") {
                self.hello.clone_from(&answer.octets);
            }
            return answer;
        }
        let (octets, close): (&[u8], bool) = match verb {
            "EHLO" | "LHLO" => (&self.hello, false),
            "DATA" => (b"354 Go on\r\n", false),
            "QUIT" => (b"221 Bye\r\n", true),
            "STARTTLS" => (b"454 4.7.0 Not now\r\n", false),
            "HELO" | "MAIL" | "RCPT" | "TEXT" | "RSET" | "NOOP" | "VRFY" => (b"250 Ok\r\n", false),
            _ => (b"502 5.5.1 Not implemented\r\n", false),
        };
        Answer { octets: octets.to_vec(), close }
    }
}

/// One connection of the client's.
#[derive(Default)]
struct Session {
    watch: Watch,
    /// As they came, with their dots, without their ends.
    texts: Vec<Vec<u8>>,
    refused_tls: bool,
}

trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

impl Session {
    fn serve(socket: TcpStream, script: Script, client: &Client, over: &AtomicBool) -> Self {
        let mut session = Self::default();
        // However the connection ends, what was heard is what is judged.
        let _ = session.talk(socket, script, client, over);
        session
    }

    fn talk(&mut self, socket: TcpStream, mut script: Script, client: &Client, over: &AtomicBool) -> io::Result<()> {
        socket.set_nonblocking(false)?;
        socket.set_nodelay(true)?;
        // RFC 5321 4.3.1: the client waits for the greeting.
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
        if !script.greeting.octets.is_empty() && socket.peek(&mut [0]).is_ok_and(|count| count > 0) {
            self.watch.fault("it talks before the greeting (RFC 5321 4.3.1)");
        }
        // So that the end of the client is noticed.
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        socket.set_write_timeout(Some(client.patience))?;
        let raw = socket.try_clone()?;
        let mut stream = Stream { wire: Box::new(socket), buffer: Vec::new(), over };
        stream.wire.write_all(&script.greeting.octets)?;
        if script.greeting.close {
            return raw.shutdown(std::net::Shutdown::Both);
        }
        while let Some(line) = stream.line()? {
            // The handshake where a command was due is not a line.
            let verb = self.watch.command(&line, !stream.buffer.is_empty());
            let answer = script.answer(&verb);
            stream.wire.write_all(&answer.octets)?;
            stream.wire.flush()?;
            if answer.close {
                break;
            }
            if matches!(verb.as_str(), "EHLO" | "LHLO") && answer.octets.starts_with(b"2") {
                self.watch.announced(&answer.octets);
            }
            if verb == "STARTTLS" && answer.octets.starts_with(b"220") {
                let Some(inside) = self.start_tls(raw.try_clone()?, client, over)? else { return Ok(()) };
                stream.wire = inside;
            }
            if verb == "DATA" && answer.octets.starts_with(b"3") {
                let Some(text) = stream.text()? else { return Ok(()) };
                self.watch.text(&text);
                self.texts.push(text);
                let answer = script.answer("TEXT");
                stream.wire.write_all(&answer.octets)?;
                if answer.close {
                    break;
                }
            }
        }
        let _ = stream.wire.flush();
        raw.shutdown(std::net::Shutdown::Both)
    }

    /// `None` when no handshake came to its end.
    fn start_tls<'c>(
        &mut self,
        socket: TcpStream,
        client: &Client,
        over: &AtomicBool,
    ) -> io::Result<Option<Box<dyn Wire + 'c>>> {
        let mut first = [0];
        let count = loop {
            match socket.peek(&mut first) {
                Err(error) if would_block(&error) && !over.load(Ordering::Relaxed) => {}
                Err(error) if would_block(&error) => return Ok(None),
                other => break other?,
            }
        };
        if count == 0 {
            return Ok(None);
        }
        // RFC 8446 5.1: a handshake record.
        if first[0] != 0x16 {
            self.watch.fault("it goes on in plaintext behind 220 to STARTTLS (RFC 3207 4)");
            return Ok(None);
        }
        socket.set_read_timeout(Some(client.patience))?;
        let mut connection = ServerConnection::new(client.tls.clone()).map_err(io::Error::other)?;
        let mut handshaking = socket.try_clone()?;
        while connection.is_handshaking() {
            if connection.complete_io(&mut handshaking).is_err() {
                self.refused_tls = true;
                return Ok(None);
            }
        }
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        self.watch.inside_tls();
        Ok(Some(Box::new(StreamOwned::new(connection, socket))))
    }
}

fn would_block(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

struct Stream<'a> {
    wire: Box<dyn Wire + 'a>,
    buffer: Vec<u8>,
    over: &'a AtomicBool,
}

impl Stream<'_> {
    /// The next line with its end, or `None` at the end of the connection.
    fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|octet| *octet == b'\n') {
                return Ok(Some(self.buffer.drain(..=end).collect()));
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// Up to CRLF . CRLF, without it.
    fn text(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if self.buffer.starts_with(b".\r\n") {
                self.buffer.drain(..3);
                return Ok(Some(Vec::new()));
            }
            if let Some(at) = self.buffer.windows(5).position(|window| window == b"\r\n.\r\n") {
                let mut text: Vec<u8> = self.buffer.drain(..at + 5).collect();
                text.truncate(at + 2);
                return Ok(Some(text));
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    fn fill(&mut self) -> io::Result<bool> {
        let mut octets = [0; 4096];
        loop {
            match self.wire.read(&mut octets) {
                Ok(count) => {
                    self.buffer.extend_from_slice(&octets[..count]);
                    return Ok(count > 0);
                }
                Err(error) if would_block(&error) && !self.over.load(Ordering::Relaxed) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, BODY, Script, has_body};
    use crate::conform::case::Case;

    fn script(text: &str) -> Script {
        let text = format!("wire: MUST order tell=success\n{text}");
        Script::of(&Case::parse("client/x", &text).expect("read").expect("a case"), false)
    }

    #[test]
    fn to_each_verb_what_is_due_to_it() {
        let mut script = script(
            "S: 220 x\nC: EHLO c\nS: 250-x\nS: 250 PIPELINING\nC: MAIL FROM:<>\nC: RCPT TO:<b@x>\nC: DATA\nS: 250 m\nS: 550 r\nS: 354 d\nC: .\nS: 554 t\n",
        );
        let mut said = |verb: &str| String::from_utf8(script.answer(verb).octets).expect("text");
        assert_eq!(said("RCPT"), "550 r\r\n");
        assert_eq!(said("RCPT"), "250 Ok\r\n");
        assert_eq!(
            (said("TEXT").as_str(), said("DATA").as_str(), said("MAIL").as_str()),
            ("554 t\r\n", "354 d\r\n", "250 m\r\n")
        );
        assert_eq!(said("EHLO"), "250-x\r\n250 PIPELINING\r\n");
        assert_eq!(said("EHLO"), "250-x\r\n250 PIPELINING\r\n");
        assert_eq!(said("XYZZY"), "502 5.5.1 Not implemented\r\n");
    }

    #[test]
    fn the_end_comes_where_the_case_has_it() {
        assert_eq!(script("! eof\n").greeting, Answer { octets: Vec::new(), close: true });
        let text = "S: 220 x\nC: EHLO c\nS: 250 x\nC: DATA\nS: 354 d\nC: .\n! eof\n";
        assert_eq!(script(text).answer("TEXT"), Answer { octets: Vec::new(), close: true });
        let cut = "S: 220 x\nC: EHLO c\nS: 250 x\nC: DATA\nS: 354 d\nC: .\nS= 250 cu\n! eof\n";
        assert_eq!(script(cut).answer("TEXT"), Answer { octets: b"250 cu".to_vec(), close: true });
    }

    #[test]
    fn a_message_is_compared_without_its_doubled_dots() {
        let dotted = BODY.replace("\r\n.", "\r\n..");
        assert!(has_body(format!("Subject: x\r\n\r\n{dotted}").as_bytes()));
        assert!(!has_body(format!("Subject: x\r\n\r\n{BODY}").as_bytes()));
    }
}
