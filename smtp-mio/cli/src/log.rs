//! The log, on stderr. Whoever does not read it stops nothing: lines wait for a thread of their own, and what finds no room is
//! dropped.

use std::io::{self, Write};
use std::sync::mpsc::{SyncSender, sync_channel};

use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait.
const PLACES: usize = 1000;

/// Where lines are handed over.
#[derive(Clone, Debug)]
pub(crate) struct Unread(SyncSender<Vec<u8>>);

impl Unread {
    pub(crate) fn begin() -> Self {
        let (queue, taken) = sync_channel::<Vec<u8>>(PLACES);
        std::thread::spawn(move || taken.iter().for_each(|line| drop(io::stderr().write_all(&line))));
        Self(queue)
    }
}

impl<'a> MakeWriter<'a> for Unread {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// A line is written at once, and whole.
impl Write for Unread {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let _ = self.0.try_send(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
