//! Verbs: the word that a command begins with (RFC 5321 4.1.1).

use core::fmt;

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
        let (verb, tail) = match &(u32::from_be_bytes(*first) & 0xdfdf_dfdf).to_be_bytes() {
            b"EHLO" => (Self::Ehlo, ""),
            b"HELO" => (Self::Helo, ""),
            b"LHLO" => (Self::Lhlo, ""),
            b"MAIL" => (Self::Mail, ""),
            b"RCPT" => (Self::Rcpt, ""),
            b"DATA" => (Self::Data, ""),
            b"BDAT" => (Self::Bdat, ""),
            b"RSET" => (Self::Rset, ""),
            b"NOOP" => (Self::Noop, ""),
            b"VRFY" => (Self::Vrfy, ""),
            b"EXPN" => (Self::Expn, ""),
            b"HELP" => (Self::Help, ""),
            b"QUIT" => (Self::Quit, ""),
            b"STAR" => (Self::StartTls, "TTLS"),
            b"AUTH" => (Self::Auth, ""),
            b"ETRN" => (Self::Etrn, ""),
            b"ATRN" => (Self::Atrn, ""),
            b"BURL" => (Self::Burl, ""),
            b"XCLI" => (Self::Xclient, "ENT"),
            b"XFOR" => (Self::Xforward, "WARD"),
            b"SEND" => (Self::Send, ""),
            b"SOML" => (Self::Soml, ""),
            b"SAML" => (Self::Saml, ""),
            b"TURN" => (Self::Turn, ""),
            _ => return None,
        };
        let rest = if tail.is_empty() {
            rest
        } else {
            let (word, rest) = rest.split_at_checked(tail.len())?;
            if !word.eq_ignore_ascii_case(tail.as_bytes()) {
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
