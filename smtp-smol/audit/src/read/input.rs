//! Opening a file, compressed or not. What it holds is told elsewhere.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

use crate::progress::Progress;
use crate::read::blocks::Blocks;

/// Opens a file; gzip and Zstandard are told by their first octets, not by the file's name.
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

pub(crate) fn decompressed<'r>(mut from: impl Read + 'r) -> io::Result<Blocks<'r>> {
    let mut magic = [0; 6];
    let mut length = 0;
    while length < magic.len() {
        match from.read(&mut magic[length..])? {
            0 => break,
            n => length += n,
        }
    }
    let magic = magic[..length].to_vec();
    let compressed = match magic.as_slice() {
        [0x1f, 0x8b, ..] => 'g',
        // RFC 8878 3.1.1; a skippable frame may come first (3.1.2).
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => 'z',
        [b'B', b'Z', b'h', ..] | [0xfd, b'7', b'z', b'X', b'Z', 0] => {
            return Err(io::Error::other("is compressed in a way that is not read here: decompress it first"));
        }
        _ => ' ',
    };
    let whole = Cursor::new(magic).chain(from);
    Ok(match compressed {
        'g' => Blocks::new(flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(256 << 10, whole))),
        'z' => Blocks::new(Zstd::Between(BufReader::with_capacity(256 << 10, whole))),
        _ => Blocks::new(whole),
    })
}

/// Zstandard frames, one after another.
enum Zstd<R: BufRead> {
    Between(R),
    Within(Box<ruzstd::decoding::StreamingDecoder<R, ruzstd::decoding::FrameDecoder>>),
    Ended,
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        loop {
            match std::mem::replace(self, Self::Ended) {
                Self::Ended => return Ok(0),
                Self::Between(mut from) => {
                    if from.fill_buf()?.is_empty() {
                        return Ok(0);
                    }
                    let decoder = ruzstd::decoding::StreamingDecoder::new(from)
                        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
                    *self = Self::Within(Box::new(decoder));
                }
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
