//! The account of a server that is running.

use jiff::Timestamp;
use smtp_proto::tls::{Condition, Hop, Ledger, Retries};

use crate::count::account::Account;
use crate::count::clients::Clients;
use crate::count::names::Domains;
use crate::count::seen::Untold;
use crate::ledger::Entry;
use crate::show::Report;

/// Counts entries as they are written: its report tells the same as an [`Audit`](crate::Audit) of the ledger that they are
/// written to.
///
/// ```
/// use jiff::Timestamp;
/// use smtp_audit::Live;
/// use smtp_audit::ledger::{Ending, Entry};
/// use smtp_proto::tls::{Condition, Direction, Hop};
///
/// let mut live = Live::default();
/// let mut entry = Entry::new(Timestamp::now(), Direction::Inbound, Ending::Accepted);
/// entry.sender_domain = Some("a.example".into());
/// entry.tls.hop = Hop::NotTried;
/// live.add(&entry);
/// assert!(live.report(Condition::Tls).brief().starts_with("Of 1 wanted message of one day, 1 (100 %"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Live {
    retries: Retries,
    ledger: Ledger,
    clients: Clients,
    account: Account,
    /// Of senders: most mail is of few.
    domains: Domains,
}

impl Live {
    /// Counts an entry.
    pub fn add(&mut self, entry: &Entry<'_>) {
        self.account.read += 1;
        if entry.by_exception() {
            self.account.aside.excepted += 1;
            return;
        }
        if entry.tls.hop == Hop::Unknown {
            *self.account.untold.entry(Untold::Line.why().into()).or_default() += 1;
        }
        self.account.withheld.add(entry);
        let domains = &mut self.domains;
        entry.with_counted(
            |domain| domains.registrable(domain),
            |record| {
                let group = entry.tls.group.as_deref().map(str::as_bytes);
                self.clients.add(record, entry.tls.offered, group, entry.lenient, &mut None);
                self.retries.add(record, |record| self.ledger.add(record));
            },
        );
    }

    /// What has come of TLS so far. An attempt that may be made again counts as it stands.
    #[must_use]
    pub fn report(&self, require: Condition) -> Report {
        let (mut retries, mut ledger) = (self.retries.clone(), self.ledger.clone());
        retries.finish(|record| ledger.add(record));
        let account = Account { offers: self.clients.offers, ..self.account.clone() };
        let mut report = Report::new(&ledger, &account, require, Timestamp::now());
        report.know(&self.clients);
        report
    }
}

#[cfg(test)]
mod tests {
    use smtp_proto::Leniency;
    use smtp_proto::tls::{Direction, TlsOffer, TlsVersion};

    use super::*;
    use crate::ledger::Ending;
    use crate::{Audit, Options};

    /// A running server says what an audit of its ledger says.
    #[test]
    fn it_says_what_an_audit_of_the_ledger_says() {
        let (mut live, mut lines) = (Live::default(), Vec::new());
        for number in 0..40_i64 {
            let time = Timestamp::from_second(1_795_507_200 + number * 60).expect("a time");
            let mut entry = Entry::new(time, Direction::Inbound, Ending::Accepted);
            entry.peer = format!("192.0.2.{number}").parse().ok();
            entry.sender_domain = Some(format!("s{}.example", number % 7).into());
            (entry.recipients, entry.bytes) = (1, 1000);
            let used = Hop::Used { version: Some(TlsVersion::Tls12), certificate: Default::default() };
            entry.tls.hop = if number % 3 == 0 { Hop::NotTried } else { used };
            entry.tls.offered = (number % 3 != 0).then(|| TlsOffer::new(TlsVersion::Tls13, number % 2 == 0));
            if number % 5 == 0 {
                entry.lenient = Leniency::BareLfText.into();
            }
            entry.excepted = number % 9 == 0;
            live.add(&entry);
            lines.extend(entry.line());
        }
        let mut audit = Audit::new(&Options::default());
        audit.stream("ledger".as_ref(), lines.as_slice(), &()).expect("read");
        let (live, audit) = (live.report(Condition::Tls), audit.report(Condition::Tls).expect("a report"));
        assert_eq!(live.brief(), audit.brief());
        for words in
            ["had you refused bare-lf-text: ", "by what clients could do, requiring tls1.3: ", "by an exception: 5"]
        {
            assert!(live.brief().contains(words), "{}", live.brief());
        }
        let told = |report: &Report| {
            let mut told: serde_json::Value = serde_json::from_str(&report.json()).expect("JSON");
            for field in ["made", "sources"] {
                told.as_object_mut().expect("an object").remove(field);
            }
            told
        };
        assert_eq!(told(&live), told(&audit));
    }
}
