//! Exim's main log. A message's arrival is one line, and says all; so does each delivery.
//!
//! ```text
//! 2026-11-24 08:00:00 1vNXYZ-0000000abcd-1234 <= s@a H=mx.a [192.0.2.1] P=esmtps X=TLS1.3:TLS_AES_256_GCM_SHA384:256 CV=no S=4711 id=…
//! 2026-11-24 08:00:01 1vNXYZ-0000000abcd-1234 => r@b R=dnslookup T=remote_smtp H=mx.b [198.51.100.1] X=TLS1.3:… CV=yes C="250 OK"
//! 2026-11-24 08:00:02 H=(x) [203.0.113.9] F=<s@c> rejected RCPT <r@b>: Unknown user
//! ```

mod phrases;

use std::hash::Hasher;
use std::net::IpAddr;

use rustc_hash::{FxHashMap, FxHasher};
use smtp_proto::tls::{ClientCertificate, Direction, Disposition, Hop, Wanted};

use crate::count::desk::Desk;
use crate::count::seen::{Seen, Untold};
use crate::read::scan::{find, find_last, number};
use crate::read::syslog::{Calendar, Line};
use crate::read::words::{Word, version};
use phrases::{Fields, Host, address, group_in, message};
pub(crate) use phrases::{is_other, native, writes};

/// Deliveries that are followed at once.
const FOLLOWED: usize = 1 << 16;

/// Reads lines of the main log, over files.
#[derive(Debug, Default)]
pub(crate) struct Exim {
    /// Transactions of which every recipient was refused so far, by the address of the client.
    refused: FxHashMap<u64, Refused>,
    deliveries: FxHashMap<u64, Delivery>,
    /// Whether lines have `X=` where there was TLS (`log_selector = +tls_cipher`, which is Exim's default).
    x: X,
    /// A line named the group of a key exchange, as Exim's do with GnuTLS.
    tells_groups: bool,
    /// Deliveries without `X=` that wait until that is known.
    waiting: Vec<Delivery>,
    /// Deliveries that count as plaintext although that was never known.
    guessed: u64,
}

/// Whether lines have `X=` where there was TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum X {
    /// No line has told.
    #[default]
    NotKnown,
    /// A line has it, of mail that came in or went out: both have it or neither.
    Written,
    /// `P=esmtps`, and no `X=`.
    Left,
}

#[derive(Debug)]
struct Refused {
    time: i64,
    peer: Option<IpAddr>,
    host: Box<[u8]>,
    sender: Box<[u8]>,
    to: Box<[u8]>,
    recipients: u32,
    hop: Hop,
}

#[derive(Debug)]
struct Delivery {
    time: i64,
    peer: Option<IpAddr>,
    host: Box<[u8]>,
    to: Box<[u8]>,
    recipients: u32,
    bytes: u64,
    /// `None` until it is known.
    hop: Option<Hop>,
    group: Option<&'static str>,
    tells_group: bool,
}

/// A refusal and the one before it belong to one transaction if no more than this lies between.
const TRANSACTION: i64 = 60;

impl Exim {
    /// Nothing more comes.
    pub(crate) fn finish(&mut self, desk: &mut Desk) {
        self.forget(desk);
        self.settle(Hop::NotTried, desk);
        if self.guessed > 0 {
            desk.notes.push(format!(
                "{} without X= in the log count as sent in plaintext: Exim writes X= unless log_selector = -tls_cipher",
                self.guessed
            ));
        }
    }

    /// A line that came by syslog, which may have a time of its own before the message.
    pub(crate) fn line(&mut self, line: &Line<'_>, calendar: &mut Calendar, desk: &mut Desk) -> Option<()> {
        if let Some((time, id, text)) = native(line.text) {
            self.entry(time, id, text, desk);
        } else if let Some((id, text)) = message(line.text) {
            self.entry(calendar.time(line.stamp)?, id, text, desk);
        }
        Some(())
    }

    /// What stands behind the time.
    pub(crate) fn entry(&mut self, time: i64, id: &[u8], text: &[u8], desk: &mut Desk) {
        if let Some(text) = text.strip_prefix(b"<= ") {
            self.arrival(time, text, desk);
        } else if let Some(text) = text.strip_prefix(b"=> ") {
            self.delivery(time, id, text, true, desk);
        } else if let Some(text) = text.strip_prefix(b"-> ") {
            self.delivery(time, id, text, false, desk);
        } else if text == b"Completed" {
            if let Some(delivery) = self.deliveries.remove(&hash(id)) {
                self.give(delivery, desk);
            }
        } else if text.starts_with(b"H=") {
            self.reject(time, text, desk);
        } else if let Some(client) = text.strip_prefix(b"TLS error on connection from ") {
            let host = Host::parse(client);
            desk.take(&Seen {
                peer: host.address,
                host: host.name,
                recipients: 0,
                end: Disposition::Abandoned,
                wanted: Wanted::Unknown,
                hop: Hop::Failed,
                ..Seen::new(time, Direction::Inbound)
            });
        }
    }

    /// `s@a H=mx.a (helo) [192.0.2.1]:4711 P=esmtps X=TLS1.3:…:256 CV=no DN="…" A=plain:user S=4711 id=… T="…" for r@b r@c`.
    /// The sender's own words begin at `id=`; nothing is believed after them but the recipients at the very end.
    fn arrival(&mut self, time: i64, text: &[u8], desk: &mut Desk) {
        let Some(at) = find(text, b" H=") else {
            // From a local program (U=user P=local), or a bounce made here.
            desk.messages += 1;
            desk.aside.internal += 1;
            return;
        };
        let sender = &text[..at];
        let sender = &sender[..find(sender, b" ").unwrap_or(sender.len())];
        let sender = if sender == b"<>" { &[][..] } else { sender };
        let host = Host::parse(&text[at + 3..]);
        let own = &host.rest[..find(host.rest, b" id=").unwrap_or(host.rest.len())];
        let own = Fields::parse(own);
        let protocol = own.protocol.and_then(Word::parse);
        if protocol.is_some_and(|word| word.login) || own.login.is_some() {
            desk.messages += 1;
            desk.aside.submissions += 1;
            return;
        }
        let tls = own.tls;
        let group = tls.and_then(group_in);
        self.tells_groups |= group.is_some();
        if tls.is_some() {
            self.tells(desk);
        } else if protocol.is_some_and(|word| word.tls) && self.x == X::NotKnown {
            self.x = X::Left;
            self.settle(Hop::Unknown, desk);
        }
        // Of its recipients some were refused before: it is one message all the same.
        let key = client(host.address);
        if self
            .refused
            .get(&key)
            .is_some_and(|refused| *refused.sender == *sender && time - refused.time <= TRANSACTION)
        {
            self.refused.remove(&key);
        }
        let certificate = match own.verified {
            Some(b"yes" | b"dane") => ClientCertificate::Verified,
            // "no" is also said where there was no certificate.
            Some(b"no") if own.named => ClientCertificate::Untrusted,
            _ => ClientCertificate::Unknown,
        };
        let hop = match (tls, protocol) {
            (Some(tls), _) => Hop::Used { version: version(tls), certificate },
            (None, Some(Word { tls: true, .. })) => Hop::Used { version: None, certificate },
            (None, Some(_)) => Hop::NotTried,
            (None, None) => Hop::Unknown,
        };
        let to: Vec<&[u8]> = find_last(host.rest, b" for ")
            .map(|at| host.rest[at + 5..].split(|octet| *octet == b' ').take(1000).collect())
            .filter(|to: &Vec<&[u8]>| to.iter().all(|to| memchr::memchr(b'@', to).is_some()))
            .unwrap_or_default();
        desk.take(&Seen {
            peer: host.address,
            host: host.name,
            sender,
            to: &to,
            recipients: u32::try_from(to.len().max(1)).unwrap_or(1),
            bytes: own.size.and_then(number).map_or(0, |(bytes, _)| bytes),
            hop,
            untold: Untold::EximCipher,
            group,
            tells_group: self.tells_groups,
            ..Seen::new(time, Direction::Inbound)
        });
    }

    /// `r@b <r@b> F=<s@a> R=dnslookup T=remote_smtp S=4711 H=mx.b [198.51.100.1] X=… CV=yes DN="…" C="250 OK"`.
    /// `->` is a further recipient of the same delivery.
    fn delivery(&mut self, time: i64, id: &[u8], text: &[u8], first: bool, desk: &mut Desk) {
        let Some(at) = find(text, b" H=") else { return };
        let host = Host::parse(&text[at + 3..]);
        let key = hash(id);
        if !first
            && let Some(delivery) = self.deliveries.get_mut(&key)
            && delivery.peer == host.address
        {
            delivery.recipients += 1;
            return;
        }
        if let Some(before) = self.deliveries.remove(&key) {
            self.give(before, desk);
        }
        let tls = Fields::parse(host.rest).tls;
        let group = tls.and_then(group_in);
        self.tells_groups |= group.is_some();
        if tls.is_some() {
            self.tells(desk);
        }
        let hop = match tls {
            Some(tls) => Some(Hop::Used { version: version(tls), certificate: ClientCertificate::Unknown }),
            None => self.without_x(),
        };
        let to = &text[..memchr::memchr(b' ', text).unwrap_or(text.len())];
        let bytes = Fields::parse(&text[..at]).size.and_then(number).map_or(0, |(bytes, _)| bytes);
        let (peer, host) = (host.address, host.name.into());
        let tells_group = self.tells_groups;
        let delivery = Delivery { time, peer, host, to: to.into(), recipients: 1, bytes, hop, group, tells_group };
        if self.deliveries.len() >= FOLLOWED {
            self.forget(desk);
        }
        self.deliveries.insert(key, delivery);
    }

    /// `H=mx.a [192.0.2.1] X=TLS1.3:… CV=no F=<s@a> rejected RCPT <r@b>: …`, or `temporarily rejected`; brackets may be
    /// missing.
    fn reject(&mut self, time: i64, text: &[u8], desk: &mut Desk) {
        let host = Host::parse(&text[2..]);
        let Some(at) = find(host.rest, b" F=") else { return };
        let Some((sender, rest)) = address(&host.rest[at + 3..]) else { return };
        // A login may stand between.
        if find(rest, b" temporarily rejected ").is_some_and(|at| at < 64) {
            desk.aside.deferred += 1;
            return;
        }
        let Some(at) = find(rest, b" rejected ").filter(|at| *at < 64) else { return };
        let before = Fields::parse(&host.rest[..host.rest.len() - rest.len()]);
        if before.login.is_some() || Fields::parse(&rest[..at]).login.is_some() {
            desk.messages += 1;
            desk.aside.submissions += 1;
            return;
        }
        let to =
            rest[at + 10..].splitn(2, |octet| *octet == b' ').nth(1).and_then(address).map_or(&[][..], |(to, _)| to);
        let hop = match before.tls {
            Some(tls) => Hop::Used { version: version(tls), certificate: ClientCertificate::Unknown },
            None if self.x == X::Left => Hop::Unknown,
            None => Hop::NotTried,
        };
        let key = client(host.address);
        match self.refused.get_mut(&key) {
            Some(refused) if *refused.sender == *sender && time - refused.time <= TRANSACTION => {
                refused.recipients += 1;
            }
            _ => {
                let refused = Refused {
                    time,
                    peer: host.address,
                    host: host.name.into(),
                    sender: sender.into(),
                    to: to.into(),
                    recipients: 1,
                    hop,
                };
                if self.refused.len() >= FOLLOWED {
                    self.forget(desk);
                }
                if let Some(before) = self.refused.insert(key, refused) {
                    before.give(desk);
                }
            }
        }
    }

    fn forget(&mut self, desk: &mut Desk) {
        let mut refused: Vec<_> = std::mem::take(&mut self.refused).into_values().collect();
        refused.sort_by_key(|refused| refused.time);
        refused.iter().for_each(|refused| refused.give(desk));
        let mut deliveries: Vec<_> = std::mem::take(&mut self.deliveries).into_values().collect();
        deliveries.sort_by_key(|delivery| delivery.time);
        for delivery in deliveries {
            self.give(delivery, desk);
        }
    }

    /// What a delivery without `X=` tells of TLS.
    const fn without_x(&self) -> Option<Hop> {
        match self.x {
            X::NotKnown => None,
            X::Written => Some(Hop::NotTried),
            X::Left => Some(Hop::Unknown),
        }
    }

    /// A line has `X=`.
    fn tells(&mut self, desk: &mut Desk) {
        if self.x == X::NotKnown {
            self.x = X::Written;
            self.settle(Hop::NotTried, desk);
        }
    }

    /// Hands in a delivery, or lets it wait until it is known whether `X=` would be there.
    fn give(&mut self, mut delivery: Delivery, desk: &mut Desk) {
        delivery.hop = delivery.hop.or_else(|| self.without_x());
        match delivery.hop {
            Some(hop) => delivery.give(hop, desk),
            None if self.waiting.len() < FOLLOWED => self.waiting.push(delivery),
            None => {
                self.guessed += 1;
                delivery.give(Hop::NotTried, desk);
            }
        }
    }

    /// What waits is of this kind.
    fn settle(&mut self, hop: Hop, desk: &mut Desk) {
        let waiting = std::mem::take(&mut self.waiting);
        if self.x == X::NotKnown {
            self.guessed += waiting.len() as u64;
        }
        for delivery in waiting {
            delivery.give(hop, desk);
        }
    }
}

impl Refused {
    fn give(&self, desk: &mut Desk) {
        desk.take(&Seen {
            peer: self.peer,
            host: &self.host,
            sender: &self.sender,
            to: &[&self.to],
            recipients: self.recipients,
            end: Disposition::Refused,
            wanted: Wanted::No,
            hop: self.hop,
            untold: Untold::EximCipher,
            ..Seen::new(self.time, Direction::Inbound)
        });
    }
}

impl Delivery {
    fn give(&self, hop: Hop, desk: &mut Desk) {
        desk.take(&Seen {
            peer: self.peer,
            host: &self.host,
            to: &[&self.to],
            recipients: self.recipients,
            bytes: self.bytes,
            hop,
            untold: Untold::EximCipher,
            group: self.group,
            tells_group: self.tells_group,
            ..Seen::new(self.time, Direction::Outbound)
        });
    }
}

/// A client's key.
fn client(address: Option<IpAddr>) -> u64 {
    match address {
        None => 0,
        Some(IpAddr::V4(address)) => hash(&address.octets()),
        Some(IpAddr::V6(address)) => hash(&address.octets()),
    }
}

fn hash(text: &[u8]) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(text);
    hasher.finish()
}
