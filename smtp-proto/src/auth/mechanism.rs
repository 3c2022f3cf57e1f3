//! The names of the mechanisms, and sets of them.

use core::fmt;

/// A SASL mechanism (RFC 4422 3.1). The order is that of strength, the weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Mechanism {
    /// `LOGIN`: PLAIN in two questions, for old clients.
    Login,
    /// `PLAIN` (RFC 4616): name and password in one message. For use inside TLS alone.
    Plain,
    /// `XOAUTH2`: a bearer token.
    XOAuth2,
    /// `OAUTHBEARER` (RFC 7628): a bearer token.
    OAuthBearer,
    /// `EXTERNAL` (RFC 4422 appendix A).
    External,
    /// `SCRAM-SHA-256` (RFC 7677): each side proves that it knows the password, which is not sent.
    ScramSha256,
    /// `SCRAM-SHA-256-PLUS` (RFC 7677), bound to the TLS channel by `tls-exporter` (RFC 9266).
    ScramSha256Plus,
}

impl Mechanism {
    /// Every mechanism, the strongest first: the order in which a server announces them.
    pub const ALL: [Self; 7] = [
        Self::ScramSha256Plus,
        Self::ScramSha256,
        Self::External,
        Self::OAuthBearer,
        Self::XOAuth2,
        Self::Plain,
        Self::Login,
    ];

    /// The name of the mechanism as IANA has registered it, such as `SCRAM-SHA-256`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Login => "LOGIN",
            Self::Plain => "PLAIN",
            Self::XOAuth2 => "XOAUTH2",
            Self::OAuthBearer => "OAUTHBEARER",
            Self::External => "EXTERNAL",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
        }
    }

    /// The mechanism of that name, in any case of letters (RFC 5321 2.4: a keyword's argument in SMTP).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::of(name.as_bytes())
    }

    /// The same of octets.
    pub(crate) fn of(name: &[u8]) -> Option<Self> {
        // Nearly always it is in capitals.
        Some(match name {
            b"PLAIN" => Self::Plain,
            b"LOGIN" => Self::Login,
            b"XOAUTH2" => Self::XOAuth2,
            b"EXTERNAL" => Self::External,
            b"OAUTHBEARER" => Self::OAuthBearer,
            b"SCRAM-SHA-256" => Self::ScramSha256,
            b"SCRAM-SHA-256-PLUS" => Self::ScramSha256Plus,
            _ => return Self::in_any_case(name),
        })
    }

    fn in_any_case(name: &[u8]) -> Option<Self> {
        // No two have the same length and first letter.
        let only = match (name.len(), name.first()?) {
            (5, b'P' | b'p') => Self::Plain,
            (5, _) => Self::Login,
            (7, _) => Self::XOAuth2,
            (8, _) => Self::External,
            (11, _) => Self::OAuthBearer,
            (13, _) => Self::ScramSha256,
            (18, _) => Self::ScramSha256Plus,
            _ => return None,
        };
        only.name().as_bytes().eq_ignore_ascii_case(name).then_some(only)
    }

    /// Whether who reads the exchange then has the secret: not to be used without TLS (RFC 4954 4, RFC 7628 4).
    #[must_use]
    pub const fn is_plaintext_secret(self) -> bool {
        matches!(self, Self::Login | Self::Plain | Self::XOAuth2 | Self::OAuthBearer)
    }

    /// Whether it needs [`TlsInfo::channel_binding`](crate::TlsInfo::channel_binding).
    #[must_use]
    pub const fn binds_channel(self) -> bool {
        matches!(self, Self::ScramSha256Plus)
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of mechanisms.
///
/// ```
/// use smtp_proto::auth::{Mechanism, MechanismSet};
///
/// let set = MechanismSet::EMPTY.with(Mechanism::ScramSha256).with(Mechanism::Plain);
/// assert!(set.contains(Mechanism::Plain) && !set.contains(Mechanism::Login));
/// assert_eq!(Mechanism::from_name("SCRAM-SHA-256"), Some(Mechanism::ScramSha256));
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct MechanismSet(u8);

impl MechanismSet {
    /// The set without any mechanism.
    pub const EMPTY: Self = Self(0);
    /// All that a server can offer that knows its users' passwords or their SCRAM records.
    pub const PASSWORD: Self = Self::EMPTY
        .with(Mechanism::ScramSha256Plus)
        .with(Mechanism::ScramSha256)
        .with(Mechanism::Plain)
        .with(Mechanism::Login);

    /// Those of [`PASSWORD`](Self::PASSWORD) that clients in use get through with: not SCRAM-SHA-256-PLUS, which some pick
    /// for its strength and then fail at, since they have no channel binding for TLS 1.3 (RFC 9266).
    pub const PORTABLE: Self = Self::PASSWORD.without(Mechanism::ScramSha256Plus);

    /// This set and `mechanism`.
    #[must_use]
    pub const fn with(self, mechanism: Mechanism) -> Self {
        Self(self.0 | 1 << mechanism as u8)
    }

    /// This set without `mechanism`.
    #[must_use]
    pub const fn without(self, mechanism: Mechanism) -> Self {
        Self(self.0 & !(1 << mechanism as u8))
    }

    /// Whether `mechanism` is among them.
    #[must_use]
    pub const fn contains(self, mechanism: Mechanism) -> bool {
        self.0 & 1 << mechanism as u8 != 0
    }

    /// Whether the set has no mechanism.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The mechanisms, the strongest first.
    pub fn iter(self) -> impl Iterator<Item = Mechanism> {
        Mechanism::ALL.into_iter().filter(move |mechanism| self.contains(*mechanism))
    }

    /// Those that can be used on such a channel: without TLS none that shows a secret, without a channel binding none
    /// that needs it (RFC 4954 4, RFC 5802 6).
    #[must_use]
    pub fn on(self, tls: Option<&crate::TlsInfo>) -> Self {
        let bound = tls.is_some_and(|tls| tls.channel_binding.is_some());
        let usable = |mechanism: &Mechanism| {
            (tls.is_some() || !mechanism.is_plaintext_secret()) && (bound || !mechanism.binds_channel())
        };
        self.iter().filter(usable).collect()
    }
}

impl From<Mechanism> for MechanismSet {
    fn from(mechanism: Mechanism) -> Self {
        Self::EMPTY.with(mechanism)
    }
}

impl FromIterator<Mechanism> for MechanismSet {
    fn from_iter<I: IntoIterator<Item = Mechanism>>(mechanisms: I) -> Self {
        mechanisms.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl fmt::Debug for MechanismSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{Mechanism, MechanismSet};

    #[test]
    fn names_are_read_back_in_any_case() {
        for mechanism in Mechanism::ALL {
            assert_eq!(Mechanism::from_name(mechanism.name()), Some(mechanism));
            assert_eq!(Mechanism::from_name(&mechanism.name().to_ascii_lowercase()), Some(mechanism));
        }
        for other in ["", "CRAM-MD5", "PLAIN ", "SCRAM-SHA-1", "SCRAM-SHA-256-PLUS-"] {
            assert_eq!(Mechanism::from_name(other), None, "{other:?}");
        }
    }

    #[test]
    fn the_strongest_stands_first() {
        assert!(Mechanism::ALL.is_sorted_by(|a, b| a > b));
        let set = MechanismSet::PASSWORD;
        assert!(set.iter().eq([
            Mechanism::ScramSha256Plus,
            Mechanism::ScramSha256,
            Mechanism::Plain,
            Mechanism::Login
        ]));
        assert!(!set.contains(Mechanism::External) && !set.without(Mechanism::Plain).contains(Mechanism::Plain));
    }

    #[test]
    fn without_tls_no_secret_is_shown_and_nothing_is_bound() {
        let all: MechanismSet = Mechanism::ALL.into_iter().collect();
        assert!(all.on(None).iter().eq([Mechanism::ScramSha256, Mechanism::External]));
        let mut tls = crate::TlsInfo::new(crate::tls::TlsVersion::Tls13, "TLS_AES_128_GCM_SHA256".into());
        assert_eq!(all.on(Some(&tls)), all.without(Mechanism::ScramSha256Plus));
        tls.channel_binding = Some([7; 32].into());
        assert_eq!(all.on(Some(&tls)), all);
    }

    #[test]
    fn what_is_put_in_or_taken_out_twice_is_in_or_out() {
        for a in Mechanism::ALL {
            let set = MechanismSet::EMPTY.with(a);
            assert_eq!((set.with(a), set.is_empty(), set.without(a)), (set, false, MechanismSet::EMPTY));
            assert!(MechanismSet::EMPTY.without(a).is_empty());
            for b in Mechanism::ALL {
                assert_eq!(set.contains(b), a == b);
                assert!(set.with(b).contains(a) && set.with(b).contains(b));
                assert_eq!(set.without(b).contains(a), a != b);
            }
        }
    }
}
