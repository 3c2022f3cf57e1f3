//! Where a run of good text stops: the search that reading and writing share.
//!
//! Octets are looked at in lanes of three neighbours, first one by one, then 16 lanes at a time, then 128, in loops that
//! the compiler turns into vector instructions (bools, not bytes, or it does not). What an octet costs is bounded whatever
//! the octets: only the last block is looked at again.

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

/// The octets walked first: where stops are dense nothing is faster.
const WALK: usize = 8;
/// The octets then looked at together.
const NEAR: usize = 16;
/// The octets looked at together after so many without a stop.
const FAR: usize = 128;

/// Looks through `text`, which does not follow a CR: for flaws if `FLAWS`, for dots if `DOTS`.
#[inline]
pub(super) fn stop<const FLAWS: bool, const DOTS: bool>(text: &[u8]) -> Stop {
    match walk::<FLAWS, DOTS>(text, 0, WALK) {
        Ok(at) => fly::<FLAWS, DOTS>(text, at),
        Err(stop) => stop,
    }
}

/// An octet at a time, from `at`, which does not follow a CR, to `until` or just behind it.
#[inline]
fn walk<const FLAWS: bool, const DOTS: bool>(text: &[u8], mut at: usize, until: usize) -> Result<usize, Stop> {
    while at < until {
        if text.get(at).is_some_and(|octet| *octet > b'\r') {
            at += 1;
            continue;
        }
        match text.get(at..).unwrap_or_default() {
            [b'\r', b'\n', b'.', ..] if DOTS => return Err(Stop::Dot(at + 2)),
            [b'\r', b'\n', ..] => at += 2,
            [b'\r'] => return Err(Stop::LastCr(at)),
            [b'\r', ..] if FLAWS => return Err(Stop::Flaw(TextFlaw::BareCr, at)),
            [b'\n', ..] if FLAWS => return Err(Stop::Flaw(TextFlaw::BareLf, at)),
            [0, ..] if FLAWS => return Err(Stop::Flaw(TextFlaw::Nul, at)),
            [_, ..] => at += 1,
            [] => return Err(Stop::End(text.ends_with(b"\r\n"))),
        }
    }
    Ok(at)
}

/// Many octets at a time, from `at`, before which there is an octet that is not CR.
#[inline(never)]
fn fly<const FLAWS: bool, const DOTS: bool>(text: &[u8], at: usize) -> Stop {
    // A lane sees the LF behind its octet: only the lane before `at` sees a LF there.
    let mut at = at - 1;
    loop {
        let near = clear::<FLAWS, DOTS, NEAR>(text, at, FAR / NEAR);
        at += near;
        if near < FAR {
            break;
        }
        at += clear::<FLAWS, DOTS, FAR>(text, at, usize::MAX);
    }
    // Within the next octets there is a stop or the end; a LF right here may have its CR before it.
    if at > 0 && text.get(at - 1) == Some(&b'\r') {
        at -= 1;
    }
    match walk::<FLAWS, DOTS>(text, at, usize::MAX) {
        Ok(_) => Stop::End(false),
        Err(stop) => stop,
    }
}

/// How many lanes from `at` on hold no stop, in whole blocks of N, of which at most `blocks` are looked at.
#[inline]
fn clear<const FLAWS: bool, const DOTS: bool, const N: usize>(text: &[u8], at: usize, blocks: usize) -> usize {
    let from = |at| text.get(at..).unwrap_or_default().as_chunks::<N>().0;
    let mut clear = 0;
    for ((x, y), z) in from(at).iter().zip(from(at + 1)).zip(from(at + 2)).take(blocks) {
        let (mut hit, mut least) = (false, u8::MAX);
        for n in 0..N {
            let (cr, lf) = (x[n] == b'\r', y[n] == b'\n');
            // Where flaws are looked for too, LF will do: without its CR it is a stop itself.
            hit |= DOTS & if FLAWS { lf } else { cr & lf } & (z[n] == b'.');
            hit |= FLAWS & (cr ^ lf);
            if N == NEAR {
                hit |= FLAWS & (x[n] == 0);
            } else {
                least = least.min(x[n]);
            }
        }
        if hit || FLAWS && least == 0 {
            break;
        }
        clear += N;
    }
    clear
}
