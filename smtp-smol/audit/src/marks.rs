//! What marks a message: a field by which it is unwanted, and what protects it from end to end. Fields only, and the
//! first octets of the text; nothing is decrypted or kept.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use smtp_proto::tls::EndToEnd;

/// RFC 9580 6.2: on a line of its own.
const ARMOUR: &[u8] = b"-----BEGIN PGP MESSAGE-----";
/// Made once: to make it costs half of what looking through a head does.
static ARMOUR_FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(ARMOUR));

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
    let alone = |at: usize| {
        (at == 0 || text[at - 1] == b'\n')
            && text[at + ARMOUR.len()..].iter().take_while(|octet| **octet != b'\n').all(u8::is_ascii_whitespace)
    };
    if ARMOUR_FINDER.find_iter(text).any(alone) { EndToEnd::PgpInline } else { EndToEnd::None }
}

fn starts(text: &[u8], start: &[u8]) -> bool {
    text.get(..start.len()).is_some_and(|text| text.eq_ignore_ascii_case(start))
}
