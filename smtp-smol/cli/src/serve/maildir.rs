//! A Maildir: a message lies in `new/` whole and synced, or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use smtp_proto::text::LocalNewlines;

use super::id::Id;

/// A file in `tmp/` that nobody has touched for so long belongs to a delivery that will never end: the rule of the Maildir
/// format.
const LEFT_OVER: Duration = Duration::from_secs(36 * 3600);
/// How often `tmp/` is looked through.
const SWEEP: Duration = Duration::from_secs(3600);

/// How lines end in the files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Newline {
    /// As local stores have it, and the programs that read them expect.
    #[default]
    Lf,
    /// As the message came.
    Crlf,
}

/// A folder with `tmp`, `new` and `cur`.
#[derive(Debug)]
pub(crate) struct Maildir {
    root: PathBuf,
    host: String,
    newline: Newline,
    /// `new`, held open to be synced.
    new: File,
    /// When `tmp` was looked through, in seconds since 1970.
    swept: AtomicU64,
}

/// A message that is being written, in `tmp/`; removed again unless it is committed.
#[derive(Debug)]
pub(crate) struct Draft {
    file: File,
    newlines: Option<LocalNewlines>,
    tmp: PathBuf,
    new: PathBuf,
    committed: bool,
}

impl Maildir {
    /// Makes what is missing of it, and finds out whether it can be written.
    pub(crate) fn open(root: &Path, host: &str, newline: Newline) -> io::Result<Self> {
        for folder in ["tmp", "new", "cur"] {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(root.join(folder))?;
        }
        // The folders themselves must outlive a crash, too.
        File::open(root)?.sync_all()?;
        let new = File::open(root.join("new"))?;
        // `/` and `:` have a meaning in names of messages.
        let host = host.replace(['/', ':'], "_");
        let maildir = Self { root: root.to_owned(), host, newline, new, swept: AtomicU64::new(0) };
        drop(maildir.draft(&Id::unique())?);
        Ok(maildir)
    }

    /// Begins a message under a unique id.
    pub(crate) fn draft(&self, id: &str) -> io::Result<Draft> {
        self.sweep();
        let name = format!("{id}.{}", self.host);
        let (tmp, new) = (self.root.join("tmp").join(&name), self.root.join("new").join(&name));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&tmp)?;
        let newlines = (self.newline == Newline::Lf).then(LocalNewlines::default);
        Ok(Draft { file, newlines, tmp, new, committed: false })
    }

    /// The message is complete. When this returns it is in `new/`, file and folder synced.
    pub(crate) fn commit(&self, mut draft: Draft) -> io::Result<()> {
        draft.finish()?;
        draft.file.sync_all()?;
        fs::rename(&draft.tmp, &draft.new)?;
        draft.committed = true;
        self.new.sync_all()
    }

    /// Removes what deliveries that were killed have left in `tmp/`, once an hour at most.
    fn sweep(&self) {
        let now = SystemTime::now();
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let before = self.swept.load(Ordering::Relaxed);
        let due = seconds.abs_diff(before) >= SWEEP.as_secs();
        if !due || self.swept.compare_exchange(before, seconds, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        let files = fs::read_dir(self.root.join("tmp")).into_iter().flatten().flatten();
        for file in files {
            let touched = file.metadata().ok().filter(fs::Metadata::is_file).and_then(|data| {
                let (read, written) = (data.accessed().ok(), data.modified().ok()?);
                Some(read.map_or(written, |read| read.max(written)))
            });
            let old = touched.and_then(|touched| now.duration_since(touched).ok()).is_some_and(|age| age > LEFT_OVER);
            if old && fs::remove_file(file.path()).is_ok() {
                tracing::info!(file = %file.path().display(), "removed what an interrupted delivery has left");
            }
        }
    }
}

impl Draft {
    pub(crate) fn write(&mut self, text: &[u8]) -> io::Result<()> {
        let Some(newlines) = &mut self.newlines else { return self.file.write_all(text) };
        let mut stored = Vec::with_capacity(text.len());
        newlines.convert(text, &mut |part| stored.extend_from_slice(part));
        self.file.write_all(&stored)
    }

    fn finish(&mut self) -> io::Result<()> {
        let mut last = Vec::new();
        self.newlines.iter_mut().for_each(|newlines| newlines.finish(&mut |part| last.extend_from_slice(part)));
        self.file.write_all(&last)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.committed {
            let _ = fs::remove_file(&self.tmp);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_in_new_whole_or_nowhere() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("mail");
        let maildir = Maildir::open(&root, "mx.example.net", Newline::Lf).expect("opened");
        let count = |name: &str| fs::read_dir(root.join(name)).expect("read").count();
        let mut draft = maildir.draft(&Id::unique()).expect("begun");
        draft.write(b"half").expect("written");
        assert_eq!((count("tmp"), count("new")), (1, 0));
        drop(draft);
        assert_eq!((count("tmp"), count("new")), (0, 0));
        let mut draft = maildir.draft(&Id::unique()).expect("begun");
        draft.write(b"whole").expect("written");
        maildir.commit(draft).expect("committed");
        assert_eq!((count("tmp"), count("new")), (0, 1));
    }

    #[test]
    fn lines_end_as_the_operator_wants_it_and_nothing_else_changes() {
        for (newline, expected) in [(Newline::Lf, &b"a\n\xe9\rb\n\r"[..]), (Newline::Crlf, b"a\r\n\xe9\rb\r\n\r")] {
            let folder = tempfile::tempdir().expect("a folder");
            let maildir = Maildir::open(folder.path(), "mx.example.net", newline).expect("opened");
            let mut draft = maildir.draft(&Id::unique()).expect("begun");
            for piece in [&b"a\r"[..], b"\n\xe9\rb\r\n", b"\r"] {
                draft.write(piece).expect("written");
            }
            maildir.commit(draft).expect("committed");
            let file = fs::read_dir(folder.path().join("new")).expect("read").next().expect("one").expect("read");
            assert_eq!(fs::read(file.path()).expect("read"), expected);
        }
    }

    /// The Maildir format's rule: 36 hours.
    #[test]
    fn what_is_left_over_in_tmp_is_removed_and_what_is_young_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let tmp = folder.path().join("tmp");
        fs::create_dir(&tmp).expect("made");
        for (name, hours) in [("old", 37), ("young", 35), ("future", 0)] {
            let file = File::create(tmp.join(name)).expect("made");
            let then = SystemTime::now() - Duration::from_secs(hours * 3600);
            let times = fs::FileTimes::new().set_accessed(then).set_modified(then);
            file.set_times(times).expect("set");
        }
        fs::create_dir(tmp.join("a-folder")).expect("made");
        let maildir = Maildir::open(folder.path(), "mx.example.net", Newline::Lf).expect("opened");
        let left = || {
            let mut names: Vec<_> =
                fs::read_dir(&tmp).expect("read").map(|file| file.expect("read").file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(left(), ["a-folder", "future", "young"]);
        // Not at each message.
        let file = File::create(tmp.join("older")).expect("made");
        file.set_times(fs::FileTimes::new().set_accessed(UNIX_EPOCH).set_modified(UNIX_EPOCH)).expect("set");
        drop(maildir.draft(&Id::unique()).expect("begun"));
        assert_eq!(left().len(), 4);
    }
}
