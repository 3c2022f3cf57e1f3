//! What the cases stand on: who is tested, what it offers, and whether it takes mail in plaintext, inside TLS, or from users
//! alone. Found out on a few connections before the first case.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use smtp_proto::syntax::Base64;

use super::link::{Link, NoReply, Reply};
use crate::failure::Failure;

/// Who is tested, and how.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) address: SocketAddr,
    /// For SNI.
    pub(crate) host: String,
    pub(crate) implicit_tls: bool,
    pub(crate) lmtp: bool,
    pub(crate) patience: Duration,
    pub(crate) sender: String,
    /// Those that are taken, in place of b@, c@ and d@example.net; empty if any address of the domain is.
    pub(crate) recipients: Vec<String>,
    /// In place of example.net.
    pub(crate) domain: String,
    pub(crate) user: Option<(String, String)>,
}

/// How mail is taken, and what is announced.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ground {
    /// Mail is taken inside TLS alone.
    pub(crate) tls: bool,
    /// Mail is taken from users alone.
    pub(crate) login: bool,
    /// Lines of the reply to EHLO in plaintext, without the first.
    pub(crate) plain: Vec<String>,
    /// The same inside TLS.
    pub(crate) inside: Vec<String>,
}

impl Subject {
    pub(crate) fn hello(&self) -> &'static str {
        if self.lmtp { "LHLO client.example\r\n" } else { "EHLO client.example\r\n" }
    }

    /// What a case says, with the names of this server's world.
    pub(crate) fn adapted(&self, octets: &[u8]) -> Vec<u8> {
        let mut out = octets.to_vec();
        for (number, name) in [&b"<b@example.net>"[..], b"<c@example.net>", b"<d@example.net>"].into_iter().enumerate()
        {
            if let Some(recipient) = self.recipients.get(number) {
                out = replaced(&out, name, format!("<{recipient}>").as_bytes());
            }
        }
        out = replaced(&out, b"@example.net>", format!("@{}>", self.domain).as_bytes());
        out = replaced(&out, b"<a@example.org>", format!("<{}>", self.sender).as_bytes());
        if let Some((name, password)) = &self.user {
            let plain = format!("\0{name}\0{password}");
            for (known, octets) in [("AHVzZXIAcGVuY2ls", &plain), ("dXNlcg==", name), ("cGVuY2ls", password)] {
                out = replaced(&out, known.as_bytes(), &base64(octets.as_bytes()));
            }
        }
        out
    }

    /// The same for a case of SMTP, which is played over LMTP by its verb (RFC 2033 4.1).
    pub(crate) fn adapted_to_lmtp(&self, octets: &[u8]) -> Vec<u8> {
        let mut out = self.adapted(octets);
        if out.get(..5).is_some_and(|verb| verb.eq_ignore_ascii_case(b"EHLO ")) {
            out[0] = b'L';
            out[1] = b'H';
        }
        out
    }

    pub(crate) fn connect(&self) -> io::Result<Link> {
        let mut link = Link::connect(self.address, self.patience)?;
        if self.implicit_tls {
            link.start_tls(&self.host)?;
        }
        Ok(link)
    }

    /// Greeting, EHLO, STARTTLS, handshake; or what went wrong.
    pub(crate) fn starttls(&self) -> Result<Link, String> {
        let mut link = self.connect().map_err(|error| error.to_string())?;
        must(&mut link, None, "2")?;
        must(&mut link, Some(self.hello()), "2")?;
        must(&mut link, Some("STARTTLS\r\n"), "220")?;
        link.start_tls(&self.host).map_err(|error| format!("the handshake failed: {error}"))?;
        Ok(link)
    }

    /// AUTH PLAIN.
    pub(crate) fn login(&self, link: &mut Link) -> Result<(), String> {
        let Some((name, password)) = &self.user else { return Err("no --users were given".to_owned()) };
        let response = base64(format!("\0{name}\0{password}").as_bytes());
        let command = format!("AUTH PLAIN {}\r\n", String::from_utf8_lossy(&response));
        must(link, Some(&command), "235").map(|_| ())
    }

    pub(crate) fn ground(&self) -> Result<Ground, Failure> {
        let failed = |why: String| Failure::usage(format_args!("{}: {why}", self.address));
        let mut link = self.connect().map_err(|error| failed(error.to_string()))?;
        must(&mut link, None, "2").map_err(|why| failed(format!("no greeting: {why}")))?;
        let hello = must(&mut link, Some(self.hello()), "2").map_err(failed)?;
        let mut ground = Ground { plain: offered(&hello), ..Ground::default() };
        if self.implicit_tls {
            ground.inside.clone_from(&ground.plain);
        } else if has(&ground.plain, "STARTTLS")
            && let Ok(mut link) = self.starttls()
            && let Ok(hello) = must(&mut link, Some(self.hello()), "2")
        {
            ground.inside = offered(&hello);
        }
        let mut refused = self.takes_mail(&mut link, false);
        if refused.is_err() && !self.implicit_tls && !ground.inside.is_empty() {
            let mut link = self.starttls().map_err(failed)?;
            must(&mut link, Some(self.hello()), "2").map_err(failed)?;
            ground.tls = true;
            refused = self.takes_mail(&mut link, false);
        }
        if refused.is_err() && self.user.is_some() {
            let mut link = if ground.tls { self.starttls() } else { self.greeted() }.map_err(failed)?;
            must(&mut link, Some(self.hello()), "2").map_err(failed)?;
            ground.login = true;
            refused = self.takes_mail(&mut link, true);
        }
        let hint = "give --recipient or --domain, --sender, or --users";
        refused.map(|()| ground).map_err(|why| failed(format!("it takes no mail: {why}; {hint}")))
    }

    fn greeted(&self) -> Result<Link, String> {
        let mut link = self.connect().map_err(|error| error.to_string())?;
        must(&mut link, None, "2").map(|_| link)
    }

    fn takes_mail(&self, link: &mut Link, login: bool) -> Result<(), String> {
        if login {
            self.login(link)?;
        }
        for command in ["MAIL FROM:<a@example.org>\r\n", "RCPT TO:<b@example.net>\r\n"] {
            let command = String::from_utf8_lossy(&self.adapted(command.as_bytes())).into_owned();
            must(link, Some(&command), "2")?;
        }
        let _ = link.send(b"QUIT\r\n", None);
        Ok(())
    }
}

/// Says it, and wants a reply that begins so.
fn must(link: &mut Link, command: Option<&str>, wanted: &str) -> Result<Reply, String> {
    let verb = command.map_or("the connection", |command| command.split([' ', '\r']).next().unwrap_or_default());
    if let Some(command) = command {
        link.send(command.as_bytes(), None).map_err(|error| format!("{verb}: {error}"))?;
    }
    match link.reply() {
        Ok(reply) if reply.code.starts_with(wanted) => Ok(reply),
        Ok(reply) => Err(format!("{verb} was answered {:?}", reply.lines.join(" "))),
        Err(NoReply::Closed) => Err(format!("{verb}: the server closed")),
        Err(NoReply::Nothing) => Err(format!("{verb}: no reply in time")),
        Err(NoReply::Malformed(line)) => Err(format!("{verb} was answered with what is no reply: {line:?}")),
    }
}

fn offered(reply: &Reply) -> Vec<String> {
    reply.lines.iter().skip(1).map(|line| line.get(4..).unwrap_or_default().to_owned()).collect()
}

/// Whether a keyword is announced, such as `SIZE`; or a word behind one, such as `AUTH:PLAIN`.
pub(crate) fn has(offered: &[String], wanted: &str) -> bool {
    let (keyword, value) = wanted.split_once(':').unwrap_or((wanted, ""));
    offered.iter().any(|line| {
        let mut words = line.split_whitespace();
        words.next().is_some_and(|first| first.eq_ignore_ascii_case(keyword))
            && (value.is_empty() || words.any(|word| word.eq_ignore_ascii_case(value)))
    })
}

fn base64(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Base64::encode(octets, &mut out);
    out
}

fn replaced(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    out.extend_from_slice(rest);
    out
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{Subject, has};
    use std::time::Duration;

    pub(crate) fn subject() -> Subject {
        Subject {
            address: ([127, 0, 0, 1], 25).into(),
            host: "localhost".to_owned(),
            implicit_tls: false,
            lmtp: false,
            patience: Duration::from_secs(1),
            sender: "me@here.example".to_owned(),
            recipients: vec!["you@there.example".to_owned()],
            domain: "there.example".to_owned(),
            user: Some(("tim".to_owned(), "tanstaaftanstaaf".to_owned())),
        }
    }

    #[test]
    fn names_are_those_of_the_server() {
        let subject = Subject { lmtp: true, ..subject() };
        let adapted = |text: &str| String::from_utf8(subject.adapted(text.as_bytes())).expect("text");
        assert_eq!(adapted("MAIL FROM:<a@example.org> SIZE=1"), "MAIL FROM:<me@here.example> SIZE=1");
        assert_eq!(adapted("<b@example.net><c@example.net>"), "<you@there.example><c@there.example>");
        assert_eq!(adapted("AUTH PLAIN AHVzZXIAcGVuY2ls"), "AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm");
        assert_eq!(adapted("ehlo x"), "ehlo x");
        assert_eq!(subject.adapted_to_lmtp(b"ehlo x"), b"LHlo x");
    }

    #[test]
    fn what_is_announced_is_found() {
        let offered = ["SIZE 100".to_owned(), "auth LOGIN plain".to_owned()];
        assert!(has(&offered, "SIZE") && has(&offered, "AUTH:PLAIN") && !has(&offered, "AUTH:CRAM-MD5"));
        assert!(!has(&offered, "LOGIN"));
    }
}
