//! Lines of cells and hosts as [`Table`](crate::count::cells) writes them: members in its order, and nothing escaped. There
//! are millions of them, and reading JSON of any form takes several times as long.

use std::borrow::Cow;

use crate::count::cells::Line;

/// Reads a line of that form. Of any other there is none, though it may be JSON as good.
pub(super) fn read(line: &[u8]) -> Option<Line<'_>> {
    let mut rest = Rest(line);
    let mut read = Line { day: rest.text(b"{\"day\":\""), ..Line::default() };
    if read.day.is_none() {
        read.host = Some(rest.text(b"{\"host\":\"")?);
    }
    read.direction = Some(rest.text(b",\"direction\":\"")?);
    read.verdict = Some(rest.text(b",\"verdict\":\"")?);
    if read.host.is_some() {
        read.lost = Some(u8::try_from(rest.number(b",\"lost\":")?).ok()?);
    } else {
        read.sender = Some(rest.text(b",\"sender\":\"")?);
        read.hop = Some(rest.text(b",\"hop\":\"")?);
        read.version = rest.text(b",\"version\":\"");
        read.certificate = rest.text(b",\"certificate\":\"");
        read.end_to_end = Some(rest.text(b",\"end_to_end\":\"")?);
        read.rehearsed = rest.text(b",\"rehearsed\":\"");
        read.messages = Some(rest.number(b",\"messages\":")?);
        read.recipients = Some(rest.number(b",\"recipients\":")?);
        read.bytes = Some(rest.number(b",\"bytes\":")?);
    }
    (rest.0 == b"}").then_some(read)
}

/// What is not read yet. What does not match is left as it is.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    /// A member that is text, of which this comes before.
    #[inline]
    fn text(&mut self, before: &[u8]) -> Option<Cow<'a, str>> {
        let from = self.0.strip_prefix(before)?;
        // Most are short, so that a search of many octets at once would begin in vain.
        let end = from.iter().position(|octet| matches!(octet, b'"' | b'\\' | ..0x20))?;
        let (text, rest) = from.split_at(end);
        self.0 = rest.strip_prefix(b"\"")?;
        std::str::from_utf8(text).ok().map(Cow::Borrowed)
    }

    /// A member that is a whole number.
    #[inline]
    fn number(&mut self, before: &[u8]) -> Option<u64> {
        let from = self.0.strip_prefix(before)?;
        let digits = from.iter().take_while(|octet| octet.is_ascii_digit()).count();
        let (number, rest) = from.split_at(digits);
        // JSON has no 007.
        if number.is_empty() || (digits > 1 && number[0] == b'0') {
            return None;
        }
        self.0 = rest;
        number.iter().try_fold(0_u64, |sum, digit| sum.checked_mul(10)?.checked_add((digit - b'0').into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CELL: &str = concat!(
        r#"{"day":"2026-11-24","direction":"inbound","verdict":"wanted","sender":"a.example","hop":"used","version":"TLS1.3","#,
        r#""certificate":"none","end_to_end":"pgp-mime","rehearsed":"came-with-tls","messages":7,"recipients":18446744073709551615,"bytes":0}"#
    );
    const HOST: &str = r#"{"host":"00000000000000ff","direction":"outbound","verdict":"unknown","lost":31}"#;

    /// What is read here is what JSON says; whatever is not read here is left to it.
    #[test]
    fn it_agrees_with_json() {
        let json = |line: &str| serde_json::from_str::<Line<'_>>(line).map(|line| format!("{line:?}"));
        let plain = |line: &str| read(line.as_bytes()).map(|line| format!("{line:?}"));
        let bare = CELL.replace(r#""version":"TLS1.3","certificate":"none","#, "").replace("used", "not-tried");
        for line in [
            CELL,
            HOST,
            &bare,
            &CELL.replace(r#""rehearsed":"came-with-tls","#, ""),
            &CELL.replace("a.ex", "\u{e4}.ex"),
        ] {
            assert_eq!(plain(line), json(line).ok(), "{line}");
            assert!(plain(line).is_some(), "{line}");
        }
        let mut read_here = 0;
        for line in [CELL, HOST] {
            for at in 0..line.len() {
                for with in ["", "\"", "\\", "0", "-", "}", ",", " ", "\u{1}", "\u{e4}"] {
                    let spoilt = [&line[..at], with, &line[at + 1..]].concat();
                    if let Some(read) = plain(&spoilt) {
                        assert_eq!(Some(read), json(&spoilt).ok(), "{spoilt}");
                        read_here += 1;
                    }
                }
                assert_eq!(plain(&line[..at]), None, "{}", &line[..at]);
            }
            assert_eq!(plain(&format!("{line}}}")), None);
        }
        assert!(read_here > 100, "{read_here}");
    }
}
