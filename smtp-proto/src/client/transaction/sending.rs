//! Which commands are given, and when.

use super::{Phase, Transaction};
use crate::client::event::NotNow;
use crate::client::outcome::Slot;
use crate::client::state::State;
use crate::client::{Protocol, Session};
use crate::syntax::{Body, Command, Extension};

/// A text of at most so many octets goes out with its envelope in one write, by BDAT, where PIPELINING is offered too.
const EAGER: u64 = 64 << 10;

impl Transaction<'_> {
    /// Gives what commands it can. That nothing at all can be done does not happen while the session is the
    /// transaction's alone; if it does, that is the end.
    pub(super) fn turn(&mut self, session: &mut Session) {
        let before = (self.phase, session.awaited.len());
        self.advance(session);
        if self.ticket.is_none() && before == (self.phase, session.awaited.len()) {
            self.set(0..self.slots.len(), &Slot::NotSent(NotNow::State(session.state())));
            self.phase = Phase::Done;
        }
    }

    pub(super) fn advance(&mut self, session: &mut Session) {
        loop {
            let open = self.slots.iter().any(|slot| matches!(slot, Slot::Waiting | Slot::Named));
            match self.phase {
                Phase::Mail => match self.mail(session) {
                    Ok(()) => {
                        self.left_out = session.left_out();
                        self.phase = Phase::Rcpt(0);
                    }
                    Err(NotNow::Busy) => return,
                    Err(why) => {
                        self.set(0..self.slots.len(), &Slot::NotSent(why));
                        self.phase = Phase::Done;
                        return;
                    }
                },
                _ if !open && self.ticket.is_none() => {
                    self.settle(session);
                    return;
                }
                Phase::Rcpt(at) => match self.envelope.to.get(at) {
                    None => self.phase = Phase::Data,
                    Some(rcpt) => {
                        match self.within_domains(session, at).and_then(|()| session.send(&Command::Rcpt(*rcpt))) {
                            Ok(()) => self.left_out = session.left_out(),
                            Err(NotNow::Busy) => return,
                            Err(why) => self.set(at..at + 1, &Slot::NotSent(why)),
                        }
                        self.phase = Phase::Rcpt(at + 1);
                    }
                },
                Phase::Data => {
                    if !self.data(session) {
                        return;
                    }
                    self.phase = Phase::Text;
                }
                Phase::Text | Phase::Done => return,
            }
        }
    }

    fn mail(&self, session: &mut Session) -> Result<(), NotNow> {
        let offers = session.offers();
        let need = |extension| if offers.has(extension) { Ok(()) } else { Err(NotNow::NotOffered(extension)) };
        let body = match self.envelope.body {
            Some(Body::SevenBit) => "",
            None | Some(Body::EightBitMime) if offers.has(Extension::EightBitMime) => " BODY=8BITMIME",
            // An octet beyond ASCII is found out when it comes.
            None => "",
            Some(Body::EightBitMime) if session.config().eight_bit_anyway => "",
            // RFC 6152 3: it must not be sent then.
            Some(Body::EightBitMime) => return Err(NotNow::NotOffered(Extension::EightBitMime)),
            Some(Body::BinaryMime) => {
                need(Extension::BinaryMime)?;
                need(Extension::Chunking)?;
                if !session.config().chunking {
                    return Err(NotNow::NotOffered(Extension::Chunking));
                }
                " BODY=BINARYMIME"
            }
        };
        // RFC 6531 3.2, 3.4.
        let utf8 = self.envelope.needs_utf8();
        if utf8 {
            need(Extension::SmtpUtf8)?;
        }
        let params = &self.envelope.params;
        let said = |keyword| params.iter().any(|param| param.keyword.eq_ignore_ascii_case(keyword));
        let utf8 = if utf8 && !said("SMTPUTF8") { " SMTPUTF8" } else { "" };
        let body = if said("BODY") { "" } else { body };
        session.mail(self.envelope.from.as_str(), self.envelope.size, &[body, utf8], params)
    }

    /// DATA or BDAT, when its time has come.
    fn data(&mut self, session: &mut Session) -> bool {
        let binary = self.envelope.body == Some(Body::BinaryMime);
        let waiting = self.slots.contains(&Slot::Waiting);
        let chunks = session.offers().has(Extension::Chunking)
            && session.config().chunking
            && (binary || session.config().protocol == Protocol::Smtp || session.config().lmtp_chunking);
        let sent = if !chunks {
            session.send(&Command::Data)
        } else if waiting && self.envelope.size.is_none_or(|size| size > EAGER) {
            Err(NotNow::Busy)
        } else {
            session.begin_chunks(binary).map(|ticket| self.ticket = Some(ticket))
        };
        match sent {
            Ok(()) => true,
            Err(NotNow::Busy) => false,
            Err(why) => {
                self.set(0..self.slots.len(), &Slot::NotSent(why));
                false
            }
        }
    }

    /// All outcomes are known: the session is to be left as it was found.
    fn settle(&mut self, session: &mut Session) {
        if session.is_idle() || session.state() == State::Closed {
            self.phase = Phase::Done;
        } else if session.awaited.ahead(session.state()).in_transaction() {
            let _ = session.send(&Command::Rset);
        }
    }

    /// RFC 9422 5.3.
    fn within_domains(&self, session: &Session, at: usize) -> Result<(), NotNow> {
        let Some(most) = session.offers().rcpt_domain_max() else { return Ok(()) };
        let domain = |at: usize| {
            let path = self.envelope.to.get(at).map_or("", |rcpt| rcpt.path.as_str());
            path.rsplit_once('@').map_or("", |(_, domain)| domain)
        };
        let sent = |at: &usize| !matches!(self.slots.get(*at), Some(Slot::NotSent(_)));
        let (mut others, mut known) = (0, false);
        for before in (0..at).filter(sent) {
            let same = |earlier: usize| domain(earlier).eq_ignore_ascii_case(domain(before));
            known |= domain(before).eq_ignore_ascii_case(domain(at));
            others += u32::from(!(0..before).filter(sent).any(same));
        }
        if known || others < most { Ok(()) } else { Err(NotNow::Limit) }
    }
}
