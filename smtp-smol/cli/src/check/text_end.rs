//! Whether the server takes for an end of text what is none (RFC 5321 4.1.1.4: CRLF . CRLF, and nothing else). A server that
//! does lets others put messages into theirs: SMTP smuggling. This sends messages, and only to whom it was told to.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use smtp_proto::trace::Date;

use super::finding::Finding;
use super::link::{Link, shown};
use super::probe::{Stopped, Subject, expect};
use super::tls::Only;
use crate::failure::Failure;

/// What looks like an end of text, and is none.
pub(super) const NO_ENDS: [&str; 6] = ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\r\n", "\r\n.\r"];

/// What became of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    /// One message, with all in it or with what is wrong in it mended.
    Whole,
    Refused(String),
    /// It ended where it did not: what stands behind it was taken for commands.
    Split,
}

/// One connection and one message for each, from the null sender.
pub(super) fn questions(subject: &Subject, address: SocketAddr, tls: bool, to: &str) -> Result<Finding, Failure> {
    let id = "text-end";
    let (mut whole, mut refused, mut split, mut words) = (Vec::new(), Vec::new(), Vec::new(), String::new());
    for (number, no_end) in NO_ENDS.iter().enumerate() {
        let name = no_end.escape_debug().to_string();
        match one(subject, address, tls, to, number, no_end)? {
            Ok(Fate::Whole) => whole.push(name),
            Ok(Fate::Refused(reply)) => {
                words = reply;
                refused.push(name);
            }
            Ok(Fate::Split) => split.push(name),
            Err(stopped) => return Ok(stopped.unknown(id)),
        }
    }
    if !split.is_empty() {
        let told = format!("taken for an end of text: {}", split.join(" "));
        let mend = "others can smuggle messages in: update it, or have it refuse bare CR and LF (Postfix: \
                    smtpd_forbid_bare_newline = yes; its own networks are spared, so ask from elsewhere)";
        return Ok(Finding::critical(id, told).mend(mend));
    }
    let mut told = Vec::new();
    if !whole.is_empty() {
        told.push(format!("text as any other: {}", whole.join(" ")));
    }
    if !refused.is_empty() {
        told.push(format!("refused: {} ({words})", refused.join(" ")));
    }
    Ok(Finding::ok(id, told.join("; ")))
}

fn one(
    subject: &Subject,
    address: SocketAddr,
    tls: bool,
    to: &str,
    number: usize,
    no_end: &str,
) -> Result<Result<Fate, Stopped>, Failure> {
    let ready = if tls { subject.before_tls(address) } else { subject.connect(address) };
    let mut link = match ready {
        Ok(link) => link,
        Err(stopped) => return Ok(Err(stopped)),
    };
    if tls && let Err(failure) = subject.start_tls(&mut link, Only::Everything)? {
        return Ok(Err(Stopped::Refused("STARTTLS", failure.to_string())));
    }
    // With TLS first, the greeting comes inside it.
    let begun = if tls && !subject.implicit_tls { Ok(()) } else { expect("the greeting", link.reply(), 220).map(drop) };
    let ready = begun.and_then(|()| subject.hello(&mut link)).and_then(|_| {
        expect("MAIL", link.ask("MAIL FROM:<>"), 250)?;
        expect("RCPT", link.ask(&format!("RCPT TO:<{to}>")), 250)?;
        expect("DATA", link.ask("DATA"), 354)
    });
    Ok(ready.and_then(|_| fate(&mut link, &text(&subject.helo, to, number, no_end))))
}

/// A message whose text goes on behind what is no end, with a line that does no harm if it is taken for a command.
fn text(helo: &str, to: &str, number: usize, no_end: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let date = Date::from_unix(now.as_secs());
    format!(
        "From: <postmaster@{host}>\r\nTo: <{to}>\r\nDate: {date}\r\nMessage-ID: <check.{}.{number}@{host}>\r\n\
         Subject: test of the end of text, {} of {}\r\n\r\n\
         smtp-smol check sent this. What follows is no end of text.{no_end}NOOP\r\n.\r\n",
        now.as_nanos(),
        number + 1,
        NO_ENDS.len(),
        host = helo.trim_matches(['[', ']']),
    )
}

/// There is one reply to the text, and then the one to QUIT. One more, and the text had an end too many.
fn fate(link: &mut Link, text: &str) -> Result<Fate, Stopped> {
    let lost = |lost| Stopped::Lost("the text", lost);
    link.say(text.as_bytes()).map_err(lost)?;
    let first = link.reply().map_err(lost)?;
    let second = link.ask("QUIT");
    match second {
        Ok(second) if second.code() != 221 && second.code() != 421 => Ok(Fate::Split),
        _ if !first.is_positive() => Ok(Fate::Refused(shown(&first))),
        Ok(second) if second.code() == 221 => Ok(Fate::Whole),
        Ok(second) => Err(Stopped::Busy(shown(&second))),
        Err(other) => Err(Stopped::Lost("QUIT behind the text", other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_one_end_and_it_is_the_last() {
        for (number, no_end) in NO_ENDS.iter().enumerate() {
            let text = text("client.example", "me@example.net", number, no_end);
            let end = text.find("\r\n.\r\n").expect("an end");
            assert_eq!(end + 5, text.len(), "{text:?}");
            assert!(text[..end].ends_with(&format!("{no_end}NOOP")) && text.contains("\r\n\r\n"), "{text:?}");
        }
    }
}
