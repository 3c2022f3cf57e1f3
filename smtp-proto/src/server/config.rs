//! The configuration of server sessions: role, limits, timeouts, TLS.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use core::sync::atomic::AtomicUsize;
use core::time::Duration;

use crate::Leniencies;
use crate::auth::MechanismSet;
use crate::syntax::Mailbox;
use crate::tls::{Policy, RequiredDomains};

use super::Extensions;

/// The configuration of a server, shared by all sessions of a listener. Strict by default.
///
/// ```
/// use smtp_proto::server::{Config, Extensions, Role};
/// use smtp_proto::tls::Policy;
///
/// let mut extensions = Extensions::default();
/// extensions.dsn = true; // this application sends notifications
/// let config = Config::new("mx.example.net")?.role(Role::Mx).tls(Policy::Offer).extensions(extensions).shared();
/// assert_eq!(config.hostname(), "mx.example.net");
/// # Ok::<(), smtp_proto::server::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct Config {
    pub(super) hostname: String,
    pub(super) role: Role,
    pub(super) extensions: Extensions,
    pub(super) tls: Policy,
    pub(super) tls_for: Option<RequiredDomains>,
    pub(super) tls_temporary: bool,
    pub(super) auth: MechanismSet,
    pub(super) plaintext_auth: bool,
    pub(super) ask_about_all: bool,
    pub(super) wait_your_turn: bool,
    pub(super) limits: Limits,
    pub(super) timeouts: Timeouts,
    pub(super) lenient: Leniencies,
    pub(super) sessions: AtomicUsize,
}

/// What a server is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// Takes mail from other servers (RFC 5321).
    #[default]
    Mx,
    /// Takes mail from users (RFC 6409, RFC 8314): AUTH before MAIL, and TLS before AUTH.
    Submission,
    /// Takes mail from a server on its own network for final delivery (RFC 2033): LHLO, and an answer for each
    /// recipient.
    Lmtp,
}

/// Bounds on everything a peer can make large. Defaults are those of RFC 5321 4.5.3.1 or above.
///
/// ```
/// use smtp_proto::server::{Config, Limits};
///
/// let limits = Limits::default().message(10 << 20).recipients(100);
/// let config = Config::new("mx.example.net")?.limits(limits)?;
/// # Ok::<(), smtp_proto::server::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Octets of a command line, CRLF included. RFC 5321 4.5.3.1.4 asks for 512, extensions for more: 2,048. At least 512.
    pub line: usize,
    /// Octets of a line of an AUTH exchange, CRLF included (RFC 4954 4): 12,288. No less than `line`.
    pub auth_line: usize,
    /// Octets of a line of text, CRLF included; 0 is no limit. RFC 5321 4.5.3.1.6 has 1,000, much mail has more: 0.
    pub text_line: usize,
    /// Octets of a message, announced as SIZE (RFC 1870); 0 is no limit. 50 MiB.
    pub message: u64,
    /// Recipients of a message (RFC 5321 4.5.3.1.8 asks for 100): 1,000.
    pub recipients: u32,
    /// Transactions of a connection (announced as MAILMAX, RFC 9422), before 421; 0 is no limit. 10,000.
    pub transactions: u32,
    /// Octets of refused text and chunks that are read and thrown away, before 421: 1 GiB.
    pub discard: u64,
    /// How many faults of the peer are answered before the session ends with 421: 20.
    pub faults: u32,
    /// Commands in a row that begin or further no transaction, before 421: 100.
    pub idle_commands: u32,
    /// Octets of replies that wait to be written, above which no further command is taken: 16 KiB.
    pub output: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line: 2048,
            auth_line: 12_288,
            text_line: 0,
            message: 50 << 20,
            recipients: 1000,
            transactions: 10_000,
            discard: 1 << 30,
            faults: 20,
            idle_commands: 100,
            output: 16 << 10,
        }
    }
}

/// How long a session waits, by state (RFC 5321 4.5.3.2.7: at least 5 minutes for a command).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// How long the greeting is held back, to find clients that do not wait for it (RFC 5321 4.3.1). Such a client is
    /// answered 554 instead, unless [`Leniency::EarlyTalkers`](crate::Leniency::EarlyTalkers) is on. The default is 0, no
    /// pause: octets that came before the greeting are then reported and served.
    pub greet_pause: Duration,
    /// For the next command: 5 minutes.
    pub command: Duration,
    /// For the next [`Timeouts::text_octets`] octets of text: 3 minutes (RFC 5321 4.5.3.2.5).
    pub text: Duration,
    /// Octets of text that count as progress: a slower drip times out. 1,024.
    pub text_octets: u64,
    /// For the whole TLS handshake: 60 seconds.
    pub handshake: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            greet_pause: Duration::ZERO,
            command: Duration::from_secs(300),
            text: Duration::from_secs(180),
            text_octets: 1024,
            handshake: Duration::from_secs(60),
        }
    }
}

/// A setting that is not possible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The host name is neither a domain nor an address literal (RFC 5321 4.1.3).
    #[error("hostname {0:?} is neither a domain name nor an address literal such as [192.0.2.1]")]
    Hostname(String),
    /// A limit below what RFC 5321 4.5.3.1 guarantees to clients.
    #[error("limit {name} is {value}; RFC 5321 section 4.5.3.1 asks for at least {least}")]
    LimitTooLow {
        /// The field of [`Limits`].
        name: &'static str,
        /// The value that was given for it.
        value: u64,
        /// The least that is allowed.
        least: u64,
    },
}

/// With the same settings, and with sessions of its own.
impl Clone for Config {
    fn clone(&self) -> Self {
        Self {
            hostname: self.hostname.clone(),
            extensions: self.extensions.clone(),
            tls_for: self.tls_for.clone(),
            sessions: AtomicUsize::new(0),
            ..*self
        }
    }
}

impl Config {
    /// The defaults, for a server that calls itself `hostname`: a domain name, or an address literal.
    ///
    /// # Errors
    /// [`ConfigError::Hostname`] when it is neither.
    pub fn new(hostname: &str) -> Result<Self, ConfigError> {
        let probe = alloc::format!("x@{hostname}");
        if Mailbox::parse(&probe, false).is_err() {
            return Err(ConfigError::Hostname(hostname.to_string()));
        }
        Ok(Self {
            hostname: hostname.to_string(),
            role: Role::default(),
            extensions: Extensions::default(),
            tls: Policy::default(),
            tls_for: None,
            tls_temporary: false,
            auth: MechanismSet::EMPTY,
            plaintext_auth: false,
            ask_about_all: false,
            wait_your_turn: false,
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            lenient: Leniencies::STANDARD,
            sessions: AtomicUsize::new(0),
        })
    }

    /// The TLS policy. The default is [`Policy::Offer`]; a driver that cannot do TLS says [`Policy::Off`].
    #[must_use]
    pub fn tls(mut self, policy: Policy) -> Self {
        self.tls = policy;
        self
    }

    /// What the server is for. The default is [`Role::Mx`].
    #[must_use]
    pub fn role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// The service extensions to announce in the reply to EHLO. The defaults are those of [`Extensions`].
    #[must_use]
    pub fn extensions(mut self, extensions: Extensions) -> Self {
        self.extensions = extensions;
        self
    }

    /// Domains for which TLS is required, while it is only offered to others.
    #[must_use]
    pub fn require_tls_for(mut self, domains: RequiredDomains) -> Self {
        self.tls_for = Some(domains);
        self
    }

    /// Whether mail that needs TLS is put off (450 4.7.0) rather than refused (530 5.7.0, RFC 3207 4): its sender then
    /// tries again, for as long as it keeps mail. Off by default.
    #[must_use]
    pub fn put_off_plaintext(mut self, temporary: bool) -> Self {
        self.tls_temporary = temporary;
        self
    }

    /// The mechanisms of AUTH (RFC 4954); those are offered that the channel allows. None by default.
    #[must_use]
    pub fn auth(mut self, mechanisms: MechanismSet) -> Self {
        self.auth = mechanisms;
        self
    }

    /// Whether AUTH is offered in plaintext, where RFC 4954 4 and RFC 8314 3 warn of it. Off by default.
    #[must_use]
    pub fn allow_plaintext_auth(mut self, allow: bool) -> Self {
        self.plaintext_auth = allow;
        self
    }

    /// Whether a peer that does not wait for the replies it must wait for (RFC 2920 3.1) is sent away; otherwise it is
    /// only reported. Whether it waited shows only in what arrives together. Off by default.
    #[must_use]
    pub fn refuse_unauthorised_pipelining(mut self, refuse: bool) -> Self {
        self.wait_your_turn = refuse;
        self
    }

    /// The limits.
    ///
    /// # Errors
    /// [`ConfigError::LimitTooLow`] for a limit below what RFC 5321 4.5.3.1 guarantees.
    pub fn limits(mut self, limits: Limits) -> Result<Self, ConfigError> {
        let too_low = |name, value: u64, least: u64| {
            if value < least { Err(ConfigError::LimitTooLow { name, value, least }) } else { Ok(()) }
        };
        too_low("line", limits.line as u64, 512)?;
        too_low("auth_line", limits.auth_line as u64, limits.line as u64)?;
        if limits.text_line != 0 {
            too_low("text_line", limits.text_line as u64, 1000)?;
        }
        too_low("recipients", u64::from(limits.recipients), 100)?;
        if limits.message != 0 {
            too_low("message", limits.message, 64 << 10)?;
        }
        self.limits = limits;
        Ok(self)
    }

    /// Takes one recipient in a transaction, and answers 452 to more, which RFC 5321 4.5.3.1.8 lets a server do for want of
    /// room alone: for a relay to LMTP, where recipients have an answer each, and SMTP has but one for all. LIMITS
    /// announces it (RFC 9422). To be said after [`limits`](Self::limits).
    #[must_use]
    pub fn one_recipient(mut self) -> Self {
        self.limits.recipients = 1;
        self
    }

    /// How long sessions wait. The defaults are those of [`Timeouts`].
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Which departures from the standards are let pass, each use reported as [`FaultKind::Lenient`] by name. The default
    /// is [`Leniencies::STANDARD`].
    ///
    /// [`FaultKind::Lenient`]: super::FaultKind::Lenient
    #[must_use]
    pub fn lenient(mut self, lenient: Leniencies) -> Self {
        self.lenient = lenient;
        self
    }

    /// Whether the application is asked about RSET, NOOP, VRFY, HELP and QUIT too
    /// ([`Event::Command`](super::Event::Command)), which leave a server that keeps to the standard nothing to decide (RFC
    /// 5321 4.1.1.5, 4.1.1.10). For servers that clients are tested with. Off by default.
    #[must_use]
    pub fn ask_about_all(mut self, ask: bool) -> Self {
        self.ask_about_all = ask;
        self
    }

    /// The name the server goes by.
    #[must_use]
    pub fn hostname(&self) -> &str {
        &self.hostname
    }

    /// Whether the role is [`Role::Lmtp`], so that the session speaks LMTP.
    #[must_use]
    pub fn is_lmtp(&self) -> bool {
        self.role == Role::Lmtp
    }

    /// The mechanisms of AUTH that are switched on.
    #[must_use]
    pub fn mechanisms(&self) -> MechanismSet {
        self.auth
    }

    /// The TLS policy in force.
    #[must_use]
    pub fn tls_policy(&self) -> Policy {
        self.tls
    }

    /// How long a handshake may take ([`Timeouts::handshake`]), for drivers of channels where TLS comes first.
    #[must_use]
    pub fn handshake_timeout(&self) -> Duration {
        self.timeouts.handshake
    }

    /// The configuration in an [`Arc`], as [`Session::new`](super::Session::new) takes it: all sessions of a listener
    /// share one.
    #[must_use]
    pub fn shared(self) -> Arc<Self> {
        Arc::new(self)
    }
}
