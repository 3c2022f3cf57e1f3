//! Events that wait to be told, before anything further is read.

use super::event::{Event, Fault, MessageTicket, Reason};

/// Told in this order: what was let pass, that the session is open, that the text may come, a fault, the end.
#[derive(Debug, Default)]
pub(super) struct Due {
    pub(super) tolerated: Option<Fault>,
    pub(super) ready: bool,
    pub(super) message: Option<MessageTicket>,
    pub(super) fault: Option<Fault>,
    pub(super) closed: Option<Reason>,
}

impl Due {
    /// Whether no event waits.
    pub(super) const fn is_empty(&self) -> bool {
        self.tolerated.is_none()
            && !self.ready
            && self.message.is_none()
            && self.fault.is_none()
            && self.closed.is_none()
    }

    /// The next event, if one waits.
    pub(super) fn next<'i>(&mut self) -> Option<Event<'i>> {
        if let Some(fault) = self.tolerated.take() {
            return Some(Event::Tolerated(fault));
        }
        if core::mem::take(&mut self.ready) {
            return Some(Event::Ready);
        }
        if let Some(ticket) = self.message.take() {
            return Some(Event::Message(ticket));
        }
        if let Some(fault) = self.fault.take() {
            return Some(Event::Fault(fault));
        }
        self.closed.take().map(Event::Closed)
    }
}
