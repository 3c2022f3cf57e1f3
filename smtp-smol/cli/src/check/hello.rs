//! TLS 1.0 and 1.1, which the TLS library does not speak: a ClientHello made by hand, and the first words of the answer. No
//! handshake comes of it.

/// `0x0301` is TLS 1.0, `0x0302` TLS 1.1 (RFC 4346 appendix A.1).
pub(super) const TLS10: u16 = 0x0301;
pub(super) const TLS11: u16 = 0x0302;

/// What servers of that age have: ECDHE, DHE and RSA, with AES and 3DES, and SHA-1; and that renegotiation is known to be what it
/// is (RFC 5746 3.3).
const SUITES: [u16; 10] = [0xc009, 0xc00a, 0xc013, 0xc014, 0x0033, 0x0039, 0x002f, 0x0035, 0x000a, 0x00ff];
/// secp256r1, secp384r1, secp521r1 (RFC 8422 5.1.1).
const GROUPS: [u16; 3] = [23, 24, 25];

/// What a server made of a ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It goes on with this version.
    Accepted(u16),
    /// It sent an alert, of this description (RFC 5246 7.2).
    Refused(u8),
    /// It is no answer of TLS.
    NoTls,
}

/// A ClientHello that offers this version and those before it (RFC 2246 7.4.1.2, RFC 4346 7.4.1.2).
pub(super) fn client_hello(version: u16, server_name: Option<&str>, random: [u8; 32]) -> Vec<u8> {
    let mut extensions = Vec::new();
    // RFC 6066 3.
    if let Some(name) = server_name {
        let name = sized16(&[&[0][..], &sized16(name.as_bytes())].concat());
        extension(&mut extensions, 0, &name);
    }
    extension(&mut extensions, 10, &sized16(&numbers(&GROUPS)));
    // RFC 8422 5.1.2: points are not compressed.
    extension(&mut extensions, 11, &[1, 0]);

    let mut body = version.to_be_bytes().to_vec();
    body.extend(random);
    body.push(0); // no session to resume
    body.extend(sized16(&numbers(&SUITES)));
    body.extend([1, 0]); // no compression
    body.extend(sized16(&extensions));

    let mut message = vec![1];
    let [.., high, middle, low] = body.len().to_be_bytes();
    message.extend([high, middle, low]);
    message.extend(body);
    // RFC 5246 appendix E.1: the record bears the oldest version, so that no server stumbles over it.
    let mut record = vec![22];
    record.extend(TLS10.to_be_bytes());
    record.extend(sized16(&message));
    record
}

/// Reads the answer; nothing while it is not all there.
pub(super) fn answer(octets: &[u8]) -> Option<Answer> {
    match *octets {
        // A record of a handshake; in it a ServerHello; in that its version (RFC 5246 7.4.1.3).
        [22, 3, _, _, _, 2, _, _, _, high, low, ..] => Some(Answer::Accepted(u16::from_be_bytes([high, low]))),
        [21, 3, _, 0, 2, _, description, ..] => Some(Answer::Refused(description)),
        [] | [21 | 22] | [21, 3] | [21, 3, _] | [21, 3, _, 0] | [21, 3, _, 0, 2] | [21, 3, _, 0, 2, _] => None,
        [22, 3, ref rest @ ..] if rest.len() < 9 && rest.get(3).is_none_or(|kind| *kind == 2) => None,
        _ => Some(Answer::NoTls),
    }
}

fn extension(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend(kind.to_be_bytes());
    out.extend(sized16(value));
}

fn numbers(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

/// Behind its length in two octets.
fn sized16(octets: &[u8]) -> Vec<u8> {
    let [.., high, low] = octets.len().to_be_bytes();
    [&[high, low], octets].concat()
}

#[cfg(test)]
mod tests {
    use smtp_proto::tls::{HelloReader, TlsVersion};

    use super::*;

    // Read by the core, whose tests have real ones.
    #[test]
    fn what_is_made_is_a_client_hello_of_its_version() {
        for (version, expected) in [(TLS10, TlsVersion::Tls10), (TLS11, TlsVersion::Tls11)] {
            for name in [None, Some("mx.example.net")] {
                let octets = client_hello(version, name, [7; 32]);
                let mut reader = HelloReader::default();
                assert_eq!(reader.feed(&octets[..octets.len() - 1]), Ok(false), "no octet too many");
                assert_eq!(reader.feed(&octets[octets.len() - 1..]), Ok(true));
                let hello = reader.hello().expect("complete");
                assert_eq!(hello.offered().version, expected);
                assert_eq!(hello.server_name, name);
                assert!(hello.cipher_suites.eq(SUITES) && hello.groups.eq(GROUPS));
            }
        }
    }

    #[test]
    fn answers_are_read_however_much_of_them_has_come() {
        // What OpenSSL 3 sends: a ServerHello of TLS 1.1, and the alerts protocol_version and handshake_failure.
        let mut accepted = b"\x16\x03\x02\x00\x41\x02\x00\x00\x3d\x03\x02".to_vec();
        accepted.extend([9; 32]);
        for (octets, expected, needed) in [
            (&accepted[..], Answer::Accepted(TLS11), 11),
            (b"\x15\x03\x01\x00\x02\x02\x46", Answer::Refused(70), 7),
            (b"\x15\x03\x01\x00\x02\x02\x28", Answer::Refused(40), 7),
        ] {
            for length in 0..=octets.len() {
                let read = answer(&octets[..length]);
                assert_eq!(read, (length >= needed).then_some(expected), "{length} octets of {octets:x?}");
            }
        }
        // A reply in plaintext, another message than ServerHello, an alert of no length that alerts have.
        for octets in
            [&b"2"[..], b"500 5.5.1 What?\r\n", b"\x16\x03\x01\x00\x04\x0e", b"\x15\x03\x01\x00\x03", b"\x16\x02"]
        {
            assert_eq!(answer(octets), Some(Answer::NoTls), "{octets:x?}");
        }
    }
}
