//! What a reader hands in of a message.

use std::net::IpAddr;

use smtp_proto::tls::{Direction, Disposition, EndToEnd, Hop, Wanted};

/// A message on its hop, as a reader has seen it. Names are as they were written; the desk makes them comparable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) time: i64,
    pub(crate) direction: Direction,
    pub(crate) peer: Option<IpAddr>,
    /// The other side's name by DNS, or what it called itself.
    pub(crate) host: &'a [u8],
    /// The sender's address or domain; empty for a null reverse-path, or where it is not known.
    pub(crate) sender: &'a [u8],
    /// Recipients' addresses or domains, as far as known.
    pub(crate) to: &'a [&'a [u8]],
    pub(crate) recipients: u32,
    pub(crate) envelope: u64,
    pub(crate) bytes: u64,
    pub(crate) end: Disposition,
    pub(crate) wanted: Wanted,
    pub(crate) hop: Hop,
    /// Why, where that is not known.
    pub(crate) untold: Untold,
    /// Of the key exchange, by the name that the ledger has for it.
    pub(crate) group: Option<&'static str>,
    /// The source tells of groups: where there is none before TLS 1.3, there was none.
    pub(crate) tells_group: bool,
    pub(crate) end_to_end: EndToEnd,
}

impl Seen<'_> {
    pub(crate) const fn new(time: i64, direction: Direction) -> Self {
        Self {
            time,
            direction,
            peer: None,
            host: &[],
            sender: &[],
            to: &[],
            recipients: 1,
            envelope: 0,
            bytes: 0,
            end: Disposition::Accepted,
            wanted: Wanted::Yes,
            hop: Hop::Unknown,
            untold: Untold::None,
            group: None,
            tells_group: false,
            end_to_end: EndToEnd::Unknown,
        }
    }
}

/// Why it cannot be told over what a message came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Untold {
    /// It can.
    #[default]
    None,
    /// Its session began, or ended, outside of the log.
    CutOff,
    /// Postfix's log does not tell of TLS, or had not yet.
    Silent,
    /// The same, of mail that went out.
    SilentOut,
    /// Exim's log leaves `X=` out.
    EximCipher,
    /// Sendmail's log has no line about TLS.
    Sendmail,
    /// Exchange's message tracking log does not tell of TLS.
    Tracking,
    /// The export of a provider does not.
    Export,
    /// The Received field does not.
    Field,
    /// Nor does the line of the ledger.
    Line,
}

impl Untold {
    pub(crate) const ALL: [Self; 9] = [
        Self::CutOff,
        Self::Silent,
        Self::SilentOut,
        Self::EximCipher,
        Self::Sendmail,
        Self::Tracking,
        Self::Export,
        Self::Field,
        Self::Line,
    ];

    /// What is told of such messages.
    pub(crate) const fn why(self) -> &'static str {
        match self {
            Self::None => "for no known reason",
            Self::CutOff => "in sessions that began or ended outside of the log",
            Self::Silent => "where Postfix does not log TLS (smtpd_tls_loglevel = 1 makes it do so)",
            Self::SilentOut => "that Postfix sent and does not log TLS for (smtp_tls_loglevel = 1 makes it do so)",
            Self::EximCipher => "where Exim does not log TLS (log_selector = +tls_cipher makes it do so)",
            Self::Sendmail => "where Sendmail does not log TLS (LogLevel 9 makes it do so)",
            Self::Tracking => {
                "where Exchange's message tracking log does not tell of TLS (its SMTP protocol log does: ProtocolLoggingLevel \
                 Verbose)"
            }
            Self::Export => "of which the provider's export does not say",
            Self::Field => "of which the Received field does not say",
            Self::Line => "of which the ledger does not say",
        }
    }
}
