//! Trace fields: Received and Return-Path (RFC 5321 4.4), and Delivered-To.

use alloc::vec::Vec;
use core::fmt::{self, Write as _};
use core::net::IpAddr;

pub use crate::date::Date;
use crate::tls::TlsInfo;

/// How a message came: what the `with` word of a Received field says (RFC 5321 4.4, RFC 3848, RFC 6531 4.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(clippy::struct_excessive_bools, reason = "each is a letter of the word")]
pub struct WithProtocol {
    /// Whether the client opened with LHLO, so that the session is LMTP (RFC 2033).
    pub lmtp: bool,
    /// Whether the client opened with EHLO or LHLO rather than HELO.
    pub extended: bool,
    /// The transaction asked for SMTPUTF8 (RFC 6531).
    pub utf8: bool,
    /// Whether the message came over TLS: the `S` of `ESMTPS` (RFC 3848).
    pub tls: bool,
    /// Whether the client had authenticated: the `A` of `ESMTPA` (RFC 3848).
    pub authenticated: bool,
}

impl WithProtocol {
    /// The word itself, as IANA has registered it. Without EHLO there is but one.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match (self.lmtp, self.utf8, self.tls, self.authenticated) {
            _ if !self.lmtp && !self.extended => "SMTP",
            (false, false, false, false) => "ESMTP",
            (false, false, false, true) => "ESMTPA",
            (false, false, true, false) => "ESMTPS",
            (false, false, true, true) => "ESMTPSA",
            (false, true, false, false) => "UTF8SMTP",
            (false, true, false, true) => "UTF8SMTPA",
            (false, true, true, false) => "UTF8SMTPS",
            (false, true, true, true) => "UTF8SMTPSA",
            (true, false, false, false) => "LMTP",
            (true, false, false, true) => "LMTPA",
            (true, false, true, false) => "LMTPS",
            (true, false, true, true) => "LMTPSA",
            (true, true, false, false) => "UTF8LMTP",
            (true, true, false, true) => "UTF8LMTPA",
            (true, true, true, false) => "UTF8LMTPS",
            (true, true, true, true) => "UTF8LMTPSA",
        }
    }
}

/// A Received field (RFC 5321 4.4). Whatever a peer put into its parts, what is written is printable ASCII, folded at
/// the places below, and balanced; octets that could end a clause or a comment are written as `?`.
///
/// ```text
/// Received: from client.example ([192.0.2.1])
///  by mx.example.net with ESMTPS (TLS1.3)
///  id 1a2b3c
///  for <user@example.net>
///  tls TLS_AES_128_GCM_SHA256;
///  Mon, 23 Nov 2026 12:00:00 +0000
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// What the client called itself in EHLO or HELO.
    pub hello: Option<&'a str>,
    /// Its address, if the connection has one.
    pub peer: Option<IpAddr>,
    /// This server's name, for the `by` clause (RFC 5321 4.4).
    pub by: &'a str,
    /// How the message came.
    pub protocol: WithProtocol,
    /// What is known of TLS on this hop; `None` if the message came in plaintext.
    pub tls: Option<&'a TlsInfo>,
    /// This server's name for the message.
    pub id: &'a str,
    /// The recipient, where there is exactly one: more than one would tell each of the others (RFC 5321 7.2).
    pub recipient: Option<&'a str>,
    /// The date-time of RFC 5322 3.3, such as a [`Date`] shows it. The core knows no clock.
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
        if let Some(version) = self.tls.and_then(|tls| tls.version) {
            out.raw(b" (");
            out.raw(version.as_str().as_bytes());
            out.raw(b")");
        }
        out.raw(b"\r\n id ");
        out.word(self.id);
        if let Some(recipient) = self.recipient {
            out.raw(b"\r\n for <");
            out.path(recipient);
            out.raw(b">");
        }
        // RFC 8314 4.3: the cipher suite has a clause of its own.
        if let Some(tls) = self.tls.filter(|tls| !tls.cipher.is_empty()) {
            out.raw(b"\r\n tls ");
            out.word(&tls.cipher);
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

/// Writes a Delivered-To field, by which a store that keeps one file for several recipients tells whom it is for, with its
/// CRLF. No RFC has it; Postfix, Dovecot, fetchmail and others write and read it so.
pub fn delivered_to(path: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Delivered-To: ");
    Printable(out).path(path);
    out.extend_from_slice(b"\r\n");
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
    use super::{Received, WithProtocol};
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
            protocol: WithProtocol { extended: true, tls: true, ..WithProtocol::default() },
            tls: Some(&tls),
            id: "1a2b",
            recipient: Some("user@example.net"),
            date: "Mon, 23 Nov 2026 12:00:00 +0000",
        }
        .write(&mut out);
        assert_eq!(
            String::from_utf8(out).expect("ASCII"),
            "Received: from evil??X:?y??c????z?? ([192.0.2.1])\r\n by mx.example.net with ESMTPS (TLS1.3)\r\n id 1a2b\r\n \
             for <user@example.net>\r\n tls TLS_AES_128_GCM_SHA256;\r\n Mon, 23 Nov 2026 12:00:00 +0000\r\n"
        );
    }

    /// RFC 5321 4.1.3: an address of IPv6 says so.
    #[test]
    fn a_peer_of_ipv6_is_told_as_one() {
        let mut out = Vec::new();
        Received {
            hello: Some("a.example"),
            peer: Some(core::net::Ipv6Addr::LOCALHOST.into()),
            by: "mx.example.net",
            protocol: WithProtocol::default(),
            tls: None,
            id: "1",
            recipient: None,
            date: "Mon, 23 Nov 2026 12:00:00 +0000",
        }
        .write(&mut out);
        assert!(out.starts_with(b"Received: from a.example ([IPv6:::1])\r\n"), "{}", out.escape_ascii());
    }

    /// What a proxy before the server does not tell is left out.
    #[test]
    fn of_tls_before_the_server_only_what_is_known_is_written() {
        let field = |tls: &TlsInfo| {
            let mut out = Vec::new();
            Received {
                hello: Some("a.example"),
                peer: None,
                by: "mx.example.net",
                protocol: WithProtocol { extended: true, tls: true, ..WithProtocol::default() },
                tls: Some(tls),
                id: "1a2b",
                recipient: None,
                date: "Mon, 23 Nov 2026 12:00:00 +0000",
            }
            .write(&mut out);
            String::from_utf8(out).expect("ASCII")
        };
        let mut tls = TlsInfo::by_proxy();
        assert_eq!(
            field(&tls),
            "Received: from a.example\r\n by mx.example.net with ESMTPS\r\n id 1a2b;\r\n \
             Mon, 23 Nov 2026 12:00:00 +0000\r\n"
        );
        (tls.version, tls.cipher) = (Some(TlsVersion::Tls12), "ECDHE-RSA-AES128-GCM-SHA256".into());
        assert!(field(&tls).contains(" with ESMTPS (TLS1.2)\r\n id 1a2b\r\n tls ECDHE-RSA-AES128-GCM-SHA256;"));
    }

    /// RFC 3848, RFC 6531 4.3: E or UTF8 in front, S and A behind.
    #[test]
    fn the_word_is_put_together_from_what_was_used() {
        for bits in 0..32_u8 {
            let on = |bit: u8| bits & 1 << bit != 0;
            let (lmtp, extended, utf8, tls, authenticated) = (on(0), on(1), on(2), on(3), on(4));
            let word = if !lmtp && !extended {
                String::from("SMTP")
            } else {
                let front = match (utf8, lmtp) {
                    (true, true) => "UTF8LMTP",
                    (true, false) => "UTF8SMTP",
                    (false, true) => "LMTP",
                    (false, false) => "ESMTP",
                };
                alloc::format!("{front}{}{}", if tls { "S" } else { "" }, if authenticated { "A" } else { "" })
            };
            assert_eq!(WithProtocol { lmtp, extended, utf8, tls, authenticated }.as_str(), word);
        }
    }
}
