//! What the head of a message says while it passes: whether it is unwanted, and whether it is protected from end to end.

use memchr::memchr;
use smtp_proto::tls::EndToEnd;

use smtp_audit::{UnwantedIf, end_to_end};

/// So much of a message is looked at.
pub(crate) const LOOKED_AT: usize = 32 << 10;

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) unwanted: bool,
    pub(crate) end_to_end: EndToEnd,
}

/// Looks at the first [`LOOKED_AT`] octets of a message.
pub(crate) fn look(message: &[u8], unwanted_if: &[UnwantedIf]) -> Seen {
    let mut seen = Seen { unwanted: false, end_to_end: EndToEnd::None };
    let mut content_type: Option<&[u8]> = None;
    let mut rest = message;
    while let Some((field, after)) = next_field(rest) {
        rest = after;
        // Nearly all fields are of no interest, and that their first octet says.
        let asked = |first: &u8| {
            first.eq_ignore_ascii_case(&b'C')
                || unwanted_if.iter().any(|unwanted| unwanted.first().eq_ignore_ascii_case(first))
        };
        if !field.first().is_some_and(asked) {
            continue;
        }
        let Some(colon) = memchr(b':', field) else { continue };
        let (name, value) = (field[..colon].trim_ascii_end(), field[colon + 1..].trim_ascii());
        seen.unwanted |= unwanted_if.iter().any(|unwanted| unwanted.holds(name, value));
        if name.eq_ignore_ascii_case(b"Content-Type") && content_type.is_none() {
            content_type = Some(value);
        }
    }
    seen.end_to_end = end_to_end(content_type.unwrap_or_default(), rest);
    seen
}

/// The first field, with the lines that it goes on in (RFC 5322 2.2.3); `None` where the head ends.
fn next_field(head: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut end = 0;
    loop {
        end += memchr(b'\n', head.get(end..)?)? + 1;
        if !matches!(head.get(end), Some(b' ' | b'\t')) {
            break;
        }
    }
    let (field, rest) = head.split_at(end);
    // All but always the first octet is of a name.
    let empty = field.first().is_none_or(u8::is_ascii_whitespace) && field.trim_ascii().is_empty();
    if empty { None } else { Some((field, rest)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protection_shows_in_fields_and_first_octets() {
        for (message, expected) in [
            ("Subject: x\r\n\r\nhello\r\n", EndToEnd::None),
            ("", EndToEnd::None),
            ("no field at all", EndToEnd::None),
            ("content-TYPE: Multipart/Encrypted; protocol=\"application/pgp-encrypted\"\r\n\r\n", EndToEnd::PgpMime),
            ("Content-Type:\r\n multipart/encrypted\r\n\r\n", EndToEnd::PgpMime),
            ("Content-Type: application/pkcs7-mime;\r\n\tsmime-type=enveloped-data\r\n\r\n", EndToEnd::Smime),
            ("Content-Type: application/pkcs7-mime; smime-type=authEnveloped-data\r\n\r\n", EndToEnd::Smime),
            ("Content-Type: application/pkcs7-mime; smime-type=signed-data\r\n\r\n", EndToEnd::None),
            ("Content-Type: application/x-pkcs7-mime; name=smime.p7m\r\n\r\n", EndToEnd::Unknown),
            ("A: b\r\n\r\nHello,\r\n-----BEGIN PGP MESSAGE-----\r\n\r\nabc\r\n", EndToEnd::PgpInline),
            ("A: b\r\n\r\n> -----BEGIN PGP MESSAGE-----\r\n", EndToEnd::None),
            ("A: b\r\n\r\n-----BEGIN PGP MESSAGE----- is how it begins\r\n", EndToEnd::None),
            // A field of the text, or a second one, counts nothing.
            ("A: b\r\n\r\nContent-Type: multipart/encrypted\r\n", EndToEnd::None),
            ("Content-Type: text/plain\r\nContent-Type: multipart/encrypted\r\n\r\n", EndToEnd::None),
        ] {
            assert_eq!(look(message.as_bytes(), &[]).end_to_end, expected, "{message:?}");
        }
    }

    #[test]
    fn a_field_says_that_mail_is_unwanted() {
        let unwanted = ["X-Spam-Flag=YES", "X-Score=high"].map(|text| text.parse().expect("HEADER=VALUE"));
        for (message, expected) in [
            ("X-Spam-Flag: YES\r\n\r\n", true),
            ("x-spam-flag:\r\n yes, score=9\r\n\r\n", true),
            ("Subject: a\r\nX-Score: high\r\n\r\n", true),
            ("X-Spam-Flag: NO\r\n\r\n", false),
            ("X-Spam-Flag: YESTERDAY\r\n\r\n", false),
            ("X-Spam-Flags: YES\r\n\r\n", false),
            ("Subject: a\r\n\r\nX-Spam-Flag: YES\r\n", false),
        ] {
            assert_eq!(look(message.as_bytes(), &unwanted).unwanted, expected, "{message:?}");
        }
        for wrong in ["", "X-Spam-Flag", "=YES", "X Spam=YES", "X-Spam:=YES"] {
            assert!(wrong.parse::<UnwantedIf>().is_err(), "{wrong}");
        }
    }
}
