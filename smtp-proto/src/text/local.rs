//! Line ends as local stores have them: LF for CRLF, and every other octet as it is.

use memchr::memchr;

/// Turns each CRLF of a text into LF, whatever the pieces that the text comes in. A CR or LF by itself stays what it is.
///
/// ```
/// use smtp_proto::text::LocalNewlines;
///
/// let (mut newlines, mut stored) = (LocalNewlines::default(), Vec::new());
/// for piece in [&b"A: b\r\n\r"[..], b"\nText\r\n"] {
///     newlines.convert(piece, &mut |octets| stored.extend_from_slice(octets));
/// }
/// newlines.finish(&mut |octets| stored.extend_from_slice(octets));
/// assert_eq!(stored, b"A: b\n\nText\n");
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalNewlines {
    /// A CR has come last, and may belong to a CRLF.
    cr: bool,
}

impl LocalNewlines {
    /// Gives the octets to be stored for the next piece, as slices of it.
    pub fn convert(&mut self, mut piece: &[u8], put: &mut dyn FnMut(&[u8])) {
        let Some(first) = piece.first() else { return };
        if core::mem::take(&mut self.cr) && *first != b'\n' {
            put(b"\r");
        }
        let mut search = 0;
        while let Some(at) = memchr(b'\r', piece.get(search..).unwrap_or_default()).map(|at| search + at) {
            match piece.get(at + 1) {
                Some(b'\n') => {
                    put(piece.get(..at).unwrap_or_default());
                    piece = piece.get(at + 1..).unwrap_or_default();
                    search = 1;
                }
                Some(_) => search = at + 1,
                None => {
                    self.cr = true;
                    piece = piece.get(..at).unwrap_or_default();
                    break;
                }
            }
        }
        put(piece);
    }

    /// The end of the text: a CR that waited for its LF is one by itself.
    pub fn finish(&mut self, put: &mut dyn FnMut(&[u8])) {
        if core::mem::take(&mut self.cr) {
            put(b"\r");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::LocalNewlines;
    use alloc::vec::Vec;

    #[test]
    fn only_crlf_changes_at_every_split() {
        for (text, expected) in [
            (&b"a\r\nb\r\n"[..], &b"a\nb\n"[..]),
            (b"\r\n\r\n", b"\n\n"),
            (b"a\rb\nc\n\r\r\n\r", b"a\rb\nc\n\r\n\r"),
            (b"\xe9\r\n\0\r\r", b"\xe9\n\0\r\r"),
            (b"\r", b"\r"),
            (b"", b""),
        ] {
            for first in 0..=text.len() {
                for second in first..=text.len() {
                    let (mut newlines, mut out) = (LocalNewlines::default(), Vec::new());
                    let pieces = [&text[..first], &text[first..second], &text[second..]];
                    pieces.iter().for_each(|piece| newlines.convert(piece, &mut |part| out.extend_from_slice(part)));
                    newlines.finish(&mut |part| out.extend_from_slice(part));
                    assert_eq!(out, expected, "{} cut at {first} and {second}", text.escape_ascii());
                }
            }
        }
    }
}
