//! One hash for names and addresses.

/// The same on every machine, so that ledgers merge: FNV-1a, then mixed (the finaliser of SplitMix64), for FNV's high
/// bits alone are not uniform. Whoever chooses names can choose their hashes; what that buys is a place in the sample.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let mut hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}
