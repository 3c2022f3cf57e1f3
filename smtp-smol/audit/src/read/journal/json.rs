//! One JSON object a line: the journal's (`journalctl -o json`), and those in which container runtimes and collectors
//! wrap a line of text.
//!
//! ```text
//! {"__REALTIME_TIMESTAMP":"1795507200000000","_HOSTNAME":"mx","SYSLOG_IDENTIFIER":"postfix/smtpd","_PID":"11","MESSAGE":"connect from …"}
//! {"log":"Nov 24 08:00:00 mx postfix/smtpd[11]: connect from …\n","stream":"stdout","time":"2026-11-24T08:00:00.1Z"}
//! ```

use std::borrow::Cow;
use std::fmt::Formatter;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

use super::shape::Shapes;
use crate::read::scan;
use crate::read::syslog::{Line, Stamp};

/// What is needed of an object. The names are those that journald, Docker, and collectors use.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Entry<'a> {
    #[serde(borrow, rename = "__REALTIME_TIMESTAMP")]
    microseconds: Text<'a>,
    #[serde(borrow, rename = "_HOSTNAME")]
    host: Text<'a>,
    #[serde(borrow, rename = "SYSLOG_IDENTIFIER")]
    tag: Text<'a>,
    #[serde(borrow, rename = "_PID")]
    process: Text<'a>,
    #[serde(borrow, rename = "SYSLOG_PID")]
    own_process: Text<'a>,
    #[serde(borrow, rename = "MESSAGE", alias = "log", alias = "message", alias = "line", alias = "msg")]
    message: Text<'a>,
    #[serde(borrow, alias = "timestamp", alias = "@timestamp", alias = "ts")]
    time: Text<'a>,
}

/// Text, or octets where it is none: the journal writes an array of numbers then.
#[derive(Debug, Default)]
struct Text<'a>(Cow<'a, [u8]>);

/// A member that is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Microseconds,
    Host,
    Tag,
    Process,
    OwnProcess,
    Message,
    Time,
}

impl Field {
    pub(super) fn of(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"__REALTIME_TIMESTAMP" => Self::Microseconds,
            b"_HOSTNAME" => Self::Host,
            b"SYSLOG_IDENTIFIER" => Self::Tag,
            b"_PID" => Self::Process,
            b"SYSLOG_PID" => Self::OwnProcess,
            b"MESSAGE" | b"log" | b"message" | b"line" | b"msg" => Self::Message,
            b"time" | b"timestamp" | b"@timestamp" | b"ts" => Self::Time,
            _ => return None,
        })
    }
}

impl<'a> Entry<'a> {
    /// `None` where it is no object in JSON, or wraps nothing. Those before it, of which the shapes are known, do not change
    /// what it is.
    #[inline]
    pub(crate) fn parse(line: &'a [u8], shapes: &mut Shapes) -> Option<Self> {
        let mut entry = Self::default();
        // Printable ASCII, as all but always, is UTF-8 and has no control characters, which text in JSON has none of.
        let plain = line.iter().fold(true, |all, octet| all & matches!(octet, 0x20..=0x7f));
        let flat = plain || (std::str::from_utf8(line).is_ok() && !line.iter().any(|octet| *octet < 0x20));
        if !(flat && shapes.read(line, &mut entry)) {
            entry = serde_json::from_str(std::str::from_utf8(line).ok()?).ok()?;
        }
        (!entry.message.0.is_empty()).then_some(entry)
    }

    pub(super) fn set(&mut self, field: Field, octets: Cow<'a, [u8]>) {
        let text = match field {
            Field::Microseconds => &mut self.microseconds,
            Field::Host => &mut self.host,
            Field::Tag => &mut self.tag,
            Field::Process => &mut self.process,
            Field::OwnProcess => &mut self.own_process,
            Field::Message => &mut self.message,
            Field::Time => &mut self.time,
        };
        text.0 = octets;
    }

    /// The line that it is.
    pub(crate) fn line(&self) -> Option<Line<'_>> {
        let message: &[u8] = &self.message.0;
        if self.tag.0.is_empty() {
            let mut line = Line::parse(message.strip_suffix(b"\n").unwrap_or(message))?;
            if !line.stamp.has_year()
                && let Some((time, _)) = scan::iso(&self.time.0)
            {
                line.stamp = Stamp::At(time);
            }
            return Some(line);
        }
        let process = if self.own_process.0.is_empty() { &self.process.0 } else { &self.own_process.0 };
        Some(Line::new(microseconds(&self.microseconds.0)?, &self.host.0, &self.tag.0, process, message))
    }
}

/// Microseconds since 1970.
pub(super) fn microseconds(text: &[u8]) -> Option<Stamp<'static>> {
    // Those that there are for the next 300 years have sixteen digits.
    if let Some((first, rest)) = text.split_first_chunk()
        && let Ok(second) = <&[u8; 8]>::try_from(rest)
        && let (Some(first), Some(second)) = (scan::eight(first), scan::eight(second))
    {
        return Some(Stamp::At(i64::from(first) * 100 + i64::from(second / 1_000_000)));
    }
    let (time, rest) = scan::number(text)?;
    rest.is_empty().then_some(Stamp::At(i64::try_from(time / 1_000_000).ok()?))
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Text<'de>;

    fn expecting(&self, out: &mut Formatter<'_>) -> std::fmt::Result {
        out.write_str("text, a number, or octets")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Borrowed(text.as_bytes())))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(text.as_bytes().to_vec())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(number.to_string().into_bytes())))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Text::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Text::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Text::default())
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Text::default())
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<serde::de::IgnoredAny, serde::de::IgnoredAny>()?.is_some() {}
        Ok(Text::default())
    }

    /// Octets; or, of a field that an entry has several times, its values, of which the first is taken.
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut octets = Vec::new();
        let mut first = None;
        while let Some(one) = seq.next_element::<serde_json::Value>()? {
            if let Some(octet) = one.as_u64().and_then(|octet| u8::try_from(octet).ok()) {
                octets.push(octet);
            } else if let Some(text) = one.as_str() {
                first.get_or_insert_with(|| text.as_bytes().to_vec());
            }
        }
        Ok(Text(Cow::Owned(first.unwrap_or(octets))))
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, Shapes, microseconds};
    use crate::read::syslog::{Calendar, Stamp};

    /// What is read of a flat object is what JSON says.
    #[test]
    fn flat_objects_are_read_as_json() {
        let line = r#" {"_BOOT_ID":"0","__REALTIME_TIMESTAMP":"17", "_PID" :"11","X":null,"MESSAGE":"a \"b\" \\ c\n","log_":"","time": "x"} "#;
        let json = |text: &str| serde_json::from_str::<Entry<'_>>(text).map(|entry| format!("{entry:?}"));
        // Of none before it, and of those of which it may be another.
        let mut shapes = Shapes::default();
        let mut flat = |text: &str| {
            if text.bytes().any(|octet| octet < 0x20) {
                return None;
            }
            let read = |shapes: &mut Shapes, text: &str| {
                let mut entry = Entry::default();
                shapes.read(text.as_bytes(), &mut entry).then(|| format!("{entry:?}"))
            };
            let alone = read(&mut Shapes::default(), text);
            read(&mut shapes, line);
            let among = read(&mut shapes, text);
            assert_eq!(among, alone, "{text}");
            alone
        };
        assert_eq!(flat(line), json(line).ok());
        let mut read = 0;
        for at in 0..line.len() {
            for with in ["", "\"", "\\", "\\n", "\\u0041", "0", "{", "}", ",", " ", "\u{1}", "\u{e4}", r#"","log":""#] {
                let spoilt = [&line[..at], with, &line[at + 1..]].concat();
                if let Some(entry) = flat(&spoilt) {
                    assert_eq!(Some(entry), json(&spoilt).ok(), "{spoilt}");
                    read += 1;
                }
            }
            assert_eq!(flat(&line[..at]).is_some(), json(&line[..at]).is_ok(), "{}", &line[..at]);
        }
        assert!(read > 300, "{read}");
    }

    #[test]
    fn microseconds_are_seconds() {
        for (text, seconds) in [
            ("1795507200123456", Some(1_795_507_200)),
            ("9999999999999999", Some(9_999_999_999)),
            ("0000000000999999", Some(0)),
            ("17955072001234567", Some(17_955_072_001)),
            ("999999", Some(0)),
            ("179550720012345x", None),
            ("1795507200 23456", None),
            ("-795507200123456", None),
            ("", None),
        ] {
            assert_eq!(microseconds(text.as_bytes()), seconds.map(Stamp::At), "{text}");
        }
    }

    #[test]
    fn objects_are_lines() {
        for object in [
            r#"{"__REALTIME_TIMESTAMP":"1795507200123456","_HOSTNAME":"mx","SYSLOG_IDENTIFIER":"postfix/smtpd","_PID":"11","MESSAGE":"connect","PRIORITY":"6","X":null}"#,
            r#"{ "_PID" : "9", "SYSLOG_PID" : "11", "MESSAGE" : [99,111,110,110,101,99,116], "SYSLOG_IDENTIFIER":"postfix/smtpd", "_HOSTNAME":"mx", "__REALTIME_TIMESTAMP":"1795507200000000" }"#,
            r#"{"log":"Nov 24 08:00:00 mx postfix/smtpd[11]: connect\n","stream":"stdout","time":"2026-11-24T08:00:00.123456789Z"}"#,
            r#"{"@timestamp":"2026-11-24T08:00:00Z","message":"Nov 24 08:00:00 mx postfix/smtpd[11]: connect","agent":{"a":[1]}}"#,
        ] {
            let entry = Entry::parse(object.as_bytes(), &mut Shapes::default()).expect(object);
            let line = entry.line().expect(object);
            assert_eq!(Calendar::new(0).time(line.stamp), Some(1_795_507_200), "{object}");
            let parts = (line.host, line.instance, line.program, line.process, line.text);
            assert_eq!(parts, (&b"mx"[..], &b"postfix"[..], &b"smtpd"[..], &b"11"[..], &b"connect"[..]), "{object}");
        }
        for other in
            ["", "{", "{}", "[]", r#"{"MESSAGE":1.5}"#, r#"{"time":"2026-11-24T08:00:00Z","outcome":"accepted"}"#]
        {
            assert!(Entry::parse(other.as_bytes(), &mut Shapes::default()).is_none(), "{other}");
        }
    }
}
