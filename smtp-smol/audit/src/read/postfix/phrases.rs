//! What Postfix says, taken apart. Whatever a client may have written into a line is not believed.

use std::net::IpAddr;

use crate::read::scan::{alphanumeric, bracketed, find, find_last, near, text_ip};

/// What a line says about a reject.
pub(crate) struct Reject<'a> {
    pub(crate) host: &'a [u8],
    pub(crate) peer: Option<IpAddr>,
    /// 5yz, not 4yz.
    pub(crate) for_good: bool,
    pub(crate) sender: &'a [u8],
    pub(crate) to: &'a [u8],
}

impl<'a> Reject<'a> {
    /// `RCPT from a[192.0.2.1]: 554 5.7.1 …; from=<s@a> to=<r@b> …`, or from cleanup, with the code at the end:
    /// `header Subject: … from a[192.0.2.1]; from=<s@a> to=<r@b> proto=ESMTP helo=<a>: 5.7.1 …`.
    pub(crate) fn parse(text: &'a [u8]) -> Option<Self> {
        let (head, tail) = text.split_at(addresses(text).unwrap_or(text.len()));
        // A field or a line of the message that a rule is about comes first, and the code last.
        let of_message = text.first()?.is_ascii_lowercase();
        let at = if of_message { find_last(head, b" from ")? } else { find(head, b" from ")? };
        let (host, peer, more) = client_name(&head[at + 6..]);
        let code = if of_message {
            find_last(tail, b">: ").and_then(|at| tail.get(at + 3))
        } else {
            // A port may stand between.
            find(&more[..more.len().min(16)], b": ").and_then(|at| more.get(at + 2))
        };
        Some(Self {
            host,
            peer,
            for_good: code.copied() == Some(b'5'),
            sender: field(tail, b"from=<").unwrap_or_default(),
            to: field(tail, b" to=<").unwrap_or_default(),
        })
    }
}

/// Where ` from=<s@a> to=<r@b> …` begins. A client chooses what stands between its quotes, so that only what is outside
/// of brackets and quotes counts; where those do not match, the last place that looks like it.
fn addresses(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(found) = memchr::memchr2(b'<', b';', &text[at..]).map(|found| at + found) {
        let rest = &text[found..];
        if rest[0] == b'<' {
            let Some((_, after)) = bracketed(&rest[1..]) else { break };
            at = text.len() - after.len();
        } else if rest.starts_with(b"; from=<") {
            return Some(found + 1);
        } else {
            at = found + 1;
        }
    }
    find_last(text, b" from=<").or_else(|| find_last(text, b";from=<"))
}

fn field<'a>(text: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut rest = text;
    loop {
        let open = memchr::memchr(b'<', rest)?;
        let is_it = rest[..=open].ends_with(name);
        let (value, after) = bracketed(&rest[open + 1..])?;
        if is_it {
            return Some(value);
        }
        rest = after;
    }
}

/// What a line says about a connection that is now encrypted.
pub(crate) struct Established<'a> {
    /// `Anonymous`, `Untrusted`, `Trusted`, `Verified`.
    pub(crate) trust: &'a [u8],
    /// `a[192.0.2.1]:25`
    pub(crate) whom: &'a [u8],
    /// `TLSv1.3 with cipher …`, of which the [`Ciphers`](super::ciphers::Ciphers) know what it says.
    pub(crate) tls: &'a [u8],
}

/// `Trusted TLS connection established to b[192.0.2.1]:25: TLSv1.3 with cipher …`
pub(crate) fn established<'a>(text: &'a [u8], middle: &[u8]) -> Option<Established<'a>> {
    let length = match text.first()? {
        b'A' | b'U' => 9,
        b'T' => 7,
        b'V' => 8,
        _ => return None,
    };
    let whom = text.get(length..)?.strip_prefix(middle)?;
    let at = find(whom, b": TLS").or_else(|| find(whom, b": SSL"))?;
    let (whom, tls) = (&whom[..at], &whom[at + 2..]);
    // A name asked for (SNI) may stand between: ` to name`.
    Some(Established { trust: &text[..length], whom: &whom[..near(whom, b' ').unwrap_or(at)], tls })
}

/// `a.example[192.0.2.1]:25, …`: the name, unless it is `unknown`, the address, and what comes after it.
pub(crate) fn client_name(text: &[u8]) -> (&[u8], Option<IpAddr>, &[u8]) {
    let Some(open) = near(text, b'[') else { return (&[], None, &[]) };
    let Some(length) = near(&text[open..], b']') else { return (&[], None, &[]) };
    let (name, close) = (&text[..open], open + length);
    (if name == b"unknown" { &[] } else { name }, text_ip(&text[open + 1..close]), &text[close + 1..])
}

/// `4XYZ: text`: the queue's name for a message, and the rest.
#[inline]
pub(crate) fn queue_name(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = near(text.get(..24).unwrap_or(text), b':')?;
    let (name, rest) = text.split_at(colon);
    let is_name = colon >= 5 && alphanumeric(name) && name != b"NOQUEUE" && name != b"warning";
    Some((name, rest.strip_prefix(b": ").filter(|_| is_name)?))
}

#[cfg(test)]
mod tests {
    use super::{Reject, client_name, queue_name};

    /// Sender, recipient, host and address; `!` where it is not for good.
    fn told(text: &str) -> String {
        let Some(reject) = Reject::parse(text.as_bytes()) else { return "none".into() };
        let text = |octets| String::from_utf8_lossy(octets).into_owned();
        let peer = reject.peer.map_or_else(|| "-".into(), |peer| peer.to_string());
        let last = if reject.for_good { "" } else { " !" };
        format!("{} {} {} {peer}{last}", text(reject.sender), text(reject.to), text(reject.host))
    }

    #[test]
    fn rejects_of_every_kind() {
        for (line, expected) in [
            (
                "RCPT from a.example[192.0.2.1]: 554 5.7.1 <r@b>: Relay access denied; from=<s@a> to=<r@b> proto=ESMTP helo=<a>",
                "s@a r@b a.example 192.0.2.1",
            ),
            (
                "RCPT from unknown[2001:db8::1]:4711: 450 4.7.1 <x>: Helo command rejected; from=<s@a> to=<r@b> proto=SMTP helo=<x>",
                "s@a r@b  2001:db8::1 !",
            ),
            (
                "RCPT from [192.0.2.1]:51234: 550 5.7.1 Service unavailable; client [192.0.2.1] blocked using zen.example; from=<s@a>, to=<r@b>, proto=ESMTP, helo=<x>",
                "s@a r@b  192.0.2.1",
            ),
            (
                "header Subject: from x[203.0.113.1]: 4 from a.example[192.0.2.1]; from=<s@a> to=<r@b> proto=ESMTP helo=<a>: 5.7.1 No",
                "s@a r@b a.example 192.0.2.1",
            ),
            (
                "END-OF-MESSAGE from a.example[192.0.2.1]: 5.7.1 Spam; from=<> to=<r@b> proto=ESMTP helo=<a>",
                " r@b a.example 192.0.2.1",
            ),
            (
                "RCPT from a.example[192.0.2.1]: 554 5.7.1 x from=<f@f> to=<g@g>; from=<s@a> to=<r@b>",
                "s@a r@b a.example 192.0.2.1",
            ),
            (
                r#"RCPT from a.example[192.0.2.1]: 554 5.7.1 <"; from=<x@x> "@a>: Denied; from=<"> to=<f@f>; from=<x@x> "@a> to=<r@b> proto=ESMTP"#,
                r#""> to=<f@f>; from=<x@x> "@a r@b a.example 192.0.2.1"#,
            ),
            ("nothing of the kind", "none"),
        ] {
            assert_eq!(told(line), expected, "{line}");
        }
    }

    #[test]
    fn names() {
        assert_eq!(client_name(b"a[192.0.2.1]:25, x"), (&b"a"[..], "192.0.2.1".parse().ok(), &b":25, x"[..]));
        assert_eq!(client_name(b"unknown[unknown]"), (&b""[..], None, &b""[..]));
        assert_eq!(client_name(b"a[192.0.2.1"), (&b""[..], None, &b""[..]));
        // Short and long ones (`enable_long_queue_ids`).
        for name in ["3F9B2C0D1E", "4ZbTq52kLmz1XyZ", "ABCDE"] {
            let line = format!("{name}: removed");
            assert_eq!(queue_name(line.as_bytes()), Some((name.as_bytes(), &b"removed"[..])));
        }
        for line in ["NOQUEUE: reject", "warning: x", "ABC: removed", "AB-CDEF: x", "ABCDEF removed", ""] {
            assert_eq!(queue_name(line.as_bytes()), None, "{line}");
        }
    }
}
