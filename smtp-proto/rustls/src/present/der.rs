//! As much of DER (X.690) as it takes to find out what kind of key a certificate has.

/// The next element of `rest`: its tag, and what it holds. `rest` goes on behind it. `None` where it is cut short, or
/// longer than 64 KiB.
fn next<'d>(rest: &mut &'d [u8]) -> Option<(u8, &'d [u8])> {
    let (tag, length, behind) = match **rest {
        [tag, length @ ..=0x7f, ref behind @ ..] => (tag, usize::from(length), behind),
        [tag, 0x81, length, ref behind @ ..] => (tag, usize::from(length), behind),
        [tag, 0x82, high, low, ref behind @ ..] => (tag, usize::from(u16::from_be_bytes([high, low])), behind),
        _ => return None,
    };
    let (value, behind) = behind.split_at_checked(length)?;
    *rest = behind;
    Some((tag, value))
}

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
const INTEGER: u8 = 0x02;

/// A SubjectPublicKeyInfo (RFC 5280 section 4.1): what its AlgorithmIdentifier holds, and the key.
pub(crate) fn public_key(mut info: &[u8]) -> Option<(&[u8], &[u8])> {
    let (SEQUENCE, mut info) = next(&mut info)? else { return None };
    let (SEQUENCE, algorithm) = next(&mut info)? else { return None };
    let (BIT_STRING, [0, key @ ..]) = next(&mut info)? else { return None };
    Some((algorithm, key))
}

/// How many bits the modulus of an RSAPublicKey has (RFC 8017 appendix A.1.1).
pub(crate) fn rsa_bits(mut key: &[u8]) -> Option<usize> {
    let (SEQUENCE, mut key) = next(&mut key)? else { return None };
    let (INTEGER, modulus) = next(&mut key)? else { return None };
    let first = modulus.iter().position(|octet| *octet != 0)?;
    let modulus = modulus.get(first..)?;
    Some(modulus.len() * 8 - modulus.first()?.leading_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_taken_apart_and_never_past_their_end() {
        let mut rest = &[0x30, 0x02, 0x05, 0x00, 0x02, 0x81, 0x01, 0x09, 0x04, 0x82, 0x00, 0x00][..];
        assert_eq!(next(&mut rest), Some((0x30, &[5, 0][..])));
        assert_eq!(next(&mut rest), Some((0x02, &[9][..])));
        assert_eq!(next(&mut rest), Some((0x04, &[][..])));
        assert_eq!(next(&mut rest), None);
        for cut in [&[0x30][..], &[0x30, 2, 0], &[0x30, 0x81], &[0x30, 0x82, 1], &[0x30, 0x83, 0, 0, 0], &[0x30, 0x80]]
        {
            assert_eq!(next(&mut &*cut), None, "{cut:x?}");
        }
    }

    #[test]
    fn bits_of_a_modulus_are_counted_without_leading_zeros() {
        let key = |modulus: &[u8]| {
            let length = u8::try_from(modulus.len()).expect("short");
            [&[SEQUENCE, length + 5, INTEGER, length], modulus, &[INTEGER, 1, 3]].concat()
        };
        for (modulus, bits) in [(&[0, 0x80, 0][..], Some(16)), (&[0x01, 0], Some(9)), (&[0], None), (&[], None)] {
            assert_eq!(rsa_bits(&key(modulus)), bits, "{modulus:x?}");
        }
    }
}
