//! Verbs: the word that a command begins with (RFC 5321 4.1.1).

use core::fmt;

use super::class::same;

/// The verb of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each is its own name")]
pub enum Verb {
    Ehlo,
    Helo,
    Lhlo,
    Mail,
    Rcpt,
    Data,
    Bdat,
    Rset,
    Noop,
    Vrfy,
    Expn,
    Help,
    Quit,
    StartTls,
    Auth,
    Etrn,
    Atrn,
    Burl,
    Xclient,
    Xforward,
    Send,
    Soml,
    Saml,
    Turn,
}

/// Every verb, in the order of the enum.
const VERBS: [Verb; 24] = [
    Verb::Ehlo,
    Verb::Helo,
    Verb::Lhlo,
    Verb::Mail,
    Verb::Rcpt,
    Verb::Data,
    Verb::Bdat,
    Verb::Rset,
    Verb::Noop,
    Verb::Vrfy,
    Verb::Expn,
    Verb::Help,
    Verb::Quit,
    Verb::StartTls,
    Verb::Auth,
    Verb::Etrn,
    Verb::Atrn,
    Verb::Burl,
    Verb::Xclient,
    Verb::Xforward,
    Verb::Send,
    Verb::Soml,
    Verb::Saml,
    Verb::Turn,
];

/// Verbs by the hash of their first four letters, with these and with what follows them. No two share a place: with a
/// verb for which that is not so this does not compile, and wants another factor.
const SLOTS: [Option<(u32, Verb, &str)>; 32] = {
    let mut slots: [Option<(u32, Verb, &str)>; 32] = [None; 32];
    let mut at = 0;
    while at < VERBS.len() {
        assert!(VERBS[at] as usize == at, "the list in the order of the enum");
        let Some((start, _)) = VERBS[at].as_str().as_bytes().split_first_chunk::<4>() else { panic!("a short verb") };
        let word = u32::from_be_bytes(*start);
        assert!(slots[slot(word)].is_none(), "two verbs with the same hash");
        slots[slot(word)] = Some((word, VERBS[at], VERBS[at].as_str().split_at(4).1));
        at += 1;
    }
    slots
};

const fn slot(word: u32) -> usize {
    (word.wrapping_mul(0xe76c_ccd9) >> 27) as usize
}

impl Verb {
    /// The verb as it is written, in capitals.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ehlo => "EHLO",
            Self::Helo => "HELO",
            Self::Lhlo => "LHLO",
            Self::Mail => "MAIL",
            Self::Rcpt => "RCPT",
            Self::Data => "DATA",
            Self::Bdat => "BDAT",
            Self::Rset => "RSET",
            Self::Noop => "NOOP",
            Self::Vrfy => "VRFY",
            Self::Expn => "EXPN",
            Self::Help => "HELP",
            Self::Quit => "QUIT",
            Self::StartTls => "STARTTLS",
            Self::Auth => "AUTH",
            Self::Etrn => "ETRN",
            Self::Atrn => "ATRN",
            Self::Burl => "BURL",
            Self::Xclient => "XCLIENT",
            Self::Xforward => "XFORWARD",
            Self::Send => "SEND",
            Self::Soml => "SOML",
            Self::Saml => "SAML",
            Self::Turn => "TURN",
        }
    }

    /// The verb that a line begins with, in any case (RFC 5321 2.4), and what stands behind it: nothing, or what
    /// follows the space.
    #[inline]
    pub(super) fn split(line: &[u8]) -> Option<(Self, Option<&[u8]>)> {
        let (first, rest) = line.split_first_chunk::<4>()?;
        // Bit 5 tells small letters from capitals; only a letter can become the capital of a verb this way.
        let word = u32::from_be_bytes(*first) & 0xdfdf_dfdf;
        let (found, verb, tail) = SLOTS[slot(word)]?;
        if found != word {
            return None;
        }
        let rest = if tail.is_empty() {
            rest
        } else {
            let (word, rest) = rest.split_at_checked(tail.len())?;
            if !same(word, tail.as_bytes()) {
                return None;
            }
            rest
        };
        match rest {
            [] => Some((verb, None)),
            [b' ', argument @ ..] => Some((verb, Some(argument))),
            _ => None,
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
