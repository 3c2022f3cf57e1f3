//! A source: what there is to read, and what kind it is. Nothing here reads.

use std::path::PathBuf;

/// What kind a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kind {
    /// Postfix's log.
    Postfix,
    /// Exim's main log, or what it writes to syslog.
    Exim,
    /// Sendmail's log.
    Sendmail,
    /// OpenSMTPD's log.
    Opensmtpd,
    /// A log of Exchange Server: SMTP protocol or message tracking.
    Exchange,
    /// A folder of mail, those below it included: a Maildir, or files of messages.
    Maildir,
    /// Messages in one file.
    Mbox,
    /// One message.
    Message,
    /// A report about TLS from those who sent mail here (RFC 8460).
    Tlsrpt,
    /// A ledger of `serve --ledger`.
    Ledger,
    /// What other audits have counted: cells of `audit --cells`.
    Cells,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Postfix,
        Self::Exim,
        Self::Sendmail,
        Self::Opensmtpd,
        Self::Exchange,
        Self::Maildir,
        Self::Mbox,
        Self::Message,
        Self::Tlsrpt,
        Self::Ledger,
        Self::Cells,
    ];

    /// As an option calls it: one word in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Postfix => "postfix",
            Self::Exim => "exim",
            Self::Sendmail => "sendmail",
            Self::Opensmtpd => "opensmtpd",
            Self::Exchange => "exchange",
            Self::Maildir => "maildir",
            Self::Mbox => "mbox",
            Self::Message => "message",
            Self::Tlsrpt => "tlsrpt",
            Self::Ledger => "ledger",
            Self::Cells => "cells",
        }
    }

    /// As a report calls it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Postfix => "Postfix log",
            Self::Exim => "Exim log",
            Self::Sendmail => "Sendmail log",
            Self::Opensmtpd => "OpenSMTPD log",
            Self::Exchange => "Exchange log",
            Self::Maildir => "folder of mail",
            Self::Mbox => "mbox",
            Self::Message => "message",
            Self::Tlsrpt => "TLS report",
            Self::Ledger => "ledger",
            Self::Cells => "cells",
        }
    }

    /// Whether it is a log of lines, of which one file may hold those of several programs.
    pub(crate) const fn is_log(self) -> bool {
        matches!(self, Self::Postfix | Self::Exim | Self::Sendmail | Self::Opensmtpd)
    }
}

/// A source that was looked at.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) kind: Kind,
    /// Octets on disk; 0 where that is not known.
    pub(crate) size: u64,
    /// When it was last written, in seconds since 1970: the year of a log that does not tell one.
    pub(crate) written: i64,
    /// The first time in it, of a log.
    pub(crate) first: Option<i64>,
}
