//! What the other files of a session share: commands on their way out, the one place that assigns the state, faults, the
//! end.

use super::event::{Fault, FaultKind, Reason};
use super::state::{Awaited, Move, State};
use super::{Protocol, Session};

impl Session {
    pub(super) fn lmtp(&self) -> bool {
        self.config.protocol == Protocol::Lmtp
    }

    /// Puts a line out, and awaits its reply. `line` holds no CRLF.
    pub(super) fn command(&mut self, awaited: Awaited, line: &[&str]) {
        // The first command makes room once, not for each of its parts.
        self.output.tail().reserve(line.iter().map(|part| part.len()).sum::<usize>() + 2);
        for part in line {
            self.output.tail().extend_from_slice(part.as_bytes());
        }
        self.output.tail().extend_from_slice(b"\r\n");
        self.awaited.push(awaited, self.output.end());
    }

    /// The only place where the state is assigned.
    pub(super) fn go(&mut self, by: Move) {
        match self.state.after(by) {
            Some(next) => self.state = next,
            None => debug_assert!(false, "{:?} in {:?} has no row in the table", by, self.state),
        }
    }

    /// `n` octets were taken: every KiB is progress, so that a slow drip still times out.
    pub(super) fn drip(&mut self, n: usize) {
        self.text_drip += n as u64;
        if self.text_drip >= 1024 {
            self.text_drip = 0;
            self.progress += 1;
        }
    }

    pub(super) fn fault(&mut self, kind: FaultKind, offset: u64) {
        if self.state != State::Closed {
            self.output.drop_all();
            self.due.fault = Some(Fault { kind, offset });
            self.close(Reason::Fault(kind));
        }
    }

    pub(super) fn misused(&mut self) {
        self.fault(FaultKind::ForeignTicket, self.offset);
    }

    /// QUIT, politely; the session ends for this reason, whatever comes of it.
    pub(super) fn leave(&mut self, reason: Reason) {
        self.phase.parting = Some(reason);
        self.command(Awaited::Quit, &["QUIT"]);
    }

    /// The connection is gone, or stands still. After QUIT that changes nothing.
    pub(super) fn cut_off(&mut self, reason: Reason) {
        let reason = self.phase.parting.take().unwrap_or(reason);
        self.close(reason);
    }

    pub(super) fn close(&mut self, reason: Reason) {
        if self.state == State::Closed {
            return;
        }
        self.go(Move::End);
        self.message = None;
        self.login = None;
        self.awaited.clear();
        self.due.ready = false;
        self.due.message = None;
        self.ended = Some(reason.clone());
        self.due.closed = Some(reason);
    }
}
