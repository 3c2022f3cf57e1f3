//! A message on its way to a file of the Maildir.

use std::io;
use std::sync::Arc;

use super::maildir::{Draft, Maildir};

/// Text is held in memory up to here, then goes to the file piece by piece. Every peer that leaves a text unfinished costs
/// so much.
const PIECE: usize = 16 << 10;
/// What is held grows by so much, not to twice its size.
const GROWTH: usize = 4 << 10;

/// The message itself, on its way to the file.
#[derive(Debug, Default)]
pub(crate) struct Letter {
    held: Vec<u8>,
    draft: Option<Draft>,
    failed: Option<io::Error>,
}

impl Letter {
    /// Puts these octets behind the others. An error is kept for the end, when it can be answered.
    pub(crate) async fn add(&mut self, maildir: &Arc<Maildir>, id: &str, text: &[u8]) {
        hold(&mut self.held, text);
        if self.held.len() < PIECE {
            return;
        }
        let mut letter = std::mem::take(self);
        if letter.failed.is_some() {
            letter.held.clear();
            *self = letter;
            return;
        }
        let (maildir, id) = (maildir.clone(), id.to_owned());
        *self = smol::unblock(move || {
            letter.failed = letter.write(&maildir, &id).err();
            letter
        })
        .await;
    }

    /// The whole message is on disk when this returns, synced.
    pub(crate) async fn store(&mut self, maildir: &Arc<Maildir>, id: &str) -> io::Result<()> {
        let mut letter = std::mem::take(self);
        let (maildir, id) = (maildir.clone(), id.to_owned());
        smol::unblock(move || {
            if let Some(error) = letter.failed.take() {
                return Err(error);
            }
            letter.write(&maildir, &id)?;
            letter.draft.take().map_or(Ok(()), |draft| maildir.commit(draft))
        })
        .await
    }

    fn write(&mut self, maildir: &Maildir, id: &str) -> io::Result<()> {
        let draft = match &mut self.draft {
            Some(draft) => draft,
            none => none.insert(maildir.draft(id)?),
        };
        draft.write(&self.held)?;
        // The next piece may be long in coming.
        self.held = Vec::new();
        Ok(())
    }
}

/// Puts octets behind those that are held, with little room to spare: every peer that leaves a text unfinished has it held.
pub(crate) fn hold(held: &mut Vec<u8>, text: &[u8]) {
    if held.capacity() - held.len() < text.len() {
        held.reserve_exact(text.len().next_multiple_of(GROWTH));
    }
    held.extend_from_slice(text);
}
