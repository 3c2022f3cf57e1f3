//! Postfix's log. What belongs together stands apart in it, with other processes' lines between:
//!
//! ```text
//! smtpd[1]: connect from a[192.0.2.1]                         a session begins; one at a time in each process
//! smtpd[1]: Anonymous TLS connection established from …        where smtpd_tls_loglevel is 1 or more
//! smtpd[1]: 4XYZ: client=a[192.0.2.1]                          a message, of this session, by its queue's name for it
//! qmgr[2]:  4XYZ: from=<s@a>, size=4711, nrcpt=2 (queue active) only now it was accepted
//! smtpd[1]: disconnect from a[192.0.2.1] ehlo=2 starttls=1 …   tells whether there was TLS, whatever the log level
//! smtp[3]:  Trusted TLS connection established to b[…]:25: …   the other way: this hop is encrypted
//! smtp[3]:  4XYZ: to=<r@b>, relay=b[…]:25, …, status=sent (…)  and has taken the message
//! qmgr[2]:  4XYZ: removed
//! ```

mod inbound;
mod outbound;
mod phrases;
mod rejects;

use std::hash::Hasher;
use std::path::Path;

use rustc_hash::{FxHashMap, FxHasher};

use super::blocks::{self, Lines};
use super::desk::Desk;
use super::source::Source;
use super::syslog::{Calendar, Line};
use inbound::{Mail, Session};
use outbound::Delivery;
use phrases::queue_name;

/// Sessions and messages that are followed at once; beyond that the oldest are counted as they are.
const FOLLOWED: usize = 1 << 18;

/// Whether this is a line of Postfix's.
pub(super) fn is_line(line: &[u8]) -> bool {
    const PROGRAMS: [&[u8]; 12] = [
        b"smtpd",
        b"qmgr",
        b"cleanup",
        b"smtp",
        b"lmtp",
        b"local",
        b"pickup",
        b"bounce",
        b"master",
        b"postscreen",
        b"postfix-script",
        b"anvil",
    ];
    Line::parse(line).is_some_and(|line| PROGRAMS.contains(&line.program))
}

/// The time of a line of a file that was last written then.
pub(super) fn time_of(line: &[u8], written: i64) -> Option<i64> {
    Line::parse(line).and_then(|line| Calendar::new(written).time(line.stamp))
}

/// Joins lines to messages, over files and hosts.
#[derive(Debug)]
pub(super) struct Postfix {
    sessions: FxHashMap<u64, Session>,
    mails: Generations<Mail>,
    deliveries: FxHashMap<u64, Delivery>,
    /// Recipients' domains are asked for: a message is kept until it was delivered.
    recipients: bool,
    /// A server's line about TLS was seen: where there is none, there is no TLS.
    tells_tls: bool,
    /// The same, of mail that goes out.
    tells_tls_out: bool,
    /// A certificate of a client was seen: they are asked for one.
    asks: bool,
    /// A filter answers before the queue: what this machine sends to itself has come in before.
    filtered: bool,
}

impl Postfix {
    pub(super) fn new(recipients: bool) -> Self {
        Self {
            sessions: FxHashMap::default(),
            mails: Generations::default(),
            deliveries: FxHashMap::default(),
            recipients,
            tells_tls: false,
            tells_tls_out: false,
            asks: false,
            filtered: false,
        }
    }

    pub(super) fn read(&mut self, lines: &mut Lines<'_>, source: &Source, desk: &mut Desk) {
        let mut calendar = Calendar::new(source.written);
        while let Some(line) = lines.next() {
            match line {
                blocks::Line::Line(line) => {
                    if self.line(line, &mut calendar, desk).is_none() {
                        desk.broken.add(&source.path, lines.number, "a line of Postfix's without a time");
                    }
                }
                blocks::Line::TooLong => desk.broken.add(&source.path, lines.number, "a line too long for a log"),
            }
        }
        failed(lines, &source.path, desk);
    }

    /// Nothing more comes: what is still open is counted as it is known.
    pub(super) fn finish(&mut self, desk: &mut Desk) {
        self.forget_sessions(desk);
        let mut deliveries: Vec<_> = std::mem::take(&mut self.deliveries).into_iter().collect();
        deliveries.sort_unstable_by_key(|(key, _)| *key);
        for (_, mut delivery) in deliveries {
            delivery.give(desk);
        }
        for mut mail in self.mails.take_all() {
            mail.delivered = true;
            mail.give(self.recipients, desk);
        }
        desk.finish();
    }

    /// Takes a line; `None` where it is needed and has no time.
    #[inline]
    fn line(&mut self, line: &[u8], calendar: &mut Calendar, desk: &mut Desk) -> Option<()> {
        let Some(line) = Line::parse(line) else { return Some(()) };
        match line.program {
            b"smtpd" => self.smtpd(&line, calendar, desk),
            b"qmgr" | b"nqmgr" => self.qmgr(&line, desk),
            b"cleanup" => {
                if let Some((queue, text)) = queue_name(line.text)
                    && matches!(text, [b'r' | b'd', ..] | [b'm', b'i', ..])
                {
                    self.verdict(key(line.host, queue), text, calendar.time(line.stamp)?, desk);
                }
                Some(())
            }
            b"smtp" => self.smtp(&line, calendar, desk),
            b"lmtp" | b"local" | b"virtual" | b"pipe" if self.recipients => {
                self.recipient(&line);
                Some(())
            }
            b"postscreen" => self.postscreen(&line, calendar, desk),
            b"tlsproxy" => {
                self.tlsproxy(&line, desk);
                Some(())
            }
            _ => Some(()),
        }
    }
}

fn key(host: &[u8], queue: &[u8]) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(host);
    hasher.write(queue);
    hasher.finish()
}

/// A process on a host.
fn place(line: &Line<'_>) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(line.host);
    hasher.write(line.process);
    hasher.finish()
}

/// Says why reading ended, if not at the end.
pub(super) fn failed(lines: &mut Lines<'_>, path: &Path, desk: &mut Desk) {
    let line = lines.number;
    if let Some(error) = lines.failed() {
        desk.broken.add(path, line, &format!("cut short here: {error}"));
    }
}

/// What is kept of as many as can be, the oldest going first: when the younger half is full, the older half is given
/// up in one go.
#[derive(Debug)]
struct Generations<T> {
    young: FxHashMap<u64, T>,
    old: FxHashMap<u64, T>,
}

impl<T> Default for Generations<T> {
    fn default() -> Self {
        Self { young: FxHashMap::default(), old: FxHashMap::default() }
    }
}

impl<T> Generations<T> {
    /// What had to be given up for it, if anything.
    fn insert(&mut self, key: u64, value: T) -> Option<impl Iterator<Item = T> + use<T>> {
        let mut given_up = None;
        if self.young.len() >= FOLLOWED / 2 {
            let young = std::mem::take(&mut self.young);
            let old = std::mem::replace(&mut self.old, young);
            given_up = Some(old.into_values());
        }
        self.old.remove(&key);
        self.young.insert(key, value);
        given_up
    }

    fn get_mut(&mut self, key: u64) -> Option<&mut T> {
        self.young.get_mut(&key).or_else(|| self.old.get_mut(&key))
    }

    fn remove(&mut self, key: u64) -> Option<T> {
        self.young.remove(&key).or_else(|| self.old.remove(&key))
    }

    /// All of them, the older half first.
    fn take_all(&mut self) -> impl Iterator<Item = T> + use<T> {
        std::mem::take(&mut self.old).into_values().chain(std::mem::take(&mut self.young).into_values())
    }
}
