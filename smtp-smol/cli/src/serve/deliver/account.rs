//! The account that is kept of a transaction: an entry of the ledger, and numbers.

use std::borrow::Cow;
use std::time::Instant;

use jiff::Timestamp;
use smtp_audit::ledger::{Ending, Entry, NOT_OFFERED_AGAIN, Tls};
use smtp_proto::tls::{Direction, EndToEnd, Hop, Rehearsed, Retries, Wanted};
use smtp_proto::{Leniencies, Leniency};
use smtp_smol::Peer;

use super::Clerk;
use super::paths::Paths;
use crate::serve::seeing::Way;

impl Clerk {
    /// Writes a line into the ledger.
    pub(super) fn count(&mut self, peer: &Peer<'_>, time: Timestamp, ending: Ending) {
        self.count_with(peer, time, ending, peer.session.into());
    }

    /// The same of a session with this TLS.
    pub(super) fn count_with(&mut self, peer: &Peer<'_>, time: Timestamp, ending: Ending, tls: Tls<'static>) {
        self.counted = true;
        let metrics = &self.office.metrics;
        metrics.ended(ending, self.envelope.as_ref().map_or(0, |envelope| envelope.size));
        if let Some(began) = self.began.take() {
            metrics.time(Way::Transaction, began.elapsed());
        }
        let asked = self.envelope.as_mut().map(|envelope| std::mem::take(&mut envelope.asked)).unwrap_or_default();
        let mut entry = self.entry(peer, time, ending, tls);
        let Some(envelope) = self.envelope.as_ref().filter(|_| !asked.is_empty()) else {
            self.office.books.add(&entry);
            return;
        };
        // Those that were asked to come again will, as a message of their own.
        if !envelope.to.is_empty() {
            self.office.books.add(&entry);
        }
        (entry.ending, entry.rehearsed) = (Ending::Deferred, Some(Rehearsed::Asked));
        (entry.verdict, entry.end_to_end, entry.id, entry.bytes) = (None, EndToEnd::Unknown, None, 0);
        address(&mut entry, &envelope.from, &asked, self.office.books.are_written());
        self.office.books.add(&entry);
    }

    /// Notes what the mail that it concerns would have been refused for.
    pub(super) fn let_pass(&mut self, peer: &Peer<'_>, leniency: Leniency) {
        let of_session = matches!(
            leniency,
            Leniency::HeloName | Leniency::EarlyTalkers | Leniency::BareLfCommands | Leniency::AuthAfterHelo
        );
        let noted = match &mut self.envelope {
            _ if of_session || peer.session.hello().is_none() => &mut self.lenient,
            Some(envelope) => &mut envelope.lenient,
            None => &mut self.next_lenient,
        };
        *noted = noted.with(leniency);
    }

    /// Borrowed: where no ledger is kept it is counted, and that is all. Then what is not counted by is left out.
    fn entry<'a>(&'a self, peer: &Peer<'a>, time: Timestamp, ending: Ending, tls: Tls<'static>) -> Entry<'a> {
        let written = self.office.books.are_written();
        let mut entry = Entry::new(time, Direction::Inbound, ending);
        entry.peer = self.address();
        entry.helo = peer.session.hello().map(Into::into);
        entry.tls = self.tls(peer, tls);
        entry.lenient =
            self.lenient.union(self.envelope.as_ref().map_or(Leniencies::STRICT, |envelope| envelope.lenient));
        if ending == Ending::TlsRequired {
            entry.sender_domain = self.refused_sender.as_deref().map(domain);
        }
        if let Some(envelope) = &self.envelope {
            entry.sender_domain = Some(domain(&envelope.from));
            entry.bytes = envelope.size;
            entry.id = written.then(|| (&*envelope.id).into());
            (entry.rehearsed, entry.excepted) = (envelope.rehearsed, envelope.excepted);
            entry.code = envelope.refused_by.filter(|_| matches!(ending, Ending::Refused | Ending::Deferred));
            // Those who were all refused may come again: by them the retry is known.
            let to = if envelope.to.is_empty() { &envelope.turned_away } else { &envelope.to };
            address(&mut entry, &envelope.from, to, written);
            if envelope.size > 0 {
                let seen = envelope.looking.seen(&self.office.unwanted_if);
                entry.end_to_end = seen.end_to_end;
                let told = !self.office.unwanted_if.is_empty() && !envelope.refused && ending != Ending::Refused;
                entry.verdict = told.then_some(if seen.unwanted { Wanted::No } else { Wanted::Yes });
            }
        }
        entry
    }

    /// What became of TLS. Where it was not offered since it had failed before, that is what became of it.
    fn tls(&self, peer: &Peer<'_>, mut tls: Tls<'static>) -> Tls<'static> {
        let withheld =
            |address| self.office.withheld.as_ref().is_some_and(|held| held.is_from(address, Instant::now()));
        let offers = self.office.desks.get(peer.listener).is_some_and(|desk| desk.offers_tls);
        if tls.hop == Hop::NotOffered && offers && self.address().is_some_and(withheld) {
            (tls.hop, tls.reason) = (Hop::FailedThenPlaintext, Some(NOT_OFFERED_AGAIN.into()));
        }
        tls
    }
}

/// How a transaction ends by this code.
pub(super) const fn ending(code: u16) -> Ending {
    match code {
        ..400 => Ending::Accepted,
        400..500 => Ending::Deferred,
        500.. => Ending::Refused,
    }
}

/// The envelope, as far as the ledger keeps it; or where none is `written`, as far as it is counted by.
fn address<'a>(entry: &mut Entry<'a>, from: &str, to: &'a Paths, written: bool) {
    entry.recipient_domains.clear();
    // By a sender and an address everything is counted that the domains of recipients could stand in for.
    let counted = entry.sender_domain.as_ref().is_none_or(|domain| domain.is_empty()) || entry.peer.is_none();
    if written || counted {
        entry.recipient_domains.extend(to.iter().map(domain));
        entry.recipient_domains.sort();
        entry.recipient_domains.dedup();
    }
    entry.recipients = u32::try_from(to.len()).unwrap_or(u32::MAX);
    entry.envelope = Retries::envelope(from, to.iter());
}

/// In lower case; empty for the null reverse-path.
fn domain(path: &str) -> Cow<'_, str> {
    let (mut upper, mut start) = (false, path.len());
    for (at, octet) in path.bytes().enumerate().rev() {
        if octet == b'@' {
            start = at + 1;
            break;
        }
        upper |= octet.is_ascii_uppercase();
    }
    let domain = path.get(start..).unwrap_or_default();
    if upper { domain.to_ascii_lowercase().into() } else { domain.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_what_stands_behind_the_last_at() {
        for path in
            ["", "ann", "Ann@", "ann@b.example", "Ann@b.Example", "\"a@C\"@b.example", "J\u{d6}RG@\u{d6}.example", "@"]
        {
            let simple = path.rsplit_once('@').map_or("", |(_, domain)| domain).to_ascii_lowercase();
            assert_eq!(domain(path), simple, "{path}");
        }
    }
}
