//! Events that wait to be told, before anything further is parsed.

use alloc::boxed::Box;

use super::{Event, Fault, FaultKind, Reason};
use crate::Leniencies;
use crate::tls::TlsFailure;

/// Told in this order: leniencies, faults, reset, the end.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// Whether anything waits at all: what `step` looks at first.
    any: bool,
    reset: bool,
    closed: Option<EndKind>,
    /// What few sessions have to tell, once they have.
    rest: Option<Box<Rest>>,
}

#[derive(Debug, Default)]
struct Rest {
    /// What was let pass, all at the same offset: that of a line, or of a text.
    lenient: Leniencies,
    lenient_at: u64,
    /// A fault and too many faults can come together, behind one that ends the session.
    faults: [Option<Fault>; 3],
}

/// A [`Reason`] without what it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndKind {
    Quit,
    Eof,
    TimedOut,
    TlsFailed,
    ShutDown,
    Refused,
    Fault(FaultKind),
}

impl Due {
    pub(super) fn fault(&mut self, fault: Fault) {
        let rest = self.rest.get_or_insert_default();
        if let Some(free) = rest.faults.iter_mut().find(|waiting| waiting.is_none()) {
            *free = Some(fault);
        }
        self.any = true;
    }

    pub(super) fn lenient(&mut self, used: impl Into<Leniencies>, offset: u64) {
        let used = used.into();
        if !used.is_strict() {
            let rest = self.rest.get_or_insert_default();
            rest.lenient = rest.lenient.union(used);
            rest.lenient_at = offset;
            self.any = true;
        }
    }

    pub(super) fn reset(&mut self) {
        self.reset = true;
        self.any = true;
    }

    pub(super) fn end(&mut self, end: EndKind) {
        self.closed = Some(end);
        self.any = true;
    }

    pub(super) const fn any(&self) -> bool {
        self.any
    }

    /// Gives back the memory of what has been told.
    pub(super) fn release(&mut self) {
        if !self.any {
            self.rest = None;
        }
    }

    /// The next event, if one waits.
    #[inline(never)]
    pub(super) fn next<'i>(&mut self, tls_failure: Option<&TlsFailure>) -> Option<Event<'i>> {
        if let Some(fault) = self.rest.as_mut().and_then(|rest| rest.next()) {
            return Some(Event::Fault(fault));
        }
        if core::mem::take(&mut self.reset) {
            return Some(Event::Reset);
        }
        self.any = false;
        self.closed.take().map(|end| {
            Event::Closed(match end {
                EndKind::Quit => Reason::Quit,
                EndKind::Eof => Reason::Eof,
                EndKind::TimedOut => Reason::TimedOut,
                EndKind::TlsFailed => Reason::TlsFailed(tls_failure.cloned().unwrap_or(TlsFailure::Closed)),
                EndKind::ShutDown => Reason::ShutDown,
                EndKind::Refused => Reason::Refused,
                EndKind::Fault(kind) => Reason::Fault(kind),
            })
        })
    }
}

impl Rest {
    fn next(&mut self) -> Option<Fault> {
        if let Some(leniency) = self.lenient.pop() {
            return Some(Fault { kind: FaultKind::Lenient(leniency), offset: self.lenient_at, code: 0 });
        }
        self.faults.iter_mut().find_map(Option::take)
    }
}
