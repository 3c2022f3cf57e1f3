//! Departures from the standards that a server can be told to tolerate. Each has one name, the same in configuration, logs
//! and ledgers.
//!
//! No leniency changes where a text ends, and none lets replies get out of step with commands.

use core::fmt;
use core::str::FromStr;

use crate::text::TextLeniency;

macro_rules! leniencies {
    ($($variant:ident = $name:literal, devices: $devices:literal, $words:literal, $($doc:literal)+;)*) => {
        /// One departure from the standards that a server can be told to tolerate.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Leniency {
            $($(#[doc = $doc])+ $variant,)*
        }

        impl Leniency {
            /// Each of them, in the order of the table in `docs/leniency.md`.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its name, which does not change.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What it lets pass, in a few words.
            #[must_use]
            pub const fn description(self) -> &'static str {
                match self {
                    $(Self::$variant => $words,)*
                }
            }

            const fn of_devices(self) -> bool {
                match self {
                    $(Self::$variant => $devices,)*
                }
            }
        }
    };
}

leniencies! {
    SpaceAfterColon = "space-after-colon", devices: true, "a space behind FROM: and TO:",
        "`MAIL FROM: <a@b>` (RFC 5321 3.3 forbids the space).";
    TrailingSpace = "trailing-space", devices: true, "spaces and tabs at the end of a command",
        "Spaces and tabs at the end of a command. RFC 5321 4.1.1 says that they SHOULD be tolerated: on by default.";
    BareLfCommands = "bare-lf-commands", devices: true, "commands that end in LF, of a client that ends its first one so",
        "Commands that end in LF rather than CRLF (RFC 5321 2.3.8), from a client whose first command in the channel does. For"
        "every other client a bare LF stays an error in the line. Text still ends at CRLF . CRLF alone.";
    BareLfText = "bare-lf-text", devices: true, "LF without CR in the text",
        "LF without CR in the text (RFC 5321 2.3.8), as content: it never ends a line.";
    BareCrText = "bare-cr-text", devices: false, "CR without LF in the text",
        "CR without LF in the text (RFC 5321 2.3.8), as content.";
    NulText = "nul-text", devices: false, "NUL in the text",
        "NUL in the text (RFC 5321 4.5.2), as content.";
    BareBrackets = "bare-brackets", devices: true, "addresses without angle brackets",
        "`MAIL FROM:a@b`: a path without its brackets (RFC 5321 4.1.2).";
    HeloName = "helo-name", devices: true, "names in EHLO that are no domain names",
        "Names in EHLO, HELO and LHLO with an underscore or another character of an atom (RFC 5322 3.2.3), a hyphen at the end"
        "of a label, a dot at the end; an IPv6 address without brackets or tag, or with a zone; no name at all (RFC 5321 4.1.1.1).";
    DotsInLocalPart = "dots-in-local-part", devices: false, "dots side by side, or at an end, in a local part",
        "`a..b@c` and `a.@c` (RFC 5321 4.1.2): some providers gave out such addresses.";
    UnderscoreInDomain = "underscore-in-domain", devices: true, "underscores in the domain of an address",
        "`a@b_c.example` (RFC 5321 4.1.2).";
    NoDomain = "no-domain", devices: true, "addresses without a domain",
        "`MAIL FROM:<root>` (RFC 5321 2.3.11). The address has an empty domain.";
    EarlyTalkers = "early-talkers", devices: true, "clients that speak before the greeting",
        "Clients that speak while the greeting is held back (RFC 5321 3.1, 4.3.1).";
    AuthAfterHelo = "auth-after-helo", devices: true, "AUTH after HELO",
        "AUTH of a client that said HELO, and so has not been offered it (RFC 4954 3).";
    LongLines = "long-lines", devices: true, "lines of text over the limit",
        "Lines of text over [`Limits::text_line`](crate::server::Limits::text_line), or where that is 0, over the 1,000 octets of"
        "RFC 5321 4.5.3.1.6.";
    Utf8WithoutSmtpUtf8 = "utf8-without-smtputf8", devices: false, "addresses in UTF-8 without SMTPUTF8",
        "Addresses in UTF-8 in MAIL and RCPT of a transaction that did not ask for SMTPUTF8 (RFC 6531 3.4).";
}

impl fmt::Display for Leniency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Leniency {
    type Err = UnknownLeniency;

    fn from_str(name: &str) -> Result<Self, UnknownLeniency> {
        Self::ALL.iter().copied().find(|each| each.as_str() == name).ok_or_else(|| UnknownLeniency::new(name))
    }
}

/// A set of [`Leniency`].
///
/// ```
/// use smtp_proto::{Leniencies, Leniency};
///
/// let set = Leniencies::from_names(["bare-lf-text", "helo-name"])?;
/// assert!(set.contains(Leniency::BareLfText) && !set.contains(Leniency::NoDomain));
/// let error = Leniencies::from_names(["bare-fl-text"]).unwrap_err();
/// assert!(error.to_string().contains("did you mean bare-lf-text?"));
/// # Ok::<(), smtp_proto::UnknownLeniency>(())
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Leniencies(u32);

impl Leniencies {
    /// No departure is tolerated, not even the one that RFC 5321 4.1.1 says should be.
    pub const STRICT: Self = Self(0);
    /// What RFC 5321 itself asks a server to tolerate: [`Leniency::TrailingSpace`]. What a server has by default.
    pub const STANDARD: Self = Self::STRICT.with(Leniency::TrailingSpace);
    /// Every departure that has a name is tolerated.
    pub const ALL: Self = Self::of(false);
    /// What printers, scanners, cameras and other devices need, on a listener that only they can reach.
    pub const DEVICES: Self = Self::of(true);

    const fn of(devices: bool) -> Self {
        let (mut set, mut at) = (Self::STRICT, 0);
        while at < Leniency::ALL.len() {
            if !devices || Leniency::ALL[at].of_devices() {
                set = set.with(Leniency::ALL[at]);
            }
            at += 1;
        }
        set
    }

    /// What one name stands for: a single leniency, `devices` for [`DEVICES`](Self::DEVICES), or `none`.
    ///
    /// # Errors
    /// [`UnknownLeniency`], with the nearest name that there is.
    pub fn from_name(name: &str) -> Result<Self, UnknownLeniency> {
        match name {
            "devices" => Ok(Self::DEVICES),
            "none" => Ok(Self::STRICT),
            name => name.parse::<Leniency>().map(Self::from),
        }
    }

    /// From names, as an operator gives them: of single leniencies, or `devices` for [`DEVICES`](Self::DEVICES).
    /// [`STANDARD`](Self::STANDARD) is there in any case, unless `none` is among the names.
    ///
    /// # Errors
    /// [`UnknownLeniency`], with the nearest name that there is.
    pub fn from_names<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<Self, UnknownLeniency> {
        let (mut set, mut standard) = (Self::STRICT, Self::STANDARD);
        for name in names {
            if name == "none" {
                standard = Self::STRICT;
            }
            set = set.union(Self::from_name(name)?);
        }
        Ok(set.union(standard))
    }

    /// This set and `leniency`.
    #[must_use]
    pub const fn with(self, leniency: Leniency) -> Self {
        Self(self.0 | 1 << leniency as u32)
    }

    /// The leniencies that are in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The leniencies that are in this set and not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether `leniency` is in the set.
    #[must_use]
    pub const fn contains(self, leniency: Leniency) -> bool {
        self.0 & 1 << leniency as u32 != 0
    }

    /// Whether the set is empty: no departure is tolerated.
    #[must_use]
    pub const fn is_strict(self) -> bool {
        self.0 == 0
    }

    /// Each, in the order of [`Leniency::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Leniency> {
        Leniency::ALL.iter().copied().filter(move |each| self.contains(*each))
    }

    /// Those that concern the text of messages.
    #[must_use]
    pub const fn text(self) -> TextLeniency {
        TextLeniency {
            bare_cr: self.contains(Leniency::BareCrText),
            bare_lf: self.contains(Leniency::BareLfText),
            nul: self.contains(Leniency::NulText),
        }
    }

    /// Takes the first of them out.
    pub(crate) fn pop(&mut self) -> Option<Leniency> {
        let first = self.iter().next()?;
        *self = self.without(first.into());
        Some(first)
    }
}

impl From<Leniency> for Leniencies {
    fn from(leniency: Leniency) -> Self {
        Self::STRICT.with(leniency)
    }
}

impl From<TextLeniency> for Leniencies {
    fn from(text: TextLeniency) -> Self {
        let each =
            [(text.bare_cr, Leniency::BareCrText), (text.bare_lf, Leniency::BareLfText), (text.nul, Leniency::NulText)];
        each.into_iter().filter(|(on, _)| *on).map(|(_, leniency)| leniency).collect()
    }
}

impl FromIterator<Leniency> for Leniencies {
    fn from_iter<I: IntoIterator<Item = Leniency>>(leniencies: I) -> Self {
        leniencies.into_iter().fold(Self::STRICT, Self::with)
    }
}

impl fmt::Debug for Leniencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Leniency::as_str)).finish()
    }
}

/// How often each was made use of.
///
/// ```
/// use smtp_proto::{Leniency, LeniencyCounts};
///
/// let mut counts = LeniencyCounts::default();
/// counts.add(Leniency::HeloName);
/// counts.add(Leniency::HeloName);
/// assert_eq!(counts.to_string(), "helo-name 2");
/// assert_eq!(counts.of(Leniency::NoDomain), 0);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeniencyCounts([u64; Leniency::ALL.len()]);

impl LeniencyCounts {
    /// Counts one more use of `leniency`. The count saturates.
    pub fn add(&mut self, leniency: Leniency) {
        if let Some(count) = self.0.get_mut(leniency as usize) {
            *count = count.saturating_add(1);
        }
    }

    /// How often this one was used.
    #[must_use]
    pub fn of(&self, leniency: Leniency) -> u64 {
        self.0.get(leniency as usize).copied().unwrap_or_default()
    }

    /// Those that were used, and how often.
    pub fn iter(&self) -> impl Iterator<Item = (Leniency, u64)> {
        Leniency::ALL.iter().map(|each| (*each, self.of(*each))).filter(|(_, count)| *count > 0)
    }
}

/// Each that was used with its number, commas between them; nothing where none was.
impl fmt::Display for LeniencyCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter()
            .enumerate()
            .try_for_each(|(at, (leniency, count))| write!(f, "{}{leniency} {count}", if at == 0 { "" } else { ", " }))
    }
}

/// A name that stands for no leniency.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no leniency{hint}; the names are {names}, and devices for a set of them", hint = Hint(*.nearest), names = Names)]
pub struct UnknownLeniency {
    /// The name that was looked up, as it was given.
    pub name: alloc::string::String,
    /// The name that is most like it, if one is like it at all.
    pub nearest: Option<&'static str>,
}

impl UnknownLeniency {
    fn new(name: &str) -> Self {
        let known = Leniency::ALL.iter().map(|each| each.as_str()).chain(["devices", "none"]);
        let near = known.map(|known| (distance(name, known), known)).min_by_key(|(distance, _)| *distance);
        // Half of the letters are another name.
        let nearest = near.filter(|(distance, known)| distance * 2 < known.len()).map(|(_, known)| known);
        Self { name: name.chars().take(64).collect(), nearest }
    }
}

struct Hint(Option<&'static str>);

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |nearest| write!(f, "; did you mean {nearest}?"))
    }
}

struct Names;

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for leniency in Leniency::ALL {
            write!(f, "{separator}{leniency}")?;
            separator = ", ";
        }
        Ok(())
    }
}

/// How many octets must be added, taken out or changed to make one of the other; no more than fit into 64.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut row: [usize; 65] = core::array::from_fn(|at| at);
    for (i, x) in a.iter().take(64).enumerate() {
        let mut corner = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b) {
            let best = (corner + usize::from(x != y)).min(left + 1).min(*cell + 1);
            corner = core::mem::replace(cell, best);
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.get(b.len().min(64)).copied().unwrap_or(64)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::{Leniencies, Leniency, distance};
    use alloc::string::ToString as _;

    #[test]
    fn every_name_is_its_own_and_is_read_back() {
        for &leniency in Leniency::ALL {
            let name = leniency.as_str();
            assert_eq!(name.parse(), Ok(leniency));
            assert!(name.bytes().all(|octet| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-'));
            assert_eq!(Leniency::ALL.iter().filter(|other| other.as_str() == name).count(), 1, "{name}");
            let set = Leniencies::from_names([name, "none"]).expect("a name");
            assert_eq!(set.iter().collect::<alloc::vec::Vec<_>>(), [leniency]);
        }
        assert_eq!(Leniencies::ALL.iter().count(), Leniency::ALL.len());
    }

    /// The table of the documentation is this one.
    #[test]
    fn the_documentation_has_every_row() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/leniency.md");
        let text = std::fs::read_to_string(path).expect("docs/leniency.md");
        let rows = text.lines().filter(|line| line.starts_with("| `"));
        let expected = Leniency::ALL.iter().map(|each| {
            let devices = if Leniencies::DEVICES.contains(*each) { "yes" } else { "no" };
            alloc::format!("| `{each}` | {} | {devices} |", each.description())
        });
        assert!(rows.eq(expected), "docs/leniency.md is stale");
    }

    #[test]
    fn the_sets_are_what_they_say() {
        assert_eq!(Leniencies::from_names([]), Ok(Leniencies::STANDARD));
        assert_eq!(Leniencies::from_names(["none"]), Ok(Leniencies::STRICT));
        assert_eq!(Leniencies::from_names(["devices"]), Ok(Leniencies::DEVICES));
        for not in [Leniency::NulText, Leniency::DotsInLocalPart, Leniency::Utf8WithoutSmtpUtf8] {
            assert!(!Leniencies::DEVICES.contains(not) && Leniencies::ALL.contains(not));
        }
    }

    /// RFC 5321 4.1.1: a server that tolerates nothing but spaces at the end is not strict in this sense.
    #[test]
    fn strict_is_what_tolerates_nothing() {
        assert!(Leniencies::STRICT.is_strict() && !Leniencies::STANDARD.is_strict());
        assert!(Leniencies::ALL.without(Leniencies::ALL).is_strict());
    }

    #[test]
    fn what_is_put_in_or_taken_out_twice_is_in_or_out() {
        for &a in Leniency::ALL {
            let set = Leniencies::STRICT.with(a);
            assert_eq!((set.with(a), set.union(set), set.is_strict()), (set, set, false));
            assert_eq!((set.without(set), Leniencies::STRICT.without(set)), (Leniencies::STRICT, Leniencies::STRICT));
            for &b in Leniency::ALL {
                assert_eq!(set.contains(b), a == b);
                let both = set.union(Leniencies::STRICT.with(b));
                assert!(both == set.with(b) && both.contains(a) && both.contains(b));
                assert_eq!(set.without(Leniencies::STRICT.with(b)).contains(a), a != b);
            }
        }
    }

    #[test]
    fn a_wrong_name_is_told_the_nearest() {
        for (name, nearest) in [
            ("bare-lf", Some("bare-lf-text")),
            ("bareLFtext", Some("bare-lf-text")),
            ("helo", None),
            ("device", Some("devices")),
            ("early-talker", Some("early-talkers")),
            ("xyzzy", None),
            ("", None),
        ] {
            let error = Leniencies::from_names([name]).expect_err("no name");
            assert_eq!((error.name.as_str(), error.nearest), (name, nearest));
            assert_eq!(error.to_string().contains("did you mean"), nearest.is_some());
            assert!(error.to_string().contains("utf8-without-smtputf8"));
        }
    }

    /// By the definition: of all ways to make one of the other the shortest.
    fn by_definition(a: &[u8], b: &[u8]) -> usize {
        let (Some((x, rest_a)), Some((y, rest_b))) = (a.split_first(), b.split_first()) else {
            return a.len() + b.len();
        };
        let changed = by_definition(rest_a, rest_b) + usize::from(x != y);
        changed.min(by_definition(rest_a, b) + 1).min(by_definition(a, rest_b) + 1)
    }

    #[test]
    fn the_distance_is_that_of_the_shortest_way() {
        let words: alloc::vec::Vec<_> = (0..=4_usize)
            .flat_map(|length| (0..1_u8 << length).map(move |bits| (length, bits)))
            .map(|(length, bits)| (0..length).map(|at| if bits >> at & 1 == 0 { 'a' } else { 'b' }).collect())
            .chain(["kitten", "sitting"].map(alloc::string::String::from))
            .collect();
        for (a, b) in words.iter().flat_map(|a| words.iter().map(move |b| (a, b))) {
            assert_eq!(distance(a, b), by_definition(a.as_bytes(), b.as_bytes()), "{a} {b}");
        }
        let long = "a".repeat(70);
        assert_eq!((distance(&long, ""), distance("", &long), distance(&long, &long)), (64, 64, 0));
    }
}
