//! One message on its way to one relay.

use smtp_proto::tls::{Direction, Hop};

use super::phrases::client_name;
use crate::count::desk::Desk;
use crate::count::seen::{Seen, Untold};

/// What is known of a process that sends.
#[derive(Debug, Default)]
pub(crate) struct Delivery {
    pub(crate) mail: u64,
    pub(crate) time: i64,
    pub(crate) relay: Vec<u8>,
    pub(crate) recipient: Vec<u8>,
    pub(crate) recipients: u32,
    pub(crate) sender: Vec<u8>,
    pub(crate) bytes: u64,
    pub(crate) hop: Option<Hop>,
    /// The last line about TLS: of which relay, and what.
    pub(crate) tls: Option<(Vec<u8>, Hop)>,
    pub(crate) failed: Vec<u8>,
}

impl Delivery {
    /// Hands in what was sent in one piece: one message to one relay.
    pub(crate) fn give(&mut self, desk: &mut Desk) {
        let Some(hop) = self.hop.take() else { return };
        let to = [&*self.recipient];
        let (host, peer, _) = client_name(&self.relay);
        desk.take(&Seen {
            peer,
            host,
            sender: &self.sender,
            to: &to,
            recipients: std::mem::take(&mut self.recipients),
            bytes: self.bytes,
            hop,
            untold: Untold::SilentOut,
            ..Seen::new(self.time, Direction::Outbound)
        });
    }
}
