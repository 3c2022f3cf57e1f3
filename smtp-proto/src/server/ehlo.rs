//! What is announced in reply to EHLO and LHLO, and which parameters follow from it.

use alloc::vec::Vec;

use super::replies::{decimal, line, printable};
use super::{Config, Role};
use crate::auth::MechanismSet;
use crate::syntax::{Keyword, KeywordSet};

/// Which client the reply is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Audience {
    /// The hop is encrypted.
    pub(super) tls: bool,
    /// The adapter trusts the peer.
    pub(super) trusted: bool,
    /// By which mechanisms it may authenticate itself.
    pub(super) mechanisms: MechanismSet,
}

impl Config {
    /// The reply (RFC 5321 4.1.1.1): name, then one extension a line.
    pub(super) fn write_ehlo(&self, out: &mut Vec<u8>, to: Audience, words: Option<&str>) {
        let on = &self.extensions;
        let mut last = out.len();
        line(out, b"250-", &self.hostname, words);
        let mut announce = |on: bool, keyword: &[u8], argument: &dyn Fn(&mut Vec<u8>)| {
            if on {
                last = out.len();
                out.extend_from_slice(b"250-");
                out.extend_from_slice(keyword);
                argument(out);
                out.extend_from_slice(b"\r\n");
            }
        };
        let none = |_: &mut Vec<u8>| {};
        announce(self.has_pipelining(), b"PIPELINING", &none);
        announce(on.size, b"SIZE", &|out| {
            // RFC 1870 4: nothing or 0 says that there is no limit that is known.
            if self.limits.message > 0 {
                out.push(b' ');
                decimal(out, self.limits.message);
            }
        });
        announce(on.eight_bit_mime, b"8BITMIME", &none);
        // RFC 3207 4.2: not inside TLS.
        announce(!to.tls && self.tls.offers(), b"STARTTLS", &none);
        announce(!to.mechanisms.is_empty(), b"AUTH", &|out| {
            for mechanism in to.mechanisms.iter() {
                out.push(b' ');
                out.extend_from_slice(mechanism.name().as_bytes());
            }
        });
        announce(on.chunking, b"CHUNKING", &none);
        announce(self.has_binary(), b"BINARYMIME", &none);
        announce(on.smtp_utf8, b"SMTPUTF8", &none);
        announce(on.dsn, b"DSN", &none);
        announce(on.deliver_by.is_some(), b"DELIVERBY", &|out| {
            if let Some(least) = on.deliver_by.filter(|least| *least > 0) {
                out.push(b' ');
                decimal(out, least.into());
            }
        });
        announce(on.future_release.is_some(), b"FUTURERELEASE", &|out| {
            if let Some(release) = &on.future_release {
                out.push(b' ');
                decimal(out, release.interval.into());
                out.push(b' ');
                printable(out, &release.until, 64);
            }
        });
        announce(on.mt_priority.is_some(), b"MT-PRIORITY", &|out| {
            if let Some(profile) = on.mt_priority.as_deref().filter(|profile| !profile.is_empty()) {
                out.push(b' ');
                printable(out, profile, 64);
            }
        });
        announce(on.rrvs, b"RRVS", &none);
        // RFC 8689 3: inside TLS only.
        announce(on.require_tls && to.tls, b"REQUIRETLS", &none);
        announce(on.limits, b"LIMITS", &|out| {
            out.extend_from_slice(b" RCPTMAX=");
            decimal(out, self.limits.recipients.into());
            if self.limits.transactions > 0 {
                out.extend_from_slice(b" MAILMAX=");
                decimal(out, self.limits.transactions.into());
            }
        });
        announce(to.trusted, b"XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT", &none);
        announce(to.trusted, b"XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE", &none);
        announce(self.has_enhanced_codes(), b"ENHANCEDSTATUSCODES", &none);
        // The line that turned out to be the last.
        if let Some(separator) = out.get_mut(last + 3) {
            *separator = b' ';
        }
    }

    /// The parameters of what is announced to this client (RFC 5321 4.1.1.11).
    pub(super) fn offered(&self, to: Audience) -> KeywordSet {
        let on = &self.extensions;
        [
            (on.size, &[Keyword::Size][..]),
            (on.eight_bit_mime || self.has_binary(), &[Keyword::Body]),
            (on.smtp_utf8, &[Keyword::SmtpUtf8]),
            (on.dsn, &[Keyword::Ret, Keyword::Envid, Keyword::Notify, Keyword::Orcpt]),
            (on.deliver_by.is_some(), &[Keyword::By]),
            (on.future_release.is_some(), &[Keyword::HoldFor, Keyword::HoldUntil]),
            (on.mt_priority.is_some(), &[Keyword::MtPriority]),
            (on.rrvs, &[Keyword::Rrvs]),
            (on.require_tls && to.tls, &[Keyword::RequireTls]),
            // RFC 4954 5.
            (!to.mechanisms.is_empty(), &[Keyword::Auth]),
        ]
        .into_iter()
        .filter(|(on, _)| *on)
        .fold(KeywordSet::EMPTY, |set, (_, keywords)| keywords.iter().fold(set, |set, keyword| set.with(*keyword)))
    }

    /// RFC 3030 3: BINARYMIME takes CHUNKING.
    pub(super) fn has_binary(&self) -> bool {
        self.extensions.chunking && self.extensions.binary_mime
    }

    /// RFC 2033 4.1: an LMTP server has it.
    pub(super) fn has_pipelining(&self) -> bool {
        self.extensions.pipelining || self.role == Role::Lmtp
    }

    /// RFC 2033 4.1: an LMTP server has it.
    pub(super) fn has_enhanced_codes(&self) -> bool {
        self.extensions.enhanced_status_codes || self.role == Role::Lmtp
    }
}
