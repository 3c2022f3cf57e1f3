//! Trace fields: Received and Return-Path (RFC 5321 4.4).

use alloc::vec::Vec;
use core::fmt::{self, Write as _};
use core::net::IpAddr;

use crate::tls::TlsInfo;

/// The `with` word of a Received field (RFC 5321 4.4, RFC 3848, RFC 6531 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// HELO.
    Smtp,
    /// EHLO.
    Esmtp,
    /// EHLO inside TLS.
    Esmtps,
}

impl Protocol {
    /// The word itself.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Smtp => "SMTP",
            Self::Esmtp => "ESMTP",
            Self::Esmtps => "ESMTPS",
        }
    }
}

/// A Received field (RFC 5321 4.4). Whatever a peer put into its parts, what is written is printable ASCII, folded at
/// the places below, and balanced; octets that could end a clause or a comment are written as `?`.
///
/// ```text
/// Received: from client.example ([192.0.2.1])
///  by mx.example.net with ESMTPS (TLS1.3 TLS_AES_128_GCM_SHA256)
///  id 1a2b3c for <user@example.net>; Mon, 23 Nov 2026 12:00:00 +0000
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// What the client called itself in EHLO or HELO.
    pub hello: Option<&'a str>,
    /// Its address, if the connection has one.
    pub peer: Option<IpAddr>,
    /// This server's name.
    pub by: &'a str,
    /// How the message came.
    pub protocol: Protocol,
    /// TLS on this hop.
    pub tls: Option<&'a TlsInfo>,
    /// This server's name for the message.
    pub id: &'a str,
    /// The recipient, where there is exactly one: more than one would tell each of the others (RFC 5321 7.2).
    pub recipient: Option<&'a str>,
    /// The date-time of RFC 5322 3.3. The core knows no clock.
    pub date: &'a str,
}

impl Received<'_> {
    /// Writes the field with its last CRLF.
    pub fn write(&self, out: &mut Vec<u8>) {
        // Writing to a vector cannot fail.
        let _ = self.write_to(&mut Printable(out));
    }

    fn write_to(&self, out: &mut Printable<'_>) -> fmt::Result {
        out.raw(b"Received: from ");
        out.word(self.hello.unwrap_or("unknown"));
        match self.peer {
            Some(IpAddr::V4(address)) => write!(out, " ([{address}])")?,
            Some(IpAddr::V6(address)) => write!(out, " ([IPv6:{address}])")?,
            None => {}
        }
        out.raw(b"\r\n by ");
        out.word(self.by);
        out.raw(b" with ");
        out.raw(self.protocol.as_str().as_bytes());
        if let Some(tls) = self.tls {
            out.raw(b" (");
            out.raw(tls.version.as_str().as_bytes());
            out.raw(b" ");
            out.word(&tls.cipher);
            out.raw(b")");
        }
        out.raw(b"\r\n id ");
        out.word(self.id);
        if let Some(recipient) = self.recipient {
            out.raw(b"\r\n for <");
            out.path(recipient);
            out.raw(b">");
        }
        out.raw(b";\r\n ");
        out.write_str(self.date)?;
        out.raw(b"\r\n");
        Ok(())
    }
}

/// Writes the Return-Path field that the final delivery puts on top (RFC 5321 4.4), with its CRLF.
pub fn return_path(path: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Return-Path: <");
    Printable(out).path(path);
    out.extend_from_slice(b">\r\n");
}

struct Printable<'v>(&'v mut Vec<u8>);

impl Printable<'_> {
    fn raw(&mut self, octets: &[u8]) {
        self.0.extend_from_slice(octets);
    }

    /// A word of a clause: no space, no comment, no `;`, at most 255 octets.
    fn word(&mut self, word: &str) {
        let octets = word.bytes().take(255);
        self.0.extend(octets.map(|octet| match octet {
            b'(' | b')' | b';' | b'<' | b'>' | b'\\' | b'"' | b',' => b'?',
            b'!'..=b'~' => octet,
            _ => b'?',
        }));
    }

    /// A mailbox, which the grammar has checked: UTF-8 is kept (RFC 6532), controls are not.
    fn path(&mut self, path: &str) {
        self.0.extend(path.bytes().map(|octet| if octet < b' ' || octet == 0x7f { b'?' } else { octet }));
    }
}

impl fmt::Write for Printable<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend(text.bytes().map(|octet| if matches!(octet, b' '..=b'~') { octet } else { b'?' }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Protocol, Received};
    use crate::tls::{TlsInfo, TlsVersion};
    use alloc::string::String;
    use alloc::vec::Vec;

    /// RFC 5321 4.4.
    #[test]
    fn a_received_field_is_safe_with_any_name() {
        let tls = TlsInfo::new(TlsVersion::Tls13, "TLS_AES_128_GCM_SHA256".into());
        let mut out = Vec::new();
        Received {
            hello: Some("evil\r\nX: y (c) ; z\u{e9}"),
            peer: Some([192, 0, 2, 1].into()),
            by: "mx.example.net",
            protocol: Protocol::Esmtps,
            tls: Some(&tls),
            id: "1a2b",
            recipient: Some("user@example.net"),
            date: "Mon, 23 Nov 2026 12:00:00 +0000",
        }
        .write(&mut out);
        assert_eq!(
            String::from_utf8(out).expect("ASCII"),
            "Received: from evil??X:?y??c????z?? ([192.0.2.1])\r\n by mx.example.net with ESMTPS \
             (TLS1.3 TLS_AES_128_GCM_SHA256)\r\n id 1a2b\r\n for <user@example.net>;\r\n Mon, 23 Nov 2026 12:00:00 +0000\r\n"
        );
    }
}
