//! A receive buffer for drivers.

use alloc::vec::Vec;

/// A receive buffer: filled at its end, used up from its front.
///
/// ```text
///   0        start                end              capacity
///   |  used    |  filled()         |  space()        |
/// ```
///
/// An idle session needs no buffer: [`Buffer::release`] frees its memory when nothing is left in it.
#[derive(Debug, Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    capacity: usize,
}

impl Buffer {
    /// A buffer that holds up to `capacity` bytes; allocated when first filled.
    #[must_use]
    pub const fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::new(), start: 0, end: 0, capacity }
    }

    /// The bytes that have been read and not yet used.
    #[must_use]
    pub fn filled(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Keeps only the last `n` of the filled bytes: what `step` left over.
    pub fn keep_last(&mut self, n: usize) {
        self.start = self.end - n.min(self.end - self.start);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Room to read into; empty only when `capacity` unused bytes are held. Follow with [`Buffer::add`].
    pub fn space(&mut self) -> &mut [u8] {
        if self.bytes.is_empty() {
            self.bytes.resize(self.capacity, 0);
        }
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    /// Says that `n` bytes have been read into [`Buffer::space`].
    pub fn add(&mut self, n: usize) {
        self.end = self.bytes.len().min(self.end + n);
    }

    /// Copies `bytes` in, growing beyond the capacity if need be: for tests and for bytes that another layer had read.
    pub fn extend(&mut self, bytes: &[u8]) {
        if self.space().len() < bytes.len() {
            self.bytes.resize(self.end + bytes.len(), 0);
        }
        if let Some(space) = self.bytes.get_mut(self.end..self.end + bytes.len()) {
            space.copy_from_slice(bytes);
        }
        self.end += bytes.len();
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Gives the memory back if nothing is held. For sessions that wait long.
    pub fn release(&mut self) {
        if self.is_empty() {
            self.bytes = Vec::new();
            self.start = 0;
            self.end = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Buffer;

    #[test]
    fn keeps_what_was_left_and_moves_it_to_the_front() {
        let mut buffer = Buffer::with_capacity(8);
        buffer.space()[..6].copy_from_slice(b"abcdef");
        buffer.add(6);
        buffer.keep_last(2);
        assert_eq!(buffer.filled(), b"ef");
        assert_eq!(buffer.space().len(), 6);
        buffer.extend(b"0123456789");
        assert_eq!(buffer.filled(), b"ef0123456789");
        buffer.keep_last(0);
        buffer.release();
        assert!(buffer.is_empty() && buffer.bytes.capacity() == 0);
    }
}
