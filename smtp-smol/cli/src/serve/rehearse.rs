//! The rehearsal of a running server, and what is remembered of it across a restart.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use smtp_proto::server::Verdict;
use smtp_proto::syntax::Reply;
use smtp_proto::tls::{Exceptions, RcptAnswer, Rehearsal, Rehearsed, Triplet};

/// 450 4.7.0: what greylisting says (RFC 6647 2.7), and why.
const COME_AGAIN: Reply<'static> = Reply::fixed(
    450,
    (4, 7, 0),
    "This came without TLS, and we would like to know whether you can do better: please try again, with STARTTLS if you can; the retry is accepted either way",
);

/// A rehearsal, and the file in which it is remembered.
#[derive(Debug)]
pub(crate) struct Rehearsing {
    except: Exceptions,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rehearsal: Rehearsal,
    file: PathBuf,
    /// A line for each change, in the order of time.
    journal: File,
    /// Lines that it may still grow by before it is written anew.
    room: usize,
}

/// Octets of the file that are read, from its end.
const MAX_FILE: u64 = 128 << 20;
/// The journal may grow to twice the entries that it began with, and by this many lines.
const SPARE_LINES: usize = 1 << 16;

impl Rehearsing {
    /// Goes on with what is in the file, and writes it anew without what is outdated. A line that a crash has cut is
    /// skipped: its sender is asked once more, and no harm is done.
    pub(crate) fn open(file: &Path, window: i64, except: Exceptions) -> io::Result<Self> {
        let mut rehearsal = Rehearsal::new(window);
        match newest(file) {
            Ok(text) => text.lines().filter_map(parse).for_each(|entry| rehearsal.restore(entry)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        let (journal, room) = write_anew(file, &rehearsal)?;
        Ok(Self { except, state: Mutex::new(State { rehearsal, file: file.to_owned(), journal, room }) })
    }

    /// Whether this recipient is to come again, and if not, whether the rehearsal has found something out.
    pub(crate) fn rcpt(
        &self,
        peer: IpAddr,
        sender: &str,
        to: &str,
        encrypted: bool,
    ) -> Result<Option<Rehearsed>, Verdict<'static>> {
        let domain = sender.rsplit_once('@').map_or("", |(_, domain)| domain);
        // Here a notice with a null reverse-path is its network's alone.
        if self.except.hold(Some(peer), None, domain) {
            return Ok(None);
        }
        let now = Timestamp::now().as_second();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.rehearsal.entry(peer, sender, to);
        let unasked = state.rehearsal.unasked();
        let answer = state.rehearsal.rcpt(now, peer, sender, to, encrypted);
        if unasked == 0 && state.rehearsal.unasked() > 0 {
            tracing::warn!(
                "the rehearsal remembers as many senders as it can; other mail in plaintext is accepted unasked"
            );
        }
        let after = state.rehearsal.entry(peer, sender, to);
        if let Some(entry) = after.filter(|_| before != after) {
            // Before the reply: whoever has read 450 is remembered, also after kill -9.
            if let Err(error) = state.store(entry) {
                tracing::error!(%error, "the rehearsal cannot be stored; after a restart some senders are asked again");
            }
        }
        match answer {
            RcptAnswer::Again => Err(Verdict::Refuse(COME_AGAIN)),
            RcptAnswer::Accept(found) => Ok(found),
            _ => Ok(None),
        }
    }
}

/// The end of the file, where the newest entries are. No rehearsal writes a longer one; something else may have.
fn newest(file: &Path) -> io::Result<String> {
    let mut file = File::open(file)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(MAX_FILE)))?;
    let mut octets = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut octets)?;
    Ok(String::from_utf8_lossy(&octets).into_owned())
}

impl State {
    fn store(&mut self, entry: Triplet) -> io::Result<()> {
        self.journal.write_all(line(entry).as_bytes())?;
        self.room = self.room.saturating_sub(1);
        // Else the file of a server that runs for years would grow for as long.
        if self.room == 0 {
            (self.journal, self.room) = write_anew(&self.file, &self.rehearsal)?;
        }
        Ok(())
    }
}

/// The whole rehearsal: complete in the file, or that is as it was before. Gives also by how much it may grow.
fn write_anew(file: &Path, rehearsal: &Rehearsal) -> io::Result<(File, usize)> {
    let draft = file.with_extension(format!("{}.tmp", std::process::id()));
    let mut journal = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    let lines: String = rehearsal.entries().map(line).collect();
    let written =
        journal.write_all(lines.as_bytes()).and_then(|()| journal.sync_all()).and_then(|()| fs::rename(&draft, file));
    if let Err(error) = written {
        let _ = fs::remove_file(&draft);
        return Err(error);
    }
    Ok((journal, rehearsal.entries().count() + SPARE_LINES))
}

fn line(entry: Triplet) -> String {
    format!("{:016x} {} {}\n", entry.key, entry.time, if entry.returned { "returned" } else { "asked" })
}

fn parse(line: &str) -> Option<Triplet> {
    let mut words = line.split(' ');
    let (key, time, state) = (words.next()?, words.next()?, words.next()?);
    let returned = match state {
        "asked" => false,
        "returned" => true,
        _ => return None,
    };
    Some(Triplet::new(u64::from_str_radix(key, 16).ok().filter(|_| key.len() == 16)?, time.parse().ok()?, returned))
}

/// `DURATION` as in `--tls rehearse=5d`: seconds, or with m, h or d behind.
pub(crate) fn window(text: &str) -> Option<i64> {
    let digits = text.trim_end_matches(|char: char| char.is_ascii_alphabetic());
    let unit = match text.get(digits.len()..)? {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    digits
        .parse::<u32>()
        .ok()
        .map(|number| i64::from(number) * unit)
        .filter(|seconds| (1..=90 * 86_400).contains(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn asked(rehearsing: &Rehearsing, to: &str) -> bool {
        rehearsing.rcpt(PEER, "a@client.example", to, false).is_err()
    }

    #[test]
    fn what_was_asked_is_known_after_a_restart_and_a_cut_line_costs_itself() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("state/rehearsal");
        let first = Rehearsing::open(&file, 2, Exceptions::default()).expect("opened");
        assert!(asked(&first, "b@mx.example") && asked(&first, "c@mx.example"));
        drop(first);
        let octets = fs::read(&file).expect("read");
        fs::write(&file, &octets[..octets.len() - 3]).expect("cut");
        let second = Rehearsing::open(&file, 2, Exceptions::default()).expect("opened again");
        let state = second.state.lock().expect("whole");
        assert!(state.rehearsal.entry(PEER, "a@client.example", "b@mx.example").is_some());
        assert!(state.rehearsal.entry(PEER, "a@client.example", "c@mx.example").is_none());
        drop(state);
        assert!(asked(&second, "c@mx.example"));
        assert_eq!(fs::read_to_string(&file).expect("read").lines().filter_map(parse).count(), 2);
        assert_eq!(fs::read_dir(folder.path().join("state")).expect("read").count(), 1, "nothing else is left there");
    }

    /// A sender that is known and goes on sending in plaintext: a line each second.
    #[test]
    fn the_journal_does_not_grow_for_ever() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("rehearsal");
        let rehearsing = Rehearsing::open(&file, 2, Exceptions::default()).expect("opened");
        assert!(asked(&rehearsing, "b@mx.example"));
        let mut state = rehearsing.state.lock().expect("whole");
        let entry = state.rehearsal.entry(PEER, "a@client.example", "b@mx.example").expect("known");
        for _ in 0..SPARE_LINES + 10 {
            state.store(entry).expect("stored");
        }
        assert!(state.room > SPARE_LINES - 20, "{}", state.room);
        drop(state);
        let text = fs::read_to_string(&file).expect("read");
        assert_eq!(text.lines().filter_map(parse).collect::<Vec<_>>(), vec![entry; text.lines().count()]);
        assert!(text.lines().count() < 20, "in the file that is there, too");
    }

    /// Such as one that another program wrote to: only its end is read, where the newest entries are.
    #[test]
    fn a_huge_file_is_not_read_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("rehearsal");
        let first = Rehearsing::open(&file, 2, Exceptions::default()).expect("opened");
        assert!(asked(&first, "b@mx.example"));
        drop(first);
        let entries = fs::read(&file).expect("read");
        let huge = File::create(&file).expect("made");
        huge.set_len(4 << 30).expect("sparse");
        let mut huge = OpenOptions::new().append(true).open(&file).expect("opened");
        huge.write_all(&[b"\n", &entries[..]].concat()).expect("written");
        assert_eq!(newest(&file).expect("read").len() as u64, MAX_FILE);
        let again = Rehearsing::open(&file, 2, Exceptions::default()).expect("opened again");
        let state = again.state.lock().expect("whole");
        assert!(state.rehearsal.entry(PEER, "a@client.example", "b@mx.example").is_some());
        assert!(fs::metadata(&file).expect("there").len() < 1 << 20, "written anew");
    }

    #[test]
    fn the_exempt_are_not_asked() {
        let folder = tempfile::tempdir().expect("a folder");
        for (except, holds) in
            [("client.example", true), ("lient.example", false), ("192.0.2.0/24", true), ("192.0.3.0/24", false)]
        {
            let file = folder.path().join(except.replace('/', "_"));
            let list = Exceptions::parse(except).expect("exceptions");
            let rehearsing = Rehearsing::open(&file, 2, list).expect("opened");
            assert_eq!(asked(&rehearsing, "b@mx.example"), !holds, "{except}");
        }
    }

    #[test]
    fn windows() {
        assert_eq!(["90", "90s", "2m", "3h", "5d"].map(window), [90, 90, 120, 10_800, 432_000].map(Some));
        for wrong in ["", "d", "0", "-1", "1w", "91d", "1.5h"] {
            assert_eq!(window(wrong), None, "{wrong}");
        }
    }
}
