//! Message text (RFC 5321 4.5.2, RFC 3030), both ways, as slices of what the caller holds; nothing is copied.
//!
//! | on the wire | read by | written by |
//! |---|---|---|
//! | DATA: up to CRLF . CRLF, leading dots doubled | [`Scanner`] | [`Writer::new`] |
//! | BDAT: a given number of octets | [`Counted`], with [`Check`] unless BINARYMIME | [`Writer::unstuffed`] unless BINARYMIME |

mod chunk;
mod find;
mod local;
mod scanner;
mod writer;

use alloc::vec::Vec;

pub use chunk::{Check, Counted};
pub use local::LocalNewlines;
pub use scanner::Scanner;
pub use writer::{Newlines, Writer};

/// Which octets that RFC 5321 2.3.8 forbids in text are tolerated, or were found. They count as content and never end a
/// line. Part of [`Leniencies`](crate::Leniencies).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TextLeniency {
    /// CR that no LF follows.
    pub bare_cr: bool,
    /// LF that no CR precedes.
    pub bare_lf: bool,
    /// The octet NUL (0), which no text may contain without BINARYMIME.
    pub nul: bool,
}

impl TextLeniency {
    const ALL: Self = Self { bare_cr: true, bare_lf: true, nul: true };
    const NONE: Self = Self { bare_cr: false, bare_lf: false, nul: false };

    const fn with(mut self, flaw: TextFlaw) -> Self {
        match flaw {
            TextFlaw::BareCr => self.bare_cr = true,
            TextFlaw::BareLf => self.bare_lf = true,
            TextFlaw::Nul => self.nul = true,
            TextFlaw::EightBit | TextFlaw::LongLine => {}
        }
        self
    }

    const fn is_none(self) -> bool {
        !self.bare_cr && !self.bare_lf && !self.nul
    }

    pub(crate) const fn lets_pass(self, flaw: TextFlaw) -> bool {
        match flaw {
            TextFlaw::BareCr => self.bare_cr,
            TextFlaw::BareLf => self.bare_lf,
            TextFlaw::Nul => self.nul,
            TextFlaw::EightBit | TextFlaw::LongLine => false,
        }
    }
}

/// What is wrong with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum TextFlaw {
    /// CR without LF (RFC 5321 2.3.8).
    #[error("a CR without LF")]
    BareCr,
    /// LF without CR (RFC 5321 2.3.8).
    #[error("a LF without CR")]
    BareLf,
    /// NUL (RFC 5321 4.5.2, RFC 6152).
    #[error("a NUL")]
    Nul,
    /// An octet beyond ASCII, in a text that is not declared to hold any, for a server that does not take 8BITMIME
    /// (RFC 6152 3). Found by the client alone.
    #[error("octets beyond ASCII, which the server does not take or was not told of")]
    EightBit,
    /// A line of more than 998 octets without its CRLF (RFC 5321 4.5.3.1.6). Found by the client alone.
    #[error("a line of more than 998 octets")]
    LongLine,
}

/// What was found at the front of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan<'i> {
    /// Text, dots removed; taken off the input, never empty.
    Chunk(&'i [u8]),
    /// More is needed; at most two octets are left in the input, which the caller keeps.
    Need,
    /// The end of the text, or of the chunk, has been taken off.
    End,
}

/// Takes `n` octets off the front of `input`.
#[inline]
fn take<'i>(input: &mut &'i [u8], n: usize) -> &'i [u8] {
    let (taken, rest) = match input.split_at_checked(n) {
        Some(parts) => parts,
        None => all(input),
    };
    *input = rest;
    taken
}

/// Appends `slice`, which may be the front of `text`: then a short one is copied by a length that is known, without a call.
#[inline]
pub(crate) fn append(out: &mut Vec<u8>, slice: &[u8], text: &[u8]) {
    const SHORT: usize = 16;
    match text.first_chunk::<SHORT>() {
        Some(short) if slice.len() <= SHORT && core::ptr::eq(slice.as_ptr(), text.as_ptr()) => {
            let end = out.len() + slice.len();
            out.extend_from_slice(short);
            out.truncate(end);
        }
        _ => out.extend_from_slice(slice),
    }
}

/// Out of line, so that `take` is a branch that is never taken and not a choice made each time.
#[cold]
const fn all(input: &[u8]) -> (&[u8], &[u8]) {
    (input, &[])
}
