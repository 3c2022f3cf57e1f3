//! The ClientHello: bounds, pieces, and that what is told of it is the same however it is cut.

use smtp_proto::tls::{HelloReader, MOST_HELLO_OCTETS};

/// One by one, in two pieces, or whole: the same end.
pub fn run(data: &[u8]) {
    let mut whole = HelloReader::default();
    let end = whole.feed(data);
    let mut one_by_one = HelloReader::default();
    let mut last = Ok(false);
    for octet in data {
        last = one_by_one.feed(std::slice::from_ref(octet));
    }
    assert_eq!(last, end);
    assert_eq!(one_by_one.hello(), whole.hello());
    let (front, back) = data.split_at(data.len() / 2);
    let mut two = HelloReader::default();
    assert_eq!(two.feed(front).and_then(|done| if done { Ok(true) } else { two.feed(back) }), end);
    assert_eq!(two.hello(), whole.hello());
    assert_eq!(end == Ok(true), whole.hello().is_some());
    let Some(hello) = whole.hello() else { return };
    let _ = hello.offered();
    assert!(hello.cipher_suites.count() * 2 + hello.groups.count() * 2 <= MOST_HELLO_OCTETS);
    assert!(hello.protocols.into_iter().all(|name| !name.is_empty()));
    assert!(hello.server_name.is_none_or(|name| name.is_ascii() && !name.contains(char::is_whitespace)));
}
