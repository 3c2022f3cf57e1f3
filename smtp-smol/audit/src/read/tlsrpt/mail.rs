//! Mail that brings a report (RFC 8460 3): a part of `multipart/report` with the report in JSON, as a rule compressed.

use std::io::Read as _;

use base64ct::{Base64, Encoding as _};
use memchr::memmem;

use super::{LONGEST, take};
use crate::count::desk::Desk;
use crate::read::scan::{find_no_case, starts_no_case};

/// Parts within parts that are looked into.
const DEEP: u32 = 8;
/// Parts that are looked at.
const PARTS: u32 = 64;

/// Whether a message with this head brings a report.
pub(crate) fn is(head: &[u8]) -> bool {
    [&b"tlsrpt"[..], b"TLSRPT", b"TLS-Report-"].iter().any(|word| memmem::find(head, word).is_some())
        && head.split(|octet| *octet == b'\n').any(|line| {
            starts_no_case(line, b"tls-report-domain:")
                || starts_no_case(line, b"tls-report-submitter:")
                || find_no_case(line, b"report-type=tlsrpt").is_some()
                || find_no_case(line, b"report-type=\"tlsrpt").is_some()
                || find_no_case(line, b"application/tlsrpt+").is_some()
        })
}

/// Takes the reports in a message; gives what is wrong where there is none that can be read.
pub(crate) fn read(head: &[u8], body: &[u8], desk: &mut Desk) -> Result<(), String> {
    let before = desk.reports.reports + desk.reports.copies + desk.aside.early;
    let signed = head.split(|octet| *octet == b'\n').any(|line| starts_no_case(line, b"dkim-signature:"));
    let mut wrong = None;
    let mut parts = PARTS;
    walk(head, body, DEEP, &mut parts, &mut |part| {
        let plain = match part {
            [0x1f, 0x8b, ..] => unpacked(part),
            _ => Ok(part.to_vec()),
        };
        match plain {
            Ok(plain) if plain.trim_ascii_start().first() == Some(&b'{') => {
                wrong = take(&plain, desk).or(wrong.take());
            }
            Ok(_) => {}
            Err(error) => wrong = Some(error),
        }
    });
    if desk.reports.reports + desk.reports.copies + desk.aside.early == before {
        return Err(wrong.unwrap_or_else(|| "a TLS report without a report in it".into()));
    }
    *(if signed { &mut desk.reports.signed } else { &mut desk.reports.unsigned }) += 1;
    wrong.map_or(Ok(()), Err)
}

fn unpacked(part: &[u8]) -> Result<Vec<u8>, String> {
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(part)
        .take(LONGEST as u64 + 1)
        .read_to_end(&mut plain)
        .map_err(|error| format!("a TLS report that cannot be decompressed: {error}"))?;
    if plain.len() > LONGEST { Err("too long for a TLS report".into()) } else { Ok(plain) }
}

/// Hands each part that is not made of others to `then`, decoded (RFC 2045 6, RFC 2046 5.1).
fn walk(head: &[u8], body: &[u8], deep: u32, parts: &mut u32, then: &mut dyn FnMut(&[u8])) {
    if *parts == 0 {
        return;
    }
    *parts -= 1;
    let kind = field(head, b"content-type:");
    if deep > 0
        && starts_no_case(&kind, b"multipart/")
        && let Some(boundary) = parameter(&kind, b"boundary=")
    {
        for part in split(body, &boundary) {
            let (head, body) = part.split_at(head_end(part));
            walk(head, body, deep - 1, parts, then);
        }
        return;
    }
    let encoding = field(head, b"content-transfer-encoding:");
    if starts_no_case(&encoding, b"base64") {
        then(&base64(body));
    } else if starts_no_case(&encoding, b"quoted-printable") {
        then(&quoted_printable(body));
    } else {
        then(body);
    }
}

/// The first field of this name, unfolded, without its name.
fn field(head: &[u8], name: &[u8]) -> Vec<u8> {
    let mut value = Vec::new();
    let mut within = false;
    for line in head.split(|octet| *octet == b'\n') {
        if within && matches!(line.first(), Some(b' ' | b'\t')) {
            value.extend_from_slice(line);
        } else if within {
            break;
        } else if starts_no_case(line, name) {
            value.extend_from_slice(&line[name.len()..]);
            within = true;
        }
    }
    value.trim_ascii().to_vec()
}

/// The value of a parameter, in quotes or not.
fn parameter(value: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let rest = &value[find_no_case(value, name)? + name.len()..];
    let value = match rest.strip_prefix(b"\"") {
        Some(quoted) => &quoted[..memchr::memchr(b'"', quoted)?],
        None => &rest[..rest.iter().position(|o| matches!(o, b';' | b' ' | b'\t' | b'\r')).unwrap_or(rest.len())],
    };
    (!value.is_empty() && value.len() <= 70).then(|| value.to_vec())
}

/// What stands between lines of two hyphens and the boundary.
fn split<'b>(body: &'b [u8], boundary: &[u8]) -> Vec<&'b [u8]> {
    let delimiter = [b"--", boundary].concat();
    let mut parts = Vec::new();
    let mut began: Option<usize> = None;
    for at in memmem::find_iter(body, &delimiter) {
        if at > 0 && body[at - 1] != b'\n' {
            continue;
        }
        if let Some(began) = began.take() {
            let part = &body[began.min(at)..at];
            let part = part.strip_suffix(b"\n").unwrap_or(part);
            parts.push(part.strip_suffix(b"\r").unwrap_or(part));
        }
        let rest = &body[at + delimiter.len()..];
        if rest.starts_with(b"--") {
            return parts;
        }
        began = memchr::memchr(b'\n', rest).map(|end| at + delimiter.len() + end + 1);
        if parts.len() >= PARTS as usize {
            return parts;
        }
    }
    // The end is missing: what there is may be whole.
    if let Some(began) = began {
        parts.push(&body[began..]);
    }
    parts
}

/// Where the text of a part begins; a part may have no head.
fn head_end(part: &[u8]) -> usize {
    if part.starts_with(b"\n") || part.starts_with(b"\r\n") {
        return memchr::memchr(b'\n', part).map_or(0, |end| end + 1);
    }
    let unix = memmem::find(part, b"\n\n").map(|at| at + 2);
    let windows = memmem::find(part, b"\n\r\n").map(|at| at + 3);
    match (unix, windows) {
        (Some(unix), Some(windows)) => unix.min(windows),
        (found, None) | (None, found) => found.unwrap_or(part.len()),
    }
}

/// RFC 2045 6.8: other octets are passed over. What is no base64 then is nothing.
fn base64(text: &[u8]) -> Vec<u8> {
    let is_digit = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'/' | b'=');
    let digits: Vec<u8> = text.iter().copied().filter(is_digit).collect();
    std::str::from_utf8(&digits).ok().and_then(|digits| Base64::decode_vec(digits).ok()).unwrap_or_default()
}

/// RFC 2045 6.7.
fn quoted_printable(text: &[u8]) -> Vec<u8> {
    let digit = |octet: u8| char::from(octet).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&octet, after)) = rest.split_first() {
        rest = after;
        match (octet, rest) {
            (b'=', [b'\r', b'\n', after @ ..] | [b'\n', after @ ..]) => rest = after,
            (b'=', [high, low, after @ ..]) if digit(*high).is_some() && digit(*low).is_some() => {
                octets.push(digit(*high).unwrap_or_default() << 4 | digit(*low).unwrap_or_default());
                rest = after;
            }
            _ => octets.push(octet),
        }
    }
    octets
}
