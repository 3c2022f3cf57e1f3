//! What a client session is told beforehand.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use core::sync::atomic::AtomicUsize;
use core::time::Duration;

use crate::syntax::{Mailbox, ReplyLimits};
use crate::text::Newlines;

/// What a client session is told beforehand; may be shared by many. Strict by default.
///
/// ```
/// use smtp_proto::client::{Config, Timeouts, Tls};
/// use core::time::Duration;
///
/// let mut timeouts = Timeouts::default();
/// timeouts.greeting = Duration::from_secs(60);
/// let config = Config::new("client.example.org")?.tls(Tls::Require).timeouts(timeouts).shared();
/// assert_eq!(config.name(), "client.example.org");
/// # Ok::<(), smtp_proto::client::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct Config {
    pub(super) name: String,
    pub(super) protocol: Protocol,
    pub(super) tls: Tls,
    pub(super) timeouts: Timeouts,
    pub(super) limits: Limits,
    pub(super) newlines: Newlines,
    pub(super) chunking: bool,
    pub(super) lmtp_chunking: bool,
    pub(super) plaintext_auth: bool,
    pub(super) eight_bit_anyway: bool,
    pub(super) long_lines: bool,
    pub(super) bare_lf: bool,
    pub(super) require_parameters: bool,
    pub(super) sessions: AtomicUsize,
}

/// Which of the two protocols is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// SMTP (RFC 5321): EHLO or HELO, and one reply to the text.
    #[default]
    Smtp,
    /// LMTP (RFC 2033): LHLO, and a reply for each recipient.
    Lmtp,
}

/// What a client does about TLS on its hop. A session that begins inside TLS ([`Channel::Tls`](crate::Channel::Tls))
/// has it already.
///
/// ```
/// use smtp_proto::client::Tls;
///
/// assert_eq!(Tls::default(), Tls::Opportunistic);
/// assert!(Tls::Require.is_required() && !Tls::Opportunistic.is_required());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Tls {
    /// STARTTLS is not used, even if the server offers it.
    Never,
    /// STARTTLS is used where it is offered, whatever the certificate (RFC 7435). When it is refused the session goes
    /// on in plaintext; when the handshake fails the session ends, and the caller decides.
    #[default]
    Opportunistic,
    /// Without TLS the session ends before MAIL; the certificate is not asked about.
    Require,
    /// As [`Require`](Self::Require), and the driver must have verified the server's certificate, for a name that does
    /// not come from the server ([`TlsInfo::server_verified`](crate::TlsInfo::server_verified)).
    Verify,
}

impl Tls {
    /// Whether the session must not send mail in plaintext.
    #[must_use]
    pub const fn is_required(self) -> bool {
        matches!(self, Self::Require | Self::Verify)
    }
}

/// How long a session waits for the server (RFC 5321 4.5.3.2; the defaults are its minima).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// For the greeting: 5 minutes (4.5.3.2.1).
    pub greeting: Duration,
    /// For the reply to MAIL, RCPT and all that has no timeout of its own: 5 minutes (4.5.3.2.2, 4.5.3.2.3).
    pub command: Duration,
    /// For the reply to DATA: 2 minutes (4.5.3.2.4).
    pub data: Duration,
    /// For a piece of text to be taken: 3 minutes (4.5.3.2.5).
    pub text: Duration,
    /// For the reply to the whole text: 10 minutes (4.5.3.2.6).
    pub text_end: Duration,
    /// For the whole TLS handshake: 60 seconds.
    pub handshake: Duration,
    /// For the reply to QUIT, which changes nothing: 10 seconds.
    pub quit: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            greeting: Duration::from_secs(300),
            command: Duration::from_secs(300),
            data: Duration::from_secs(120),
            text: Duration::from_secs(180),
            text_end: Duration::from_secs(600),
            handshake: Duration::from_secs(60),
            quit: Duration::from_secs(10),
        }
    }
}

/// Bounds on what a server can make large, and on what is sent before its replies are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Of a reply. The driver's buffer must hold [`ReplyLimits::total`].
    pub reply: ReplyLimits,
    /// Challenges in an AUTH exchange, after which it is cancelled (RFC 4954 4): 8.
    pub challenges: u32,
    /// Commands that may wait for their replies: 100. These replies fit into any TCP window in use, so that two sides
    /// that both write never wait for each other (RFC 2920 3.1).
    pub group: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { reply: ReplyLimits::default(), challenges: 8, group: 100 }
    }
}

/// A setting that is not possible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The client's name is neither a domain nor an address literal (RFC 5321 4.1.1.1).
    #[error("client name {0:?} is neither a domain name nor an address literal such as [192.0.2.1]")]
    Name(String),
}

impl Config {
    /// The defaults, for a client that calls itself `name` in EHLO: a domain name, or an address literal.
    ///
    /// # Errors
    /// [`ConfigError::Name`] when it is neither.
    pub fn new(name: &str) -> Result<Self, ConfigError> {
        let probe = alloc::format!("x@{name}");
        if Mailbox::parse(&probe, false).is_err() {
            return Err(ConfigError::Name(name.to_string()));
        }
        Ok(Self {
            name: name.to_string(),
            protocol: Protocol::default(),
            tls: Tls::default(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            newlines: Newlines::default(),
            chunking: true,
            lmtp_chunking: false,
            plaintext_auth: false,
            eight_bit_anyway: false,
            long_lines: false,
            bare_lf: false,
            require_parameters: false,
            sessions: AtomicUsize::new(0),
        })
    }

    /// Which protocol to speak. The default is [`Protocol::Smtp`].
    #[must_use]
    pub const fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// What is done about TLS. The default is [`Tls::Opportunistic`]; a driver that cannot do TLS says [`Tls::Never`].
    #[must_use]
    pub const fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// How long sessions wait. The defaults are those of [`Timeouts`].
    #[must_use]
    pub const fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Bounds on what the server may send, and on pipelining. The defaults are those of [`Limits`].
    #[must_use]
    pub const fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// What is done about a bare CR or LF in a text: by default such a text is not sent.
    #[must_use]
    pub const fn newlines(mut self, newlines: Newlines) -> Self {
        self.newlines = newlines;
        self
    }

    /// Whether text goes by BDAT where CHUNKING is offered, or always by DATA. On by default. BINARYMIME needs it.
    #[must_use]
    pub const fn chunking(mut self, chunking: bool) -> Self {
        self.chunking = chunking;
        self
    }

    /// Whether text goes by BDAT in LMTP too, where CHUNKING is offered. Off by default: when a chunk is refused with the last
    /// one behind it, how many replies come is specified nowhere, and the session ends. BINARYMIME goes by BDAT anyway.
    #[must_use]
    pub const fn chunking_in_lmtp(mut self, chunking: bool) -> Self {
        self.lmtp_chunking = chunking;
        self
    }

    /// Whether credentials may be shown without TLS (RFC 4954 4). Off by default.
    #[must_use]
    pub const fn allow_plaintext_auth(mut self, allow: bool) -> Self {
        self.plaintext_auth = allow;
        self
    }

    /// Whether 8-bit text is sent to a server that does not offer 8BITMIME, against RFC 6152 3. Off by default.
    #[must_use]
    pub const fn send_eight_bit_anyway(mut self, send: bool) -> Self {
        self.eight_bit_anyway = send;
        self
    }

    /// Whether lines of more than 998 octets are sent, against RFC 5321 4.5.3.1.6. Off by default.
    #[must_use]
    pub const fn send_long_lines(mut self, send: bool) -> Self {
        self.long_lines = send;
        self
    }

    /// Whether LF without CR ends a line of a reply, against RFC 5321 2.3.8. Off by default; when it is made use of that is
    /// told ([`Event::Tolerated`](super::Event::Tolerated)).
    #[must_use]
    pub const fn bare_lf_in_replies(mut self, passes: bool) -> Self {
        self.bare_lf = passes;
        self
    }

    /// Whether parameters that only ask for something (RET, ENVID, NOTIFY, ORCPT, AUTH, SIZE) must be offered by the server,
    /// or the command is not sent. By default they are left out where they are not, and
    /// [told](super::Session::left_out).
    #[must_use]
    pub const fn require_parameters(mut self, require: bool) -> Self {
        self.require_parameters = require;
        self
    }

    /// The name that this client gives in EHLO, HELO or LHLO.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What this client does about TLS.
    #[must_use]
    pub const fn tls_policy(&self) -> Tls {
        self.tls
    }

    /// How long a handshake may take ([`Timeouts::handshake`]), for drivers of channels where TLS comes first.
    #[must_use]
    pub const fn handshake_timeout(&self) -> Duration {
        self.timeouts.handshake
    }

    /// The configuration in an [`Arc`], as [`Session::new`](super::Session::new) takes it: many sessions can share one.
    #[must_use]
    pub fn shared(self) -> Arc<Self> {
        Arc::new(self)
    }
}
