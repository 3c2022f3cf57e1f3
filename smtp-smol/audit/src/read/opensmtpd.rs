//! OpenSMTPD's log: every line of a session has its number. Whether there is TLS is said of every session.
//!
//! ```text
//! smtpd[1]: f274cf34b7d0786b smtp connected address=192.0.2.1 host=mx.a
//! smtpd[1]: f274cf34b7d0786b smtp tls ciphers=TLSv1.3:TLS_AES_256_GCM_SHA384:256
//! smtpd[1]: f274cf34b7d0786b smtp message msgid=78e5c402 size=1118 nrcpt=1 proto=ESMTP
//! smtpd[1]: f274cf34b7d0786b smtp envelope evpid=78e5c402920bccd1 from=<s@a> to=<r@b>
//! smtpd[1]: f274cf34b7d0786b smtp disconnected reason=quit
//! smtpd[1]: f274cf3c5a1b2d3e mta connecting address=smtp://198.51.100.1:25 host=mx.c
//! smtpd[1]: f274cf3c5a1b2d3e mta tls ciphers=TLSv1.3:TLS_AES_256_GCM_SHA384:256
//! smtpd[1]: f274cf3c5a1b2d3e mta delivery evpid=… from=<s@a> to=<y@c> rcpt=<-> source="…" relay="198.51.100.1 (mx.c)" delay=1s result="Ok" stat="…"
//! ```
//!
//! Before version 6.4 it wrote `smtp event=connected address=…`, `event=starttls`, and one `event=message` a recipient.

use std::hash::Hasher;
use std::net::IpAddr;

use rustc_hash::{FxHashMap, FxHasher};
use smtp_proto::tls::{ClientCertificate, Direction, Disposition, Hop, Wanted};

use super::scan::{bracketed, find, number, text_ip};
use super::syslog::{Calendar, Line};
use super::words::version;
use crate::count::desk::Desk;
use crate::count::seen::{Seen, Untold};

/// Sessions that are followed at once.
const FOLLOWED: usize = 1 << 17;

/// Whether this is a line of OpenSMTPD's.
#[inline]
pub(crate) fn writes(line: &Line<'_>) -> bool {
    line.program == b"smtpd" && line.instance.is_empty()
}

/// Joins lines to messages, over files and hosts.
#[derive(Debug, Default)]
pub(crate) struct Opensmtpd {
    sessions: FxHashMap<u64, Session>,
}

/// What is known of one session, in or out.
#[derive(Debug, Default)]
struct Session {
    time: i64,
    peer: Option<IpAddr>,
    host: Box<[u8]>,
    /// Its beginning is in the log.
    whole: bool,
    /// Mail goes out in it.
    out: bool,
    /// From a program on this machine.
    local: bool,
    login: bool,
    version: Option<Option<smtp_proto::tls::TlsVersion>>,
    certificate: ClientCertificate,
    /// Recipients that were refused since the last message.
    refused: u32,
    mail: Option<Mail>,
}

/// A message of which not all is read yet.
#[derive(Debug, Default)]
struct Mail {
    time: i64,
    name: Box<[u8]>,
    sender: Box<[u8]>,
    to: Vec<Box<[u8]>>,
    bytes: u64,
    /// Those read so far, and how many there are to be.
    recipients: u32,
    expected: Option<u32>,
}

impl Opensmtpd {
    /// Takes a line; `None` where it is needed and has no time.
    pub(crate) fn line(&mut self, line: &Line<'_>, calendar: &mut Calendar, desk: &mut Desk) -> Option<()> {
        let Some((id, text)) = line.text.split_at_checked(16) else { return Some(()) };
        if !id.iter().all(u8::is_ascii_hexdigit) {
            return Some(());
        }
        let key = hash(line.host, id);
        if let Some(text) = text.strip_prefix(b" smtp ") {
            let text = text.strip_prefix(b"event=").unwrap_or(text);
            self.inbound(key, text, calendar.time(line.stamp)?, desk);
        } else if let Some(text) = text.strip_prefix(b" mta ") {
            let text = text.strip_prefix(b"event=").unwrap_or(text);
            self.outbound(key, text, calendar.time(line.stamp)?, desk);
        }
        Some(())
    }

    /// Nothing more comes.
    pub(crate) fn finish(&mut self, desk: &mut Desk) {
        let mut open: Vec<_> = std::mem::take(&mut self.sessions).into_iter().collect();
        open.sort_unstable_by_key(|(key, session)| (session.time, *key));
        for (_, mut session) in open {
            session.close(desk);
        }
    }

    fn inbound(&mut self, key: u64, text: &[u8], time: i64, desk: &mut Desk) {
        let (what, rest) = word(text);
        match what {
            b"connected" => {
                let address = value(rest, b"address=");
                let session = self.session(key, time, desk);
                session.whole = true;
                session.local = address == b"local";
                session.peer =
                    text_ip(address.strip_prefix(b"[").and_then(|a| a.strip_suffix(b"]")).unwrap_or(address));
                session.host = named(value(rest, b"host=")).into();
            }
            b"tls" | b"starttls" => {
                let session = self.session(key, time, desk);
                session.version = Some(ciphers(rest));
            }
            b"cert-check" => {
                let session = self.session(key, time, desk);
                session.certificate = match value(rest, b"result=") {
                    b"verified" | b"success" => ClientCertificate::Verified,
                    _ => ClientCertificate::Untrusted,
                };
            }
            b"authentication" if value(rest, b"result=") == b"ok" => self.session(key, time, desk).login = true,
            b"message" => {
                let session = self.session(key, time, desk);
                session.refused = 0;
                let name = value(rest, b"msgid=");
                let bytes = number(value(rest, b"size=")).map_or(0, |(bytes, _)| bytes);
                match session.mail.as_mut().filter(|mail| *mail.name == *name) {
                    Some(mail) => mail.add(rest),
                    None => {
                        let expected = number(value(rest, b"nrcpt=")).and_then(|(count, _)| u32::try_from(count).ok());
                        let mut mail = Mail { time, name: name.into(), bytes, expected, ..Mail::default() };
                        if expected.is_none() {
                            mail.add(rest);
                        }
                        session.give(desk);
                        session.mail = Some(mail);
                    }
                }
            }
            b"envelope" => {
                if let Some(session) = self.sessions.get_mut(&key)
                    && let Some(mail) = &mut session.mail
                {
                    mail.add(rest);
                    if mail.expected.is_some_and(|expected| mail.recipients >= expected) {
                        session.give(desk);
                    }
                }
            }
            b"failed-command" => {
                let command = value(rest, b"command=");
                let of_mail = [&b"MAIL"[..], b"RCPT", b"DATA", b"."].iter().any(|word| command.starts_with(word))
                    || command.is_empty();
                match find(rest, b" result=\"").and_then(|at| rest.get(at + 9)) {
                    Some(b'5') if of_mail => self.session(key, time, desk).refused += 1,
                    Some(b'4') if of_mail => desk.aside.deferred += 1,
                    _ => {}
                }
            }
            b"disconnected" | b"closed" => {
                if let Some(mut session) = self.sessions.remove(&key) {
                    let failed = find(rest, b"handshake").is_some()
                        || find(rest, b"tls-").is_some()
                        || find(rest, b"SSL routines").is_some();
                    session.close(desk);
                    if failed && session.version.is_none() {
                        desk.take(&Seen {
                            peer: session.peer,
                            host: &session.host,
                            recipients: 0,
                            end: Disposition::Abandoned,
                            wanted: Wanted::Unknown,
                            hop: Hop::Failed,
                            ..Seen::new(time, Direction::Inbound)
                        });
                    }
                }
            }
            _ => {}
        }
    }

    fn outbound(&mut self, key: u64, text: &[u8], time: i64, desk: &mut Desk) {
        let (what, rest) = word(text);
        if let Some(session) = self.sessions.get_mut(&key) {
            session.out = true;
        }
        match what {
            b"connecting" => {
                let session = self.session(key, time, desk);
                // A fall-back to plaintext is a further connection of the same session.
                session.give_out(desk);
                session.version = None;
                session.whole = true;
                let address = value(rest, b"address=");
                let address = find(address, b"://").map_or(address, |at| &address[at + 3..]);
                let colon = memchr::memrchr(b':', address).unwrap_or(address.len());
                let address = &address[..colon];
                session.peer =
                    text_ip(address.strip_prefix(b"[").and_then(|a| a.strip_suffix(b"]")).unwrap_or(address));
                session.host = named(value(rest, b"host=")).into();
            }
            b"tls" | b"starttls" => self.session(key, time, desk).version = Some(ciphers(rest)),
            b"delivery" => {
                let Some((sender, after)) = find(rest, b" from=<").and_then(|at| bracketed(&rest[at + 7..])) else {
                    return;
                };
                // The other side's words come last.
                let own = &after[..find(after, b" stat=").unwrap_or(after.len())];
                if value(own, b"result=") != b"Ok" {
                    return;
                }
                let name = value(rest, b"evpid=");
                let name = &name[..name.len().min(8)];
                let to = find(after, b" to=<").and_then(|at| bracketed(&after[at + 5..])).map_or(&[][..], |(to, _)| to);
                let session = self.session(key, time, desk);
                match session.mail.as_mut().filter(|mail| *mail.name == *name) {
                    Some(mail) => mail.recipients += 1,
                    None => {
                        session.out = true;
                        session.give_out(desk);
                        if session.peer.is_none() {
                            let relay = value(own, b"relay=");
                            let (address, host) = word(relay);
                            session.peer = text_ip(address);
                            session.host =
                                host.strip_prefix(b"(").and_then(|h| h.strip_suffix(b")")).unwrap_or(host).into();
                        }
                        session.mail = Some(Mail {
                            time,
                            name: name.into(),
                            sender: sender.into(),
                            to: vec![to.into()],
                            recipients: 1,
                            ..Mail::default()
                        });
                    }
                }
            }
            b"disconnected" | b"closed" => {
                if let Some(mut session) = self.sessions.remove(&key) {
                    session.give_out(desk);
                }
            }
            _ => {}
        }
    }

    /// The session of this number. Where it is not known yet, its beginning is not in the log.
    fn session(&mut self, key: u64, time: i64, desk: &mut Desk) -> &mut Session {
        if self.sessions.len() >= FOLLOWED && !self.sessions.contains_key(&key) {
            self.finish(desk);
        }
        self.sessions.entry(key).or_insert_with(|| Session { time, ..Session::default() })
    }
}

impl Session {
    fn hop(&self) -> (Hop, Untold) {
        match self.version {
            Some(version) => (Hop::Used { version, certificate: self.certificate }, Untold::None),
            None if self.whole => (Hop::NotTried, Untold::None),
            None => (Hop::Unknown, Untold::CutOff),
        }
    }

    fn close(&mut self, desk: &mut Desk) {
        if self.out {
            self.give_out(desk);
            return;
        }
        self.give(desk);
        if self.refused > 0 && !self.login && !self.local {
            let (hop, untold) = self.hop();
            desk.take(&Seen {
                peer: self.peer,
                host: &self.host,
                recipients: self.refused,
                end: Disposition::Refused,
                wanted: Wanted::No,
                hop,
                untold,
                ..Seen::new(self.time, Direction::Inbound)
            });
        }
    }

    /// Hands in a message that came in.
    fn give(&mut self, desk: &mut Desk) {
        let Some(mail) = self.mail.take() else { return };
        if self.local || self.login {
            desk.messages += 1;
            *(if self.login { &mut desk.aside.submissions } else { &mut desk.aside.internal }) += 1;
            return;
        }
        let (hop, untold) = self.hop();
        let to: Vec<&[u8]> = mail.to.iter().map(|to| &**to).collect();
        desk.take(&Seen {
            peer: self.peer,
            host: &self.host,
            sender: &mail.sender,
            to: &to,
            recipients: mail.recipients.max(mail.expected.unwrap_or(1)),
            bytes: mail.bytes,
            hop,
            untold,
            ..Seen::new(mail.time, Direction::Inbound)
        });
    }

    /// Hands in a message that went out.
    fn give_out(&mut self, desk: &mut Desk) {
        let Some(mail) = self.mail.take() else { return };
        let to: Vec<&[u8]> = mail.to.iter().map(|to| &**to).collect();
        let (hop, untold) = self.hop();
        // A server always shows a certificate; what it is worth is not what is asked here.
        let hop = match hop {
            Hop::Used { version, .. } => Hop::Used { version, certificate: ClientCertificate::Unknown },
            hop => hop,
        };
        desk.take(&Seen {
            peer: self.peer,
            host: &self.host,
            sender: &mail.sender,
            to: &to,
            recipients: mail.recipients,
            hop,
            untold,
            ..Seen::new(mail.time, Direction::Outbound)
        });
    }
}

impl Mail {
    /// `… from=<s@a> to=<r@b> …`
    fn add(&mut self, text: &[u8]) {
        let Some((sender, rest)) = find(text, b"from=<").and_then(|at| bracketed(&text[at + 6..])) else { return };
        self.sender = sender.into();
        self.recipients = self.recipients.saturating_add(1);
        if let Some((to, _)) = find(rest, b"to=<").and_then(|at| bracketed(&rest[at + 4..]))
            && self.to.len() < 64
        {
            self.to.push(to.into());
        }
    }
}

/// `TLSv1.3:TLS_AES_256_GCM_SHA384:256`, and once `version=TLSv1.2, cipher=…, bits=256`.
fn ciphers(text: &[u8]) -> Option<smtp_proto::tls::TlsVersion> {
    let text = text.strip_prefix(b"ciphers=").unwrap_or(text);
    let text = text.strip_prefix(b"\"").unwrap_or(text);
    let text = find(text, b"version=").map_or(text, |at| &text[at + 8..]);
    version(text)
}

/// The value of `name`, up to a space, or within quotes.
fn value<'a>(text: &'a [u8], name: &[u8]) -> &'a [u8] {
    let mut from = 0;
    while let Some(at) = find(&text[from..], name).map(|at| from + at) {
        if at == 0 || text[at - 1] == b' ' {
            let value = &text[at + name.len()..];
            return match value.strip_prefix(b"\"") {
                Some(quoted) => &quoted[..memchr::memchr(b'"', quoted).unwrap_or(quoted.len())],
                None => word(value).0,
            };
        }
        from = at + name.len();
    }
    &[]
}

/// The first word, and the rest.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b' ', text) {
        Some(space) => (&text[..space], &text[space + 1..]),
        None => (text, &[]),
    }
}

/// `<unknown>` is no name.
fn named(host: &[u8]) -> &[u8] {
    if host.first() == Some(&b'<') { &[] } else { host }
}

fn hash(host: &[u8], id: &[u8]) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(host);
    hasher.write(id);
    hasher.finish()
}
