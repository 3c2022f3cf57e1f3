//! A line as `serve` and `send` write it: its members in their order, and nothing escaped. Reading JSON of any form takes ten
//! times as long.

use std::net::{IpAddr, Ipv4Addr};

use smtp_proto::tls::{ClientCertificate, Direction, EndToEnd, Hop, TlsOffer, TlsVersion, Wanted};
use smtp_proto::{Leniencies, Leniency};

use super::line::{NAME, PROXY, end_to_end, moves_the_cursor, plaintext, rehearsed};
use super::row::{Between, Place, Row, utf8};
use super::{Ending, VERSION, certificate, time, version};

/// Reads one line after the other.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reader<'a> {
    /// With what the line before began, up to its number: mostly the next begins so as well.
    head: &'a [u8],
    /// Node and run in it.
    names: [Option<Place>; 2],
}

impl<'a> Reader<'a> {
    /// Reads a line of that form. Of any other there is none, though it may be JSON as good; nor is there of one with which
    /// something is wrong: what, is found out by reading it as JSON.
    pub(crate) fn read(&mut self, line: &'a [u8]) -> Option<Row> {
        let mut row = Row::EMPTY;
        self.read_into(line, &mut row).map(|()| row)
    }

    /// The same, into a row whose members are all set if it can be read.
    pub(crate) fn read_into(&mut self, line: &'a [u8], row: &mut Row) -> Option<()> {
        // Printable ASCII without escapes, as all but always.
        let (most, escaped) = line.iter().fold((0, 0), |(most, escaped), octet| {
            (octet.wrapping_sub(b' ').max(most), escaped | u8::from(*octet == b'\\'))
        });
        let plain = most < 0x7f - b' ' && escaped == 0;
        // JSON has no control characters in text.
        if !plain && (line.iter().any(|octet| *octet < 0x20 || *octet == b'\\') || std::str::from_utf8(line).is_err()) {
            return None;
        }
        if line.len() > u16::MAX.into() {
            return None;
        }
        let mut rest = Rest { rest: line, line };
        let name = |place: Option<Place>| {
            place.is_none_or(|place| place.len() <= NAME && (plain || is_name(place.of(line)))).then_some(place)
        };
        if !self.head.is_empty()
            && let Some(after) = line.strip_prefix(self.head)
        {
            rest.rest = after;
        } else {
            if rest.number(b"{\"v\":")? > VERSION.into() {
                return None;
            }
            self.names = [name(rest.maybe(b",\"node\":")?)?, name(rest.maybe(b",\"run\":")?)?];
            // What is less than that could also be the beginning of more.
            self.head = if self.names.iter().all(Option::is_some) { &line[..rest.at()] } else { &[] };
        }
        let seq = rest.maybe_number(b",\"seq\":")?;
        row.stamp = match (self.names, seq) {
            ([Some(node), Some(run)], Some(seq)) => Some(([node, run], seq)),
            _ => None,
        };
        row.id = name(rest.maybe(b",\"id\":")?)?;
        row.time = time::read(rest.short(b",\"time\":\"", 24)?)?;
        row.direction = if rest.has(b",\"direction\":\"inbound\"") {
            Direction::Inbound
        } else {
            match rest.word(b",\"direction\":\"")? {
                b"inbound" => Direction::Inbound,
                b"outbound" => Direction::Outbound,
                _ => return None,
            }
        };
        row.peer = address(rest.word(b",\"peer\":\"")?);
        row.helo = name(rest.maybe(b",\"helo\":")?)?;
        row.sender_domain = name(rest.maybe(b",\"sender_domain\":")?)?;
        let is_good = |name: &[u8]| name.len() <= NAME && (plain || is_name(name));
        row.recipient_domains = rest.list(b",\"recipient_domains\":[", is_good)?;
        row.between = Between::Quotes;
        row.recipients = u32::try_from(rest.number(b",\"recipients\":")?).ok()?;
        row.envelope = rest.maybe_word(b",\"envelope\":")?.map_or(0, hexadecimal);
        row.bytes = rest.number(b",\"bytes\":")?;
        row.ending = if rest.has(b",\"outcome\":\"accepted\"") {
            Ending::Accepted
        } else {
            Ending::from_word(rest.word(b",\"outcome\":\"")?)?
        };
        (row.code, row.verdict) = (None, None);
        let used = rest.has(b",\"tls\":{\"outcome\":\"used\"") || {
            row.code = rest.maybe_number(b",\"code\":")?.map(u16::try_from).transpose().ok()?;
            row.verdict = match rest.maybe_word(b",\"verdict\":")? {
                Some(b"wanted") => Some(Wanted::Yes),
                Some(b"unwanted") => Some(Wanted::No),
                Some(b"unknown") => Some(Wanted::Unknown),
                _ => None,
            };
            match rest.word(b",\"tls\":{\"outcome\":\"")? {
                b"used" => true,
                word => {
                    row.hop = plaintext(word);
                    false
                }
            }
        };
        let version = rest.maybe_word(b",\"version\":")?;
        row.cipher = rest.maybe(b",\"cipher\":")?;
        let shown = rest.maybe_word(b",\"client_certificate\":")?;
        if used {
            let certificate = match shown {
                Some(b"none") => ClientCertificate::None,
                Some(word) => certificate(utf8(word)),
                None => ClientCertificate::Unknown,
            };
            row.hop = Hop::Used { version: version.and_then(version_of), certificate };
        }
        row.group = rest.maybe(b",\"group\":")?;
        row.common_group = row.group.and_then(|place| match place.of(line) {
            b"x25519" => Some("x25519"),
            b"X25519MLKEM768" => Some("X25519MLKEM768"),
            _ => None,
        });
        let offered = rest.maybe_word(b",\"offered_version\":")?.and_then(version_of);
        let post_quantum = rest.flag(b",\"post_quantum\":")?.unwrap_or_default();
        row.offered = offered.map(|most| TlsOffer::new(most, post_quantum));
        (row.by_proxy, row.reason, row.end_to_end) = (false, None, EndToEnd::Unknown);
        (row.rehearsed, row.excepted, row.lenient) = (None, false, Leniencies::STRICT);
        // As nearly all end.
        if rest.rest == b"},\"end_to_end\":\"none\"}" {
            row.end_to_end = EndToEnd::None;
            return Some(());
        }
        row.by_proxy = rest.maybe_word(b",\"told_by\":")? == Some(PROXY.as_bytes());
        row.reason = rest.maybe(b",\"reason\":")?;
        rest.skip(b"}")?;
        row.end_to_end = rest.maybe_word(b",\"end_to_end\":")?.map_or(EndToEnd::Unknown, end_to_end);
        row.rehearsed = rest.maybe_word(b",\"rehearsal\":")?.and_then(|word| rehearsed(utf8(word)));
        row.excepted = rest.flag(b",\"excepted\":")?.unwrap_or_default();
        if rest.rest.starts_with(b",\"lenient\":") {
            rest.list(b",\"lenient\":[", |name| {
                // Names that a later program has are none here.
                if let Ok(leniency) = utf8(name).parse::<Leniency>() {
                    row.lenient = row.lenient.with(leniency);
                }
                true
            })?;
        }
        (rest.rest == b"}").then_some(())
    }
}

/// What is not read yet, of which line. All that reads it stands where it is called, so that it stays in registers: that is a
/// third of the instructions.
struct Rest<'a> {
    rest: &'a [u8],
    line: &'a [u8],
}

impl<'a> Rest<'a> {
    #[inline(always)]
    fn skip<const N: usize>(&mut self, text: &[u8; N]) -> Option<()> {
        let (here, rest) = self.rest.split_first_chunk::<N>()?;
        if here != text {
            return None;
        }
        self.rest = rest;
        Some(())
    }

    /// Whether this comes next, which then has been read.
    #[inline(always)]
    fn has<const N: usize>(&mut self, text: &[u8; N]) -> bool {
        self.skip(text).is_some()
    }

    /// A text, up to its second quote: the first has been read.
    #[inline(always)]
    fn quoted(&mut self) -> Option<&'a [u8]> {
        let (text, rest) = self.rest.split_at_checked(quote(self.rest)?)?;
        self.rest = rest.get(1..)?;
        Some(text)
    }

    /// A member that is text; its first quote is said with its name.
    #[inline(always)]
    fn word<const N: usize>(&mut self, name: &[u8; N]) -> Option<&'a [u8]> {
        self.skip(name)?;
        self.quoted()
    }

    /// The same of a text that mostly has so many octets, none of which then is a quote, or else it is none of these.
    #[inline(always)]
    fn short<const N: usize>(&mut self, name: &[u8; N], octets: usize) -> Option<&'a [u8]> {
        self.skip(name)?;
        match self.rest.split_at_checked(octets) {
            Some((text, [b'"', rest @ ..])) => {
                self.rest = rest;
                Some(text)
            }
            _ => self.quoted(),
        }
    }

    /// A member that is text, or null, or not there.
    #[inline(always)]
    fn maybe_word<const N: usize>(&mut self, name: &[u8; N]) -> Option<Option<&'a [u8]>> {
        if self.skip(name).is_none() {
            return Some(None);
        }
        match self.rest {
            [b'"', rest @ ..] => {
                self.rest = rest;
                self.quoted().map(Some)
            }
            _ => self.skip(b"null").map(|()| None),
        }
    }

    /// The same, and where it stands.
    #[inline(always)]
    fn maybe<const N: usize>(&mut self, name: &[u8; N]) -> Option<Option<Place>> {
        match self.maybe_word(name)? {
            // One octet behind it, the quote, has been read.
            Some(text) => {
                let end = self.at() - 1;
                Place::new(end - text.len(), end).map(Some)
            }
            None => Some(None),
        }
    }

    /// So many octets were read.
    #[inline(always)]
    const fn at(&self) -> usize {
        self.line.len() - self.rest.len()
    }

    #[inline(always)]
    fn number<const N: usize>(&mut self, name: &[u8; N]) -> Option<u64> {
        self.skip(name)?;
        let (mut number, mut digits) = (0_u64, 0);
        while let Some(digit) = self.rest.get(digits).map(|octet| octet.wrapping_sub(b'0')).filter(|digit| *digit < 10)
        {
            number = number.wrapping_mul(10).wrapping_add(digit.into());
            digits += 1;
        }
        // JSON has no 007; what has more digits may be too large.
        if digits == 0 || digits > 19 || (digits > 1 && self.rest.first() == Some(&b'0')) {
            return None;
        }
        self.rest = self.rest.get(digits..)?;
        Some(number)
    }

    #[inline(always)]
    fn maybe_number<const N: usize>(&mut self, name: &[u8; N]) -> Option<Option<u64>> {
        if self.rest.starts_with(name) { self.number(name).map(Some) } else { Some(None) }
    }

    #[inline(always)]
    fn flag<const N: usize>(&mut self, name: &[u8; N]) -> Option<Option<bool>> {
        if self.skip(name).is_none() {
            return Some(None);
        }
        if self.skip(b"true").is_some() {
            return Some(Some(true));
        }
        self.skip(b"false").map(|()| Some(false))
    }

    /// A member that is a list of texts: where they stand, each of which must be good. The bracket is said with its name.
    #[inline(always)]
    fn list<const N: usize>(
        &mut self,
        name: &[u8; N],
        mut is_good: impl FnMut(&[u8]) -> bool,
    ) -> Option<Option<Place>> {
        self.skip(name)?;
        if self.skip(b"]").is_some() {
            return Some(None);
        }
        let start = self.at() + 1;
        loop {
            self.skip(b"\"")?;
            if !is_good(self.quoted()?) {
                return None;
            }
            if self.skip(b",").is_none() {
                let end = self.at() - 1;
                self.skip(b"]")?;
                return Place::new(start, end).map(Some);
            }
        }
    }
}

fn is_name(name: &[u8]) -> bool {
    !utf8(name).chars().any(moves_the_cursor)
}

fn version_of(word: &[u8]) -> Option<TlsVersion> {
    match word {
        b"TLS1.3" => Some(TlsVersion::Tls13),
        b"TLS1.2" => Some(TlsVersion::Tls12),
        word => version(utf8(word)),
    }
}

/// As the standard library reads it, which takes several times as long for what it mostly is.
fn address(text: &[u8]) -> Option<IpAddr> {
    fn four(mut rest: &[u8]) -> Option<Ipv4Addr> {
        let mut octets = [0; 4];
        for (at, octet) in octets.iter_mut().enumerate() {
            if at > 0 {
                rest = rest.strip_prefix(b".")?;
            }
            let digit = |at: usize| rest.get(at).map(|octet| octet.wrapping_sub(b'0')).filter(|digit| *digit < 10);
            let (number, digits) = match (digit(0)?, digit(1), digit(2)) {
                (one, None, _) => (u16::from(one), 1),
                // No zeros before it.
                (0, ..) => return None,
                (ten, Some(one), None) => (u16::from(ten) * 10 + u16::from(one), 2),
                (hundred, Some(ten), Some(one)) => (u16::from(hundred) * 100 + u16::from(ten) * 10 + u16::from(one), 3),
            };
            *octet = u8::try_from(number).ok()?;
            rest = rest.get(digits..)?;
        }
        rest.is_empty().then(|| octets.into())
    }
    four(text).map(IpAddr::from).or_else(|| utf8(text).parse().ok())
}

/// A hash as it is written, and of any other form 0.
fn hexadecimal(text: &[u8]) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    /// Eight digits, the first in the lowest octet.
    fn eight(octets: [u8; 8]) -> Option<u64> {
        let text = u64::from_le_bytes(octets);
        let letters = (text >> 6) & ONES;
        let low = text & (ONES * 0x0f);
        let values = low + letters * 9;
        // Each is one of `0` to `9` or `a` to `f`: made anew of what it stands for it is the same.
        let same = low | ((ONES * 0x30) + letters * 0x30);
        let tens = ((values + ONES * 6) >> 4) & ONES;
        if same != text || values & (ONES * 0xf0) != 0 || tens != letters {
            return None;
        }
        let pairs = values.swap_bytes();
        let pairs = (pairs | (pairs >> 4)) & 0x00ff_00ff_00ff_00ff;
        let fours = (pairs | (pairs >> 8)) & 0x0000_ffff_0000_ffff;
        Some((fours | (fours >> 16)) & 0xffff_ffff)
    }
    if let Ok(octets) = <[u8; 16]>::try_from(text)
        && let ([high, low], []) = octets.as_chunks::<8>()
        && let (Some(high), Some(low)) = (eight(*high), eight(*low))
    {
        return high << 32 | low;
    }
    u64::from_str_radix(utf8(text), 16).unwrap_or_default()
}

/// Where the quote is: eight octets at a time, for it is near.
#[inline(always)]
fn quote(text: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let (mut at, mut rest) = (0, text);
    while let Some((eight, after)) = rest.split_first_chunk() {
        let differs = u64::from_le_bytes(*eight) ^ (ONES * u64::from(b'"'));
        // The lowest octet that is zero has the lowest bit that is set.
        let zero = differs.wrapping_sub(ONES) & !differs & (ONES << 7);
        if zero != 0 {
            return Some(at + zero.trailing_zeros() as usize / 8);
        }
        (at, rest) = (at + 8, after);
    }
    rest.iter().position(|octet| *octet == b'"').map(|found| at + found)
}

#[cfg(test)]
#[path = "flat_tests.rs"]
mod tests;
