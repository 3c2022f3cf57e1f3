//! Values of parameters: what each may be, and what it says.

use alloc::string::String;

use super::class::{BASE64, LDH, cut, is, same, span};
use super::xtext::{Xtext, next_unitext};
use super::{Mailbox, SyntaxErrorKind};

/// Whether a value is one.
pub(super) type Fit = Result<(), SyntaxErrorKind>;

const MALFORMED: Fit = Err(SyntaxErrorKind::BadParameter);

const fn fit(fits: bool) -> Fit {
    if fits { Ok(()) } else { MALFORMED }
}

/// BODY (RFC 6152 2, RFC 3030 3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Body {
    /// `7BIT`, which also holds for MAIL without BODY.
    #[default]
    SevenBit,
    /// `8BITMIME`: MIME with octets over 127, in lines (RFC 6152).
    EightBitMime,
    /// `BINARYMIME`: only by BDAT.
    BinaryMime,
}

impl Body {
    /// The value as it is written on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SevenBit => "7BIT",
            Self::EightBitMime => "8BITMIME",
            Self::BinaryMime => "BINARYMIME",
        }
    }

    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        [Self::SevenBit, Self::EightBitMime, Self::BinaryMime]
            .into_iter()
            .find(|body| same(value, body.as_str().as_bytes()))
    }
}

/// RET: how much of the message a notification of failure returns (RFC 3461 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ret {
    /// `FULL`: the whole message.
    Full,
    /// `HDRS`: the header alone.
    Headers,
}

impl Ret {
    /// The value as it is written on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::Headers => "HDRS",
        }
    }

    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        [Self::Full, Self::Headers].into_iter().find(|ret| same(value, ret.as_str().as_bytes()))
    }
}

/// NOTIFY: what the sender wants to be told (RFC 3461 4.1). All false is `NEVER`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Notify {
    /// `SUCCESS`: when the message has been delivered.
    pub success: bool,
    /// `FAILURE`: when the message could not be delivered.
    pub failure: bool,
    /// `DELAY`: when delivery takes unusually long.
    pub delay: bool,
}

impl Notify {
    /// `NEVER`: no notification, not even of failure.
    pub const NEVER: Self = Self { success: false, failure: false, delay: false };

    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let mut notify = Self::NEVER;
        // RFC 3461 4.1: NEVER stands alone.
        if same(value, b"NEVER") {
            return Some(notify);
        }
        let mut rest = value;
        loop {
            let (name, asked): (&[u8], _) = match rest {
                [b'S' | b's', ..] => (b"SUCCESS", &mut notify.success),
                [b'F' | b'f', ..] => (b"FAILURE", &mut notify.failure),
                _ => (b"DELAY", &mut notify.delay),
            };
            let (_, behind) = rest.split_at_checked(name.len()).filter(|(word, _)| same(word, name))?;
            *asked = true;
            match behind {
                [] => return Some(notify),
                [b',', next @ ..] => rest = next,
                _ => return None,
            }
        }
    }
}

/// ORCPT: the recipient as the sender wrote it (RFC 3461 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Orcpt<'a> {
    /// The kind of address, such as `rfc822` or `utf-8` (RFC 6533).
    pub addr_type: &'a str,
    /// The address, encoded: xtext, or for `utf-8` the encodings of RFC 6533 3.
    pub encoded: &'a str,
}

impl<'a> Orcpt<'a> {
    /// The address, decoded. It holds no controls.
    #[must_use]
    pub fn address(&self) -> String {
        if !self.is_utf8() {
            return Xtext::parse(self.encoded).map(|xtext| xtext.decode()).unwrap_or_default();
        }
        let mut out = String::new();
        let mut rest = self.encoded;
        while let Some((char, after)) = next_unitext(rest, true) {
            out.push(char);
            rest = after;
        }
        out
    }

    fn is_utf8(&self) -> bool {
        same(self.addr_type.as_bytes(), b"UTF-8")
    }

    pub(super) fn parse(value: &'a str, utf8: bool) -> Option<Self> {
        let (addr_type, encoded) = value.split_once(';')?;
        Self::fits(value.as_bytes(), utf8).then_some(Self { addr_type, encoded })
    }

    /// Whether that is `Some`.
    fn fits(value: &[u8], utf8: bool) -> bool {
        let Some((addr_type, encoded)) = cut(value, b';') else { return false };
        // addr-type is an atom (RFC 3464 2.1.2); those registered are letters, digits and hyphens.
        if addr_type.is_empty() || span(addr_type, LDH) < addr_type.len() || value.len() > 500 {
            return false;
        }
        if !same(addr_type, b"UTF-8") {
            return Xtext::fits(encoded);
        }
        let Ok(mut rest) = core::str::from_utf8(encoded) else { return false };
        while let Some((_, after)) = next_unitext(rest, utf8) {
            rest = after;
        }
        !encoded.is_empty() && rest.is_empty()
    }
}

/// AUTH of MAIL: who handed in the message, as far as the client can vouch (RFC 4954 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthParam<'a> {
    /// `<>`, or xtext that stands for no mailbox: not known, or not to be believed.
    Unknown,
    /// A mailbox, as xtext.
    Mailbox(Xtext<'a>),
}

impl<'a> AuthParam<'a> {
    pub(super) fn parse(value: &'a str) -> Option<Self> {
        if value == "<>" {
            return Some(Self::Unknown);
        }
        // RFC 4954 5 wants a mailbox. Clients write the name that they authenticated with, whatever it is; that is no reason
        // to refuse their mail, as nobody has to believe it.
        let known = xtext_mailbox(value).map(Self::Mailbox);
        known.or_else(|| Xtext::parse(value).map(|_| Self::Unknown))
    }
}

/// BY: by when the message is to be delivered (RFC 2852 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct By {
    /// Seconds from now, at most nine digits; negative when it is late already.
    pub seconds: i32,
    /// Else return it (`R`); otherwise notify of the delay and go on trying (`N`).
    pub or_return: bool,
    /// Whether each relay reports the message as well (`T`).
    pub trace: bool,
}

impl By {
    pub(super) fn parse(value: &str) -> Option<Self> {
        let (time, mode) = value.split_once(';')?;
        let digits = time.strip_prefix(['+', '-']).unwrap_or(time);
        let amount = i32::try_from(decimal(digits.as_bytes(), 9)?).ok()?;
        let seconds = if time.starts_with('-') { -amount } else { amount };
        let (mode, trace) = match mode.as_bytes() {
            [mode] => (mode, false),
            [mode, b'T' | b't'] => (mode, true),
            _ => return None,
        };
        let or_return = match mode {
            b'R' | b'r' => true,
            b'N' | b'n' => false,
            _ => return None,
        };
        // RFC 2852 4: with R the time is yet to come.
        (!or_return || seconds > 0).then_some(Self { seconds, or_return, trace })
    }
}

/// RRVS: deliver only if the recipient has had the mailbox since then (RFC 7293).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rrvs<'a> {
    /// Date and time, as RFC 3339 writes it.
    pub since: &'a str,
    /// What to do when a relay on the way does not know RRVS.
    pub otherwise: RrvsAction,
}

/// What a relay does when the next one does not know RRVS (RFC 7293).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RrvsAction {
    /// The value of RRVS named no action.
    #[default]
    Unsaid,
    /// `C`: relay the message all the same.
    Continue,
    /// `R`: refuse the message.
    Reject,
}

impl<'a> Rrvs<'a> {
    pub(super) fn parse(value: &'a str) -> Option<Self> {
        let (since, action) = value.split_once(';').map_or((value, None), |(since, action)| (since, Some(action)));
        let otherwise = match action.map(str::as_bytes) {
            None => RrvsAction::Unsaid,
            Some(b"C" | b"c") => RrvsAction::Continue,
            Some(b"R" | b"r") => RrvsAction::Reject,
            Some(_) => return None,
        };
        is_date_time(since).then_some(Self { since, otherwise })
    }
}

/// MTRK: the message is to be tracked (RFC 3885).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mtrk<'a> {
    /// Base64 of the hash of the secret that whoever tracks it must know.
    pub certifier: &'a str,
    /// Seconds to keep tracking it.
    pub timeout: Option<u32>,
}

impl<'a> Mtrk<'a> {
    pub(super) fn parse(value: &'a str) -> Option<Self> {
        let (certifier, timeout) = match value.split_once(':') {
            None => (value, None),
            Some((certifier, seconds)) => (certifier, Some(u32::try_from(decimal(seconds.as_bytes(), 9)?).ok()?)),
        };
        let fits = !certifier.is_empty() && certifier.bytes().all(|octet| is(octet, BASE64));
        fits.then_some(Self { certifier, timeout })
    }
}

// ---- the checks of the registry

pub(super) fn none(value: Option<&[u8]>, _: bool) -> Fit {
    fit(value.is_none())
}

pub(super) fn size(value: Option<&[u8]>, _: bool) -> Fit {
    // RFC 1870 3: 1*20DIGIT, of which 20 can be more than 64 bits hold.
    let value = value.unwrap_or_default();
    if decimal(value, 20).is_some() {
        Ok(())
    } else if value.len() == 20 && value.iter().all(u8::is_ascii_digit) {
        Err(SyntaxErrorKind::SizeTooBig)
    } else {
        MALFORMED
    }
}

pub(super) fn body(value: Option<&[u8]>, _: bool) -> Fit {
    known(value, |value| Body::parse(value).is_some())
}

pub(super) fn ret(value: Option<&[u8]>, _: bool) -> Fit {
    known(value, |value| Ret::parse(value).is_some())
}

pub(super) fn envid(value: Option<&[u8]>, _: bool) -> Fit {
    // RFC 3461 4.4: at most 100 characters.
    fit(value.is_some_and(|value| value.len() <= 100 && Xtext::fits(value)))
}

pub(super) fn notify(value: Option<&[u8]>, _: bool) -> Fit {
    fit(value.is_some_and(|value| Notify::parse(value).is_some()))
}

pub(super) fn orcpt(value: Option<&[u8]>, utf8: bool) -> Fit {
    fit(value.is_some_and(|value| Orcpt::fits(value, utf8)))
}

pub(super) fn auth(value: Option<&[u8]>, _: bool) -> Fit {
    fit(text(value).is_some_and(|value| AuthParam::parse(value).is_some()))
}

pub(super) fn by(value: Option<&[u8]>, _: bool) -> Fit {
    fit(text(value).is_some_and(|value| By::parse(value).is_some()))
}

pub(super) fn hold_for(value: Option<&[u8]>, _: bool) -> Fit {
    // RFC 4865 3: one to nine digits, the first not 0.
    fit(value.is_some_and(|value| !value.starts_with(b"0") && decimal(value, 9).is_some()))
}

pub(super) fn hold_until(value: Option<&[u8]>, _: bool) -> Fit {
    fit(text(value).is_some_and(is_date_time))
}

pub(super) fn mt_priority(value: Option<&[u8]>, _: bool) -> Fit {
    fit(value.is_some_and(|value| priority(value).is_some()))
}

pub(super) fn rrvs(value: Option<&[u8]>, _: bool) -> Fit {
    fit(text(value).is_some_and(|value| Rrvs::parse(value).is_some()))
}

pub(super) fn mtrk(value: Option<&[u8]>, _: bool) -> Fit {
    fit(text(value).is_some_and(|value| Mtrk::parse(value).is_some()))
}

pub(super) fn solicit(value: Option<&[u8]>, _: bool) -> Fit {
    // RFC 3865: words of letters, digits, hyphen, underscore, dot and colon that begin with a letter, at most 1,000
    // octets in all.
    let word = |word: &[u8]| {
        word.first().is_some_and(u8::is_ascii_alphabetic)
            && word.iter().all(|&octet| is(octet, LDH) || matches!(octet, b'.' | b'_' | b':'))
    };
    fit(value.is_some_and(|value| value.len() <= 1000 && value.split(|octet| *octet == b',').all(word)))
}

pub(super) fn trans_id(value: Option<&[u8]>, _: bool) -> Fit {
    // RFC 1845: as a Message-ID, at most 80 characters.
    let inside = value.and_then(|value| value.strip_prefix(b"<")?.strip_suffix(b">"));
    let is_bracket = |octet: &u8| matches!(octet, b'<' | b'>');
    fit(inside.is_some_and(|inside| matches!(inside.len(), 1..=78) && !inside.iter().any(is_bracket)))
}

pub(super) fn submitter(value: Option<&[u8]>, _: bool) -> Fit {
    fit(text(value).is_some_and(|value| xtext_mailbox(value).is_some()))
}

fn text(value: Option<&[u8]>) -> Option<&str> {
    core::str::from_utf8(value?).ok()
}

/// A token of which only some are known.
fn known(value: Option<&[u8]>, is_known: impl Fn(&[u8]) -> bool) -> Fit {
    match value {
        Some(value) if is_known(value) => Ok(()),
        Some(value) if value.iter().all(|&octet| is(octet, LDH)) => Err(SyntaxErrorKind::UnknownValue),
        _ => MALFORMED,
    }
}

/// RFC 6710: -9 to 9, without leading zeros or `-0`.
pub(super) fn priority(value: &[u8]) -> Option<i8> {
    match value {
        [digit @ b'0'..=b'9'] => i8::try_from(digit - b'0').ok(),
        [b'-', digit @ b'1'..=b'9'] => i8::try_from(digit - b'0').ok().map(|priority| -priority),
        _ => None,
    }
}

/// One to `most` digits that 64 bits hold.
pub(super) fn decimal(digits: &[u8], most: usize) -> Option<u64> {
    if digits.is_empty() || digits.len() > most {
        return None;
    }
    let value = |digit: u8| Some(u64::from(digit.wrapping_sub(b'0'))).filter(|digit| *digit <= 9);
    // 19 digits always fit.
    let (fitting, rest) = digits.split_at_checked(19).unwrap_or((digits, &[]));
    let mut number = 0_u64;
    for digit in fitting {
        number = number * 10 + value(*digit)?;
    }
    for digit in rest {
        number = number.checked_mul(10)?.checked_add(value(*digit)?)?;
    }
    Some(number)
}

/// A mailbox as xtext.
pub(super) fn xtext_mailbox(value: &str) -> Option<Xtext<'_>> {
    let xtext = Xtext::parse(value)?;
    // A mailbox has at most 254 octets (RFC 5321 4.5.3.1.3).
    let mut room = [0; 254];
    let mut used = 0;
    for char in xtext.chars() {
        *room.get_mut(used)? = u8::try_from(char).ok()?;
        used += 1;
    }
    let text = core::str::from_utf8(room.get(..used)?).ok()?;
    Mailbox::parse(text, false).is_ok().then_some(xtext)
}

/// RFC 3339 5.6: date-time.
fn is_date_time(text: &str) -> bool {
    let number = |from: usize, digits: usize| decimal(text.as_bytes().get(from..from + digits)?, digits);
    let fields = || {
        let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
        let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days = match month {
            2 => 28 + u64::from(leap),
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        // RFC 3339 5.7: 60 is a leap second.
        ((1..=days).contains(&day) && hour < 24 && minute < 60 && second <= 60).then_some(())
    };
    let octets = text.as_bytes();
    let marks = matches!(octets, [_, _, _, _, b'-', _, _, b'-', _, _, b'T' | b't', _, _, b':', _, _, b':', ..]);
    let Some(mut zone) = text.get(19..) else { return false };
    if let Some(fraction) = zone.strip_prefix('.') {
        zone = fraction.trim_start_matches(|char: char| char.is_ascii_digit());
        if zone.len() == fraction.len() {
            return false;
        }
    }
    let zone = match zone.as_bytes() {
        [b'Z' | b'z'] => true,
        [b'+' | b'-', _, _, b':', _, _] => {
            let part = |from: usize| decimal(zone.as_bytes().get(from..from + 2).unwrap_or_default(), 2);
            part(1).is_some_and(|hour| hour < 24) && part(4).is_some_and(|minute| minute < 60)
        }
        _ => false,
    };
    marks && zone && fields().is_some()
}
