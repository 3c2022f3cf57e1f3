//! Reading in big blocks, so that a line or a message's head is one slice.

use std::io::{self, Read};

/// So much is read at once.
const BLOCK: usize = 256 << 10;

/// A window on a stream that moves along.
pub(crate) struct Blocks<'r> {
    from: Box<dyn Read + Send + 'r>,
    block: Vec<u8>,
    start: usize,
    end: usize,
    ended: bool,
    failed: Option<io::Error>,
}

impl<'r> Blocks<'r> {
    pub(crate) fn new(from: impl Read + Send + 'r) -> Self {
        Self::boxed(Box::new(from))
    }

    pub(crate) fn boxed(from: Box<dyn Read + Send + 'r>) -> Self {
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
#[derive(Clone, Copy)]
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

    /// As many whole lines as are read at once, for another thread; these are not counted here. The octets of `spare` are no
    /// longer needed.
    pub(crate) fn piece(&mut self, spare: Vec<u8>) -> Option<Piece> {
        let mut too_long = false;
        loop {
            let filled = self.blocks.filled();
            let lines = memchr::memrchr(b'\n', filled).map(|last| last + 1);
            if filled.len() >= BLOCK / 2
                && let Some(lines) = lines
            {
                return Some(self.cut(lines, too_long, spare));
            }
            // As in `next`: what is longer than any line is given up.
            if lines.is_none() && filled.len() > LONGEST {
                too_long = true;
                let octets = filled.len();
                self.blocks.used(octets);
            }
            if !self.blocks.more() {
                let rest = self.blocks.filled().len();
                return (rest > 0 || too_long).then(|| self.cut(rest, too_long, spare));
            }
        }
    }

    /// So many octets, in the block that they are in.
    fn cut(&mut self, octets: usize, too_long: bool, mut next: Vec<u8>) -> Piece {
        let blocks = &mut self.blocks;
        let (start, end) = (blocks.start, blocks.start + octets);
        let rest = &blocks.block[end..blocks.end];
        if next.len() < rest.len() {
            next.resize(rest.len(), 0);
        }
        next[..rest.len()].copy_from_slice(rest);
        (blocks.start, blocks.end) = (0, rest.len());
        Piece { block: std::mem::replace(&mut blocks.block, next), start, end, too_long }
    }

    /// Why reading ended, if not at the end.
    pub(crate) fn failed(&mut self) -> Option<io::Error> {
        self.blocks.failed()
    }
}

/// Some lines; the last may lack its end.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    block: Vec<u8>,
    start: usize,
    end: usize,
    /// What comes first is the end of a line that was too long.
    too_long: bool,
}

impl Piece {
    pub(crate) fn octets(&self) -> &[u8] {
        &self.block[self.start..self.end]
    }

    pub(crate) fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        lines(self.octets(), self.too_long)
    }

    /// The room that it took.
    pub(crate) fn into_room(self) -> Vec<u8> {
        self.block
    }
}

/// The lines of these octets; where the first is the end of one that was too long, it is said to be so.
pub(crate) fn lines(octets: &[u8], mut too_long: bool) -> impl Iterator<Item = Line<'_>> {
    let mut rest = octets;
    std::iter::from_fn(move || {
        if rest.is_empty() && !too_long {
            return None;
        }
        let (line, after) = match memchr::memchr(b'\n', rest) {
            Some(end) => (&rest[..end], &rest[end + 1..]),
            None => (rest, &[][..]),
        };
        rest = after;
        let long = std::mem::take(&mut too_long) || line.len() > LONGEST;
        Some(if long { Line::TooLong } else { Line::Line(line) })
    })
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, Blocks, LONGEST, Line, Lines};
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

    #[test]
    fn pieces_have_the_same_lines() {
        let told = |line: Line<'_>| match line {
            Line::Line(line) => line.len(),
            Line::TooLong => usize::MAX,
        };
        let of = |length: usize| "x".repeat(length);
        let long =
            [0, 1, LONGEST - 1, LONGEST, LONGEST + 1, 2 * LONGEST, BLOCK / 2, BLOCK, BLOCK + 7, 3 * BLOCK].map(of);
        let short: String = (0..30_000).map(|line| format!("{line}\n")).collect();
        for long in &long {
            for text in [
                long.clone(),
                format!("{long}\n"),
                format!("{short}{long}\n{short}"),
                format!("{long}\n\n{long}\n{short}{long}"),
            ] {
                for drip in [4096, 100_000, 1 << 20] {
                    let mut lines = Lines::new(Blocks::new(Drip(text.as_bytes(), drip)));
                    let mut whole = Vec::new();
                    while let Some(line) = lines.next() {
                        whole.push(told(line));
                    }
                    let mut lines = Lines::new(Blocks::new(Drip(text.as_bytes(), drip)));
                    let (mut parts, mut spare) = (Vec::new(), Vec::new());
                    while let Some(piece) = lines.piece(spare) {
                        parts.extend(piece.lines().map(told));
                        spare = piece.into_room();
                    }
                    assert!(whole == parts, "{} and {}: {drip}", text.len(), long.len());
                }
            }
        }
    }
}
