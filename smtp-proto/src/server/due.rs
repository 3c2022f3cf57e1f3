//! Events that wait to be told.

use super::{Event, Fault, Reason};

/// Events that are told before anything further is parsed, in this order.
#[derive(Debug, Default)]
pub(super) struct Due {
    pub(super) fault: Option<Fault>,
    pub(super) too_many: Option<Fault>,
    pub(super) reset: bool,
    pub(super) closed: Option<Reason>,
}

impl Due {
    pub(super) fn next<'i>(&mut self) -> Option<Event<'i>> {
        if let Some(fault) = self.fault.take().or_else(|| self.too_many.take()) {
            return Some(Event::Fault(fault));
        }
        if core::mem::take(&mut self.reset) {
            return Some(Event::Reset);
        }
        self.closed.take().map(Event::Closed)
    }
}
