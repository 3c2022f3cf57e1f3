//! What the server has announced on this channel, kept by the session.

use alloc::vec::Vec;

use crate::auth::{Mechanism, MechanismSet};
use crate::syntax::{Capability, Extension, ExtensionSet, ReplyLines, Words};

/// What the server announced in its reply to EHLO, on the present channel: what it said in plaintext is forgotten
/// inside TLS (RFC 3207 4.2).
#[derive(Debug, Default)]
pub struct Offers {
    set: ExtensionSet,
    size: Option<u64>,
    auth: MechanismSet,
    mail_max: Option<u32>,
    rcpt_max: Option<u32>,
    rcpt_domain_max: Option<u32>,
    /// The reply as it came; its memory is used again.
    raw: Vec<u8>,
}

impl Offers {
    /// Not a part of what every reply goes through.
    #[inline(never)]
    pub(super) fn learn(&mut self, reply: &ReplyLines<'_>) {
        self.forget();
        self.raw.extend_from_slice(reply.raw());
        for line in reply.announced() {
            let Some(extension) = line.extension else {
                self.old_auth(line.line);
                continue;
            };
            // By octets: nobody asks for its words as text.
            if extension == Extension::Auth {
                if let Some(names) = Words::of(line.params) {
                    self.auth = names.filter_map(Mechanism::of).fold(self.auth, MechanismSet::with);
                    self.set.insert(extension);
                }
                continue;
            }
            let Some(capability) = Capability::announced(extension, line.params) else { continue };
            self.set.insert(extension);
            match capability {
                // RFC 1870 4: 0 is no fixed limit.
                Capability::Size(size) => self.size = size.filter(|size| *size > 0),
                Capability::Limits(limits) => {
                    // RFC 9422 4: at most six digits; what does not parse is no limit, 0 is none either.
                    let limit = |name| limits.value(name)?.parse().ok().filter(|limit| (1..1_000_000).contains(limit));
                    self.mail_max = limit("MAILMAX");
                    self.rcpt_max = limit("RCPTMAX");
                    self.rcpt_domain_max = limit("RCPTDOMAINMAX");
                }
                _ => {}
            }
        }
    }

    /// `AUTH=PLAIN LOGIN`, from before RFC 2554, which some servers say beside `AUTH`, and some alone.
    fn old_auth(&mut self, line: &[u8]) {
        let Some((keyword, names)) = line.split_at_checked(5) else { return };
        if !keyword.eq_ignore_ascii_case(b"AUTH=") {
            return;
        }
        // No name is known but in ASCII, and none in what is no UTF-8.
        let names = if names.is_ascii() || str::from_utf8(names).is_ok() { names } else { &[] };
        let names = names.split(u8::is_ascii_whitespace).filter_map(Mechanism::of);
        self.auth = names.fold(self.auth, MechanismSet::with);
        self.set.insert(Extension::Auth);
    }

    pub(super) fn forget(&mut self) {
        let raw = core::mem::take(&mut self.raw);
        *self = Self { raw, ..Self::default() };
        self.raw.clear();
    }

    /// Whether `extension` was announced.
    #[must_use]
    pub const fn has(&self, extension: Extension) -> bool {
        self.set.contains(extension)
    }

    /// The announced extensions that are known here.
    #[must_use]
    pub const fn extensions(&self) -> ExtensionSet {
        self.set
    }

    /// The most octets that a message may have, if the server has such a limit (RFC 1870 4).
    #[must_use]
    pub const fn size(&self) -> Option<u64> {
        self.size
    }

    /// Those SASL mechanisms that are known here.
    #[must_use]
    pub const fn mechanisms(&self) -> MechanismSet {
        self.auth
    }

    /// Transactions in this session at most (RFC 9422 5.1).
    #[must_use]
    pub const fn mail_max(&self) -> Option<u32> {
        self.mail_max
    }

    /// Recipients in a transaction at most (RFC 9422 5.2).
    #[must_use]
    pub const fn rcpt_max(&self) -> Option<u32> {
        self.rcpt_max
    }

    /// Domains of recipients in a transaction at most (RFC 9422 5.3).
    #[must_use]
    pub const fn rcpt_domain_max(&self) -> Option<u32> {
        self.rcpt_domain_max
    }

    /// Each line, also those that are not known here.
    pub fn capabilities(&self) -> impl Iterator<Item = Capability<'_>> {
        ReplyLines::of_checked(&self.raw).capabilities()
    }

    /// Whether a keyword that is not known here was announced.
    pub(super) fn has_unknown(&self, keyword: &str) -> bool {
        self.capabilities()
            .any(|each| matches!(each, Capability::Other { keyword: other, .. } if other.eq_ignore_ascii_case(keyword)))
    }
}

#[cfg(test)]
mod tests {
    use super::Offers;
    use crate::auth::{Mechanism, MechanismSet};
    use crate::syntax::{Extension, ReplyLines};

    fn told(line: &[u8]) -> Offers {
        let raw = [b"250-mx\r\n250 ", line, b"\r\n"].concat();
        let mut offers = Offers::default();
        offers.learn(&ReplyLines::parse(&raw).expect("a good reply").expect("a whole one"));
        offers
    }

    /// RFC 4954 3: names with blanks between them; a parameter that is no `ehlo-param` (RFC 5321 4.1.1.1) spoils the line.
    #[test]
    fn mechanisms_are_told_apart_by_blanks() {
        let offers = told(b"AUTH PLAIN  x-other LOGIN ");
        assert_eq!(offers.mechanisms(), MechanismSet::EMPTY.with(Mechanism::Plain).with(Mechanism::Login));
        let offers = told(b"AUTH PLAIN\x01 LOGIN");
        assert_eq!((offers.mechanisms(), offers.has(Extension::Auth)), (MechanismSet::EMPTY, false));
    }

    /// `AUTH=` of before RFC 2554 is taken for AUTH, its names told apart by any blanks; names that are not known do no harm, and
    /// what is no UTF-8 has no name.
    #[test]
    fn the_old_way_to_announce_auth() {
        let both = MechanismSet::EMPTY.with(Mechanism::Plain).with(Mechanism::Login);
        for (line, known) in [
            (&b"AUTH=PLAIN LOGIN"[..], both),
            (b"auth=login\tplain", both),
            (b"AUTH=PLAIN \xc3\xbc LOGIN", both),
            (b"AUTH=PLAIN \xff LOGIN", MechanismSet::EMPTY),
            (b"AUTH=", MechanismSet::EMPTY),
        ] {
            let offers = told(line);
            assert_eq!(offers.mechanisms(), known, "{}", line.escape_ascii());
            assert!(offers.has(Extension::Auth), "{}", line.escape_ascii());
        }
        for line in [&b"AUTH-PLAIN"[..], b"BUTH=PLAIN", b"AUTH"] {
            assert_eq!(told(line).mechanisms(), MechanismSet::EMPTY, "{}", line.escape_ascii());
        }
    }
}
