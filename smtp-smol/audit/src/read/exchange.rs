//! Logs of Exchange Server: lines of comma-separated values, below lines that say what they are.
//!
//! ```text
//! #Software: Microsoft Exchange Server
//! #Log-type: SMTP Receive Protocol Log
//! #Fields: date-time,connector-id,session-id,sequence-number,local-endpoint,remote-endpoint,event,data,context
//! 2026-11-24T08:00:00.000Z,MX\Default Frontend MX,08DE…,5,192.0.2.25:25,198.51.100.7:56026,*,,"TLS protocol SP_PROT_TLS1_2_SERVER negotiation succeeded …"
//! 2026-11-24T08:00:00.100Z,MX\Default Frontend MX,08DE…,6,192.0.2.25:25,198.51.100.7:56026,<,MAIL FROM:<a@example.org> SIZE=100,
//! ```
//!
//! The protocol logs, of mail that comes in and of mail that goes out, are the dialogues, and tell of TLS. The message
//! tracking log has each message, and does not.

use std::collections::VecDeque;
use std::hash::Hasher;
use std::net::IpAddr;
use std::ops::Range;

use rustc_hash::{FxHashMap, FxHasher};
use smtp_proto::tls::{ClientCertificate, Direction, Disposition, Hop, TlsVersion, Wanted};

use super::blocks::{Line, Lines, Piece};
use super::scan::{bracketed, eq, find, iso, near, number, starts_no_case, text_ip};
use super::threads::{self, Spare};
use super::words::version;
use crate::count::desk::Desk;
use crate::count::seen::{Seen, Untold};
use crate::source::Source;

/// Sessions that are followed at once.
const FOLLOWED: usize = 1 << 16;
/// Commands of a session that wait for their replies.
const WAITING: usize = 2000;

/// Whether this is the beginning of such a log.
pub(crate) fn is(start: &[u8]) -> bool {
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    start.starts_with(b"#Software: Microsoft Exchange")
        && start.split(|octet| *octet == b'\n').take(16).any(|line| Log::named(line).is_some())
}

/// Which log it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Log {
    Tracking,
    Receive,
    Send,
}

impl Log {
    fn named(line: &[u8]) -> Option<Self> {
        match line.strip_prefix(b"#Log-type: ")?.trim_ascii_end() {
            b"Message Tracking Log" => Some(Self::Tracking),
            b"SMTP Receive Protocol Log" => Some(Self::Receive),
            b"SMTP Send Protocol Log" => Some(Self::Send),
            _ => None,
        }
    }
}

/// Joins lines to messages, over files.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    sessions: FxHashMap<u64, Session>,
}

/// What the head of a file says of its lines.
#[derive(Debug, Default)]
struct Head {
    log: Option<Log>,
    columns: Columns,
    /// The number of the line that came last.
    number: u64,
}

/// What is known of one connection.
#[derive(Debug, Default)]
struct Session {
    time: i64,
    out: bool,
    /// Its beginning is in the log.
    whole: bool,
    peer: Option<IpAddr>,
    host: Box<[u8]>,
    tls: Option<Option<TlsVersion>>,
    login: bool,
    /// Commands without a reply so far.
    waiting: VecDeque<Verb>,
    sender: Box<[u8]>,
    to: Vec<Box<[u8]>>,
    /// Recipients that wait, in the order of their commands.
    asked: VecDeque<Box<[u8]>>,
    recipients: u32,
    refused: u32,
    bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Mail,
    Recipient,
    Data,
    Text,
    Chunk,
    Auth,
    Other,
}

impl Exchange {
    /// Reads one; with several threads some cut lines into values, one joins them to messages, and one counts these.
    pub(crate) fn read(&mut self, lines: &mut Lines<'_>, source: &Source, threads: usize, desk: &mut Desk) {
        let mut head = Head::default();
        if threads > 1 {
            let spare: Spare<Cut> = Spare::default();
            threads::hand_in(
                threads,
                || {
                    let mut cut = spare.take();
                    cut.piece = lines.piece(std::mem::take(&mut cut.piece).into_room())?;
                    Some(cut)
                },
                Cut::cut,
                |cut, desk| {
                    cut.each(|line| self.line(&mut head, line, source, desk));
                    spare.give(cut);
                },
                desk,
            );
        } else {
            let mut spare = Vec::new();
            while let Some(piece) = lines.piece(spare) {
                let mut values = Vec::new();
                for line in piece.lines() {
                    values.clear();
                    self.line(&mut head, Said::of(line, &mut values), source, desk);
                }
                spare = piece.into_room();
            }
        }
        if let Some(error) = lines.failed() {
            desk.broken.cut_short(&source.path, head.number, &error);
        }
    }

    fn line(&mut self, head: &mut Head, line: Said<'_, '_>, source: &Source, desk: &mut Desk) {
        head.number += 1;
        let done = match line {
            Said::TooLong => {
                desk.lines.broken += 1;
                desk.broken.add(&source.path, head.number, "a line too long for a log");
                return;
            }
            Said::Head(line) => {
                desk.lines.other += 1;
                head.log = Log::named(line).or(head.log);
                if let Some(fields) = line.strip_prefix(b"#Fields: ") {
                    head.columns = Columns::of(fields);
                }
                return;
            }
            Said::Values(values) => match head.log {
                Some(Log::Tracking) => tracked(&head.columns, values, desk),
                Some(log) => self.said(log == Log::Send, &head.columns, values, desk),
                None => None,
            },
        };
        if done.is_some() {
            desk.lines.mail += 1;
        } else {
            desk.lines.broken += 1;
            desk.broken.add(&source.path, head.number, "a line without the fields that the log has");
        }
    }

    /// Nothing more comes.
    pub(crate) fn finish(&mut self, desk: &mut Desk) {
        self.forget_sessions(desk);
        desk.finish();
    }

    /// What is still open is counted as it is known.
    fn forget_sessions(&mut self, desk: &mut Desk) {
        let mut open: Vec<_> = std::mem::take(&mut self.sessions).into_iter().collect();
        open.sort_unstable_by_key(|(key, session)| (session.time, *key));
        for (_, mut session) in open {
            session.reset(desk);
        }
    }

    /// A line of a dialogue.
    fn said(&mut self, out: bool, columns: &Columns, values: &[&[u8]], desk: &mut Desk) -> Option<()> {
        let (time, _) = iso(columns.get(values, b"date-time")?)?;
        let id = columns.get(values, b"session-id")?;
        let (event, data) = (columns.get(values, b"event")?, columns.get(values, b"data")?);
        let context = columns.get(values, b"context").unwrap_or_default();
        let mut hasher = FxHasher::default();
        hasher.write(id);
        hasher.write(columns.get(values, b"connector-id").unwrap_or_default());
        let key = hasher.finish();
        if self.sessions.len() >= FOLLOWED && !self.sessions.contains_key(&key) {
            self.forget_sessions(desk);
        }
        let session = self.sessions.entry(key).or_insert_with(|| Session { time, out, ..Session::default() });
        if session.peer.is_none() {
            session.peer = endpoint(columns.get(values, b"remote-endpoint").unwrap_or_default());
        }
        let (command, reply): (&[u8], &[u8]) = if out { (b">", b"<") } else { (b"<", b">") };
        if event == b"+" {
            session.whole = true;
        } else if event == b"-" {
            if let Some(mut session) = self.sessions.remove(&key) {
                session.reset(desk);
            }
        } else if event == b"*" {
            for words in [context, data] {
                if let Some(at) = find(words, b"TLS protocol SP_PROT") {
                    session.tls = Some(version(words.get(at + 21..).unwrap_or_default()));
                }
            }
        } else if event == command {
            session.command(data, desk);
        } else if event == reply {
            session.reply(data, time, desk);
        }
        Some(())
    }
}

impl Session {
    fn command(&mut self, text: &[u8], desk: &mut Desk) {
        let after = |verb: &[u8]| starts_no_case(text, verb).then(|| &text[verb.len()..]);
        let verb = if let Some(path) = after(b"MAIL FROM:") {
            self.reset(desk);
            self.sender = path_of(path).into();
            Verb::Mail
        } else if let Some(path) = after(b"RCPT TO:") {
            if self.asked.len() < WAITING {
                self.asked.push_back(path_of(path).into());
            }
            Verb::Recipient
        } else if eq(text, b"DATA") {
            Verb::Data
        } else if let Some(size) = after(b"BDAT ") {
            let (octets, rest) = number(size).unwrap_or((0, &[]));
            self.bytes = self.bytes.saturating_add(octets);
            if starts_no_case(rest.trim_ascii(), b"last") { Verb::Text } else { Verb::Chunk }
        } else if after(b"AUTH").is_some() {
            Verb::Auth
        } else {
            if let Some(name) = after(b"EHLO ").or_else(|| after(b"HELO "))
                && !self.out
            {
                self.host = name.trim_ascii().into();
            }
            Verb::Other
        };
        if self.waiting.len() < WAITING {
            self.waiting.push_back(verb);
        }
    }

    fn reply(&mut self, text: &[u8], time: i64, desk: &mut Desk) {
        let Some(code) = text.first_chunk::<3>().filter(|code| code.iter().all(u8::is_ascii_digit)) else { return };
        // A line that another follows.
        if text.get(3) == Some(&b'-') {
            return;
        }
        let good = code[0] == b'2';
        match self.waiting.pop_front() {
            Some(Verb::Recipient) => {
                let to = self.asked.pop_front().unwrap_or_default();
                match code[0] {
                    b'2' => {
                        self.recipients = self.recipients.saturating_add(1);
                        if self.to.len() < 64 {
                            self.to.push(to);
                        }
                    }
                    b'5' => self.refused = self.refused.saturating_add(1),
                    _ => desk.aside.deferred += 1,
                }
            }
            Some(Verb::Data) if code == b"354" => self.waiting.push_front(Verb::Text),
            Some(Verb::Text) if good => self.give(time, Disposition::Accepted, desk),
            Some(Verb::Text | Verb::Data | Verb::Chunk | Verb::Mail) if code[0] == b'5' => {
                self.refused = self.refused.max(1);
                self.recipients = 0;
            }
            Some(Verb::Text) => desk.aside.deferred += 1,
            Some(Verb::Auth) => self.login |= code == b"235",
            _ => {}
        }
    }

    /// The end of a transaction: if everything of it was refused, that counts.
    fn reset(&mut self, desk: &mut Desk) {
        if self.refused > 0 && self.recipients == 0 && !self.out {
            self.give(self.time, Disposition::Refused, desk);
        }
        self.sender = Box::default();
        self.to.clear();
        self.asked.clear();
        (self.recipients, self.refused, self.bytes) = (0, 0, 0);
    }

    fn give(&mut self, time: i64, end: Disposition, desk: &mut Desk) {
        if self.login && !self.out {
            desk.messages += 1;
            desk.aside.submissions += 1;
        } else {
            let certificate = ClientCertificate::Unknown;
            let (hop, untold) = match self.tls {
                Some(version) => (Hop::Used { version, certificate }, Untold::None),
                None if self.whole => (Hop::NotTried, Untold::None),
                None => (Hop::Unknown, Untold::CutOff),
            };
            let to: Vec<&[u8]> = self.to.iter().map(|to| &**to).collect();
            desk.take(&Seen {
                peer: self.peer,
                host: &self.host,
                sender: &self.sender,
                to: &to,
                recipients: if end == Disposition::Accepted { self.recipients.max(1) } else { self.refused },
                bytes: self.bytes,
                end,
                wanted: if end == Disposition::Accepted { Wanted::Yes } else { Wanted::No },
                hop,
                untold,
                ..Seen::new(time, if self.out { Direction::Outbound } else { Direction::Inbound })
            });
        }
        (self.recipients, self.refused, self.bytes) = (0, 0, 0);
        self.to.clear();
    }
}

/// A line of the message tracking log: a message that came by SMTP, or was sent by it. Over what, it does not tell.
fn tracked(columns: &Columns, values: &[&[u8]], desk: &mut Desk) -> Option<()> {
    let get = |name: &[u8]| columns.get(values, name).unwrap_or_default();
    let (time, _) = iso(columns.get(values, b"date-time")?)?;
    let event = columns.get(values, b"event-id")?;
    if get(b"source") != b"SMTP" {
        return Some(());
    }
    let direction = match event {
        b"RECEIVE" if get(b"directionality") == b"Originating" => {
            desk.messages += 1;
            desk.aside.submissions += 1;
            return Some(());
        }
        b"RECEIVE" => Direction::Inbound,
        b"SEND" => Direction::Outbound,
        _ => return Some(()),
    };
    let (address, host) = match direction {
        Direction::Outbound => (get(b"server-ip"), get(b"server-hostname")),
        // A front end hands on whose client it was.
        _ if !get(b"original-client-ip").is_empty() => (get(b"original-client-ip"), &[][..]),
        Direction::Inbound => (get(b"client-ip"), get(b"client-hostname")),
    };
    let to: Vec<&[u8]> = get(b"recipient-address").split(|octet| *octet == b';').take(64).collect();
    let count = |name: &[u8]| number(get(name)).map_or(0, |(count, _)| count);
    let sender = if get(b"return-path").is_empty() { get(b"sender-address") } else { get(b"return-path") };
    desk.take(&Seen {
        peer: text_ip(&address[..memchr::memchr(b'%', address).unwrap_or(address.len())]),
        host,
        sender: if sender == b"<>" { &[] } else { sender },
        to: &to,
        recipients: u32::try_from(count(b"recipient-count").max(1)).unwrap_or(u32::MAX),
        bytes: count(b"total-bytes"),
        untold: Untold::Tracking,
        ..Seen::new(time, direction)
    });
    Some(())
}

/// Which value is what.
#[derive(Debug, Default)]
struct Columns(Vec<Box<[u8]>>);

impl Columns {
    /// More than any log has.
    const MOST: usize = 128;

    fn of(fields: &[u8]) -> Self {
        Self(fields.split(|octet| *octet == b',').take(Self::MOST).map(|name| name.trim_ascii().into()).collect())
    }

    fn get<'l>(&self, values: &[&'l [u8]], name: &[u8]) -> Option<&'l [u8]> {
        self.0.iter().position(|column| **column == *name).and_then(|at| values.get(at)).copied()
    }
}

/// A line, of which it is not known yet of which log it is.
#[derive(Clone, Copy)]
enum Said<'l, 'v> {
    /// What says so, and what says nothing.
    Head(&'l [u8]),
    Values(&'v [&'l [u8]]),
    TooLong,
}

impl<'l, 'v> Said<'l, 'v> {
    /// The values are without their quotes; a quote within one stays doubled.
    fn of(line: Line<'l>, values: &'v mut Vec<&'l [u8]>) -> Self {
        let Line::Line(line) = line else { return Self::TooLong };
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() || line.starts_with(b"#") {
            return Self::Head(line);
        }
        let mut rest = Some(line);
        while let Some(text) = rest.filter(|_| values.len() < Columns::MOST) {
            let end = if text.first() == Some(&b'"') {
                let mut at = 1;
                loop {
                    match memchr::memchr(b'"', &text[at..]).map(|found| at + found) {
                        Some(quote) if text.get(quote + 1) == Some(&b'"') => at = quote + 2,
                        Some(quote) => break quote + 1,
                        None => break text.len(),
                    }
                }
            } else {
                0
            };
            let end = near(&text[end..], b',').map_or(text.len(), |comma| end + comma);
            let value = &text[..end];
            values.push(value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value));
            rest = text.get(end + 1..);
        }
        Self::Values(values)
    }
}

/// A piece of a log, cut into lines and values, on its way to another thread.
#[derive(Debug, Default)]
struct Cut {
    piece: Piece,
    lines: Vec<Kept>,
    /// Where the values stand.
    values: Vec<Range<u32>>,
}

/// A [`Said`] with places for what it borrows.
#[derive(Debug)]
enum Kept {
    Head(Range<u32>),
    /// So many more of the values.
    Values(usize),
    TooLong,
}

impl Cut {
    fn cut(mut self) -> Self {
        self.lines.clear();
        self.values.clear();
        let octets = self.piece.octets();
        let start = octets.as_ptr().addr();
        let place = |part: &[u8]| {
            let at = |octets: usize| u32::try_from(octets).unwrap_or(u32::MAX);
            let first = part.as_ptr().addr() - start;
            at(first)..at(first + part.len())
        };
        let mut values = Vec::new();
        for line in self.piece.lines() {
            values.clear();
            self.lines.push(match Said::of(line, &mut values) {
                Said::Head(line) => Kept::Head(place(line)),
                Said::Values(values) => {
                    self.values.extend(values.iter().map(|value| place(value)));
                    Kept::Values(values.len())
                }
                Said::TooLong => Kept::TooLong,
            });
        }
        self
    }

    /// Hands out the lines, in order.
    fn each(&self, mut then: impl FnMut(Said<'_, '_>)) {
        let octets = self.piece.octets();
        let get = |place: &Range<u32>| octets.get(place.start as usize..place.end as usize).unwrap_or_default();
        let mut coming = self.values.iter();
        let mut values = Vec::new();
        for line in &self.lines {
            then(match line {
                Kept::Head(line) => Said::Head(get(line)),
                Kept::Values(many) => {
                    values.clear();
                    values.extend(coming.by_ref().take(*many).map(get));
                    Said::Values(&values)
                }
                Kept::TooLong => Said::TooLong,
            });
        }
    }
}

/// `<a@example.org> SIZE=100`: the address. Within a value in quotes a quote is doubled.
fn path_of(text: &[u8]) -> &[u8] {
    let text = text.trim_ascii_start();
    match text.strip_prefix(b"<") {
        Some(inner) => bracketed(inner).map_or(&[][..], |(path, _)| path),
        None => &text[..text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len())],
    }
}

/// `198.51.100.7:56026`, `[2001:db8::1]:25`.
fn endpoint(text: &[u8]) -> Option<IpAddr> {
    let address = &text[..memchr::memrchr(b':', text)?];
    let address = address.strip_prefix(b"[").and_then(|address| address.strip_suffix(b"]")).unwrap_or(address);
    text_ip(&address[..memchr::memchr(b'%', address).unwrap_or(address.len())])
}
