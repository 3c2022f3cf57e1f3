//! Keeps account: the ledger file, the same counts in memory, and the report on them.

use std::fmt::Write as _;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use smtp_audit::Report;
use smtp_audit::ledger::{Entry, LedgerFile, Withheld};
use smtp_proto::tls::{Condition, Direction, EndToEnd, Ledger, Retries, Share, Wanted};
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
    retries: Retries,
    ledger: Ledger,
    lenient: LeniencyCounts,
    withheld: Withheld,
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

    pub(crate) fn add(&self, entry: &Entry<'static>) {
        if let Some(file) = &self.file {
            file.put(Note::Entry(Box::new(entry.clone())));
        }
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let Counts { retries, ledger, withheld, .. } = &mut *counts;
        withheld.add(entry);
        entry.with(|record| retries.add(record, |record| ledger.add(record)));
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
        let (lenient, withheld) = {
            let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            (counts.lenient.clone(), counts.withheld.clone())
        };
        let mut report = report(&self.now(), self.since, &withheld);
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
        let withheld = self.counts.lock().unwrap_or_else(PoisonError::into_inner).withheld.clone();
        Report::of(&self.now(), &withheld, require)
    }

    fn now(&self) -> Ledger {
        let Counts { mut retries, mut ledger, .. } = self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // What still waits to be tried again is counted as it stands.
        retries.finish(|record| ledger.add(record));
        ledger
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

fn report(ledger: &Ledger, since: Timestamp, withheld: &Withheld) -> String {
    let mut out = String::new();
    let inbound = Direction::Inbound;
    let loss = ledger.loss(inbound, Condition::Tls, 5);
    let _ = writeln!(out, "since {since:.0}: {}", sentence(&loss.wanted));
    for (word, share) in [("unwanted", &loss.unwanted), ("of unknown worth", &loss.unknown)] {
        if share.total.messages > 0 {
            let _ = writeln!(out, "  {word}: {} of {} without TLS", share.lost.messages, share.total.messages);
        }
    }
    for require in Condition::ALL {
        let share = ledger.loss(inbound, require, 0).wanted;
        if share.total.messages > 0 {
            let lost = share.lost.messages;
            let _ = writeln!(
                out,
                "  requiring {}: {lost} of {} lost{}",
                require.as_str(),
                share.total.messages,
                range(&share)
            );
        }
    }
    if withheld.messages() > 0 {
        let (messages, senders) = (withheld.messages(), withheld.senders());
        let _ = writeln!(
            out,
            "  not offered STARTTLS, since handshakes had failed: {messages} messages of {senders} senders"
        );
    }
    for heavy in &loss.wanted.heaviest {
        let sender = if heavy.sender.is_empty() { "<>" } else { &heavy.sender };
        let _ = writeln!(out, "  {sender}: {} of {} without TLS", heavy.lost, heavy.total);
    }
    let (mut plaintext, mut protected) = (0, 0);
    for (kind, _, here) in ledger.protected(inbound, Wanted::Yes) {
        plaintext += here;
        protected += if matches!(kind, EndToEnd::None | EndToEnd::Unknown) { 0 } else { here };
    }
    if protected > 0 {
        let _ = writeln!(out, "  of {plaintext} that came in plaintext {protected} were encrypted from end to end");
    }
    let (mut with_tls, mut in_plaintext, mut not_again) = (0, 0, 0);
    for wanted in Wanted::ALL {
        let counts = ledger.rehearsal(inbound, wanted);
        with_tls += counts.with_tls;
        in_plaintext += counts.in_plaintext;
        not_again += counts.not_again;
    }
    let asked = with_tls + in_plaintext + not_again;
    if asked > 0 {
        let _ = writeln!(
            out,
            "  rehearsal: of {asked} asked to come again, {with_tls} came with TLS, {in_plaintext} in plaintext, \
             {not_again} not (yet)"
        );
    }
    out
}

fn sentence(share: &Share) -> String {
    let (lost, total) = (share.lost.messages, share.total.messages);
    if total == 0 {
        return "no wanted mail of which it can be told whether it came with TLS".into();
    }
    format!(
        "of {total} wanted messages {lost}{} from {} of {} senders came without TLS; requiring it would lose at most those",
        range(share),
        share.senders.lost,
        share.senders.total,
    )
}

/// ` (0.44 %, 95 % interval 0.21 to 0.83 %)`.
fn range(share: &Share) -> String {
    match (share.ratio(), share.interval) {
        (Some(ratio), Some(interval)) => format!(
            " ({:.2} %, 95 % interval {:.2} to {:.2} %)",
            ratio * 100.0,
            interval.low * 100.0,
            interval.high * 100.0
        ),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use smtp_audit::ledger::Ending;
    use smtp_audit::ledger::Ending::{Accepted, Deferred};
    use smtp_proto::tls::{ClientCertificate, Hop, Rehearsed};

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
        assert!(before.contains("of 3 wanted messages 1 (33.33 %"), "{before}");
        assert!(before.contains("of 1 asked to come again, 0 came with TLS, 0 in plaintext, 1 not"), "{before}");
        let mut back = entry(400, "ccc.example", Accepted, USED);
        back.rehearsed = Some(Rehearsed::CameWithTls);
        books.add(&back);
        let after = books.report();
        assert!(after.contains("of 4 wanted messages 1 (25.00 %"), "{after}");
        assert!(after.contains("from 1 of 3 senders"), "{after}");
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
        assert!(Books::new(None).expect("books").report().contains("no wanted mail"));
    }
}
