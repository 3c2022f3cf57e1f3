//! Message text: scanner and writer against an oracle that shares nothing with them, at splits taken from the input.
//!
//! The first octet is the leniencies (bits 0 to 2) and the writer's newlines (bit 3), the second the split.

use smtp_proto::text::{Check, Newlines, Scan, Scanner, TextFlaw, TextLeniency, Writer};

#[derive(Debug, Default, PartialEq, Eq)]
struct Read {
    text: Vec<u8>,
    used: usize,
    refused: Option<(TextFlaw, u64)>,
    tolerated: bool,
}

/// Any split gives what the oracle gives; what is written is read back.
pub fn run(data: &[u8]) {
    let &[options, size, ref text @ ..] = data else { return };
    let mut lenient = TextLeniency::default();
    (lenient.bare_cr, lenient.bare_lf, lenient.nul) = (options & 1 != 0, options & 2 != 0, options & 4 != 0);
    let newlines = if options & 8 != 0 { Newlines::Convert } else { Newlines::Strict };

    let wire = [text, b"\r\n.\r\n"].concat();
    let expected = oracle(&wire, lenient);
    let size = usize::from(size).max(1);
    let whole = scan([&wire[..]].into_iter(), lenient);
    assert_eq!(whole.0, expected);
    assert_eq!(scan(wire.chunks(size), lenient), whole);
    if wire.len() <= 256 {
        for cut in 0..wire.len() {
            let (a, b) = wire.split_at(cut);
            assert_eq!(scan([a, b].into_iter(), lenient), whole, "cut at {cut}");
        }
    }

    let mut check = Check::new(lenient);
    text.chunks(size).for_each(|piece| check.see(piece));
    check.see(b"\r\n");
    check.end();
    if expected.used == wire.len() {
        assert_eq!((check.refused(), check.tolerated()), (expected.refused, expected.tolerated));
    }

    let written = write([text].into_iter(), newlines);
    assert_eq!(write(text.chunks(size), newlines), written);
    let ended = |mut text: Vec<u8>| {
        if !text.is_empty() && !text.ends_with(b"\r\n") {
            text.extend_from_slice(b"\r\n");
        }
        text
    };
    let good = converted(text) == text && !text.contains(&0);
    match (written, newlines) {
        (Ok(wire), _) => {
            assert!(good || newlines == Newlines::Convert);
            let (read, _) = scan([&wire[..]].into_iter(), TextLeniency::default());
            assert_eq!(read, Read { text: ended(converted(text)), used: wire.len(), refused: None, tolerated: false });
        }
        (Err(_), Newlines::Strict) => assert!(!good),
        (Err(flaw), _) => assert!(flaw == TextFlaw::Nul && text.contains(&0)),
    }
}

/// RFC 5321 2.3.8, 4.1.1.4 and 4.5.2, an octet at a time.
fn oracle(wire: &[u8], lenient: TextLeniency) -> Read {
    let mut read = Read::default();
    let line_start = |at: usize| at == 0 || wire[..at].ends_with(b"\r\n");
    for (at, octet) in wire.iter().copied().enumerate() {
        if line_start(at) && wire[at..].starts_with(b".\r\n") {
            read.used = at + 3;
            break;
        }
        let flaw = match octet {
            b'\r' if wire[at + 1] != b'\n' => Some((TextFlaw::BareCr, lenient.bare_cr)),
            b'\n' if at == 0 || wire[at - 1] != b'\r' => Some((TextFlaw::BareLf, lenient.bare_lf)),
            0 => Some((TextFlaw::Nul, lenient.nul)),
            _ => None,
        };
        if let Some((flaw, let_pass)) = flaw.filter(|_| read.refused.is_none()) {
            read.tolerated |= let_pass;
            read.refused = (!let_pass).then_some((flaw, at as u64));
        }
        if !(octet == b'.' && line_start(at)) {
            read.text.push(octet);
        }
    }
    read
}

/// What the scanner reads, and how much of it it tells before a flaw.
fn scan<'a>(pieces: impl Iterator<Item = &'a [u8]>, lenient: TextLeniency) -> (Read, usize) {
    let mut scanner = Scanner::new(lenient);
    let (mut read, mut held, mut good) = (Read::default(), Vec::new(), 0);
    for piece in pieces {
        held.extend_from_slice(piece);
        let mut input = &held[..];
        loop {
            let before = input.len();
            let scan = scanner.next(&mut input);
            read.used += before - input.len();
            match scan {
                Scan::Chunk(chunk) => {
                    assert!(!chunk.is_empty());
                    read.text.extend_from_slice(chunk);
                    if scanner.refused().is_none() {
                        good = read.text.len();
                    }
                }
                Scan::Need => break assert!(input.len() <= 2),
                Scan::End => {
                    (read.refused, read.tolerated) = (scanner.refused(), scanner.tolerated());
                    return (read, good);
                }
            }
        }
        held = input.to_vec();
    }
    panic!("no end found");
}

fn write<'a>(pieces: impl Iterator<Item = &'a [u8]>, newlines: Newlines) -> Result<Vec<u8>, TextFlaw> {
    let (mut writer, mut wire) = (Writer::new(newlines), Vec::new());
    for piece in pieces {
        writer.write(piece, &mut wire)?;
    }
    wire.extend_from_slice(writer.finish()?);
    Ok(wire)
}

/// Every CRLF, CR or LF as one CRLF.
fn converted(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, octet) in text.iter().enumerate() {
        match octet {
            b'\n' if at > 0 && text[at - 1] == b'\r' => {}
            b'\r' | b'\n' => out.extend_from_slice(b"\r\n"),
            _ => out.push(*octet),
        }
    }
    out
}
