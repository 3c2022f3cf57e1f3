//! One connection from outside.

use std::net::IpAddr;

use smtp_proto::tls::{Direction, Disposition, Hop, Wanted};

use crate::count::desk::Desk;
use crate::count::seen::{Seen, Untold};

/// Messages of one session that wait for its end.
const WAITING: usize = 1 << 16;

/// What is known of one connection from outside.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// The host that it was on, by its hash.
    pub(crate) host: u64,
    pub(crate) hop: Option<Hop>,
    /// Of the key exchange.
    pub(crate) group: Option<&'static str>,
    /// Its beginning is in the log: a line about TLS was not missed.
    pub(crate) whole: bool,
    /// Users submit mail here, by the port's name or because they have logged in.
    pub(crate) submission: bool,
    pub(crate) failed: Option<Box<Failed>>,
    pub(crate) waiting: Vec<u64>,
    pub(crate) refused: Option<Box<Refused>>,
}

/// A handshake that failed.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) time: i64,
    pub(crate) peer: Option<IpAddr>,
    pub(crate) host: Box<[u8]>,
}

/// A transaction of which every recipient was refused so far.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) time: i64,
    pub(crate) peer: Option<IpAddr>,
    pub(crate) host: Box<[u8]>,
    pub(crate) sender: Box<[u8]>,
    pub(crate) to: Box<[u8]>,
    pub(crate) recipients: u32,
}

impl Session {
    /// Over what this message came will be known at the session's end.
    pub(crate) fn wait_for(&mut self, queue: u64) {
        if self.waiting.len() < WAITING {
            self.waiting.push(queue);
        }
    }

    /// Whether its end tells anything that is needed.
    pub(crate) const fn waits(&self) -> bool {
        !self.waiting.is_empty() || self.failed.is_some() || self.refused.is_some()
    }
}

impl Refused {
    pub(crate) fn give(&self, hop: Hop, untold: Untold, desk: &mut Desk) {
        let to = [&*self.to];
        desk.take(&Seen {
            peer: self.peer,
            host: &self.host,
            sender: &self.sender,
            to: &to,
            recipients: self.recipients,
            end: Disposition::Refused,
            wanted: Wanted::No,
            hop,
            untold,
            ..Seen::new(self.time, Direction::Inbound)
        });
    }
}

/// By what `master.cf` calls these services (`syslog_name`); port 465 is `smtps` or `submissions`.
pub(crate) fn is_submission(instance: &[u8]) -> bool {
    // Mostly it is `postfix`.
    matches!(instance.last(), Some(b'n' | b's'))
        && matches!(instance.rsplit(|octet| *octet == b'/').next(), Some(b"submission" | b"submissions" | b"smtps"))
}
