//! Which service extensions a server has. Each is a setting, not a feature of the build.

use alloc::borrow::Cow;

/// The service extensions that are announced in reply to EHLO, and honoured.
///
/// On by default is what a session can keep by itself. What is a promise of the application's (to send notifications,
/// to hold mail back, to keep binary text as it is) is off until the application says that it keeps it. STARTTLS
/// follows from [`Config::tls`](super::Config::tls), AUTH from [`Config::auth`](super::Config::auth), XCLIENT and
/// XFORWARD from [`Session::trust`](super::Session::trust).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Extensions {
    /// PIPELINING (RFC 2920). On; LMTP always has it (RFC 2033 4.1).
    pub pipelining: bool,
    /// SIZE (RFC 1870). On.
    pub size: bool,
    /// 8BITMIME (RFC 6152). On.
    pub eight_bit_mime: bool,
    /// ENHANCEDSTATUSCODES (RFC 2034): when off, no reply carries them. On; LMTP always has it (RFC 2033 4.1).
    pub enhanced_status_codes: bool,
    /// CHUNKING (RFC 3030). On.
    pub chunking: bool,
    /// SMTPUTF8 (RFC 6531): UTF-8 in addresses of transactions that ask for it. On.
    pub smtp_utf8: bool,
    /// LIMITS (RFC 9422): the limits on recipients and transactions are announced; they hold in any case. On.
    pub limits: bool,
    /// BINARYMIME (RFC 3030): text that need not consist of lines. Takes CHUNKING. Off.
    pub binary_mime: bool,
    /// DSN (RFC 3461). Off.
    pub dsn: bool,
    /// DELIVERBY (RFC 2852): the least time that may be asked for, in seconds; 0 is none. Off.
    pub deliver_by: Option<u32>,
    /// FUTURERELEASE (RFC 4865). Off.
    pub future_release: Option<FutureRelease>,
    /// MT-PRIORITY (RFC 6710) under the profile of this name, such as `MIXER`; it may be empty. Off.
    pub mt_priority: Option<Cow<'static, str>>,
    /// RRVS (RFC 7293). Off.
    pub rrvs: bool,
    /// REQUIRETLS (RFC 8689): announced inside TLS only. Off.
    pub require_tls: bool,
}

/// How long mail may be held back (RFC 4865 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FutureRelease {
    /// Longest hold in seconds, at most 9 digits. A longer HOLDFOR is refused.
    pub interval: u32,
    /// Latest release, a date-time of RFC 3339 in UTC. The core knows no clock: a HOLDUNTIL is the application's to check.
    pub until: Cow<'static, str>,
}

impl Default for Extensions {
    fn default() -> Self {
        Self {
            pipelining: true,
            size: true,
            eight_bit_mime: true,
            enhanced_status_codes: true,
            chunking: true,
            smtp_utf8: true,
            limits: true,
            binary_mime: false,
            dsn: false,
            deliver_by: None,
            future_release: None,
            mt_priority: None,
            rrvs: false,
            require_tls: false,
        }
    }
}
