//! The fields at the head of a stored message: which hop brought it in, whether it was wanted, whether it is protected
//! from end to end. Fields only, and the first octets of the text; nothing is decrypted or kept.

use std::hash::Hasher;
use std::path::Path;

use memchr::memmem;
use rustc_hash::{FxHashMap, FxHashSet, FxHasher};
use smtp_proto::tls::{Direction, Wanted};

use super::received::{self, Kind, Received};
use crate::count::desk::Desk;
use crate::count::seen::{Seen, Untold};
use crate::error::Error;
use crate::ledger::registrable;
use crate::marks::{UnwantedIf, end_to_end};
use crate::read::scan::{eq, rfc5322, starts_no_case};
use crate::read::tlsrpt;

/// So much of the text is looked at.
pub(crate) const BEGINNING: usize = 2048;
/// A head longer than this is none.
pub(crate) const LONGEST: usize = 256 << 10;
/// Trace fields that are looked at.
const HOPS: usize = 64;

/// Reads heads, knowing which server's fields to believe.
#[derive(Debug)]
pub(crate) struct Reader {
    border: Border,
    unwanted_if: Vec<UnwantedIf>,
    /// First octets, in lower case, of fields that matter.
    first: [bool; 256],
    seen: Copies,
}

/// Whose Received field is believed: that of the server through which mail comes in from outside.
#[derive(Debug)]
enum Border {
    Known(Vec<Server>),
    /// Heads that wait until it is clear, and how many messages had no Received field at all.
    Guessing(Vec<Stored>, u64),
}

/// A server of ours, or those below a domain.
#[derive(Debug)]
struct Server {
    /// In lower case; behind a dot where it is a domain.
    name: Vec<u8>,
    /// A field of it named the group of a key exchange: where it names none before TLS 1.3, there was none.
    tells_groups: bool,
}

impl Server {
    fn is(&self, by: &[u8]) -> bool {
        match self.name.first() {
            Some(b'.') => by.len().checked_sub(self.name.len()).is_some_and(|at| eq(&self.name, &by[at..])),
            _ => eq(&self.name, by),
        }
    }
}

impl From<Vec<u8>> for Server {
    fn from(name: Vec<u8>) -> Self {
        Self { name, tells_groups: false }
    }
}

/// A message that waits.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) head: Vec<u8>,
    pub(crate) beginning: Vec<u8>,
    pub(crate) bytes: u64,
}

/// Of so many border servers of one domain all are named.
const MANY: usize = 4;
/// So many messages are looked at to find the border server.
const LOOKED_AT: usize = 200;

impl Reader {
    pub(crate) fn new(by: &[String], unwanted_if: &[UnwantedIf]) -> Self {
        let mut first = [false; 256];
        for octet in b"rxc".iter().copied().chain(unwanted_if.iter().map(UnwantedIf::first)) {
            first[usize::from(octet.to_ascii_lowercase())] = true;
            first[usize::from(octet.to_ascii_uppercase())] = true;
        }
        let border = if by.is_empty() {
            Border::Guessing(Vec::new(), 0)
        } else {
            Border::Known(by.iter().map(|name| name.to_ascii_lowercase().into_bytes().into()).collect())
        };
        Self { border, unwanted_if: unwanted_if.to_vec(), first, seen: Copies::default() }
    }

    /// Takes a message.
    pub(crate) fn message(&mut self, head: &[u8], beginning: &[u8], bytes: u64, desk: &mut Desk) -> Result<(), Error> {
        let received = self.fields(head).hops > 0;
        match &mut self.border {
            Border::Known(_) => {
                self.count(head, beginning, bytes, desk);
                Ok(())
            }
            // Drafts, and what was sent from here: no border will be found on them.
            Border::Guessing(_, without) if !received => {
                *without += 1;
                desk.messages += 1;
                desk.aside.foreign += 1;
                Ok(())
            }
            Border::Guessing(waiting, _) => {
                waiting.push(Stored { head: head.into(), beginning: beginning.into(), bytes });
                if waiting.len() < LOOKED_AT { Ok(()) } else { self.finish(desk) }
            }
        }
    }

    /// No more messages: those that wait for the border server are counted now.
    pub(crate) fn finish(&mut self, desk: &mut Desk) -> Result<(), Error> {
        let Border::Guessing(waiting, without) = &mut self.border else { return Ok(()) };
        let (waiting, without) = (std::mem::take(waiting), *without);
        if waiting.is_empty() {
            return Ok(());
        }
        let names = self.guess(&waiting, without, desk)?;
        let told = names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect::<Vec<_>>().join(", ");
        let told = told.strip_prefix('.').map_or_else(|| told.clone(), |domain| format!("those of {domain}"));
        desk.notes.push(format!("border server by the look of the mail: {told} (or name it with --by)"));
        self.border = Border::Known(names.into_iter().map(Server::from).collect());
        for stored in &waiting {
            self.count(&stored.head, &stored.beginning, stored.bytes, desk);
        }
        Ok(())
    }

    /// Who wrote the topmost fields that tell of mail from outside. All, or nearly all, must be of one domain, and must
    /// not have it from always the same host, which would itself be of the inside.
    fn guess(&self, waiting: &[Stored], without: u64, desk: &Desk) -> Result<Vec<Vec<u8>>, Error> {
        let mut names: FxHashMap<Vec<u8>, usize> = FxHashMap::default();
        let mut clients: FxHashMap<_, usize> = FxHashMap::default();
        for stored in waiting {
            let fields = self.fields(&stored.head);
            let found = fields.received().find(|hop| hop.kind == Kind::Smtp && !is_within(hop, desk));
            if let Some(hop) = found {
                *names.entry(hop.by.to_ascii_lowercase()).or_default() += 1;
                *clients.entry(hop.address).or_default() += 1;
            }
        }
        let unclear = |why: String| Err(Error::Border(why));
        let told: usize = names.values().sum();
        let mut names: Vec<_> = names.into_iter().collect();
        names.sort_by(|(a, n), (b, m)| m.cmp(n).then(a.cmp(b)));
        let Some((first, _)) = names.first() else {
            return unclear("no message has a Received field that tells of mail from outside".into());
        };
        // A guess from a few messages would make all of them, and whatever they are, the answer.
        let messages = waiting.len() as u64 + without;
        if told * 2 < waiting.len() || (told as u64) * 10 < messages {
            return unclear(format!(
                "only {told} of {messages} messages have a Received field that tells of mail from outside"
            ));
        }
        let domain = |name: &[u8]| str::from_utf8(name).map_or(name, |name| registrable(name).as_bytes()).to_vec();
        let ours = domain(first);
        let (same, others): (Vec<_>, Vec<_>) = names.iter().cloned().partition(|(name, _)| domain(name) == ours);
        let count: usize = same.iter().map(|(_, count)| count).sum();
        if count * 10 < told * 9 {
            let some: Vec<_> = same.iter().chain(&others).take(4).collect();
            let some: Vec<_> =
                some.iter().map(|(name, n)| format!("{} ({n})", String::from_utf8_lossy(name))).collect();
            return unclear(format!("several servers could be it: {}", some.join(", ")));
        }
        if told >= 20 && clients.values().any(|count| count * 2 > told) {
            return unclear(format!(
                "{} has most of its mail from one host, which may be the border itself",
                String::from_utf8_lossy(first)
            ));
        }
        if same.len() > MANY {
            // There are more than have been seen.
            return Ok(vec![[&b"."[..], &ours].concat()]);
        }
        Ok(same.into_iter().map(|(name, _)| name).collect())
    }

    fn count(&mut self, head: &[u8], beginning: &[u8], bytes: u64, desk: &mut Desk) {
        let fields = self.fields(head);
        let Border::Known(servers) = &mut self.border else { return };
        let ours = |hop: &Received<'_>| hop.kind != Kind::Local && servers.iter().any(|server| server.is(hop.by));
        // A filter on the same host puts a field of its own on top, from the host itself.
        let mut hops = fields.received().filter(ours);
        let mut found = hops.next();
        while found.as_ref().is_some_and(|hop| is_within(hop, desk)) {
            match hops.next() {
                Some(next) => found = Some(next),
                None => break,
            }
        }
        drop(hops);
        let Some(hop) = found else {
            desk.messages += 1;
            desk.aside.foreign += 1;
            return;
        };
        if !hop.id.is_empty() && self.seen.is_copy(hop.by, hop.id) {
            desk.messages += 1;
            desk.aside.copies += 1;
            return;
        }
        if hop.kind == Kind::Submission {
            desk.messages += 1;
            desk.aside.submissions += 1;
            return;
        }
        let Some(time) = rfc5322(hop.date) else {
            desk.messages += 1;
            desk.aside.dateless += 1;
            return;
        };
        let server = servers.iter_mut().find(|server| server.is(hop.by));
        let tells_group = server.is_some_and(|server| {
            server.tells_groups |= hop.group.is_some();
            server.tells_groups
        });
        let to = [hop.recipient];
        desk.take_stored(&Seen {
            peer: hop.address,
            host: hop.from,
            sender: fields.return_path,
            to: if hop.recipient.is_empty() { &[] } else { &to },
            bytes,
            wanted: if fields.unwanted { Wanted::No } else { Wanted::Yes },
            hop: hop.hop,
            untold: Untold::Field,
            group: hop.group,
            tells_group,
            end_to_end: end_to_end(fields.content_type, beginning),
            ..Seen::new(time, Direction::Inbound)
        });
    }

    fn fields<'h>(&self, head: &'h [u8]) -> Fields<'h> {
        let mut fields = Fields::default();
        let mut rest = head;
        while !rest.is_empty() {
            let mut end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            if !self.first[usize::from(rest[0])] {
                rest = rest.get(end + 1..).unwrap_or_default();
                continue;
            }
            // RFC 5322 2.2.3: a line that begins with white space goes on.
            while matches!(rest.get(end + 1), Some(b' ' | b'\t')) {
                end += 1 + memchr::memchr(b'\n', &rest[end + 1..]).unwrap_or(rest.len() - end - 1);
            }
            let end = end.min(rest.len());
            self.field(&rest[..end], &mut fields);
            rest = rest.get(end + 1..).unwrap_or_default();
        }
        fields
    }

    fn field<'h>(&self, field: &'h [u8], fields: &mut Fields<'h>) {
        let Some(colon) = field.iter().take(78).position(|octet| *octet == b':') else { return };
        let (name, value) = (field[..colon].trim_ascii_end(), field[colon + 1..].trim_ascii());
        match name.len() {
            8 if eq(name, b"Received") && fields.hops < HOPS => {
                fields.received[fields.hops] = value;
                fields.hops += 1;
            }
            11 if eq(name, b"Return-Path") && fields.return_path.is_empty() => {
                fields.return_path = value.strip_prefix(b"<").and_then(|v| v.strip_suffix(b">")).unwrap_or(value);
            }
            12 if eq(name, b"Content-Type") && fields.content_type.is_empty() => fields.content_type = value,
            11 if eq(name, b"X-Spam-Flag") => fields.unwanted |= starts_no_case(value, b"yes"),
            13 if eq(name, b"X-Spam-Status") => fields.unwanted |= starts_no_case(value, b"yes"),
            _ => {}
        }
        fields.unwanted |= self.unwanted_if.iter().any(|unwanted| unwanted.holds(name, value));
    }
}

/// Whether this is a hop of the inside, as a filter's on the same host, or a provider's own.
fn is_within(hop: &Received<'_>, desk: &Desk) -> bool {
    desk.is_internal(hop.address) || hop.is_within()
}

/// What is needed of a head.
#[derive(Debug)]
struct Fields<'h> {
    received: [&'h [u8]; HOPS],
    hops: usize,
    return_path: &'h [u8],
    content_type: &'h [u8],
    unwanted: bool,
}

impl Default for Fields<'_> {
    fn default() -> Self {
        Self { received: [&[]; HOPS], hops: 0, return_path: &[], content_type: &[], unwanted: false }
    }
}

impl<'h> Fields<'h> {
    /// From the top, the latest first (RFC 5321 4.4).
    fn received(&self) -> impl Iterator<Item = Received<'h>> + '_ {
        self.received[..self.hops].iter().filter_map(|field| received::parse(field))
    }
}

/// Copies of one message that lie in several mailboxes: as many of the last as fit.
#[derive(Debug, Default)]
struct Copies {
    young: FxHashSet<u64>,
    old: FxHashSet<u64>,
}

impl Copies {
    const KEPT: usize = 1 << 19;

    fn is_copy(&mut self, by: &[u8], id: &[u8]) -> bool {
        let mut hasher = FxHasher::default();
        for octet in by {
            hasher.write_u8(octet.to_ascii_lowercase());
        }
        hasher.write(id);
        let hash = hasher.finish();
        if self.old.contains(&hash) || !self.young.insert(hash) {
            return true;
        }
        if self.young.len() >= Self::KEPT {
            self.old = std::mem::take(&mut self.young);
        }
        false
    }
}

/// Whether this begins with a field's name and a colon (RFC 5322 2.2).
pub(crate) fn is_field(head: &[u8]) -> bool {
    match head.iter().take(256).position(|octet| !(b'!'..=b'~').contains(octet) || *octet == b':') {
        Some(at) => at > 0 && head[at] == b':',
        None => false,
    }
}

/// Where the text begins.
pub(crate) fn head_end(message: &[u8]) -> Option<usize> {
    let unix = memmem::find(message, b"\n\n").map(|at| at + 2);
    let windows = memmem::find(&message[..unix.unwrap_or(message.len())], b"\n\r\n").map(|at| at + 3);
    windows.or(unix)
}

/// Whether this is the beginning of a message: it begins with a field, and has one that no message lacks, or that a
/// server wrote.
pub(crate) fn is_message(start: &[u8]) -> bool {
    const NAMES: [&[u8]; 5] = [b"from:", b"date:", b"received:", b"return-path:", b"message-id:"];
    let head = &start[..head_end(start).unwrap_or(start.len().min(LONGEST))];
    is_field(head)
        && head.split(|octet| *octet == b'\n').any(|line| NAMES.iter().any(|name| starts_no_case(line, name)))
        && head
            .split(|octet| *octet == b'\n')
            .take(8)
            .all(|line| line.first().is_none_or(u8::is_ascii_whitespace) || is_field(line))
}

/// A message that brings a TLS report: what is wrong with it is noted.
pub(crate) fn report(path: &Path, line: u64, message: &[u8], desk: &mut Desk) {
    let (head, body) = message.split_at(head_end(message).unwrap_or(message.len()));
    if let Err(wrong) = tlsrpt::mail::read(head, body, desk) {
        desk.broken.add(path, line, &wrong);
    }
}
