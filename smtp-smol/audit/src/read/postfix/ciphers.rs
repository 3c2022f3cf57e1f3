//! What Postfix says of a connection's TLS, once it has said whose it is.

use std::hash::Hasher;

use rustc_hash::FxHasher;
use smtp_proto::tls::TlsVersion;

use crate::read::scan::find;
use crate::read::words::{group, version};

/// What such text says, to be found again: a server says much of each connection, and mostly the same. Text that takes another's
/// place is read anew when it comes again.
#[derive(Debug, Default)]
pub(crate) struct Ciphers(Vec<Cipher>);

/// What such text says.
#[derive(Clone, Debug, Default)]
struct Cipher {
    text: Box<[u8]>,
    version: Option<TlsVersion>,
    group: Option<&'static str>,
}

/// So many places there are.
const PLACES: usize = 1 << 6;
/// Text that is longer is not kept.
const LONGEST: usize = 1 << 8;

impl Ciphers {
    /// Of `TLSv1.3 with cipher … key-exchange X25519 …` the version and the group of the key exchange, which Postfix says of
    /// TLS 1.3.
    pub(crate) fn find(&mut self, text: &[u8]) -> (Option<TlsVersion>, Option<&'static str>) {
        if text.len() > LONGEST {
            return read(text);
        }
        if self.0.is_empty() {
            self.0.resize_with(PLACES, Cipher::default);
        }
        let known = &mut self.0[place(text)];
        if *known.text != *text {
            let (version, group) = read(text);
            *known = Cipher { text: text.into(), version, group };
        }
        (known.version, known.group)
    }
}

fn read(text: &[u8]) -> (Option<TlsVersion>, Option<&'static str>) {
    (version(text), find(text, b"key-exchange ").map(|at| group(&text[at + 13..])))
}

fn place(text: &[u8]) -> usize {
    let mut hasher = FxHasher::default();
    hasher.write(text);
    (hasher.finish() >> 32) as usize % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_again_is_what_is_read() {
        let mut ciphers = Ciphers::default();
        let texts = (0..PLACES * 3).flat_map(|number| {
            [
                "TLSv1.3 with cipher X (256/256 bits) key-exchange X25519",
                "TLSv1.2 with cipher X",
                "SSLv3",
                "",
                "key-exchange P-256",
            ]
            .map(|text| format!("{text} {number} {}", "x".repeat(number * 2)))
        });
        let texts: Vec<_> = texts.chain(["".into()]).collect();
        for text in texts.iter().chain(&texts).map(String::as_bytes) {
            assert_eq!(ciphers.find(text), read(text));
            assert_eq!(ciphers.find(text), read(text));
        }
        assert_eq!(
            ciphers.find(b"TLSv1.3 with cipher X key-exchange X25519"),
            (Some(TlsVersion::Tls13), Some("x25519"))
        );
        assert!(ciphers.0.iter().all(|known| known.text.len() <= LONGEST));
    }
}
