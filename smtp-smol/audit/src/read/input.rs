//! Opening a file, compressed or not. What it holds is told elsewhere.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use crate::progress::Progress;
use crate::read::blocks::Blocks;

/// Opens a file. How it is compressed its first octets tell, not its name.
pub(crate) fn open<'r>(path: &Path, progress: &'r dyn Progress) -> io::Result<Blocks<'r>> {
    decompressed(Counted { from: File::open(path)?, progress })
}

/// Tells how much was read.
struct Counted<'p, R> {
    from: R,
    progress: &'p dyn Progress,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        let octets = self.from.read(space)?;
        self.progress.read(octets as u64);
        Ok(octets)
    }
}

/// Reads what is compressed with gzip, Zstandard, xz or bzip2 as it was before; all else as it is.
pub(crate) fn decompressed<'r>(from: impl Read + Send + 'r) -> io::Result<Blocks<'r>> {
    // Of what is not compressed more is asked for at once than is held here, and goes where it is wanted without a copy.
    let mut from = Pushback { back: Vec::new(), from: BufReader::with_capacity(64 << 10, from) };
    let magic = from.peek(6)?;
    Ok(match magic {
        [0x1f, 0x8b, ..] => Blocks::new(flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(64 << 10, from))),
        // RFC 8878 3.1.1; a skippable frame may come first (3.1.2).
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Blocks::new(Zstd::Between(from)),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Blocks::new(lzma_rust2::XzReader::new(from, true)),
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => Blocks::new(bzip2::read::MultiBzDecoder::new(from)),
        _ => Blocks::new(from),
    })
}

/// Whether this begins what [`decompressed`] would decompress.
pub(crate) fn is_compressed(start: &[u8]) -> bool {
    matches!(
        start,
        [0x1f, 0x8b, ..]
            | [0x28, 0xb5, 0x2f, 0xfd, ..]
            | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]
            | [0xfd, b'7', b'z', b'X', b'Z', 0, ..]
            | [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..]
    )
}

/// A stream of which some was looked at.
struct Pushback<R> {
    back: Vec<u8>,
    from: R,
}

impl<R: Read> Pushback<R> {
    /// So many octets, fewer at the end only; they are read again.
    fn peek(&mut self, octets: usize) -> io::Result<&[u8]> {
        let more = octets.saturating_sub(self.back.len()) as u64;
        self.from.by_ref().take(more).read_to_end(&mut self.back)?;
        Ok(&self.back)
    }
}

impl<R: Read> Read for Pushback<R> {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        if self.back.is_empty() {
            return self.from.read(space);
        }
        let octets = self.back.len().min(space.len());
        space[..octets].copy_from_slice(&self.back[..octets]);
        self.back.drain(..octets);
        Ok(octets)
    }
}

/// Zstandard frames, one after another.
enum Zstd<R: Read> {
    Between(Pushback<R>),
    Within(Box<ruzstd::decoding::StreamingDecoder<Pushback<R>, ruzstd::decoding::FrameDecoder>>),
    Ended,
}

impl<R: Read> Read for Zstd<R> {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        loop {
            match std::mem::replace(self, Self::Ended) {
                Self::Ended => return Ok(0),
                Self::Between(mut from) => match *from.peek(8)? {
                    [] => return Ok(0),
                    // RFC 8878 3.1.2: what a skippable frame holds is not for us.
                    [0x50..=0x5f, 0x2a, 0x4d, 0x18, l0, l1, l2, l3] => {
                        from.back.clear();
                        let length = u64::from(u32::from_le_bytes([l0, l1, l2, l3]));
                        if io::copy(&mut from.from.by_ref().take(length), &mut io::sink())? < length {
                            return Err(io::ErrorKind::UnexpectedEof.into());
                        }
                        *self = Self::Between(from);
                    }
                    _ => {
                        let decoder = ruzstd::decoding::StreamingDecoder::new(from)
                            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
                        *self = Self::Within(Box::new(decoder));
                    }
                },
                Self::Within(mut decoder) => match decoder.read(space)? {
                    0 => *self = Self::Between(decoder.into_inner()),
                    octets => {
                        *self = Self::Within(decoder);
                        return Ok(octets);
                    }
                },
            }
        }
    }
}
