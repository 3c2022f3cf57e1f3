//! Mail that comes in: sessions, and the messages in them. What was refused is in `rejects.rs`.

use std::net::IpAddr;

use smtp_proto::tls::{ClientCertificate, Direction, End, Hop, Wanted};

use super::phrases::{client_name, established, queue_name};
use super::rejects::Refused;
use super::{FOLLOWED, Postfix, key, place};
use crate::desk::{Desk, Seen, Untold};
use crate::scan::{find, near, number};
use crate::syslog::{Calendar, Line};

/// Messages of one session that wait for its end.
const WAITING: usize = 1 << 16;

/// What is known of one connection from outside.
#[derive(Debug, Default)]
pub(super) struct Session {
    pub(super) hop: Option<Hop>,
    /// Its beginning is in the log: a line about TLS was not missed.
    pub(super) whole: bool,
    /// Users submit mail here, by the port's name or because they have logged in.
    pub(super) submission: bool,
    failed: Option<Box<Failed>>,
    waiting: Vec<u64>,
    pub(super) refused: Option<Box<Refused>>,
}

/// A handshake that failed.
#[derive(Debug)]
struct Failed {
    time: i64,
    peer: Option<IpAddr>,
    host: Box<[u8]>,
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
    pub(super) untold: Untold,
    pub(super) from_outside: bool,
    pub(super) queued: bool,
    pub(super) delivered: bool,
}

impl Postfix {
    pub(super) fn smtpd(&mut self, line: &Line<'_>, calendar: &mut Calendar, desk: &mut Desk) -> Option<()> {
        let place = place(line);
        let text = line.text;
        if text.starts_with(b"connect from ") {
            // The end of the session before it may have been lost.
            if let Some(before) = self.sessions.remove(&place) {
                self.close(before, None, desk);
            }
            self.make_room(desk);
            let submission = is_submission(line.instance);
            self.sessions.insert(place, Session { whole: true, submission, ..Session::default() });
        } else if let Some(client) = text.strip_prefix(b"disconnect from ") {
            if let Some(session) = self.sessions.remove(&place)
                && session.waits()
            {
                // ` ehlo=2 …`, since Postfix 3.
                let more = client_name(client).2;
                self.close(session, near(more, b' ').map(|at| &more[at..]), desk);
            }
        } else if let Some(tls) = established(text, b" TLS connection established from ") {
            let hop = self.tells(&tls);
            let session = self.session(place, line);
            session.hop = Some(hop);
            // What came before it came in plaintext.
            let waiting = std::mem::take(&mut session.waiting);
            self.resolve(waiting, Hop::NotTried, Untold::None, desk);
        } else if let Some(client) = text
            .strip_prefix(b"SSL_accept error from ")
            .or_else(|| text.strip_prefix(b"lost connection after STARTTLS from "))
        {
            self.tells_tls = true;
            if let Some(session) = self.sessions.get_mut(&place)
                && session.hop.is_none()
                && session.failed.is_none()
            {
                let (host, peer, _) = client_name(client);
                session.failed = Some(Box::new(Failed { time: calendar.time(line.stamp)?, peer, host: host.into() }));
            }
        } else if let Some(text) = text.strip_prefix(b"NOQUEUE: ") {
            self.without_queue(place, line, text, calendar, desk)?;
        } else if let Some((queue, text)) = queue_name(text) {
            if let Some(client) = text.strip_prefix(b"client=") {
                self.begin(place, line, queue, client, calendar.time(line.stamp)?, desk);
            } else if matches!(text, [b'r' | b'd', ..] | [b'm', b'i', ..]) {
                self.verdict(key(line.host, queue), text, calendar.time(line.stamp)?, desk);
            }
        }
        Some(())
    }

    /// What a line about a client's TLS says.
    pub(super) fn tells(&mut self, tls: &super::phrases::Established<'_>) -> Hop {
        self.tells_tls = true;
        self.asks |= tls.trust != b"Anonymous";
        let certificate = match tls.trust {
            b"Untrusted" => ClientCertificate::Untrusted,
            b"Trusted" | b"Verified" => ClientCertificate::Verified,
            _ if self.asks => ClientCertificate::None,
            _ => ClientCertificate::Unknown,
        };
        Hop::Used { version: tls.version, certificate }
    }

    /// The session that a line is of. Where it is not known yet, its beginning is not in the log.
    pub(super) fn session(&mut self, place: u64, line: &Line<'_>) -> &mut Session {
        self.sessions
            .entry(place)
            .or_insert_with(|| Session { submission: is_submission(line.instance), ..Session::default() })
    }

    /// `client=a[192.0.2.1], sasl_method=…`: a message has a sender, and a recipient that is accepted.
    fn begin(&mut self, place: u64, line: &Line<'_>, queue: &[u8], client: &[u8], time: i64, desk: &mut Desk) {
        let queue = key(line.host, queue);
        // The name is used again for another message.
        if let Some(mut before) = self.mails.remove(queue) {
            before.delivered = true;
            before.give(self.recipients, desk);
        }
        let filtered = self.filtered;
        let session = self.session(place, line);
        session.refused = None;
        let (host, peer, more) = client_name(client);
        if session.submission || (!more.is_empty() && find(more, b", sasl_").is_some()) {
            desk.messages += 1;
            desk.aside.submissions += 1;
            self.insert(queue, Mail { time, ..Mail::default() }, desk);
            return;
        }
        // A filter gives back what has been counted before it, or will be when it has answered.
        let again = !more.is_empty()
            && find(more, b", orig_queue_id=").is_some_and(|at| !more[at + 16..].starts_with(b"NOQUEUE"));
        if again || (filtered && peer.is_some_and(|peer| peer.to_canonical().is_loopback())) {
            self.insert(queue, Mail { time, ..Mail::default() }, desk);
            return;
        }
        let hop = session.hop;
        if hop.is_none() {
            session.wait_for(queue);
        }
        let mail = Mail { time, peer, host: host.into(), hop, from_outside: true, ..Mail::default() };
        self.insert(queue, mail, desk);
    }

    pub(super) fn insert(&mut self, queue: u64, mail: Mail, desk: &mut Desk) {
        if let Some(old) = self.mails.insert(queue, mail) {
            for mut mail in old {
                mail.delivered = true;
                mail.give(self.recipients, desk);
            }
        }
    }

    pub(super) fn qmgr(&mut self, line: &Line<'_>, desk: &mut Desk) -> Option<()> {
        let (queue, text) = queue_name(line.text)?;
        let queue = key(line.host, queue);
        if let Some(rest) = text.strip_prefix(b"from=<") {
            // `from=<a@b>, size=1, nrcpt=2 (queue active)`; each further try to deliver says it again.
            let end = find(rest, b">, size=")?;
            if self.mails.get_mut(queue).is_none() {
                // From this machine itself, or from before this log began: its sender is needed when it goes out.
                self.insert(queue, Mail::default(), desk);
            }
            let mail = self.mails.get_mut(queue)?;
            if mail.queued {
                return Some(());
            }
            let (bytes, after) = number(&rest[end + 8..])?;
            let recipients = after.strip_prefix(b", nrcpt=").and_then(number).map_or(1, |(count, _)| count);
            mail.queued = true;
            mail.sender = rest[..end].into();
            mail.bytes = bytes;
            mail.recipients = u32::try_from(recipients).unwrap_or(u32::MAX);
            if mail.hop.is_some() {
                mail.give(self.recipients, desk);
            }
        } else if text == b"removed"
            && let Some(mut mail) = self.mails.remove(queue)
        {
            mail.delivered = true;
            if mail.from_outside && mail.hop.is_none() {
                // Its session is still open, and may tell.
                self.insert(queue, mail, desk);
            } else {
                mail.give(self.recipients, desk);
            }
        }
        Some(())
    }

    /// The end of a session. `counts` is what Postfix 3 says of its commands: ` ehlo=2 starttls=1 mail=1 …`.
    pub(super) fn close(&mut self, mut session: Session, counts: Option<&[u8]>, desk: &mut Desk) {
        let (hop, untold) = match (session.hop, counts) {
            (Some(hop), _) => (hop, Untold::None),
            (None, Some(counts)) => match find(counts, b" starttls=") {
                // `starttls=0/1`: tried and failed.
                Some(at) if number(&counts[at + 10..]).is_some_and(|(done, _)| done > 0) => {
                    let certificate = ClientCertificate::Unknown;
                    (Hop::Used { version: None, certificate }, Untold::None)
                }
                _ => (Hop::NotTried, Untold::None),
            },
            (None, None) if !session.whole => (Hop::Unknown, Untold::CutOff),
            (None, None) if self.tells_tls => (Hop::NotTried, Untold::None),
            (None, None) => (Hop::Unknown, Untold::Silent),
        };
        self.resolve(std::mem::take(&mut session.waiting), hop, untold, desk);
        if session.submission {
            return;
        }
        if let Some(refused) = session.refused.take() {
            refused.give(hop, untold, desk);
        } else if session.hop.is_none()
            && let Some(failed) = session.failed
        {
            desk.take(&Seen {
                peer: failed.peer,
                host: &failed.host,
                recipients: 0,
                end: End::Abandoned,
                wanted: Wanted::Unknown,
                hop: Hop::Failed,
                ..Seen::new(failed.time, Direction::Inbound)
            });
        }
    }

    /// Over what these messages came is known now.
    fn resolve(&mut self, waiting: Vec<u64>, hop: Hop, untold: Untold, desk: &mut Desk) {
        for queue in waiting {
            if let Some(mail) = self.mails.get_mut(queue).filter(|mail| mail.from_outside && mail.hop.is_none()) {
                (mail.hop, mail.untold) = (Some(hop), untold);
                mail.give(self.recipients, desk);
                if mail.delivered {
                    self.mails.remove(queue);
                }
            }
        }
    }

    pub(super) fn make_room(&mut self, desk: &mut Desk) {
        if self.sessions.len() >= FOLLOWED {
            self.forget_sessions(desk);
        }
    }

    /// What is still open is counted as it is known.
    pub(super) fn forget_sessions(&mut self, desk: &mut Desk) {
        let mut open: Vec<_> = std::mem::take(&mut self.sessions).into_iter().collect();
        open.sort_unstable_by_key(|(place, _)| *place);
        for (_, session) in open {
            self.close(session, None, desk);
        }
    }
}

impl Session {
    /// Over what this message came will be known at the session's end.
    pub(super) fn wait_for(&mut self, queue: u64) {
        if self.waiting.len() < WAITING {
            self.waiting.push(queue);
        }
    }

    /// Whether its end tells anything that is needed.
    const fn waits(&self) -> bool {
        !self.waiting.is_empty() || self.failed.is_some() || self.refused.is_some()
    }
}

impl Mail {
    /// Hands in a message from outside when all is known of it that can be; where recipients are asked for that is
    /// when it was delivered.
    pub(super) fn give(&mut self, recipients: bool, desk: &mut Desk) {
        if !self.from_outside || !self.queued || (recipients && !self.delivered) {
            return;
        }
        self.from_outside = false;
        let to: Vec<&[u8]> = self.to.iter().map(|to| &**to).collect();
        desk.take(&Seen {
            peer: self.peer,
            host: &self.host,
            sender: &self.sender,
            to: &to,
            recipients: self.recipients,
            bytes: self.bytes,
            hop: self.hop.unwrap_or(Hop::Unknown),
            untold: if self.hop.is_none() { Untold::CutOff } else { self.untold },
            ..Seen::new(self.time, Direction::Inbound)
        });
    }
}

/// By what `master.cf` calls these services (`syslog_name`); port 465 is `smtps` or `submissions`.
fn is_submission(instance: &[u8]) -> bool {
    matches!(instance.rsplit(|octet| *octet == b'/').next(), Some(b"submission" | b"submissions" | b"smtps"))
}
