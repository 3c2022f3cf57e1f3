//! What requiring STARTTLS would have cost, told from logs, mailboxes and ledgers that are there already.
//!
//! ```
//! use smtp_audit::{Audit, Kind, Options};
//! use smtp_proto::tls::Condition;
//!
//! let log = "\
//! 2026-11-24 08:00:00 1vNXYZ-00ABCD-2k <= s@a.example H=mx.a.example [192.0.2.1] P=esmtps X=TLS1.3:TLS_AES_256_GCM_SHA384:256 S=1000
//! 2026-11-24 08:00:02 1vNXYZ-00ABCE-2k <= s@b.example H=mx.b.example [192.0.2.2] P=esmtp S=2000
//! ";
//! let mut audit = Audit::new(&Options::default());
//! audit.stream("mainlog".as_ref(), log.as_bytes(), &())?;
//! let report = audit.report(Condition::Tls)?;
//! assert!(report.text(Default::default()).starts_with("Of 2 wanted messages of one day, 1 (50 %"));
//! # Ok::<(), smtp_audit::Error>(())
//! ```
//!
//! Three parts, each of which knows only those before it: `count`, where what was read is counted; `read`, one folder or
//! file for each kind of source; `show`, the report. There is no runtime, no terminal and no option parser here.

mod count;
mod error;
pub mod ledger;
mod live;
mod marks;
mod progress;
mod read;
mod show;
mod source;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use smtp_proto::tls::{Bounds, Condition, Exceptions, Scope};

use count::account::Account;
use count::cells::{Head, Table, domains};
use count::desk::Desk;
pub use count::rows::Rows;
use count::seal::Seal;
use count::silenced::Parties;
pub use error::Error;
pub use live::Live;
pub use marks::{UnwantedIf, end_to_end};
pub use progress::Progress;
use read::blocks::{Blocks, Lines};
use read::detect::{self, Look};
use read::{exchange, input, log, stored};
pub use show::{Report, Style};
pub use source::Kind;
use source::Source;

/// What is asked of the sources.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What the sources are; as they look, where that is not said.
    pub kind: Option<Kind>,
    /// Of stored mail: the servers whose Received fields are believed; that which the mail shows, if none is named.
    pub by: Vec<String>,
    /// Only mail since then, in seconds since 1970.
    pub since: Option<i64>,
    /// Only mail from, or to, some domains.
    pub scope: Scope,
    /// Stored mail with such a field is unwanted.
    pub unwanted_if: Vec<UnwantedIf>,
    /// Hops from and to this machine and private networks count as well.
    pub internal: bool,
    /// Every sender is kept, and no figure comes from a sample.
    pub exact: bool,
    /// Of this host: the sources in a report are said to be its, and so are rows of logs.
    pub node: Option<String>,
    /// With what hosts in cells are hashed; all cells that are to be added up need the same, or all none.
    pub key: Option<Vec<u8>>,
    /// So many threads read a log, a ledger or a folder of mail; as many as there are cores, but no more than have something to do,
    /// where it is 0. The report is the same.
    pub jobs: usize,
}

/// Reads sources, then answers.
#[derive(Debug)]
pub struct Audit {
    kind: Option<Kind>,
    node: Option<String>,
    threads: usize,
    now: Timestamp,
    logs: log::Logs,
    exchange: exchange::Exchange,
    stored: stored::Reader,
    desk: Desk,
    sources: Vec<Source>,
    /// What was named and holds nothing about mail, and why that is so.
    quiet: Vec<(PathBuf, String)>,
    /// Files that were read.
    files: u64,
}

impl Audit {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        let recipients = matches!(options.scope, Scope::Recipients(_));
        let bounds = if options.exact { Bounds::exact() } else { Bounds::default() };
        let mut desk = Desk::new(options.scope.clone(), bounds, options.since, options.internal);
        if options.exact {
            desk.keep_all_retries();
            desk.clients.tell_all_apart();
        }
        desk.seal = options.key.as_deref().map(Seal::new);
        Self {
            kind: options.kind,
            node: options.node.clone(),
            threads: if options.jobs == 0 { read::threads::default() } else { options.jobs },
            now: Timestamp::now(),
            logs: log::Logs::new(recipients),
            exchange: exchange::Exchange::default(),
            stored: stored::Reader::new(&options.by, &options.unwanted_if),
            desk,
            sources: Vec::new(),
            quiet: Vec::new(),
            files: 0,
        }
    }

    /// Hands on each transaction as a row, before attempts at one message are made one.
    pub fn rows(&mut self, mut rows: Rows) {
        rows.node.clone_from(&self.node);
        self.desk.rows = Some(rows);
    }

    /// Writes what is counted as cells, which another audit adds up: an ordinary table in JSON lines. The name is of
    /// this file, and no other has it.
    pub fn cells(&mut self, to: impl Write + Send + 'static, name: &str) {
        let (senders, recipients) = domains(self.desk.ledger.scope());
        let key = self.desk.seal.as_ref().map(|seal| seal.text("key", 0));
        let head = Head { id: name.into(), senders, recipients, key };
        self.desk.elsewhere.files.insert(name.into());
        self.desk.cells = Some(Table::new(Box::new(to), head));
    }

    /// Sets aside mail of these that does not meet the policy, as a server does that requires it of all others.
    pub fn except(&mut self, list: Exceptions, require: Condition) {
        self.desk.except = Some((list, require));
    }

    /// Finds out whom the policy would silence, for [`Report::exceptions`]. What [`except`](Self::except) sets aside counts
    /// here, so that a list can be renewed.
    pub fn find_silenced(&mut self, require: Condition) {
        self.desk.parties = Some(Parties::new(require));
    }

    /// Looks at files and folders, then reads them: rotated logs in the order in which they were written, all else as
    /// it was named.
    ///
    /// # Errors
    /// What the user can put right: a source that cannot be read, or is not known by sight. Then nothing was read.
    pub fn files<P: AsRef<Path>>(&mut self, paths: &[P], progress: &dyn Progress) -> Result<(), Error> {
        let mut sources = Vec::new();
        for path in paths {
            match detect::look(path.as_ref(), self.kind, self.now.as_second())? {
                Look::Source(source) => sources.push(source),
                Look::Quiet(why) => self.quiet.push((path.as_ref().into(), why)),
            }
        }
        sources.sort_by_key(|source| (source.kind, source.first));
        let folders = sources.iter().any(|source| source.kind == Kind::Maildir);
        progress.begin((!folders).then(|| sources.iter().map(|source| source.size).sum()));
        let (ledgers, others): (Vec<_>, Vec<_>) =
            sources.iter().cloned().partition(|source| source.kind == Kind::Ledger);
        let mut opened = 0;
        read::ledger::read_all(&ledgers, self.threads, &mut self.desk, |source, desk| {
            opened += 1;
            progress.source(&source.path);
            let blocks = input::open(&source.path, progress);
            blocks.map_err(|error| desk.broken.add(&source.path, 0, &error.to_string())).ok().map(Lines::new)
        });
        self.files += opened;
        for source in &others {
            progress.source(&source.path);
            if source.kind == Kind::Maildir {
                let (reader, desk) = (&mut self.stored, &mut self.desk);
                self.files += stored::maildir::read(&source.path, reader, self.threads, desk, progress)?;
                continue;
            }
            match input::open(&source.path, progress) {
                Ok(blocks) => self.blocks(blocks, source)?,
                Err(error) => self.desk.broken.add(&source.path, 0, &error.to_string()),
            }
        }
        self.sources.extend(sources);
        Ok(())
    }

    /// Reads a stream, such as standard input, of which it is seen only while it is read what it is.
    ///
    /// # Errors
    /// As for files.
    pub fn stream(&mut self, name: &Path, from: impl Read + Send, progress: &dyn Progress) -> Result<(), Error> {
        progress.source(name);
        let (look, blocks) = detect::open_stream(name, from, self.kind, self.now.as_second())?;
        match look {
            Look::Source(source) => {
                self.blocks(blocks, &source)?;
                self.sources.push(source);
            }
            Look::Quiet(why) => self.quiet.push((name.into(), why)),
        }
        Ok(())
    }

    /// Nothing more is to be read: the answer, whose first sentence is about this policy.
    ///
    /// # Errors
    /// Where there is none: it is not clear whose Received fields are to be believed, or there was no file at all.
    pub fn report(mut self, require: Condition) -> Result<Report, Error> {
        self.logs.finish(&mut self.desk);
        self.exchange.finish(&mut self.desk);
        self.stored.finish(&mut self.desk)?;
        if self.sources.is_empty()
            && let Some((path, why)) = self.quiet.first()
        {
            return Err(Error::source(path.display(), why, "name a file in which there is mail"));
        }
        for (path, why) in self.quiet {
            self.desk.notes.push(format!("{} {why}", path.display()));
        }
        if self.files == 0
            && let Some(source) = self.sources.first()
        {
            return Err(Error::source(
                source.path.display(),
                "holds no mail: there is no file in a folder called cur or new, and none that looks like a message or an mbox",
                "name a Maildir, or the files themselves",
            ));
        }
        for source in self.sources.iter().filter(|source| source.kind != Kind::Cells) {
            let path = source.path.display();
            let path = self.node.as_ref().map_or_else(|| path.to_string(), |node| format!("{node}:{path}"));
            self.desk.elsewhere.sources.insert((source.kind.as_str().into(), path));
        }
        let account = Account::of(&self.desk);
        if let Some(mut rows) = self.desk.rows.take() {
            rows.finish().map_err(Error::Rows)?;
        }
        if let Some(mut cells) = self.desk.cells.take() {
            let account = serde_json::to_value(&account).map_err(|error| Error::Cells(error.into()))?;
            cells.finish(&self.desk.clients, account).map_err(Error::Cells)?;
        }
        let mut report = Report::new(&self.desk.ledger, &account, require, self.now);
        report.know(&self.desk.clients);
        report.silenced(self.desk.parties.as_ref());
        Ok(report)
    }

    fn blocks(&mut self, mut blocks: Blocks<'_>, source: &Source) -> Result<(), Error> {
        self.files += 1;
        let desk = &mut self.desk;
        match source.kind {
            Kind::Postfix | Kind::Exim | Kind::Sendmail | Kind::Opensmtpd => {
                self.logs.read(blocks, source, self.kind, self.threads, desk);
            }
            Kind::Exchange => self.exchange.read(&mut Lines::new(blocks), source, self.threads, desk),
            Kind::Tlsrpt => read::tlsrpt::read(&mut blocks, &source.path, desk),
            Kind::Message => stored::message::read(&mut blocks, source, &mut self.stored, desk)?,
            Kind::Ledger => read::ledger::read(Lines::new(blocks), source, self.threads, desk),
            Kind::Cells => read::cells::read(&mut Lines::new(blocks), source, self.threads, desk)?,
            Kind::Mbox => stored::mbox::read(&mut blocks, &source.path, &mut self.stored, desk)?,
            Kind::Maildir => {}
        }
        Ok(())
    }
}
