//! Scans a text so many times, to be counted by `instructions-text.sh`: `hostile NAME ROUNDS`, or without arguments the names.

use std::hint::black_box;

use smtp_proto::text::{Newlines, Scan, Scanner, TextLeniency, Writer};

const OCTETS: usize = 16 << 10;

/// What costs a scanner most, if anything does.
const TEXTS: [(&str, &[u8]); 13] = [
    ("letters", b"x"),
    ("lines", b"a\r\n"),
    ("cr", b"\r"),
    ("lf", b"\n"),
    ("nul", b"\0"),
    ("lf-cr", b"\n\r"),
    ("crlf", b"\r\n"),
    ("cr-cr-lf", b"\r\r\n"),
    ("lf-dot", b"\n."),
    ("dots", b".\r\n\r\n.."),
    ("dot-lines", b"..\r\n"),
    ("lf-every-9", b"xxxxxxxx\n"),
    ("lf-every-18", b"xxxxxxxxxxxxxxxxx\n"),
];

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(name), Some(rounds)) = (arguments.next(), arguments.next().and_then(|rounds| rounds.parse().ok())) else {
        TEXTS.iter().for_each(|(name, _)| println!("{name}"));
        return;
    };
    let unit = TEXTS.iter().find(|(known, _)| *known == name).map_or(&b"x"[..], |(_, unit)| *unit);
    // A first letter, lest the text end at once.
    let text = [b"x", &unit.repeat(OCTETS / unit.len())[..]].concat();
    let mut lenient = TextLeniency::default();
    (lenient.bare_lf, lenient.nul) = (true, true);
    for _ in 0..rounds {
        for lenient in [TextLeniency::default(), lenient] {
            let mut scanner = Scanner::new(lenient);
            let mut input = black_box(&text[..]);
            while let Scan::Chunk(chunk) = scanner.next(&mut input) {
                black_box(chunk);
            }
        }
        let mut writer = Writer::new(Newlines::Convert);
        let mut rest = black_box(&text[..]);
        while let Ok(Some(slice)) = writer.next(&mut rest) {
            black_box(slice);
        }
    }
}
