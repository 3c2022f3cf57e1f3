//! Where a run of good text stops: the search that reading and writing share.

use memchr::memchr3;

use super::TextFlaw;

/// The first thing in a text that is not plain content, and the octets before it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// A line that begins with a dot: the octets before the dot, which end in CRLF.
    Dot(usize),
    /// A flaw: the octets before it.
    Flaw(TextFlaw, usize),
    /// The last octet is CR, which the next one makes good or bad.
    LastCr(usize),
    /// None: all of the text is good. Whether it ends in CRLF.
    End(bool),
}

/// Looks through `text`, which does not follow a CR. Dots are looked for if `dots`.
pub(super) fn stop(text: &[u8], dots: bool) -> Stop {
    let mut at = 0;
    while let Some(found) = text.get(at..).and_then(|rest| memchr3(b'\r', b'\n', 0, rest)) {
        let here = at + found;
        match text.get(here..).unwrap_or_default() {
            [b'\r', b'\n', b'.', ..] if dots => return Stop::Dot(here + 2),
            [b'\r', b'\n'] => return Stop::End(true),
            [b'\r', b'\n', ..] => at = here + 2,
            [b'\r'] => return Stop::LastCr(here),
            [b'\r', ..] => return Stop::Flaw(TextFlaw::BareCr, here),
            [b'\n', ..] => return Stop::Flaw(TextFlaw::BareLf, here),
            _ => return Stop::Flaw(TextFlaw::Nul, here),
        }
    }
    Stop::End(false)
}
