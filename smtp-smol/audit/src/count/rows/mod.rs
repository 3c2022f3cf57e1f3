//! One flat row a transaction, judged already: for whoever counts with SQL. `docs/fleet` tells what to do with them.

mod json;
#[cfg(feature = "parquet")]
mod parquet;

use std::borrow::Cow;
use std::io::{self, Write};

use smtp_proto::tls::{Cell, ClientCertificate, Condition, Hop, Record, Rehearsed, Retries, TlsVersion};

use super::day::day;
use super::seal::Seal;
use crate::ledger::Entry;

/// Of the rows. A change of a column's meaning makes a new one; a new column does not.
const VERSION: i64 = 1;

/// Where rows go.
pub struct Rows {
    form: Box<dyn Form + Send>,
    seal: Seal,
    /// Whose mail it is, where the source does not say.
    pub(crate) node: Option<String>,
    /// Rows so far.
    number: i64,
    failed: Option<io::Error>,
}

/// A form of rows.
trait Form {
    fn row(&mut self, row: &[Value<'_>; COLUMNS.len()]) -> io::Result<()>;
    fn finish(&mut self) -> io::Result<()>;
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Text,
    Number,
    Flag,
}

/// A row's value in a column; of each type there may be none.
#[derive(Clone, Debug, PartialEq)]
enum Value<'a> {
    Text(Option<Cow<'a, str>>),
    Number(Option<i64>),
    Flag(Option<bool>),
}

/// The columns, in their order. No name is a reserved word of SQL.
const COLUMNS: [(&str, Type); 34] = [
    ("rows", Type::Number),
    ("number", Type::Number),
    ("node", Type::Text),
    ("run", Type::Text),
    ("seq", Type::Number),
    ("id", Type::Text),
    ("day", Type::Text),
    ("unix_time", Type::Number),
    ("millisecond", Type::Number),
    ("direction", Type::Text),
    ("verdict", Type::Text),
    ("sender", Type::Text),
    ("sender_domain", Type::Text),
    ("host", Type::Text),
    ("host_key", Type::Text),
    ("recipient_domains", Type::Text),
    ("hop", Type::Text),
    ("offered_version", Type::Text),
    ("version", Type::Text),
    ("tls_group", Type::Text),
    ("certificate", Type::Text),
    ("recipients", Type::Number),
    ("bytes", Type::Number),
    ("ending", Type::Text),
    ("is_final", Type::Flag),
    ("end_to_end", Type::Text),
    ("rehearsed", Type::Text),
    ("retry", Type::Text),
    ("network", Type::Text),
    ("meets_tls", Type::Flag),
    ("meets_tls12", Type::Flag),
    ("meets_tls13", Type::Flag),
    ("meets_certificate", Type::Flag),
    ("meets_verified_certificate", Type::Flag),
];

impl Rows {
    /// As JSON lines. The key is what the hashes in them are made with: attempts at one message are known again in rows
    /// of hosts that share it, and by nobody else.
    pub fn json(to: impl Write + Send + 'static, key: &[u8]) -> Self {
        Self::new(json::Json::new(to), key)
    }

    /// As Parquet.
    ///
    /// # Errors
    /// Those of writing.
    #[cfg(feature = "parquet")]
    pub fn parquet(to: impl Write + Send + 'static, key: &[u8]) -> io::Result<Self> {
        Ok(Self::new(parquet::Parquet::new(to)?, key))
    }

    fn new(form: impl Form + Send + 'static, key: &[u8]) -> Self {
        Self { form: Box::new(form), seal: Seal::new(key), node: None, number: 0, failed: None }
    }

    /// Adds a row for a record, and for the ledger's entry that it stands for, if it came from one. Attempts at one
    /// message may be folded, unless each record is a message of its own. A failure is told by [`Self::finish`].
    pub(crate) fn add(&mut self, record: &Record<'_>, entry: Option<&Entry<'_>>, folds: bool) {
        if self.failed.is_none() {
            self.number += 1;
            let row = self.row(record, entry, folds);
            self.failed = self.form.row(&row).err();
        }
    }

    /// Writes what is not yet written.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => self.form.finish(),
        }
    }

    fn row<'a>(&self, record: &Record<'a>, entry: Option<&'a Entry<'_>>, folds: bool) -> [Value<'a>; COLUMNS.len()] {
        let text = |text: &'a str| Value::Text(Some(text.into()));
        let maybe = |text: Option<&'a str>| Value::Text(text.map(Into::into));
        let number = |number: u64| Value::Number(i64::try_from(number).ok());
        let sealed = |kind: &str, key: Option<u64>| Value::Text(key.map(|key| self.seal.text(kind, key).into()));
        let cell = Cell::of(record);
        let stamp = entry.and_then(|entry| entry.stamp.as_ref());
        let offered = entry.and_then(|entry| entry.tls.offered);
        let (version, certificate) = match record.hop {
            Hop::Used { version, certificate } => (version.map(TlsVersion::as_str), Some(certificate)),
            _ => (None, None),
        };
        let (network, retry) = Retries::keys(record);
        let met = |require: Condition| Value::Flag(require.met(record.hop, record.direction));
        let [tls, tls12, tls13, some, verified] = Condition::ALL.map(met);
        [
            Value::Number(Some(VERSION)),
            Value::Number(Some(self.number)),
            Value::Text(stamp.map(|stamp| stamp.node.as_ref().into()).or_else(|| self.node.clone().map(Cow::Owned))),
            maybe(stamp.map(|stamp| &*stamp.run)),
            Value::Number(stamp.and_then(|stamp| i64::try_from(stamp.seq).ok())),
            maybe(entry.and_then(|entry| entry.id.as_deref())),
            Value::Text(Some(day(cell.day.into()).into())),
            Value::Number(Some(record.time)),
            Value::Number(Some(entry.map_or(0, |entry| i64::from(entry.time.subsec_millisecond())))),
            text(record.direction.as_str()),
            text(record.wanted.as_str()),
            text(cell.party),
            maybe(record.sender),
            maybe(record.host),
            sealed("host", record.host_key()),
            Value::Text(Some(record.recipient_domains.join(",").into())),
            text(record.hop.as_str()),
            maybe(offered.map(|offered| offered.version.as_str())),
            maybe(version),
            maybe(entry.and_then(|entry| entry.tls.group.as_deref())),
            maybe(certificate.map(ClientCertificate::as_str)),
            number(record.recipients.into()),
            number(record.bytes),
            text(entry.map_or(record.end.as_str(), |entry| entry.ending.as_str())),
            Value::Flag(Some(record.end.is_final())),
            text(record.end_to_end.as_str()),
            maybe(record.rehearsed.map(Rehearsed::as_str)),
            sealed("retry", retry.filter(|_| folds)),
            sealed("network", Some(network).filter(|_| folds)),
            tls,
            tls12,
            tls13,
            some,
            verified,
        ]
    }
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Rows").field("number", &self.number).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use smtp_proto::tls::{Direction, Disposition, Wanted};

    use super::*;

    /// What was written, to be looked at.
    #[derive(Clone, Default)]
    pub(super) struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("whole").write(octets)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_row_is_flat_and_its_hashes_depend_on_the_key() {
        let mut record = Record::new(1_795_510_800, Direction::Inbound);
        record.peer = "192.0.2.1".parse().ok();
        (record.sender, record.recipient_domains) = (Some("a.example"), &["b.example", "c.example"]);
        (record.recipients, record.bytes, record.envelope) = (2, 17, 255);
        (record.end, record.wanted, record.hop) = (Disposition::Deferred, Wanted::Unknown, Hop::NotTried);
        let written = |key: &[u8], folds| {
            let page = Page::default();
            let mut rows = Rows::json(page.clone(), key);
            rows.add(&record, None, folds);
            rows.finish().expect("written");
            let octets = page.0.lock().expect("whole").clone();
            serde_json::from_slice::<serde_json::Value>(&octets).expect("JSON")
        };
        let row = written(b"key", true);
        for (name, expected) in [
            ("rows", serde_json::json!(1)),
            ("number", 1.into()),
            ("day", "2026-11-24".into()),
            ("unix_time", 1_795_510_800.into()),
            ("direction", "inbound".into()),
            ("verdict", "unknown".into()),
            ("sender", "a.example".into()),
            ("recipient_domains", "b.example,c.example".into()),
            ("hop", "not-tried".into()),
            ("ending", "deferred".into()),
            ("is_final", false.into()),
            ("meets_tls", false.into()),
        ] {
            assert_eq!(row[name], expected, "{name}");
        }
        assert!(row.get("version").is_none() && row.get("node").is_none(), "what is not known is left out: {row}");
        let (same, other) = (written(b"key", true), written(b"other", true));
        for name in ["retry", "network", "host_key"] {
            assert_eq!(row[name], same[name], "{name}");
            assert_ne!(row[name], other[name], "{name}");
            assert_eq!(row[name].as_str().map(str::len), Some(32), "{name}");
        }
        assert!(row["retry"] != row["network"], "each hash is of its own kind");
        assert!(written(b"key", false).get("retry").is_none(), "stored mail comes once");
    }

    /// Of a log the operator says whose it is; a line of a ledger says it itself, and more of TLS.
    #[test]
    fn a_row_says_which_host_it_is_of_and_what_its_ledger_knows_of_tls() {
        use smtp_proto::tls::TlsOffer;
        let page = Page::default();
        let mut rows = Rows { node: Some("mx1".into()), ..Rows::json(page.clone(), b"key") };
        let record = Record::new(0, Direction::Inbound);
        let mut entry = Entry::new(jiff::Timestamp::UNIX_EPOCH, Direction::Inbound, crate::ledger::Ending::Accepted);
        entry.stamp = Some(crate::ledger::Stamp::new("mx2", "1", 1));
        entry.tls.group = Some("X25519MLKEM768".into());
        entry.tls.offered = Some(TlsOffer::new(TlsVersion::Tls13, true));
        rows.add(&record, None, true);
        rows.add(&record, Some(&entry), true);
        rows.finish().expect("written");
        let octets = page.0.lock().expect("whole").clone();
        let [log, ledger] = [0, 1].map(|at| {
            let line = octets.split(|octet| *octet == b'\n').nth(at).expect("a line");
            serde_json::from_slice::<serde_json::Value>(line).expect("JSON")
        });
        assert_eq!((&log["node"], log.get("seq"), log.get("tls_group")), (&"mx1".into(), None, None));
        assert_eq!((&ledger["node"], &ledger["seq"]), (&"mx2".into(), &1.into()));
        assert_eq!((&ledger["offered_version"], &ledger["tls_group"]), (&"TLS1.3".into(), &"X25519MLKEM768".into()));
    }

    #[test]
    fn a_place_that_is_full_is_told_at_the_end() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut rows = Rows::json(Full, b"key");
        rows.add(&Record::new(0, Direction::Inbound), None, true);
        assert_eq!(rows.finish().map_err(|error| error.kind()), Err(io::ErrorKind::StorageFull));
    }
}
