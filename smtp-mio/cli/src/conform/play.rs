//! Plays one case against a server, on a connection of its own, and says what came of it.

use super::case::{Case, Expected, Line};
use super::ground::{Ground, Subject, has};
use super::link::{Link, NoReply};

/// What came of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    /// And why.
    Failed(String),
    /// And why.
    Skipped(String),
}

/// Why this case cannot be played here, if it cannot.
pub(crate) fn unfit(case: &Case, subject: &Subject, ground: &Ground) -> Option<String> {
    let inside = subject.implicit_tls || ground.tls || case.inside_tls || case.starts_tls();
    for keyword in &case.needs {
        let offered = if inside && keyword != "STARTTLS" { &ground.inside } else { &ground.plain };
        if !has(offered, keyword) {
            return Some(format!("{keyword} is not announced"));
        }
    }
    let offered = if inside { &ground.inside } else { &ground.plain };
    if let Some(keyword) = case.absent.iter().find(|keyword| has(offered, keyword)) {
        return Some(format!("{keyword} is announced"));
    }
    if subject.lmtp != case.lmtp {
        let most_one = case.recipients == Some(1) && !case.says(b"HELO") && !case.says(b"LHLO");
        if case.lmtp || !most_one {
            return Some(if case.lmtp { "this is SMTP" } else { "this is LMTP" }.to_owned());
        }
    }
    if case.starts_tls() && subject.implicit_tls {
        return Some("it begins in plaintext".to_owned());
    }
    if case.inside_tls && !subject.implicit_tls && ground.inside.is_empty() {
        return Some("it takes place inside TLS, which is not offered".to_owned());
    }
    match case.recipients {
        None if !subject.recipients.is_empty() => {
            return Some("it wants a domain of which every address is taken: give --domain".to_owned());
        }
        Some(count) if !subject.recipients.is_empty() && subject.recipients.len() < count => {
            return Some(format!("it wants {count} recipients: give --recipient so often"));
        }
        _ => {}
    }
    if case.users && subject.user.is_none() {
        return Some("it wants a user: give --users".to_owned());
    }
    (ground.login && case.class != "AUTH" && (case.says(b"HELO") || case.starts_tls()))
        .then(|| "mail is taken from users alone, and it logs nobody in".to_owned())
}

pub(crate) fn play(case: &Case, subject: &Subject, ground: &Ground) -> Outcome {
    if let Some(why) = unfit(case, subject, ground) {
        return Outcome::Skipped(why);
    }
    let whole = once(case, subject, ground, None);
    if whole == Outcome::Passed && case.pieces.is_some() { once(case, subject, ground, case.pieces) } else { whole }
}

fn once(case: &Case, subject: &Subject, ground: &Ground, pieces: Option<usize>) -> Outcome {
    let tls = (ground.tls || case.inside_tls) && !subject.implicit_tls && !case.starts_tls();
    // The greeting comes before the handshake, and was looked at there.
    let (link, greeted) =
        if tls { (subject.starttls(), true) } else { (subject.connect().map_err(|e| e.to_string()), false) };
    let link = match link {
        Ok(link) => link,
        Err(why) => return Outcome::Failed(why),
    };
    let login = ground.login && case.class != "AUTH" && !case.starts_tls();
    let to_lmtp = subject.lmtp && !case.lmtp;
    let mut play = Play { subject, link, pieces, refusals: 0, login, to_lmtp };
    match play.run(&case.lines[usize::from(greeted)..], case.closed) {
        Ok(()) => Outcome::Passed,
        Err(Stop::Wrong(why)) if pieces.is_some() => Outcome::Failed(format!("in pieces: {why}")),
        Err(Stop::Wrong(why)) => Outcome::Failed(why),
        Err(Stop::CutShort(why)) => Outcome::Skipped(why),
    }
}

enum Stop {
    Wrong(String),
    /// The server has had enough of errors, as RFC 5321 4.2.5 and 7.8 let it.
    CutShort(String),
}

struct Play<'a> {
    subject: &'a Subject,
    link: Link,
    pieces: Option<usize>,
    /// Commands that were refused so far.
    refusals: usize,
    /// A user is yet to log in, behind EHLO.
    login: bool,
    /// A case of SMTP is played over LMTP.
    to_lmtp: bool,
}

impl Play<'_> {
    fn run(&mut self, lines: &[Line], closed: bool) -> Result<(), Stop> {
        let mut at = 0;
        let mut said = String::from("the connection");
        let mut hello = false;
        while let Some(line) = lines.get(at) {
            at += 1;
            match line {
                Line::Client(first) => {
                    // What stands together goes out together.
                    let mut octets = self.adapted(first);
                    while let Some(Line::Client(more)) = lines.get(at) {
                        octets.extend(self.adapted(more));
                        at += 1;
                    }
                    said = shown(&octets);
                    hello = octets.get(..4).is_some_and(|verb| {
                        [&b"EHLO"[..], b"LHLO"].iter().any(|known| verb.eq_ignore_ascii_case(known))
                    });
                    // A server that has closed says so where its reply is due.
                    let _ = self.link.send(&octets, self.pieces);
                }
                Line::Server(expected) => {
                    let code = self.reply(expected, &said)?;
                    if hello && self.login && code.starts_with('2') {
                        self.login = false;
                        let done = self.subject.login(&mut self.link);
                        done.map_err(|why| Stop::Wrong(format!("AUTH failed: {why}")))?;
                    }
                }
                Line::Tls => self
                    .link
                    .start_tls(&self.subject.host)
                    .map_err(|error| Stop::Wrong(format!("the handshake failed: {error}")))?,
                Line::TlsOrClose => {
                    if self.link.start_tls(&self.subject.host).is_err() {
                        return Ok(());
                    }
                }
                Line::Eof => self.link.finish(),
            }
        }
        if !closed {
            return Ok(());
        }
        match self.link.rest() {
            Ok(rest) if rest.is_empty() => Ok(()),
            Ok(rest) => Err(Stop::Wrong(format!("it said more than it was asked: {}", shown(&rest)))),
            Err(_) => Err(Stop::Wrong(format!("it did not close behind {said}"))),
        }
    }

    fn adapted(&self, octets: &[u8]) -> Vec<u8> {
        if self.to_lmtp { self.subject.adapted_to_lmtp(octets) } else { self.subject.adapted(octets) }
    }

    fn reply(&mut self, expected: &Expected, said: &str) -> Result<String, Stop> {
        let wanted = expected.codes.join(" or ");
        match self.link.reply() {
            Ok(reply) if expected.codes.iter().any(|code| reply.code.starts_with(code)) => {
                self.refusals += usize::from(reply.code.starts_with(['4', '5']));
                Ok(reply.code)
            }
            Ok(reply) if reply.code == "421" && self.refusals > 0 => {
                Err(Stop::CutShort(format!("the server ended the session after {} refusals", self.refusals)))
            }
            Ok(reply) => Err(Stop::Wrong(format!("{said} was answered {:?}, not {wanted}", reply.lines.join(" ")))),
            Err(NoReply::Closed) if self.refusals > 0 => {
                Err(Stop::CutShort(format!("the server closed after {} refusals", self.refusals)))
            }
            Err(NoReply::Closed) => Err(Stop::Wrong(format!("it closed where {wanted} to {said} was due"))),
            Err(NoReply::Nothing) => Err(Stop::Wrong(format!("no reply to {said} in time, where {wanted} was due"))),
            Err(NoReply::Malformed(line)) => {
                Err(Stop::Wrong(format!("{said} was answered with what is no reply: {line:?}")))
            }
        }
    }
}

/// The first line of it, so that it fits into a message.
fn shown(octets: &[u8]) -> String {
    let line = octets.split(|octet| *octet == b'\n').next().unwrap_or_default();
    let text = String::from_utf8_lossy(&line[..line.len().min(60)]).trim_end().escape_debug().to_string();
    let more = if line.len() + 1 < octets.len() || line.len() > 60 { " …" } else { "" };
    format!("\"{text}{more}\"")
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::{Outcome, play, shown, unfit};
    use crate::conform::case::Case;
    use crate::conform::ground::{Ground, Subject, tests::subject};

    fn case(text: &str) -> Case {
        Case::parse("server/x", text).expect("read").expect("a case")
    }

    /// A server that says all this at once, and closes when it is left.
    fn against(says: &'static str, text: &str) -> Outcome {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("an address");
        let server = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().expect("a client");
            socket.write_all(says.as_bytes()).expect("said");
            let mut octets = [0; 1000];
            let _ = socket.read(&mut octets);
        });
        let outcome = play(&case(text), &Subject { address, ..subject() }, &Ground::default());
        server.join().expect("ended");
        outcome
    }

    #[test]
    fn replies_are_held_against_the_codes_that_will_do() {
        let dialogue = "wire: MUST order\nS: 220 x\nC: QUIT\nS: 221 x\n";
        assert_eq!(against("220 hi\r\n221-a\r\n221 b\r\n", dialogue), Outcome::Passed);
        for (says, why) in [
            ("220 hi\r\n500 no\r\n", "\"QUIT\" was answered \"500 no\", not 2"),
            ("220 hi\r\n221 a\r\n221 b\r\n", "it said more than it was asked: \"221 b\""),
            ("220 hi\n", "the connection was answered with what is no reply: \"220 hi\\n\""),
            ("220 hi\r\n221-a\r\n222 b\r\n", "\"QUIT\" was answered with what is no reply: \"222 b\""),
            ("220 hi\r\n", "it closed where 2 to \"QUIT\" was due"),
        ] {
            assert_eq!(against(says, dialogue), Outcome::Failed(why.to_owned()), "{says:?}");
        }
    }

    #[test]
    fn a_server_may_have_enough_of_errors() {
        let dialogue = "wire: MUST order\nS: 220 x\nC: A\nS: 500 x\nC: B\nS: 500 x\n";
        let Outcome::Skipped(why) = against("220 hi\r\n500 no\r\n421 enough\r\n", dialogue) else {
            panic!("not skipped")
        };
        assert!(why.contains("after 1 refusals"), "{why}");
        assert!(matches!(against("220 hi\r\n421 no\r\n", dialogue), Outcome::Failed(_)));
    }

    #[test]
    fn what_cannot_be_played_here_is_skipped_and_told() {
        let mut ground = Ground { plain: vec!["SIZE".to_owned()], ..Ground::default() };
        let why = |marks: &str, subject: &Subject, ground: &Ground| {
            unfit(&case(&format!("wire: MUST order {marks}\nS: 220 x\n")), subject, ground)
        };
        assert_eq!(why("needs=SIZE", &subject(), &ground), None);
        assert_eq!(why("needs=DSN", &subject(), &ground).as_deref(), Some("DSN is not announced"));
        assert_eq!(why("absent=SIZE", &subject(), &ground).as_deref(), Some("SIZE is announced"));
        assert!(why("recipients=2", &subject(), &ground).is_some_and(|why| why.contains("2 recipients")));
        assert!(why("recipients=any", &subject(), &ground).is_some());
        assert!(why("recipients=2", &Subject { lmtp: true, recipients: Vec::new(), ..subject() }, &ground).is_some());
        assert!(why("users=yes", &Subject { user: None, ..subject() }, &ground).is_some());
        ground.login = true;
        assert!(unfit(&case("wire: MUST order\nC: HELO a\n"), &subject(), &ground).is_some());
    }

    #[test]
    fn what_was_said_is_told_in_one_line() {
        assert_eq!(shown(b"DATA\r\nx\r\n"), "\"DATA …\"");
        assert_eq!(shown(b"a\0b\r\n"), "\"a\\0b\"");
    }
}
