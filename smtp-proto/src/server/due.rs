//! Events that wait to be told, before anything further is parsed.

use super::{Event, Fault, FaultKind, Reason};
use crate::Leniencies;
use crate::tls::TlsFailure;

/// Told in this order: leniencies, faults, reset, the end.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// Whether anything waits at all: what `step` looks at first.
    any: bool,
    reset: bool,
    /// What was let pass, all at the same offset: that of a line, or of a text.
    lenient: Leniencies,
    lenient_at: u64,
    /// A fault and too many faults can come together, behind one that ends the session.
    faults: [Option<Fault>; 3],
    closed: Option<EndKind>,
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
        if let Some(free) = self.faults.iter_mut().find(|waiting| waiting.is_none()) {
            *free = Some(fault);
        }
        self.any = true;
    }

    pub(super) fn lenient(&mut self, used: impl Into<Leniencies>, offset: u64) {
        let used = used.into();
        if !used.is_strict() {
            self.lenient = self.lenient.union(used);
            self.lenient_at = offset;
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

    /// The next event, if one waits.
    #[inline(never)]
    pub(super) fn next<'i>(&mut self, tls_failure: Option<&TlsFailure>) -> Option<Event<'i>> {
        // The end of a transaction alone: what waits most often.
        if self.reset && self.lenient.is_strict() && self.closed.is_none() && self.faults.iter().all(Option::is_none) {
            (self.reset, self.any) = (false, false);
            return Some(Event::Reset);
        }
        if let Some(leniency) = self.lenient.pop() {
            return Some(Event::Fault(Fault { kind: FaultKind::Lenient(leniency), offset: self.lenient_at, code: 0 }));
        }
        if let Some(fault) = self.faults.iter_mut().find_map(Option::take) {
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
