//! What replies, and the end of the session, mean for the recipients.

use core::ops::Range;

use super::{Phase, Transaction};
use crate::client::event::{Event, TextError};
use crate::client::outcome::{Fate, Slot};
use crate::client::state::{Awaited, State};
use crate::client::{Protocol, Session};
use crate::syntax::ReplyLines;

/// So many rules that the server broke are told.
const TOLERATED: usize = 8;

impl Transaction<'_> {
    pub(super) fn event(&mut self, session: &mut Session, event: Event<'_>) {
        match event {
            Event::Reply(to, reply) => self.reply(session, to, &reply),
            Event::Message(ticket) => self.ticket = Some(ticket),
            Event::Tolerated(fault) if self.tolerated.len() < TOLERATED => self.tolerated.push(fault),
            Event::Ready | Event::Fault(_) | Event::Tolerated(_) => {}
            Event::Closed(reason) => {
                self.closed = Some(reason);
                self.lost(session);
            }
        }
    }

    fn reply(&mut self, session: &mut Session, to: Awaited, reply: &ReplyLines<'_>) {
        let fate = match reply.code() {
            400..500 => Fate::Later,
            500.. => Fate::Never,
            _ => Fate::Accepted,
        };
        let refused = fate != Fate::Accepted;
        // A success that the session does not take for one is none.
        if !refused && session.state() == State::Closed {
            return;
        }
        // Replies come in order: with 421 to one of these the server never came to the text behind them.
        if reply.code() == 421 && matches!(to, Awaited::Mail | Awaited::Rcpt | Awaited::Chunk) {
            self.text_end = None;
        }
        match to {
            Awaited::Rcpt => {
                let next = self.slots.iter().skip(self.answered).position(|slot| *slot == Slot::Waiting);
                let Some(at) = next.map(|skipped| self.answered + skipped) else { return };
                self.answered = at + 1;
                let slot = if refused { self.keep(fate, reply) } else { Slot::Named };
                self.set(at..at + 1, &slot);
            }
            // To this one's text, not to that of one that leads it.
            Awaited::Text if self.text_end.is_some() => {
                let slot = self.keep(fate, reply);
                let first = self.slots.iter().position(|slot| *slot == Slot::Named);
                match (first, session.config().protocol) {
                    (Some(first), Protocol::Lmtp) => self.set(first..first + 1, &slot),
                    _ => self.set(0..self.slots.len(), &slot),
                }
            }
            // Before MAIL the reason for which the session ends says more.
            Awaited::Mail | Awaited::Data | Awaited::Chunk | Awaited::Nothing
                if refused && self.phase != Phase::Mail =>
            {
                let slot = self.keep(fate, reply);
                self.set(0..self.slots.len(), &slot);
                if to == Awaited::Chunk
                    && let Some(ticket) = self.ticket.take()
                {
                    session.drop_chunks(ticket);
                }
            }
            _ => {}
        }
    }

    /// Whether replies to the transaction that this one leads come next: then it is done, and leaves them alone.
    pub(super) fn stop_before_next(&mut self, session: &Session) {
        let open = || self.slots.iter().any(|slot| matches!(slot, Slot::Waiting | Slot::Named));
        if self.leads && session.due.is_empty() && !open() {
            self.phase = Phase::Done;
        }
    }

    /// Keeps a reply for outcomes.
    fn keep(&mut self, fate: Fate, reply: &ReplyLines<'_>) -> Slot {
        let start = self.replies.len();
        self.replies.extend_from_slice(reply.raw());
        Slot::Reply(fate, start..self.replies.len())
    }

    /// Sets those of the slots that are still open.
    pub(super) fn set(&mut self, range: Range<usize>, to: &Slot) {
        for slot in self.slots.get_mut(range).unwrap_or_default() {
            if matches!(slot, Slot::Waiting | Slot::Named) {
                slot.clone_from(to);
            }
        }
    }

    /// The session is over. What was sent as a whole may have arrived.
    pub(super) fn lost(&mut self, session: &Session) {
        let arrived = self.text_end.is_some_and(|end| session.output.gone_out() >= end);
        let fate = match &self.closed {
            _ if arrived => Fate::Unknown,
            Some(reason) if !reason.is_temporary() => Fate::Never,
            _ => Fate::Later,
        };
        self.set(0..self.slots.len(), &Slot::Session(fate));
        self.ticket = None;
        self.phase = Phase::Done;
    }

    pub(super) fn checked<T>(&mut self, result: Result<T, TextError>) -> Result<T, TextError> {
        if let Err(TextError::Flaw(flaw)) = result {
            self.ticket = None;
            self.set(0..self.slots.len(), &Slot::Text(flaw));
        }
        result
    }
}
