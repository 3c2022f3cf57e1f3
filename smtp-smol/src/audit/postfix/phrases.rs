//! What Postfix says, taken apart. Whatever a client may have written into a line is not believed.

use std::net::IpAddr;

use crate::audit::received::version;
use crate::audit::scan::{between, find, text_ip};

/// What a line says about a reject.
pub(super) struct Reject<'a> {
    pub(super) peer: Option<IpAddr>,
    /// 5yz, not 4yz.
    pub(super) for_good: bool,
    pub(super) sender: &'a [u8],
    pub(super) to: &'a [u8],
}

impl<'a> Reject<'a> {
    /// `RCPT from a[192.0.2.1]: 554 5.7.1 …; from=<s@a> to=<r@b> …`, or from cleanup, with the code at the end:
    /// `header Subject: … from a[192.0.2.1]; from=<s@a> to=<r@b> proto=ESMTP helo=<a>: 5.7.1 …`.
    pub(super) fn parse(text: &'a [u8]) -> Option<Self> {
        // What a client may have written stands before these.
        let from = memchr::memmem::rfind(text, b" from=<").or_else(|| memchr::memmem::rfind(text, b";from=<"));
        let (head, tail) = text.split_at(from.unwrap_or(text.len()));
        let client = &head[find(head, b" from ")? + 6..];
        let (_, peer) = client_name(client);
        let code = match find(client, b"]: ") {
            Some(at) => client.get(at + 3),
            None => memchr::memmem::rfind(tail, b">: ").and_then(|at| tail.get(at + 3)),
        };
        Some(Self {
            peer,
            for_good: code.copied() == Some(b'5'),
            sender: field(tail, b" from=<").unwrap_or_default(),
            to: field(tail, b" to=<").unwrap_or_default(),
        })
    }
}

fn field<'a>(text: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let start = &text[find(text, name)? + name.len()..];
    Some(&start[..memchr::memchr(b'>', start)?])
}

/// What a line says about a connection that is now encrypted.
pub(super) struct Established<'a> {
    /// `Anonymous`, `Untrusted`, `Trusted`, `Verified`.
    pub(super) trust: &'a [u8],
    /// `a[192.0.2.1]:25`
    pub(super) whom: &'a [u8],
    pub(super) version: Option<smtp_proto::tls::TlsVersion>,
}

/// `Trusted TLS connection established to b[192.0.2.1]:25: TLSv1.3 with cipher …`
pub(super) fn established<'a>(text: &'a [u8], middle: &[u8]) -> Option<Established<'a>> {
    let length = match text.first()? {
        b'A' | b'U' => 9,
        b'T' => 7,
        b'V' => 8,
        _ => return None,
    };
    let trust = &text[..length];
    let whom = text.get(length..)?.strip_prefix(middle)?;
    // A name asked for (SNI) may stand between: ` to name`.
    let at = find(whom, b": TLS").or_else(|| find(whom, b": SSL"))?;
    let version = version(&whom[at + 2..]);
    let whom = &whom[..at];
    Some(Established { trust, whom: &whom[..find(whom, b" to ").unwrap_or(at)], version })
}

/// `a.example[192.0.2.1]:25`: the name, unless it is `unknown`, and the address.
pub(super) fn client_name(text: &[u8]) -> (&[u8], Option<IpAddr>) {
    let name = &text[..memchr::memchr(b'[', text).unwrap_or(0)];
    let address = between(text, b'[', b']').and_then(|(address, _)| text_ip(address));
    (if name == b"unknown" { &[] } else { name }, address)
}

/// `4XYZ: text`: the queue's name for a message, and the rest.
#[inline]
pub(super) fn queue_name(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = text.iter().take(24).position(|octet| *octet == b':')?;
    let (name, rest) = text.split_at(colon);
    let is_name = colon >= 5 && name.iter().all(u8::is_ascii_alphanumeric) && name != b"NOQUEUE" && name != b"warning";
    Some((name, rest.strip_prefix(b": ").filter(|_| is_name)?))
}
