//! The ledger file as it is written: appended to, moved away, cut off, and on a disk that is full.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::line::Line;

/// A ledger file that is written to.
#[derive(Debug)]
pub struct LedgerFile {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    /// A line has been cut: the disk was full.
    cut: bool,
    /// Lines that could not be written since the last that could.
    missing: u64,
}

impl LedgerFile {
    /// Opens it, or makes it, for its owner's eyes only. A last line that a crash has cut is ended.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), state: Mutex::new(State { file: open(path)?, cut: false, missing: 0 }) })
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

    /// Appends a line. Where that fails mail goes on: a count that is missing is not worth a message that is lost. It is
    /// logged once when it begins, and when it is over.
    pub fn write(&self, line: &Line<'_>) {
        let Ok(mut octets) = serde_json::to_vec(line) else { return };
        octets.push(b'\n');
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
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

    use super::*;

    fn line() -> Line<'static> {
        let mut line = Line::new("2026-11-24T09:00:00.250Z".into(), Direction::Inbound);
        line.outcome = "accepted".into();
        line
    }

    #[test]
    fn a_line_that_a_crash_has_cut_costs_itself_and_no_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ledger");
        LedgerFile::open(&path).expect("opened").write(&line());
        let whole = std::fs::read(&path).expect("read");
        let cut: Vec<u8> = [&whole[..], &whole[..whole.len() / 2]].concat();
        std::fs::write(&path, cut).expect("cut");
        LedgerFile::open(&path).expect("opened again").write(&line());
        let octets = std::fs::read(&path).expect("read");
        let good: Vec<bool> =
            octets.strip_suffix(b"\n").expect("ended").split(|o| *o == b'\n').map(|l| Line::parse(l).is_ok()).collect();
        assert_eq!(good, [true, false, true]);
    }

    /// A disk that is full, as the system has it ready.
    #[test]
    fn where_the_disk_is_full_nothing_stops_and_the_next_line_is_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ledger");
        std::os::unix::fs::symlink("/dev/full", &path).expect("linked");
        let file = LedgerFile::open(&path).expect("opened");
        file.write(&line());
        file.write(&line());
        assert_eq!(file.state.lock().expect("whole").missing, 2);
        std::fs::remove_file(&path).expect("removed");
        std::fs::write(&path, "").expect("a file again");
        file.reopen().expect("reopened");
        // Part of a line went out before there was no room.
        let mut state = file.state.lock().expect("whole");
        state.file.write_all(b"{\"time\":").expect("written");
        state.cut = true;
        drop(state);
        file.write(&line());
        assert_eq!(file.state.lock().expect("whole").missing, 0);
        let octets = std::fs::read(&path).expect("read");
        let good: Vec<bool> = octets.trim_ascii_end().split(|o| *o == b'\n').map(|l| Line::parse(l).is_ok()).collect();
        assert_eq!(good, [false, true]);
    }

    #[test]
    fn after_rotation_the_new_file_is_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, old) = (folder.path().join("ledger"), folder.path().join("ledger.1"));
        let file = LedgerFile::open(&path).expect("opened");
        file.write(&line());
        std::fs::rename(&path, &old).expect("moved");
        file.write(&line());
        file.reopen().expect("reopened");
        file.write(&line());
        let lines = |path| std::fs::read_to_string(path).expect("read").lines().count();
        assert_eq!((lines(&old), lines(&path)), (2, 1));
    }
}
