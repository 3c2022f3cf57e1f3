//! Mail that was refused, and filters that answer before the queue: by the server itself, by postscreen in front of it,
//! by filters behind it.

use smtp_proto::tls::{Direction, Disposition, Hop, Wanted};

use super::mail::Mail;
use super::phrases::{Reject, client_name, established};
use super::session::{Refused, Session};
use super::state::{Postfix, hash, key};
use crate::count::desk::Desk;
use crate::count::seen::{Seen, Untold};
use crate::read::scan::{find, find_last};
use crate::read::syslog::{Calendar, Line};

impl Postfix {
    /// What stands behind `NOQUEUE: `; `None` where it is needed and has no time.
    pub(crate) fn without_queue(
        &mut self,
        place: u64,
        line: &Line<'_>,
        text: &[u8],
        calendar: &mut Calendar,
        desk: &mut Desk,
    ) -> Option<()> {
        if let Some(client) = text.strip_prefix(b"client=") {
            // Behind this server is a filter, and only that has a queue: mail from this machine is its.
            self.filtered = true;
            let login = find(client_name(client).2, b", sasl_").is_some();
            let session = self.session(place, line);
            session.submission |= login;
            session.refused = None;
        } else if let Some(text) = text.strip_prefix(b"proxy-accept: ") {
            let time = calendar.time(line.stamp)?;
            self.filter_accepts(place, line, text, time, desk);
        } else if let Some(at) = find(text, b"reject: ")
            && matches!(&text[..at], b"" | b"milter-" | b"proxy-")
        {
            let time = calendar.time(line.stamp)?;
            let tells_tls = self.tells_tls.holds(hash(line.host));
            self.session(place, line).reject(&text[at + 8..], tells_tls, time, desk);
        }
        Some(())
    }

    /// `END-OF-MESSAGE from a[192.0.2.1]: 250 2.0.0 Ok: queued as 4XYZ; from=<s@a> to=<r@b> …`: the message that this
    /// machine sent to itself came from outside, and over what, this session knows.
    fn filter_accepts(&mut self, place: u64, line: &Line<'_>, text: &[u8], time: i64, desk: &mut Desk) {
        let Some(accept) = Reject::parse(text).filter(|_| text.starts_with(b"END-OF-MESSAGE ")) else { return };
        let session = self.session(place, line);
        if session.submission {
            desk.messages += 1;
            desk.aside.submissions += 1;
            return;
        }
        let (hop, group, host) = (session.hop, session.group, session.host);
        let tells_group = self.tells_groups.holds(host);
        let name = find_last(text, b"queued as ").map(|at| {
            let name = &text[at + 10..];
            &name[..name.iter().position(|octet| !octet.is_ascii_alphanumeric()).unwrap_or(name.len())]
        });
        let named = name.map(|name| key(line.host, name)).and_then(|queue| Some((queue, self.mails.remove(queue)?)));
        // Without its name in this queue the message is what this line tells of it.
        let (queue, mail) = named.unwrap_or_else(|| {
            let (sender, to) = (accept.sender.into(), vec![accept.to.into()]);
            (key(line.host, text), Mail { sender, to, recipients: 1, queued: true, delivered: true, ..Mail::default() })
        });
        let (peer, host) = (accept.peer, accept.host.into());
        let mut mail = Mail { time, peer, host, hop, group, tells_group, from_outside: true, ..mail };
        if hop.is_some() {
            mail.give(self.recipients, desk);
        } else {
            self.session(place, line).wait_for(queue);
        }
        if mail.from_outside || !mail.delivered {
            self.insert(queue, mail, desk);
        }
    }

    /// In front of the server: `NOQUEUE: reject: RCPT from [192.0.2.1]:4711: 550 5.7.1 …; from=<s@a>, to=<r@b>, …`, and
    /// `DISCONNECT [192.0.2.1]:4711`. Its sessions are known by the client's address and port.
    pub(crate) fn postscreen(&mut self, line: &Line<'_>, calendar: &mut Calendar, desk: &mut Desk) -> Option<()> {
        if let Some(text) = line.text.strip_prefix(b"NOQUEUE: reject: ") {
            let time = calendar.time(line.stamp)?;
            let Some(client) = find(text, b" from [").map(|at| screened(&text[at + 6..])) else { return Some(()) };
            self.make_room(desk);
            let tells_tls = self.tells_tls.holds(hash(line.host));
            let session = self.sessions.entry(key(line.host, client)).or_default();
            session.host = hash(line.host);
            session.reject(text, tells_tls, time, desk);
            // It takes note of TLS from the beginning, and says so at its end.
            session.whole = true;
        } else if let Some(client) = line.text.strip_prefix(b"DISCONNECT ")
            && let Some(session) = self.sessions.remove(&key(line.host, screened(client)))
        {
            self.close(session, None, desk);
        }
        Some(())
    }

    /// TLS in front of the server: `Anonymous TLS connection established from [192.0.2.1]:4711: TLSv1.3 …`.
    pub(crate) fn tlsproxy(&mut self, line: &Line<'_>, desk: &mut Desk) {
        if let Some(tls) = established(line.text, b" TLS connection established from ") {
            let (hop, _) = self.tells(line.host, &tls);
            self.make_room(desk);
            let session = self.sessions.entry(key(line.host, screened(tls.whom))).or_default();
            (session.host, session.hop) = (hash(line.host), Some(hop));
        }
    }

    /// A filter's verdict on a message that has come: `milter-reject: END-OF-MESSAGE from …: 5.7.1 …`, `reject: header
    /// …`, `discard: …`. What is said of a single recipient is not about the message.
    pub(crate) fn verdict(&mut self, host: u64, queue: u64, text: &[u8], time: i64, desk: &mut Desk) {
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
        let (hop, untold) = hop_so_far(mail.hop, self.tells_tls.holds(host));
        let to = [reject.to];
        desk.take(&Seen {
            peer: mail.peer,
            host: &mail.host,
            sender: reject.sender,
            to: &to,
            end: Disposition::Refused,
            wanted: Wanted::No,
            hop,
            untold,
            ..Seen::new(time, Direction::Inbound)
        });
    }
}

impl Session {
    /// `RCPT from a[192.0.2.1]: 554 5.7.1 <r@b>: …; from=<s@a> to=<r@b> proto=ESMTP helo=<a>`
    fn reject(&mut self, text: &[u8], tells_tls: bool, time: i64, desk: &mut Desk) {
        // Before there is a sender there is no message.
        const OF_MAIL: [&[u8]; 5] = [b"RCPT ", b"MAIL ", b"DATA ", b"BDAT ", b"END-OF-MESSAGE "];
        if self.submission || !OF_MAIL.iter().any(|command| text.starts_with(command)) {
            return;
        }
        let Some(reject) = Reject::parse(text) else { return };
        if !reject.for_good {
            desk.aside.deferred += 1;
            return;
        }
        match &mut self.refused {
            Some(refused) if *refused.sender == *reject.sender => refused.recipients += 1,
            _ => {
                let next = Box::new(Refused {
                    time,
                    peer: reject.peer,
                    host: reject.host.into(),
                    sender: reject.sender.into(),
                    to: reject.to.into(),
                    recipients: 1,
                });
                if let Some(before) = self.refused.replace(next) {
                    let (hop, untold) = hop_so_far(self.hop, tells_tls && self.whole);
                    before.give(hop, untold, desk);
                }
            }
        }
    }
}

/// In the middle of a session: it is encrypted by now, or it began in plaintext.
const fn hop_so_far(hop: Option<Hop>, tells_tls: bool) -> (Hop, Untold) {
    match hop {
        Some(hop) => (hop, Untold::None),
        None if tells_tls => (Hop::NotTried, Untold::None),
        None => (Hop::Unknown, Untold::Silent),
    }
}

/// `[192.0.2.1]:4711` of what begins with it.
fn screened(text: &[u8]) -> &[u8] {
    let port = find(text, b"]:").map_or(text.len(), |at| at + 2);
    let digits = text[port..].iter().position(|octet| !octet.is_ascii_digit()).unwrap_or(text.len() - port);
    &text[..port + digits]
}
