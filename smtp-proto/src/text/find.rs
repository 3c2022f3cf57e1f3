//! Where a run of good text stops: the search that reading and writing share.
//!
//! Octets are looked at in lanes of three neighbours, first one by one, then 16 lanes at a time, then eight vectors, in
//! loops that the compiler turns into vector instructions (bools, not bytes, or it does not). What an octet costs is
//! bounded whatever the octets: only the last block is looked at again.

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
pub(super) const WALK: usize = 4;
/// The octets then looked at together, which is the vector that every target has.
const NEAR: usize = 16;
/// The blocks of `NEAR` without a stop after which larger ones are looked at.
const NEARS: usize = 8;

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
pub(super) fn walk<const FLAWS: bool, const DOTS: bool>(
    text: &[u8],
    mut at: usize,
    until: usize,
) -> Result<usize, Stop> {
    while at < until {
        let Some(&octet) = text.get(at) else { return Err(Stop::End(text.ends_with(b"\r\n"))) };
        at += match octet {
            b'\x0e'.. => 1,
            b'\r' => match (text.get(at + 1), text.get(at + 2)) {
                (Some(b'\n'), Some(b'.')) if DOTS => return Err(Stop::Dot(at + 2)),
                (Some(b'\n'), _) => 2,
                (None, _) => return Err(Stop::LastCr(at)),
                _ if FLAWS => return Err(Stop::Flaw(TextFlaw::BareCr, at)),
                _ => 1,
            },
            b'\n' if FLAWS => return Err(Stop::Flaw(TextFlaw::BareLf, at)),
            0 if FLAWS => return Err(Stop::Flaw(TextFlaw::Nul, at)),
            _ => 1,
        };
    }
    Ok(at)
}

/// How many octets come before the first that is not above CR.
#[inline]
const fn plain(eight: [u8; 8]) -> usize {
    const ONES: u64 = u64::MAX / 0xff;
    let octets = u64::from_le_bytes(eight);
    // An octet below 14 borrows into its own top bit; one above a first such octet may too, which does not matter.
    let below = octets.wrapping_sub(ONES * 14) & !octets & (ONES << 7);
    (below.trailing_zeros() / 8) as usize
}

/// Many octets at a time, from `at`, before which there is an octet that is not CR.
#[inline(never)]
pub(super) fn fly<const FLAWS: bool, const DOTS: bool>(text: &[u8], at: usize) -> Stop {
    // A lane sees the LF behind its octet: only the lane before `at` sees a LF there.
    let mut at = at - 1;
    loop {
        let near = clear::<FLAWS, DOTS, NEAR, NEAR>(text, at, NEARS);
        at += near;
        if near < NEAR * NEARS {
            break;
        }
        at += far::<FLAWS, DOTS>(text, at);
    }
    // Within the next octets there is a stop or the end; a LF right here may have its CR before it.
    if at > 0 && text.get(at - 1) == Some(&b'\r') {
        at -= 1;
    }
    loop {
        while let Some(eight) = text.get(at..).and_then(<[u8]>::first_chunk) {
            at += plain(*eight);
            if text.get(at).is_some_and(|octet| *octet <= b'\r') {
                break;
            }
        }
        match walk::<FLAWS, DOTS>(text, at, at + 1) {
            Ok(beyond) => at = beyond,
            Err(stop) => return stop,
        }
    }
}

/// How many lanes from `at` on hold no stop, in whole blocks of eight of the widest vectors there are.
fn far<const FLAWS: bool, const DOTS: bool>(text: &[u8], at: usize) -> usize {
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    if let Some(avx2) = fearless_simd::Level::new().as_avx2() {
        return fearless_simd::Simd::vectorize(avx2, || clear::<FLAWS, DOTS, 256, 32>(text, at, usize::MAX));
    }
    clear::<FLAWS, DOTS, 128, NEAR>(text, at, usize::MAX)
}

/// How many lanes from `at` on hold no stop, in whole blocks of `N` (vectors of `V`), of which at most `blocks` are
/// looked at.
#[inline(always)]
fn clear<const FLAWS: bool, const DOTS: bool, const N: usize, const V: usize>(
    text: &[u8],
    at: usize,
    blocks: usize,
) -> usize {
    let mut clear = 0;
    for (x, y, z) in lanes::<N>(text, at).take(blocks) {
        let (mut hit, mut least) = ([false; V], [u8::MAX; V]);
        let neighbours = y.as_chunks::<V>().0.iter().zip(z.as_chunks::<V>().0);
        for (x, (y, z)) in x.as_chunks::<V>().0.iter().zip(neighbours) {
            for n in 0..V {
                hit[n] |= stops::<FLAWS, DOTS>(x[n], y[n], z[n]);
                least[n] = least[n].min(x[n]);
            }
        }
        let mut any = false;
        for n in 0..V {
            any |= hit[n] | FLAWS & (least[n] == 0);
        }
        if any {
            break;
        }
        clear += N;
    }
    clear
}

/// Whether there is a stop other than NUL in a lane.
#[inline(always)]
fn stops<const FLAWS: bool, const DOTS: bool>(x: u8, y: u8, z: u8) -> bool {
    let (cr, lf) = (x == b'\r', y == b'\n');
    // Where flaws are looked for too, LF will do: without its CR it is a stop itself.
    DOTS & if FLAWS { lf } else { cr & lf } & (z == b'.') | FLAWS & (cr ^ lf)
}

/// Blocks of `N` octets from `at` on, each with its neighbours.
#[inline(always)]
fn lanes<const N: usize>(text: &[u8], at: usize) -> impl Iterator<Item = (&[u8; N], &[u8; N], &[u8; N])> {
    let blocks = |at| text.get(at..).unwrap_or_default().as_chunks::<N>().0.iter();
    blocks(at).zip(blocks(at + 1)).zip(blocks(at + 2)).map(|((x, y), z)| (x, y, z))
}
