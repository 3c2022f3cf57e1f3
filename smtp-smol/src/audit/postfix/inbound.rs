//! Mail that comes in: sessions, the messages in them, and what was refused.

use std::net::IpAddr;

use smtp_proto::tls::{ClientCertificate, Direction, End, Hop, Wanted};

use super::phrases::{Reject, client_name, established, queue_name};
use super::{FOLLOWED, Postfix, key, place};
use crate::audit::desk::{Desk, Seen};
use crate::audit::scan::{find, number};
use crate::audit::syslog::{Calendar, Line};

/// Messages of one session that wait for its end.
const WAITING: usize = 1 << 16;

/// What is known of one connection from outside.
#[derive(Debug, Default)]
pub(super) struct Session {
    peer: Option<IpAddr>,
    host: Vec<u8>,
    hop: Option<Hop>,
    failed: bool,
    /// A port where TLS comes first: that there is no line about it says nothing.
    implicit: bool,
    waiting: Vec<u64>,
    refused: Option<Refused>,
}

/// A transaction of which every recipient was refused so far.
#[derive(Debug)]
struct Refused {
    time: i64,
    sender: Box<[u8]>,
    to: Box<[u8]>,
    recipients: u32,
}

/// What is known of one message.
#[derive(Debug, Default)]
pub(super) struct Mail {
    pub(super) time: i64,
    pub(super) peer: Option<IpAddr>,
    pub(super) host: Box<[u8]>,
    pub(super) sender: Box<[u8]>,
    pub(super) to: Vec<Box<[u8]>>,
    pub(super) bytes: u64,
    pub(super) recipients: u32,
    pub(super) hop: Option<Hop>,
    pub(super) from_outside: bool,
    pub(super) queued: bool,
    pub(super) delivered: bool,
}

impl Postfix {
    pub(super) fn smtpd(&mut self, line: &Line<'_>, calendar: &mut Calendar, desk: &mut Desk) -> Option<()> {
        let place = place(line);
        let text = line.text;
        if let Some(client) = text.strip_prefix(b"connect from ") {
            // The end of the session before it may have been lost.
            if let Some(mut before) = self.sessions.remove(&place) {
                self.close(&mut before, None, calendar.time(line.stamp)?, desk);
            }
            if self.sessions.len() >= FOLLOWED {
                self.forget_sessions(calendar.time(line.stamp)?, desk);
            }
            let session = self.sessions.entry(place).or_default();
            let (host, peer) = client_name(client);
            session.host.extend_from_slice(host);
            session.peer = peer;
            session.implicit =
                matches!(line.instance.rsplit(|octet| *octet == b'/').next(), Some(b"smtps" | b"submissions"));
        } else if let Some(client) = text.strip_prefix(b"disconnect from ") {
            let counts = client.iter().position(|octet| *octet == b' ').map(|at| &client[at..]);
            if let Some(mut session) = self.sessions.remove(&place) {
                let waits = !session.waiting.is_empty() || session.failed || session.refused.is_some();
                if waits {
                    self.close(&mut session, counts, calendar.time(line.stamp)?, desk);
                }
            }
        } else if let Some(tls) = established(text, b" TLS connection established from ") {
            self.tells_tls = true;
            let certificate = match tls.trust {
                b"Untrusted" => ClientCertificate::Untrusted,
                b"Trusted" | b"Verified" => ClientCertificate::Verified,
                _ if self.asks => ClientCertificate::None,
                _ => ClientCertificate::Unknown,
            };
            self.asks |= tls.trust != b"Anonymous";
            let session = self.sessions.entry(place).or_default();
            session.hop = Some(Hop::Used { version: tls.version, certificate });
        } else if text.starts_with(b"SSL_accept error from ") || text.starts_with(b"lost connection after STARTTLS ") {
            self.tells_tls = true;
            if let Some(session) = self.sessions.get_mut(&place) {
                session.failed |= session.hop.is_none();
            }
        } else if let Some(text) = text.strip_prefix(b"NOQUEUE: reject: ") {
            self.reject(place, text, calendar.time(line.stamp)?, desk);
        } else if let Some((queue, text)) = queue_name(text) {
            if let Some(client) = text.strip_prefix(b"client=") {
                self.begin(place, key(line.host, queue), client, calendar.time(line.stamp)?, desk);
            } else if matches!(text, [b'r' | b'd', ..] | [b'm', b'i', ..]) {
                self.verdict(key(line.host, queue), text, calendar.time(line.stamp)?, desk);
            }
        }
        Some(())
    }

    /// `client=a[192.0.2.1], sasl_method=…`: a message has a sender, and a recipient that is accepted.
    fn begin(&mut self, place: u64, queue: u64, client: &[u8], time: i64, desk: &mut Desk) {
        // The name is used again for another message.
        if let Some(mut before) = self.mails.remove(queue) {
            before.delivered = true;
            self.give_if_complete(&mut before, desk);
        }
        let session = self.sessions.entry(place).or_default();
        session.refused = None;
        let (host, peer) = client_name(client);
        if find(client, b", sasl_").is_some() {
            desk.messages += 1;
            desk.aside.submissions += 1;
            self.insert(queue, Mail { time, ..Mail::default() }, desk);
            return;
        }
        if let Some(at) = find(client, b", orig_queue_id=")
            && !client[at + 16..].starts_with(b"NOQUEUE")
        {
            // A filter gives back what has been counted before it.
            self.insert(queue, Mail { time, ..Mail::default() }, desk);
            return;
        }
        let hop = session.hop;
        if hop.is_none() && session.waiting.len() < WAITING {
            session.waiting.push(queue);
        }
        let mail = Mail { time, peer, host: host.into(), hop, from_outside: true, ..Mail::default() };
        self.insert(queue, mail, desk);
    }

    pub(super) fn insert(&mut self, queue: u64, mail: Mail, desk: &mut Desk) {
        if let Some(old) = self.mails.insert(queue, mail) {
            for mut mail in old {
                mail.delivered = true;
                self.give_if_complete(&mut mail, desk);
            }
        }
    }

    pub(super) fn qmgr(&mut self, line: &Line<'_>, desk: &mut Desk) -> Option<()> {
        let (queue, text) = queue_name(line.text)?;
        let queue = key(line.host, queue);
        if let Some(rest) = text.strip_prefix(b"from=<") {
            // `from=<a@b>, size=1, nrcpt=2 (queue active)`; each further try to deliver says it again.
            let end = find(rest, b">, size=")?;
            let (bytes, after) = number(&rest[end + 8..])?;
            let recipients = after.strip_prefix(b", nrcpt=").and_then(number).map_or(1, |(count, _)| count);
            let known = self.mails.get_mut(queue).is_some();
            if !known {
                // From this machine itself, or from before this log began: its sender is needed when it goes out.
                self.insert(queue, Mail::default(), desk);
            }
            let mail = self.mails.get_mut(queue)?;
            if mail.queued {
                return Some(());
            }
            mail.queued = true;
            mail.sender = rest[..end].into();
            mail.bytes = bytes;
            mail.recipients = u32::try_from(recipients).unwrap_or(u32::MAX);
            if mail.hop.is_some() && !self.recipients {
                let mut mail = std::mem::take(mail);
                self.give_if_complete(&mut mail, desk);
                if let Some(place) = self.mails.get_mut(queue) {
                    *place = mail;
                }
            }
        } else if text == b"removed"
            && let Some(mut mail) = self.mails.remove(queue)
        {
            mail.delivered = true;
            if mail.from_outside && mail.hop.is_none() {
                // Its session is still open, and may tell.
                self.insert(queue, mail, desk);
            } else {
                self.give_if_complete(&mut mail, desk);
            }
        }
        Some(())
    }

    /// Hands in a message from outside when all is known of it that can be.
    pub(super) fn give_if_complete(&self, mail: &mut Mail, desk: &mut Desk) {
        if !mail.from_outside || !mail.queued || (self.recipients && !mail.delivered) {
            return;
        }
        mail.from_outside = false;
        let to: Vec<&[u8]> = mail.to.iter().map(|to| &**to).collect();
        desk.take(&Seen {
            peer: mail.peer,
            host: &mail.host,
            sender: &mail.sender,
            to: &to,
            recipients: mail.recipients,
            bytes: mail.bytes,
            hop: mail.hop.unwrap_or(Hop::Unknown),
            ..Seen::new(mail.time, Direction::Inbound)
        });
    }

    /// The end of a session. `counts` is what Postfix 3 says of its commands: ` ehlo=2 starttls=1 mail=1 …`.
    pub(super) fn close(&mut self, session: &mut Session, counts: Option<&[u8]>, time: i64, desk: &mut Desk) {
        let plain = if session.implicit { Hop::Unknown } else { Hop::NotTried };
        let hop = session.hop.unwrap_or_else(|| match counts {
            Some(counts) => match find(counts, b" starttls=") {
                // `starttls=0/1`: tried and failed.
                Some(at) if number(&counts[at + 10..]).is_some_and(|(done, _)| done > 0) => {
                    Hop::Used { version: None, certificate: ClientCertificate::Unknown }
                }
                _ => plain,
            },
            None if self.tells_tls => plain,
            None => Hop::Unknown,
        });
        for queue in std::mem::take(&mut session.waiting) {
            let Some(mail) = self.mails.get_mut(queue).filter(|mail| mail.from_outside && mail.hop.is_none()) else {
                continue;
            };
            mail.hop = Some(hop);
            let delivered = mail.delivered;
            let mut mail = std::mem::take(mail);
            self.give_if_complete(&mut mail, desk);
            if delivered {
                self.mails.remove(queue);
            } else if let Some(place) = self.mails.get_mut(queue) {
                *place = mail;
            }
        }
        let failed = session.failed && session.hop.is_none();
        if let Some(refused) = session.refused.take() {
            session.give_refused(&refused, hop, desk);
        } else if failed {
            desk.take(&Seen {
                peer: session.peer,
                host: &session.host,
                recipients: 0,
                end: End::Abandoned,
                wanted: Wanted::Unknown,
                hop: Hop::Failed,
                ..Seen::new(time, Direction::Inbound)
            });
        }
    }

    /// `RCPT from a[192.0.2.1]: 554 5.7.1 <r@b>: …; from=<s@a> to=<r@b> proto=ESMTP helo=<a>`
    fn reject(&mut self, place: u64, text: &[u8], time: i64, desk: &mut Desk) {
        let Some(reject) = Reject::parse(text) else { return };
        let session = self.sessions.entry(place).or_default();
        if session.peer.is_none() {
            session.peer = reject.peer;
        }
        if !reject.for_good {
            desk.aside.deferred += 1;
            return;
        }
        match &mut session.refused {
            Some(refused) if *refused.sender == *reject.sender => refused.recipients += 1,
            _ => {
                let hop = session.hop;
                let next = Refused { time, sender: reject.sender.into(), to: reject.to.into(), recipients: 1 };
                if let Some(before) = session.refused.replace(next) {
                    // Whether the session is encrypted is known by now, or it began in plaintext.
                    session.give_refused(&before, hop.unwrap_or(Hop::Unknown), desk);
                }
            }
        }
    }

    /// Before a session reaches a server there is one with a filter, and with it no TLS that mattered.
    pub(super) fn postscreen(&mut self, text: &[u8], time: i64, desk: &mut Desk) {
        let Some(reject) = Reject::parse(text) else { return };
        if reject.for_good {
            let to = [reject.to];
            desk.take(&Seen {
                peer: reject.peer,
                sender: reject.sender,
                to: &to,
                end: End::Refused,
                wanted: Wanted::No,
                ..Seen::new(time, Direction::Inbound)
            });
        } else {
            desk.aside.deferred += 1;
        }
    }

    /// A filter's verdict on a message that has come: `milter-reject: END-OF-MESSAGE from …: 5.7.1 …`, `reject: header
    /// …`, `discard: …`. What is said of a single recipient is not about the message.
    pub(super) fn verdict(&mut self, queue: u64, text: &[u8], time: i64, desk: &mut Desk) {
        let Some(colon) = find(text, b": ") else { return };
        let (action, rest) = (&text[..colon], &text[colon + 2..]);
        let discarded = matches!(action, b"discard" | b"milter-discard");
        if !(discarded || matches!(action, b"reject" | b"milter-reject")) || rest.starts_with(b"RCPT ") {
            return;
        }
        let Some(reject) = Reject::parse(rest) else { return };
        let Some(mail) = self.mails.remove(queue).filter(|mail| mail.from_outside) else { return };
        if !reject.for_good && !discarded {
            desk.aside.deferred += 1;
            return;
        }
        let to = [reject.to];
        desk.take(&Seen {
            peer: mail.peer,
            host: &mail.host,
            sender: reject.sender,
            to: &to,
            end: End::Refused,
            wanted: Wanted::No,
            hop: mail.hop.unwrap_or(if self.tells_tls { Hop::NotTried } else { Hop::Unknown }),
            ..Seen::new(time, Direction::Inbound)
        });
    }

    fn forget_sessions(&mut self, time: i64, desk: &mut Desk) {
        for (_, mut session) in std::mem::take(&mut self.sessions) {
            self.close(&mut session, None, time, desk);
        }
    }
}

impl Session {
    fn give_refused(&self, refused: &Refused, hop: Hop, desk: &mut Desk) {
        let to = [&*refused.to];
        desk.take(&Seen {
            peer: self.peer,
            host: &self.host,
            sender: &refused.sender,
            to: &to,
            recipients: refused.recipients,
            end: End::Refused,
            wanted: Wanted::No,
            hop,
            ..Seen::new(refused.time, Direction::Inbound)
        });
    }
}
