//! What the head of a message says while it passes: whether it is unwanted, and whether it is protected from end to end.

use memchr::{memchr, memrchr};
use smtp_proto::tls::EndToEnd;

use smtp_audit::{UnwantedIf, end_to_end};

use super::letter::hold;

/// So much of a message is looked at.
pub(crate) const LOOKED_AT: usize = 32 << 10;

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) unwanted: bool,
    pub(crate) end_to_end: EndToEnd,
}

/// Looks at the first [`LOOKED_AT`] octets of a message while they come: what was looked at is not held.
#[derive(Debug, Default)]
pub(crate) struct Looking {
    came: usize,
    /// A field that may go on, or a line that has not ended.
    held: Vec<u8>,
    /// So much of a field that is held was searched for its end.
    searched: usize,
    fields: Fields,
    /// The fields have ended.
    in_text: bool,
    /// In the text, the beginning of something encrypted was seen.
    encrypted: bool,
}

/// What fields say.
#[derive(Clone, Debug, Default)]
struct Fields {
    unwanted: bool,
    /// Of the first such field.
    content_type: Option<Box<[u8]>>,
}

impl Looking {
    /// In this memory, which may have served another.
    pub(crate) fn within(held: Vec<u8>) -> Self {
        Self { held, ..Self::default() }
    }

    /// Gives it back, empty.
    pub(crate) fn into_memory(mut self) -> Vec<u8> {
        self.held.clear();
        self.held
    }

    /// A piece of the text.
    pub(crate) fn add(&mut self, text: &[u8], unwanted_if: &[UnwantedIf]) {
        let text = text.get(..LOOKED_AT.saturating_sub(self.came).min(text.len())).unwrap_or_default();
        self.came += text.len();
        if self.held.is_empty() {
            let rest = self.look(text, unwanted_if);
            hold(&mut self.held, rest);
            return;
        }
        hold(&mut self.held, text);
        // Without an end of line no field ends, and no line.
        if memchr(b'\n', text).is_some() {
            let mut held = std::mem::take(&mut self.held);
            let left = self.look(&held, unwanted_if).len();
            held.drain(..held.len() - left);
            self.held = held;
        }
    }

    /// What was seen, if this was all.
    pub(crate) fn seen(&self, unwanted_if: &[UnwantedIf]) -> Seen {
        let (mut fields, mut rest) = (self.fields.clone(), &self.held[..]);
        if !self.in_text {
            while let Some((field, after)) = end_of_field(rest, 0).map(|end| rest.split_at(end))
                && is_field(field)
            {
                fields.note(field, unwanted_if);
                rest = after;
            }
        }
        let end_to_end = if self.encrypted { EndToEnd::PgpInline } else { fields.end_to_end(rest) };
        Seen { unwanted: fields.unwanted, end_to_end }
    }

    /// Looks at all fields and lines that are whole; returns the rest.
    fn look<'t>(&mut self, mut text: &'t [u8], unwanted_if: &[UnwantedIf]) -> &'t [u8] {
        while !self.in_text {
            // A line that goes on with it may follow.
            let searched = std::mem::take(&mut self.searched);
            let Some(end) = end_of_field(text, searched).filter(|end| *end < text.len()) else {
                // From the line end that may be the field's own: however many lines it goes on in, each is looked at once.
                self.searched = memrchr(b'\n', text).unwrap_or_default();
                return text;
            };
            let (field, after) = text.split_at(end);
            if is_field(field) {
                if is_asked(field, unwanted_if) {
                    self.fields.note(field, unwanted_if);
                }
                text = after;
            } else {
                self.in_text = true;
            }
        }
        let (lines, rest) = text.split_at(memrchr(b'\n', text).map_or(0, |end| end + 1));
        self.encrypted |= self.fields.end_to_end(lines) == EndToEnd::PgpInline;
        rest
    }
}

impl Fields {
    fn note(&mut self, field: &[u8], unwanted_if: &[UnwantedIf]) {
        let Some(colon) = memchr(b':', field) else { return };
        let (name, value) = (field[..colon].trim_ascii_end(), field[colon + 1..].trim_ascii());
        self.unwanted |= unwanted_if.iter().any(|unwanted| unwanted.holds(name, value));
        if name.eq_ignore_ascii_case(b"Content-Type") && self.content_type.is_none() {
            self.content_type = Some(value.into());
        }
    }

    fn end_to_end(&self, text: &[u8]) -> EndToEnd {
        end_to_end(self.content_type.as_deref().unwrap_or_default(), text)
    }
}

/// Where the first line ends, with those that it goes on in (RFC 5322 2.2.3). Before `end` it does not.
fn end_of_field(head: &[u8], mut end: usize) -> Option<usize> {
    loop {
        end += memchr(b'\n', head.get(end..)?)? + 1;
        if !matches!(head.get(end), Some(b' ' | b'\t')) {
            return Some(end);
        }
    }
}

/// Nearly all fields are of no interest, and that their first octet says.
#[inline]
fn is_asked(field: &[u8], unwanted_if: &[UnwantedIf]) -> bool {
    let asked = |first: &u8| {
        first.eq_ignore_ascii_case(&b'C')
            || unwanted_if.iter().any(|unwanted| unwanted.first().eq_ignore_ascii_case(first))
    };
    field.first().is_some_and(asked)
}

/// The head ends with an empty line.
fn is_field(line: &[u8]) -> bool {
    // All but always the first octet is of a name.
    line.first().is_some_and(|first| !first.is_ascii_whitespace()) || !line.trim_ascii().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(message: &[u8], unwanted_if: &[UnwantedIf]) -> Seen {
        let mut looking = Looking::default();
        looking.add(message, unwanted_if);
        looking.seen(unwanted_if)
    }

    /// The same of a message that lies there whole, in the simplest way.
    fn look_at_whole(message: &[u8], unwanted_if: &[UnwantedIf]) -> Seen {
        let mut rest = &message[..message.len().min(LOOKED_AT)];
        let (mut unwanted, mut content_type) = (false, None);
        loop {
            let mut end = 0;
            while let Some(at) = rest[end..].iter().position(|octet| *octet == b'\n') {
                end += at + 1;
                if !matches!(rest.get(end), Some(b' ' | b'\t')) {
                    break;
                }
            }
            let (field, after) = rest.split_at(end);
            let unfinished = !field.ends_with(b"\n") || matches!(after.first(), Some(b' ' | b'\t'));
            if unfinished || field.trim_ascii().is_empty() {
                break;
            }
            if let Some(colon) = field.iter().position(|octet| *octet == b':') {
                let (name, value) = (field[..colon].trim_ascii_end(), field[colon + 1..].trim_ascii());
                unwanted |= unwanted_if.iter().any(|unwanted| unwanted.holds(name, value));
                if name.eq_ignore_ascii_case(b"content-type") {
                    content_type = content_type.or(Some(value));
                }
            }
            rest = after;
        }
        Seen { unwanted, end_to_end: end_to_end(content_type.unwrap_or_default(), rest) }
    }

    /// Text from a few parts, which make every kind of end and of beginning.
    fn mixed(mut number: u64) -> Vec<u8> {
        const PARTS: [&[u8]; 12] = [
            b"A: b\r\n",
            b"\r\n",
            b" ",
            b"\n",
            b"Content-Type: multipart/encrypted",
            b"content-type: application/pkcs7-mime; smime-type=signed-data\r\n",
            b"-----BEGIN PGP MESSAGE-----",
            b"-----BEGIN PGP MESSAGE-----\r\n",
            b"x",
            b"X-Spam-Flag: YES",
            b"\r\n\r\n",
            b"\t-",
        ];
        let mut text = Vec::new();
        for _ in 0..10 {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.extend_from_slice(PARTS[(number >> 33) as usize % PARTS.len()]);
        }
        text
    }

    #[test]
    fn in_whatever_pieces_it_comes_the_same_is_seen() {
        let unwanted = ["X-Spam-Flag=YES".parse().expect("HEADER=VALUE")];
        for number in 0..20_000 {
            let text = mixed(number);
            let expected = look_at_whole(&text, &unwanted);
            assert_eq!(look(&text, &unwanted), expected, "{:?}", text.escape_ascii().to_string());
            let size = usize::try_from(number % 40).expect("small") + 1;
            let mut looking = Looking::default();
            text.chunks(size).for_each(|piece| looking.add(piece, &unwanted));
            let told = text.escape_ascii().to_string();
            assert_eq!(looking.seen(&unwanted), expected, "{told:?} by {size}");
        }
    }

    #[test]
    fn what_was_looked_at_is_not_held_and_beyond_the_first_octets_nothing_is_seen() {
        let armour = b"-----BEGIN PGP MESSAGE-----\r\n";
        for before in LOOKED_AT - armour.len() - 4..LOOKED_AT + 4 {
            let mut text = b"A: b\r\n\r\n".to_vec();
            text.resize(before - 2, b'x');
            text.extend_from_slice(b"\r\n");
            text.extend_from_slice(armour);
            let expected = look_at_whole(&text, &[]);
            for size in [7, 100, 4096, 65_536] {
                let mut looking = Looking::default();
                text.chunks(size).for_each(|piece| looking.add(piece, &[]));
                assert_eq!(looking.seen(&[]), expected, "{before} by {size}");
            }
        }
        let mut looking = Looking::default();
        for _ in 0..300 {
            looking.add(b"A: b\r\n", &[]);
            assert!(looking.held.len() <= 6, "{}", looking.held.len());
        }
        looking.add(b"\r\nhello\r\n", &[]);
        assert_eq!(looking.held, b"");
    }

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
