//! The arguments of commands (RFC 5321 4.1.1), each in its own grammar.

use super::address::{self, Path};
use super::class::{DCONTENT, cut, is, is_quiet, printable_span, same};
use super::command::{Command, Etrn, Mail, Options, Rcpt};
use super::{
    Base64, ForwardPath, Host, Params, ReversePath, SyntaxError, SyntaxErrorKind as Kind, Verb, class, lenient,
};
use crate::{Leniencies, Leniency};

/// RFC 5321 4.1.1.1. ASCII always: nothing has been announced yet (RFC 6531 3.7.1).
pub(super) fn hello<'a>(text: &'a str, options: &Options, used: &mut Leniencies) -> Result<Host<'a>, SyntaxError> {
    let strict = Host::parse(text).map_err(|error| SyntaxError::new(Kind::BadArgument, error.offset()));
    if strict.is_err()
        && options.lenient.contains(Leniency::HeloName)
        && let Some(host) = lenient::hello(text)
    {
        *used = used.with(Leniency::HeloName);
        return Ok(host);
    }
    strict
}

#[inline]
pub(super) fn mail<'a>(argument: &'a [u8], options: &Options, used: &mut Leniencies) -> Result<Mail<'a>, SyntaxError> {
    let (path, params) = path_and_params(argument, Verb::Mail, options, used)?;
    let path = match path {
        Path::Null => ReversePath::Null,
        Path::Mailbox(mailbox) => ReversePath::Mailbox(mailbox),
        Path::Postmaster(_) => return Err(SyntaxError::new(Kind::BadAddress, "FROM:".len())),
    };
    // RFC 6531 3.4: the parameter is part of the very command that needs it. Where UTF-8 is not let in, it did not parse.
    if lets_utf8_in(options) && !(argument.is_ascii() || options.smtputf8 && params.smtputf8()) {
        if options.lenient.contains(Leniency::Utf8WithoutSmtpUtf8) {
            *used = used.with(Leniency::Utf8WithoutSmtpUtf8);
            return Ok(Mail { path, params });
        }
        let at = argument.iter().position(|octet| *octet > 127).unwrap_or(0);
        return Err(SyntaxError::new(Kind::Utf8WithoutSmtpUtf8, at));
    }
    Ok(Mail { path, params })
}

#[inline]
pub(super) fn rcpt<'a>(argument: &'a [u8], options: &Options, used: &mut Leniencies) -> Result<Rcpt<'a>, SyntaxError> {
    let (path, params) = path_and_params(argument, Verb::Rcpt, options, used)?;
    if !options.smtputf8 && lets_utf8_in(options) && !argument.is_ascii() {
        *used = used.with(Leniency::Utf8WithoutSmtpUtf8);
    }
    let path = match path {
        Path::Mailbox(mailbox) => ForwardPath::Mailbox(mailbox),
        Path::Postmaster(text) => ForwardPath::Postmaster(text),
        Path::Null => return Err(SyntaxError::new(Kind::BadAddress, "TO:".len())),
    };
    Ok(Rcpt { path, params })
}

/// Whether the grammar is that of RFC 6531 3.3.
#[inline]
const fn lets_utf8_in(options: &Options) -> bool {
    options.smtputf8 || options.lenient.contains(Leniency::Utf8WithoutSmtpUtf8)
}

/// `FROM:` or `TO:`, a path, and behind a space its parameters. What holds UTF-8 that is none is refused.
#[inline]
fn path_and_params<'a>(
    argument: &'a [u8],
    verb: Verb,
    options: &Options,
    used: &mut Leniencies,
) -> Result<(Path<'a>, Params<'a>), SyntaxError> {
    let prefix: &[u8] = if verb == Verb::Mail { b"FROM:" } else { b"TO:" };
    let mut rest = match argument.split_at_checked(prefix.len()) {
        // A control cannot pass for a letter here, and what differs from the colon only in bit 5 is one.
        Some((start, rest)) if same(start, prefix) && start.ends_with(b":") => rest,
        _ => return Err(SyntaxError::new(Kind::BadArgument, 0)),
    };
    if rest.starts_with(b" ") && options.lenient.contains(Leniency::SpaceAfterColon) {
        while let [b' ', behind @ ..] = rest {
            rest = behind;
        }
        *used = used.with(Leniency::SpaceAfterColon);
    }
    let utf8 = lets_utf8_in(options);
    let at = argument.len() - rest.len();
    let later = |by: usize| move |error: SyntaxError| SyntaxError::new(error.kind(), error.offset() + by);
    let (path, length) = match address::path(rest, utf8) {
        Ok(found) => found,
        Err(error) => match lenient_path(rest, utf8, options.lenient) {
            Some((path, length, more)) => {
                *used = used.union(more);
                (path, length)
            }
            None => return Err(later(at)(error)),
        },
    };
    let at = at + length;
    let params = match rest.get(length) {
        None => Params::NONE,
        Some(b' ') => {
            let raw = rest.get(length + 1..).unwrap_or_default();
            Params::of(raw, verb, utf8).map_err(later(at + 1))?
        }
        Some(_) => return Err(SyntaxError::new(Kind::BadParameter, at)),
    };
    Ok((path, params))
}

#[cold]
fn lenient_path(octets: &[u8], utf8: bool, lenient: Leniencies) -> Option<(Path<'_>, usize, Leniencies)> {
    lenient::path(core::str::from_utf8(octets).ok()?, utf8, lenient)
}

/// RFC 4954 4, RFC 4422 3.1.
pub(super) fn auth(argument: &[u8]) -> Result<Command<'_>, SyntaxError> {
    let fits = |octet: u8| is(octet, class::LDH) || octet == b'_';
    let end = argument.iter().position(|&octet| !fits(octet)).unwrap_or(argument.len());
    let bad = SyntaxError::new(Kind::BadArgument, 0);
    let (mechanism, initial) = match argument.split_at_checked(end) {
        Some((mechanism, [])) => (mechanism, None),
        Some((mechanism, [b' ', initial @ ..])) => (mechanism, Some(initial)),
        _ => return Err(bad),
    };
    if !matches!(mechanism.len(), 1..=20) {
        return Err(bad);
    }
    let mechanism = core::str::from_utf8(mechanism).map_err(|_| bad)?;
    let at = mechanism.len() + 1;
    let initial = match initial {
        None => None,
        // An initial response of no octets, told from none.
        Some(b"=") => Some(Base64::EMPTY),
        Some(b"") => return Err(SyntaxError::new(Kind::BadBase64, at)),
        Some(octets) => Some(Base64::of(octets).map_err(|error| SyntaxError::new(error.kind(), error.offset() + at))?),
    };
    Ok(Command::Auth { mechanism, initial })
}

/// RFC 1985 5.1.
pub(super) fn etrn(text: &str) -> Result<Etrn<'_>, SyntaxError> {
    let bad = |_| SyntaxError::new(Kind::BadArgument, 0);
    if let Some(queue) = text.strip_prefix('#') {
        let fits = !queue.is_empty() && queue.bytes().all(|octet| octet.is_ascii_graphic());
        return if fits { Ok(Etrn::Queue(queue)) } else { Err(SyntaxError::new(Kind::BadArgument, 0)) };
    }
    match text.strip_prefix('@') {
        Some(domain) => Host::parse(domain).map(Etrn::Subdomains).map_err(bad),
        None => Host::parse(text).map(Etrn::Host).map_err(bad),
    }
}

/// What stands before ` LAST`, if that is there (RFC 3030 2, RFC 4468 3).
pub(super) fn with_last(argument: &[u8]) -> Result<(&[u8], bool), SyntaxError> {
    match cut(argument, b' ') {
        None => Ok((argument, false)),
        Some((first, last)) if same(last, b"LAST") => Ok((first, true)),
        Some((first, _)) => Err(SyntaxError::new(Kind::BadArgument, first.len() + 1)),
    }
}

/// RFC 3986 4.3: a scheme, a colon, and octets that a URI may hold.
pub(super) fn is_absolute_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let octet = |octet: u8| is(octet, DCONTENT) || matches!(octet, b'[' | b']');
    let forbidden = |octet: u8| matches!(octet, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | b'#');
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'-' | b'.'))
        && !rest.is_empty()
        && rest.bytes().all(|each| octet(each) && !forbidden(each))
}

/// An argument of printable ASCII; not none, as a space announced one.
pub(super) fn printable(text: &str) -> Result<&str, SyntaxError> {
    match printable_span::<32, 0, 0>(text.as_bytes()) {
        0 if text.is_empty() => Err(SyntaxError::new(Kind::BadArgument, 0)),
        at if at == text.len() => Ok(text),
        at => Err(SyntaxError::new(if text.is_ascii() { Kind::Control } else { Kind::EightBit }, at)),
    }
}

/// The argument of VRFY and EXPN: UTF-8 only with SMTPUTF8 at its end (RFC 6531 3.7.4.2).
pub(super) fn verifiable<'a>(text: &'a str, options: &Options) -> Result<&'a str, SyntaxError> {
    if !options.smtputf8 || text.is_ascii() {
        return printable(text);
    }
    let flagged = text.len().checked_sub(" SMTPUTF8".len()).and_then(|at| text.get(at..));
    if !flagged.is_some_and(|flag| flag.eq_ignore_ascii_case(" SMTPUTF8")) {
        return Err(SyntaxError::new(Kind::Utf8WithoutSmtpUtf8, 0));
    }
    if text.chars().any(|char| char.is_ascii_control()) || !is_quiet(text) {
        return Err(SyntaxError::new(Kind::Control, 0));
    }
    Ok(text)
}
