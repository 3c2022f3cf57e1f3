//! A line in its parts. The usual forms are read by hand, for speed; whatever else may stand before a line, and other
//! times, word by word. All may be mixed at will:
//!
//! ```text
//! Nov 24 08:00:00 mx postfix/smtpd[4711]: text                              RFC 3164, and Postfix's own maillog_file
//! 2026-11-24T08:00:00.123456+01:00 mx postfix/smtpd[4711]: text             as many a syslog server writes today
//! <22>1 2026-11-24T08:00:00.123456+01:00 mx postfix/smtpd 4711 - - text     RFC 5424, with structured data or without
//! <22>Nov 24 08:00:00 mx postfix/smtpd[4711]: text                          with its priority
//! Nov 24 08:00:00 <mail.info> mx postfix/smtpd[4711]: text                  FreeBSD, verbose
//! Nov 24 08:00:00 mx mail.info postfix/smtpd[4711]: text                    BusyBox
//! mx-1  | Nov 24 08:00:00 mx postfix/smtpd[4711]: text                      docker compose logs
//! 2026-11-24T08:00:00.1Z stdout F Nov 24 08:00:00 mx postfix/smtpd[4711]: … a container's file under Kubernetes
//! Tue 2026-11-24 08:00:00 UTC mx postfix/smtpd[4711]: text                  journalctl -o short-full
//! ```

use memchr::memchr;

use super::stamp::Stamp;
use crate::read::scan::{near, near_end};

/// A line in its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    pub(crate) stamp: Stamp<'a>,
    pub(crate) host: &'a [u8],
    /// The whole name before the program's: `postfix`, `postfix/submission`; empty where there is none.
    pub(crate) instance: &'a [u8],
    /// What comes after the last slash: `smtpd`.
    pub(crate) program: &'a [u8],
    /// Its number, in digits; empty where there is none.
    pub(crate) process: &'a [u8],
    pub(crate) text: &'a [u8],
}

/// So many words before a line are looked at.
const BEFORE: usize = 12;

impl<'a> Line<'a> {
    /// `None` where it is no such line.
    #[inline]
    pub(crate) fn parse(line: &'a [u8]) -> Option<Self> {
        usual(line).or_else(|| unusual(line))
    }

    /// Of a program's whole name.
    pub(crate) fn new(stamp: Stamp<'a>, host: &'a [u8], tag: &'a [u8], process: &'a [u8], text: &'a [u8]) -> Self {
        let slash = near_end(tag, b'/');
        let (instance, program) = slash.map_or((&[][..], tag), |slash| (&tag[..slash], &tag[slash + 1..]));
        Self { stamp, host, instance, program, process, text: text.strip_suffix(b"\r").unwrap_or(text) }
    }

    /// Whether it has a time, and no program's name behind it: `last message repeated 2 times`, `-- Boot --`.
    pub(crate) fn is_bare(line: &[u8]) -> bool {
        line.starts_with(b"-- ") || before(line).is_some()
    }
}

#[inline]
fn usual(line: &[u8]) -> Option<Line<'_>> {
    let mut rest = line;
    if rest.first() == Some(&b'<') {
        rest = &rest[memchr(b'>', rest.get(..5)?)? + 1..];
    }
    let stamp;
    if rest.first()?.is_ascii_digit() {
        let end = memchr(b' ', rest.get(..48.min(rest.len()))?)?;
        if end < 19 {
            return None;
        }
        stamp = Stamp::Full(&rest[..end]);
        rest = &rest[end + 1..];
    } else {
        let (old, after) = rest.split_first_chunk()?;
        if old[3] != b' ' || old[6] != b' ' || old[9] != b':' {
            return None;
        }
        stamp = Stamp::Old(old);
        rest = after.strip_prefix(b" ")?;
    }
    let space = near(rest, b' ')?;
    let (host, rest) = (&rest[..space], &rest[space + 1..]);
    let space = near(rest, b' ')?;
    let (tag, rest) = (rest[..space].strip_suffix(b":")?, &rest[space + 1..]);
    let (tag, process) = numbered(tag);
    if tag.is_empty() || host.last() == Some(&b':') {
        return None;
    }
    Some(Line::new(stamp, host, tag, process, text(rest)))
}

/// `smtpd[4711]`: the name and the number.
#[inline]
fn numbered(tag: &[u8]) -> (&[u8], &[u8]) {
    if let [name @ .., b']'] = tag
        && let Some(open) = near_end(name, b'[')
    {
        return (&name[..open], &name[open + 1..]);
    }
    (tag, &[])
}

/// Solaris: a number stands before, for the message's text.
#[inline]
fn text(rest: &[u8]) -> &[u8] {
    if rest.starts_with(b"[ID ")
        && let Some(end) = memchr(b']', rest)
    {
        return rest[end + 1..].strip_prefix(b" ").unwrap_or(&rest[end + 1..]);
    }
    rest
}

fn unusual(line: &[u8]) -> Option<Line<'_>> {
    let (stamp, rest, modern) = before(line)?;
    if modern {
        return of_rfc_5424(stamp, rest);
    }
    let mut words = Words(rest);
    let first = words.next()?;
    // A tag that may be a host's name, as of a switch that writes `mx: …`, must be more than that.
    if first.iter().any(|octet| matches!(octet, b'[' | b'/'))
        && let Some((tag, process)) = tag(first)
    {
        return Some(Line::new(stamp, &[], tag, process, text(words.rest())));
    }
    let mut second = words.next()?;
    if is_facility(second) {
        second = words.next()?;
    }
    let (tag, process) = tag(second)?;
    Some(Line::new(stamp, first, tag, process, text(words.rest())))
}

/// What stands before the host's name: the time, whatever else, and whether it is of the form of RFC 5424. Where two
/// times stand there, that with a year is taken, and of two such the last.
fn before(line: &[u8]) -> Option<(Stamp<'_>, &[u8], bool)> {
    let mut found: Option<Stamp<'_>> = None;
    let mut modern = false;
    let mut rest = line;
    for _ in 0..BEFORE {
        rest = rest.trim_ascii_start();
        if let Some((stamp, after)) = Stamp::read(rest) {
            found = Some(match found {
                Some(before) if before.has_year() && !stamp.has_year() => before,
                _ => stamp,
            });
            rest = after.strip_prefix(b":").unwrap_or(after);
            if modern {
                break;
            }
        } else if let Some(after) = ornament(rest, found.is_some()) {
            modern = rest.first() == Some(&b'<') && after.starts_with(b"1 ");
            rest = if modern { &after[2..] } else { after };
        } else {
            break;
        }
    }
    Some((found?, rest.trim_ascii_start(), modern))
}

/// What comes after something that stands before a line and says nothing that is needed.
fn ornament(text: &[u8], timed: bool) -> Option<&[u8]> {
    match text {
        // Colour.
        [0x1b, b'[', rest @ ..] => {
            let end = rest.iter().take(16).position(|octet| *octet == b'm')?;
            Some(&rest[end + 1..])
        }
        // `<22>`, `<mail.info>`.
        [b'<', rest @ ..] => {
            let end = rest.iter().take(24).position(|octet| !octet.is_ascii_alphanumeric() && *octet != b'.')?;
            (rest[end] == b'>' && end > 0).then(|| &rest[end + 1..])
        }
        // A container's file: `stdout F`.
        [b's', b't', b'd', ..] => {
            let rest = text.strip_prefix(b"stdout ").or_else(|| text.strip_prefix(b"stderr "))?;
            rest.strip_prefix(b"F ").or_else(|| rest.strip_prefix(b"P "))
        }
        // `[pod/mx-0/postfix] `.
        [b'[', rest @ ..] if !timed => {
            let end = rest.iter().take(200).position(|octet| matches!(octet, b']' | b' '))?;
            (rest[end] == b']' && memchr(b'/', &rest[..end]).is_some()).then(|| &rest[end + 1..])
        }
        // `mx-1  | `.
        _ if !timed => {
            let end = text.iter().take(128).position(|octet| *octet == b' ' || *octet == 0x1b)?;
            let name = &text[..end];
            let is_name = !name.is_empty()
                && name.iter().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'.' | b'/'));
            let rest = text[end..].trim_ascii_start();
            (is_name && rest.first() == Some(&b'|')).then(|| &rest[1..])
        }
        _ => None,
    }
}

/// `mx postfix/smtpd 4711 - [meta sequenceId="7"] text` (RFC 5424 6).
fn of_rfc_5424<'a>(stamp: Stamp<'a>, rest: &'a [u8]) -> Option<Line<'a>> {
    let mut words = Words(rest);
    let (host, tag, process, _) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let mut rest = words.rest();
    if let Some(after) = rest.strip_prefix(b"-") {
        rest = after;
    } else {
        // Within quotes a backslash takes `"`, `\` and `]` their meaning (6.3.3).
        while rest.first() == Some(&b'[') {
            let (mut at, mut quoted) = (1, false);
            loop {
                match *rest.get(at)? {
                    b'\\' if quoted => at += 1,
                    b'"' => quoted = !quoted,
                    b']' if !quoted => break,
                    _ => {}
                }
                at += 1;
            }
            rest = &rest[at + 1..];
        }
    }
    let rest = rest.strip_prefix(b" ").unwrap_or(rest);
    let rest = rest.strip_prefix(b"\xef\xbb\xbf").unwrap_or(rest);
    Some(Line::new(stamp, host, tag, process, rest))
}

/// `name[4711]:`, `name:` or `name[4711]`.
fn tag(word: &[u8]) -> Option<(&[u8], &[u8])> {
    let (word, ended) = word.strip_suffix(b":").map_or((word, false), |word| (word, true));
    let (name, process) = numbered(word);
    let is_name = !name.is_empty()
        && name.iter().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'.' | b'/'));
    let is_number = !process.is_empty() && process.iter().all(u8::is_ascii_digit);
    (is_name && (is_number || (ended && process.is_empty()))).then_some((name, process))
}

/// `mail.info`, `(mail.info)`.
fn is_facility(word: &[u8]) -> bool {
    const FACILITIES: [&[u8]; 5] = [b"mail", b"syslog", b"daemon", b"user", b"local"];
    let word = word.strip_prefix(b"(").unwrap_or(word);
    memchr(b'.', word).is_some_and(|dot| {
        FACILITIES.iter().any(|facility| word[..dot].trim_ascii_end().starts_with(facility))
            && !word.ends_with(b":")
            && !word.contains(&b'[')
    })
}

/// Words between single spaces.
struct Words<'a>(&'a [u8]);

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let space = near(self.0, b' ')?;
        let word = &self.0[..space];
        self.0 = &self.0[space + 1..];
        (!word.is_empty()).then_some(word)
    }

    const fn rest(&self) -> &'a [u8] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::Line;
    use crate::read::syslog::Calendar;

    #[test]
    fn all_forms_say_the_same() {
        let forms = [
            "Nov 24 08:00:00 mx postfix/submission/smtpd[4711]: connect from x",
            "<22>Nov 24 08:00:00 mx postfix/submission/smtpd[4711]: connect from x\r",
            "2026-11-24T09:00:00.123456+01:00 mx postfix/submission/smtpd[4711]: connect from x",
            "2026-11-24T08:00:00+0000 mx postfix/submission/smtpd[4711]: connect from x",
            "2026-11-24T08:00:00+0000 mx postfix/submission/smtpd[4711] connect from x",
            "<22>1 2026-11-24T08:00:00Z mx postfix/submission/smtpd 4711 - - connect from x",
            "<22>1 2026-11-24T08:00:00Z mx postfix/submission/smtpd 4711 ID7 [a@1 b=\"\\\"]c\"][d] \u{feff}connect from x",
            "Nov 24 08:00:00 mx postfix/submission/smtpd[4711]: [ID 197553 mail.info] connect from x",
            "Nov 24 08:00:00.123 mx postfix/submission/smtpd[4711]: connect from x",
            "Nov 24 08:00:00 <mail.info> mx postfix/submission/smtpd[4711]: connect from x",
            "Nov 24 08:00:00 mx mail.info postfix/submission/smtpd[4711]: connect from x",
            "Nov 24 08:00:00 mx (mail.info) postfix/submission/smtpd[4711]: connect from x",
            "2026-11-24 08:00:00 mx postfix/submission/smtpd[4711]: connect from x",
            "Tue 2026-11-24 08:00:00 UTC mx postfix/submission/smtpd[4711]: connect from x",
            "1795507200.123456 mx postfix/submission/smtpd[4711]: connect from x",
            "mx-1  | Nov 24 08:00:00 mx postfix/submission/smtpd[4711]: connect from x",
            "\u{1b}[36mmx-1  |\u{1b}[0m Nov 24 08:00:00 mx postfix/submission/smtpd[4711]: connect from x",
            "mx-1  | 2026-11-24T08:00:00.1Z Nov 23 08:00:00 mx postfix/submission/smtpd[4711]: connect from x",
            "2026-11-24T08:00:00.1Z stdout F Nov 24 08:00:00 mx postfix/submission/smtpd[4711]: connect from x",
            "[pod/mx-0/postfix] Nov 24 08:00:00 mx postfix/submission/smtpd[4711]: connect from x",
        ];
        for form in forms {
            let line = Line::parse(form.as_bytes()).expect(form);
            assert_eq!(Calendar::new(1_795_600_000).time(line.stamp), Some(1_795_507_200), "{form}");
            let parts = (line.host, line.instance, line.program, line.process, line.text);
            assert_eq!(
                parts,
                (&b"mx"[..], &b"postfix/submission"[..], &b"smtpd"[..], &b"4711"[..], &b"connect from x"[..]),
                "{form}"
            );
        }
        let line = Line::parse(b"Nov 24 08:00:00 postfix/smtpd[4711]: connect from x").expect("no host");
        assert_eq!((line.host, line.instance, line.program), (&b""[..], &b"postfix"[..], &b"smtpd"[..]));
        let line = Line::parse(b"Nov 24 08:00:00 mx smtpd[4711]: 1 smtp connected").expect("no instance");
        assert_eq!((line.instance, line.program), (&b""[..], &b"smtpd"[..]));
    }

    /// What another program was given to say is that program's, whatever it looks like.
    #[test]
    fn a_line_within_a_line_is_none() {
        for line in [
            "Nov 24 08:00:00 mx app[1]: Nov 24 08:00:00 mx postfix/smtpd[4711]: connect from x",
            "2026-11-24 08:00:00 mx app: 2026-11-24 08:00:00 mx postfix/smtpd[4711]: connect from x",
        ] {
            assert_eq!(Line::parse(line.as_bytes()).expect("a line").program, b"app");
        }
        for other in [
            "",
            "Nov",
            "Nov 24 08:00:00 mx",
            "Nov 24 08:00:00 mx last message repeated 2 times",
            "-- Boot 1 --",
            "<22>",
            "2026-11-24 08:00:00 1vNXYZ-0000000abcd-1234 <= s@a H=mx.a [192.0.2.1] P=esmtp",
            "2026-11-24 08:00:00 H=(x) [203.0.113.9] F=<s@c> rejected RCPT <r@b>: Unknown user",
            "2026-11-24 08:00:00 Start queue run: pid=123",
            "hello postfix/smtpd[4711]: connect from x",
        ] {
            assert_eq!(Line::parse(other.as_bytes()), None, "{other}");
        }
    }
}
