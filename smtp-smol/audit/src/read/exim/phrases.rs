//! What Exim says, taken apart.

use std::net::IpAddr;

use memchr::{memchr, memchr2};

use crate::read::scan::{find, iso, near, starts_no_case, text_ip};
use crate::read::syslog::Line;
use crate::read::words::group_of;

/// Whether this is a line of Exim's that came by syslog.
#[inline]
pub(crate) fn writes(line: &Line<'_>) -> bool {
    line.program.starts_with(b"exim")
}

/// A line of the main log that is about a message or a client: its time, the message's identity, and the rest.
#[inline]
pub(crate) fn native(line: &[u8]) -> Option<(i64, &[u8], &[u8])> {
    if line.get(10) != Some(&b' ') || !line[0].is_ascii_digit() {
        return None;
    }
    let (time, rest) = iso(line)?;
    let (id, text) = message(rest.strip_prefix(b" ")?)?;
    Some((time, id, text.strip_suffix(b"\r").unwrap_or(text)))
}

/// Whether this is a line of the main log about anything else.
pub(crate) fn is_other(line: &[u8]) -> bool {
    const STARTS: [&[u8]; 22] = [
        b"Start queue run",
        b"End queue run",
        b"exim ",
        b"SMTP ",
        b"no host name found",
        b"no IP address found",
        b"unexpected disconnection",
        b"rejected ",
        b"refused ",
        b"Connection from",
        b"Warning:",
        b"WARNING:",
        b"cwd=",
        b"TLS ",
        b"DNS ",
        b"pid ",
        b"SIGHUP",
        b"daemon",
        b"socket bind",
        b"ident ",
        b"failed ",
        b"host name alias",
    ];
    let at_first = |rest: &[u8]| {
        let rest = rest.trim_ascii_start();
        let rest =
            if rest.first() == Some(&b'[') { find(rest, b"] ").map_or(rest, |end| &rest[end + 2..]) } else { rest };
        STARTS.iter().any(|start| rest.starts_with(start)) || find(&rest[..rest.len().min(64)], b"_login").is_some()
    };
    line.get(10) == Some(&b' ') && iso(line).is_some_and(|(_, rest)| at_first(rest))
}

/// The group in `TLS1.3:ECDHE_X25519__RSA_PSS_RSAE_SHA256__AES_256_GCM:256`.
pub(super) fn group_in(tls: &[u8]) -> Option<&'static str> {
    group_of(tls.split(|octet| *octet == b':').nth(1)?)
}

/// `mx.a (helo) [192.0.2.1]:4711 …`: either name may be missing.
pub(super) struct Host<'a> {
    pub(super) name: &'a [u8],
    pub(super) address: Option<IpAddr>,
    /// What follows the address.
    pub(super) rest: &'a [u8],
}

impl<'a> Host<'a> {
    pub(super) fn parse(text: &'a [u8]) -> Self {
        let mut name = &[][..];
        let mut rest = text;
        if !matches!(rest.first(), Some(b'(' | b'[')) {
            let end = memchr(b' ', rest).unwrap_or(rest.len());
            name = &rest[..end];
            rest = rest.get(end + 1..).unwrap_or_default();
        }
        if rest.first() == Some(&b'(')
            && let Some(end) = find(rest, b") ")
        {
            if name.is_empty() {
                name = &rest[1..end];
            }
            rest = &rest[end + 2..];
        }
        let mut address = None;
        if rest.first() == Some(&b'[')
            && let Some(end) = memchr(b']', rest)
        {
            address = text_ip(&rest[1..end]);
            rest = &rest[end + 1..];
        }
        Self { name, address, rest }
    }
}

/// Of each field that is needed the first. Names are at the start or behind a space, and not within quotes.
#[derive(Debug, Default)]
pub(super) struct Fields<'a> {
    pub(super) protocol: Option<&'a [u8]>,
    pub(super) login: Option<&'a [u8]>,
    pub(super) tls: Option<&'a [u8]>,
    pub(super) verified: Option<&'a [u8]>,
    /// There is the name in a certificate.
    pub(super) named: bool,
    pub(super) size: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    pub(super) fn parse(text: &'a [u8]) -> Self {
        let mut fields = Self::default();
        let mut at = 0;
        loop {
            let (field, value) = match &text[at..] {
                [b'P', b'=', value @ ..] => (&mut fields.protocol, value),
                [b'A', b'=', value @ ..] => (&mut fields.login, value),
                [b'X', b'=', value @ ..] => (&mut fields.tls, value),
                [b'S', b'=', value @ ..] => (&mut fields.size, value),
                [b'C', b'V', b'=', value @ ..] => (&mut fields.verified, value),
                rest => {
                    fields.named |= rest.starts_with(b"DN=");
                    (&mut None, &[][..])
                }
            };
            if field.is_none() {
                *field = Some(&value[..near(value, b' ').unwrap_or(value.len())]);
            }
            let Some(next) = next_word(text, at) else { return fields };
            at = next;
        }
    }
}

/// Where the next word begins that is not within quotes.
fn next_word(text: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += memchr2(b' ', b'"', text.get(at..)?)? + 1;
        if text[at - 1] == b' ' {
            return Some(at);
        }
        loop {
            at += memchr2(b'\\', b'"', text.get(at..)?)? + 1;
            if text[at - 1] == b'"' {
                break;
            }
            at += 1;
        }
    }
}

/// The message's identity, if there is one, and the rest; a process number in brackets may stand before.
pub(super) fn message(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut text = text;
    if text.first() == Some(&b'[') {
        text = &text[find(text, b"] ")? + 2..];
    }
    if starts_no_case(text, b"H=") || text.starts_with(b"TLS error ") {
        return Some((&[], text));
    }
    // 16 octets until Exim 4.96, 23 since.
    for (length, first, second) in [(16, 6, 13), (23, 6, 18)] {
        if let Some((id, rest)) = text.split_at_checked(length)
            && id[first] == b'-'
            && id[second] == b'-'
            && id.iter().all(|octet| octet.is_ascii_alphanumeric() || *octet == b'-')
            && let Some(rest) = rest.strip_prefix(b" ")
        {
            return Some((id, rest));
        }
    }
    None
}

/// An address at the start, in angle brackets or without, and what comes behind it. Within quotes a space or a bracket
/// is one of its octets (RFC 5321 4.1.2).
pub(super) fn address(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (inner, bracket) = text.strip_prefix(b"<").map_or((text, false), |inner| (inner, true));
    let (mut at, mut quoted) = (0, false);
    while let Some(&octet) = inner.get(at) {
        match octet {
            b'\\' if quoted => at += 1,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'>' if bracket => return Some((&inner[..at], &inner[at + 1..])),
            b' ' if !bracket => break,
            _ => {}
        }
        at += 1;
    }
    (!bracket).then(|| {
        let (address, rest) = inner.split_at(at.min(inner.len()));
        (address.strip_suffix(b":").unwrap_or(address), rest)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Fields;

    /// The value of the first field of this name, octet by octet.
    fn field<'a>(text: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
        let (mut quoted, mut at) = (false, 0);
        while at < text.len() {
            match text[at] {
                b'\\' if quoted => at += 1,
                b'"' => quoted = !quoted,
                _ if !quoted && (at == 0 || text[at - 1] == b' ') && text[at..].starts_with(name) => {
                    let value = &text[at + name.len()..];
                    return Some(&value[..value.iter().position(|octet| *octet == b' ').unwrap_or(value.len())]);
                }
                _ => {}
            }
            at += 1;
        }
        None
    }

    proptest! {
        #[test]
        fn fields_are_those_that_a_plain_search_finds(
            words in prop::collection::vec(prop::sample::select(vec![
                "P=esmtps", "A=login:u", "X=TLS1.3:a:256", "CV=no", "DN=\"/CN=a P=b\"", "S=1", "S=", "\"", "\\", "\\\"", " ",
                "P=", "xP=y", "C=\"250 S=9 ok\"", "CV=", "DN=", "a\"b S=3", "X=\"q r\" S=2",
            ]), 0..12),
            between in prop::sample::select(vec![" ", "", "  "]),
        ) {
            let text = words.join(between).into_bytes();
            let fields = Fields::parse(&text);
            prop_assert_eq!(fields.protocol, field(&text, b"P="));
            prop_assert_eq!(fields.login, field(&text, b"A="));
            prop_assert_eq!(fields.tls, field(&text, b"X="));
            prop_assert_eq!(fields.size, field(&text, b"S="));
            prop_assert_eq!(fields.verified, field(&text, b"CV="));
            prop_assert_eq!(fields.named, field(&text, b"DN=").is_some());
        }
    }
}
