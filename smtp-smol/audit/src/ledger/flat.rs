//! A line as `serve` and `send` write it: its members in their order, and nothing escaped. Reading JSON of any form takes several
//! times as long.

use std::borrow::Cow;

use super::line::{Line, Tls};

/// Reads a line of that form, which is printable ASCII where it is plain. Of any other there is none, though it may be JSON
/// as good.
pub(super) fn read(line: &str, plain: bool) -> Option<Line<'_>> {
    // JSON has no control characters in text.
    if (!plain && line.bytes().any(|octet| octet < 0x20)) || memchr::memchr(b'\\', line.as_bytes()).is_some() {
        return None;
    }
    let mut rest = Rest(line);
    let mut read = Line { v: u32::try_from(rest.number("{\"v\":")?).ok()?, ..Line::default() };
    read.node = rest.maybe(",\"node\":")?;
    read.run = rest.maybe(",\"run\":")?;
    read.seq = rest.maybe_number(",\"seq\":")?;
    read.id = rest.maybe(",\"id\":")?;
    read.time = rest.text(",\"time\":")?;
    read.direction = rest.text(",\"direction\":")?;
    read.peer = rest.text(",\"peer\":")?;
    read.helo = rest.maybe(",\"helo\":")?;
    read.sender_domain = rest.maybe(",\"sender_domain\":")?;
    read.recipient_domains = rest.list(",\"recipient_domains\":")?;
    read.recipients = u32::try_from(rest.number(",\"recipients\":")?).ok()?;
    read.envelope = rest.maybe(",\"envelope\":")?;
    read.bytes = rest.number(",\"bytes\":")?;
    read.outcome = rest.text(",\"outcome\":")?;
    read.code = rest.maybe_number(",\"code\":")?.map(u16::try_from).transpose().ok()?;
    read.verdict = rest.maybe(",\"verdict\":")?;
    read.tls = rest.tls()?;
    read.end_to_end = rest.maybe(",\"end_to_end\":")?;
    read.rehearsal = rest.maybe(",\"rehearsal\":")?;
    read.excepted = rest.flag(",\"excepted\":")?.unwrap_or_default();
    if rest.0.starts_with(",\"lenient\":") {
        read.lenient = rest.list(",\"lenient\":")?;
    }
    (rest.0 == "}").then_some(read)
}

/// What is not read yet.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn tls(&mut self) -> Option<Tls<'a>> {
        let tls = Tls {
            outcome: self.text(",\"tls\":{\"outcome\":")?,
            version: self.maybe(",\"version\":")?,
            cipher: self.maybe(",\"cipher\":")?,
            client_certificate: self.maybe(",\"client_certificate\":")?,
            group: self.maybe(",\"group\":")?,
            offered_version: self.maybe(",\"offered_version\":")?,
            post_quantum: self.flag(",\"post_quantum\":")?,
            told_by: self.maybe(",\"told_by\":")?,
            reason: self.maybe(",\"reason\":")?,
        };
        self.skip("}")?;
        Some(tls)
    }

    #[inline]
    fn skip(&mut self, text: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(text)?;
        Some(())
    }

    /// A member that is text.
    #[inline]
    fn text(&mut self, name: &str) -> Option<Cow<'a, str>> {
        self.skip(name)?;
        self.quoted()
    }

    #[inline]
    fn quoted(&mut self) -> Option<Cow<'a, str>> {
        let from = self.0.strip_prefix('"')?;
        let end = quote(from.as_bytes())?;
        self.0 = &from[end + 1..];
        Some(Cow::Borrowed(&from[..end]))
    }

    /// A member that is text, or null, or not there.
    #[inline]
    fn maybe(&mut self, name: &str) -> Option<Option<Cow<'a, str>>> {
        let Some(from) = self.0.strip_prefix(name) else { return Some(None) };
        self.0 = from;
        if from.starts_with('"') { self.quoted().map(Some) } else { self.skip("null").map(|()| None) }
    }

    #[inline]
    fn number(&mut self, name: &str) -> Option<u64> {
        self.skip(name)?;
        let octets = self.0.as_bytes();
        let (mut number, mut digits) = (0_u64, 0);
        while let Some(digit) = octets.get(digits).map(|octet| octet.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
            number = number.checked_mul(10)?.checked_add(digit.into())?;
            digits += 1;
        }
        // JSON has no 007.
        if digits == 0 || (digits > 1 && octets[0] == b'0') {
            return None;
        }
        self.0 = &self.0[digits..];
        Some(number)
    }

    fn maybe_number(&mut self, name: &str) -> Option<Option<u64>> {
        if self.0.starts_with(name) { self.number(name).map(Some) } else { Some(None) }
    }

    fn flag(&mut self, name: &str) -> Option<Option<bool>> {
        let Some(from) = self.0.strip_prefix(name) else { return Some(None) };
        let value = from.starts_with("true");
        self.0 = from.strip_prefix(if value { "true" } else { "false" })?;
        Some(Some(value))
    }

    /// A member that is a list of texts.
    fn list(&mut self, name: &str) -> Option<Vec<Cow<'a, str>>> {
        self.skip(name)?;
        self.skip("[")?;
        let mut list = Vec::new();
        if self.skip("]").is_some() {
            return Some(list);
        }
        loop {
            list.push(self.quoted()?);
            if self.skip(",").is_none() {
                self.skip("]")?;
                return Some(list);
            }
        }
    }
}

/// Where the quote is: eight octets at a time, for it is near.
#[inline]
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(line: &str) -> (Option<String>, Option<String>) {
        let json = serde_json::from_str::<Line<'_>>(line).ok().map(|line| format!("{line:?}"));
        let plain = line.bytes().all(|octet| matches!(octet, 0x20..0x7f));
        (read(line, plain).map(|line| format!("{line:?}")), json)
    }

    const WHOLE: &str = concat!(
        r#"{"v":2,"node":"mx1","run":"6a1","seq":7,"id":"x","time":"2026-11-24T09:00:00.250Z","direction":"inbound","#,
        r#""peer":"192.0.2.1","helo":"a","sender_domain":null,"recipient_domains":["b","c"],"recipients":2,"envelope":"ff","#,
        r#""bytes":17,"outcome":"accepted","code":251,"verdict":"unwanted","tls":{"outcome":"used","version":"TLS1.2","#,
        r#""cipher":"X","client_certificate":null,"group":"x25519","offered_version":"TLS1.3","post_quantum":true,"#,
        r#""told_by":"proxy","reason":"r"},"end_to_end":"none","rehearsal":"asked","excepted":true,"lenient":["helo-name"]}"#
    );

    /// What is read here is what JSON says; whatever is not read here is left to it.
    #[test]
    fn it_agrees_with_json() {
        let (here, json) = told(WHOLE);
        assert!(here.is_some() && here == json, "{here:?}");
        let mut read_here = 0;
        for at in 0..WHOLE.len() {
            for with in ["", "\"", "\\", "0", "7", "-", "}", "]", ",", " ", "null", "\u{1}", "\u{e4}", r#"","v":1,""#] {
                let spoilt = [&WHOLE[..at], with, &WHOLE[at + 1..]].concat();
                if let (Some(here), json) = told(&spoilt) {
                    assert_eq!(Some(here), json, "{spoilt}");
                    read_here += 1;
                }
            }
            assert_eq!(told(&WHOLE[..at]).0, None);
        }
        assert!(read_here > 500, "{read_here}");
        assert_eq!(told(&format!("{WHOLE}}}")).0, None);
    }

    proptest! {
        /// Members are left out, put elsewhere and said twice.
        #[test]
        fn it_agrees_with_json_whatever_is_there(
            keep in prop::collection::vec(prop::bool::weighted(0.9), 40),
            swap in prop::option::weighted(0.2, (0_usize..32, 0_usize..32)),
        ) {
            let mut members: Vec<&str> = WHOLE.trim_matches(['{', '}']).split(",\"").collect();
            if let Some((one, other)) = swap {
                let (one, other) = (one % members.len(), other % members.len());
                members[one] = members[other];
            }
            let kept: Vec<&str> = members.into_iter().zip(&keep).filter(|(_, keep)| **keep).map(|(member, _)| member).collect();
            let line = format!("{{{}}}", kept.join(",\""));
            if let (Some(here), json) = told(&line) {
                prop_assert_eq!(Some(here), json, "{}", line);
            }
        }
    }
}
