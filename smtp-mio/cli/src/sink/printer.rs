//! Standard output, which somebody reads, or nobody. Whoever does not read must not hold up the event loops: what finds no
//! room in the pipe waits in memory for a thread of its own, and what finds none there is refused.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Octets that may wait before a line. So a line of any length finds room where the lines before it were read.
const ROOM: usize = 8 << 20;
/// A pipe that can be written to takes so much without a wait: the `PIPE_BUF` of Linux.
const PIECE: usize = 4096;

/// Lines for standard output, in their order, each whole.
#[derive(Debug)]
pub(crate) struct Printer {
    out: Arc<File>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// For the thread.
    waiting: Vec<u8>,
    /// How many octets wait, and are in the hands of the thread.
    behind: usize,
    /// Why nothing can be written any more.
    broken: Option<io::ErrorKind>,
}

impl Printer {
    pub(crate) fn stdout() -> io::Result<Self> {
        Self::new(io::stdout().as_fd().try_clone_to_owned()?)
    }

    fn new(out: OwnedFd) -> io::Result<Self> {
        let (out, shared) = (Arc::new(File::from(out)), Arc::<Shared>::default());
        let (to, theirs) = (out.clone(), shared.clone());
        std::thread::Builder::new().name("printer".into()).spawn(move || theirs.write_behind(&to))?;
        Ok(Self { out, shared })
    }

    /// Writes a line, or as much of it as finds room, and leaves the rest to the thread. Does not wait for a reader.
    ///
    /// # Errors
    /// `WouldBlock` where too much waits already; otherwise what became of standard output.
    pub(crate) fn print(&self, mut line: String) -> io::Result<()> {
        line.push('\n');
        let mut state = self.shared.lock();
        if let Some(kind) = state.broken {
            return Err(kind.into());
        }
        if state.behind >= ROOM {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "standard output is not read"));
        }
        let mut rest = line.as_bytes();
        while state.behind == 0 && !rest.is_empty() && has_room(&self.out)? {
            let piece = &rest[..rest.len().min(PIECE)];
            (&*self.out).write_all(piece).inspect_err(|error| state.broken = Some(error.kind()))?;
            rest = &rest[piece.len()..];
        }
        if !rest.is_empty() {
            state.waiting.extend_from_slice(rest);
            state.behind += rest.len();
            self.shared.changed.notify_all();
        }
        Ok(())
    }

    /// Waits until all is written, but not for longer than this. Gives the octets that nobody read.
    pub(crate) fn finish(&self, time: Duration) -> usize {
        let state = self.shared.lock();
        let waited = self.shared.changed.wait_timeout_while(state, time, |state| state.behind > 0);
        waited.unwrap_or_else(PoisonError::into_inner).0.behind
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what waits, until that cannot be done any more.
    fn write_behind(&self, out: &File) {
        loop {
            let state = self.changed.wait_while(self.lock(), |state| state.waiting.is_empty());
            let octets = std::mem::take(&mut state.unwrap_or_else(PoisonError::into_inner).waiting);
            for piece in octets.chunks(PIECE) {
                let written = (&*out).write_all(piece);
                let mut state = self.lock();
                state.behind -= piece.len();
                if let Err(error) = &written {
                    *state = State { broken: Some(error.kind()), ..State::default() };
                }
                self.changed.notify_all();
                if written.is_err() {
                    return;
                }
            }
        }
    }
}

/// Whether a piece can be written without a wait, or will fail without one.
fn has_room(out: &File) -> io::Result<bool> {
    let mut asked = [PollFd::new(out, PollFlags::OUT)];
    match poll(&mut asked, Some(&Timespec::default())) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// Nothing is lost, cut or put out of order that was taken, and what finds no room is refused at once.
    #[test]
    fn what_was_taken_is_written_once_it_is_read() {
        let (reader, writer) = io::pipe().expect("a pipe");
        let printer = Printer::new(writer.into()).expect("a thread");
        // Sizes around a piece and around a pipe, and more in all than may wait.
        let sizes = [1, PIECE - 1, PIECE, PIECE + 1, 65_535, 65_536, 100_000];
        let line = |at: usize| format!("{at} {}", "x".repeat(sizes[at % sizes.len()]));
        let taken = (0..).find(|at| printer.print(line(*at)).is_err()).expect("an end");
        assert_eq!(printer.print("more".into()).map_err(|error| error.kind()), Err(io::ErrorKind::WouldBlock));
        assert!(printer.finish(Duration::ZERO) >= ROOM);
        let mut lines = BufReader::new(reader).lines().map(|line| line.expect("text"));
        for at in 0..taken {
            assert!(lines.next() == Some(line(at)), "line {at}");
        }
        assert_eq!(printer.finish(LONG), 0);
        printer.print("the last".into()).expect("room");
        assert_eq!(lines.next().as_deref(), Some("the last"));
    }

    /// A line of any length is taken where those before it were read.
    #[test]
    fn one_line_may_be_longer_than_the_room() {
        let (reader, writer) = io::pipe().expect("a pipe");
        let printer = Printer::new(writer.into()).expect("a thread");
        printer.print("x".repeat(2 * ROOM)).expect("taken");
        let mut read = String::new();
        BufReader::new(reader).read_line(&mut read).expect("read");
        assert_eq!(read.len(), 2 * ROOM + 1);
        assert_eq!(printer.finish(LONG), 0);
    }

    #[test]
    fn a_pipe_without_a_reader_is_an_error() {
        let (reader, writer) = io::pipe().expect("a pipe");
        let printer = Printer::new(writer.into()).expect("a thread");
        printer.print("x".repeat(1 << 20)).expect("taken");
        drop(reader);
        assert_eq!(printer.finish(LONG), 0);
        assert_eq!(printer.print("more".into()).map_err(|error| error.kind()), Err(io::ErrorKind::BrokenPipe));
    }
}
