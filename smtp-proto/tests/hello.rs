//! The ClientHello as real clients send it, as it is built here, and as nobody should send it.

use std::path::Path;

use proptest::prelude::*;
use smtp_proto::tls::{ClientHello, HelloError, HelloReader, MOST_HELLO_OCTETS, TlsOffer, TlsVersion};

/// What a test compares, owned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    legacy_version: u16,
    versions: Vec<u16>,
    suites: Vec<u16>,
    groups: Vec<u16>,
    schemes: Vec<u16>,
    name: Option<String>,
    protocols: Vec<Vec<u8>>,
}

impl From<ClientHello<'_>> for Seen {
    fn from(hello: ClientHello<'_>) -> Self {
        Self {
            legacy_version: hello.legacy_version,
            versions: hello.versions.collect(),
            suites: hello.cipher_suites.collect(),
            groups: hello.groups.collect(),
            schemes: hello.signature_schemes.collect(),
            name: hello.server_name.map(Into::into),
            protocols: hello.protocols.map(Into::into).collect(),
        }
    }
}

fn read(octets: &[u8]) -> Result<Option<Seen>, HelloError> {
    let mut reader = HelloReader::default();
    Ok(reader.feed(octets)?.then(|| Seen::from(reader.hello().expect("complete"))))
}

fn vector8(value: &[u8]) -> Vec<u8> {
    [&[u8::try_from(value.len()).expect("short")], value].concat()
}

fn vector16(value: &[u8]) -> Vec<u8> {
    [&u16::try_from(value.len()).expect("short").to_be_bytes(), value].concat()
}

fn numbers(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

fn extension(kind: u16, value: &[u8]) -> Vec<u8> {
    [kind.to_be_bytes().to_vec(), vector16(value)].concat()
}

/// The message of a handshake, with its type and length.
fn message(seen: &Seen, others: &[u8]) -> Vec<u8> {
    let mut extensions = others.to_vec();
    if let Some(name) = &seen.name {
        let entry = [vec![0], vector16(name.as_bytes())].concat();
        extensions.extend(extension(0, &vector16(&entry)));
    }
    for (kind, list) in [(10, &seen.groups), (13, &seen.schemes)] {
        if !list.is_empty() {
            extensions.extend(extension(kind, &vector16(&numbers(list))));
        }
    }
    if !seen.protocols.is_empty() {
        let list: Vec<u8> = seen.protocols.iter().flat_map(|name| vector8(name)).collect();
        extensions.extend(extension(16, &vector16(&list)));
    }
    if !seen.versions.is_empty() {
        extensions.extend(extension(43, &vector8(&numbers(&seen.versions))));
    }
    let mut body = seen.legacy_version.to_be_bytes().to_vec();
    body.extend([7; 32]);
    body.extend(vector8(&[9; 32]));
    body.extend(vector16(&numbers(&seen.suites)));
    body.extend(vector8(&[0]));
    if !extensions.is_empty() {
        body.extend(vector16(&extensions));
    }
    let length = u32::try_from(body.len()).expect("short").to_be_bytes();
    [&[1], &length[1..], &body].concat()
}

/// In records of so many octets.
fn records(message: &[u8], most: usize) -> Vec<u8> {
    message.chunks(most).flat_map(|piece| [vec![22, 3, 1], vector16(piece)].concat()).collect()
}

fn real(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/hello").join(name);
    std::fs::read(path).expect("a ClientHello that was recorded")
}

#[test]
fn real_clients_offer_what_they_were_told_to() {
    for (name, version, post_quantum) in [
        ("openssl-tls1", TlsVersion::Tls10, false),
        ("openssl-tls1_1", TlsVersion::Tls11, false),
        ("openssl-tls1_2", TlsVersion::Tls12, false),
        ("openssl-tls1_3", TlsVersion::Tls13, false),
        ("openssl-default", TlsVersion::Tls13, false),
        ("openssl-one-group", TlsVersion::Tls12, false),
        ("curl", TlsVersion::Tls13, false),
        ("curl-max-tls1_2", TlsVersion::Tls12, false),
        ("python", TlsVersion::Tls13, false),
    ] {
        let octets = real(name);
        let mut reader = HelloReader::default();
        assert_eq!(reader.feed(&octets), Ok(true), "{name}");
        let hello = reader.hello().expect("complete");
        assert_eq!(hello.offered(), TlsOffer::new(version, post_quantum), "{name}");
        let told = hello.server_name;
        match name {
            "openssl-tls1" | "openssl-tls1_3" | "python" => assert_eq!(told, Some("mx.example.net"), "{name}"),
            "openssl-one-group" => assert!(hello.groups.eq([25]), "secp521r1 alone"),
            "openssl-default" => assert!(hello.protocols.eq([&b"smtp"[..], b"h2"])),
            _ => {}
        }
        // RFC 8446 4.2.3: schemes came with TLS 1.2.
        assert_eq!(hello.signature_schemes.count() > 0, version >= TlsVersion::Tls12, "{name}");
        assert!(hello.cipher_suites.count() > 0 && hello.groups.count() > 0, "{name}");
    }
}

/// RFC 5246 appendix E.2: only the version of such a ClientHello matters, since it is refused.
#[test]
fn the_form_of_ssl_2_is_known() {
    let hello = |major, minor| [0x80, 0x2e, 1, major, minor, 0, 0x15, 0, 0, 0, 0x10, 1, 0, 0x80];
    for (octets, version) in
        [(hello(3, 1), TlsVersion::Tls10), (hello(3, 3), TlsVersion::Tls12), (hello(0, 2), TlsVersion::Ssl)]
    {
        let mut reader = HelloReader::default();
        assert_eq!(reader.feed(&octets), Ok(true));
        assert_eq!(reader.hello().expect("complete").offered().version, version);
    }
}

#[test]
fn what_is_no_client_hello_is_told_at_once() {
    let good = message(&Seen { legacy_version: 0x0303, suites: vec![0x2f], ..Seen::default() }, &[]);
    let with = |others: &[u8]| {
        let seen = Seen { legacy_version: 0x0303, suites: vec![0x2f], ..Seen::default() };
        records(&message(&seen, others), 4096)
    };
    let twice = [extension(43, &vector8(&[3, 4])), extension(43, &vector8(&[3, 3]))].concat();
    for (octets, error) in [
        (b"EHLO c.example\r\n".to_vec(), HelloError::NoTls),
        (b"\x16\x02\x00\x00\x10".to_vec(), HelloError::NoTls),
        (b"\0".to_vec(), HelloError::NoTls),
        // An alert; a Finished.
        (b"\x15\x03\x01\x00\x02\x02\x28".to_vec(), HelloError::NoClientHello),
        (b"\x16\x03\x01\x00\x04\x14\x00\x00\x00".to_vec(), HelloError::NoClientHello),
        // Records that are empty, or too long (RFC 8446 5.1).
        (b"\x16\x03\x01\x00\x00".to_vec(), HelloError::Malformed),
        (b"\x16\x03\x01\x40\x01".to_vec(), HelloError::Malformed),
        (b"\x16\x03\x01\x00\x04\x01\xff\xff\xff".to_vec(), HelloError::TooLong),
        // Another record in the middle of the message.
        ([&records(&good[..9], 9)[..], b"\x17\x03\x03\x00\x01"].concat(), HelloError::NoClientHello),
        ([&records(&good[..9], 9)[..], b"GET /"].concat(), HelloError::Malformed),
        // The extension twice (RFC 8446 4.2), an odd list, an empty one, one that is cut short, and octets behind the last.
        (with(&twice), HelloError::Malformed),
        (with(&extension(43, &vector8(&[3, 4, 3]))), HelloError::Malformed),
        (with(&extension(10, &vector16(&[]))), HelloError::Malformed),
        (with(&extension(16, &vector16(&[0]))), HelloError::Malformed),
        (with(&extension(10, &[0, 4, 0, 1])), HelloError::Malformed),
        (with(&[0, 10, 0]), HelloError::Malformed),
    ] {
        let mut reader = HelloReader::default();
        assert_eq!(reader.feed(&octets), Err(error), "{octets:x?}");
        // It stays so, whatever follows.
        assert_eq!(reader.feed(&records(&good, 100)), Err(error));
        assert_eq!(reader.hello(), None);
    }
    assert!(read(&with(&extension(0x0a0a, b"anything"))).expect("good").is_some(), "what is not known is skipped");
}

/// RFC 6066 3: the name is input. One that could do harm is none.
#[test]
fn a_name_that_could_do_harm_is_no_name() {
    for (name, expected) in [
        ("mx.example.net", Some("mx.example.net")),
        ("a_b.example", Some("a_b.example")),
        ("a\r\nb", None),
        ("a b", None),
        ("\u{e4}.example", None),
        ("", None),
    ] {
        let seen = Seen { legacy_version: 0x0303, suites: vec![1], name: Some(name.into()), ..Seen::default() };
        let told = read(&records(&message(&seen, &[]), 4096)).expect("good").expect("complete");
        assert_eq!(told.name.as_deref(), expected, "{name:?}");
    }
}

#[test]
fn post_quantum_groups_are_known() {
    for (group, known) in
        [(0x11ec, true), (0x11eb, true), (0x6399, true), (0x0201, true), (0x001d, false), (0x0a0a, false)]
    {
        let seen = Seen { legacy_version: 0x0303, suites: vec![1], groups: vec![0x1d, group], ..Seen::default() };
        let octets = records(&message(&seen, &[]), 4096);
        let mut reader = HelloReader::default();
        assert_eq!(reader.feed(&octets), Ok(true));
        assert_eq!(reader.hello().expect("complete").offered().post_quantum, known, "{group:x}");
    }
}

/// RFC 8446 4.2.1: numbers that are not known, among them those of RFC 8701, do not count.
#[test]
fn the_highest_version_is_the_highest_that_is_known() {
    for (legacy, versions, expected) in [
        (0x0303, vec![0x2a2a, 0x0304, 0x0303], TlsVersion::Tls13),
        (0x0303, vec![0x0303, 0x0302], TlsVersion::Tls12),
        (0x0303, vec![0x0301], TlsVersion::Tls10),
        (0x0303, vec![0x2a2a], TlsVersion::Tls12),
        (0x0304, vec![], TlsVersion::Tls12),
        (0x0301, vec![], TlsVersion::Tls10),
        (0x0300, vec![], TlsVersion::Ssl),
    ] {
        let seen = Seen { legacy_version: legacy, suites: vec![1], versions: versions.clone(), ..Seen::default() };
        let octets = records(&message(&seen, &[]), 4096);
        let mut reader = HelloReader::default();
        assert_eq!(reader.feed(&octets), Ok(true));
        assert_eq!(reader.hello().expect("complete").offered().version, expected, "{legacy:x} {versions:x?}");
    }
}

/// As much as its type says, and no more, is kept: an endless ClientHello is given up.
#[test]
fn an_endless_client_hello_is_given_up() {
    let mut reader = HelloReader::default();
    let length = u32::try_from(MOST_HELLO_OCTETS + 1).expect("short").to_be_bytes();
    let begin = [&[22, 3, 1, 0x40, 0, 1], &length[1..]].concat();
    assert_eq!(reader.feed(&begin), Err(HelloError::TooLong));
    let seen = Seen {
        legacy_version: 0x0303,
        suites: (0..u16::try_from(MOST_HELLO_OCTETS / 2 - 100).expect("short")).collect(),
        ..Seen::default()
    };
    let octets = records(&message(&seen, &[]), 1 << 14);
    assert_eq!(read(&octets), Ok(Some(seen)), "nearly as long as may be");
    let seen = Seen { legacy_version: 0x0303, suites: vec![0x1301], ..Seen::default() };
    // RFC 7685 3: an extension that is as long as it has to be.
    let padded = |octets| records(&message(&seen, &extension(21, &vec![0; octets])), 1 << 14);
    let most = 4 + MOST_HELLO_OCTETS - message(&seen, &extension(21, &[])).len();
    assert_eq!(read(&padded(most)), Ok(Some(seen.clone())), "as long as may be");
    assert_eq!(read(&padded(most + 1)), Err(HelloError::TooLong));
}

/// RFC 8446 5.1: more messages may be in the same record.
#[test]
fn what_comes_behind_in_the_same_record_is_not_looked_at() {
    let seen = Seen { legacy_version: 0x0303, suites: vec![0x1301], ..Seen::default() };
    let behind = [&message(&seen, &[])[..], &[16, 0, 0, 1, 7]].concat();
    assert_eq!(read(&records(&behind, 1 << 14)), Ok(Some(seen)));
}

prop_compose! {
    fn any_hello()(
        legacy_version in prop::sample::select(vec![0x0300_u16, 0x0301, 0x0302, 0x0303]),
        versions in prop::collection::vec(any::<u16>(), 0..8),
        suites in prop::collection::vec(any::<u16>(), 1..60),
        groups in prop::collection::vec(any::<u16>(), 0..20),
        schemes in prop::collection::vec(any::<u16>(), 0..20),
        name in prop::option::of("[a-z0-9_-]{1,20}(\\.[a-z]{2,10}){0,3}"),
        protocols in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..12), 0..4),
    ) -> Seen {
        Seen { legacy_version, versions, suites, groups, schemes, name, protocols }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_was_built_is_read_over_any_records_and_cuts(
        seen in any_hello(), most in 1_usize..400, cut in 1_usize..50, other in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let octets = records(&message(&seen, &extension(0xfafa, &other)), most);
        let mut reader = HelloReader::default();
        let mut pieces = octets.chunks(cut).peekable();
        while let Some(piece) = pieces.next() {
            // Complete with the last octet, and not before.
            prop_assert_eq!(reader.feed(piece), Ok(pieces.peek().is_none()));
        }
        prop_assert_eq!(reader.hello().map(Seen::from), Some(seen));
        // What comes behind is not looked at.
        prop_assert_eq!(reader.feed(b"anything"), Ok(true));
    }

    #[test]
    fn anything_at_all_ends_in_the_same_way_however_it_is_cut(
        octets in prop::collection::vec(any::<u8>(), 0..300), at in 0_usize..300, seen in any_hello(), flip in any::<u8>(),
    ) {
        let mut good = records(&message(&seen, &[]), 200);
        let index = at % good.len();
        good[index] ^= flip;
        for octets in [octets, good] {
            let mut whole = HelloReader::default();
            let expected = whole.feed(&octets);
            let mut reader = HelloReader::default();
            let mut last = Ok(false);
            for octet in &octets {
                last = reader.feed(&[*octet]);
            }
            prop_assert_eq!(last, expected);
            prop_assert_eq!(reader.hello(), whole.hello());
        }
    }
}
