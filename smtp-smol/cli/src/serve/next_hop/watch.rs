//! What is seen of a text while it passes: whether it goes in circles, and whether it is 8-bit.

/// More Received fields than this are a loop: RFC 5321 6.3 asks for a threshold of at least 100.
const MOST_RECEIVED: u32 = 100;
const FIELD: &[u8] = b"received:";

/// Looks at a text piece by piece; nothing is kept of it.
#[derive(Debug)]
pub(super) struct Watch {
    /// How much of the line, from its beginning, is the name of a Received field; `None` when it is another line.
    matched: Option<usize>,
    /// Whether the line so far is empty, a CR left out.
    empty: bool,
    in_head: bool,
    received: u32,
    eight_bit: bool,
}

impl Watch {
    pub(super) const fn new() -> Self {
        Self { matched: Some(0), empty: true, in_head: true, received: 0, eight_bit: false }
    }

    pub(super) fn look(&mut self, piece: &[u8]) {
        self.eight_bit |= !piece.is_ascii();
        for octet in piece {
            if !self.in_head {
                return;
            }
            match (*octet, self.matched) {
                (b'\n', _) => {
                    self.in_head = !self.empty;
                    (self.matched, self.empty) = (Some(0), true);
                }
                (b'\r', _) => {}
                (octet, Some(n)) if FIELD.get(n) == Some(&octet.to_ascii_lowercase()) => {
                    self.empty = false;
                    self.matched = (n + 1 < FIELD.len()).then_some(n + 1);
                    self.received += u32::from(self.matched.is_none());
                }
                _ => (self.matched, self.empty) = (None, false),
            }
        }
    }

    /// Whether the message has gone through so many servers that it must be in a loop.
    pub(super) const fn is_looping(&self) -> bool {
        self.received > MOST_RECEIVED
    }

    pub(super) const fn is_eight_bit(&self) -> bool {
        self.eight_bit
    }
}

#[cfg(test)]
mod tests {
    use super::Watch;

    fn looked_at(text: &[u8], size: usize) -> Watch {
        let mut watch = Watch::new();
        text.chunks(size).for_each(|piece| watch.look(piece));
        watch
    }

    /// RFC 5321 6.3.
    #[test]
    fn a_hundred_received_fields_pass_and_one_more_is_a_loop() {
        for (count, looping) in [(0, false), (100, false), (101, true)] {
            let mut text = b"Subject: x\r\n".to_vec();
            for at in 0..count {
                let name = ["Received: from a\r\n by b\r\n", "received:x\r\n", "RECEIVED: y\r\n"][at % 3];
                text.extend_from_slice(name.as_bytes());
            }
            text.extend_from_slice(b"Not-Received: a\r\nReceive: b\r\n received: folded\r\n\r\n");
            // The text may quote as many as it likes.
            text.extend_from_slice("Received: quoted\r\n".repeat(200).as_bytes());
            for size in [1, 2, 7, 4096, text.len()] {
                let watch = looked_at(&text, size);
                assert_eq!((watch.is_looping(), watch.received as usize), (looping, count), "pieces of {size}");
            }
        }
    }

    #[test]
    fn an_octet_beyond_ascii_is_seen_anywhere() {
        assert!(!looked_at(b"A: b\r\n\r\ntext\r\n", 3).is_eight_bit());
        assert!(looked_at(b"A: \xc3\xa9\r\n\r\n", 3).is_eight_bit());
        assert!(looked_at(b"A: b\r\n\r\ntext \xe9\r\n", 3).is_eight_bit());
    }
}
