//! Addresses as most are, read without going through the rules of `address.rs` one by one. What is let pass here passes there,
//! and ends at the same octet; what is not is looked at there.

use super::address::{MAX_LABEL, MAX_LOCAL_PART};
use super::class::{ATEXT, DOTTED_ATEXT, DOTTED_LDH, EACH, span};

/// A mailbox in front of the bracket that closes a path, and where its `@` stands: ASCII, no quotes, no literal, and a domain
/// as [`domain`] has it.
#[inline]
pub(super) fn mailbox(octets: &[u8]) -> Option<(&str, usize)> {
    let at = local_part(octets)?;
    let Some((b'@', behind)) = octets.get(at..)?.split_first() else { return None };
    let end = at + 1 + domain(behind)?;
    // With such a domain only the local part can be too long (RFC 5321 4.5.3.1).
    if octets.get(end) != Some(&b'>') || at > MAX_LOCAL_PART {
        return None;
    }
    Some((core::str::from_utf8(octets.get(..end)?).ok()?, at))
}

/// The length of a Dot-string (RFC 5321 4.1.2) at the start.
#[inline]
fn local_part(octets: &[u8]) -> Option<usize> {
    let first = span(octets, ATEXT);
    if first == 0 {
        return None;
    }
    let dots = octets.get(first..)?;
    if !dots.starts_with(b".") {
        return Some(first);
    }
    let dots = dots.get(..span(dots, DOTTED_ATEXT))?;
    // 128 less what differs from a dot: the high bit is left where nothing does.
    let is_dot = |word: u64| (EACH << 7).wrapping_sub(word ^ (EACH * 0x2e)) & EACH << 7;
    (!dots.ends_with(b".") && !are_abreast(dots, is_dot)).then_some(first + dots.len())
}

/// The length of a Domain (RFC 5321 4.1.2) at the start that is no longer than a label may be, and in which no two of dots and
/// hyphens stand side by side.
#[inline]
pub(super) fn domain(octets: &[u8]) -> Option<usize> {
    let domain = octets.get(..span(octets, DOTTED_LDH))?;
    if matches!(domain, [] | [b'-' | b'.', ..] | [.., b'-' | b'.']) || domain.len() > MAX_LABEL {
        return None;
    }
    // Letters have bit 6 and digits bit 4; these two have neither.
    (!are_abreast(domain, |word| !(word | word >> 2) & EACH << 4)).then_some(domain.len())
}

/// Whether two neighbours are marked: `marks` sets the same bit of each octet that is, and not that of `a`.
#[inline]
fn are_abreast(octets: &[u8], marks: impl Fn(u64) -> u64) -> bool {
    let (eights, _) = octets.as_chunks::<8>();
    let (mut found, mut before) = (0, 0);
    for eight in eights {
        let here = marks(u64::from_le_bytes(*eight));
        found |= here & (here << 8 | before >> 56);
        before = here;
    }
    let last = match octets.last_chunk() {
        Some(eight) => u64::from_le_bytes(*eight),
        None => octets.iter().rev().fold(EACH * 0x61, |word, &octet| word << 8 | u64::from(octet)),
    };
    let here = marks(last);
    (found | here & here << 8) != 0
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use super::super::address::{Path, any_path, path};
    use super::super::{Host, SyntaxError};
    use super::{domain, mailbox};

    fn told(found: Result<(Path<'_>, usize), SyntaxError>) -> Result<(String, usize), SyntaxError> {
        found.map(|(path, length)| match path {
            Path::Mailbox(mailbox) => (format!("{} {}", mailbox.as_str(), mailbox.local_part()), length),
            Path::Postmaster(text) => (format!("postmaster {text}"), length),
            Path::Null => ("null".into(), length),
        })
    }

    const ADDRESSES: [&str; 9] = [
        "a@b",
        "firstname.lastname@recipient.example",
        "newsletter-bounces+user=example.net@lists.sender.example",
        "a.b.c.d.e.f.g.h.i.j@k.l.m.n.o.p.q.r.s.t",
        "someone@mail-out-7.sender.example",
        "abcdefg@1234567.x",
        "postmaster",
        "Ab1-.c@d-.e",
        "0123456789@0123456789-0123456789-0123456789-0123456789.012345678",
    ];

    /// Each octet at each place, in the place of what is there and in front of it: the answer, its end and the fault alike.
    #[test]
    fn what_is_usual_is_what_the_grammar_says() {
        for address in ADDRESSES {
            let line = format!("<{address}> SIZE=1");
            for at in 1..line.len() {
                for octet in 0..=255 {
                    for behind in [at, at + 1] {
                        let octets = [&line.as_bytes()[..at], &[octet], &line.as_bytes()[behind..]].concat();
                        let found = told(path(&octets, false));
                        if found.as_ref().is_ok_and(|(told, _)| told == "null") {
                            continue;
                        }
                        assert_eq!(found, told(any_path(&octets, false)), "{}", octets.escape_ascii());
                    }
                }
            }
        }
    }

    /// Two marks at each pair of places: refused side by side, and at the ends.
    #[test]
    fn marks_stand_alone() {
        for length in 1..40 {
            for first in 0..length {
                for second in first..length {
                    for marks in [*b"..", *b".-", *b"-.", *b"--"] {
                        let mut room = [[b'a', b'0', b'Z'][length % 3]; 40];
                        (room[first], room[second]) = (marks[0], marks[1]);
                        let octets = &room[..length];
                        let alone = first > 0 && second + 1 < length && second != first + 1;
                        assert_eq!(domain(octets), alone.then_some(length), "{}", octets.escape_ascii());
                        let line = format!("{}@b>", octets.escape_ascii());
                        let dots = |at: usize| octets.get(at) == Some(&b'.');
                        let fits = !dots(0) && !dots(length - 1) && !(0..length).any(|at| dots(at) && dots(at + 1));
                        assert_eq!(mailbox(line.as_bytes()).is_some(), fits, "{line}");
                    }
                }
            }
        }
    }

    /// RFC 5321 4.5.3.1.1, RFC 1035 2.3.4.
    #[test]
    fn lengths_are_kept() {
        for length in 1..80 {
            let word = "a".repeat(length);
            assert_eq!(mailbox(format!("{word}@b>").as_bytes()).is_some(), length <= 64, "{length}");
            assert_eq!(domain(word.as_bytes()), (length <= 63).then_some(length), "{length}");
            assert_eq!(Host::parse(&word).is_ok(), length <= 63, "{length}");
        }
    }
}
