//! Mail that comes in: sessions, and the messages in them. What was refused is in `rejects.rs`.

use smtp_proto::tls::Hop;

use super::mail::Mail;
use super::phrases::{client_name, established, queue_name};
use super::session::{Failed, Session, is_submission};
use super::state::{Postfix, hash, key, place};
use crate::count::desk::Desk;
use crate::count::seen::Untold;
use crate::read::scan::{find, find_last, near, number};
use crate::read::syslog::{Calendar, Line};

impl Postfix {
    pub(crate) fn smtpd(&mut self, line: &Line<'_>, calendar: &mut Calendar, desk: &mut Desk) -> Option<()> {
        let place = place(line);
        let text = line.text;
        if text.starts_with(b"connect from ") {
            // The end of the session before it may have been lost.
            if let Some(before) = self.sessions.remove(&place) {
                self.close(before, None, desk);
            }
            self.make_room(desk);
            let submission = is_submission(line.instance);
            let host = hash(line.host);
            self.sessions.insert(place, Session { host, whole: true, submission, ..Session::default() });
        } else if let Some(client) = text.strip_prefix(b"disconnect from ") {
            if let Some(session) = self.sessions.remove(&place)
                && session.waits()
            {
                // ` ehlo=2 …`, since Postfix 3.
                let more = client_name(client).2;
                self.close(session, near(more, b' ').map(|at| &more[at..]), desk);
            }
        } else if let Some(tls) = established(text, b" TLS connection established from ") {
            let (hop, group) = self.tells(line.host, &tls);
            let session = self.session(place, line);
            (session.hop, session.group) = (Some(hop), group);
            // What came before it came in plaintext.
            let waiting = std::mem::take(&mut session.waiting);
            self.resolve(waiting, Hop::NotTried, Untold::None, desk);
        } else if let Some(client) = text
            .strip_prefix(b"SSL_accept error from ")
            .or_else(|| text.strip_prefix(b"lost connection after STARTTLS from "))
        {
            // Postfix says so at every log level: it is no proof that it would say of a handshake that succeeds.
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
                self.verdict(hash(line.host), key(line.host, queue), text, calendar.time(line.stamp)?, desk);
            }
        }
        Some(())
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
        let (group, host_key) = (session.group, session.host);
        let tells_group = self.tells_groups.holds(host_key);
        let mail =
            Mail { time, peer, host: host.into(), hop, group, tells_group, from_outside: true, ..Mail::default() };
        self.insert(queue, mail, desk);
    }

    pub(crate) fn qmgr(&mut self, line: &Line<'_>, desk: &mut Desk) -> Option<()> {
        let (queue, text) = queue_name(line.text)?;
        let queue = key(line.host, queue);
        if let Some(rest) = text.strip_prefix(b"from=<") {
            // `from=<a@b>, size=1, nrcpt=2 (queue active)`; each further try to deliver says it again.
            // The sender's name is its own choice, and may look like what comes behind it.
            let end = find_last(rest, b">, size=")?;
            let mail = match self.mails.get_mut(queue) {
                Some(mail) => mail,
                None => {
                    // From this machine itself, or from before this log began: its sender is needed when it goes out.
                    self.insert(queue, Mail::default(), desk);
                    self.mails.get_mut(queue)?
                }
            };
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
}
