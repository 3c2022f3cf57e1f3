//! What a peer chose, shown so that it can deceive nobody who reads it.

use std::fmt;
use std::io::Write as _;

/// Text of a peer's in a line for people and for scripts. Controls, and what is not seen or turns the direction of text,
/// are written as `\u{202e}`; so are `<`, `>` and `"`, so that what stands in `<...>` or `"..."` ends there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown<'a>(pub(crate) &'a str);

impl Shown<'_> {
    /// Puts it behind a line.
    pub(crate) fn push(self, line: &mut Vec<u8>) {
        if self.0.bytes().any(|octet| SPECIAL[usize::from(octet)]) {
            // Writing to a vector does not fail.
            let _ = write!(line, "{self}");
        } else {
            line.extend_from_slice(self.0.as_bytes());
        }
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        loop {
            // Nearly always that is all of it.
            let (plain, after) = rest.split_at(rest.bytes().position(is_special).unwrap_or(rest.len()));
            f.write_str(plain)?;
            let mut chars = after.chars();
            match chars.next() {
                None => return Ok(()),
                Some(char @ ('<' | '>' | '"')) => write!(f, "{}", char.escape_unicode())?,
                Some(char) => write!(f, "{}", char.escape_debug())?,
            }
            rest = chars.as_str();
        }
    }
}

/// The same of each octet: nearly all text has none of them, and a look into a table is the quickest to tell so.
static SPECIAL: [bool; 256] = {
    let (mut table, mut octet) = ([false; 256], u8::MAX);
    loop {
        table[octet as usize] = is_special(octet);
        octet = match octet.checked_sub(1) {
            Some(less) => less,
            None => break table,
        };
    }
};

/// What may have to be written otherwise in [`Shown`].
const fn is_special(octet: u8) -> bool {
    !matches!(octet, b' '..=b'~') || matches!(octet, b'<' | b'>' | b'"' | b'\\')
}

/// A line of a dialogue: controls, and what is not seen or turns the direction of text, are written as `\u{202e}`; all else
/// is as it was said.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words<'a>(pub(crate) &'a str);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        self.0.chars().try_for_each(|char| match char {
            '\'' | '"' | '\\' => f.write_char(char),
            _ => write!(f, "{}", char.escape_debug()),
        })
    }
}

/// A line as it came, at most so many octets of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a>(pub(crate) &'a [u8]);

impl Line<'_> {
    const SHOWN: usize = 200;
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.get(..Self::SHOWN).unwrap_or(self.0);
        write!(f, "{}", shown.escape_ascii())?;
        match self.0.len() - shown.len() {
            0 => Ok(()),
            more => write!(f, "... and {more} more"),
        }
    }
}

/// Writes a number with so many digits at least. Where several are written for each message, the formatting of the standard
/// library is most of what that costs.
pub(crate) fn push_number(text: &mut Vec<u8>, mut number: u64, least: usize) {
    // As many as the largest has.
    let mut digits = [b'0'; 20];
    let mut first = digits.len();
    while number > 0 || digits.len() - first < least {
        let Some(digit) = first.checked_sub(1).and_then(|at| digits.get_mut(at)) else { break };
        *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
        (first, number) = (first - 1, number / 10);
    }
    text.extend_from_slice(digits.get(first..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_standard_library_writes_them() {
        for number in [0, 1, 9, 10, 999_999, 1_000_000, u64::MAX] {
            for (least, expected) in
                [(1, format!("{number}")), (6, format!("{number:06}")), (30, format!("{number:020}"))]
            {
                let mut text = b"x".to_vec();
                push_number(&mut text, number, least);
                assert_eq!(text, format!("x{expected}").as_bytes());
            }
        }
    }

    #[test]
    fn nothing_leaves_its_brackets_or_turns_the_line_around() {
        for (text, shown) in [
            ("a@b.example", "a@b.example"),
            ("o'neill@b.example", "o'neill@b.example"),
            ("\"x> to=<y\"@z", "\\u{22}x\\u{3e} to=\\u{3c}y\\u{22}@z"),
            ("a\r\nb\tc\0", "a\\r\\nb\\tc\\0"),
            ("a\\b", "a\\\\b"),
            ("Grüße@例え.example", "Grüße@例え.example"),
        ] {
            assert_eq!(Shown(text).to_string(), shown, "{text:?}");
            let mut line = b"from=<".to_vec();
            Shown(text).push(&mut line);
            assert_eq!(line, format!("from=<{shown}").as_bytes());
        }
        for hidden in
            "\u{61c}\u{200b}\u{200e}\u{200f}\u{202a}\u{202e}\u{2028}\u{2029}\u{2066}\u{2069}\u{feff}\u{85}\u{1b}"
                .chars()
        {
            assert_eq!(Words(&hidden.to_string()).to_string(), hidden.escape_debug().to_string());
            let shown = Shown(&hidden.to_string()).to_string();
            assert!(shown.starts_with('\\') && shown.is_ascii(), "{hidden:?}: {shown}");
        }
    }

    #[test]
    fn a_line_is_bounded() {
        assert_eq!(Line(b"NO\xffOP\r\n").to_string(), "NO\\xffOP\\r\\n");
        let long = Line(&[b'x'; 5000]).to_string();
        assert!(long.len() < 250 && long.ends_with("... and 4800 more"), "{long}");
    }
}
