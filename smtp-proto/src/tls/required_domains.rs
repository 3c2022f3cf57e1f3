//! TLS required for some domains only.

use alloc::string::String;
use alloc::vec::Vec;

/// The domains for which mail in plaintext is refused, under [`Policy::Offer`](super::Policy::Offer).
///
/// A name means that domain; a name with a dot in front means every domain below it. Case does not matter.
///
/// ```
/// use smtp_proto::tls::RequiredDomains;
///
/// let required = RequiredDomains::new().sender("bank.example").recipient(".example.net");
/// assert!(required.of_sender("BANK.example") && !required.of_sender("www.bank.example"));
/// assert!(required.of_recipient("mail.example.net") && !required.of_recipient("example.net"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequiredDomains {
    senders: Vec<String>,
    recipients: Vec<String>,
}

impl RequiredDomains {
    /// No domain yet; [`sender`](Self::sender) and [`recipient`](Self::recipient) add some.
    #[must_use]
    pub const fn new() -> Self {
        Self { senders: Vec::new(), recipients: Vec::new() }
    }

    /// Requires TLS for mail from this domain too.
    #[must_use]
    pub fn sender(mut self, domain: impl Into<String>) -> Self {
        self.senders.push(domain.into());
        self
    }

    /// Requires TLS for mail to this domain too.
    #[must_use]
    pub fn recipient(mut self, domain: impl Into<String>) -> Self {
        self.recipients.push(domain.into());
        self
    }

    /// Whether mail from `domain` requires TLS.
    #[must_use]
    pub fn of_sender(&self, domain: &str) -> bool {
        self.senders.iter().any(|rule| covers(rule, domain))
    }

    /// Whether mail to `domain` requires TLS.
    #[must_use]
    pub fn of_recipient(&self, domain: &str) -> bool {
        self.recipients.iter().any(|rule| covers(rule, domain))
    }
}

fn covers(rule: &str, domain: &str) -> bool {
    if rule.starts_with('.') {
        let start = domain.len().checked_sub(rule.len());
        start.and_then(|start| domain.get(start..)).is_some_and(|end| start > Some(0) && end.eq_ignore_ascii_case(rule))
    } else {
        rule.eq_ignore_ascii_case(domain)
    }
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn a_dot_in_front_means_what_is_below() {
        for (rule, domain, expected) in [
            ("example.net", "example.net", true),
            ("example.net", "Example.NET", true),
            ("example.net", "a.example.net", false),
            (".example.net", "a.example.net", true),
            (".example.net", "a.b.EXAMPLE.net", true),
            (".example.net", "example.net", false),
            (".example.net", ".example.net", false),
            (".example.net", "badexample.net", false),
            ("", "example.net", false),
            (".net", "", false),
        ] {
            assert_eq!(covers(rule, domain), expected, "{rule} of {domain}");
        }
    }
}
