//! What a transcript says for those who play it on the wire, against any implementation: docs/conformance.md. The runners
//! here check that it is well formed, and that our own replies are among those that will do.

use super::Item;

const LEVELS: [&str; 3] = ["MUST", "SHOULD", "practice"];
const CLASSES: [&str; 7] = ["syntax", "order", "text", "TLS", "AUTH", "LMTP", "extension"];
const KEYS: [&str; 8] = ["needs", "absent", "recipients", "users", "pieces", "tell", "never", "text"];

/// `wire: LEVEL CLASS key=value …`
pub fn check_marks(name: &str, line: &str) {
    let mut words = line["wire:".len()..].split_whitespace();
    let (level, class) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    assert!(LEVELS.contains(&level) && CLASSES.contains(&class), "{name}: no level and class: {line:?}");
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or_default();
        assert!(KEYS.contains(&key) && !value.is_empty(), "{name}: {word:?} says nothing");
    }
}

/// `W: 2 503`: the codes, or first digits, that will do in place of the reply above.
pub fn check_codes(name: &str, reply: Option<&Item>, codes: &str) {
    let Some(Item::Server(reply)) = reply else { panic!("{name}: W: {codes} stands behind no reply") };
    assert!(codes.split(' ').all(|code| matches!(code.len(), 1 | 3)), "{name}: W: {codes}");
    assert!(codes.split(' ').any(|code| reply.starts_with(code)), "{name}: W: {codes} without our own {reply:?}");
}
