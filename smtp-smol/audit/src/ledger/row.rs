//! What a line says, in types, while its texts stay where they were read: the one form in which a line goes from the file to
//! what is counted. Nothing is allocated for it.

use std::borrow::Cow;
use std::net::IpAddr;
use std::num::NonZeroU16;

use jiff::Timestamp;
use smtp_proto::Leniencies;
use smtp_proto::tls::{Direction, EndToEnd, Hop, Record, Rehearsed, TlsOffer, Wanted};

use super::{Ending, Entry, Stamp, Tls};

/// An [`Entry`] with places for what it borrows: in the line where [`flat`](super::flat) has read it, else in a text of its own.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Node and run, and the number.
    pub(super) stamp: Option<([Place; 2], u64)>,
    pub(super) id: Option<Place>,
    pub(crate) time: Timestamp,
    pub(crate) direction: Direction,
    pub(crate) peer: Option<IpAddr>,
    pub(super) helo: Option<Place>,
    pub(super) sender_domain: Option<Place>,
    /// From the beginning of the first to the end of the last.
    pub(super) recipient_domains: Option<Place>,
    /// What stands between two of them.
    pub(super) between: Between,
    pub(super) recipients: u32,
    pub(super) envelope: u64,
    pub(super) bytes: u64,
    pub(crate) ending: Ending,
    pub(super) code: Option<u16>,
    pub(super) verdict: Option<Wanted>,
    pub(crate) hop: Hop,
    pub(super) cipher: Option<Place>,
    pub(super) group: Option<Place>,
    /// That group, where it is one of those that there mostly are.
    pub(super) common_group: Option<&'static str>,
    pub(crate) offered: Option<TlsOffer>,
    pub(super) by_proxy: bool,
    pub(super) reason: Option<Place>,
    pub(super) end_to_end: EndToEnd,
    pub(super) rehearsed: Option<Rehearsed>,
    pub(super) excepted: bool,
    pub(crate) lenient: Leniencies,
}

/// Where a text stands. It never ends at 0, as a brace comes first, or what stands for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    start: u16,
    end: NonZeroU16,
}

/// What stands between two names of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Between {
    /// As JSON has it: a quote, a comma and a quote. There is no quote in the names.
    Quotes,
    /// A line end, which no name has in it.
    Line,
}

impl Row {
    /// One that says nothing yet.
    pub(crate) const EMPTY: Self = Self {
        stamp: None,
        id: None,
        time: Timestamp::UNIX_EPOCH,
        direction: Direction::Inbound,
        peer: None,
        helo: None,
        sender_domain: None,
        recipient_domains: None,
        between: Between::Quotes,
        recipients: 0,
        envelope: 0,
        bytes: 0,
        ending: Ending::Abandoned,
        code: None,
        verdict: None,
        hop: Hop::Unknown,
        cipher: None,
        group: None,
        common_group: None,
        offered: None,
        by_proxy: false,
        reason: None,
        end_to_end: EndToEnd::Unknown,
        rehearsed: None,
        excepted: false,
        lenient: Leniencies::STRICT,
    };

    /// Which line it is of.
    pub(crate) fn stamp<'t>(&self, text: &'t [u8]) -> Option<(&'t [u8], &'t [u8], u64)> {
        let ([node, run], seq) = self.stamp?;
        Some((node.of(text), run.of(text), seq))
    }

    pub(crate) fn helo<'t>(&self, text: &'t [u8]) -> Option<&'t [u8]> {
        self.helo.map(|place| place.of(text))
    }

    /// Empty for a null reverse-path, and before MAIL.
    pub(crate) fn sender_domain<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        self.sender_domain.map_or(&[], |place| place.of(text))
    }

    /// Names of recipients' domains.
    pub(crate) fn recipient_domains<'t>(&self, text: &'t [u8]) -> impl Iterator<Item = &'t [u8]> + use<'t> {
        let (octet, octets) = match self.between {
            Between::Quotes => (b'"', 3),
            Between::Line => (b'\n', 1),
        };
        let mut rest = self.recipient_domains.map(|place| place.of(text));
        std::iter::from_fn(move || {
            let names = rest?;
            let Some(end) = names.iter().position(|other| *other == octet) else { return rest.take() };
            rest = names.get(end + octets..);
            names.get(..end)
        })
    }

    pub(crate) fn group<'t>(&self, text: &'t [u8]) -> Option<&'t [u8]> {
        // What the text says of it may have been read long ago.
        self.common_group.map(str::as_bytes).or_else(|| self.group.map(|place| place.of(text)))
    }

    pub(crate) fn reason<'t>(&self, text: &'t [u8]) -> Option<&'t [u8]> {
        self.reason.map(|place| place.of(text))
    }

    /// As [`Entry::by_exception`].
    pub(crate) fn by_exception(&self) -> bool {
        self.excepted && self.hop.plaintext() == Some(true)
    }

    /// What the core counts by, without names.
    pub(crate) fn record(&self) -> Record<'static> {
        let mut record = Record::new(self.time.as_second(), self.direction);
        record.peer = self.peer;
        record.recipients = self.recipients;
        record.envelope = self.envelope;
        record.bytes = self.bytes;
        record.end = self.ending.end();
        record.wanted = self.ending.wanted(self.verdict);
        record.hop = self.hop;
        record.end_to_end = self.end_to_end;
        record.rehearsed = self.rehearsed;
        record
    }

    /// Puts behind these texts what may be asked for later, and nobody asks for the cipher: the row's text
    /// then begins there, and the line is no longer needed.
    pub(crate) fn leave(&mut self, line: &[u8], texts: &mut Vec<u8>) -> Option<()> {
        let first = texts.len();
        texts.push(b'{');
        let mut put = |place: &mut Place| {
            let start = texts.len() - first;
            texts.extend_from_slice(place.of(line));
            Place::new(start, texts.len() - first).map(|there| *place = there)
        };
        if let Some((names, _)) = &mut self.stamp {
            names.iter_mut().try_for_each(&mut put)?;
        }
        self.cipher = None;
        if self.common_group.is_some() {
            self.group = None;
        }
        let all = [
            &mut self.id,
            &mut self.helo,
            &mut self.sender_domain,
            &mut self.recipient_domains,
            &mut self.group,
            &mut self.reason,
        ];
        all.into_iter().flatten().try_for_each(put)
    }

    /// All that it says.
    pub(crate) fn entry<'t>(&self, text: &'t [u8]) -> Entry<'t> {
        let maybe = |place: Option<Place>| place.map(|place| Cow::Borrowed(place.text(text)));
        Entry {
            stamp: self.stamp.map(|([node, run], seq)| Stamp::new(node.text(text), run.text(text), seq)),
            id: maybe(self.id),
            time: self.time,
            direction: self.direction,
            peer: self.peer,
            helo: maybe(self.helo),
            sender_domain: maybe(self.sender_domain),
            recipient_domains: self.recipient_domains(text).map(|name| Cow::Borrowed(utf8(name))).collect(),
            recipients: self.recipients,
            envelope: self.envelope,
            bytes: self.bytes,
            ending: self.ending,
            code: self.code,
            verdict: self.verdict,
            tls: Tls {
                hop: self.hop,
                cipher: maybe(self.cipher),
                group: self.common_group.map(Cow::Borrowed).or_else(|| maybe(self.group)),
                offered: self.offered,
                by_proxy: self.by_proxy,
                reason: maybe(self.reason),
            },
            end_to_end: self.end_to_end,
            rehearsed: self.rehearsed,
            excepted: self.excepted,
            lenient: self.lenient,
        }
    }

    /// An entry whose texts do not stand in its line as they are: they are put behind these, and the row's text begins there.
    /// `None` where that is more than any line has.
    pub(crate) fn of(entry: &Entry<'_>, texts: &mut Vec<u8>) -> Option<Self> {
        let first = texts.len();
        texts.push(b'{');
        let mut put = |text: &str| {
            let start = texts.len() - first;
            texts.extend_from_slice(text.as_bytes());
            Place::new(start, texts.len() - first)
        };
        let stamp = match &entry.stamp {
            Some(Stamp { node, run, seq }) => Some(([put(node)?, put(run)?], *seq)),
            None => None,
        };
        let recipient_domains = match &entry.recipient_domains[..] {
            [] => None,
            names => Some(put(&names.join("\n"))?),
        };
        let mut maybe = |text: &Option<Cow<'_, str>>| text.as_ref().map_or(Some(None), |text| put(text).map(Some));
        let (id, helo, sender_domain) = (maybe(&entry.id)?, maybe(&entry.helo)?, maybe(&entry.sender_domain)?);
        let tls = &entry.tls;
        let (cipher, group, reason) = (maybe(&tls.cipher)?, maybe(&tls.group)?, maybe(&tls.reason)?);
        Some(Self {
            stamp,
            id,
            time: entry.time,
            direction: entry.direction,
            peer: entry.peer,
            helo,
            sender_domain,
            recipient_domains,
            between: Between::Line,
            recipients: entry.recipients,
            envelope: entry.envelope,
            bytes: entry.bytes,
            ending: entry.ending,
            code: entry.code,
            verdict: entry.verdict,
            hop: tls.hop,
            cipher,
            group,
            common_group: None,
            offered: tls.offered,
            by_proxy: tls.by_proxy,
            reason,
            end_to_end: entry.end_to_end,
            rehearsed: entry.rehearsed,
            excepted: entry.excepted,
            lenient: entry.lenient,
        })
    }
}

impl Place {
    pub(super) fn new(start: usize, end: usize) -> Option<Self> {
        Some(Self { start: start.try_into().ok()?, end: u16::try_from(end).ok()?.try_into().ok()? })
    }

    pub(super) const fn len(self) -> usize {
        (self.end.get() - self.start) as usize
    }

    pub(super) fn of(self, text: &[u8]) -> &[u8] {
        text.get(usize::from(self.start)..usize::from(self.end.get())).unwrap_or_default()
    }

    pub(super) fn text(self, text: &[u8]) -> &str {
        utf8(self.of(text))
    }
}

/// Of a text that was found to be UTF-8 when it was read.
pub(crate) fn utf8(text: &[u8]) -> &str {
    std::str::from_utf8(text).unwrap_or_default()
}
