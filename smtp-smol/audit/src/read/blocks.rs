//! Reading in big blocks, so that a line or a message's head is one slice.

use std::io::{self, Read};

/// So much is read at once.
const BLOCK: usize = 256 << 10;

/// A window on a stream that moves along.
pub(crate) struct Blocks<'r> {
    from: Box<dyn Read + 'r>,
    block: Vec<u8>,
    start: usize,
    end: usize,
    ended: bool,
    failed: Option<io::Error>,
}

impl<'r> Blocks<'r> {
    pub(crate) fn new(from: impl Read + 'r) -> Self {
        Self::boxed(Box::new(from))
    }

    pub(crate) fn boxed(from: Box<dyn Read + 'r>) -> Self {
        Self { from, block: Vec::new(), start: 0, end: 0, ended: false, failed: None }
    }

    /// What is there and not yet used.
    pub(crate) fn filled(&self) -> &[u8] {
        &self.block[self.start..self.end]
    }

    pub(crate) fn used(&mut self, octets: usize) {
        self.start = (self.start + octets).min(self.end);
    }

    /// Reads more behind what is there; false at the end of the stream, and where reading failed.
    pub(crate) fn more(&mut self) -> bool {
        if self.ended {
            return false;
        }
        self.block.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.block.len() - self.end < BLOCK / 2 {
            self.block.resize(self.end + BLOCK, 0);
        }
        loop {
            match self.from.read(&mut self.block[self.end..]) {
                Ok(0) => self.ended = true,
                Ok(octets) => {
                    self.end += octets;
                    return true;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.ended = true;
                    self.failed = Some(error);
                }
            }
            return false;
        }
    }

    /// Reads until so much is there, or the end.
    pub(crate) fn at_least(&mut self, octets: usize) -> &[u8] {
        while self.end - self.start < octets && self.more() {}
        self.filled()
    }

    /// Why reading ended, if not at the end.
    pub(crate) fn failed(&mut self) -> Option<io::Error> {
        self.failed.take()
    }
}

/// Lines, without their ends.
pub(crate) struct Lines<'r> {
    blocks: Blocks<'r>,
    /// The number of the line that came last, from 1.
    pub(crate) number: u64,
}

/// A line longer than this is no log line.
const LONGEST: usize = 64 << 10;

/// What comes out of [`Lines`].
pub(crate) enum Line<'b> {
    Line(&'b [u8]),
    TooLong,
}

impl<'r> Lines<'r> {
    pub(crate) const fn new(blocks: Blocks<'r>) -> Self {
        Self { blocks, number: 0 }
    }

    /// The next line. The last may lack its end.
    pub(crate) fn next(&mut self) -> Option<Line<'_>> {
        let mut searched = 0;
        let mut too_long = false;
        loop {
            let filled = self.blocks.filled();
            if let Some(end) = memchr::memchr(b'\n', &filled[searched..]) {
                let (start, end) = (self.blocks.start, self.blocks.start + searched + end);
                self.blocks.start = end + 1;
                self.number += 1;
                let line = &self.blocks.block[start..end];
                return Some(if too_long || line.len() > LONGEST { Line::TooLong } else { Line::Line(line) });
            }
            searched = filled.len();
            if searched > LONGEST {
                too_long = true;
                self.blocks.used(searched);
                searched = 0;
            }
            if !self.blocks.more() {
                let (start, end) = (self.blocks.start, self.blocks.end);
                self.blocks.start = end;
                if start == end && !too_long {
                    return None;
                }
                self.number += 1;
                return Some(if too_long { Line::TooLong } else { Line::Line(&self.blocks.block[start..end]) });
            }
        }
    }

    /// Why reading ended, if not at the end.
    pub(crate) fn failed(&mut self) -> Option<io::Error> {
        self.blocks.failed()
    }
}

#[cfg(test)]
mod tests {
    use super::{Blocks, LONGEST, Line, Lines};
    use std::io::Read;

    /// Hands out so many octets at a time.
    struct Drip<'a>(&'a [u8], usize);

    impl Read for Drip<'_> {
        fn read(&mut self, space: &mut [u8]) -> std::io::Result<usize> {
            let n = self.1.min(self.0.len()).min(space.len());
            space[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    #[test]
    fn lines_do_not_depend_on_reads() {
        let long = "x".repeat(LONGEST + 1);
        let text = format!("one\n\nthree\n{long}\nfive");
        for drip in [1, 7, 4096, 1 << 20] {
            let mut lines = Lines::new(Blocks::new(Drip(text.as_bytes(), drip)));
            let mut seen = Vec::new();
            while let Some(line) = lines.next() {
                seen.push(match line {
                    Line::Line(line) => String::from_utf8_lossy(line).into_owned(),
                    Line::TooLong => "too long".into(),
                });
            }
            assert_eq!(seen, ["one", "", "three", "too long", "five"], "{drip}");
            assert_eq!(lines.number, 5);
        }
    }
}
