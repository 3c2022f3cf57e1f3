//! A Maildir: a message lies in `new/` whole and synced, or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A folder with `tmp`, `new` and `cur`.
#[derive(Debug)]
pub(crate) struct Maildir {
    root: PathBuf,
    host: String,
    /// `new`, held open to be synced.
    new: File,
}

/// A message that is being written, in `tmp/`; removed again unless it is committed.
#[derive(Debug)]
pub(crate) struct Draft {
    file: File,
    tmp: PathBuf,
    new: PathBuf,
    committed: bool,
}

impl Maildir {
    /// Makes what is missing of it, and finds out whether it can be written.
    pub(crate) fn open(root: &Path, host: &str) -> io::Result<Self> {
        for folder in ["tmp", "new", "cur"] {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(root.join(folder))?;
        }
        // The folders themselves must outlive a crash, too.
        File::open(root)?.sync_all()?;
        let new = File::open(root.join("new"))?;
        // `/` and `:` have a meaning in names of messages.
        let host = host.replace(['/', ':'], "_");
        let maildir = Self { root: root.to_owned(), host, new };
        drop(maildir.draft(&unique())?);
        Ok(maildir)
    }

    /// Begins a message under a unique id.
    pub(crate) fn draft(&self, id: &str) -> io::Result<Draft> {
        let name = format!("{id}.{}", self.host);
        let (tmp, new) = (self.root.join("tmp").join(&name), self.root.join("new").join(&name));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&tmp)?;
        Ok(Draft { file, tmp, new, committed: false })
    }

    /// The message is complete. When this returns it is in `new/`, file and folder synced.
    pub(crate) fn commit(&self, mut draft: Draft) -> io::Result<()> {
        draft.file.sync_all()?;
        fs::rename(&draft.tmp, &draft.new)?;
        draft.committed = true;
        self.new.sync_all()
    }
}

impl Draft {
    pub(crate) fn write(&mut self, text: &[u8]) -> io::Result<()> {
        self.file.write_all(text)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.committed {
            let _ = fs::remove_file(&self.tmp);
        }
    }
}

/// An id that no other message has: the time, this process, and a count.
pub(crate) fn unique() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{}.M{:06}P{}Q{count}", now.as_secs(), now.subsec_micros(), std::process::id())
}

#[cfg(test)]
mod tests {
    use super::{Maildir, unique};
    use std::fs;

    #[test]
    fn a_message_is_in_new_whole_or_nowhere() {
        let folder = tempfile::tempdir().expect("a folder");
        let maildir = Maildir::open(&folder.path().join("mail"), "mx.example.net").expect("opened");
        let count = |name: &str| fs::read_dir(folder.path().join("mail").join(name)).expect("read").count();
        let mut draft = maildir.draft(&unique()).expect("begun");
        draft.write(b"half").expect("written");
        assert_eq!((count("tmp"), count("new")), (1, 0));
        drop(draft);
        assert_eq!((count("tmp"), count("new")), (0, 0));
        let mut draft = maildir.draft(&unique()).expect("begun");
        draft.write(b"whole").expect("written");
        maildir.commit(draft).expect("committed");
        assert_eq!((count("tmp"), count("new")), (0, 1));
    }

    #[test]
    fn ids_are_unique() {
        let mut ids: Vec<_> = (0..1000).map(|_| unique()).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 1000);
    }
}
