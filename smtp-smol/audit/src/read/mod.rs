//! Readers: one folder or file for each kind of source. They hand in at the desk, and none knows another, but
//! that stored mail hands on the TLS reports that are in it; which is the
//! right one, [`detect`] says.

pub(crate) mod blocks;
pub(crate) mod cells;
pub(crate) mod detect;
pub(crate) mod exchange;
pub(crate) mod exim;
pub(crate) mod forms;
pub(crate) mod generations;
pub(crate) mod input;
pub(crate) mod journal;
pub(crate) mod ledger;
pub(crate) mod log;
pub(crate) mod opensmtpd;
pub(crate) mod postfix;
pub(crate) mod scan;
pub(crate) mod sendmail;
pub(crate) mod stored;
pub(crate) mod syslog;
pub(crate) mod threads;
pub(crate) mod tlsrpt;
pub(crate) mod words;
