//! One message that came in.

use std::net::IpAddr;

use smtp_proto::tls::{Direction, Hop};

use crate::count::desk::Desk;
use crate::count::seen::{Seen, Untold};

/// What is known of one message.
#[derive(Debug, Default)]
pub(crate) struct Mail {
    pub(crate) time: i64,
    pub(crate) peer: Option<IpAddr>,
    pub(crate) host: Box<[u8]>,
    pub(crate) sender: Box<[u8]>,
    pub(crate) to: Vec<Box<[u8]>>,
    pub(crate) bytes: u64,
    pub(crate) recipients: u32,
    pub(crate) hop: Option<Hop>,
    pub(crate) untold: Untold,
    /// Of the key exchange.
    pub(crate) group: Option<&'static str>,
    /// Where there is no group, there was none.
    pub(crate) tells_group: bool,
    pub(crate) from_outside: bool,
    pub(crate) queued: bool,
    pub(crate) delivered: bool,
}

impl Mail {
    /// Hands in a message from outside when all is known of it that can be; where recipients are asked for that is
    /// when it was delivered.
    pub(crate) fn give(&mut self, recipients: bool, desk: &mut Desk) {
        if !self.from_outside || !self.queued || (recipients && !self.delivered) {
            return;
        }
        self.from_outside = false;
        let to: Vec<&[u8]> = self.to.iter().map(|to| &**to).collect();
        desk.take(&Seen {
            peer: self.peer,
            host: &self.host,
            sender: &self.sender,
            to: &to,
            recipients: self.recipients,
            bytes: self.bytes,
            hop: self.hop.unwrap_or(Hop::Unknown),
            group: self.group,
            tells_group: self.tells_group,
            untold: if self.hop.is_none() { Untold::CutOff } else { self.untold },
            ..Seen::new(self.time, Direction::Inbound)
        });
    }
}
