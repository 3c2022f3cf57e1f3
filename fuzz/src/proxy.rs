//! The PROXY header: bounds, pieces, and that what was read can be written and read again.

use smtp_proto::proxy::{MAX_V2, ProxyError, Tlv, parse};

/// A prefix is never told otherwise than the whole; what was read is written the same.
pub fn run(data: &[u8]) {
    let whole = parse(data);
    for cut in 0..data.len().min(300) {
        let part = parse(&data[..cut]);
        assert!(part == Ok(None) || part == whole, "cut at {cut}: {part:?}, {whole:?}");
    }
    let Ok(Some((header, used))) = whole else {
        assert!(whole != Ok(None) || data.len() < MAX_V2);
        return;
    };
    assert!(used <= data.len() && used <= MAX_V2);
    let tlvs: Vec<_> = header.tlvs.collect();
    let mut wire = Vec::new();
    header.addresses.write_v2(&tlvs, &mut wire).expect("what was read can be written");
    let (again, length) = parse(&wire).expect("good").expect("complete");
    assert_eq!((again.addresses, length), (header.addresses, wire.len()));
    let sums = |tlv: &Tlv<'_>| !matches!(tlv, Tlv::Crc32c(_));
    assert!(again.tlvs.filter(sums).eq(tlvs.iter().copied().filter(sums)));
    if header.version == 1 {
        wire.clear();
        header.addresses.write_v1(&mut wire).expect("what was read can be written");
        assert_eq!(parse(&wire).expect("good").expect("complete").0, header);
    } else {
        assert_ne!(header.addresses.write_v1(&mut wire), Err(ProxyError::TooLong));
    }
}
