//! The ledger file as it is written: appended to, moved away, cut off, and on a disk that is full.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use super::{Entry, Stamp};

/// A ledger file that is written to.
#[derive(Debug)]
pub struct LedgerFile {
    path: PathBuf,
    node: String,
    run: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    /// The number of the last line.
    seq: u64,
    /// A line has been cut: the disk was full.
    cut: bool,
    /// Lines that could not be written since the last that could.
    missing: u64,
}

impl LedgerFile {
    /// Opens it, or makes it, for its owner's eyes only. A last line that a crash has cut is ended. Its lines say that
    /// this node wrote them: a name for this host that no other host of the fleet has.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn open(path: &Path, node: &str) -> io::Result<Self> {
        let state = State { file: open(path)?, seq: 0, cut: false, missing: 0 };
        // Programs may share a node's name, and files a program, and clocks are set back: no two runs are equal.
        static OPENED: AtomicU64 = AtomicU64::new(0);
        let (now, process) = (Timestamp::now().as_microsecond(), std::process::id());
        let run = format!("{now:014x}-{process:x}-{:x}", OPENED.fetch_add(1, Ordering::Relaxed));
        Ok(Self { path: path.to_owned(), node: node.to_owned(), run, state: Mutex::new(state) })
    }

    /// Opens the file of that name anew: the old one has been moved away.
    ///
    /// # Errors
    /// Those of the operating system; the file open before is still written then.
    pub fn reopen(&self) -> io::Result<()> {
        let file = open(&self.path)?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state.file, state.cut) = (file, false);
        Ok(())
    }

    /// Uses up the numbers of so many lines that could not be handed over: whoever reads the ledger sees that they are
    /// missing.
    pub fn skip(&self, lines: u64) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).seq += lines;
    }

    /// Appends a line, with its number, and with an id where it has none. Where that fails mail goes on: a count that is
    /// missing is not worth a message that is lost. It is logged once when it begins, and when it is over. The number
    /// is used up all the same, so that whoever reads the ledger sees that a line is missing.
    pub fn write(&self, entry: &Entry<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.seq += 1;
        let mut entry = entry.clone();
        if entry.id.is_none() {
            entry.id = Some(format!("{}.{}", self.run, state.seq).into());
        }
        entry.stamp = Some(Stamp::new(&*self.node, &*self.run, state.seq));
        let octets = entry.line();
        if let Err(error) = state.append(&octets) {
            if state.missing == 0 {
                tracing::error!(%error, file = %self.path.display(), "the ledger cannot be written; mail goes on");
            }
            state.missing += 1;
        } else if state.missing > 0 {
            tracing::error!(missing = state.missing, file = %self.path.display(), "the ledger is written again");
            state.missing = 0;
        }
    }
}

impl State {
    /// After a line that was cut in two a new one is begun, so that it costs itself alone.
    fn append(&mut self, octets: &[u8]) -> io::Result<()> {
        if self.cut {
            self.file.write_all(b"\n")?;
            self.cut = false;
        }
        let mut rest = octets;
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    rest = rest.get(written..).unwrap_or_default();
                    self.cut = !rest.is_empty();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    // A terminal, or a pipe, has no last line.
    if file.metadata()?.is_file() && file.seek(SeekFrom::End(0))? > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use smtp_proto::tls::Direction;

    use super::super::Ending;
    use super::*;

    fn entry() -> Entry<'static> {
        Entry::new(Timestamp::UNIX_EPOCH, Direction::Inbound, Ending::Accepted)
    }

    #[test]
    fn each_line_is_numbered_and_each_run_is_another() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ledger");
        let file = LedgerFile::open(&path, "mx1").expect("opened");
        let mut named = entry();
        named.id = Some("its own".into());
        file.write(&named);
        file.write(&entry());
        LedgerFile::open(&path, "mx1").expect("opened again").write(&entry());
        let octets = std::fs::read(&path).expect("read");
        let lines: Vec<_> =
            octets.trim_ascii_end().split(|o| *o == b'\n').map(|l| Entry::parse(l).expect("a line")).collect();
        let stamps: Vec<_> = lines.iter().map(|entry| entry.stamp.clone().expect("a stamp")).collect();
        assert_eq!(stamps.iter().map(|stamp| stamp.seq).collect::<Vec<_>>(), [1, 2, 1]);
        assert!(stamps.iter().all(|stamp| stamp.node == "mx1"));
        assert!(stamps[0].run == stamps[1].run && stamps[1].run < stamps[2].run, "{stamps:?}");
        assert_eq!(lines[0].id.as_deref(), Some("its own"));
        let ids: std::collections::BTreeSet<_> = lines.iter().map(|entry| entry.id.clone()).collect();
        assert_eq!(ids.len(), 3, "each has an id of its own: {ids:?}");
    }

    #[test]
    fn a_line_that_a_crash_has_cut_costs_itself_and_no_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ledger");
        LedgerFile::open(&path, "mx1").expect("opened").write(&entry());
        let whole = std::fs::read(&path).expect("read");
        let cut: Vec<u8> = [&whole[..], &whole[..whole.len() / 2]].concat();
        std::fs::write(&path, cut).expect("cut");
        LedgerFile::open(&path, "mx1").expect("opened again").write(&entry());
        let octets = std::fs::read(&path).expect("read");
        let good: Vec<bool> = octets
            .strip_suffix(b"\n")
            .expect("ended")
            .split(|o| *o == b'\n')
            .map(|l| Entry::parse(l).is_ok())
            .collect();
        assert_eq!(good, [true, false, true]);
    }

    /// A disk that is full, as the system has it ready.
    #[test]
    fn where_the_disk_is_full_nothing_stops_and_the_next_line_is_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ledger");
        std::os::unix::fs::symlink("/dev/full", &path).expect("linked");
        let file = LedgerFile::open(&path, "mx1").expect("opened");
        file.write(&entry());
        file.write(&entry());
        assert_eq!(file.state.lock().expect("whole").missing, 2);
        std::fs::remove_file(&path).expect("removed");
        std::fs::write(&path, "").expect("a file again");
        file.reopen().expect("reopened");
        // Part of a line went out before there was no room.
        let mut state = file.state.lock().expect("whole");
        state.file.write_all(b"{\"time\":").expect("written");
        state.cut = true;
        drop(state);
        file.write(&entry());
        assert_eq!(file.state.lock().expect("whole").missing, 0);
        let octets = std::fs::read(&path).expect("read");
        let good: Vec<bool> = octets.trim_ascii_end().split(|o| *o == b'\n').map(|l| Entry::parse(l).is_ok()).collect();
        assert_eq!(good, [false, true]);
    }

    #[test]
    fn after_rotation_the_new_file_is_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, old) = (folder.path().join("ledger"), folder.path().join("ledger.1"));
        let file = LedgerFile::open(&path, "mx1").expect("opened");
        file.write(&entry());
        std::fs::rename(&path, &old).expect("moved");
        file.write(&entry());
        file.reopen().expect("reopened");
        file.write(&entry());
        let lines = |path| std::fs::read_to_string(path).expect("read").lines().count();
        assert_eq!((lines(&old), lines(&path)), (2, 1));
    }
}
