//! Names as they are compared: domains in lower case, and the part of them that somebody has registered.

use std::hash::Hasher;
use std::net::IpAddr;
use std::ops::Range;

use rustc_hash::FxHasher;

/// Names that were made comparable, to be found again: most mail is of few senders. One that takes another's place is
/// made anew when it comes again.
#[derive(Debug, Default)]
pub(super) struct Names(Vec<Name>);

/// A name.
#[derive(Debug, Default)]
pub(super) struct Name {
    lower: Box<str>,
    /// As it was written, where that is anything else.
    written: Option<Box<[u8]>>,
    /// Where the registrable part begins; `None` where there is none.
    registrable: Option<usize>,
}

/// The same of names that are comparable, as ledgers hold them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Domains(Vec<(Box<str>, Range<usize>)>);

/// Senders' domains as ledgers hold them, by numbers: a line that is held back keeps the number, and what is found out of a
/// sender once is known when it writes again. Of those that come when there is no room there is no number.
#[derive(Debug, Default)]
pub(crate) struct Senders {
    senders: Vec<Sender>,
    /// One more than the number of a sender, at the place that its hash says or behind it; 0 where there is none.
    table: Vec<u16>,
}

/// A sender's domain.
#[derive(Debug)]
pub(crate) struct Sender {
    domain: Box<str>,
    registrable: Range<usize>,
    /// Among the [`Clients`](super::clients::Clients).
    pub(super) client: Option<u32>,
}

/// Which of the senders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SenderNumber(u16);

/// So many places there are.
const PLACES: usize = 1 << 11;
/// A name longer than this is none of a domain's (RFC 5321 4.5.3.1.2), and not kept.
const LONGEST: usize = 255;

impl Domains {
    /// The part of a domain that somebody has registered.
    pub(crate) fn registrable<'n>(&mut self, domain: &'n str) -> &'n str {
        if domain.len() > LONGEST {
            return crate::ledger::registrable(domain);
        }
        if self.0.is_empty() {
            self.0.resize_with(PLACES, Default::default);
        }
        let (known, within) = &mut self.0[place(domain.as_bytes())];
        if **known != *domain {
            *within = registrable_within(domain);
            *known = domain.into();
        }
        domain.get(within.clone()).unwrap_or(domain)
    }
}

impl Senders {
    /// So many are known by number.
    const MOST: u16 = 1 << 14;
    /// So far a sender stands from the place of its hash at most: names that were made to meet cost no more than that.
    const FAR: usize = 64;

    /// The number of this one.
    pub(super) fn number(&mut self, domain: &[u8]) -> Option<SenderNumber> {
        if self.table.is_empty() {
            self.table = vec![0; usize::from(Self::MOST) * 4];
        }
        let hash = hashed(domain);
        let mut free = None;
        for far in 0..Self::FAR {
            let place = hash.wrapping_add(far) % self.table.len();
            let Some(number) = self.table[place].checked_sub(1) else {
                free = Some(place);
                break;
            };
            if self.senders.get(usize::from(number)).is_some_and(|known| known.domain.as_bytes() == domain) {
                return Some(SenderNumber(number));
            }
        }
        let place = free?;
        let number = u16::try_from(self.senders.len()).ok().filter(|number| *number < Self::MOST)?;
        let domain = std::str::from_utf8(domain).ok().filter(|domain| (1..=LONGEST).contains(&domain.len()))?;
        self.table[place] = number + 1;
        self.senders.push(Sender { domain: domain.into(), registrable: registrable_within(domain), client: None });
        Some(SenderNumber(number))
    }

    pub(super) fn get(&self, number: SenderNumber) -> Option<&Sender> {
        self.senders.get(usize::from(number.0))
    }

    pub(super) fn get_mut(&mut self, number: SenderNumber) -> Option<&mut Sender> {
        self.senders.get_mut(usize::from(number.0))
    }
}

impl Sender {
    /// The part of its domain that somebody has registered.
    pub(super) fn registrable(&self) -> &str {
        self.domain.get(self.registrable.clone()).unwrap_or(&self.domain)
    }
}

impl Names {
    /// The name that an address or a domain has.
    pub(super) fn find(&mut self, address: &[u8]) -> &Name {
        if self.0.is_empty() {
            self.0.resize_with(PLACES + 1, Name::default);
        }
        let written = domain(address);
        let place = if written.len() > LONGEST { PLACES } else { place(written) };
        let name = &mut self.0[place];
        if name.written() != written {
            *name = Name::new(written);
        }
        name
    }
}

impl Name {
    fn new(written: &[u8]) -> Self {
        let mut lower = String::new();
        lower_domain(written, &mut lower);
        // It is the end of it, as all suffixes are.
        let registrable = registrable(&lower).map(|part| lower.len() - part.len());
        let other = (lower.as_bytes() != written).then(|| written.into());
        Self { lower: lower.into(), written: other, registrable }
    }

    fn written(&self) -> &[u8] {
        self.written.as_deref().unwrap_or(self.lower.as_bytes())
    }

    pub(super) fn lower(&self) -> &str {
        &self.lower
    }

    /// The domain that somebody has registered.
    pub(super) fn registrable(&self) -> Option<&str> {
        self.registrable.and_then(|start| self.lower.get(start..))
    }
}

/// Where a name is looked for.
fn place(name: &[u8]) -> usize {
    hashed(name) % PLACES
}

fn hashed(name: &[u8]) -> usize {
    let mut hasher = FxHasher::default();
    hasher.write(name);
    (hasher.finish() >> 32) as usize
}

/// Where the part of a domain stands that somebody has registered.
fn registrable_within(domain: &str) -> Range<usize> {
    let part = crate::ledger::registrable(domain);
    // A dot may stand behind it.
    let start = part.as_ptr().addr().wrapping_sub(domain.as_ptr().addr());
    start..start.wrapping_add(part.len())
}

pub(super) fn lowered(address: &[u8]) -> String {
    let mut domain = String::new();
    lower_domain(address, &mut domain);
    domain
}

/// What stands behind the last `@`, or all of it.
fn domain(address: &[u8]) -> &[u8] {
    memchr::memrchr(b'@', address).map_or(address, |at| &address[at + 1..])
}

/// The domain of an address, or the domain that it is, in lower case and in printable characters.
pub(super) fn lower_domain(address: &[u8], into: &mut String) {
    into.clear();
    let domain = domain(address);
    let domain = &domain[..domain.len().min(255)];
    let domain = domain.strip_suffix(b".").unwrap_or(domain);
    // All but always it is no more than this.
    if domain.iter().fold(true, |all, octet| all & octet.is_ascii_graphic())
        && let Ok(domain) = std::str::from_utf8(domain)
    {
        into.push_str(domain);
        into.make_ascii_lowercase();
        if into == "unknown" {
            into.clear();
        }
        return;
    }
    let lower = String::from_utf8_lossy(domain);
    into.extend(lower.chars().flat_map(char::to_lowercase).filter(|char| !char.is_control() && *char != ' '));
}

/// The domain that somebody has registered; of an address, or of nothing, there is none.
fn registrable(domain: &str) -> Option<&str> {
    let numeric = domain.ends_with(|last: char| last.is_ascii_digit()) || domain.contains(':');
    match domain {
        "" => None,
        domain if numeric && domain.parse::<IpAddr>().is_ok() => Some(domain),
        domain => Some(crate::ledger::registrable(domain)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Domains, Names, Senders};

    #[test]
    fn senders_keep_their_numbers_and_those_without_room_have_none() {
        let mut senders = Senders::default();
        let name = |number: u16| format!("mx.sender{number}.example");
        for round in 0..2 {
            for number in 0..Senders::MOST + 100 {
                let told = senders.number(name(number).as_bytes());
                assert_eq!(told.map(|told| told.0), (number < Senders::MOST).then_some(number), "{round}");
                let Some(sender) = told.and_then(|told| senders.get_mut(told)) else { continue };
                assert_eq!(sender.registrable(), format!("sender{number}.example"));
                assert_eq!(sender.client, (round == 1).then(|| number.into()));
                sender.client = Some(number.into());
            }
        }
        // Those that stand too close to others have none.
        let mut senders = Senders::default();
        let meet = senders.number(b"a.example").map(|_| super::hashed(b"a.example"));
        for far in 0..Senders::FAR {
            senders.table[(meet.unwrap_or(0) + far) % (usize::from(Senders::MOST) * 4)] = 1;
        }
        assert_eq!(senders.number(b"a.example").map(|told| told.0), Some(0));
        senders.senders[0].domain = "b.example".into();
        assert_eq!(senders.number(b"a.example"), None);
        let mut senders = Senders::default();
        for wrong in [&b""[..], b"\xff.example", "x".repeat(256).as_bytes()] {
            assert_eq!(senders.number(wrong), None);
        }
        assert_eq!(
            senders
                .number(b"co.uk")
                .and_then(|told| senders.get_mut(told))
                .map(|sender| sender.registrable().to_owned()),
            Some("co.uk".into())
        );
    }

    #[test]
    fn domains_of_ledgers_are_found_as_they_are_looked_up() {
        let mut domains = Domains::default();
        let long = format!("{}.example.org", "x".repeat(300));
        let fixed =
            ["", "a.b.example.co.uk", "co.uk", "localhost", "[192.0.2.1]", "x.example.net.", "b\u{fc}.example", &long];
        let many: Vec<String> = (0..10_000).map(|number| format!("mx.sender{number}.example")).collect();
        for domain in many.iter().map(String::as_str).chain(fixed) {
            for domain in [domain, "news.example.co.uk", domain] {
                assert_eq!(domains.registrable(domain), crate::ledger::registrable(domain), "{domain}");
            }
        }
    }

    #[test]
    fn senders_are_registrable_domains() {
        let mut names = Names::default();
        let long = format!("a@{}.example.org", "x".repeat(300));
        for (address, domain) in [
            ("a@News.Example.ORG", Some("example.org")),
            ("mx3.shop.example.co.uk", Some("example.co.uk")),
            ("\"x@y\"@example.net.", Some("example.net")),
            ("a@[192.0.2.1]", Some("[192.0.2.1]")),
            ("root@localhost", Some("localhost")),
            ("unknown", None),
            ("", None),
            ("a@ex\u{1}am\nple.org", Some("example.org")),
            ("a@B\u{dc}CHER.example", Some("b\u{fc}cher.example")),
            ("UNKNOWN", None),
            ("192.0.2.1", Some("192.0.2.1")),
            ("2001:db8::1", Some("2001:db8::1")),
            (&long, Some(&long[2..257])),
        ] {
            // A second time it is found.
            assert_eq!(names.find(address.as_bytes()).registrable(), domain, "{address}");
            assert_eq!(names.find(address.as_bytes()).registrable(), domain, "{address}");
        }
        for number in 0..10_000 {
            let name = format!("A@mx.sender{number}.example");
            assert_eq!(names.find(name.as_bytes()).registrable(), Some(&*format!("sender{number}.example")));
            assert_eq!(names.find(b"a@MX.example").lower(), "mx.example");
        }
    }
}
