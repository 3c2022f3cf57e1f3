//! What one connection cannot tell: each question has a connection of its own.

use std::net::SocketAddr;

use rustls::NamedGroup;
use smtp_proto::TlsInfo;
use smtp_proto::tls::TlsVersion;

use super::certificate::Keys;
use super::finding::{Finding, Level};
use super::hello::{Answer, TLS10, TLS11};
use super::link::{Lost, shown};
use super::probe::{Seen, Stopped, Subject, expect};
use super::tls::{self, Only};
use crate::failure::Failure;

/// Versions, groups, the other kind of certificate; then bytes behind STARTTLS, and early talk, which may get a client onto a
/// list, last.
pub(super) fn questions(subject: &Subject, address: SocketAddr, seen: &Seen) -> Result<Vec<Finding>, Failure> {
    let mut found = Vec::new();
    if let Some((info, chain)) = &seen.tls {
        found.extend(versions(subject, address, info)?);
        found.push(groups(subject, address, info)?);
        if let Some(keys) = chain.first().and_then(Keys::of) {
            found.extend(other_keys(subject, address, keys)?);
        }
        if !subject.implicit_tls {
            found.push(behind_starttls(subject, address)?);
        }
    }
    if !subject.implicit_tls {
        found.push(early_talk(subject, address));
    }
    Ok(found)
}

/// Whether a handshake succeeds in which this alone is offered.
fn has(subject: &Subject, address: SocketAddr, only: Only) -> Result<Result<bool, Stopped>, Failure> {
    let mut link = match subject.before_tls(address) {
        Ok(link) => link,
        Err(stopped) => return Ok(Err(stopped)),
    };
    let had = subject.start_tls(&mut link, only)?.is_ok();
    if had {
        link.quit();
    }
    Ok(Ok(had))
}

fn versions(subject: &Subject, address: SocketAddr, info: &TlsInfo) -> Result<Vec<Finding>, Failure> {
    let mut found = Vec::new();
    if info.version == Some(TlsVersion::Tls13) {
        found.push(Finding::ok("tls-1.3", "TLS 1.3 is accepted"));
        found.push(match has(subject, address, Only::Tls12)? {
            Ok(true) => Finding::ok("tls-1.2", "TLS 1.2 is accepted"),
            Ok(false) => Finding::note("tls-1.2", "TLS 1.2 is refused: some senders have no newer one"),
            Err(stopped) => stopped.unknown("tls-1.2"),
        });
    } else {
        let mend = "a newer TLS library has it (RFC 9325 3.1.1)";
        found.push(Finding::warning("tls-1.3", "TLS 1.3 is not accepted").mend(mend));
        found.push(Finding::ok("tls-1.2", "TLS 1.2 is accepted"));
    }
    found.push(old_versions(subject, address));
    Ok(found)
}

/// TLS 1.0 and 1.1 (RFC 8996). A server that has 1.0 alone answers with it to an offer of 1.1, so one is mostly enough.
fn old_versions(subject: &Subject, address: SocketAddr) -> Finding {
    let id = "tls-old";
    let mut accepted = Vec::new();
    for version in [TLS11, TLS10] {
        let answer = subject.before_tls(address).and_then(|link| {
            let answer = link.offer_old_tls(version, subject.sni.as_deref());
            answer.or_else(|lost| match lost {
                // Some close without an alert.
                Lost::Closed => Ok(Answer::Refused(0)),
                other => Err(Stopped::Lost("a ClientHello of old TLS", other)),
            })
        });
        match answer {
            Ok(Answer::Accepted(TLS11)) => accepted.push("1.1"),
            Ok(Answer::Accepted(TLS10)) => accepted.push("1.0"),
            Ok(_) => {}
            Err(stopped) => return stopped.unknown(id),
        }
        if accepted != ["1.1"] {
            break;
        }
    }
    if accepted.is_empty() {
        return Finding::ok(id, "TLS 1.0 and 1.1 are refused");
    }
    Finding::warning(id, format!("taken, against RFC 8996: TLS {}", accepted.join(" and ")))
        .mend("allow TLS 1.2 and later alone (Postfix: smtpd_tls_protocols = >=TLSv1.2)")
}

/// The groups that clients have, one at a time, but for the one that is known already.
fn groups(subject: &Subject, address: SocketAddr, info: &TlsInfo) -> Result<Finding, Failure> {
    let id = "groups";
    let (mut has_them, mut lacks) = (Vec::new(), Vec::new());
    let wanted = [NamedGroup::X25519MLKEM768, NamedGroup::X25519, NamedGroup::secp256r1];
    for group in wanted.into_iter().filter(|group| tls::knows(*group)) {
        let name = group.as_str().unwrap_or_default();
        let known = info.group.as_deref().is_some_and(|known| known.eq_ignore_ascii_case(name));
        match if known { Ok(true) } else { has(subject, address, Only::Group(group))? } {
            Ok(true) => has_them.push(name),
            Ok(false) => lacks.push(name),
            Err(stopped) => return Ok(stopped.unknown(id)),
        }
    }
    let words = |names: &[&str]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let mut told = words(&has_them);
    if !lacks.is_empty() {
        told = format!("{told}; not {}", words(&lacks));
    }
    let finding = Finding::new(id, if lacks.is_empty() { Level::Ok } else { Level::Note }, told);
    Ok(if lacks.contains(&"X25519MLKEM768") {
        finding.mend("X25519MLKEM768 keeps what is recorded today from being read later; OpenSSL has it from 3.5 on")
    } else {
        finding
    })
}

/// Whether there is a certificate of the other kind as well; and if so, what is to be said of it.
fn other_keys(subject: &Subject, address: SocketAddr, keys: Keys) -> Result<Vec<Finding>, Failure> {
    let id = "certificate-kinds";
    let mut link = match subject.before_tls(address) {
        Ok(link) => link,
        Err(stopped) => return Ok(vec![stopped.unknown(id)]),
    };
    if subject.start_tls(&mut link, Only::Keys(keys.other()))?.is_err() {
        let words = format!("{} alone; a client that knows {} alone gets no TLS", keys.word(), keys.other().word());
        // RFC 9325 4.2 has RSA as what everybody knows.
        return Ok(vec![if keys == Keys::Rsa { Finding::ok(id, words) } else { Finding::note(id, words) }]);
    }
    let chain = link.chain();
    link.quit();
    let mut found = vec![Finding::ok(id, "RSA and ECDSA")];
    found.extend(subject.trust.judge(&chain).0);
    Ok(found)
}

/// A command in the same octets as STARTTLS: it was not encrypted, so that anybody may have put it there (CVE-2011-0411). The
/// replies inside TLS are counted, so that no time has to be waited for one that may not come.
fn behind_starttls(subject: &Subject, address: SocketAddr) -> Result<Finding, Failure> {
    let id = "behind-starttls";
    let mut link = match subject.connect(address) {
        Ok(link) => link,
        Err(stopped) => return Ok(stopped.unknown(id)),
    };
    let greeted = expect("the greeting", link.reply(), 220).and_then(|_| subject.hello(&mut link));
    if let Err(stopped) = greeted {
        return Ok(stopped.unknown(id));
    }
    let answered = link.say(b"STARTTLS\r\nNOOP\r\n").and_then(|()| link.reply());
    match expect("STARTTLS", answered, 220) {
        Ok(_) => {}
        Err(Stopped::Refused(_, reply)) => {
            return Ok(Finding::ok(id, format!("STARTTLS with a command behind it is refused: {reply}")));
        }
        Err(Stopped::Lost(_, Lost::Closed)) => {
            return Ok(Finding::ok(id, "STARTTLS with a command behind it ends the connection"));
        }
        Err(stopped) => return Ok(stopped.unknown(id)),
    }
    if subject.start_tls(&mut link, Only::Everything)?.is_err() {
        return Ok(Finding::ok(id, "with a command behind STARTTLS there is no handshake"));
    }
    let replies = [format!("EHLO {}", subject.helo), "QUIT".to_owned()].map(|command| link.ask(&command));
    Ok(match replies {
        [Ok(_), Ok(second)] if second.code() == 221 => {
            Finding::ok(id, "a command behind STARTTLS is not answered inside TLS")
        }
        [Ok(first), Ok(_)] if first.code() != 421 => {
            Finding::critical(id, "a command that came before the handshake is answered inside TLS (CVE-2011-0411)")
                .mend("update the server: whoever sits in between can put commands into encrypted sessions")
        }
        [Ok(first), _] if first.code() == 421 => Stopped::Busy(shown(&first)).unknown(id),
        _ => Finding::ok(id, "a command behind STARTTLS ends the session"),
    })
}

/// Talks before it is greeted, as senders of spam do (RFC 5321 4.3.1 has clients wait). Either answer is right.
fn early_talk(subject: &Subject, address: SocketAddr) -> Finding {
    let id = "early-talk";
    let mut link = match subject.connect(address) {
        Ok(link) => link,
        Err(stopped) => return stopped.unknown(id),
    };
    let said = link.say(format!("EHLO {}\r\n", subject.helo).as_bytes());
    let greeted = said.and_then(|()| link.reply());
    let (greeting, reply) = match greeted {
        Ok(greeting) if greeting.code() == 220 => (greeting, link.reply()),
        Ok(refusal) => return Finding::ok(id, format!("refused: {}", shown(&refusal))),
        Err(Lost::Closed) => return Finding::ok(id, "refused: it closed the connection"),
        Err(lost) => return Finding::unknown(id, format!("not found out: {lost}")),
    };
    match reply {
        Ok(reply) if reply.is_positive() => {
            link.quit();
            Finding::note(
                id,
                "who talks before the greeting is served: to wait some seconds before it would tell them apart",
            )
        }
        Ok(refusal) => Finding::ok(id, format!("refused: {}", shown(&refusal))),
        Err(Lost::Closed) => Finding::ok(id, format!("refused after {}", shown(&greeting))),
        Err(lost) => Finding::unknown(id, format!("not found out: {lost}")),
    }
}
