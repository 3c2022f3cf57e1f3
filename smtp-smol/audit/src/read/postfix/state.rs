//! What is followed of a log: sessions, messages and deliveries that are not yet over.

use std::hash::Hasher;

use rustc_hash::{FxHashMap, FxHashSet, FxHasher};
use smtp_proto::tls::{ClientCertificate, Direction, Disposition, Hop, Wanted};

use super::ciphers::Ciphers;
use super::delivery::Delivery;
use super::mail::Mail;
use super::phrases::Established;
use super::session::{Session, is_submission};
use crate::count::desk::Desk;
use crate::count::seen::{Seen, Untold};
use crate::read::generations::{FOLLOWED, Generations};
use crate::read::scan::{find, number};
use crate::read::syslog::Line;

/// Joins lines to messages, over files and hosts.
#[derive(Debug)]
pub(crate) struct Postfix {
    pub(crate) sessions: FxHashMap<u64, Session>,
    pub(crate) mails: Generations<Mail>,
    pub(crate) deliveries: FxHashMap<u64, Delivery>,
    /// Recipients' domains are asked for: a message is kept until it was delivered.
    pub(crate) recipients: bool,
    /// Hosts of which a server's line about TLS was seen: where there is none, there is no TLS. A setting of one host
    /// says nothing of another's.
    pub(crate) tells_tls: Hosts,
    /// The same, of mail that goes out.
    pub(crate) tells_tls_out: Hosts,
    /// Hosts of which a line named the group of a key exchange: OpenSSL there knows it.
    pub(crate) tells_groups: Hosts,
    pub(crate) ciphers: Ciphers,
    /// A certificate of a client was seen: they are asked for one.
    pub(crate) asks: bool,
    /// A filter answers before the queue: what this machine sends to itself has come in before.
    pub(crate) filtered: bool,
}

impl Postfix {
    pub(crate) fn new(recipients: bool) -> Self {
        Self {
            sessions: FxHashMap::default(),
            mails: Generations::default(),
            deliveries: FxHashMap::default(),
            recipients,
            tells_tls: Hosts::default(),
            tells_tls_out: Hosts::default(),
            tells_groups: Hosts::default(),
            ciphers: Ciphers::default(),
            asks: false,
            filtered: false,
        }
    }

    /// What a line about a client's TLS says, and the group of the key exchange.
    pub(crate) fn tells(&mut self, host: &[u8], tls: &Established<'_>) -> (Hop, Option<&'static str>) {
        let host = hash(host);
        self.tells_tls.add(host);
        let (version, group) = self.ciphers.find(tls.tls);
        if group.is_some() {
            self.tells_groups.add(host);
        }
        self.asks |= tls.trust != b"Anonymous";
        let certificate = match tls.trust {
            b"Untrusted" => ClientCertificate::Untrusted,
            b"Trusted" | b"Verified" => ClientCertificate::Verified,
            _ if self.asks => ClientCertificate::None,
            _ => ClientCertificate::Unknown,
        };
        (Hop::Used { version, certificate }, group)
    }

    /// The session that a line is of. Where it is not known yet, its beginning is not in the log.
    pub(crate) fn session(&mut self, place: u64, line: &Line<'_>) -> &mut Session {
        self.sessions.entry(place).or_insert_with(|| Session {
            host: hash(line.host),
            submission: is_submission(line.instance),
            ..Session::default()
        })
    }

    pub(crate) fn insert(&mut self, queue: u64, mail: Mail, desk: &mut Desk) {
        if let Some(old) = self.mails.insert(queue, mail) {
            for mut mail in old {
                mail.delivered = true;
                mail.give(self.recipients, desk);
            }
        }
    }

    /// The end of a session. `counts` is what Postfix 3 says of its commands: ` ehlo=2 starttls=1 mail=1 …`.
    pub(crate) fn close(&mut self, mut session: Session, counts: Option<&[u8]>, desk: &mut Desk) {
        let (hop, untold) = match (session.hop, counts) {
            (Some(hop), _) => (hop, Untold::None),
            (None, Some(counts)) => match find(counts, b" starttls=") {
                // `starttls=0/1`: tried and failed.
                Some(at) if number(&counts[at + 10..]).is_some_and(|(done, _)| done > 0) => {
                    let certificate = ClientCertificate::Unknown;
                    (Hop::Used { version: None, certificate }, Untold::None)
                }
                _ => (Hop::NotTried, Untold::None),
            },
            (None, None) if !session.whole => (Hop::Unknown, Untold::CutOff),
            (None, None) if self.tells_tls.holds(session.host) => (Hop::NotTried, Untold::None),
            (None, None) => (Hop::Unknown, Untold::Silent),
        };
        self.resolve(std::mem::take(&mut session.waiting), hop, untold, desk);
        if session.submission {
            return;
        }
        if let Some(refused) = session.refused.take() {
            refused.give(hop, untold, desk);
        } else if session.hop.is_none()
            && let Some(failed) = session.failed
        {
            desk.take(&Seen {
                peer: failed.peer,
                host: &failed.host,
                recipients: 0,
                end: Disposition::Abandoned,
                wanted: Wanted::Unknown,
                hop: Hop::Failed,
                ..Seen::new(failed.time, Direction::Inbound)
            });
        }
    }

    /// Over what these messages came is known now.
    pub(crate) fn resolve(&mut self, waiting: Vec<u64>, hop: Hop, untold: Untold, desk: &mut Desk) {
        for queue in waiting {
            if let Some(mail) = self.mails.get_mut(queue).filter(|mail| mail.from_outside && mail.hop.is_none()) {
                (mail.hop, mail.untold) = (Some(hop), untold);
                mail.give(self.recipients, desk);
                if mail.delivered {
                    self.mails.remove(queue);
                }
            }
        }
    }

    pub(crate) fn make_room(&mut self, desk: &mut Desk) {
        if self.sessions.len() >= FOLLOWED {
            self.forget_sessions(desk);
        }
    }

    /// What is still open is counted as it is known.
    pub(crate) fn forget_sessions(&mut self, desk: &mut Desk) {
        let mut open: Vec<_> = std::mem::take(&mut self.sessions).into_iter().collect();
        open.sort_unstable_by_key(|(place, _)| *place);
        for (_, session) in open {
            self.close(session, None, desk);
        }
    }
}

pub(crate) fn key(host: &[u8], queue: &[u8]) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(host);
    hasher.write(queue);
    hasher.finish()
}

/// A process on a host.
pub(crate) fn place(line: &Line<'_>) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(line.host);
    hasher.write(line.process);
    hasher.finish()
}

/// A host by its name.
pub(crate) fn hash(host: &[u8]) -> u64 {
    key(host, b"")
}

/// Hosts, by the hashes of their names.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    hosts: FxHashSet<u64>,
    /// The last that was added: mostly the next is the same.
    last: Option<u64>,
}

impl Hosts {
    /// More hosts than this write no log together; those beyond it are as if they did not tell.
    const MOST: usize = 1 << 16;

    pub(crate) fn add(&mut self, host: u64) {
        if self.last != Some(host) && self.hosts.len() < Self::MOST {
            self.hosts.insert(host);
            self.last = Some(host);
        }
    }

    pub(crate) fn holds(&self, host: u64) -> bool {
        self.last == Some(host) || self.hosts.contains(&host)
    }
}
