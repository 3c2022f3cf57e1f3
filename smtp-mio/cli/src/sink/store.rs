//! Where a sink keeps mail. What was answered 250 is written, but not synced: it outlives the sink, not the machine. But on
//! standard output, whoever reads it may be behind.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use smtp_proto::syntax::Base64;
use smtp_proto::text::LocalNewlines;

use super::printer::Printer;

/// Where mail goes.
#[derive(Debug)]
pub(crate) enum Store {
    Discard,
    /// With LF for CRLF, as local stores have it, unless it is told otherwise.
    Maildir {
        root: PathBuf,
        crlf: bool,
    },
    /// One behind the other, in the `mboxrd` manner: lines that begin with `From ` are quoted, and so can be restored.
    Mbox(Mutex<File>),
    /// A line of JSON each on standard output, for tests in other languages.
    Json(Arc<Printer>),
}

/// A message on its way.
#[derive(Debug)]
pub(crate) enum Draft {
    /// In `tmp/`.
    Maildir { file: File, tmp: PathBuf, new: PathBuf, newlines: Option<LocalNewlines> },
    /// In memory, so that messages do not mix.
    Mbox { text: Vec<u8>, sender: String },
    /// In memory; with what is known of it beside its text.
    Json { text: Vec<u8>, line: serde_json::Value },
}

impl Store {
    pub(crate) fn maildir(root: &Path, crlf: bool) -> io::Result<Self> {
        for folder in ["tmp", "new", "cur"] {
            fs::create_dir_all(root.join(folder))?;
        }
        Ok(Self::Maildir { root: root.to_owned(), crlf })
    }

    pub(crate) fn mbox(file: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(file)?;
        // What an earlier sink was killed in the middle of was not acknowledged, and must not run into what comes now.
        let mut end = [0; 2];
        let length = file.metadata()?.len();
        if length > 0 && (file.read_at(&mut end, length.saturating_sub(2))? < 2 || end != *b"\n\n") {
            file.write_all(b"\n\n")?;
        }
        Ok(Self::Mbox(Mutex::new(file)))
    }

    /// Begins a message; the envelope goes on top, as fields.
    pub(crate) fn draft(
        &self,
        sender: &str,
        recipients: &[String],
        how: impl FnOnce() -> serde_json::Value,
    ) -> io::Result<Option<Draft>> {
        let mut draft = match self {
            Self::Discard => return Ok(None),
            Self::Maildir { root, crlf } => {
                let name = unique();
                let (tmp, new) = (root.join("tmp").join(&name), root.join("new").join(&name));
                let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&tmp)?;
                Draft::Maildir { file, tmp, new, newlines: (!crlf).then(LocalNewlines::default) }
            }
            Self::Mbox(_) => Draft::Mbox { text: Vec::new(), sender: sender.to_owned() },
            Self::Json(_) => return Ok(Some(Draft::Json { text: Vec::new(), line: how() })),
        };
        let mut fields = Vec::new();
        smtp_proto::trace::return_path(sender, &mut fields);
        recipients.iter().for_each(|recipient| smtp_proto::trace::delivered_to(recipient, &mut fields));
        draft.write(&fields)?;
        Ok(Some(draft))
    }

    /// The message is complete.
    pub(crate) fn keep(&self, draft: Draft) -> io::Result<()> {
        match (self, draft) {
            (_, Draft::Maildir { mut file, tmp, new, newlines }) => {
                let mut last = Vec::new();
                newlines.into_iter().for_each(|mut newlines| newlines.finish(&mut |part| last.extend_from_slice(part)));
                file.write_all(&last)?;
                drop(file);
                fs::rename(tmp, new)
            }
            (Self::Mbox(file), Draft::Mbox { text, sender }) => {
                let entry = mbox_entry(&text, &sender, Timestamp::now());
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                let before = file.metadata()?.len();
                // Half an entry would run into the next.
                file.write_all(&entry).inspect_err(|_| drop(file.set_len(before)))
            }
            (Self::Json(printer), Draft::Json { text, line }) => printer.print(told(line, text)),
            _ => Ok(()),
        }
    }
}

impl Draft {
    pub(crate) fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        match self {
            Self::Maildir { file, newlines: None, .. } => file.write_all(piece),
            Self::Maildir { file, newlines: Some(newlines), .. } => {
                let mut stored = Vec::with_capacity(piece.len());
                newlines.convert(piece, &mut |part| stored.extend_from_slice(part));
                file.write_all(&stored)
            }
            Self::Mbox { text, .. } | Self::Json { text, .. } => {
                text.extend_from_slice(piece);
                Ok(())
            }
        }
    }

    /// The message did not come to its end.
    pub(crate) fn discard(self) {
        if let Self::Maildir { tmp, .. } = self {
            let _ = fs::remove_file(tmp);
        }
    }
}

/// What is known, and the text. What is no UTF-8 is told as octets in base64 instead.
fn told(mut line: serde_json::Value, text: Vec<u8>) -> String {
    match String::from_utf8(text) {
        Ok(text) => line["text"] = text.into(),
        Err(error) => {
            let mut encoded = Vec::new();
            Base64::encode(error.as_bytes(), &mut encoded);
            line["text_base64"] = String::from_utf8_lossy(&encoded).into();
        }
    }
    line.to_string()
}

/// One message as it stands in an mbox, with LF for CRLF.
fn mbox_entry(text: &[u8], sender: &str, now: Timestamp) -> Vec<u8> {
    let sender = if sender.is_empty() { "MAILER-DAEMON" } else { sender };
    let date = now.strftime("%a %b %e %H:%M:%S %Y");
    let mut entry = format!("From {} {date}\n", sender.replace(' ', "_")).into_bytes();
    for line in text.split_inclusive(|octet| *octet == b'\n') {
        let end = if line.ends_with(b"\r\n") { line.len() - 2 } else { line.len() };
        let quotes = line.iter().take_while(|octet| **octet == b'>').count();
        if line[quotes..].starts_with(b"From ") {
            entry.push(b'>');
        }
        entry.extend_from_slice(&line[..end]);
        if end < line.len() {
            entry.push(b'\n');
        }
    }
    entry.push(b'\n');
    entry
}

fn unique() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{}.M{:06}P{}Q{count}.sink", now.as_secs(), now.subsec_micros(), std::process::id())
}

#[cfg(test)]
mod tests {
    use super::{Store, Timestamp, mbox_entry};

    #[test]
    fn an_mbox_can_be_taken_apart_again() {
        let entry = mbox_entry(b"A: b\r\n\r\nFrom x\r\n>From y\r\n> From z\r\n", "", Timestamp::UNIX_EPOCH);
        let expected = "From MAILER-DAEMON Thu Jan  1 00:00:00 1970\nA: b\n\n>From x\n>>From y\n> From z\n\n";
        assert_eq!(String::from_utf8_lossy(&entry), expected);
    }

    /// What a sink was killed in the middle of stays apart from what comes after it.
    #[test]
    fn half_an_entry_does_not_run_into_the_next() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("mbox");
        for (there, expected) in [
            ("", "From MAILER-DAEMON"),
            ("From a\nX: y\n\n", "From a\nX: y\n\nFrom MAILER-DAEMON"),
            ("From a\nX: y\n\nhal", "From a\nX: y\n\nhal\n\nFrom MAILER-DAEMON"),
            ("F", "F\n\nFrom MAILER-DAEMON"),
        ] {
            std::fs::write(&file, there).expect("written");
            let store = Store::mbox(&file).expect("opened");
            let draft = store.draft("", &[], || serde_json::Value::Null).expect("begun").expect("kept");
            store.keep(draft).expect("kept");
            let text = std::fs::read_to_string(&file).expect("read");
            assert!(text.starts_with(expected) && text.ends_with("Return-Path: <>\n\n"), "{text:?}");
        }
    }

    #[test]
    fn only_what_is_complete_is_in_new() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::maildir(folder.path(), false).expect("made");
        let count = |name: &str| std::fs::read_dir(folder.path().join(name)).expect("read").count();
        let mut draft = store
            .draft("a@x.example", &["b@y.example".into()], || serde_json::Value::Null)
            .expect("begun")
            .expect("kept");
        draft.write(b"half").expect("written");
        draft.discard();
        assert_eq!((count("tmp"), count("new")), (0, 0));
        let mut draft = store
            .draft("a@x.example", &["b@y.example".into()], || serde_json::Value::Null)
            .expect("begun")
            .expect("kept");
        draft.write(b"whole\r").expect("written");
        draft.write(b"\n").expect("written");
        store.keep(draft).expect("kept");
        assert_eq!((count("tmp"), count("new")), (0, 1));
        let file = std::fs::read_dir(folder.path().join("new")).expect("read").next().expect("one").expect("read");
        let text = std::fs::read_to_string(file.path()).expect("read");
        assert_eq!(text, "Return-Path: <a@x.example>\nDelivered-To: b@y.example\nwhole\n");
    }
}
