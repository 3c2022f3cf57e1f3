//! The name of this host in ledgers that several hosts write.

/// What the operator calls it, or else what the machine calls itself.
pub(crate) fn of(option: Option<&str>) -> String {
    option.map_or_else(|| hostname::get().unwrap_or_default().to_string_lossy().into_owned(), Into::into)
}

/// A name that can stand in a path, a column and a report.
pub(crate) fn name(text: &str) -> Result<String, String> {
    let good = |octet: u8| octet.is_ascii_alphanumeric() || b"-._".contains(&octet);
    if (1..=255).contains(&text.len()) && text.bytes().all(good) {
        Ok(text.into())
    } else {
        Err("give letters, digits, dots, hyphens and underscores, such as mx1.example.net".into())
    }
}

#[cfg(test)]
mod tests {
    use super::{name, of};

    #[test]
    fn names_of_hosts() {
        assert_eq!(name("mx1.example.net").as_deref(), Ok("mx1.example.net"));
        for wrong in ["", "a b", "a/b", "a\n", "\u{e4}", &"a".repeat(256)] {
            assert!(name(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(of(Some("mx1")), "mx1");
        assert!(!of(None).is_empty());
    }
}
