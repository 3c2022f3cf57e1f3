//! One address of the server: a connection that goes the whole way, as a sender's would, and what is seen on it.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use smtp_proto::TlsInfo;
use smtp_proto::syntax::OwnedReply;
use smtp_proto::tls::{TlsFailure, TlsVersion};

use super::certificate::Trust;
use super::finding::Finding;
use super::link::{Link, Lost, shown};
use super::tls::{self, Only};
use crate::failure::Failure;

/// Who is asked, and how.
pub(super) struct Subject {
    /// A name to ask for (SNI), if the server goes by one.
    pub(super) sni: Option<String>,
    pub(super) trust: Trust,
    pub(super) helo: String,
    pub(super) time: Duration,
    pub(super) implicit_tls: bool,
    /// TLS is meant to be required.
    pub(super) required: bool,
    /// How many there were.
    pub(super) connections: Cell<u32>,
}

/// What the reply to EHLO announces, keywords in capitals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Offers(Vec<String>);

impl Offers {
    fn of(reply: &OwnedReply) -> Self {
        let keyword = |line: &[u8]| {
            // AUTH=LOGIN is how servers of another age say AUTH.
            let word = line.split(|octet| matches!(octet, b' ' | b'=')).next().unwrap_or_default();
            String::from_utf8_lossy(word).to_ascii_uppercase()
        };
        Self(reply.lines().lines().skip(1).map(|line| keyword(line.text())).collect())
    }

    pub(super) fn has(&self, keyword: &str) -> bool {
        self.0.iter().any(|known| known == keyword)
    }

    /// Those that the other one lacks.
    fn beyond(&self, other: &Self) -> Vec<&str> {
        self.0.iter().map(String::as_str).filter(|keyword| !other.has(keyword)).collect()
    }
}

/// Why a connection did not get as far as it was to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    Unreachable(io::ErrorKind, String),
    /// 421: it serves nobody now, or this client no longer. It says nothing of what the server offers.
    Busy(String),
    /// Another reply than the one that leads on; to what.
    Refused(&'static str, String),
    Lost(&'static str, Lost),
}

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable(_, why) => write!(f, "no connection: {why}"),
            Self::Busy(reply) => write!(f, "it answers {reply}"),
            Self::Refused(what, reply) => write!(f, "{what} is answered {reply}"),
            Self::Lost(what, lost) => write!(f, "{what}: {lost}"),
        }
    }
}

impl Stopped {
    const BUSY: &'static str = "it is busy, or this machine comes too often for it: let this machine through, come again \
                                later, or ask less with --quick";

    /// What was to be found out is not known.
    pub(super) fn unknown(&self, id: &'static str) -> Finding {
        let finding = Finding::unknown(id, format!("not found out: {self}"));
        if matches!(self, Self::Busy(_)) { finding.mend(Self::BUSY) } else { finding }
    }

    /// The server should have gone on.
    fn critical(&self, id: &'static str, mend: &'static str) -> Finding {
        match self {
            Self::Busy(_) => self.unknown(id),
            _ => Finding::critical(id, self.to_string()).mend(mend),
        }
    }
}

/// This reply, if it has one of these codes.
pub(super) fn expect(what: &'static str, reply: Result<OwnedReply, Lost>, code: u16) -> Result<OwnedReply, Stopped> {
    let reply = reply.map_err(|lost| Stopped::Lost(what, lost))?;
    match reply.code() {
        421 => Err(Stopped::Busy(shown(&reply))),
        found if found == code => Ok(reply),
        _ => Err(Stopped::Refused(what, shown(&reply))),
    }
}

impl Subject {
    pub(super) fn connect(&self, address: SocketAddr) -> Result<Link, Stopped> {
        self.connections.set(self.connections.get() + 1);
        Link::connect(address, self.time).map_err(|error| Stopped::Unreachable(error.kind(), error.to_string()))
    }

    pub(super) fn hello(&self, link: &mut Link) -> Result<Offers, Stopped> {
        let reply = expect("EHLO", link.ask(&format!("EHLO {}", self.helo)), 250)?;
        Ok(Offers::of(&reply))
    }

    /// A connection on which TLS comes next.
    pub(super) fn before_tls(&self, address: SocketAddr) -> Result<Link, Stopped> {
        let mut link = self.connect(address)?;
        if !self.implicit_tls {
            expect("the greeting", link.reply(), 220)?;
            self.hello(&mut link)?;
            expect("STARTTLS", link.ask("STARTTLS"), 220)?;
        }
        Ok(link)
    }

    pub(super) fn start_tls(&self, link: &mut Link, only: Only) -> Result<Result<TlsInfo, TlsFailure>, Failure> {
        Ok(link.start_tls(tls::config(only)?, self.trust.name.clone()))
    }
}

/// What the connection that went the whole way has seen, for the questions that come after it.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) findings: Vec<Finding>,
    /// What came of TLS, if it could be had.
    pub(super) tls: Option<(TlsInfo, Vec<CertificateDer<'static>>)>,
    /// The server spoke SMTP.
    pub(super) serves: bool,
    /// Days that its certificate has left.
    pub(super) days: Option<i64>,
}

/// Goes the whole way, but for a message.
pub(super) fn whole_way(subject: &Subject, address: SocketAddr) -> Result<Seen, Failure> {
    let mut seen = Seen::default();
    let mut link = match subject.connect(address) {
        Ok(link) => link,
        Err(stopped) => {
            seen.findings.push(unreachable(&stopped));
            return Ok(seen);
        }
    };
    if subject.implicit_tls {
        if shake_hands(subject, &mut link, &mut seen)? {
            if greeting(&mut link, &mut seen) {
                inside(subject, &mut link, &mut seen, None);
            }
            link.quit();
        }
        return Ok(seen);
    }
    if !greeting(&mut link, &mut seen) {
        return Ok(seen);
    }
    let offers = match subject.hello(&mut link) {
        Ok(offers) => offers,
        Err(stopped) => {
            seen.findings.push(stopped.critical("ehlo", "a mail server must know EHLO (RFC 5321 2.2.1)"));
            return Ok(seen);
        }
    };
    seen.serves = true;
    if offers.has("AUTH") {
        let words = "AUTH is announced before TLS: passwords may come in plaintext";
        let mend = "announce AUTH inside TLS alone (RFC 8314 3.3; Postfix: smtpd_tls_auth_only = yes)";
        seen.findings.push(Finding::warning("auth-before-tls", words).mend(mend));
    } else {
        seen.findings.push(Finding::ok("auth-before-tls", "AUTH is not announced before TLS"));
    }
    let before = mail(&mut link);
    if !offers.has("STARTTLS") {
        let mend = "switch it on (Postfix: smtpd_tls_security_level = may, with a certificate)";
        seen.findings.push(Finding::critical("starttls", "STARTTLS is not offered").mend(mend));
        link.quit();
        return Ok(seen);
    }
    // It may have enough of this client by now, which says nothing of STARTTLS.
    let goes_on = match &before {
        Ok(reply) => expect("MAIL", Ok(reply.clone()), reply.code()).map(drop),
        Err(lost) => Err(Stopped::Lost("MAIL", lost.clone())),
    };
    if let Err(stopped) = goes_on {
        seen.findings.push(stopped.unknown("starttls"));
        return Ok(seen);
    }
    match expect("STARTTLS", link.ask("STARTTLS"), 220) {
        Ok(_) => seen.findings.push(Finding::ok("starttls", "STARTTLS is offered, and accepted")),
        Err(stopped) => {
            let mend = "STARTTLS is offered and cannot be had: look in its log, the certificate may be missing";
            seen.findings.push(stopped.critical("starttls", mend));
            return Ok(seen);
        }
    }
    if shake_hands(subject, &mut link, &mut seen)? {
        inside(subject, &mut link, &mut seen, Some((&offers, before)));
        link.quit();
    }
    Ok(seen)
}

fn unreachable(stopped: &Stopped) -> Finding {
    match stopped {
        // This machine is not the server's fault.
        Stopped::Unreachable(io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable, why) => {
            Finding::unknown("connect", format!("there is no way from here: {why}"))
                .mend("ask from a machine that has that network; or leave the family out with --ipv4 or --ipv6")
        }
        _ => Finding::critical("connect", stopped.to_string())
            .mend("is it running, and does a firewall let it be reached?"),
    }
}

fn greeting(link: &mut Link, seen: &mut Seen) -> bool {
    match expect("the greeting", link.reply(), 220) {
        Ok(reply) => seen.findings.push(Finding::ok("greeting", shown(&reply))),
        Err(stopped) => {
            seen.findings.push(stopped.critical("greeting", "it takes no mail from this machine: look in its log"));
            return false;
        }
    }
    seen.serves = true;
    true
}

/// The handshake, the version and the certificate. False where nothing can follow.
fn shake_hands(subject: &Subject, link: &mut Link, seen: &mut Seen) -> Result<bool, Failure> {
    match subject.start_tls(link, Only::Everything)? {
        Ok(info) => {
            let version = info.version.map_or("TLS", TlsVersion::as_str);
            let group = info.group.as_deref().unwrap_or("no group");
            seen.findings.push(Finding::ok("tls", format!("{version}, {}, {group}", info.cipher)));
            let chain = link.chain();
            let (findings, days) = subject.trust.judge(&chain);
            seen.findings.extend(findings);
            seen.days = days;
            seen.tls = Some((info, chain));
            Ok(true)
        }
        Err(failure) => {
            let mend = "look in its log: does the key fit the certificate, and is TLS 1.2 or 1.3 allowed?";
            seen.findings.push(Finding::critical("tls", format!("the handshake failed: {failure}")).mend(mend));
            Ok(false)
        }
    }
}

/// What is announced inside TLS, and whether mail is taken without it.
fn inside(subject: &Subject, link: &mut Link, seen: &mut Seen, before: Option<(&Offers, Result<OwnedReply, Lost>)>) {
    let offers = match subject.hello(link) {
        Ok(offers) => offers,
        Err(stopped) => {
            seen.findings.push(stopped.critical("ehlo", "inside TLS all begins anew, with EHLO (RFC 3207 4.2)"));
            return;
        }
    };
    if offers.has("STARTTLS") {
        let words = "STARTTLS is announced inside TLS as well, against RFC 3207 4.2";
        seen.findings.push(Finding::warning("inside-tls", words).mend("announce it in plaintext alone"));
    } else {
        seen.findings.push(Finding::ok("inside-tls", "STARTTLS is announced no longer"));
    }
    let Some((plain, before)) = before else { return };
    let (gone, new): (Vec<_>, _) = (plain.beyond(&offers), offers.beyond(plain));
    let gone: Vec<_> = gone.into_iter().filter(|keyword| *keyword != "STARTTLS").collect();
    let told = |words: &mut Vec<String>, when: &str, keywords: &[&str]| {
        if !keywords.is_empty() {
            words.push(format!("{when} {}", crate::shown::Words(&keywords.join(", "))));
        }
    };
    let mut words = Vec::new();
    told(&mut words, "before TLS alone:", &gone);
    told(&mut words, "inside TLS alone:", &new);
    seen.findings.push(if words.is_empty() {
        Finding::ok("announced", "the same before and inside TLS")
    } else if gone.is_empty() {
        Finding::ok("announced", words.join("; "))
    } else {
        Finding::note("announced", words.join("; "))
    });
    seen.findings.push(required(subject.required, &before, &mail(link)));
}

/// Asks whether mail would be taken, and takes it back.
fn mail(link: &mut Link) -> Result<OwnedReply, Lost> {
    // The null sender: a server must take it (RFC 5321 4.5.5).
    let reply = link.ask("MAIL FROM:<>")?;
    if reply.is_positive() {
        link.ask("RSET")?;
    }
    Ok(reply)
}

/// Whether TLS is required, by the answers to MAIL before and inside TLS.
fn required(wanted: bool, before: &Result<OwnedReply, Lost>, inside: &Result<OwnedReply, Lost>) -> Finding {
    let id = "required";
    let (before, inside) = match (before, inside) {
        (Ok(before), Ok(inside)) => (before, inside),
        (Err(lost), _) | (_, Err(lost)) => return Finding::unknown(id, format!("not found out: MAIL: {lost}")),
    };
    match (before.code(), inside.is_positive()) {
        (421, _) => Stopped::Busy(shown(before)).unknown(id),
        (530, true) => Finding::ok(id, "mail is taken inside TLS alone: before it MAIL is answered 530"),
        (500.., true) => {
            Finding::ok(id, format!("mail is taken inside TLS alone: before it MAIL is answered {}", shown(before)))
        }
        (200..=299, _) if wanted => {
            Finding::critical(id, "mail is taken without TLS as well, and --required says that it must not be")
                .mend("require it (RFC 3207 4; Postfix: smtpd_tls_security_level = encrypt)")
        }
        (200..=299, _) => Finding::note(id, "mail is taken without TLS as well, as a public server must (RFC 3207 4)"),
        (500.., false) => Finding::note(
            id,
            format!(
                "mail is taken from others than this machine, or from users: inside TLS MAIL is answered {}",
                shown(inside)
            ),
        ),
        _ => Finding::unknown(id, format!("not found out: MAIL is answered {}", shown(before))),
    }
}

#[cfg(test)]
mod tests {
    use smtp_proto::syntax::ReplyLines;

    use super::*;
    use crate::check::finding::Level;

    fn reply(octets: &str) -> OwnedReply {
        OwnedReply::from(ReplyLines::parse(octets.as_bytes()).expect("a reply").expect("one"))
    }

    #[test]
    fn what_is_announced_is_compared() {
        let before = Offers::of(&reply("250-mx\r\n250-size 1000\r\n250-STARTTLS\r\n250-AUTH=LOGIN\r\n250 HELP\r\n"));
        let inside = Offers::of(&reply("250-mx\r\n250-SIZE\r\n250 DSN\r\n"));
        assert!(before.has("STARTTLS") && before.has("AUTH") && !before.has("MX"));
        assert_eq!(before.beyond(&inside), ["STARTTLS", "AUTH", "HELP"]);
        assert_eq!(inside.beyond(&before), ["DSN"]);
        assert_eq!(Offers::of(&reply("250 mx\r\n")), Offers::default());
    }

    // RFC 3207 4, and RFC 4954 6, which has the same code for those who have not authenticated.
    #[test]
    fn whether_tls_is_required_is_seen_by_both_answers() {
        let (ok, must) = (reply("250 Ok\r\n"), reply("530 5.7.0 Must issue a STARTTLS command first\r\n"));
        for (wanted, before, inside, level) in [
            (false, &ok, &ok, Level::Note),
            (true, &ok, &ok, Level::Critical),
            (true, &must, &ok, Level::Ok),
            (false, &reply("554 5.7.1 TLS please\r\n"), &ok, Level::Ok),
            (false, &must, &must, Level::Note),
            (true, &reply("421 4.7.0 Too many\r\n"), &ok, Level::Unknown),
            (true, &reply("451 4.3.0 Later\r\n"), &ok, Level::Unknown),
        ] {
            let found = required(wanted, &Ok(before.clone()), &Ok(inside.clone()));
            assert_eq!(found.level, level, "{before:?} {inside:?}");
        }
        assert_eq!(required(true, &Err(Lost::Closed), &Ok(ok)).level, Level::Unknown);
    }

    #[test]
    fn busy_is_not_refused() {
        let busy = expect("STARTTLS", Ok(reply("421 4.3.2 Later\r\n")), 220).expect_err("busy");
        assert_eq!(busy.critical("starttls", "x").level, Level::Unknown);
        let refused = expect("STARTTLS", Ok(reply("454 4.7.0 No TLS now\r\n")), 220).expect_err("refused");
        assert_eq!(refused.critical("starttls", "x").level, Level::Critical);
        assert!(expect("STARTTLS", Ok(reply("220 Go\r\n")), 220).is_ok());
    }
}
