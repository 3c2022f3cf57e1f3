//! Sendmail's log. Each connection has a process of its own; what it says of TLS and of logins stands before the mail:
//!
//! ```text
//! sm-mta[1]: STARTTLS=server, relay=mx.a [192.0.2.1], version=TLSv1.3, verify=NO, cipher=TLS_AES_256_GCM_SHA384, bits=256/256
//! sm-mta[1]: 4AO8: from=<s@a>, size=4711, class=0, nrcpts=2, msgid=<…>, proto=ESMTPS, daemon=MTA, relay=mx.a [192.0.2.1]
//! sm-mta[2]: 4AO8: to=<u@b>,<v@b>, delay=00:00:01, …, mailer=local, …, stat=Sent
//! sm-mta[3]: STARTTLS=client, relay=mx.c., version=TLSv1.3, verify=FAIL, …
//! sm-mta[3]: 4AO9: to=<y@c>, …, mailer=esmtp, …, relay=mx.c. [198.51.100.1], dsn=2.0.0, stat=Sent (250 ok)
//! sm-mta[4]: 4AOA: ruleset=check_rcpt, arg1=<u@d>, relay=x [203.0.113.9], reject=550 5.7.1 <u@d>... Relaying denied
//! sm-mta[5]: 4AOB: Milter: data, reject=554 5.7.1 Spam
//! ```
//!
//! `proto=ESMTPS` is not written by every version, so that its lack tells of plaintext only where the host has told of TLS.

use std::hash::Hasher;
use std::net::IpAddr;

use memchr::memmem::Finder;
use rustc_hash::{FxHashMap, FxHashSet, FxHasher};
use smtp_proto::tls::{ClientCertificate, Direction, Disposition, Hop, Wanted};

use super::generations::Generations;
use super::scan::{bracketed, find, find_last, near, number, text_ip};
use super::syslog::{Calendar, Line};
use super::words::{Word, version};
use crate::count::desk::Desk;
use crate::count::seen::{Seen, Untold};

/// Processes, and messages, that are followed at once.
const FOLLOWED: usize = 1 << 17;

/// Whether this is a line of Sendmail's.
pub(crate) fn writes(line: &Line<'_>) -> bool {
    line.program == b"sendmail" || line.program.starts_with(b"sm-m")
}

/// Joins lines to messages, over files and hosts.
#[derive(Debug)]
pub(crate) struct Sendmail {
    find: Find,
    sessions: FxHashMap<u64, Session>,
    /// Those that are not yet counted.
    mails: FxHashMap<u64, Mail>,
    /// Of those that are: what is needed when they go out.
    sent: Generations<Sent>,
    deliveries: FxHashMap<u64, Delivery>,
    /// Hosts that have told of TLS: of mail that comes in, and of mail that goes out.
    tells: FxHashSet<(u64, bool)>,
}

impl Default for Sendmail {
    fn default() -> Self {
        Self {
            find: Find { status: Finder::new(b", stat="), mailer: Finder::new(b", mailer=") },
            sessions: FxHashMap::default(),
            mails: FxHashMap::default(),
            sent: Generations::default(),
            deliveries: FxHashMap::default(),
            tells: FxHashSet::default(),
        }
    }
}

/// What is searched in each delivery, behind many commas.
#[derive(Debug)]
struct Find {
    status: Finder<'static>,
    mailer: Finder<'static>,
}

/// What is known of a process, which has one connection.
#[derive(Debug, Default)]
struct Session {
    peer: Option<IpAddr>,
    hop: Option<Hop>,
    login: bool,
    /// The relay to which it has an encrypted connection.
    relay: Box<[u8]>,
}

/// A message that was counted, or set aside.
#[derive(Debug)]
struct Sent {
    sender: Box<[u8]>,
    bytes: u64,
}

/// A message that has come in, or was refused.
#[derive(Debug, Default)]
struct Mail {
    time: i64,
    peer: Option<IpAddr>,
    host: Box<[u8]>,
    sender: Box<[u8]>,
    to: Vec<Box<[u8]>>,
    bytes: u64,
    recipients: u32,
    hop: Option<Hop>,
    untold: Untold,
    /// It was accepted; before, it is what was refused so far.
    accepted: bool,
    /// Recipients, or the message, that were refused for good.
    refused: u32,
}

/// Deliveries of one message to one relay that follow one another.
#[derive(Debug, Default)]
struct Delivery {
    mail: u64,
    time: i64,
    relay: Box<[u8]>,
    to: Box<[u8]>,
    sender: Box<[u8]>,
    bytes: u64,
    recipients: u32,
    hop: Option<Hop>,
}

impl Sendmail {
    /// Takes a line; `None` where it is needed and has no time.
    pub(crate) fn line(&mut self, line: &Line<'_>, calendar: &mut Calendar, desk: &mut Desk) -> Option<()> {
        let (queue, text) = queue_name(line.text);
        let host = || hash(line.host, b"");
        let process = || hash(line.host, line.process);
        let key = hash(line.host, queue);
        if let Some(tls) = text.strip_prefix(b"STARTTLS=server, ") {
            self.server_tls(host(), process(), tls, line, calendar, desk)?;
        } else if let Some(tls) = text.strip_prefix(b"STARTTLS=client, relay=") {
            if let Some(end) = find(tls, b", version=") {
                self.tell(host(), true);
                let hop = Hop::Used { version: versioned(&tls[end + 10..]), certificate: ClientCertificate::Unknown };
                let session = self.session(process());
                (session.relay, session.hop) = (name(&tls[..end]).into(), Some(hop));
            }
        } else if let Some(auth) = text.strip_prefix(b"AUTH=server, relay=") {
            let peer = relay(auth).1;
            let session = self.session(process());
            if session.peer.is_some() && session.peer != peer {
                *session = Session::default();
            }
            (session.peer, session.login) = (peer, true);
        } else if queue.is_empty() {
        } else if let Some(from) = text.strip_prefix(b"from=") {
            self.arrival(host(), process(), key, from, calendar.time(line.stamp)?, desk);
        } else if let Some(to) = text.strip_prefix(b"to=") {
            self.delivery(key, to, line, calendar, desk)?;
        } else if text.starts_with(b"ruleset=") || text.starts_with(b"Milter: ") {
            self.verdict(key, text, calendar.time(line.stamp)?, desk);
        } else if text.first() == Some(&b'<') && find(text, b">... User unknown").is_some() {
            let time = calendar.time(line.stamp)?;
            if let Some(mail) = self.mail(key, time) {
                mail.refused += 1;
            }
        }
        self.make_room(desk);
        Some(())
    }

    /// Nothing more comes.
    pub(crate) fn finish(&mut self, desk: &mut Desk) {
        let mut mails: Vec<_> = std::mem::take(&mut self.mails).into_iter().collect();
        mails.sort_unstable_by_key(|(key, mail)| (mail.time, *key));
        for (_, mail) in mails {
            mail.give(&[], desk);
        }
        let mut deliveries: Vec<_> = std::mem::take(&mut self.deliveries).into_iter().collect();
        deliveries.sort_unstable_by_key(|(key, delivery)| (delivery.time, *key));
        for (_, mut delivery) in deliveries {
            delivery.give(desk);
        }
    }

    /// `relay=mx.a [192.0.2.1], version=TLSv1.3, verify=NO, …`, or `error: accept failed=…, relay=mx.a [192.0.2.1]`.
    fn server_tls(
        &mut self,
        host: u64,
        process: u64,
        text: &[u8],
        line: &Line<'_>,
        calendar: &mut Calendar,
        desk: &mut Desk,
    ) -> Option<()> {
        if text.starts_with(b"error: ") {
            if let Some(at) = find_last(text, b"relay=") {
                let (name, peer) = relay(&text[at + 6..]);
                desk.take(&Seen {
                    peer,
                    host: name,
                    recipients: 0,
                    end: Disposition::Abandoned,
                    wanted: Wanted::Unknown,
                    hop: Hop::Failed,
                    ..Seen::new(calendar.time(line.stamp)?, Direction::Inbound)
                });
            }
            return Some(());
        }
        let Some(whom) = text.strip_prefix(b"relay=") else { return Some(()) };
        let Some(at) = find_last(whom, b", version=") else { return Some(()) };
        self.tell(host, false);
        // Sendmail's macro {verify}, as in its Received fields.
        let certificate = match value(&whom[at..], b"verify=") {
            b"OK" => ClientCertificate::Verified,
            b"NO" => ClientCertificate::None,
            b"FAIL" => ClientCertificate::Untrusted,
            _ => ClientCertificate::Unknown,
        };
        let hop = Hop::Used { version: versioned(&whom[at + 10..]), certificate };
        *self.session(process) = Session { peer: relay(&whom[..at]).1, hop: Some(hop), ..Session::default() };
        Some(())
    }

    /// `<s@a>, size=4711, class=0, nrcpts=2, msgid=<…>, proto=ESMTPS, daemon=MTA, relay=mx.a [192.0.2.1]`: of the message
    /// identity and of the sender's name the sender may make anything, so that what is behind them is read from the end.
    fn arrival(&mut self, host: u64, process: u64, key: u64, text: &[u8], time: i64, desk: &mut Desk) {
        let Some((sender, rest)) = envelope(text) else { return };
        let Some(at) = find_last(rest, b", relay=") else { return };
        let (own, whom) = (&rest[..at], &rest[at + 8..]);
        let count = |name: &[u8]| find(own, name).and_then(|at| number(&own[at + name.len()..])).map_or(0, |(n, _)| n);
        let (bytes, recipients) = counts(own).unwrap_or_else(|| (count(b", size="), count(b", nrcpts=")));
        let protocol = find_last(own, b", proto=").map(|at| word(&own[at + 8..]));
        let daemon = find_last(own, b", daemon=").map_or(&[][..], |at| word(&own[at + 9..]));
        let (name, peer) = relay(whom);
        let kind = protocol.and_then(Word::parse);
        let session = self.sessions.get(&process).filter(|session| session.peer.is_some() && session.peer == peer);
        let login = kind.is_some_and(|word| word.login)
            || session.is_some_and(|session| session.login)
            || is_submission(daemon);
        let seen = session.and_then(|session| session.hop);
        let hop = match kind {
            _ if seen.is_some() => seen,
            Some(word) if word.tls => Some(Hop::Used { version: None, certificate: ClientCertificate::Unknown }),
            _ => None,
        };
        if kind.is_some_and(|word| word.tls) {
            self.tell(host, false);
        }
        let told = self.tells.contains(&(host, false));
        // From a program on this machine, or a user.
        let local = peer.is_none() || protocol.is_none();
        if local || login {
            if recipients > 0 && self.sent.get_mut(key).is_none() {
                desk.messages += 1;
                *(if local { &mut desk.aside.internal } else { &mut desk.aside.submissions }) += 1;
            }
            self.mails.remove(&key);
            self.done(key, sender.into(), bytes);
            return;
        }
        let Some(mail) = self.mail(key, time) else { return };
        mail.sender = sender.into();
        (mail.time, mail.peer, mail.host, mail.bytes) = (time, peer, name.into(), bytes);
        (mail.hop, mail.untold) = match hop {
            Some(hop) => (Some(hop), Untold::None),
            None if told => (Some(Hop::NotTried), Untold::None),
            None => (Some(Hop::Unknown), Untold::Sendmail),
        };
        if recipients > 0 {
            (mail.accepted, mail.recipients) = (true, u32::try_from(recipients).unwrap_or(u32::MAX));
        } else if let Some(mail) = self.mails.remove(&key) {
            // Nothing was accepted: what was refused is counted now.
            mail.give(&[], desk);
        }
    }

    /// `<u@b>,<v@b>, ctladdr=…, delay=00:00:01, xdelay=…, mailer=local, pri=…, relay=…, dsn=2.0.0, stat=Sent (…)`. What
    /// stands behind `stat=` the other side may have written.
    fn delivery(
        &mut self,
        key: u64,
        text: &[u8],
        line: &Line<'_>,
        calendar: &mut Calendar,
        desk: &mut Desk,
    ) -> Option<()> {
        let Some((to, rest)) = envelope(text) else { return Some(()) };
        let Some(at) = self.find.status.find(rest) else { return Some(()) };
        let (own, status) = (&rest[..at], &rest[at + 7..]);
        if let Some(mail) = self.mails.remove(&key) {
            if mail.accepted {
                mail.give(&[to], desk);
                self.done(key, mail.sender, mail.bytes);
            } else {
                // Its fate is not known yet.
                self.mails.insert(key, mail);
            }
        }
        if !status.starts_with(b"Sent") {
            return Some(());
        }
        let mailer = self.find.mailer.find(own).map_or(&[][..], |at| word(&own[at + 9..]));
        let sends = matches!(mailer, b"smtp" | b"esmtp" | b"smtp8" | b"dsmtp" | b"relay");
        let Some(at) = find_last(own, b", relay=").filter(|_| sends) else { return Some(()) };
        let whom = &own[at + 8..];
        let whom = &whom[..find(whom, b", dsn=").unwrap_or(whom.len())];
        // Behind the first address of several there is no more than a comma.
        let several =
            u32::try_from(find(rest, b", ").map_or(0, |end| rest[..end].split(|octet| *octet == b',').count()))
                .unwrap_or(1)
                .max(1);
        let (host, process) = (hash(line.host, b""), hash(line.host, line.process));
        if let Some(before) = self.deliveries.get_mut(&process)
            && before.mail == key
            && *before.relay == *whom
        {
            before.recipients += several;
            return Some(());
        }
        let time = calendar.time(line.stamp)?;
        let told = self.tells.contains(&(host, true));
        let hop = match self.sessions.get(&process) {
            Some(Session { hop: Some(hop), relay, .. }) if **relay == *name(whom) => *hop,
            _ if told => Hop::NotTried,
            _ => Hop::Unknown,
        };
        let sent = self.sent.get_mut(key);
        let delivery = Delivery {
            mail: key,
            time,
            relay: whom.into(),
            to: to.into(),
            bytes: sent.as_ref().map_or(0, |sent| sent.bytes),
            sender: sent.map_or(&[][..], |sent| &sent.sender).into(),
            recipients: several,
            hop: Some(hop),
        };
        if let Some(mut before) = self.deliveries.insert(process, delivery) {
            before.give(desk);
        }
        Some(())
    }

    /// `ruleset=check_rcpt, arg1=<u@d>, relay=x [203.0.113.9], reject=550 5.7.1 …`, `Milter: data, reject=554 …`. What a
    /// rule says about a recipient, `from=` behind it makes a message, or with `nrcpts=0` none.
    fn verdict(&mut self, key: u64, text: &[u8], time: i64, desk: &mut Desk) {
        let discarded = text.starts_with(b"Milter: ") && text.ends_with(b", discard");
        let Some(code) =
            find_last(text, b"reject=").and_then(|at| text.get(at + 7)).copied().or(discarded.then_some(b'5'))
        else {
            return;
        };
        let of_message = discarded || text.starts_with(b"Milter: data, ") || text.starts_with(b"Milter: eom, ");
        if code == b'4' {
            desk.aside.deferred += 1;
            if of_message {
                self.mails.remove(&key);
            }
            return;
        }
        let Some(mail) = self.mail(key, time) else { return };
        if of_message {
            (mail.accepted, mail.refused) = (false, mail.refused.max(1));
            if mail.hop.is_some()
                && let Some(mail) = self.mails.remove(&key)
            {
                mail.give(&[], desk);
            }
        } else {
            mail.refused += 1;
            if let Some(to) = find(text, b"arg1=").and_then(|at| envelope(&text[at + 5..])) {
                mail.to.push(to.0.into());
            }
        }
    }

    fn tell(&mut self, host: u64, out: bool) {
        if self.tells.len() < FOLLOWED {
            self.tells.insert((host, out));
        }
    }

    fn session(&mut self, process: u64) -> &mut Session {
        if self.sessions.len() >= FOLLOWED {
            self.sessions.clear();
        }
        self.sessions.entry(process).or_default()
    }

    /// A message, unless it is counted.
    fn mail(&mut self, key: u64, time: i64) -> Option<&mut Mail> {
        let known = self.sent.get_mut(key).is_some();
        (!known).then(|| self.mails.entry(key).or_insert_with(|| Mail { time, ..Mail::default() }))
    }

    fn done(&mut self, key: u64, sender: Box<[u8]>, bytes: u64) {
        drop(self.sent.insert(key, Sent { sender, bytes }));
    }

    /// The older half of what is followed is counted as it is known.
    fn make_room(&mut self, desk: &mut Desk) {
        if self.mails.len() >= FOLLOWED {
            let mut times: Vec<i64> = self.mails.values().map(|mail| mail.time).collect();
            let (_, middle, _) = times.select_nth_unstable(FOLLOWED / 2);
            let middle = *middle;
            let mut old: Vec<_> = self.mails.extract_if(|_, mail| mail.time <= middle).collect();
            old.sort_unstable_by_key(|(key, mail)| (mail.time, *key));
            for (_, mail) in old {
                mail.give(&[], desk);
            }
        }
        if self.deliveries.len() >= FOLLOWED {
            for (_, mut delivery) in std::mem::take(&mut self.deliveries) {
                delivery.give(desk);
            }
        }
    }
}

impl Mail {
    /// Hands in a message, once, with these recipients beside those that were refused. Where only some recipients were
    /// refused it is an accepted one.
    fn give(&self, more: &[&[u8]], desk: &mut Desk) {
        let Some(hop) = self.hop.filter(|_| self.accepted || self.refused > 0) else { return };
        let all: Vec<&[u8]>;
        let to = if self.to.is_empty() {
            more
        } else {
            all = self.to.iter().map(|to| &**to).chain(more.iter().copied()).collect();
            &all
        };
        desk.take(&Seen {
            peer: self.peer,
            host: &self.host,
            sender: &self.sender,
            to,
            recipients: if self.accepted { self.recipients } else { self.refused },
            bytes: self.bytes,
            end: if self.accepted { Disposition::Accepted } else { Disposition::Refused },
            wanted: if self.accepted { Wanted::Yes } else { Wanted::No },
            hop,
            untold: self.untold,
            ..Seen::new(self.time, Direction::Inbound)
        });
    }
}

impl Delivery {
    fn give(&mut self, desk: &mut Desk) {
        let Some(hop) = self.hop.take() else { return };
        let (host, peer) = relay(&self.relay);
        desk.take(&Seen {
            peer,
            host: host.strip_suffix(b".").unwrap_or(host),
            sender: &self.sender,
            to: &[&self.to],
            recipients: self.recipients,
            bytes: self.bytes,
            hop,
            untold: Untold::Sendmail,
            ..Seen::new(self.time, Direction::Outbound)
        });
    }
}

/// `4AO8xyz: text`; the name is empty where there is none.
fn queue_name(text: &[u8]) -> (&[u8], &[u8]) {
    let end = near(text.get(..24).unwrap_or(text), b':').unwrap_or_default();
    match text[end..].strip_prefix(b": ") {
        Some(rest) if end >= 8 && text[..end].iter().all(u8::is_ascii_alphanumeric) => (&text[..end], rest),
        _ => (&[], text),
    }
}

/// An address, in angle brackets or without, and what comes behind it.
fn envelope(text: &[u8]) -> Option<(&[u8], &[u8])> {
    match text.strip_prefix(b"<") {
        Some(inner) => bracketed(inner),
        None => {
            let end = memchr::memchr(b',', text).unwrap_or(text.len());
            Some(text.split_at(end))
        }
    }
}

/// `, size=4711, class=0, nrcpts=2, …`, as all but always: octets and recipients.
fn counts(text: &[u8]) -> Option<(u64, u64)> {
    let (bytes, rest) = number(text.strip_prefix(b", size=")?)?;
    let (_, rest) = number(rest.strip_prefix(b", class=")?)?;
    let (recipients, _) = number(rest.strip_prefix(b", nrcpts=")?)?;
    Some((bytes, recipients))
}

/// `mx.a [192.0.2.1] (may be forged)`: the name and the address.
fn relay(text: &[u8]) -> (&[u8], Option<IpAddr>) {
    let Some(open) = memchr::memchr(b'[', text) else { return (name(text), None) };
    let end = memchr::memchr(b']', &text[open..]).map_or(text.len(), |end| open + end);
    (name(&text[..open]), text_ip(text.get(open + 1..end).unwrap_or_default()))
}

/// The name before an address.
fn name(text: &[u8]) -> &[u8] {
    &text[..memchr::memchr2(b' ', b',', text).unwrap_or(text.len())]
}

/// What stands before the next comma.
fn word(text: &[u8]) -> &[u8] {
    &text[..memchr::memchr(b',', text).unwrap_or(text.len())]
}

fn value<'a>(text: &'a [u8], name: &[u8]) -> &'a [u8] {
    find(text, name).map_or(&[], |at| word(&text[at + name.len()..]))
}

/// OpenSSL's `TLSv1/SSLv3` is the family of the cipher, not the version.
fn versioned(text: &[u8]) -> Option<smtp_proto::tls::TlsVersion> {
    let text = word(text);
    if memchr::memchr(b'/', text).is_some() { None } else { version(text) }
}

/// By what `DaemonPortOptions` call the port for users.
fn is_submission(daemon: &[u8]) -> bool {
    matches!(daemon, b"MSA" | b"MSA6" | b"MSP" | b"MSP-v4" | b"MSP-v6" | b"TLSMTA" | b"MSA-v4" | b"MSA-v6")
}

fn hash(host: &[u8], name: &[u8]) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(host);
    hasher.write(name);
    hasher.finish()
}
