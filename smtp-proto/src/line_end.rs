//! Where a line ends.

use memchr::memchr;

/// Where the first LF stands. Most reads are one short command: eight octets at a time cost less there than a call of a search
/// that is made for long ones.
#[inline]
pub(crate) fn line_end(octets: &[u8]) -> Option<usize> {
    const SHORT: usize = 32;
    if octets.len() > SHORT {
        return memchr(b'\n', octets);
    }
    let mut rest = octets;
    while let Some((eight, behind)) = rest.split_first_chunk() {
        let found = ends(u64::from_le_bytes(*eight));
        if found != 0 {
            return Some(octets.len() - rest.len() + (found.trailing_zeros() / 8) as usize);
        }
        rest = behind;
    }
    // The last eight, of which some have been looked at; of less than eight the first four and the last.
    let (last, first) = match (octets.last_chunk(), octets.first_chunk(), octets.last_chunk()) {
        (Some(eight), ..) => (u64::from_le_bytes(*eight), 0),
        (None, Some(first), Some(last)) => {
            (u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32, 4)
        }
        _ => return octets.iter().position(|&octet| octet == b'\n'),
    };
    let found = ends(last);
    let at = (found.trailing_zeros() / 8) as usize;
    (found != 0).then(|| if at < first { at } else { octets.len() + at - 8 })
}

/// The high bit of each octet that is LF, exact for the first of them.
#[inline]
const fn ends(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let differs = word ^ (EACH * 0x0a);
    differs.wrapping_sub(EACH) & !differs & EACH << 7
}

#[cfg(test)]
mod tests {
    use super::line_end;

    /// LF at each place of each length, with a second one behind it, and with what differs from it in one bit around it.
    #[test]
    fn the_first_lf_is_found() {
        for length in 0..150 {
            for filler in [b'x', 0, 0x0b, 0x8a, 0x8b, 0xff] {
                let mut octets = [filler; 150];
                assert_eq!(line_end(&octets[..length]), None, "{length} of {filler}");
                for at in 0..length {
                    octets = [filler; 150];
                    octets[at] = b'\n';
                    assert_eq!(line_end(&octets[..length]), Some(at), "at {at} of {length}, {filler}");
                    for second in at + 1..length.min(at + 20) {
                        octets[second] = b'\n';
                        assert_eq!(line_end(&octets[..length]), Some(at), "at {at} and {second} of {length}, {filler}");
                    }
                }
            }
        }
    }
}
