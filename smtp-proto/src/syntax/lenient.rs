//! Reads again what the strict grammar has refused, with the leniencies that are on. Each reader says which it used.

use core::net::Ipv6Addr;

use super::address::{MAX_DOMAIN, MAX_LABEL, Path, is_quoted_string};
use super::class::{ATEXT, HIGH, LDH, is};
use super::{Host, Mailbox};
use crate::{Leniencies, Leniency};

/// A path off the front of `text`, how long it is, and what had to be let pass; `None` where that is not enough.
#[cold]
pub(super) fn path(text: &str, utf8: bool, lenient: Leniencies) -> Option<(Path<'_>, usize, Leniencies)> {
    let mut used = Leniencies::STRICT;
    let (start, end, length) = match text.as_bytes() {
        [b'<', ..] => {
            let end = 1 + unquoted(text.get(1..)?, |octet| octet == b'>')?;
            (1, end, end + 1)
        }
        _ => {
            used = used.with(Leniency::BareBrackets);
            let end = unquoted(text, |octet| octet == b' ').unwrap_or(text.len());
            (0, end, end)
        }
    };
    let inside = text.get(start..end)?;
    if start == 0 && inside.eq_ignore_ascii_case("postmaster") {
        return within(used, lenient).map(|used| (Path::Postmaster(inside), length, used));
    }
    let (mailbox, more) = mailbox(inside, utf8)?;
    within(used.union(more), lenient).map(|used| (Path::Mailbox(mailbox), length, used))
}

/// RFC 5321 4.1.1.1, but for what [`Leniency::HeloName`] names.
#[cold]
pub(super) fn hello(text: &str) -> Option<Host<'_>> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let fits = text.is_empty()
        || text.len() <= MAX_DOMAIN
            && (name.split('.').all(is_atom) || text.parse::<Ipv6Addr>().is_ok() || is_literal(text));
    fits.then_some(Host::let_pass(text))
}

/// An atom (RFC 5322 3.2.3): what may stand in a Received field as it is.
fn is_atom(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|octet| is(octet, ATEXT))
}

/// An IPv6 address in brackets, perhaps without its tag or with the zone that it is in at the client (RFC 4007 11).
fn is_literal(text: &str) -> bool {
    let Some(inside) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else { return false };
    let tag = inside.get(..5).filter(|tag| tag.eq_ignore_ascii_case("IPv6:"));
    let inside = inside.get(tag.map_or(0, str::len)..).unwrap_or_default();
    let (address, zone) = inside.split_once('%').unwrap_or((inside, "0"));
    address.parse::<Ipv6Addr>().is_ok() && is_atom(zone)
}

/// A whole mailbox, with no more let pass than is given.
#[cold]
pub(super) fn whole_mailbox(text: &str, utf8: bool, lenient: Leniencies) -> Option<Mailbox<'_>> {
    let (mailbox, used) = mailbox(text, utf8)?;
    within(used, lenient).map(|_| mailbox)
}

fn mailbox(text: &str, utf8: bool) -> Option<(Mailbox<'_>, Leniencies)> {
    let mut used = Leniencies::STRICT;
    let at = unquoted(text, |octet| octet == b'@').unwrap_or(text.len());
    let local = text.get(..at)?;
    if !is_quoted_string(local, utf8) {
        let octet = |octet: u8| is(octet, if utf8 { ATEXT | HIGH } else { ATEXT });
        if local.bytes().all(|each| each == b'.') || !local.bytes().all(|each| each == b'.' || octet(each)) {
            return None;
        }
        if local.split('.').any(str::is_empty) {
            used = used.with(Leniency::DotsInLocalPart);
        }
    }
    match text.get(at + 1..) {
        None => used = used.with(Leniency::NoDomain),
        Some(domain) if Host::parse_with(domain, if utf8 { LDH | HIGH } else { LDH }).is_ok() => {}
        Some(domain) if domain.split('.').all(|label| is_label(label, utf8) && !is_hyphened(label)) => {
            used = used.with(Leniency::UnderscoreInDomain);
        }
        Some(_) => return None,
    }
    Mailbox::checked(text, at, utf8).ok().map(|mailbox| (mailbox, used))
}

/// Where the first such octet stands outside of a quoted string at the front (RFC 5321 4.1.2).
fn unquoted(text: &str, wanted: impl Fn(u8) -> bool) -> Option<usize> {
    let mut quoted = text.starts_with('"');
    let mut escaped = false;
    for (at, octet) in text.bytes().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' if quoted && at > 0 => quoted = false,
            _ if !quoted && wanted(octet) => return Some(at),
            _ => {}
        }
    }
    None
}

fn is_label(label: &str, utf8: bool) -> bool {
    let octet = |octet: u8| octet == b'_' || is(octet, if utf8 { LDH | HIGH } else { LDH });
    !label.is_empty() && (label.len() <= MAX_LABEL || !label.is_ascii()) && label.bytes().all(octet)
}

fn is_hyphened(label: &str) -> bool {
    label.starts_with('-') || label.ends_with('-')
}

fn within(used: Leniencies, lenient: Leniencies) -> Option<Leniencies> {
    used.without(lenient).is_strict().then_some(used)
}
