//! Keeps account: the ledger file, the same counts in memory, and the report on them.

use std::fmt::Write as _;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use smtp_audit::ledger::{Entry, LedgerFile};
use smtp_audit::{Live, Report};
use smtp_proto::tls::Condition;
use smtp_proto::{Leniency, LeniencyCounts};

use crate::outlet::Outlet;

/// The account of a running server.
#[derive(Debug)]
pub(crate) struct Books {
    file: Option<Outlet<Note>>,
    /// The ledger file has been moved away.
    moved: Arc<AtomicBool>,
    counts: Mutex<Counts>,
    since: Timestamp,
}

#[derive(Clone, Debug, Default)]
struct Counts {
    live: Live,
    lenient: LeniencyCounts,
}

impl Books {
    /// The ledger is written on a thread of its own: it may be a pipe that nobody reads.
    pub(crate) fn new(file: Option<LedgerFile>) -> io::Result<Self> {
        let moved: Arc<AtomicBool> = Arc::default();
        let seen = moved.clone();
        let write = |file: LedgerFile| {
            Outlet::new(Some("the ledger"), weight, move |note: Note, lost| {
                if seen.swap(false, Ordering::AcqRel)
                    && let Err(error) = file.reopen()
                {
                    tracing::error!(%error, "the ledger cannot be opened anew; the old file is still written");
                }
                file.skip(lost);
                if let Note::Entry(entry) = note {
                    file.write(&entry);
                }
            })
        };
        Ok(Self { file: file.map(write).transpose()?, moved, counts: Mutex::default(), since: Timestamp::now() })
    }

    pub(crate) fn add(&self, entry: &Entry<'_>) {
        if let Some(file) = &self.file {
            file.put(Note::Entry(Box::new(entry.clone().into_owned())));
        }
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).live.add(entry);
    }

    /// Whether a ledger is kept, of what is counted.
    pub(crate) const fn are_written(&self) -> bool {
        self.file.is_some()
    }

    /// The ledger file has been moved away: a new one is begun.
    pub(crate) fn rotate(&self) {
        self.moved.store(true, Ordering::Release);
        if let Some(file) = &self.file {
            file.nudge(Note::Moved);
        }
    }

    /// Waits until the ledger is written, but not for longer than this.
    pub(crate) fn finish(&self, time: Duration) {
        if let Some(file) = &self.file {
            file.finish(time);
        }
    }

    /// Lines that the ledger has lost.
    pub(crate) fn lost(&self) -> u64 {
        self.file.as_ref().map_or(0, Outlet::lost)
    }

    /// What has come of TLS since the start.
    pub(crate) fn report(&self) -> String {
        let Counts { live, lenient } = self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut report = format!("since {:.0}: {}", self.since, live.report(Condition::Tls).brief());
        if lenient.iter().next().is_some() {
            let _ = writeln!(report, "  let pass by --lenient: {lenient}");
        }
        report
    }

    /// A leniency was made use of.
    pub(crate) fn let_pass(&self, leniency: Leniency) {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).lenient.add(leniency);
    }

    /// The same as a whole report.
    pub(crate) fn live(&self, require: Condition) -> Report {
        // Worked out outside of the lock: mail goes on.
        let live = self.counts.lock().unwrap_or_else(PoisonError::into_inner).live.clone();
        live.report(require)
    }
}

/// What is told to the thread that writes the ledger.
#[derive(Debug)]
enum Note {
    Entry(Box<Entry<'static>>),
    /// Look whether the file has been moved away.
    Moved,
}

/// About what a note that waits takes.
fn weight(note: &Note) -> usize {
    match note {
        Note::Entry(entry) => 1024 + 64 * entry.recipient_domains.len(),
        Note::Moved => 64,
    }
}

#[cfg(test)]
mod tests {
    use smtp_audit::ledger::Ending::{self, Accepted, Deferred};
    use smtp_proto::tls::{ClientCertificate, Direction, Hop, Rehearsed};

    use super::*;

    const USED: Hop = Hop::Used { version: None, certificate: ClientCertificate::None };

    fn entry(second: i64, sender: &'static str, ending: Ending, hop: Hop) -> Entry<'static> {
        let time = Timestamp::from_second(1_795_510_800 + second).expect("a time");
        let mut entry = Entry::new(time, Direction::Inbound, ending);
        entry.peer = "192.0.2.1".parse().ok();
        entry.sender_domain = Some(sender.into());
        entry.recipients = 1;
        entry.envelope = sender.len() as u64 + 1;
        entry.tls.hop = hop;
        entry
    }

    #[test]
    fn the_report_counts_a_message_once_and_tells_what_a_rehearsal_found() {
        let books = Books::new(None).expect("books");
        books.add(&entry(0, "a.example", Accepted, USED));
        books.add(&entry(1, "a.example", Accepted, USED));
        books.add(&entry(2, "bb.example", Accepted, Hop::NotTried));
        let mut asked = entry(3, "ccc.example", Deferred, Hop::NotTried);
        asked.rehearsed = Some(Rehearsed::Asked);
        books.add(&asked);
        let before = books.report();
        assert!(before.contains("Of 3 wanted messages of one day, 1 (33 %"), "{before}");
        assert!(before.contains("of 1 asked to come again, 0 came with TLS, 0 in plaintext, 1 not"), "{before}");
        let mut back = entry(400, "ccc.example", Accepted, USED);
        back.rehearsed = Some(Rehearsed::CameWithTls);
        books.add(&back);
        let after = books.report();
        assert!(after.contains("Of 4 wanted messages of one day, 1 (25 %"), "{after}");
        assert!(after.contains(" from one sender came without TLS."), "{after}");
        assert!(after.contains("of 1 asked to come again, 1 came with TLS, 0 in plaintext, 0 not"), "{after}");
        assert!(after.contains("\n  bb.example: 1 of 1 without TLS\n"), "{after}");
    }

    #[test]
    fn what_was_let_pass_is_told_by_name() {
        let books = Books::new(None).expect("books");
        for leniency in [Leniency::HeloName, Leniency::BareLfText, Leniency::HeloName] {
            books.let_pass(leniency);
        }
        let report = books.report();
        assert!(report.contains("\n  let pass by --lenient: bare-lf-text 1, helo-name 2\n"), "{report}");
    }

    #[test]
    fn of_nothing_nothing_is_said() {
        assert!(Books::new(None).expect("books").report().contains("no wanted message"));
    }
}
