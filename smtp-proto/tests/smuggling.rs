//! Invariant 6: text ends at CRLF . CRLF and nowhere else. Everything that resembles it, at every split, against a
//! reading of RFC 5321 that shares nothing with the scanner.

use std::sync::Arc;

use smtp_proto::server::{Config, Event, Session, Verdict};
use smtp_proto::text::{Check, Counted, Newlines, Scan, Scanner, TextFlaw, TextLeniency, Writer};
use smtp_proto::{Channel, Leniencies, Leniency, Step, Want};

const ALPHABET: [u8; 6] = [b'\r', b'\n', 0, b'.', b' ', b'x'];
const END: &[u8] = b"\r\n.\r\n";

/// What became of a text on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Read {
    text: Vec<u8>,
    /// The octets of the wire up to and with the end.
    used: usize,
    refused: Option<(TextFlaw, u64)>,
    tolerated: bool,
}

/// The oracle: RFC 5321 2.3.8, 4.1.1.4 and 4.5.2, an octet at a time. `wire` holds an end.
fn oracle(wire: &[u8], lenient: TextLeniency) -> Read {
    let mut read = Read::default();
    let crlf_before = |at: usize| at == 0 || wire[..at].ends_with(b"\r\n");
    for (at, octet) in wire.iter().copied().enumerate() {
        if crlf_before(at) && wire[at..].starts_with(b".\r\n") {
            read.used = at + 3;
            return read;
        }
        let flaw = match octet {
            b'\r' if wire[at + 1] != b'\n' => Some((TextFlaw::BareCr, lenient.bare_cr)),
            b'\n' if at == 0 || wire[at - 1] != b'\r' => Some((TextFlaw::BareLf, lenient.bare_lf)),
            0 => Some((TextFlaw::Nul, lenient.nul)),
            _ => None,
        };
        match flaw {
            Some((_, true)) if read.refused.is_none() => read.tolerated = true,
            Some((flaw, false)) if read.refused.is_none() => read.refused = Some((flaw, at as u64)),
            _ => {}
        }
        if !(octet == b'.' && crlf_before(at)) {
            read.text.push(octet);
        }
    }
    panic!("no end in {:?}", wire.escape_ascii())
}

/// The scanner over these pieces, whose unused ends are kept as a driver keeps them. Whether chunks came in the order
/// good, flawed: what is told before a flaw must not depend on the pieces.
fn scan(pieces: &[&[u8]], lenient: TextLeniency) -> (Read, usize) {
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
                Scan::Need => {
                    assert!(input.len() <= 2, "{} octets left", input.len());
                    break;
                }
                Scan::End => {
                    (read.refused, read.tolerated) = (scanner.refused(), scanner.tolerated());
                    return (read, good);
                }
            }
        }
        held = input.to_vec();
    }
    panic!("no end found in {:?}", pieces.concat().escape_ascii())
}

fn at_every_split(wire: &[u8], lenient: TextLeniency) {
    let expected = oracle(wire, lenient);
    let (whole, good) = scan(&[wire], lenient);
    assert_eq!(whole, expected, "{:?}", wire.escape_ascii());
    for cut in 1..wire.len() {
        let (a, b) = wire.split_at(cut);
        assert_eq!(scan(&[a, b], lenient), (whole.clone(), good), "{:?} cut at {cut}", wire.escape_ascii());
    }
    let octets: Vec<&[u8]> = wire.chunks(1).collect();
    assert_eq!(scan(&octets, lenient), (whole, good), "{:?} octet by octet", wire.escape_ascii());
}

/// All strings of up to `longest` octets of the alphabet.
fn forms(longest: u32, mut each: impl FnMut(&[u8])) {
    let mut form = Vec::new();
    for length in 0..=longest {
        for mut number in 0..ALPHABET.len().pow(length) {
            form.clear();
            for _ in 0..length {
                form.push(ALPHABET[number % ALPHABET.len()]);
                number /= ALPHABET.len();
            }
            each(&form);
        }
    }
}

fn leniencies() -> impl Iterator<Item = TextLeniency> {
    (0..8).map(|bits| {
        let mut lenient = TextLeniency::default();
        (lenient.bare_cr, lenient.bare_lf, lenient.nul) = (bits & 1 != 0, bits & 2 != 0, bits & 4 != 0);
        lenient
    })
}

#[test]
fn every_form_of_an_end_up_to_seven_octets_around_a_dot() {
    let mut wire = Vec::new();
    forms(7, |form| {
        if form.contains(&b'.') {
            wire.clear();
            wire.extend_from_slice(form);
            wire.extend_from_slice(END);
            at_every_split(&wire, TextLeniency::default());
        }
    });
}

#[test]
fn leniencies_never_end_a_line() {
    for lenient in leniencies() {
        forms(5, |form| at_every_split(&[form, END].concat(), lenient));
    }
}

/// The scanner takes many octets at a time: a form may lie across any border between two such steps.
#[test]
fn every_short_form_behind_a_line_of_any_length() {
    for lenient in [TextLeniency::default(), leniencies().last().expect("all")] {
        forms(4, |form| {
            let mut wire = vec![b'x'; 8];
            wire.extend_from_slice(form);
            wire.extend_from_slice(b"xxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n.\r\n");
            let mut text = wire[..wire.len() - 3].to_vec();
            // Padding moves the form past every border; what is read must only move with it.
            let expected = oracle(&wire, lenient);
            text.clear();
            for pad in (0..40).chain(118..180).chain(250..290).chain(375..405) {
                let padded = [&vec![b'y'; pad][..], &wire].concat();
                let (mut read, _) = scan(&[&padded], lenient);
                assert!(read.text[..pad].iter().all(|octet| *octet == b'y'));
                read.text.drain(..pad);
                read.used -= pad;
                read.refused = read.refused.map(|(flaw, at)| (flaw, at - pad as u64));
                assert_eq!(read, expected, "{:?} after {pad} octets", form.escape_ascii());
            }
        });
    }
}

/// Whatever some reader of mail may take for the end of a line: VT, FF, NEL, LS, PS, blanks, overlong and cut UTF-8,
/// the high bit set. At the start of the text, of a piece, and after lines of any length.
#[test]
fn look_alikes_do_not_end_the_text() {
    let odd: [&[u8]; 17] = [
        b"\x0b",
        b"\x0c",
        b"\x85",
        b"\xc2\x85",
        b"\xe2\x80\xa8",
        b"\xe2\x80\xa9",
        b"\xa0",
        b"\xc0\x8d\xc0\x8a",
        b"\xc0\x8a",
        b"\xe0\x80\x8a",
        b"\xf0\x80\x80\x8a",
        b"\x8d\x8a",
        b"\x8d\n",
        b"\r\x8a",
        b"\r \n",
        b"\t\r\t\n",
        b"\x1c",
    ];
    let dots: [&[u8]; 6] = [b".", b"\xae", b"\xc0\xae", b"\xe2\x80\xa4", b" .", b". "];
    for before in odd.into_iter().chain([&b"\r\n"[..]]) {
        for dot in dots {
            for after in odd.into_iter().chain([&b"\r\n"[..]]) {
                if before == b"\r\n" && dot == b"." && after == b"\r\n" {
                    continue;
                }
                for length in [0, 1, 14, 15, 16, 17, 126, 127, 128, 129, 510, 998, 4094, 4095, 4096] {
                    let line = vec![b'x'; length];
                    let wire = [&line, before, dot, after, b"QUIT\r\n", END].concat();
                    let form = [before, dot, after].concat();
                    for pieces in [&[&wire[..]][..], &[&wire[..length], &wire[length..]]] {
                        let (read, _) = scan(pieces, TextLeniency::default());
                        assert_eq!(read.used, wire.len(), "{:?} after {length}", form.escape_ascii());
                        if length < 200 {
                            assert_eq!(read, oracle(&wire, TextLeniency::default()), "{:?}", form.escape_ascii());
                        }
                    }
                }
            }
        }
    }
}

/// What is counted is not ended: the same forms in a BDAT chunk, checked but handed on as they are (RFC 3030 2).
#[test]
fn nothing_in_a_chunk_ends_it() {
    for lenient in leniencies() {
        forms(5, |form| {
            let wire = [form, b"\r\n"].concat();
            let expected = oracle(&[&wire, &b".\r\n"[..]].concat(), lenient);
            // An end inside the form ends the oracle's text early; a chunk goes on.
            let early = expected.used < wire.len() + 3;
            for cut in 0..=form.len() {
                let stream = [&wire[..], b"QUIT\r\n"].concat();
                let (mut check, mut seen) = (Check::new(lenient), Vec::new());
                let mut input = &stream[..];
                for size in [cut, wire.len() - cut] {
                    let mut chunk = Counted::new(size as u64);
                    while let Scan::Chunk(octets) = chunk.next(&mut input) {
                        check.see(octets);
                        seen.extend_from_slice(octets);
                    }
                }
                check.end();
                assert_eq!((&seen, input), (&wire, &b"QUIT\r\n"[..]));
                if !early {
                    let found = (check.refused(), check.tolerated());
                    assert_eq!(found, (expected.refused, expected.tolerated), "{:?} cut at {cut}", form.escape_ascii());
                }
            }
        });
    }
}

/// What the writer lets out, the scanner reads back: the text with a CRLF at its end, nothing left over, no flaw.
#[test]
fn what_is_written_is_read_back() {
    forms(6, |form| {
        for newlines in [Newlines::Strict, Newlines::Convert] {
            let mut whole = None;
            for cut in 0..form.len().max(1) {
                let (a, b) = form.split_at(cut);
                let wire = write(&[a, b], newlines);
                assert_eq!(*whole.get_or_insert_with(|| wire.clone()), wire, "{:?} cut at {cut}", form.escape_ascii());
            }
            match whole.expect("written") {
                Ok(wire) => {
                    let (read, _) = scan(&[&wire], TextLeniency::default());
                    let mut text = converted(form);
                    if !text.is_empty() && !text.ends_with(b"\r\n") {
                        text.extend_from_slice(b"\r\n");
                    }
                    assert_eq!(read, Read { text, used: wire.len(), refused: None, tolerated: false });
                }
                Err(_) => {
                    let changed = converted(form) != form || form.contains(&0);
                    assert!(
                        changed && (newlines == Newlines::Strict || form.contains(&0)),
                        "{:?}",
                        form.escape_ascii()
                    );
                }
            }
        }
    });
}

fn write(pieces: &[&[u8]], newlines: Newlines) -> Result<Vec<u8>, TextFlaw> {
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

/// A whole session: what is handed out, in how many messages, and the codes of the replies.
fn session(pieces: &[&[u8]], lenient: Leniencies) -> (Vec<u8>, u32, Vec<String>) {
    let mut session =
        Session::new(Arc::new(Config::new("mx.example.net").expect("a name").lenient(lenient)), Channel::Plain);
    let (mut text, mut messages, mut wire, mut held) = (Vec::new(), 0, Vec::new(), Vec::new());
    for piece in [&[][..]].iter().chain(pieces) {
        held.extend_from_slice(piece);
        let mut input = &held[..];
        loop {
            match session.step(&mut input) {
                Step::Event(Event::Connect(ticket) | Event::Data(ticket) | Event::Hello(_, ticket)) => {
                    session.answer(ticket, Verdict::Accept);
                }
                Step::Event(Event::Mail(_, ticket) | Event::Rcpt(_, ticket)) => session.answer(ticket, Verdict::Accept),
                Step::Event(Event::Message(_, ticket)) => {
                    messages += 1;
                    session.answer(ticket, Verdict::Accept);
                }
                Step::Event(Event::Chunk(chunk)) => text.extend_from_slice(chunk),
                Step::Event(_) => {}
                Step::Want(want) => {
                    wire.extend_from_slice(session.output());
                    session.sent(session.output().len());
                    match want {
                        Want::Output => {}
                        _ => break,
                    }
                }
            }
        }
        held = input.to_vec();
    }
    let replies = String::from_utf8(wire).expect("ASCII");
    let codes = replies.lines().filter(|line| line.as_bytes().get(3) == Some(&b' ')).map(|line| line[..3].to_owned());
    (text, messages, codes.collect())
}

/// One message or one refusal for each text, in step with what follows, at every split.
#[test]
fn a_session_stays_in_step_behind_every_form() {
    in_step(HEAD, 4, Leniencies::STANDARD);
}

/// The same whatever is let pass, and whether the client ends its commands in CRLF or in LF.
#[test]
fn no_leniency_makes_another_end_of_text() {
    for &leniency in Leniency::ALL {
        let lenient = Leniencies::from(leniency);
        in_step(HEAD, if lenient.text() == TextLeniency::default() { 2 } else { 3 }, lenient);
    }
    in_step(HEAD, 4, Leniencies::ALL);
    let lines: Vec<u8> = HEAD.iter().copied().filter(|octet| *octet != b'\r').collect();
    in_step(&lines, 3, Leniency::BareLfCommands.into());
    in_step(&lines, 3, Leniencies::ALL);
}

const HEAD: &[u8] = b"EHLO a.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n";

fn in_step(head: &[u8], most: u32, lenient: Leniencies) {
    forms(most, |form| {
        let text = [b"x", form, END].concat();
        let expected = oracle(&text, lenient.text());
        if expected.used != text.len() {
            return; // A true end, and commands behind it: the transcripts have those.
        }
        let wire = [head, &text, b"QUIT\r\n"].concat();
        let end = match expected.refused {
            None => "250",
            Some(_) => "554",
        };
        for cut in head.len()..head.len() + text.len() {
            let (a, b) = wire.split_at(cut);
            let (seen, messages, codes) = session(&[a, b], lenient);
            let wanted = ["220", "250", "250", "250", "354", end, "221"];
            assert_eq!(codes, wanted, "{:?} cut at {}", form.escape_ascii(), cut - head.len());
            assert_eq!(messages, u32::from(expected.refused.is_none()));
            match expected.refused {
                None => assert_eq!(seen, expected.text),
                // Text begins with x: no dot is removed before the flaw unless behind a CRLF.
                Some((_, at)) => assert!(expected.text.starts_with(&seen) && seen.len() as u64 <= at),
            }
        }
    });
}
