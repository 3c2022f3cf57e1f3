//! Messages on their way from a reader to the desk, where these are not on one thread.

use std::net::IpAddr;

use smtp_proto::tls::{Direction, Disposition, EndToEnd, Hop, Wanted};

use super::seen::{Seen, Untold};

/// Messages that were seen, in order.
#[derive(Debug, Default)]
pub(crate) struct Held {
    messages: Vec<Message>,
    /// Where each of the recipients ends.
    recipients: Vec<usize>,
    /// All names: of each message host, sender and recipients.
    names: Vec<u8>,
}

/// What [`Seen`] says, but for the names.
#[derive(Debug)]
struct Message {
    time: i64,
    direction: Direction,
    peer: Option<IpAddr>,
    /// Where host and sender end, and how many recipients follow.
    host: usize,
    sender: usize,
    to: usize,
    recipients: u32,
    envelope: u64,
    bytes: u64,
    end: Disposition,
    wanted: Wanted,
    hop: Hop,
    untold: Untold,
    group: Option<&'static str>,
    tells_group: bool,
    end_to_end: EndToEnd,
}

impl Held {
    pub(crate) fn push(&mut self, seen: &Seen<'_>) {
        let mut name = |name: &[u8]| {
            self.names.extend_from_slice(name);
            self.names.len()
        };
        let (host, sender) = (name(seen.host), name(seen.sender));
        self.recipients.extend(seen.to.iter().map(|to| name(to)));
        self.messages.push(Message {
            time: seen.time,
            direction: seen.direction,
            peer: seen.peer,
            host,
            sender,
            to: seen.to.len(),
            recipients: seen.recipients,
            envelope: seen.envelope,
            bytes: seen.bytes,
            end: seen.end,
            wanted: seen.wanted,
            hop: seen.hop,
            untold: seen.untold,
            group: seen.group,
            tells_group: seen.tells_group,
            end_to_end: seen.end_to_end,
        });
    }

    /// Hands them out again, as they were.
    pub(crate) fn each(&self, mut then: impl FnMut(&Seen<'_>)) {
        let mut begin = 0;
        let mut name = |end: usize| &self.names[std::mem::replace(&mut begin, end)..end];
        let mut recipients = self.recipients.iter();
        let mut to = Vec::new();
        for message in &self.messages {
            let (host, sender) = (name(message.host), name(message.sender));
            to.clear();
            to.extend(recipients.by_ref().take(message.to).map(|end| name(*end)));
            then(&Seen {
                time: message.time,
                direction: message.direction,
                peer: message.peer,
                host,
                sender,
                to: &to,
                recipients: message.recipients,
                envelope: message.envelope,
                bytes: message.bytes,
                end: message.end,
                wanted: message.wanted,
                hop: message.hop,
                untold: message.untold,
                group: message.group,
                tells_group: message.tells_group,
                end_to_end: message.end_to_end,
            });
        }
    }
}
