//! What marks a message: a field by which it is unwanted, and what protects it from end to end. Fields only, and the
//! first octets of the text; nothing is decrypted or kept.

use memchr::memchr;
use smtp_proto::tls::EndToEnd;

/// RFC 9580 6.2: on a line of its own.
const ARMOUR: &[u8] = b"-----BEGIN PGP MESSAGE-----";

/// A field and its value by which mail counts as unwanted, such as `X-Spam-Flag=YES`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnwantedIf {
    name: String,
    value: String,
}

impl UnwantedIf {
    /// The first octet of the field's name.
    #[must_use]
    pub fn first(&self) -> u8 {
        self.name.as_bytes()[0]
    }

    /// The value, or its first word, whatever the case.
    #[must_use]
    pub fn holds(&self, name: &[u8], value: &[u8]) -> bool {
        name.eq_ignore_ascii_case(self.name.as_bytes())
            && starts(value, self.value.as_bytes())
            && !value.get(self.value.len()).is_some_and(u8::is_ascii_alphanumeric)
    }
}

impl std::str::FromStr for UnwantedIf {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // RFC 5322 3.6.8.
        let is_name =
            |name: &str| !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_graphic() && octet != b':');
        match text.split_once('=') {
            Some((name, value)) if is_name(name) => Ok(Self { name: name.into(), value: value.trim().into() }),
            _ => Err("give HEADER=VALUE, such as X-Spam-Flag=YES".into()),
        }
    }
}

/// What protects a message whatever its hops did: by its Content-Type, which may still be folded, and the beginning of
/// its text.
#[must_use]
pub fn end_to_end(content_type: &[u8], text: &[u8]) -> EndToEnd {
    let holds = |word: &[u8]| content_type.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word));
    // RFC 3156 4.
    if starts(content_type, b"multipart/encrypted") {
        return EndToEnd::PgpMime;
    }
    if starts(content_type, b"application/pkcs7-mime") || starts(content_type, b"application/x-pkcs7-mime") {
        // RFC 8551 3.2.2: what is only signed, or compressed, can be read by all; where nothing is said, nothing is
        // known. `authEnveloped-data` is among the first (RFC 8551 3.4).
        return if holds(b"enveloped-data") {
            EndToEnd::Smime
        } else if holds(b"smime-type") {
            EndToEnd::None
        } else {
            EndToEnd::Unknown
        };
    }
    if has_armour(text) { EndToEnd::PgpInline } else { EndToEnd::None }
}

/// By its first dash: most lines have none, and one that stands within a line spares the rest of that line the look.
fn has_armour(mut text: &[u8]) -> bool {
    while let Some(dash) = memchr(b'-', text) {
        let (before, line) = text.split_at(dash);
        let (line, rest) = line.split_at(memchr(b'\n', line).map_or(line.len(), |end| end + 1));
        let begins = before.last().is_none_or(|octet| *octet == b'\n');
        if begins && line.strip_prefix(ARMOUR).is_some_and(|rest| rest.trim_ascii().is_empty()) {
            return true;
        }
        text = rest;
    }
    false
}

fn starts(text: &[u8], start: &[u8]) -> bool {
    text.get(..start.len()).is_some_and(|text| text.eq_ignore_ascii_case(start))
}
